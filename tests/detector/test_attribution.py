"""Attribution on one window: what is named as the cause, and what changes nothing about it."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.attribution import Cube, Explanation, Kind, explain
from detector.attribution.lattice import build
from detector.errors import UsageError
from tests.detector.cubing import counted, cube, measured, rows


def named(found: Explanation) -> list[dict[str, str]]:
    return [dict(cause.where) for cause in found.causes]


@pytest.mark.parametrize(
    "where",
    [
        pytest.param({"bank": "b"}, id="one-value"),
        pytest.param({"app": "x", "bank": "c"}, id="a-pair"),
        pytest.param({"app": "x", "bank": "c", "city": "m"}, id="three-values"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_raised_share_is_traced_to_its_values(where: dict[str, str], seed: int) -> None:
    found = explain(cube(*counted((where, 14.0), seed=seed)), Kind.COUNT)
    assert named(found) == [where]
    assert found.causes[0].confidence > 0.8
    assert found.causes[0].share_of_excess > 0.6


@pytest.mark.parametrize("ratio", [pytest.param(2.5, id="raised"), pytest.param(0.3, id="lowered")])
@pytest.mark.parametrize("where", [{"bank": "b"}, {"app": "x", "city": "m"}, {"app": "w", "bank": "a", "city": "k"}])
def test_a_shifted_value_is_traced_to_its_values(where: dict[str, str], ratio: float) -> None:
    assert named(explain(cube(*measured((where, ratio))), Kind.VALUE)) == [where]


def test_counts_without_trials_have_causes_as_well() -> None:
    columns, real, predict, _ = counted(({"bank": "d"}, 8.0))
    assert named(explain(cube(columns, real, predict), Kind.COUNT)) == [{"bank": "d"}]


def test_a_count_that_breaks_down_has_a_cause() -> None:
    columns = rows()
    predict = np.full(len(columns["bank"]), 30.0)
    real = np.random.default_rng(1).poisson(np.where(np.array(columns["bank"]) == "b", 3.0, predict))
    assert named(explain(Cube.of(columns, real.astype(float), predict), Kind.COUNT)) == [{"bank": "b"}]


def test_two_causes_at_once_are_both_named_the_stronger_first() -> None:
    found = explain(cube(*counted(({"bank": "b"}, 10.0), ({"app": "x", "city": "m"}, 8.0))), Kind.COUNT)
    assert named(found) == [{"bank": "b"}, {"app": "x", "city": "m"}]
    assert found.causes[0].score > found.causes[1].score
    assert sum(cause.share_of_excess for cause in found.causes) <= 1 + 1e-9


@pytest.mark.parametrize("ratio", [2.5, 6.0])
def test_where_all_leaves_are_hit_everything_is_the_cause(ratio: float) -> None:
    found = explain(cube(*counted(({}, ratio))), Kind.COUNT)
    assert named(found) == [{}]
    assert found.causes[0].share_of_excess == pytest.approx(1)
    assert named(explain(cube(*measured(({}, ratio))), Kind.VALUE)) == [{}]


@pytest.mark.parametrize("seed", range(8))
def test_a_quiet_cube_has_no_cause(seed: int) -> None:
    assert not explain(cube(*counted(seed=seed)), Kind.COUNT).causes
    assert not explain(cube(*measured(seed=seed)), Kind.VALUE).causes


def test_names_of_the_very_same_leaves_are_all_given() -> None:
    columns, real, predict, trials = counted(({"bank": "b"}, 10.0))
    columns["bin"] = [
        f"{bank}{city if bank != 'b' else ''}" for bank, city in zip(columns["bank"], columns["city"], strict=True)
    ]
    found = explain(cube(columns, real, predict, trials), Kind.COUNT)
    assert named(found) == [{"bank": "b"}]
    assert [dict(where) for where in found.causes[0].same_as] == [{"bin": "b"}]


def test_leaves_without_trials_count_nowhere() -> None:
    columns, real, predict, trials = counted(({"bank": "b"}, 10.0))
    for name, value in (("app", "w"), ("bank", "z"), ("city", "k")):
        columns[name].append(value)
    more = [np.append(column, 0.0) for column in (real, predict, trials)]
    assert named(explain(cube(columns, *more), Kind.COUNT)) == [{"bank": "b"}]
    nothing = np.zeros(1)
    assert not explain(Cube.of({"a": ["x"]}, nothing, nothing, nothing), Kind.COUNT).causes


@pytest.mark.parametrize("kind", list(Kind))
def test_the_smallest_cubes_are_answered(kind: Kind) -> None:
    for real, predict in (([0.0], [0.0]), ([0.0], [5.0]), ([5.0], [0.0]), ([1.0], [1.0])):
        found = explain(Cube.of({"a": ["x"]}, real, predict), kind)
        assert all(cause.where == () and 0 <= cause.confidence <= 1 for cause in found.causes)


def test_a_cube_without_rows_or_dimensions_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one dimension and one row"):
        Cube.of({"a": []}, [], [])
    with pytest.raises(UsageError, match="one length"):
        Cube.of({"a": ["x", "y"]}, [1.0], [1.0])


def facts(found: Explanation, back: dict[str, str] | None = None) -> list[tuple[object, ...]]:
    back = back or {}
    return [
        (
            frozenset((back.get(d, d), back.get(v, v)) for d, v in cause.where),
            pytest.approx(cause.score, rel=1e-6, abs=1e-6),
            pytest.approx(cause.share_of_excess),
        )
        for cause in found.causes
    ]


CAUSES = st.sampled_from([{"bank": "b"}, {"app": "x", "bank": "c"}, {"city": "k"}, {"app": "w", "city": "n"}, {}])


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(where=CAUSES, seed=st.integers(0, 50), order=st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_dimensions_and_values_change_nothing(
    where: dict[str, str],
    seed: int,
    order: Random,
) -> None:
    columns, real, predict, trials = counted((where, 9.0), seed=seed)
    first = explain(cube(columns, real, predict, trials), Kind.COUNT)
    rows_in_order = list(range(len(real)))
    order.shuffle(rows_in_order)
    rename = {name: f"{chr(122 - i)}-{name}" for i, name in enumerate(columns)}
    rename |= {value: f"{9 - i % 10}{value}" for i, value in enumerate("abcdefklmnowxyz")}
    moved = {rename[name]: [rename[column[i]] for i in rows_in_order] for name, column in columns.items()}
    pick = np.array(rows_in_order)
    second = explain(cube(moved, real[pick], predict[pick], trials[pick]), Kind.COUNT)
    assert facts(second, {new: old for old, new in rename.items()}) == facts(first)


@settings(max_examples=10, deadline=None)
@given(where=CAUSES, seed=st.integers(0, 50), factor=st.sampled_from([0.001, 0.5, 7.0, 1e6]))
def test_the_unit_of_a_value_changes_nothing(where: dict[str, str], seed: int, factor: float) -> None:
    columns, real, predict = measured((where, 3.0), seed=seed)
    once = explain(cube(columns, real, predict), Kind.VALUE)
    again = explain(cube(columns, real * factor, predict * factor), Kind.VALUE)
    assert named(again) == named(once)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(where=CAUSES, seed=st.integers(0, 50))
def test_a_dimension_with_one_value_changes_nothing(where: dict[str, str], seed: int) -> None:
    columns, real, predict, trials = counted((where, 9.0), seed=seed)
    first = explain(cube(columns, real, predict, trials), Kind.COUNT)
    more = {**columns, "country": ["ID"] * len(real)}
    assert explain(cube(more, real, predict, trials), Kind.COUNT) == first


@pytest.mark.parametrize("where", [{"bank": "b"}, {"app": "x", "bank": "c"}])
def test_a_dimension_that_has_no_part_in_it_is_not_named(where: dict[str, str]) -> None:
    both = rows({"app": "wxyz", "bank": "abcdef", "city": "klmno", "device": "pq"})
    assert named(explain(cube(*counted((where, 14.0), columns=both)), Kind.COUNT)) == [where]


def test_rows_of_the_same_leaf_are_added_up() -> None:
    columns, real, predict, trials = counted(({"bank": "b"}, 10.0))
    twice = {name: [*column, *column] for name, column in columns.items()}
    halves = [np.concatenate([column / 2, column / 2]) for column in (real, predict, trials)]
    assert explain(cube(twice, *halves), Kind.COUNT) == explain(cube(columns, real, predict, trials), Kind.COUNT)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_lattice_sums_what_its_elements_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.unique(rng.integers(0, [3, 4, 2], (20, 3)), axis=0)
    lattice = build(codes, 3)
    columns = rng.normal(size=(len(codes), 2))
    sums = lattice.roll(columns)
    for element in range(lattice.elements):
        assert sums[element] == pytest.approx(columns[lattice.rows(element)].sum(axis=0))
    assert lattice.leaves.sum() == len(codes) * len(lattice.cuboids)


@pytest.mark.slow
def test_more_leaves_than_fit_in_a_matrix_are_screened_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    codes = np.unique(rng.integers(0, [60, 50, 40, 8], (220_000, 4)), axis=0)
    columns = {f"d{d}": codes[:, d].astype(str).tolist() for d in range(4)}
    predict = np.exp(rng.normal(3, 1, len(codes)))
    real = predict * (1 + rng.normal(0, 0.05, len(codes)))
    real = np.where((codes[:, 0] == 7) & (codes[:, 1] == 11), real * 2, real)
    real = np.where(codes[:, 2] == 5, real * 0.4, real)
    found = named(explain(Cube.of(columns, real, predict), Kind.VALUE))
    assert sorted(found, key=len) == [{"d2": "5"}, {"d0": "7", "d1": "11"}]
