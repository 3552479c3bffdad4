"""`explain`: which dimension values explain what deviates in a cube, and how sure that is.

Up to several causes, the best first; one with an empty `where` says that everything is hit; none that nothing stands
out. The result depends on the leaves alone: not on the order of rows or dimensions, nor on dimensions with one value.
"""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from detector.attribution import counts, values
from detector.attribution.cube import Cube
from detector.attribution.lattice import Lattice, build, layers_of
from detector.attribution.screen import LARGE, coarse
from detector.attribution.search import WHOLE, Costs, Search
from detector.events import Ints

COUNT_COSTS = Costs(
    choice=0.4,
    layer=1.0,
    constant=0.0,
    whole=-1.0,
    sibling=np.inf,
    gap=0.2,
    first=5.5,
    further=10.0,
    everything=3.3,
    simpler=12.0,
    most=6,
)
DROP_FIRST = 8.0
"""A drop is looked for where no rise is found, and must bring more."""
VALUE_COSTS = Costs(
    choice=1.0,
    layer=0.5,
    constant=5.0,
    whole=8.0,
    sibling=3.0,
    gap=0.0,
    first=1.0,
    further=0.0,
    everything=1.0,
    simpler=0.0,
    most=12,
)
COUNT_DOUBT, VALUE_DOUBT = 2.0, 4.0
"""Nats of difference in score that are worth e times the odds: less than one, as the models are wrong."""
COUNT_NOTHING, VALUE_NOTHING, NOT_ALL = 4.0, 0.0, 2.0
"""The score of "nothing", or of something that has no name in these dimensions; `NOT_ALL` as rival of everything."""
RIVALS = 5
"""Only the best rivals count: thousands of hopeless ones would add up."""
CHANCE = 2.0
ENOUGH_NEW = 0.02
"""Noise is learned again, and the search repeated, where causes cover more than this share of the leaves."""


class Kind(Enum):
    """What the leaves hold: how often something happened, or a measured value."""

    COUNT = "count"
    VALUE = "value"


@dataclass(frozen=True)
class Cause:
    """One cause.

    Attributes
    ----------
    where : (dimension, value) pairs; empty for "everything"
    share_of_excess : its part of everything that deviates, 0 to 1
    score : nats beyond its own price, given the other causes
    confidence : probability that exactly this is a cause, against its rivals and "nothing"
    observed, expected : sums over the leaves that it explains
    same_as : other names of the very same leaves
    """

    where: tuple[tuple[str, str], ...]
    share_of_excess: float
    score: float
    confidence: float
    observed: float
    expected: float
    same_as: tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True)
class Explanation:
    """All causes, best first."""

    kind: Kind
    causes: tuple[Cause, ...]


def explain(cube: Cube, kind: Kind) -> Explanation:
    """Find the causes of what deviates in a cube.

    Examples
    --------
    >>> rows = [(bank, app) for bank in "abcdef" for app in "wxyz"]
    >>> cube = Cube.of(
    ...     {"bank": [bank for bank, _ in rows], "app": [app for _, app in rows]},
    ...     real=[30 if bank == "b" else 4 for bank, _ in rows],
    ...     predict=[4] * len(rows),
    ...     trials=[100] * len(rows),
    ... )
    >>> [(dict(cause.where), round(cause.share_of_excess, 2)) for cause in explain(cube, Kind.COUNT).causes]
    [({'bank': 'b'}, 1.0)]
    """
    varied = np.flatnonzero(cube.codes.max(axis=0) > 0)
    if len(varied) < len(cube.dimensions):
        cube = replace(
            cube,
            dimensions=tuple(cube.dimensions[d] for d in varied),
            values=tuple(cube.values[d] for d in varied),
            codes=cube.codes[:, varied],
        )
    if kind is Kind.COUNT and cube.trials is not None and (cube.trials <= 0).any():
        tried = np.flatnonzero(cube.trials > 0)
        if not len(tried):
            return Explanation(kind, ())
        cube = cube.take(tried)
    if kind is Kind.VALUE:
        return _explanation(cube, kind, _searched(cube, kind, VALUE_COSTS, up=True))
    found = _searched(cube, kind, COUNT_COSTS, up=True)
    if not found.causes:
        found = _searched(cube, kind, replace(COUNT_COSTS, first=DROP_FIRST, everything=DROP_FIRST), up=False)
    return _explanation(cube, kind, found)


