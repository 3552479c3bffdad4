"""Cubes with more leaves than fit in a matrix: values that can matter stay, all others of a dimension become one.

Evidence adds up, so leaves that differ only in such values become one leaf with the sum of their columns. Which
values can matter is read off the best-scoring elements of up to two dimensions, and off the strangest single leaves.
Memory: a few columns as long as the cube, and the coarse cube's matrix.
"""

from itertools import combinations

import numpy as np

from detector.attribution.evidence import Evidence
from detector.events import Floats, Ints

LARGE = 150_000
"""Leaves above which a cube is made coarse."""
KEPT_ELEMENTS, KEPT_LEAVES = 24, 24
MOST_ELEMENTS = 400_000
MOST_COARSE = 120_000
LEAST_VALUES = 2


def coarse(codes: Ints, evidence: Evidence) -> tuple[Ints, Evidence, Ints, Ints]:
    """The coarse cube.

    Returns
    -------
    codes : int64[coarse leaves, dimensions]
    evidence : its evidence
    coarse_of : int64[leaves]
        The coarse leaf of every leaf.
    others : int64[dimensions]
        Per dimension the code of "any other value"; −1 where all values are kept.
    """
    ranked = _ranked(codes, evidence)
    sizes = codes.max(axis=0) + 1
    most = [len(r) for r in ranked]
    while np.prod([min(m + 1, s) for m, s in zip(most, sizes, strict=True)], dtype=float) > MOST_COARSE:
        widest = int(np.argmax(most))
        if most[widest] <= LEAST_VALUES:
            break
        most[widest] -= 1
    others = np.full(len(sizes), -1, np.int64)
    key = np.zeros(len(codes), np.int64)
    kept: list[Ints] = []
    for d, size in enumerate(sizes):
        keep = np.sort(ranked[d][: most[d]])
        table = np.full(size, len(keep), np.int64)
        table[keep] = np.arange(len(keep))
        if len(keep) < size:
            others[d] = len(keep)
        kept.append(keep)
        key = key * (len(keep) + 1) + table[codes[:, d]]
    found, coarse_of = np.unique(key, return_inverse=True)
    out = np.empty((len(found), len(sizes)), np.int64)
    rest = found
    for d in range(len(sizes) - 1, -1, -1):
        rest, out[:, d] = np.divmod(rest, len(kept[d]) + 1)
    table = _summed(evidence.table, evidence.row_of, coarse_of.ravel(), len(found))
    rows = np.arange(len(found))
    summed = Evidence(table, rows, evidence.levels, evidence.level_prior, evidence.positions, evidence.wander)
    return out, summed, coarse_of.ravel().astype(np.int64), others


def _summed(table: Floats, row_of: Ints, group: Ints, groups: int) -> Floats:
    """Sums of table rows over groups of leaves, a column at a time."""
    out = np.empty((groups, table.shape[1]))
    for number in range(table.shape[1]):
        column = np.ascontiguousarray(table[:, number])
        out[:, number] = np.bincount(group, column[row_of], minlength=groups)
    return out


def _ranked(codes: Ints, evidence: Evidence) -> list[Ints]:
    """Per dimension the values that can matter, the most promising first."""
    levels = len(evidence.levels)
    sizes = codes.max(axis=0) + 1
    best: dict[tuple[int, int], float] = {}

    def note(dims: tuple[int, ...], leaf: int, score: float) -> None:
        for d in dims:
            place = (d, int(codes[leaf, d]))
            best[place] = max(best.get(place, -np.inf), score)

    effects = evidence.table[:, levels:]
    own = effects.max(axis=1) - evidence.table[:, :levels].max(axis=1)
    strange = np.argsort(-own[evidence.row_of], kind="stable")[:KEPT_LEAVES]
    for leaf in strange.tolist():
        note(tuple(range(len(sizes))), leaf, float(own[evidence.row_of[leaf]]) - np.log(len(codes)))
    number = effects.shape[1]
    picked = np.unique(np.linspace(0, number - 1, min(number, 16)).round().astype(np.int64))
    some = evidence.table[:, np.concatenate([np.arange(levels), levels + picked])]
    for layer in (1, 2, 3):
        for dims in combinations(range(len(sizes)), layer):
            span = int(np.prod([sizes[d] for d in dims]))
            if span > MOST_ELEMENTS:
                continue
            key = np.zeros(len(codes), np.int64)
            for d in dims:
                key = key * sizes[d] + codes[:, d]
            first = np.full(span, -1, np.int64)
            first[key[::-1]] = np.arange(len(codes) - 1, -1, -1)
            sums = _summed(some, evidence.row_of, key, span)
            score = sums[:, levels:].max(axis=1) - sums[:, :levels].max(axis=1) - np.log(span)
            score[first < 0] = -np.inf
            for element in np.argsort(-score, kind="stable")[:KEPT_ELEMENTS].tolist():
                if score[element] > 0:
                    note(dims, int(first[element]), float(score[element]))
    out = []
    for d in range(len(sizes)):
        mine = sorted(((-s, v) for (dim, v), s in best.items() if dim == d))
        out.append(np.array([v for _, v in mine] or [0], np.int64))
    return out
