"""What to expect of a count: the whole's level and season, and how the whole spreads over the cells.

Bursts are held against the level of the last day. For drops and silence the whole is held against its season once
such an hour was seen; before, against its last minutes and the day before. A segment is held against the least of its
share of that and of what the others' counts imply at this moment: a campaign that ends elsewhere, or a morning that
starts late, is no outage.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.calendar import Calendar
from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from detector.events import Floats, Ints
from detector.watch.baseline import Families, fading
from detector.watch.season import Season
from detector.watch.segments import Kept, Segments

LEVEL_HALF_LIFE_MS = 1 * DAY_MS
LATELY_HALF_LIFE_MS = 20 * MINUTE_MS
"""What the whole is held against while no such hour was seen."""
SHARE_HALF_LIFE_MS = 1 * DAY_MS
NOW_HALF_LIFE_MS = 3 * MINUTE_MS
"""Over so long the others' counts say what is to be expected at this moment."""
SUBSTITUTED_HALF_LIFE_MS = 2 * HOUR_MS
SUBSTITUTE_LEAST = 50.0
SHARE_PRIOR = 10.0
"""Events that the prior of a cell's share is worth, spread evenly over the cells."""
SEASON_PRIOR = 200.0
LEVEL_PRIOR = 100.0
"""Events that "the level is the season's" is worth."""
WHOLES_KEPT = 720
SLOT_MS = 10 * MINUTE_MS
SLOTS = WEEK_MS // SLOT_MS
CLOSED = 0.5
"""Where the day or the week before had less than this part of the expectation in the same ten minutes, what it had."""
HALF_HOURS = 48
HALF_HOUR_MS = 30 * MINUTE_MS
HOURS_FADE = 0.8
"""What each further day leaves of what a value's half-hours of the day taught."""
HOURS_PRIOR = 2.0
CAMPAIGN = 1.5
"""What is more than this many times the expectation teaches nothing, for some hours at most."""
CAMPAIGN_MS = 4 * HOUR_MS
UNKNOWN = 0.25
"""Noise of the whole in hours that were not seen before."""
CLUMP_PRIOR, CLUMP_WEIGHT = 5.0, 50.0
"""Attempts come in rows of a few by one actor: the prior of a row's length, and the attempts that it is worth."""

Flags = NDArray[np.bool_]


