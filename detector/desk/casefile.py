"""All that the Desk keeps of one case in memory, and how the case's row follows from it."""

from collections.abc import Callable, Sequence

import msgspec

from detector.config import DAY_MS
from detector.desk.cases import FINISHED, REOPEN_MS, UNFINISHED
from detector.desk.holdout import ARMS
from detector.desk.ledger import Ledger
from detector.desk.policy import Arm
from detector.desk.problems import Strand
from detector.desk.records import Case, CaseState, Loss, NoticeCounts
from detector.desk.severity import severity
from detector.desk.wording import title
from detector.signals import PART, Signal
from detector.watch.anomaly import Cause

DROPPED = "dropped "
"""Prefix of the tally's keys for drops by reason."""
UNKNOWN = "unknown"
"""Key of the tally that counts beside the states."""


class CaseFile(msgspec.Struct, kw_only=True):
    """A case with its anomalies, its ledger and what became of its notices."""

    case: Case
    strands: list[Strand]
    ledger: Ledger
    tally: dict[str, int] = msgspec.field(default_factory=dict)
    """Notices by state, dropped ones by reason."""
    finished_ms: int | None = None
    episode_from: int = 0
    """The episode's first strand."""
    episode_since_ms: int | None = None
    """Where the episode is an old strand's relapse: since when."""
    look_ms: int = 0
    """When a finished case is to be looked at again even if nothing happens: a hold ends, a success has lasted."""
    looked_ms: int = 0
    """When it last was."""
    given: Case | None = None
    """The row as it was last given out."""
    sends: int = 0
    """Customers (and episodes) of whom it was decided to tell them of the problem."""
    capped: bool = False
    """Somebody was held as so many of the case were told."""
    sample_left: int = 0
    """Where a sample was approved: so many of it are not told yet."""
    asked_ms: int | None = None
    """When a person last said that customers can try again; None: never, or taken back."""

    @property
    def episode_onset_ms(self) -> int:
        """Since when failures belong to the episode: who was hit in an earlier one only is not told again."""
        onsets = [s.onset_ms for s in self.strands[self.episode_from :]]
        return min([*onsets, *([] if self.episode_since_ms is None else [self.episode_since_ms])])

    @property
    def unfinished(self) -> bool:
        return self.case.state in UNFINISHED

    @property
    def finished(self) -> bool:
        return self.case.state in FINISHED

    @property
    def names_people(self) -> bool:
        return any(s.names_people for s in self.strands)

    @property
    def follows(self) -> bool:
        """Whether its ledger still takes windows in: a resolved one's does, for who gets through later."""
        return self.names_people and self.case.state not in (CaseState.DISMISSED, CaseState.MERGED)

    @property
    def all_over(self) -> bool:
        return all(s.over for s in self.strands)

    def normal_until_ms(self) -> dict[str, int]:
        """Until when a signal's failures belong to what has become normal, of the signals where something has."""
        out: dict[str, int] = {}
        for strand in self.strands:
            if strand.new_level is not None and strand.ended_ms is not None:
                out[strand.signal] = max(strand.ended_ms, out.get(strand.signal, 0))
        return out

    def gone(self, now_ms: int) -> bool:
        """Whether it may leave memory: finished for a day, and Watch has let go of its anomalies."""
        return self.finished_ms is not None and now_ms - self.finished_ms > REOPEN_MS and self.all_over

    def reopens(self, now_ms: int) -> bool:
        return self.case.resolved_ms is not None and now_ms - self.case.resolved_ms <= DAY_MS

    def causes(self) -> tuple[Cause, ...]:
        """Every anomaly's causes, each once, in the order in which they joined.

        That a joint signal's is in one of its parts goes without saying where that part's own anomaly says it.
        """
        seen: dict[tuple[tuple[str, str], ...], Cause] = {}
        of_parts = {(s.signal, c.key()) for s in self.strands for c in s.causes}
        for strand in self.strands:
            for cause in strand.causes:
                part = cause.where.get(PART) if strand.parts else None
                rest = tuple(item for item in cause.key() if item[0] != PART)
                if part is None or (part, rest) not in of_parts:
                    seen.setdefault(cause.key(), cause)
        return tuple(seen.values())

    def signals(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.signal for s in self.strands))

    def _loss(self, configured: Sequence[Signal]) -> Loss | msgspec.UnsetType:
        """Work out what is lost, in the unit that its signals state, or last stated."""
        units = [s.loss_unit or "" for s in configured if s.loss is not msgspec.UNSET]
        if not units and self.case.loss is not msgspec.UNSET:
            units = [self.case.loss.unit]
        if not units:
            return msgspec.UNSET
        milli, customers = self.ledger.lost()
        return Loss(milli, units[0], customers)

    def refresh(self, signal: Callable[[str], Signal | None]) -> Case:
        """Work out the case's row from its strands and its ledger; state and times of the lifecycle stay."""
        strands, causes, old = self.strands, self.causes(), self.case
        configured = [s for s in map(signal, self.signals()) if s is not None]
        affected = self.ledger.affected() if self.names_people else None
        named = ([c.where for c in causes], self.signals()) == ([c.where for c in old.causes], old.signals)
        known = bool(old.title) and (named or len(configured) < len(self.signals()))
        # That all values are somewhat higher is no more than the signal says; that all have stopped is.
        shifted = {s.name for s in configured if s.ranked}
        everyone = any(not c.where for s in strands if s.signal not in shifted for c in s.causes)
        confirmed = None if affected is None else affected.confirmed
        strongest = max(strands, key=lambda s: (s.score, s.id))
        ends = [s.ended_ms for s in strands if s.ended_ms is not None]
        self.case = msgspec.structs.replace(
            old,
            title=old.title if known else title(configured, causes),
            severity=severity((s.severity for s in configured), confirmed, everyone) if configured else old.severity,
            signals=self.signals(),
            anomalies=tuple(s.id for s in strands),
            onset_ms=min(s.onset_ms for s in strands),
            detected_ms=min(s.detected_ms for s in strands),
            ended_ms=max(ends) if len(ends) == len(strands) else None,
            causes=causes,
            observed=strongest.observed,
            expected=strongest.expected,
            score=strongest.score,
            shift=strongest.shift,
            accounts=tuple(a for s in strands if (a := s.account) is not None),
            affected=affected,
            notices=self.counts(),
            contacts=int((self.ledger.active & (self.ledger["contact_ms"] >= 0)).sum()),
            first_contact_ms=self.ledger.first_contact_ms(),
            loss=self._loss(configured),
        )
        return self.case

    def _sides(self) -> dict[str, int]:
        """Return the two sides of the holdout, and how many of each contacted us: everybody who was drawn counts."""
        called, out = self.ledger["contact_ms"] >= 0, dict[str, int]()
        for name, arm in (("holdout", Arm.OUT), ("compared", Arm.IN)):
            side = self.ledger["arm"] == ARMS.index(arm)
            out |= {name: int(side.sum()), f"{name}_contacts": int((side & called).sum())}
        return out

    def counts(self) -> NoticeCounts:
        return NoticeCounts(
            sent=self.tally.get("sent", 0) + self.tally.get("simulated", 0),
            held=self.tally.get("held", 0),
            dropped={k[len(DROPPED) :]: n for k, n in sorted(self.tally.items()) if k.startswith(DROPPED) and n},
            queued=self.tally.get("queued", 0),
            failed=self.tally.get("failed", 0),
            unknown=self.tally.get(UNKNOWN, 0),
            **self._sides(),
            told=int((self.ledger.active & (self.ledger["told_episode"] > 0)).sum()),
            simulated=self.tally.get("simulated", 0),
        )
