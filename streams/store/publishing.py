"""How far the feed and the dead letters were published elsewhere: a number for each, that only grows; in a transaction.

A dead letter's number that was published is never given to another one, also where the letter was read again since.
"""

import sqlalchemy as sa

from streams.store import rows
from streams.store import tables as t

CASES, DEAD = "cases", "dead"

_DIGITS = 19
"""Numbers are kept as texts of this length, so that the larger one is the later one."""


def _key(tenant: str, what: str) -> str:
    return f"published:{what}:{tenant}"


def published_in(connection: sa.Connection, tenant: str, what: str) -> int:
    """Return the last number that was published; 0 before the first."""
    wanted = sa.select(t.meta.c.value).where(t.meta.c.key == _key(tenant, what))
    found = connection.execute(wanted).scalar_one_or_none()
    return 0 if found is None else int(bytes(found))


def advance_in(connection: sa.Connection, tenant: str, what: str, number: int) -> None:
    """Note that everything up to a number is published; one that is behind changes nothing."""
    key, value = _key(tenant, what), f"{number:0{_DIGITS}d}".encode()
    connection.execute(rows.upsert(t.meta, replace=False), {"key": key, "value": f"{0:0{_DIGITS}d}".encode()})
    connection.execute(sa.update(t.meta).where(t.meta.c.key == key, t.meta.c.value < value).values(value=value))
