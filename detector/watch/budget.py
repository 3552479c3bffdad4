"""From a budget of false cases to thresholds in nats."""

import numpy as np
from scipy.special import gammaincinv

from detector.config import Budget
from detector.events import Floats, Ints

LEVEL_SHARE = (0.1, 0.4, 0.5)
"""How a budget is split over the whole signal, its single values and its pairs."""
MARGIN_NATS = 3.0
"""Above theory, for what the model does not know."""


def mean_for(cases: int) -> float:
    """The mean λ* of a Poisson count that exceeds `cases` in 5 % of the periods: P(Poisson(λ*) ≤ B) = 0.95.

    Examples
    --------
    >>> round(mean_for(1), 3), round(mean_for(7), 2)
    (0.355, 3.98)
    """
    return float(gammaincinv(cases + 1, 0.05))


def thresholds(budget: Budget, live_signals: int, window_ms: int, segments: Ints) -> Floats:
    """Nats from which a segment of each level raises an anomaly: h = ln(windows · segments / (λ* · share)) + margin.

    Parameters
    ----------
    segments : int64[levels]
        Segments searched per level (0: the whole signal, 1: single values, 2: pairs).
    live_signals : int
        The budget is split evenly over them.

    Examples
    --------
    >>> thresholds(Budget(), 1, 60_000, np.array([1, 20, 100])).round(1)
    array([15.6, 17.2, 18.6])
    """
    windows = budget.per_ms / window_ms
    mean = mean_for(budget.cases) / max(live_signals, 1)
    share = np.array(LEVEL_SHARE)
    return np.log(windows * np.maximum(segments, 1) / (mean * share)) + MARGIN_NATS
