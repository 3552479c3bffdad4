"""What is remembered of a value signal's values, per cell."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import DAY_MS, HOUR_MS
from detector.counter.counter import bucket_value, buckets
from detector.counter.record import Histograms
from detector.events import Floats
from detector.pack import pack, unpack
from detector.watch.past import HALF_LIFE_MS, MOST_COLUMNS, Past, bucket_of, in_order

T0 = 1_772_409_600_000


def histograms(values: Floats, cell: int = 0) -> Histograms:
    keys, count = np.unique(buckets(np.asarray(values, np.float64)), return_counts=True)
    return Histograms(np.full(len(keys), cell), keys, count.astype(np.int64))


def taught(values: dict[tuple[str, ...], Floats], dimensions: int = 1) -> Past:
    past = Past(dimensions)
    for cell, seen in values.items():
        past.learn(past.rows([cell]), histograms(seen))
    return past


def rank(past: Past, cell: tuple[str, ...], value: float) -> float:
    low, high = past.ranks(past.rows([cell]), histograms(np.array([value])), T0)
    return float((low[0] + high[0]) / 2)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_columns_are_in_the_order_of_the_values_and_lead_back_to_their_buckets(values: list[float]) -> None:
    bucket = buckets(np.sort(np.array(values)))
    assert (np.diff(in_order(bucket)) >= 0).all()
    assert (bucket_of(in_order(bucket)) == bucket).all()


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda z: 200 * np.exp(0.5 * z), id="latencies"),
        pytest.param(lambda z: np.tanh(0.3 + z), id="sentiment"),
        pytest.param(lambda z: -np.exp(z), id="all negative"),
    ],
)
def test_a_values_rank_is_its_place_among_the_cells_own_past(shape: Callable[[Floats], Floats]) -> None:
    z = np.random.default_rng(1).normal(0, 1, 5_000)
    past = taught({("v1",): shape(z)})
    for quantile in (0.05, 0.5, 0.9):
        assert rank(past, ("v1",), float(np.quantile(shape(z), quantile))) == pytest.approx(quantile, abs=0.04)


def test_each_cell_has_a_past_of_its_own() -> None:
    rng = np.random.default_rng(2)
    past = taught(
        {(name,): np.asarray(base * np.exp(rng.normal(0, 0.3, 2_000))) for name, base in (("fast", 10), ("slow", 900))}
    )
    assert rank(past, ("fast",), 20.0) > 0.95
    assert rank(past, ("slow",), 500.0) < 0.1


def test_a_new_cell_borrows_from_the_values_that_make_it_up() -> None:
    rng = np.random.default_rng(3)
    cells = {
        (city, endpoint): base * factor * np.exp(rng.normal(0, 0.6, 1_000))
        for endpoint, base in (("search", 900.0), ("ping", 10.0), ("pay", 200.0), ("book", 600.0))
        for city, factor in (("a", 1.0), ("b", 1.5), ("c", 0.8))
    }
    past = taught({cell: seen for cell, seen in cells.items() if cell != ("b", "search")}, dimensions=2)
    for quantile in (0.1, 0.5, 0.9):
        value = float(np.quantile(cells["b", "search"], quantile))
        borrowed = rank(past, ("b", "search"), value)
        assert borrowed == pytest.approx(quantile, abs=0.2)
        assert borrowed < rank(past, ("z", "search"), value)  # city b is slower elsewhere
    # Of a city of which nothing is known, and an endpoint of which nothing is: as the endpoint, as the whole.
    assert rank(past, ("z", "search"), 900.0) == pytest.approx(0.5, abs=0.15)
    assert rank(past, ("z", "new"), 9e9) > 0.99


def test_what_is_learned_does_not_depend_on_how_it_was_split() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.lognormal(5, 1, 300), rng.lognormal(5, 1, 200)
    apart, together = taught({("a",): first}), taught({("a",): np.concatenate([first, second])})
    apart.learn(apart.rows([("a",)]), histograms(second))
    assert rank(apart, ("a",), 150.0) == rank(together, ("a",), 150.0)


def test_a_cell_that_is_held_learns_nothing() -> None:
    past = taught({("a",): np.full(100, 10.0), ("b",): np.full(100, 10.0)})
    rows = past.rows([("a",), ("b",)])
    before = past.below(rows, T0)[0]
    past.learn(
        np.array([-1, rows[1]]), Histograms(np.array([0, 1]), buckets(np.array([10.0, 10.0])), np.array([50, 50]))
    )
    assert past.mass == 250
    assert (past.below(rows, T0)[0] == before).all()


def test_more_buckets_than_columns_are_joined_with_their_neighbours() -> None:
    spread = np.exp(np.linspace(-20, 20, 4_000))
    past = taught({("a",): spread})
    assert (len(past.levels) <= MOST_COLUMNS, past.width) == (True, 4)
    assert past.mass == 4_000
    assert rank(past, ("a",), float(np.exp(10))) == pytest.approx(0.75, abs=0.02)
    assert bucket_value(past.values_at(np.array([len(past.levels) // 2])))[0] == pytest.approx(1.0, rel=0.2)


def test_the_past_fades_and_what_has_faded_goes() -> None:
    past = taught({("old",): np.full(100, 10.0)})
    past.forget(T0)
    past.forget(T0 + HALF_LIFE_MS)
    assert past.mass == pytest.approx(50.0)
    past.forget(T0 + 12 * HALF_LIFE_MS)
    past.learn(past.rows([("new",)]), histograms(np.full(100, 20.0)))
    past.forget(T0 + 12 * HALF_LIFE_MS + DAY_MS)
    assert [tuple(cell) for cell in past.state()["cells"]] == [("new",)]
    assert rank(past, ("new",), 20.0) == pytest.approx(0.5, abs=0.2)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_a_restored_past_goes_on_with_the_same_numbers(seed: int, hours: int) -> None:
    rng = np.random.default_rng(seed)
    past = taught({("a", "x"): rng.normal(0, 9, 50), ("b", "x"): rng.lognormal(3, 2, 80)}, dimensions=2)
    past.follow(past.rows([("a", "x")]), histograms(np.array([1.0, 2.0])), np.array([0.5, 1.0]), 60_000)
    again = Past(2)
    again.restore(unpack(pack(past.state()), dict))
    for one in (past, again):
        one.forget(T0)
        one.learn(one.rows([("c", "y")]), histograms(np.array([3.0, -1.0])))
        one.forget(T0 + hours * HOUR_MS)
    assert pack(past.state()) == pack(again.state())
    rows = past.rows([("a", "x"), ("b", "x")])
    assert (past.below(rows, T0) == again.below(rows, T0)).all()
    assert (past.drift(rows) == again.drift(rows)).all()


def test_the_drift_is_that_of_the_last_hours() -> None:
    past = taught({("a",): np.full(500, 10.0), ("b",): np.full(500, 10.0)})
    rows = past.rows([("a",), ("b",)])
    assert past.drift(rows) == pytest.approx([0.0, 0.0], abs=1e-9)
    for _ in range(60):
        past.follow(
            rows, Histograms(np.array([0, 1]), np.array([50, 50]), np.array([30, 30])), np.array([0.9, 0.5]), 60_000
        )
    assert past.drift(rows)[0] > 1.5
    assert past.drift(rows)[1] == pytest.approx(0.0, abs=0.3)


def test_ranks_are_those_of_the_hour() -> None:
    past = taught({("a",): np.random.default_rng(1).lognormal(5, 0.5, 5_000)})
    assert past.season(T0) == 0.0
    for day in range(3):
        for minute in range(60):
            at_ms = T0 + day * DAY_MS + minute * 60_000
            past.hour(70.0, 100.0, at_ms, 60_000)
            past.hour(30.0, 100.0, at_ms + 12 * HOUR_MS, 60_000)
    middle = T0 + 5 * DAY_MS + HOUR_MS // 2
    assert past.season(middle) == pytest.approx(np.log(0.7 / 0.3), abs=0.2)
    assert past.season(middle + 12 * HOUR_MS) == pytest.approx(np.log(0.3 / 0.7), abs=0.2)
    rows, usual = past.rows([("a",)]), histograms(np.array([np.exp(5.0)]))
    low, high = past.ranks(rows, usual, middle)
    assert (low[0] + high[0]) / 2 == pytest.approx(0.3, abs=0.06)
