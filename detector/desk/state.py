"""What the Desk keeps between two records of its log, and what it has in hand during one."""

from collections.abc import Sequence

import msgspec

from detector.desk.casefile import CaseFile
from detector.desk.notices import Outgoing
from detector.desk.placing import Newcomer
from detector.desk.records import Case, DeskEffects, Directory, History, LogRecord, TimelineEntry
from detector.events import Ints
from detector.watch.control import Fact, FactKind

FORMAT = 2
"""Of the state in a snapshot. 1: the ledgers had three kinds of notices and fewer columns; read as well."""
STORY = (
    "opened",
    "joined",
    "cause-revised",
    "severity-changed",
    "first-contact",
    "notices",
    "acknowledged",
    "recovering",
    "relapsed",
    "resolved",
    "reopened",
    "dismissed",
    "merged",
    "assigned",
    "commented",
    "split",
    "approval-needed",
    "approved",
    "held",
    "try-again",
    "signal-lost",
    "new-level",
    *(kind.value for kind in FactKind),
)
"""What a line of a case's timeline may be."""


class State(msgspec.Struct):
    files: dict[str, CaseFile] = msgspec.field(default_factory=dict)
    home: dict[str, str] = msgspec.field(default_factory=dict)
    """Anomaly → its case."""
    outgoing: Outgoing = msgspec.field(default_factory=Outgoing)
    closed: dict[str, int] = msgspec.field(default_factory=dict)
    """Anomalies whose case has left memory, and when: its id is taken."""
    past: dict[str, Case] = msgspec.field(default_factory=dict)
    """Resolved cases that have left memory, oldest first: a verdict may still come."""
    facts: dict[str, Fact] = msgspec.field(default_factory=dict)
    """What may stand beside a case in memory, or one to come."""
    frontier_ms: int = 0
    """End of the last barrier's window."""
    format: int = FORMAT


class Step:
    """One record being worked off: what it may look at, and what came of it."""

    def __init__(self, record: LogRecord, history: History, directory: Directory) -> None:
        self.record, self.history, self.directory = record, history, directory
        self.now_ms = record.at_ms
        self.out = DeskEffects()
        self.changed: set[str] = set()
        """Cases whose spans or causes changed: their ledgers are built anew."""
        self.new: Sequence[Newcomer] = ()
        self.usual: dict[str, Ints] = {}
        """Who failed ordinarily beside an anomaly, where it was asked for."""

    def tell(self, file: CaseFile, what: str, detail: str = "", by: str = "") -> None:
        """Write a line of the case's story."""
        case, n = file.case, len(self.out.timeline)
        seq, at_ms = self.record.seq, self.now_ms
        self.out.timeline.append(
            TimelineEntry(tenant=case.tenant, case=case.id, seq=seq, n=n, at_ms=at_ms, what=what, by=by, detail=detail)
        )
