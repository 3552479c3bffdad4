"""Who of a case is told now: which customers are looked at, what the rules say, and what that makes of them.

A customer is decided on once per kind and episode. A hold is looked at again when its time has come, with the facts
of then; a drop is final, but for those whose reason can pass: the probability rises, a customer who had recovered
fails again, a case that was nearly over goes on. What waits for a person is not looked at again until one has spoken.
Where only so many may be told, the most valuable come first. Every decision is a whole `Notice` row.

Who counts as told: those whose notice was sent, or simulated in a dry run. A queued one only once its delivery is
known (`detector.desk.deliveries`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from detector.config import DAY_MS, HOUR_MS, WEEK_MS, Policy
from detector.desk.approval import allowance, waits_for
from detector.desk.casefile import DROPPED, CaseFile
from detector.desk.holdout import ARMS, arm_of, compares
from detector.desk.ledger import NEVER, Bools, Ledger
from detector.desk.policy import HYSTERESIS_MS, Arm, Decided, Facts, Reason, Told, decide
from detector.desk.priority import Stakes, priorities
from detector.desk.records import (
    Approval,
    CaseState,
    Decision,
    DeskEffects,
    Directory,
    Kind,
    Notice,
    NoticeState,
    Reach,
    Verdict,
)
from detector.desk.wording import language_of
from detector.events import Ints
from detector.signals import Mode

SLICE = 4096
"""So many customers are asked of the directory at once."""

KINDS = tuple(Kind)
STATES: tuple[NoticeState | None, ...] = (None, *NoticeState)
REASONS = tuple(Reason)
PROBLEM, RESOLVED, CORRECTION, FOLLOW_UP, TRY_AGAIN = range(len(KINDS))
STATE_INDEX = {state: i for i, state in enumerate(STATES)}
REASON_INDEX = {reason: i for i, reason in enumerate(REASONS)}
_HELD, _DROPPED = STATE_INDEX[NoticeState.HELD], STATE_INDEX[NoticeState.DROPPED]
GIVEN = tuple(STATE_INDEX[s] for s in (NoticeState.QUEUED, NoticeState.SIMULATED, NoticeState.SENT))
SIMULATED, REAL = 1, 2
_FOREVER = 2**62
"""Until when a hold lasts that waits for a person."""
_WAITING = tuple(REASON_INDEX[r] for r in (Reason.NEEDS_APPROVAL, Reason.CASE_CAP))


class Outgoing(msgspec.Struct):
    """What the Desk remembers of notices over all cases."""

    recent: dict[int, list[int]] = msgspec.field(default_factory=dict)
    """When notices went to a customer in the last 24 hours."""
    pending: dict[str, Notice] = msgspec.field(default_factory=dict)
    """Queued, and their delivery not yet known."""
    moved: dict[str, str] = msgspec.field(default_factory=dict)
    """Of the pending: the case that their customer was split off into."""
    pruned_ms: int = 0

    def prune(self, now_ms: int) -> None:
        """Forget what is older than a day, and queued notices that nobody may send any more."""
        if now_ms - self.pruned_ms < HOUR_MS:
            return
        self.pruned_ms = now_ms
        kept = ((c, [at for at in times if at > now_ms - DAY_MS]) for c, times in self.recent.items())
        self.recent = {c: times for c, times in kept if times}
        # One that may have gone out has a reason: a person settles it.
        self.pending = {
            k: n for k, n in self.pending.items() if n.stale_ms > now_ms - (WEEK_MS if n.reason else DAY_MS)
        }
        self.moved = {k: case for k, case in self.moved.items() if k in self.pending}


@dataclass(frozen=True)
class Round:
    """What a round of decisions looks at beside the case."""

    policy: Policy
    stakes: Stakes
    directory: Directory
    outgoing: Outgoing
    now_ms: int


def notice_id(tenant: str, case: str, customer: int, kind: Kind, episode: int) -> str:
    """Return the id of the one intent per person: whoever decides it again gets the same."""
    key = "\x1f".join((tenant, case, str(customer), kind.value, str(episode)))
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def begin_episode(file: CaseFile) -> None:
    """Set the decisions back for a case that opens again; who still waits for "it works again" goes on waiting."""
    ledger = file.ledger
    ledger["told"][np.isin(ledger["state"][:, RESOLVED], GIVEN)] = 0
    ledger["state"][:] = 0
    ledger["reason"][:] = 0
    ledger["until_ms"][:] = NEVER
    ledger["out_ms"][:] = NEVER


def candidates(file: CaseFile, policy: Policy, stakes: Stakes, now_ms: int) -> list[tuple[int, Ints]]:
    """Which rows are to be decided on now, per kind (its index, and int64[rows])."""
    ledger, case = file.ledger, file.case
    if not ledger.n:
        return []
    active, failed = ledger.active, ledger.last("failed")
    due = (ledger["state"] == _HELD) & (ledger["until_ms"] <= now_ms)
    undecided = ledger["state"] == 0
    unfinished = case.state in (CaseState.OPEN, CaseState.ACKNOWLEDGED)

    def dropped(kind: int, *reasons: Reason) -> Bools:
        found: Bools = (ledger["state"][:, kind] == _DROPPED) & np.isin(
            ledger["reason"][:, kind], [REASON_INDEX[r] for r in reasons]
        )
        return found

    def parked(kind: int, *reasons: int) -> Bools:
        found: Bools = (ledger["state"][:, kind] == _HELD) & np.isin(ledger["reason"][:, kind], reasons)
        return found

    held = ledger["state"][:, PROBLEM] == _HELD
    problem = active & undecided[:, PROBLEM] & (failed >= file.episode_onset_ms)
    problem |= active & dropped(PROBLEM, Reason.NOT_CONFIRMED) & (ledger.probabilities >= policy.min_probability)
    problem |= active & dropped(PROBLEM, Reason.ALREADY_RECOVERED) & ~ledger.through()
    problem |= active & dropped(PROBLEM, Reason.STALE) & (failed + policy.stale_ms >= now_ms)
    problem |= active & dropped(PROBLEM, Reason.WITHDRAWN)
    problem |= held & ~active
    if unfinished:
        problem |= active & dropped(PROBLEM, Reason.CASE_OVER)
        if allowance(file, policy) != 0:
            problem |= parked(PROBLEM, *_WAITING)
    elif file.finished:
        problem |= held
    if not compares(case.mode, case.signals, policy, stakes):
        problem |= parked(PROBLEM, REASON_INDEX[Reason.HOLDOUT])
    wrong = case.verdict is Verdict.NOT_A_PROBLEM
    resolved = np.zeros(ledger.n, np.bool_)
    if case.state in (CaseState.RECOVERING, CaseState.RESOLVED) and not wrong:
        works = ledger.through("bad") & (ledger.success() <= now_ms - HYSTERESIS_MS)
        fresh = undecided[:, RESOLVED] | dropped(RESOLVED, Reason.CASE_OPEN, Reason.NOT_RECOVERED, Reason.WITHDRAWN)
        resolved = active & (ledger["told"] > 0) & works & fresh
    correction = np.zeros(ledger.n, np.bool_)
    if case.state in (CaseState.RESOLVED, CaseState.DISMISSED):
        correction = (ledger["owed"] > 0) & (~active | wrong) & undecided[:, CORRECTION]
    follow_up, held_up = np.zeros(ledger.n, np.bool_), ledger["state"][:, FOLLOW_UP] == _HELD
    if unfinished and policy.follow_up_ms is not None:
        told_ms, this = ledger["told_ms"], ledger["told_episode"] == case.episode
        lasts = (told_ms != NEVER) & (told_ms + policy.follow_up_ms <= now_ms) & (failed > told_ms)
        follow_up = active & (ledger["told"] > 0) & this & lasts & ~ledger.through() & undecided[:, FOLLOW_UP]
    if file.finished:
        follow_up |= held_up
    elif case.approval is not Approval.HELD:
        follow_up |= parked(FOLLOW_UP, *_WAITING)
    kinds = [problem, resolved, correction, follow_up, np.zeros(ledger.n, np.bool_)]
    if case.state is CaseState.MERGED:
        return held_rows(ledger)
    wanted = [rows | due[:, k] for k, rows in enumerate(kinds)]
    return [(k, np.flatnonzero(rows)) for k, rows in enumerate(wanted) if rows.any()]


def look_again_ms(file: CaseFile) -> int:
    """Return when a case may have something to decide though nothing happens: a hold ends, or a success has lasted."""
    ledger, never = file.ledger, 2**62
    holds = ledger["until_ms"][ledger["state"] == _HELD]
    waiting = (ledger["told"] > 0) & (ledger["state"][:, RESOLVED] != _HELD) & ledger.through("bad")
    waiting &= ~np.isin(ledger["state"][:, RESOLVED], GIVEN)
    lasted = ledger.success()[waiting & (ledger.success() + HYSTERESIS_MS > file.looked_ms)] + HYSTERESIS_MS
    return int(min(holds.min(initial=never), lasted.min(initial=never)))


class _Rows:
    """A ledger's columns for the rows of one decision, as Python values."""

    def __init__(self, ledger: Ledger, rows: Ints, kind: int, normal: Mapping[str, int]) -> None:
        self.rows = rows.tolist()
        self.customer = ledger["customer"][rows].tolist()
        self.active = ledger.active[rows].tolist()
        self.likely = ledger["likely"][rows].tolist()
        self.first = np.where(ledger.active, ledger["first_ms"], ledger["shown"][:, 0])[rows].tolist()
        self.last = np.where(ledger.active, ledger.last("failed"), ledger["shown"][:, 1])[rows].tolist()
        self.bad = ledger.last("bad")[rows].tolist()
        self.success = ledger.success()[rows].tolist()
        self.through = (ledger.through("bad" if kind == RESOLVED else "failed"))[rows].tolist()
        self.contact = ledger["contact_last_ms"][rows].tolist()
        self.strand = ledger["strand"][rows].tolist()
        self.cause = ledger["cause"][rows].tolist()
        self.told_episode = ledger["told_episode"][rows].tolist()
        self.ever = ledger["ever"][rows].tolist()
        self.normal = ledger.normal(normal)[rows].tolist()
        self.arm = ledger["arm"][rows].tolist()
        self.out_ms = ledger["out_ms"][rows].tolist()


