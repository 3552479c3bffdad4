"""The store's contract, in a file and on a server: a step is written whole, once, and read back as it was."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from detector.desk.records import CaseState, CustomerState, DeskEffects, EvidencePoint, NoticeState
from detector.errors import DamagedStoreError, FencedError, UnreachableError, UsageError
from detector.pack import pack
from detector.pipeline import Effects
from detector.watch.anomaly import Point
from streams.store import Advance, Commit, Snapshot, Store, migrate, open_store, queries
from streams.store import tables as t
from streams.store.history import StoreHistory
from streams.store.store import LOG
from streams.store.values import Answer, InForce, IntakeRow, Piece
from tests.servers.stored import a_case, a_notice, a_row, a_window, some_effects

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with open_store(db, create=True) as found:
        yield found


def test_what_a_step_brought_is_read_back_as_it_was(store: Store) -> None:
    effects = some_effects()
    store.commit(effects, Commit([Advance("file", None, 99, b"note")], Snapshot(b"state", "hash"), sources=["file"]))
    assert queries.list_cases(store) == effects.desk.cases
    assert list(queries.ledger(store, "c0ffee")) == effects.desk.ledger
    assert queries.notices(store, "c0ffee", 7) == effects.desk.notices
    assert queries.timeline(store, "c0ffee") == effects.desk.timeline
    assert queries.evidence(store, "c0ffee") == effects.desk.evidence
    assert [(d.source, d.position, d.data) for d in queries.dead_letters(store)] == [("file", 17, b"{nonsense")]
    assert queries.names(store, [7, 8]) == {7: "cust-7"}
    assert store.snapshot() == Snapshot(b"state", "hash")
    assert store.positions()["file"].next == 99
    assert [d.outcome for d in queries.deliveries(store, "n1")] == ["simulated"]


def test_the_sums_add_up_over_several_steps(store: Store) -> None:
    for _ in range(2):
        store.commit(some_effects())
    sums = store.tally()
    assert sums["events"][""] == 12
    assert sums["events"][""] == sums["applied"][""] + sum(sums["dropped"].values()) + sum(sums["dead"].values())


def test_the_last_of_several_rows_with_one_key_counts(store: Store) -> None:
    rows = [a_row(tries=1), a_row(8), a_row(tries=5, last_success_ms=70_000, state=CustomerState.RECOVERED)]
    store.commit(Effects(desk=DeskEffects(ledger=rows)))
    store.commit(Effects(desk=DeskEffects(ledger=[a_row(8, withdrawn=True)])))
    assert list(queries.ledger(store, "c0ffee")) == [rows[2]]


def test_evidence_that_is_rewritten_replaces_what_was_there(store: Store) -> None:
    old = [EvidencePoint(tenant="default", case="c", signal="s", point=Point(w, 1, 1, 1, 0, 1)) for w in (0, 1, 2)]
    new = [EvidencePoint(tenant="default", case="c", signal="s", point=Point(1, 2, 2, 2, 0, 2))]
    other = EvidencePoint(tenant="default", case="c", signal="other", point=Point(1, 2, 2, 2, 0, 2))
    store.commit(Effects(desk=DeskEffects(evidence=[*old, other])))
    store.commit(Effects(desk=DeskEffects(evidence=new, rewritten=[("c", "s")])))
    assert queries.evidence(store, "c") == [other, *new]


def test_what_is_rewritten_within_a_step_is_as_if_it_were_written_between(store: Store) -> None:
    def steps(case: str) -> list[DeskEffects]:
        def point(window_ms: int, observed: int) -> EvidencePoint:
            return EvidencePoint(tenant="default", case=case, signal="s", point=Point(window_ms, observed, 1, 1, 0, 1))

        return [
            DeskEffects(evidence=[point(0, 1), point(1, 1)]),
            DeskEffects(evidence=[point(1, 2)], rewritten=[(case, "s")]),
            DeskEffects(evidence=[point(2, 3)]),
        ]

    together = DeskEffects()
    for one in steps("one by one"):
        store.commit(Effects(desk=one))
    for one in steps("at once"):
        together.extend(one)
    store.commit(Effects(desk=together))
    found = queries.evidence(store, "one by one")
    assert [entry.point.window_ms for entry in found] == [1, 2]
    assert [entry.point for entry in queries.evidence(store, "at once")] == [entry.point for entry in found]


def test_one_intent_per_person_is_a_key_of_the_table(store: Store) -> None:
    store.commit(Effects(desk=DeskEffects(notices=[a_notice()])))
    with pytest.raises(sa.exc.IntegrityError):
        store.commit(Effects(desk=DeskEffects(notices=[a_notice(id="another")])))


def test_a_queued_notice_enters_the_outbox_in_the_same_step_and_only_once(store: Store) -> None:
    for _ in range(2):
        store.commit(Effects(desk=DeskEffects(notices=[a_notice(state=NoticeState.QUEUED)])))
    with store.reading() as connection:
        assert [row.state for row in connection.execute(sa.select(t.outbox))] == ["waiting"]


def test_a_second_process_that_went_on_fences_the_first(db: str, store: Store) -> None:
    store.commit(Effects(), Commit([Advance("file", None, 10)]))
    with open_store(db) as other:
        other.commit(Effects(), Commit([Advance("file", 10, 20)]))
        with pytest.raises(FencedError):
            store.commit(some_effects(), Commit([Advance("file", 10, 30)]))
        assert other.positions()["file"].next == 20
        assert queries.list_cases(other) == []


@pytest.mark.parametrize(
    "advance",
    [
        pytest.param(Advance("file", 9, 30), id="stands elsewhere"),
        pytest.param(Advance("file", None, 30), id="thought to be new"),
        pytest.param(Advance("unknown", 0, 30), id="never read"),
    ],
)
def test_a_source_that_stands_elsewhere_undoes_the_whole_step(store: Store, advance: Advance) -> None:
    store.commit(Effects(), Commit([Advance("file", None, 10)]))
    with pytest.raises(FencedError):
        store.commit(some_effects(), Commit([advance]))
    assert store.tally() == {}
    store.commit(some_effects(), Commit([Advance("file", 10, 11)]))
    assert store.tally()["events"] == {"": 6}


def test_results_without_a_snapshot_are_never_a_fresh_start(store: Store) -> None:
    store.commit(Effects(), Commit(snapshot=Snapshot(b"state", "h")))
    with store.transaction() as connection:
        connection.execute(sa.delete(t.snapshot))
    with pytest.raises(DamagedStoreError, match="no snapshot"):
        store.snapshot()


def test_the_configuration_in_force_is_kept_in_order(store: Store) -> None:
    first, second = InForce("a", b"{}", None), InForce("b", b"{1}", 60_000)
    store.commit(Effects(), Commit(config=first))
    store.commit(Effects(), Commit(config=second))
    store.commit(Effects(), Commit(config=first))
    assert store.in_force() == [first, second, first]


def test_a_store_keeps_its_hash_key_and_refuses_another(db: str, store: Store) -> None:
    key = store.customer_key
    assert len(key) == 32
    with open_store(db, customer_key=key) as again:
        assert again.customer_key == key
    with pytest.raises(UsageError, match="hash key"):
        open_store(db, customer_key=b"another")


def test_a_recording_takes_no_live_events(store: Store) -> None:
    store.claim_mode("recording")
    store.claim_mode("recording")
    with pytest.raises(UsageError, match="recording store"):
        store.claim_mode("live")


def test_a_newer_programs_store_is_refused(db: str, store: Store) -> None:
    with store.transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(UsageError, match="newer Tocsin"):
        open_store(db)


def test_commands_wait_in_the_inbox_until_they_are_answered(store: Store) -> None:
    first, second = store.post(b"one"), store.post(b"two")
    assert [waiting.data for waiting in store.waiting()] == [b"one", b"two"]
    store.commit(Effects(), Commit(answers=[Answer(first), Answer(second, refused="unknown case")]))
    assert store.waiting() == []
    assert store.answer(first) == ("done", "")
    assert store.answer(second) == ("refused", "unknown case")


def test_the_live_log_is_read_from_where_a_snapshot_stands(store: Store) -> None:
    log = [IntakeRow("log", i * 10, i * 10 + 10, 1_000 + i, None if i == 2 else b"x", b"d") for i in range(4)]
    numbered = store.append_intake(log)
    assert [row.seq for row in numbered] == [0, 1, 2, 3]
    assert list(store.intake(1)) == numbered[1:]
    assert list(store.intake(1, limit=2)) == numbered[1:3]
    store.commit(Effects(), Commit(worked_off=2))
    assert list(store.intake(0)) == numbered[2:]


def test_numbers_of_the_live_log_go_on_where_all_of_it_was_worked_off(store: Store) -> None:
    store.append_pieces("http", [Piece(b"one\n", 4), Piece(b"", 6)], 5)
    store.commit(Effects(), Commit(worked_off=2, advances=[Advance(LOG, None, 2)]))
    (row,) = store.append_pieces("http", [Piece(b"two\n", 4)], 6)
    assert (row.seq, row.position, row.next, row.ingest_ms) == (2, 10, 14, 6)
    assert store.unread() == (2, [(2, 4)])
    assert store.worked_off() == 2


@pytest.mark.slow
def test_a_log_that_was_begun_before_it_had_a_counter_goes_on(store: Store) -> None:
    old = {
        "tenant": store.tenant,
        "source": "log",
        "position": 0,
        "next": 1,
        "ingest_ms": 1,
        "data": b"x",
        "detail": b"",
    }
    with store.transaction() as connection:
        connection.execute(sa.insert(t.intake), [{**old, "seq": 6}, {**old, "seq": 7}])
    assert store.append_pieces("http", [Piece(b"x\n", 2)], 1)[0].seq == 8
    with store.transaction() as connection:
        connection.execute(sa.delete(t.intake))
        connection.execute(sa.delete(t.position))
    store.commit(Effects(), Commit(advances=[Advance(LOG, None, 30)]))
    assert store.append_pieces("http", [Piece(b"x\n", 2)], 1)[0].seq == 30


@pytest.mark.slow
def test_several_writers_number_the_live_log_without_a_gap_and_in_the_order_of_their_commits(store: Store) -> None:
    """A reader that goes on from the last number it saw must never miss a row that is committed later."""
    seen: list[int] = []
    writers = [
        threading.Thread(target=lambda: [store.append_pieces("http", [Piece(b"x\n", 2)] * 3, 1) for _ in range(40)])
        for _ in range(3)
    ]
    for writer in writers:
        writer.start()
    while len(seen) < 360:
        seen += [row.seq for row in store.intake(len(seen))]
    for writer in writers:
        writer.join()
    assert seen == list(range(360))


def test_history_shows_committed_and_pending_windows_once_and_in_order(store: Store) -> None:
    history = StoreHistory(store)
    store.commit(Effects(windows=[a_window(120_000, 1), a_window(120_000, 0), a_window(0)]))
    history.pending([a_window(180_000), a_window(60_000)])
    for _ in range(2):  # the second time from the cache
        found = list(history.windows(0, 180_000))
        assert [(w.window_ms, w.partition) for w in found] == [(0, 0), (60_000, 0), (120_000, 0), (120_000, 1)]
    assert pack(found[0]) == pack(a_window(0))
    store.commit(Effects(windows=[a_window(180_000), a_window(60_000)]))
    history.written()
    assert [w.window_ms for w in history.windows(60_000, 240_000)] == [60_000, 120_000, 120_000, 180_000]


def test_windows_are_kept_for_eight_weeks(store: Store) -> None:
    week = 7 * 86_400_000
    store.commit(Effects(windows=[a_window(i * week) for i in range(9)]))
    store.commit(Effects(windows=[a_window(9 * week)]))
    assert [w.window_ms // week for w in StoreHistory(store).windows(0, 99 * week)] == list(range(1, 10))


def test_a_case_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    store.commit(
        Effects(
            desk=DeskEffects(cases=[a_case(id="abc1"), a_case(id="abc2"), a_case(id="abd", state=CaseState.RESOLVED)])
        )
    )
    assert queries.find_case(store, "abd").id == "abd"
    with pytest.raises(UsageError, match="several begin so"):
        queries.find_case(store, "ab")
    for unknown in ("x", "", "%", "_bc1"):
        with pytest.raises(UsageError, match=r"there is none|several"):
            queries.find_case(store, unknown)
    assert {case.id for case in queries.list_cases(store)} == {"abc1", "abc2"}
    assert {case.id for case in queries.list_cases(store, finished=True)} == {"abc1", "abc2", "abd"}


@pytest.mark.slow
def test_the_migrations_make_the_tables(store: Store) -> None:
    def here(item: object, _name: object, kind: str, *_: object) -> bool:
        if kind != "index" or not isinstance(item, sa.Index):
            return True
        return item.name not in ({"cases_listed"} if store.on_server else {"cases_opened"})

    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": here})
        assert compare_metadata(context, t.metadata) == []
        assert migrate.revision_of(connection) == migrate.HEAD
    assert ScriptDirectory(str(migrate.SCRIPTS)).get_current_head() == migrate.HEAD


def test_what_fails_in_the_middle_leaves_nothing(store: Store) -> None:
    store.commit(some_effects())
    before = store.tally()
    with pytest.raises(ZeroDivisionError), store.transaction() as connection:
        connection.execute(sa.delete(t.ledger))
        raise ZeroDivisionError
    wrong = Effects(desk=DeskEffects(cases=[a_case(id="other")], notices=[a_notice(id="again")]))
    with pytest.raises(sa.exc.IntegrityError):
        store.commit(wrong, Commit([Advance("file", None, 10)]))
    assert store.tally() == before
    assert [case.id for case in queries.list_cases(store)] == ["c0ffee"]
    assert store.positions() == {}
    store.commit(Effects(), Commit([Advance("file", None, 10)]))


def test_a_commit_that_came_through_without_an_answer_is_not_done_twice(store: Store) -> None:
    """The connection may be lost after the commit and before its answer: the same commit is tried again then."""
    once = Commit([Advance("file", None, 10)], Snapshot(b"state", "h"))
    store.commit(some_effects(), once)
    assert store._steps is not None
    store._steps -= 1  # as if it had not heard
    store.commit(some_effects(), once)
    assert store.tally()["events"] == {"": 6}
    store.commit(some_effects(), Commit([Advance("file", 10, 20)], Snapshot(b"more", "h")))
    assert store.tally()["events"] == {"": 12}
    store._steps -= 1
    with pytest.raises(FencedError):
        store.commit(some_effects(), Commit([Advance("file", 10, 20)], Snapshot(b"another", "h")))


def test_a_reader_waits_for_nobody_and_sees_one_state(db: str, store: Store) -> None:
    store.commit(some_effects())
    with open_store(db) as other, other.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.cases)).scalar_one() == 1
        with store.transaction() as writing:
            writing.execute(sa.delete(t.cases))
            assert connection.execute(sa.select(sa.func.count()).select_from(t.cases)).scalar_one() == 1
        assert connection.execute(sa.select(sa.func.count()).select_from(t.cases)).scalar_one() == 1
        assert queries.list_cases(store) == []


def test_a_writer_waits_for_the_other_and_then_says_so(db: str, store: Store) -> None:
    hasty = store.again(busy_ms=50)
    with store.transaction() as connection:
        connection.execute(sa.delete(t.cases))
        with pytest.raises(UnreachableError, match="another process holds the store"):
            hasty.commit(some_effects())
        assert hasty.tally() == {}  # reading waits for nobody
    hasty.commit(some_effects())
    assert hasty.tally()["events"] == {"": 6}
    hasty.close()


def test_what_one_writer_reads_no_other_changes_before_it_has_written(db: str, store: Store) -> None:
    """Numbers are given as "one more than the greatest": that is only right where there is one writer at a time."""

    def add(n: int) -> None:
        with open_store(db) as mine:
            for _ in range(n):
                with mine.transaction() as connection:
                    newest = sa.select(sa.func.coalesce(sa.func.max(t.control.c.seq), 0))
                    seq = connection.execute(newest).scalar_one() + 1
                    connection.execute(sa.insert(t.control), {"tenant": "default", "seq": seq, "data": b""})

    threads = [threading.Thread(target=add, args=(20,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as connection:
        assert list(connection.execute(sa.select(t.control.c.seq).order_by(t.control.c.seq)).scalars()) == [
            *range(1, 61)
        ]


APPENDS = """
import sys
from streams.store import open_store
from streams.store.values import Piece
with open_store(sys.argv[1]) as store:
    for _ in range(40):
        store.append_pieces("http", [Piece(b"x\\n", 2)] * 3, 1)
