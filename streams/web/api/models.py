"""A case and what hangs on it, as the API shows them: the documents of `streams.store.documents`, field by field."""

from typing import Any, Literal

from pydantic import Field

from detector.desk.records import (
    Approval,
    CaseState,
    CustomerState,
    Decision,
    Grade,
    Kind,
    NoticeState,
    Verdict,
)
from detector.signals import Mode, Severity
from detector.watch.control import FactKind
from detector.watch.explanation import Counted
from streams.web.api.kinds import Amount, Shown, Time, described

Where = dict[str, str]


class CauseShown(Shown):
    where: Where = described("Dimensions and their values; empty: everywhere.", examples=[{"bank": "BNI"}])
    share_of_excess: float = described("Share of what is too much that lies there, 0 to 1.")
    confidence: float | None = described("That it is this one and not another candidate, 0 to 1.")
    same_as: list[Where] = described("Other names of the very same cells.")


class EvidenceShown(Shown):
    expected: float
    observed: int
    score: float


class AffectedCounts(Shown):
    confirmed: int
    likely: int
    still_failing: int
    recovered: int


class NoticeCountsShown(Shown):
    sent: int = described("Delivered, or simulated.")
    held: int
    dropped: dict[str, int] = described("By reason.")
    queued: int
    failed: int
    unknown: int = described("May have gone out: a person decides.")
    holdout: int = described("Customers held out, whatever else was decided on them.")
    compared: int = described("The others, with whom they are compared.")
    simulated: int = described("Of `sent`: those of a dry run or a recording, which nobody got.")


class ComparisonShown(Shown):
    """What telling at once changed: those held out beside the others, whoever was really told."""

    held_out: int = described("Customers held out.")
    held_out_contacts: int = described("Of them contacted you since the onset.")
    others: int = described("Customers they are compared with.")
    others_contacts: int
    difference: float = described("Share of contacts among those held out less that among the others.")
    low: float = described("95 % interval of the difference.")
    high: float
    avoided: float = described("Estimate of the contacts that telling at once avoided; negative: it brought some.")


class FactShown(Shown):
    id: str
    kind: FactKind
    signals: list[str] = described("Empty: all.")
    where: Where
    from_: Time = Field(alias="from")
    until: Time
    text: str
    by: str


class LossShown(Shown):
    amount: Amount = described("0: nothing is known to be lost.")
    unit: str | None


class CaseShown(Shown):
    """A proactive case."""

    id: str
    mode: Mode
    title: str
    titles: dict[str, str] = described("By language.")
    state: CaseState
    severity: Severity
    signals: list[str]
    onset: Time
    detected_at: Time
    opened_at: Time
    acknowledged_at: Time | None
    ended_at: Time | None
    resolved_at: Time | None
    causes: list[CauseShown]
    evidence: EvidenceShown
    affected: AffectedCounts | None = described("null where nobody can be named.")
    notices: NoticeCountsShown
    comparison: ComparisonShown | None = described("null where nobody is held out.")
    contacts: int = described("Affected customers who contacted you since the onset.")
    first_contact_at: Time | None = described(
        "When the first affected customer contacted you after a failure of their own."
    )
    lead_s: float | None = described("From `detected_at` to that contact, in seconds; negative: a customer was first.")
    loss: LossShown | None = described(
        "What failed for the confirmed customers, each one's largest try once; null: no signal of it names a loss."
    )
    verdict: Verdict | None
    assignee: str | None
    approval: Approval
    episode: int
    merged_into: str | None
    facts: list[FactShown] = described("What people knew that may explain it.")


class BesideShown(Shown):
    where: Where
    observed: int
    expected: float
    trials: int


class ShiftShown(Shown):
    quantile: float
    observed: float
    usual: float
    values: int


class WhyShown(Shown):
    """Why an anomaly is thought to be one."""

    signal: str
    anomaly: str = described("Its id, as `split` takes it.")
    counted: Counted
    causes: list[CauseShown]
    observed: int
    expected: float
    trials: int
    score_nats: float
    threshold_nats: float
    source: str
    budget: str
    segments: int
    segment: Where
    noise: float
    season: float
    beside: list[BesideShown]
    shift: ShiftShown | None
    new_level: float | None
    words: dict[str, str] = described("The same in words, by language.")


class StoryLine(Shown):
    at: Time
    what: str
    by: str
    detail: str


class PointShown(Shown):
    signal: str
    window: Time
    observed: int
    expected: float
    trials: int
    low: float
    high: float


class CaseInFull(CaseShown):
    why: list[WhyShown]
    timeline: list[StoryLine]
    points: list[PointShown]


class CasePage(Shown):
    items: list[CaseShown]
    next: str | None = described("Ask for the next page with `cursor`; null: this was the last.")


class Timeline(Shown):
    items: list[StoryLine]


class Evidence(Shown):
    items: list[PointShown]


class ToldShown(Shown):
    kind: Kind
    channel: str | None
    state: NoticeState
    reason: str
    at: Time


class AffectedCustomer(Shown):
    customer: str = described("The directory's id; `(erased)` where they were erased.")
    grade: Grade
    state: CustomerState
    probability: float = described("That it was the problem and not the ordinary failure rate.")
    first_failure: Time
    last_failure: Time
    tries: int
    last_success: Time | None
    contact: Time | None
    loss: Amount | None = described("The largest of their failed tries; null: not known.")
    loss_unit: str | None
    tier: str | None
    contract_value: Amount | None
    notices: list[ToldShown]


class AffectedPage(Shown):
    items: list[AffectedCustomer]
    next: str | None


class CheckShown(Shown):
    rule: str
    decision: Decision
    reason: str
    detail: str


class DeliveryShown(Shown):
    channel: str
    outcome: str
    at: Time
    detail: str


class DecidedShown(Shown):
    kind: Kind
    episode: int
    decision: Decision
    state: NoticeState
    reason: str
    rule: str | None = described("The rule that named the reason.")
    until: Time | None = described("When a hold is looked at again.")
    channel: str | None
    at: Time
    checks: list[CheckShown]
    deliveries: list[DeliveryShown]


class NoticeShown(DecidedShown):
    id: str
    case: str
    customer: str
    language: str
    signal: str
    where: Where
    when: Time = described("The moment that its words speak of.")
    stale: Time = described("After it, it is not sent any more.")
    priority: int


class NoticePage(Shown):
    items: list[NoticeShown]
    next: str | None


class WhyCustomer(Shown):
    """Why a customer was told of a case, is held, or was not told; every notice with the rules' answers."""

    kind: Kind | None
    decision: Decision | None = described("null: nothing was decided.")
    reason: str
    rule: str | None
    until: Time | None
    checks: list[CheckShown]
    notices: list[DecidedShown]


class PreviewShown(Shown):
    kind: Kind
    channel: str
    language: str
    customer: str
    to: str = described("Masked; empty where they do not consent to the channel.")
    theirs: bool = described("Whether they would be written to in this language.")
    subject: str
    body: str
    characters: int
    template: str
    parameters: dict[str, Any]


class PreviewList(Shown):
    items: list[PreviewShown]


CommandState = Literal["waiting", "done", "refused"]


class CommandShown(Shown):
    """A command that was left for the engines."""

    id: int
    state: CommandState
    reason: str = described("Why it was refused.")
    what: str = described("The verb, or `fact`, `withdraw`.")
    case: str | None
