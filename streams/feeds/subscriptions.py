"""Who wants the feed sent: webhooks as people make, stop and delete them, each change with its line in the audit log.

Promises
- An address is checked before it is stored; `streams.net` checks it again at every delivery.
- A secret is shown once, when it is made. It lies in the store as it is: deliveries are signed with it.
- At most two secrets of a webhook hold at once, the older one for `GRACE_MS` after the exchange.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from detector.config import DAY_MS
from detector.errors import UsageError
from streams.feeds.signing import new_secret
from streams.net import Rules, check_url, networks
from streams.sections import ServiceSection
from streams.store import Store, audit
from streams.store import tables as t

MOST = 50
"""Webhooks a tenant may have."""
GRACE_MS = DAY_MS


class State(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"  # by a person
    DISABLED = "disabled"  # by us: the receiver is gone, or has failed for days


class UnknownWebhookError(UsageError):
    """There is no such webhook."""


@dataclass(frozen=True)
class Subscription:
    """A webhook.

    Attributes
    ----------
    types
        Those that it wants; empty: all.
    from_seq
        The first event that is not on its way yet.
    failing_ms
        Since when every delivery fails; None: the last one did not.
    answer
        What the last delivery got.
    """

    id: str
    url: str
    types: frozenset[str]
    state: State
    reason: str
    from_seq: int
    created_ms: int
    delivered_ms: int | None
    failing_ms: int | None
    answer: str
    secrets: tuple[tuple[str, int | None], ...]
    """Each with the moment until which it holds (None: it stays), the newest first."""

    def keys(self, now_ms: int) -> list[str]:
        """Return the secrets that hold now, the newest first."""
        return [key for key, until_ms in self.secrets if until_ms is None or now_ms < until_ms]


def rules_of(service: ServiceSection) -> Rules:
    """Return where webhooks may lead, as the configuration says."""
    return Rules(networks(service.webhook_networks), service.webhook_http)


def create(
    store: Store, url: str, types: frozenset[str], by: str, now_ms: int, rules: Rules, *, after: int | None = None
) -> tuple[Subscription, str]:
    """Make a webhook; return it and its secret, which nobody is shown again.

    Parameters
    ----------
    after
        Send what came after this event; None: what comes from now on.

    Raises
    ------
    UsageError
        Nothing may be sent to this address, or there are as many as may be.
    """
    reasons = check_url(url, rules)
    if reasons:
        message = f"url: {'; '.join(reasons)}"
        raise UsageError(message)
    id, secret = "wh_" + secrets.token_hex(6), new_secret()
    with store.transaction() as connection:
        ours = t.webhook.c.tenant == store.tenant
        if connection.execute(sa.select(sa.func.count()).where(ours)).scalar_one() >= MOST:
            message = f"webhooks: there are {MOST} already; delete one that is not needed"
            raise UsageError(message)
        newest = sa.select(sa.func.coalesce(sa.func.max(t.feed.c.seq), 0)).where(t.feed.c.tenant == store.tenant)
        last = int(connection.execute(newest).scalar_one())
        row = {
            "tenant": store.tenant,
            "id": id,
            "url": url,
            "types": " ".join(sorted(types)),
            "secrets": _written(((secret, None),)),
            "state": State.ACTIVE.value,
            "reason": "",
            "from_seq": (last if after is None else min(after, last)) + 1,
            "created_ms": now_ms,
            "delivered_ms": None,
            "failing_ms": None,
            "answer": "",
        }
        connection.execute(sa.insert(t.webhook), row)
        audit.record(connection, store.tenant, by, "webhook.created", f"webhook:{id}", "", now_ms)
    return get(store, id), secret


def listed(store: Store, state: State | None = None) -> list[Subscription]:
    """Return the webhooks, the oldest first."""
    wanted = sa.select(t.webhook).where(t.webhook.c.tenant == store.tenant)
    if state is not None:
        wanted = wanted.where(t.webhook.c.state == state.value)
    with store.reading() as connection:
        return [_of(row) for row in connection.execute(wanted.order_by(t.webhook.c.created_ms, t.webhook.c.id))]


def get(store: Store, id: str) -> Subscription:
    """Return a webhook.

    Raises
    ------
    UnknownWebhookError
        There is none.
    """
    with store.reading() as connection:
        return _get(connection, store.tenant, id)


def delete(store: Store, id: str, by: str, now_ms: int) -> None:
    """Take a webhook away, with what is on its way to it."""
    with store.transaction() as connection:
        _get(connection, store.tenant, id)
        for table, column in ((t.webhook_queue, t.webhook_queue.c.webhook), (t.webhook, t.webhook.c.id)):
            connection.execute(sa.delete(table).where(table.c.tenant == store.tenant, column == id))
        audit.record(connection, store.tenant, by, "webhook.deleted", f"webhook:{id}", "", now_ms)


def pause(store: Store, id: str, by: str, now_ms: int) -> Subscription:
    """Send nothing more until it is resumed; what comes meanwhile is sent then, as far as the feed keeps it."""

    def values(found: Subscription) -> dict[str, Any]:
        if found.state is State.DISABLED:
            message = f"webhook {id}: it is disabled ({found.reason}); resume it or delete it"
            raise UsageError(message)
        return {"state": State.PAUSED.value, "reason": f"paused by {by}"}

    return _change(store, id, "webhook.paused", by, now_ms, values)


def resume(store: Store, id: str, by: str, now_ms: int) -> Subscription:
    """Send again, what has waited first; a disabled one begins with a clean record."""
    values = {"state": State.ACTIVE.value, "reason": "", "failing_ms": None}
    return _change(store, id, "webhook.resumed", by, now_ms, lambda _: values)


def rotate(store: Store, id: str, by: str, now_ms: int) -> tuple[Subscription, str]:
    """Give a webhook a new secret; return it too. The one before holds for another day."""
    secret = new_secret()

    def values(found: Subscription) -> dict[str, Any]:
        before = found.secrets[0][0]
        return {"secrets": _written(((secret, None), (before, now_ms + GRACE_MS)))}

    return _change(store, id, "webhook.rotated", by, now_ms, values), secret


def send_again(store: Store, id: str, by: str, now_ms: int) -> int:
    """Begin anew with the deliveries that were given up; return how many."""
    queue = t.webhook_queue
    with store.transaction() as connection:
        _get(connection, store.tenant, id)
        failed = (queue.c.tenant == store.tenant) & (queue.c.webhook == id) & (queue.c.state == "failed")
        again = sa.update(queue).where(failed).values(state="waiting", attempts=0, due_ms=now_ms)
        n = connection.execute(again).rowcount
        audit.record(connection, store.tenant, by, "webhook.sent-again", f"webhook:{id}", f"{n} deliveries", now_ms)
    return n


def queued(store: Store, id: str) -> dict[str, int]:
    """Return how many deliveries of a webhook stand how: `waiting`, `sent`, `failed`, as far as the feed is kept."""
    queue = t.webhook_queue
    wanted = sa.select(queue.c.state, sa.func.count().label("n")).where(
        queue.c.tenant == store.tenant, queue.c.webhook == id
    )
    with store.reading() as connection:
        found = {row.state: int(row.n) for row in connection.execute(wanted.group_by(queue.c.state))}
    return {state: found.get(state, 0) for state in ("waiting", "sent", "failed")}


# --- inside -----------------------------------------------------------------------------------------------------------


def _change(
    store: Store, id: str, what: str, by: str, now_ms: int, values: Callable[[Subscription], dict[str, Any]]
) -> Subscription:
    with store.transaction() as connection:
        this = (t.webhook.c.tenant == store.tenant) & (t.webhook.c.id == id)
        given = values(_get(connection, store.tenant, id))
        connection.execute(sa.update(t.webhook).where(this).values(**given))
        audit.record(connection, store.tenant, by, what, f"webhook:{id}", "", now_ms)
        return _get(connection, store.tenant, id)


def _get(connection: sa.Connection, tenant: str, id: str) -> Subscription:
    row = connection.execute(sa.select(t.webhook).where(t.webhook.c.tenant == tenant, t.webhook.c.id == id)).first()
    if row is None:
        message = f"webhook {id[:40]!r}: there is none of this id"
        raise UnknownWebhookError(message)
    return _of(row)


def _of(row: Any) -> Subscription:
    return Subscription(
        id=row.id,
        url=row.url,
        types=frozenset(row.types.split()),
        state=State(row.state),
        reason=row.reason,
        from_seq=row.from_seq,
        created_ms=row.created_ms,
        delivered_ms=row.delivered_ms,
        failing_ms=row.failing_ms,
        answer=row.answer,
        secrets=tuple((key, until_ms) for key, until_ms in json.loads(row.secrets)),
    )


def _written(keys: tuple[tuple[str, int | None], ...]) -> bytes:
    return json.dumps(keys).encode()
