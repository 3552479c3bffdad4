"""One case in hand: its ledger, its lifecycle as Watch and its customers say, its notices, the rows that changed."""

from collections.abc import Sequence

import msgspec

from detector.config import WEEK_MS, Config
from detector.counter.record import WindowRecord
from detector.desk.approval import why_asked
from detector.desk.casefile import CaseFile
from detector.desk.cases import PATIENCE_MS, Trigger, advance, recovery_shown, relapse_of
from detector.desk.facts import fact_in_words, facts_beside
from detector.desk.ledger import Ledger
from detector.desk.notices import Round, look_again_ms, notify
from detector.desk.problems import Strand
from detector.desk.records import Approval, Case, CaseState
from detector.desk.state import State, Step
from detector.errors import UsageError
from detector.events import Ints
from detector.watch.anomaly import Phase

CLOSED_MS = 8 * WEEK_MS
"""As long as the windows' records: an anomaly heard of again after its case left memory does not get that case's id."""
PAST_CASES = 500
"""So many resolved cases that have left memory wait for a late verdict, for as long as `CLOSED_MS`."""


class Casework:
    """What is done to one case at a time, whatever the record was."""

    def __init__(self, state: State, config: Config) -> None:
        self.state, self.config = state, config
        self.signals = {s.name: s for s in config.signals}
        self.stakes = {s.name: s.stake for s in config.signals}

    def file(self, case: str) -> CaseFile:
        """Return a case in memory.

        Raises
        ------
        UsageError
            There is none of that id.
        """
        file = self.state.files.get(case)
        if file is None:
            message = (
                f"case {case}: no such case, or it was finished more than a day ago; `tocsin cases` lists the open ones"
            )
            raise UsageError(message)
        return file

    def remember(self, cases: Sequence[Case], now_ms: int) -> None:
        """Keep the rows of cases that leave memory, of the resolved ones: a verdict may still come."""
        past = self.state.past | {c.id: c for c in cases}
        resolved = (c for c in past.values() if c.state is CaseState.RESOLVED and c.detected_ms > now_ms - CLOSED_MS)
        kept = sorted(resolved, key=lambda c: (c.detected_ms, c.id))
        self.state.past = {c.id: c for c in kept[-PAST_CASES:]}

    def work_off(self, step: Step, file: CaseFile, records: list[WindowRecord] | None) -> None:
        """Bring ledger, lifecycle and notices of a case up to date, and give out what changed.

        `records` are the windows that the ledger lacks; None: read them.
        """
        changed, touched = file.case.id in step.changed, False
        if file.follows:
            ledger, to_ms = file.ledger, self.state.frontier_ms
            if changed:
                self.rebuild(step, ledger, file.strands)
            elif ledger.next_ms < to_ms:
                if records is None:
                    records = list(step.history.windows(ledger.next_ms, to_ms))
                touched = ledger.follow(records, file.strands, to_ms, self.config.input.people_ms)
            if file.unfinished or changed:
                ledger.weigh(file.strands)
        step.changed.discard(file.case.id)
        if file.unfinished or changed or touched or step.now_ms >= file.look_ms:
            self.move(step, file)
            self.finish(step, file)

    def rebuild(self, step: Step, ledger: Ledger, strands: Sequence[Strand]) -> None:
        to_ms = self.state.frontier_ms
        if not any(s.names_people for s in strands):
            ledger.next_ms = to_ms
            return
        onset_ms = min(s.onset_ms for s in strands)
        windows = step.history.windows(onset_ms - self.config.input.window_ms + 1, to_ms)
        ledger.rebuild(windows, strands, to_ms, self.config.input.people_ms)

    def move(self, step: Step, file: CaseFile) -> None:
        """Move an unfinished case along its lifecycle, as Watch and its customers say."""
        if not file.unfinished:
            return
        strands = file.strands
        calm = all(s.phase in (Phase.RECOVERING, Phase.ENDED) for s in strands)
        if not calm:
            if file.case.state is CaseState.RECOVERING:
                file.case = advance(file.case, relapse_of(file.case), step.now_ms)
                file.asked_ms = None
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
        return recovery_shown(*file.ledger.recovery(max(ends, default=self.state.frontier_ms), normal))

    def _became_normal(self, file: CaseFile) -> bool:
        """Whether all that was left of the problem has become normal: there is no recovery to wait for."""
        normal = file.ledger.normal(file.normal_until_ms())
        since_ms = file.episode_onset_ms
        said = any(s.new_level is not None and (s.ended_ms or 0) > since_ms for s in file.strands)
        return said and not (file.ledger.active & ~normal).any()

    def finish(self, step: Step, file: CaseFile, also: Sequence[tuple[int, Ints]] = ()) -> None:
        """Decide on notices and give out the rows that changed; `also` are rows to be decided on beside the others."""
        before = file.case
        file.refresh(self.signals.get)
        self._ask(step, file)
        told, held = self.notify(step, file)
        if also:
            more = self.notify(step, file, also)
            told, held = told + more[0], held + more[1]
        self._ask(step, file)
        file.refresh(self.signals.get)
        case = self.annotate(step, file)
        if file.given is not None and case.severity is not before.severity:
            step.tell(file, "severity-changed", f"{before.severity.value} → {case.severity.value}")
        if case.first_contact_ms is not None and before.first_contact_ms is None:
            step.tell(file, "first-contact")
        if told or held:
            step.tell(file, "notices", f"told {told}, held {held}")
        step.out.ledger.extend(file.ledger.changed(case.tenant, case.id))
        if case != file.given:
            step.out.cases.append(case)
            file.given = case
        file.looked_ms = step.now_ms
        file.look_ms = look_again_ms(file)

    def annotate(self, step: Step, file: CaseFile) -> Case:
        """Put beside the case what people know that may explain it; what is new of it is told."""
        if not (self.state.facts or file.case.facts):
            return file.case
        found = facts_beside(self.state.facts.values(), file.strands, self.state.frontier_ms)
        known = {fact.id for fact in file.case.facts}
        for fact in found:
            if fact.id not in known:
                onset_ms = min(s.onset_ms for s in file.strands)
                step.tell(file, fact.kind.value, fact_in_words(fact, onset_ms), fact.by)
        if found != file.case.facts:
            file.case = msgspec.structs.replace(file.case, facts=found)
        return file.case

    def _ask(self, step: Step, file: CaseFile) -> None:
        """Ask a person, where the case's customers may not be told without one."""
        why = why_asked(file, self.config.policy)
        if why:
            file.case = msgspec.structs.replace(file.case, approval=Approval.NEEDED)
            step.tell(file, "approval-needed", why)

    def notify(
        self,
        step: Step,
        file: CaseFile,
        chosen: Sequence[tuple[int, Ints]] | None = None,
        state: CaseState | None = None,
    ) -> tuple[int, int]:
        """Decide on whose time has come; how many were told and how many held (`detector.desk.notices.notify`)."""
        policy, stakes = self.config.policy, self.stakes
        return notify(
            file, Round(policy, stakes, step.directory, self.state.outgoing, step.now_ms), step.out, chosen, state
        )
