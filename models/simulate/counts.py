"""One signal's counts per window and finest cell, straight away: what a Counter would give, without the events.

For measuring detection over weeks and over many segments, where simulating each event would take days. It shows what
moves when nothing is wrong (`docs/simulator.md` lists it with numbers), at four sizes of tenant, and planted problems
with their truth. The same seed gives the same counts; a pickled or deep-copied stream goes on exactly.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from detector.counter.record import SignalWindow, no_ints
from detector.events import Floats, Ints
from models.simulate.faults import Fault
from models.simulate.noise import CAMPAIGN_FACTOR, Campaign, Moving, plan_campaigns, season, share_season
from models.simulate.tenants import SCALES, Tenant

START_MS = 1_783_296_000_000
"""Monday 2026-07-06 07:00 WIB: no special days that the counts would not show lie near."""
BLOCK = 5
"""Windows over which volume and failure shares stand still (but for season and planted problems)."""
ROW_SHARE, ROW_LENGTH = 0.4, (3, 8)
"""Of those who fail, how many fail several times in a row, and how often."""
ROW_GAP_MIN = 0.4
"""Minutes between two attempts of a row, on average."""
ROW_SPREAD = 8
MAX_SHARE = 0.4
BOTS_A_WEEK = (10.0, 40.0)
VERSION_CAP = 0.72
"""Customers who ever take a new version; the others stay with what they have until it goes."""
SHARE, COUNT = "share", "count"


@dataclass(frozen=True)
class Bot:
    """One customer hammering one cell for some minutes."""

    start_ms: int
    end_ms: int
    cell: int
    attempts: float
    share: float


class CountStream:
    """A tenant's one signal, window by window.

    Parameters
    ----------
    scale : int
        About how many segments: 10, 300, 5_000 or 50_000.
    seed : int
    noise : float
        How far things wander and how often campaigns and bots come; 2.0 is "noise doubled".
    measure : str
        `share`: customers who fail of those who try. `count`: the events themselves, for silence, drops and bursts.
    problems : tuple of Fault
        What is planted; may be set at any time (`faults.plant` makes them).

    Attributes
    ----------
    window_ms : int
        The next window's start.
    last : three int64[cells]
        Of the latest window's cells: their row among the tenant's cells, people and total.
    """

    def __init__(
        self,
        scale: int,
        seed: int,
        noise: float = 1.0,
        problems: tuple[Fault, ...] = (),
        start_ms: int = START_MS,
        measure: str = SHARE,
    ) -> None:
        seeds = np.random.SeedSequence(seed).spawn(4)
        self._rng, weather, self._plan, world = (np.random.default_rng(s) for s in seeds)
        self.scale, self.noise, self.measure = SCALES[scale], noise, measure
        self.tenant = Tenant(world, self.scale)
        self.dimensions = self.tenant.dimensions
        self.problems = problems
        self.start_ms = self.window_ms = start_ms
        self._moving = Moving(weather, self.tenant.sizes, noise)
        self._releases: list[tuple[int, int, float]] = []
        """Slot, when its version came out, in how many days half of those who will have it have it."""
        self._minor = int(self._plan.integers(8, 30))
        slots = self.tenant.sizes[-1]
        self.values = [[f"{name}-{v:03d}" for v in range(n)] for name, n in self.scale.dimensions.items()]
        at = start_ms - int(7.5 * slots * DAY_MS)
        for slot in range(slots):
            at += int(self._plan.uniform(5, 9) * DAY_MS)
            self._release(slot, min(at, start_ms - DAY_MS))
        self._next_release_ms = self._releases[-1][1] + int(self._plan.uniform(5, 9) * DAY_MS)
        self._name_cells()
        self._campaigns: tuple[Campaign, ...] = ()
        self._bots: list[Bot] = []
        self.last: tuple[Ints, Ints, Ints] = (no_ints(), no_ints(), no_ints())
        self._pending: deque[list[Ints]] = deque([[] for _ in range(ROW_SPREAD)], maxlen=ROW_SPREAD)
        self._left = 0
        self._rate: Floats = np.zeros(0)
        self._share: Floats = np.zeros(0)
        self._cumulated: tuple[Floats, Floats] = (self._rate, self._rate)

    # --- what stands still for a block ------------------------------------------------------------------------------

    def _release(self, slot: int, at_ms: int) -> None:
        self._releases = [r for r in self._releases if r[0] != slot]
        self._releases.append((slot, at_ms, float(self._plan.uniform(1.2, 2.2))))
        self._minor += 1
        self.values[-1][slot] = f"5.{self._minor}.0"

    def _name_cells(self) -> None:
        codes = self.tenant.codes.tolist()
        cells = [tuple(self.values[d][v] for d, v in enumerate(code)) for code in codes]
        order = sorted(range(len(cells)), key=cells.__getitem__)
        self._order: Ints = np.array(order, np.int64)
        self._cells = [cells[i] for i in order]

    def _version_shares(self, now_ms: int) -> Floats:
        """Part of the customers who have each slot's version: float64[slots]."""
        shares = np.zeros(self.tenant.sizes[-1])
        left = 1.0
        for slot, at_ms, middle in reversed(self._releases):
            days = (now_ms - at_ms) / DAY_MS
            taken = VERSION_CAP / (1 + np.exp(-(days - middle) / 0.5)) if days > 0 else 0.0
            shares[slot] = left * taken
            left *= 1 - taken
        total: Floats = shares / shares.sum()
        return total

    def _begin_week(self) -> None:
        """Plan the week's campaigns and bots; those that last over its end go on."""
        now = self.window_ms
        sizes = dict(zip(self.dimensions[:-1], self.tenant.sizes[:-1], strict=True))
        kept = tuple(c for c in self._campaigns if c.end_ms > now)
        self._campaigns = kept + plan_campaigns(self._plan, now, 7.0, sizes, self.noise)
        self._bots = [b for b in self._bots if b.end_ms > now]
        smaller = min(1.0, max(0.1, self.scale.per_minute / 720))
        for _ in range(int(self._plan.poisson(self._plan.uniform(*BOTS_A_WEEK) * self.noise))):
            start = now + int(self._plan.uniform(0, 7) * DAY_MS)
            length = int(self._plan.uniform(2, 20) * MINUTE_MS)
            cell = int(np.searchsorted(np.cumsum(self.tenant.weight), self._plan.random()))
            attempts, share = self._plan.uniform(80, 800) * smaller, float(self._plan.uniform(0.5, 0.97))
            self._bots.append(Bot(start, start + length, min(cell, len(self._cells) - 1), attempts, share))

    def _begin_block(self) -> None:
        now = self.window_ms
        self._left = BLOCK
        if (now - self.start_ms) % WEEK_MS < BLOCK * MINUTE_MS:
            self._begin_week()
        if now >= self._next_release_ms:
            slot = self._releases[0][0]
            self._release(slot, now)
            self.tenant.renew(self._plan, slot)
            self._name_cells()
            self._next_release_ms = now + int(self._plan.uniform(5, 9) * DAY_MS)
        self._moving.step(BLOCK * MINUTE_MS / HOUR_MS)
        factors = [np.exp(log) for log in self._moving.volume()]
        factors[-1] = factors[-1] * self._version_shares(now) * self.tenant.sizes[-1]
        level = self.scale.per_minute
        for campaign in self._campaigns:
            if campaign.start_ms <= now < campaign.end_ms:
                if campaign.dimension is None:
                    level *= CAMPAIGN_FACTOR
                else:
                    factors[self.dimensions.index(campaign.dimension)][campaign.value] *= CAMPAIGN_FACTOR
        codes = self.tenant.codes
        rate = self.tenant.weight * level
        share = np.zeros(len(rate))
        for d, (factor, log) in enumerate(zip(factors, self._moving.share(), strict=True)):
            rate *= factor[codes[:, d]]
            share += log[codes[:, d]]
        share = np.minimum(self.tenant.base * np.exp(share) * share_season(now), MAX_SHARE)
        self._rate, self._share = rate, share
        self._cumulated = (np.cumsum(rate * share), np.cumsum(rate * (1 - share)))

    # --- a window ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[tuple[int, SignalWindow]]:
        """Yield windows without end: start in epoch ms, and the counts."""
        while True:
            yield self.next()

    def next(self) -> tuple[int, SignalWindow]:
        """Return the next window."""
        if not self._left:
            self._begin_block()
        self._left -= 1
        now = self.window_ms
        self.window_ms = now + MINUTE_MS
        failing, fine = self._cumulated
        active = [(p, s) for p in self.problems if (s := p.strength(now)) > 0]
        if active:
            rate, share = self._rate.copy(), self._share.copy()
            for problem, strength in active:
                inside = self.inside(problem)
                rate[inside] *= 1 + strength * (problem.volume - 1)
                share[inside] = problem.shares(share[inside], strength)
            failing, fine = np.cumsum(rate * share), np.cumsum(rate * (1 - share))
        level = season(now + MINUTE_MS // 2)
        bad = self._drawn(failing, level)
        cells = len(self._rate)
        attempts = np.bincount(bad, minlength=cells)
        people = attempts.copy()
        total = people + np.bincount(self._drawn(fine, level), minlength=cells)
        for rows in self._rows(bad):
            attempts += np.bincount(rows, minlength=cells)
        calls = total + attempts - people
        for bot in self._bots:
            if bot.start_ms <= now < bot.end_ms:
                made = int(self._rng.poisson(bot.attempts * MINUTE_MS / (bot.end_ms - bot.start_ms)))
                failed = int(self._rng.binomial(made, bot.share))
                attempts[bot.cell] += failed
                calls[bot.cell] += made
                # One customer: one failure that is evidence, and nothing else for half an hour.
                first = int(now - bot.start_ms < MINUTE_MS and failed > 0)
                people[bot.cell] += first
                total[bot.cell] += first
        if self.measure == COUNT:
            people, total, attempts = total, calls, calls
        return now, self._window(people, total, attempts)

    def _drawn(self, cumulated: Floats, level: float) -> Ints:
        """Cells of a Poisson number of customers: int64[customers]."""
        whole = float(cumulated[-1])
        spots = self._rng.random(int(self._rng.poisson(whole * level))) * whole
        return np.minimum(np.searchsorted(cumulated, spots, side="right"), len(cumulated) - 1)

    def _rows(self, bad: Ints) -> list[Ints]:
        """Further attempts of those who fail in a row, as far as they fall into this window: cells, several arrays."""
        rng = self._rng
        due = self._pending.popleft()
        self._pending.append([])
        who = bad[rng.random(len(bad)) < ROW_SHARE]
        if len(who):
            more = rng.integers(ROW_LENGTH[0] - 1, ROW_LENGTH[1], len(who))
            cell = np.repeat(who, more)
            first = np.repeat(np.cumsum(more) - more, more)
            after = (np.arange(len(cell)) - first + 1) * ROW_GAP_MIN * rng.uniform(0.5, 1.5, len(cell))
            later = np.minimum((np.repeat(rng.random(len(who)), more) + after).astype(np.int64), ROW_SPREAD - 1)
            due = [*due, cell[later == 0]]
            for step in range(1, int(later.max(initial=0)) + 1):
                self._pending[step - 1].append(cell[later == step])
        return due

    def _window(self, people: Ints, total: Ints, attempts: Ints) -> SignalWindow:
        used = np.flatnonzero((total + attempts)[self._order])
        rows = self._order[used]
        self.last = rows, people[rows], total[rows]
        return SignalWindow(
            cells=[self._cells[i] for i in used.tolist()],
            people=people[rows],
            total=total[rows],
            attempts=attempts[rows],
        )

    # --- the truth --------------------------------------------------------------------------------------------------

    def rates(self) -> Floats:
        """Customers a minute in each cell, averaged over the week, as it is now: float64[cells]."""
        if not len(self._rate):
            self._left = 0
            self._begin_block()
        return self._rate

    def inside(self, problem: Fault) -> NDArray[np.bool_]:
        """bool[cells]: the cells that a problem strikes."""
        found = np.ones(len(self.tenant.codes), np.bool_)
        for d, value in problem.where:
            found &= self.tenant.codes[:, d] == value
        return found

    def covered(self, where: dict[str, str]) -> NDArray[np.bool_]:
        """bool[cells]: the cells that lie in a cause as a detector names it."""
        found = np.ones(len(self.tenant.codes), np.bool_)
        for name, value in where.items():
            d = self.dimensions.index(name)
            code = self.values[d].index(value) if value in self.values[d] else -1
            found &= self.tenant.codes[:, d] == code
        return found

    def named(self, problem: Fault) -> dict[str, str]:
        """Return where a problem strikes, by name."""
        return {self.dimensions[d]: self.values[d][v] for d, v in problem.where}


class Recent:
    """The last hours' windows: what `Watch.step` looks up of the signal's own past."""

    def __init__(self, hours: float = 12.0) -> None:
        self._windows: deque[tuple[int, SignalWindow]] = deque(maxlen=int(hours * HOUR_MS / MINUTE_MS))

    def add(self, window_ms: int, record: SignalWindow) -> None:
        self._windows.append((window_ms, record))

    def __call__(self, from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]:
        return [(at, record) for at, record in self._windows if from_ms <= at < to_ms and record.cells]
