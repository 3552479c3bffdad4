"""Where the engines of several machines stand: one row each, and a fence around every write.

Promises
- What an engine made, how far it got and its state are one transaction, or nothing.
- Who takes an engine over raises its epoch. A commit holds only while the epoch and the place are those that the
  engine left: a worker that lost it without knowing writes nothing (`FencedError`).
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from detector.errors import DamagedStoreError, FencedError, UsageError
from detector.pack import pack, unpack
from detector.stages import Effects
from detector.watch.anomaly import Anomaly
from detector.watch.control import Control
from streams.store import rows
from streams.store import tables as t
from streams.store.history import StoreHistory
from streams.store.store import LIVE, Store
from streams.store.values import ENGINE, Commit
from streams.store.writing import Writer

_NEVER = -(2**62)
"""The place of an engine that has not run yet."""
_CONTROL = msgspec.msgpack.Decoder(Control)


@dataclass(frozen=True)
class Standing:
    """Where an engine stands, as anybody may read it."""

    next: int
    until_ms: int | None
    at_ms: int
    body: bytes


@dataclass(frozen=True)
class Taken:
    """An engine that was taken over: from here it goes on."""

    name: str
    epoch: int
    next: int | None
    """None: it never ran."""
    data: bytes = b""
    """Its state; empty where it never ran."""
    body: bytes = b""


@dataclass(frozen=True)
class Moved:
    """How far an engine got, and its state there."""

    name: str
    epoch: int
    old: int | None
    next: int
    data: bytes
    until_ms: int | None = None
    body: bytes = b""


COUNT, WATCH, DESK = "count", "watch", "desk"
"""What an engine's name begins with."""
_INPUT = "kafka"
_IDENTITY = "identity"


def kafka_input(store: Store) -> str | None:
    """Return which input the engines of a tenant's store read on Kafka (`TOPIC/PARTITIONS`); None where none does."""
    found = store.meta(f"{_INPUT}:{store.tenant}")
    return None if found is None else found.decode()


def claim_kafka_input(store: Store, topic: str, partitions: int) -> None:
    """Make a new store one whose engines run on Kafka, on this input: from then on it is that.

    Raises
    ------
    UsageError
        It belongs to the service of one machine, or to another input.
    """
    store.claim_mode(LIVE)
    wanted, found = f"{topic}/{partitions}", kafka_input(store)
    if found is None:
        if store.snapshot() is not None or store.unread() != (0, []):
            message = f"{store.where}: its engines run on one machine (`tocsin run`); give --db another store"
            raise UsageError(message)
        store.set_meta(f"{_INPUT}:{store.tenant}", wanted.encode())
    elif found != wanted:
        message = (
            f"{store.where}: was made for the input {found} (topic/partitions), the brokers have {wanted}: "
            "customers are counted by partition; give --db a new store, or back the topic as it was"
        )
        raise UsageError(message)


def identity(store: Store) -> str:
    """Return what tells a store from all others, also after it was moved or restored."""
    if (found := store.meta(_IDENTITY)) is None:
        with store.transaction() as connection:
            made = {"key": _IDENTITY, "value": secrets.token_hex(8).encode()}
            connection.execute(rows.upsert(t.meta, replace=False), made)
        found = store.meta(_IDENTITY)
        assert found is not None
    return found.decode()


def claim_nameless(store: Store, topic: str, *, take: bool) -> None:
    """Take what names no tenant on a topic that tenants share, or leave it: in one store one tenant may.

    Raises
    ------
    UsageError
        Another tenant of the store takes it.
    """
    key, own = f"{_INPUT}-nameless:{topic}", store.tenant.encode()
    with store.transaction() as connection:
        this = t.meta.c.key == key
        if not take:
            connection.execute(sa.delete(t.meta).where(this, t.meta.c.value == own))
            return
        connection.execute(rows.upsert(t.meta, replace=False), {"key": key, "value": own})
        found = bytes(connection.execute(sa.select(t.meta.c.value).where(this)).scalar_one())
    if found != own:
        message = (
            f"{store.where}: what names no tenant on {topic} is taken by {found.decode()}: "
            "kafka.tenant.unnamed is dead with one tenant alone; start that one without it first"
        )
        raise UsageError(message)


