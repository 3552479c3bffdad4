"""Lists in pages: each goes on after the last row of the one before, whatever was written in between.

Promises
- The pages of a list put together are the whole list in its order. What was there at the first page comes exactly
  once, while rows come in; a row whose own place changes meanwhile (a case sorted by how many are still failing) may
  be met at its old place, its new one, or both.
- A page reads the rows it shows and the index before them, never the whole list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from detector.desk.records import Case, Kind, LedgerRow, Notice, NoticeState
from detector.signals import Severity
from streams.store import rows
from streams.store import tables as t
from streams.store.queries import DeadLetter, Delivery
from streams.store.store import Store

Place = tuple[int | str, ...]
"""Where a page ended: the last row's values of the list's order."""
T = TypeVar("T")

_RANKS = {Severity.LOW: 1, Severity.MEDIUM: 2, Severity.HIGH: 3, Severity.CRITICAL: 4}
_BATCH = 500

CASE_SORTS: Mapping[str, sa.ColumnElement[int]] = {
    "opened": t.cases.c.opened_ms,
    "onset": t.cases.c.onset_ms,
    "still_failing": t.cases.c.still_failing,
    "severity": sa.case({severity.value: rank for severity, rank in _RANKS.items()}, value=t.cases.c.severity, else_=0),
}


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list; `next` is None on the last page."""

    items: list[T]
    next: Place | None = None


@dataclass(frozen=True)
class CaseFilter:
    """Which cases: every condition that is given must hold."""

    states: Sequence[str] = ()
    modes: Sequence[str] = ()
    severities: Sequence[str] = ()
    signal: str | None = None
    assignee: str | None = None
    """"": assigned to nobody."""
    text: str | None = None
    """In a title, a signal's name or a cause's value; or the beginning of the id."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Opened in since_ms <= opened < until_ms."""


def case_page(
    store: Store,
    wanted: CaseFilter = CaseFilter(),
    *,
    sort: str = "opened",
    descending: bool = True,
    after: Place | None = None,
    limit: int = 50,
) -> Page[Case]:
    """Return some of the cases, in all states unless filtered.

    Parameters
    ----------
    sort : str
        One of `CASE_SORTS`; equal ones by id.
    after : Place, optional
        (value, id) of the last case of the page before.
    """
    table, key = t.cases, CASE_SORTS[sort]
    conditions = [table.c.tenant == store.tenant, *_case_conditions(wanted)]
    if after is not None:
        value, id = after
        beyond = (key < value, table.c.id < id) if descending else (key > value, table.c.id > id)
        conditions += [key <= value if descending else key >= value, sa.or_(beyond[0], beyond[1])]
    order = (key.desc(), table.c.id.desc()) if descending else (key.asc(), table.c.id.asc())
    listed = sa.select(table.c.id, key.label("place")).where(*conditions).order_by(*order).limit(limit + 1)
    with store.reading() as connection:
        found = connection.execute(listed).all()
        ids = [row.id for row in found[:limit]]
        bodies = sa.select(table.c.id, table.c.body).where(table.c.tenant == store.tenant, table.c.id.in_(ids))
        cases = {row.id: rows.case_of(row) for row in connection.execute(bodies)}
    last = found[limit - 1] if len(found) > limit else None
    return Page([cases[id] for id in ids], None if last is None else (int(last.place), str(last.id)))


def case_total(store: Store, wanted: CaseFilter = CaseFilter()) -> int:
    """Return how many cases there are."""
    counted = sa.select(sa.func.count()).select_from(t.cases)
    with store.reading() as connection:
        return int(
            connection.execute(counted.where(t.cases.c.tenant == store.tenant, *_case_conditions(wanted))).scalar_one()
        )


