"""Cubes for the tests of attribution."""

from itertools import product

import numpy as np

from detector.attribution import Cube
from detector.events import Floats

VALUES = {"app": "wxyz", "bank": "abcdef", "city": "klmno"}


def rows(values: dict[str, str] = VALUES) -> dict[str, list[str]]:
    """Every combination of the values."""
    table = list(product(*values.values()))
    return {name: [row[i] for row in table] for i, name in enumerate(values)}


def hit(columns: dict[str, list[str]], where: dict[str, str]) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    inside = np.ones(len(next(iter(columns.values()))), np.bool_)
    for name, value in where.items():
        inside &= np.array(columns[name]) == value
    return inside


def counted(
    *causes: tuple[dict[str, str], float],
    seed: int = 1,
    share: float = 0.05,
    columns: dict[str, list[str]] | None = None,
) -> tuple[dict[str, list[str]], Floats, Floats, Floats]:
    """Columns, real, predict and trials of failures whose share is multiplied in each cause."""
    rng = np.random.default_rng(seed)
    columns = rows() if columns is None else columns
    trials = rng.integers(20, 120, len(columns["bank"])).astype(np.float64)
    now = np.full(len(trials), share)
    for where, ratio in causes:
        now = np.where(hit(columns, where), np.minimum(now * ratio, 0.98), now)
    real = np.asarray(rng.binomial(trials.astype(np.int64), now), np.float64)
    return columns, real, trials * share, trials


def measured(*causes: tuple[dict[str, str], float], seed: int = 1) -> tuple[dict[str, list[str]], Floats, Floats]:
    """Columns, real and predict of values that are multiplied in each cause."""
    rng = np.random.default_rng(seed)
    columns = rows()
    predict = np.exp(rng.normal(4, 1, len(columns["bank"])))
    real = predict * (1 + rng.normal(0, 0.03, len(predict)))
    for where, ratio in causes:
        real = np.where(hit(columns, where), real * ratio, real)
    return columns, real, predict


def cube(columns: dict[str, list[str]], real: Floats, predict: Floats, trials: Floats | None = None) -> Cube:
    return Cube.of(columns, real, predict, trials)
