"""What the Desk reads and what it gives: the contract between the Desk, the store and everything people see.

The Desk reads one append-only log of `LogRecord`s (and, through `History`, the windows' records, which are a log of
their own).
It gives `DeskEffects`: whole rows to be written in the transaction that stores how far the log was read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import msgspec

from detector.counter.record import FORMAT, WindowRecord
from detector.events import Ints
from detector.signals import Mode, Severity
from detector.watch.anomaly import Anomaly, Cause, Point, Shift
from detector.watch.control import Control, Fact, Withdrawn
from detector.watch.explanation import Account

# --- in -------------------------------------------------------------------------------------------------------------


class WindowClosed(msgspec.Struct, frozen=True, tag="window"):
    """Every signal's Watch has committed this base window: the barrier at which the Desk moves on.

    Its anomalies are sorted by (signal, id).
    """

    window_ms: int
    width_ms: int
    anomalies: tuple[Anomaly, ...] = ()


class Verb(StrEnum):
    """What people may do to a case."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    DISMISS = "dismiss"
    MERGE = "merge"
    SPLIT = "split"  # some of its anomalies become a case of their own
    ASSIGN = "assign"
    COMMENT = "comment"
    APPROVE = "approve"  # its customers may be told: all, or the first `customers` of them as a sample
    HOLD = "hold"  # nobody is told until it is approved
    TRY_AGAIN = "try-again"  # those still waiting are told once that they can try again


class Verdict(StrEnum):
    REAL = "real"
    NOT_A_PROBLEM = "not-a-problem"
    EXPECTED = "expected"


class Command(msgspec.Struct, frozen=True, tag="command"):
    """A person's doing."""

    verb: Verb
    case: str
    by: str
    verdict: Verdict | None = None
    into: str | None = None
    """For merge: the case that goes on."""
    text: str = ""
    """For comment: what is said; for assign: to whom ("": to nobody)."""
    customers: int | None = None
    """For approve: so many, the most valuable first; None: all."""
    anomalies: tuple[str, ...] = ()
    """For split: those that leave."""


class Delivered(msgspec.Struct, frozen=True, tag="delivery"):
    """What came of a delivery: `sent`, `failed` (for good), `unknown`, or `suppressed` by the gate at send time."""

    notice: str
    outcome: str
    channel: str
    reason: str = ""
    """Why it failed or was suppressed: a bounded set of names (`no-consent`, `stale`, `hard-bounce` …)."""


class Configured(msgspec.Struct, frozen=True, tag="config"):
    """From here on this configuration is in force."""

    hash: str


Payload = WindowClosed | Command | Delivered | Configured | Fact | Withdrawn
"""A fact and its withdrawal are control records: the Desk passes them on to the Watches."""


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the Desk's log; (tenant, seq) is its key and `at_ms` its logical time, which never goes back."""

    tenant: str
    seq: int
    at_ms: int
    payload: Payload
    format: int = FORMAT


class History(Protocol):
    """The windows' records that are closed, for looking back to an onset."""

    def windows(self, from_ms: int, to_ms: int) -> Iterable[WindowRecord]:
        """Records with from_ms <= window_ms < to_ms of all partitions, ordered by (window_ms, partition)."""
        ...


class Reach(msgspec.Struct, frozen=True):
    """What the Desk may know of a customer of the directory: how to reach them, not who they are."""

    language: str
    time_zone: str
    channels: frozenset[str]
    """Channels they consent to and have an address for."""


class Directory(Protocol):
    """The customer directory, as far as deciding needs it."""

    def reach(self, customers: Ints) -> Mapping[int, Reach]:
        """Of these customers those that the directory really knows (a bare row is not known)."""
        ...


# --- out ------------------------------------------------------------------------------------------------------------


class CaseState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RECOVERING = "recovering"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"
    MERGED = "merged"


class Approval(StrEnum):
    """Whether a case's customers may be told."""

    NOT_NEEDED = "not-needed"
    NEEDED = "needed"
    SAMPLE = "sample"  # some were; the others wait
    APPROVED = "approved"
    HELD = "held"  # by a person


class Affected(msgspec.Struct, frozen=True):
    """`confirmed` and `likely` are disjoint; `still_failing` and `recovered` count both."""

    confirmed: int = 0
    likely: int = 0
    still_failing: int = 0
    recovered: int = 0


class NoticeCounts(msgspec.Struct, frozen=True):
    """Notices of a case; `sent` includes the simulated ones."""

    sent: int = 0
    held: int = 0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    queued: int = 0
    """In the outbox: neither sent nor failed yet."""
    failed: int = 0
    unknown: int = 0
    """Of those in the outbox: may have gone out, a person decides."""
    holdout: int = 0
    """Customers held out, whatever else was decided on them; `compared`: the others they are compared with."""
    compared: int = 0
    holdout_contacts: int = 0
    """How many of those held out contacted us since the onset; `compared_contacts`: of the others."""
    compared_contacts: int = 0
    told: int = 0
    """Affected customers who were told of the problem, whatever else was sent to them."""
    simulated: int = 0
    """Of `sent`: those of a dry run or a recording, which nobody got."""

    @property
    def dry(self) -> bool:
        """Whether all of them were simulated, so that nobody was told."""
        return bool(self.simulated) and self.simulated == self.sent and not (self.queued or self.failed)