def _case_conditions(wanted: CaseFilter) -> list[sa.ColumnElement[bool]]:
    table, out = t.cases.c, list[sa.ColumnElement[bool]]()
    for column, values in ((table.state, wanted.states), (table.mode, wanted.modes)):
        if values:
            out.append(column.in_(values))
    if wanted.severities:
        out.append(table.severity.in_(wanted.severities))
    if wanted.signal is not None:
        out.append(table.signals.contains(f" {wanted.signal} ", autoescape=True))
    if wanted.assignee is not None:
        out.append(table.assignee == wanted.assignee)
    if wanted.text:
        begins = table.id.startswith(wanted.text.lower(), autoescape=True)
        out.append(table.search.contains(wanted.text.casefold(), autoescape=True) | begins)
    if wanted.since_ms is not None:
        out.append(table.opened_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        out.append(table.opened_ms < wanted.until_ms)
    return out


@dataclass(frozen=True)
class Hit:
    """One affected customer; `id` is None where they were erased."""

    row: LedgerRow
    id: str | None
    tier: str | None = None
    contract_value_milli: int | None = None


def affected_page(
    store: Store,
    case: str,
    *,
    grade: str | None = None,
    state: str | None = None,
    customer: int | None = None,
    told: bool | None = None,
    contacted: bool | None = None,
    by_loss: bool = False,
    after: Place | None = None,
    limit: int = 50,
) -> Page[Hit]:
    """Return some of those whom a case hit, in an order of the store's own.

    Parameters
    ----------
    told : bool, optional
        Only those who were told of the problem (in simulation, too), or only those who were not.
    contacted : bool, optional
        Only those who contacted us since the onset, or only those who did not.
    by_loss : bool
        Those of whom it is known what they lose, the largest loss first.
    after : Place, optional
        (customer's hash,) of the last one of the page before; by loss (loss in thousandths, customer's hash).
    """
    table = t.ledger
    worth = (t.customer.c.tier, t.customer.c.contract_value_milli)
    named = sa.select(table, t.customer.c.id.label("name"), *worth).join_from(
        table,
        t.customer,
        (t.customer.c.tenant == table.c.tenant) & (t.customer.c.key == table.c.customer),
        isouter=True,
    )
    wanted = named.where(table.c.tenant == store.tenant, table.c.case_id == case, table.c.withdrawn == 0)
    for column, value in ((table.c.grade, grade), (table.c.state, state), (table.c.customer, customer)):
        if value is not None:
            wanted = wanted.where(column == value)
    if told is not None:
        wanted = wanted.where(were_told() if told else ~were_told())
    if contacted is not None:
        wanted = wanted.where(table.c.contact_ms.is_not(None) if contacted else table.c.contact_ms.is_(None))
    if by_loss:
        # Not a parameter: what an index of some rows is good for is decided before parameters are known.
        wanted = wanted.where(table.c.loss_milli > sa.literal_column("0"))
    order = (table.c.loss_milli.desc(), table.c.customer.desc()) if by_loss else (table.c.customer,)
    if after is not None:
        lower = sa.tuple_(table.c.loss_milli, table.c.customer) < sa.tuple_(*map(sa.literal, after))
        wanted = wanted.where(lower if by_loss else table.c.customer > after[0])
    with store.reading() as connection:
        found = connection.execute(wanted.order_by(*order).limit(limit + 1)).all()
    hits = [Hit(rows.ledger_of(row), row.name, row.tier, row.contract_value_milli) for row in found[:limit]]
    if len(found) <= limit:
        return Page(hits)
    last = hits[-1].row
    return Page(hits, (last.loss_milli, last.customer) if by_loss else (last.customer,))


def were_told() -> sa.Exists:
    """Return the condition that a row of the ledger is of somebody who was told of the problem."""
    row, notice = t.ledger.c, t.notices.c
    same = (notice.tenant == row.tenant, notice.case_id == row.case_id, notice.customer == row.customer)
    given = notice.state.in_((NoticeState.SENT.value, NoticeState.SIMULATED.value))
    return sa.exists().where(*same, notice.kind == Kind.PROBLEM.value, given).correlate(t.ledger)


def notice_page(
    store: Store,
    case: str,
    *,
    kind: str | None = None,
    state: str | None = None,
    reason: str | None = None,
    after: Place | None = None,
    limit: int = 50,
) -> Page[Notice]:
    """Return some of a case's notices, by customer (in an order of the store's own), kind and episode.

    `after` is (customer's hash, kind, episode).
    """
    table = t.notices
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.case_id == case)
    for column, value in ((table.c.kind, kind), (table.c.state, state), (table.c.reason, reason)):
        if value is not None:
            wanted = wanted.where(column == value)
    if after is not None:
        who, what, episode = after
        later = sa.or_(table.c.kind > what, sa.and_(table.c.kind == what, table.c.episode > episode))
        wanted = wanted.where(table.c.customer >= who, sa.or_(table.c.customer > who, later))
    order = (table.c.customer, table.c.kind, table.c.episode)
    with store.reading() as connection:
        found = [rows.notice_of(row) for row in connection.execute(wanted.order_by(*order).limit(limit + 1))]
    last = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], None if last is None else (last.customer, last.kind.value, last.episode))


