"""A whole, checked copy of a store while it is at work, and a store made from such a copy.

Promises
- A copy is one state of the store, readable by its owner only; it appears whole or not at all, and was opened and
  checked before it did.
- To restore replaces nothing: the present store is moved aside first. Nobody may be at work on it.
- A restored store sends nothing by itself: what went out after the copy was made is not in it. Its kill switch is on
  until a person turns it off.
- A restored store's feed goes on behind every number that the store in its place had given out. Where that can't be
  known, it goes on `FEED_LEAP` behind the copy's.
"""

import contextlib
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from detector.errors import DamagedStoreError, UsageError
from streams.store import migrate
from streams.store.database import Where, translated
from streams.store.feeding import AFTER
from streams.store.sqlite import connect
from streams.store.store import RECORDING, Store

FEED_LEAP = 1_000_000_000
"""No store gives out so many of the feed's numbers between a copy and its return."""
_PARTS = ("", "-wal", "-shm")
"""What a store that was not closed consists of."""


@dataclass(frozen=True)
class Restored:
    """What a store was restored over.

    Attributes
    ----------
    aside
        Where the store in its place went; None: there was none.
    feed_after
        The number behind which the feed goes on, where that is not the copy's last.
    known
        How far the feed had come was read in the store that was there.
    """

    aside: Path | None = None
    feed_after: int | None = None
    known: bool = True


def backup(store: Store, target: Path) -> int:
    """Write a copy of the store and return its size in bytes.

    Raises
    ------
    UsageError
        There is such a file already, or it cannot be written; or the store is a server's, which has its own way.
    DamagedStoreError
        The copy does not hold.
    """
    refuse_server(store.where, "pg_dump --format=custom --no-owner --file FILE --dbname")
    if target.exists():
        message = f"{target}: is there already; name another file"
        raise UsageError(message)
    made = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    try:
        made.touch(mode=0o600)
    except OSError as error:
        message = f"{target}: cannot be written ({error.strerror}); name a file in a folder that can"
        raise UsageError(message) from error
    try:
        with translated(store.where):
            raw = store.engine.raw_connection()
            try:
                raw.cursor().execute("VACUUM INTO ?", (str(made),))
            finally:
                raw.close()
        check(made)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        os.link(made, target)
    finally:
        made.unlink(missing_ok=True)
    return target.stat().st_size


def refuse_server(where: Where, command: str) -> None:
    """Say which of PostgreSQL's own commands to use.

    Raises
    ------
    UsageError
        The store is a database of PostgreSQL.
    """
    if where.url is not None:
        message = (
            f"{where}: expected a store in a file; one on a PostgreSQL server is copied and put back by its own "
            f"tools: {command} '{where}' (docs/store.md)"
        )
        raise UsageError(message)


def check(path: Path) -> str:
    """Return a store's schema revision, once all of its pages hold.

    Raises
    ------
    UsageError
        It is no store of Tocsin, or a newer program's.
    DamagedStoreError
        Its bytes do not hold.
    """
    if not path.is_file():
        message = f"{path}: there is no such file"
        raise UsageError(message)
    try:
        found, revision = _looked_through(path)
    except DamagedStoreError as error:
        found, revision = str(getattr(error.__cause__, "orig", error.__cause__)), None
    if found != "ok":
        message = f"{path}: is damaged ({found}); take another backup"
        raise DamagedStoreError(message)
    migrate.refuse_foreign(revision, str(path))
    return str(revision)


def _looked_through(path: Path) -> tuple[str, str | None]:
    """Return what SQLite finds wrong with a file ("ok": nothing), and its schema's revision."""
    with translated(path):
        engine = connect(path, journal="delete")
        try:
            with engine.connect().execution_options(reads=True) as connection, connection.begin():
                found = str(connection.execute(sa.text("PRAGMA integrity_check(1)")).scalar_one())
                return found, migrate.revision_of(connection) if found == "ok" else None
        finally:
            engine.dispose()


def restore(source: Path, path: Path, stamp: str) -> Restored:
    """Put a copy of `source` in the place of the store at `path`, which is moved aside.

    `check` the source before, and hold `only_runner` around it.  `stamp` becomes part of the name of what was there.

    Raises
    ------
    UsageError, DamagedStoreError
        The source can't be read, or the present store not be moved; nothing was touched.
    """
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    made.touch(mode=0o600)
    try:
        with (
            translated(source),
            contextlib.closing(sqlite3.connect(source)) as reading,
            contextlib.closing(sqlite3.connect(made)) as writing,
        ):
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=delete").close()
            after, known = _feed_goes_on_after(writing, path)
            if after is not None:
                writing.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (AFTER, str(after).encode())).close()
                writing.commit()
        aside = None
        if path.exists():
            aside = path.with_name(f"{path.name}.replaced-{stamp}")
            if aside.exists():
                message = f"{aside}: is there already; move it away first"
                raise UsageError(message)
            for suffix in _PARTS:
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
        made.rename(path)
    finally:
        made.unlink(missing_ok=True)
    return Restored(aside, after, known)


def _feed_goes_on_after(copy: sqlite3.Connection, replaced: Path) -> tuple[int | None, bool]:
    """Return behind which number the copy's feed has to go on (None: its own last), and whether that is known.

    One number is left out: so whoever has all that the replaced store told is seen to have what this one never told.
    """
    mode = copy.execute("SELECT value FROM meta WHERE key = 'mode'").fetchone()
    if mode is not None and mode[0] == RECORDING.encode():
        return None, True
    own, given_out = _last_number(copy), _given_out(replaced)
    if given_out is None:
        return own + FEED_LEAP, False
    return (given_out + 1 if given_out > own else None), True


def _given_out(path: Path) -> int | None:
    """Return the feed's highest number in a store, which is not changed by it; None where it can't be read."""
    if not path.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            whole = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            return _last_number(connection) if whole and "alembic_version" in _tables(connection) else None
    except sqlite3.Error:
        return None


def _last_number(connection: sqlite3.Connection) -> int:
    tables, found = _tables(connection), [0]
    if "feed" in tables:
        found += [int(seq) for (seq,) in connection.execute("SELECT max(seq) FROM feed") if seq is not None]
    found += [int(value) for (value,) in connection.execute("SELECT value FROM meta WHERE key = ?", (AFTER,))]
    return max(found)


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
