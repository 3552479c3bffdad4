"""Where a value signal's values lay in its own recent past: one distribution a cell, with forgetting.

A cell that has few values of its own borrows its parents': at every level the odds of a higher value are those of its
value of the most telling dimension (the endpoint, say), times what its other values make of them beside what their own
mix of that dimension explains. So a new version's first values are compared with what its endpoint and its city
usually show, and a change of mix shifts nothing. Only the order of the values matters: what a bucket is worth is never
used, so any shape will do, with zeros, ties and negative values.
"""

from typing import Any

import numpy as np
from scipy.special import expit, logit, rel_entr

from detector.config import DAY_MS, HOUR_MS
from detector.counter.record import MIRRORED, ZERO_BUCKET, Histograms
from detector.events import Floats, Ints
from detector.watch.season import Season

HALF_LIFE_MS = 3 * DAY_MS
LATELY_MS = HOUR_MS
"""Half-life of what is known of the last hours."""
BORROWED = 40.0
"""Values that a cell's parents are worth, and that the whole is worth to a dimension value."""
PRIOR = 10.0
"""Values on either side of a level that "as its mix explains" is worth."""
SEASON_PRIOR = 500.0
"""Values above the middle that "as on average" is worth, in each hour."""
STEADY = 200.0
"""Values that "as ever" is worth where the last hours are told from the past."""
MOST_COLUMNS = 256
"""Beyond so many distinct buckets two neighbours become one column."""
OFFSET = 1 << 15
FORGOTTEN = 0.1
"""A cell of which less than this much of a value is left has no past."""

TRACE = 0.02
"""What is left of a past that gives way to a new level."""

Cell = tuple[str, ...]


