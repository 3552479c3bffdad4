"""A value that stays exactly the same: how unlikely that is, from how often the series repeats itself."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import ClassVar

from detector.series.kept import Kept

_ENOUGH = 60.0
"""Powers of ten from which on a run is an incident; sensors and scrapes repeat a value far more often than chance."""
_PRIOR_ROWS = 40.0
_LEAST_BEFORE = 100
"""Rows before the run without which nothing is known of how the series repeats itself."""


class Stuck(Kept):
    """The run of equal values up to now."""

    _kept: ClassVar[tuple[str, ...]] = ("_run", "_same", "_seen", "_last")

    def __init__(self) -> None:
        self._run = self._same = self._seen = 0
        self._last: float | None = None

    def step(self, value: float, past: Sequence[float], waiting: int) -> bool:
        """Say whether the value has been stuck for too long, then learn.

        `past` holds earlier values, sorted, without the last `waiting` ones.

        The chance of one more repetition is the larger of two shares: of rows that repeated the row before, and of
        this value among the past, both without the run itself. So a success rate is free to stay at 100 %.
        """
        self._seen += 1
        if value == self._last:
            self._run += 1
            self._same += 1
        else:
            self._run = 0
        self._last = value
        run = self._run
        if run < 3 or self._seen - run < _LEAST_BEFORE:
            return False
        repeats = (self._same - run + 2) / (self._seen - run + _PRIOR_ROWS)
        of_run = max(0, run - waiting)
        equal = bisect_right(past, value) - bisect_left(past, value) - of_run
        of_past = (equal + 1) / (max(0, len(past) - of_run) + _PRIOR_ROWS)
        return run * -math.log10(min(1.0, max(repeats, of_past))) > _ENOUGH