def refuse_kafka_input(store: Store) -> None:
    """Keep the engines of one machine away from a store that workers on Kafka work on.

    Raises
    ------
    UsageError
        It is one.
    """
    found = kafka_input(store)
    if found is not None:
        message = f"{store.where}: its events come from Kafka ({found}) and are worked off by `tocsin worker`"
        raise UsageError(message)


class Engines:
    """The engines of one tenant's store.

    Parameters
    ----------
    config
        Hash of the configuration that this process works on.

    Attributes
    ----------
    history
        The windows' records, which the engines of a process read once between them.
    """

    def __init__(self, store: Store, config: str) -> None:
        self.store, self._config = store, config
        self.history = StoreHistory(store)

    def take_over(self, names: Sequence[str]) -> list[Taken]:
        """Take engines over: from now on nobody else writes for them.

        Raises
        ------
        DamagedStoreError
            A state's checksum does not hold.
        UsageError
            Another engine version wrote it.
        """
        return [self._take_over(name) for name in names]

    def _take_over(self, name: str) -> Taken:
        this = self._this(name)
        with self.store.transaction() as connection:
            raised = sa.update(t.engine).where(this).values(epoch=t.engine.c.epoch + 1)
            connection.execute(raised)
            row = connection.execute(sa.select(t.engine).where(this)).first()
            if row is None:
                new = self._row(Moved(name, 1, None, _NEVER, b""), 0)
                connection.execute(rows.upsert(t.engine, replace=False), new)
                return Taken(name, 1, None)
        if row.next == _NEVER:
            return Taken(name, row.epoch, None)
        if hashlib.sha256(row.data).digest() != row.checksum:
            message = f"{self.store.where}: the state of {name} is damaged (checksum); restore a backup"
            raise DamagedStoreError(message)
        if row.engine != ENGINE:
            message = (
                f"{self.store.where}: {name} was last run by another engine version ({row.engine}, this is {ENGINE}); "
                "use the version that wrote it, or a new store"
            )
            raise UsageError(message)
        return Taken(name, row.epoch, row.next, row.data, row.body)

    def standings(self, kind: str) -> dict[str, Standing]:
        """Return all engines of a kind (`count/…`, `watch/…`, `desk`) that have run, by name."""
        wanted = sa.select(t.engine.c.name, t.engine.c.next, t.engine.c.until_ms, t.engine.c.at_ms, t.engine.c.body)
        with self.store.reading() as connection:
            found = connection.execute(wanted.where(t.engine.c.tenant == self.store.tenant)).all()
        return {
            row.name: Standing(row.next, row.until_ms, row.at_ms, row.body)
            for row in found
            if row.next != _NEVER and (row.name == kind or row.name.startswith(f"{kind}/"))
        }

    def commit(
        self,
        moved: Sequence[Moved],
        effects: Effects,
        also: Commit | None = None,
        *,
        anomalies: Iterable[tuple[int, str, Sequence[Anomaly]]] = (),
        taken_until_ms: int | None = None,
    ) -> None:
        """Write what engines made, how far they got and their states, or nothing.

        Parameters
        ----------
        anomalies
            By window and signal: for the Desk.
        taken_until_ms
            The Desk has taken the anomalies of every window before this one: they are forgotten.

        Raises
        ------
        FencedError
            Another worker has taken one of the engines over.
        UnreachableError
            The store can't be written now: the same commit may be tried again.
        """
        also = also or Commit()
        with self.store.transaction() as connection:
            for step in moved:
                self._move(connection, step, also.at_ms)
            live = connection.execute(sa.select(t.meta.c.value).where(t.meta.c.key == "mode")).scalar_one_or_none()
            Writer(connection, self.store.tenant, feeds=live == LIVE.encode()).write(effects, also)
            found = [
                {"tenant": self.store.tenant, "window_ms": window_ms, "signal": signal, "data": pack(list(some))}
                for window_ms, signal, some in anomalies
                if some
            ]
            if found:
                rows.put(connection, t.anomalies, found)
            if taken_until_ms is not None:
                over = (t.anomalies.c.tenant == self.store.tenant) & (t.anomalies.c.window_ms < taken_until_ms)
                connection.execute(sa.delete(t.anomalies).where(over))
            if effects.desk.controls:
                self._append_controls(connection, effects.desk.controls)

    def hold(self, epochs: Mapping[str, int]) -> None:
        """See that engines are still those of whoever took them over under these epochs.

        Raises
        ------
        FencedError
            Another has taken one over.
        """
        of = t.engine.c
        wanted = sa.select(of.name, of.epoch).where(of.tenant == self.store.tenant, of.name.in_(list(epochs)))
        with self.store.reading() as connection:
            lost = [row.name for row in connection.execute(wanted) if row.epoch != epochs[row.name]]
        if lost:
            message = f"{lost[0]}: another worker has taken it over"
            raise FencedError(message)

    def _move(self, connection: sa.Connection, step: Moved, at_ms: int) -> None:
        fenced = sa.update(t.engine).where(
            self._this(step.name),
            t.engine.c.epoch == step.epoch,
            t.engine.c.next == (_NEVER if step.old is None else step.old),
        )
        if connection.execute(fenced.values(self._row(step, at_ms))).rowcount != 1:
            message = f"{step.name}: another worker has taken it over; nothing of this step was written"
            raise FencedError(message)

    def _row(self, step: Moved, at_ms: int) -> rows.Row:
        return {
            "tenant": self.store.tenant,
            "name": step.name,
            "epoch": step.epoch,
            "next": step.next,
            "until_ms": step.until_ms,
            "at_ms": at_ms,
            "body": step.body,
            "engine": ENGINE,
            "config": self._config,
            "checksum": hashlib.sha256(step.data).digest(),
            "data": step.data,
        }

    def _this(self, name: str) -> sa.ColumnElement[bool]:
        return (t.engine.c.tenant == self.store.tenant) & (t.engine.c.name == name)

    # --- what crosses between them --------------------------------------------------------------------------------

    def windows_with_records(self, from_ms: int, to_ms: int, limit: int) -> list[int]:
        """Return windows from `from_ms` and before `to_ms` that have a record, ascending."""
        of = t.window_record
        wanted = (
            sa.select(of.c.window_ms)
            .where(of.c.tenant == self.store.tenant, of.c.window_ms >= from_ms, of.c.window_ms < to_ms)
            .distinct()
            .order_by(of.c.window_ms)
            .limit(limit)
        )
        with self.store.reading() as connection:
            return [int(row.window_ms) for row in connection.execute(wanted)]

    def anomalies(self, from_ms: int, to_ms: int) -> dict[int, list[Anomaly]]:
        """Return what the Watches found, by window."""
        of = t.anomalies
        wanted = sa.select(of).where(
            of.c.tenant == self.store.tenant, of.c.window_ms >= from_ms, of.c.window_ms < to_ms
        )
        out: dict[int, list[Anomaly]] = {}
        with self.store.reading() as connection:
            for row in connection.execute(wanted.order_by(of.c.window_ms, of.c.signal)):
                out.setdefault(int(row.window_ms), []).extend(unpack(row.data, list[Anomaly]))
        return out

    def controls(self, from_seq: int) -> list[tuple[int, Control]]:
        """Return what the Desk told the Watches, numbered, from a number on."""
        of = t.control
        wanted = sa.select(of).where(of.c.tenant == self.store.tenant, of.c.seq >= from_seq).order_by(of.c.seq)
        with self.store.reading() as connection:
            return [(int(row.seq), _CONTROL.decode(row.data)) for row in connection.execute(wanted)]

    def _append_controls(self, connection: sa.Connection, controls: Sequence[Control]) -> None:
        of = t.control
        newest = sa.select(sa.func.coalesce(sa.func.max(of.c.seq), -1)).where(of.c.tenant == self.store.tenant)
        first = int(connection.execute(newest).scalar_one()) + 1
        new = [
            {"tenant": self.store.tenant, "seq": first + i, "data": pack(control)} for i, control in enumerate(controls)
        ]
        connection.execute(sa.insert(of), new)
