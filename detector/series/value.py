"""Scores a gauge: how new, how rare and how sudden a row is, in units of the series' own spread.

Experts measure *novelty*, the distance to the nearest of the past values: for the value, its mean over 3 and 20 rows,
the difference, what the time of day leaves unexplained and what a regression leaves. A power mean joins them, so low
that they must agree; the regression counts more the better the series can be predicted from its last rows. *Rarity* is
how far out each of them lies among its own past. A level that lasts, and a value that stays exactly the same, count as
well.
"""

import math
from collections import deque
from typing import ClassVar

import numpy as np

from detector.series.expert import Expert, OwnUnit
from detector.series.forecast import DayProfile, Pace, Regression
from detector.series.incidents import Incidents
from detector.series.kept import Kept
from detector.series.rarity import RarityBothWays
from detector.series.stuck import Stuck
from detector.series.window import TINY, Spread, Window

_FIRST_ROWS = 4
"""Rows before anything can be computed."""
_POWER, _LEAST = 0.1, 1e-3
_PREDICTABLE = 0.3
_AGREED, _AFTER_ROWS = 0.4, 0.4
"""Powers: of the joined novelty, and of the time that a row stands for, since few alerts a week are wanted, not few
a row."""
_MOST_RARE = 8.5
_LEVEL, _LEVEL_FROM, _LEVEL_MEAN, _LIGHT_TAIL = 0.1, 5.5, 1.5, 3.0
_STUCK = 1.5
_DELAY_ROWS = 15
_COMMON, _USUAL, _USUAL_COUNTS = 0.75, 0.3, 0.3
"""Units from the median of the last rows within which a value is common, and so usual that a jump there says little."""
_YOUNG_ROWS, _GROWN_ROWS = 6.0, 40
"""In its first rows everything is new to a series: what counts there must be far stronger."""
_USUAL_STEP_S, _LEAST_STEP_S = 300.0, 30.0
_REACH = 6.0


