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

from detector.config import HOUR_MS, WEEK_MS, Config
from detector.counter.record import WindowRecord
from detector.desk.casefile import CaseFile
from detector.desk.cases import PATIENCE_MS, UNFINISHED, Trigger, advance, open_case, recovery_shown, relapse_of
from detector.desk.facts import KEPT_MS, check_fact, fact_in_words, facts_beside
from detector.desk.ledger import Ledger
from detector.desk.notices import Outgoing, begin_episode, delivered, look_again_ms, notify
from detector.desk.placing import Newcomer, place
from detector.desk.problems import USUAL_MS, Strand, ordinary, strand_of
from detector.desk.records import (
    Case,
    CaseState,
    Command,
    Configured,
    Delivered,
    DeskEffects,
    Directory,
    EvidencePoint,
    History,
    LogRecord,
    TimelineEntry,
    Verb,
    Verdict,
    WindowClosed,
)
from detector.desk.wording import cause_in_words
from detector.errors import UsageError
from detector.events import Ints
from detector.pack import pack, unpack
from detector.signals import Mode, Signal
from detector.watch.anomaly import Anomaly, Phase
from detector.watch.control import Fact, FactKind, Judged, Withdrawn
from detector.watch.explanation import new_level_in_words

LOST_MS = HOUR_MS
"""Watch speaks of an anomaly every window: after this long (and ten windows) without a word it has let go of it."""
LOST_WINDOWS = 10
CLOSED_MS = 8 * WEEK_MS
"""As long as the windows' records: an anomaly heard of again after its case left memory does not get that case's id."""
PAST_CASES = 500
"""So many resolved cases that have left memory wait for a late verdict, for as long as `CLOSED_MS`."""
FORMAT = 1
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
    "signal-lost",
    "new-level",
    *(kind.value for kind in FactKind),
)
"""What a line of a case's timeline may be."""


class _State(msgspec.Struct):
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


class _Step:
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


