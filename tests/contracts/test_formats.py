"""What older versions wrote is still read: one golden file for each persisted record, and a whole store.

A golden file is never changed. A new version of a record gets a new one beside it
(`python -m tests.contracts.test_formats NAME` writes those that are missing).
"""

import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from detector.config import MINUTE_MS
from detector.counter.record import Histograms, SignalWindow, WindowRecord
from detector.desk.notices import notice_id
from detector.desk.records import (
    Approval,
    Case,
    CaseState,
    Command,
    Configured,
    Delivered,
    Kind,
    LogRecord,
    Loss,
    NoticeCounts,
    NoticeState,
    Verb,
    Verdict,
    WindowClosed,
)
from detector.pack import pack, unpack
from detector.signals import Mode, Severity
from detector.watch.anomaly import Anomaly, Beside, Cause, Phase, Point, Shift, Why
from detector.watch.control import Fact, FactKind, Withdrawn
from detector.watch.explanation import Account, Counted
from streams.engines.embedded import FilePlace, Kept
from streams.store import Snapshot, open_store, queries
from streams.store.values import InForce, Position
from tests.detector.desk_world import Minute, World, anomaly, config, fails

GOLDEN = Path(__file__).parent / "golden"


def ints(*values: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    return np.array(values, np.int64)


WINDOW = WindowRecord(
    tenant="default",
    partition=2,
    window_ms=1_772_409_600_000,
    width_ms=60_000,
    signals={
        "login": SignalWindow(
            cells=[("5.0", "satu"), ("5.1", "dua")],
            people=ints(1, 2),
            total=ints(3, 4),
            attempts=ints(5, 6),
            bad_customer=ints(-(2**62), 7),
            bad_cell=ints(0, 1),
            bad_time_ms=ints(1_772_409_600_001, 1_772_409_600_002),
            back_customer=ints(9),
            back_cell=ints(1),
            back_time_ms=ints(1_772_409_600_003),
            values=Histograms(ints(0), ints(171), ints(4)),
        )
    },
    contact_customer=ints(7),
    contact_time_ms=ints(1_772_409_600_004),
    contact_channel=["chat"],
    events=7,
)
WITH_LOSS = msgspec.structs.replace(
    WINDOW,
    signals={"login": msgspec.structs.replace(WINDOW.signals["login"], bad_loss_milli=ints(0, 84_000_000))},
)
ANOMALY = Anomaly(
    id="0123456789ab",
    signal="login",
    phase=Phase.OPENED,
    at_ms=3,
    window_ms=2,
    onset_ms=1,
    detected_ms=3,
    ended_ms=None,
    causes=(Cause({"app_version": "5.0"}, 0.1 + 0.2),),
    observed=12,
    expected=1.5,
    trials=30,
    score=22.25,
    points=(Point(1, 12, 1.5, 30, 0.25, 3.75),),
    rewrite=True,
    why=Why(22.25, 11.5, "1 false case per week, level single", 40, 0.125),
)
EXPLAINED = msgspec.structs.replace(
    ANOMALY,
    phase=Phase.ENDED,
    new_level=1.8,
    why=Why(
        22.25,
        11.5,
        "1 false case per week, split over 2 signals",
        40,
        0.125,
        shift=Shift(0.5, 340.0, 210.0, 1520),
        segment={"app_version": "5.0"},
        source="own peaks",
        season=1.25,
        beside=(Beside({}, 41, 39.5, 900),),
    ),
)
CASE = Case(
    tenant="default",
    id="0123456789ab",
    mode=Mode.LIVE,
    title={"en": "Logins fail", "id": "Gagal masuk"},
    state=CaseState.ACKNOWLEDGED,
    severity=Severity.HIGH,
    signals=("login",),
    anomalies=("0123456789ab",),
    onset_ms=1,
    detected_ms=3,
    opened_ms=3,
    causes=ANOMALY.causes,
    verdict=Verdict.REAL,
)
FACT = Fact(
    id="3f2a91bc",
    kind=FactKind.MAINTENANCE,
    from_ms=1,
    until_ms=9,
    signals=("login",),
    where={"app_version": "5.0"},
    text="gateway",
    by="ani",
)
CASE_WITH_FACTS = msgspec.structs.replace(CASE, facts=(FACT,))
CASE_EXPLAINED = msgspec.structs.replace(
    CASE,
    accounts=(
        Account(
            signal="login",
            anomaly="0123456789ab",
            counted=Counted.FAILED,
            causes=ANOMALY.causes,
            observed=12,
            expected=1.5,
            trials=30,
            why=EXPLAINED.why,
            new_level=1.8,
        ),
    ),
)

CASE_WITH_CARE = msgspec.structs.replace(
    CASE,
    notices=NoticeCounts(
        sent=7, held=5, dropped={"no-consent": 2}, queued=3, failed=1, unknown=1, holdout=2, compared=9
    ),
    assignee="rina",
    approval=Approval.SAMPLE,
)

CASE_WITH_LOSS = msgspec.structs.replace(CASE, loss=Loss(84_000_000, "IDR", 3))
CASE_IN_DRY_RUN = msgspec.structs.replace(CASE, notices=NoticeCounts(sent=7, told=6, simulated=7))


def log(payload: Any) -> LogRecord:
    return LogRecord(tenant="default", seq=4, at_ms=5, payload=payload)


PACKED: dict[str, Any] = {
    "window-1": WINDOW,
    "window-2": WITH_LOSS,
    "log-window-1": log(WindowClosed(2, 60_000, (ANOMALY,))),
    "log-window-2": log(WindowClosed(2, 60_000, (EXPLAINED,))),
    "log-command-1": log(Command(Verb.DISMISS, "0123456789ab", "ani", Verdict.EXPECTED)),
    "log-command-2": log(Command(Verb.APPROVE, "0123456789ab", "ani", text="twenty", customers=20)),
    "log-command-3": log(Command(Verb.SPLIT, "0123456789ab", "ani", anomalies=("0123456789ab",))),
    "log-delivery-2": log(Delivered("n1", "suppressed", "email", "no-consent")),
    "log-delivery-1": log(Delivered("n1", "sent", "log")),
    "log-fact-1": log(FACT),
    "log-withdrawn-1": log(Withdrawn("3f2a91bc", "ani")),
    "log-config-1": log(Configured("ab" * 32)),
    "kept-1": Kept(b"state", 3, True, 10, 11),
    "place-1": FilePlace(b"4:" + b"ab" * 32, b"state"),
}


@pytest.mark.parametrize("name", sorted(PACKED))
def test_a_record_of_an_older_version_is_still_read(name: str) -> None:
    kind = type(PACKED[name])
    found = unpack((GOLDEN / f"{name}.bin").read_bytes(), kind)
    # Arrays have no equality of their own: equal values are packed alike.
    assert pack(found) == pack(PACKED[name])


def test_a_case_of_an_older_version_is_still_read() -> None:
    assert msgspec.json.decode((GOLDEN / "case-1.json").read_bytes(), type=Case) == CASE
    assert msgspec.json.decode((GOLDEN / "case-2.json").read_bytes(), type=Case) == CASE_WITH_FACTS
    assert msgspec.json.decode((GOLDEN / "case-3.json").read_bytes(), type=Case) == CASE_EXPLAINED
    assert msgspec.json.decode((GOLDEN / "case-4.json").read_bytes(), type=Case) == CASE_WITH_CARE
    assert msgspec.json.decode((GOLDEN / "case-5.json").read_bytes(), type=Case) == CASE_WITH_LOSS
    assert msgspec.json.decode((GOLDEN / "case-6.json").read_bytes(), type=Case) == CASE_IN_DRY_RUN


def test_what_names_no_loss_is_written_as_it_was_before_there_were_losses() -> None:
    assert pack(WINDOW) == (GOLDEN / "window-1.bin").read_bytes()
    assert b"loss" not in msgspec.json.encode(CASE)
    assert b"loss" not in msgspec.json.encode(config())


def test_the_desk_goes_on_from_what_a_version_with_three_kinds_of_notices_kept() -> None:
    """`a` was opened with 1 to 5: 1 was sent theirs, 4 and 5 are queued, 2 was in contact, 3 is not in the directory."""
    world = World(config(send=True, follow_up_ms=MINUTE_MS), {3: None})
    world.desk.restore((GOLDEN / "desk-1.bin").read_bytes())
    world.minute, world.seq = 2, 3
    waiting = notice_id("default", "a", 4, Kind.PROBLEM, 1)
    world.step(Delivered(waiting, "suppressed", "email", "stale"), world.now_ms)
    world.step(Command(Verb.TRY_AGAIN, "a", "ani"), world.now_ms)
    again = Minute(bad=fails("login", [1, 6], ("5.2", "Karta")))
    world.go(again, anomaly("a", "login", {"app": "5.2"}, world.window_ms))
    found = {(n.customer, n.kind): n.state for n in world.store.notices.values()}
    assert found == {
        (4, Kind.PROBLEM): NoticeState.DROPPED,
        (1, Kind.TRY_AGAIN): NoticeState.QUEUED,
        (6, Kind.PROBLEM): NoticeState.QUEUED,
    }
    counts = world.store.cases["a"].notices
    assert (counts.sent, counts.queued) == (1, 3)
    kept = unpack(world.desk.snapshot(), dict)
    assert kept["format"] == 2


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_store_of_an_older_version_is_still_read(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / f"store-{revision}.sql").read_text(encoding="utf-8"))
    connection.close()
    with open_store(path) as store:
        assert store.customer_key == bytes(range(32))
        assert queries.list_cases(store) == [CASE]
        assert store.snapshot() == Snapshot(b"state", "hash", engine="1")
        assert store.positions() == {"log": Position(99, b"note")}
        assert store.in_force() == [InForce("hash", b"{}", 0)]
        assert store.tally() == {"applied": {"": 3}, "events": {"": 3}}