def _searched(cube: Cube, kind: Kind, costs: Costs, *, up: bool) -> Search:
    lattice: Lattice | None = None
    rows = np.arange(cube.leaves)
    banned: frozenset[int] = frozenset()
    row_of_leaf: Ints = rows
    while True:
        evidence = counts.evidence(cube, rows, up=up) if kind is Kind.COUNT else values.evidence(cube, rows)
        if cube.leaves > LARGE:
            codes, evidence, row_of_leaf, banned_codes = coarse(cube.codes, evidence)
            lattice = build(codes, layers_of(codes.shape[1], len(codes)))
            banned = _holding(lattice, codes, banned_codes)
        elif lattice is None:
            lattice = build(cube.codes, layers_of(cube.codes.shape[1], cube.leaves))
        found = Search(lattice, evidence, costs, banned)
        if kind is Kind.VALUE:
            found.prune()
        found.greedy(costs.most)
        found.improve()
        found.simplify()
        free = np.flatnonzero(found.free[row_of_leaf])
        covered = 1 - len(free) / cube.leaves
        if len(rows) < cube.leaves or not ENOUGH_NEW < covered < 1 - ENOUGH_NEW:
            found.row_of_leaf = row_of_leaf
            return found
        rows = free


def _holding(lattice: Lattice, codes: Ints, banned: Ints) -> frozenset[int]:
    """Elements that fix a dimension to the value that stands for all others."""
    out: list[int] = []
    for cuboid in lattice.cuboids:
        dims = list(cuboid.dims)
        if dims:
            held = (codes[cuboid.first][:, dims] == banned[dims]).any(axis=1)
            out += (cuboid.offset + np.flatnonzero(held)).tolist()
    return frozenset(out)


def _explanation(cube: Cube, kind: Kind, found: Search) -> Explanation:
    excess = cube.real - cube.predict
    own = [np.isin(found.row_of_leaf, cause.rows) for cause in found.causes]
    covered = np.any(own, axis=0) if own else np.zeros(cube.leaves, np.bool_)
    rest = excess[~covered]
    # What the rest deviates by counts as far as it is more than its leaves' deviations add up to by chance.
    left = max(0.0, abs(float(rest.sum())) - CHANCE * float(np.sqrt((rest**2).sum())))
    all_excess = sum(abs(float(excess[rows].sum())) for rows in own) + left
    out = []
    for cause, rows in zip(list(found.causes), own, strict=True):
        score, confidence = _confidence(found, cause.element, kind)
        out.append(
            Cause(
                _named(cube, found.lattice, cause.element, found.row_of_leaf),
                abs(float(excess[rows].sum())) / all_excess if all_excess > 0 else 0.0,
                score,
                confidence,
                float(cube.real[rows].sum()),
                float(cube.predict[rows].sum()),
                tuple(_named(cube, found.lattice, e, found.row_of_leaf) for e in _equal(found, cause.element)),
            )
        )
    main = [cause for cause in out if not cause.where and cause.share_of_excess >= 0.5]
    out = main + sorted((c for c in out if c not in main), key=lambda c: (-c.score, c.where))
    return Explanation(kind, tuple(out))


def _confidence(found: Search, element: int, kind: Kind) -> tuple[float, float]:
    """Score of a cause given the others, and its probability among its rivals."""
    doubt, nothing = (COUNT_DOUBT, COUNT_NOTHING) if kind is Kind.COUNT else (VALUE_DOUBT, VALUE_NOTHING)
    if element == WHOLE:
        nothing = min(nothing, NOT_ALL)
    kept = [cause.element for cause in found.causes]
    found.drop(kept.index(element))
    scores = found.scores()
    same = found.lattice.rows(element)
    rivals = np.unique(found.lattice.inverse[:, same])
    rivals = rivals[(found.lattice.leaves[rivals] != len(same)) & (rivals != element)]
    others = [e for e in rivals.tolist() if e not in found.banned]
    near = np.sort(scores[others])[-RIVALS:]
    odds = np.exp(np.clip((near - scores[element]) / doubt, -50, 50)).sum()
    odds += np.exp(np.clip((nothing - scores[element]) / doubt, -50, 50))
    found.restore(kept)
    return float(scores[element]), float(1 / (1 + odds))


def _equal(found: Search, element: int) -> list[int]:
    """Other elements with the very same leaves, each as short as it can be."""
    lattice = found.lattice
    rows = lattice.rows(element)
    out: list[int] = []
    dims_of: list[set[int]] = [set(lattice.cuboids[lattice.cuboid_of(element)].dims)]
    for number, cuboid in enumerate(lattice.cuboids):
        other = int(lattice.inverse[number, rows[0]])
        if other == element or lattice.leaves[other] != len(rows) or other in found.banned:
            continue
        if any(dims <= set(cuboid.dims) for dims in dims_of):
            continue
        if bool((lattice.inverse[number, rows] == other).all()):
            out.append(other)
            dims_of.append(set(cuboid.dims))
    return out


def _named(cube: Cube, lattice: Lattice, element: int, row_of_leaf: Ints) -> tuple[tuple[str, str], ...]:
    cuboid = lattice.cuboids[lattice.cuboid_of(element)]
    row = int(cuboid.first[element - cuboid.offset])
    leaf = int(np.flatnonzero(row_of_leaf == row)[0])
    return tuple((cube.dimensions[d], cube.values[d][cube.codes[leaf, d]]) for d in cuboid.dims)
