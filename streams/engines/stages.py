"""The engines as they run on many machines: each works off what it can see, and commits what it made with its place.

A `Counting` is one input partition's Counter, a `Watching` one signal's Watch, the `Desking` a tenant's Desk. They meet
in the store alone: windows' records and frontiers go from the Counters to the Watches, anomalies from the Watches to
the Desk, controls back. Who is woken when is the caller's affair; a step that finds nothing to do does nothing.

Promises
- The same partitioned log gives the same cases, ledger and notices as one process (`detector.pipeline`) gives.
- A step that was not committed is forgotten with the engine: `resume` begins at the last commit.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from detector.config import Config
from detector.counter.counter import Counted, Counter
from detector.counter.gate import NEVER, bytes_of
from detector.counter.record import WindowRecord
from detector.desk.records import Configured
from detector.errors import UsageError
from detector.events import Batch, Invalid
from detector.pack import pack, unpack
from detector.stages import Course, DeskLog, Effects, Recent, counted_as, step_watch, still_counted, tell_watch
from detector.watch.anomaly import Anomaly
from detector.watch.control import Control
from detector.watch.exceedance import watch_of
from streams.clock import Clock
from streams.engines.embedded import LETTER, LIVE_MS, in_recording
from streams.intake.quota import OVER, Quota
from streams.store import LIVE, Store
from streams.store.directory import CustomerDirectory
from streams.store.engines import COUNT, DESK, WATCH, Engines, Moved, Standing, Taken
from streams.store.values import Answer, Commit, InForce

WINDOWS = 32
"""So many windows with records are taken in one step at most: the loop turns, a restart repeats little."""


class Progress(msgspec.Struct, frozen=True):
    """What a Counter says beside its frontier."""

    live: bool = False
    """A record was read within minutes of its ingest time: from then on silence counts."""
    event_ms: int = -1
    """The newest event's time,"""
    entered_ms: int = -1
    """and when it entered."""
    ended: bool = False
    """Its input was worked off to the end, and what was parked is counted."""
    highest_ms: int = NEVER
    """End of its highest window with an event."""


