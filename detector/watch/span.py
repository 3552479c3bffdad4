"""When a problem began and when it ended, from observed against expected, window by window.

Every window's likelihood as the beginning (or the end) is weighed, so that each window gets a probability that the
problem was on in it. The onset leans outward: a slow beginning is easily cut off, and a minute too many adds few.
"""

import numpy as np

from detector.events import Floats
from detector.watch.evidence import poisson_gain

LEAN = 0.25
"""The onset is the first window by which the problem had begun with this probability."""
RISES = {1: 0.5, 10: 0.15, 30: 0.15, 60: 0.1, 120: 0.1}
"""Windows in which an excess reaches its height, and how likely that is beforehand."""
SILENT = 0.05
"""Share of the expected volume that silence still has."""
LOOK_BACK, START_BEHIND, LOOK_AHEAD = 150, 10, 240
"""Around the strongest step: windows before and behind it in which a beginning is looked for, and how far is read."""


def _suffix(values: Floats) -> Floats:
    return np.cumsum(values[::-1])[::-1]


def onset(
    observed: Floats, expected: Floats, weight: Floats, *, up: bool = True, latest: int | None = None
) -> tuple[int, Floats]:
    """Index of the window in which the problem began, and per window the probability that it had begun by then.

    An excess rises from nothing to its height in `RISES` windows (1: a step) and stays. Every such rise from every
    window is weighed by its likelihood at its best height: k ~ Poisson(μ + height · shape · weight).

    Parameters
    ----------
    observed, expected : float64[windows]
        In the causes, up to now; the problem lasts to the end of the arrays.
    weight : float64[windows]
        What an excess is proportional to: trials (share) or expected (count).
    latest : int, optional
        The window by which it had begun for certain: it was found then.

    Examples
    --------
    >>> quiet, bad = [2, 1, 2, 3, 2] * 6, [20, 25, 22]
    >>> onset(np.array(quiet + bad, float), np.full(33, 2.0), np.full(33, 40.0))[0]
    30
    """
    if not up:
        # Silence against half of what was expected: a volume that is merely low is none.
        gain = _suffix(observed * np.log(SILENT / 0.5) - expected * (SILENT - 0.5))
    else:
        a, m = _suffix(observed), np.maximum(_suffix(expected), 1e-9)
        step = int(np.where(a > m, poisson_gain(a, m), -np.inf).argmax())
        low, high = max(0, step - LOOK_BACK), min(len(observed), step + LOOK_AHEAD)
        starts = min(step + START_BEHIND, high) - low
        rises = _rises(observed[low:high], expected[low:high], weight[low:high], starts)
        gain = np.full(len(observed), -np.inf)
        gain[low : low + starts] = np.logaddexp.reduce(rises, axis=0)
    if latest is not None:
        gain[latest + 1 :] = -np.inf
    began = np.minimum(np.cumsum(_weights(gain)), 1.0)
    return int(np.flatnonzero(began >= LEAN)[0]), began


def _rises(observed: Floats, expected: Floats, weight: Floats, starts: int) -> Floats:
    """float64[rises, starts]: log likelihood gain of each rise from each window on, with its prior."""
    windows = np.arange(len(observed))
    since = windows[None, :] - np.arange(starts)[:, None] + 0.5
    o, e, w = observed[None, :], np.maximum(expected, 1e-9)[None, :], weight[None, :]
    out = np.empty((len(RISES), starts))
    for i, (length, prior) in enumerate(RISES.items()):
        lever = np.clip(since / length, 0.0, 1.0) * w if length > 1 else (since > 0) * w
        whole = lever.sum(axis=1, keepdims=True)
        height = np.maximum((o - e).sum(axis=1, keepdims=True) / np.maximum(whole, 1e-9), 1e-9)
        for _ in range(4):  # Newton on a concave likelihood
            pull = lever / (e + height * lever)
            gradient = (o * pull).sum(axis=1, keepdims=True) - whole
            bend = (o * pull**2).sum(axis=1, keepdims=True)
            height = np.maximum(height + gradient / np.maximum(bend, 1e-12), 0.2 * height)
        fitted = e + height * lever
        out[i] = (o * np.log(fitted / e) - (fitted - e)).sum(axis=1) + np.log(prior)
    return out


def _weights(gain: Floats) -> Floats:
    """float64[hypotheses]: their probabilities, given their log likelihoods; all on the first where none has any."""
    if not np.isfinite(gain).any():
        first: Floats = np.eye(1, len(gain))[0]
        return first
    weights = np.exp(gain - gain.max())
    shares: Floats = weights / weights.sum()
    return shares


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
