"""What people ask a store: cases, who is hit, what was decided for whom, the dead letters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from detector.counter.record import WindowRecord
from detector.desk.records import Case, CaseState, EvidencePoint, LedgerRow, Notice, TimelineEntry
from detector.errors import UsageError
from detector.watch.control import Fact, Withdrawn
from streams.store import rows
from streams.store import tables as t
from streams.store.database import streamed
from streams.store.store import Store

_FACTS = ("fact", "withdrawn")
"""Kinds of the log's records that tell and end facts."""
FINISHED = (CaseState.RESOLVED, CaseState.DISMISSED, CaseState.MERGED)


@dataclass(frozen=True)
class Delivery:
    """One attempt to hand a notice to a channel."""

    notice: str
    attempt: int
    channel: str
    outcome: str
    at_ms: int
    detail: str


@dataclass(frozen=True)
class DeadLetter:
    """One record that was no event."""

    n: int
    source: str
    position: int
    reason: str
    path: str
    size: int
    data: bytes


@dataclass(frozen=True)
class KnownFact:
    """A fact that people told, and when they ended it."""

    fact: Fact
    ended_ms: int | None = None


def list_cases(store: Store, *, finished: bool = False, merged: bool = False) -> list[Case]:
    """Return the cases, newest first: the unfinished ones; with `finished` all but the merged ones."""
    left_out = [] if merged else [CaseState.MERGED]
    if not finished:
        left_out = list(FINISHED)
    wanted = sa.select(t.cases).where(
        t.cases.c.tenant == store.tenant, t.cases.c.state.not_in([state.value for state in left_out])
    )
    with store.reading() as connection:
        found = connection.execute(wanted.order_by(t.cases.c.opened_ms.desc(), t.cases.c.id))
        return [rows.case_of(row) for row in found]


def find_case(store: Store, prefix: str) -> Case:
    """Return the case whose id begins so.

    Raises
    ------
    UsageError
        None does, or several do.
    """
    wanted = sa.select(t.cases).where(
        t.cases.c.tenant == store.tenant, sa.func.substr(t.cases.c.id, 1, len(prefix)) == prefix
    )
    with store.reading() as connection:
        found = [rows.case_of(row) for row in connection.execute(wanted.order_by(t.cases.c.id).limit(3))]
    exact = [case for case in found if case.id == prefix]
    if exact:
        return exact[0]
    if not prefix or not found:
        message = f"case {prefix!r}: there is none in {store.where}; `tocsin cases --all` lists them"
        raise UsageError(message)
    if len(found) > 1:
        message = f"case {prefix!r}: several begin so ({', '.join(case.id[:12] for case in found)} …); give more of it"
        raise UsageError(message)
    return found[0]


def get_case(store: Store, id: str) -> Case | None:
    """Return the case of this id; None where there is none."""
    with store.reading() as connection:
        row = connection.execute(sa.select(t.cases).where(t.cases.c.tenant == store.tenant, t.cases.c.id == id)).first()
    return None if row is None else rows.case_of(row)


def ledger(store: Store, case: str) -> Iterator[LedgerRow]:
    """Yield who is affected (no withdrawn rows), in an order of the store's own."""
    table = t.ledger
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.case_id == case, table.c.withdrawn == 0)
    with store.reading() as connection, streamed(connection, wanted, 1_000) as found:
        for row in found:
            yield rows.ledger_of(row)


def cases_of(store: Store, customer: int, limit: int) -> list[tuple[Case, LedgerRow]]:
    """Return the cases that list a customer, withdrawn or not, the latest opened first."""
    table = t.ledger
    joined = (t.cases.c.tenant == table.c.tenant) & (t.cases.c.id == table.c.case_id)
    wanted = sa.select(table, t.cases.c.body).join_from(table, t.cases, joined)
    wanted = wanted.where(table.c.tenant == store.tenant, table.c.customer == customer)
    with store.reading() as connection:
        found = connection.execute(wanted.order_by(t.cases.c.opened_ms.desc(), t.cases.c.id.desc()).limit(limit))
        return [(rows.case_of(row), rows.ledger_of(row)) for row in found]


