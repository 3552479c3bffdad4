"""The Desk of one tenant: anomalies in, cases, ledger, notices out. One append-only log is its whole input.

What it decides follows from the records in their order and from the windows' records that `History` holds up to the
barrier's window; it reads no clock. A step is one record: a barrier (every signal's Watch has committed the window),
a person's command, a fact that people know, a delivery's outcome, or a configuration. Promises: the same log gives the
same effects, whatever the restarts; an illegal command raises `UsageError` and changes nothing; nothing depends on the
keyed hashes of customers.

In memory are the unfinished cases with their ledgers, and the finished ones for a day: until then they may open
again, and customers who were told hear that it works once it does. The rows of resolved ones stay for a late verdict.
Should reading the history fail, the state is undefined: continue from the last snapshot.
"""

import hashlib
from collections.abc import Sequence
from functools import partial

import msgspec

from detector.config import HOUR_MS, Config
from detector.counter.record import WindowRecord
from detector.desk.approval import asked_again
from detector.desk.casefile import CaseFile
from detector.desk.cases import Trigger, advance, open_case
from detector.desk.casework import CLOSED_MS, Casework
from detector.desk.commands import obey
from detector.desk.deliveries import delivered
from detector.desk.facts import KEPT_MS, check_fact
from detector.desk.ledger import Ledger
from detector.desk.notices import begin_episode, held_rows
from detector.desk.placing import Newcomer, place
from detector.desk.problems import USUAL_MS, Strand, ordinary, strand_of
from detector.desk.records import (
    CaseState,
    Command,
    Configured,
    Delivered,
    DeskEffects,
    Directory,
    EvidencePoint,
    History,
    LogRecord,
    WindowClosed,
)
from detector.desk.state import FORMAT, State, Step
from detector.desk.state import STORY as STORY
from detector.desk.wording import cause_in_words
from detector.errors import UsageError
from detector.events import Ints
from detector.pack import pack, unpack
from detector.signals import Mode, Signal
from detector.watch.anomaly import Anomaly, Phase
from detector.watch.control import Fact, Withdrawn
from detector.watch.explanation import new_level_in_words

LOST_MS = HOUR_MS
"""Watch speaks of an anomaly every window: after this long (and ten windows) without a word it has let go of it."""
LOST_WINDOWS = 10


