"""What `tocsin detect` is measured against: simple detectors with one configuration each, causal, on the same rows.

Each returns a strength for every row, 0 or more; their scores are scaled the same way, strength / (strength + the
threshold that is usual for it), so 0.5 is their preset threshold. Alerts come once an incident: a row alerts that
beats the twelve before it, as the scorer of events does with all.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Peer = Callable[[Times, Floats], Floats]

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS


def static(times_ms: Times, value: Floats) -> Floats:
    """A fixed limit, set from the first 15 % of the rows: their 99.9 % range, widened by a tenth."""
    first = value[: max(20, int(0.15 * len(value)))]
    known = first[np.isfinite(first)]
    if not len(known):
        return np.zeros(len(value))
    low, high = np.quantile(known, [0.0005, 0.9995])
    width = max(0.1 * (high - low), 1e-9 * abs(high), 1e-12)
    beyond = np.maximum(value - high, low - value) / width
    beyond[: len(first)] = 0
    kept: Floats = np.nan_to_num(np.maximum(beyond, 0), nan=0.0)
    return kept


def three_sigma(times_ms: Times, value: Floats) -> Floats:
    """|x − mean| / standard deviation over all rows before."""
    known = np.isfinite(value)
    x = np.where(known, value, 0.0)
    n = np.cumsum(known) - known
    mean = (np.cumsum(x) - x) / np.maximum(n, 1)
    square = (np.cumsum(x * x) - x * x) / np.maximum(n, 1)
    sd = np.sqrt(np.maximum(square - mean * mean, 1e-12 * np.abs(mean) + 1e-18))
    return np.where(known & (n >= 20), np.abs(x - mean) / sd / 3, 0.0)


def seasonal_band(times_ms: Times, value: Floats) -> Floats:
    """A band in the manner of grafana/promql-anomaly-detection.

    Short term: mean over an hour ± 2 standard deviations over 26 hours; long term: the same hours of the days and the
    week before, ± 2 standard deviations; the outer of both, with a margin.
    """
    strength = np.zeros(len(value))
    hour, day = _Moving(3_600_000), _Moving(26 * 3_600_000)
    by_hour: dict[int, float] = {}
    for i, (t, x) in enumerate(zip(times_ms.tolist(), value.tolist(), strict=True)):
        if x != x:
            continue
        if i >= 20 and day.count > 5:
            sd = max(day.sd(), 1e-9 * abs(x), 1e-12)
            middle = [hour.mean()]
            slot = t // 3_600_000
            earlier = [by_hour[s] for s in (slot - 24, slot - 168) if s in by_hour]
            low = min([*middle, *earlier]) - 2 * sd
            high = max([*middle, *earlier]) + 2 * sd
            strength[i] = max(0.0, x - high, low - x) / sd + (1.0 if x > high or x < low else 0.0)
        hour.add(t, x)
        day.add(t, x)
        by_hour[t // 3_600_000] = hour.mean()
    return strength


class _Moving:
    """Mean and standard deviation over a span of time."""

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._rows: deque[tuple[int, float]] = deque()
        self._sum = self._square = 0.0

    @property
    def count(self) -> int:
        return len(self._rows)

    def add(self, time_ms: int, value: float) -> None:
        self._rows.append((time_ms, value))
        self._sum += value
        self._square += value * value
        while self._rows[0][0] <= time_ms - self._span_ms:
            _, gone = self._rows.popleft()
            self._sum -= gone
            self._square -= gone * gone

    def mean(self) -> float:
        return self._sum / len(self._rows)

    def sd(self) -> float:
        mean = self.mean()
        return math.sqrt(max(0.0, self._square / len(self._rows) - mean * mean))


def _river() -> Any:
    from river import anomaly

    return anomaly


def gaussian_scorer(times_ms: Times, value: Floats) -> Floats:
    """river.anomaly.GaussianScorer: the distance from the middle of a Gaussian of all rows before, as a tail."""
    scorer = _river().GaussianScorer(window_size=None, grace_period=100)
    strength = np.zeros(len(value))
    for i, x in enumerate(value.tolist()):
        if x == x:
            tail = 1 - float(scorer.score_one(None, x))
            strength[i] = -math.log10(max(tail, 1e-12)) / 3
            scorer.learn_one(None, x)
    return strength


def half_space_trees(times_ms: Times, value: Floats) -> Floats:
    """river.anomaly.HalfSpaceTrees on the value and its difference, scaled to their ranges so far."""
    forest = _river().HalfSpaceTrees(seed=1, n_trees=10, height=8, window_size=250)
    low, high = [math.inf, math.inf], [-math.inf, -math.inf]
    before: float | None = None
    strength = np.zeros(len(value))
    for i, x in enumerate(value.tolist()):
        if x != x:
            continue
        point: dict[str, float] = {}
        for j, number in enumerate((x, 0.0 if before is None else x - before)):
            low[j], high[j] = min(low[j], number), max(high[j], number)
            point["xd"[j]] = (number - low[j]) / (high[j] - low[j]) if high[j] > low[j] else 0.5
        before = x
        strength[i] = float(forest.score_one(point)) / 0.95 if i >= 250 else 0.0
        forest.learn_one(point)
    return strength


def novelty(times_ms: Times, value: Floats) -> Floats:
    """The simplest of the good: distance to the nearest earlier value, in standard deviations so far."""
    held: list[float] = []
    total = square = 0.0
    strength = np.zeros(len(value))
    for i, x in enumerate(value.tolist()):
        if x != x:
            continue
        if len(held) >= 20:
            at = bisect_left(held, x)
            near = min(abs(x - held[j]) for j in (at - 1, at) if 0 <= j < len(held))
            mean = total / len(held)
            strength[i] = near / math.sqrt(max(square / len(held) - mean * mean, 1e-12 * abs(mean) + 1e-18)) / 0.3
        insort(held, x)
        total += x
        square += x * x
    return strength


PEERS: dict[str, Peer] = {
    "static threshold": static,
    "3-sigma": three_sigma,
    "seasonal band": seasonal_band,
    "river GaussianScorer": gaussian_scorer,
    "river HalfSpaceTrees": half_space_trees,
    "nearest past value": novelty,
}


def once(strength: Floats, rows: int = 12) -> Floats:
    """Keep a row's strength only where it beats the rows before it: one alert for each incident."""
    padded = np.concatenate([np.full(rows, -1.0), strength])
    before = np.lib.stride_tricks.sliding_window_view(padded[:-1], rows).max(1)
    return np.where(strength > before, strength, 0.0)
