"""One recording in a file and on a server that sorts by another language: every answer is the same, to the byte."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from detector.desk.records import DeskEffects
from detector.pipeline import Effects
from streams.clock import SystemClock
from streams.engines.session import session
from streams.feeds.log import bounds
from streams.store import Store, documents, open_store, outgoing, outlook, pages, person, queries, spending
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.standing import standing
from tests.servers.postgres import Server
from tests.servers.stored import a_case, a_notice, a_row
from tests.streams.shop import START_MS, Shop

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

NAMES = ("b", "A", "a", "B", "ä", "_a", "-b", "Z", "zz", "é", "10", "9", "𝄞", "\uffff", " x", "a b", "a-b", "ab")
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def both(shop: Shop, replayed: Path, postgres: Server) -> Iterator[tuple[Store, Store]]:
    """Give the two stores."""
    url = postgres.url(postgres.database())
    with open_store(replayed) as file:
        key = file.customer_key
    with session(url, shop.run(customer_key=key), SystemClock(), mode="recording") as found:
        found.read([str(shop.events)])
    with open_store(replayed) as file, open_store(url) as server:
        yield file, server


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def test_the_dump_is_the_same(both: tuple[Store, Store]) -> None:
    file, server = (b"\n".join(map(encoded, documents.dump(store))) for store in both)
    assert file == server
    assert file.count(b"\n") > 100


def test_the_tables_hold_the_same_rows(both: tuple[Store, Store]) -> None:
    file, server = both
    for table in t.metadata.sorted_tables:
        if table.name == "position":  # it holds a mark of the process that wrote it
            continue
        wanted = sa.select(table).order_by(*table.primary_key.columns)
        with file.reading() as a, server.reading() as b:
            first, second = ([tuple(row) for row in c.execute(wanted)] for c in (a, b))
        assert first == second, table.name


def test_every_question_is_answered_alike(both: tuple[Store, Store], shop: Shop) -> None:
    config, now_ms = shop.run().config, START_MS + 2 * HOUR_MS

    def answers(store: Store) -> Iterator[tuple[str, Any]]:
        cases = queries.list_cases(store, finished=True)
        yield "cases", cases
        case = cases[0].id
        yield "found", queries.find_case(store, case[:6])
        yield "ledger", sorted(encoded(row) for row in queries.ledger(store, case))
        yield "notices", queries.notices(store, case)
        yield "timeline", queries.timeline(store, case)
        yield "evidence", queries.evidence(store, case)
        yield "in full", documents.case_in_full(store, cases[0])
        yield "affected", documents.affected_documents(store, case)
        yield "dead", [asdict(letter) | {"data": letter.data.hex()} for letter in queries.dead_letters(store)]
        yield (
            "sums",
            (queries.notice_sums(store), queries.case_count(store), queries.held_reasons(store), store.tally()),
        )
        yield "windows", (queries.oldest_window_ms(store), len(queries.newest_windows(store, 5)))
        yield "facts", queries.facts(store)
        for sort in pages.CASE_SORTS:
            yield f"cases by {sort}", pages.case_page(store, sort=sort)
        for wanted in (
            pages.CaseFilter(states=["open", "resolved"], modes=["live"], severities=["high"]),
            pages.CaseFilter(signal="payment-declines", assignee=""),
            pages.CaseFilter(text="Declined"),
            pages.CaseFilter(text="100%_"),
            pages.CaseFilter(since_ms=START_MS, until_ms=now_ms),
        ):
            yield f"{wanted}", (pages.case_page(store, wanted), pages.case_total(store, wanted))
        place: pages.Place | None = None
        for number in range(50):
            hits = pages.affected_page(store, case, told=number % 2 == 0, after=place, limit=7)
            yield f"affected {number}", [asdict(hit) for hit in hits.items]
            place = hits.next
        notices = pages.notice_page(store, case, limit=20)
        yield "notices 1", notices
        yield "notices 2", pages.notice_page(store, case, after=notices.next, limit=20)
        yield "decided", documents.notice_documents(store, notices.items)
        yield "outbox", (pages.outbox_page(store), outgoing.queues(store, now_ms), outgoing.listed(store))
        yield "held", (outgoing.held(store), outgoing.held_page(store, "quiet-hours"))
        yield "outcomes", outgoing.outcomes(store, ["whatsapp", "email"], START_MS)
        yield "gone out", outgoing.gone_out(store, ["whatsapp"], now_ms).customers_day
        yield "outlook", outlook.waiting_for_a_person(store, case, now_ms, config.policy)
        yield "told", outlook.told_and_waiting(store, case)
        yield "spending", spending.spending(store, config, now_ms)
        yield "standing", standing(store, now_ms).cases and None
        yield "feed", bounds(store)
        yield "directory", CustomerDirectory(store).count()
        who = CustomerDirectory(store).find("C-7")
        yield "person", (queries.cases_of(store, who, 10), person.holdings(store, who), outgoing.waiting_of(store, who))
        yield "doings", person.doings(store, who, [(START_MS, now_ms)], 500)

    for (name, first), (_, second) in zip(*map(answers, both), strict=True):
        assert encoded(first) == encoded(second), name
        assert first is None or first == second, name


def test_text_sorts_by_its_bytes_on_both(postgres: Server, tmp_path: Path) -> None:
    found = []
    for db in (str(tmp_path / "a.db"), postgres.url(postgres.database())):
        with open_store(db, create=True, customer_key=b"k") as store:
            cases = [a_case(id=name, assignee=name) for name in NAMES]
            ledger = [a_row(i, case=case, tries=i % 3) for i, _ in enumerate(NAMES) for case in NAMES[:4]]
            notices = [
                a_notice(id=f"{name}{case}", case=case, customer=i, channel=None if i % 2 else name)
                for i, name in enumerate(NAMES)
                for case in NAMES[:4]
            ]
            known = {i: name for i, name in enumerate(NAMES) if i % 5}  # the others were erased
            store.commit(Effects(customers=known, desk=DeskEffects(cases, ledger, notices)))
            listed = [case.id for case in pages.case_page(store, limit=100).items]
            found.append((list(map(encoded, documents.dump(store))), listed))
    assert found[0] == found[1]
    assert found[0][1] == sorted(NAMES, key=str.encode, reverse=True)
