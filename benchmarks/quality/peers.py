"""Detectors to compare with, on arrays over segments: a score per segment and window, higher is more suspicious.

Each is calibrated on quiet weeks of its own to a rate of false cases (`threshold_for`). `metric` is the share of
customers who fail, or the number of events (negated where a drop is what is looked for).
"""

from collections.abc import Iterable
from itertools import combinations
from typing import Any, Protocol

import numpy as np

from benchmarks.quality.driven import joined
from detector.config import MINUTE_MS, WEEK_MS
from detector.events import Floats, Ints
from models.simulate.counts import CountStream

Mask = np.ndarray[Any, np.dtype[np.bool_]]
NEVER = -np.inf


class Index:
    """Cells of a stream to segments: the whole, single values, pairs; dense, fixed."""

    def __init__(self, stream: CountStream) -> None:
        codes, sizes = stream.tenant.codes, stream.tenant.sizes
        last = len(sizes) - 1
        columns, slots, start = [], [], 0
        for size in range(3):
            for family in combinations(range(len(sizes)), size):
                key = np.zeros(len(codes), np.int64)
                for d in family:
                    key = key * sizes[d] + codes[:, d]
                values, inverse = np.unique(key, return_inverse=True)
                columns.append(start + inverse.ravel())
                slots.append(values % sizes[last] if last in family else np.full(len(values), -1))
                start += len(values)
        self.count = start
        self.of_cell: Ints = np.stack(columns, axis=1)
        self.slot: Ints = np.concatenate(slots)
        """Version slot that the segment fixes; -1: none."""

    def totals(self, rows: Ints, column: Ints) -> Floats:
        """float64[segments]: a count per cell added up in every segment."""
        flat = self.of_cell[rows].ravel()
        weights = np.repeat(column, self.of_cell.shape[1]).astype(np.float64)
        return np.bincount(flat, weights, minlength=self.count).astype(np.float64)

    def struck(self, cells: Mask) -> Mask:
        """bool[segments]: those that hold any of the cells."""
        found = np.zeros(self.count, np.bool_)
        found[self.of_cell[cells].ravel()] = True
        return found


class Peer(Protocol):
    """One detector over all segments."""

    name: str

    def step(self, k: Floats, n: Floats) -> Floats:
        """Score a window's counts, then learn them."""
        ...

    def reset(self, segments: Mask) -> None:
        """Forget these segments: they are a new version's."""
        ...


class _Arrays:
    """State in arrays over segments (last axis)."""

    def reset(self, segments: Mask) -> None:
        for value in vars(self).values():
            if isinstance(value, _Metric):
                value.reset(segments)
            elif isinstance(value, np.ndarray) and value.ndim and value.shape[-1] == len(segments):
                value[..., segments] = 0


class _Rolling:
    """Sums over the last `length` windows."""

    def __init__(self, length: int, count: int) -> None:
        self.ring = np.zeros((length, count), np.float32)
        self.sum = np.zeros(count)
        self.at = 0

    def add(self, x: Floats) -> None:
        self.sum += x - self.ring[self.at]
        self.ring[self.at] = x
        self.at = (self.at + 1) % len(self.ring)
        if self.at == 0:
            self.sum = self.ring.sum(axis=0, dtype=np.float64)

    def reset(self, segments: Mask) -> None:
        self.ring[:, segments] = 0
        self.sum[segments] = 0


class StaticLimit:
    """A limit per segment, set once: so many times its usual share (or count) over a quarter of an hour.

    The usual is what the first two weeks show, and stays.
    """

    name = "static limit"
    LEARN = 2 * WEEK_MS // MINUTE_MS

    def __init__(self, count: int, measure: str) -> None:
        self._measure = measure
        self._k, self._n = _Rolling(15, count), _Rolling(15, count)
        self._sum_k, self._sum_n, self._seen = np.zeros(count), np.zeros(count), np.zeros(count)

    def step(self, k: Floats, n: Floats) -> Floats:
        learning = self._seen < self.LEARN
        self._seen += 1
        self._sum_k += np.where(learning, k, 0)
        self._sum_n += np.where(learning, n, 0)
        self._k.add(k)
        self._n.add(n)
        if self._measure == "share":
            usual = (self._sum_k + 1) / (self._sum_n + 30)
            score = (self._k.sum + 1) / (usual * self._n.sum + 1)
        else:
            usual = 15 * self._sum_n / np.minimum(self._seen, self.LEARN)
            up = (self._n.sum + 1) / (usual + 1)
            score = up if self._measure == "up" else 1 / up
        return np.where(self._seen > 60, score, NEVER)

    def reset(self, segments: Mask) -> None:
        for rolling in (self._k, self._n):
            rolling.reset(segments)
        for column in (self._sum_k, self._sum_n, self._seen):
            column[segments] = 0


