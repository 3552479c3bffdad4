"""A whole simulated run: traffic as blocks of NDJSON, and the truth about it.

The same seed, days, rate and noise give the same bytes, every time.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from detector.config import DAY_MS
from models.simulate import texts
from models.simulate.lines import Writer, rfc3339
from models.simulate.noise import plan_campaigns
from models.simulate.problems import Book, Planted, plan_problems
from models.simulate.sizes import SHOP, SIZES
from models.simulate.traffic import BLOCK_MS, Traffic, plan_bots
from models.simulate.world import Shop, customers_for

START_MS = 1_772_409_600_000
"""Monday 2026-03-02 07:00 WIB."""

_CAMPAIGN_DIMENSIONS = ("bank", "city", "endpoint", "method", "otp_provider", "platform")


class World:
    """One run, made by `simulate`.

    Attributes
    ----------
    problems : tuple of Planted
        What is planted, by onset.
    start_ms, end_ms : int
        The run's span of event time.
    expected_events : int
        About how many events there will be; for a progress bar.
    """

    def __init__(
        self, seed: int, days: float, rate: float, *, quiet_only: bool, noise: float, start_ms: int, segments: int
    ) -> None:
        self.seed, self.days, self.rate, self.noise = seed, days, rate, noise
        self.start_ms, self.end_ms = start_ms, start_ms + int(days * DAY_MS)
        self.expected_events = int(rate * days * 86_400)
        if self.end_ms <= self.start_ms:
            message = f"days: expected more than 0, found {days}"
            raise ValueError(message)
        self._seeds = np.random.SeedSequence(seed).spawn(6)
        self.shop = Shop(self._rng(0), start_ms, days, customers_for(rate), SIZES[segments])
        self.problems: tuple[Planted, ...] = ()
        if not quiet_only:
            self.problems = plan_problems(self._rng(1), self.shop, start_ms, days, rate)
        self._people = texts.People(self.shop.customers, self.shop.size)
        self._truth: dict[str, Any] | None = None
        self.events = 0
        """Events given out by `blocks` so far."""
        self.now_ms = start_ms
        """End of the last block given out."""

    def _rng(self, role: int) -> np.random.Generator:
        # One generator per role, so that planting a problem does not change the weather.
        return np.random.default_rng(self._seeds[role])

    def blocks(self) -> Iterator[bytes]:
        """Yield the run's events in order of arrival: whole lines of NDJSON, five minutes of them at a time.

        Each call begins anew and gives the same bytes; after the last block `truth` is known.
        """
        self._truth, self.events, self.now_ms = None, 0, self.start_ms
        sizes = {d: len(self.shop.dimensions.values[d]) for d in _CAMPAIGN_DIMENSIONS}
        plan = self._rng(2)
        campaigns = plan_campaigns(plan, self.start_ms, self.days, sizes, self.noise)
        bots = plan_bots(plan, self.shop.customers.count, self.start_ms, self.days, self.rate, self.noise)
        book = Book(self.problems, self.shop)
        traffic = Traffic(self._rng(3), self._rng(4), self.shop, book, campaigns, bots, self.rate, self.noise)
        people = self._people
        english = self.shop.customers.english.astype(np.int64)
        writer = Writer(self._rng(5), self.shop.dimensions, people.ids, people.aliases, english)
        for start in range(self.start_ms, self.end_ms, BLOCK_MS):
            end = min(start + BLOCK_MS, self.end_ms)
            done, contacts = traffic.block(start, end)
            data = writer.block(done, contacts, start, end, end == self.end_ms)
            self.events, self.now_ms = writer.events, end
            if end == self.end_ms:
                self._truth = {"seed": self.seed, "problems": book.truth(people.ids, rfc3339)}
            yield data

    @property
    def truth(self) -> dict[str, Any]:
        """What truth.json holds.

        Raises
        ------
        RuntimeError
            Before `blocks` has been read to its end: whom a problem hits is decided while traffic is made.
        """
        if self._truth is None:
            message = "the truth is known only after the last block: read blocks() to its end first"
            raise RuntimeError(message)
        return self._truth

    def customers_csv(self) -> str:
        """Return the directory; about 2 % of the active customers are not in it."""
        return self._people.csv()

    def signals_yml(self) -> str:
        return texts.signals_yml(self.shop.size)

    def tocsin_yml(self) -> str:
        return texts.tocsin_yml()


def simulate(
    seed: int,
    days: float,
    rate: float | None = None,
    *,
    quiet_only: bool = False,
    noise: float = 1.0,
    start_ms: int = START_MS,
    segments: int = SHOP,
) -> World:
    """Return a run of an Indonesian online shop and bank, with problems planted.

    Parameters
    ----------
    seed : int
        Not negative. Everything is drawn from it.
    days : float
        Length; problems begin after six hours at the earliest, and a run of two days has one of each kind.
    rate : float
        Events a second, averaged over a week (an evening has 1.8 times as many); by default what suits the size.
    quiet_only : bool
        Plant nothing.
    noise : float
        How far shares and volumes wander, and how often campaigns and bots come; 2.0 is "noise doubled".
    segments : int
        How large the shop is: about so many segments has its largest signal. 10, 300, 5_000 or 50_000.

    Raises
    ------
    ValueError
        The run has no length, or there is no shop of that size.

    Examples
    --------
    >>> world = simulate(1, days=0.01, rate=2.0)
    >>> lines = b"".join(world.blocks()).splitlines()
    >>> len(lines) == world.events, world.truth
    (True, {'seed': 1, 'problems': []})
    """
    if segments not in SIZES:
        message = f"segments: expected one of {', '.join(map(str, SIZES))}, found {segments}"
        raise ValueError(message)
    rate = SIZES[segments].rate if rate is None else rate
    return World(seed, days, rate, quiet_only=quiet_only, noise=noise, start_ms=start_ms, segments=segments)