"""


@pytest.mark.slow
def test_several_processes_number_the_live_log_without_a_gap_and_in_the_order_of_their_commits(
    db: str, store: Store
) -> None:
    words = [sys.executable, "-c", APPENDS, db]
    writers = [subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    seen: list[int] = []
    while any(writer.poll() is None for writer in writers) or len(seen) < 360:
        seen += [row.seq for row in store.intake(len(seen))]
        assert seen == list(range(len(seen)))
        assert all(writer.poll() in (None, 0) for writer in writers)
    for writer in writers:
        assert writer.communicate()[1] == b""
    assert len(seen) == 360


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_read_in_little_memory(store: Store) -> None:
    import tracemalloc

    for start in range(0, 100_000, 50_000):
        store.commit(Effects(desk=DeskEffects(ledger=[a_row(start + i) for i in range(50_000)])))
    tracemalloc.start()
    try:
        assert sum(1 for _ in queries.ledger(store, "c0ffee")) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_text_that_a_database_cannot_hold_is_held_as_what_cannot_be_shown(store: Store) -> None:
    store.commit(Effects(customers={7: "a\0b", 8: "naïve \U0001f600 \u202e"}))
    assert queries.names(store, [7, 8]) == {7: "a\ufffdb", 8: "naïve \U0001f600 \u202e"}
