"""Lists in pages: put together they are the whole list, whatever comes in between; and a page is not the whole list's
work.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.desk.records import (
    Affected,
    Case,
    CaseState,
    Decision,
    DeskEffects,
    Grade,
    Kind,
    LedgerRow,
    Notice,
    NoticeState,
)
from detector.desk.records import CustomerState as State
from detector.pipeline import Effects
from detector.signals import Mode, Severity
from detector.watch.anomaly import Cause
from streams.store import Store, open_store, pages
from streams.store.pages import CASE_SORTS, CaseFilter, Page
from tests.servers.stores import new_store

TENANT = "default"


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with new_store(db) as found:
        yield found


def case(number: int, **changes: object) -> Case:
    base = Case(
        tenant=TENANT,
        id=f"{number:012x}",
        mode=Mode.LIVE,
        title={"en": f"Payments are declined · bank B{number}", "id": f"Pembayaran ditolak · bank B{number}"},
        state=CaseState.OPEN,
        severity=Severity.HIGH,
        signals=("payment-declines",),
        anomalies=(f"{number:012x}",),
        onset_ms=1_000,
        detected_ms=2_000,
        opened_ms=2_000,
        causes=(Cause({"bank": f"B{number}"}, 1.0),),
        affected=Affected(confirmed=number),
    )
    return msgspec.structs.replace(base, **changes)


def written(store: Store, *cases: Case) -> None:
    store.commit(Effects(desk=DeskEffects(cases=list(cases))))


SEVERITIES = list(Severity)
CASES = st.builds(
    lambda opened, onset, severity, failing: {
        "opened_ms": opened,
        "onset_ms": onset,
        "severity": severity,
        "affected": Affected(still_failing=failing),
    },
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(SEVERITIES),
    st.integers(0, 3),
)


def key_of(found: Case, sort: str) -> tuple[int, str]:
    failing = 0 if found.affected is None else found.affected.still_failing
    rank = {Severity.LOW: 1, Severity.MEDIUM: 2, Severity.HIGH: 3, Severity.CRITICAL: 4}[found.severity]
    values = {"opened": found.opened_ms, "onset": found.onset_ms, "severity": rank, "still_failing": failing}
    return values[sort], found.id


@pytest.mark.slow
@given(
    st.lists(CASES, max_size=12),
    st.lists(st.lists(CASES, max_size=3), max_size=6),
    st.sampled_from(sorted(CASE_SORTS)),
    st.booleans(),
    st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_pages_put_together_are_the_whole_list_and_hold_once_what_was_there_whatever_comes_in(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[dict[str, object]],
    meanwhile: list[list[dict[str, object]]],
    sort: str,
    descending: bool,
    limit: int,
) -> None:
    with new_store(tmp_path_factory.mktemp("pages") / "tocsin.db") as store:
        numbers = count(1)
        first = [case(next(numbers) * 7 % 101, **changes) for changes in before]
        written(store, *first)
        listed, after, rest = list[Case](), None, list(meanwhile)
        while True:
            page = pages.case_page(store, sort=sort, descending=descending, after=after, limit=limit)
            assert len(page.items) <= limit
            listed += page.items
            if page.next is None:
                break
            after = page.next
            if rest:
                written(store, *(case(next(numbers) * 7 % 101, **changes) for changes in rest.pop(0)))
        keys = [key_of(found, sort) for found in listed]
        assert keys == sorted(set(keys), reverse=descending)
        assert {found.id for found in first} <= {found.id for found in listed}
        if not meanwhile:
            assert sorted(found.id for found in listed) == sorted(found.id for found in first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param(CaseFilter(), [1, 2, 3, 4], id="all states"),
        pytest.param(CaseFilter(states=["open", "merged"]), [1, 4], id="states"),
        pytest.param(CaseFilter(modes=["shadow"]), [2], id="mode"),
        pytest.param(CaseFilter(severities=["critical"]), [3], id="severity"),
        pytest.param(CaseFilter(signal="logins"), [2], id="signal"),
        pytest.param(CaseFilter(signal="login"), [], id="no part of a signal's name"),
        pytest.param(CaseFilter(signal="%"), [], id="no wildcard"),
        pytest.param(CaseFilter(assignee="ani"), [3], id="assignee"),
        pytest.param(CaseFilter(assignee=""), [1, 2, 4], id="nobody's"),
        pytest.param(CaseFilter(text="BANK b2"), [2], id="text of a title, whatever its case"),
        pytest.param(CaseFilter(text="ditolak"), [1, 2, 3, 4], id="text in another language"),
        pytest.param(CaseFilter(text="000000000003"), [3], id="beginning of an id"),
        pytest.param(CaseFilter(text="B_"), [], id="no wildcard in a text"),
        pytest.param(CaseFilter(since_ms=20, until_ms=40), [2, 3], id="span"),
    ],
)
def test_cases_are_filtered(store: Store, wanted: CaseFilter, found: list[int]) -> None:
    written(
        store,
        case(1, opened_ms=10),
        case(2, opened_ms=20, mode=Mode.SHADOW, state=CaseState.RESOLVED, signals=("payment-declines", "logins")),
        case(3, opened_ms=30, severity=Severity.CRITICAL, assignee="ani", state=CaseState.DISMISSED),
        case(4, opened_ms=40, state=CaseState.MERGED),
    )
    page = pages.case_page(store, wanted, descending=False)
    assert [int(one.id, 16) for one in page.items] == found


def test_another_tenants_rows_are_in_no_page(tmp_path: Path) -> None:
    with new_store(tmp_path / "tocsin.db", tenant="a") as ours:
        written(ours, msgspec.structs.replace(case(1), tenant="a"))
        with open_store(tmp_path / "tocsin.db", tenant="b") as theirs:
            assert pages.case_page(theirs) == Page([])
            assert pages.affected_page(theirs, case(1).id) == Page([])
            assert pages.notice_page(theirs, case(1).id) == Page([])
            assert pages.dead_page(theirs) == Page([])
            assert pages.outbox_page(theirs) == Page([])


def ledger(customer: int, **changes: object) -> LedgerRow:
    base = LedgerRow(
        tenant=TENANT,
        case=case(1).id,
        customer=customer,
        grade=Grade.CONFIRMED,
        state=State.HIT,
        probability=0.9,
        first_failure_ms=1,
        last_failure_ms=2,
        tries=1,
    )
    return msgspec.structs.replace(base, **changes)


def notice(customer: int, kind: Kind = Kind.PROBLEM, episode: int = 1) -> Notice:
    return Notice(
        tenant=TENANT,
        id=f"{customer}-{kind}-{episode}",
        case=case(1).id,
        customer=customer,
        kind=kind,
        episode=episode,
        decision=Decision.SEND,
        state=NoticeState.SIMULATED,
        reason="",
        until_ms=None,
        at_ms=5,
        channel="email",
        language="en",
        time_zone="Asia/Jakarta",
        signal="payment-declines",
        cause={},
        when_ms=1,
        stale_ms=9,
    )


@pytest.mark.slow
@given(st.sets(st.integers(-50, 50), max_size=25), st.sets(st.integers(-50, 50), max_size=5), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_affected_customers_and_notices_come_once_while_others_come_in(
    tmp_path_factory: pytest.TempPathFactory, before: set[int], meanwhile: set[int], limit: int
) -> None:
    with new_store(tmp_path_factory.mktemp("pages") / "tocsin.db") as store:
        written(store, case(1))
        effects = DeskEffects(
            ledger=[ledger(c) for c in sorted(before)],
            notices=[
                notice(c, kind, episode) for c in before for kind in (Kind.PROBLEM, Kind.RESOLVED) for episode in (1, 2)
            ],
        )
        store.commit(Effects(desk=effects))
        hits, told = list[int](), list[tuple[int, str, int]]()
        after, last = None, None
        affected_ends = notices_end = False
        late = sorted(meanwhile)
        while not (affected_ends and notices_end):
            if not affected_ends:
                page = pages.affected_page(store, case(1).id, after=after, limit=limit)
                hits += [hit.row.customer for hit in page.items]
                after, affected_ends = page.next, page.next is None
            if not notices_end:
                some = pages.notice_page(store, case(1).id, after=last, limit=limit)
                told += [(n.customer, n.kind.value, n.episode) for n in some.items]
                last, notices_end = some.next, some.next is None
            if late:
                newer = late.pop()
                store.commit(Effects(desk=DeskEffects(ledger=[ledger(newer)], notices=[notice(newer)])))
        assert hits == sorted(set(hits)) and before <= set(hits)
        assert told == sorted(set(told)) and {c for c in before} <= {c for c, _, _ in told}


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_a_list_of_cases_is_read_from_its_index(store: Store) -> None:
    written(store, *(case(n, opened_ms=n) for n in range(50)))
    asked = list[str]()
    sa.event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    pages.case_page(store, CaseFilter(states=["open"], signal="payment-declines", assignee=""), limit=10)
    (listed,) = [text for text in asked if "ORDER BY" in text]
    with store.reading() as connection:
        # The parameters' values do not matter to the plan.
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {listed}", ("x",) * listed.count("?")).all()
    assert "USING COVERING INDEX cases_listed" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


def test_a_page_that_ends_with_the_list_has_no_next(store: Store) -> None:
    written(store, *(case(n) for n in range(4)))
    assert pages.case_page(store, limit=4).next is None
    page = pages.case_page(store, limit=3)
    assert page.next is not None
    assert len(pages.case_page(store, after=page.next, limit=3).items) == 1
