"""Models that learn one observation at a time, in the manner of river: one for each segment that has enough traffic.

They are made when first needed and bounded in number. A model learns from the last 300 to 600 windows of its segment:
every 300 it is made anew from those kept, so that a restart, which makes it from the same ones, goes on exactly.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.config import HOUR_MS
from detector.events import Floats, Ints
from detector.watch.evidence import Touched
from detector.watch.plugins.features import NAMES, features, scaled
from detector.watch.plugins.foreign import Flags, Foreign

MODELS = 100
"""Segments that have one: a restart makes them anew, at up to a quarter of a second each."""
MEMORY = 300
"""Windows that a model is made anew from; it is when it has learned from as many more."""
WARM = 60
"""Windows that a model has learned from before its word counts."""
ENOUGH = 0.5
"""A segment in which so much is expected in a window gets a model …"""
LEVEL_FADE = 0.98
"""… as the mean over some 50 of its windows."""
UNUSED_MS = HOUR_MS
"""Models give way to others when they were not used for this long."""


@dataclass
class _Model:
    model: Any
    used_ms: int
    seen: list[list[float]] = field(default_factory=list)
    """What it has learned from: the target (`surprise`) and the features."""


class PerSegment(Foreign):
    """A river-style anomaly detector, `learn_one` and `score_one`, as a Detector.

    One that takes a target as well (`GaussianScorer`) gets the standardised residual as its target.
    """

    _columns = (*Foreign._columns, "_level")

    def __init__(self, make: Callable[[], Any], *, up: bool) -> None:
        super().__init__(up=up)
        self._make = make
        self._with_target = "y" in inspect.signature(make().learn_one).parameters
        self._models: dict[int, _Model] = {}
        self._level: Floats = np.zeros(0)
        self._full = False
        self._given: list[list[float]] = []
        """What `add` was given, for `learn`."""

    def warnings(self) -> list[str]:
        """What ops should know."""
        return [f"more than {MODELS} segments for the detector; the rest wait"] if self._full else []

    def _raw(self, touched: Touched) -> tuple[Flags, Floats]:
        judged = np.zeros(len(touched.rows), np.bool_)
        raw = []
        given = self._given = _rows(touched)
        for i, row in enumerate(touched.rows.tolist()):
            known = self._models.get(row)
            if known is not None and len(known.seen) >= WARM:
                judged[i] = True
                raw.append(self._score(known.model, given[i]))
        return judged, np.array(raw, np.float64)

    def _fit(self, touched: Touched, quiet: Flags) -> None:
        level = self._level[touched.rows] * LEVEL_FADE + (1 - LEVEL_FADE) * touched.expected
        self._level[touched.rows] = level
        given = self._given
        wanted = np.flatnonzero(level >= ENOUGH)
        # The best filled first: they find most.
        for i in wanted[np.argsort(-level[wanted], kind="stable")].tolist():
            row = int(touched.rows[i])
            known = self._models.get(row) or self._place(row, touched.window_ms)
            if known is None:
                continue
            known.used_ms = touched.window_ms
            if quiet[i]:
                known.seen.append(given[i])
                self._learn(known.model, given[i])
                if len(known.seen) >= 2 * MEMORY:
                    known.seen = known.seen[-MEMORY:]
                    known.model = self._made_of(known.seen)

    def _place(self, row: int, window_ms: int) -> _Model | None:
        if len(self._models) >= MODELS:
            self._full = True
            oldest = min(self._models, key=lambda r: (self._models[r].used_ms, r))
            if self._models[oldest].used_ms > window_ms - UNUSED_MS:
                return None
            del self._models[oldest]
        self._models[row] = _Model(self._make(), window_ms)
        return self._models[row]

    def _learn(self, model: Any, given: list[float]) -> None:
        x = dict(zip(NAMES, given[1:], strict=True))
        if self._with_target:
            model.learn_one(x, given[0])
        else:
            model.learn_one(x)

    def _score(self, model: Any, given: list[float]) -> float:
        x = dict(zip(NAMES, given[1:], strict=True))
        return float(model.score_one(x, given[0]) if self._with_target else model.score_one(x))

    def _made_of(self, seen: list[list[float]]) -> Any:
        model = self._make()
        for given in seen:
            self._learn(model, given)
        return model

    def keep(self, rows: Ints) -> None:
        """Keep only these segments, in this order."""
        super().keep(rows)
        place = {old: new for new, old in enumerate(rows.tolist())}
        self._models = {place[row]: m for row, m in self._models.items() if row in place}

    def state(self) -> dict[str, Any]:
        models = [(row, m.used_ms, np.array(m.seen, np.float64)) for row, m in self._models.items()]
        return {**super().state(), "models": models, "full": self._full}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._full = state["full"]
        self._models = {}
        for row, used_ms, seen in state["models"]:
            rows = seen.reshape(-1, len(NAMES) + 1).tolist()
            self._models[row] = _Model(self._made_of(rows), used_ms, rows)


def _rows(touched: Touched) -> list[list[float]]:
    """Per touched segment the target, then the features within [0, 1]."""
    given = features(touched)
    rows: list[list[float]] = np.concatenate([given[:, :1], scaled(given)], axis=1).tolist()
    return rows
