"""What may be done to a case now, and what it would set off, in numbers: asked once, in words, before it is done.

What is possible is the lifecycle's own table (`detector.desk.cases`); what is offered is what is possible and changes
something. Whoever acts states what they saw (`seen`): another's doing in between is told, never overwritten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detector.config import Config, Policy
from detector.desk.cases import BY_PEOPLE, TABLE, UNFINISHED
from detector.desk.records import Approval, Case, CaseState, Verb
from detector.desk.zones import quiet_until, settle
from detector.signals import Mode
from streams.store import Store, pages
from streams.store.outlook import Group, told_and_waiting, waiting_for_a_person
from streams.store.pages import CaseFilter
from streams.store.spending import Period, budget_of, spending

KILL, RELEASE = "stop-sending", "go-on-sending"
"""Beside the verbs of a case: the kill switch."""
MOST_CANDIDATES = 50

_WAITS = (Approval.NEEDED, Approval.SAMPLE, Approval.HELD)


def possible(case: Case) -> list[Verb]:
    """Return what a person may do to a case now, of what would change something."""
    return [verb for verb in Verb if (case.state, BY_PEOPLE[verb]) in TABLE and _changes(case, verb)]


def _changes(case: Case, verb: Verb) -> bool:
    live = case.mode is Mode.LIVE and case.affected is not None
    match verb:
        case Verb.ACKNOWLEDGE:
            return case.acknowledged_ms is None
        case Verb.APPROVE:
            return live and case.approval in _WAITS
        case Verb.HOLD:
            return live and case.approval is not Approval.HELD
        case Verb.TRY_AGAIN:
            return live and case.notices.told > 0
        case Verb.SPLIT:
            return len(case.anomalies) > 1
        case Verb.RESOLVE:
            return case.state is not CaseState.RESOLVED or case.verdict is None
        case Verb.DISMISS:
            return case.verdict is None
    return True


# --- what somebody saw ------------------------------------------------------------------------------------------------

_FIELDS: Mapping[Verb, tuple[str, ...]] = {
    Verb.ACKNOWLEDGE: ("state", "episode"),
    Verb.ASSIGN: ("assignee",),
    Verb.COMMENT: (),
    Verb.RESOLVE: ("state", "episode", "verdict"),
    Verb.DISMISS: ("state", "episode", "verdict"),
    Verb.MERGE: ("state", "episode"),
    Verb.SPLIT: ("state", "episode", "anomalies"),
    Verb.APPROVE: ("state", "episode", "approval"),
    Verb.HOLD: ("state", "episode", "approval"),
    Verb.TRY_AGAIN: ("state", "episode"),
}
"""What of a case each verb is decided on: had it changed, whoever acts would want to know first."""


def seen(case: Case, verb: Verb) -> str:
    """Return what of a case somebody acts on, as their form carries it.

    A form that carries another text than this of the case as it stands was made for another one.
    """
    return "|".join(f"{name}={_text(getattr(case, name))}" for name in _FIELDS[verb])


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


# --- what would happen ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Telling:
    """Whom an approval would let be told.

    Attributes
    ----------
    by_channel
        Who waits for it, by the channel that they would be told on; those with none are in `nobody`, those who got
        through, called, failed too long ago or are unlikely to have been hit are in `over`.
    quiet
        Of them, those whose quiet hours hold now, and when the first of these end.
    """

    waiting: int
    by_channel: tuple[tuple[str, int], ...]
    nobody: int
    over: int
    quiet: int
    quiet_until_ms: int | None
    dry_run: bool


def telling(store: Store, case: Case, policy: Policy, now_ms: int) -> Telling:
    """Return what approving a case would send, as far as it is known before each is looked at anew."""
    found = waiting_for_a_person(store, case.id, now_ms, policy)
    return _telling(found, policy, now_ms)


def _telling(groups: Sequence[Group], policy: Policy, now_ms: int) -> Telling:
    by_channel: dict[str, int] = {}
    quiet, ends = 0, list[int]()
    for group in groups:
        if group.channel is None or group.over:
            continue
        by_channel[group.channel] = by_channel.get(group.channel, 0) + group.notices
        until_ms = quiet_until(now_ms, settle(group.time_zone, policy.default_time_zone), policy.quiet)
        if until_ms is not None:
            quiet += group.notices
            ends.append(until_ms)
    return Telling(
        waiting=sum(group.notices for group in groups),
        by_channel=tuple(sorted(by_channel.items(), key=lambda item: (-item[1], item[0]))),
        nobody=sum(group.notices for group in groups if group.channel is None and not group.over),
        over=sum(group.notices for group in groups if group.over),
        quiet=quiet,
        quiet_until_ms=min(ends, default=None),
        dry_run=not policy.send,
    )


@dataclass(frozen=True)
class Cost:
    """What a verdict "no problem" does to the budget that the case belongs to: `after` of `limit` false cases."""

    of: str
    before: int
    after: int
    limit: int
    words: str
    unjudged: int
    """Other cases of the period without a verdict."""

    @property
    def over(self) -> bool:
        return self.after > self.limit


def cost(store: Store, config: Config, case: Case, now_ms: int) -> Cost | None:
    """Return what it would cost to find that a case was no problem; None where its period is not spoken of any more."""
    of = budget_of(case, config)
    for budget in spending(store, config, now_ms, 2):
        if budget.of == of:
            period = _period_of(budget.periods, case.detected_ms)
            if period is None:
                return None
            others = max(period.unjudged - (case.verdict is None), 0)
            return Cost(of, period.false, period.false + 1, budget.budget.cases, budget.budget.words, others)
    return None


def _period_of(periods: Sequence[Period], at_ms: int) -> Period | None:
    return next((p for p in periods if p.from_ms <= at_ms < p.until_ms), None)


def waiting_to_try(store: Store, case: Case) -> int:
    """Return whom "you can try again" would be told."""
    return told_and_waiting(store, case.id)


def candidates(store: Store, case: Case) -> list[Case]:
    """Return the cases that this one may be merged into: unfinished ones of its mode, the latest first."""
    wanted = CaseFilter(states=[state.value for state in UNFINISHED], modes=[case.mode.value])
    found = pages.case_page(store, wanted, limit=MOST_CANDIDATES + 1).items
    return [other for other in found if other.id != case.id][:MOST_CANDIDATES]
