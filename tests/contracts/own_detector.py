"""A user's detectors: one that keeps the contract, and some that do not."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.events import Floats, Ints
from detector.watch.evidence import Touched


class Residuals:
    """Half the square of a faded sum of residuals: nats, if those are normal and independent."""

    def __init__(self, fade: float = 0.8) -> None:
        self.score: Floats = np.zeros(0)
        self.start_ms: Ints = np.zeros(0, np.int64)
        self._sum: Floats = np.zeros(0)
        self._fade = fade

    def grow(self, segments: int) -> None:
        more = segments - len(self.score)
        self.score = np.pad(self.score, (0, more))
        self.start_ms = np.pad(self.start_ms, (0, more))
        self._sum = np.pad(self._sum, (0, more))

    def add(self, touched: Touched) -> None:
        k, mu, rows = touched.observed, touched.expected, touched.rows
        z = (k - mu) / np.sqrt(mu + touched.spread * mu**2)
        self._sum[rows] = self._sum[rows] * self._fade + np.minimum(z, 8.0)
        lasting = self._sum[rows] > 0
        kept = np.where(self.start_ms[rows] > 0, self.start_ms[rows], touched.window_ms)
        self.start_ms[rows] = np.where(lasting, kept, 0)
        self.score[rows] = np.where(lasting, 0.5 * self._sum[rows] ** 2 * (1 - self._fade**2), 0.0)

    def learn(self, touched: Touched, quiet: NDArray[np.bool_]) -> None:
        """Nothing is learned."""

    def reset(self, rows: Ints) -> None:
        self.score[rows] = self._sum[rows] = 0.0
        self.start_ms[rows] = 0

    def keep(self, rows: Ints) -> None:
        self.score, self.start_ms, self._sum = self.score[rows], self.start_ms[rows], self._sum[rows]

    def state(self) -> dict[str, Any]:
        return {"score": self.score, "start_ms": self.start_ms, "_sum": self._sum}

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class Falling(Residuals):
    """Raises in the middle of the night."""

    def add(self, touched: Touched) -> None:
        message = "no such\ncolumn"
        raise ValueError(message)


class Senseless(Residuals):
    """Gives a score that is none."""

    def add(self, touched: Touched) -> None:
        self.score[touched.rows] = np.nan


class Short(Residuals):
    """Forgets to make room."""

    def grow(self, segments: int) -> None:
        """Too little."""


class Nothing:
    """Is no detector."""


class Refusing:
    """Takes no fit."""

    def fit(self, rows: Floats) -> "Refusing":
        message = "not today"
        raise ValueError(message)

    def score_samples(self, rows: Floats) -> Floats:
        return rows[:, 0]


NO_CLASS = 3
