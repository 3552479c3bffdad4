"""`tocsin db`: copies that hold, a copy put back, and what is let go of."""

import os
import shutil
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from detector.config import DAY_MS
from streams.cli.main import main
from streams.engines.lock import only_runner
from streams.outbox.kill_switch import kill_switch
from streams.store import LIVE, open_store
from streams.store import tables as t
from streams.store.retention import Keep, prune
from tests.streams.commands import Tocsin

LONG_AFTER_MS = 4_000_000_000_000


def rows(db: Path, table: sa.Table) -> int:
    with open_store(db) as store, store.reading() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def make_live(db: Path) -> None:
    with open_store(db) as store:
        store.set_meta("mode", LIVE.encode())


def stopped(db: Path) -> bool:
    with open_store(db) as store:
        return kill_switch(store).on


def test_a_copy_holds_all_and_only_its_owner_reads_it(tocsin: Tocsin, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    found = tocsin.json("db", "backup", str(copy))
    assert found == {"file": str(copy), "bytes": copy.stat().st_size}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    whole = tocsin("dump")
    tocsin.db = copy
    assert tocsin("dump") == whole


def test_a_copy_is_made_while_a_run_is_at_work(tocsin: Tocsin, tmp_path: Path) -> None:
    with only_runner(tocsin.db), open_store(tocsin.db) as store, store.transaction():
        tocsin("db", "backup", str(tmp_path / "copy.db"))
    assert rows(tmp_path / "copy.db", t.cases) == rows(tocsin.db, t.cases)


def test_a_copy_overwrites_nothing(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_bytes(b"mine")
    tocsin("db", "backup", str(tmp_path / "copy.db"), exits=2)
    assert "is there already" in tocsin.err
    assert (tmp_path / "copy.db").read_bytes() == b"mine"


def test_what_was_restored_is_what_was_copied_and_what_was_there_is_moved_aside(tocsin: Tocsin, tmp_path: Path) -> None:
    whole = tocsin("dump")
    tocsin("db", "backup", str(tmp_path / "copy.db"))
    with open_store(tocsin.db) as store, store.transaction() as connection:
        connection.execute(sa.delete(t.cases))
    aside = Path(tocsin.json("db", "restore", str(tmp_path / "copy.db"))["moved_aside"])
    assert tocsin("dump") == whole
    assert rows(aside, t.cases) == 0
    assert stat.S_IMODE(tocsin.db.stat().st_mode) == 0o600


def test_a_restored_live_store_sends_nothing_until_a_person_says_so(tocsin: Tocsin, tmp_path: Path) -> None:
    make_live(tocsin.db)
    tocsin("db", "backup", str(tmp_path / "copy.db"))
    assert "kill-switch off" in tocsin("db", "restore", str(tmp_path / "copy.db"))
    assert stopped(tocsin.db)


def test_with_the_loss_accepted_sending_goes_on(tocsin: Tocsin, tmp_path: Path) -> None:
    make_live(tocsin.db)
    tocsin("db", "backup", str(tmp_path / "copy.db"))
    tocsin("db", "restore", str(tmp_path / "copy.db"), "--accept-loss")
    assert not stopped(tocsin.db)


def test_nothing_is_restored_under_a_run_that_is_at_work(tocsin: Tocsin, tmp_path: Path) -> None:
    tocsin("db", "backup", str(tmp_path / "copy.db"))
    with only_runner(tocsin.db):
        tocsin("db", "restore", str(tmp_path / "copy.db"), exits=3)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda file: file.write_bytes(b"x" * 8192), "damaged", id="no database"),
        pytest.param(lambda file: os.truncate(file, file.stat().st_size // 2), "damaged", id="cut off"),
        pytest.param(lambda file: file.unlink(), "no such file", id="absent"),
    ],
)
def test_a_damaged_copy_is_refused_and_the_store_stays(
    tocsin: Tocsin, tmp_path: Path, damage: "object", words: str
) -> None:
    whole, copy = tocsin("dump"), tmp_path / "copy.db"
    tocsin("db", "backup", str(copy))
    assert callable(damage)
    damage(copy)
    assert main(["db", "restore", str(copy), "--db", str(tocsin.db)]) != 0
    said = tocsin._capsys.readouterr().err
    assert words in said and "move it aside" not in said
    assert tocsin("dump") == whole


def test_a_refused_restore_leaves_nothing_behind(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    tocsin.db = tmp_path / "folder" / "new.db"
    (tmp_path / "copy.db").write_bytes(b"x" * 8_192)
    tocsin("db", "restore", str(tmp_path / "copy.db"), exits=1)
    assert f"{tmp_path / 'copy.db'}: is damaged (file is not a database); take another backup" in tocsin.err
    assert list(tocsin.db.parent.iterdir()) == []


def test_a_store_too_damaged_to_open_is_moved_aside_with_its_log(tocsin: Tocsin, tmp_path: Path) -> None:
    tocsin("db", "backup", str(tmp_path / "copy.db"))
    tocsin.db.write_bytes(b"x" * 8192)
    tocsin.db.with_name(tocsin.db.name + "-wal").write_bytes(b"y" * 100)
    aside = Path(tocsin.json("db", "restore", str(tmp_path / "copy.db"))["moved_aside"])
    assert aside.with_name(aside.name + "-wal").exists()
    assert rows(tocsin.db, t.cases) == 1


def test_a_finished_case_goes_with_all_that_hangs_on_it(tocsin: Tocsin) -> None:
    tocsin("cases", "resolve", tocsin.json("cases")[0]["id"])
    assert tocsin.json("db", "prune", "--cases", "7d")["cases"] == 1
    assert [rows(tocsin.db, table) for table in (t.cases, t.ledger, t.notices, t.delivery, t.timeline, t.evidence)] == [
        0
    ] * 6
    assert tocsin("dump") == ""


def test_what_is_not_that_old_stays(tocsin: Tocsin) -> None:
    whole = tocsin("dump")
    assert "nothing that old" in tocsin("db", "prune", "--cases", "10000d")
    assert tocsin("dump") == whole


def test_an_unfinished_case_and_one_with_a_waiting_notice_are_never_touched(tocsin: Tocsin, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    shutil.copy(tocsin.db, other)
    with open_store(tocsin.db) as store:
        with store.transaction() as connection:
            connection.execute(sa.update(t.cases).values(state="open"))
        assert prune(store, Keep(cases_ms=DAY_MS), LONG_AFTER_MS)["cases"] == 0
    with open_store(other) as store:
        with store.transaction() as connection:
            notice = connection.execute(sa.select(t.notices.c.id).limit(1)).scalar_one()
            row = {"tenant": "default", "notice": notice, "state": "waiting", "channel": "email", "attempts": 0}
            connection.execute(sa.insert(t.outbox).values(**row, due_ms=0, stale_ms=0))
        assert prune(store, Keep(cases_ms=DAY_MS), LONG_AFTER_MS)["cases"] == 0


def test_the_newest_dead_letters_are_kept(tocsin: Tocsin) -> None:
    before = [letter["position"] for letter in tocsin.json("dead")]
    assert tocsin.json("db", "prune", "--dead-letters", "1")["dead_letters"] == len(before) - 1
    assert [letter["position"] for letter in tocsin.json("dead")] == before[-1:]


def test_the_feed_keeps_what_a_webhook_still_waits_for_and_its_last_number(tocsin: Tocsin) -> None:
    with open_store(tocsin.db) as store:
        with store.transaction() as connection:
            for seq in range(1, 11):
                row = {"tenant": "default", "seq": seq, "at_ms": seq, "type": "case.opened", "subject": "", "data": b""}
                connection.execute(sa.insert(t.feed).values(**row))
            hook = {"tenant": "default", "id": "w", "url": "", "types": "", "secrets": b"[]", "state": "active"}
            connection.execute(sa.insert(t.webhook).values(**hook, reason="", from_seq=11, created_ms=0, answer=""))
            row = {"tenant": "default", "webhook": "w", "seq": 6, "state": "waiting", "attempts": 0, "due_ms": 0}
            connection.execute(sa.insert(t.webhook_queue).values(**row, detail=""))
        assert prune(store, Keep(feed_ms=0), LONG_AFTER_MS)["feed"] == 5
        with store.transaction() as connection:
            connection.execute(sa.update(t.webhook_queue).values(state="sent"))
        assert prune(store, Keep(feed_ms=0), LONG_AFTER_MS)["feed"] == 4
        with store.reading() as connection:
            assert connection.execute(sa.select(t.feed.c.seq)).scalars().all() == [10]
            assert connection.execute(sa.select(t.webhook_queue.c.seq)).scalars().all() == []


def test_dead_letters_are_kept_by_their_number_and_a_duration_is_told_so(tocsin: Tocsin) -> None:
    tocsin("db", "prune", "--dead-letters", "1m", exits=2)
    assert "--dead-letters" in tocsin.err
    assert "expected how many of the newest to keep, such as 100000, found '1m'" in tocsin.err


@pytest.mark.parametrize("flag", ["--cases", "--feed"])
def test_a_duration_that_is_none_says_what_is_allowed(tocsin: Tocsin, flag: str) -> None:
    tocsin("db", "prune", flag, "soon", exits=2)
    assert f"{flag}: expected a duration" in tocsin.err
