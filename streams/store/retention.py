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
FEED_ROWS = 10_000
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
    out["feed"] = prune_feed(store, now_ms - keep.feed_ms)
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


def prune_feed(store: Store, before_ms: int) -> int:
    """Let go of the feed's entries from before a moment, and of what is left of their deliveries; returns how many.

    The newest entry stays, so that no number is used twice; so does what an active webhook still waits for.
    """
    feed, queue, hook = t.feed, t.webhook_queue, t.webhook
    ours = feed.c.tenant == store.tenant
    active = (hook.c.tenant == store.tenant) & (hook.c.state == "active")
    waits = sa.select(sa.func.min(queue.c.seq)).where(
        queue.c.tenant == store.tenant,
        queue.c.state == "waiting",
        queue.c.webhook.in_(sa.select(hook.c.id).where(active)),
    )
    kept = sa.select(feed.c.seq).where(ours, feed.c.at_ms >= before_ms).order_by(feed.c.seq).limit(1)
    bounds = sa.select(sa.func.min(feed.c.seq).label("oldest"), sa.func.max(feed.c.seq).label("newest")).where(ours)
    with store.reading() as connection:
        found = connection.execute(bounds).one()
        ends = [connection.execute(end).scalar_one_or_none() for end in (kept, waits)]
        ends.append(connection.execute(sa.select(sa.func.min(hook.c.from_seq)).where(active)).scalar_one_or_none())
    if found.newest is None:
        return 0
    until, gone = min(int(end) for end in (*ends, found.newest) if end is not None), 0
    oldest = sa.select(sa.func.min(feed.c.seq)).where(ours)
    start = int(found.oldest)
    while start < until:
        end = min(start + FEED_ROWS, until)
        with store.transaction() as connection:
            gone += connection.execute(sa.delete(feed).where(ours, feed.c.seq < end)).rowcount
            connection.execute(sa.delete(queue).where(queue.c.tenant == store.tenant, queue.c.seq < end))
            start = int(connection.execute(oldest).scalar_one())
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
