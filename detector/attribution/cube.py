"""A cube: one window of one signal, a row for each combination of dimension values that occurred."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detector.errors import UsageError
from detector.events import Floats, Ints


@dataclass(frozen=True)
class Cube:
    """What was observed and expected per leaf (one value of every dimension).

    Attributes
    ----------
    dimensions : names, one per column of `codes`
    values : per dimension its values, by code
    codes : int64[leaves, dimensions]
    real, predict : float64[leaves]
    trials : float64[leaves] or None
        How often it could have happened; None where that is unknown.
    """

    dimensions: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    codes: Ints
    real: Floats
    predict: Floats
    trials: Floats | None = None

    @classmethod
    def of(
        cls,
        columns: Mapping[str, Sequence[str]],
        real: Sequence[float] | Floats,
        predict: Sequence[float] | Floats,
        trials: Sequence[float] | Floats | None = None,
    ) -> "Cube":
        """A cube of columns of texts; rows of the same leaf are added up.

        The result does not depend on the order of the rows or of the dimensions.

        Raises
        ------
        UsageError
            If there is no row or no dimension, or the columns differ in length.

        Examples
        --------
        >>> cube = Cube.of({"bank": ["x", "y", "x"]}, [1, 2, 3], [1, 1, 1])
        >>> cube.values, cube.real.tolist()
        ((('x', 'y'),), [4.0, 2.0])
        """
        names = tuple(sorted(columns))
        if not names or not len(real):
            message = "a cube needs at least one dimension and one row"
            raise UsageError(message)
        coded = [_coded(columns[name]) for name in names]
        lengths = {len(codes) for _, codes in coded} | {len(real), len(predict)}
        if len(lengths | ({len(trials)} if trials is not None else set())) > 1:
            message = f"the columns of a cube must have one length, found {sorted(lengths)}"
            raise UsageError(message)
        cube = cls(
            names,
            tuple(values for values, _ in coded),
            np.stack([codes for _, codes in coded], axis=1),
            np.asarray(real, np.float64),
            np.asarray(predict, np.float64),
            None if trials is None else np.asarray(trials, np.float64),
        )
        return cube.merged()

    @property
    def leaves(self) -> int:
        return len(self.codes)

    def take(self, rows: Ints) -> "Cube":
        """The same with some of the leaves only."""
        trials = None if self.trials is None else self.trials[rows]
        return replace(self, codes=self.codes[rows], real=self.real[rows], predict=self.predict[rows], trials=trials)

    def merged(self) -> "Cube":
        """The same with one row per leaf, in the order of the codes."""
        order = np.lexsort(self.codes.T[::-1])
        codes = self.codes[order]
        new = np.ones(len(order), np.bool_)
        new[1:] = (codes[1:] != codes[:-1]).any(axis=1)
        starts = np.flatnonzero(new)

        def summed(column: Floats) -> Floats:
            return np.add.reduceat(column[order], starts)

        trials = None if self.trials is None else summed(self.trials)
        return replace(self, codes=codes[starts], real=summed(self.real), predict=summed(self.predict), trials=trials)


def _coded(column: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    number: dict[str, int] = {}
    codes = np.fromiter((number.setdefault(value, len(number)) for value in column), np.int64, len(column))
    order = sorted(number)
    rank = np.empty(len(order), np.int64)
    for i, value in enumerate(order):
        rank[number[value]] = i
    return tuple(order), rank[codes]
