"""What others do with a cube: the plain scan statistic and Adtributor, written anew from their papers."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from benchmarks.quality.cubes import Bools, Where
from detector.attribution import Cube
from detector.events import Floats, Ints


def _elements(cube: Cube, layers: int) -> Iterator[tuple[tuple[int, ...], Ints, Ints]]:
    sizes = cube.codes.max(axis=0) + 1
    for layer in range(1, min(layers, len(sizes)) + 1):
        for dims in combinations(range(len(sizes)), layer):
            key = np.zeros(cube.leaves, np.int64)
            for d in dims:
                key = key * sizes[d] + cube.codes[:, d]
            _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
            yield dims, first, inverse.ravel()


def _sums(ids: Ints, weights: Floats, size: int) -> Floats:
    return np.bincount(ids, weights, minlength=size).astype(np.float64)


def _gain(a: Floats, m: Floats, n: Floats | None) -> Floats:
    """Log likelihood ratio of an own rate: binomial, or Poisson without trials."""
    m = np.maximum(m, 1e-9)
    if n is None:
        return np.where(a > m, a * np.log(np.maximum(a, 1e-9) / m) - (a - m), 0.0)
    p0 = np.clip(m / np.maximum(n, 1e-9), 1e-9, 1 - 1e-9)
    p1 = np.clip(a / np.maximum(n, 1e-9), 1e-9, 1 - 1e-9)
    return np.where(a > m, a * np.log(p1 / p0) + (n - a) * np.log((1 - p1) / (1 - p0)), 0.0)


def plain_scan(cube: Cube, *, layers: int = 3, most: int = 3, least: float = 12.0) -> list[Where]:
    """The scan statistic on sums, less ln(size of the level), greedily up to three causes (Kulldorff 1997)."""
    left: Bools = np.ones(cube.leaves, np.bool_)
    elements = list(_elements(cube, layers))
    out: list[Where] = []
    while len(out) < most:
        best: tuple[float, Where, Bools] = (least, {}, left)
        for dims, first, inverse in [((), np.zeros(1, np.int64), np.zeros(cube.leaves, np.int64)), *elements]:
            size = len(first)
            a, m = (_sums(inverse[left], w[left], size) for w in (cube.real, cube.predict))
            n = None if cube.trials is None else _sums(inverse[left], cube.trials[left], size)
            score = _gain(a, m, n) - np.log(size) - len(dims)
            top = int(score.argmax())
            if score[top] > best[0]:
                where = {cube.dimensions[d]: cube.values[d][cube.codes[first[top], d]] for d in dims}
                best = (float(score[top]), where, inverse == top)
        if best[0] <= least:
            break
        out.append(best[1])
        left = left & ~best[2]
    return out


def adtributor(cube: Cube, *, power: float = 0.1, whole: float = 0.67, most: int = 3) -> list[Where]:
    """Adtributor (Bhagwan et al. 2014): of one dimension the values that explain the change, by surprise."""
    total = float(cube.real.sum() - cube.predict.sum())
    if total == 0:
        return []
    candidates = []
    for d, values in enumerate(cube.values):
        f, a = (_sums(cube.codes[:, d], w, len(values)) for w in (cube.predict, cube.real))
        p, q = f / max(f.sum(), 1e-9), a / max(a.sum(), 1e-9)
        mean = (p + q) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = [np.where(x > 0, x * np.log(x / mean), 0.0) for x in (p, q)]
        surprise = (parts[0] + parts[1]) / 2
        explained, chosen, surprised = 0.0, [], 0.0
        for v in np.argsort(-surprise, kind="stable").tolist():
            part = float(a[v] - f[v]) / total
            if part > power:
                explained += part
                surprised += float(surprise[v])
                chosen.append({cube.dimensions[d]: values[v]})
            if explained > whole:
                break
        if explained > whole:
            candidates.append((surprised, chosen))
    return max(candidates, key=lambda c: c[0], default=(0.0, []))[1][:most]
