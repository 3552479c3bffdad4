"""What to expect of a count: level, season, and how the whole spreads over the cells.

The whole has a level (slow for bursts, quick for silence) and a season; a cell has a share of the whole. For silence
a segment's expectation is the least of its own level and of what the whole implies at this moment, so that a campaign
that ends elsewhere, or a morning that starts late, is no outage.
"""

from typing import Any

import numpy as np

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from detector.events import Floats, Ints
from detector.watch.baseline import Families, fading
from detector.watch.season import Season
from detector.watch.segments import Kept, Segments

BURST_HALF_LIFE_MS = 1 * DAY_MS
SILENCE_HALF_LIFE_MS = 20 * MINUTE_MS
SHARE_HALF_LIFE_MS = 2 * DAY_MS
NOW_HALF_LIFE_MS = 5 * MINUTE_MS
SHARE_PRIOR = 10.0
"""Events that the prior of a cell's share is worth, spread evenly over the cells."""
SEASON_PRIOR = 200.0
LEVELS_KEPT = 720
CLUMP_PRIOR, CLUMP_WEIGHT = 5.0, 50.0
"""Attempts come in rows of a few by one actor: the prior of a row's length, and the attempts that it is worth."""


class VolumeBaseline:
    """Expected events of a count signal, per cell and segment."""

    def __init__(self, segments: Segments, window_ms: int, *, up: bool, attempts: bool) -> None:
        self._segments, self._window_ms, self._up = segments, window_ms, up
        self._fade = fading(window_ms, BURST_HALF_LIFE_MS if up else SILENCE_HALF_LIFE_MS)
        self._share_fade = fading(window_ms, SHARE_HALF_LIFE_MS)
        self._long_fade = fading(window_ms, WEEK_MS)
        self._now_fade = fading(window_ms, NOW_HALF_LIFE_MS)
        self._weight = 0.0
        self._level = 0.0
        self._now = 0.0
        self._now_weight = 0.0
        self._levels: dict[int, float] = {}
        """The level as it was before each of the last hours' windows, for looking back."""
        self._season = Season(SEASON_PRIOR, by_day=True)
        self._long, self._long_weight = 0.0, 0.0
        self._hour, self._hour_sum, self._hour_windows = -1, 0.0, 0
        self._attempts = attempts
        self._clump_sum, self._clump_weight = CLUMP_PRIOR * CLUMP_WEIGHT, CLUMP_WEIGHT
        self.cell_seen: Floats = np.zeros(0)
        self._cell_level: Floats = np.zeros(0)
        prior, cap = (0.35, 1.0) if attempts else ((0.25, 0.6) if not up else (0.2, 0.6))
        self._floor = prior if attempts or not up else 0.1
        self.families = Families(len(segments.families), prior, cap)

    def grow(self) -> None:
        more = len(self._segments.cells) - len(self.cell_seen)
        if more > 0:
            self.cell_seen = np.concatenate([self.cell_seen, np.zeros(more)])
            self._cell_level = np.concatenate([self._cell_level, np.zeros(more)])

    def keep(self, segments: Segments, kept: Kept) -> None:
        """Go on over a smaller index."""
        self._segments = segments
        self.cell_seen, self._cell_level = self.cell_seen[kept.cells], self._cell_level[kept.cells]
        self.families.keep(kept.segments)

    @property
    def clump(self) -> float:
        """How many attempts make one piece of evidence: their mean number in a window, seen from an attempt (≥ 1)."""
        return max(self._clump_sum / self._clump_weight, 1.0) if self._attempts else 1.0

    @property
    def noise(self) -> Floats:
        """float64[families]: σ of the log rate."""
        return np.maximum(self.families.noise, self._floor)

    def season(self, window_ms: int) -> float:
        """Volume relative to its long-run mean, by hour of the week, linear between the hours' middles."""
        return self._season.smooth(window_ms)

    def _learn_season(self, window_ms: int, events: float) -> None:
        """Sum the hour up; only a full hour teaches, so that an hour never explains itself."""
        hour = window_ms // HOUR_MS
        if hour != self._hour:
            if self._hour_windows:
                expected = self._hour_windows * self._long / self._long_weight
                self._season.learn(self._hour * HOUR_MS, self._hour_sum, expected, self._hour_windows * self._window_ms)
            self._hour, self._hour_sum, self._hour_windows = hour, 0.0, 0
        self._hour_sum += events
        self._hour_windows += 1
        self._long = self._long * self._long_fade + events
        self._long_weight = self._long_weight * self._long_fade + 1.0

    def _whole(self, window_ms: int) -> float:
        level = self._levels.get(window_ms, self._level / max(self._weight, 1e-12))
        return level * self.season(window_ms)

    def _shares(self) -> Floats:
        """float64[cells]: each cell's share of the whole, with a prior."""
        prior = SHARE_PRIOR / max(len(self.cell_seen), 1)
        shares: Floats = (self.cell_seen + prior) / (self.cell_seen.sum() + SHARE_PRIOR)
        return shares

    def cell_expected(self, window_ms: int) -> Floats:
        """float64[cells]: events expected in this window."""
        if self._up or window_ms in self._levels:
            return np.maximum(self._whole(window_ms) * self._shares(), 1e-9)
        own = self._cell_level / max(self._weight, 1e-12) * self.season(window_ms)
        return np.maximum(np.minimum(own, self._whole(window_ms) * self._shares() * 1.5), 1e-9)

    def implied(self) -> Floats:
        """float64[cells]: events that the whole's present level implies."""
        return np.maximum(self._now / max(self._now_weight, 1e-12) * self._shares(), 1e-9)

    def ignorance(self, segments: Segments) -> Floats:
        """float64[segments]: variance of the log rate for want of data."""
        rows = np.arange(len(self.cell_seen))
        seen = segments.totals(rows, [self.cell_seen])[0]
        return 1.0 / (seen + 1.0)

    def learn(
        self,
        rows: Ints,
        window_ms: int,
        observed: Floats,
        held: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
        *,
        whole_held: bool,
    ) -> None:
        """Take a window of the cells in `rows`; `held` cells (bool[cells]) and a held whole learn nothing."""
        self._levels[window_ms] = self._level / max(self._weight, 1e-12)
        if len(self._levels) > LEVELS_KEPT:
            del self._levels[min(self._levels)]
        season = self.season(window_ms)
        dense = np.zeros(len(self.cell_seen))
        dense[rows] = observed
        total = float(dense.sum())
        if not whole_held:
            level = self._level / self._weight if self._weight > 0 else total / season
            # A single window cannot lift the level far: bursts are not what is normal.
            clipped = min(total / season, 3.0 * level + 3.0) if self._weight > 0 else total / season
            self._level = self._level * self._fade + clipped
            self._weight = self._weight * self._fade + 1.0
            limited = min(total, 4.0 * self.clump)
            self._clump_sum = self._clump_sum * self._share_fade + limited**2
            self._clump_weight = self._clump_weight * self._share_fade + limited
            self._learn_season(window_ms, min(total, 3.0 * level * season + 3.0))
            learning = ~held
            self._cell_level[learning] = self._cell_level[learning] * self._fade + np.minimum(
                dense[learning] / season, clipped
            )
            self.cell_seen[learning] = self.cell_seen[learning] * self._share_fade + dense[learning]
        self._now = self._now * self._now_fade + total
        self._now_weight = self._now_weight * self._now_fade + 1.0

    def doubt(self, window_ms: int) -> float:
        """Variance of the log volume for want of days like this one."""
        return self._season.doubt(window_ms)

    def accept(self, rows: Ints, factor: float) -> None:
        """These cells' volume has become normal at so many times what was expected."""
        before = float(self.cell_seen.sum())
        self.cell_seen[rows] *= factor
        self._cell_level[rows] *= factor
        self._level *= float(self.cell_seen.sum()) / max(before, 1e-12)

    def state(self) -> dict[str, Any]:
        constant = (
            "_segments",
            "_up",
            "_fade",
            "_share_fade",
            "_window_ms",
            "_long_fade",
            "_now_fade",
            "_floor",
            "_attempts",
            "families",
            "_season",
        )
        kept = {k: v for k, v in vars(self).items() if k not in constant}
        parts = {"families": self.families.state(), "season": self._season.state()}
        return {**kept, **parts, "_levels": list(self._levels.items())}

    def restore(self, state: dict[str, Any]) -> None:
        state = dict(state)
        self.families.restore(state.pop("families"))
        self._season.restore(state.pop("season"))
        self._levels = {window: level for window, level in state.pop("_levels")}
        vars(self).update(state)
