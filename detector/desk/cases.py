"""The lifecycle of a case, as one table: the only module that changes a case's state.

Rules
-----
1. `advance` is the only way to another state; what the table does not list raises and changes nothing.
2. A case recovers when Watch says of every anomaly that the excess is gone, and the customers who were hit show it
   (`recovery_shown`).
3. It is resolved when Watch has let go of all of them. Where the customers have shown nothing until then, it waits an
   hour for them.
4. A relapse takes a recovering case back to where it was; what comes back within a day of the end is the same case,
   one episode on.
5. A person may resolve, dismiss or merge at any time; after that the case's own anomalies change nothing in it, until
   Watch says that it relapsed (a resolved one).
6. What else people do to a case leaves its state as it is, and is listed all the same: what is not is refused.
"""

from enum import StrEnum

import msgspec

from detector.config import DAY_MS, HOUR_MS
from detector.desk.problems import Strand
from detector.desk.records import Case, CaseState, Verb
from detector.errors import UsageError
from detector.signals import Mode, Severity
from detector.watch.anomaly import Anomaly

ENOUGH_RECOVERED = 20
"""So many customers got through since the end: it is over."""
PATIENCE_MS = HOUR_MS
"""How long a case whose anomalies have all ended waits for customers who show it."""
REOPEN_MS = DAY_MS
"""What comes back this soon after the end is the same case; a finished case leaves memory after it."""


class Trigger(StrEnum):
    """What moves a case."""

    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"  # a person
    RECOVERING = "recovering"
    RELAPSED = "relapsed"
    RELAPSED_KNOWN = "relapsed, acknowledged before"
    SETTLED = "settled"  # nothing left of it
    RESOLVED = "resolved"  # a person
    DISMISSED = "dismissed"  # a person
    MERGED = "merged"  # a person
    REOPENED = "reopened"
    ASSIGNED = "assigned"  # a person, as all that follow
    COMMENTED = "commented"
    SPLIT = "split"
    APPROVED = "approved"
    HELD = "held"
    TRIED = "tried again"


_S, _T = CaseState, Trigger

BY_PEOPLE: dict[Verb, Trigger] = {
    Verb.ACKNOWLEDGE: _T.ACKNOWLEDGED,
    Verb.RESOLVE: _T.RESOLVED,
    Verb.DISMISS: _T.DISMISSED,
    Verb.MERGE: _T.MERGED,
    Verb.SPLIT: _T.SPLIT,
    Verb.APPROVE: _T.APPROVED,
    Verb.HOLD: _T.HELD,
    Verb.TRY_AGAIN: _T.TRIED,
    Verb.ASSIGN: _T.ASSIGNED,
    Verb.COMMENT: _T.COMMENTED,
}
"""What people do, and what that is to the table."""

_UNDER_WAY = (_S.OPEN, _S.ACKNOWLEDGED, _S.RECOVERING)

TABLE: dict[tuple[CaseState | None, Trigger], CaseState] = {
    (None, _T.OPENED): _S.OPEN,
    (_S.OPEN, _T.ACKNOWLEDGED): _S.ACKNOWLEDGED,
    (_S.OPEN, _T.RECOVERING): _S.RECOVERING,
    (_S.OPEN, _T.SETTLED): _S.RESOLVED,
    (_S.OPEN, _T.RESOLVED): _S.RESOLVED,
    (_S.OPEN, _T.DISMISSED): _S.DISMISSED,
    (_S.OPEN, _T.MERGED): _S.MERGED,
    (_S.ACKNOWLEDGED, _T.RECOVERING): _S.RECOVERING,
    (_S.ACKNOWLEDGED, _T.SETTLED): _S.RESOLVED,
    (_S.ACKNOWLEDGED, _T.RESOLVED): _S.RESOLVED,
    (_S.ACKNOWLEDGED, _T.DISMISSED): _S.DISMISSED,
    (_S.ACKNOWLEDGED, _T.MERGED): _S.MERGED,
    (_S.RECOVERING, _T.ACKNOWLEDGED): _S.RECOVERING,
    (_S.RECOVERING, _T.RELAPSED): _S.OPEN,
    (_S.RECOVERING, _T.RELAPSED_KNOWN): _S.ACKNOWLEDGED,
    (_S.RECOVERING, _T.SETTLED): _S.RESOLVED,
    (_S.RECOVERING, _T.RESOLVED): _S.RESOLVED,
    (_S.RECOVERING, _T.DISMISSED): _S.DISMISSED,
    (_S.RECOVERING, _T.MERGED): _S.MERGED,
    (_S.RESOLVED, _T.REOPENED): _S.OPEN,
    (_S.RESOLVED, _T.RESOLVED): _S.RESOLVED,  # the verdict, given later
    (_S.RESOLVED, _T.DISMISSED): _S.DISMISSED,
    (_S.RESOLVED, _T.MERGED): _S.MERGED,
    **{(s, t): s for t in (_T.SPLIT, _T.APPROVED, _T.HELD) for s in _UNDER_WAY},
    **{(s, _T.TRIED): s for s in (*_UNDER_WAY, _S.RESOLVED)},
    **{(s, t): s for t in (_T.ASSIGNED, _T.COMMENTED) for s in (*_UNDER_WAY, _S.RESOLVED, _S.DISMISSED)},
}

