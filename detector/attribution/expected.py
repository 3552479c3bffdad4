"""Expectations of counts made reliable: what a leaf's own short past says, and what its dimension values imply.

A leaf that had no failure in a short past is predicted near zero, and its neighbour too high: over many sparse leaves
that fakes an excess wherever there are many. The product of the dimensions' effects, fitted to the predictions
alone, has no such bias. Both are mixed by how many events a leaf's prediction rests on; how fast trust grows is
chosen by the likelihood of the cube itself.
"""

import numpy as np

from detector.events import Floats, Ints

ROUNDS = 8
HIGHEST_SHARE = 0.95
LOWEST_SHARE = 1e-7


def implied(codes: Ints, predict: Floats, trials: Floats, *, share: bool) -> Floats:
    """Expected share of each leaf as the product of its values' effects, by iterative scaling of `predict`.

    Parameters
    ----------
    codes : int64[leaves, dimensions]
    predict, trials : float64[leaves]
    share : bool
        Whether it is a share of the trials (and so below 1).

    Examples
    --------
    >>> codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> implied(codes, np.array([8.0, 4.0, 2.0, 0.0]), np.full(4, 100.0), share=True).round(3)
    array([0.086, 0.034, 0.014, 0.006])
    """
    highest = np.log(HIGHEST_SHARE) if share else np.inf
    log_share = np.full(len(codes), np.log(max(predict.sum(), 1e-9) / trials.sum()))
    sizes = codes.max(axis=0) + 1
    sums = [np.bincount(codes[:, d], predict, minlength=size) for d, size in enumerate(sizes)]
    for _ in range(ROUNDS):
        for d, size in enumerate(sizes):
            fitted = np.bincount(codes[:, d], trials * np.exp(np.minimum(log_share, highest)), minlength=size)
            step = np.log((sums[d] + 0.5) / (fitted + 0.5))
            log_share = log_share + step[codes[:, d]]
    out: Floats = np.exp(np.minimum(log_share, highest))
    return out


def mixed(predict: Floats, trials: Floats, implied_share: Floats, trust_events: float, *, share: bool) -> Floats:
    """Expected share per leaf: its own prediction with weight w = e / (e + trust), e the events that are implied."""
    events = trials * implied_share
    weight = events / (events + trust_events)
    out = weight * predict / trials + (1 - weight) * implied_share
    return np.clip(out, LOWEST_SHARE, HIGHEST_SHARE if share else np.inf)
