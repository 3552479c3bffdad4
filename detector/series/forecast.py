"""What a row is expected to be: its time of day, and a regression on the rows before, both learned online.

Both learn little from what is far off, so an incident does not become the expectation within its first rows.
"""

import math
from typing import Any, ClassVar

import numpy as np

from detector.events import Floats
from detector.series.kept import Kept
from detector.series.window import Window

DAY_MS = 86_400_000
_BINS = 96
_DAYS = 6
_STEPS = 25
_USUAL_STEP_MS = 60_000.0


class Pace(Kept):
    """The series' step: the median of the last steps forward in time."""

    _kept: ClassVar[tuple[str, ...]] = ("_steps", "_last_ms", "step_ms")

    def __init__(self) -> None:
        self._steps = Window(_STEPS)
        self._last_ms: int | None = None
        self.step_ms = _USUAL_STEP_MS

    def add(self, time_ms: int) -> None:
        """Take a row's time in; a time that is not later than the one before says nothing of the step."""
        if self._last_ms is not None and time_ms > self._last_ms:
            self._steps.add(float(time_ms - self._last_ms))
            self.step_ms = self._steps.median()
        self._last_ms = time_ms


class DayProfile(Kept):
    """The mean by time of day, in quarters of an hour, interpolated between them, forgetting over six days."""

    _kept: ClassVar[tuple[str, ...]] = ("_mean", "_seen")

    def __init__(self) -> None:
        self._mean = [math.nan] * _BINS
        self._seen = [0.0] * _BINS

    def at(self, time_ms: int) -> float:
        """Return what is usual at this time of day; NaN where nothing was seen yet."""
        place = (time_ms % DAY_MS) * _BINS / DAY_MS - 0.5
        left = math.floor(place)
        a, b = self._mean[left % _BINS], self._mean[(left + 1) % _BINS]
        if a != a or b != b:
            return b if a != a else a
        return a + (b - a) * (place - left)

    def learn(
        self, time_ms: int, value: float, step_ms: float, start: float = math.nan, worth: float = math.inf
    ) -> None:
        """Take a value in; a quarter never seen begins at `start`, if there is one, which is worth so many rows."""
        at = (time_ms % DAY_MS) * _BINS // DAY_MS
        rows = max(1.0, DAY_MS / _BINS / step_ms)
        if self._mean[at] != self._mean[at]:
            if start != start:
                self._mean[at], self._seen[at] = value, 1.0
                return
            self._mean[at], self._seen[at] = start, min(worth, (_DAYS - 1) * rows)
        self._seen[at] = min(self._seen[at] + 1, _DAYS * rows)
        self._mean[at] += (value - self._mean[at]) / self._seen[at]


class Regression(Kept):
    """Recursive least squares with forgetting over some 2,000 rows.

    References
    ----------
    Haykin 2002, Adaptive Filter Theory, chapter 9.
    """

    _kept: ClassVar[tuple[str, ...]] = ("_weights", "_inverse")
    _FORGET = 0.9995

    def __init__(self, weights: tuple[float, ...]) -> None:
        self._weights: Floats = np.array(weights)
        self._inverse: Floats = np.eye(len(weights)) * 10
        self._largest = 1_000.0 * len(weights)

    def predict(self, inputs: Any) -> float:
        """Return the forecast, in the unit of the inputs."""
        return float(self._weights @ inputs)

    def learn(self, inputs: Any, error: float) -> None:
        """Move the weights by the forecast's error."""
        pull = self._inverse @ inputs
        gain = pull / (self._FORGET + float(inputs @ pull))
        self._weights = self._weights + gain * error
        inverse = (self._inverse - gain[:, None] * pull) / self._FORGET
        self._inverse = inverse * 0.5 if inverse.trace() > self._largest else inverse
