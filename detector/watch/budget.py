"""From a budget of false cases to thresholds in nats, per level of segments: the signal's operating point.

Cold, theory says how high chance climbs in so many segments and windows. From the third week on the stream's own past
peaks say it, with real problems taken out; and where people judge the cases, a slow controller closes the loop. There
is no other threshold to set.
"""

from typing import Any

import msgspec
import numpy as np
from scipy.special import gammaincinv

from detector.config import HOUR_MS, WEEK_MS, Budget
from detector.events import Floats, Ints

LEVELS = 3
LEVEL_SHARE = (0.1, 0.4, 0.5)
"""How a budget is split over the whole signal, its single values and its pairs."""
MARGIN_NATS = 3.0
"""Above theory, for what the model does not know."""
WEEK_HOURS = 168
KEPT_HOURS = 8 * WEEK_HOURS
COLD_HOURS = 2 * WEEK_HOURS
"""So long the thresholds never fall below theory."""
PEAKS = 30
"""The largest peaks, one an hour at most, that the tail is fitted to …"""
PSEUDO_PEAKS, PSEUDO_NATS = 8.0, 1.6
"""… beside so many pseudo-peaks of this mean excess."""
FLOOR_NATS = 7.0
CLEAR_NATS = 10.0
"""An anomaly that climbs so far beyond its threshold is a real problem until somebody says that it is none."""
GAIN_NATS = 0.5
SHIFT_NATS = (-2.0, 6.0)
"""The controller: nats a week per false case more (or less) than the budget's mean, and how far it may go."""


def mean_for(cases: int) -> float:
    """The mean λ* of a Poisson count that exceeds `cases` in 5 % of the periods: P(Poisson(λ*) ≤ B) = 0.95.

    Examples
    --------
    >>> round(mean_for(1), 3), round(mean_for(7), 2)
    (0.355, 3.98)
    """
    return float(gammaincinv(cases + 1, 0.05))


def cold_thresholds(mean: float, windows: float, segments: Ints) -> Floats:
    """Nats by theory: h = ln(windows · segments / (λ* · share of the level)) + margin.

    Parameters
    ----------
    mean : float
        λ*: false cases aimed at in the budget's period.
    windows : float
        Windows in that period.
    segments : int64[levels]
        Segments searched per level (0: the whole signal, 1: single values, 2: pairs).

    Examples
    --------
    >>> cold_thresholds(mean_for(1), 10_080, np.array([1, 20, 100])).round(1)
    array([15.6, 17.2, 18.6])
    """
    return np.log(windows * np.maximum(segments, 1) / (mean * np.array(LEVEL_SHARE))) + MARGIN_NATS


def tail_threshold(peaks: Floats, hours: int, mean_a_week: float) -> float:
    """Nats that peaks like these pass so often: h = u + β ln(rate_u / λ), an exponential tail above the 30 largest.

    Parameters
    ----------
    peaks : float64[peaks]
        Hourly peaks, joined where hours adjoin.
    hours : int
        How long it took to see them.
    mean_a_week : float
        λ: how often the threshold may be passed by chance.

    References
    ----------
    Siffer et al. 2017 (peaks over threshold), with a prior on the tail's mean excess.

    Examples
    --------
    >>> round(tail_threshold(np.array([5.0, 6.0, 8.0]), 168, 0.1), 1)
    10.2
    """
    largest = np.sort(peaks)[::-1][:PEAKS]
    if not len(largest):
        return 0.0
    low = float(largest[-1])
    excess = (float((largest - low).sum()) + PSEUDO_PEAKS * PSEUDO_NATS) / (len(largest) + PSEUDO_PEAKS)
    rate = len(largest) / max(hours / WEEK_HOURS, 1e-9)
    return low + excess * max(float(np.log(rate / mean_a_week)), 0.0)


