"""Whether one customer is told one thing now, later or not: a pipeline of small rules with one signature.

Every rule looks at the same `Facts` and answers with a `Check`: send (nothing against it), hold (until when) or drop,
with a named reason. All rules are always asked, so that `tocsin why` can show every answer; the first drop decides,
else the holds (the longest counts, one that waits for a person beyond all; the first names the reason), else it is
sent. The order is `RULES`.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from detector.config import DAY_MS, MINUTE_MS, Policy
from detector.desk.records import CaseState, Check, Decision, Kind, Reach
from detector.desk.zones import local, quiet_until, settle
from detector.signals import Mode

HYSTERESIS_MS = 5 * MINUTE_MS
"""A success counts as "it works again" when no failure followed for this long."""


class Reason(StrEnum):
    """Every "no" has a name. Stored by position in snapshots: append only."""

    NONE = ""
    SHADOW = "shadow"
    """The signal is in shadow: nobody is told of its cases."""
    WITHDRAWN = "withdrawn"
    """Outside the case's final span or cause."""
    DISMISSED = "dismissed"
    MERGED = "merged"
    """The case went into another, which decides anew."""
    CASE_OVER = "case-over"
    """The problem is recovering or resolved: no news of it any more."""
    CASE_OPEN = "case-open"
    """The problem came back before "it works again" (or a correction) went out."""
    NOT_CONFIRMED = "not-confirmed"
    """Below the probability from which people are told."""
    UNKNOWN_CUSTOMER = "unknown-customer"
    """Not in the directory."""
    NO_CONSENT = "no-consent"
    """No channel that they consent to and have an address for."""
    NOT_TOLD = "not-told"
    """Never told of the problem, so never told that it is fixed."""
    ALREADY_TOLD = "already-told"
    SIMULATED_ONLY = "simulated-only"
    """Told in simulation only: nothing real about that case goes out."""
    ALREADY_RECOVERED = "already-recovered"
    NOT_RECOVERED = "not-recovered"
    """It has not worked again for this customer, or not for long enough."""
    IN_CONTACT = "in-contact"
    STALE = "stale"
    FREQUENCY_CAP = "frequency-cap"
    QUIET_HOURS = "quiet-hours"
    NEW_LEVEL = "new-level"
    """What they were hit by did not go away: it has become normal."""
    NEEDS_APPROVAL = "needs-approval"
    """A person must approve the case first."""
    CASE_CAP = "case-cap"
    """So many of the case were told that a person must approve the rest."""
    HOLDOUT = "holdout"
    """Told later, so that what telling changes can be seen."""
    NOT_ASKED = "not-asked"
    """That they can try again was taken back: the problem came back, or a person held the case."""
    SUPPRESSED = "suppressed"
    """Refused at the moment of sending, for a reason that has no name of its own here."""
    NO_SUCH_CHANNEL = "no-such-channel"
    """At the moment of sending its channel was not configured any more."""
    SIGNAL_GONE = "signal-gone"
    """At the moment of sending its signal was not configured any more."""
    CASE_GONE = "case-gone"
    """At the moment of sending its case was not in the store any more."""


class Arm(StrEnum):
    """The two sides of a comparison, as the holdout's check says it."""

    OUT = "held out"
    IN = "compared with those held out"


class Told(msgspec.Struct, frozen=True):
    """What a customer was told of the problem."""

    episode: int = 0
    """The latest episode in which they were; 0: never."""
    simulated_only: bool = False
    """In simulation, and never really."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the rules look at."""

    kind: Kind
    now_ms: int
    policy: Policy
    mode: Mode
    state: CaseState
    episode: int = 1
    withdrawn: bool = False
    probability: float = 1.0
    last_failure_ms: int
    """In the case; for `resolved` anywhere in its signals."""
    last_success_ms: int | None = None
    recovered: bool = False
    """Got through after the last failure."""
    normal: bool = False
    """What they were hit by has become normal: that they got through shows nothing."""
    contact_ms: int | None = None
    """Last contact since the onset."""
    told: Told = Told()
    reach: Reach | None = None
    """None: not in the directory."""
    recent_ms: tuple[int, ...] = ()
    """When notices went to this customer in the last 24 hours, over all cases, oldest first."""
    stale_ms: int
    """After this moment it is not told any more."""
    waits: Reason = Reason.NONE
    """Why a person must approve it first."""
    arm: Arm | None = None
    """On which side of the holdout's comparison they are; None: there is none."""
    out_ms: int = 0
    """Of who is held out: until when."""
    asked: bool = False
    """A person says that it works again for those who try, and nothing has taken that back since."""

    @property
    def zone(self) -> str:
        return settle(self.reach.time_zone if self.reach else "", self.policy.default_time_zone)

    @property
    def channel(self) -> str | None:
        """The first channel in the policy's order that reaches the customer."""
        return next((c for c in self.policy.channels if self.reach and c in self.reach.channels), None)


