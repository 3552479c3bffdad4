"""Were we first? How long before the first contact a problem was found, and what telling customers changed.

A contact is about a problem where an affected customer got in touch after a failure of their own in the case: what
came before was about something else. More the Desk cannot know: some get in touch afterwards about something else as
well.
"""

import math
from collections.abc import Iterable

import msgspec

from detector.desk.policy import Arm, holdout
from detector.desk.records import Case, Kind, LedgerRow, Notice, NoticeState

TOLD = frozenset({NoticeState.SIMULATED, NoticeState.SENT})


class Lead(msgspec.Struct, frozen=True):
    """Figures of one case."""

    first_contact_ms: int | None
    """The case's: when the first affected customer contacted us after a failure of their own."""
    lead_ms: int | None
    """As `lead_ms` gives it."""
    told: int
    contacted: int
    """Customers who contacted us after a failure of their own."""
    told_before_contact: int
    """Customers who were told and contacted us afterwards, or never."""
    hit: int = 0
    """Customers who were hit, told or not."""

    @property
    def first_share(self) -> float | None:
        """Share of the hit customers who were told before they contacted us; None where nobody was hit."""
        return self.told_before_contact / self.hit if self.hit else None


def lead_ms(case: Case) -> int | None:
    """Return how long before the first contact about it a case's problem was found: from `detected_ms` on.

    Negative: a customer was first.  None: nobody has contacted us about it.
    """
    return None if case.first_contact_ms is None else case.first_contact_ms - case.detected_ms


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
    listed = [row for row in rows if not row.withdrawn]
    contacts = {
        r.customer: r.contact_ms for r in listed if r.contact_ms is not None and r.contact_ms >= r.first_failure_ms
    }
    told: dict[int, int] = {}
    for notice in notices:
        if notice.kind is Kind.PROBLEM and notice.state in TOLD:
            told[notice.customer] = min(notice.at_ms, told.get(notice.customer, notice.at_ms))
    return Lead(
        first_contact_ms=case.first_contact_ms,
        lead_ms=lead_ms(case),
        told=len(told),
        contacted=len(contacts),
        told_before_contact=sum(c not in contacts or contacts[c] > at for c, at in told.items()),
        hit=len(listed),
    )


class Comparison(msgspec.Struct, frozen=True):
    """Contacts of those held out and of the others, by intention: whoever was really told."""

    held_out: int
    held_out_contacts: int
    others: int
    others_contacts: int
    difference: float
    """Share of contacts among those held out less the share among the others: what telling at once avoided."""
    low: float
    high: float
    """95 % interval of the difference."""

    @property
    def avoided(self) -> float:
        """Estimate of the contacts that telling at once avoided among the others."""
        return self.difference * self.others


def comparison(rows: Iterable[LedgerRow], notices: Iterable[Notice]) -> Comparison | None:
    """Return what the holdout of a case shows; None where one side is empty.

    Parameters
    ----------
    rows : iterable of LedgerRow
        The case's ledger; withdrawn rows count as well, as they were drawn.
    notices : iterable of Notice
        The case's notices of any decision.

    References
    ----------
    The interval is Newcombe's (1998), method 10: from the Wilson intervals of the two shares.
    """
    contacted = {row.customer for row in rows if row.contact_ms is not None}
    sides: dict[Arm, set[int]] = {Arm.OUT: set(), Arm.IN: set()}
    for notice in notices:
        check = next((c for c in notice.checks if c.rule == holdout.__name__), None)
        for arm, side in sides.items():
            if notice.kind is Kind.PROBLEM and check is not None and check.detail.startswith(arm.value):
                side.add(notice.customer)
    out, others = sides[Arm.OUT], sides[Arm.IN]
    return _compared(len(out), len(out & contacted), len(others), len(others & contacted))


def comparison_of(case: Case) -> Comparison | None:
    """Return what the holdout of a case shows, as its row counts it; None where it has none."""
    n = case.notices
    return _compared(n.holdout, n.holdout_contacts, n.compared, n.compared_contacts)


def _compared(out: int, x: int, others: int, y: int) -> Comparison | None:
    """Compare `x` of those held out who contacted us with `y` of the others."""
    if not out or not others:
        return None
    p, q = x / out, y / others
    (p_low, p_high), (q_low, q_high) = wilson(x, out), wilson(y, others)
    return Comparison(
        held_out=out,
        held_out_contacts=x,
        others=others,
        others_contacts=y,
        difference=p - q,
        low=p - q - math.hypot(p - p_low, q_high - q),
        high=p - q + math.hypot(p_high - p, q - q_low),
    )


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a share.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(10, 100)]
    [0.055, 0.174]
    """
    share, extra = hits / n, z * z / n
    middle = (share + extra / 2) / (1 + extra)
    half = z / (1 + extra) * math.sqrt(share * (1 - share) / n + extra / (4 * n))
    return middle - half, middle + half
