"""The gate: whether a message that was decided on may really go out now, and on which channel.

The Desk decided from what it knew then; between that and the sending lie queues, retries, limits and nights. So
everything that may have changed is asked once more, at the moment of sending, and every no has the name that the
policy gives it (`detector/desk/policy.py`). Pure: what it looks at comes in as one value.

The order is `RULES`; the first that objects decides. Only who passes all is written to. What may have gone out already
is repeated where it is still true, also to who needs it no longer: they may have it, and nothing new is said.
"""

from collections.abc import Callable
from dataclasses import dataclass

from detector.config import DAY_MS, Policy
from detector.desk.policy import Reason
from detector.desk.records import Approval, Case, CaseState, CustomerState, Kind, LedgerRow, Notice
from detector.desk.zones import quiet_until, settle
from detector.signals import Mode, Signal
from streams.store.directory import Customer

LOOK_AGAIN_MS = 120_000
"""How often it is asked whether a case that a person holds may go on."""

NEWS = frozenset({Kind.PROBLEM, Kind.FOLLOW_UP})
"""Kinds that tell of a problem which goes on."""
WAITING = NEWS | {Kind.TRY_AGAIN}
"""Kinds for who has not got through yet."""


@dataclass(frozen=True)
class Asked:
    """All that the gate looks at.

    Attributes
    ----------
    signal
        As it is configured now; None: it is not any more.
    customer
        As the directory has them now.
    case, entry
        The case and the customer's row in its ledger, as they are now.
    channel
        On which it is to go.
    refused
        Channels that gave this notice up.
    usable
        Channels that there are, in the policy's order.
    recent_ms
        When other notices went to this customer in the last 24 hours.
    unsure
        It may have gone out on this channel already: what goes there is the same message, and no other channel gets it.
    """

    notice: Notice
    now_ms: int
    policy: Policy
    signal: Signal | None
    customer: Customer | None
    case: Case | None
    entry: LedgerRow | None
    channel: str
    usable: tuple[str, ...]
    refused: frozenset[str] = frozenset()
    recent_ms: tuple[int, ...] = ()
    unsure: bool = False

    @property
    def reaching(self) -> list[str]:
        """Channels that reach the customer now: the one it is on first, then the policy's order."""
        if self.customer is None:
            return []
        order = dict.fromkeys((self.channel, *(() if self.unsure else self.usable)))
        return [c for c in order if c in self.usable and c not in self.refused and self.customer.address(c)]


@dataclass(frozen=True)
class Go:
    """It may go out, on this channel."""

    channel: str


@dataclass(frozen=True)
class No:
    """It must not go out, ever."""

    reason: str


@dataclass(frozen=True)
class Later:
    """Not now: it is asked again then."""

    reason: str
    until_ms: int


Objection = No | Later | None
Rule = Callable[[Asked], Objection]


def freshness(a: Asked) -> Objection:
    return No(Reason.STALE.value) if a.now_ms > a.notice.stale_ms else None


def watched(a: Asked) -> Objection:
    """The signal is still there, and live."""
    if a.signal is None:
        return No(Reason.SIGNAL_GONE.value)
    return No(Reason.SHADOW.value) if a.signal.mode is Mode.SHADOW else None


def case(a: Asked) -> Objection:
    """What it says still fits the case's state."""
    if a.case is None:
        return No(Reason.CASE_GONE.value)
    kind, state = a.notice.kind, a.case.state
    if state is CaseState.MERGED:
        return No(Reason.MERGED.value)
    if state is CaseState.DISMISSED and kind is not Kind.CORRECTION:
        return No(Reason.DISMISSED.value)
    unfinished = state in (CaseState.OPEN, CaseState.ACKNOWLEDGED)
    if (kind in NEWS and not unfinished) or (kind in WAITING and a.notice.episode < a.case.episode):
        return No(Reason.CASE_OVER.value)
    if kind not in WAITING and unfinished:
        return No(Reason.CASE_OPEN.value)
    if kind in WAITING and a.case.approval is Approval.HELD:
        return Later(Reason.NEEDS_APPROVAL.value, a.now_ms + LOOK_AGAIN_MS)
    return None


def membership(a: Asked) -> Objection:
    """Only who is still in the case; a correction is for the others."""
    if a.entry is not None and a.entry.withdrawn and a.notice.kind is not Kind.CORRECTION:
        return No(Reason.WITHDRAWN.value)
    return None


def recovery(a: Asked) -> Objection:
    """No news of a problem to who got through meanwhile; no "it works again" to who fails again."""
    if a.entry is None:
        return None
    if a.notice.kind in WAITING and a.entry.state is CustomerState.RECOVERED and not a.unsure:
        return No(Reason.ALREADY_RECOVERED.value)
    success_ms = a.entry.last_success_ms
    if a.notice.kind is Kind.RESOLVED and success_ms is not None and a.entry.last_failure_ms > success_ms:
        return No(Reason.NOT_RECOVERED.value)
    return None


def contact(a: Asked) -> Objection:
    """Who contacted us meanwhile hears of the problem from the person they talk to."""
    contact_ms = None if a.entry is None else a.entry.contact_ms
    recent = contact_ms is not None and contact_ms > a.now_ms - a.policy.hold_in_contact_ms
    return No(Reason.IN_CONTACT.value) if recent and a.notice.kind in NEWS and not a.unsure else None


def directory(a: Asked) -> Objection:
    known = a.customer is not None and a.customer.known
    return None if known else No(Reason.UNKNOWN_CUSTOMER.value)


def consent(a: Asked) -> Objection:
    """There is a channel that they consent to, have an address for, and that can be used."""
    if a.reaching:
        return None
    return No((Reason.NO_CONSENT if a.channel in a.usable else Reason.NO_SUCH_CHANNEL).value)


def frequency(a: Asked) -> Objection:
    """So many in 24 hours; it waits where it is still worth telling then."""
    recent = sorted(at for at in a.recent_ms if at > a.now_ms - DAY_MS)
    limit = a.policy.per_day
    if len(recent) < limit:
        return None
    frees_ms = recent[-limit] + DAY_MS if limit > 0 else a.notice.stale_ms + 1
    if frees_ms > a.notice.stale_ms:
        return No(Reason.FREQUENCY_CAP.value)
    return Later(Reason.FREQUENCY_CAP.value, frees_ms)


def quiet(a: Asked) -> Objection:
    """Nobody is woken by what waited for the night."""
    zone = settle(a.customer.time_zone if a.customer else "", a.policy.default_time_zone)
    until_ms = quiet_until(a.now_ms, zone, a.policy.quiet)
    return None if until_ms is None else Later(Reason.QUIET_HOURS.value, until_ms)


RULES: tuple[Rule, ...] = (
    freshness,
    watched,
    case,
    membership,
    recovery,
    contact,
    directory,
    consent,
    frequency,
    quiet,
)


def ask(asked: Asked) -> Go | No | Later:
    """Return whether the message may go out now: never where it is stale, whatever the other rules say."""
    later: Later | None = None
    for rule in RULES:
        found = rule(asked)
        if isinstance(found, No):
            return found
        if found is not None and (later is None or found.until_ms > later.until_ms):
            later = found
    return later or Go(asked.reaching[0])