def in_order(bucket: Ints) -> Ints:
    """int64: a whole number for each bucket that rises with its values.

    Examples
    --------
    >>> in_order(np.array([MIRRORED - 60, MIRRORED - 50, ZERO_BUCKET, -7, 50])).tolist()
    [-32828, -32818, 0, 32761, 32818]
    """
    negative = (bucket < MIRRORED // 2) & (bucket != ZERO_BUCKET)
    return np.where(bucket == ZERO_BUCKET, 0, np.where(negative, bucket - MIRRORED - OFFSET, bucket + OFFSET))


def bucket_of(order: Ints) -> Ints:
    """int64: the bucket of each such number."""
    return np.where(order == 0, ZERO_BUCKET, np.where(order < 0, order + OFFSET + MIRRORED, order - OFFSET))


class Past:
    """The distributions of one signal's cells.

    Attributes
    ----------
    levels : int64[columns]
        What each column stands for, ascending: `in_order` of a bucket // `width`.
    """

    def __init__(self, dimensions: int) -> None:
        self.levels: Ints = np.zeros(0, np.int64)
        self.width = 1
        self._cells: dict[Cell, int] = {}
        self._values: list[dict[str, int]] = [{} for _ in range(dimensions)]
        self._codes: Ints = np.zeros((0, dimensions), np.int64)
        self._own: Floats = np.zeros((0, 0))
        """float64[cells, columns]: values seen, faded."""
        self._number: Floats = np.zeros(0)
        """float64[cells]: their sums."""
        self._margins: list[Floats] = [np.zeros((0, 0)) for _ in range(dimensions)]
        """float64[values of the dimension, columns]."""
        self._whole: Floats = np.zeros(0)
        self._telling, self._told_at = 0, 0.0
        """The most telling dimension, and how many values were known when it was chosen."""
        self._lately: list[Floats] = [np.zeros((2, 0)) for _ in range(dimensions)]
        """float64[2, values]: of the last hours, values above the past's middle, and all."""
        self._lately_whole: Floats = np.zeros(2)
        self._season = Season(SEASON_PRIOR, by_day=True)
        self._hour = -1
        self._known: tuple[Histograms, tuple[Floats, Floats]] | None = None
        """The last window's ranks: derived, kept only for speed."""

    @property
    def mass(self) -> float:
        """Values that are remembered."""
        return float(self._whole.sum())

    # --- index ------------------------------------------------------------------------------------------------------

    def rows(self, cells: list[Cell]) -> Ints:
        """int64[cells]: each cell's row; unknown ones are added."""
        new = [cell for cell in cells if cell not in self._cells]
        if new:
            codes = []
            for cell in new:
                self._cells[cell] = len(self._cells)
                codes.append([known.setdefault(v, len(known)) for known, v in zip(self._values, cell, strict=True)])
            self._codes = np.concatenate([self._codes, np.array(codes, np.int64).reshape(len(new), -1)])
            self._own = _taller(self._own, len(self._cells), len(self.levels))
            self._number = np.concatenate([self._number, np.zeros(len(new))])
            sizes = [len(known) for known in self._values]
            self._margins = [_taller(m, size, len(self.levels)) for m, size in zip(self._margins, sizes, strict=True)]
            self._lately = [_taller(m.T, size, 2).T for m, size in zip(self._lately, sizes, strict=True)]
        return np.array([self._cells[cell] for cell in cells], np.int64)

    def columns(self, bucket: Ints) -> Ints:
        """int64[buckets]: each bucket's column; unknown ones are added."""
        order = in_order(bucket) // self.width
        new = np.setdiff1d(order, self.levels)
        if len(new):
            self._spread(np.union1d(self.levels, new), np.searchsorted(np.union1d(self.levels, new), self.levels))
            while len(self.levels) > MOST_COLUMNS:
                self.width *= 2
                coarser = np.unique(self.levels // 2)
                self._spread(coarser, np.searchsorted(coarser, self.levels // 2))
                order //= 2
        return np.searchsorted(self.levels, order)

    def _spread(self, levels: Ints, to: Ints) -> None:
        """Go on over other columns; `to` int64[old columns] is where each goes."""

        def moved(old: Floats) -> Floats:
            out = np.zeros((len(old), len(levels)))
            np.add.at(out.T, to, old.T)
            return out

        self._own, self._margins = moved(self._own), [moved(m) for m in self._margins]
        self._whole = moved(self._whole[None, :])[0]
        self.levels = levels

    # --- what is usual ----------------------------------------------------------------------------------------------

    def below(self, rows: Ints, window_ms: int) -> Floats:
        """float64[rows, columns + 1]: probability that a cell's value lies below each column's lower end; the last: 1.

        The cell's own past with its parents' as `BORROWED` values, moved as far as all values are at such an hour.
        """
        share = self._share()
        if self._margins:
            first = self._telling
            telling = _blended(self._margins[first], share[None, :])
            odds = _log_odds(telling[self._codes[rows, first]])
            margin = self._margins[first]
            bare = (margin + share) / (margin.sum(axis=1, keepdims=True) + 1.0)
            for d in range(len(self._margins)):
                if d != first:
                    codes, inverse = np.unique(self._codes[rows, d], return_inverse=True)
                    odds += self._effects(d, codes, bare)[inverse.ravel()]
        else:
            odds = np.repeat(_log_odds(share[None, :]), len(rows), axis=0)
        # Log odds that fall, plus differences, need not fall.
        higher = np.minimum.accumulate(expit(odds), axis=1)
        parents = -np.diff(np.concatenate([np.ones((len(rows), 1)), higher, np.zeros((len(rows), 1))], axis=1), axis=1)
        return np.asarray(expit(logit(_cumulative(_blended(self._own[rows], parents))) - self.season(window_ms)))

    def season(self, window_ms: int) -> float:
        """By how much the log odds of a value above the past's middle are higher than on average, at such an hour."""
        return float(logit(np.clip(0.5 * self._season.smooth(window_ms), 0.02, 0.98)))

    def _share(self) -> Floats:
        """float64[columns]: the whole's distribution, nowhere quite zero."""
        whole = self._whole + 0.5 / max(len(self.levels), 1)
        return np.asarray(whole / whole.sum(), np.float64)

    def _effects(self, d: int, codes: Ints, telling: Floats) -> Floats:
        """float64[codes, columns - 1]: what these values add to the log odds that their mix of `telling` explains."""
        first, values = self._telling, len(self._values[d])
        mixed = np.bincount(
            self._codes[:, d] * len(telling) + self._codes[:, first],
            weights=self._number,
            minlength=values * len(telling),
        ).reshape(values, len(telling))[codes]
        seen, explained = (np.cumsum(sums, axis=1) for sums in (self._margins[d][codes], mixed @ telling))
        (below, above), (usual_below, usual_above) = ((s[:, :-1], s[:, -1:] - s[:, :-1]) for s in (seen, explained))
        # Where few values are on one side, nothing is known of the odds.
        higher = np.log((above + PRIOR) / (usual_above + PRIOR))
        return np.asarray(higher - np.log((below + PRIOR) / (usual_below + PRIOR)), np.float64)

    def _choose(self) -> None:
        """Find the dimension whose values differ most: the information that they have of a value's rank."""
        share, told = self._share(), []
        for margin in self._margins:
            blended = _blended(margin, share[None, :])
            told.append(float((margin.sum(axis=1) * rel_entr(blended, share[None, :]).sum(axis=1)).sum()))
        self._telling = int(np.argmax(told)) if told else 0
        self._told_at = self.mass

    def ranks(self, rows: Ints, histograms: Histograms, window_ms: int) -> tuple[Floats, Floats]:
        """float64[histogram rows] each: probability of a lower value than those, and of none higher.

        Parameters
        ----------
        rows : int64[cells]
            Of the cells that the histograms speak of.
        """
        if self._known is None or self._known[0] is not histograms:
            columns = self.columns(histograms.bucket)
            used, inverse = np.unique(histograms.cell, return_inverse=True)
            below = self.below(rows[used], window_ms)
            at = inverse.ravel()
            self._known = histograms, (below[at, columns], below[at, columns + 1])
        return self._known[1]

    def drift(self, rows: Ints) -> Floats:
        """float64[cells]: how far each cell's middle has moved in the last hours: log odds of a value above the past's.

        Of the whole and of the dimension values; what a single cell does is not followed.
        """
        above, every = self._lately_whole
        share = (above + STEADY / 2) / (every + STEADY)
        whole = float(logit(share))
        out = np.full(len(rows), whole)
        for d, (moved, number) in enumerate(self._lately):
            out += (logit((moved + STEADY * share) / (number + STEADY)) - whole)[self._codes[rows, d]]
        return out

    def values_at(self, position: Floats) -> Ints:
        """int64: the buckets in the middle of these columns."""
        return bucket_of(self.levels[np.asarray(position, np.int64)] * self.width + (self.width - 1) // 2)

    # --- learning ---------------------------------------------------------------------------------------------------

    def learn(self, rows: Ints, histograms: Histograms) -> None:
        """Add values; `rows` int64[cells], -1 where a cell learns nothing."""
        self._known = None
        row = rows[histograms.cell]
        here = row >= 0
        columns = self.columns(histograms.bucket)[here]
        row, count = row[here], histograms.count[here].astype(np.float64)
        np.add.at(self._own, (row, columns), count)
        np.add.at(self._number, row, count)
        for d, margin in enumerate(self._margins):
            np.add.at(margin, (self._codes[row, d], columns), count)
        np.add.at(self._whole, columns, count)
        if self.mass >= 2 * self._told_at:
            self._choose()

    def hour(self, above: float, number: float, window_ms: int, width_ms: int) -> None:
        """Learn what this hour is like from `number` values, `above` of them above the past's middle."""
        self._season.learn(window_ms, above, number / 2, width_ms)

    def follow(self, rows: Ints, histograms: Histograms, above: Floats, width_ms: int) -> None:
        """Take a window as the latest; `above` float64[histogram rows]: each one's part above this hour's middle."""
        fade = 0.5 ** (width_ms / LATELY_MS)
        counts = np.stack([histograms.count * above, histograms.count])
        codes = self._codes[rows[histograms.cell]]
        for d, lately in enumerate(self._lately):
            lately *= fade
            np.add.at(lately.T, codes[:, d], counts.T)
        self._lately_whole = self._lately_whole * fade + counts.sum(axis=1)

    def renew(self, rows: Ints) -> None:
        """Let what these cells were like go, all but a trace: they are to be learned anew."""
        self._known = None
        gone = self._own[rows] * (1.0 - TRACE)
        self._own[rows] *= TRACE
        self._number[rows] *= TRACE
        for d, margin in enumerate(self._margins):
            np.subtract.at(margin, self._codes[rows, d], gone)
            np.maximum(margin, 0.0, out=margin)
        self._whole = np.maximum(self._whole - gone.sum(axis=0), 0.0)

    def forget(self, window_ms: int) -> None:
        """Let the past fade once an hour, and what has faded go once a day."""
        hour = window_ms // HOUR_MS
        if hour == self._hour:
            return
        hours = hour - self._hour if self._hour >= 0 else 0
        factor = 0.5 ** (hours * HOUR_MS / HALF_LIFE_MS)
        for sums in (self._own, self._number, *self._margins, self._whole):
            sums *= factor
        self._choose()
        if hour * HOUR_MS // DAY_MS != self._hour * HOUR_MS // DAY_MS:
            self._sweep()
        self._hour = hour

    def _sweep(self) -> None:
        stay = np.flatnonzero(self._number >= FORGOTTEN)
        columns = np.flatnonzero(self._own[stay].sum(axis=0) > 0)
        names = list(self._cells)
        own = self._own[np.ix_(stay, columns)]
        smaller = Past(len(self._values))
        smaller.levels, smaller.width, smaller._hour = self.levels[columns], self.width, self._hour
        smaller._whole = np.zeros(len(columns))
        rows = smaller.rows([names[i] for i in stay.tolist()])
        smaller._own[rows], smaller._number[rows] = own, self._number[stay]
        smaller._season = self._season
        smaller._telling, smaller._told_at = self._telling, self._told_at
        for d, margin in enumerate(smaller._margins):
            np.add.at(margin, smaller._codes[:, d], own)
        smaller._whole = own.sum(axis=0)
        smaller._lately_whole = self._lately_whole
        for d, (old, new) in enumerate(zip(self._values, smaller._values, strict=True)):
            smaller._lately[d] = self._lately[d][:, [old[value] for value in new]]
        vars(self).update(vars(smaller))

    def state(self) -> dict[str, Any]:
        return {
            "levels": self.levels,
            "width": self.width,
            "cells": list(self._cells),
            "own": self._own,
            "number": self._number,
            "telling": (self._telling, self._told_at),
            "margins": self._margins,
            "whole": self._whole,
            "season": self._season.state(),
            "lately": self._lately,
            "lately_whole": self._lately_whole,
            "hour": self._hour,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.levels, self.width, self._hour = state["levels"], state["width"], state["hour"]
        self._whole = state["whole"]
        self.rows([tuple(cell) for cell in state["cells"]])
        self._own, self._number, self._margins = state["own"], state["number"], list(state["margins"])
        self._telling, self._told_at = state["telling"]
        self._season.restore(state["season"])
        self._lately, self._lately_whole = list(state["lately"]), state["lately_whole"]


def _taller(old: Floats, rows: int, columns: int) -> Floats:
    if len(old) == rows:
        return old
    return np.concatenate([old.reshape(len(old), columns), np.zeros((rows - len(old), columns))])


def _blended(own: Floats, parents: Floats) -> Floats:
    """float64[rows, columns]: shares, with the parents' as `BORROWED` values."""
    shares: Floats = (own + BORROWED * parents) / (own.sum(axis=1, keepdims=True) + BORROWED)
    return shares


def _cumulative(shares: Floats) -> Floats:
    """float64[rows, columns + 1]: from 0 to 1."""
    sums = np.concatenate([np.zeros((len(shares), 1)), np.cumsum(shares, axis=1)], axis=1)
    clipped: Floats = np.minimum(sums / np.maximum(sums[:, -1:], 1e-12), 1.0)
    return clipped


def _log_odds(shares: Floats) -> Floats:
    """float64[rows, columns - 1]: log odds of a value beyond each column but the last."""
    odds: Floats = logit(np.clip(1.0 - np.cumsum(shares, axis=1)[:, :-1], 1e-7, 1.0 - 1e-7))
    return odds
