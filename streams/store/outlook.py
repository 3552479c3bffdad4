"""What a person's word on a case would set off: who waits for it, on which channel, where.  Asked before it is said.

Every query reads one case's rows, as many as it has; none is asked to show a page, only to say what will happen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from detector.config import Policy
from detector.desk.records import CustomerState, Kind, NoticeState
from streams.store import pages
from streams.store import tables as t
from streams.store.store import Store

FOR_A_PERSON = ("needs-approval", "case-cap")
"""Why a notice is held until a person approves the case."""
_ON_ITS_WAY: Sequence[NoticeState] = (NoticeState.QUEUED, NoticeState.SIMULATED, NoticeState.SENT)


@dataclass(frozen=True)
class Group:
    """Held notices of a problem that would go the same way.

    Attributes
    ----------
    channel
        None where there is none.
    over
        Looked at now they would not be sent any more: the customer got through, called, it is too long ago, or what
        came since makes it too unlikely that the problem hit them.
    """

    channel: str | None
    time_zone: str
    notices: int
    over: bool = False


def waiting_for_a_person(store: Store, case: str, now_ms: int, policy: Policy) -> list[Group]:
    """Return the notices of a case that wait for its approval, by channel and the customers' time zone."""
    notice, row = t.notices.c, t.ledger.c
    over = sa.or_(
        row.state == CustomerState.RECOVERED.value,
        row.withdrawn == 1,
        row.probability < policy.min_probability,
        row.contact_ms > now_ms - policy.hold_in_contact_ms,
        notice.stale_ms < now_ms,
    )
    is_over = sa.case((over, 1), else_=0).label("over")
    same = (row.tenant == notice.tenant) & (row.case_id == notice.case_id) & (row.customer == notice.customer)
    counted = sa.select(notice.channel, notice.time_zone, is_over, sa.func.count().label("n"))
    wanted = counted.join_from(t.notices, t.ledger, same).where(
        notice.tenant == store.tenant,
        notice.case_id == case,
        notice.kind == Kind.PROBLEM.value,
        notice.state == NoticeState.HELD.value,
        notice.reason.in_(FOR_A_PERSON),
    )
    with store.reading() as connection:
        found = connection.execute(wanted.group_by(notice.channel, notice.time_zone, is_over))
        return [Group(r.channel, r.time_zone, r.n, bool(r.over)) for r in found]


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
