"""What a request under an idempotency key was answered, so that its repetition is not done again.

Promises
- Of several requests of one principal under one key one is worked on; the others are told so, or get its answer.
- A key that a crash left `being worked on` is given again after `LEASE_MS`, with what had been noted for it: the number
  of the command that was posted, so that it is not posted again.
- Nobody keeps more than `MOST` keys, none longer than a day, and of a request only a keyed hash is kept.
"""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from detector.config import DAY_MS, MINUTE_MS
from streams.store import rows
from streams.store import tables as t
from streams.store.store import Store

KEEP_MS = DAY_MS
LEASE_MS = MINUTE_MS
MOST = 10_000
RUNNING = 0
ACCEPTED = 202


class Stored(msgspec.Struct, frozen=True):
    """An answer, or (while it is being worked on) only the command that was posted."""

    body: str = ""
    headers: dict[str, str] = {}
    posted: int | None = None


@dataclass(frozen=True)
class Mine:
    """It is ours to work on; `posted` is the command that an earlier try has left."""

    posted: int | None = None


@dataclass(frozen=True)
class Answered:
    """It was done: this is the answer."""

    status: int
    stored: Stored


class Busy:
    """Another request under this key is being worked on."""


class Differs:
    """The key was used for another request."""


class TooMany:
    """Whoever asks has too many keys already."""


def begin(store: Store, who: str, key: str, request: bytes, now_ms: int) -> Mine | Answered | Busy | Differs | TooMany:
    """Claim a key for a request, or say how it stands."""
    table = t.idempotency
    mine = (table.c.tenant == store.tenant) & (table.c.who == who)
    with store.transaction() as connection:
        connection.execute(sa.delete(table).where(mine, table.c.at_ms < now_ms - KEEP_MS))
        row = connection.execute(sa.select(table).where(mine, table.c.key == key)).first()
        stored = Stored()
        if row is not None:
            stored = msgspec.json.decode(row.body, type=Stored)
            if bytes(row.request) != request:
                return Differs()
            if row.status not in (RUNNING, ACCEPTED):
                return Answered(row.status, stored)
            if row.status == RUNNING and row.at_ms > now_ms - LEASE_MS:
                return Busy()
        else:
            count = sa.select(sa.func.count()).select_from(table).where(mine)
            if int(connection.execute(count).scalar_one()) >= MOST:
                return TooMany()
        values = {"request": request, "at_ms": now_ms, "status": RUNNING, "body": msgspec.json.encode(stored)}
        connection.execute(rows.upsert(table), {"tenant": store.tenant, "who": who, "key": key, **values})
        return Mine(stored.posted)


def note(connection: sa.Connection, tenant: str, who: str, key: str, posted: int) -> None:
    """Note the command that was posted for a key, in the transaction that posts it."""
    connection.execute(_this(tenant, who, key).values(body=msgspec.json.encode(Stored(posted=posted))))


def finish(store: Store, who: str, key: str, status: int, stored: Stored) -> None:
    """Keep the answer."""
    with store.transaction() as connection:
        connection.execute(_this(store.tenant, who, key).values(status=status, body=msgspec.json.encode(stored)))


def release(store: Store, who: str, key: str) -> None:
    """Let go of a key: nothing was done under it."""
    table = t.idempotency
    with store.transaction() as connection:
        this = (table.c.tenant == store.tenant) & (table.c.who == who) & (table.c.key == key)
        connection.execute(sa.delete(table).where(this, table.c.status == RUNNING))


def _this(tenant: str, who: str, key: str) -> sa.Update:
    table = t.idempotency
    return sa.update(table).where(table.c.tenant == tenant, table.c.who == who, table.c.key == key)