def notify(
    file: CaseFile,
    round: Round,
    out: DeskEffects,
    chosen: Sequence[tuple[int, Ints]] | None = None,
    state: CaseState | None = None,
) -> tuple[int, int]:
    """Decide on everyone of a case whose time has come; how many were told (or queued) and how many were held.

    With `chosen` on these rows only; with `state` as if the case were in it: it is about to be.
    """
    told = held = 0
    found = candidates(file, round.policy, round.stakes, round.now_ms) if chosen is None else chosen
    for kind, rows in found:
        ordered = rows
        if kind == PROBLEM and allowance(file, round.policy) is not None:
            first = priorities(file.ledger, rows, file.strands, round.stakes, file.case.severity)
            ordered = rows[np.lexsort((rows, -first))]
        for start in range(0, len(rows), SLICE):
            part = ordered[start : start + SLICE]
            waits = _waits(file, kind, part) & (state is None)
            if allowance(file, round.policy) == 0:
                part, waits = part[~waits], waits[~waits]
            for notice in _decide_slice(file, state or file.case.state, round, kind, part, waits):
                out.notices.append(notice)
                told += notice.decision is Decision.SEND
                held += notice.decision is Decision.HOLD
    return told, held


def held_rows(ledger: Ledger) -> list[tuple[int, Ints]]:
    """Return all that are held, per kind (its index, and int64[rows])."""
    return [(k, np.flatnonzero(ledger["state"][:, k] == _HELD)) for k in range(len(KINDS))]


