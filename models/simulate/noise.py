"""What moves when nothing is wrong: season, slow wandering, drift, campaigns.

A simulator without these flatters every detector. `noise` scales how far things wander and how often something odd
happens; 1.0 is an ordinary shop, 2.0 "noise doubled".
"""

from dataclasses import dataclass

import numpy as np

from detector.config import HOUR_MS, WEEK_MS
from detector.events import Floats

WIB_MS = 7 * HOUR_MS
"""Western Indonesian time is UTC+7; most customers live by it, so the season is its."""

_DAY = np.array(
    [
        *(0.32, 0.2, 0.14, 0.12, 0.2, 0.42, 0.62, 0.82, 0.98, 1.1, 1.18, 1.24),
        *(1.34, 1.24, 1.14, 1.14, 1.2, 1.3, 1.5, 1.74, 1.84, 1.68, 1.18, 0.66),
    ]
)
"""Volume by hour of the day."""
_WEEKDAY = np.array([0.96, 0.95, 0.97, 1.0, 1.06, 1.08, 0.98])
_WEEK = (_WEEKDAY[:, None] * _DAY[None, :]).ravel()
_WEEK /= _WEEK.mean()
_MONDAY_MS = 4 * 24 * HOUR_MS
"""The epoch was a Thursday; the first Monday came four days later."""


def season(time_ms: int) -> float:
    """Volume relative to the week's mean, by hour of the week in WIB, linear between the hours.

    Examples
    --------
    >>> evening = 1_772_542_800_000  # Tuesday 2026-03-03 20:00 WIB
    >>> round(season(evening), 2), round(season(evening + 7 * HOUR_MS), 2)
    (1.8, 0.12)
    """
    hours = ((time_ms + WIB_MS - _MONDAY_MS) % WEEK_MS) / HOUR_MS
    before = int(hours)
    part = hours - before
    return float((1 - part) * _WEEK[before] + part * _WEEK[(before + 1) % len(_WEEK)])


def share_season(time_ms: int) -> float:
    """Failure share relative to its mean: a little higher in the evening, when everything is busy."""
    hours = ((time_ms + WIB_MS) % (24 * HOUR_MS)) / HOUR_MS
    return float(1 + 0.08 * np.cos(2 * np.pi * (hours - 20) / 24))


class Wander:
    """Independent Ornstein-Uhlenbeck processes in log space, sampled exactly at any step.

    Parameters
    ----------
    sd : float64[n]
        Stationary standard deviation of each process.
    tau_h : float
        Correlation time in hours.
    """

    def __init__(self, rng: np.random.Generator, sd: Floats, tau_h: float) -> None:
        self._rng, self._sd, self._tau_h = rng, sd, tau_h
        self.log = rng.normal(size=len(sd)) * sd

    def step(self, hours: float) -> None:
        """Let time pass: `x ← a x + sqrt(1 − a²) sd ε` with `a = exp(−hours / tau)`."""
        keep = np.exp(-hours / self._tau_h)
        self.log = keep * self.log + np.sqrt(1 - keep * keep) * self._sd * self._rng.normal(size=len(self._sd))


WANDER_TAU_H = 2.5
WANDER_SD = (0.08, 0.12)
DRIFT_TAU_H = 21 * 24.0
DRIFT_SD = 0.12


class Moving:
    """Failure share and volume of every dimension value of a kind, as they wander over hours and drift over weeks."""

    def __init__(self, rng: np.random.Generator, sizes: tuple[int, ...], noise: float) -> None:
        n = sum(sizes)
        self._cuts = np.cumsum(sizes)[:-1]
        self._wander = Wander(rng, rng.uniform(*WANDER_SD, 2 * n) * noise, WANDER_TAU_H)
        self._drift = Wander(rng, np.full(2 * n, DRIFT_SD * noise), DRIFT_TAU_H)
        self._n = n

    def step(self, hours: float) -> None:
        self._wander.step(hours)
        self._drift.step(hours)

    def _of(self, part: slice) -> list[Floats]:
        return list(np.split((self._wander.log + self._drift.log)[part], self._cuts))

    def share(self) -> list[Floats]:
        """Per dimension the log factor on the failure share of each value."""
        return self._of(slice(0, self._n))

    def volume(self) -> list[Floats]:
        """Per dimension the log factor on the volume of each value."""
        return self._of(slice(self._n, None))


@dataclass(frozen=True)
class Campaign:
    """Three times the volume for a while, everywhere or for one dimension value."""

    start_ms: int
    end_ms: int
    dimension: str | None
    value: int


CAMPAIGN_FACTOR = 3.0
CAMPAIGNS_A_WEEK = 2.0


def plan_campaigns(
    rng: np.random.Generator, start_ms: int, days: float, sizes: dict[str, int], noise: float
) -> tuple[Campaign, ...]:
    """Campaigns of a run: two a week, each 1 to 3 hours, half of them for one value of a dimension of `sizes`.

    A run of a day or more has at least one, so that nobody tunes on traffic without.
    """
    count = int(rng.poisson(CAMPAIGNS_A_WEEK * noise * days / 7))
    if days >= 1:
        count = max(1, count)
    found = []
    names = sorted(sizes)
    for _ in range(count):
        begin = start_ms + int(rng.uniform(0, days * 24) * HOUR_MS)
        end = begin + int(rng.uniform(1, 3) * HOUR_MS)
        name = names[int(rng.integers(len(names)))]
        value = int(rng.integers(min(sizes[name], 5)))
        found.append(Campaign(begin, end, None if rng.random() < 0.5 else name, value))
    return tuple(sorted(found, key=lambda c: c.start_ms))
