"""Reads the feed in order, as CloudEvents 1.0.

Promises
- An event's id is `<tenant>/<seq>`; it stays the same wherever and however often it is delivered.
- A customer's id is looked up when the event is read: of an erased customer it is `(erased)`.
- What was asked for and is gone is said (`Page.oldest`), never passed over.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from detector.errors import UsageError
from streams.store import Store
from streams.store import tables as t
from streams.store.documents import ERASED
from streams.store.values import rfc3339

LIMIT = 200
"""So many events are read at once."""
SPAN = 20_000
"""So many numbers are looked through at once for events that a filter lets pass."""
_BATCH = 500

Document = dict[str, Any]


@dataclass(frozen=True)
class Filter:
    """Which events are wanted; empty: all."""

    types: frozenset[str] = frozenset()
    case: str = ""


ALL = Filter()


@dataclass(frozen=True)
class Entry:
    """One event, as a CloudEvent."""

    seq: int
    type: str
    document: Document


@dataclass(frozen=True)
class Page:
    """A stretch of the feed.

    Attributes
    ----------
    next
        Up to where it was looked through, inclusive: go on after it.
    oldest, newest
        What is kept; 0 of an empty feed.
    known
        The number that was asked for is one of these.
    """

    entries: list[Entry]
    next: int
    oldest: int
    newest: int
    known: bool

    def lost(self, after: int) -> bool:
        """Whether events that come after this one are gone; after 0 comes whatever is kept.

        A number that this store never gave is from before a backup was restored: what comes after it is not known.
        """
        return 0 < after and after != self.oldest - 1 and not self.known


def bounds(store: Store) -> tuple[int, int]:
    """Return the oldest and the newest number that is kept; 0 of an empty feed."""
    with store.reading() as connection:
        return _bounds(connection, store.tenant)


def _bounds(connection: sa.Connection, tenant: str) -> tuple[int, int]:
    ours = t.feed.c.tenant == tenant
    ends = (sa.select(end(t.feed.c.seq)).where(ours) for end in (sa.func.min, sa.func.max))
    oldest, newest = (int(connection.execute(end).scalar_one() or 0) for end in ends)
    return oldest, newest


def read(store: Store, after: int, wanted: Filter = ALL, limit: int = LIMIT) -> Page:
    """Return the next events after a number, at most `limit`."""
    table = t.feed
    ours = table.c.tenant == store.tenant
    with store.reading() as connection:
        oldest, newest = _bounds(connection, store.tenant)
        known = connection.execute(sa.select(table.c.seq).where(ours, table.c.seq == after)).first() is not None
        start = max(after, oldest - 1)
        end = _end(connection, ours, start)
        query = sa.select(table).where(ours, table.c.seq > start, table.c.seq <= end)
        if wanted.types:
            query = query.where(table.c.type.in_(sorted(wanted.types)))
        if wanted.case:
            query = query.where(table.c.subject == wanted.case)
        found = connection.execute(query.order_by(table.c.seq).limit(limit)).all()
        entries = _entries(connection, store.tenant, found)
    return Page(entries, entries[-1].seq if len(entries) == limit else max(end, after), oldest, newest, known)


def _end(connection: sa.Connection, ours: sa.ColumnElement[bool], start: int) -> int:
    """Return up to where to look: a number that was given, also behind those that a restored store leaves out."""
    seq = t.feed.c.seq
    near = sa.select(sa.func.max(seq)).where(ours, seq > start, seq <= start + SPAN)
    found = connection.execute(near).scalar_one()
    if found is None:
        found = connection.execute(sa.select(sa.func.min(seq)).where(ours, seq > start)).scalar_one()
    return start if found is None else int(found)


def read_these(store: Store, seqs: Collection[int]) -> dict[int, Entry]:
    """Return the events of these numbers, as far as they are kept."""
    table, wanted = t.feed, sorted(seqs)
    out: dict[int, Entry] = {}
    with store.reading() as connection:
        for i in range(0, len(wanted), _BATCH):
            query = sa.select(table).where(table.c.tenant == store.tenant, table.c.seq.in_(wanted[i : i + _BATCH]))
            for entry in _entries(connection, store.tenant, connection.execute(query).all()):
                out[entry.seq] = entry
    return out


def _entries(connection: sa.Connection, tenant: str, found: Sequence[sa.Row[Any]]) -> list[Entry]:
    data = [json.loads(row.data) for row in found]
    keys = list(dict.fromkeys(d["customer"] for d in data if "customer" in d))
    names: dict[int, str] = {}
    for i in range(0, len(keys), _BATCH):
        query = sa.select(t.customer.c.key, t.customer.c.id).where(
            t.customer.c.tenant == tenant, t.customer.c.key.in_(keys[i : i + _BATCH])
        )
        names.update((row.key, row.id) for row in connection.execute(query))
    return [_entry(tenant, row, one, names) for row, one in zip(found, data, strict=True)]


def _entry(tenant: str, row: sa.Row[Any], data: Document, names: Mapping[int, str]) -> Entry:
    if "customer" in data:
        data["customer"] = names.get(data["customer"], ERASED)
    return Entry(row.seq, row.type, cloud_event(tenant, str(row.seq), row.type, row.subject, row.at_ms, data))


def cloud_event(tenant: str, number: str, type: str, subject: str, at_ms: int, data: Document) -> Document:
    """Return an event in the JSON form of CloudEvents 1.0."""
    return {
        "specversion": "1.0",
        "id": f"{tenant}/{number}",
        "source": f"/tocsin/{tenant}",
        "type": type,
        "subject": subject,
        "time": rfc3339(at_ms),
        "datacontenttype": "application/json",
        "data": data,
    }


def encoded(document: Document) -> str:
    """Return a document as JSON on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def seq_of(tenant: str, text: str) -> int:
    """Return the number that an id names: `default/17`, or `17` alone.

    Raises
    ------
    UsageError
        It is none of this tenant.
    """
    of, slash, number = text.rpartition("/")
    if (slash and of != tenant) or not number.isascii() or not number.isdigit() or len(number) > 18:
        message = f"expected an event's id such as {tenant}/17, found {text[:80]!r}"
        raise UsageError(message)
    return int(number)