class Desk:
    """One tenant's Desk."""

    def __init__(self, config: Config) -> None:
        self._state = State()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Put a configuration in force; the next step lets go of what it no longer watches."""
        self._config = config
        self._work = Casework(self._state, config)
        self._signals = self._work.signals

    def snapshot(self) -> bytes:
        """All state, packed: `restore` continues as if nothing had happened."""
        for file in self._state.files.values():
            file.ledger.trim()
        return pack(self._state)

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot."""
        self._state = unpack(data, State)
        for file in self._state.files.values():
            file.ledger.widen()
        self._state.format = FORMAT
        self.configure(self._config)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What people know and may still matter, in the order of time."""
        return tuple(sorted(self._state.facts.values(), key=lambda fact: (fact.from_ms, fact.id)))

    def step(self, record: LogRecord, history: History, directory: Directory) -> DeskEffects:
        """Take one record of the log.

        Parameters
        ----------
        record : LogRecord
        history : History
            Reaches up to the last barrier's window, which may be this record's.
        directory : Directory

        Returns
        -------
        DeskEffects
            Whole rows, to be written in the transaction that stores how far the log was read.

        Raises
        ------
        UsageError
            A command names no case, or one whose state does not allow it; nothing was changed.
        """
        step = Step(record, history, directory)
        match record.payload:
            case WindowClosed() as closed:
                self._window_closed(step, closed)
            case Command() as command:
                obey(self._work, step, command)
            case Delivered() as outcome:
                self._delivered(step, outcome)
            case Fact() as fact:
                self._fact(step, fact)
            case Withdrawn() as withdrawn:
                self._withdrawn(step, withdrawn)
            case Configured():
                for file in list(self._state.files.values()):
                    if self._let_go(step, file, None):
                        self._work.work_off(step, file, None)
        return step.out

    # --- barrier ---

    def _window_closed(self, step: Step, closed: WindowClosed) -> None:
        state, to_ms = self._state, closed.window_ms + closed.width_ms
        state.frontier_ms = to_ms
        state.outgoing.prune(step.now_ms)
        for file in state.files.values():
            self._let_go(step, file, closed.window_ms)
        new: list[Newcomer] = []
        for anomaly in sorted(closed.anomalies, key=lambda a: (a.signal, a.id)):
            signal = self._signals.get(anomaly.signal)
            home = state.files.get(state.home.get(anomaly.id, ""))
            if home is not None and signal is not None:
                self._anomaly(step, home, anomaly)
            elif signal is not None:
                new.append(self._newcomer(step, anomaly, signal))
        self._place(step, new)
        records: list[WindowRecord] | None = None
        for file in state.files.values():
            fresh = file.follows and file.ledger.next_ms == closed.window_ms
            if fresh and records is None:
                records = list(step.history.windows(closed.window_ms, to_ms))
            self._work.work_off(step, file, records if fresh else None)
        gone = {key for key, file in state.files.items() if file.gone(step.now_ms)}
        if gone:
            outgoing = state.outgoing  # their counters still change
            gone -= {n.case for n in outgoing.pending.values()} | set(outgoing.moved.values())
            self._work.remember([f.case for k, f in state.files.items() if k in gone], step.now_ms)
            state.files = {k: f for k, f in state.files.items() if k not in gone}
            state.closed.update({a: step.now_ms for a, k in state.home.items() if k in gone})
            state.closed = {a: at for a, at in state.closed.items() if at > step.now_ms - CLOSED_MS}
            state.home = {a: k for a, k in state.home.items() if k not in gone}
        if state.facts:
            oldest_ms = min([to_ms, *(s.onset_ms for file in state.files.values() for s in file.strands)])
            state.facts = {k: f for k, f in state.facts.items() if f.until_ms > oldest_ms - KEPT_MS}

    def _let_go(self, step: Step, file: CaseFile, window_ms: int | None) -> bool:
        """End the strands that Watch no longer follows: a removed or changed signal, or an hour without a word."""
        before = [s.phase for s in file.strands]
        for strand in file.strands:
            signal = self._signals.get(strand.signal)
            removed = signal is None or signal.dimensions != strand.dimensions
            silence_ms = max(LOST_MS, LOST_WINDOWS * signal.window_ms if signal else 0)
            silent = window_ms is not None and window_ms - strand.seen_ms > silence_ms
            if not strand.over and (removed or silent):
                strand.phase, strand.lost, strand.said_ms = Phase.ENDED, True, step.now_ms
                strand.ended_ms = self._state.frontier_ms if strand.ended_ms is None else strand.ended_ms
                if file.unfinished:
                    why = "is no longer watched as it was" if removed else "has not been heard of for an hour"
                    step.tell(file, "signal-lost", f"{strand.signal} {why}")
                    step.changed.add(file.case.id)
        live = any(s.mode is Mode.LIVE for n in file.signals() if (s := self._signals.get(n)) is not None)
        hidden = file.case.mode is Mode.LIVE and not live and not all(s.lost for s in file.strands)
        if hidden:
            file.case = msgspec.structs.replace(file.case, mode=Mode.SHADOW)
        return hidden or before != [s.phase for s in file.strands]

    def _anomaly(self, step: Step, file: CaseFile, anomaly: Anomaly) -> None:
        strand = next(s for s in file.strands if s.id == anomaly.id)
        if file.finished and not self._comes_back(step, file, strand, anomaly):
            strand.phase, strand.seen_ms = anomaly.phase, anomaly.window_ms
            return
        causes = [c.where for c in strand.causes]
        if strand.take(anomaly):
            step.changed.add(file.case.id)
        if causes != [c.where for c in strand.causes]:
            step.tell(file, "cause-revised", ", ".join(cause_in_words(c, "en") for c in strand.causes))
        if strand.new_level is not None:
            step.tell(file, "new-level", f"{strand.signal}: {new_level_in_words(strand.new_level)}")
        self._evidence(step, file, strand, anomaly)

    def _comes_back(self, step: Step, file: CaseFile, strand: Strand, anomaly: Anomaly) -> bool:
        """Open a finished case again whose anomaly relapsed, unless it was dismissed; whether it did."""
        again = anomaly.phase in (Phase.OPENED, Phase.RELAPSED) or (strand.over and anomaly.phase is Phase.UPDATED)
        if file.case.state is not CaseState.RESOLVED or not again:
            return False
        self._reopen(step, file, since_ms=file.finished_ms)
        return True

    def _reopen(self, step: Step, file: CaseFile, since_ms: int | None) -> None:
        after = advance(file.case, Trigger.REOPENED, step.now_ms)
        file.asked_ms = None
        self._work.notify(step, file, held_rows(file.ledger), after.state)
        begin_episode(file)
        file.case = after
        asked_again(file)
        file.finished_ms = None
        file.episode_from, file.episode_since_ms = len(file.strands), since_ms
        step.tell(file, "reopened", f"episode {file.case.episode}")

    def _newcomer(self, step: Step, anomaly: Anomaly, signal: Signal) -> Newcomer:
        strand, ledger = strand_of(anomaly, signal), Ledger()
        self._work.rebuild(step, ledger, [strand])
        return Newcomer(anomaly, signal, strand, ledger, ledger.hit_by(0))

    def _place(self, step: Step, new: Sequence[Newcomer]) -> None:
        step.new = new
        for placed in place(new, list(self._state.files.values()), step.now_ms, partial(self._usual, step)):
            file = placed.file or self._open(step, placed.group[0])
            if file.finished:
                self._reopen(step, file, since_ms=None)
            for one in placed.group:
                if one.strand.id in placed.reasons:
                    step.tell(file, "joined", f"{one.strand.signal}: {placed.reasons[one.strand.id].value}")
                if file.strands:
                    step.changed.add(file.case.id)
                file.strands.append(one.strand)
                self._state.home[one.anomaly.id] = file.case.id
                self._evidence(step, file, one.strand, one.anomaly)

    def _open(self, step: Step, first: Newcomer) -> CaseFile:
        id = first.anomaly.id
        if id in self._state.closed:
            id = hashlib.blake2b(f"{id}/{first.anomaly.window_ms}".encode(), digest_size=6).hexdigest()
        case = open_case(first.anomaly, id, self._config.tenant, first.signal.mode, step.now_ms)
        file = self._state.files[id] = CaseFile(case=case, strands=[], ledger=first.ledger)
        causes = ", ".join(cause_in_words(c, "en") for c in first.strand.causes)
        step.tell(file, "opened", f"{first.signal.name}: {causes}")
        return file

    def _usual(self, step: Step, strand: Strand) -> Ints:
        """Who failed ordinarily beside an anomaly, read once a step."""
        if strand.id not in step.usual:
            to_ms = self._state.frontier_ms if strand.ended_ms is None else strand.ended_ms
            from_ms = max(strand.onset_ms, to_ms - USUAL_MS)
            records = step.history.windows(from_ms - self._config.input.window_ms + 1, to_ms)
            known = [s for file in self._state.files.values() if file.unfinished for s in file.strands]
            known += [one.strand for one in step.new]
            step.usual[strand.id] = ordinary(strand, known, records, from_ms)
        return step.usual[strand.id]

    def _evidence(self, step: Step, file: CaseFile, strand: Strand, anomaly: Anomaly) -> None:
        """Pass the points on. One chart per signal: where two of its anomalies are in the case, the elder's."""
        same = [s for s in file.strands if s.signal == strand.signal]
        if next((s for s in same if not s.over), strand) is not strand:
            return
        case = file.case
        if anomaly.rewrite and len(same) == 1:
            step.out.rewritten.append((case.id, strand.signal))
        step.out.evidence.extend(
            EvidencePoint(tenant=case.tenant, case=case.id, signal=strand.signal, point=p) for p in anomaly.points
        )

    # --- people and deliveries ---

    def _delivered(self, step: Step, outcome: Delivered) -> None:
        for file in delivered(outcome, self._state.files, self._state.outgoing, step.now_ms, step.out):
            self._work.finish(step, file)

    def _fact(self, step: Step, fact: Fact) -> None:
        check_fact(fact, self._config)
        if self._state.facts.get(fact.id) == fact:
            message = f"fact {fact.id}: this has been told already; `tocsin fact list` shows it"
            raise UsageError(message)
        self._state.facts[fact.id] = fact
        step.out.controls.append(fact)
        self._annotate_all(step)

    def _withdrawn(self, step: Step, withdrawn: Withdrawn) -> None:
        """End a fact now; one that has not begun, or a deployment, was never one."""
        fact, now_ms = self._state.facts.get(withdrawn.fact), self._state.frontier_ms
        if fact is None or (fact.mutes and fact.until_ms <= now_ms):
            why = "no such fact" if fact is None else "it has ended"
            message = f"fact {withdrawn.fact}: {why}; `tocsin fact list` shows what is known"
            raise UsageError(message)
        del self._state.facts[fact.id]
        if fact.mutes and fact.from_ms < now_ms:
            self._state.facts[fact.id] = msgspec.structs.replace(fact, until_ms=now_ms)
        step.out.controls.append(withdrawn)
        for file in self._state.files.values():
            if file.unfinished and fact in file.case.facts:
                step.tell(file, fact.kind.value, f"ended: {fact.text}" if fact.text else "ended", withdrawn.by)
        self._annotate_all(step)

    def _annotate_all(self, step: Step) -> None:
        for file in self._state.files.values():
            if file.case.state is not CaseState.MERGED and self._work.annotate(step, file) != file.given:
                step.out.cases.append(file.case)
                file.given = file.case
