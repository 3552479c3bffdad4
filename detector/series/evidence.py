"""Counts and shares: sequential evidence over several effects, bounded by what the series wanders by itself.

Per effect a CUSUM marks the span in which something may be wrong; over the span observed and expected add up, and the
evidence is the negative-binomial deviance of the two sums: one unknown factor with the learned noise is shared over
the span, so slow wandering cannot add up to an incident. Counts are watched both ways, silence included; shares only
upwards.
"""

import math
from typing import ClassVar

from detector.series.forecast import DayProfile, Pace
from detector.series.kept import Kept

WEEK_MS = 604_800_000
_UP, _DOWN = (1.6, 2.5, 5.0, 15.0), (0.6, 0.3, 0.03)
_CAP = 16.0
_HELD = 6.0
"""Nats from which on a row teaches nothing."""
_HELD_ROWS = 1_440
_WARM = 30
_FORGET = 1 - 1 / 1_500
_NOISE_FORGET = 1 - 1 / 3_000
_RECENT = 1 - 1 / 60
_LEAST_NOISE, _FIRST_NOISE = 0.05, 0.15
_FALSE_A_WEEK = 0.1
_START_EVENTS = 30.0
"""A time of day that was never seen begins like the last hour, worth so many events: its own first rows are chance."""
_START_ROWS = 12


class Counting(Kept):
    """Evidence of one series of counts (`share=False`) or of bad ones among a total (`share=True`)."""

    _kept: ClassVar[tuple[str, ...]] = (
        *("_pace", "_profile", "_rows", "_known", "_expected_known", "_now", "_now_profile"),
        *("_noise", "_noise_weight", "_held", "_cusum", "_observed", "_expected", "_raised", "_calm"),
    )

    def __init__(self, *, share: bool) -> None:
        self._share = share
        self._effects = _UP if share else _UP + _DOWN
        self._pace = Pace()
        self._profile = DayProfile()
        self._rows = 0
        self._known = self._expected_known = 0.0
        self._now = self._now_profile = 0.0
        self._noise = self._noise_weight = 0.0
        self._held = 0
        width = len(self._effects)
        self._cusum = [0.0] * width
        self._observed = [0.0] * width
        self._expected = [0.0] * width
        self._raised = False
        self._calm = 0

    def step(self, time_ms: int, count: float, total: float) -> tuple[float, float, float, float]:
        """Return expected, low, high (of the count) and the score in [0, 1]; then learn.

        `total` is the number of attempts for a share, and 1 for a count.
        """
        self._pace.add(time_ms)
        size = total if self._share else 1.0
        usual = self._usual(time_ms)
        expected = usual * size
        noise = self._sigma()
        spread = math.hypot(math.sqrt(expected), noise * expected) * 3  # a square would overflow
        band = (expected, max(0.0, expected - spread), expected + spread + 1)
        nats = self._weigh(count, expected, total, noise) if self._rows >= _WARM and expected > 0 else 0.0
        limit = math.log(WEEK_MS / max(self._pace.step_ms, 1_000.0) / _FALSE_A_WEEK)
        score = self._raise(nats / (nats + limit))
        self._learn(time_ms, count, size, expected, nats)
        return (*band, score)

    def _usual(self, time_ms: int) -> float:
        """Return what is usual for one unit of exposure: the time of day, times how the last rows compare to it."""
        if self._rows == 0:
            return 0.0
        level = self._known / self._expected_known
        of_day = self._profile.at(time_ms)
        if of_day != of_day:
            of_day = level
        if self._share:
            return min(0.999, (of_day * 50 + self._known) / (50 + self._expected_known)) if level else 0.0
        return of_day * (self._now + 0.5) / (self._now_profile + 0.5)

    def _sigma(self) -> float:
        if self._noise_weight < 30:
            return _FIRST_NOISE
        return max(_LEAST_NOISE, math.sqrt(max(0.0, self._noise / self._noise_weight)))

    def _weigh(self, count: float, expected: float, total: float, noise: float) -> float:
        precision = 1 / (noise * noise + 1 / (self._known + 10))
        rate = expected / total if self._share else 0.0
        best = 0.0
        for i, effect in enumerate(self._effects):
            if self._share:
                worst = math.exp(noise)
                rate_up = min(0.999, rate * worst / (1 - rate + rate * worst))
                gain = count * math.log(effect) - total * math.log1p(rate_up * (effect - 1))
            else:
                worst = math.exp(noise if effect > 1 else -noise)
                gain = count * math.log(effect) - expected * worst * (effect - 1)
            self._cusum[i] = min(_CAP, max(0.0, self._cusum[i] + gain))
            if self._cusum[i] == 0:
                self._observed[i] = self._expected[i] = 0.0
                continue
            self._observed[i] += count
            self._expected[i] += expected
            if (self._observed[i] > self._expected[i]) == (effect > 1):
                best = max(best, deviance(self._observed[i], self._expected[i], precision))
        return best

    def _raise(self, score: float) -> float:
        """Only the row that raises an incident keeps a score at or above the threshold."""
        if score >= 0.5:
            first, self._raised, self._calm = not self._raised, True, 0
            return score if first else 0.49
        self._calm += 1
        if self._calm >= 5:
            self._raised = False
        return score

    def _learn(self, time_ms: int, count: float, size: float, expected: float, nats: float) -> None:
        self._rows += 1
        self._held = self._held + 1 if nats >= _HELD else 0
        if 0 < self._held < _HELD_ROWS:
            return
        if self._rows > _WARM and expected > 1:
            excess = max(-1.0, min(9.0, ((count - expected) ** 2 - expected) / (expected + expected**2 * 0.02)))
            weight = expected / (expected + 50)
            self._noise = _NOISE_FORGET * self._noise + weight * excess * (1 + 0.02 * expected) / expected
            self._noise_weight = _NOISE_FORGET * self._noise_weight + weight
        if size <= 0:
            return
        self._known = _FORGET * self._known + count
        self._expected_known = _FORGET * self._expected_known + size
        usual = self._profile.at(time_ms)
        self._now = _RECENT * self._now + count
        self._now_profile = _RECENT * self._now_profile + (
            self._known / self._expected_known if usual != usual else usual
        )
        start = expected if not self._share and expected > 0 and self._rows > _START_ROWS else math.nan
        self._profile.learn(time_ms, count / size, self._pace.step_ms, start, _START_EVENTS / start)


def deviance(observed: float, expected: float, precision: float) -> float:
    """Nats of evidence that a factor beyond the noise separates the two: A ln(A/M) − (A+f) ln((A+f)/(M+f)).

    Examples
    --------
    >>> round(deviance(20.0, 2.0, 8.0), 1), round(deviance(0.0, 30.0, 8.0), 1)
    (17.2, 12.5)
    """
    own = observed * math.log(observed / expected) if observed > 0 else 0.0
    return own - (observed + precision) * math.log((observed + precision) / (expected + precision))
