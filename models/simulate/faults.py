"""What goes wrong in a stream of counts, by kind: where, from when to when, how hard. The truth for scoring."""

from dataclasses import dataclass, replace

import numpy as np

from detector.config import HOUR_MS, MINUTE_MS
from detector.events import Floats
from models.simulate.tenants import Scale

TO_ALL = 0.97
"""Failure share of a problem "to 100 %"."""
RELAPSE_AFTER_MS = 2 * HOUR_MS
FIRST_EPISODE_MS = HOUR_MS
FOREVER_MS = 2**62


@dataclass(frozen=True)
class Fault:
    """One planted problem.

    Attributes
    ----------
    where : tuple of (dimension, value) indices
        Fixed dimensions; empty: everywhere.
    odds : float
        The odds of failing are multiplied by it (inf: nearly all fail).
    volume : float
        The events are multiplied by it.
    ramp_ms : int
        It grows to its full size (in the log of the odds) over so long.
    episodes : tuple of (start_ms, end_ms)
        When it is on.
    """

    kind: str
    where: tuple[tuple[int, int], ...]
    episodes: tuple[tuple[int, int], ...]
    odds: float = 1.0
    volume: float = 1.0
    ramp_ms: int = 0

    @property
    def onset_ms(self) -> int:
        return self.episodes[0][0]

    def strength(self, window_ms: int, width_ms: int = MINUTE_MS) -> float:
        """Part of the window's effect: 0 off, 1 full; a window that is cut by an end counts in part."""
        on = 0.0
        for start, end in self.episodes:
            inside = max(0, min(end, window_ms + width_ms) - max(start, window_ms)) / width_ms
            if inside and self.ramp_ms:
                inside *= min(1.0, max(0.0, (window_ms + width_ms / 2 - start) / self.ramp_ms))
            on += inside
        return on

    def shares(self, ordinary: Floats, strength: float) -> Floats:
        """Failure shares with the problem on: float64[cells]. What is on in part counts in part of the log odds."""
        if np.isinf(self.odds):
            mixed: Floats = ordinary + strength * (TO_ALL - ordinary)
        else:
            odds = self.odds**strength
            mixed = ordinary * odds / (1 - ordinary + ordinary * odds)
        return mixed


@dataclass(frozen=True)
class Kind:
    """A kind of problem: in how many dimensions, in segments of which traffic, with which effect."""

    name: str
    dimensions: int
    size: str
    """`usual` (at least half the average of its dimension), `small`, `tiny`, `pair`, `parent` or `whole`."""
    odds: float = 1.0
    volume: float = 1.0
    ramp_ms: int = 0
    faults: int = 1
    relapse: bool = False


_INF = float("inf")
SHARE_KINDS = (
    Kind("x2", 1, "usual", 2.0),
    Kind("x5", 1, "usual", 5.0),
    Kind("to 100 %", 1, "usual", _INF),
    Kind("ramp to x5", 1, "usual", 5.0, ramp_ms=2 * HOUR_MS),
    Kind("small x5", 1, "small", 5.0),
    Kind("small to 100 %", 1, "small", _INF),
    Kind("tiny to 100 %", 2, "tiny", _INF),
    Kind("pair x5", 2, "pair", 5.0),
    Kind("parent x3", 1, "parent", 3.0),
    Kind("all x2", 0, "whole", 2.0),
    Kind("two at once", 1, "usual", 5.0, faults=2),
    Kind("relapse", 1, "usual", 5.0, relapse=True),
    Kind("three dimensions x5", 3, "pair", 5.0),
)
DOWN_KINDS = (
    Kind("silence 1-5/min", 1, "silence", volume=0.0),
    Kind("silence of all", 0, "whole", volume=0.0),
    Kind("-30 % single", 1, "usual", volume=0.7),
    Kind("-30 % all", 0, "whole", volume=0.7),
)
UP_KINDS = (
    Kind("burst x3 single", 1, "usual", volume=3.0),
    Kind("burst x3 small", 1, "small", volume=3.0),
    Kind("burst x3 all", 0, "whole", volume=3.0),
    Kind("burst x10 single", 1, "usual", volume=10.0),
)
SILENCE_RANGE = (1.0, 5.0)


def plant(
    rng: np.random.Generator,
    kind: Kind,
    scale: Scale,
    codes: np.ndarray,
    rates: Floats,
    onset_ms: int,
) -> tuple[Fault, ...]:
    """Choose where a problem of this kind strikes.

    Parameters
    ----------
    codes : int64[cells, dimensions]
    rates : float64[cells]
        Customers a minute in each cell, averaged over the week.
    """
    found: list[Fault] = []
    for _ in range(kind.faults):
        where = _where(rng, kind, scale, codes, rates, [f.where for f in found])
        episodes: tuple[tuple[int, int], ...] = ((onset_ms, FOREVER_MS),)
        if kind.relapse:
            end = onset_ms + FIRST_EPISODE_MS
            episodes = ((onset_ms, end), (end + RELAPSE_AFTER_MS, FOREVER_MS))
        found.append(Fault(kind.name, where, episodes, kind.odds, kind.volume, kind.ramp_ms))
    return tuple(found)


def ended(fault: Fault, end_ms: int) -> Fault:
    """Return the problem, over for good at `end_ms`."""
    return replace(fault, episodes=tuple((s, min(e, end_ms)) for s, e in fault.episodes if s < end_ms))


def _where(
    rng: np.random.Generator,
    kind: Kind,
    scale: Scale,
    codes: np.ndarray,
    rates: Floats,
    before: list[tuple[tuple[int, int], ...]],
) -> tuple[tuple[int, int], ...]:
    if kind.size == "whole":
        return ()
    sizes = tuple(scale.dimensions.values())
    count = len(sizes)
    start = 1 if scale.nested else 0
    if kind.size == "parent":
        families: list[tuple[int, ...]] = [(0,)]
    elif kind.dimensions == 1:
        families = [(d,) for d in range(start, count)]
    elif kind.dimensions == 2:
        families = [(d, e) for d in range(start, count) for e in range(d + 1, count)]
    else:
        families = [(d, e, f) for d in range(start, count) for e in range(d + 1, count) for f in range(e + 1, count)]
    families = families or [tuple(range(count))]
    # Two at once strike different dimensions, or they would be one problem in two values.
    other = [f for f in families if not any({d for d, _ in w} & set(f) for w in before)]
    families = other or families
    wheres: list[tuple[tuple[int, int], ...]] = []
    traffic: list[float] = []
    for family in families:
        key = np.ravel_multi_index(tuple(codes[:, d] for d in family), tuple(sizes[d] for d in family))
        rate = np.bincount(key, weights=rates)
        if kind.size in ("usual", "parent"):
            enough = np.flatnonzero(rate >= rate.sum() / len(rate) / 2)
        else:
            enough = np.flatnonzero(rate > 0)
        for k in enough.tolist():
            values = np.unravel_index(k, tuple(sizes[d] for d in family))
            wheres.append(tuple((d, int(v)) for d, v in zip(family, values, strict=True)))
            traffic.append(float(rate[k]))
    size = np.array(traffic)
    limits = {"small": scale.small, "tiny": scale.tiny, "pair": scale.pair, "silence": SILENCE_RANGE}.get(kind.size)
    if limits is not None:
        low, high = limits
        fits = np.flatnonzero((size >= low) & (size <= high))
        if not len(fits):
            # Where no segment is of that size, the three nearest.
            fits = np.argsort(np.abs(np.log(size / np.sqrt(low * high))), kind="stable")[:3]
    else:
        fits = np.arange(len(size))
    return wheres[int(fits[rng.integers(len(fits))])]