def waiting_rows(file: CaseFile) -> Ints:
    """int64[rows]: who was told, has not got through since, and has not heard that they can try again."""
    ledger = file.ledger
    waiting = ledger.active & (ledger["told"] > 0) & ~ledger.through()
    waiting &= ~np.isin(ledger["state"][:, RESOLVED], GIVEN) & (ledger["state"][:, TRY_AGAIN] == 0)
    return np.flatnonzero(waiting)


def _waits(file: CaseFile, kind: int, rows: Ints) -> Bools:
    """bool[rows]: waits for a person, and where nobody further may be told what was written of it still holds."""
    ledger = file.ledger
    if kind != PROBLEM or file.finished:
        return np.zeros(len(rows), np.bool_)
    found: Bools = (ledger["state"][rows, PROBLEM] == _HELD) & np.isin(ledger["reason"][rows, PROBLEM], _WAITING)
    return found & ledger.active[rows]


def _decide_slice(file: CaseFile, state: CaseState, round: Round, kind: int, rows: Ints, waits: Bools) -> list[Notice]:
    """Decide on these rows; of those that wait, only as long as some of them may be told."""
    ledger, policy, now_ms, notices = file.ledger, round.policy, round.now_ms, list[Notice]()
    compared = kind == PROBLEM and compares(file.case.mode, file.case.signals, policy, round.stakes)
    if compared:
        _take_sides(file, policy, now_ms, rows)
    news = kind in (PROBLEM, FOLLOW_UP)
    first = priorities(ledger, rows, file.strands, round.stakes, file.case.severity).tolist() if news else []
    reach = {} if file.case.mode is Mode.SHADOW else round.directory.reach(ledger["customer"][rows])
    values = _Rows(ledger, rows, kind, file.normal_until_ms())
    waiting = waits.tolist()
    for i, (row, customer) in enumerate(zip(values.rows, values.customer, strict=True)):
        if waiting[i] and allowance(file, policy) == 0:
            continue
        facts = _facts(file, state, round, reach.get(customer), kind, values, i, compared=compared)
        notice = _notice(file, facts, decide(facts), customer, values, i, first[i] if news else 0)
        _record(file, row, kind, notice)
        file.capped |= notice.reason == Reason.CASE_CAP
        if notice.decision is Decision.SEND:
            round.outgoing.recent.setdefault(customer, []).append(now_ms)
            if kind == PROBLEM:
                file.sends += 1
                file.sample_left = max(file.sample_left - 1, 0)
            if notice.state is NoticeState.QUEUED:
                round.outgoing.pending[notice.id] = notice
            else:
                note_told(file, row, kind, SIMULATED, now_ms)
        notices.append(notice)
    return notices


