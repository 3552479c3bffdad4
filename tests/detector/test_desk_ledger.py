"""Who was hit: membership, states, withdrawal, contacts, probability."""

from time import perf_counter

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import MINUTE_MS
from detector.desk.desk import Desk
from detector.desk.ledger import Ledger
from detector.desk.probability import Points, by_window, probability
from detector.desk.records import CustomerState, Grade, Loss
from detector.watch.anomaly import Phase
from tests.detector.desk_world import T0, Happening, Minute, World, anomaly, config, fails, ints, losing, point

CELL = ("5.2", "Karta")
OTHER = ("4.0", "Karta")
WHERE = {"app": "5.2", "provider": "Karta"}


def opened(*minutes: Minute, onset_ms: int = T0) -> World:
    world = World()
    for minute in minutes:
        world.go(minute)
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED, onset_ms=onset_ms))
    return world


def revise(world: World, minute: Minute | None = None, **changes: object) -> None:
    settings: dict[str, object] = {"where": WHERE, "onset_ms": T0, **changes}
    where = settings.pop("where")
    world.go(minute, anomaly("a", "login", where, world.window_ms, **settings))  # type: ignore[arg-type]


def test_everyone_who_failed_in_the_cause_since_the_onset_is_listed() -> None:
    world = opened(
        Minute(bad=fails("login", [1], CELL)),  # before the onset
        Minute(bad={"login": [(2, CELL, 0), (3, OTHER, 5), (0, CELL, 9)], "payment": [(4, ("BNI", "5.2"), 9)]}),
        onset_ms=T0 + MINUTE_MS,
    )
    assert sorted(world.store.listed("a")) == [2]


def test_the_ledger_goes_on_while_the_case_is_open() -> None:
    world = opened(Minute(bad=fails("login", [1], CELL)))
    world.go(Minute(bad=fails("login", [1, 2], CELL)))
    rows = world.store.listed("a")
    assert (rows[1].tries, rows[1].state) == (2, CustomerState.STILL_FAILING)
    assert (rows[1].first_failure_ms, rows[1].last_failure_ms) == (T0 + 1000, T0 + 2 * MINUTE_MS + 1000)
    assert (rows[2].tries, rows[2].state) == (1, CustomerState.HIT)


def test_only_changed_rows_are_given_out() -> None:
    world = opened(Minute(bad=fails("login", range(1, 100), CELL)))
    assert world.go().ledger == []
    assert [r.customer for r in world.go(Minute(back={"login": [(7, OTHER, 0)]})).ledger] == [7]


def test_a_success_after_the_last_failure_is_a_recovery_in_any_cell() -> None:
    world = opened(
        Minute(bad=fails("login", [1, 2, 3], CELL, at=1000)),
        Minute(back={"login": [(1, OTHER, 500), (2, CELL, 500)]}),
        Minute(bad=fails("login", [2], CELL)),
    )
    rows = world.store.listed("a")
    assert {c: r.state for c, r in rows.items()} == {
        1: CustomerState.RECOVERED,
        2: CustomerState.STILL_FAILING,
        3: CustomerState.HIT,
    }
    assert rows[1].last_success_ms == T0 + MINUTE_MS + 500
    assert world.store.cases["a"].affected is not None
    assert world.store.cases["a"].affected.recovered == 1


def test_a_success_in_another_signal_is_no_recovery() -> None:
    world = World()
    both = fails("login", range(1, 30), CELL) | fails("payment", range(1, 30), ("BNI", "5.2"), at=2000)
    world.go(Minute(bad=both))
    world.go(
        Minute(back={"payment": [(1, ("BNI", "5.2"), 0)]}),
        anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED),
        anomaly("b", "payment", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED),
    )
    assert list(world.store.cases) == ["a"]
    assert world.store.listed("a")[1].state is CustomerState.STILL_FAILING
    world.go(Minute(back={"login": [(1, OTHER, 0)]}))
    assert world.store.listed("a")[1].state is CustomerState.RECOVERED


