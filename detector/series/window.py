"""The last values of a series in order of size: medians, robust spreads and the nearest earlier value.

Inserting and finding is a bisection in one block of memory; moving a part of that block is cheap.
"""

from array import array
from bisect import bisect_left, insort
from collections import deque
from typing import ClassVar

from detector.series.kept import Kept

TINY = 1e-300
_ROUNDING = 1e-12
"""Share of a value's size below which a difference is rounding."""
_EAGER = 60
_EVERY = 4


class Window(Kept):
    """The last `size` values, sorted as well."""

    _kept: ClassVar[tuple[str, ...]] = ("_arrived",)

    def __init__(self, size: int) -> None:
        self._size = size
        self._arrived: deque[float] = deque()
        self.sorted: array[float] = array("d")

    def _rebuild(self) -> None:
        self.sorted = array("d", sorted(self._arrived))

    def add(self, value: float) -> None:
        """Take a value in; the oldest one leaves."""
        insort(self.sorted, value)
        self._arrived.append(value)
        if len(self._arrived) > self._size:
            gone = self._arrived.popleft()
            del self.sorted[bisect_left(self.sorted, gone)]

    def median(self) -> float:
        """Return the upper median; there must be a value."""
        return self.sorted[len(self.sorted) >> 1]

    def nearest(self, value: float) -> float:
        """Distance to the nearest value held; 0 where there is none.

        Examples
        --------
        >>> window = Window(3)
        >>> for x in (1.0, 5.0, 6.0, 9.0):
        ...     window.add(x)
        >>> window.nearest(7.0), window.nearest(1.0)
        (1.0, 4.0)
        """
        held = self.sorted
        at = bisect_left(held, value)
        if at == len(held):
            return value - held[-1] if held else 0.0
        above = held[at] - value
        return above if at == 0 else min(above, value - held[at - 1])

    def radius(self) -> float:
        """Return the smallest r such that three quarters of the values lie within r of the median.

        Among all runs of neighbours that hold three quarters, the one whose farther end is nearest: by bisection.
        """
        held = self.sorted
        n = len(held)
        middle, width = held[n >> 1], (3 * n) >> 2
        low, high = 0, max(0, n - width - 1)
        while low < high:
            at = (low + high) >> 1
            if middle - held[at] > held[min(at + width, n - 1)] - middle:
                low = at + 1
            else:
                high = at
        best = max(middle - held[low], held[min(low + width, n - 1)] - middle)
        if low:
            best = min(best, max(middle - held[low - 1], held[min(low - 1 + width, n - 1)] - middle))
        return best


class Spread(Kept):
    """A robust unit of size: the radius of three quarters of the last 400 values, plus 5 % of its maximum so far.

    The second part keeps a series that is calm for a while from becoming hypersensitive.
    """

    _kept: ClassVar[tuple[str, ...]] = ("window", "_radius", "_top", "_count", "unit")

    def __init__(self, size: int = 400) -> None:
        self.window = Window(size)
        self._radius = 0.0
        self._top = 0.0
        self._count = 0
        self.unit = TINY

    def add(self, value: float) -> None:
        """Take a value in; while there are many, the radius is taken anew only every few rows."""
        self.window.add(value)
        self._count += 1
        if self._count < _EAGER or self._count % _EVERY == 0:
            self._radius = self.window.radius()
            if self._count > 20:
                self._top = max(self._top, self._radius)
        held = self.window.sorted
        self.unit = self._radius + 0.05 * self._top + _ROUNDING * (abs(held[0]) + abs(held[-1])) + TINY
