"""Cubes with known causes: the published ones of a folder, and simulated ones of many shapes."""

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.attribution import Cube, Kind
from detector.events import Floats, Ints

Where = dict[str, str]
Bools = NDArray[np.bool_]

COUNT_SETS = ("count-clean", "count-hard", "count-whole", "count-quiet")
VALUE_SETS = ("value-s", "value-l")


@dataclass(frozen=True)
class Case:
    """A cube and its planted causes: [] for none, [{}] for everything."""

    name: str
    kind: Kind
    cube: Cube
    causes: list[Where]


def held(cube: Cube, where: Where) -> Bools:
    """The leaves of a cause."""
    inside = np.ones(cube.leaves, np.bool_)
    for name, value in where.items():
        d = cube.dimensions.index(name)
        inside &= cube.codes[:, d] == (cube.values[d].index(value) if value in cube.values[d] else -1)
    return inside


def published(data: Path, name: str) -> Iterator[Case]:
    """The cases of one set of a folder."""
    causes = json.loads((data / name / "causes.json").read_text())
    for number in sorted(causes):
        with gzip.open(data / name / f"{number}.csv.gz", "rt", newline="") as file:
            rows = csv.reader(file)
            header = next(rows)
            columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        trials = columns.pop("trials", None)
        real, predict = columns.pop("real"), columns.pop("predict")
        cube = Cube.of(
            columns,
            np.array(real, np.float64),
            np.array(predict, np.float64),
            None if trials is None else np.array(trials, np.float64),
        )
        wanted = [{name: str(value) for name, value in where.items()} for where in causes[number]]
        yield Case(f"{name}/{number}", Kind.COUNT if trials is not None else Kind.VALUE, cube, wanted)


def simulated(name: str, cases: int, seed: int) -> Iterator[Case]:
    """Cases of our own: counts with one, two or no causes or hit as a whole, counts without trials, values."""
    for number in range(cases):
        rng = np.random.default_rng([seed, sum(map(ord, name)), number])
        yield _values(name, number, rng) if name == "sim-value" else _counts(name, number, rng)


def _codes(rng: np.random.Generator, most: int) -> Ints:
    dimensions = int(rng.integers(2, 7))
    sizes = [int(rng.choice([2, 3, 5, 8, 13, 21, 34])) for _ in range(dimensions)]
    leaves = int(np.exp(rng.uniform(np.log(60), np.log(most))))
    columns = []
    for size in sizes:
        weight = rng.permutation(1 / np.arange(1, size + 1) ** rng.uniform(0.0, 1.3))
        columns.append(rng.choice(size, leaves, p=weight / weight.sum()))
    if dimensions > 2 and rng.random() < 0.4:
        columns[1] = columns[0] * 2 + columns[1] % 2
    return np.unique(np.stack(columns, axis=1), axis=0)


def _planted(rng: np.random.Generator, codes: Ints, known: list[Bools]) -> tuple[Where, Bools]:
    for _ in range(200):
        layer = min(int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15])), codes.shape[1])
        dims = rng.choice(codes.shape[1], layer, replace=False)
        leaf = codes[rng.integers(len(codes))]
        rows = (codes[:, dims] == leaf[dims]).all(axis=1)
        overlap = any((rows & other).any() for other in known)
        if not overlap and 2 <= rows.sum() <= 0.5 * len(codes):
            break
    return {f"d{d}": str(leaf[d]) for d in sorted(dims)}, rows


def _cube(codes: Ints, **numbers: Floats) -> Cube:
    return Cube.of({f"d{d}": [str(v) for v in codes[:, d]] for d in range(codes.shape[1])}, **numbers)


def _counts(name: str, number: int, rng: np.random.Generator) -> Case:
    codes = _codes(rng, 3000)
    leaves, dimensions = codes.shape
    per_leaf = np.exp(rng.normal(rng.uniform(0.5, 3.0), 1.2, leaves))
    trials = np.asarray(1 + rng.poisson(per_leaf), np.float64)
    base = float(rng.uniform(0.005, 0.15))
    odds: Floats = np.full(leaves, base / (1 - base))
    level = np.full(leaves, rng.normal(0, 0.12))
    for d in range(dimensions):
        odds *= np.exp(rng.normal(0, 0.5, codes[:, d].max() + 1))[codes[:, d]]
        level += rng.normal(0, rng.choice([0.0, 0.05, 0.1]), codes[:, d].max() + 1)[codes[:, d]]
    odds *= np.exp(rng.normal(0, 0.25, leaves))
    share: Floats = odds / (1 + odds)
    windows = int(rng.choice([3, 6, 24, 200]))
    past = rng.binomial(np.asarray(trials * windows, np.int64), share)
    total = past.sum() / (trials.sum() * windows)
    predict = trials * (past + 2 * total) / (trials * windows + 2)
    odds_now: Floats = odds * np.exp(level)
    now: Floats = odds_now / (1 + odds_now)
    causes: list[Where] = []
    known: list[Bools] = []
    wanted = {"sim-two": 2, "sim-one": 1, "sim-bare": 1}.get(name, 0)
    for _ in range(wanted):
        where, rows = _planted(rng, codes, known)
        uneven = np.exp(rng.normal(0, rng.choice([0.0, 0.3]), leaves))
        ratio = float(np.exp(rng.uniform(np.log(2.5), np.log(30))))
        if rng.random() < 0.5:
            hit = now * ratio * uneven / (1 - now + now * ratio * uneven)
        else:
            hit = now + (1 - now) * np.minimum(0.98, rng.uniform(0.1, 1.0) * uneven)
        now = np.where(rows, hit, now)
        causes.append(where)
        known.append(rows)
    if name == "sim-whole":
        ratio = float(rng.uniform(2.0, 6.0))
        now = now * ratio / (1 - now + now * ratio)
        causes = [{}]
    real = np.asarray(rng.binomial(np.asarray(trials, np.int64), np.clip(now, 0, 1)), np.float64)
    if name == "sim-bare":
        return Case(f"{name}/{number:03d}", Kind.COUNT, _cube(codes, real=real, predict=predict), causes)
    return Case(f"{name}/{number:03d}", Kind.COUNT, _cube(codes, real=real, predict=predict, trials=trials), causes)


def _values(name: str, number: int, rng: np.random.Generator) -> Case:
    codes = _codes(rng, 8000)
    leaves = len(codes)
    predict = np.exp(rng.normal(3, 1.5, leaves))
    spread = float(rng.uniform(0.01, 0.15))
    noise = rng.standard_t(4, leaves) if rng.random() < 0.4 else rng.normal(size=leaves)
    real = predict * np.maximum(0, 1 + spread * noise)
    causes: list[Where] = []
    known: list[Bools] = []
    for _ in range(int(rng.integers(1, 4))):
        where, rows = _planted(rng, codes, known)
        change = float(rng.uniform(3 * spread + 0.1, 0.95)) * float(rng.choice([-1, 1]))
        jitter = rng.normal(0, 0.02, leaves)
        hit = predict * (1 + change + jitter) if change < 0 else predict / np.maximum(0.03, 1 - change + jitter)
        real = np.where(rows, np.maximum(hit, 0), real)
        causes.append(where)
        known.append(rows)
    return Case(f"{name}/{number:03d}", Kind.VALUE, _cube(codes, real=real, predict=predict), causes)
