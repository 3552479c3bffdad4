"""What people do to the outbox: decide on a send that may have gone out, resume a channel that was stopped."""

from typing import Literal

import msgspec
import sqlalchemy as sa

from detector.errors import UsageError
from streams.clock import SystemClock
from streams.outbox.outbox import Item, Outbox, Result
from streams.store import Store, audit, rows
from streams.store import tables as t

RESUMED = "channels_resumed"

How = Literal["resend", "sent", "failed"]


def settle_unknown(store: Store, notice: str, how: How, by: str, now_ms: int | None = None) -> None:
    """Decide on a notice of which nobody knows whether it went out.

    Parameters
    ----------
    how : {"resend", "sent", "failed"}
        Send it again under the same id (the gate is asked again); or take it as sent, or as not sent and not to be.
    by : str
        Who, as the audit log names people.
    now_ms : int, optional
        The machine's clock where not given.

    Raises
    ------
    UsageError
        There is no such notice in the outbox, or it is not unknown.
    """
    now_ms = SystemClock().now_ms() if now_ms is None else now_ms
    table = t.outbox
    with store.transaction() as connection:
        found = connection.execute(
            sa.select(table).where(table.c.tenant == store.tenant, table.c.notice == notice)
        ).first()
        if found is None or found.state != "unknown":
            state = "there is none of that id" if found is None else f"it is {found.state}"
            message = f"notice {notice}: expected one whose sending is unknown, but {state}"
            raise UsageError(message)
        item = Item.of(found)
        if how == "resend":
            result = Result(item, "waiting", due_ms=now_ms)
        else:
            result = Result(item, how, how, "settled", "by a person", attempts=item.attempts, tell=True)
        Outbox(store).write(connection, [result], now_ms)
        audit.record(connection, store.tenant, by, f"notice.{how}", f"notice:{notice}", "", now_ms)


def resume_channel(store: Store, channel: str, by: str, now_ms: int | None = None) -> None:
    """Let a running notifier try a channel again that the other side had refused; it acts within some seconds."""
    now_ms = SystemClock().now_ms() if now_ms is None else now_ms
    with store.transaction() as connection:
        found = connection.execute(sa.select(t.meta.c.value).where(t.meta.c.key == RESUMED)).scalar_one_or_none()
        counts = {} if found is None else msgspec.json.decode(found, type=dict[str, int])
        counts[channel] = counts.get(channel, 0) + 1
        connection.execute(rows.upsert(t.meta), {"key": RESUMED, "value": msgspec.json.encode(counts)})
        audit.record(connection, store.tenant, by, "channel.resumed", f"channel:{channel}", "", now_ms)


def resumptions(store: Store) -> dict[str, int]:
    """Return how often each channel was resumed."""
    found = store.meta(RESUMED)
    return {} if found is None else msgspec.json.decode(found, type=dict[str, int])