SUPPORT = 10
"""Customers in five minutes that a share must rest on, or a segment with one customer would be the alarm."""


class _Metric:
    """Five minutes' share of those who fail (NaN where too few tried), or their events; higher is worse."""

    def __init__(self, count: int, measure: str) -> None:
        self._measure = measure
        self._k, self._n = _Rolling(5, count), _Rolling(5, count)
        self.floor = 0.01 if measure == "share" else 1.0
        """Of a standard deviation."""

    def add(self, k: Floats, n: Floats) -> Floats:
        self._k.add(k)
        self._n.add(n)
        k, n = self._k.sum, self._n.sum
        if self._measure == "share":
            share: Floats = np.divide(k, n, out=np.full(len(n), np.nan), where=n >= SUPPORT)
            return share
        return n.copy() if self._measure == "up" else -n

    def reset(self, segments: Mask) -> None:
        self._k.reset(segments)
        self._n.reset(segments)


class ThreeSigma:
    """Standard deviations above the mean of the last hour's windows."""

    name = "3-sigma, one hour"

    def __init__(self, count: int, measure: str) -> None:
        self._metric = _Metric(count, measure)
        self._seen, self._sum, self._square = _Rolling(60, count), _Rolling(60, count), _Rolling(60, count)

    def step(self, k: Floats, n: Floats) -> Floats:
        x = self._metric.add(k, n)
        here = np.isfinite(x)
        x = np.where(here, x, 0.0)
        count = np.maximum(self._seen.sum, 1)
        mean = self._sum.sum / count
        sd = np.sqrt(np.maximum(self._square.sum / count - mean * mean, 0)) + self._metric.floor
        score = np.where(here & (self._seen.sum >= 20), (x - mean) / sd, NEVER)
        self._seen.add(here.astype(np.float64))
        self._sum.add(x)
        self._square.add(x * x)
        return score

    def reset(self, segments: Mask) -> None:
        for rolling in (self._metric, self._seen, self._sum, self._square):
            rolling.reset(segments)


