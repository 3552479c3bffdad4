"""A store in a file: SQLite with a write-ahead log.

Promises
- Readers never wait for the writer, nor the writer for them.
- A store appears whole or not at all: it is made beside its place and linked there once its schema stands, readable
  by its owner only.
"""

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import NullPool, QueuePool

from detector.errors import DamagedStoreError, TocsinError, UnreachableError, UsageError
from streams.store.connections import BUSY_MS

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs", "fuse.glusterfs"}


def connect(path: Path, *, journal: str = "wal", busy_ms: int | None = None) -> sa.Engine:
    """Return an engine on a file.  The pool keeps a connection for writing and one for reading beside it."""
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


def ours(label: object, error: BaseException) -> TocsinError:
    """Return what SQLite reports as one of our errors."""
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