def _write_store(path: Path) -> None:
    """Write a store of this version as SQL."""
    from detector.desk.records import DeskEffects
    from detector.pipeline import Effects
    from streams.store import Advance, Commit

    made = path.with_suffix(".db")
    with open_store(made, create=True, customer_key=bytes(range(32))) as store:
        also = Commit([Advance("log", None, 99, b"note")], Snapshot(b"state", "hash"), InForce("hash", b"{}", 0))
        store.commit(Effects(records=3, applied=3, windows=[WINDOW], desk=DeskEffects(cases=[CASE])), also)
    connection = sqlite3.connect(made)
    path.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
    connection.close()
    made.unlink()


def _write(name: str, data: bytes) -> None:
    file = GOLDEN / name
    if not file.exists():
        file.write_bytes(data)


if __name__ == "__main__":
    for name, value in PACKED.items():
        _write(f"{name}.bin", pack(value))
    _write("case-1.json", msgspec.json.encode(CASE))
    _write("case-2.json", msgspec.json.encode(CASE_WITH_FACTS))
    _write("case-3.json", msgspec.json.encode(CASE_EXPLAINED))
    _write("case-4.json", msgspec.json.encode(CASE_WITH_CARE))
    _write("case-5.json", msgspec.json.encode(CASE_WITH_LOSS))
    _write("case-6.json", msgspec.json.encode(CASE_IN_DRY_RUN))
    if len(sys.argv) > 1 and not (GOLDEN / sys.argv[1]).exists():
        _write_store(GOLDEN / sys.argv[1])
