"""How sending stands: what waits on each channel, what is held and why, what came of attempts, how much went out.

Every question follows an index of the outbox, of the deliveries or of one case's notices; lists come in pages.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from detector.desk.records import NoticeState
from streams.store import pages
from streams.store import tables as t
from streams.store.pages import Page, Place, Waiting
from streams.store.queries import FINISHED
from streams.store.standing import UNSETTLED
from streams.store.store import Store

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WENT = ("sent", "unknown")
"""Outcomes that may have reached the customer: they count in the limits."""
_MOST_REASONS = 1_000


@dataclass(frozen=True)
class Queue:
    """Rows of the outbox on one channel, in one state.

    Attributes
    ----------
    later
        Of them, those that are looked at only after now; `next_ms` is when the first of these is.
    stale_soon
        Of them, those that are not sent any more within the hour.
    """

    channel: str
    state: str
    n: int
    later: int
    next_ms: int | None
    stale_soon: int


def queues(store: Store, now_ms: int) -> list[Queue]:
    """Return what is not done with, by channel and state."""
    c = t.outbox.c
    wanted = (
        sa.select(
            c.channel,
            c.state,
            sa.func.count().label("n"),
            sa.func.sum(sa.case((c.due_ms > now_ms, 1), else_=0)).label("later"),
            sa.func.min(sa.case((c.due_ms > now_ms, c.due_ms))).label("next"),
            sa.func.sum(sa.case((c.stale_ms < now_ms + HOUR_MS, 1), else_=0)).label("soon"),
        )
        .where(c.tenant == store.tenant, c.state.in_(UNSETTLED))
        .group_by(c.channel, c.state)
        .order_by(c.channel, c.state)
    )
    with store.reading() as connection:
        return [
            Queue(r.channel, r.state, int(r.n), int(r.later), None if r.next is None else int(r.next), int(r.soon))
            for r in connection.execute(wanted)
        ]


@dataclass(frozen=True)
class Held:
    """Notices of unfinished cases that are held for one reason; the first is looked at again at `until_ms`."""

    reason: str
    n: int
    until_ms: int | None


def held(store: Store) -> list[Held]:
    """Return what is held, the most frequent reason first."""
    c = t.notices.c
    wanted = sa.select(c.reason, sa.func.count().label("n"), sa.func.min(c.until_ms).label("until"))
    wanted = wanted.where(*_held(store)).group_by(c.reason)
    with store.reading() as connection:
        found = [
            Held(r.reason, int(r.n), None if r.until is None else int(r.until)) for r in connection.execute(wanted)
        ]
    return sorted(found, key=lambda one: (-one.n, one.reason))


def _held(store: Store) -> tuple[sa.ColumnElement[bool], ...]:
    unfinished = sa.select(t.cases.c.id).where(
        t.cases.c.tenant == store.tenant, t.cases.c.state.not_in([state.value for state in FINISHED])
    )
    c = t.notices.c
    return c.tenant == store.tenant, c.case_id.in_(unfinished), c.state == NoticeState.HELD.value


@dataclass(frozen=True)
class HeldNotice:
    """One of them; `id` is None where the customer was erased."""

    notice: str
    case: str
    kind: str
    reason: str
    until_ms: int | None
    at_ms: int
    channel: str
    time_zone: str
    signal: str
    id: str | None


def held_page(store: Store, reason: str, *, after: Place | None = None, limit: int = 50) -> Page[HeldNotice]:
    """Return some of what is held for a reason, by notice; `after` is (notice,)."""
    table, who = t.notices, t.customer
    named = sa.select(table, who.c.id.label("name")).join_from(
        table, who, (who.c.tenant == table.c.tenant) & (who.c.key == table.c.customer), isouter=True
    )
    wanted = named.where(*_held(store), table.c.reason == reason)
    if after is not None:
        wanted = wanted.where(table.c.id > after[0])
    with store.reading() as connection:
        found = [
            HeldNotice(
                *(r.id, r.case_id, r.kind, r.reason, r.until_ms, r.at_ms),
                *(r.channel or "", r.time_zone, r.signal, r.name),
            )
            for r in connection.execute(wanted.order_by(table.c.id).limit(limit + 1))
        ]
    return Page(found[:limit], (found[limit - 1].notice,) if len(found) > limit else None)


@dataclass(frozen=True)
class Outcomes:
    """What came of attempts on one channel; `reason` is "" of what was sent."""

    channel: str
    outcome: str
    reason: str
    n: int


def outcomes(store: Store, channels: Iterable[str], since_ms: int) -> list[Outcomes]:
    """Return what came of the attempts since a moment, by channel, outcome and reason, the most frequent first."""
    c, sums = t.delivery.c, dict[tuple[str, str, str], int]()
    with store.reading() as connection:
        for channel in channels:
            here = (c.tenant == store.tenant, c.channel == channel, c.at_ms >= since_ms)
            # What became of a message that was sent (delivered, read) is no reason.
            told = sa.select(c.outcome, sa.literal("").label("detail"), sa.func.count().label("n")).where(
                *here, c.outcome.in_(("sent", "simulated"))
            )
            other = sa.select(c.outcome, c.detail, sa.func.count().label("n")).where(
                *here, c.outcome.not_in(("sent", "simulated"))
            )
            grouped = (
                told.group_by(c.outcome),
                other.group_by(c.outcome, c.detail).order_by(sa.func.count().desc()).limit(_MOST_REASONS),
            )
            for wanted in grouped:
                for row in connection.execute(wanted):
                    key = (channel, row.outcome, row.detail.partition(": ")[0])
                    sums[key] = sums.get(key, 0) + int(row.n)
    found = [Outcomes(*key, n) for key, n in sums.items()]
    return sorted(found, key=lambda one: (-one.n, one.channel, one.outcome, one.reason))


@dataclass(frozen=True)
class GoneOut:
    """What went out (or may have): in the last hour by channel and signal, and to how many in 24 hours by channel."""

    hour: Mapping[tuple[str, str], int]
    customers_day: Mapping[str, int]


def gone_out(store: Store, channels: Iterable[str], now_ms: int) -> GoneOut:
    """Return how much of the limits is used."""
    c, hour, people = t.delivery.c, dict[tuple[str, str], int](), dict[str, int]()
    with store.reading() as connection:
        for channel in channels:
            here = (c.tenant == store.tenant, c.channel == channel, c.outcome.in_(WENT))
            counted = sa.select(c.signal, sa.func.count().label("n")).where(*here, c.at_ms > now_ms - HOUR_MS)
            hour.update({(channel, r.signal): int(r.n) for r in connection.execute(counted.group_by(c.signal))})
            distinct = sa.select(sa.func.count(sa.distinct(c.customer))).where(*here, c.at_ms > now_ms - DAY_MS)
            people[channel] = int(connection.execute(distinct).scalar_one())
    return GoneOut(hour, people)


@dataclass(frozen=True)
class Listed:
    """A row of the outbox, with what its last attempt came to."""

    row: Waiting
    at_ms: int | None
    detail: str


def listed(
    store: Store, *, state: str | None = None, channel: str | None = None, after: Place | None = None, limit: int = 50
) -> Page[Listed]:
    """Return some of the outbox's rows with their last attempts, by notice; `after` is (notice,)."""
    page = pages.outbox_page(store, state=state, channel=channel, after=after, limit=limit)
    attempts = pages.deliveries_of(store, [row.notice for row in page.items])
    items = []
    for row in page.items:
        last = attempts[row.notice][-1] if row.notice in attempts else None
        items.append(Listed(row, None if last is None else last.at_ms, "" if last is None else last.detail))
    return Page(items, page.next)


def waiting_of(store: Store, customer: int) -> int:
    """Return how many notices wait to be sent to a customer."""
    c = t.outbox.c
    wanted = sa.select(sa.func.count()).where(
        c.tenant == store.tenant, c.customer == customer, c.state.in_(("waiting", "claimed"))
    )
    with store.reading() as connection:
        return int(connection.execute(wanted).scalar_one())
