"""What a person's word on a case would set off: who waits for it, on which channel, where.  Asked before it is said.

Every query reads one case's rows, as many as it has; none is asked to show a page, only to say what will happen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from detector.desk.records import CustomerState, Kind, NoticeState
from streams.store import pages
from streams.store import tables as t
from streams.store.store import Store

FOR_A_PERSON = ("needs-approval", "case-cap")
"""Why a notice is held until a person approves the case."""


@dataclass(frozen=True)
class Group:
    """Held notices of a problem that would go the same way; `channel` is None where there is none."""

    channel: str | None
    time_zone: str
    notices: int


def waiting_for_a_person(store: Store, case: str) -> list[Group]:
    """Return the notices of a case that wait for its approval, by channel and the customers' time zone."""
    table = t.notices.c
    counted = sa.select(table.channel, table.time_zone, sa.func.count().label("n"))
    wanted = counted.where(
        table.tenant == store.tenant,
        table.case_id == case,
        table.kind == Kind.PROBLEM.value,
        table.state == NoticeState.HELD.value,
        table.reason.in_(FOR_A_PERSON),
    )
    with store.reading() as connection:
        found = connection.execute(wanted.group_by(table.channel, table.time_zone))
        return [Group(row.channel, row.time_zone, row.n) for row in found]


def told_and_waiting(store: Store, case: str) -> int:
    """Return how many were told of a case, have not got through since, and have not heard that they can try again."""
    row, notice = t.ledger.c, t.notices.c
    same = (notice.tenant == row.tenant, notice.case_id == row.case_id, notice.customer == row.customer)
    heard = sa.exists().where(
        *same,
        notice.kind.in_((Kind.RESOLVED.value, Kind.TRY_AGAIN.value)),
        notice.state.in_([state.value for state in _ON_ITS_WAY]),
    )
    wanted = sa.select(sa.func.count()).where(
        row.tenant == store.tenant,
        row.case_id == case,
        row.withdrawn == 0,
        row.state != CustomerState.RECOVERED.value,
        pages.were_told(),
        ~heard.correlate(t.ledger),
    )
    with store.reading() as connection:
        return int(connection.execute(wanted).scalar_one())


_ON_ITS_WAY: Sequence[NoticeState] = (NoticeState.QUEUED, NoticeState.SIMULATED, NoticeState.SENT)
