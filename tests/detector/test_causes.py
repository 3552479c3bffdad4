"""The smallest set of values that explains an excess, among its rivals."""

import numpy as np
import pytest

from detector.watch.causes import Cells, find_causes
from detector.watch.segments import families_of

SIZES = (3, 4, 5)


def cube(
    where: dict[int, int], factor: float, *, seed: int = 1, trials: int = 400, sizes: tuple[int, ...] = SIZES
) -> Cells:
    """All cells of a cube with 3 % failures, `factor` times as many in `where`."""
    rng = np.random.default_rng(seed)
    codes = np.stack([a.ravel() for a in np.meshgrid(*map(np.arange, sizes), indexing="ij")], axis=1)
    inside = np.all([codes[:, d] == v for d, v in where.items()], axis=0) if where else np.ones(len(codes), np.bool_)
    share = 0.03 * np.where(inside, factor, 1.0)
    n = np.full(len(codes), float(trials))
    return Cells(codes, rng.binomial(trials, share).astype(float), n * 0.03, n)


def noise(level: float = 0.1) -> np.ndarray:
    return np.full(len(families_of(len(SIZES))), level)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param({}, id="everyone"),
        pytest.param({1: 2}, id="one value"),
        pytest.param({0: 1, 2: 3}, id="a pair"),
        pytest.param({0: 1, 1: 3, 2: 0}, id="a triple"),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_the_cause_is_named_in_as_few_dimensions_as_it_has(where: dict[int, int], seed: int) -> None:
    (found,) = find_causes(cube(where, 6.0, seed=seed), SIZES, share=True, up=True, noise=noise())
    assert dict(zip(found.family, found.values, strict=True)) == where
    assert found.confidence > 0.9


def test_values_with_the_very_same_cells_are_all_named_once() -> None:
    cells = cube({1: 2}, 6.0)
    twin = Cells(np.column_stack([cells.codes, cells.codes[:, 1]]), cells.observed, cells.expected, cells.trials)
    wide = np.full(len(families_of(4)), 0.1)
    (found,) = find_causes(twin, (*SIZES, 4), share=True, up=True, noise=wide)
    assert (found.family, found.values) == ((1,), (2,))
    assert [(other.family, other.values) for other in found.same] == [((3,), (2,))]


def test_a_quiet_cube_has_no_cause() -> None:
    for seed in range(20):
        found = find_causes(cube({}, 1.0, seed=seed), SIZES, share=True, up=True, noise=noise())
        assert all(one.score < 10 for one in found)


def test_where_few_failed_the_cause_is_less_sure() -> None:
    strong = find_causes(cube({0: 1, 2: 3}, 6.0), SIZES, share=True, up=True, noise=noise())[0]
    weak = find_causes(cube({0: 1, 2: 3}, 4.0, trials=12, seed=3), SIZES, share=True, up=True, noise=noise())[0]
    assert weak.confidence < strong.confidence
