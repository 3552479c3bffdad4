"""One view of a series: how new a row is in it, and how rare it is to be as new as that."""

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from detector.series.kept import Kept
from detector.series.rarity import MEMORY, Rarity
from detector.series.window import Spread, Window

_MOST_NEW, _MOST_RARE = 50.0, 8.5
_FIRST = 4


class Expert(Kept):
    """Novelty: the distance to the nearest of the past numbers, in units of a spread.

    Parameters
    ----------
    delay_rows : int
        So many rows a number waits before it is past: what creeps away must not be its own precedent.

    Attributes
    ----------
    new : float
        Of the last row, in units, 0 to 50.
    rare : float
        −log10 of the share of past rows at least as new, 0 to 8.5.
    """

    _kept: ClassVar[tuple[str, ...]] = ("_past", "_rarity", "_waiting", "_seen", "new", "rare")

    def __init__(self, delay_rows: int = 0) -> None:
        self._past = Window(MEMORY)
        self._delay = delay_rows
        self._waiting: deque[float] = deque()
        self._seen = 0
        self._rarity = Rarity()
        self.new = self.rare = 0.0

    @property
    def past(self) -> Sequence[float]:
        """Return the numbers learned, sorted."""
        return self._past.sorted

    @property
    def waiting(self) -> int:
        """Return how many numbers have been judged and are not learned yet."""
        return len(self._waiting)

    def step(self, number: float, unit: float) -> None:
        """Judge a number, then learn it."""
        self.new = min(_MOST_NEW, self._past.nearest(number) / unit) if self._seen >= _FIRST else 0.0
        self.rare = min(_MOST_RARE, self._rarity.step(self.new))
        self._seen += 1
        self._waiting.append(number)
        if len(self._waiting) > min(self._delay, self._seen // 4):
            self._past.add(self._waiting.popleft())


class OwnUnit(Kept):
    """An expert whose numbers have a spread of their own."""

    _kept: ClassVar[tuple[str, ...]] = ("expert", "spread")

    def __init__(self) -> None:
        self.expert = Expert()
        self.spread = Spread()

    def step(self, number: float) -> Expert:
        """Judge a number, then learn it."""
        self.expert.step(number, self.spread.unit)
        self.spread.add(number)
        return self.expert
