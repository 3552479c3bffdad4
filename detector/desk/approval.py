"""Whether a case's customers may be told, and how many until a person says more.

A live case of a severity in `policy.approval` needs approval, at its opening or when its severity rises to that; so
does one of which `policy.per_case` customers were told. Until then who is to be told of the problem is held: one fact
of the case (`Case.approval`), not one of each customer. A person approves all, or a sample of the most valuable
(`detector.desk.priority`), or holds the case: then nobody hears anything new of it. "It works again" and corrections
are owed to those who were told, and go out whatever is held. A case that opens again is asked about again.
"""

import msgspec

from detector.config import Policy
from detector.desk.casefile import CaseFile
from detector.desk.policy import Reason
from detector.desk.records import Approval, Case
from detector.errors import UsageError
from detector.signals import Mode

_CARE = (Approval.APPROVED, Approval.NOT_NEEDED, Approval.SAMPLE, Approval.NEEDED, Approval.HELD)
"""From the freest to the strictest."""


def allowance(file: CaseFile, policy: Policy) -> int | None:
    """Return how many more customers may be told of the problem; None: all."""
    match file.case.approval:
        case Approval.NOT_NEEDED:
            return None if policy.per_case is None else max(policy.per_case - file.sends, 0)
        case Approval.SAMPLE:
            return file.sample_left
        case Approval.APPROVED:
            return None
        case _:
            return 0


def waits_for(file: CaseFile, policy: Policy) -> Reason:
    """Return why nobody further is told, where nobody is."""
    capped = policy.per_case is not None and file.sends >= policy.per_case and file.case.approval is not Approval.HELD
    return Reason.CASE_CAP if capped else Reason.NEEDS_APPROVAL


def why_asked(file: CaseFile, policy: Policy) -> str:
    """Return why a person is to be asked about a case now, in words; "" where nobody is."""
    case = file.case
    if case.approval is not Approval.NOT_NEEDED or case.mode is not Mode.LIVE or not file.unfinished:
        return ""
    if file.names_people and case.severity in policy.approval:
        return f"its severity is {case.severity.value}"
    return f"{file.sends:,} customers were told" if file.capped else ""


def approved(case: Case, customers: int | None) -> Case:
    """Return the case as a person approves it, all of it or a sample of so many customers.

    Raises
    ------
    UsageError
        It is approved already, or a sample is asked for where all may be told.
    """
    free = case.approval in (Approval.APPROVED, Approval.NOT_NEEDED)
    if customers is None and case.approval is Approval.APPROVED:
        message = f"case {case.id}: it is approved already; hold it to stop telling"
        raise UsageError(message)
    if customers is not None and customers < 1:
        message = f"case {case.id}: customers: expected a whole number from 1 on, found {customers}"
        raise UsageError(message)
    if customers is not None and free:
        message = f"case {case.id}: its customers are told already (approval {case.approval.value}); hold it first"
        raise UsageError(message)
    return msgspec.structs.replace(case, approval=Approval.APPROVED if customers is None else Approval.SAMPLE)


def held(case: Case) -> Case:
    """Return the case as a person holds it.

    Raises
    ------
    UsageError
        It is held already.
    """
    if case.approval is Approval.HELD:
        message = f"case {case.id}: it is held already; approve it to go on telling"
        raise UsageError(message)
    return msgspec.structs.replace(case, approval=Approval.HELD)


def asked_again(file: CaseFile) -> None:
    """Take back an approval: the case opens again, which nobody has looked at. What a person holds stays held."""
    if file.case.approval in (Approval.APPROVED, Approval.SAMPLE):
        file.case = msgspec.structs.replace(file.case, approval=Approval.NOT_NEEDED)
    file.sample_left, file.capped = 0, False


def join(into: CaseFile, file: CaseFile) -> None:
    """Merge the approvals of two cases: the stricter one holds for both."""
    strictest = max(into.case.approval, file.case.approval, key=_CARE.index)
    into.case = msgspec.structs.replace(into.case, approval=strictest)
    into.sample_left = into.sample_left + file.sample_left if strictest is Approval.SAMPLE else 0
    into.sends += file.sends


def apart(approval: Approval) -> Approval:
    """Return the approval of a case that is split off: a sample stays where it was approved."""
    return Approval.NEEDED if approval is Approval.SAMPLE else approval
