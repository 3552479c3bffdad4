"""The embedded engine: sources → decoder → pipeline → store, in one process.

Promises
- What a step brought, how far it read and the state to go on from are committed together; between two commits nothing
  leaves the process. A run that is cut off anywhere goes on from its last commit, and ends with the same results.
- How often it commits and how the input is cut into blocks change nothing but the speed.
- Only one runner works on a store (`streams.engines.lock`), and the store's fence stops any that slips by.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from detector.config import MINUTE_MS, Config
from detector.desk.records import Command, Configured
from detector.errors import TocsinError, UsageError
from detector.events import Batch
from detector.pack import pack, unpack
from detector.pipeline import Effects, Pipeline, Told
from detector.watch.control import Fact, Withdrawn
from streams.clock import Clock
from streams.engines.lock import RunnerActiveError, only_runner
from streams.intake.files import Block, RecordDecoder
from streams.store import LIVE, Advance, Commit, Snapshot, Store
from streams.store.directory import CustomerDirectory
from streams.store.engines import kafka_input
from streams.store.history import StoreHistory
from streams.store.values import Answer, InForce, Waiting

COMMIT_S = 2.0
COMMIT_ROWS = 100_000
"""So many rows waiting are committed at once, however little time has passed."""

LIVE_MS = 5 * MINUTE_MS

INVALID_SHARE = 0.9
INVALID_RECORDS = 1_000

LETTER = msgspec.msgpack.Decoder(Told)
"""Reads what lies in a store's inbox."""


Wish = Command | Fact | Withdrawn
"""What people say."""


class TooManyInvalidError(TocsinError):
    """Nearly nothing of the input is an event: the wrong file, or the wrong format."""


class FilePlace(msgspec.Struct, frozen=True):
    """What is stored with a file's offset: by what it is known, and the decoder's state there."""

    identity: bytes
    decoder: bytes


@dataclass(frozen=True)
class Entry:
    """A place in the live log."""

    source: str
    next: int


class Kept(msgspec.Struct, frozen=True):
    """What a snapshot holds: the pipeline's state, and what stands before it."""

    pipeline: bytes
    partitions: int = 1
    live: bool = False
    """A record was read within `LIVE_MS` of its ingest time: from then on silence counts."""
    event_ms: int = -1
    """The newest event time of a live source, and when it entered."""
    entered_ms: int = -1


class _Recording(Config, frozen=True, kw_only=True):
    """A configuration as it works in a recording: nothing is sent. It goes by the hash of what was written."""

    written: str

    @property
    def hash(self) -> str:
        return self.written


def in_recording(config: Config) -> Config:
    """Return the configuration that a recording runs on: whatever is to be sent is delivered in simulation."""
    parts = {name: getattr(config, name) for name in config.__struct_fields__}
    return _Recording(**{**parts, "policy": msgspec.structs.replace(config.policy, send=False), "written": config.hash})


@dataclass(frozen=True)
class Step:
    """What a block brought, for whoever watches the run."""

    source: str
    next: int
    effects: Effects


@dataclass
class _Pending:
    """What is not committed yet."""

    effects: Effects = field(default_factory=Effects)
    sources: list[str] = field(default_factory=list)
    advances: dict[str, Advance] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    retried: list[int] = field(default_factory=list)
    worked_off: int = 0

    @property
    def rows(self) -> int:
        desk = self.effects.desk
        return len(desk.ledger) + len(desk.notices) + len(desk.evidence) + len(self.effects.customers)


