"""The store of one tenant: what a step brought and how far it got, in one transaction.

Promises
- `commit` writes everything or nothing. It is fenced: the step count and every source that moved must still stand
  where this process left them, else `FencedError` and nothing is written.
- What is read back is what was written; a snapshot whose checksum does not hold is an error, never an empty start.
- Reads never wait for a writer.
"""

import dataclasses
import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from detector.errors import DamagedStoreError, FencedError, UsageError
from detector.pipeline import Effects
from streams.store import rows
from streams.store import tables as t
from streams.store.connections import BESIDE, READS
from streams.store.database import Where, connect, streamed, translated
from streams.store.values import (
    ENGINE,
    Advance,
    Commit,
    InForce,
    IntakeRow,
    Piece,
    Position,
    Snapshot,
    Waiting,
)
from streams.store.writing import SECRET, Writer

RECORDING, LIVE = "recording", "live"

_STEPS = ""
"""The position row that counts commits."""

LOG = "<intake>"
"""The position row that says how far the live log was worked off."""

_NUMBERS = "<log>"
"""The position row that numbers the live log's rows."""


class Store:
    """One tenant's part of an open store.  Made by `open_store`."""

    def __init__(self, engine: sa.Engine, where: Where, tenant: str) -> None:
        self.engine, self.where, self.tenant = engine, where, tenant
        self._steps: int | None = None
        self._mark = secrets.token_bytes(8)

    @property
    def path(self) -> Path:
        """The file of a store that is one.

        Raises
        ------
        UsageError
            It is a server's.
        """
        return self.where.file

    @property
    def on_server(self) -> bool:
        """Whether it is a database of a server, which processes on several machines share."""
        return self.where.url is not None

    def close(self) -> None:
        self.engine.dispose()

    def again(self, busy_ms: int | None = None) -> "Store":
        """Return another handle on the same store, for a thread of its own.

        Parameters
        ----------
        busy_ms
            How long it waits for another writer before it says so; unless given, as long as all.
        """
        return Store(connect(self.where, busy_ms=busy_ms), self.where, self.tenant)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- transactions ---------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Hold the write lock from the first statement to the commit; an exception undoes everything."""
        with translated(self.where), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def beside(self) -> Iterator[sa.Connection]:
        """Write a row or two without waiting for the write lock, where the database locks single rows.

        Only for rows whose writers all say under which condition they are written. On SQLite it is a `transaction`.
        """
        with translated(self.where), self.engine.connect() as plain:
            connection = plain.execution_options(**BESIDE)
            with connection.begin():
                yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """See one state of the store throughout, without holding up the writer."""
        with translated(self.where), self.engine.connect() as plain:
            connection = plain.execution_options(**READS)
            with connection.begin():
                yield connection

    # --- the whole store ------------------------------------------------------------------------------------------

    def meta(self, key: str) -> bytes | None:
        with self.reading() as connection:
            return _meta(connection, key)

    def set_meta(self, key: str, value: bytes) -> None:
        with self.transaction() as connection:
            connection.execute(rows.upsert(t.meta), {"key": key, "value": value})

    @property
    def customer_key(self) -> bytes:
        """The secret under which customers' ids are hashed."""
        found = self.meta(SECRET)
        if not found:
            message = f"{self.where}: has lost its customer hash key; restore a backup"
            raise DamagedStoreError(message)
        return found

    @property
    def mode(self) -> str | None:
        """`recording` or `live`; None until the first run."""
        found = self.meta("mode")
        return None if found is None else found.decode()

    def claim_mode(self, mode: str) -> None:
        """Make a new store a recording or a live one: from then on it is that.

        Raises
        ------
        UsageError
            It is the other one already.
        """
        with self.transaction() as connection:
            found = _meta(connection, "mode")
            if found is None:
                connection.execute(rows.upsert(t.meta), {"key": "mode", "value": mode.encode()})
            elif found.decode() != mode:
                message = (
                    f"{self.where}: is a {found.decode()} store and takes no {mode} events; "
                    f"give --db another file ({LIVE}: made with --follow, {RECORDING}: without)"
                )
                raise UsageError(message)

    # --- how far, and from where to go on -------------------------------------------------------------------------

    def positions(self) -> dict[str, Position]:
        with self.reading() as connection:
            found = connection.execute(sa.select(t.position).where(t.position.c.tenant == self.tenant))
            own = (_STEPS, _NUMBERS)
            return {row.source: Position(row.next, row.detail) for row in found if row.source not in own}

    def snapshot(self) -> Snapshot | None:
        """Return the last committed snapshot.

        Raises
        ------
        DamagedStoreError
            Its checksum does not hold, or another engine version wrote it.
        """
        with self.reading() as connection:
            row = connection.execute(sa.select(t.snapshot).where(t.snapshot.c.tenant == self.tenant)).first()
            committed = _steps(connection, self.tenant)
        if row is None:
            if committed:
                message = f"{self.where}: holds results but no snapshot; restore a backup, or replay into another --db"
                raise DamagedStoreError(message)
            return None
        if hashlib.sha256(row.data).digest() != row.checksum:
            message = f"{self.where}: its snapshot is damaged (checksum); restore a backup, or replay into another --db"
            raise DamagedStoreError(message)
        if row.engine != ENGINE:
            message = (
                f"{self.where}: was last used by another engine version ({row.engine}, this is {ENGINE}); "
                "replay the recording into another --db"
            )
            raise UsageError(message)
        return Snapshot(row.data, row.config, bool(row.ended), row.engine)

    def join(self) -> None:
        """Take the store's step count as ours: from here on every commit is fenced by it."""
        with self.reading() as connection:
            self._steps = _steps(connection, self.tenant)

    def commit(self, effects: Effects, also: Commit | None = None) -> None:
        """Write a step's effects, the new positions and the snapshot, or nothing.

        Raises
        ------
        FencedError
            Another process moved the step count or a source since `join`.
        UnreachableError
            Locked, or the disk is full: nothing is lost, the same commit may be tried again.
        """
        also = also or Commit()
        if self._steps is None:
            self.join()
        steps = self._steps or 0
        mark = self._mark if also.snapshot is None else self._mark + hashlib.sha256(also.snapshot.data).digest()
        with self.transaction() as connection:
            if self._is_done(connection, steps + 1, mark):
                self._steps = steps + 1
                return
            self._fence(connection, Advance(_STEPS, steps or None, steps + 1, mark))
            for advance in also.advances:
                self._fence(connection, advance)
            live = _meta(connection, "mode") == LIVE.encode()
            Writer(connection, self.tenant, feeds=live).write(effects, also)
            if also.snapshot is not None:
                self._write_snapshot(connection, also.snapshot)
        self._steps = steps + 1

    def _is_done(self, connection: sa.Connection, steps: int, mark: bytes) -> bool:
        """Whether this very commit came through before: its answer was lost with the connection."""
        this = (t.position.c.tenant == self.tenant) & (t.position.c.source == _STEPS)
        found = connection.execute(sa.select(t.position.c.next, t.position.c.detail).where(this)).first()
        return found is not None and found.next == steps and bytes(found.detail) == mark

    def _fence(self, connection: sa.Connection, advance: Advance) -> None:
        row = {"tenant": self.tenant, "source": advance.source, "next": advance.new, "detail": advance.detail}
        if advance.old is None:
            changed = connection.execute(rows.upsert(t.position, replace=False), row).rowcount
        else:
            fenced = sa.update(t.position).where(
                t.position.c.tenant == self.tenant,
                t.position.c.source == advance.source,
                t.position.c.next == advance.old,
            )
            changed = connection.execute(fenced.values(next=advance.new, detail=advance.detail)).rowcount
        if changed != 1:
            message = (
                f"{self.where}: another process went on with this store; nothing of this step was written, start again"
            )
            raise FencedError(message)

    def _write_snapshot(self, connection: sa.Connection, snapshot: Snapshot) -> None:
        row = {
            "tenant": self.tenant,
            "engine": snapshot.engine,
            "config": snapshot.config,
            "ended": int(snapshot.ended),
            "checksum": hashlib.sha256(snapshot.data).digest(),
            "data": snapshot.data,
        }
        connection.execute(rows.upsert(t.snapshot), row)

    def in_force(self) -> list[InForce]:
        """Return the configurations that were in force, in order."""
        with self.reading() as connection:
            found = connection.execute(
                sa.select(t.config).where(t.config.c.tenant == self.tenant).order_by(t.config.c.seq)
            )
            return [InForce(row.hash, row.body, row.from_window_ms) for row in found]

    # --- the inbox ------------------------------------------------------------------------------------------------

    def post(self, data: bytes) -> int:
        """Leave a command for the runner that is at work; returns its number."""
        with self.transaction() as connection:
            row = {"tenant": self.tenant, "state": "waiting", "data": data, "answer": ""}
            return int(connection.execute(sa.insert(t.inbox).returning(t.inbox.c.id), row).scalar_one())

    def waiting(self) -> list[Waiting]:
        wanted = (
            sa.select(t.inbox)
            .where(t.inbox.c.tenant == self.tenant, t.inbox.c.state == "waiting")
            .order_by(t.inbox.c.id)
        )
        with self.reading() as connection:
            return [Waiting(row.id, row.data) for row in connection.execute(wanted)]

    def answer(self, number: int) -> tuple[str, str]:
        """Return a command's state (`waiting`, `done`, `refused`) and the reason."""
        with self.reading() as connection:
            row = connection.execute(sa.select(t.inbox).where(t.inbox.c.id == number)).one()
            return str(row.state), str(row.answer)

    # --- the live log ---------------------------------------------------------------------------------------------

    def append_intake(self, found: Sequence[IntakeRow], advances: Sequence[Advance] = ()) -> list[IntakeRow]:
        """Make blocks and ticks durable before anything is made of them, with how far their files were read.

        Returns them as they stand in the log. Several processes may append: numbers have no gap, and whoever reads up
        to a number has read every row below it.

        Raises
        ------
        FencedError
            Another process read these files meanwhile.
        """
        with self.transaction() as connection:
            for advance in advances:
                self._fence(connection, advance)
            return self._append(connection, found)

    def append_pieces(self, source: str, pieces: Sequence[Piece], ingest_ms: int) -> list[IntakeRow]:
        """Make what came from a source without places of its own durable; its place is the bytes that came before."""
        with self.transaction() as connection:
            at = self._take(connection, source, sum(piece.size for piece in pieces), lambda: 0)
            found = []
            for piece in pieces:
                found.append(IntakeRow(source, at, at + piece.size, ingest_ms, piece.data, piece.detail))
                at += piece.size
            return self._append(connection, found)

    def _append(self, connection: sa.Connection, found: Sequence[IntakeRow]) -> list[IntakeRow]:
        first = self._take(connection, _NUMBERS, len(found), lambda: self._unused(connection))
        numbered = [dataclasses.replace(row, seq=first + i) for i, row in enumerate(found)]
        values = [
            {"tenant": self.tenant, **{f: getattr(row, f) for f in IntakeRow.__dataclass_fields__}} for row in numbered
        ]
        if values:
            connection.execute(sa.insert(t.intake), values)
        return numbered

    def _take(self, connection: sa.Connection, counter: str, n: int, start: Callable[[], int]) -> int:
        """Take the next `n` of a counter, and hold it until the commit: so numbers are given in the commits' order."""
        this = (t.position.c.tenant == self.tenant) & (t.position.c.source == counter)
        raised = sa.update(t.position).where(this).values(next=t.position.c.next + n).returning(t.position.c.next)
        after = connection.execute(raised).scalar_one_or_none()
        if after is None:
            row = {"tenant": self.tenant, "source": counter, "next": start(), "detail": b""}
            connection.execute(rows.upsert(t.position, replace=False), row)
            after = connection.execute(raised).scalar_one()
        return int(after) - n

    def _unused(self, connection: sa.Connection) -> int:
        """Return the first number of a log that was begun before there was a counter."""
        newest = sa.select(sa.func.max(t.intake.c.seq)).where(t.intake.c.tenant == self.tenant)
        found = connection.execute(newest).scalar_one_or_none()
        read = sa.select(t.position.c.next).where(t.position.c.tenant == self.tenant, t.position.c.source == LOG)
        worked_off = connection.execute(read).scalar_one_or_none()
        return max(0 if found is None else int(found) + 1, int(worked_off or 0))

    def intake(self, from_seq: int, limit: int | None = None) -> Iterator[IntakeRow]:
        """Yield the live log's rows from `from_seq` on."""
        wanted = (
            sa.select(t.intake)
            .where(t.intake.c.tenant == self.tenant, t.intake.c.seq >= from_seq)
            .order_by(t.intake.c.seq)
            .limit(limit)
        )
        with self.reading() as connection, streamed(connection, wanted, 16) as found:
            for row in found:
                yield IntakeRow(row.source, row.position, row.next, row.ingest_ms, row.data, row.detail, row.seq)

    def unread(self) -> tuple[int, list[tuple[int, int]]]:
        """Return up to where the live log is worked off, and number and size of each row that is still there."""
        read = sa.select(t.position.c.next).where(t.position.c.tenant == self.tenant, t.position.c.source == LOG)
        sizes = sa.select(t.intake.c.seq, sa.func.coalesce(sa.func.length(t.intake.c.data), 0))
        with self.reading() as connection:
            worked_off = int(connection.execute(read).scalar_one_or_none() or 0)
            left = sizes.where(t.intake.c.tenant == self.tenant, t.intake.c.seq >= worked_off).order_by(t.intake.c.seq)
            return worked_off, [(int(seq), int(size)) for seq, size in connection.execute(left)]

    def worked_off(self) -> int:
        """Return up to where the live log is worked off."""
        read = sa.select(t.position.c.next).where(t.position.c.tenant == self.tenant, t.position.c.source == LOG)
        with self.reading() as connection:
            return int(connection.execute(read).scalar_one_or_none() or 0)

    # --- sums -----------------------------------------------------------------------------------------------------

    def tally(self) -> dict[str, dict[str, int]]:
        """Return the sums over the store's life: what → reason → n."""
        out: dict[str, dict[str, int]] = {}
        with self.reading() as connection:
            for row in connection.execute(sa.select(t.tally).where(t.tally.c.tenant == self.tenant)):
                if row.n:
                    out.setdefault(row.what, {})[row.reason] = row.n
        return {what: dict(sorted(reasons.items())) for what, reasons in sorted(out.items())}


def _meta(connection: sa.Connection, key: str) -> bytes | None:
    found: Any = connection.execute(sa.select(t.meta.c.value).where(t.meta.c.key == key)).scalar_one_or_none()
    return None if found is None else bytes(found)


def _steps(connection: sa.Connection, tenant: str) -> int:
    wanted = sa.select(t.position.c.next).where(t.position.c.tenant == tenant, t.position.c.source == _STEPS)
    return int(connection.execute(wanted).scalar_one_or_none() or 0)