class VolumeBaseline:
    """Expected events of a count signal, per cell and segment.

    Parameters
    ----------
    substitutes : tuple of str
        Dimensions whose values take each other's place: a new version starves the old ones.
    """

    def __init__(
        self,
        segments: Segments,
        window_ms: int,
        *,
        up: bool,
        attempts: bool,
        substitutes: tuple[str, ...] = (),
        calendar: Calendar | None = None,
    ) -> None:
        self._segments, self._window_ms, self._up, self._attempts = segments, window_ms, up, attempts
        self._fade = fading(window_ms, LEVEL_HALF_LIFE_MS)
        self._lately_fade = fading(window_ms, LATELY_HALF_LIFE_MS)
        self._share_fade = fading(window_ms, SHARE_HALF_LIFE_MS)
        self._replaced_fade = fading(window_ms, SUBSTITUTED_HALF_LIFE_MS)
        self._now_fade = fading(window_ms, NOW_HALF_LIFE_MS)
        self._replaced = [d for d, name in enumerate(segments.dimensions) if name in substitutes]
        self._single = {f[0]: i for i, f in enumerate(segments.families) if len(f) == 1}
        self._level = np.zeros(2)
        """Events, and those that the season says: their ratio is the level."""
        self._mean = np.zeros(2)
        """Events and windows of the last day …"""
        self._lately = np.zeros(2)
        """… and of the last minutes."""
        self._wholes: dict[int, float] = {}
        """What was expected of the last hours' windows, before they were seen: for looking back."""
        self._season = Season(SEASON_PRIOR, by_day=True, absolute=True, calendar=calendar, moves=1.0)
        self._hour, self._hour_sum, self._hour_windows = -1, 0.0, 0
        self._slots: Floats = np.full(SLOTS, np.nan)
        """Events a window in each ten minutes of the last week."""
        self._slot, self._slot_sum, self._slot_windows = -1, 0.0, 0
        self._clump_sum, self._clump_weight = CLUMP_PRIOR * CLUMP_WEIGHT, CLUMP_WEIGHT
        self.cell_seen: Floats = np.zeros(0)
        dimensions = len(segments.dimensions)
        self._value_now: list[Floats] = [np.zeros((2, 0)) for _ in range(dimensions)]
        self._value_hours: list[Floats] = [np.zeros((2, 0, HALF_HOURS)) for _ in range(dimensions)]
        """Per dimension, value and half-hour of the day: events, and those that the whole implied."""
        self._value_sum: list[Floats] = [np.zeros((2, 0)) for _ in range(dimensions)]
        self._half_hour = -1
        self._value_high_ms: list[Ints] = [np.zeros(0, np.int64) for _ in range(dimensions)]
        self._whole_high_ms = 0
        self._fair: Floats = np.zeros(0)
        self._implied: Floats = np.zeros(0)
        self._now: Floats = np.zeros((2, 0))
        """Per segment: events and expected ones of the last minutes."""
        prior, cap = (0.35, 1.0) if attempts else (0.2, 0.6)
        self._floor = prior if attempts else 0.1 if up else 0.05
        self.families = Families(len(segments.families), prior, cap)

    # --- shape ------------------------------------------------------------------------------------------------------

    def grow(self) -> None:
        more = len(self._segments.cells) - len(self.cell_seen)
        if more > 0:
            self.cell_seen = np.concatenate([self.cell_seen, np.zeros(more)])
        more = len(self._segments) - self._now.shape[1]
        if more > 0:
            self._now = np.concatenate([self._now, np.zeros((2, more))], axis=1)
        for d, values in enumerate(self._segments.values):
            more = len(values) - self._value_now[d].shape[1]
            if more > 0:
                self._value_now[d] = np.concatenate([self._value_now[d], np.zeros((2, more))], axis=1)
                self._value_sum[d] = np.concatenate([self._value_sum[d], np.zeros((2, more))], axis=1)
                self._value_hours[d] = np.concatenate([self._value_hours[d], np.zeros((2, more, HALF_HOURS))], axis=1)
                self._value_high_ms[d] = np.concatenate([self._value_high_ms[d], np.zeros(more, np.int64)])

    def keep(self, segments: Segments, kept: Kept) -> None:
        """Go on over a smaller index."""
        self._segments = segments
        self.cell_seen = self.cell_seen[kept.cells]
        self._now = self._now[:, kept.segments]
        for d, rows in enumerate(kept.values):
            self._value_now[d], self._value_sum[d] = self._value_now[d][:, rows], self._value_sum[d][:, rows]
            self._value_hours[d] = self._value_hours[d][:, rows]
            self._value_high_ms[d] = self._value_high_ms[d][rows]
        self.families.keep(kept.segments)

    # --- expecting --------------------------------------------------------------------------------------------------

    @property
    def clump(self) -> float:
        """How many attempts make one piece of evidence: their mean number in a window, seen from an attempt (≥ 1)."""
        return max(self._clump_sum / self._clump_weight, 1.0) if self._attempts else 1.0

    @property
    def noise(self) -> Floats:
        """float64[families]: σ of the log rate."""
        return np.maximum(self.families.noise, self._floor)

    def _whole(self, window_ms: int) -> float:
        """Events expected of all cells together."""
        kept = self._wholes.get(window_ms)
        if kept is not None:
            return kept
        if self._season.known(window_ms):
            whole = self._of_season(window_ms)
        else:
            events, windows = self._mean if self._up else self._lately
            whole = events / max(windows, 1e-12)
        if self._up:
            return float(whole)
        # A week ago the ten minutes before are those that have just been overwritten.
        before = self._quietest(window_ms - WEEK_MS, (0, 1))
        if not np.isfinite(before):
            before = self._quietest(window_ms - DAY_MS, (0, -1, 1))
        return float(before if before < CLOSED * whole else whole)

    def _of_season(self, window_ms: int) -> float:
        """Events that level and season say."""
        level = (self._level[0] + LEVEL_PRIOR) / (self._level[1] + LEVEL_PRIOR)
        return float(level * self._season.smooth(window_ms) * self._window_ms / HOUR_MS)

    def _quietest(self, window_ms: int, around: tuple[int, ...]) -> float:
        """Return the least of the ten minutes around a moment of the last week; infinite where it was not seen."""
        found = self._slots[[(window_ms // SLOT_MS + i) % SLOTS for i in around]]
        return np.inf if np.isnan(found[0]) else float(np.nanmin(found))

    def _shares(self) -> Floats:
        """float64[cells]: each cell's share of the whole, with a prior."""
        prior = SHARE_PRIOR / max(len(self.cell_seen), 1)
        shares: Floats = (self.cell_seen + prior) / (self.cell_seen.sum() + SHARE_PRIOR)
        return shares

    def _of_day(self, window_ms: int) -> Floats:
        """float64[cells]: how far each cell's values lie below their share of the whole at this time of the day."""
        slot, codes = self._slot_of_day(window_ms), self._segments.cell_codes
        factor = np.ones(len(codes))
        for d, hours in enumerate(self._value_hours):
            of_value = (hours[0, :, slot] + HOURS_PRIOR) / (hours[1, :, slot] + HOURS_PRIOR)
            factor *= np.minimum(of_value, 1.0)[codes[:, d]]
        return factor

    @staticmethod
    def _slot_of_day(window_ms: int) -> int:
        return int(window_ms // HALF_HOUR_MS % HALF_HOURS)

    def cell_expected(self, window_ms: int) -> Floats:
        """float64[cells]: events expected in this window."""
        expected = self._whole(window_ms) * self._shares()
        if not self._up:
            expected = expected * self._of_day(window_ms)
        return np.maximum(expected, 1e-9)

    def expectation(
        self, touched: Ints, observed: Floats, expected: Floats, window_ms: int
    ) -> tuple[Floats, Floats, Floats]:
        """Return what holds for the touched segments: spread of the log rate, expected events, slack (≥ 1).

        Parameters
        ----------
        touched : int64[touched]
        observed, expected : float64[touched]
            Sums over the cells of each segment that are in no open problem.
        """
        family = self._segments.segment_family[touched]
        seen = self._segments.totals(np.arange(len(self.cell_seen)), [self.cell_seen])[0][touched]
        spread = self.noise[family] ** 2 + 1.0 / (seen + 1.0) + self._season.doubt(window_ms)
        slack = 1.0 + 1.0 / np.sqrt(seen + 10.0)
        if self._up:
            return spread, expected, slack
        known = self._known(window_ms)
        spread = spread + self._unlike(touched, window_ms) + (0.0 if known else UNKNOWN**2)
        self._now *= self._now_fade
        self._now[0, touched] += observed
        self._now[1, touched] += expected
        self._fair, self._implied = np.maximum(expected, 1e-9), np.ones(len(touched))
        if len(touched) and touched[0] == 0:
            # For all segments but the whole (row 0): what the rest of the whole says of this moment.
            rest = np.maximum(self._now[:, :1] - self._now[:, touched], 0.0)
            self._implied = (rest[0] + 3.0) / (rest[1] + 3.0)
            self._implied[0] = 1.0
            self._fair = self._fair * self._implied
            expected = expected * np.minimum(self._implied, 1.0)
        expected = expected * self._left(touched, known=known)
        return spread, np.maximum(expected, 1e-9), slack

    def _left(self, touched: Ints, *, known: bool) -> Floats:
        """float64[touched]: the part of the expectation that is left where others may have taken a value's place.

        In a dimension whose values substitute each other, what the other values have beyond their expectation (and a
        standard deviation more) may be this value's: only what nobody took is missing. In hours that were never seen
        nobody knows what others should have.
        """
        left = np.ones(len(touched))
        codes, family = self._segments.segment_codes[touched], self._segments.segment_family[touched]
        for d in self._replaced:
            single = np.flatnonzero(self._segments.segment_family == self._single[d])
            k, m = self._now[:, single]
            others_k, others_m = k.sum() - k, m.sum() - m
            noise = np.sqrt(others_m + (self.noise[self._single[d]] * others_m) ** 2)
            taken = np.zeros(len(self._segments.values[d]))
            free = (others_k - others_m + noise) / np.maximum(m, 1e-9)
            taken[self._segments.segment_codes[single, 0]] = np.clip(free, 0.0, 1.0) if known else 1.0
            for f, dimensions in enumerate(self._segments.families):
                if d in dimensions:
                    here = np.flatnonzero(family == f)
                    left[here] *= 1.0 - taken[codes[here, dimensions.index(d)]]
        return left

    def followed(self, window_ms: int) -> bool:
        """Whether the last hours tell where volumes stand: not upward, and not in hours that were never seen."""
        return not self._up and self._known(window_ms)

    def _known(self, window_ms: int) -> bool:
        return self._season.known(window_ms) and self._season.sure(window_ms)

    def calm(self, touched: Ints) -> Flags:
        """bool[touched]: those that have no campaign just now."""
        k, m = self._now[:, touched]
        calm: Flags = k < CAMPAIGN * m * np.maximum(self._implied, 1.0) + 3.0 * np.sqrt(m) + 3.0
        return calm

    def telling(self, touched: Ints, expected: Floats, window_ms: int) -> tuple[Flags, Floats]:
        """Which of the touched segments tell of noise, and what was expected of them before others took their place.

        Not the whole (row 0) in hours that were never seen, and not campaigns.
        """
        if self._up:
            return np.ones(len(touched), np.bool_), expected
        tells = self.calm(touched)
        if len(touched) and touched[0] == 0 and not self._known(window_ms):
            tells[0] = False
        return tells, self._fair

    def _unlike(self, touched: Ints, window_ms: int) -> Floats:
        """float64[touched]: variance where a value's own hours say less than the whole: closing hours are not exact."""
        slot = self._slot_of_day(window_ms)
        variance = np.zeros(len(touched))
        codes, family = self._segments.segment_codes[touched], self._segments.segment_family[touched]
        for f, dimensions in enumerate(self._segments.families):
            here = np.flatnonzero(family == f)
            for j, d in enumerate(dimensions):
                k, m = self._value_hours[d][:, codes[here, j], slot] + HOURS_PRIOR
                variance[here] += np.maximum(1.0 / k - 1.0 / m, 0.0)
        return variance

    def season(self, window_ms: int) -> float:
        """Volume of this moment relative to the mean hour's; 1 where no such hour was seen."""
        return self._season.relative(window_ms) if self._season.known(window_ms) else 1.0

    def accept(self, rows: Ints, factor: float) -> None:
        """These cells' volume has become normal at so many times what was expected."""
        before = float(self.cell_seen.sum())
        self.cell_seen[rows] *= factor
        changed = float(self.cell_seen.sum()) / max(before, 1e-12)
        self._level = self._level * (changed, 1.0)
        self._mean = self._mean * (changed, 1.0)
        self._lately = self._lately * (changed, 1.0)

    # --- learning ---------------------------------------------------------------------------------------------------

    def learn(self, rows: Ints, window_ms: int, observed: Floats, held: Flags, *, whole_held: bool) -> None:
        """Take a window of the cells in `rows`; `held` cells (bool[cells]) and a held whole learn nothing."""
        whole = self._whole(window_ms)
        self._wholes[window_ms] = whole
        if len(self._wholes) > WHOLES_KEPT:
            del self._wholes[min(self._wholes)]
        dense = np.zeros(len(self.cell_seen))
        dense[rows] = observed
        total = float(dense.sum())
        self._learn_slots(window_ms, total)
        learning = ~held & ~self._campaigns(window_ms, dense, total)
        if whole_held:
            return
        first = self._mean[1] == 0
        usual = total if first else min(total, 3.0 * whole + 3.0)
        self._lately = self._lately * self._lately_fade + (usual, 1.0)
        self._mean = self._mean * self._fade + (usual, 1.0)
        known, ordinary = self._season.known(window_ms), self._of_season(window_ms)
        high = known and not self._season.special(window_ms)
        high = high and total > CAMPAIGN * ordinary + 3.0 * np.sqrt(ordinary) + 3.0
        self._whole_high_ms = (self._whole_high_ms or window_ms) if high else 0
        if self._up or not (high and window_ms - self._whole_high_ms < CAMPAIGN_MS):
            if known and not self._season.brief(window_ms):
                self._level = self._level * self._fade + (usual, ordinary * self._level_before())
            self._learn_season(window_ms, usual)
        limited = min(total, 4.0 * self.clump)
        self._clump_sum = self._clump_sum * self._share_fade + limited**2
        self._clump_weight = self._clump_weight * self._share_fade + limited
        self.cell_seen[learning] = self.cell_seen[learning] * self._share_fade + dense[learning]
        self._substitute(dense, learning)

    def _level_before(self) -> float:
        """What `_of_season` is to be divided by for the season alone, inverted."""
        return float((self._level[1] + LEVEL_PRIOR) / (self._level[0] + LEVEL_PRIOR))

    def _learn_season(self, window_ms: int, events: float) -> None:
        """Sum the hour up; only a full hour teaches, so that an hour never explains itself."""
        hour = window_ms // HOUR_MS
        if hour != self._hour:
            if self._hour_windows:
                width_ms = self._hour_windows * self._window_ms
                expected = width_ms / HOUR_MS / self._level_before()
                self._season.learn(self._hour * HOUR_MS, self._hour_sum, expected, width_ms)
            self._hour, self._hour_sum, self._hour_windows = hour, 0.0, 0
        self._hour_sum += events
        self._hour_windows += 1

    def _learn_slots(self, window_ms: int, total: float) -> None:
        """What really was, problems and all: ten minutes that were quiet once may be so again."""
        slot = window_ms // SLOT_MS
        if slot != self._slot:
            if self._slot_windows:
                self._slots[self._slot % SLOTS] = self._slot_sum / self._slot_windows
            self._slot, self._slot_sum, self._slot_windows = slot, 0.0, 0
        self._slot_sum += total
        self._slot_windows += 1

    def _campaigns(self, window_ms: int, dense: Floats, total: float) -> Flags:
        """bool[cells]: those of which a value has a campaign; learn the values' hours on the way."""
        out = np.zeros(len(dense), np.bool_)
        if self._up:
            return out
        codes, shares = self._segments.cell_codes, self._shares()
        implied = shares * total
        half_hour = window_ms // HALF_HOUR_MS
        over = half_hour != self._half_hour
        for d in range(codes.shape[1]):
            width = self._value_now[d].shape[1]
            counts = np.stack([np.bincount(codes[:, d], weights=w, minlength=width) for w in (dense, implied)])
            if over and self._half_hour >= 0:
                slot = int(self._half_hour % HALF_HOURS)
                self._value_hours[d][:, :, slot] = self._value_hours[d][:, :, slot] * HOURS_FADE + self._value_sum[d]
                self._value_sum[d] = np.zeros_like(self._value_sum[d])
            self._value_sum[d] = self._value_sum[d] + counts
            now = self._value_now[d] = self._value_now[d] * self._now_fade + counts
            high = now[0] > CAMPAIGN * now[1] + 3.0 * np.sqrt(now[1]) + 3.0
            since = np.where(high, np.where(self._value_high_ms[d] == 0, window_ms, self._value_high_ms[d]), 0)
            self._value_high_ms[d] = since
            out |= (high & (window_ms - since < CAMPAIGN_MS))[codes[:, d]]
        self._half_hour = half_hour
        return out

    def _substitute(self, dense: Floats, learning: Flags) -> None:
        """Follow how values that take each other's place share the whole, cell for cell as the values do."""
        if not self._replaced:
            return
        codes, shares = self._segments.cell_codes, self._shares()
        implied = shares * float(dense[learning].sum()) / max(float(shares[learning].sum()), 1e-12)
        for d in self._replaced:
            width = self._value_now[d].shape[1]
            k, m = (np.bincount(codes[learning, d], weights=w[learning], minlength=width) for w in (dense, implied))
            known = np.bincount(codes[:, d], weights=self.cell_seen, minlength=width)
            # As if the value had been learned with the shorter half-life, whatever its cells.
            gain = (1.0 - self._replaced_fade) / (1.0 - self._share_fade) - 1.0
            factor = 1.0 + np.clip(gain * (k - m) / np.maximum(known, SUBSTITUTE_LEAST), -0.05, 0.05)
            self.cell_seen[learning] *= factor[codes[learning, d]]

    # --- state ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        constant = (
            "_segments",
            "_window_ms",
            "_up",
            "_attempts",
            "_floor",
            "_replaced",
            "_single",
            "_fair",
            "_implied",
            "families",
            "_season",
        )
        kept = {k: v for k, v in vars(self).items() if k not in constant and not k.endswith("_fade")}
        parts = {"families": self.families.state(), "season": self._season.state()}
        return {**kept, **parts, "_wholes": list(self._wholes.items())}

    def restore(self, state: dict[str, Any]) -> None:
        state = dict(state)
        self.families.restore(state.pop("families"))
        self._season.restore(state.pop("season"))
        self._wholes = {window: level for window, level in state.pop("_wholes")}
        vars(self).update(state)