def ledger_row(store: Store, case: str, customer: int) -> LedgerRow | None:
    """Return one customer's row, withdrawn or not."""
    table = t.ledger
    wanted = sa.select(table).where(
        table.c.tenant == store.tenant, table.c.case_id == case, table.c.customer == customer
    )
    with store.reading() as connection:
        row = connection.execute(wanted).first()
    return None if row is None else rows.ledger_of(row)


def notices(store: Store, case: str, customer: int | None = None) -> list[Notice]:
    """Return a case's notices (of one customer), as they were decided."""
    table = t.notices
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.case_id == case)
    if customer is not None:
        wanted = wanted.where(table.c.customer == customer)
    with store.reading() as connection:
        found = [rows.notice_of(row) for row in connection.execute(wanted)]
    return sorted(found, key=lambda notice: (notice.at_ms, notice.kind, notice.episode, notice.id))


def timeline(store: Store, case: str) -> list[TimelineEntry]:
    """Return a case's story."""
    table = t.timeline
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.case_id == case)
    with store.reading() as connection:
        return [rows.timeline_of(row) for row in connection.execute(wanted.order_by(table.c.seq, table.c.n))]


def story(store: Store, case: Case) -> list[TimelineEntry]:
    """Return a case's story in the order of time: every line stands at the moment that the case itself names.

    A line is written when the Desk does or learns something, which is once a window has closed.  So the first contact
    stands at the case's `first_contact_ms`, once; where the case knows of none any more it is no part of the story.
    """
    out, called = list[TimelineEntry](), case.first_contact_ms
    for entry in timeline(store, case.id):
        if entry.what != "first-contact":
            out.append(entry)
        elif called is not None:
            out.append(msgspec.structs.replace(entry, at_ms=called))
            called = None
    return sorted(out, key=lambda entry: (entry.at_ms, entry.seq, entry.n))


def evidence(store: Store, case: str) -> list[EvidencePoint]:
    """Return a case's observed and expected numbers, by signal and window."""
    table = t.evidence
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.case_id == case)
    with store.reading() as connection:
        return [rows.evidence_of(row) for row in connection.execute(wanted.order_by(table.c.signal, table.c.window_ms))]


def deliveries(store: Store, notice: str) -> list[Delivery]:
    """Return the attempts to deliver a notice."""
    table = t.delivery
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.notice == notice)
    with store.reading() as connection:
        found = connection.execute(wanted.order_by(table.c.attempt))
        return [Delivery(r.notice, r.attempt, r.channel, r.outcome, r.at_ms, r.detail) for r in found]


def names(store: Store, customers: Sequence[int]) -> dict[int, str]:
    """Return the ids of these customers; an erased one is missing."""
    out: dict[int, str] = {}
    with store.reading() as connection:
        for i in range(0, len(customers), 500):
            wanted = sa.select(t.customer.c.key, t.customer.c.id).where(
                t.customer.c.tenant == store.tenant, t.customer.c.key.in_(customers[i : i + 500])
            )
            out.update((row.key, row.id) for row in connection.execute(wanted))
    return out


def notice_sums(store: Store) -> dict[str, int | dict[str, int]]:
    """Return how many notices stand how: `sent` (simulated ones too), `held`, `dropped` by reason."""
    table = t.notices
    counted = sa.select(table.c.state, table.c.reason, sa.func.count().label("n"))
    wanted = counted.where(table.c.tenant == store.tenant).group_by(table.c.state, table.c.reason)
    sums: dict[str, int] = {"sent": 0, "held": 0}
    dropped: dict[str, int] = {}
    with store.reading() as connection:
        for row in connection.execute(wanted.order_by(table.c.state, table.c.reason)):
            if row.state == "dropped":
                dropped[row.reason] = row.n
            else:
                name = "sent" if row.state == "simulated" else row.state
                sums[name] = sums.get(name, 0) + row.n
    return {**sums, "dropped": dropped}


