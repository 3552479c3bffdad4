"""What the store holds of one customer: their cases, what was decided for them, what they did meanwhile; who is gone.

Every question is asked by the customer's hash, over an index, or of a few windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from detector.decode.customers import alias_forms, customer_key
from detector.desk.records import Notice
from streams.store import rows
from streams.store import tables as t
from streams.store.store import Store


def notices_of(store: Store, customer: int, limit: int) -> list[Notice]:
    """Return a customer's notices over all cases, the latest decided first."""
    table = t.notices
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.customer == customer)
    with store.reading() as connection:
        found = connection.execute(wanted.order_by(table.c.at_ms.desc(), table.c.id).limit(limit))
        return [rows.notice_of(row) for row in found]


@dataclass(frozen=True)
class Doing:
    """What a customer did: `failed` and `succeeded` with the signal and the finest cell, `contact` with the channel."""

    at_ms: int
    what: str
    signal: str = ""
    cell: tuple[str, ...] = ()
    channel: str = ""


def doings(store: Store, customer: int, spans: Sequence[tuple[int, int]], most: int) -> list[Doing]:
    """Return what a customer did within some spans of time, as the windows counted it, in order.

    Parameters
    ----------
    spans
        (from_ms, until_ms): every window that begins in one of them is read.
    most : int
        So many windows at most, the first of all spans.
    """
    table, out, left = t.window_record, list[Doing](), most
    seen: set[tuple[int, int]] = set()
    with store.reading() as connection:
        for from_ms, until_ms in spans:
            wanted = sa.select(table).where(
                table.c.tenant == store.tenant, table.c.window_ms >= from_ms, table.c.window_ms < until_ms
            )
            for row in connection.execute(wanted.order_by(table.c.window_ms, table.c.partition).limit(left)):
                if (row.window_ms, row.partition) not in seen:
                    seen.add((row.window_ms, row.partition))
                    left -= 1
                    out += _in_window(row.data, customer)
    return sorted(out, key=lambda one: one.at_ms)


def _in_window(data: bytes, customer: int) -> list[Doing]:
    record, out = rows.window_of(data), list[Doing]()
    for name, window in record.signals.items():
        for what, who, cell, at in (
            ("failed", window.bad_customer, window.bad_cell, window.bad_time_ms),
            ("succeeded", window.back_customer, window.back_cell, window.back_time_ms),
        ):
            out += [Doing(int(at[i]), what, name, window.cells[int(cell[i])]) for i in np.flatnonzero(who == customer)]
    for i in np.flatnonzero(record.contact_customer == customer):
        out.append(Doing(int(record.contact_time_ms[i]), "contact", channel=record.contact_channel[int(i)]))
    return out


@dataclass(frozen=True)
class Held:
    """What the store holds of a customer: what erasing removes, and what it leaves under a hash."""

    aliases: int
    cases: int
    notices: int


def holdings(store: Store, customer: int) -> Held:
    """Return how much there is."""
    with store.reading() as connection:

        def count(table: sa.Table, column: sa.Column[object]) -> int:
            wanted = sa.select(sa.func.count()).select_from(table)
            return int(
                connection.execute(wanted.where(table.c.tenant == store.tenant, column == customer)).scalar_one()
            )

        return Held(
            count(t.customer_alias, t.customer_alias.c.key),
            count(t.ledger, t.ledger.c.customer),
            count(t.notices, t.notices.c.customer),
        )


def was_erased(store: Store, text: str) -> bool:
    """Return whether an id or alias is of somebody who was erased."""
    forms = [customer_key(store.customer_key, form) for form in alias_forms(text)]
    wanted = sa.select(t.erased.c.key).where(t.erased.c.tenant == store.tenant, t.erased.c.key.in_(forms))
    with store.reading() as connection:
        return connection.execute(wanted.limit(1)).first() is not None