class Runner:
    """One tenant's run on a store.  Hold `only_runner` around it.

    In a recording nothing is queued for sending, whatever `config` says: a Send's outcome is `simulated`.

    Parameters
    ----------
    watch
        Called after every block.
    """

    def __init__(
        self,
        store: Store,
        config: Config,
        decoder: RecordDecoder | None,
        clock: Clock,
        *,
        partitions: int = 1,
        learn_only: bool = False,
        commit_s: float = COMMIT_S,
        watch: Callable[[Step], None] | None = None,
    ) -> None:
        self.store, self.config, self.partitions = store, config, partitions
        self.directory = CustomerDirectory(store, config.policy.channels)
        self._decoder, self._clock, self._commit_s, self._watch = decoder, clock, commit_s, watch
        effective = config if store.mode == LIVE else in_recording(config)
        self.pipeline = Pipeline(
            effective, StoreHistory(store), self.directory, partitions=partitions, learn_only=learn_only
        )
        self.live = False
        self._event_ms = self._entered_ms = -1
        self.ended = False
        """The input's end was reached: every window is closed."""
        self.warnings: list[str] = []
        self.committed: Callable[[Effects], None] | None = None
        """Called with what each commit wrote."""
        self.lenient = False
        """Go on where nearly nothing is an event: one bad sender must not stop the others."""
        self._pending = _Pending()
        self._dirty = False
        """Something has happened since the last commit."""
        self._places: dict[str, tuple[int, bytes]] = {}
        self._recent: deque[tuple[int, int]] = deque()
        self._recent_records = self._recent_invalid = 0
        self._resume()
        self.committed_s = clock.monotonic_s()

    def _resume(self) -> None:
        """Take up the state of the last commit."""
        self.store.join()
        self._places = {s: (position.next, position.detail) for s, position in self.store.positions().items()}
        snapshot = self.store.snapshot()
        if snapshot is None:
            return
        kept = unpack(snapshot.data, Kept)
        if kept.partitions != self.partitions:
            message = (
                f"--partitions: expected {kept.partitions} as at this store's first run, found {self.partitions}; "
                "give that number or another --db"
            )
            raise UsageError(message)
        self.pipeline.restore(kept.pipeline)
        self.ended, self.live = snapshot.ended, kept.live
        self._event_ms, self._entered_ms = kept.event_ms, kept.entered_ms

    def file_places(self) -> dict[str, tuple[FilePlace, int]]:
        """Return how far each file was read, with what is not committed yet."""
        found = {source: (unpack(detail, FilePlace), at) for source, (at, detail) in self._places.items() if detail}
        return {source: (place, at) for source, (place, at) in found.items() if place.identity}

    def note(self, advance: Advance) -> None:
        """Take notice of how far a file was read into the live log: that is committed already."""
        self._places[advance.source] = (advance.new, advance.detail)

    def entry(self, source: str) -> tuple[int, bytes] | None:
        """Return how far the live log was worked off, and the decoder's state there; None before the first time."""
        found = self._places.get(source)
        return None if found is None else (found[0], unpack(found[1], FilePlace).decoder)

    # --- in -------------------------------------------------------------------------------------------------------

    def feed(self, block: Block, *, ingest_ms: int = -1, entry: Entry | None = None) -> Effects:
        """Take a block of a source.

        Parameters
        ----------
        ingest_ms
            When it entered; -1 in a recording.
        entry
            Where it stands in the live log, whose position then advances instead of the file's.

        Raises
        ------
        TooManyInvalidError
            Nearly all of the last thousand records are no events; what came before is committed.
        """
        assert self._decoder is not None, "a runner for commands reads nothing"
        batch = block.batch(self._decoder, ingest_ms)
        effects = self.pipeline.feed(batch)
        self.ended = False
        self._take(effects, block.source)
        if entry is None:
            place = FilePlace(block.identity.encode(), self._decoder.state)
            self.advance(block.source, block.next_position, pack(place))
        else:
            self._work_off(entry)
            self._note_live(batch, ingest_ms)
        if self._watch is not None:
            self._watch(Step(block.source, block.next_position, effects))
        self._judge(block.source, batch)
        return effects

    def retry(self, number: int, source: str, position: int, data: bytes) -> Effects | None:
        """Take a dead letter in that is an event now; None where it is still none."""
        assert self._decoder is not None, "a runner for commands reads nothing"
        batch = self._decoder.decode(data, position)
        if batch.invalid or not batch.records or self._still_far(batch):
            return None
        effects = self.pipeline.feed(batch)
        effects.invalid = [
            msgspec.structs.replace(record, size=len(data), data=data)
            if record.position == position and not record.size
            else record
            for record in effects.invalid
        ]
        self._take(effects, source)
        self._pending.retried.append(number)
        return effects

    def _still_far(self, batch: Batch) -> bool:
        """Whether an event lies as far ahead of all that was read as a leap: alone, it would only wait again."""
        read_ms = self.pipeline.at_ms
        return bool(read_ms and (batch.time_ms > read_ms + self.config.input.leap_ms).any())

    def _note_live(self, batch: Batch, ingest_ms: int) -> None:
        if not len(batch.time_ms):
            return
        newest = int(batch.time_ms[batch.time_ms <= ingest_ms].max(initial=-1))
        self.live = self.live or ingest_ms - newest <= LIVE_MS
        if newest > self._event_ms:  # what is old says nothing of what time it is
            self._event_ms, self._entered_ms = newest, ingest_ms

    def _work_off(self, entry: Entry) -> None:
        assert self._decoder is not None, "a runner for commands reads nothing"
        self.advance(entry.source, entry.next, pack(FilePlace(b"", self._decoder.state)))
        self._pending.worked_off = entry.next

    def event_now_ms(self, now_ms: int) -> int | None:
        """Return what time it is for a live source: its newest event's, and what has passed since that one entered.

        A source that is always some minutes behind stays so, and none of its events come late by it; where nothing
        comes at all, time goes on. None before the first event, and where the source is not live.
        """
        if not self.live or self._event_ms < 0:
            return None
        return min(now_ms, self._event_ms + max(0, now_ms - self._entered_ms))

    def tick(self, now_ms: int, entry: Entry) -> Effects:
        """Let time pass on a live source, as a record of the live log."""
        effects = self.pipeline.tick(now_ms)
        self._take(effects, entry.source)
        self._work_off(entry)
        if self._watch is not None:
            self._watch(Step(entry.source, entry.next, effects))
        return effects

    def advance(self, source: str, next_position: int, detail: bytes = b"") -> None:
        """Note how far a source was read; it is committed with all that came before."""
        old = self._pending.advances.get(source)
        committed = self._places.get(source)
        first = old.old if old is not None else None if committed is None else committed[0]
        self._pending.advances[source] = Advance(source, first, next_position, detail)
        self._places[source] = (next_position, detail)
        self._dirty = True

    def end(self) -> None:
        """Close every window: the input has ended.  Adds nothing where it had ended already."""
        if not self.ended:
            effects = self.pipeline.end()
            self.ended = True
            self._take(effects, "")
            if self._watch is not None:
                self._watch(Step("", 0, effects))
        self.commit()

    def _take(self, effects: Effects, source: str) -> None:
        self._pending.sources += [source] * len(effects.invalid)
        self._pending.effects.extend(effects)
        self.warnings += effects.warnings
        self._dirty = True

    def _judge(self, source: str, batch: Batch) -> None:
        """Stop where nearly nothing is an event any more."""
        self._recent.append((batch.records, len(batch.invalid)))
        self._recent_records += batch.records
        self._recent_invalid += len(batch.invalid)
        while self._recent and self._recent_records - self._recent[0][0] >= INVALID_RECORDS:
            records, wrong = self._recent.popleft()
            self._recent_records -= records
            self._recent_invalid -= wrong
        few = self._recent_records < INVALID_RECORDS or self._recent_invalid <= INVALID_SHARE * self._recent_records
        if self.lenient or few:
            return
        reasons = Counter(record.reason for record in batch.invalid).most_common(1)
        self.commit()
        message = (
            f"{source}: {self._recent_invalid:,} of the last {self._recent_records:,} records are no events "
            f"(most are {reasons[0][0]}); is this the right file and --format? What was read so far is kept, "
            "`tocsin dead` shows the refused records"
        )
        raise TooManyInvalidError(message)

    # --- out ------------------------------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether some time has passed since the last commit, or much is waiting."""
        passed = self._clock.monotonic_s() - self.committed_s >= self._commit_s
        return passed or self._pending.rows >= COMMIT_ROWS

    @property
    def shows(self) -> bool:
        """Whether something waits to be committed that people look at: cases, notices."""
        desk = self._pending.effects.desk
        return bool(desk.cases or desk.notices)

    def commit_when_due(self) -> None:
        if self.due:
            self.commit()

    def commit(self, now_ms: int | None = None) -> None:
        """Apply the waiting commands (at `now_ms` on a live store), then write everything since the last commit.

        Raises
        ------
        UnreachableError
            Locked or full: nothing is lost, the same commit may be tried again.
        """
        self.open_letters(now_ms)
        if not self._dirty:
            return
        pending = self._pending
        kept = Kept(self.pipeline.snapshot(), self.partitions, self.live, self._event_ms, self._entered_ms)
        in_force = None
        for record in pending.effects.log:
            if isinstance(record.payload, Configured):
                in_force = InForce(record.payload.hash, msgspec.json.encode(self.config), record.at_ms)
        also = Commit(
            advances=list(pending.advances.values()),
            snapshot=Snapshot(pack(kept), self.config.hash, self.ended),
            config=in_force,
            answers=pending.answers,
            retried=pending.retried,
            worked_off=pending.worked_off,
            sources=pending.sources,
            at_ms=self._clock.now_ms(),
        )
        self.store.commit(pending.effects, also)
        self.pipeline.committed()
        self._pending, self._dirty = _Pending(), False
        self.committed_s = self._clock.monotonic_s()
        if self.committed is not None:
            self.committed(pending.effects)

    def open_letters(self, now_ms: int | None = None) -> None:
        """Apply the waiting commands and facts; before anything is read, they count from its first window."""
        answered = {answer.id for answer in self._pending.answers}
        for letter in self.store.waiting():
            if letter.id not in answered:
                self._apply(letter, now_ms)

    def _apply(self, letter: Waiting, now_ms: int | None) -> None:
        """Apply one command from the inbox; what is wrong with it is its answer."""
        try:
            effects = self.pipeline.command(LETTER.decode(letter.data), now_ms)
        except UsageError as error:
            self._pending.answers.append(Answer(letter.id, refused=str(error)))
            self._dirty = True
            return
        self._take(effects, "")
        self._pending.answers.append(Answer(letter.id))

    def command(self, wish: Wish, now_ms: int | None = None) -> None:
        """Apply a person's command, or take a fact, at once and commit it.

        Raises
        ------
        UsageError
            The case is unknown or its state does not allow it, or the fact makes no sense.
        """
        self._take(self.pipeline.command(wish, now_ms), "")
        self.commit()


def apply_command(store: Store, wish: Wish, clock: Clock) -> bool:
    """Apply a person's command, or take a fact; returns False where it was left to the runner that is at work.

    Raises
    ------
    UsageError
        The case is unknown or its state does not allow it, or the fact makes no sense.
    """
    if kafka_input(store) is not None:
        store.post(pack(wish))
        return False
    try:
        with only_runner(store):
            in_force, snapshot = store.in_force(), store.snapshot()
            if not in_force or snapshot is None:
                message = f"{store.where}: has seen no events yet"
                raise UsageError(message)
            config = msgspec.json.decode(in_force[-1].body, type=Config)
            partitions = unpack(snapshot.data, Kept).partitions
            Runner(store, config, None, clock, partitions=partitions).command(wish)
            return True
    except RunnerActiveError:
        store.post(pack(wish))
        return False