def unfinished_of(store: Store, signal: str) -> int:
    """Return how many unfinished cases a signal has."""
    table = t.cases
    wanted = sa.select(sa.func.count()).where(
        table.c.tenant == store.tenant,
        table.c.state.not_in([state.value for state in FINISHED]),
        table.c.signals.contains(f" {signal} ", autoescape=True),
    )
    with store.reading() as connection:
        return int(connection.execute(wanted).scalar_one())


def outbox_state(store: Store, notice: str) -> str | None:
    """Return how a notice stands in the outbox; None where it is not in there."""
    wanted = sa.select(t.outbox.c.state).where(t.outbox.c.tenant == store.tenant, t.outbox.c.notice == notice)
    with store.reading() as connection:
        return connection.execute(wanted).scalar_one_or_none()


def held_reasons(store: Store) -> dict[str, int]:
    """Return why notices of unfinished cases are held, and how many for each reason."""
    table = t.notices
    unfinished = sa.select(t.cases.c.id).where(
        t.cases.c.tenant == store.tenant, t.cases.c.state.not_in([state.value for state in FINISHED])
    )
    wanted = sa.select(table.c.reason, sa.func.count().label("n")).where(
        table.c.tenant == store.tenant, table.c.case_id.in_(unfinished), table.c.state == "held"
    )
    with store.reading() as connection:
        found = connection.execute(wanted.group_by(table.c.reason).order_by(table.c.reason))
        return {row.reason: row.n for row in found}


def dead_letters(store: Store, *, reason: str | None = None, limit: int | None = None) -> list[DeadLetter]:
    """Return the dead letters as they came."""
    table = t.dead_letter
    wanted = sa.select(table).where(table.c.tenant == store.tenant).order_by(table.c.n)
    if reason is not None:
        wanted = wanted.where(table.c.reason == reason)
    if limit is not None:
        wanted = wanted.limit(limit)
    with store.reading() as connection:
        found = connection.execute(wanted)
        return [DeadLetter(r.n, r.source, r.position, r.reason, r.path, r.size, r.data) for r in found]


def case_count(store: Store) -> Mapping[str, int]:
    """Return how many cases stand in which state."""
    table = t.cases
    wanted = sa.select(table.c.state, sa.func.count().label("n")).where(table.c.tenant == store.tenant)
    with store.reading() as connection:
        return {row.state: row.n for row in connection.execute(wanted.group_by(table.c.state))}


def facts(store: Store) -> list[KnownFact]:
    """Return what people told, in the order of time."""
    table, found = t.desk_log, dict[str, KnownFact]()
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.kind.in_(_FACTS)).order_by(table.c.seq)
    with store.reading() as connection:
        for row in connection.execute(wanted):
            record = rows.log_of(row)
            match record.payload:
                case Fact() as fact:
                    found[fact.id] = KnownFact(fact)
                case Withdrawn(fact=id) if id in found:
                    found[id] = KnownFact(found[id].fact, record.at_ms)
    return sorted(found.values(), key=lambda known: (known.fact.from_ms, known.fact.id))


def newest_window(store: Store) -> WindowRecord | None:
    """Return the last closed window that had an event: how far the stream has come."""
    found = newest_windows(store, 1)
    return found[0] if found else None


def newest_windows(store: Store, n: int) -> list[WindowRecord]:
    """Return so many of the last closed windows' records, newest first."""
    table = t.window_record
    wanted = sa.select(table.c.data).where(table.c.tenant == store.tenant)
    with store.reading() as connection:
        found = connection.execute(wanted.order_by(table.c.window_ms.desc(), table.c.partition).limit(n))
        return [rows.window_of(row.data) for row in found]


def oldest_window_ms(store: Store) -> int | None:
    """Return the start of the first window that is kept; None before the first one has closed."""
    table = t.window_record
    wanted = sa.select(sa.func.min(table.c.window_ms)).where(table.c.tenant == store.tenant)
    with store.reading() as connection:
        found = connection.execute(wanted).scalar_one_or_none()
        return None if found is None else int(found)
