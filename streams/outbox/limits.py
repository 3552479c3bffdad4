"""How much may go out now: so many in any stretch of an hour, of a second; so many different customers in a day.

What is over a limit waits where it is: nothing is written for it, the limit is one fact. A limit counts what went out
(or may have) within the stretch that ends now, so it holds for every stretch, also right after a start
(`streams/outbox/outbox.py: Outbox.gone_out` brings it back) and after a lull: nothing is saved up for a burst.
Each function takes `now_ms`; the clock is elsewhere.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

SECOND_MS = 1_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SLOTS = 60
"""A stretch is counted in so many slots; one counts until all of it is past."""


class Limit(StrEnum):
    """What may bind, by the names that the metrics have."""

    HOUR = "hour"  # all signals together
    SIGNAL = "signal"
    RATE = "rate"  # of a channel, per second
    TIER = "tier"  # different customers that a channel's provider allows in a day


class Cap:
    """At most `most` in any stretch of `width_ms`."""

    def __init__(self, most: int, width_ms: int) -> None:
        self.most, self.width_ms = most, width_ms
        self._slot_ms = max(width_ms // SLOTS, 1)
        self._slots: deque[list[int]] = deque()  # [slot, how many], oldest first
        self._sum = 0

    def room(self, now_ms: int) -> int:
        while self._slots and (self._slots[0][0] + 1) * self._slot_ms <= now_ms - self.width_ms:
            self._sum -= self._slots.popleft()[1]
        return max(self.most - self._sum, 0)

    def take(self, at_ms: int, n: int = 1) -> None:
        """Count `n` (or take back, negative) that went out at a moment."""
        slot = at_ms // self._slot_ms
        for entry in reversed(self._slots):
            if entry[0] == slot:
                entry[1] += n
                break
            if entry[0] < slot:
                self._slots.insert(self._slots.index(entry) + 1, [slot, n])
                break
        else:
            self._slots.appendleft([slot, n])
        self._sum += n


class Tier:
    """At most `most` different customers in any 24 hours; who was written to in them costs nothing."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._last: OrderedDict[int, int] = OrderedDict()  # customer → when last, oldest first
        self._under_way: set[int] = set()

    def room(self, now_ms: int) -> int:
        """Return how many new customers may be written to now."""
        while self._last and next(iter(self._last.values())) <= now_ms - DAY_MS:
            self._last.popitem(last=False)
        return max(self.most - len(self._last) - len(self._under_way - self._last.keys()), 0)

    def knows(self, customer: int) -> bool:
        return customer in self._last or customer in self._under_way

    def customers(self) -> list[int]:
        return list(self._last)

    def begin(self, customer: int) -> None:
        """A message is on its way to a customer."""
        self._under_way.add(customer)

    def end(self, customer: int, gone_ms: int | None) -> None:
        """It went out then, or did not (None)."""
        self._under_way.discard(customer)
        if gone_ms is not None:
            self._last[customer] = max(gone_ms, self._last.get(customer, gone_ms))
            self._last.move_to_end(customer)


def rate(per_second: float) -> Cap:
    """Return the cap of a channel's rate: 0.2 a second is one in five.

    Examples
    --------
    >>> (rate(20).most, rate(20).width_ms), (rate(0.2).most, rate(0.2).width_ms), (rate(1.5).most, rate(1.5).width_ms)
    ((20, 1000), (1, 5000), (3, 2000))
    """
    seconds = next((n for n in range(1, 11) if per_second * n >= 1 and float(per_second * n).is_integer()), None)
    if seconds is not None:
        return Cap(round(per_second * seconds), seconds * SECOND_MS)
    if per_second >= 1:
        return Cap(int(per_second), SECOND_MS)
    return Cap(1, int(SECOND_MS / per_second) + 1)


@dataclass(frozen=True)
class GoneOut:
    """A message that goes out, or went."""

    channel: str
    signal: str
    customer: int
    at_ms: int


