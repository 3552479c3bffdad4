"""When a problem began and when it ended, from observed against expected, window by window.

Every window's likelihood as the beginning (or the end) is weighed, so that each window gets a probability that the
problem was on in it. The onset leans outward: a slow beginning is easily cut off, and a minute too many adds few.
"""

import numpy as np

from detector.events import Floats
from detector.watch.evidence import poisson_gain

LEAN = 0.25
"""The onset is the first window by which the problem had begun with this probability."""
LOOK_BACK = 180
"""Windows before the strongest step in which a slow beginning is looked for."""


def _suffix(values: Floats) -> Floats:
    return np.cumsum(values[::-1])[::-1]


def onset(observed: Floats, expected: Floats, weight: Floats, *, up: bool = True) -> tuple[int, Floats]:
    """Index of the window in which the problem began, and per window the probability that it had begun by then.

    A step and a ramp are weighed against each other.

    Parameters
    ----------
    observed, expected : float64[windows]
        In the causes, up to now; the problem lasts to the end of the arrays.
    weight : float64[windows]
        What an excess is proportional to: trials (share) or expected (count).

    Examples
    --------
    >>> quiet, bad = [2, 1, 2, 3, 2] * 6, [20, 25, 22]
    >>> onset(np.array(quiet + bad, float), np.full(33, 2.0), np.full(33, 40.0))[0]
    30
    """
    a, m = _suffix(observed), np.maximum(_suffix(expected), 1e-9)
    gain = np.where((a > m) == up, poisson_gain(a, m), -np.inf)
    step = int(gain.argmax())
    if up:
        low = max(0, step - LOOK_BACK)
        rise = _risen(observed, expected, weight, step) + 1
        o, e, w = observed[low:rise], expected[low:rise], weight[low:rise]
        gain = np.full(len(observed), -np.inf)
        gain[low:rise] = np.logaddexp([_gain_from(o, e, i) for i in range(len(o))], _ramps(o, e, w))
    began = np.minimum(np.cumsum(_weights(gain)), 1.0)
    return int(np.flatnonzero(began >= LEAN)[0]), began


def _weights(gain: Floats) -> Floats:
    """float64[hypotheses]: their probabilities, given their log likelihoods; all on the first where none has any."""
    if not np.isfinite(gain).any():
        first: Floats = np.eye(1, len(gain))[0]
        return first
    weights: Floats = np.exp(gain - gain.max())
    return weights / weights.sum()


def _gain_from(observed: Floats, expected: Floats, start: int) -> float:
    a, m = float(observed[start:].sum()), max(float(expected[start:].sum()), 1e-9)
    return float(poisson_gain(np.array([a]), np.array([m]))[0]) if a > m else -np.inf


def _risen(observed: Floats, expected: Floats, weight: Floats, start: int) -> int:
    """First window from which the excess is near its height: behind it nothing tells of the beginning."""
    kernel = np.ones(5)
    excess = np.convolve(observed[start:] - expected[start:], kernel)[: len(observed) - start]
    trials = np.convolve(weight[start:], kernel)[: len(observed) - start]
    share = excess / np.maximum(trials, 1e-9)
    share[trials < 0.2 * trials.max()] = 0.0
    return (
        start + int(np.flatnonzero(share >= 0.7 * share.max())[0])
        if len(share) and share.max() > 0
        else len(observed) - 1
    )


def _ramps(observed: Floats, expected: Floats, weight: Floats) -> Floats:
    """float64[windows]: log likelihood gain of an excess that grows linearly from each window on, at its best slope."""
    n = len(observed)
    gain = np.full(n, -np.inf)
    at = np.arange(n)
    for t0 in range(n - 1):
        lever = np.maximum(at[t0:] - t0 + 0.5, 0.0) * weight[t0:]
        o, e = observed[t0:], np.maximum(expected[t0:], 1e-9)
        slope = max((o.sum() - e.sum()) / max(lever.sum(), 1e-9), 1e-12)
        for _ in range(4):  # Newton on a concave likelihood
            fitted = e + slope * lever
            gradient = float((o * lever / fitted).sum() - lever.sum())
            bend = float((o * (lever / fitted) ** 2).sum())
            slope = max(slope + gradient / max(bend, 1e-12), slope * 0.1)
        fitted = e + slope * lever
        gain[t0] = float((o * np.log(fitted / e) - (fitted - e)).sum())
    return gain


def end(observed: Floats, expected: Floats, *, up: bool = True) -> tuple[int, Floats]:
    """How many of the windows (which begin with the onset) the problem lasted, and each one's probability that it did.

    Examples
    --------
    >>> end(np.array([20.0, 22, 25, 2, 1, 2, 3]), np.full(7, 2.0))[0]
    3
    """
    ratio = max(float(observed.sum()) / max(float(expected.sum()), 1e-9), 1e-3)
    for _ in range(2):
        rate = max(ratio, 1.2) if up else 0.4
        total = np.concatenate([[0.0], np.cumsum(observed * np.log(rate) - expected * (rate - 1))])
        last = max(int(total.argmax()), 1)
        # The second time without what came after the end, which made the problem look weaker than it was.
        ratio = float(observed[:last].sum()) / max(float(expected[:last].sum()), 1e-9)
    return last, np.minimum(_suffix(_weights(total))[1:], 1.0)
