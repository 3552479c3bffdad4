"""Models that are fitted to a table, in the manner of scikit-learn: one for all segments, refitted every hour.

They are heavy: a model looks only at segments of which the built-in evidence says at least a little in this window,
the most suspicious first and no more than some hundred. All others count as unsurprising, also in the calibration.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from detector.config import HOUR_MS
from detector.events import Floats, Ints
from detector.watch.evidence import Detector, Touched
from detector.watch.plugins.features import NAMES, features, scaled
from detector.watch.plugins.foreign import Flags, Foreign

BAR_NATS = 1.0
"""Built-in evidence from which on the model looks at a segment …"""
MOST = 256
"""… and at how many of them in a window."""
MEMORY = 4_096
"""Quiet windows of segments that a model is fitted to, the latest."""
EACH_WINDOW = 64
"""Of each window so many are remembered, over all kinds of segments."""
LEAST = 256
REFIT_MS = HOUR_MS
UNSUSPICIOUS = -1e4


class Pooled(Foreign):
    """A scikit-learn-style outlier detector, `fit` with `score_samples` or `decision_function`, as a Detector."""

    def __init__(self, make: Callable[[], Any], gate: Detector, *, up: bool) -> None:
        super().__init__(up=up)
        self._make, self._gate = make, gate
        self._model: Any = None
        self._memory: Floats = np.zeros((0, len(NAMES)))
        """What the model was fitted to."""
        self._fresh: list[Floats] = []
        """What came since."""
        self._refit_ms: int | None = None

    def _raw(self, touched: Touched) -> tuple[Flags, Floats]:
        self._gate.add(touched)
        judged = np.full(len(touched.rows), self._model is not None)
        if self._model is None:
            return judged, np.zeros(0)
        raw = np.full(len(touched.rows), UNSUSPICIOUS)
        said = self._gate.score[touched.rows]
        flagged = np.flatnonzero(said >= BAR_NATS)
        flagged = flagged[np.argsort(-said[flagged], kind="stable")[:MOST]]
        if len(flagged):
            raw[flagged] = -score(self._model, scaled(features(touched))[flagged])
        return judged, raw

    def _fit(self, touched: Touched, quiet: Flags) -> None:
        self._gate.learn(touched, quiet)
        given = scaled(features(touched))[quiet]
        # Evenly from the smallest to the largest, whatever the segments' order.
        given = given[np.lexsort(given.T)]
        step = max(len(given) // EACH_WINDOW, 1)
        self._fresh.append(given[touched.window_ms // 60_000 % step :: step])
        if self._refit_ms is None:
            self._refit_ms = touched.window_ms
        if touched.window_ms - self._refit_ms >= REFIT_MS:
            self._refit_ms = touched.window_ms
            memory = np.concatenate([self._memory, *self._fresh])[-MEMORY:]
            if len(memory) >= LEAST:
                self._memory, self._fresh = memory, []
                self._model = self._make().fit(memory)

    def grow(self, segments: int) -> None:
        """Make room for new segments."""
        super().grow(segments)
        self._gate.grow(segments)

    def reset(self, rows: Ints) -> None:
        """End what is going on in these segments."""
        super().reset(rows)
        self._gate.reset(rows)

    def keep(self, rows: Ints) -> None:
        """Keep only these segments, in this order."""
        super().keep(rows)
        self._gate.keep(rows)

    def state(self) -> dict[str, Any]:
        own = {"memory": self._memory, "fresh": self._fresh, "refit_ms": self._refit_ms, "gate": self._gate.state()}
        return {**super().state(), **own}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._gate.restore(state["gate"])
        self._memory, self._fresh, self._refit_ms = state["memory"], list(state["fresh"]), state["refit_ms"]
        self._model = self._make().fit(self._memory) if len(self._memory) else None


def score(model: Any, rows: Floats) -> Floats:
    """float64[rows]: the model's own score, where less is stranger (scikit-learn's way round)."""
    said = model.score_samples(rows) if hasattr(model, "score_samples") else model.decision_function(rows)
    return np.asarray(said, np.float64)
