"""Who of a case is told now: which customers are looked at, what the rules say, and what that makes of them.

A customer is decided on once per kind and episode. A hold is looked at again when its time has come, with the facts
of then; a drop is final, but for those whose reason can pass: the probability rises, a customer who had recovered
fails again, a case that was nearly over goes on. Every decision is a whole `Notice` row.

Who counts as told: those whose notice was sent, or simulated in a dry run. A queued one only once its delivery is
known.
"""

import hashlib
from collections.abc import Mapping

import msgspec
import numpy as np

from detector.config import DAY_MS, HOUR_MS, Policy
from detector.desk.casefile import DROPPED, CaseFile
from detector.desk.ledger import Bools, Ledger
from detector.desk.policy import HYSTERESIS_MS, Decided, Facts, Reason, Told, decide
from detector.desk.records import (
    CaseState,
    Decision,
    Delivered,
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
_PROBLEM, _RESOLVED, _CORRECTION = range(3)
_STATE = {state: i for i, state in enumerate(STATES)}
_REASON = {reason: i for i, reason in enumerate(REASONS)}
_HELD, _DROPPED = _STATE[NoticeState.HELD], _STATE[NoticeState.DROPPED]
_GIVEN = tuple(_STATE[s] for s in (NoticeState.QUEUED, NoticeState.SIMULATED, NoticeState.SENT))
_SIMULATED, _REAL = 1, 2


class Outgoing(msgspec.Struct):
    """What the Desk remembers of notices over all cases."""

    recent: dict[int, list[int]] = msgspec.field(default_factory=dict)
    """When notices went to a customer in the last 24 hours."""
    pending: dict[str, Notice] = msgspec.field(default_factory=dict)
    """Queued, and their delivery not yet known."""
    pruned_ms: int = 0

    def prune(self, now_ms: int) -> None:
        """Forget what is older than a day, and queued notices that nobody may send any more."""
        if now_ms - self.pruned_ms < HOUR_MS:
            return
        self.pruned_ms = now_ms
        kept = ((c, [at for at in times if at > now_ms - DAY_MS]) for c, times in self.recent.items())
        self.recent = {c: times for c, times in kept if times}
        self.pending = {k: n for k, n in self.pending.items() if n.stale_ms > now_ms - DAY_MS}


def notice_id(tenant: str, case: str, customer: int, kind: Kind, episode: int) -> str:
    """Return the id of the one intent per person: whoever decides it again gets the same."""
    key = "\x1f".join((tenant, case, str(customer), kind.value, str(episode)))
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def begin_episode(file: CaseFile) -> None:
    """Set the decisions back for a case that opens again; who still waits for "it works again" goes on waiting."""
    ledger = file.ledger
    ledger["told"][np.isin(ledger["state"][:, _RESOLVED], _GIVEN)] = 0
    ledger["state"][:] = 0
    ledger["reason"][:] = 0
    ledger["until_ms"][:] = -1


def candidates(file: CaseFile, policy: Policy, now_ms: int) -> list[tuple[int, Ints]]:
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
            ledger["reason"][:, kind], [_REASON[r] for r in reasons]
        )
        return found

    held = ledger["state"][:, _PROBLEM] == _HELD
    problem = active & undecided[:, _PROBLEM] & (failed >= file.episode_onset_ms)
    problem |= active & dropped(_PROBLEM, Reason.NOT_CONFIRMED) & (ledger.probabilities >= policy.min_probability)
    problem |= active & dropped(_PROBLEM, Reason.ALREADY_RECOVERED) & ~ledger.through()
    problem |= active & dropped(_PROBLEM, Reason.STALE) & (failed + policy.stale_ms >= now_ms)
    problem |= active & dropped(_PROBLEM, Reason.WITHDRAWN)
    problem |= held & ~active
    if unfinished:
        problem |= active & dropped(_PROBLEM, Reason.CASE_OVER)
    elif file.finished:
        problem |= held
    wrong = case.verdict is Verdict.NOT_A_PROBLEM
    resolved = np.zeros(ledger.n, np.bool_)
    if case.state in (CaseState.RECOVERING, CaseState.RESOLVED) and not wrong:
        works = ledger.through("bad") & (ledger.success() <= now_ms - HYSTERESIS_MS)
        fresh = undecided[:, _RESOLVED] | dropped(_RESOLVED, Reason.CASE_OPEN, Reason.NOT_RECOVERED, Reason.WITHDRAWN)
        resolved = active & (ledger["told"] > 0) & works & fresh
    correction = np.zeros(ledger.n, np.bool_)
    if case.state in (CaseState.RESOLVED, CaseState.DISMISSED):
        correction = (ledger["owed"] > 0) & (~active | wrong) & undecided[:, _CORRECTION]
    kinds = [problem, resolved, correction, *(np.zeros(ledger.n, np.bool_) for _ in KINDS[3:])]
    if case.state is CaseState.MERGED:
        return _held(ledger)
    wanted = [rows | due[:, k] for k, rows in enumerate(kinds)]
    return [(k, np.flatnonzero(rows)) for k, rows in enumerate(wanted) if rows.any()]


