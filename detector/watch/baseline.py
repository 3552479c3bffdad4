"""What to expect of every cell and segment: level, season, noise, each learned online with forgetting.

Share signals: p = b · g(hour of week) · Π e(dimension, value), with a correction of its own per segment, each shrunk
towards 1 by what is known of how much its family differs. So a change of mix raises nothing, and a new value's first
window is scored against its parents'. Count signals: `detector.watch.volume`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.calendar import Calendar
from detector.config import DAY_MS, HOUR_MS
from detector.events import Floats, Ints
from detector.watch.season import Season
from detector.watch.segments import Kept, Segments

HALF_LIFE_MS = 3 * DAY_MS
NOISE_HALF_LIFE_MS = 7 * DAY_MS
NOISE_FLOOR = 0.05
NOISE_PRIOR = 0.15
PRIOR_WEIGHT = 3e4
"""What the prior of the noise is worth: some 15 hours of a well-filled segment."""
SPREAD_PRIOR = 0.5
"""Prior variance of the log factor of a value that nothing is known of."""
CELL_SPREAD = 0.1
"""That of a cell that nothing is known of, beside its values."""
SEASON_PRIOR = 300.0
"""Failures that the prior of an hour's season is worth, where an hour of any size is worth 1/σ² of them at most."""
WARM_PASSES = 8


def fading(window_ms: int, half_life_ms: int) -> float:
    """The factor by which sums are multiplied once a window."""
    return float(0.5 ** (window_ms / half_life_ms))


