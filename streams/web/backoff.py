"""Slows down whoever guesses: after some wrong tokens or links an address waits, twice as long each time.

Rules of the file
- Per address (an IPv6 one counts by its /64), and over all of them: guessing from many addresses gains nothing.
- Bounded memory: the addresses that were quiet longest are forgotten first, all after a quarter of an hour.
- What it decides follows from the clock that it is given.
"""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

from streams.clock import Clock

FREE = 10
"""So many wrong ones of an address go unpunished: somebody is setting something up."""
LONGEST_S = 300.0
FORGET_S = 900.0
MAX_ADDRESSES = 10_000

BURST = 200.0
PER_SECOND = 5.0
"""Over all addresses so many wrong ones are looked at, then so many a second."""


@dataclass
class _Guesser:
    failures: int
    until_s: float
    last_s: float


class Backoff:
    """Who may try again when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()
        self._left, self._at_s = BURST, clock.monotonic_s()

    def wait_s(self, address: str) -> int:
        """Return after how many whole seconds this address may try again; 0: now."""
        now_s = self._clock.monotonic_s()
        self._refill(now_s)
        guesser = self._guessers.get(_network(address))
        own_s = 0.0 if guesser is None else guesser.until_s - now_s
        all_s = 0.0 if self._left >= 1 else (1 - self._left) / PER_SECOND
        longest_s = max(own_s, all_s)
        return 0 if longest_s <= 0 else int(longest_s) + 1

    def failed(self, address: str) -> None:
        """Count a wrong one."""
        now_s = self._clock.monotonic_s()
        self._refill(now_s)
        self._left = max(0.0, self._left - 1)
        self._forget(now_s)
        key = _network(address)
        guesser = self._guessers.pop(key, None) or _Guesser(0, now_s, now_s)
        guesser.failures += 1
        guesser.last_s = now_s
        over = guesser.failures - FREE
        if over > 0:
            guesser.until_s = now_s + min(LONGEST_S, 2.0 ** min(over, 16))
        self._guessers[key] = guesser
        if len(self._guessers) > MAX_ADDRESSES:
            self._guessers.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget what this address got wrong: it has signed in."""
        self._guessers.pop(_network(address), None)

    def __len__(self) -> int:
        return len(self._guessers)

    def _refill(self, now_s: float) -> None:
        self._left = min(BURST, self._left + (now_s - self._at_s) * PER_SECOND)
        self._at_s = now_s

    def _forget(self, now_s: float) -> None:
        while self._guessers:
            oldest = next(iter(self._guessers.values()))
            if now_s - oldest.last_s < FORGET_S:
                break
            self._guessers.popitem(last=False)


def _network(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(IPv6Network((found, 64), strict=False))
    return str(found)
