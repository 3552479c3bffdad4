"""How a live store stands, as numbers: what waits, what is open, who is at work. For metrics, readiness, the doctor.

Every query uses an index or counts a small table, so that it may be asked every few seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from detector.desk.records import CaseState
from streams.store import rows
from streams.store import tables as t
from streams.store.store import Store

FRESH_MS = 15_000
"""A process that has not spoken for longer is not at work."""

UNSETTLED = ("waiting", "claimed", "unknown")
"""States of an outbox row that is not done with."""


@dataclass(frozen=True)
class Process:
    """A process of the service, as it last spoke."""

    name: str
    pid: int
    at_ms: int
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """One look at a store.

    Attributes
    ----------
    backlog_rows, backlog_bytes, backlog_since_ms
        Of the live log: what was accepted and is not worked off yet, and since when (None: nothing waits).
    cases
        Unfinished cases by (severity, mode, state).
    unacknowledged_since_ms
        When the oldest live case opened that nobody has acknowledged.
    outbox
        Notices that are not done with, by (channel, state).
    outbox_since_ms
        By channel, since when the oldest due notice waits.
    webhooks, webhook_queue
        Subscriptions and their entries by state.
    commands
        Of people, that the engines have not applied yet.
    """

    backlog_rows: int
    backlog_bytes: int
    backlog_since_ms: int | None
    cases: Mapping[tuple[str, str, str], int]
    unacknowledged_since_ms: int | None
    outbox: Mapping[tuple[str, str], int]
    outbox_since_ms: Mapping[str, int]
    webhooks: Mapping[str, int]
    webhook_queue: Mapping[str, int]
    commands: int
    processes: tuple[Process, ...]

    @property
    def sender(self) -> Process | None:
        """Of the processes that send the one that spoke last; a worker on Kafka does not, notifiers do."""
        sends = [of for of in self.processes if "notifier" in of.body or (of.name == "work" and "on" not in of.body)]
        return max(sends, key=lambda of: of.at_ms, default=None)


def standing(store: Store, now_ms: int) -> Standing:
    """Return how the store stands."""
    with store.reading() as connection:

        def grouped(table: sa.Table, *by: str, where: sa.ColumnElement[bool] | None = None) -> list[Any]:
            columns = [table.c[name] for name in by]
            wanted = sa.select(*columns, sa.func.count().label("n")).where(table.c.tenant == store.tenant)
            wanted = wanted if where is None else wanted.where(where)
            return list(connection.execute(wanted.group_by(*columns).order_by(*columns)))

        waiting = sa.select(
            sa.func.count().label("n"),
            sa.func.coalesce(sa.func.sum(sa.func.length(t.intake.c.data)), 0).label("bytes"),
            sa.func.min(t.intake.c.ingest_ms).label("since"),
        ).where(t.intake.c.tenant == store.tenant, t.intake.c.data.is_not(None))
        backlog = connection.execute(waiting).one()
        unfinished = t.cases.c.state.in_((CaseState.OPEN, CaseState.ACKNOWLEDGED, CaseState.RECOVERING))
        unsettled = t.outbox.c.state.in_(UNSETTLED)
        oldest = sa.select(sa.func.min(t.cases.c.opened_ms)).where(
            t.cases.c.tenant == store.tenant, t.cases.c.state == CaseState.OPEN.value, t.cases.c.mode == "live"
        )
        due = (
            sa.select(t.outbox.c.channel, sa.func.min(t.outbox.c.due_ms).label("since"))
            .where(t.outbox.c.tenant == store.tenant, t.outbox.c.state == "waiting", t.outbox.c.due_ms <= now_ms)
            .group_by(t.outbox.c.channel)
        )
        commands = sa.select(sa.func.count()).where(t.inbox.c.tenant == store.tenant, t.inbox.c.state == "waiting")
        return Standing(
            backlog_rows=int(backlog.n),
            backlog_bytes=int(backlog.bytes),
            backlog_since_ms=None if backlog.since is None else int(backlog.since),
            cases={
                (r.severity, r.mode, r.state): r.n
                for r in grouped(t.cases, "severity", "mode", "state", where=unfinished)
            },
            unacknowledged_since_ms=connection.execute(oldest).scalar_one_or_none(),
            outbox={(r.channel, r.state): r.n for r in grouped(t.outbox, "channel", "state", where=unsettled)},
            outbox_since_ms={r.channel: int(r.since) for r in connection.execute(due)},
            webhooks={r.state: r.n for r in grouped(t.webhook, "state")},
            webhook_queue={r.state: r.n for r in grouped(t.webhook_queue, "state")},
            commands=int(connection.execute(commands).scalar_one()),
            processes=tuple(
                Process(r.name, r.pid, r.at_ms, msgspec.json.decode(r.body) if r.body else {})
                for r in connection.execute(
                    sa.select(t.process).where(t.process.c.tenant == store.tenant).order_by(t.process.c.name)
                )
            ),
        )


def speak(store: Store, name: str, pid: int, at_ms: int, body: Mapping[str, Any]) -> None:
    """Write a process' row: it is alive, and this is how it is doing."""
    row = {"tenant": store.tenant, "name": name, "pid": pid, "at_ms": at_ms, "body": msgspec.json.encode(body)}
    with store.transaction() as connection:
        connection.execute(rows.upsert(t.process), row)


def address(store: Store, now_ms: int) -> str:
    """Return where the service on this store is reached from this machine; empty where none runs."""
    of = t.process.c
    web = sa.select(of.body).where(of.tenant == store.tenant, of.name == "web", of.at_ms > now_ms - FRESH_MS)
    with store.reading() as connection:
        body = connection.execute(web).scalar_one_or_none()
    return str(msgspec.json.decode(body).get("url", "")) if body else ""
