"""What came of a delivery: counters, the customer's row, and who counts as told from now on."""

from collections.abc import Mapping

import msgspec
import numpy as np

from detector.desk.casefile import DROPPED, UNKNOWN, CaseFile
from detector.desk.notices import (
    KINDS,
    PROBLEM,
    REAL,
    REASON_INDEX,
    REASONS,
    STATE_INDEX,
    STATES,
    Outgoing,
    count,
    note_told,
)
from detector.desk.policy import Reason
from detector.desk.records import Check, Decision, Delivered, DeskEffects, Notice, NoticeState

GATE = "gate"
"""The check that stands for what was asked at the moment of sending."""


def home_of(notice: Notice, files: Mapping[str, CaseFile], outgoing: Outgoing) -> CaseFile | None:
    """Return the case that a notice's customer is in now: what it was split off or merged into, else its own."""
    file = files.get(outgoing.moved.get(notice.id, notice.case))
    while file is not None and (into := files.get(file.case.merged_into or "")) is not None:
        file = into
    return file


def delivered(
    outcome: Delivered, files: Mapping[str, CaseFile], outgoing: Outgoing, now_ms: int, out: DeskEffects
) -> list[CaseFile]:
    """Take a delivery's outcome: the cases that it changes.

    An outcome of a notice that is not waiting for one (it came twice, or too late) changes nothing. An unknown one
    leaves it waiting until a person settles it. What the gate suppressed is a drop with the gate's reason; it stands
    for the episode, as the intent is used up. Who is in another case by then is decided on anew there.
    """
    notice = outgoing.pending.get(outcome.notice)
    origin = None if notice is None else files.get(notice.case)
    if notice is None or origin is None:
        return []
    if outcome.outcome == "unknown":
        return _unknown(notice, outcome, origin, outgoing, out)
    after = _settled(notice, outcome)
    if after is None:
        return []
    home = home_of(notice, files, outgoing) or origin
    del outgoing.pending[notice.id]
    outgoing.moved.pop(notice.id, None)
    out.notices.append(after)
    dropped = after.state is NoticeState.DROPPED
    count(origin, NoticeState.QUEUED.value, DROPPED + after.reason if dropped else after.state.value)
    if notice.reason:
        count(origin, UNKNOWN, None)
    times = outgoing.recent.get(notice.customer, [])
    if after.state is not NoticeState.SENT and notice.at_ms in times:
        times.remove(notice.at_ms)  # they heard nothing
    row, kind = int(home.ledger.find(np.array([notice.customer]))[0]), KINDS.index(notice.kind)
    if row >= 0 and home is origin and notice.episode == origin.case.episode:
        home.ledger["state"][row, kind] = STATE_INDEX[after.state]
        # Not the gate's reason: one that can pass by itself would be decided on again, and its intent is used up.
        home.ledger["reason"][row, kind] = REASON_INDEX[Reason.SUPPRESSED if dropped else Reason.NONE]
    if row >= 0 and after.state is NoticeState.SENT:
        note_told(home, row, kind, REAL, now_ms)
    if row >= 0 and dropped and home is not origin and kind == PROBLEM and not home.ledger["told"][row]:
        _decide_anew(home, row)
    return [origin] if origin is home else [origin, home]


def _decide_anew(home: CaseFile, row: int) -> None:
    """Let a customer's new case decide: what they were to hear from the one they left did not go out."""
    ledger = home.ledger
    if not ledger.active[row] or ledger.last("failed")[row] < home.episode_onset_ms:
        return
    state, reason = ledger["state"][row, PROBLEM], ledger["reason"][row, PROBLEM]
    if STATES[state] is NoticeState.DROPPED and REASONS[reason] is Reason.ALREADY_TOLD:
        count(home, DROPPED + Reason.ALREADY_TOLD.value, None)
        ledger["state"][row, PROBLEM] = ledger["reason"][row, PROBLEM] = 0
    if STATES[ledger["state"][row, PROBLEM]] not in (NoticeState.QUEUED, NoticeState.SENT, NoticeState.FAILED):
        ledger["told_episode"][row] = 0


def _unknown(
    notice: Notice, outcome: Delivered, origin: CaseFile, outgoing: Outgoing, out: DeskEffects
) -> list[CaseFile]:
    if notice.reason:  # it was before
        return []
    after = msgspec.structs.replace(notice, reason=outcome.reason or UNKNOWN, channel=outcome.channel)
    outgoing.pending[notice.id] = after
    out.notices.append(after)
    count(origin, None, UNKNOWN)
    return [origin]


def _settled(notice: Notice, outcome: Delivered) -> Notice | None:
    """Return the notice as the outcome leaves it; None where the outcome is none we know."""
    channel = outcome.channel
    match outcome.outcome:
        case "sent":
            return msgspec.structs.replace(notice, state=NoticeState.SENT, reason="", channel=channel)
        case "failed":
            return msgspec.structs.replace(notice, state=NoticeState.FAILED, reason=outcome.reason, channel=channel)
        case "suppressed":
            named = outcome.reason in {reason.value for reason in Reason if reason is not Reason.NONE}
            reason = outcome.reason if named else Reason.SUPPRESSED.value
            check = Check(GATE, Decision.DROP, reason, "" if named else outcome.reason)
            return msgspec.structs.replace(
                notice,
                decision=Decision.DROP,
                state=NoticeState.DROPPED,
                reason=reason,
                channel=channel,
                checks=(*notice.checks, check),
            )
        case _:
            return None