class Level(msgspec.Struct, frozen=True):
    """The operating point of one level of segments."""

    level: int
    """Dimensions that its segments fix."""
    segments: int
    threshold_nats: float
    source: str
    """`theory` or `own peaks`."""
    noise: float = 0.0
    """Learned noise of its segments: the median standard deviation of the log rate."""


class Operating(msgspec.Struct, frozen=True, kw_only=True):
    """Where a signal stands: its budget, and what follows from it."""

    signal: str
    cases: int
    per_ms: int
    divisor: int
    """Signals that share the budget."""
    mean: float
    """λ*: false cases in the budget's period that this signal may have on average."""
    levels: tuple[Level, ...]
    shift_nats: float
    """What the verdicts have moved the thresholds by."""
    hours: int
    """Hours of the signal's own past (at most eight weeks) that the thresholds know."""


class _Raised(msgspec.Struct):
    """An anomaly's hours in the tail, as they were."""

    at_ms: int
    level: int
    first_hour: int
    peaks: Floats
    """float64[hours, levels]."""
    limit: float
    clear: bool = False
    real: bool | None = None


class OperatingPoint:
    """One signal's thresholds, and what they learn from."""

    def __init__(self, budget: Budget, divisor: int, window_ms: int, channels: int = 1) -> None:
        self._budget, self._divisor, self._window_ms = budget, max(divisor, 1), window_ms
        self._channels = channels
        self._peaks: Floats = np.full((KEPT_HOURS, LEVELS), np.nan)
        """The largest score of each hour, per level; NaN: not seen, or a real problem's."""
        self._hour = -1
        self._hours = 0
        self._tail: Floats = np.zeros(LEVELS)
        self._raised: dict[str, _Raised] = {}
        self._shift = 0.0
        self._week = -1
        self._judged_ms = -WEEK_MS * 52

    @property
    def mean(self) -> float:
        """λ*: false cases aimed at in the budget's period."""
        return mean_for(self._budget.cases) / self._divisor / self._channels

    @property
    def shift(self) -> float:
        """Nats by which the verdicts have moved the thresholds."""
        return self._shift

    @property
    def _mean_a_week(self) -> float:
        return self.mean * WEEK_MS / self._budget.per_ms

    def limits(self, segments: Ints) -> Floats:
        """float64[levels]: nats from which a segment raises an anomaly; `segments` int64[levels] are searched."""
        cold = cold_thresholds(self.mean, self._budget.per_ms / self._window_ms, segments)
        own = np.maximum(cold, self._tail) if self._hours < COLD_HOURS else self._tail
        return np.maximum(own + self._shift, FLOOR_NATS)

    def see(self, window_ms: int, top: Floats) -> None:
        """Take the largest score of each level (float64[levels]) in a window in which nothing was held back."""
        hour = window_ms // HOUR_MS
        if hour != self._hour:
            if self._hour >= 0:
                self._refit()
                self._steer(window_ms)
            else:
                self._week = window_ms // WEEK_MS
            gone = min(hour - self._hour, KEPT_HOURS) if self._hour >= 0 else 0
            for h in range(hour - gone + 1, hour + 1):
                self._peaks[h % KEPT_HOURS] = np.nan
            self._hour = hour
            self._peaks[hour % KEPT_HOURS] = 0.0
        at = hour % KEPT_HOURS
        self._peaks[at] = np.fmax(self._peaks[at], top)

    def raised(self, anomaly: str, window_ms: int, level: int, from_ms: int, limit: float) -> None:
        """An anomaly was opened: until it is judged its hours count as one peak at the threshold, no higher."""
        first = max(from_ms // HOUR_MS - 1, self._hour - KEPT_HOURS + 1)
        hours = np.arange(first, self._hour + 1) % KEPT_HOURS
        self._raised[anomaly] = _Raised(window_ms, level, first, self._peaks[hours].copy(), limit)
        self._peaks[hours] = np.nan
        self._peaks[self._hour % KEPT_HOURS, level] = limit

    def climbed(self, anomaly: str, score: float) -> None:
        """An open anomaly's evidence stands at `score`: far beyond its threshold it is no chance peak."""
        raised = self._raised.get(anomaly)
        if raised is not None and not raised.clear and score >= raised.limit + CLEAR_NATS:
            raised.clear = True
            if raised.real is None:
                self._blank(raised)

    def judge(self, anomaly: str, *, real: bool) -> None:
        """A person's verdict; of an anomaly that is not known any more it changes nothing."""
        raised = self._raised.get(anomaly)
        if raised is None or raised.real == real:
            return
        raised.real = real
        self._judged_ms = max(self._judged_ms, raised.at_ms)
        if real:
            self._blank(raised)
            return
        for i, peaks in enumerate(raised.peaks):
            if raised.first_hour + i > self._hour - KEPT_HOURS:
                self._peaks[(raised.first_hour + i) % KEPT_HOURS] = peaks

    def _blank(self, raised: _Raised) -> None:
        for i in range(len(raised.peaks)):
            if raised.first_hour + i > self._hour - KEPT_HOURS:
                self._peaks[(raised.first_hour + i) % KEPT_HOURS] = np.nan

    def _refit(self) -> None:
        """Fit each level's tail to its hourly peaks, oldest first; of adjoining hours only the larger is a peak."""
        order = np.arange(self._hour - KEPT_HOURS + 1, self._hour + 1) % KEPT_HOURS
        peaks = self._peaks[order]
        self._hours = int((~np.isnan(peaks)).any(axis=1).sum())
        padded = np.pad(np.nan_to_num(peaks, nan=0.0), ((1, 1), (0, 0)))
        tops = (padded[1:-1] > 0) & (padded[1:-1] >= padded[:-2]) & (padded[1:-1] > padded[2:])
        for level, share in enumerate(LEVEL_SHARE):
            self._tail[level] = tail_threshold(
                padded[1:-1, level][tops[:, level]], self._hours, self._mean_a_week * share
            )

    def _steer(self, window_ms: int) -> None:
        """Once a week: follow the verdicts, while somebody gives any, of a week in which every case has one."""
        week = window_ms // WEEK_MS
        if week == self._week:
            return
        start_ms, end_ms = self._week * WEEK_MS, week * WEEK_MS
        self._week = week
        of_week = [r for r in self._raised.values() if start_ms <= r.at_ms < end_ms]
        self._raised = {k: r for k, r in self._raised.items() if r.at_ms > window_ms - KEPT_HOURS * HOUR_MS}
        if self._judged_ms < window_ms - 8 * WEEK_MS or any(r.real is None for r in of_week):
            return
        false = sum(r.real is False for r in of_week)
        self._shift = float(np.clip(self._shift + GAIN_NATS * (false - self._mean_a_week), *SHIFT_NATS))

    def describe(self, signal: str, segments: Ints, noise: Floats) -> Operating:
        """Where the signal stands now; `segments` and `noise` per level."""
        own = self._hours >= COLD_HOURS
        cold = cold_thresholds(self.mean, self._budget.per_ms / self._window_ms, segments)
        limits = self.limits(segments)
        return Operating(
            signal=signal,
            cases=self._budget.cases,
            per_ms=self._budget.per_ms,
            divisor=self._divisor,
            mean=self.mean,
            levels=tuple(
                Level(
                    i,
                    int(segments[i]),
                    round(float(limits[i]), 3),
                    "own peaks" if own or self._tail[i] > cold[i] else "theory",
                    round(float(noise[i]), 4),
                )
                for i in range(LEVELS)
            ),
            shift_nats=round(self._shift, 3),
            hours=self._hours,
        )

    def state(self) -> dict[str, Any]:
        kept = {k: v for k, v in vars(self).items() if k not in ("_budget", "_divisor", "_channels", "_window_ms")}
        return {**kept, "_raised": {k: msgspec.structs.asdict(r) for k, r in self._raised.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._raised = {k: _Raised(**r) for k, r in state["_raised"].items()}