def look_again_ms(file: CaseFile) -> int:
    """Return when a case may have something to decide though nothing happens: a hold ends, or a success has lasted."""
    ledger, never = file.ledger, 2**62
    holds = ledger["until_ms"][ledger["state"] == _HELD]
    waiting = (ledger["told"] > 0) & (ledger["state"][:, _RESOLVED] != _HELD) & ledger.through("bad")
    waiting &= ~np.isin(ledger["state"][:, _RESOLVED], _GIVEN)
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
        self.through = (ledger.through("bad" if kind == _RESOLVED else "failed"))[rows].tolist()
        self.contact = ledger["contact_last_ms"][rows].tolist()
        self.strand = ledger["strand"][rows].tolist()
        self.cause = ledger["cause"][rows].tolist()
        self.told_episode = ledger["told_episode"][rows].tolist()
        self.ever = ledger["ever"][rows].tolist()
        self.normal = ledger.normal(normal)[rows].tolist()


def notify(
    file: CaseFile,
    policy: Policy,
    directory: Directory,
    outgoing: Outgoing,
    now_ms: int,
    out: DeskEffects,
    held_for: CaseState | None = None,
) -> tuple[int, int]:
    """Decide on everyone of a case whose time has come; how many were told (or queued) and how many were held.

    With `held_for`, only on all that are held, as if the case were in that state: it is about to be.
    """
    told = held = 0
    chosen = candidates(file, policy, now_ms) if held_for is None else _held(file.ledger)
    state = held_for or file.case.state
    for kind, rows in chosen:
        for start in range(0, len(rows), SLICE):
            part = rows[start : start + SLICE]
            reach = {} if file.case.mode is Mode.SHADOW else directory.reach(file.ledger["customer"][part])
            for notice in _decide_slice(file, state, policy, reach, outgoing, now_ms, kind, part):
                out.notices.append(notice)
                told += notice.decision is Decision.SEND
                held += notice.decision is Decision.HOLD
    return told, held


def _held(ledger: Ledger) -> list[tuple[int, Ints]]:
    return [(k, np.flatnonzero(ledger["state"][:, k] == _HELD)) for k in range(len(KINDS))]


def _decide_slice(
    file: CaseFile,
    state: CaseState,
    policy: Policy,
    reach: Mapping[int, Reach],
    outgoing: Outgoing,
    now_ms: int,
    kind: int,
    rows: Ints,
) -> list[Notice]:
    values, notices = _Rows(file.ledger, rows, kind, file.normal_until_ms()), []
    for i, (row, customer) in enumerate(zip(values.rows, values.customer, strict=True)):
        facts = _facts(file, state, policy, reach.get(customer), outgoing, now_ms, kind, values, i)
        decided = decide(facts)
        notice = _notice(file, facts, decided, customer, values, i)
        _record(file, row, kind, notice)
        if notice.decision is Decision.SEND:
            outgoing.recent.setdefault(customer, []).append(now_ms)
            if notice.state is NoticeState.QUEUED:
                outgoing.pending[notice.id] = notice
            else:
                _told(file, row, kind, _SIMULATED)
        notices.append(notice)
    return notices


