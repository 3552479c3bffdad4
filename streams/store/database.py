"""How a database is reached: one engine per file; every write holds the write lock from its first statement.

Promises
- SQLite runs with a write-ahead log: readers never wait for the writer. A writer waits for another up to `BUSY_MS`,
  then says so.
- A store appears whole or not at all: it is made beside its place and linked there once its schema stands, readable
  by its owner only.
- What the database reports is translated into the error tree: locked, full and damaged each say what to do.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool, QueuePool

from detector.errors import TocsinError, UnreachableError, UsageError

BUSY_MS = 40_000
READS = {"reads": True}
"""Execution options of a connection that only reads: it sees one state throughout and holds up nobody."""

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs", "fuse.glusterfs"}
_PREFIX = "sqlite:///"


class DamagedStoreError(TocsinError):
    """The store's bytes do not hold what they should: nothing is guessed, and nothing starts empty in their place."""


def path_of(url: str) -> Path:
    """Return the file that `--db` names.

    Raises
    ------
    UsageError
        For the URL of a database that this version does not speak.
    """
    if url.startswith(_PREFIX):
        return Path(url.removeprefix(_PREFIX))
    if "://" in url:
        scheme = url.split("://", 1)[0]
        message = (
            f"--db: expected a file or sqlite:///FILE, found a URL of {scheme} "
            "(this version keeps its stores in SQLite, and in no other database)"
        )
        raise UsageError(message)
    return Path(url)


def connect(path: Path, *, journal: str = "wal", busy_ms: int | None = None) -> sa.Engine:
    """Return an engine on an SQLite file.  The pool keeps a connection for writing and one for reading beside it."""
    refuse_network(path)
    busy_ms = BUSY_MS if busy_ms is None else busy_ms
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=QueuePool if journal == "wal" else NullPool,
        connect_args={"timeout": busy_ms / 1000},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        for pragma in (
            f"journal_mode={journal}",
            "synchronous=full",
            "secure_delete=fast",  # what is replaced is overwritten wherever its page is written anyway
            "foreign_keys=on",
            f"busy_timeout={busy_ms}",
            "cache_size=-16000",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def publish(made: Path, path: Path) -> None:
    """Put a finished new store in its place; a store that appeared there meanwhile stays."""
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        made.rename(path)
        return
    made.unlink()


def refuse_network(path: Path) -> None:
    """Refuse a network file system, where SQLite's locks do not hold."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    where = str(path.resolve().parent)
    best, kind = "", ""
    for line in mounts.splitlines():
        _device, point, fs_type, *_ = line.split(" ")
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fs_type
    if kind in _NETWORK:
        message = (
            f"{path}: lies on a network file system ({kind}), where locks do not hold; give --db a file on a local disk"
        )
        raise UsageError(message)


@contextmanager
def translated(label: object) -> Iterator[None]:
    """Turn the database's errors into ours; `label` names the store."""
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise _ours(label, cause or error) from error


def _ours(label: object, error: BaseException) -> TocsinError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return UnreachableError(
            f"{label}: another process holds the store, and did not let go of it in time; stop it or try again"
        )
    if "full" in text:
        return UnreachableError(
            f"{label}: the disk is full; nothing was lost, make room and run the same command again"
        )
    if "readonly" in text or "unable to open" in text:
        return UnreachableError(f"{label}: cannot be written ({text}); check the file's and its folder's permissions")
    if "malformed" in text or "not a database" in text or "disk I/O" in text:
        return DamagedStoreError(
            f"{label}: the store is damaged ({text}); move it aside, then restore a backup or replay the recording"
        )
    return TocsinError(f"{label}: {text}")
