"""Which anomalies become one case and which two."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from detector.config import MINUTE_MS
from detector.desk.problems import (
    Bond,
    Strand,
    bond,
    nested,
    same_problem,
    share_a_value,
    share_customers,
    strand_of,
    tail_log_p,
)
from detector.watch.anomaly import Phase
from tests.detector.desk_world import HIDDEN, LOGIN, PAYMENT, SILENCE, T0, Minute, World, anomaly, fails, ints

SIGNALS = {s.name: s for s in (LOGIN, PAYMENT, SILENCE, HIDDEN)}
Where = dict[str, str]


def strand(signal: str, *where: Where, onset: int = 0, end: int | None = None, trials: int = 1000) -> Strand:
    ended_ms = None if end is None else T0 + end * MINUTE_MS
    made = anomaly(signal, signal, where, T0, onset_ms=T0 + onset * MINUTE_MS, ended_ms=ended_ms, trials=trials)
    return strand_of(made, SIGNALS[signal])


NOBODY = ints([])
NOW = T0 + 60 * MINUTE_MS


@pytest.mark.parametrize(
    ("a", "b", "is_nested", "is_shared"),
    [
        pytest.param({"app": "5"}, {"app": "5"}, True, True, id="equal"),
        pytest.param({"app": "5"}, {"app": "5", "bank": "X"}, True, True, id="part of the other"),
        pytest.param({"app": "5", "provider": "K"}, {"app": "5", "bank": "X"}, True, True, id="by what both know"),
        pytest.param({"app": "5"}, {"app": "6"}, False, False, id="other value"),
        pytest.param({"provider": "K"}, {"bank": "X"}, False, False, id="nothing both know"),
        pytest.param({}, {"app": "5"}, False, False, id="everyone and somebody"),
        pytest.param({}, {}, False, False, id="everyone and everyone"),
        pytest.param({"app": "__other__"}, {"app": "__other__"}, False, False, id="others of two signals"),
        pytest.param({"app": ""}, {"app": ""}, False, False, id="the absence of a value in two signals"),
    ],
)
def test_causes_of_two_signals(a: Where, b: Where, is_nested: bool, is_shared: bool) -> None:
    left, right = strand("login", a), strand("payment", b)
    assert (nested(left, right), nested(right, left)) == (is_nested, is_nested)
    assert (share_a_value(left, right), share_a_value(right, left)) == (is_shared, is_shared)


def test_causes_that_share_a_value_but_are_not_nested() -> None:
    left, right = strand("login", {"app": "5", "provider": "K"}), strand("login", {"app": "5", "provider": "L"})
    assert not nested(left, right)
    assert share_a_value(left, right)
    assert bond(left, NOBODY, [(right, NOBODY)], NOW) is Bond.CAUSE


def test_silence_joins_by_nested_causes_only() -> None:
    customers = ints(range(50))
    quiet = strand("checkout", {"app": "5"})
    assert bond(quiet, NOBODY, [(strand("login", {"app": "5"}), customers)], NOW) is Bond.CAUSE
    assert bond(strand("checkout", {}), customers, [(strand("login", {}), customers)], NOW) is None


def test_spans_apart_by_more_than_ten_minutes_do_not_join() -> None:
    old = strand("login", {"app": "5"}, onset=0, end=10)
    assert bond(strand("payment", {"app": "5"}, onset=20), NOBODY, [(old, NOBODY)], NOW) is Bond.CAUSE
    assert bond(strand("payment", {"app": "5"}, onset=21), NOBODY, [(old, NOBODY)], NOW) is None


def test_the_same_problem_is_the_same_signal_with_a_nested_cause() -> None:
    assert same_problem(strand("login", {"app": "5"}), strand("login", {"app": "5", "provider": "K"}))
    assert same_problem(strand("login", {}), strand("login", {}))
    assert not same_problem(strand("login", {}), strand("login", {"app": "5"}))
    assert not same_problem(strand("login", {"app": "5"}), strand("payment", {"app": "5"}))


@given(st.integers(1, 400), st.data())
def test_the_tail_is_the_hypergeometric_survival_function(universe: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, universe))
    second = data.draw(st.integers(0, universe))
    both = data.draw(st.integers(0, min(first, second)))
    expected = float(hypergeom.sf(both - 1, universe, first, second))
    assert np.exp(tail_log_p(universe, first, second, both)) == pytest.approx(expected, rel=1e-6, abs=1e-250)


def test_customers_hit_by_two_problems_at_once_by_chance_do_not_join() -> None:
    rng = np.random.default_rng(1)
    for size in (30, 300, 2000):
        a, b = (np.unique(rng.choice(20_000, size, replace=False)) for _ in range(2))
        assert not share_customers(a, b, 20_000)


def test_people_who_do_more_are_no_reason_to_join() -> None:
    """Activity of a long tail makes two unrelated problems share people far beyond chance."""
    rng = np.random.default_rng(2)
    weights = rng.gamma(1.0, size=20_000)
    weights /= weights.sum()
    a, b = (np.unique(rng.choice(20_000, 2000, replace=False, p=weights)) for _ in range(2))
    assert tail_log_p(20_000, len(a), len(b), len(np.intersect1d(a, b))) < np.log(1e-6)
    assert not share_customers(a, b, 200_000)


def test_the_same_customers_join() -> None:
    assert share_customers(ints(range(200)), ints(range(150, 200)), 20_000)
    assert not share_customers(ints(range(3)), ints(range(3)), 4)
    assert not share_customers(NOBODY, NOBODY, 10)


# --- driven ---


def two(login: range, payment: range, login_where: Where, payment_where: Where) -> World:
    world = World()
    bad = fails("login", login, ("5.2", "Karta")) | fails("payment", payment, ("BNI", "4.0"))
    world.go(Minute(bad=bad))
    world.go(
        None,
        anomaly("a", "login", login_where, world.window_ms, phase=Phase.OPENED),
        anomaly("b", "payment", payment_where, world.window_ms, phase=Phase.OPENED),
    )
    return world


def test_two_planted_problems_at_once_stay_two() -> None:
    world = two(range(1, 60), range(57, 120), {"provider": "Karta"}, {"bank": "BNI"})
    assert sorted(world.store.cases) == ["a", "b"]


def test_planted_problems_that_hit_the_same_customers_become_one() -> None:
    world = two(range(1, 60), range(20, 80), {"provider": "Karta"}, {"bank": "BNI"})
    case = world.store.cases["a"]
    assert list(world.store.cases) == ["a"]
    assert (case.signals, case.anomalies) == (("login", "payment"), ("a", "b"))
    assert [t.detail for t in world.store.timeline if t.what == "joined"] == ["payment: customers"]
    assert sorted(world.store.listed("a")) == list(range(1, 80))
    assert case.title["en"] == "login fails and payment fails · provider Karta, bank BNI"


def test_everyone_joins_by_customers_only() -> None:
    apart = two(range(1, 60), range(100, 160), {}, {})
    assert sorted(apart.store.cases) == ["a", "b"]
    together = two(range(1, 60), range(1, 60), {}, {})
    assert list(together.store.cases) == ["a"]


def test_a_shadow_anomaly_never_joins_a_live_case() -> None:
    world = World()
    bad = fails("login", range(1, 30), ("5.2", "Karta")) | fails("hidden", range(1, 30), ("5.2", "Karta"))
    world.go(Minute(bad=bad))
    where = {"app": "5.2"}
    world.go(
        None,
        anomaly("a", "login", where, world.window_ms, phase=Phase.OPENED),
        anomaly("h", "hidden", where, world.window_ms, phase=Phase.OPENED),
    )
    assert sorted(world.store.cases) == ["a", "h"]
    assert {n.reason for n in world.store.notices.values() if n.case == "h"} == {"shadow"}


def test_the_order_of_anomalies_in_the_record_does_not_matter() -> None:
    def run(flip: bool) -> list[str]:
        world = World()
        world.go(Minute(bad=fails("login", range(1, 30), ("5.2", "Karta"))))
        found = [
            anomaly("b", "login", {"app": "5.2"}, world.window_ms),
            anomaly("a", "login", {"app": "5.2", "provider": "Karta"}, world.window_ms),
        ]
        world.go(None, *(reversed(found) if flip else found))
        return list(world.store.cases)

    assert run(False) == run(True) == ["a"]
