"""The store's contract: a step is written whole, once, and read back as it was."""

import os
import sqlite3
import stat
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.counter.record import SignalWindow, WindowRecord, no_ints
from detector.desk.records import (
    Affected,
    Case,
    CaseState,
    Check,
    CustomerState,
    Decision,
    DeskEffects,
    EvidencePoint,
    Grade,
    Kind,
    LedgerRow,
    LogRecord,
    Notice,
    NoticeState,
    TimelineEntry,
    WindowClosed,
)
from detector.errors import FencedError, UnreachableError, UsageError
from detector.events import Invalid
from detector.pack import pack
from detector.pipeline import Effects
from detector.signals import Mode, Severity
from detector.watch.anomaly import Cause, Point
from streams.store import Advance, Commit, Snapshot, Store, database, migrate, open_store, queries
from streams.store import tables as t
from streams.store.database import DamagedStoreError
from streams.store.history import StoreHistory
from streams.store.store import LOG
from streams.store.values import InForce, IntakeRow, Piece


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tocsin.db"


@pytest.fixture
def store(path: Path) -> Store:
    return open_store(path, create=True)


def a_case(**changes: object) -> Case:
    values: dict[str, object] = {
        "tenant": "default",
        "id": "c0ffee",
        "mode": Mode.LIVE,
        "title": {"en": "Logins fail", "id": "Login gagal"},
        "state": CaseState.OPEN,
        "severity": Severity.HIGH,
        "signals": ("login",),
        "anomalies": ("c0ffee",),
        "onset_ms": 60_000,
        "detected_ms": 180_000,
        "opened_ms": 180_000,
        "causes": (Cause({"bank": "BNI"}, 0.97),),
        "expected": 0.1 + 0.2,
        "affected": Affected(confirmed=1, likely=2),
    }
    return Case(**{**values, **changes})  # type: ignore[arg-type]


def a_row(customer: int = 7, **changes: object) -> LedgerRow:
    values: dict[str, object] = {
        "tenant": "default",
        "case": "c0ffee",
        "customer": customer,
        "grade": Grade.LIKELY,
        "state": CustomerState.HIT,
        "probability": 0.25,
        "first_failure_ms": 61_000,
        "last_failure_ms": 62_000,
        "tries": 2,
    }
    return LedgerRow(**{**values, **changes})  # type: ignore[arg-type]


def a_notice(**changes: object) -> Notice:
    values: dict[str, object] = {
        "tenant": "default",
        "id": "n1",
        "case": "c0ffee",
        "customer": 7,
        "kind": Kind.PROBLEM,
        "episode": 1,
        "decision": Decision.SEND,
        "state": NoticeState.SIMULATED,
        "reason": "",
        "until_ms": None,
        "at_ms": 190_000,
        "channel": "whatsapp",
        "language": "id",
        "time_zone": "Asia/Jakarta",
        "signal": "login",
        "cause": {"bank": "BNI"},
        "when_ms": 61_000,
        "stale_ms": 999_000,
        "checks": (Check("consent", Decision.SEND, ""),),
    }
    return Notice(**{**values, **changes})  # type: ignore[arg-type]


def a_window(window_ms: int, partition: int = 0) -> WindowRecord:
    one = np.array([3], np.int64)
    signal = SignalWindow(
        cells=[("BNI",)],
        people=one,
        total=one,
        attempts=one,
        bad_customer=one * 2**60,
        bad_cell=one * 0,
        bad_time_ms=one,
        back_customer=no_ints(),
        back_cell=no_ints(),
        back_time_ms=no_ints(),
    )
    return WindowRecord(
        tenant="default",
        partition=partition,
        window_ms=window_ms,
        width_ms=60_000,
        signals={"login": signal},
        contact_customer=no_ints(),
        contact_time_ms=no_ints(),
        contact_channel=[],
        events=3,
    )


def some_effects() -> Effects:
    point = EvidencePoint(tenant="default", case="c0ffee", signal="login", point=Point(60_000, 9, 1.5, 30, 0.5, 3.5))
    entry = TimelineEntry(tenant="default", case="c0ffee", seq=1, n=0, at_ms=180_000, what="opened", detail="BNI")
    return Effects(
        records=6,
        applied=3,
        dropped=Counter({"late": 2}),
        invalid=[Invalid(17, "not-json", "$", 9, b"{nonsense")],
        windows=[a_window(60_000), a_window(0)],
        closed=2,
        customers={7: "cust-7"},
        log=[LogRecord(tenant="default", seq=1, at_ms=180_000, payload=WindowClosed(60_000, 60_000))],
        desk=DeskEffects([a_case()], [a_row()], [a_notice()], [entry], [point]),
    )


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


def test_what_is_rewritten_within_a_step_is_as_if_it_were_written_between(tmp_path: Path) -> None:
    def point(window_ms: int, observed: int) -> EvidencePoint:
        return EvidencePoint(tenant="default", case="c", signal="s", point=Point(window_ms, observed, 1, 1, 0, 1))

    steps = [
        DeskEffects(evidence=[point(0, 1), point(1, 1)]),
        DeskEffects(evidence=[point(1, 2)], rewritten=[("c", "s")]),
        DeskEffects(evidence=[point(2, 3)]),
    ]
    together = DeskEffects()
    with (
        open_store(tmp_path / "a.db", create=True) as one_by_one,
        open_store(tmp_path / "b.db", create=True) as at_once,
    ):
        for step in steps:
            one_by_one.commit(Effects(desk=step))
            together.extend(step)
        at_once.commit(Effects(desk=together))
        found = queries.evidence(one_by_one, "c")
        assert [entry.point.window_ms for entry in found] == [1, 2]
        assert queries.evidence(at_once, "c") == found