def _take_sides(file: CaseFile, policy: Policy, now_ms: int, rows: Ints) -> None:
    """Put who is looked at for the first time on a side of the holdout's comparison, whatever is decided on them."""
    ledger, case, out = file.ledger, file.case, ARMS.index(Arm.OUT)
    for row in rows[ledger["arm"][rows] == 0].tolist():
        arm = arm_of(case.tenant, case.id, int(ledger["customer"][row]), policy.holdout_share)
        ledger["arm"][row] = ARMS.index(arm)
    fresh = rows[(ledger["arm"][rows] == out) & (ledger["out_ms"][rows] == NEVER)]
    ledger["out_ms"][fresh] = now_ms + policy.holdout_ms


def _facts(
    file: CaseFile,
    state: CaseState,
    round: Round,
    reach: Reach | None,
    kind: int,
    values: _Rows,
    i: int,
    *,
    compared: bool,
) -> Facts:
    case, success, policy, now_ms = file.case, values.success[i], round.policy, round.now_ms
    if kind in (PROBLEM, FOLLOW_UP):
        stale_ms = values.last[i] + policy.stale_ms
    elif kind == RESOLVED:  # promised when they were told, so still after a night
        stale_ms = success + max(policy.stale_ms, DAY_MS)
    else:  # owed since the case ended, or since a person said so, and still after a night
        since_ms = file.asked_ms if kind == TRY_AGAIN else file.finished_ms
        stale_ms = (now_ms if since_ms is None else since_ms) + max(policy.stale_ms, DAY_MS)
    waits = allowance(file, policy) == 0 if kind == PROBLEM else case.approval is Approval.HELD
    return Facts(
        kind=KINDS[kind],
        now_ms=now_ms,
        policy=policy,
        mode=case.mode,
        state=state,
        episode=case.episode,
        withdrawn=not values.active[i],
        probability=values.likely[i] / 10_000,
        last_failure_ms=values.bad[i] if kind == RESOLVED else values.last[i],
        last_success_ms=success if success >= 0 else None,
        recovered=values.through[i],
        normal=values.normal[i],
        contact_ms=values.contact[i] if values.contact[i] >= 0 else None,
        told=Told(values.told_episode[i], values.ever[i] == SIMULATED),
        reach=reach,
        recent_ms=tuple(round.outgoing.recent.get(values.customer[i], ())),
        stale_ms=stale_ms,
        waits=waits_for(file, policy) if waits else Reason.NONE,
        arm=ARMS[values.arm[i]] if compared else None,
        out_ms=values.out_ms[i],
        asked=file.asked_ms is not None,
    )


