"""One view of a series: how new a row is in it, and how rare it is to be as new as that."""

from collections.abc import Sequence
from typing import ClassVar

from detector.series.kept import Kept
from detector.series.rarity import MEMORY, WARM, Rarity
from detector.series.window import Spread, Window

_MOST_NEW, _MOST_RARE = 50.0, 8.5


class Expert(Kept):
    """Novelty: the distance to the nearest of the past numbers, in units of a spread.

    Attributes
    ----------
    new : float
        Of the last row, in units, 0 to 50.
    rare : float
        −log10 of the share of past rows at least as new, 0 to 8.5.
    """

    _kept: ClassVar[tuple[str, ...]] = ("_past", "_rarity", "new", "rare")

    def __init__(self) -> None:
        self._past = Window(MEMORY)
        self._rarity = Rarity()
        self.new = self.rare = 0.0

    @property
    def past(self) -> Sequence[float]:
        """Return the numbers learned, sorted."""
        return self._past.sorted

    def step(self, number: float, unit: float) -> None:
        """Judge a number, then learn it."""
        held = len(self._past.sorted)
        self.new = min(_MOST_NEW, self._past.nearest(number) / unit) if held >= WARM else 0.0
        self.rare = min(_MOST_RARE, self._rarity.step(self.new))
        self._past.add(number)


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
