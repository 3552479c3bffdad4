"""Cells and the segments they roll up into: the whole signal, every single value, every pair of values.

One array row per cell, one per segment. A cell knows its segments, so a window's counts reach all segments in one
`bincount`.
"""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.events import Floats, Ints

Cell = tuple[str, ...]


def families_of(dimensions: int) -> list[tuple[int, ...]]:
    """Return the sets of at most two dimensions, in the order of every array over families."""
    return [family for size in range(3) for family in combinations(range(dimensions), size)]


class Kept(NamedTuple):
    """After cells were dropped: the old row of each new cell, segment and (per dimension) value."""

    cells: Ints
    segments: Ints
    values: list[Ints]


class Segments:
    """The index of one signal's cells and segments.

    Attributes
    ----------
    families : list of tuples of int
        The sets of dimensions whose values make a segment: (), (0,), …, (0, 1), …
    cells : list of Cell
    values : list of dict
        Per dimension value → code; a code is never reused.
    cell_codes : int64[cells, dimensions]
    cell_segments : int64[cells, families]
    segment_family : int64[segments]
    segment_codes : int64[segments, 2]
        The value codes of the segment, in its family's order; -1 where it fixes fewer.
    """

    def __init__(self, dimensions: tuple[str, ...]) -> None:
        self.dimensions = dimensions
        count = len(dimensions)
        self.families = families_of(count)
        self.family_size: Ints = np.array([len(f) for f in self.families], np.int64)
        self.cells: list[Cell] = []
        self._cell_row: dict[Cell, int] = {}
        self.values: list[dict[str, int]] = [{} for _ in dimensions]
        self._segment_row: dict[tuple[int, tuple[int, ...]], int] = {}
        self.segment_codes: Ints = np.zeros((0, 2), np.int64)
        self.cell_codes: Ints = np.zeros((0, count), np.int64)
        self.cell_segments: Ints = np.zeros((0, len(self.families)), np.int64)
        self.segment_family: Ints = np.zeros(0, np.int64)

    def rows(self, cells: list[Cell]) -> Ints:
        """int64[cells]: each cell's row; unknown cells (and their segments) are added."""
        known = self._cell_row
        try:
            return np.fromiter(map(known.__getitem__, cells), np.int64, len(cells))
        except KeyError:
            self._add([cell for cell in cells if cell not in known])
            return np.fromiter(map(known.__getitem__, cells), np.int64, len(cells))

    def _add(self, cells: list[Cell]) -> None:
        codes: list[list[int]] = []
        segments: list[list[int]] = []
        families: list[int] = []
        fixed: list[tuple[int, ...]] = []
        known_segments = len(self.segment_family)
        for cell in cells:
            self._cell_row[cell] = len(self.cells)
            self.cells.append(cell)
            code = [known.setdefault(value, len(known)) for known, value in zip(self.values, cell, strict=True)]
            codes.append(code)
            rows = []
            for f, family in enumerate(self.families):
                key = (f, tuple(code[d] for d in family))
                row = self._segment_row.get(key)
                if row is None:
                    row = self._segment_row[key] = known_segments + len(families)
                    fixed.append((*key[1], -1, -1)[:2])
                    families.append(f)
                rows.append(row)
            segments.append(rows)
        self.cell_codes = np.concatenate([self.cell_codes, np.array(codes, np.int64).reshape(len(cells), -1)])
        self.cell_segments = np.concatenate([self.cell_segments, np.array(segments, np.int64)])
        self.segment_family = np.concatenate([self.segment_family, np.array(families, np.int64)])
        self.segment_codes = np.concatenate([self.segment_codes, np.array(fixed, np.int64).reshape(len(fixed), 2)])

    def __len__(self) -> int:
        return len(self.segment_family)

    def totals(self, rows: Ints, columns: list[Floats]) -> list[Floats]:
        """float64[segments] per column: cell counts added up in every segment, in the order of `rows`."""
        flat = self.cell_segments[rows].ravel()
        width = len(self.families)
        return [
            np.bincount(flat, weights=np.repeat(column, width), minlength=len(self)).astype(np.float64)
            for column in columns
        ]

    def level(self) -> Ints:
        """int64[segments]: how many dimensions the segment fixes."""
        return self.family_size[self.segment_family]

    def where(self, segment: int) -> dict[str, str]:
        """Return the dimension values that a segment fixes."""
        family = self.families[int(self.segment_family[segment])]
        codes = self.segment_codes[segment].tolist()
        return {
            self.dimensions[d]: next(value for value, c in self.values[d].items() if c == code)
            for d, code in zip(family, codes, strict=False)
        }

    def covered(self, where: dict[str, str]) -> NDArray[np.bool_]:
        """bool[cells]: the cells that lie in `where`."""
        return self.covers(where, self.cell_codes)

    def covers(self, where: dict[str, str], codes: Ints) -> NDArray[np.bool_]:
        """bool[rows]: those of the value codes (int64[rows, dimensions]) that lie in `where`."""
        inside = np.ones(len(codes), np.bool_)
        for dimension, value in where.items():
            d = self.dimensions.index(dimension)
            inside &= codes[:, d] == self.values[d].get(value, -1)
        return inside

    def without(self, stale: NDArray[np.bool_]) -> tuple["Segments", "Kept"]:
        """Return the index without some cells (bool[cells]), and where everything that stays has gone."""
        stay = np.flatnonzero(~stale)
        smaller = Segments(self.dimensions)
        smaller.rows([self.cells[i] for i in stay.tolist()])
        segments = np.zeros(len(smaller), np.int64)
        segments[smaller.cell_segments.ravel()] = self.cell_segments[stay].ravel()
        values = [
            np.array([old[v] for v in new], np.int64) for old, new in zip(self.values, smaller.values, strict=True)
        ]
        return smaller, Kept(stay, segments, values)

    def state(self) -> dict[str, Any]:
        return {"cells": self.cells}

    def restore(self, state: dict[str, Any]) -> None:
        self.rows([tuple(cell) for cell in state["cells"]])