def _notice(
    file: CaseFile, facts: Facts, decided: Decided, customer: int, values: _Rows, i: int, priority: int
) -> Notice:
    case, strand = file.case, file.strands[values.strand[i]]
    known = values.active[i] and values.cause[i] < len(strand.causes)  # a withdrawn one's cause may mean another by now
    cause = strand.causes[values.cause[i]].where if known else {}
    states = {
        Decision.SEND: NoticeState.QUEUED if facts.policy.send else NoticeState.SIMULATED,
        Decision.HOLD: NoticeState.HELD,
        Decision.DROP: NoticeState.DROPPED,
    }
    return Notice(
        tenant=case.tenant,
        id=notice_id(case.tenant, case.id, customer, facts.kind, case.episode),
        case=case.id,
        customer=customer,
        kind=facts.kind,
        episode=case.episode,
        decision=decided.decision,
        state=states[decided.decision],
        reason=decided.reason.value,
        until_ms=decided.until_ms,
        at_ms=facts.now_ms,
        channel=facts.channel,
        language=language_of(facts.reach.language if facts.reach else "", facts.policy.default_language),
        time_zone=facts.zone,
        signal=strand.signal,
        cause=cause,
        when_ms={Kind.RESOLVED: values.success, Kind.FOLLOW_UP: values.last}.get(facts.kind, values.first)[i],
        stale_ms=facts.stale_ms,
        priority=priority,
        checks=decided.checks,
    )


def _key(state: NoticeState | None, reason: Reason) -> str | None:
    if state is NoticeState.DROPPED:
        return DROPPED + reason.value
    return None if state is None else state.value


def count(file: CaseFile, before: str | None, after: str | None) -> None:
    if before is not None:
        file.tally[before] -= 1
    if after is not None:
        file.tally[after] = file.tally.get(after, 0) + 1


def _record(file: CaseFile, row: int, kind: int, notice: Notice) -> None:
    """Keep what was decided in the ledger's columns and the tally."""
    ledger = file.ledger
    before = _key(STATES[ledger["state"][row, kind]], REASONS[ledger["reason"][row, kind]])
    reason = Reason(notice.reason)
    ledger["state"][row, kind], ledger["reason"][row, kind] = STATE_INDEX[notice.state], REASON_INDEX[reason]
    until_ms = _FOREVER if notice.decision is Decision.HOLD and notice.until_ms is None else notice.until_ms
    ledger["until_ms"][row, kind] = NEVER if until_ms is None else until_ms
    count(file, before, _key(notice.state, reason))


def note_told(file: CaseFile, row: int, kind: int, how: int, now_ms: int) -> None:
    """Keep that a notice reached its customer; `how`: in simulation, or really."""
    ledger = file.ledger
    if kind == PROBLEM:
        ledger["told"][row], ledger["owed"][row] = 1, 1
        ledger["told_episode"][row], ledger["told_ms"][row] = file.case.episode, now_ms
        ledger["ever"][row] |= how
    elif kind == CORRECTION:
        ledger["owed"][row] = 0
