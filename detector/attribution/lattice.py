"""The lattice of a cube: every set of dimensions (a cuboid), every combination of their values (an element).

Sums of per-leaf columns are rolled up from the finest cuboids to the coarsest, each from its smallest parent, so that
a whole lattice costs little more than its finest layer. Elements have one number each over all cuboids; number 0 is
the whole signal.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from detector.events import Floats, Ints

LEAST_LAYERS = 3
MOST_CUBOIDS = 260
"""Layers are added as long as there are no more sets of dimensions than this …"""
MOST_MEMBERSHIPS = 40_000_000
"""… and cuboids times leaves stay below this."""


@dataclass(frozen=True)
class Cuboid:
    """A set of dimensions; its elements are `offset` to `offset + elements`, in the order of their values.

    Attributes
    ----------
    first : int64[elements]
        A leaf of each element: its codes tell the element's values.
    """

    dims: tuple[int, ...]
    offset: int
    first: Ints

    @property
    def elements(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Lattice:
    """All cuboids of some codes, coarsest first.

    Attributes
    ----------
    inverse : int32[cuboids, leaves]
        The element of every leaf in every cuboid.
    leaves : int64[elements]
        How many leaves an element has.
    """

    cuboids: tuple[Cuboid, ...]
    inverse: NDArray[np.int32]
    leaves: Ints
    _parents: tuple[int, ...]

    @property
    def elements(self) -> int:
        return len(self.leaves)

    @property
    def dimensions(self) -> int:
        return sum(len(cuboid.dims) == 1 for cuboid in self.cuboids)

    def cuboid_of(self, element: int) -> int:
        """Which cuboid an element belongs to."""
        offsets = [cuboid.offset for cuboid in self.cuboids]
        return int(np.searchsorted(offsets, element, side="right")) - 1

    def rows(self, element: int) -> Ints:
        """The leaves of an element."""
        return np.flatnonzero(self.inverse[self.cuboid_of(element)] == element)

    def roll(self, columns: Floats) -> Floats:
        """Sums of per-leaf columns over every element: float64[leaves, columns] to float64[elements, columns]."""
        out = np.empty((self.elements, columns.shape[1]))
        for number in range(len(self.cuboids) - 1, -1, -1):
            cuboid, parent = self.cuboids[number], self._parents[number]
            if parent < 0:
                ids, source = self.inverse[number] - cuboid.offset, columns
            else:
                above = self.cuboids[parent]
                ids = self.inverse[number, above.first] - cuboid.offset
                source = out[above.offset : above.offset + above.elements]
            out[cuboid.offset : cuboid.offset + cuboid.elements] = _sums(ids, source, cuboid.elements)
        return out

    def take(self, sums: Floats, rows: Ints, columns: Floats) -> None:
        """Add `columns` (float64[rows, columns]) of some leaves to the sums of all elements that hold them."""
        ids, where = np.unique(self.inverse[:, rows].T, return_inverse=True)
        pointer = np.arange(0, where.size + 1, len(self.cuboids))
        shape = (len(ids), len(rows))
        held = csc_array((np.ones(where.size), where.ravel(), pointer), shape=shape)
        sums[ids] += np.asarray(held @ columns)


def _sums(ids: NDArray[np.int32], columns: Floats, elements: int) -> Floats:
    if len(ids) == elements and bool((ids[1:] > ids[:-1]).all()):
        return columns
    pointer = np.arange(len(ids) + 1)
    held = csc_array((np.ones(len(ids)), ids, pointer), shape=(elements, len(ids)))
    return np.asarray(held @ columns, np.float64)


def layers_of(dimensions: int, leaves: int) -> int:
    """How many dimensions a cause may fix: all of them, or as many as stay affordable, but at least three."""
    layers, cuboids = 0, 1
    while layers < dimensions:
        cuboids += comb(dimensions, layers + 1)
        if layers >= LEAST_LAYERS and (cuboids > MOST_CUBOIDS or cuboids * leaves > MOST_MEMBERSHIPS):
            break
        layers += 1
    return layers


def build(codes: Ints, layers: int) -> Lattice:
    """The lattice of codes (int64[leaves, dimensions]) up to `layers` dimensions at once."""
    leaves, dimensions = codes.shape
    sets = [dims for layer in range(layers + 1) for dims in combinations(range(dimensions), layer)]
    inverse = np.empty((len(sets), leaves), np.int32)
    cuboids: list[Cuboid] = []
    offset = 0
    for number, dims in enumerate(sets):
        ids, first = _elements(codes, dims)
        inverse[number] = ids + offset
        cuboids.append(Cuboid(dims, offset, first))
        offset += len(first)
    counts = np.concatenate(
        [np.bincount(inverse[i] - c.offset, minlength=c.elements) for i, c in enumerate(cuboids)]
    ).astype(np.int64)
    return Lattice(tuple(cuboids), inverse, counts, tuple(_smallest_parent(cuboids, i) for i in range(len(cuboids))))


def _elements(codes: Ints, dims: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Element of every leaf, and a leaf of every element; elements in the order of their values."""
    sizes = codes.max(axis=0, initial=0) + 1
    ids = np.zeros(len(codes), np.int64)
    span = 1
    for d in dims:
        if span > 2**62 // int(sizes[d]):
            ids, span = _dense(ids, span)
        ids = ids * sizes[d] + codes[:, d]
        span *= int(sizes[d])
    ids, span = _dense(ids, span)
    first = np.zeros(span, np.int64)
    first[ids[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return ids, first


def _dense(ids: Ints, span: int) -> tuple[Ints, int]:
    """Numbers without gaps, in the same order."""
    if span <= 4 * len(ids) + 1_000:
        there = np.bincount(ids, minlength=span) > 0
        return (np.cumsum(there) - 1)[ids], int(there.sum())
    found, inverse = np.unique(ids, return_inverse=True)
    return inverse.astype(np.int64), len(found)


def _smallest_parent(cuboids: list[Cuboid], number: int) -> int:
    wanted = set(cuboids[number].dims)
    parents = [i for i, c in enumerate(cuboids) if len(c.dims) == len(wanted) + 1 and wanted < set(c.dims)]
    return min(parents, key=lambda i: (cuboids[i].elements, i), default=-1)