class Decided(msgspec.Struct, frozen=True):
    """What came of all rules."""

    decision: Decision
    reason: Reason
    until_ms: int | None
    checks: tuple[Check, ...]


Rule = Callable[[Facts], Check]

_NEWS = (Kind.PROBLEM, Kind.FOLLOW_UP)
"""What is told of a problem that goes on."""

_FINE: dict[str, Check] = {}


def _send(rule: str) -> Check:
    return _FINE.setdefault(rule, Check(rule, Decision.SEND, ""))


def _drop(rule: str, reason: Reason, detail: str = "") -> Check:
    return Check(rule, Decision.DROP, reason.value, detail)


def _hold(rule: str, reason: Reason, until_ms: int, zone: str) -> Check:
    moment = local(until_ms, zone)
    return Check(rule, Decision.HOLD, reason.value, f"until {moment:%H:%M} {zone}", until_ms)


def mode(f: Facts) -> Check:
    """Nobody is told of a case in shadow."""
    return _drop("mode", Reason.SHADOW) if f.mode is Mode.SHADOW else _send("mode")


def membership(f: Facts) -> Check:
    """Only who is still listed; a correction is for the others."""
    if f.withdrawn and f.kind is not Kind.CORRECTION:
        return _drop("membership", Reason.WITHDRAWN)
    return _send("membership")


def case(f: Facts) -> Check:
    """A problem and that it lasts are told while the case is open, "it works again" and corrections once it is not.

    That they can try again is told as long as a person's word stands.
    """
    if f.state is CaseState.MERGED:
        return _drop("case", Reason.MERGED)
    unfinished = f.state in (CaseState.OPEN, CaseState.ACKNOWLEDGED)
    if f.state is CaseState.DISMISSED and f.kind is not Kind.CORRECTION:
        return _drop("case", Reason.DISMISSED)
    if f.kind in _NEWS and not unfinished:
        return _drop("case", Reason.CASE_OVER, f"the case is {f.state.value}")
    if f.kind in (Kind.RESOLVED, Kind.CORRECTION) and unfinished:
        return _drop("case", Reason.CASE_OPEN, f"the case is {f.state.value}")
    if f.kind is Kind.TRY_AGAIN and not f.asked:
        return _drop("case", Reason.NOT_ASKED)
    return _send("case")


def confirmation(f: Facts) -> Check:
    """A problem is told to those it hit with enough probability."""
    if f.kind in _NEWS and f.probability < f.policy.min_probability:
        found = f"probability {f.probability:.2f}, told from {f.policy.min_probability:.2f} on"
        return _drop("confirmation", Reason.NOT_CONFIRMED, found)
    return _send("confirmation")


def directory(f: Facts) -> Check:
    """Recipients come from the directory, never from an event."""
    return _drop("directory", Reason.UNKNOWN_CUSTOMER) if f.reach is None else _send("directory")


def consent(f: Facts) -> Check:
    """There must be a channel that they consent to and have an address for."""
    if f.reach is not None and f.channel is None:
        return _drop("consent", Reason.NO_CONSENT, f"none of {', '.join(f.policy.channels) or 'no channel'}")
    return _send("consent")


def history(f: Facts) -> Check:
    """One problem notice per episode, the rest only to those who had it, nothing real after a simulation."""
    if f.kind is Kind.PROBLEM and f.told.episode == f.episode:
        return _drop("history", Reason.ALREADY_TOLD)
    if f.kind is not Kind.PROBLEM and not f.told.episode:
        return _drop("history", Reason.NOT_TOLD)
    if f.kind is Kind.FOLLOW_UP and f.told.episode != f.episode:
        return _drop("history", Reason.NOT_TOLD)
    if f.policy.send and f.told.simulated_only:
        return _drop("history", Reason.SIMULATED_ONLY)
    return _send("history")