def test_rows_outside_a_revised_cause_are_withdrawn_and_keep_what_they_showed() -> None:
    world = World()
    world.go(Minute(bad={"login": [(1, CELL, 0), (2, OTHER, 0), (2, OTHER, 9)]}))
    world.go(None, anomaly("a", "login", {"provider": "Karta"}, world.window_ms, phase=Phase.OPENED))
    assert sorted(world.store.listed("a")) == [1, 2]
    revise(world)
    row = world.store.ledger["a", 2]
    assert (row.withdrawn, row.tries, row.first_failure_ms) == (True, 2, T0)
    affected = world.store.cases["a"].affected
    assert affected is not None and affected.confirmed + affected.likely == 1
    assert "cause-revised" in world.store.story("a")
    world.go(Minute(bad=fails("login", [2], CELL)))
    row = world.store.ledger["a", 2]
    assert (row.withdrawn, row.tries, row.first_failure_ms) == (False, 1, T0 + 3 * MINUTE_MS + 1000)


def test_a_wider_cause_and_an_earlier_onset_bring_in_the_past() -> None:
    world = opened(
        Minute(bad={"login": [(1, CELL, 0), (2, OTHER, 0)]}),
        Minute(bad={"login": [(3, CELL, 0), (4, OTHER, 0)]}),
        onset_ms=T0 + MINUTE_MS,
    )
    assert sorted(world.store.listed("a")) == [3]
    revise(world, where={"provider": "Karta"}, onset_ms=T0 + MINUTE_MS)
    assert sorted(world.store.listed("a")) == [3, 4]
    revise(world, where={"provider": "Karta"}, onset_ms=T0)
    assert sorted(world.store.listed("a")) == [1, 2, 3, 4]


def test_a_provisional_end_withdraws_and_a_relapse_brings_back() -> None:
    world = opened(Minute(bad=fails("login", [1], CELL)), Minute(bad=fails("login", [2], CELL)))
    revise(world, phase=Phase.RECOVERING, ended_ms=T0 + MINUTE_MS)
    assert sorted(world.store.listed("a")) == [1]
    world.go(Minute(bad=fails("login", [3], CELL)))
    assert sorted(world.store.listed("a")) == [1]
    revise(world, phase=Phase.RELAPSED)
    assert sorted(world.store.listed("a")) == [1, 2, 3]


def test_the_first_contact_is_the_first_after_a_failure_of_their_own() -> None:
    world = opened(
        Minute(bad=fails("login", [1], CELL), contacts=[(2, 100), (3, 200)]),
        Minute(bad=fails("login", [2, 3], CELL)),
        Minute(contacts=[(2, 30_000)]),
    )
    case = world.store.cases["a"]
    assert (case.contacts, case.first_contact_ms) == (2, T0 + 2 * 60_000 + 30_000)
    assert world.store.listed("a")[2].contact_ms == T0 + 100


def test_contacts_since_the_onset_are_linked_whenever_they_came() -> None:
    world = opened(
        Minute(bad=fails("login", [1], CELL), contacts=[(1, 500), (2, 700), (9, 1), (0, 2)]),
        Minute(bad=fails("login", [2], CELL)),
    )
    assert {c: r.contact_ms for c, r in world.store.listed("a").items()} == {1: T0 + 500, 2: T0 + 700}
    world.go(Minute(contacts=[(1, 0), (2, 0)]))
    case = world.store.cases["a"]
    assert (case.contacts, world.store.listed("a")[1].contact_ms) == (2, T0 + 500)
    assert "first-contact" in world.store.story("a")


def test_partitions_of_one_window_are_taken_together() -> None:
    world = World()
    one = Minute(back={"login": [(1, CELL, 50_000)]}).record(world.window_ms)
    world.records.all.append(one)  # the success stands in a partition that comes before the failure's
    world.go(Minute(bad=fails("login", [1], CELL)))
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED))
    assert world.store.listed("a")[1].state is CustomerState.RECOVERED


# --- probability ---


def test_probability_is_one_minus_expected_over_observed() -> None:
    points = Points(ints([0]), ints([40]), np.array([10.0]), np.ones(1))
    assert probability(points, ints([5])).tolist() == [0.75]


def test_the_kernel_grows_until_thirty_are_observed() -> None:
    observed = np.full(100, 1)
    observed[:50] = 0
    ordinary = by_window(Points(np.arange(100), observed, np.full(100, 0.5), np.ones(100)))
    assert ordinary[75] == 0.5
    assert ordinary[0] == 1.0


def test_dense_windows_use_eleven_windows_only() -> None:
    observed, expected = np.full(40, 100), np.full(40, 100.0)
    observed[20:] = 400
    ordinary = by_window(Points(np.arange(40), observed, expected, np.ones(40)))
    assert (ordinary[:15] == 1).all()
    assert (ordinary[25:] == 0.25).all()