def notices_of(store: Store, case: str, customers: Sequence[int]) -> dict[int, list[Notice]]:
    """Return the notices of these customers of a case, as they were decided."""
    table, out = t.notices, dict[int, list[Notice]]()
    here = sa.select(table).where(table.c.tenant == store.tenant, table.c.case_id == case)
    with store.reading() as connection:
        for some in _batches(customers):
            for row in connection.execute(here.where(table.c.customer.in_(some))):
                out.setdefault(row.customer, []).append(rows.notice_of(row))
    for found in out.values():
        found.sort(key=lambda notice: (notice.at_ms, notice.kind, notice.episode, notice.id))
    return out


def deliveries_of(store: Store, notices: Sequence[str]) -> dict[str, list[Delivery]]:
    """Return the attempts to deliver these notices, by notice."""
    table, out = t.delivery, dict[str, list[Delivery]]()
    here = sa.select(table).where(table.c.tenant == store.tenant).order_by(table.c.notice, table.c.attempt)
    with store.reading() as connection:
        for some in _batches(notices):
            for r in connection.execute(here.where(table.c.notice.in_(some))):
                found = Delivery(r.notice, r.attempt, r.channel, r.outcome, r.at_ms, r.detail)
                out.setdefault(r.notice, []).append(found)
    return out


def dead_page(
    store: Store, *, reason: str | None = None, after: Place | None = None, limit: int = 50
) -> Page[DeadLetter]:
    """Return some of the dead letters as they came; `after` is (number,)."""
    table = t.dead_letter
    wanted = sa.select(table).where(table.c.tenant == store.tenant)
    if reason is not None:
        wanted = wanted.where(table.c.reason == reason)
    if after is not None:
        wanted = wanted.where(table.c.n > after[0])
    with store.reading() as connection:
        found = [
            DeadLetter(r.n, r.source, r.position, r.reason, r.path, r.size, r.data)
            for r in connection.execute(wanted.order_by(table.c.n).limit(limit + 1))
        ]
    return Page(found[:limit], (found[limit - 1].n,) if len(found) > limit else None)


@dataclass(frozen=True)
class Waiting:
    """One row of the outbox; `id` is None where the customer was erased."""

    notice: str
    state: str
    channel: str
    attempts: int
    due_ms: int
    stale_ms: int
    case: str
    signal: str
    kind: str
    priority: int
    id: str | None


def outbox_page(
    store: Store, *, state: str | None = None, channel: str | None = None, after: Place | None = None, limit: int = 50
) -> Page[Waiting]:
    """Return some of the outbox's rows, by notice; `after` is (notice,)."""
    table, who = t.outbox, t.customer
    named = sa.select(table, who.c.id.label("name")).join_from(
        table, who, (who.c.tenant == table.c.tenant) & (who.c.key == table.c.customer), isouter=True
    )
    wanted = named.where(table.c.tenant == store.tenant)
    for column, value in ((table.c.state, state), (table.c.channel, channel)):
        if value is not None:
            wanted = wanted.where(column == value)
    if after is not None:
        wanted = wanted.where(table.c.notice > after[0])
    with store.reading() as connection:
        found = [
            Waiting(
                *(r.notice, r.state, r.channel, r.attempts, r.due_ms, r.stale_ms),
                *(r.case_id, r.signal, r.kind, -r.rank, r.name),
            )
            for r in connection.execute(wanted.order_by(table.c.notice).limit(limit + 1))
        ]
    return Page(found[:limit], (found[limit - 1].notice,) if len(found) > limit else None)


def _batches(values: Sequence[Any]) -> list[Sequence[Any]]:
    return [values[i : i + _BATCH] for i in range(0, len(values), _BATCH)]
