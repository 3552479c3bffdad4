"""What all foreign detectors have in common: from a raw score per segment and window to calibrated, sequential nats.

Raw score → nats of its own past tail (`Tail`) → a CUSUM over the windows, since many a foreign score is bounded and
one window never says enough → nats of the CUSUM's own past tail: whatever lingers or wanders in quiet times has
widened that tail, so the same thresholds hold as for the built-in evidence. Segments of like traffic share a tail.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.events import Floats, Ints
from detector.watch.evidence import Touched
from detector.watch.plugins.tail import Tail

Flags = NDArray[np.bool_]

GROUP_EDGES = np.array([0.3, 1.0, 4.0, 16.0, 64.0])
"""Failures (or events) expected in the window: what divides segments into groups of like traffic."""
HEAVIER = 4.0
"""The CUSUM's alternative: surprise in nats is exponential with this mean, ordinarily with 1."""
CUSUM_MOST = 60.0


def stretched(raw: Floats) -> Floats:
    """float64[scores]: a monotone scale that does not run out of numbers near 1, where many foreign scores end.

    Examples
    --------
    >>> stretched(np.array([-1.0, 0.0, 0.99, 1.0, 3.0])).round(1).tolist()
    [-0.7, 0.0, 4.6, 36.0, 37.1]
    """
    clean = np.nan_to_num(raw, nan=0.0, posinf=1e9, neginf=-1e4)
    inside = -np.log1p(-np.clip(clean, -1e4, 1.0 - np.exp(-36.0)))
    return np.where(clean > 1.0, 36.0 + np.log(np.maximum(clean, 1.0)), inside)


class Foreign:
    """The contract `Detector`, but for the model: subclasses give `_raw` and `_fit`.

    Attributes
    ----------
    score, start_ms
        As `detector.watch.evidence.Detector` says.
    """

    _columns: Sequence[str] = ("score", "start_ms", "_cusum", "_held")

    def __init__(self, *, up: bool) -> None:
        self._up = up
        self.score: Floats = np.zeros(0)
        self.start_ms: Ints = np.zeros(0, np.int64)
        self._cusum: Floats = np.zeros(0)
        self._held: Flags = np.zeros(0, np.bool_)
        groups = len(GROUP_EDGES) + 1
        # Were every surprise well calibrated and independent, the CUSUM's tail would have mean 1: it is never thinner.
        self._raw_tail, self._span_tail = Tail(groups, least=0.02), Tail(groups, least=2.0)
        self._last: tuple[Flags, Floats, Floats] | None = None
        """What `add` found, for `learn`: which were judged, their raw scores, everyone's CUSUM."""

    # --- what a kind of detector gives ------------------------------------------------------------------------------

    def _raw(self, touched: Touched) -> tuple[Flags, Floats]:
        """bool[touched] which segments the model judged; float64[judged] their raw scores, higher is stranger."""
        raise NotImplementedError

    def _fit(self, touched: Touched, quiet: Flags) -> None:
        """Teach the model the quiet segments."""
        raise NotImplementedError

    # --- the contract -----------------------------------------------------------------------------------------------

    def grow(self, segments: int) -> None:
        """Make room for new segments."""
        more = segments - len(self.score)
        if more > 0:
            for name in self._columns:
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros(more, old.dtype)]))

    def add(self, touched: Touched) -> None:
        """Score one window of the touched segments."""
        judged, raw = self._raw(touched)
        group = group_of(touched)
        scores = stretched(raw)
        nats = np.zeros(len(touched.rows))
        nats[judged] = self._raw_tail.nats(scores, group[judged])
        worse = touched.observed > touched.expected
        nats[worse != self._up] = 0.0
        before = self._cusum[touched.rows]
        step = nats * (1 - 1 / HEAVIER) - np.log(HEAVIER)
        after = np.minimum(np.maximum(before + step, 0.0), CUSUM_MOST)
        start = np.where(after > 0, np.where(before > 0, self.start_ms[touched.rows], touched.window_ms), 0)
        self._cusum[touched.rows] = after
        self.start_ms[touched.rows] = start
        self.score[touched.rows] = np.where(after > 0, self._span_tail.nats(after, group), 0.0)
        self._last = (judged, scores, after)

    def learn(self, touched: Touched, quiet: Flags) -> None:
        """Learn from it: the tails from all (a held segment's says "at least"), the model from the quiet ones."""
        assert self._last is not None, "add comes before learn"
        judged, scores, after = self._last
        group = group_of(touched)
        # A hold counts once, when it begins: how long it lasts says nothing of how often one comes.
        newly = ~quiet & ~self._held[touched.rows]
        told = quiet | newly
        heard = told[judged]
        self._raw_tail.learn(scores[heard], group[judged][heard], newly[judged][heard], touched.window_ms)
        self._span_tail.learn(after[told], group[told], newly[told], touched.window_ms)
        self._held[touched.rows] = ~quiet
        self._fit(touched, quiet)
        self._last = None

    def reset(self, rows: Ints) -> None:
        """End what is going on in these segments."""
        self._cusum[rows] = self.score[rows] = 0.0
        self.start_ms[rows] = 0

    def keep(self, rows: Ints) -> None:
        """Keep only these segments, in this order."""
        for name in self._columns:
            setattr(self, name, getattr(self, name)[rows])

    def state(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self._columns},
            "raw_tail": self._raw_tail.state(),
            "span_tail": self._span_tail.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._columns:
            setattr(self, name, state[name])
        self._raw_tail.restore(state["raw_tail"])
        self._span_tail.restore(state["span_tail"])


def group_of(touched: Touched) -> Ints:
    """int64[touched]: which segments share a tail, by how much is expected of them in a window."""
    groups: Ints = np.searchsorted(GROUP_EDGES, touched.expected).astype(np.int64)
    return groups