def _facts(
    file: CaseFile,
    state: CaseState,
    policy: Policy,
    reach: Reach | None,
    outgoing: Outgoing,
    now_ms: int,
    kind: int,
    values: _Rows,
    i: int,
) -> Facts:
    case, success = file.case, values.success[i]
    if kind == _PROBLEM:
        stale_ms = values.last[i] + policy.stale_ms
    elif kind == _RESOLVED:  # promised when they were told, so still after a night
        stale_ms = success + max(policy.stale_ms, DAY_MS)
    else:  # owed since the case ended, and still after a night
        stale_ms = (file.finished_ms or now_ms) + max(policy.stale_ms, DAY_MS)
    return Facts(
        kind=KINDS[kind],
        now_ms=now_ms,
        policy=policy,
        mode=case.mode,
        state=state,
        episode=case.episode,
        withdrawn=not values.active[i],
        probability=values.likely[i] / 10_000,
        last_failure_ms=values.bad[i] if kind == _RESOLVED else values.last[i],
        last_success_ms=success if success >= 0 else None,
        recovered=values.through[i],
        normal=values.normal[i],
        contact_ms=values.contact[i] if values.contact[i] >= 0 else None,
        told=Told(values.told_episode[i], values.ever[i] == _SIMULATED),
        reach=reach,
        recent_ms=tuple(outgoing.recent.get(values.customer[i], ())),
        stale_ms=stale_ms,
    )


def _notice(file: CaseFile, facts: Facts, decided: Decided, customer: int, values: _Rows, i: int) -> Notice:
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
        when_ms=values.success[i] if facts.kind is Kind.RESOLVED else values.first[i],
        stale_ms=facts.stale_ms,
        checks=decided.checks,
    )


def _key(state: NoticeState | None, reason: Reason) -> str | None:
    if state is NoticeState.DROPPED:
        return DROPPED + reason.value
    return None if state is None else state.value


def _count(file: CaseFile, before: str | None, after: str | None) -> None:
    if before is not None:
        file.tally[before] -= 1
    if after is not None:
        file.tally[after] = file.tally.get(after, 0) + 1


def _record(file: CaseFile, row: int, kind: int, notice: Notice) -> None:
    """Keep what was decided in the ledger's columns and the tally."""
    ledger = file.ledger
    before = _key(STATES[ledger["state"][row, kind]], REASONS[ledger["reason"][row, kind]])
    reason = Reason(notice.reason)
    ledger["state"][row, kind], ledger["reason"][row, kind] = _STATE[notice.state], _REASON[reason]
    ledger["until_ms"][row, kind] = -1 if notice.until_ms is None else notice.until_ms
    _count(file, before, _key(notice.state, reason))


def _told(file: CaseFile, row: int, kind: int, how: int) -> None:
    ledger = file.ledger
    if kind == _PROBLEM:
        ledger["told"][row], ledger["owed"][row] = 1, 1
        ledger["told_episode"][row] = file.case.episode
        ledger["ever"][row] |= how
    elif kind == _CORRECTION:
        ledger["owed"][row] = 0


def delivered(
    outcome: Delivered, files: Mapping[str, CaseFile], outgoing: Outgoing, out: DeskEffects
) -> CaseFile | None:
    """Take a delivery's outcome: the case whose customer it concerns now (a merged one's is the one it went into).

    An outcome of a notice that is not waiting for one (it came twice, or too late) changes nothing; an unknown
    outcome leaves it waiting.
    """
    notice = outgoing.pending.get(outcome.notice)
    states = {"sent": NoticeState.SENT, "failed": NoticeState.FAILED}
    if notice is None or outcome.outcome not in states:
        return None
    del outgoing.pending[outcome.notice]
    after = msgspec.structs.replace(notice, state=states[outcome.outcome], channel=outcome.channel)
    out.notices.append(after)
    file = files.get(notice.case)
    if file is None:
        return None
    _count(file, NoticeState.QUEUED.value, after.state.value)
    kind = KINDS.index(notice.kind)
    target = file
    while (into := files.get(target.case.merged_into or "")) is not None:
        target = into
    row = int(target.ledger.find(np.array([notice.customer]))[0])
    if row < 0:
        return file
    if target is file and notice.episode == file.case.episode:
        target.ledger["state"][row, kind] = _STATE[after.state]
    if after.state is NoticeState.SENT:
        _told(target, row, kind, _REAL)
    return target
