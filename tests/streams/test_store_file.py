"""A store in a file: who may read it, what is said of one that is damaged, locked, full, older, or none."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import DamagedStoreError, UnreachableError, UsageError
from detector.pipeline import Effects
from streams.store import Commit, Snapshot, Store, database, migrate, open_store
from streams.store import tables as t
from streams.store.database import where_of
from tests.servers.stored import some_effects


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tocsin.db"


@pytest.fixture
def store(path: Path) -> Store:
    return open_store(path, create=True)


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


def test_a_store_is_readable_by_its_owner_only(path: Path, store: Store) -> None:
    store.commit(some_effects())
    files = [path, *path.parent.glob("tocsin.db-*")]
    assert len(files) >= 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert sorted(os.listdir(path.parent)) == sorted(file.name for file in files)


def test_an_older_store_is_copied_before_it_is_migrated(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(some_effects())
    store.close()
    newest = migrate.HEAD
    monkeypatch.setattr(migrate, "HEAD", f"{int(newest) + 1:04d}")
    open_store(path).close()
    backup = path.with_name(f"tocsin.db.backup-{newest}")
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


@pytest.mark.parametrize(
    "db", ["postgres:shop", "postgresql:/shop", "postgresql:ani@db/shop", "PG:shop", "sqlite:shop.db"]
)
def test_what_begins_like_a_url_and_is_none_makes_no_file(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"did you mean (postgresql|sqlite):///?(USER@HOST/DATABASE|FILE)\?"):
        open_store(db, create=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "at:noon.db").touch()
    assert where_of("at:noon.db").path == where_of(Path("at:noon.db")).path == Path("at:noon.db")
    assert where_of("C:/shop.db").path == Path("C:/shop.db")


def test_a_url_of_another_database_is_refused_without_its_password(path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a file, sqlite.* found a URL of mysql$") as refused:
        open_store("mysql://ani:secret@localhost/tocsin", create=True)
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