def test_where_many_fail_anyway_a_failure_is_less_likely_the_problems() -> None:
    points = Points(ints([0]), ints([40]), np.array([20.0]), np.ones(1))
    often, seldom = probability(points, ints([5, 5]), np.array([3.0, 0.2])).tolist()
    assert often == 0.25
    assert seldom == 0.8333


def test_where_the_problem_may_not_have_begun_that_doubt_is_a_factor() -> None:
    points = Points(ints([0, 10]), ints([40, 40]), np.array([10.0, 10.0]), np.array([0.5, 1.0]))
    assert probability(points, ints([5, 15])).tolist() == [0.375, 0.75]


def test_without_points_nothing_is_confirmed() -> None:
    none = Points.none()
    assert probability(none, ints([1, 2])).tolist() == [0.0, 0.0]


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 50)), min_size=1, max_size=60))
def test_probability_is_a_share_below_one(values: list[tuple[int, float]]) -> None:
    observed, expected = ints(o for o, _ in values), np.array([e for _, e in values])
    windows = np.arange(len(values))
    got = probability(Points(windows, observed, expected, np.ones(len(values))), windows, np.full(len(values), 0.1))
    assert ((got >= 0) & (got < 1)).all()


def test_retries_within_half_an_hour_are_no_evidence() -> None:
    """The first failure came when nearly all were ordinary; the retry in the worst minute does not raise it."""
    quiet, bad = [point(T0 + i * MINUTE_MS, 40, 40.0) for i in range(12)], 400
    loud = [point(T0 + i * MINUTE_MS, bad, 40.0) for i in range(12, 26)]
    world = World()
    for i in range(26):
        happened: list[Happening] = [(1, CELL, 0)] if i in (0, 25) else []
        world.go(Minute(bad={"login": [*happened, (100 + i, CELL, 0)]}))
    start = anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED, points=[*quiet, *loud], rewrite=True)
    world.go(None, start)
    rows = world.store.listed("a")
    assert (rows[1].tries, rows[1].probability, rows[1].grade) == (2, 0.0, Grade.LIKELY)
    assert (rows[125].probability, rows[125].grade) == (0.9, Grade.CONFIRMED)


def test_a_failure_half_an_hour_later_is_evidence_again() -> None:
    world = World()
    for i in range(31):
        world.go(Minute(bad={"login": [(1, CELL, 0)] if i in (0, 30) else []}))
    points = [point(T0 + i * MINUTE_MS, 40, 40.0 if i < 20 else 4.0) for i in range(31)]
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED, points=points))
    assert world.store.listed("a")[1].probability == 0.9


# --- what they lose ---


def losers(*minutes: Minute, names: tuple[str, ...] = ("login",)) -> World:
    world = World(losing(config(), *names))
    for minute in minutes:
        world.go(minute)
    points = [point(T0 + i * MINUTE_MS, 40, 1.0) for i in range(len(minutes))]
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED, points=points))
    return world


def test_a_customers_loss_is_their_largest_failed_try_and_a_retry_no_second_one() -> None:
    world = losers(
        Minute(bad={"login": [(1, CELL, 300), (1, CELL, 700), (2, CELL, 50), (3, OTHER, 9_000)]}),
        Minute(bad={"login": [(1, CELL, 700), (2, CELL, 0)]}),
    )
    rows = world.store.listed("a")
    assert {c: r.loss_milli for c, r in rows.items()} == {1: 700, 2: 50}
    assert world.store.cases["a"].loss == Loss(750, "IDR", 2)
    (changed,) = world.go(Minute(bad={"login": [(2, CELL, 900)]})).ledger
    assert (changed.customer, changed.loss_milli) == (2, 900)
    assert world.store.cases["a"].loss == Loss(1_600, "IDR", 2)


def test_a_case_adds_up_its_confirmed_customers_only() -> None:
    world = losers(Minute(bad={"login": [(1, CELL, 300), (2, CELL, 40)]}))
    points = [point(T0, 2, 1.6)]
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, points=points, rewrite=True))
    assert {r.grade for r in world.store.listed("a").values()} == {Grade.LIKELY}
    assert world.store.cases["a"].loss == Loss(0, "IDR", 2)


