"""A joint signal: what its window is made of, and that restarts and the cutting of the input do not show."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import MINUTE_MS, Input
from detector.counter.joint import Joint
from detector.counter.record import SignalWindow
from detector.errors import ConfigError
from detector.pack import pack, unpack
from detector.signals import Signal, parse_signals

LOGIN: dict[str, Any] = {
    "title": {"en": "Login fails"},
    "measure": "share",
    "events": {"kind": "login"},
    "bad": {"outcome": "failure"},
    "dimensions": ["app_version", "city"],
}
PAYMENT = LOGIN | {"events": {"kind": "payment"}, "dimensions": ["city", "bank"]}
JOINT: dict[str, Any] = {
    "title": {"en": "Things fail"},
    "measure": "joint",
    "signals": ["logins", "payments"],
}
COUNT: dict[str, Any] = {"title": {"en": "Silence"}, "events": {"kind": "checkout"}, "measure": "count"}


def parse(**more: Any) -> dict[str, Signal]:
    document = {"signals": {"logins": LOGIN, "payments": PAYMENT, "both": JOINT} | more}
    return {signal.name: signal for signal in parse_signals(document)}


def complaint(**more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(**more)
    return str(caught.value)


def joint(**more: Any) -> Joint:
    signals = parse(**more)
    both = signals["both"]
    return Joint(both, tuple(signals[name] for name in both.signals), Input())


Row = tuple[int, int, int]
"""Customer, cell, moment."""


def window(
    cells: Sequence[tuple[str, ...]], bad: list[Row], good: int = 0, back: list[Row] | None = None
) -> SignalWindow:
    """A part's window in which every failure is evidence and each cell has so many successes."""
    failures = np.array(bad, np.int64).reshape(-1, 3).T
    recoveries = np.array(back or [], np.int64).reshape(-1, 3).T
    people = np.bincount(failures[1], minlength=len(cells)).astype(np.int64)
    return SignalWindow(
        cells=list(cells),
        people=people,
        total=people + good,
        attempts=people.copy(),
        bad_customer=failures[0],
        bad_cell=failures[1],
        bad_time_ms=failures[2],
        back_customer=recoveries[0],
        back_cell=recoveries[1],
        back_time_ms=recoveries[2],
    )


def test_its_dimensions_are_the_part_and_what_all_parts_have() -> None:
    assert parse()["both"].dimensions == ("signal", "city")
    assert parse(both=JOINT | {"dimensions": ["city"]})["both"].dimensions == ("signal", "city")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param(
            {"both": JOINT | {"signals": ["logins", "paiments"]}},
            'signals.both.signals[1]: expected another signal (logins or payments), found "paiments"'
            ' (did you mean "payments"?)',
            id="unknown",
        ),
        pytest.param(
            {"both": JOINT | {"signals": ["logins"]}}, "2 to 8 signals, each once, found 1 different of 1", id="one"
        ),
        pytest.param(
            {"both": JOINT | {"signals": ["logins", "stopped"]}, "stopped": COUNT},
            'found "stopped", which has no bad events',
            id="a count",
        ),
        pytest.param(
            {"payments": PAYMENT | {"count_by": "attempts"}}, "a signal that counts people as well", id="attempts"
        ),
        pytest.param(
            {"both": JOINT | {"dimensions": ["bank"]}},
            'signals.both.dimensions[0]: expected a dimension of all its signals (city), found "bank"',
            id="not common",
        ),
        pytest.param(
            {"both": JOINT | {"events": {}}}, "signals.both.events: expected the events of its signals", id="events"
        ),
        pytest.param(
            {"both": {k: v for k, v in JOINT.items() if k != "signals"}}, "a list of signals, found nothing", id="none"
        ),
        pytest.param(
            {"both": JOINT | {"what": {"en": "{signal} try"}}},
            'signals.both.what.en: expected a dimension of the signal in braces (city), found "{signal}"',
            id="the part is no word",
        ),
        pytest.param(
            {"logins": LOGIN | {"signals": ["payments", "both"]}}, "it only with measure: joint", id="no joint"
        ),
    ],
)
def test_what_cannot_be_joined_is_said_with_its_path(more: dict[str, Any], expected: str) -> None:
    assert expected in complaint(**more)


