"""Were we first? How long before the customers' first contact a case was found and they were told."""

from collections.abc import Iterable

import msgspec

from detector.desk.records import Case, Kind, LedgerRow, Notice, NoticeState

TOLD = frozenset({NoticeState.SIMULATED, NoticeState.SENT})


class Lead(msgspec.Struct, frozen=True):
    """Figures of one case."""

    first_contact_ms: int | None
    """First contact of a customer who was hit, since the onset."""
    lead_ms: int | None
    """From detection to that contact: negative where customers were first; None where nobody contacted us."""
    told: int
    contacted: int
    told_before_contact: int
    """Customers who were told and contacted us afterwards, or never."""


def lead(case: Case, rows: Iterable[LedgerRow], notices: Iterable[Notice]) -> Lead:
    """Return a case's lead over its customers.

    Parameters
    ----------
    case : Case
    rows : iterable of LedgerRow
        The case's ledger; withdrawn rows do not count.
    notices : iterable of Notice
        The case's notices.
    """
    contacts = {r.customer: r.contact_ms for r in rows if not r.withdrawn and r.contact_ms is not None}
    told: dict[int, int] = {}
    for notice in notices:
        if notice.kind is Kind.PROBLEM and notice.state in TOLD:
            told[notice.customer] = min(notice.at_ms, told.get(notice.customer, notice.at_ms))
    first = min(contacts.values(), default=None)
    return Lead(
        first_contact_ms=first,
        lead_ms=None if first is None else first - case.detected_ms,
        told=len(told),
        contacted=len(contacts),
        told_before_contact=sum(c not in contacts or contacts[c] > at for c, at in told.items()),
    )
