"""The feed: what the world is told of a commit, derived from its effects and written in the same transaction.

Promises
- Events follow from how rows change, so each change is told once: a commit that is cut off tells nothing, and one that
  is done again after a crash tells it then.
- `seq` goes up by one within a tenant and is never used twice: `retention.prune_feed` keeps the newest row, and a
  restored store leaves out what the one that it replaced had given out (`AFTER`).
- Within one commit a case's opening stands before its customers, and its end after them.
- Of a shadow case nobody's name is told.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from detector.desk.records import Case, CaseState, CustomerState, DeskEffects, LedgerRow, NoticeState
from detector.signals import Mode
from streams.store import feedtypes as f
from streams.store import rows
from streams.store import tables as t

AFTER = "feed_after"
"""Where the whole store's values hold, of a restored one, the number behind which the feed goes on."""
_BATCH = 500
_json = msgspec.json.Encoder()
_BY_STATE = {
    CaseState.RECOVERING: f.CASE_RECOVERING,
    CaseState.RESOLVED: f.CASE_RESOLVED,
    CaseState.DISMISSED: f.CASE_DISMISSED,
    CaseState.MERGED: f.CASE_MERGED,
}
_ENDS = (f.CASE_RESOLVED, f.CASE_DISMISSED, f.CASE_MERGED)
_OUTCOMES = {NoticeState.SENT: f.NOTICE_SENT, NoticeState.FAILED: f.NOTICE_FAILED}


@dataclass(frozen=True)
class Before:
    """What the store held, before a commit, of what the commit changes."""

    cases: Mapping[str, Case]
    customers: Mapping[tuple[str, int], CustomerState | None]
    """By case and customer; None: listed once, and withdrawn."""
    notices: Mapping[str, NoticeState]


@dataclass(frozen=True)
class Told:
    """One event, without its number."""

    type: f.FeedType
    case: str
    data: f.Data


def derive(desk: DeskEffects, before: Before) -> list[Told]:
    """Return what there is to tell of these effects, in order."""
    cases = list(_cases(desk.cases, before.cases))
    latest = {**before.cases, **{case.id: case for case in desk.cases}}
    first = [told for told in cases if told.type not in _ENDS]
    last = [told for told in cases if told.type in _ENDS]
    return [*first, *_customers(desk.ledger, before.customers, latest), *_notices(desk, before.notices), *last]


def _cases(changed: Sequence[Case], before: Mapping[str, Case]) -> Iterator[Told]:
    """Yield each case's transitions, and the last of its other changes."""
    known, last = dict(before), {case.id: i for i, case in enumerate(changed)}
    begun = {case.id: before.get(case.id) for case in changed}
    for i, case in enumerate(changed):
        moved = _transitions(known.get(case.id), case)
        data = f.case_data(case) if moved or last[case.id] == i else None
        for kind in moved:
            assert data is not None
            begun[case.id] = case
            yield Told(kind, case.id, data)
        told = begun[case.id]
        if data is not None and told is not None and not moved and data != f.case_data(told):
            yield Told(f.CASE_UPDATED, case.id, data)
        known[case.id] = case


def _transitions(before: Case | None, after: Case) -> list[f.FeedType]:
    out = []
    if before is None:
        out.append(f.CASE_OPENED)
    elif after.episode > before.episode:
        out.append(f.CASE_REOPENED)
    acknowledged = None if out or before is None else before.acknowledged_ms
    if after.acknowledged_ms is not None and acknowledged is None:
        out.append(f.CASE_ACKNOWLEDGED)
    if after.state in _BY_STATE and (before is None or after.state is not before.state):
        out.append(_BY_STATE[after.state])
    return out


def _customers(
    changed: Iterable[LedgerRow], before: Mapping[tuple[str, int], CustomerState | None], cases: Mapping[str, Case]
) -> Iterator[Told]:
    known = dict(before)
    live = {id: case for id, case in cases.items() if case.mode is Mode.LIVE}
    for row in changed:
        case = live.get(row.case)
        if case is None:
            continue
        was, now = known.get((row.case, row.customer)), None if row.withdrawn else row.state
        known[row.case, row.customer] = now
        for kind in _moved(was, now):
            yield Told(kind, row.case, f.customer_data(row, case))


