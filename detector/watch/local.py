"""What has been normal in the last hours: each segment's slow wandering, followed and bounded.

The log of a segment's rate wanders around its expectation like an Ornstein-Uhlenbeck process with the learned variance
and `TAU_MS`. Where the last hours have shown where it stands, the next minutes are known much better than the learned
noise says; the longer a span lasts, the less that helps. What is followed is bounded, so that no problem is followed
away.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config import HOUR_MS
from detector.events import Floats, Ints

TAU_MS = 2.5 * HOUR_MS
"""How long the wandering remembers itself."""
BOUND = 1.5
"""It is followed no further than so many of its own standard deviations."""


SLOW_SHARE = 0.5
"""That part of the wandering which does not average out over a long span: it moves over days."""


def averaged(length: Floats) -> tuple[Floats, Floats]:
    """What a span of so many time constants knows of where it began: the weights (g₁², g₂) of the two variances.

    Given x₀ with variance v, the mean of x over the span has variance v g₁² + σ² g₂. For an Ornstein-Uhlenbeck process
    g₁ = (1 − e⁻ᵘ)/u and g₂ = 2 (u − 1 + e⁻ᵘ)/u² − g₁²; for what moves more slowly g₂ = 1 − g₁².
    Here it is half of each.

    Examples
    --------
    >>> [x.round(3).tolist() for x in averaged(np.array([0.01, 1.0, 5.0]))]
    [[0.99, 0.4, 0.039], [0.008, 0.468, 0.621]]
    """
    u = np.maximum(length, 1e-4)
    gone = -np.expm1(-u)
    begun = (gone / u) ** 2
    quick = 2.0 * (u - gone) / u**2 - begun
    return begun, SLOW_SHARE * (1.0 - begun) + (1.0 - SLOW_SHARE) * np.maximum(quick, 0.0)


class Local:
    """Mean and variance of the log rate's deviation from the expectation, per segment: an extended Kalman filter.

    References
    ----------
    West & Harrison 1997, Bayesian Forecasting and Dynamic Models, chapter 14 (Poisson observations, log link).
    """

    def __init__(self) -> None:
        self._mean: Floats = np.zeros(0)
        self._variance: Floats = np.zeros(0)
        self._at_ms: Ints = np.zeros(0, np.int64)

    def grow(self, segments: int) -> None:
        """Make room for new segments."""
        more = segments - len(self._mean)
        if more > 0:
            for name in ("_mean", "_variance", "_at_ms"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros(more, old.dtype)]))

    def predict(self, rows: Ints, window_ms: int, spread: Floats) -> tuple[Floats, Floats]:
        """Mean and variance in this window, before its counts; `spread` float64[rows] is the stationary variance."""
        known = np.where(self._at_ms[rows] > 0, np.exp(-(window_ms - self._at_ms[rows]) / TAU_MS), 0.0)
        return known * self._mean[rows], known**2 * self._variance[rows] + (1.0 - known**2) * spread

    def learn(
        self,
        rows: Ints,
        window_ms: int,
        predicted: tuple[Floats, Floats],
        observed: Floats,
        expected: Floats,
        spread: Floats,
        quiet: NDArray[np.bool_],
    ) -> None:
        """Take the window's counts, where no alarm holds the segment; elsewhere time passes."""
        mean, variance = predicted
        mu = expected * np.exp(mean)
        after = 1.0 / (1.0 / np.maximum(variance, 1e-9) + mu)
        bound = BOUND * np.sqrt(spread)
        moved = np.clip(mean + after * (observed - mu), -bound, bound)
        self._mean[rows] = np.where(quiet, moved, mean)
        self._variance[rows] = np.where(quiet, after, variance)
        self._at_ms[rows] = window_ms

    def reset(self, rows: Ints) -> None:
        """Nothing is known of these segments' last hours."""
        for name in ("_mean", "_variance", "_at_ms"):
            getattr(self, name)[rows] = 0

    def keep(self, rows: Ints) -> None:
        """Keep only these segments, in this order."""
        for name in ("_mean", "_variance", "_at_ms"):
            setattr(self, name, getattr(self, name)[rows])

    def state(self) -> dict[str, Any]:
        return dict(vars(self))

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
