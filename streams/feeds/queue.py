"""What is on its way to which webhook: queued from the feed, settled with what came of it.

Promises
- An event is queued once for a webhook: the rows and how far the webhook has come move in one transaction.
- A row is `waiting` until what came of it is written down, so a crash in between sends it again, under the same id.
- A receiver that says it is gone (410), or fails for `GIVE_UP_MS` without a break, is disabled and the reason kept.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from detector.config import DAY_MS
from detector.fields import duration_text
from streams.feeds.subscriptions import State, Subscription
from streams.store import Store, audit
from streams.store import tables as t

CHUNK = 10_000
"""So many events of the feed are queued in one transaction."""
GIVE_UP_MS = 5 * DAY_MS
_SERVICE = "service"


@dataclass(frozen=True)
class Due:
    """A delivery whose time has come."""

    webhook: str
    seq: int
    attempts: int


@dataclass(frozen=True)
class Settled:
    """What came of a delivery.

    Attributes
    ----------
    again_ms
        When it is tried again; None: never.
    gone
        The receiver said that it wants nothing any more.
    """

    due: Due
    delivered: bool
    answer: str
    at_ms: int
    again_ms: int | None = None
    gone: bool = False


def fan_out(store: Store, webhook: Subscription, newest: int, now_ms: int) -> int:
    """Queue the next stretch of the feed for a webhook; return up to where, exclusive."""
    if newest < webhook.from_seq:
        return webhook.from_seq
    feed, queue = t.feed, t.webhook_queue
    ours = feed.c.tenant == store.tenant
    with store.reading() as connection:  # a restored store leaves numbers out: nothing is looked for among them
        next = sa.select(sa.func.min(feed.c.seq)).where(ours, feed.c.seq >= webhook.from_seq)
        first = connection.execute(next).scalar_one()
    end = min(newest + 1, int(first or newest) + CHUNK)
    this = (t.webhook.c.tenant == store.tenant) & (t.webhook.c.id == webhook.id)
    with store.transaction() as connection:
        on = sa.update(t.webhook).where(this, t.webhook.c.from_seq == webhook.from_seq).values(from_seq=end)
        if connection.execute(on).rowcount != 1:  # taken away meanwhile
            return webhook.from_seq
        fixed = {"state": "waiting", "attempts": 0, "due_ms": now_ms, "detail": ""}
        columns = [feed.c.tenant, sa.literal(webhook.id), feed.c.seq, *map(sa.literal, fixed.values())]
        wanted = sa.select(*columns).where(ours, feed.c.seq >= webhook.from_seq, feed.c.seq < end)
        if webhook.types:
            wanted = wanted.where(feed.c.type.in_(sorted(webhook.types)))
        connection.execute(sa.insert(queue).from_select(["tenant", "webhook", "seq", *fixed], wanted))
    return end


def due(store: Store, webhook: str, now_ms: int, room: int, busy: Collection[int]) -> list[Due]:
    """Return the deliveries of a webhook whose time has come, at most `room`, without those under way (`busy`)."""
    queue = t.webhook_queue
    wanted = (
        sa.select(queue.c.seq, queue.c.attempts)
        .where(queue.c.tenant == store.tenant, queue.c.webhook == webhook)
        .where(queue.c.state == "waiting", queue.c.due_ms <= now_ms)
        .order_by(queue.c.due_ms, queue.c.seq)
        .limit(room + len(busy))
    )
    with store.reading() as connection:
        found = [Due(webhook, row.seq, row.attempts) for row in connection.execute(wanted)]
    return [one for one in found if one.seq not in busy][:room]


def settle(store: Store, found: Sequence[Settled]) -> list[str]:
    """Write down what came of deliveries; return the webhooks that were disabled by it."""
    disabled = []
    with store.transaction() as connection:
        for one in found:
            _settle(connection, store.tenant, one)
        for id in dict.fromkeys(one.due.webhook for one in found):
            mine = [one for one in found if one.due.webhook == id]
            if _judge(connection, store.tenant, id, mine):
                disabled.append(id)
    return disabled


def _settle(connection: sa.Connection, tenant: str, one: Settled) -> None:
    queue = t.webhook_queue
    this = (queue.c.tenant == tenant) & (queue.c.webhook == one.due.webhook) & (queue.c.seq == one.due.seq)
    state = "sent" if one.delivered else "failed" if one.again_ms is None else "waiting"
    when_ms = one.at_ms if one.again_ms is None else one.again_ms
    values = {"state": state, "attempts": one.due.attempts + 1, "due_ms": when_ms, "detail": one.answer}
    connection.execute(sa.update(queue).where(this).values(**values))


def _judge(connection: sa.Connection, tenant: str, id: str, found: Sequence[Settled]) -> bool:
    """Take note of how a webhook does; True where that disables it."""
    this = (t.webhook.c.tenant == tenant) & (t.webhook.c.id == id)
    row = connection.execute(sa.select(t.webhook.c.state, t.webhook.c.failing_ms).where(this)).first()
    if row is None:
        return False
    last = found[-1]
    delivered_ms = max((one.at_ms for one in found if one.delivered), default=None)
    failed_ms = min((one.at_ms for one in found if not one.delivered), default=None)
    failing_ms = None if delivered_ms is not None else failed_ms if row.failing_ms is None else row.failing_ms
    values: dict[str, object] = {"answer": last.answer, "failing_ms": failing_ms}
    if delivered_ms is not None:
        values["delivered_ms"] = delivered_ms
    reason = ""
    if any(one.gone for one in found):
        reason = "the receiver answered 410 (gone)"
    elif failing_ms is not None and last.at_ms - failing_ms >= GIVE_UP_MS:
        reason = f"every delivery has failed for {duration_text(GIVE_UP_MS)}; the last: {last.answer}"
    disables = bool(reason) and row.state == State.ACTIVE
    if disables:
        values |= {"state": State.DISABLED.value, "reason": reason}
        audit.record(connection, tenant, _SERVICE, "webhook.disabled", f"webhook:{id}", reason, last.at_ms)
    connection.execute(sa.update(t.webhook).where(this).values(**values))
    return disables
