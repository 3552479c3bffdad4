"""What the feed tells: one typed list of events, from which the reference page is made.

Rules of the file
- Names and fields stay: a field may be added, none is renamed, removed or given another meaning under its version.
- In the store `customer` is the customer's hash; whoever delivers an event puts the directory's id in its place.
- Nothing here is free text of an event or of a person, and no address.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from detector.desk.kpi import lead_ms
from detector.desk.records import Affected, Approval, Case, LedgerRow, Notice
from detector.desk.records import CustomerState as State
from detector.desk.records import Grade as GradeOf
from detector.desk.records import Kind as KindOf
from detector.desk.records import NoticeState as Outcome
from detector.signals import Mode, Severity
from streams.store.values import rfc3339, units

MAX_CAUSES = 20
"""So many of a case's causes stand in an event, which is to stay below 20 kB."""


def _is(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


Time = Annotated[str, _is("RFC 3339 in UTC.")]


class CauseData(msgspec.Struct, frozen=True):
    where: Annotated[dict[str, str], _is("Dimensions and their values; empty: everywhere.")]
    share_of_excess: Annotated[float, _is("Share of what is too much that lies there, 0 to 1.")]
    confidence: Annotated[float | None, _is("0 to 1.")]


class LossData(msgspec.Struct, frozen=True):
    amount: Annotated[float, _is("0: nothing is known to be lost.")]
    unit: Annotated[str, _is("What it is counted in, such as `IDR`; may be empty.")]


class NoticeSums(msgspec.Struct, frozen=True):
    sent: Annotated[int, _is("Delivered, or simulated in a dry run.")]
    queued: Annotated[int, _is("On their way.")]
    held: Annotated[int, _is("Waiting: for a time of day, an approval.")]
    failed: Annotated[int, _is("Could not be delivered.")]


class CaseData(msgspec.Struct, frozen=True, kw_only=True):
    """A case as it stood when the event was written down."""

    version: Annotated[int, _is("Of these fields: 1.")] = 1
    id: Annotated[str, _is("The case's id; stays.")]
    mode: Annotated[Mode, _is("Of a `shadow` case nobody is told, and no `customer` event speaks.")]
    state: Annotated[str, _is("`open`, `acknowledged`, `recovering`, `resolved`, `dismissed` or `merged`.")]
    severity: Annotated[Severity, _is("`critical`, `high`, `medium` or `low`.")]
    title: Annotated[str, _is("What is wrong, in English.")]
    titles: Annotated[dict[str, str], _is("The title by language.")]
    signals: Annotated[tuple[str, ...], _is("The signals that show it.")]
    causes: Annotated[
        tuple[CauseData, ...], _is(f"Where it lies: `where`, `share_of_excess`, `confidence`; the first {MAX_CAUSES}.")
    ]
    onset: Annotated[str, _is("When it began.")]
    detected_at: Annotated[str, _is("When it was found.")]
    opened_at: Annotated[str, _is("When the case was opened.")]
    acknowledged_at: Annotated[str | None, _is("When somebody took notice of it.")]
    ended_at: Annotated[str | None, _is("When the problem was over, by the numbers.")]
    resolved_at: Annotated[str | None, _is("When the case was resolved.")]
    observed: Annotated[int, _is("Bad events since the onset.")]
    expected: Annotated[float, _is("How many are usual.")]
    affected: Annotated[
        Affected | None,
        _is("Customers: `confirmed`, `likely`, `still_failing`, `recovered`; null where nobody can be named."),
    ]
    notices: Annotated[NoticeSums, _is("Notices to its customers: `sent`, `queued`, `held`, `failed`.")]
    contacts: Annotated[int, _is("Affected customers who contacted you since the onset.")]
    first_contact_at: Annotated[
        str | None, _is("When the first affected customer contacted you after a failure of their own.")
    ]
    lead_s: Annotated[
        float | None, _is("From `detected_at` to that contact, in seconds; negative: a customer was first.")
    ]
    loss: Annotated[
        LossData | None,
        _is("What failed for the confirmed customers: `amount`, `unit`; null where no signal names a loss."),
    ]
    episode: Annotated[int, _is("Grows when it opens again.")]
    assignee: Annotated[str, _is("Who works on it; empty: nobody yet.")]
    approval: Annotated[
        Approval, _is("Whether its customers may be told: `not-needed`, `needed`, `sample`, `approved`, `held`.")
    ]
    verdict: Annotated[str | None, _is("What people found it to be: `real`, `not-a-problem`, `expected`.")]
    merged_into: Annotated[str | None, _is("The case that goes on instead of it.")]


class CustomerData(msgspec.Struct, frozen=True, kw_only=True):
    """A customer of a case."""

    version: Annotated[int, _is("Of these fields: 1.")] = 1
    customer: Annotated[int | str, _is("The customer's id as the directory has it; `(erased)` where it was erased.")]
    case: Annotated[str, _is("The case's id.")]
    title: Annotated[str, _is("The case's title, in English.")]
    grade: Annotated[GradeOf, _is("`confirmed`: seen failing within it; `likely`: hit with some probability.")]
    state: Annotated[State, _is("`hit`, `still_failing` or `recovered`.")]
    probability: Annotated[float, _is("That it was this problem and not the ordinary failure rate.")]
    first_failure: Annotated[str, _is("Their first failure within it.")]
    last_failure: Annotated[str, _is("Their last.")]
    tries: Annotated[int, _is("How often they failed.")]
    last_success: Annotated[str | None, _is("When it last worked for them.")]
    contact: Annotated[str | None, _is("When they first contacted you since the onset.")]
    loss: Annotated[float | None, _is("The largest of their failed tries; null: not known.")]
    loss_unit: Annotated[str | None, _is("What the loss is counted in.")]


class NoticeData(msgspec.Struct, frozen=True, kw_only=True):
    """A notice and what came of it."""

    version: Annotated[int, _is("Of these fields: 1.")] = 1
    notice: Annotated[str, _is("The notice's id.")]
    customer: Annotated[int | str, _is("The customer's id as the directory has it; `(erased)` where it was erased.")]
    case: Annotated[str, _is("The case's id.")]
    signal: Annotated[str, _is("The signal that it speaks of.")]
    kind: Annotated[KindOf, _is("What it says: `problem`, `resolved`, `correction`, …")]
    episode: Annotated[int, _is("The case's episode that it belongs to.")]
    channel: Annotated[str, _is("How it went: `whatsapp`, `email`, …")]
    language: Annotated[str, _is("In which language.")]
    reason: Annotated[str, _is("Why it failed, by name, where that is known.")]


Data = CaseData | CustomerData | NoticeData


@dataclass(frozen=True)
class FeedType:
    """A type of event; `when` says what happened."""

    name: str
    when: str
    data: type[Data]


CASE_OPENED = FeedType("case.opened", "A problem was found, and a case was opened.", CaseData)
CASE_UPDATED = FeedType(
    "case.updated",
    "Something else of it changed: numbers, causes, severity, title, assignee, approval, verdict; or it relapsed while "
    "it was recovering.",
    CaseData,
)
CASE_ACKNOWLEDGED = FeedType("case.acknowledged", "Somebody took notice of it.", CaseData)
CASE_RECOVERING = FeedType("case.recovering", "The excess is gone; it is watched whether that lasts.", CaseData)
CASE_RESOLVED = FeedType("case.resolved", "It is over.", CaseData)
CASE_REOPENED = FeedType("case.reopened", "What was resolved came back: the next episode of the same case.", CaseData)
CASE_DISMISSED = FeedType("case.dismissed", "Somebody said that it needs nobody's attention.", CaseData)
CASE_MERGED = FeedType("case.merged", "It goes on as a part of another case (`merged_into`).", CaseData)
CUSTOMER_AFFECTED = FeedType(
    "customer.affected",
    "A customer was found to be hit by a case, or fails again after they had recovered.",
    CustomerData,
)
CUSTOMER_RECOVERED = FeedType("customer.recovered", "It works again for a customer who was hit.", CustomerData)
CUSTOMER_WITHDRAWN = FeedType(
    "customer.withdrawn",
    "A customer turned out not to be hit by this case; take back what you made of it.",
    CustomerData,
)
NOTICE_SENT = FeedType("notice.sent", "A customer was told; a dry run tells nobody.", NoticeData)
NOTICE_FAILED = FeedType("notice.failed", "A notice could not be delivered, for good.", NoticeData)

TYPES = (
    *(CASE_OPENED, CASE_UPDATED, CASE_ACKNOWLEDGED, CASE_RECOVERING),
    *(CASE_RESOLVED, CASE_REOPENED, CASE_DISMISSED, CASE_MERGED),
    *(CUSTOMER_AFFECTED, CUSTOMER_RECOVERED, CUSTOMER_WITHDRAWN),
    *(NOTICE_SENT, NOTICE_FAILED),
)
NAMES = frozenset(kind.name for kind in TYPES)


def case_data(case: Case) -> CaseData:
    def time(ms: int | None) -> str | None:
        return None if ms is None else rfc3339(ms)

    lead = lead_ms(case)
    return CaseData(
        id=case.id,
        mode=case.mode,
        state=case.state.value,
        severity=case.severity,
        title=title_of(case),
        titles=case.title,
        signals=case.signals,
        causes=tuple(CauseData(c.where, c.share_of_excess, c.confidence) for c in case.causes[:MAX_CAUSES]),
        onset=rfc3339(case.onset_ms),
        detected_at=rfc3339(case.detected_ms),
        opened_at=rfc3339(case.opened_ms),
        acknowledged_at=time(case.acknowledged_ms),
        ended_at=time(case.ended_ms),
        resolved_at=time(case.resolved_ms),
        observed=case.observed,
        expected=case.expected,
        affected=case.affected,
        notices=NoticeSums(case.notices.sent, case.notices.queued, case.notices.held, case.notices.failed),
        contacts=case.contacts,
        first_contact_at=time(case.first_contact_ms),
        lead_s=None if lead is None else lead / 1_000,
        loss=None if case.loss is msgspec.UNSET else LossData(units(case.loss.milli), case.loss.unit),
        episode=case.episode,
        assignee=case.assignee,
        approval=case.approval,
        verdict=None if case.verdict is None else case.verdict.value,
        merged_into=case.merged_into,
    )


def customer_data(row: LedgerRow, case: Case) -> CustomerData:
    unit = None if case.loss is msgspec.UNSET else case.loss.unit or None
    return CustomerData(
        customer=row.customer,
        case=row.case,
        title=title_of(case),
        grade=row.grade,
        state=row.state,
        probability=row.probability,
        first_failure=rfc3339(row.first_failure_ms),
        last_failure=rfc3339(row.last_failure_ms),
        tries=row.tries,
        last_success=None if row.last_success_ms is None else rfc3339(row.last_success_ms),
        contact=None if row.contact_ms is None else rfc3339(row.contact_ms),
        loss=units(row.loss_milli) if row.loss_milli else None,
        loss_unit=unit if row.loss_milli else None,
    )


def notice_data(notice: Notice) -> NoticeData:
    return NoticeData(
        notice=notice.id,
        customer=notice.customer,
        case=notice.case,
        signal=notice.signal,
        kind=notice.kind,
        episode=notice.episode,
        channel=notice.channel or "",
        language=notice.language,
        reason=notice.reason if notice.state is Outcome.FAILED else "",
    )


def title_of(case: Case) -> str:
    return case.title.get("en") or next(iter(case.title.values()), case.id)