def _moved(was: CustomerState | None, now: CustomerState | None) -> list[f.FeedType]:
    recovered = CustomerState.RECOVERED
    if now is None:
        return [] if was is None else [f.CUSTOMER_WITHDRAWN]
    if was is None:
        return [f.CUSTOMER_AFFECTED, *([f.CUSTOMER_RECOVERED] if now is recovered else [])]
    if (was is recovered) is (now is recovered):
        return []
    return [f.CUSTOMER_RECOVERED if now is recovered else f.CUSTOMER_AFFECTED]


def _notices(desk: DeskEffects, before: Mapping[str, NoticeState]) -> Iterator[Told]:
    known = dict(before)
    for notice in desk.notices:
        if notice.state in _OUTCOMES and known.get(notice.id) is not notice.state:
            yield Told(_OUTCOMES[notice.state], notice.case, f.notice_data(notice))
        known[notice.id] = notice.state


# --- in the transaction -----------------------------------------------------------------------------------------------


def known_before(connection: sa.Connection, tenant: str, desk: DeskEffects) -> Before:
    """Return what the store holds of what these effects change; ask before they are written."""
    ids = dict.fromkeys([*(case.id for case in desk.cases), *(row.case for row in desk.ledger)])
    cases = {case.id: case for case in map(rows.case_of, _among(connection, tenant, t.cases, t.cases.c.id, list(ids)))}
    of: dict[str, dict[int, None]] = {}
    for row in desk.ledger:
        of.setdefault(row.case, {})[row.customer] = None
    customers: dict[tuple[str, int], CustomerState | None] = {}
    for case, found in of.items():
        if case in cases and cases[case].mode is Mode.LIVE:  # of a new one there are no rows
            for old in _rows_of(connection, tenant, case, sorted(found)):
                customers[case, old.customer] = None if old.withdrawn else CustomerState(old.state)
    settled = list(dict.fromkeys(notice.id for notice in desk.notices if notice.state in _OUTCOMES))
    notices = {row.id: NoticeState(row.state) for row in _among(connection, tenant, t.notices, t.notices.c.id, settled)}
    return Before(cases, customers, notices)


def _rows_of(
    connection: sa.Connection, tenant: str, case: str, customers: Sequence[int]
) -> Iterator[sa.Row[tuple[object, ...]]]:
    """Give a case's rows of some customers, in ascending order.

    Each question names its part of the case too: of a case that is new to PostgreSQL's statistics it expects a handful
    of rows, reads all of them and compares each; by parts that adds up to the case once, not once a question.
    """
    ledger = t.ledger.c
    mine = sa.select(t.ledger).where(ledger.tenant == tenant, ledger.case_id == case)
    for i in range(0, len(customers), _BATCH):
        some = customers[i : i + _BATCH]
        part = ledger.customer.between(some[0], some[-1])
        yield from connection.execute(mine.where(part, ledger.customer.in_(some)))


def _among(
    connection: sa.Connection, tenant: str, table: sa.Table, column: sa.Column[object], wanted: Sequence[object]
) -> Iterator[sa.Row[tuple[object, ...]]]:
    base = sa.select(table).where(table.c.tenant == tenant)
    for i in range(0, len(wanted), _BATCH):
        yield from connection.execute(base.where(column.in_(wanted[i : i + _BATCH])))


def append(connection: sa.Connection, tenant: str, told: Sequence[Told], at_ms: int) -> None:
    """Number the events and write them."""
    if not told:
        return
    newest = sa.select(sa.func.coalesce(sa.func.max(t.feed.c.seq), 0)).where(t.feed.c.tenant == tenant)
    kept = connection.execute(sa.select(t.meta.c.value).where(t.meta.c.key == AFTER)).scalar_one_or_none()
    first = max(int(connection.execute(newest).scalar_one()), int(kept or 0)) + 1
    values = (
        {
            "tenant": tenant,
            "seq": first + i,
            "at_ms": at_ms,
            "type": one.type.name,
            "subject": one.case,
            "data": _json.encode(one.data),
        }
        for i, one in enumerate(told)
    )
    rows.put(connection, t.feed, values)
