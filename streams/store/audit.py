"""The audit log: who did what, when; rows are only ever added.

Promises
- A row is written in the transaction of the change that it tells of: either both are there or neither.
- Each row carries the hash of the row before it and of itself (`chain`), so a row that was changed, taken out or put in
  shows in `verify`. Rows cut off at the end show to whoever kept the head.
- No secret, no address, no customer's id: targets are ids of cases, tokens, notices, and keyed hashes of customers.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from streams.store import tables as t
from streams.store.database import streamed
from streams.store.store import Store
from streams.store.values import rfc3339

DETAIL_LENGTH = 500
_START = b"\0" * 32


@dataclass(frozen=True)
class Entry:
    """One row."""

    seq: int
    at_ms: int
    who: str
    what: str
    target: str
    detail: str
    chain: bytes

    def document(self) -> dict[str, Any]:
        """Return what machines get."""
        return {
            "seq": self.seq,
            "at": rfc3339(self.at_ms),
            "who": self.who,
            "what": self.what,
            "target": self.target,
            "detail": self.detail,
            "chain": self.chain.hex(),
        }


@dataclass(frozen=True)
class Verified:
    """What `verify` found: `broken` is the first row that does not follow from the one before it."""

    rows: int
    head: bytes
    broken: int | None
    cut: bool
    """A head that was kept is not in the log any more."""

    @property
    def ok(self) -> bool:
        return self.broken is None and not self.cut


def record(connection: sa.Connection, tenant: str, who: str, what: str, target: str, detail: str, at_ms: int) -> int:
    """Add a row within the transaction of the change it tells of; return its number.

    Parameters
    ----------
    who : str
        `token:ID`, `person:NAME` or `cli:LOGIN`.
    what : str
        What was done, such as `case.acknowledged`: a fixed word of ours.
    target : str
        To what, such as `case:ID`; "" where that says nothing more.
    detail : str
        What else is worth knowing, in a few words of ours. Longer than 500 characters it is cut.
    """
    last = connection.execute(
        sa.select(t.audit.c.seq, t.audit.c.chain)
        .where(t.audit.c.tenant == tenant)
        .order_by(t.audit.c.seq.desc())
        .limit(1)
    ).first()
    seq, before = (1, _START) if last is None else (last.seq + 1, bytes(last.chain))
    row: dict[str, Any] = {
        "tenant": tenant,
        "seq": seq,
        "at_ms": at_ms,
        "who": _printable(who),
        "what": what,
        "target": _printable(target),
        "detail": _printable(detail),
    }
    connection.execute(sa.insert(t.audit), {**row, "chain": _chained(before, row)})
    return int(seq)


def customer(key: int) -> str:
    """Return how the log names a customer: by the keyed hash, which says nothing of who it is.

    Examples
    --------
    >>> customer(-1), customer(10)
    ('customer:ffffffffffffffff', 'customer:000000000000000a')
    """
    return f"customer:{key & (2**64 - 1):016x}"


def entries(store: Store, *, after: int = 0, limit: int = 100) -> list[Entry]:
    """Return rows from after a number on, in order."""
    wanted = (
        sa.select(t.audit)
        .where(t.audit.c.tenant == store.tenant, t.audit.c.seq > after)
        .order_by(t.audit.c.seq)
        .limit(limit)
    )
    with store.reading() as connection:
        return [_entry(row) for row in connection.execute(wanted)]


def newest(
    store: Store,
    *,
    before: int | None = None,
    limit: int = 100,
    who: str = "",
    what: str = "",
    target: str = "",
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> list[Entry]:
    """Return rows from before a number on, the newest first.

    Parameters
    ----------
    who, what, target : str
        Only rows that hold this text there; "": any.
    since_ms, until_ms : int, optional
        Only rows of since_ms <= at < until_ms.
    """
    c = t.audit.c
    wanted = sa.select(t.audit).where(c.tenant == store.tenant)
    if before is not None:
        wanted = wanted.where(c.seq < before)
    for column, text in ((c.who, who), (c.what, what), (c.target, target)):
        if text:
            wanted = wanted.where(column.icontains(text, autoescape=True))
    if since_ms is not None:
        wanted = wanted.where(c.at_ms >= since_ms)
    if until_ms is not None:
        wanted = wanted.where(c.at_ms < until_ms)
    with store.reading() as connection:
        return [_entry(row) for row in connection.execute(wanted.order_by(t.audit.c.seq.desc()).limit(limit))]


def verify(store: Store, *, head: str | None = None) -> Verified:
    """Return whether every row follows from the one before it.

    Parameters
    ----------
    head : str, optional
        A head that was kept elsewhere, in hexadecimal: it must still be in the log.
    """
    last, rows, met = _START, 0, head is None
    for entry in _all(store):
        row = {"tenant": store.tenant, **{name: getattr(entry, name) for name in _HASHED[1:]}}
        if entry.seq != rows + 1 or not hmac.compare_digest(_chained(last, row), entry.chain):
            return Verified(rows, last, entry.seq, cut=False)
        last, rows = entry.chain, rows + 1
        met = met or last.hex() == head
    return Verified(rows, last, None, cut=not met)


_HASHED = ("tenant", "seq", "at_ms", "who", "what", "target", "detail")


def _chained(before: bytes, row: dict[str, Any]) -> bytes:
    text = json.dumps([row[name] for name in _HASHED], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(before + text.encode()).digest()


def _printable(text: str) -> str:
    """Return one line that a terminal and a log can show as it is."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)[:DETAIL_LENGTH]


def _all(store: Store) -> Iterator[Entry]:
    wanted = sa.select(t.audit).where(t.audit.c.tenant == store.tenant).order_by(t.audit.c.seq)
    with store.reading() as connection, streamed(connection, wanted, 1_000) as found:
        for row in found:
            yield _entry(row)


def _entry(row: Any) -> Entry:
    return Entry(row.seq, row.at_ms, row.who, row.what, row.target, row.detail, bytes(row.chain))