class Counting:
    """One input partition's Counter."""

    def __init__(self, config: Config, topic: str, partition: int, quota: Quota | None = None) -> None:
        self.name = f"{COUNT}/{topic}/{partition}"
        self.source = f"{topic}/{partition}"
        self._config, self._partition = config, partition
        self.counter = Counter(config, partition)
        self.quota = quota
        self.says = Progress()
        self.next: int | None = None
        self.effects = Effects()
        self.epoch = 0
        self._committed: int | None = None
        self.dirty = False
        """Something has happened since the last commit."""

    def resume(self, taken: Taken) -> None:
        self.epoch, self._committed, self.next = taken.epoch, taken.next, taken.next
        self.counter, self.says = Counter(self._config, self._partition), Progress()
        self.effects, self.dirty = Effects(), False
        state: dict[str, Any] = {}
        if taken.next is not None:
            state = unpack(taken.data, dict)
            self.counter.restore(state["counter"], still_counted(self._config, state))
            self.says = unpack(taken.body, Progress)
        if self.quota is not None:
            self.quota.restore(state.get("quota"))

    def feed(self, batch: Batch, next_offset: int, ingest_ms: int) -> None:
        """Count a batch of this partition; `ingest_ms` is when its last record entered."""
        effects = Effects(records=batch.records, invalid=list(batch.invalid))
        effects.dropped.update(batch.dropped)
        if self.quota is not None and OVER in batch.dropped:
            limit = f"{self.quota.per_second:,} events a second (kafka.quota)"
            effects.warnings.append(
                f"{self._config.tenant}: over its quota of {limit}; what is beyond is dropped: {OVER}"
            )
        self._take(self.counter.feed(batch), effects)
        self.next, self.dirty = next_offset, True
        newest = int(batch.time_ms[batch.time_ms <= batch.ingest_ms].max(initial=-1))
        if len(batch.time_ms):
            live = self.says.live or 0 <= ingest_ms <= newest + LIVE_MS
            newer = newest > self.says.event_ms  # what is old says nothing of what time it is
            event_ms, entered_ms = (newest, ingest_ms) if newer else (self.says.event_ms, self.says.entered_ms)
            self.says = Progress(live=live, event_ms=event_ms, entered_ms=entered_ms)
        elif self.says.ended:
            self.says = msgspec.structs.replace(self.says, ended=False)

    def pass_over(self, next_offset: int) -> None:
        """Go on after what holds no record: transactions' markers, and what was aborted."""
        if self.next is None or next_offset > self.next:
            self.next, self.dirty = next_offset, True

    def tick(self, now_ms: int) -> None:
        """Let time pass, where that closes a window."""
        if self.counter.would_close(now_ms):
            self._take(self.counter.tick(now_ms), Effects())
            self.dirty = True

    def settle(self, end: int) -> None:
        """The input has ended here: what was parked is counted."""
        if not self.says.ended:
            self._take(self.counter.settle(), Effects())
            self.next = end if self.next is None else self.next
            self.says = msgspec.structs.replace(self.says, ended=True, highest_ms=self.counter.highest_ms)
            self.dirty = True

    def close_until(self, frontier_ms: int) -> None:
        if frontier_ms > self.counter.frontier_ms:
            self._take(self.counter.close_until(frontier_ms), Effects())
            self.dirty = True

    def _take(self, counted: Counted, effects: Effects) -> None:
        effects.applied += counted.applied
        effects.dropped.update(counted.dropped)
        effects.customers.update(counted.customers)
        effects.windows += counted.closed
        if counted.refused is not None:
            for i, position in enumerate(counted.refused.position.tolist()):
                data = bytes_of(counted.refused, i)
                effects.invalid.append(Invalid(position, "far-future", "$.time", len(data), data))
        self.effects.extend(effects)

    def moved(self) -> Moved:
        """Return where it stands now, to be committed."""
        assert self.next is not None
        state = {**counted_as(self._config), "counter": self.counter.state()}
        if self.quota is not None:
            state["quota"] = self.quota.state()
        until_ms = None if self.counter.frontier_ms == NEVER else self.counter.frontier_ms
        return Moved(self.name, self.epoch, self._committed, self.next, pack(state), until_ms, pack(self.says))

    def committed(self) -> None:
        self._committed, self.effects, self.dirty = self.next, Effects(), False


def flush(engines: Engines, stages: Iterable[Counting], at_ms: int) -> tuple[Effects, list[Counting]]:
    """Commit what some Counters have counted since the last time, together.

    Returns what was written, and of whom.

    Raises
    ------
    FencedError
        One of them was taken over: none of it was written.
    UnreachableError
        The store can't be written now: try again.
    """
    moved = [stage for stage in stages if stage.dirty]
    effects, sources = Effects(), list[str]()
    for stage in moved:
        effects.extend(stage.effects)
        sources += [stage.source] * len(stage.effects.invalid)
    if moved:
        engines.commit([stage.moved() for stage in moved], effects, Commit(sources=sources, at_ms=at_ms))
    for stage in moved:
        stage.committed()
    return effects, moved


def frontier_of(counts: Mapping[str, Standing], topic: str, partitions: int) -> int:
    """Return up to where all of an input's partitions have closed their windows; `NEVER` while one has not begun."""
    found = [counts.get(f"{COUNT}/{topic}/{partition}") for partition in range(partitions)]
    return min((NEVER if of is None or of.until_ms is None else of.until_ms for of in found), default=NEVER)


