"""Commands for the engines: left in the transaction of whatever goes with them, and what came of each."""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from detector.desk.records import Command, Delivered
from detector.pack import pack
from detector.pipeline import Told
from detector.watch.control import Fact, Withdrawn
from streams.store import tables as t
from streams.store.store import Store

_LETTER = msgspec.msgpack.Decoder(Told)


@dataclass(frozen=True)
class Posted:
    """What a person asked for, and what came of it: `waiting`, `done`, or `refused` with the reason."""

    id: int
    wish: Command | Fact | Withdrawn
    state: str
    reason: str


def post(connection: sa.Connection, tenant: str, wish: Command | Fact | Withdrawn) -> int:
    """Leave a command for the engines; return its number."""
    row = {"tenant": tenant, "state": "waiting", "data": pack(wish), "answer": ""}
    return int(connection.execute(sa.insert(t.inbox).returning(t.inbox.c.id), row).scalar_one())


def posted(store: Store, number: int) -> Posted | None:
    """Return one of this tenant's commands; None where there is none of that number (any more)."""
    wanted = sa.select(t.inbox).where(t.inbox.c.tenant == store.tenant, t.inbox.c.id == number)
    with store.reading() as connection:
        row = connection.execute(wanted).first()
    wish = None if row is None else _LETTER.decode(row.data)
    if row is None or wish is None or isinstance(wish, Delivered):
        return None
    return Posted(number, wish, str(row.state), str(row.answer))
