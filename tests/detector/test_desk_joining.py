"""Planted problems at once, with people who differ in how much they do: what is one stays one, what is two stays two."""

from collections.abc import Sequence
from itertools import permutations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import MINUTE_MS, Config
from detector.desk.problems import share_customers
from detector.events import Floats, Ints
from detector.signals import Measure, Signal
from detector.watch.anomaly import Phase
from tests.detector.desk_world import Cell, Happening, Minute, World, anomaly, config, fails, ints, signal

MINUTES = 5
LOGIN_CELLS: tuple[Cell, Cell] = (("5.2", "Karta"), ("5.0", "Lain"))
PAYMENT_CELLS: tuple[Cell, Cell] = (("BNI", "4.0"), ("BCA", "4.1"))
CARD = signal("card", ("bank", "method", "app"))
PAGES = msgspec.structs.replace(signal("pages", ("app",)), measure=Measure.COUNT)


def settings_with(*signals: Signal) -> Config:
    return msgspec.structs.replace(config(), signals=(*config().signals, *signals))


# --- people who differ in activity ---


def activity(kind: str, people: int, rng: np.random.Generator) -> Floats:
    if kind == "even":
        return np.ones(people)
    drawn = rng.lognormal(0, 2, people) if kind == "lognormal" else rng.pareto(1.2, people) + 0.05
    return np.asarray(drawn / drawn.mean())


def failures(
    tries: Ints,
    inside: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    cells: tuple[Cell, Cell],
    p: float,
    rng: np.random.Generator,
) -> list[list[Happening]]:
    """Per minute who fails: those inside the problem with probability p, all others with 4 %."""
    minutes: list[list[Happening]] = [[] for _ in range(MINUTES)]
    for customer, (n, hit) in enumerate(zip(tries.tolist(), inside.tolist(), strict=True), start=1):
        for _ in range(n):
            if rng.random() < (p if hit else 0.04):
                at = int(rng.integers(MINUTES * MINUTE_MS))
                minutes[at // MINUTE_MS].append((customer, cells[0] if hit else cells[1], at % MINUTE_MS))
    return minutes


def planted(kind: str, part: float, *, same: bool, seed: int, people: int = 3000, later: int = 0) -> list[str]:
    """Two problems that each hit a part of the people, in different signals and dimensions: the cases there are."""
    rng = np.random.default_rng(seed)
    tries = 2.0
    weight = activity(kind, people, rng) * tries
    in_login = rng.random(people) < part
    in_payment = in_login if same else rng.random(people) < part
    logins = failures(rng.poisson(weight), in_login, LOGIN_CELLS, 0.5, rng)
    payments = failures(rng.poisson(weight), in_payment, PAYMENT_CELLS, 0.5, rng)
    world = World()
    onset_ms, n = world.window_ms, int(people * tries * part)
    for minute in range(MINUTES + later):
        bad = {"login": logins[minute]} if minute < MINUTES else {}
        world.go(Minute(bad=bad | ({"payment": payments[minute - later]} if minute >= later else {})))
    everyone = part == 1
    login_cause = {} if everyone else {"provider": "Karta"}
    payment_cause = {} if everyone else {"bank": "BNI"}
    world.go(
        None,
        anomaly("a", "login", login_cause, world.window_ms, phase=Phase.OPENED, onset_ms=onset_ms, trials=n),
        anomaly(
            "b",
            "payment",
            payment_cause,
            world.window_ms,
            phase=Phase.OPENED,
            onset_ms=onset_ms + later * MINUTE_MS,
            trials=n,
        ),
    )
    return sorted(world.store.cases)


KINDS = ("even", "lognormal", "pareto")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.05, 0.3, 0.5, 0.8])
def test_two_independent_problems_at_once_stay_two(kind: str, part: float) -> None:
    for seed in range(3):
        assert planted(kind, part, same=False, seed=seed) == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.05, 0.3, 0.5])
