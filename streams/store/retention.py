"""What is let go of, and when: finished cases with all that hangs on them, and what the service keeps for a while.

Promises
- An unfinished case, and whatever may still be sent, is never touched.
- Of a case everything goes or nothing: ledger, notices, deliveries, evidence, story, case.
- It goes in slices, so that whoever writes waits for no more than one.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from detector.config import DAY_MS
from streams.store import tables as t
from streams.store.queries import FINISHED
from streams.store.store import Store

SLICE = 20
"""Cases a transaction."""
ROWS = 50_000
"""Rows of another kind a transaction."""
IDEMPOTENCY_MS = DAY_MS


@dataclass(frozen=True)
class Keep:
    """How long what is kept; None: for ever."""

    cases_ms: int | None = None
    """After their end."""
    feed_ms: int = 7 * DAY_MS
    dead_letters: int | None = None
    """The newest so many."""


def prune(store: Store, keep: Keep, now_ms: int) -> dict[str, int]:
    """Let go of what is old, and return how many rows of what went."""
    out = {"cases": 0 if keep.cases_ms is None else _cases(store, now_ms - keep.cases_ms)}
    out["feed"] = _feed(store, now_ms - keep.feed_ms)
    out["dead_letters"] = 0 if keep.dead_letters is None else _dead_letters(store, keep.dead_letters)
    out["idempotency_keys"] = _expired(store, t.idempotency, t.idempotency.c.at_ms < now_ms - IDEMPOTENCY_MS)
    out["sessions"] = _expired(store, t.session, t.session.c.expires_ms < now_ms)
    out["sign_in_links"] = _expired(store, t.sign_in, t.sign_in.c.expires_ms < now_ms)
    out["commands"] = _commands(store)
    return out


def _expired(store: Store, table: sa.Table, old: sa.ColumnElement[bool]) -> int:
    with store.transaction() as connection:
        return connection.execute(sa.delete(table).where(table.c.tenant == store.tenant, old)).rowcount


def _cases(store: Store, before_ms: int) -> int:
    """Delete the cases that were finished before then and have nothing in the outbox."""
    gone = 0
    while True:
        with store.transaction() as connection:
            waiting = (
                sa.select(t.outbox.c.notice)
                .join(t.notices, (t.notices.c.tenant == t.outbox.c.tenant) & (t.notices.c.id == t.outbox.c.notice))
                .where(
                    t.notices.c.tenant == store.tenant,
                    t.notices.c.case_id == t.cases.c.id,
                    t.outbox.c.state.in_(("waiting", "claimed", "unknown")),
                )
            )
            last = (
                sa.select(sa.func.max(t.timeline.c.at_ms))
                .where(t.timeline.c.tenant == store.tenant, t.timeline.c.case_id == t.cases.c.id)
                .scalar_subquery()
            )
            wanted = (
                sa.select(t.cases.c.id)
                .where(
                    t.cases.c.tenant == store.tenant,
                    t.cases.c.state.in_([state.value for state in FINISHED]),
                    sa.func.coalesce(last, t.cases.c.opened_ms) < before_ms,
                    ~sa.exists(waiting),
                )
                .order_by(t.cases.c.opened_ms)
                .limit(SLICE)
            )
            cases = [str(row.id) for row in connection.execute(wanted)]
            if not cases:
                return gone
            notices = sa.select(t.notices.c.id).where(
                t.notices.c.tenant == store.tenant, t.notices.c.case_id.in_(cases)
            )
            for table in (t.delivery, t.outbox):
                mine = (table.c.tenant == store.tenant) & table.c.notice.in_(notices)
                connection.execute(sa.delete(table).where(mine))
            for table in (t.notices, t.ledger, t.evidence, t.timeline):
                mine = (table.c.tenant == store.tenant) & table.c.case_id.in_(cases)
                connection.execute(sa.delete(table).where(mine))
            connection.execute(sa.delete(t.cases).where(t.cases.c.tenant == store.tenant, t.cases.c.id.in_(cases)))
        gone += len(cases)


def _feed(store: Store, before_ms: int) -> int:
    """Delete what is older; the newest entry stays, so that numbers go on from it."""
    mine = t.feed.c.tenant == store.tenant
    gone = 0
    while True:
        with store.transaction() as connection:
            newest = connection.execute(sa.select(sa.func.max(t.feed.c.seq)).where(mine)).scalar_one_or_none()
            wanted = sa.select(t.feed.c.seq).where(mine, t.feed.c.at_ms < before_ms, t.feed.c.seq < (newest or 0))
            until = connection.execute(wanted.order_by(t.feed.c.seq).limit(ROWS)).scalars().all()
            if not until:
                return gone
            old = (t.webhook_queue.c.tenant == store.tenant) & (t.webhook_queue.c.seq <= until[-1])
            connection.execute(sa.delete(t.webhook_queue).where(old, t.webhook_queue.c.state != "waiting"))
            waiting = sa.select(sa.func.min(t.webhook_queue.c.seq)).where(t.webhook_queue.c.tenant == store.tenant, old)
            first = connection.execute(waiting).scalar_one_or_none()
            last = until[-1] if first is None else min(until[-1], int(first) - 1)
            gone += connection.execute(
                sa.delete(t.feed).where(mine, t.feed.c.seq <= last, t.feed.c.at_ms < before_ms)
            ).rowcount
            if last < until[-1] or len(until) < ROWS:
                return gone


def _dead_letters(store: Store, keep: int) -> int:
    table, mine = t.dead_letter, t.dead_letter.c.tenant == store.tenant
    with store.transaction() as connection:
        oldest = sa.select(table.c.n).where(mine).order_by(table.c.n.desc()).offset(keep).limit(1)
        until = connection.execute(oldest).scalar_one_or_none()
        return 0 if until is None else connection.execute(sa.delete(table).where(mine, table.c.n <= until)).rowcount


def _commands(store: Store) -> int:
    """Delete answered commands but the newest ten thousand: whoever asked has the answer."""
    table, mine = t.inbox, (t.inbox.c.tenant == store.tenant) & (t.inbox.c.state != "waiting")
    with store.transaction() as connection:
        newest = sa.select(sa.func.max(table.c.id)).where(table.c.tenant == store.tenant)
        last = connection.execute(newest).scalar_one_or_none()
        if last is None:
            return 0
        return connection.execute(sa.delete(table).where(mine, table.c.id <= last - 10_000)).rowcount
