"""What a foreign detector sees of a segment's window: four numbers, each relative to what was expected.

Level, season and mix of the traffic are in the expectation already, so a detector need not learn them again.
"""

import numpy as np

from detector.events import Floats
from detector.watch.evidence import Touched

NAMES = ("surprise", "ratio", "volume", "rate")
"""
surprise : (k − μ) / sqrt(μ + v·μ²): the residual in standard deviations around where the rate has stood of late, v
    being how surely that is known.
ratio : ln((k + ½) / (μ + ½)), against the long-run expectation.
volume : ln(1 + n), for a count ln(1 + μ).
rate : k / n, for a count k / (k + μ).
"""
_BEND = np.array([3.0, 1.0, 4.0])
"""Where the first three are half-way to the end of the scale."""


def features(touched: Touched) -> Floats:
    """float64[touched, 4]: `NAMES` of each touched segment.

    Examples
    --------
    >>> one, none = np.array([9.0]), np.array([0])
    >>> trials, zero = np.array([100.0]), np.array([0.0])
    >>> touched = Touched(none, 0, one, np.array([4.0]), trials, zero, zero, zero, one)
    >>> features(touched).round(2).tolist()
    [[2.5, 0.75, 4.62, 0.09]]
    """
    k, mu = touched.observed, touched.expected
    now = mu * np.exp(touched.mean)
    surprise = (k - now) / np.sqrt(now + touched.variance * now**2)
    ratio = np.log((k + 0.5) / (mu + 0.5))
    if touched.trials is None:
        return np.stack([surprise, ratio, np.log1p(mu), k / np.maximum(k + mu, 1e-12)], axis=1)
    return np.stack([surprise, ratio, np.log1p(touched.trials), k / np.maximum(touched.trials, k)], axis=1)


def scaled(given: Floats) -> Floats:
    """float64[touched, 4]: the same within [0, 1], for detectors that want their limits beforehand.

    Examples
    --------
    >>> scaled(np.array([[0.0, 1.0, 0.0, 0.2]])).tolist()
    [[0.5, 0.75, 0.5, 0.2]]
    """
    bent = 0.5 + 0.5 * given[:, :3] / (_BEND + np.abs(given[:, :3]))
    return np.concatenate([bent, np.clip(given[:, 3:], 0.0, 1.0)], axis=1)