class Desk:
    """One tenant's Desk."""

    def __init__(self, config: Config) -> None:
        self._state = _State()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Put a configuration in force; the next step lets go of what it no longer watches."""
        self._config = config
        self._signals = {s.name: s for s in config.signals}

    def snapshot(self) -> bytes:
        """All state, packed: `restore` continues as if nothing had happened."""
        for file in self._state.files.values():
            file.ledger.trim()
        return pack(self._state)

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot."""
        self._state = unpack(data, _State)

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
        step = _Step(record, history, directory)
        match record.payload:
            case WindowClosed() as closed:
                self._window_closed(step, closed)
            case Command() as command:
                self._command(step, command)
            case Delivered() as outcome:
                self._delivered(step, outcome)
            case Fact() as fact:
                self._fact(step, fact)
            case Withdrawn() as withdrawn:
                self._withdrawn(step, withdrawn)
            case Configured():
                for file in list(self._state.files.values()):
                    if self._let_go(step, file, None):
                        self._work_off(step, file, None)
        return step.out

    # --- barrier ---

    def _window_closed(self, step: _Step, closed: WindowClosed) -> None:
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
            self._work_off(step, file, records if fresh else None)
        gone = {key for key, file in state.files.items() if file.gone(step.now_ms)}
        if gone:
            gone -= {n.case for n in state.outgoing.pending.values()}  # their counters still change
            self._remember([f.case for k, f in state.files.items() if k in gone], step.now_ms)
            state.files = {k: f for k, f in state.files.items() if k not in gone}
            state.closed.update({a: step.now_ms for a, k in state.home.items() if k in gone})
            state.closed = {a: at for a, at in state.closed.items() if at > step.now_ms - CLOSED_MS}
            state.home = {a: k for a, k in state.home.items() if k not in gone}
        if state.facts:
            oldest_ms = min([to_ms, *(s.onset_ms for file in state.files.values() for s in file.strands)])
            state.facts = {k: f for k, f in state.facts.items() if f.until_ms > oldest_ms - KEPT_MS}

    def _let_go(self, step: _Step, file: CaseFile, window_ms: int | None) -> bool:
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

    def _anomaly(self, step: _Step, file: CaseFile, anomaly: Anomaly) -> None:
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

    def _comes_back(self, step: _Step, file: CaseFile, strand: Strand, anomaly: Anomaly) -> bool:
        """Open a finished case again whose anomaly relapsed, unless it was dismissed; whether it did."""
        again = anomaly.phase in (Phase.OPENED, Phase.RELAPSED) or (strand.over and anomaly.phase is Phase.UPDATED)
        if file.case.state is not CaseState.RESOLVED or not again:
            return False
        self._reopen(step, file, since_ms=file.finished_ms)
        return True

    def _reopen(self, step: _Step, file: CaseFile, since_ms: int | None) -> None:
        after = advance(file.case, Trigger.REOPENED, step.now_ms)
        self._notify(step, file, held_for=after.state)
        begin_episode(file)
        file.case = after
        file.finished_ms = None
        file.episode_from, file.episode_since_ms = len(file.strands), since_ms
        step.tell(file, "reopened", f"episode {file.case.episode}")

    def _newcomer(self, step: _Step, anomaly: Anomaly, signal: Signal) -> Newcomer:
        strand, ledger = strand_of(anomaly, signal), Ledger()
        self._rebuild(step, ledger, [strand])
        return Newcomer(anomaly, signal, strand, ledger, ledger.hit_by(0))

    def _place(self, step: _Step, new: Sequence[Newcomer]) -> None:
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

    def _open(self, step: _Step, first: Newcomer) -> CaseFile:
        id = first.anomaly.id
        if id in self._state.closed:
            id = hashlib.blake2b(f"{id}/{first.anomaly.window_ms}".encode(), digest_size=6).hexdigest()
        case = open_case(first.anomaly, id, self._config.tenant, first.signal.mode, step.now_ms)
        file = self._state.files[id] = CaseFile(case=case, strands=[], ledger=first.ledger)
        causes = ", ".join(cause_in_words(c, "en") for c in first.strand.causes)
        step.tell(file, "opened", f"{first.signal.name}: {causes}")
        return file

    def _usual(self, step: _Step, strand: Strand) -> Ints:
        """Who failed ordinarily beside an anomaly, read once a step."""
        if strand.id not in step.usual:
            to_ms = self._state.frontier_ms if strand.ended_ms is None else strand.ended_ms
            from_ms = max(strand.onset_ms, to_ms - USUAL_MS)
            records = step.history.windows(from_ms - self._config.input.window_ms + 1, to_ms)
            known = [s for file in self._state.files.values() if file.unfinished for s in file.strands]
            known += [one.strand for one in step.new]
            step.usual[strand.id] = ordinary(strand, known, records, from_ms)
        return step.usual[strand.id]

    def _evidence(self, step: _Step, file: CaseFile, strand: Strand, anomaly: Anomaly) -> None:
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

    # --- one case ---

    def _work_off(self, step: _Step, file: CaseFile, records: list[WindowRecord] | None) -> None:
        """Bring ledger, lifecycle and notices of a case up to date, and give out what changed.

        `records` are the windows that the ledger lacks; None: read them.
        """
        changed, touched = file.case.id in step.changed, False
        if file.follows:
            ledger, to_ms = file.ledger, self._state.frontier_ms
            if changed:
                self._rebuild(step, ledger, file.strands)
            elif ledger.next_ms < to_ms:
                if records is None:
                    records = list(step.history.windows(ledger.next_ms, to_ms))
                touched = ledger.follow(records, file.strands, to_ms, self._config.input.people_ms)
            if file.unfinished or changed:
                ledger.weigh(file.strands)
        step.changed.discard(file.case.id)
        if file.unfinished or changed or touched or step.now_ms >= file.look_ms:
            self._move(step, file)
            self._finish(step, file)

    def _rebuild(self, step: _Step, ledger: Ledger, strands: Sequence[Strand]) -> None:
        to_ms = self._state.frontier_ms
        if not any(s.names_people for s in strands):
            ledger.next_ms = to_ms
            return
        onset_ms = min(s.onset_ms for s in strands)
        windows = step.history.windows(onset_ms - self._config.input.window_ms + 1, to_ms)
        ledger.rebuild(windows, strands, to_ms, self._config.input.people_ms)

    def _move(self, step: _Step, file: CaseFile) -> None:
        """Move an unfinished case along its lifecycle, as Watch and its customers say."""
        if not file.unfinished:
            return
        strands = file.strands
        calm = all(s.phase in (Phase.RECOVERING, Phase.ENDED) for s in strands)
        if not calm:
            if file.case.state is CaseState.RECOVERING:
                file.case = advance(file.case, relapse_of(file.case), step.now_ms)
                step.tell(file, "relapsed")
            return
        shown = self._recovery_shown(file)
        normal = self._became_normal(file)
        waited = step.now_ms - max(s.said_ms for s in strands) >= PATIENCE_MS
        if file.all_over and (shown or normal or waited or any(s.lost for s in strands)):
            file.case = advance(file.case, Trigger.SETTLED, step.now_ms)
            file.finished_ms = step.now_ms
            step.tell(file, "resolved", "" if shown or normal else "no customer who was hit has shown it")
        elif shown and not normal and file.case.state is not CaseState.RECOVERING:
            file.case = advance(file.case, Trigger.RECOVERING, step.now_ms)
            step.tell(file, "recovering")

    def _recovery_shown(self, file: CaseFile) -> bool:
        """Whether the customers show it. Where nobody can be named Watch's word suffices."""
        normal = file.ledger.normal(file.normal_until_ms())
        if not (file.ledger.active & ~normal).any():
            return True
        ends = [s.ended_ms for s in file.strands if s.names_people and s.ended_ms is not None]
        return recovery_shown(*file.ledger.recovery(max(ends, default=self._state.frontier_ms), normal))

    def _became_normal(self, file: CaseFile) -> bool:
        """Whether all that was left of the problem has become normal: there is no recovery to wait for."""
        normal = file.ledger.normal(file.normal_until_ms())
        since_ms = file.episode_onset_ms
        said = any(s.new_level is not None and (s.ended_ms or 0) > since_ms for s in file.strands)
        return said and not (file.ledger.active & ~normal).any()

    def _finish(self, step: _Step, file: CaseFile) -> None:
        """Decide on notices and give out the rows that changed."""
        before = file.case
        file.refresh(self._signals.get)
        told, held = self._notify(step, file)
        file.refresh(self._signals.get)
        case = self._annotate(step, file)
        if file.given is not None and case.severity is not before.severity:
            step.tell(file, "severity-changed", f"{before.severity.value} → {case.severity.value}")
        if case.contacts and not before.contacts:
            step.tell(file, "first-contact")
        if told or held:
            step.tell(file, "notices", f"told {told}, held {held}")
        step.out.ledger.extend(file.ledger.changed(case.tenant, case.id))
        if case != file.given:
            step.out.cases.append(case)
            file.given = case
        file.looked_ms = step.now_ms
        file.look_ms = look_again_ms(file)

    def _annotate(self, step: _Step, file: CaseFile) -> Case:
        """Put beside the case what people know that may explain it; what is new of it is told."""
        if not (self._state.facts or file.case.facts):
            return file.case
        found = facts_beside(self._state.facts.values(), file.strands, self._state.frontier_ms)
        known = {fact.id for fact in file.case.facts}
        for fact in found:
            if fact.id not in known:
                onset_ms = min(s.onset_ms for s in file.strands)
                step.tell(file, fact.kind.value, fact_in_words(fact, onset_ms), fact.by)
        if found != file.case.facts:
            file.case = msgspec.structs.replace(file.case, facts=found)
        return file.case

    def _notify(self, step: _Step, file: CaseFile, held_for: CaseState | None = None) -> tuple[int, int]:
        policy, outgoing = self._config.policy, self._state.outgoing
        return notify(file, policy, step.directory, outgoing, step.now_ms, step.out, held_for)

    # --- people and deliveries ---

    def _command(self, step: _Step, command: Command) -> None:
        past = self._state.past.get(command.case)
        if past is not None and command.verb is not Verb.MERGE:
            file = CaseFile(case=self._after(past, command, step.now_ms), strands=[], ledger=Ledger())
            self._remember([file.case], step.now_ms)
            self._judged(step, file, command)
            step.out.cases.append(file.case)
            return
        file = self._file(command.case)
        if command.verb is Verb.MERGE:
            self._merge(step, file, command)
            return
        file.case = self._after(file.case, command, step.now_ms)
        if file.finished:
            self._close(step, file)
        self._judged(step, file, command)
        self._finish(step, file)

    def _after(self, case: Case, command: Command, now_ms: int) -> Case:
        """Return the case as the command leaves it."""
        verdict = command.verdict
        if command.verb is Verb.ACKNOWLEDGE:
            return advance(case, Trigger.ACKNOWLEDGED, now_ms)
        if command.verb is Verb.RESOLVE:
            return self._resolved(case, verdict, now_ms)
        after = advance(case, Trigger.DISMISSED, now_ms)
        if verdict not in (Verdict.NOT_A_PROBLEM, Verdict.EXPECTED):
            found = verdict.value if verdict else "none"
            message = f"case {case.id}: dismissing takes a verdict, not-a-problem or expected; found {found}"
            raise UsageError(message)
        return msgspec.structs.replace(after, verdict=verdict)

    def _judged(self, step: _Step, file: CaseFile, command: Command) -> None:
        """Tell the command in the case's story, and its verdict to the Watches."""
        verdict = command.verdict
        if verdict is not None and command.verb is not Verb.ACKNOWLEDGE:
            # What was expected did happen: it is no false case, and no measure of what chance can do either.
            real = verdict is not Verdict.NOT_A_PROBLEM
            step.out.controls += [Judged(anomaly, real) for anomaly in file.case.anomalies]
        what = file.case.state.value if file.finished else "acknowledged"
        step.tell(file, what, verdict.value if verdict else "", command.by)

    def _remember(self, cases: Sequence[Case], now_ms: int) -> None:
        past = self._state.past | {c.id: c for c in cases}
        resolved = (c for c in past.values() if c.state is CaseState.RESOLVED and c.detected_ms > now_ms - CLOSED_MS)
        kept = sorted(resolved, key=lambda c: (c.detected_ms, c.id))
        self._state.past = {c.id: c for c in kept[-PAST_CASES:]}

    def _file(self, case: str) -> CaseFile:
        file = self._state.files.get(case)
        if file is None:
            message = (
                f"case {case}: no such case, or it was finished more than a day ago; `tocsin cases` lists the open ones"
            )
            raise UsageError(message)
        return file

    def _resolved(self, case: Case, verdict: Verdict | None, now_ms: int) -> Case:
        after = advance(case, Trigger.RESOLVED, now_ms)
        if verdict is Verdict.NOT_A_PROBLEM:
            message = f"case {case.id}: what was no problem is dismissed, not resolved"
            raise UsageError(message)
        if verdict is None and case.state is CaseState.RESOLVED:
            message = f"case {case.id}: it is resolved already; give a verdict (real or expected) to add one"
            raise UsageError(message)
        return msgspec.structs.replace(after, verdict=verdict)

    def _close(self, step: _Step, file: CaseFile) -> None:
        """End what a person has finished: what Watch says of it from here on changes nothing, unless it relapses."""
        file.finished_ms = step.now_ms if file.finished_ms is None else file.finished_ms
        for strand in file.strands:
            if strand.ended_ms is None:
                strand.ended_ms = self._state.frontier_ms

    def _merge(self, step: _Step, file: CaseFile, command: Command) -> None:
        """Move a case's anomalies and customers into another one, which goes on."""
        if command.into is None or command.into == command.case:
            message = (
                f"case {command.case}: merging takes another case to go on (`into`), found {command.into or 'none'}"
            )
            raise UsageError(message)
        target = self._file(command.into)
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
        self._finish(step, file)
        target.ledger.adopt(file.ledger, len(target.strands), target.case.episode)
        target.strands.extend(msgspec.structs.replace(s) for s in file.strands)
        for strand in file.strands:
            self._state.home[strand.id] = target.case.id
            strand.phase = Phase.ENDED
        file.finished_ms = step.now_ms
        file.ledger.empty()
        self._finish(step, file)
        step.changed.add(target.case.id)
        self._work_off(step, target, None)

    def _delivered(self, step: _Step, outcome: Delivered) -> None:
        waiting = self._state.outgoing.pending.get(outcome.notice)
        target = delivered(outcome, self._state.files, self._state.outgoing, step.out)
        if waiting is None or target is None:
            return
        origin = self._state.files[waiting.case]
        for file in (origin,) if origin is target else (origin, target):
            self._finish(step, file)

    def _fact(self, step: _Step, fact: Fact) -> None:
        check_fact(fact, self._config)
        if self._state.facts.get(fact.id) == fact:
            message = f"fact {fact.id}: this has been told already; `tocsin fact list` shows it"
            raise UsageError(message)
        self._state.facts[fact.id] = fact
        step.out.controls.append(fact)
        self._annotate_all(step)

    def _withdrawn(self, step: _Step, withdrawn: Withdrawn) -> None:
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

    def _annotate_all(self, step: _Step) -> None:
        for file in self._state.files.values():
            if file.case.state is not CaseState.MERGED and self._annotate(step, file) != file.given:
                step.out.cases.append(file.case)
                file.given = file.case
