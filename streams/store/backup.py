"""A whole, checked copy of a store while it is at work, and a store made from such a copy.

Promises
- A copy is one state of the store, readable by its owner only; it appears whole or not at all, and was opened and
  checked before it did.
- To restore replaces nothing: the present store is moved aside first. Nobody may be at work on it.
- A restored store sends nothing by itself: what went out after the copy was made is not in it. Its kill switch is on
  until a person turns it off.
"""

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from detector.errors import UsageError
from streams.store import migrate
from streams.store.database import DamagedStoreError, connect, translated
from streams.store.store import Store

_PARTS = ("", "-wal", "-shm")
"""What a store that was not closed consists of."""


def backup(store: Store, target: Path) -> int:
    """Write a copy of the store and return its size in bytes.

    Raises
    ------
    UsageError
        There is such a file already, or it cannot be written.
    DamagedStoreError
        The copy does not hold.
    """
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
        with translated(store.path):
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
    with translated(path):
        engine = connect(path, journal="delete")
        try:
            with engine.connect().execution_options(reads=True) as connection, connection.begin():
                found = connection.execute(sa.text("PRAGMA integrity_check(1)")).scalar_one()
                if found != "ok":
                    message = f"{path}: is damaged ({found}); take another backup"
                    raise DamagedStoreError(message)
                revision = migrate.revision_of(connection)
        finally:
            engine.dispose()
    if revision is None:
        message = f"{path}: is not a store of Tocsin"
        raise UsageError(message)
    if revision > migrate.HEAD:
        message = f"{path}: was made by a newer Tocsin (schema {revision}, this one knows up to {migrate.HEAD})"
        raise UsageError(message)
    return revision


def restore(source: Path, path: Path, stamp: str) -> Path | None:
    """Put a copy of `source` in the place of the store at `path`; returns where the present one went, if there was one.

    Hold `only_runner` around it.  `stamp` becomes part of that name.

    Raises
    ------
    UsageError, DamagedStoreError
        The source is no store, or does not hold; nothing was touched.
    """
    check(source)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    made.touch(mode=0o600)
    try:
        with (
            contextlib.closing(sqlite3.connect(source)) as reading,
            contextlib.closing(sqlite3.connect(made)) as writing,
        ):
            reading.backup(writing)
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
    return aside
