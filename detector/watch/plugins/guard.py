"""Holds foreign code to the contract: an error or a senseless score is said in one line, with the detector's name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from detector.errors import TocsinError
from detector.events import Floats, Ints
from detector.watch.evidence import Detector, Touched
from detector.watch.plugins.foreign import Flags


class DetectorError(TocsinError):
    """A detector that was plugged in failed: nothing of this window was stored, so it can be read again."""


class Guarded:
    """A Detector around a foreign one."""

    def __init__(self, inner: Detector, name: str) -> None:
        self._inner, self._name = inner, name
        self.score: Floats = inner.score
        self.start_ms: Ints = inner.start_ms

    def warnings(self) -> list[str]:
        """What ops should know."""
        said: list[str] = getattr(self._inner, "warnings", list)()
        return [f"{self._name}: {text}" for text in said]

    def grow(self, segments: int) -> None:
        with self._named("grow"):
            self._inner.grow(segments)
            for column in ("score", "start_ms"):
                if np.shape(getattr(self._inner, column)) != (segments,):
                    message = f"expected one {column} for each of {segments} segments"
                    raise ValueError(message)

    def add(self, touched: Touched) -> None:
        with self._named("add"):
            self._inner.add(touched)
            scores = self._inner.score[touched.rows]
            if not (np.isfinite(scores).all() and (scores >= 0).all()):
                message = "a score that is no finite number of 0 or more"
                raise ValueError(message)

    def learn(self, touched: Touched, quiet: Flags) -> None:
        with self._named("learn"):
            self._inner.learn(touched, quiet)

    def reset(self, rows: Ints) -> None:
        with self._named("reset"):
            self._inner.reset(rows)

    def keep(self, rows: Ints) -> None:
        with self._named("keep"):
            self._inner.keep(rows)

    def state(self) -> dict[str, Any]:
        with self._named("state"):
            return self._inner.state()

    def restore(self, state: dict[str, Any]) -> None:
        with self._named("restore"):
            self._inner.restore(state)

    @contextmanager
    def _named(self, method: str) -> Iterator[None]:
        try:
            yield
            self.score, self.start_ms = self._inner.score, self._inner.start_ms
        except TocsinError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:300] or type(error).__name__
            message = f"{self._name}: {method} failed: {said}; mend it, or leave `detector` out of the signal"
            raise DetectorError(message) from error
