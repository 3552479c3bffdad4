"""Forgets who a customer is, for good, and says what was removed where and what is left.

Promises
- The directory's row, its aliases and the bare rows under which they were seen are deleted; in a file they are
  overwritten on disk, on a server they go with its next VACUUM (docs/store.md).
  Salted hashes of the id and the aliases stay, so that later events and imports bring nobody back.
- Dead letters that name them lose their bytes and keep their number and reason; what people wrote that names them
  loses the name, in the story of a case and in the logs that hold the remark.
- Counts, cases, ledger and notices stay; they hold a keyed hash that names nobody any more.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa

from detector.decode.customers import alias_forms, customer_key
from detector.desk.records import Command
from detector.pack import pack
from detector.pipeline import Told
from streams.store import rows
from streams.store import tables as t
from streams.store.connections import BUSY_MS
from streams.store.store import Store

ERASED = "(erased)"
"""Stands for a customer of whom only the hash is left."""
VERSION = "directory_version"
"""Changes with every change of an id or alias."""
BACKUPS = (
    "Backups and files that were exported before still hold what they held; let them run out, or erase there again."
)
CHECKPOINT_MS = 2_000
_LETTER = msgspec.msgpack.Decoder(Told)
_PAGE = 500

Also = Callable[[sa.Connection], None]
"""What is written in the transaction of a change: a row of the audit log."""

_STRING = re.compile(r'"((?:[^"\\]|\\.){1,400})"')
_DIALLED = re.compile(r"\+?[0-9(][0-9 ().\-/]{5,30}[0-9]")
_WORD = re.compile(r"""[^\s"'`,;:{}\[\]<>()=|\\]{1,200}""")


@dataclass(frozen=True)
class Erased:
    """What was removed, and what is left.

    Attributes
    ----------
    customers, aliases, dead_letters, remarks
        Rows deleted from the directory; aliases; dead letters whose bytes are gone; texts that lost the name.
    cases, notices
        Cases and notices that keep a hash which names nobody.
    intake_rows
        Blocks of the live log that are not worked off yet: whether they name the customer is not known, and each is
        deleted once it is worked off.
    copies
        Files beside the store that an earlier program left, and that still hold what they held.
    """

    customers: int
    aliases: int
    dead_letters: int
    remarks: int
    cases: int
    notices: int
    intake_rows: int
    copies: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it as machines read it."""
        gone = ("customers", "aliases", "dead_letters", "remarks")
        left = ("cases", "notices", "intake_rows", "copies")
        return {
            "removed": {name: getattr(self, name) for name in gone},
            "remains": {**{name: getattr(self, name) for name in left}, "backups": BACKUPS},
        }


def erase(store: Store, key: int, also: Also | None = None) -> Erased:
    """Erase a customer; `key` is their hash."""
    tenant = store.tenant
    with store.transaction() as connection:
        with _overwriting(connection):
            mine = (t.customer_alias.c.tenant == tenant) & (t.customer_alias.c.key == key)
            named = {int(a) for a in connection.execute(sa.select(t.customer_alias.c.alias).where(mine)).scalars()}
            stones = _stones(connection, store, key, {key, *named})
            names = Names(store.customer_key, frozenset(stones))
            dead = _dead_letters(connection, tenant, names)
            remarks = _remarks(connection, tenant, names)
            gone = (t.customer.c.tenant == tenant) & (t.customer.c.key == sa.bindparam("who"))
            customers = sum(connection.execute(sa.delete(t.customer).where(gone), {"who": s}).rowcount for s in stones)
            connection.execute(sa.delete(t.customer_alias).where(mine))
            connection.execute(sa.delete(t.withdrawn).where(t.withdrawn.c.tenant == tenant, t.withdrawn.c.key == key))
            values = [{"tenant": tenant, "key": stone} for stone in sorted(stones)]
            connection.execute(rows.upsert(t.erased, replace=False), values)
            changed(connection)
        found = Erased(
            customers=customers,
            aliases=len(named),
            dead_letters=dead,
            remarks=remarks,
            cases=_count(connection, t.ledger, tenant, t.ledger.c.customer == key),
            notices=_count(connection, t.notices, tenant, t.notices.c.customer == key),
            intake_rows=_count(connection, t.intake, tenant, t.intake.c.data.is_not(None)),
            copies=_copies(store),
        )
        if also is not None:
            also(connection)
    _settle(store)
    return found


class Names:
    """Finds a customer's ids and aliases in a text, by their hashes."""

    def __init__(self, secret: bytes, stones: frozenset[int]) -> None:
        self._stones = stones
        self._known = lru_cache(maxsize=65_536)(lambda text: customer_key(secret, text) in stones)

    def _is(self, text: str) -> bool:
        return self._known(text) or any(self._known(form) for form in alias_forms(text)[1:])

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for found in _STRING.finditer(text):
            if self._is(_unescaped(found[1])):
                yield found.span(1)
        for pattern in (_DIALLED, _WORD):
            for found in pattern.finditer(text):
                word = found[0].rstrip(".!?-")
                if word and self._is(word):
                    yield found.start(), found.start() + len(word)

    def within(self, text: str) -> bool:
        """Whether the text names the customer."""
        return next(self._spans(text), None) is not None

    def without(self, text: str) -> str:
        """Return the text with `(erased)` in the place of each name.

        Examples
        --------
        >>> names = Names(b"k", frozenset({customer_key(b"k", "C-1"), customer_key(b"k", "+6281234567890")}))
        >>> names.without("C-1 called from 0812-3456-7890, not C-10.")
        '(erased) called from (erased), not C-10.'
        """
        end, out = len(text), text
        for start, stop in sorted(set(self._spans(text)), reverse=True):
            if stop <= end:
                out, end = out[:start] + ERASED + out[stop:], start
        return out