class Value(Kept):
    """Everything known of one gauge."""

    _kept: ClassVar[tuple[str, ...]] = (
        *("_pace", "_profile", "_regression", "_incidents", "_stuck", "_rows", "_spread", "_hour"),
        *("_last", "_offs", "_value", "_mean3", "_mean20", "_difference", "_day", "_error", "_sudden", "_level"),
    )

    def __init__(self) -> None:
        self._pace = Pace()
        self._profile = DayProfile()
        self._regression = Regression((0.0, 0.3, 0.0, 0.3, 0.0))
        self._incidents = Incidents()
        self._stuck = Stuck()
        self._rows = 0
        self._spread = Spread()
        self._hour = Window(60)
        self._last: deque[float] = deque(maxlen=20)
        self._offs: deque[float] = deque(maxlen=20)
        self._value, self._mean3, self._mean20 = (Expert(_DELAY_ROWS) for _ in range(3))
        self._difference, self._day, self._error = OwnUnit(), OwnUnit(), OwnUnit()
        self._sudden, self._level = RarityBothWays(), RarityBothWays()

    def step(self, time_ms: int, value: float) -> tuple[float, float, float, float]:
        """Return expected, low, high and the score in [0, 1] of a row; then learn it."""
        self._pace.add(time_ms)
        self._rows += 1
        step_s = max(self._pace.step_ms / 1_000, _LEAST_STEP_S)
        of_day = self._profile.at(time_ms)
        if of_day != of_day:
            of_day = self._hour.median() if self._rows > 1 else value
        known = value
        if self._rows > _FIRST_ROWS:
            expected, low, high, strength = self._judge(value, of_day, step_s)
            usual = abs(self._offs[-1]) < _COMMON
            if self._rows > 200:
                reach = 8 * self._spread.unit
                known = max(of_day - reach, min(of_day + reach, value))
        else:
            expected = low = high = float("nan")
            strength, usual = 0.0, False
        self._spread.add(value)
        self._hour.add(value)
        self._last.append(value)
        self._profile.learn(time_ms, known, self._pace.step_ms)
        return expected, low, high, self._incidents.step(strength, step_s, usual=usual)

    def _judge(self, value: float, of_day: float, step_s: float) -> tuple[float, float, float, float]:
        last, unit, middle = self._last, self._spread.unit, self._hour.median()
        before, sum20 = last[-1], sum(last)
        inputs = np.array(
            [
                1.0,
                *(
                    max(-_REACH, min(_REACH, (x - middle) / unit))
                    for x in (before, last[-2], sum20 / len(last), of_day)
                ),
            ]
        )
        expected = middle + unit * self._regression.predict(inputs)
        error, error_unit = value - expected, self._error.spread.unit
        low, high = self._band(expected, error_unit)

        off = max(-12.0, min(12.0, (value - self._spread.window.median()) / unit))
        self._offs.append(off)
        sudden = self._sudden.step((value - middle) / unit)
        lasting = self._level.step(sum(self._offs) / len(self._offs))
        stuck = self._stuck.step(value, self._value.past, self._value.waiting)
        self._value.step(value, unit)
        self._mean3.step((value + before + last[-2]) / 3, unit)
        self._mean20.step((value + sum20) / (len(last) + 1), unit)
        self._difference.step(value - before)
        self._day.step(value - of_day)
        self._error.step(error)

        strength = self._strength(error_unit / unit, sudden, lasting, step_s / _USUAL_STEP_S)
        if abs(off) < _USUAL:
            strength *= _USUAL_COUNTS
        learned = error if self._rows <= 30 else max(-3 * error_unit, min(3 * error_unit, error))
        self._regression.learn(inputs, max(-30.0, min(30.0, learned / unit)))
        grown = self._rows / (self._rows + _YOUNG_ROWS) * min(1.0, self._rows / _GROWN_ROWS) ** 3
        return expected, low, high, (strength + (_STUCK if stuck else 0.0)) * grown

    def _strength(self, unpredictable: float, sudden: float, lasting: float, rows: float) -> float:
        """Join the experts; `rows` is the step in units of five minutes."""
        trust = 2.0 * max(unpredictable, 0.02) ** -_PREDICTABLE
        agreed = (
            0.5 * (self._value.new + _LEAST) ** _POWER
            + 2.0 * (self._mean3.new + _LEAST) ** _POWER
            + 0.5 * (self._difference.expert.new + _LEAST) ** _POWER
            + 1.0 * (self._day.expert.new + _LEAST) ** _POWER
            + 1.0 * (self._mean20.new + _LEAST) ** _POWER
            + trust * (self._error.expert.new + _LEAST) ** _POWER
        ) / (5.0 + trust)
        rare = (
            1.0 * self._value.rare
            + 3.0 * self._mean3.rare
            + 2.0 * self._difference.expert.rare
            + 1.5 * self._day.expert.rare
            + 0.5 * self._error.expert.rare
            + 0.5 * self._mean20.rare
            + 1.5 * min(sudden, _MOST_RARE)
        ) / 10.0
        strength = math.pow(agreed, _AGREED / _POWER) * rare * math.pow(rows, _AFTER_ROWS)
        level = max(min(lasting, _MOST_RARE), _LEVEL_MEAN * self._mean20.rare)
        if level > _LEVEL_FROM:
            strength += _LEVEL * math.sqrt(rows) * min(1.0, _LIGHT_TAIL / self._tail()) * (level - _LEVEL_FROM)
        return strength

    def _tail(self) -> float:
        """How heavy the tails of the regression's errors are: the range of 96 % over the range of 50 %."""
        held = self._error.spread.window.sorted
        n = len(held)
        if n <= 40:
            return _LIGHT_TAIL
        middle = held[(3 * n) >> 2] - held[n >> 2] + 1e-12 * abs(held[-1]) + TINY
        return max((held[n - 1 - n // 50] - held[n // 50]) / middle, TINY)

    def _band(self, expected: float, unit: float) -> tuple[float, float]:
        """Return the range in which all but 5 % of the last 400 errors would have left the value, and a little more."""
        held = self._error.spread.window.sorted
        if not held:
            return float("nan"), float("nan")
        out = len(held) // 40
        return expected + min(0.0, held[out]) - unit / 2, expected + max(0.0, held[-1 - out]) + unit / 2
