"""How a signal moves through the week: one factor per hour of the week, learned online with forgetting.

Shared by shares and counts, which differ in the weight of their priors and in how they learn.
"""

from typing import Any

import numpy as np

from detector.config import DAY_MS, HOUR_MS
from detector.events import Floats

SEASON_HALF_LIFE_MS = 14 * DAY_MS
HOURS = 168
FIRST_MONDAY_MS = 4 * DAY_MS
"""1970-01-05: hour 0 of the week is Monday midnight UTC."""


def hour_of_week(time_ms: int) -> int:
    """0 … 167; 0 is Monday midnight UTC.

    Examples
    --------
    >>> hour_of_week(4 * DAY_MS), hour_of_week(4 * DAY_MS - 1)
    (0, 167)
    """
    return (time_ms - FIRST_MONDAY_MS) // HOUR_MS % HOURS


class Season:
    """Observed against expected by hour of the week: (K + prior) / (E + prior)."""

    def __init__(self, prior: float, *, by_day: bool) -> None:
        self._prior, self._by_day = prior, by_day
        self.observed: Floats = np.zeros(HOURS)
        self.expected: Floats = np.zeros(HOURS)

    def of_hour(self, time_ms: int) -> float:
        """The factor of the hour that this moment lies in; `by_day`: shrunk to the same hour of all days."""
        hour, prior = hour_of_week(time_ms), self._prior
        of_day = 1.0
        if self._by_day:
            day = slice(hour % 24, HOURS, 24)
            of_day = (self.observed[day].sum() + prior) / (self.expected[day].sum() + prior)
        return float((self.observed[hour] + prior * of_day) / (self.expected[hour] + prior))

    def smooth(self, time_ms: int) -> float:
        """Linear between the hours' middles."""
        middle = time_ms - HOUR_MS // 2
        part = middle % HOUR_MS / HOUR_MS
        return (1 - part) * self.of_hour(middle) + part * self.of_hour(middle + HOUR_MS)

    def fade(self, factor: float) -> None:
        """Forget a little: both sums."""
        self.observed *= factor
        self.expected *= factor

    def learn(self, time_ms: int, observed: float, expected: float) -> None:
        """Add to the hour of this moment."""
        hour = hour_of_week(time_ms)
        self.observed[hour] += observed
        self.expected[hour] += expected

    def clear(self) -> None:
        """Begin anew."""
        self.observed[:] = self.expected[:] = 0.0

    def state(self) -> dict[str, Any]:
        return {"observed": self.observed, "expected": self.expected}

    def restore(self, state: dict[str, Any]) -> None:
        self.observed, self.expected = state["observed"], state["expected"]