def test_cells_are_projected_and_counted_together() -> None:
    login = window([("1", "Ambon"), ("2", "Ambon"), ("2", "Bali")], [(1, 0, 5), (2, 1, 6)], good=10)
    payment = window([("Ambon", "BNI"), ("Ambon", "BRI")], [(3, 0, 7)], good=4)
    made = joint().of({"logins": login, "payments": payment})
    assert made is not None
    assert made.cells == [("logins", "Ambon"), ("logins", "Bali"), ("payments", "Ambon")]
    assert made.people.tolist() == [2, 0, 1]
    assert made.total.tolist() == [22, 10, 9]
    assert made.bad_customer.tolist() == [1, 2, 3]


def test_a_customer_who_fails_in_two_parts_is_one_person() -> None:
    login = window([("1", "Ambon")], [(7, 0, 1000)])
    payment = window([("Ambon", "BNI")], [(7, 0, 2000), (8, 0, 3000)])
    made = joint().of({"logins": login, "payments": payment})
    assert made is not None
    assert made.people.tolist() == [1, 1]
    assert made.attempts.tolist() == [1, 2]
    assert made.total.tolist() == [1, 1]


def test_half_an_hour_later_they_are_evidence_again() -> None:
    both, cell = joint(), [("1", "Ambon")]
    said = []
    for minute in (0, 29, 30, 61):
        made = both.of({"logins": window(cell, [(7, 0, minute * MINUTE_MS)])})
        assert made is not None
        said.append(int(made.people[0]))
    assert said == [1, 0, 1, 1]


def test_who_fails_in_two_parts_has_recovered_when_through_in_both() -> None:
    both = joint()
    both.of({"logins": window([("1", "A")], [(7, 0, 1)]), "payments": window([("A", "B")], [(7, 0, 2)])})
    first = both.of({"logins": window([("1", "A")], [], 1, [(7, 0, 10)])})
    second = both.of({"payments": window([("A", "B")], [], 1, [(7, 0, 20)])})
    assert first is not None and second is not None
    assert first.back_customer.tolist() == []
    assert second.back_customer.tolist() == [7]


def test_nobody_fails_each_time_anew() -> None:
    made = joint().of({"logins": window([("1", "A")], [(0, 0, 1), (0, 0, 2)])})
    assert made is not None
    assert made.people.tolist() == [2]


def test_attempts_are_added_up() -> None:
    by = {"count_by": "attempts"}
    both = joint(logins=LOGIN | by, payments=PAYMENT | by, both=JOINT | by)
    made = both.of(
        {"logins": window([("1", "A")], [(7, 0, 1), (7, 0, 2)]), "payments": window([("A", "B")], [(7, 0, 3)])}
    )
    assert made is not None
    assert made.people.tolist() == [2, 1]


def test_nothing_in_any_part_is_no_window() -> None:
    assert joint().of({"other": window([("1",)], [])}) is None


failures = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 40 * MINUTE_MS)), max_size=6)


@pytest.mark.slow
@given(st.lists(st.tuples(failures, failures, failures), min_size=1, max_size=8), st.integers(0, 8))
def test_a_restart_at_any_cut_changes_nothing(minutes: list[tuple[list[Row], list[Row], list[Row]]], cut: int) -> None:
    cells = [("1", "A"), ("2", "B")]
    banks = [("A", "BNI"), ("B", "BRI")]
    straight, resumed = joint(), joint()
    for i, (bad, other, back) in enumerate(minutes):
        signals = {"logins": window(cells, bad, 3, back), "payments": window(banks, other, 2)}
        if i == cut:
            after = joint()
            after.restore(unpack(pack(resumed.state()), dict))
            resumed = after
        assert pack(straight.of(signals)) == pack(resumed.of(signals))
        if i == 4:
            straight.sweep(20 * MINUTE_MS)
            resumed.sweep(20 * MINUTE_MS)


@pytest.mark.slow
@given(failures)
def test_no_more_people_than_failures_and_no_fewer_trials_than_people(bad: list[Row]) -> None:
    made = joint().of({"logins": window([("1", "A"), ("2", "B")], bad, 1)})
    assert made is not None
    assert (made.people <= made.attempts).all() and (made.people <= made.total).all()