@dataclass
class Limits:
    """All limits of one tenant's sending."""

    per_hour: int
    per_signal_hour: int
    rates: dict[str, Cap] = field(default_factory=dict)
    """By channel."""
    tiers: dict[str, Tier] = field(default_factory=dict)
    """By channel."""

    def __post_init__(self) -> None:
        self._hour = Cap(self.per_hour, HOUR_MS)
        self._signals: dict[str, Cap] = {}

    def count(self, gone: Iterable[GoneOut]) -> None:
        """Count what went out before, in the order of time."""
        for one in gone:
            self.begin(one)
            self.end(one, one.at_ms)

    def closed(self, channel: str, signal: str, now_ms: int) -> Limit | None:
        """Return the limit for which all of a signal's messages on a channel wait; None: some may go.

        For the tier only those to new customers wait.
        """
        if self._hour.room(now_ms) == 0:
            return Limit.HOUR
        if self._signal(signal).room(now_ms) == 0:
            return Limit.SIGNAL
        if channel in self.rates and self.rates[channel].room(now_ms) == 0:
            return Limit.RATE
        if channel in self.tiers and self.tiers[channel].room(now_ms) == 0:
            return Limit.TIER
        return None

    def binding(self, channel: str, signal: str, customer: int, now_ms: int) -> Limit | None:
        """Return the limit that this message waits for; None: it may go."""
        limit = self.closed(channel, signal, now_ms)
        return None if limit is Limit.TIER and self.tiers[channel].knows(customer) else limit

    def begin(self, one: GoneOut) -> None:
        """Count a message that is handed over now."""
        self._hour.take(one.at_ms)
        self._signal(one.signal).take(one.at_ms)
        if one.channel in self.rates:
            self.rates[one.channel].take(one.at_ms)
        if one.channel in self.tiers:
            self.tiers[one.channel].begin(one.customer)

    def end(self, one: GoneOut, gone_ms: int | None) -> None:
        """It went out then; or did not (None), and only counts in the channel's rate: the other side was asked."""
        if gone_ms is None:
            self._hour.take(one.at_ms, -1)
            self._signal(one.signal).take(one.at_ms, -1)
        if one.channel in self.tiers:
            self.tiers[one.channel].end(one.customer, gone_ms)

    def undo(self, one: GoneOut) -> None:
        """Count a message no longer, in no limit: as if it had not begun."""
        self.end(one, None)
        if one.channel in self.rates:
            self.rates[one.channel].take(one.at_ms, -1)

    def _signal(self, name: str) -> Cap:
        return self._signals.setdefault(name, Cap(self.per_signal_hour, HOUR_MS))


RAISE_AFTER_MS = 5 * 60_000
CLEAR_AFTER_MS = 15 * 60_000


@dataclass(frozen=True)
class Binding:
    """Whether ops are to be told that notices wait: raised once it has lasted, cleared once it has been calm for long.

    Attributes
    ----------
    since_ms
        Since when something waits for a limit, with no calm in between; None: nothing does.
    raised
        They were told.
    calm_ms
        Since when nothing waits, while `raised`.
    """

    since_ms: int | None = None
    raised: bool = False
    calm_ms: int | None = None

    def seen(self, bound: bool, now_ms: int) -> "Binding":
        """Return what it is after a look.

        Examples
        --------
        >>> told = Binding().seen(True, 0).seen(True, RAISE_AFTER_MS)
        >>> told.raised, told.seen(False, 400_000).seen(True, 500_000).raised
        (True, True)
        >>> told.seen(False, 400_000).seen(False, 400_000 + CLEAR_AFTER_MS).raised
        False
        """
        if bound:
            since_ms = now_ms if self.since_ms is None else self.since_ms
            return Binding(since_ms, self.raised or now_ms - since_ms >= RAISE_AFTER_MS)
        if not self.raised:
            return Binding()
        calm_ms = now_ms if self.calm_ms is None else self.calm_ms
        return Binding() if now_ms - calm_ms >= CLEAR_AFTER_MS else Binding(self.since_ms, True, calm_ms)


def named(found: Iterable[tuple[Limit, str]]) -> str:
    """Return limits that bind, in words: `signal payments, hour`.

    Examples
    --------
    >>> named([(Limit.SIGNAL, "payments"), (Limit.HOUR, ""), (Limit.SIGNAL, "logins")])
    'hour; signal: logins, payments'
    """
    by: dict[Limit, list[str]] = {}
    for limit, which in sorted(Counter(found)):
        by.setdefault(limit, []).append(which)
    return "; ".join(f"{limit.value}: {', '.join(w)}" if any(w) else limit.value for limit, w in by.items())
