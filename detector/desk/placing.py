"""Where a window's new anomalies go: into a case that they belong to, one that they bring back, or a new one.

Decided for all of them at once, from the cases as they were before: anomalies that hang together go together, so the
order in which they come changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from detector.desk.casefile import CaseFile
from detector.desk.ledger import Ledger
from detector.desk.problems import Bond, Strand, bond, same_problem
from detector.desk.records import CaseState
from detector.events import Ints
from detector.signals import Signal
from detector.watch.anomaly import Anomaly

Usual = Callable[[Strand], Ints]
"""Who failed ordinarily beside an anomaly (`problems.ordinary`)."""


@dataclass(frozen=True)
class Newcomer:
    """An anomaly that has no case yet, with those whom it hit."""

    anomaly: Anomaly
    signal: Signal
    strand: Strand
    ledger: Ledger
    hit: Ints


@dataclass(frozen=True)
class Placement:
    """The one case of some new anomalies; `file` is None where they open one."""

    group: tuple[Newcomer, ...]
    file: CaseFile | None
    reasons: Mapping[str, Bond]
    """Why each joins; those that open or bring back the case have none."""


def place(new: Sequence[Newcomer], files: Sequence[CaseFile], now_ms: int, usual: Usual) -> list[Placement]:
    """Return where these go, each once, in the order of each group's first."""
    bonds: dict[tuple[int, int], Bond] = {}

    def linked(i: int, j: int) -> bool:
        one, other = new[i], new[j]
        if one.signal.mode is not other.signal.mode:
            return False
        found = bond(one.strand, one.hit, [(other.strand, other.hit)], now_ms, usual)
        if found is not None:
            bonds[i, j] = bonds[j, i] = found
        return found is not None

    out = []
    for members in gathered(len(new), linked):
        group = tuple(new[i] for i in members)
        mine = [f for f in files if f.case.mode is group[0].signal.mode]
        within = {new[i].strand.id: found for (i, _), found in sorted(bonds.items(), reverse=True) if i in members}
        file, reasons = _belongs(group, [f for f in mine if f.unfinished], now_ms, usual)
        first = {group[0].strand.id}
        if file is None:
            back = [f for f in mine if f.case.state is CaseState.RESOLVED and f.reopens(now_ms) and _returns(group, f)]
            file = max(back, key=lambda f: (f.case.resolved_ms or 0, f.case.id), default=None)
            if file is not None:
                first = _returns(group, file)
        else:
            first = set()
        told = (one.strand.id for one in group if one.strand.id not in first)
        out.append(Placement(group, file, {id: reasons.get(id) or within[id] for id in told}))
    return out


def gathered(number: int, linked: Callable[[int, int], bool]) -> list[list[int]]:
    """Return groups of 0 … number - 1 that hang together by links, each in order, in the order of their first.

    Examples
    --------
    >>> gathered(4, lambda i, j: (i, j) in ((0, 2), (2, 3)))
    [[0, 2, 3], [1]]
    """
    group = list(range(number))
    for j in range(number):
        for i in range(j):
            if group[i] != group[j] and linked(i, j):
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if g == old else g for g in group]
    return [[i for i in range(number) if group[i] == first] for first in sorted(set(group))]


def _belongs(
    group: Sequence[Newcomer], files: Sequence[CaseFile], now_ms: int, usual: Usual
) -> tuple[CaseFile | None, dict[str, Bond]]:
    """Return the eldest case that any of these belongs to, and why each does that does."""
    for file in sorted(files, key=lambda f: (f.case.opened_ms, f.case.id)):
        others = [(s, file.ledger.hit_by(i)) for i, s in enumerate(file.strands)]
        found = {one.strand.id: bond(one.strand, one.hit, others, now_ms, usual) for one in group}
        reasons = {id: why for id, why in found.items() if why is not None}
        if reasons:
            return file, reasons
    return None, {}


def _returns(group: Sequence[Newcomer], file: CaseFile) -> set[str]:
    """Return those of these that are an anomaly of the case come back."""
    return {one.strand.id for one in group if any(same_problem(one.strand, s) for s in file.strands)}