class Families:
    """Learned per family of segments: the noise of their rate, and how much their values differ.

    Attributes
    ----------
    noise : float64[families]
        σ: the mean of [(K−M)² − M] / M² over segments and hours, each weighted by how well it is known (a big value,
        which makes up the whole, must not speak for the small ones), residuals winsorised, floor 0.05.
    spread : float64[families]
        τ²: variance of the log correction over the family's values; 1/τ² is the weight of the prior.
    """

    def __init__(self, families: int, prior: float, cap: float) -> None:
        self._cap = cap
        self._top: Floats = np.full(families, prior**2 * PRIOR_WEIGHT)
        self._bottom: Floats = np.full(families, PRIOR_WEIGHT)
        self.spread: Floats = np.full(families, SPREAD_PRIOR)
        self._hour_observed: Floats = np.zeros(0)
        self._hour_expected: Floats = np.zeros(0)
        self._hour = -1

    @property
    def noise(self) -> Floats:
        return np.clip(np.sqrt(np.maximum(self._top / self._bottom, 0.0)), NOISE_FLOOR, self._cap)

    def add(
        self,
        hour: int,
        rows: Ints,
        observed: Floats,
        expected: Floats,
        known: Floats,
        segments: Segments,
        fade: float,
    ) -> None:
        """Sum a window of the touched segments up; at the hour's end learn from it."""
        if hour != self._hour:
            if self._hour >= 0:
                self._learn(known, segments, fade)
            self._hour = hour
            self._hour_observed = np.zeros(len(segments))
            self._hour_expected = np.zeros(len(segments))
        more = len(segments) - len(self._hour_observed)
        if more > 0:
            self._hour_observed = np.concatenate([self._hour_observed, np.zeros(more)])
            self._hour_expected = np.concatenate([self._hour_expected, np.zeros(more)])
        self._hour_observed[rows] += observed
        self._hour_expected[rows] += expected

    def _learn(self, known: Floats, segments: Segments, fade: float) -> None:
        """`known`: float64[segments], decayed expected failures: only what is known well tells of noise."""
        k, m = self._hour_observed, self._hour_expected
        known = known[: len(m)]
        usable = (m >= 3.0) & (known >= 30.0)
        m, k = m[usable], k[usable]
        sigma = np.maximum(self.noise, NOISE_PRIOR)[segments.segment_family[: len(usable)][usable]]
        limit = 3.0 * np.sqrt(m + sigma**2 * m**2)
        variance = (np.clip(k - m, -limit, limit) ** 2 - m) / m**2
        weight = (m / (1.0 + NOISE_PRIOR**2 * m)) ** 2  # inverse variance of such an estimate at the usual noise
        family = segments.segment_family[: len(usable)][usable]
        width = len(self._top)
        self._top = self._top * fade + np.bincount(family, weights=weight * variance, minlength=width)
        self._bottom = self._bottom * fade + np.bincount(family, weights=weight, minlength=width)

    def keep(self, segments: Ints) -> None:
        """Keep only these segments, in this order."""
        more = np.zeros(max(int(segments.max(initial=-1)) + 1 - len(self._hour_observed), 0))
        self._hour_observed = np.concatenate([self._hour_observed, more])[segments]
        self._hour_expected = np.concatenate([self._hour_expected, more])[segments]

    def learn_spread(self, observed: Floats, expected: Floats, segments: Segments) -> None:
        """From decayed sums per segment: the variance of ln(K/M) beyond chance, with a prior worth four values."""
        usable = expected >= 20.0
        family = segments.segment_family[usable]
        log = np.log((observed[usable] + 0.5) / (expected[usable] + 0.5))
        extra = log**2 - 1.0 / (np.minimum(observed, expected)[usable] + 0.5)
        width = len(self.spread)
        total = np.bincount(family, weights=extra, minlength=width) + 4.0 * SPREAD_PRIOR
        count = np.bincount(family, minlength=width) + 4.0
        self.spread = np.clip(total / count, 0.02, 1.0)

    def state(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_cap"}

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class ShareBaseline:
    """Expected failures of a share signal.

    All sums are decayed with a half-life of 3 days, the season's with 14.
    """

    def __init__(self, segments: Segments, window_ms: int, calendar: Calendar | None = None) -> None:
        self._segments, self._window_ms = segments, window_ms
        self._fade = fading(window_ms, HALF_LIFE_MS)
        self._observed = 1.0
        self._base = 20.0
        """Σ n · g · Πe, beside `_observed`: together the level b, with a prior of 1 in 20."""
        self._season = Season(SEASON_PRIOR, by_day=True, calendar=calendar)
        dimensions = len(segments.dimensions)
        self._value_observed: list[Floats] = [np.zeros(0) for _ in range(dimensions)]
        self._value_expected: list[Floats] = [np.zeros(0) for _ in range(dimensions)]
        self.segment_observed: Floats = np.zeros(0)
        self.segment_expected: Floats = np.zeros(0)
        self._cell: Floats = np.zeros((2, 0))
        """float64[2, cells]: failures, and those that level, season and values expect: what is a cell's own."""
        self._cell_spread = SPREAD_PRIOR
        self._raw: Floats = np.zeros((2, 0))
        """float64[2, cells]: failures and trials of the warm-up, which is fitted as a whole."""
        self._single = {f[0]: i for i, f in enumerate(segments.families) if len(f) == 1}
        self.families = Families(len(segments.families), NOISE_PRIOR, 0.5)

    def grow(self) -> None:
        more = len(self._segments.cells) - self._cell.shape[1]
        if more > 0:
            self._cell = np.concatenate([self._cell, np.zeros((2, more))], axis=1)
        more = len(self._segments) - len(self.segment_observed)
        if more > 0:
            self.segment_observed = np.concatenate([self.segment_observed, np.zeros(more)])
            self.segment_expected = np.concatenate([self.segment_expected, np.zeros(more)])
        for d, values in enumerate(self._segments.values):
            more = len(values) - len(self._value_observed[d])
            if more > 0:
                self._value_observed[d] = np.concatenate([self._value_observed[d], np.zeros(more)])
                self._value_expected[d] = np.concatenate([self._value_expected[d], np.zeros(more)])

    def warm(self, rows: Ints, observed: Floats, trials: Floats) -> None:
        """Take a window of the warm-up: level and factors are fitted to all cells so far, by iterative scaling.

        Learned one window at a time from a guessed level, the factors would make up for what the level lacks, and
        nothing would ever pin their product.
        """
        cells, dimensions = len(self._segments.cells), len(self._segments.values)
        self._raw = np.concatenate([self._raw, np.zeros((2, cells - self._raw.shape[1]))], axis=1)
        self._raw[0, rows] += observed
        self._raw[1, rows] += trials
        k, n = self._raw
        codes = self._segments.cell_codes
        level = (k.sum() + 1.0) / (n.sum() + 20.0)
        factors = [np.ones(len(values)) for values in self._segments.values]
        for _ in range(WARM_PASSES):
            for d in range(dimensions):
                others = [factors[o][codes[:, o]] for o in range(dimensions) if o != d]
                rate = n * level * np.prod(others, axis=0) if others else n * level
                prior, size = 1.0 / self.families.spread[self._single[d]], len(factors[d])
                self._value_observed[d] = np.bincount(codes[:, d], weights=k, minlength=size).astype(np.float64)
                self._value_expected[d] = np.bincount(codes[:, d], weights=rate, minlength=size).astype(np.float64)
                factors[d] = (self._value_observed[d] + prior) / (self._value_expected[d] + prior)
            fitted = n * level * np.prod([factors[d][codes[:, d]] for d in range(dimensions)], axis=0)
            level *= float((k.sum() + 1.0) / (fitted.sum() + 1.0))
        fitted = n * level * np.prod([factors[d][codes[:, d]] for d in range(dimensions)], axis=0)
        self._observed, self._base = 1.0 + float(k.sum()), (1.0 + float(k.sum())) / level
        every = np.arange(cells)
        self._cell = np.stack([k, fitted])
        self.learn_spread()
        self.segment_observed, self.segment_expected = self._segments.totals(every, [k, fitted * self._own(every)])
        self._season.clear()

    def keep(self, segments: Segments, kept: Kept) -> None:
        """Go on over a smaller index."""
        self._segments = segments
        self._raw = np.zeros((2, 0))
        self._cell = self._cell[:, kept.cells]
        self._value_observed = [column[rows] for column, rows in zip(self._value_observed, kept.values, strict=True)]
        self._value_expected = [column[rows] for column, rows in zip(self._value_expected, kept.values, strict=True)]
        self.segment_observed = self.segment_observed[kept.segments]
        self.segment_expected = self.segment_expected[kept.segments]
        self.families.keep(kept.segments)

    def season(self, window_ms: int) -> float:
        return self._season.of_hour(window_ms)

    def doubt(self, window_ms: int) -> float:
        """Variance of the log rate for want of days like this one: widens every segment's noise."""
        return self._season.doubt(window_ms)

    def _factor(self, d: int) -> Floats:
        """float64[values]: e of every value of dimension d."""
        prior = 1.0 / self.families.spread[self._single[d]]
        factor: Floats = (self._value_observed[d] + prior) / (self._value_expected[d] + prior)
        return factor

    def _own(self, rows: Ints) -> Floats:
        """float64[rows]: how much these cells differ from what their values say."""
        prior = 1.0 / self._cell_spread
        own: Floats = (self._cell[0, rows] + prior) / (self._cell[1, rows] + prior)
        return own

    def accept(self, rows: Ints, factor: float) -> None:
        """These cells' failures have become normal at so many times what was expected."""
        prior = 1.0 / self._cell_spread
        self._cell[0, rows] = np.maximum((self._cell[0, rows] + prior) * factor - prior, 0.0)

    def learn_spread(self) -> None:
        """How much cells differ beyond their values: the variance of ln(K/M) beyond chance, with a prior."""
        observed, expected = self._cell
        usable = expected >= 10.0
        k, m = observed[usable], expected[usable]
        extra = np.log((k + 0.5) / (m + 0.5)) ** 2 - 1.0 / (np.minimum(k, m) + 0.5)
        self._cell_spread = float(np.clip((extra.sum() + 4.0 * CELL_SPREAD) / (len(k) + 4.0), 0.01, 0.5))

    def cell_rates(self, rows: Ints, window_ms: int) -> Floats:
        """float64[rows]: the failure share expected of these cells in this window."""
        rate = np.full(len(rows), self._observed / self._base * self.season(window_ms))
        codes = self._segments.cell_codes[rows]
        for d in range(codes.shape[1]):
            rate = rate * self._factor(d)[codes[:, d]]
        rate *= self._own(rows)
        clipped: Floats = np.clip(rate, 1e-5, 0.95)
        return clipped

    def corrections(self, segments: Ints) -> Floats:
        """float64[segments]: how much these segments differ from what their values say."""
        prior = 1.0 / self.families.spread[self._segments.segment_family[segments]]
        corrected: Floats = (self.segment_observed[segments] + prior) / (self.segment_expected[segments] + prior)
        return corrected

    def ignorance(self, segments: Ints) -> Floats:
        """float64[segments]: variance of the log rate for want of data: the segment's own, and its single values'."""
        family = self._segments.segment_family[segments]
        known = np.minimum(self.segment_observed, self.segment_expected)[segments]
        variance = 1.0 / (known + 1.0 / self.families.spread[family])
        codes = self._segments.segment_codes[segments]
        for i, f in enumerate(self._segments.families):
            here = np.flatnonzero(family == i)
            for j, d in enumerate(f):
                weight = self._value_observed[d] + 1.0 / self.families.spread[self._single[d]]
                variance[here] += 1.0 / weight[codes[here, j]]
        return variance

    def learn(
        self,
        rows: Ints,
        window_ms: int,
        observed: Floats,
        trials: Floats,
        rates: Floats,
        totals: tuple[Ints, Floats, Floats],
        quiet: NDArray[np.bool_],
    ) -> None:
        """Take a window of the cells that no alarm holds.

        Parameters
        ----------
        rows, observed, trials, rates : arrays[cells]
        totals : (segments, observed, expected)
            The touched segments' sums, uncorrected.
        quiet : bool[touched segments]
            Those that may learn.
        """
        for sums in (self._value_observed, self._value_expected):
            for column in sums:
                column *= self._fade
        self._cell *= self._fade
        self.segment_observed *= self._fade
        self.segment_expected *= self._fade
        self._observed = 1.0 + (self._observed - 1.0) * self._fade
        self._base = 20.0 + (self._base - 20.0) * self._fade
        expected = trials * rates
        k, mu = float(observed.sum()), float(expected.sum())
        base, season = self._observed / self._base, self.season(window_ms)
        codes = self._segments.cell_codes[rows]
        for d in range(codes.shape[1]):
            factor = self._factor(d)
            size = len(factor)
            self._value_observed[d] += np.bincount(codes[:, d], weights=observed, minlength=size)
            self._value_expected[d] += np.bincount(codes[:, d], weights=expected / factor[codes[:, d]], minlength=size)
        self._cell[0, rows] += observed
        self._cell[1, rows] += expected / self._own(rows)
        self._observed += k
        self._base += mu / base
        # The whole wanders by itself: an hour of many failures says no more of the season than its noise allows.
        worth = 1.0 / (1.0 + float(self.families.noise[0]) ** 2 * mu * HOUR_MS / self._window_ms)
        self._season.learn(window_ms, k * worth, mu / season * worth, self._window_ms)
        segments, seg_observed, seg_expected = totals
        self.segment_observed[segments] += seg_observed * quiet
        self.segment_expected[segments] += seg_expected * quiet

    def state(self) -> dict[str, Any]:
        out = {
            k: v
            for k, v in vars(self).items()
            if k not in ("_segments", "_window_ms", "_fade", "_single", "families", "_season")
        }
        return {**out, "families": self.families.state(), "season": self._season.state()}

    def restore(self, state: dict[str, Any]) -> None:
        state = dict(state)
        self.families.restore(state.pop("families"))
        self._season.restore(state.pop("season"))
        vars(self).update(state)