class Loss(msgspec.Struct, frozen=True):
    """What failed for the confirmed customers, each one's largest try once."""

    milli: int
    """In thousandths of the unit; 0: nothing is known to be lost."""
    unit: str = ""
    customers: int = 0
    """Of how many, likely ones too, a loss is known."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What people work on. `id` is its first anomaly's (where that is free and no split made it) and never changes."""

    tenant: str
    id: str
    mode: Mode
    title: dict[str, str]
    """By language, with the causes named."""
    state: CaseState
    severity: Severity
    signals: tuple[str, ...]
    anomalies: tuple[str, ...]
    onset_ms: int
    detected_ms: int
    opened_ms: int
    ended_ms: int | None = None
    acknowledged_ms: int | None = None
    resolved_ms: int | None = None
    causes: tuple[Cause, ...] = ()
    observed: int = 0
    expected: float = 0.0
    score: float = 0.0
    affected: Affected | None = None
    """None where nobody can be named (silence, values without a limit)."""
    notices: NoticeCounts = NoticeCounts()
    contacts: int = 0
    """Affected customers who contacted us since the onset."""
    first_contact_ms: int | None = None
    """When the first of them did after a failure of their own: what came before was about something else."""
    verdict: Verdict | None = None
    episode: int = 1
    """Grows when a resolved case opens again: the next episode's notices are new ones."""
    merged_into: str | None = None
    facts: tuple[Fact, ...] = ()
    """What people knew that may explain it, in the order of time (`detector.desk.facts`)."""
    shift: Shift | None = None
    """Of values without a limit: what they are like now, and usually; `observed` and `expected` count their ranks."""
    accounts: tuple[Account, ...] = ()
    """Why we think so: of each anomaly what its explanation speaks of, in the order in which they joined."""
    assignee: str = ""
    """Who works on it; "": nobody yet."""
    approval: Approval = Approval.NOT_NEEDED
    loss: Loss | msgspec.UnsetType = msgspec.UNSET
    """Unset where no signal of it names a loss: such a case has the form it always had."""
    format: int = FORMAT


class Grade(StrEnum):
    CONFIRMED = "confirmed"
    LIKELY = "likely"


class CustomerState(StrEnum):
    HIT = "hit"
    STILL_FAILING = "still_failing"
    RECOVERED = "recovered"


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One affected customer of one case. Key: (tenant, case, customer)."""

    tenant: str
    case: str
    customer: int
    grade: Grade
    state: CustomerState
    probability: float
    """That it was the problem and not the ordinary failure rate."""
    first_failure_ms: int
    last_failure_ms: int
    tries: int
    last_success_ms: int | None = None
    contact_ms: int | None = None
    """Their first contact since the onset."""
    withdrawn: bool = False
    """Once listed, now outside the case's span or cause. Not counted, not shown as affected."""
    loss_milli: int = 0
    """The largest of their failed tries, in thousandths of the case's unit; 0: nothing is known to be lost."""


class Kind(StrEnum):
    """What a notice says. Stored by position in snapshots: append only."""

    PROBLEM = "problem"
    RESOLVED = "resolved"
    CORRECTION = "correction"
    FOLLOW_UP = "follow-up"  # it still fails, and we are still at it
    TRY_AGAIN = "try-again"  # a person says that it works: those who wait can try


class Decision(StrEnum):
    SEND = "send"
    HOLD = "hold"
    DROP = "drop"


class NoticeState(StrEnum):
    HELD = "held"
    DROPPED = "dropped"
    QUEUED = "queued"  # in the outbox
    SIMULATED = "simulated"  # dry run or recording: counts as told
    SENT = "sent"
    FAILED = "failed"


class Check(msgspec.Struct, frozen=True):
    """One rule's answer, for `tocsin why`."""

    rule: str
    decision: Decision
    """`send`: nothing against it."""
    reason: str
    """A named reason where it is against it, else ""."""
    detail: str = ""
    until_ms: int | None = None
    """Where it holds: until when; None: until a person says so."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The decision to tell one customer one thing, or not.

    Key: (tenant, case, customer, kind, episode), hashed as `id`.
    """

    tenant: str
    id: str
    case: str
    customer: int
    kind: Kind
    episode: int
    decision: Decision
    state: NoticeState
    reason: str
    until_ms: int | None
    """When a hold is looked at again; None of a hold: when a person has approved."""
    at_ms: int
    """When this was decided."""
    channel: str | None
    language: str
    time_zone: str
    signal: str
    cause: dict[str, str]
    when_ms: int
    """The moment the words speak of: the customer's first failure, or success."""
    stale_ms: int
    """After this moment it is not sent any more."""
    priority: int = 0
    """Where not all can be sent at once, higher ones go first: still failing, high stake, likely to call."""
    checks: tuple[Check, ...] = ()


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a case's story. `what` is one of a bounded set: `detector.desk.desk.STORY`."""

    tenant: str
    case: str
    seq: int
    n: int
    """Order within one log record."""
    at_ms: int
    what: str
    by: str = ""
    detail: str = ""


class EvidencePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Key: (tenant, case, signal, window)."""

    tenant: str
    case: str
    signal: str
    point: Point


@dataclass
class DeskEffects:
    """Rows to write: each list holds whole rows (insert or replace by key), in the order they were decided."""

    cases: list[Case] = field(default_factory=list)
    ledger: list[LedgerRow] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    timeline: list[TimelineEntry] = field(default_factory=list)
    evidence: list[EvidencePoint] = field(default_factory=list)
    rewritten: list[tuple[str, str]] = field(default_factory=list)
    """(case, signal) whose evidence points are deleted before `evidence` is written."""
    controls: list[Control] = field(default_factory=list)
    """For the Watches: not stored, they follow from the log."""

    def extend(self, other: "DeskEffects") -> None:
        """Append another step's effects: what it rewrites, of the steps before, is gone."""
        rewritten = set(other.rewritten)
        if rewritten:
            self.evidence = [entry for entry in self.evidence if (entry.case, entry.signal) not in rewritten]
        for name in ("cases", "ledger", "notices", "timeline", "evidence", "rewritten", "controls"):
            getattr(self, name).extend(getattr(other, name))