UNFINISHED = frozenset(_UNDER_WAY)
FINISHED = frozenset({_S.RESOLVED, _S.DISMISSED, _S.MERGED})


class IllegalTransitionError(UsageError):
    """The table has no such transition; nothing was changed."""


def advance(case: Case, trigger: Trigger, at_ms: int) -> Case:
    """Return the case in its next state, with the times that belong to it.

    Raises
    ------
    IllegalTransitionError
        Where the table does not list the transition; it says what is possible.
    """
    after = TABLE.get((case.state, trigger))
    if after is None:
        possible = ", ".join(t.value for s, t in TABLE if s is case.state) or "nothing any more"
        message = f"case {case.id}: it is {case.state.value}, so it cannot be {trigger.value}; possible: {possible}"
        raise IllegalTransitionError(message)
    case = msgspec.structs.replace(case, state=after)
    if trigger is Trigger.ACKNOWLEDGED:
        return msgspec.structs.replace(case, acknowledged_ms=case.acknowledged_ms or at_ms)
    if trigger is Trigger.REOPENED:
        return msgspec.structs.replace(
            case, episode=case.episode + 1, resolved_ms=None, acknowledged_ms=None, verdict=None
        )
    if after is CaseState.RESOLVED and case.resolved_ms is None:
        return msgspec.structs.replace(case, resolved_ms=at_ms)
    return case


def open_case(anomaly: Anomaly | Strand, id: str, tenant: str, mode: Mode, at_ms: int) -> Case:
    """Return a new case with its first anomaly, whose id it takes and keeps for good."""
    return Case(
        tenant=tenant,
        id=id,
        mode=mode,
        title={},
        state=TABLE[(None, Trigger.OPENED)],
        severity=Severity.MEDIUM,
        signals=(anomaly.signal,),
        anomalies=(anomaly.id,),
        onset_ms=anomaly.onset_ms,
        detected_ms=anomaly.detected_ms,
        opened_ms=at_ms,
    )


def relapse_of(case: Case) -> Trigger:
    """Which relapse it is: a case that was acknowledged stays so."""
    return Trigger.RELAPSED if case.acknowledged_ms is None else Trigger.RELAPSED_KNOWN


def recovery_shown(recovered: int, since_end: int, failing_since_end: int) -> bool:
    """Whether the customers who were hit show that it is over.

    Parameters
    ----------
    recovered : int
        Customers who got through after their last failure.
    since_end : int
        Those of them who did since the problem's end.
    failing_since_end : int
        Customers who tried since the end and failed.

    Examples
    --------
    >>> recovery_shown(0, 0, 0), recovery_shown(3, 1, 0), recovery_shown(3, 1, 1), recovery_shown(40, 20, 5)
    (False, True, False, True)
    """
    return since_end >= ENOUGH_RECOVERED or (recovered > 0 and failing_since_end == 0)


def mermaid() -> str:
    """Draw the table's moves as a Mermaid state diagram, for the documentation.

    Examples
    --------
    >>> print(mermaid().splitlines()[1])
        [*] --> open: opened
    """
    moves = {key: after for key, after in TABLE.items() if key[0] is not after}
    lines = ["stateDiagram-v2"]
    for (before, trigger), after in moves.items():
        lines.append(f"    {before.value if before else '[*]'} --> {after.value}: {trigger.value}")
    ends = [s for s in CaseState if all(before is not s for before, _ in moves)]
    return "\n".join([*lines, *(f"    {s.value} --> [*]" for s in ends)])


def by_people() -> str:
    """Return what people may do in which state as a Markdown table, for the documentation.

    Examples
    --------
    >>> print(by_people().splitlines()[2])
    | `acknowledge` | acknowledged |  | recovering |  |  |  |
    """
    lines = ["| | " + " | ".join(s.value for s in CaseState) + " |", "|---" * (len(CaseState) + 1) + "|"]
    for verb, trigger in BY_PEOPLE.items():
        after = (TABLE.get((state, trigger)) for state in CaseState)
        lines.append(f"| `{verb.value}` | " + " | ".join(s.value if s else "" for s in after) + " |")
    return "\n".join(lines)