def test_one_intent_per_person_is_a_key_of_the_table(store: Store) -> None:
    store.commit(Effects(desk=DeskEffects(notices=[a_notice()])))
    with pytest.raises(sa.exc.IntegrityError):
        store.commit(Effects(desk=DeskEffects(notices=[a_notice(id="another")])))


def test_a_queued_notice_enters_the_outbox_in_the_same_step_and_only_once(store: Store) -> None:
    for _ in range(2):
        store.commit(Effects(desk=DeskEffects(notices=[a_notice(state=NoticeState.QUEUED)])))
    with store.reading() as connection:
        assert [row.state for row in connection.execute(sa.select(t.outbox))] == ["waiting"]


def test_a_second_process_that_went_on_fences_the_first(path: Path, store: Store) -> None:
    store.commit(Effects(), Commit([Advance("file", None, 10)]))
    other = open_store(path)
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


@pytest.mark.slow
@given(old=st.binary(max_size=40), new=st.binary(min_size=1, max_size=40))
@settings(max_examples=20, deadline=None)
def test_a_snapshot_comes_back_whole_or_is_named_damaged(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes
) -> None:
    path = tmp_path_factory.mktemp("store") / "s.db"
    with open_store(path, create=True) as store:
        store.commit(Effects(), Commit(snapshot=Snapshot(old, "h", ended=True)))
        assert store.snapshot() == Snapshot(old, "h", ended=True)
        with store.transaction() as connection:
            connection.execute(sa.update(t.snapshot).values(data=new))
        if new != old:
            with pytest.raises(DamagedStoreError, match="checksum"):
                store.snapshot()


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


def test_a_store_is_readable_by_its_owner_only(path: Path, store: Store) -> None:
    store.commit(some_effects())
    files = [path, *path.parent.glob("tocsin.db-*")]
    assert len(files) >= 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert sorted(os.listdir(path.parent)) == sorted(file.name for file in files)


def test_a_store_keeps_its_hash_key_and_refuses_another(path: Path, store: Store) -> None:
    key = store.customer_key
    assert len(key) == 32
    assert open_store(path, customer_key=key).customer_key == key
    with pytest.raises(UsageError, match="hash key"):
        open_store(path, customer_key=b"another")


def test_a_recording_takes_no_live_events(store: Store) -> None:
    store.claim_mode("recording")
    store.claim_mode("recording")
    with pytest.raises(UsageError, match="recording store"):
        store.claim_mode("live")


@pytest.mark.slow
def test_the_migrations_make_the_tables(store: Store) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), t.metadata) == []
        assert migrate.revision_of(connection) == migrate.HEAD
    assert ScriptDirectory(str(migrate.SCRIPTS)).get_current_head() == migrate.HEAD


def test_a_newer_programs_store_is_refused(path: Path, store: Store) -> None:
    with store.transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(UsageError, match="newer Tocsin"):
        open_store(path)


def test_an_older_store_is_copied_before_it_is_migrated(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(some_effects())
    store.close()
    monkeypatch.setattr(migrate, "HEAD", "0004")
    open_store(path).close()
    backup = path.with_name("tocsin.db.backup-0003")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    monkeypatch.undo()
    with open_store(backup) as copy:
        assert copy.tally() == store.tally()


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        pytest.param(b"", DamagedStoreError, "is empty", id="truncated to nothing"),
        pytest.param(b"not a database at all, surely" * 200, DamagedStoreError, "damaged", id="overwritten"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(path: Path, damage: bytes, error: type[Exception], words: str) -> None:
    path.write_bytes(damage)
    with pytest.raises(error, match=words):
        open_store(path, create=True)
    assert path.read_bytes() == damage


def test_another_programs_database_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with pytest.raises(UsageError, match="not a store of Tocsin"):
        open_store(path, create=True)


def test_there_is_no_store_to_read_until_one_is_made(path: Path) -> None:
    with pytest.raises(UsageError, match="there is no store here"):
        open_store(path)
    assert not path.exists()


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    for url in (str(tmp_path), f"sqlite:///{tmp_path}"):
        with pytest.raises(UsageError, match="found the folder"):
            open_store(url, create=True)


def test_a_url_of_another_database_is_refused_without_its_password(path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file or sqlite:///FILE, found a URL of postgresql ") as refused:
        open_store("postgresql://ani:secret@localhost/tocsin", create=True)
    assert "secret" not in str(refused.value)
    with open_store(f"sqlite:///{path}", create=True) as store:
        assert store.path == path


def test_a_store_that_stays_locked_says_so_and_takes_the_step_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 50)
    with open_store(path, create=True) as store:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnreachableError, match="another process"):
            store.commit(some_effects())
        assert store.tally() == {}  # reading waits for nobody
        blocker.execute("ROLLBACK")
        blocker.close()
        store.commit(some_effects())
        assert store.tally()["events"] == {"": 6}


@pytest.mark.slow
def test_a_full_disk_stops_the_step_and_keeps_what_was_there(store: Store) -> None:
    store.commit(some_effects())
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        connection.rollback()
    with pytest.raises(UnreachableError, match="disk is full"):
        store.commit(Effects(), Commit(snapshot=Snapshot(bytes(10_000_000), "h")))
    assert store.tally()["events"] == {"": 6}
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        connection.rollback()
    store.commit(Effects(), Commit(snapshot=Snapshot(bytes(10_000_000), "h")))


def test_commands_wait_in_the_inbox_until_they_are_answered(store: Store) -> None:
    from streams.store.values import Answer

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