class SeasonalBand:
    """Bands in the manner of grafana/promql-anomaly-detection: 5-minute values against a day's mean and deviation.

    The middle is the larger of the last 26 hours' mean and the mean of the hour around the same time yesterday; the
    width is the standard deviation of 26 hours.
    """

    name = "seasonal band"
    EVERY, DAY, LENGTH = 5, 288, 312

    def __init__(self, count: int, measure: str) -> None:
        self._metric = _Metric(count, measure)
        self._ring = np.full((self.LENGTH, count), np.nan, np.float32)
        self._at, self._minute = 0, 0
        self._middle, self._sd, self._known = np.zeros(count), np.ones(count), np.zeros(count)

    def step(self, k: Floats, n: Floats) -> Floats:
        x = self._metric.add(k, n)
        score = (x - self._middle) / (self._sd + self._metric.floor)
        score = np.where(np.isfinite(x) & (self._known >= 60), score, NEVER)
        self._minute += 1
        if self._minute % self.EVERY == 0:
            self._ring[self._at] = x
            self._at = (self._at + 1) % self.LENGTH
            here = np.isfinite(self._ring)
            self._known = here.sum(axis=0).astype(np.float64)
            many = np.maximum(self._known, 1)
            mean = np.where(here, self._ring, 0).sum(axis=0, dtype=np.float64) / many
            self._sd = np.sqrt(np.where(here, (self._ring - mean) ** 2, 0).sum(axis=0, dtype=np.float64) / many)
            around = [(self._at - self.DAY + i) % self.LENGTH for i in range(-6, 7)]
            then, there = self._ring[around], here[around]
            yesterday = np.where(there, then, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
            self._middle = np.where(there.any(axis=0), np.maximum(mean, yesterday), mean)
        return score

    def reset(self, segments: Mask) -> None:
        self._metric.reset(segments)
        self._ring[:, segments] = np.nan
        self._known[segments] = 0


class GaussianHistory(_Arrays):
    """Standard deviations above the mean of all windows so far."""

    name = "Gaussian of all history"

    def __init__(self, count: int, measure: str) -> None:
        self._metric = _Metric(count, measure)
        self._seen, self._mean, self._m2 = np.zeros(count), np.zeros(count), np.zeros(count)

    def step(self, k: Floats, n: Floats) -> Floats:
        x = self._metric.add(k, n)
        here = np.isfinite(x)
        off = np.where(here, x - self._mean, 0.0)
        sd = np.sqrt(self._m2 / np.maximum(self._seen - 1, 1)) + self._metric.floor
        score = np.where(here & (self._seen >= 60), off / sd, NEVER)
        self._seen += here
        self._mean += off / np.maximum(self._seen, 1)
        self._m2 += off * np.where(here, x - self._mean, 0.0)
        return score


class PoissonCusum(_Arrays):
    """Page's CUSUM for a doubling (a halving where drops are looked for) of the segment's own rate.

    The rate is its mean with a half-life of six hours (of 6, 24 and 72 the one with the fewest false cases).
    """

    name = "Poisson CUSUM"
    FADE = 0.5 ** (1 / 360)

    def __init__(self, count: int, measure: str) -> None:
        self._measure = measure
        self._w, self._k, self._n, self._seen = (np.zeros(count) for _ in range(4))

    def step(self, k: Floats, n: Floats) -> Floats:
        if self._measure == "share":
            x, expected = k, n * (self._k + 1) / (self._n + 30)
        else:
            x, expected = n, self._k / np.maximum(self._n, 1)
        ratio = 0.5 if self._measure == "down" else 2.0
        self._w = np.maximum(0.0, self._w + x * np.log(ratio) - expected * (ratio - 1))
        self._seen += 1
        self._w[self._seen < 60] = 0
        self._k = self._k * self.FADE + x
        self._n = self._n * self.FADE + (n if self._measure == "share" else 1)
        return np.where(self._seen > 60, self._w, NEVER)


class River:
    """One of river's detectors per segment, on the same metric."""

    def __init__(self, count: int, measure: str, kind: str) -> None:
        from river import anomaly

        self._share, self._kind = measure == "share", kind
        self._metric = _Metric(count, measure)
        self.name = f"river {kind}"
        self._make: Any = getattr(anomaly, kind)
        self._each: list[Any] = [self._new() for _ in range(count)]

    def _new(self) -> Any:
        return self._make(seed=1) if self._kind == "HalfSpaceTrees" else self._make()

    def step(self, k: Floats, n: Floats) -> Floats:
        x = self._metric.add(k, n)
        score = np.full(len(x), NEVER)
        for s in np.flatnonzero(np.isfinite(x)).tolist():
            value, one = float(x[s]), self._each[s]
            if self._kind == "HalfSpaceTrees":
                # The trees want features between 0 and 1.
                features = {"x": value if self._share else 1 - 1 / (1 + abs(value) / 10)}
                score[s] = one.score_one(features)
                one.learn_one(features)
            else:
                # It scores both sides; only the bad one counts.
                above = one.gaussian.mu < value
                score[s] = one.score_one(None, value) if above else NEVER
                one.learn_one(None, value)
        return score

    def reset(self, segments: Mask) -> None:
        self._metric.reset(segments)
        for s in np.flatnonzero(segments).tolist():
            self._each[s] = self._new()


SIMPLE = {c.name: c for c in (StaticLimit, ThreeSigma, SeasonalBand, GaussianHistory, PoissonCusum)}
RIVER = ("GaussianScorer", "HalfSpaceTrees")


class Peers:
    """Several peers over one stream."""

    def __init__(self, stream: CountStream, measure: str, names: Iterable[str], *, river: bool) -> None:
        self.index = Index(stream)
        self.all: list[Peer] = [SIMPLE[name](self.index.count, measure) for name in names]
        if river:
            self.all += [River(self.index.count, measure, kind) for kind in RIVER]
        self._versions = list(stream.values[-1])

    def step(self, stream: CountStream) -> list[Floats]:
        """Take the window that the stream gave last: float64[segments] for every peer."""
        changed = [s for s, (a, b) in enumerate(zip(self._versions, stream.values[-1], strict=True)) if a != b]
        if changed:
            self._versions = list(stream.values[-1])
            for peer in self.all:
                peer.reset(np.isin(self.index.slot, changed))
        rows, people, total = stream.last
        k, n = self.index.totals(rows, people), self.index.totals(rows, total)
        return [peer.step(k, n) for peer in self.all]


def threshold_for(peaks: Floats, rate: float) -> float:
    """Return the lowest limit with at most `rate` false cases a week, searched from the top; +inf: no limit keeps it.

    Parameters
    ----------
    peaks : float64[windows]
        Each quiet window's highest score.
    """
    allowed = rate * len(peaks) * MINUTE_MS / WEEK_MS
    best = np.inf
    # Lower down the cases grow together again: the search from the top ends at the first limit that has too many.
    for limit in np.unique(peaks[np.isfinite(peaks)])[::-1]:
        if len(joined((np.flatnonzero(peaks >= limit) * MINUTE_MS).tolist())) > allowed:
            break
        best = float(limit)
    return best