def recovery(f: Facts) -> Check:
    """No news of the problem after their own success; "it works again" only after one that lasted."""
    if f.kind in (*_NEWS, Kind.TRY_AGAIN) and f.recovered:
        return _drop("recovery", Reason.ALREADY_RECOVERED)
    if f.kind is Kind.RESOLVED:
        if f.normal:
            return _drop("recovery", Reason.NEW_LEVEL)
        success = f.last_success_ms
        if success is None or success <= f.last_failure_ms or success > f.now_ms - HYSTERESIS_MS:
            return _drop("recovery", Reason.NOT_RECOVERED)
    return _send("recovery")


def contact(f: Facts) -> Check:
    """Who contacted us since the onset hears of the problem from the person they talk to."""
    recent = f.contact_ms is not None and f.contact_ms > f.now_ms - f.policy.hold_in_contact_ms
    return _drop("contact", Reason.IN_CONTACT) if f.kind in _NEWS and recent else _send("contact")


def freshness(f: Facts) -> Check:
    """Old news is not told."""
    return _drop("freshness", Reason.STALE) if f.now_ms > f.stale_ms else _send("freshness")


def approval(f: Facts) -> Check:
    """Held until a person approves the case; of a case that a person holds nobody hears anything new."""
    if f.waits is Reason.NONE or f.kind not in _NEWS:
        return _send("approval")
    return Check("approval", Decision.HOLD, f.waits.value, "until a person approves the case")


def holdout(f: Facts) -> Check:
    """Who is held out hears of the problem later; the check names the side of the comparison, whatever is decided."""
    if f.kind is not Kind.PROBLEM or f.arm is None:
        return _send("holdout")
    if f.arm is Arm.OUT and f.now_ms < f.out_ms:
        check = _hold("holdout", Reason.HOLDOUT, f.out_ms, f.zone)
        return msgspec.structs.replace(check, detail=f"{f.arm.value} {check.detail}")
    return Check("holdout", Decision.SEND, "", f.arm.value)


def frequency(f: Facts) -> Check:
    """So many notices in 24 hours, over all cases; held where it still makes sense when the cap frees."""
    recent = [at for at in f.recent_ms if at > f.now_ms - DAY_MS]
    limit = f.policy.per_day
    if len(recent) < limit:
        return _send("frequency")
    found = f"{len(recent)} in 24 hours, allowed {limit}"
    frees_ms = recent[-limit] + DAY_MS if limit > 0 else f.stale_ms + 1
    if frees_ms > f.stale_ms:
        return _drop("frequency", Reason.FREQUENCY_CAP, found)
    return _hold("frequency", Reason.FREQUENCY_CAP, frees_ms, f.zone)


def quiet(f: Facts) -> Check:
    """Nobody is woken: held until the quiet hours of the customer's own zone end."""
    until_ms = quiet_until(f.now_ms, f.zone, f.policy.quiet)
    return _send("quiet") if until_ms is None else _hold("quiet", Reason.QUIET_HOURS, until_ms, f.zone)


RULES: tuple[Rule, ...] = (
    mode,
    membership,
    case,
    confirmation,
    directory,
    consent,
    history,
    recovery,
    contact,
    freshness,
    approval,
    holdout,
    frequency,
    quiet,
)


def decide(facts: Facts) -> Decided:
    """Return what becomes of one notice, with every rule's answer.

    Examples
    --------
    >>> from detector.config import QuietHours
    >>> policy = Policy(quiet=QuietHours(0, 0))
    >>> reach = Reach(language="id", time_zone="Asia/Jakarta", channels=frozenset({"email"}))
    >>> facts = Facts(kind=Kind.PROBLEM, now_ms=0, policy=policy, mode=Mode.LIVE, state=CaseState.OPEN,
    ...               last_failure_ms=0, stale_ms=1, reach=reach)
    >>> decide(facts).decision.value
    'send'
    >>> decide(msgspec.structs.replace(facts, probability=0.3)).reason.value
    'not-confirmed'
    """
    checks = tuple(rule(facts) for rule in RULES)
    for check in checks:
        if check.decision is Decision.DROP:
            return Decided(Decision.DROP, Reason(check.reason), None, checks)
    holds = [c for c in checks if c.decision is Decision.HOLD]
    if holds:
        ends = [c.until_ms for c in holds if c.until_ms is not None]
        until_ms = max(ends) if len(ends) == len(holds) else None  # a person's answer has no time
        return Decided(Decision.HOLD, Reason(holds[0].reason), until_ms, checks)
    return Decided(Decision.SEND, Reason.NONE, None, checks)
