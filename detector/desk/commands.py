"""What people do to a case.

Each verb checks all that could be wrong before it changes anything, and is told in the story. Which verb is possible
in which state says the table of `detector.desk.cases`.
"""

import hashlib
from functools import partial

import msgspec

from detector.desk import moving
from detector.desk.approval import apart, approved, held
from detector.desk.casefile import CaseFile
from detector.desk.cases import BY_PEOPLE, UNFINISHED, Trigger, advance, open_case
from detector.desk.casework import Casework
from detector.desk.ledger import Ledger
from detector.desk.notices import TRY_AGAIN, waiting_rows
from detector.desk.records import Case, CaseState, Command, Verb, Verdict
from detector.desk.state import Step
from detector.desk.wording import clean
from detector.errors import UsageError
from detector.fields import listed
from detector.watch.anomaly import Phase
from detector.watch.control import Judged

COMMENT_LENGTH = 2_000
NAME_LENGTH = 80
_OF_THE_PAST = frozenset({Verb.ACKNOWLEDGE, Verb.RESOLVE, Verb.DISMISS, Verb.ASSIGN, Verb.COMMENT})
"""What can still be done to a resolved case that has left memory."""


def obey(work: Casework, step: Step, command: Command) -> None:
    """Do what a person says.

    Raises
    ------
    UsageError
        There is no such case, its state does not allow it, or what it takes is missing; nothing was changed.
    """
    past = work.state.past.get(command.case)
    if past is not None and command.verb in _OF_THE_PAST:
        file = CaseFile(case=_after(past, command, step.now_ms), strands=[], ledger=Ledger())
        work.remember([file.case], step.now_ms)
        _tell(step, file, command)
        step.out.cases.append(file.case)
        return
    file = work.file(command.case)
    match command.verb:
        case Verb.MERGE:
            _merge(work, step, file, command)
        case Verb.SPLIT:
            _split(work, step, file, command)
        case Verb.APPROVE:
            _approve(work, step, file, command)
        case Verb.TRY_AGAIN:
            _try_again(work, step, file, command)
        case _:
            file.case = _after(file.case, command, step.now_ms)
            if command.verb is Verb.HOLD:
                file.asked_ms, file.sample_left = None, 0
            if file.finished:
                _close(work, step, file)
            _tell(step, file, command)
            work.finish(step, file)


def _after(case: Case, command: Command, now_ms: int) -> Case:
    """Return the case as the command leaves it."""
    verdict, after = command.verdict, advance(case, BY_PEOPLE[command.verb], now_ms)
    match command.verb:
        case Verb.RESOLVE:
            if verdict is Verdict.NOT_A_PROBLEM:
                message = f"case {case.id}: what was no problem is dismissed, not resolved"
                raise UsageError(message)
            if verdict is None and case.state is CaseState.RESOLVED:
                message = f"case {case.id}: it is resolved already; give a verdict (real or expected) to add one"
                raise UsageError(message)
            return msgspec.structs.replace(after, verdict=verdict)
        case Verb.DISMISS:
            if verdict not in (Verdict.NOT_A_PROBLEM, Verdict.EXPECTED):
                found = verdict.value if verdict else "none"
                message = f"case {case.id}: dismissing takes a verdict, not-a-problem or expected; found {found}"
                raise UsageError(message)
            return msgspec.structs.replace(after, verdict=verdict)
        case Verb.ASSIGN:
            assignee = clean(command.text, NAME_LENGTH)
            if assignee == case.assignee:
                message = f"case {case.id}: it is assigned to {assignee or 'nobody'} already"
                raise UsageError(message)
            return msgspec.structs.replace(after, assignee=assignee)
        case Verb.COMMENT:
            if not clean(command.text, COMMENT_LENGTH):
                message = f"case {case.id}: a comment takes a text, found none"
                raise UsageError(message)
            return after
        case Verb.HOLD:
            return held(after)
        case _:
            return after


_STORY = {
    Verb.ACKNOWLEDGE: "acknowledged",
    Verb.RESOLVE: "resolved",
    Verb.DISMISS: "dismissed",
    Verb.ASSIGN: "assigned",
    Verb.COMMENT: "commented",
    Verb.HOLD: "held",
}


def _tell(step: Step, file: CaseFile, command: Command) -> None:
    """Tell the command in the case's story, and its verdict to the Watches."""
    verdict, verb = command.verdict, command.verb
    judged = verdict is not None and verb in (Verb.RESOLVE, Verb.DISMISS)
    if judged:
        # What was expected did happen: it is no false case, and no measure of what chance can do either.
        real = verdict is not Verdict.NOT_A_PROBLEM
        step.out.controls += [Judged(anomaly, real) for anomaly in file.case.anomalies]
    texts = {Verb.ASSIGN: file.case.assignee or "nobody", Verb.COMMENT: clean(command.text, COMMENT_LENGTH)}
    detail = texts.get(verb, verdict.value if verdict else "")
    step.tell(file, _STORY[verb], detail, command.by)


