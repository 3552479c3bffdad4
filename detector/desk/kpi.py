"""Were we first? How long before their first contact customers were told, and what telling them changed."""

import math
from collections.abc import Iterable

import msgspec

from detector.desk.policy import Arm, holdout
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
    hit: int = 0
    """Customers who were hit, told or not."""

    @property
    def first_share(self) -> float | None:
        """Share of the hit customers who were told before they contacted us; None where nobody was hit."""
        return self.told_before_contact / self.hit if self.hit else None


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
    contacts = {r.customer: r.contact_ms for r in listed if r.contact_ms is not None}
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
    if not out or not others:
        return None
    x, y = len(out & contacted), len(others & contacted)
    p, q = x / len(out), y / len(others)
    (p_low, p_high), (q_low, q_high) = wilson(x, len(out)), wilson(y, len(others))
    return Comparison(
        held_out=len(out),
        held_out_contacts=x,
        others=len(others),
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
