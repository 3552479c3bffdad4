"""How rare a number is among its own past, in powers of ten: ranks in the bulk, an exponential tail beyond.

The tail's scale is the median excess, not the mean: what went wrong before must not teach that it is normal.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar

from detector.series.kept import Kept
from detector.series.window import Window

MEMORY = 10_000
"""Rows that are remembered: all of a month of 5-minute rows, a week of 1-minute rows."""
WARM = 8
MOST = 50.0
_LN2, _LN10 = math.log(2), math.log(10)
_EAGER = 200
_EVERY = 8


class Rarity(Kept):
    """One-sided: only large is rare."""

    _kept: ClassVar[tuple[str, ...]] = ("_past", "_edge", "_scale", "_count")

    def __init__(self) -> None:
        self._past = Window(MEMORY)
        self._edge = 0.0
        self._scale = 1.0
        self._count = 0

    def step(self, value: float) -> float:
        """Return −log10 of the share of the past at or above `value`, then learn it."""
        held = self._past.sorted
        n = len(held)
        rarity = 0.0
        if n >= WARM:
            if n < _EAGER or self._count % _EVERY == 0:
                at = max(1, n // 50)
                self._edge = held[n - 1 - at]
                excess = held[n - 1 - at // 2] - self._edge
                self._scale = max(excess / _LN2, 0.02 * self._edge) + 1e-9
            self._count += 1
            if value > self._edge:
                beyond = (value - self._edge) / self._scale / _LN10
                rarity = min(math.log10(50), math.log10(n)) + min(beyond, MOST)
            else:
                rarity = -math.log10((n - bisect_left(held, value) + 1) / (n + 1))
        self._past.add(value)
        return rarity


class RarityBothWays(Kept):
    """Two-sided: small and large each have their own tail."""

    _kept: ClassVar[tuple[str, ...]] = ("_past", "_low", "_high", "_down", "_up", "_count")

    def __init__(self) -> None:
        self._past = Window(MEMORY)
        self._low = self._high = 0.0
        self._down = self._up = 1.0
        self._count = 0

    def step(self, value: float) -> float:
        """Return −log10 of the share of the past at least as far out on the same side, then learn the value."""
        held = self._past.sorted
        n = len(held)
        rarity = 0.0
        if n >= WARM:
            if n < _EAGER or self._count % _EVERY == 0:
                self._edges(held, n)
            self._count += 1
            if value > self._high:
                rarity = math.log10(50) + min((value - self._high) / self._up / _LN10, MOST)
            elif value < self._low:
                rarity = math.log10(50) + min((self._low - value) / self._down / _LN10, MOST)
            else:
                rank = (bisect_left(held, value) + 0.5) / (n + 1)
                rarity = -math.log10(2 * min(rank, 1 - rank))
        self._past.add(value)
        return rarity

    def _edges(self, held: Sequence[float], n: int) -> None:
        at = max(1, n // 50)
        beyond = at // 2
        self._low, self._high = held[at], held[n - 1 - at]
        least = 0.02 * (self._high - self._low) + 1e-300
        self._up = max((held[n - 1 - beyond] - self._high) / _LN2, least) + 1e-9 * abs(self._high)
        self._down = max((self._low - held[beyond]) / _LN2, least) + 1e-9 * abs(self._low)