def test_who_is_withdrawn_keeps_the_loss_that_they_showed_and_begins_anew_when_hit_again() -> None:
    world = losers(Minute(bad={"login": [(1, CELL, 300), (2, ("5.2", "Lain"), 40)]}))
    revise(world, where={"app": "5.2"})
    assert world.store.listed("a")[2].loss_milli == 40
    revise(world)
    row = world.store.ledger["a", 2]
    assert (row.withdrawn, row.loss_milli) == (True, 40)
    world.go(Minute(bad={"login": [(2, CELL, 7)]}))
    assert world.store.ledger["a", 2].loss_milli == 7


def test_over_several_signals_the_largest_counts_and_the_unit_stays_when_no_signal_names_it_any_more() -> None:
    both = {
        "login": [(c, CELL, 300) for c in range(1, 30)],
        "payment": [(c, ("BNI", "5.2"), 800) for c in range(1, 30)],
    }
    world = losers(Minute(bad=both), names=("login", "payment"))
    world.go(None, anomaly("b", "payment", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED))
    assert set(world.store.cases) == {"a"}
    assert {r.loss_milli for r in world.store.listed("a").values()} == {800}
    data = world.desk.snapshot()
    world.desk = Desk(config())
    world.desk.restore(data)
    world.go(Minute(bad=fails("login", [40], CELL)))
    loss = world.store.cases["a"].loss
    assert loss is not msgspec.UNSET and (loss.milli > 0, loss.unit) == (True, "IDR")


def test_where_no_signal_names_a_loss_neither_the_case_nor_the_snapshot_speaks_of_one() -> None:
    world = opened(Minute(bad=fails("login", range(1, 9), CELL)))
    assert b"loss" not in world.desk.snapshot()
    assert b"loss" not in msgspec.json.encode(world.store.cases["a"])


# --- the two ways to the same rows ---

EVENTS = st.lists(
    st.tuples(
        st.integers(0, 11),  # minute
        st.integers(0, 5),  # customer
        st.sampled_from([CELL, OTHER]),
        st.integers(0, MINUTE_MS - 1),
        st.sampled_from(["bad", "back", "contact"]),
    ),
    max_size=40,
)


@pytest.mark.slow
@given(EVENTS, st.integers(1, 11))
def test_window_by_window_gives_the_same_rows_as_all_at_once(
    events: list[tuple[int, int, tuple[str, str], int, str]], first: int
) -> None:
    minutes = []
    for i in range(12):
        mine = [e for e in events if e[0] == i]
        minutes.append(
            Minute(
                bad={"login": [(c, cell, at) for _, c, cell, at, what in mine if what == "bad"]},
                back={"login": [(c, cell, at) for _, c, cell, at, what in mine if what == "back"]},
                contacts=[(c, at) for _, c, _, at, what in mine if what == "contact"],
            )
        )
    stepwise, at_once = losers(*minutes[:first]), losers(*minutes[:first])
    for minute in minutes[first:]:
        stepwise.go(minute)
        at_once.records.all.append(minute.record(at_once.window_ms, at_once.losing))
        at_once.minute += 1
    last = anomaly("a", "login", WHERE, at_once.window_ms, points=[])
    stepwise.go(None, last)
    at_once.go(None, last)
    assert rows_of(stepwise) == rows_of(at_once) == rebuilt(stepwise)


def rows_of(world: World) -> list[tuple[int, ...]]:
    return rows_in(world.desk._state.files["a"].ledger)


def rows_in(ledger: Ledger) -> list[tuple[int, ...]]:
    lost = ledger["loss_milli"] if "loss_milli" in ledger.columns else np.zeros(ledger.n, np.int64)
    shown = np.column_stack((ledger["customer"], ledger.visible(), lost * ledger.active))
    return sorted(tuple(r) for r in shown.tolist())


def rebuilt(world: World) -> list[tuple[int, ...]]:
    file = world.desk._state.files["a"]
    fresh = Ledger()
    fresh.rebuild(world.records.windows(0, 2**60), file.strands, 2**60, 30 * MINUTE_MS)
    fresh.weigh(file.strands)
    return rows_in(fresh)


@pytest.mark.slow
def test_a_hundred_thousand_affected_take_seconds_not_minutes() -> None:
    world = World()
    for i in range(10):
        world.go(Minute(bad=fails("login", range(1 + 10_000 * i, 10_001 + 10_000 * i), CELL)))
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED))
    began = perf_counter()
    for i in range(10):
        world.go(Minute(bad=fails("login", range(1 + 100 * i, 101 + 100 * i), CELL)))
    assert perf_counter() - began < 10
    assert len(world.store.listed("a")) == 100_000
