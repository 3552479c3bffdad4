"""Scores of any scale → nats, by how rare each is in their own past.

Per group of segments a histogram that forgets. Above a high quantile u the excess is exponential with its learned
mean β, so nats = −ln P(score > u) + (score − u)/β grow without an end, where a distribution function would saturate.
What an alarm holds counts as *at least* so much: the tail is neither cut off at the alarm nor taught by the problem.

References
----------
Siffer et al. 2017 (peaks over threshold); censored exponential: β = Σ min(excess, cut) / those not cut.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config import DAY_MS, HOUR_MS
from detector.events import Floats, Ints

HALF_LIFE_MS = 7 * DAY_MS
QUANTILE, FARTHEST = 0.96, 0.999
"""The tail begins at the first, and moves on towards the second as more is known."""
EXCEEDANCES = 200.0
"""So many scores make a tail."""
ENOUGH = 600.0
"""Scores of a group that must be known before its own tail counts; until then the nearest group's does."""
WIDTH = 0.005
LOW, HIGH = -12.0, 64.0
FIRM = 10.0
"""Exceedances that the least β is worth."""


class Tail:
    """The past scores of some groups.

    Attributes
    ----------
    counts, cut : float64[groups, buckets]
        Decayed numbers of scores by bucket; `cut` are those that were at least so high.
    """

    def __init__(self, groups: int, *, least: float) -> None:
        """`least`: β is about this where little is known, and never less than half of it."""
        self._least = least
        buckets = round((HIGH - LOW) / WIDTH)
        self.counts: Floats = np.zeros((groups, buckets))
        self.cut: Floats = np.zeros((groups, buckets))
        self._known: Ints = np.full(groups, -1, np.int64)
        """int64[groups]: whose tail stands for each group's; -1: nobody's, nothing is surprising."""
        self._from: Floats = np.zeros(groups)
        self._beyond: Floats = np.ones(groups)
        self._mean: Floats = np.ones(groups)
        self._hour = -1
        self._learned_ms = 0

    def nats(self, scores: Floats, group: Ints) -> Floats:
        """float64[scores]: −ln of how likely so high a score is in its group; 0 below the tail."""
        known = self._known[group]
        over = (known >= 0) & (scores > self._from[known])
        out = np.zeros(len(scores))
        of = known[over]
        out[over] = (scores[over] - self._from[of]) / self._mean[of] - np.log(self._beyond[of])
        return out

    def learn(self, scores: Floats, group: Ints, cut: NDArray[np.bool_], window_ms: int) -> None:
        """Take a window's scores; those that are `cut` say only that they were at least so high."""
        if self._learned_ms:
            fade = 0.5 ** (max(window_ms - self._learned_ms, 0) / HALF_LIFE_MS)
            self.counts *= fade
            self.cut *= fade
        self._learned_ms = window_ms
        bucket = np.clip((scores - LOW) / WIDTH, 0, self.counts.shape[1] - 1).astype(np.int64)
        np.add.at(self.counts, (group[~cut], bucket[~cut]), 1.0)
        np.add.at(self.cut, (group[cut], bucket[cut]), 1.0)
        if window_ms // HOUR_MS != self._hour:
            self._hour = window_ms // HOUR_MS
            self._fit()

    def _fit(self) -> None:
        """Find where each group's tail begins and how far it reaches; once an hour of event time."""
        edges = LOW + WIDTH * (np.arange(self.counts.shape[1]) + 1)
        for g in range(len(self.counts)):
            both = self.counts[g] + self.cut[g]
            whole = float(both.sum())
            if whole < ENOUGH:
                continue
            self._known[g] = g
            share = min(max(1 - QUANTILE, 1e-12), max(1 - FARTHEST, EXCEEDANCES / whole))
            beyond = whole - np.cumsum(both)
            at = int(np.flatnonzero(beyond <= share * whole)[0])
            excess = edges[at:] - WIDTH / 2 - edges[at]
            excess[0] = 0.0
            reached = float((both[at + 1 :] * excess[1:]).sum())
            seen = float(self.counts[g, at + 1 :].sum())
            self._from[g] = edges[at]
            self._beyond[g] = (float(beyond[at]) + 1.0) / (whole + 1.0)
            self._mean[g] = max((reached + FIRM * self._least) / (seen + FIRM), self._least / 2)
        own = np.flatnonzero(self._known == np.arange(len(self._known)))
        if len(own):
            apart = np.abs(np.arange(len(self._known))[:, None] - own[None, :])
            self._known = own[apart.argmin(axis=1)]

    def state(self) -> dict[str, Any]:
        """Few buckets hold anything: only those are kept."""
        kept = {k: v for k, v in vars(self).items() if k not in ("counts", "cut", "_least")}
        for name in ("counts", "cut"):
            column = getattr(self, name)
            at = np.flatnonzero(column)
            kept[name] = (at, column.ravel()[at])
        return kept

    def restore(self, state: dict[str, Any]) -> None:
        state = dict(state)
        for name in ("counts", "cut"):
            at, values = state.pop(name)
            column = getattr(self, name)
            column[:] = 0.0
            column.ravel()[at] = values
        vars(self).update(state)