def _close(work: Casework, step: Step, file: CaseFile) -> None:
    """End what a person has finished: what Watch says of it from here on changes nothing, unless it relapses."""
    file.finished_ms = step.now_ms if file.finished_ms is None else file.finished_ms
    for strand in file.strands:
        if strand.ended_ms is None:
            strand.ended_ms = work.state.frontier_ms


def _approve(work: Casework, step: Step, file: CaseFile, command: Command) -> None:
    file.case = approved(advance(file.case, Trigger.APPROVED, step.now_ms), command.customers)
    file.sample_left = command.customers or 0
    which = "all" if command.customers is None else f"a sample of {command.customers:,}"
    step.tell(file, "approved", which, command.by)
    work.finish(step, file)


def _try_again(work: Casework, step: Step, file: CaseFile, command: Command) -> None:
    """Tell those who were told and still wait that they can try again."""
    after = advance(file.case, Trigger.TRIED, step.now_ms)
    waiting = waiting_rows(file)
    if not len(waiting):
        message = f"case {after.id}: nobody who was told of it still waits and has not heard that they can try again"
        raise UsageError(message)
    file.asked_ms = step.now_ms
    step.tell(file, "try-again", f"{len(waiting):,} were told and still wait", command.by)
    work.finish(step, file, [(TRY_AGAIN, waiting)])


def _merge(work: Casework, step: Step, file: CaseFile, command: Command) -> None:
    """Move a case's anomalies and customers into another one, which goes on."""
    if command.into is None or command.into == command.case:
        message = f"case {command.case}: merging takes another case to go on (`into`), found {command.into or 'none'}"
        raise UsageError(message)
    target = work.file(command.into)
    after = advance(file.case, Trigger.MERGED, step.now_ms)
    if target.case.state not in UNFINISHED:
        message = f"case {target.case.id}: it is {target.case.state.value}, so no case can be merged into it"
        raise UsageError(message)
    if target.case.mode is not file.case.mode:
        message = f"case {command.case}: only cases of one mode can be merged, shadow or live"
        raise UsageError(message)
    file.case = msgspec.structs.replace(after, merged_into=target.case.id)
    step.tell(file, "merged", f"into {target.case.id}", command.by)
    step.tell(target, "merged", f"{file.case.id} into this one", command.by)
    work.finish(step, file)
    moving.merge(file, target)
    for strand in file.strands:
        work.state.home[strand.id] = target.case.id
        strand.phase = Phase.ENDED
    file.finished_ms = step.now_ms
    file.ledger.empty()
    work.finish(step, file)
    step.changed.add(target.case.id)
    work.work_off(step, target, None)


def _split(work: Casework, step: Step, file: CaseFile, command: Command) -> None:
    """Move some of a case's anomalies, with the customers whom only they hit, into a case of their own."""
    after = advance(file.case, Trigger.SPLIT, step.now_ms)
    known = [s.id for s in file.strands]
    leaving = [i for i, id in enumerate(known) if id in command.anomalies]
    if not leaving or len(leaving) == len(known) or set(command.anomalies) - set(known):
        found = listed(command.anomalies) if command.anomalies else "none"
        allowed = (
            f"some of its anomalies, not all ({listed(known)})" if len(known) > 1 else "a case of several anomalies"
        )
        message = f"case {after.id}: splitting takes {allowed}, found {found}"
        raise UsageError(message)
    # A name that no anomaly has: the first one's may be a case's already, this one or one merged into it.
    id = hashlib.blake2b(f"{after.id}/{step.record.seq}/split".encode(), digest_size=6).hexdigest()
    first = file.strands[leaving[0]]
    case = msgspec.structs.replace(
        open_case(first, id, after.tenant, after.mode, step.now_ms),
        severity=after.severity,
        assignee=after.assignee,
        approval=apart(after.approval),
        episode=after.episode,
    )
    new = work.state.files[id] = CaseFile(case=case, strands=[], ledger=Ledger())
    moving.split(file, new, leaving, partial(work.rebuild, step), work.state.files, work.state.outgoing)
    for strand in new.strands:
        work.state.home[strand.id] = id
    names = ", ".join(dict.fromkeys(s.signal for s in new.strands))
    step.tell(file, "split", f"{names}: case {id}", command.by)
    step.tell(new, "opened", f"{names}: split off case {after.id}", command.by)
    for one in (file, new):
        one.ledger.weigh(one.strands)
        work.move(step, one)
        work.finish(step, one)