def test_one_problem_that_shows_in_two_signals_is_one_case(kind: str, part: float) -> None:
    for seed in range(3):
        assert planted(kind, part, same=True, seed=seed) == ["a"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_of_everyone_and_everyone_it_is_the_beginning_that_tells(kind: str) -> None:
    """Who does most is hit by both, whatever it is: that half of them are shared tells nothing."""
    assert planted(kind, 1.0, same=True, seed=1) == ["a"]
    assert planted(kind, 1.0, same=False, seed=1, later=11) == ["a", "b"]


def test_very_active_customers_are_compared_with_others_who_failed() -> None:
    hit, other = ints(range(100)), ints(range(60, 260))
    assert share_customers(hit, other, 100_000, usual_a=ints(range(300, 400)))
    # those who fail ordinarily are among the others just as often
    assert not share_customers(hit, other, 100_000, usual_a=ints(range(240, 280)))
    assert not share_customers(hit, other, 100_000, usual_b=ints(range(30, 90)))
    # nobody to compare with: 40 % of the smaller group are too few
    assert not share_customers(hit, other, 100_000)
    assert share_customers(hit, ints(range(30, 260)), 100_000)


# --- causes ---


def opened(settings: Config, minute: Minute, *found: tuple[str, str, dict[str, str]]) -> World:
    world = World(settings)
    world.go(minute)
    at = world.window_ms
    world.go(None, *(anomaly(id, name, where, at, phase=Phase.OPENED) for id, name, where in found))
    return world


def test_a_cause_of_three_dimensions_joins_the_pair_that_holds_it() -> None:
    three = {"bank": "BNI", "method": "va", "app": "4.0"}
    world = opened(settings_with(CARD), Minute(), ("a", "card", {"bank": "BNI", "method": "va"}), ("b", "card", three))
    assert list(world.store.cases) == ["a"]
    across = opened(
        settings_with(CARD), Minute(), ("a", "payment", {"bank": "BNI", "app": "4.0"}), ("b", "card", three)
    )
    assert list(across.store.cases) == ["b"]  # `card` comes before `payment`
    other = opened(settings_with(CARD), Minute(), ("a", "payment", {"bank": "BCA", "app": "4.1"}), ("b", "card", three))
    assert sorted(other.store.cases) == ["a", "b"]


def test_a_campaign_that_lifts_volumes_joins_nothing() -> None:
    """It names everybody who came: who fails is among them, as is who fails ordinarily."""
    came = range(1, 900)
    bad = fails("pages", came, ("5.2",)) | {
        "payment": [(c, ("BNI", "4.0"), 1000) for c in range(1, 60)]
        + [(c, ("BCA", "4.1"), 1000) for c in range(100, 140)]
    }
    found: tuple[tuple[str, str, dict[str, str]], ...] = (("a", "pages", {}), ("b", "payment", {"bank": "BNI"}))
    assert sorted(opened(settings_with(PAGES), Minute(bad=bad), *found).store.cases) == ["a", "b"]
    nobody_else = {"pages": bad["pages"], "payment": bad["payment"][:59]}
    assert sorted(opened(settings_with(PAGES), Minute(bad=nobody_else), *found).store.cases) == ["a", "b"]


# --- time ---


def test_a_relapse_of_one_of_two_joined_anomalies_is_the_same_case() -> None:
    bad = fails("login", range(1, 40), LOGIN_CELLS[0]) | fails("payment", range(1, 40), PAYMENT_CELLS[0])
    world = opened(config(), Minute(bad=bad), ("a", "login", {"provider": "Karta"}), ("b", "payment", {"bank": "BNI"}))
    end = world.window_ms
    back = {
        name: [(c, cell, 1) for c in range(1, 40)]
        for name, cell in (("login", LOGIN_CELLS[0]), ("payment", PAYMENT_CELLS[0]))
    }
    world.go(
        Minute(back=back),
        anomaly("a", "login", {"provider": "Karta"}, world.window_ms, phase=Phase.RECOVERING, ended_ms=end),
        anomaly("b", "payment", {"bank": "BNI"}, world.window_ms, phase=Phase.RECOVERING, ended_ms=end),
    )
    assert world.store.cases["a"].state.value == "recovering"
    world.go(
        Minute(bad=fails("payment", range(50, 60), PAYMENT_CELLS[0])),
        anomaly("a", "login", {"provider": "Karta"}, world.window_ms, phase=Phase.RECOVERING, ended_ms=end),
        anomaly("b", "payment", {"bank": "BNI"}, world.window_ms, phase=Phase.RELAPSED),
    )
    case = world.store.cases["a"]
    assert (list(world.store.cases), case.state.value, case.episode) == (["a"], "open", 1)
    assert world.store.story("a")[-2:] == ["relapsed", "notices"]
    assert 55 in world.store.listed("a")


def test_two_that_come_back_together_are_the_case_that_they_were() -> None:
    world = opened(config(), Minute(), ("a", "login", {"provider": "Karta"}))
    world.go(
        None, anomaly("a", "login", {"provider": "Karta"}, world.window_ms, phase=Phase.ENDED, ended_ms=world.window_ms)
    )
    world.rest(61)
    assert world.store.cases["a"].state.value == "resolved"
    onset = world.window_ms
    world.go(
        None,
        anomaly("b", "login", {"provider": "Karta", "app": "5.2"}, world.window_ms, phase=Phase.OPENED, onset_ms=onset),
        anomaly("c", "payment", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED, onset_ms=onset),
    )
    case = world.store.cases["a"]
    assert (list(world.store.cases), case.episode, case.anomalies) == (["a"], 2, ("a", "b", "c"))
    assert [t.detail for t in world.store.timeline if t.what == "joined"] == ["payment: cause"]


# --- order ---

Planted = tuple[str, dict[str, str], frozenset[int]]


def cell_of(name: str, where: dict[str, str]) -> Cell:
    dimensions = {"login": ("app", "provider"), "payment": ("bank", "app"), "checkout": ("app",)}[name]
    return tuple(where.get(d, "rest") for d in dimensions)


def cases_of(problems: Sequence[Planted], ids: Sequence[str], order: Sequence[int]) -> set[frozenset[int]]:
    """Which of these become one case, when they come in this order under these ids in one window."""
    world = World()
    bad: dict[str, list[Happening]] = {}
    for i, (name, where, people) in enumerate(problems):
        bad.setdefault(name, []).extend((c, cell_of(name, where), 1000 + i) for c in sorted(people))
    world.go(Minute(bad=bad))
    found = [
        anomaly(ids[i], problems[i][0], problems[i][1], world.window_ms, phase=Phase.OPENED, trials=200) for i in order
    ]
    world.go(None, *found)
    return {frozenset(ids.index(a) for a in case.anomalies) for case in world.store.cases.values()}


groups = st.sampled_from([(1, 30), (10, 40), (25, 60), (50, 90), (100, 120)])
problems = st.sampled_from(
    [
        ("login", {"app": "5.2"}),
        ("login", {"app": "5.2", "provider": "Karta"}),
        ("login", {"provider": "Lain"}),
        ("login", {}),
        ("payment", {"bank": "BNI"}),
        ("payment", {"bank": "BCA", "app": "4.0"}),
        ("payment", {"app": "5.2"}),
        ("checkout", {"app": "4.0"}),
    ]
)
planted_problems = st.lists(
    st.builds(lambda p, g: (p[0], p[1], frozenset(range(*g))), problems, groups),
    min_size=2,
    max_size=4,
    unique_by=lambda p: (p[0], tuple(sorted(p[1].items()))),
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(planted_problems)
def test_neither_order_nor_names_of_anomalies_change_which_cases_there_are(problems: list[Planted]) -> None:
    n = len(problems)
    first = cases_of(problems, "abcd"[:n], range(n))
    for order in list(permutations(range(n)))[1::4]:
        assert cases_of(problems, "abcd"[:n], order) == first
        assert cases_of(problems, ["abcd"[i] for i in order], range(n)) == first


def test_one_that_hangs_together_with_the_second_only_joins_too() -> None:
    """The first and the third share nobody; the second shares people with both."""
    chain: list[Planted] = [
        ("login", {"provider": "Karta"}, frozenset(range(1, 40))),
        ("payment", {"bank": "BNI"}, frozenset(range(10, 70))),
        ("login", {"provider": "Lain"}, frozenset(range(45, 75))),
    ]
    for ids in permutations("abc"):
        assert cases_of(chain, ids, (2, 0, 1)) == {frozenset({0, 1, 2})}
