"""Whom a case hit, as a page of a table: found by an index, fifty at a time; the counts are the case's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from detector.desk.records import Case, CustomerState, Decision, Grade, Notice, NoticeState
from detector.errors import UsageError
from streams.store import Store, pages
from streams.store.directory import CustomerDirectory
from streams.store.pages import Hit, Place

ROWS = 20

WHO = ("all", "still_failing", "recovered", "confirmed", "likely", "told", "untold", "called", "lost")
"""Which of the affected: each is a condition that the store finds, and a number of the case's."""


@dataclass(frozen=True)
class Said:
    """What was decided to tell a customer: a kind, what became of it, and why not."""

    kind: str
    state: str
    """`sent`, `simulated`, `queued`, `held`, `dropped`, `failed`."""
    reason: str
    channel: str
    at_ms: int
    until_ms: int | None


@dataclass(frozen=True)
class Row:
    """One affected customer; `id` is None where they were erased."""

    id: str | None
    confirmed: bool
    state: str
    probability: float
    first_failure_ms: int
    last_failure_ms: int
    tries: int
    last_success_ms: int | None
    contact_ms: int | None
    loss_milli: int
    tier: str
    contract_value_milli: int | None
    said: tuple[Said, ...]


@dataclass(frozen=True)
class Hits:
    """A page of the affected; `next` is None on the last one."""

    rows: Sequence[Row]
    next: Place | None
    unknown: bool = False
    """A customer was asked for whom nobody knows, or whom the case did not hit."""


def counts(case: Case) -> dict[str, int | None]:
    """Return how many each of `WHO` are; None where the case does not say."""
    affected = case.affected
    if affected is None:
        return dict.fromkeys(WHO)
    everyone = affected.confirmed + affected.likely
    return {
        "all": everyone,
        "still_failing": affected.still_failing,
        "recovered": affected.recovered,
        "confirmed": affected.confirmed,
        "likely": affected.likely,
        "told": case.notices.told,
        "untold": everyone - case.notices.told,
        "called": case.contacts,
        "lost": 0 if case.loss is msgspec.UNSET else case.loss.customers,
    }


def condition(who: str) -> dict[str, str | bool]:
    """Return the condition of one of `WHO`, as `pages.affected_page` takes it.

    Examples
    --------
    >>> condition("told"), condition("likely"), condition("all")
    ({'told': True}, {'grade': 'likely'}, {})
    """
    match who:
        case "told" | "untold":
            return {"told": who == "told"}
        case "called":
            return {"contacted": True}
        case "lost":
            return {"by_loss": True}
        case Grade.CONFIRMED.value | Grade.LIKELY.value:
            return {"grade": who}
        case CustomerState.STILL_FAILING.value | CustomerState.RECOVERED.value:
            return {"state": who}
    return {}


def hits(
    store: Store,
    directory: CustomerDirectory,
    case: Case,
    *,
    who: str = "all",
    search: str = "",
    after: Place | None = None,
    limit: int = ROWS,
) -> Hits:
    """Return some of those whom a case hit.

    Parameters
    ----------
    search : str
        A customer's id or alias; "": everyone of `who`.
    after : Place, optional
        Where the page before ended; a place of another list begins anew.
    """
    customer: int | None = None
    if search:
        try:
            customer = directory.find(search)
        except UsageError:
            return Hits([], None, unknown=True)
    wanted: dict[str, Any] = condition(who)
    place = after if after is not None and len(after) == (2 if who == "lost" else 1) else None
    found = pages.affected_page(store, case.id, customer=customer, after=place, limit=limit, **wanted)
    of = pages.notices_of(store, case.id, [hit.row.customer for hit in found.items])
    rows = [_row(hit, of.get(hit.row.customer, ())) for hit in found.items]
    return Hits(rows, found.next, unknown=customer is not None and not rows)


def _row(hit: Hit, notices: Sequence[Notice]) -> Row:
    row = hit.row
    return Row(
        id=hit.id,
        confirmed=row.grade is Grade.CONFIRMED,
        state=row.state.value,
        probability=row.probability,
        first_failure_ms=row.first_failure_ms,
        last_failure_ms=row.last_failure_ms,
        tries=row.tries,
        last_success_ms=row.last_success_ms,
        contact_ms=row.contact_ms,
        loss_milli=row.loss_milli,
        tier=hit.tier or "",
        contract_value_milli=hit.contract_value_milli,
        said=tuple(_said(notice) for notice in notices),
    )


def _said(notice: Notice) -> Said:
    held = notice.state is NoticeState.HELD and notice.decision is Decision.HOLD
    return Said(
        notice.kind.value,
        notice.state.value,
        notice.reason,
        notice.channel or "",
        notice.at_ms,
        notice.until_ms if held else None,
    )
