"""When a problem began and when it ended, from observed against expected, window by window.

Both edges lean outward by a little likelihood: leaving out customers who were hit costs more than asking a few too
many.
"""

import numpy as np

from detector.events import Floats
from detector.watch.evidence import poisson_gain

EDGE_NATS = 2.0
LOOK_BACK = 180
"""Windows before the strongest step in which a slow beginning is looked for."""


def _suffix(values: Floats) -> Floats:
    return np.cumsum(values[::-1])[::-1]


def onset(observed: Floats, expected: Floats, weight: Floats, *, up: bool = True) -> int:
    """Index of the window in which the problem began: a step or a ramp, whichever is likelier.

    Parameters
    ----------
    observed, expected : float64[windows]
        In the causes, up to now; the problem lasts to the end of the arrays.
    weight : float64[windows]
        What an excess is proportional to: trials (share) or expected (count).

    Examples
    --------
    >>> quiet, bad = [2, 1, 2, 3, 2] * 6, [20, 25, 22]
    >>> onset(np.array(quiet + bad, float), np.full(33, 2.0), np.full(33, 40.0))
    30
    """
    n = len(observed)
    a, m = _suffix(observed), np.maximum(_suffix(expected), 1e-9)
    gain = np.where((a > m) == up, poisson_gain(a, m), -np.inf)
    step = int(gain.argmax())
    if not up:
        return _edge(gain, step)
    low = max(0, step - LOOK_BACK)
    rise = _risen(observed, expected, weight, step) + 1
    o, e, w = observed[low:rise], expected[low:rise], weight[low:rise]
    stepped = np.array([_gain_from(o, e, i) for i in range(len(o))])
    ramped = _ramps(o, e, w)
    best = int(stepped.argmax())
    if ramped.max() > stepped[best] + 1.0:
        return low + _edge(ramped, int(ramped.argmax()))
    return min(low + _edge(stepped, best), n - 1)


def _edge(gain: Floats, best: int) -> int:
    """The earliest window before `best` from which the likelihood stays within the edge."""
    while best > 0 and gain[best - 1] >= gain.max() - EDGE_NATS:
        best -= 1
    return best


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


def end(observed: Floats, expected: Floats, *, up: bool = True) -> int:
    """Number of windows that the problem lasted, of those given (which begin with its onset).

    Examples
    --------
    >>> end(np.array([20.0, 22, 25, 2, 1, 2, 3]), np.full(7, 2.0))
    3
    """
    ratio = max(float(observed.sum()) / max(float(expected.sum()), 1e-9), 1e-3)
    rate = 1 + max(ratio - 1, 0.2) / 2 if up else 0.4
    total = np.concatenate([[0.0], np.cumsum(observed * np.log(rate) - expected * (rate - 1))])
    last = int(total.argmax())
    while last + 1 < len(total) and total[last + 1] >= total.max() - EDGE_NATS / 4:
        last += 1
    return last
