"""What goes wrong, by plan: problems planted into the traffic, and the book of whom they hit.

Truth rests on one uniform number u per attempt: it fails iff u < p_with, and would have failed anyway iff
u < p_without. The repeats in a row of failures are no attempts of their own: the row is there because of its first
failure, and so is its cause. Nothing here looks at what a detector does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config import HOUR_MS, MINUTE_MS
from detector.events import Floats, Ints
from models.simulate.noise import season
from models.simulate.world import API, CHECKOUT, LOGIN, PAYMENT, Kind, Shop

FIRST_AFTER_MS = 6 * HOUR_MS
LAST_BEFORE_END_MS = HOUR_MS
APART_MS = 3 * HOUR_MS
"""Between two problems of one kind."""
MIN_SEASON = 0.55
"""No problem begins in the dead of night, where nobody could see it."""
ENOUGH_PEOPLE = 60
"""Expected number of people hit that a cause should have, if any has."""
COMPLAINT_SHARE = 0.12
SILENCE_COMPLAINT_SHARE = 0.06


@dataclass(frozen=True)
class Planted:
    """One problem: what fails where, from when to when, and how hard.

    `strength` is the additional probability to fail at the worst moment; with `ramp` it grows from 0 at the onset.
    """

    name: str
    what: str
    kind: Kind
    onset_ms: int
    end_ms: int
    where: dict[str, int]
    strength: float
    ramp: bool = False

    @property
    def silence(self) -> bool:
        return self.kind is CHECKOUT

    def added(self, time_ms: Ints) -> Floats:
        """Probability that an attempt in `where` fails because of this problem, by time: float64[attempts]."""
        inside = (time_ms >= self.onset_ms) & (time_ms < self.end_ms)
        height = (time_ms - self.onset_ms) / (self.end_ms - self.onset_ms) if self.ramp else 1.0
        return np.where(inside, self.strength * height, 0.0)


@dataclass(frozen=True)
class _Shape:
    what: str
    kind: Kind
    hours: tuple[float, float]
    ramp: bool = False


_SHAPES = (
    _Shape("failures", LOGIN, (1.0, 2.5)),
    _Shape("rising declines", PAYMENT, (1.0, 2.0), ramp=True),
    _Shape("silence", CHECKOUT, (20 / 60, 45 / 60)),
    _Shape("slow answers", API, (1.0, 2.0)),
)


def plan_problems(rng: np.random.Generator, shop: Shop, start_ms: int, days: float, rate: float) -> tuple[Planted, ...]:
    """Problems of a run, in order of onset: one of each shape in the first two days, then three in two days.

    A run too short for any (below 7.5 hours) has none.
    """
    first, last = start_ms + FIRST_AFTER_MS, start_ms + int(days * 24 * HOUR_MS)
    room = last - first
    if room < 1.5 * HOUR_MS / 2:
        return ()
    count = max(len(_SHAPES), round(1.5 * days))
    shapes: list[_Shape] = []
    while len(shapes) < count:
        shapes += [_SHAPES[i] for i in rng.permutation(len(_SHAPES))]
    planted: list[Planted] = []
    numbers: dict[str, int] = {}
    for i, shape in enumerate(shapes[:count]):
        length = min(int(rng.uniform(*shape.hours) * HOUR_MS), int(0.6 * room))
        onset = _onset(rng, planted, shape, length, first + room * i // count, first + room * (i + 1) // count, last)
        numbers[shape.kind.name] = numbers.get(shape.kind.name, 0) + 1
        name = f"{shape.kind.name}-{numbers[shape.kind.name]}"
        planted.append(_planted(rng, shop, shape, name, onset, onset + length, rate, planted))
    return tuple(sorted(planted, key=lambda p: p.onset_ms))


def _onset(
    rng: np.random.Generator,
    before: Sequence[Planted],
    shape: _Shape,
    length: int,
    slot_start: int,
    slot_end: int,
    last: int,
) -> int:
    """Choose a moment in the slot, now and then in the last problem's span, by day and clear of its own kind."""
    latest = min(slot_end, last - length - min(LAST_BEFORE_END_MS, length // 2))
    earliest = min(slot_start, latest)
    best, best_cost = earliest, np.inf
    for _ in range(30):
        onset = int(rng.integers(earliest, latest + 1))
        if before and rng.random() < 0.25:
            onset = int(rng.integers(before[-1].onset_ms, before[-1].end_ms))
        onset -= onset % 1_000
        cost = max(0.0, MIN_SEASON - min(season(onset), season(onset + length)))
        own = [p for p in before if p.kind is shape.kind]
        if any(onset < p.end_ms + APART_MS and p.onset_ms < onset + length + APART_MS for p in own):
            cost += 10.0
        if onset + length > last:
            cost += 5.0
        if cost < best_cost:
            best, best_cost = onset, cost
        if cost == 0:
            break
    return best


def _planted(
    rng: np.random.Generator,
    shop: Shop,
    shape: _Shape,
    name: str,
    onset: int,
    end: int,
    rate: float,
    before: Sequence[Planted],
) -> Planted:
    kind = shape.kind
    hours = (end - onset) / HOUR_MS
    attempts = rate * kind.traffic * season((onset + end) // 2) * hours * 3600
    used = [p.where for p in before if p.kind is kind]
    choices = [(where, part) for where, part in _choices(rng, shop, shape, onset) if where not in used or not where]
    if kind is CHECKOUT:
        enough = [where for where, part in choices if part * attempts / hours >= 60 * ENOUGH_PEOPLE / 4]
        where = enough[int(rng.integers(len(enough)))] if enough else {}
        return Planted(name, shape.what, kind, onset, end, where, 1.0)
    cells = shop.base[kind.name]
    shares = [float(cells[shop.dimensions.mask(kind, where)].mean()) for where, _ in choices]
    targets = [float(np.exp(rng.uniform(np.log(min(0.7, max(0.2, 5 * p))), np.log(0.8)))) for p in shares]
    height = 0.5 if shape.ramp else 1.0
    hits = [0.7 * attempts * part * (t - p) * height for (_, part), t, p in zip(choices, targets, shares, strict=True)]
    enough_at = [i for i, people in enumerate(hits) if people >= ENOUGH_PEOPLE]
    at = enough_at[int(rng.integers(len(enough_at)))] if enough_at else int(np.argmax(hits))
    target = targets[at] if enough_at else 0.8
    strength = 1 - (1 - target) / (1 - shares[at])
    return Planted(name, shape.what, kind, onset, end, choices[at][0], strength, shape.ramp)


def _choices(rng: np.random.Generator, shop: Shop, shape: _Shape, onset: int) -> list[tuple[dict[str, int], float]]:
    """Causes that a shape may have, with the part of the kind's traffic in each at the onset."""
    people, values = shop.customers, shop.dimensions.values
    if shape.kind is CHECKOUT:
        ios = float(people.activity[people.platform == 1].sum() / people.activity.sum())
        return [({}, 1.0), ({"platform": 0}, 1 - ios), ({"platform": 1}, ios)]
    sample = people.draw(rng, 20_000)
    columns = shop.cells(rng, shape.kind, sample, people.versions(onset))
    of = dict(zip(shape.kind.dimensions, columns, strict=True))
    if shape.kind is LOGIN:
        version, provider = of["app_version"], of["otp_provider"]
        pairs = [(v, o) for v in range(len(values["app_version"])) for o in range(len(values["otp_provider"]))]
        found = [
            ({"app_version": v, "otp_provider": o}, float(((version == v) & (provider == o)).mean())) for v, o in pairs
        ]
    elif shape.kind is PAYMENT:
        bank, card = of["bank"], of["method"] == 0
        banks = range(len(values["bank"]))
        found = [({"bank": b}, float((bank == b).mean())) for b in banks]
        found += [({"bank": b, "method": 0}, float(((bank == b) & card).mean())) for b in banks]
    else:
        found = [({"endpoint": e}, float((of["endpoint"] == e).mean())) for e in range(len(values["endpoint"]))]
    # A third of the signal or more would be no cause but the signal itself.
    return [(where, part) for where, part in found if 0.01 < part < 0.34]


# --- the book -------------------------------------------------------------------------------------------------------


@dataclass
class _Page:
    """What is known of one problem so far; arrays over customers while it lasts, then lists of ids."""

    hit: NDArray[np.bool_]
    because: NDArray[np.bool_]
    anyway_log: Floats
    asked: NDArray[np.bool_]
    """Customers for whom it is decided whether they complain."""
    first_complaint_ms: int | None = None


@dataclass
class Book:
    """Whom each planted problem hit: kept while traffic is made, read when it has ended."""

    problems: tuple[Planted, ...]
    shop: Shop
    _pages: dict[str, _Page] = field(default_factory=dict)
    _masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def active(self, kind: Kind, from_ms: int, to_ms: int) -> list[Planted]:
        return [p for p in self.problems if p.kind is kind and p.onset_ms < to_ms and from_ms < p.end_ms]

    def mask(self, problem: Planted) -> NDArray[np.bool_]:
        """Which cells lie in the problem's `where`: bool[cells]."""
        if problem.name not in self._masks:
            self._masks[problem.name] = self.shop.dimensions.mask(problem.kind, problem.where)
        return self._masks[problem.name]

    def page(self, problem: Planted) -> _Page:
        if problem.name not in self._pages:
            n = self.shop.customers.count
            flags = [np.zeros(n, np.bool_) for _ in range(3)]
            self._pages[problem.name] = _Page(flags[0], flags[1], np.zeros(n), flags[2])
        return self._pages[problem.name]

    def note(
        self,
        problem: Planted,
        customer: Ints,
        repeat: NDArray[np.bool_],
        u: Floats,
        p_without: Floats,
        p_with: Floats,
    ) -> NDArray[np.bool_]:
        """Write down failures in the problem's `where` and span, one row each.

        Returns
        -------
        bool[failures]
            Which are no repeats and would not have been without the problem.
        """
        page = self.page(problem)
        because = ~repeat & (u >= p_without)
        page.hit[customer] = True
        page.because[customer[because]] = True
        np.add.at(page.anyway_log, customer[~repeat], np.log(p_without / p_with)[~repeat])
        return because

    def complaining(
        self, rng: np.random.Generator, problem: Planted, customer: Ints, share: float
    ) -> NDArray[np.bool_]:
        """Which of these rows make their customer complain: each customer is asked once a problem. bool[rows]."""
        page = self.page(problem)
        _, first = np.unique(customer, return_index=True)
        first = first[~page.asked[customer[first]]]
        page.asked[customer[first]] = True
        found = np.zeros(len(customer), np.bool_)
        found[first[rng.random(len(first)) < share]] = True
        return found

    def complained(self, problem: Planted, time_ms: int) -> None:
        page = self.page(problem)
        page.first_complaint_ms = min(time_ms, page.first_complaint_ms or time_ms)

    def truth(self, ids: Sequence[str], rfc3339: Any) -> list[dict[str, Any]]:
        """Return the `problems` of truth.json, by onset. `ids` names customers; `rfc3339` writes epoch ms."""
        found = []
        for problem in self.problems:
            page = self.page(problem)
            values = self.shop.dimensions.values
            entry: dict[str, Any] = {
                "name": problem.name,
                "kind": problem.what,
                "signals": [problem.kind.signal],
                "onset": rfc3339(problem.onset_ms),
                "end": rfc3339(problem.end_ms),
                "where": {d: values[d][v] for d, v in problem.where.items()},
            }
            lists: dict[str, NDArray[np.bool_]] = {
                "affected": page.hit,
                "because": page.because,
                # 1 − Π p_without / p_with over a customer's failures (a row is one) is the probability of the problem.
                "oracle": page.hit & (page.anyway_log <= np.log(0.5)),
            }
            for name, who in lists.items():
                entry[name] = None if problem.silence else sorted(ids[i] for i in np.flatnonzero(who).tolist())
            first = page.first_complaint_ms
            entry["first_complaint"] = None if first is None else rfc3339(first)
            found.append(entry)
        return found


def complaint_delay_ms(rng: np.random.Generator, n: int) -> Ints:
    """Milliseconds from a failure to the complaint: four minutes at least, half within 19, most within an hour."""
    return ((4 + rng.lognormal(np.log(15), 0.8, n)) * MINUTE_MS).astype(np.int64)