class _Windows:
    """The windows' records as an engine sees them: never beyond the one that it takes."""

    def __init__(self, engines: Engines, config: Config) -> None:
        self._engines, self._width_ms = engines, config.input.window_ms
        self.recent = Recent(engines.history)
        self.course = Course(self._width_ms)

    def resume(self, next_ms: int | None) -> None:
        self.recent = Recent(self._engines.history)
        self.course = Course(self._width_ms)
        self.course.next_ms = next_ms

    def ready(self, frontier_ms: int) -> bool:
        """Whether a window before the frontier is to be taken."""
        if self.course.next_ms is None:
            return bool(self._engines.windows_with_records(NEVER, frontier_ms, 1))
        return self.course.next_ms < frontier_ms

    def take(self, frontier_ms: int, step: Callable[[int, list[WindowRecord]], None]) -> int:
        """Take windows before the frontier, at most `WINDOWS` with records; returns how many."""
        from_ms = NEVER if self.course.next_ms is None else self.course.next_ms
        waiting = self._engines.windows_with_records(from_ms, frontier_ms, WINDOWS)
        if not self.course.begin(waiting):
            return 0
        if len(waiting) == WINDOWS:
            frontier_ms = waiting[-1] + self._width_ms
        taken = 0
        for window_ms in self.course.take(frontier_ms, waiting):
            self.recent.until_ms = window_ms + self._width_ms
            step(window_ms, list(self.recent.windows(window_ms, window_ms + self._width_ms)))
            taken += 1
        return taken


class Watching:
    """One signal's Watch, since its last commit."""

    def __init__(self, engines: Engines, config: Config, signal: str) -> None:
        self.name, self.signal = f"{WATCH}/{signal}", signal
        self._engines, self._config = engines, config
        self._windows = _Windows(engines, config)
        self.watch = watch_of(config, config.signal(signal))
        self._controls = 0
        self._epoch = 0
        self._committed: int | None = None
        self.found: list[tuple[int, str, list[Anomaly]]] = []
        """By window and signal; one for each window."""

    def resume(self, taken: Taken) -> None:
        self._epoch, self._committed = taken.epoch, taken.next
        self.watch, self._controls = watch_of(self._config, self._config.signal(self.signal)), 0
        next_ms = taken.next
        if next_ms is None:
            desk = self._engines.standings(DESK).get(DESK)
            next_ms = None if desk is None else desk.next  # a new signal is watched from now on
        else:
            state: dict[str, Any] = unpack(taken.data, dict)
            if self.signal in still_counted(self._config, state):
                self.watch.restore(state["watch"])
                self._controls = state["controls"]
        self._windows.resume(next_ms)
        self.found = []

    def step(self, frontier_ms: int) -> None:
        """Take what all partitions have closed, a number of windows at most."""
        if not self._windows.ready(frontier_ms):
            return
        for seq, control in self._engines.controls(self._controls):
            tell_watch(self._config, self.watch, control)
            self._controls = seq + 1

        def step(window_ms: int, records: list[WindowRecord]) -> None:
            self.found.append(
                (window_ms, self.signal, step_watch(self.watch, window_ms, records, self._windows.recent))
            )

        self._windows.take(frontier_ms, step)

    def moved(self) -> Moved:
        """Return where it stands now, to be committed."""
        next_ms = self._windows.course.next_ms
        assert next_ms is not None
        state = {**counted_as(self._config), "watch": self.watch.state(), "controls": self._controls}
        return Moved(self.name, self._epoch, self._committed, next_ms, pack(state))

    def committed(self) -> None:
        self._committed, self.found = self._windows.course.next_ms, []


def watched(engines: Engines, stages: Iterable[Watching], at_ms: int) -> int:
    """Commit what some Watches have taken since the last time, together; returns how many windows, over all of them.

    Raises
    ------
    FencedError
        One of them was taken over: none of it was written.
    UnreachableError
        The store can't be written now.
    """
    moved = [stage for stage in stages if stage.found]
    found = [one for stage in moved for one in stage.found]
    if moved:
        engines.commit([stage.moved() for stage in moved], Effects(), Commit(at_ms=at_ms), anomalies=found)
    for stage in moved:
        stage.committed()
    return len(found)


