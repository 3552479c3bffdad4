"""The feed: each change of a case, a customer or a notice is told once, in the transaction that stores it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from detector.desk.records import Affected, Case, CaseState, CustomerState, DeskEffects, LedgerRow, Notice, NoticeState
from detector.errors import FencedError
from detector.pipeline import Effects
from detector.signals import Mode, Severity
from streams.store import RECORDING, Advance, Commit, Store, open_store, queries
from streams.store import tables as t
from streams.store.feeding import Before, derive
from streams.store.feedtypes import TYPES
from tests.servers.stores import new_store
from tests.streams.feed_rows import NOW_MS, a_case, a_notice, a_row, commit, effects
from tests.streams.shop import Shop
from tests.streams.test_embedded_live import END_MS, World, follow

S, C = CaseState, CustomerState
NOTHING = Before({}, {}, {})


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with new_store(db) as store:
        store.claim_mode("live")
        yield store


def told(store: Store) -> list[tuple[int, str, dict[str, Any]]]:
    with store.reading() as connection:
        found = connection.execute(sa.select(t.feed).order_by(t.feed.c.seq))
        return [(row.seq, row.type, json.loads(row.data)) for row in found]


def types(store: Store) -> list[str]:
    return [name for _, name, _ in told(store)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([a_case()], ["case.opened"], id="a new case"),
        pytest.param([a_case(), a_case()], ["case.opened"], id="the same row twice"),
        pytest.param([a_case(), a_case(severity=Severity.LOW)], ["case.opened", "case.updated"], id="then changed"),
        pytest.param(
            [a_case(), a_case(observed=5), a_case(observed=6)], ["case.opened", "case.updated"], id="changed twice"
        ),
        pytest.param(
            [a_case(), a_case(observed=5), a_case(observed=0)], ["case.opened"], id="changed and back in one commit"
        ),
        pytest.param(
            [a_case(), a_case(observed=5), a_case(observed=5, state=S.RECOVERING)],
            ["case.opened", "case.recovering"],
            id="a transition tells the numbers too",
        ),
        pytest.param(
            [a_case(), a_case(state=S.ACKNOWLEDGED, acknowledged_ms=NOW_MS)],
            ["case.opened", "case.acknowledged"],
            id="acknowledged",
        ),
        pytest.param(
            [a_case(), a_case(state=S.RECOVERING), a_case(state=S.RECOVERING, acknowledged_ms=NOW_MS)],
            ["case.opened", "case.recovering", "case.acknowledged"],
            id="acknowledged while it recovers",
        ),
        pytest.param(
            [a_case(), a_case(state=S.RECOVERING), a_case()],
            ["case.opened", "case.recovering", "case.updated"],
            id="a relapse is an update",
        ),
        pytest.param(
            [a_case(state=S.ACKNOWLEDGED, acknowledged_ms=1), a_case(state=S.RECOVERING, acknowledged_ms=1)],
            ["case.opened", "case.acknowledged", "case.recovering"],
            id="acknowledged when it was first given out",
        ),
        pytest.param(
            [a_case(), a_case(state=S.RESOLVED), a_case(episode=2)],
            ["case.opened", "case.reopened", "case.resolved"],
            id="ends stand last",
        ),
        pytest.param([a_case(), a_case(state=S.DISMISSED)], ["case.opened", "case.dismissed"], id="dismissed"),
        pytest.param(
            [a_case(), a_case("other"), a_case(state=S.MERGED, merged_into="other")],
            ["case.opened", "case.opened", "case.merged"],
            id="merged",
        ),
    ],
)
def test_a_cases_events_follow_from_how_its_row_changes(rows: list[Case], expected: list[str]) -> None:
    assert [one.type.name for one in derive(effects(*rows), NOTHING)] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param([C.HIT], ["customer.affected"], id="found"),
        pytest.param([C.STILL_FAILING, C.STILL_FAILING], ["customer.affected"], id="more failures"),
        pytest.param([C.HIT, C.RECOVERED], ["customer.affected", "customer.recovered"], id="recovered"),
        pytest.param([C.RECOVERED], ["customer.affected", "customer.recovered"], id="found when they had recovered"),
        pytest.param(
            [C.HIT, C.RECOVERED, C.STILL_FAILING],
            ["customer.affected", "customer.recovered", "customer.affected"],
            id="fails again",
        ),
        pytest.param([C.HIT, None], ["customer.affected", "customer.withdrawn"], id="withdrawn"),
        pytest.param([None], [], id="withdrawn before they were told of"),
        pytest.param([C.HIT, None, C.HIT], ["customer.affected", "customer.withdrawn", "customer.affected"], id="back"),
    ],
)
def test_a_customers_events_are_the_same_in_one_commit_and_in_several(
    store: Store, states: list[CustomerState | None], expected: list[str]
) -> None:
    rows = [a_row(7, withdrawn=state is None, state=state or C.HIT) for state in states]
    together = derive(effects(a_case(), *rows), NOTHING)
    assert [one.type.name for one in together] == ["case.opened", *expected]
    commit(store, a_case())
    for row in rows:
        commit(store, row)
    assert types(store) == ["case.opened", *expected]


def test_of_a_shadow_case_nobody_is_named(store: Store) -> None:
    commit(store, a_case(mode=Mode.SHADOW), a_row(7))
    commit(store, a_row(7, state=C.RECOVERED))
    assert types(store) == ["case.opened"]


def test_a_notice_is_told_once_something_came_of_it(store: Store) -> None:
    commit(store, a_case(), a_notice(7, NoticeState.QUEUED), a_notice(8, NoticeState.SIMULATED, id="n2"))
    commit(store, a_notice(7, NoticeState.SENT))
    commit(store, a_notice(7, NoticeState.SENT))
    commit(store, a_notice(9, NoticeState.FAILED, id="n3", reason="hard-bounce"))
    assert [(name, data.get("reason")) for _, name, data in told(store)][1:] == [
        ("notice.sent", ""),
        ("notice.failed", "hard-bounce"),
    ]


def test_within_a_commit_the_opening_stands_before_the_customers_and_the_end_after_them(store: Store) -> None:
    commit(store, a_case(), a_row(7), a_row(7, state=C.RECOVERED), a_case(state=S.RESOLVED))
    assert types(store) == ["case.opened", "customer.affected", "customer.recovered", "case.resolved"]


def test_numbers_have_no_gap_and_a_recording_tells_nothing(store: Store, tmp_path: Path) -> None:
    for i in range(3):
        commit(store, a_case(f"case-{i}"), a_row(i + 1, f"case-{i}"))
    assert [seq for seq, _, _ in told(store)] == [1, 2, 3, 4, 5, 6]
    with new_store(tmp_path / "recording.db") as recording:
        recording.claim_mode(RECORDING)
        commit(recording, a_case(), a_row(1))
        assert told(recording) == []


def test_a_commit_that_fails_tells_nothing(store: Store) -> None:
    commit(store, a_case())
    with pytest.raises(FencedError):
        store.commit(Effects(desk=effects(a_case("case-2"))), Commit(advances=[Advance("file", 5, 6)]))
    commit(store, a_case("case-3"))
    assert [(seq, data["id"]) for seq, _, data in told(store)] == [(1, "case-1"), (2, "case-3")]


def test_the_feed_holds_no_customers_id(store: Store) -> None:
    commit(store, a_case(), a_row(7), a_notice(7, NoticeState.SENT))
    assert [data["customer"] for _, _, data in told(store)[1:]] == [7, 7]


def test_an_event_has_every_field_of_its_type(store: Store) -> None:
    commit(store, a_case(affected=None), a_row(7), a_notice(7, NoticeState.SENT))
    by_name = {kind.name: kind.data for kind in TYPES}
    for _, name, data in told(store):
        assert set(data) == set(by_name[name].__struct_fields__)
        assert data["version"] == 1


def test_a_case_with_much_to_say_stays_below_20_kb() -> None:
    from detector.watch.anomaly import Cause

    causes = tuple(Cause({"bank": f"Bank {i}" * 5, "city": f"City {i}" * 5}, 0.1, 0.1) for i in range(500))
    (one,) = derive(effects(a_case(causes=causes)), NOTHING)
    assert len(msgspec.json.encode(one.data)) < 20_000


@st.composite
def histories(draw: st.DrawFn) -> list[list[LedgerRow]]:
    one = st.builds(
        lambda who, state, gone: a_row(who, state=state, withdrawn=gone),
        st.integers(1, 3),
        st.sampled_from(C),
        st.booleans(),
    )
    return draw(st.lists(st.lists(one, max_size=5), max_size=6))


@given(histories())
def test_whoever_follows_the_events_knows_who_is_affected_and_who_has_recovered(steps: list[list[LedgerRow]]) -> None:
    case, known = a_case(affected=Affected()), dict[tuple[str, int], CustomerState | None]()
    follower: dict[object, str] = {}
    for rows in steps:
        for one in derive(DeskEffects(ledger=rows), Before({case.id: case}, dict(known), {})):
            data = msgspec.to_builtins(one.data)
            if one.type.name == "customer.withdrawn":
                del follower[data["customer"]]
            elif one.type.name == "customer.recovered":
                assert follower[data["customer"]] == "affected"
                follower[data["customer"]] = "recovered"
            else:
                assert follower.get(data["customer"]) != "affected"
                follower[data["customer"]] = "affected"
        known.update({(row.case, row.customer): None if row.withdrawn else row.state for row in rows})
    expected = {
        who: "recovered" if state is C.RECOVERED else "affected"
        for (_, who), state in known.items()
        if state is not None
    }
    assert follower == expected


@pytest.mark.slow
def test_after_a_live_run_whoever_read_the_feed_knows_what_the_store_knows(shop: Shop, tmp_path: Path) -> None:
    follow(tmp_path / "live.db", World(tmp_path / "log.ndjson", until_ms=END_MS), shop.run())
    with open_store(tmp_path / "live.db") as store:
        cases: dict[str, str] = {}
        customers: dict[tuple[str, int], str] = {}
        for _, name, data in told(store):
            if name.startswith("case."):
                assert (name == "case.opened") is (data["id"] not in cases)
                cases[data["id"]] = data["state"]
            elif name == "customer.withdrawn":
                del customers[data["case"], data["customer"]]
            else:
                customers[data["case"], data["customer"]] = name
        assert cases == {case.id: case.state for case in queries.list_cases(store, finished=True)}
        assert cases
        listed = {(case, row.customer): row.state for case in cases for row in queries.ledger(store, case)}
        assert {key: name == "customer.recovered" for key, name in customers.items()} == {
            key: state is C.RECOVERED for key, state in listed.items()
        }


@pytest.mark.slow
def test_a_hundred_thousand_customers_are_told_in_one_commit(store: Store) -> None:
    rows: list[LedgerRow | Notice] = [a_row(i + 1) for i in range(100_000)]
    commit(store, a_case(), *rows)
    commit(store, *(msgspec.structs.replace(row, state=C.RECOVERED) for row in rows if isinstance(row, LedgerRow)))
    counted = "SELECT type, count(*), min(seq), max(seq) FROM feed GROUP BY type ORDER BY type"
    with store.reading() as connection:
        found = connection.execute(sa.text(counted)).all()
    assert found == [
        ("case.opened", 1, 1, 1),
        ("customer.affected", 100_000, 2, 100_001),
        ("customer.recovered", 100_000, 100_002, 200_001),
    ]