def changed(connection: sa.Connection) -> None:
    """Say that ids or aliases have changed."""
    found = connection.execute(sa.select(t.meta.c.value).where(t.meta.c.key == VERSION)).scalar_one_or_none()
    number = int(found or b"0") + 1
    connection.execute(rows.upsert(t.meta), {"key": VERSION, "value": str(number).encode()})


def _stones(connection: sa.Connection, store: Store, who: int, named: set[int]) -> set[int]:
    """Return the hashes under which the customer is or was seen, but for those that are another customer's."""
    here, key = t.customer.c.tenant == store.tenant, store.customer_key
    bare = connection.execute(sa.select(t.customer.c.key, t.customer.c.id).where(here, t.customer.c.known == 0))
    seen = {int(row.key) for row in bare if any(customer_key(key, form) in named for form in alias_forms(row.id))}
    stones = named | seen
    others = sa.select(t.customer.c.key).where(here, t.customer.c.known == 1, t.customer.c.key.in_(stones))
    return stones - {int(k) for k in connection.execute(others.where(t.customer.c.key != who)).scalars()}


def _dead_letters(connection: sa.Connection, tenant: str, names: Names) -> int:
    table, last, found = t.dead_letter, 0, list[int]()
    wanted = sa.select(table.c.n, table.c.data).where(table.c.tenant == tenant).order_by(table.c.n).limit(_PAGE)
    while page := connection.execute(wanted.where(table.c.n > last)).all():
        found += [row.n for row in page if names.within(bytes(row.data).decode("utf-8", "replace"))]
        last = page[-1].n
    for n in found:
        connection.execute(sa.update(table).where(table.c.tenant == tenant, table.c.n == n).values(data=b""))
    return len(found)


def _remarks(connection: sa.Connection, tenant: str, names: Names) -> int:
    """Take the name out of what people wrote: in the stories, in the Desk's log, in the letters to it."""
    table, out = t.timeline, 0
    said = sa.select(table).where(table.c.tenant == tenant, table.c.by != "", table.c.detail != "")
    for row in connection.execute(said).all():
        text = names.without(row.detail)
        if text != row.detail:
            this = [table.c[name] == getattr(row, name) for name in ("tenant", "case_id", "seq", "n")]
            connection.execute(sa.update(table).where(*this).values(detail=text))
            out += 1
    log = sa.select(t.desk_log).where(t.desk_log.c.tenant == tenant, t.desk_log.c.kind == "command")
    for row in connection.execute(log).all():
        record = rows.log_of(row)
        payload = _without(names, record.payload)
        if payload is not None:
            this = [t.desk_log.c.tenant == tenant, t.desk_log.c.seq == row.seq]
            data = pack(msgspec.structs.replace(record, payload=payload))
            connection.execute(sa.update(t.desk_log).where(*this).values(data=data))
    for row in connection.execute(sa.select(t.inbox).where(t.inbox.c.tenant == tenant)).all():
        payload = _without(names, _LETTER.decode(row.data))
        if payload is not None:
            connection.execute(sa.update(t.inbox).where(t.inbox.c.id == row.id).values(data=pack(payload)))
    return out


def _without(names: Names, payload: Any) -> Command | None:
    """Return a command without the name; None where it has none."""
    if not isinstance(payload, Command) or not payload.text:
        return None
    text = names.without(payload.text)
    return None if text == payload.text else msgspec.structs.replace(payload, text=text)


@contextmanager
def _overwriting(connection: sa.Connection) -> Iterator[None]:
    """Have SQLite overwrite what is deleted meanwhile, instead of only letting go of it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA secure_delete=on")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA secure_delete=fast")


def _settle(store: Store) -> None:
    """Have SQLite's write-ahead log, which holds pages as they were, written back; where it is read, it is later."""
    if store.on_server:
        return
    raw = store.engine.raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute(f"PRAGMA busy_timeout={CHECKPOINT_MS}")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        cursor.close()
    finally:
        raw.close()


def _copies(store: Store) -> list[str]:
    if store.on_server:
        return []
    return sorted(path.name for path in store.path.parent.glob(f"{store.path.name}.backup-*"))


def _count(connection: sa.Connection, table: sa.Table, tenant: str, where: sa.ColumnElement[bool]) -> int:
    wanted = sa.select(sa.func.count()).select_from(table).where(table.c.tenant == tenant, where)
    return int(connection.execute(wanted).scalar_one())


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