class Desking:
    """A tenant's Desk."""

    def __init__(self, engines: Engines, config: Config, clock: Clock) -> None:
        self.name = DESK
        self._engines, self._clock, self._written = engines, clock, config
        store: Store = engines.store
        self._config = config if store.mode == LIVE else in_recording(config)
        self.directory = CustomerDirectory(store, config.policy.channels)
        self._windows = _Windows(engines, config)
        self._log = self._new_log()
        self._epoch = 0
        self._committed: int | None = None

    def _new_log(self) -> DeskLog:
        return DeskLog(self._config, self._windows.recent, self.directory, self._tell)

    def _tell(self, control: Control) -> None:
        """It stands in the effects, and is committed with them."""

    def resume(self, taken: Taken) -> None:
        self._epoch, self._committed = taken.epoch, taken.next
        self._windows.resume(taken.next)
        self._log = self._new_log()
        if taken.next is not None:
            state: dict[str, Any] = unpack(taken.data, dict)
            still_counted(self._config, state)
            self._log.desk.restore(state["desk"])
            self._log.seq, self._log.at_ms, self._log.in_force = state["seq"], state["at_ms"], state["in_force"]
            self._windows.recent.until_ms = taken.next

    def frontier_ms(self) -> int:
        """Up to where every signal's Watch has taken the windows; `NEVER` while one has not begun."""
        watches = self._engines.standings(WATCH)
        places = [watches.get(f"{WATCH}/{signal.name}") for signal in self._config.signals]
        return min((NEVER if of is None else of.next for of in places), default=NEVER)

    def step(self) -> int:
        """Apply what people have said, take what every Watch has taken, and commit it; returns how many windows."""
        frontier_ms = self.frontier_ms()
        if self._committed is None and not self._windows.ready(frontier_ms):
            return 0
        out, answers = Effects(), list[Answer]()
        self._open_letters(out, answers)
        taken = self._take(frontier_ms, out) if self._windows.ready(frontier_ms) else 0
        if taken or answers:
            self._commit(out, answers)
        return taken

    def _take(self, frontier_ms: int, out: Effects) -> int:
        from_ms = self._windows.course.next_ms
        found: dict[int, list[Anomaly]] = self._engines.anomalies(NEVER if from_ms is None else from_ms, frontier_ms)

        def step(window_ms: int, records: list[WindowRecord]) -> None:
            self._log.configure(window_ms, out)
            out.closed += 1
            self._log.barrier(window_ms, found.get(window_ms, ()), out)

        return self._windows.take(frontier_ms, step)

    def _open_letters(self, out: Effects, answers: list[Answer]) -> None:
        for letter in self._engines.store.waiting():
            try:
                self._log.command(LETTER.decode(letter.data), self._clock.now_ms(), out)
            except UsageError as error:
                answers.append(Answer(letter.id, refused=str(error)))
            else:
                answers.append(Answer(letter.id))

    def _commit(self, out: Effects, answers: list[Answer]) -> None:
        next_ms = self._windows.course.next_ms
        assert next_ms is not None
        in_force = None
        for record in out.log:
            if isinstance(record.payload, Configured):
                in_force = InForce(record.payload.hash, msgspec.json.encode(self._written), record.at_ms)
        state = {
            **counted_as(self._config),
            "desk": self._log.desk.snapshot(),
            "seq": self._log.seq,
            "at_ms": self._log.at_ms,
            "in_force": self._log.in_force,
        }
        moved = Moved(self.name, self._epoch, self._committed, next_ms, pack(state))
        also = Commit(config=in_force, answers=answers, at_ms=self._clock.now_ms())
        self._engines.commit([moved], out, also, taken_until_ms=next_ms)
        self._committed = next_ms
