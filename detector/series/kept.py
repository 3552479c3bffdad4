"""What a detector of a series keeps, as plain values: `state()` and back, exact at any cut.

A part keeps everything it knows in its attributes: numbers, None, lists, deques, numpy arrays and further parts.
Its state is the list of them in the order of its `_kept`; sorted copies are no state, they are made anew by `_rebuild`.
"""

from collections import deque
from typing import Any, ClassVar

import numpy as np


class Kept:
    """A part whose attributes named in `_kept` are its whole state."""

    _kept: ClassVar[tuple[str, ...]] = ()

    def state(self) -> list[Any]:
        """Return numbers, strings, lists and None only: packs into any format that keeps all bits of a float."""
        return [_plain(getattr(self, name)) for name in self._kept]

    def restore(self, state: list[Any]) -> None:
        """Go on where `state()` was taken.

        Raises
        ------
        ValueError
            The state was taken by another version or kind.
        """
        if len(state) != len(self._kept):
            message = f"{type(self).__name__}: {len(state)} values found in the state, {len(self._kept)} expected"
            raise ValueError(message)
        for name, value in zip(self._kept, state, strict=True):
            now = getattr(self, name)
            if isinstance(now, Kept):
                now.restore(value)
            elif isinstance(now, np.ndarray):
                setattr(self, name, np.array(value, now.dtype).reshape(now.shape))
            elif isinstance(now, deque):
                setattr(self, name, deque(value, now.maxlen))
            elif isinstance(now, list):
                setattr(self, name, list(value))
            else:
                setattr(self, name, value)
        self._rebuild()

    def _rebuild(self) -> None:
        """Make anew what follows from the kept attributes."""


def _plain(value: Any) -> Any:
    if isinstance(value, Kept):
        return value.state()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, deque):
        return list(value)
    return list(value) if isinstance(value, list) else value
