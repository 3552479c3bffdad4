"""From the strength of each row to one alert for each incident.

A row begins an incident only if it is stronger than every row of the last 20 hours; a relapse after a few calm rows
needs more, the more time a row stands for. What the series does several times a week is its habit and weighs less.
The result is a score in [0, 1]: 0.5 is the preset threshold.
"""

import math
from bisect import bisect_left
from collections import deque
from typing import ClassVar

from detector.series.kept import Kept
from detector.series.window import Window

THRESHOLD = 0.5
_STRENGTH = 0.63
"""The strength that scores 0.5."""
_INCIDENT_S = 20 * 3_600
_FEWEST_ROWS, _MOST_ROWS = 12, 200
_CALM_ROWS, _CALM = 5, 4.0
_RELAPSE, _RELAPSE_MOST = 1.25, 5.0
_AGAIN = 4.0
"""Just after an alert only what is so much stronger is another one."""
_PEAK = 0.4
_HABIT_LIKE, _HABIT_A_WEEK, _HABIT_POWER, _FIRST_WEEKS = 0.5, 1.5, 0.3, 0.7
_PEAKS_HELD = 1_000
_WEEK_S = 604_800


class Incidents(Kept):
    """The incidents of one series up to now."""

    _kept: ClassVar[tuple[str, ...]] = (
        "_row",
        "_strongest",
        "_at",
        "_peaks",
        "_young",
        "_young_at",
        "_alert",
        "_alert_at",
    )

    def __init__(self) -> None:
        self._row = 0
        # Rows that no later one has beaten yet: falling strengths, and where they were.
        self._strongest: deque[float] = deque()
        self._at: deque[int] = deque()
        self._peaks = Window(_PEAKS_HELD)
        # Peaks of an incident that may still be on: not a habit yet.
        self._young: deque[float] = deque()
        self._young_at: deque[int] = deque()
        self._alert = 0.0
        self._alert_at = -_MOST_ROWS

    def step(self, strength: float, step_s: float, *, usual: bool = False) -> float:
        """Return the score of a row, in [0, 1].

        `usual` says that the value is a common one: with an incident just behind, its return is the end of it.
        """
        row = self._row
        self._row += 1
        rows = int(min(max(_INCIDENT_S / step_s, _FEWEST_ROWS), _MOST_ROWS))
        if usual and row - self._alert_at <= rows:
            strength = 0.0
        peak = self._peak(strength, row, rows, step_s)
        self._remember(strength, row, rows)
        if peak <= _PEAK:
            return peak / (peak + _STRENGTH)
        while self._young_at and self._young_at[0] + rows // 4 <= row:
            self._young_at.popleft()
            self._peaks.add(self._young.popleft())
        weighed = peak / math.pow(1 + self._a_week(peak, row, step_s) / _HABIT_A_WEEK, _HABIT_POWER)
        self._young.append(peak)
        self._young_at.append(row)
        if row - self._alert_at <= _CALM_ROWS and weighed < _AGAIN * self._alert:
            weighed = min(weighed, 0.95 * _STRENGTH)
        elif weighed >= _STRENGTH:
            self._alert, self._alert_at = weighed, row
        return weighed / (weighed + _STRENGTH)

    def _peak(self, strength: float, row: int, rows: int, step_s: float) -> float:
        """Return what the row counts for: all of its strength, some of it after calm rows, or nothing."""
        while self._at and self._at[0] < row - rows:
            self._at.popleft()
            self._strongest.popleft()
        if not self._strongest or strength > self._strongest[0]:
            return strength
        recent = next((s for s, at in zip(self._strongest, self._at, strict=True) if at >= row - _CALM_ROWS), 0.0)
        if strength > _CALM * recent:
            return strength / max(_RELAPSE, min(_RELAPSE_MOST, _RELAPSE * step_s / 60))
        return 0.0

    def _remember(self, strength: float, row: int, rows: int) -> None:
        while self._strongest and self._strongest[-1] <= strength:
            self._strongest.pop()
            self._at.pop()
        self._strongest.append(strength)
        self._at.append(row)

    def _a_week(self, peak: float, row: int, step_s: float) -> float:
        held = self._peaks.sorted
        like = len(held) - bisect_left(held, _HABIT_LIKE * peak)
        weeks = row * step_s / _WEEK_S + _FIRST_WEEKS
        return like / weeks
