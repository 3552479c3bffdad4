"""Works the live log off: what came is durable with its ingest time first, and only then anything is made of it.

`Live` reads what others append (the door); `Follower` appends the lines of one growing file itself.

Promises
- The live log (`intake`) is the input: after a crash its rows since the last commit are fed again, with the times they
  had, ticks too. What came out before the crash comes out again, no more and no less.
- Time passes by ticks, each a row of that log, and only where it closes a window on a live source (`event_now_ms`).
- A full disk or a locked store pauses the run, loudly, and loses nothing: it goes on by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from detector.errors import UnreachableError
from detector.pack import pack, unpack
from streams.clock import Clock
from streams.engines.embedded import Entry, FilePlace
from streams.engines.session import Session, known_files
from streams.intake.files import Block, Identity, Noted
from streams.intake.follow import POLL_S, follow
from streams.outbox.channel import lines, load_line
from streams.outbox.notifier import Notifier
from streams.outbox.thread import alone
from streams.outbox.words import load_words
from streams.store import Advance
from streams.store.store import LOG
from streams.store.values import IntakeRow

PAUSE_S = 5.0
READ_ROWS = 16
"""So many rows of the log are read at once: a few megabytes."""
WAKE_S = 0.1
"""How often the log and the inbox are looked at where nothing comes."""
AT_ONCE = 100
"""So many notices go out before the file is read on."""
ANSWER_S = 0.2
"""A person's command and a new case wait so long for a commit, at most, while events come."""


class _Worker:
    """Works rows of the live log off, on one session."""

    def __init__(
        self, session: Session, clock: Clock, say: Callable[[str], None], turned: Callable[[], None] = lambda: None
    ) -> None:
        self.session, self.runner, self.store = session, session.runner, session.store
        self.clock, self._say, self.turned = clock, say, turned
        begun = self.runner.entry(LOG)
        self.next = 0 if begun is None else begun[0]
        if begun is not None:
            session.decoder.restore(begun[1])

    @property
    def stopped(self) -> bool:
        return self.session.stop.signal is not None

    def closing_tick(self, now_ms: int) -> IntakeRow | None:
        """Return the tick that closes a window now; None where none is to be closed."""
        event_ms = self.runner.event_now_ms(now_ms)
        if event_ms is None or not self.runner.pipeline.would_close(event_ms):
            return None
        return IntakeRow(LOG, 0, 0, event_ms, None)

    def work_off(self, row: IntakeRow) -> bool:
        """Feed a row; returns whether it closed a window."""
        self.turned()
        self.next = row.seq + 1
        entry = Entry(LOG, self.next)
        if row.data is None:
            effects = self.runner.tick(row.ingest_ms, entry)
        else:
            noted = unpack(row.detail, Noted) if row.detail else Noted()
            refused = noted.refused
            if refused is not None:  # Of what came over HTTP the place is known only now.
                refused = msgspec.structs.replace(refused, position=row.position)
            block = Block(row.source, Identity.parse(noted.identity), row.position, row.data, row.next, refused)
            self.session.aliases.refresh()
            effects = self.runner.feed(block, ingest_ms=row.ingest_ms, entry=entry)
            self.session.tell_year(row.source, "the clock")
        return effects.closed > 0

    def commit(self) -> None:
        now_ms = self.clock.now_ms()
        self.persist(lambda: self.runner.commit(now_ms))

    def persist(self, write: Callable[[], None]) -> None:
        """Write, and again after a pause where the store can't be written now."""
        paused = False
        while True:
            self.turned()
            try:
                write()
            except UnreachableError as error:
                if self.stopped:
                    raise
                if not paused:
                    self._say(f"{error}; trying again every {PAUSE_S:.0f} s")
                paused = True
                self.clock.sleep(PAUSE_S)
            else:
                if paused:
                    self._say("going on")
                return


@dataclass
class Progress:
    """How far a live run is; written by the run, read by whoever tells of it."""

    next: int = 0
    """Rows of the live log before this one are worked off."""
    entered_ms: int = -1
    """When the last of them had entered."""
    committed_ms: int = -1
    commit_s: float = 0.0
    """How long the last commit took."""
    waiting: bool = False
    """Rows are left to work off."""
    turned_s: float = 0.0
    """Monotonic: when the run last looked at the log."""


class Live:
    """Works the live log off as others append to it, until asked to stop.

    Parameters
    ----------
    say
        Tells the operator, on a pause and when it ends.
    leave
        Asked between two steps: whether to end, with everything committed, for a reason other than a signal.
    turned
        Called at every step, at every row, and at every try to write: it does not stand still.
    """

    def __init__(
        self,
        session: Session,
        clock: Clock,
        say: Callable[[str], None],
        leave: Callable[[], bool] = lambda: False,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        self._worker, self._clock, self._leave = _Worker(session, clock, say, turned), clock, leave
        self._runner, self._store = session.runner, session.store
        self._runner.lenient = True
        self.progress = Progress(next=self._worker.next, turned_s=clock.monotonic_s())

    def run(self) -> None:
        """Feed what the last run left, then what comes."""
        while not (self._worker.stopped or self._leave()):
            if not self.step():
                self._clock.sleep(WAKE_S)
        self._commit()

    def step(self) -> bool:
        """Work some rows off, let time pass, answer people; returns whether there was something to read."""
        progress = self.progress
        progress.turned_s = self._clock.monotonic_s()
        self._worker.turned()
        rows = list[IntakeRow]()

        def read() -> None:
            rows[:] = self._store.intake(self._worker.next, limit=READ_ROWS)

        self._worker.persist(read)  # a server may be away for a while
        for row in rows:
            closed = self._worker.work_off(row)
            progress.next, progress.entered_ms = self._worker.next, row.ingest_ms
            if closed and self._runner.due:
                self._commit()
        progress.waiting = len(rows) == READ_ROWS
        if not progress.waiting:  # Only then: time must not pass over rows that were there before it.
            tick = self._worker.closing_tick(self._clock.now_ms())
            if tick is not None:
                self._worker.persist(lambda: self._append(tick))
        since_s = self._clock.monotonic_s() - self._runner.committed_s
        # Where a commit is dear, answers wait for it a little longer than for others.
        pressing = since_s >= max(ANSWER_S, 2 * progress.commit_s)
        if self._runner.due or (pressing and (self._runner.shows or self._store.waiting())):
            self._commit()
        return bool(rows)

    def _append(self, tick: IntakeRow) -> None:
        self._store.append_intake([tick])

    def _commit(self) -> None:
        begun_s = self._clock.monotonic_s()
        self._worker.commit()
        self.progress.commit_s = self._clock.monotonic_s() - begun_s
        self.progress.committed_ms = self._clock.now_ms()


class Follower:
    """Runs a session on one growing file.

    Parameters
    ----------
    say
        Tells the operator, on a pause and when it ends.
    """

    def __init__(self, session: Session, clock: Clock, say: Callable[[str], None]) -> None:
        self._worker = _Worker(session, clock, say)
        self._session, self._runner, self._store = session, session.runner, session.store
        self._clock, self._say = clock, say
        self._notifier = self._make_notifier()

    def run(self, path: str, poll_s: float = POLL_S) -> None:
        """Feed what the last run left in the live log, then follow the file until asked to stop."""
        if self._notifier is None:
            self._run(path, poll_s)
            return
        with alone(self._store):
            try:
                self._run(path, poll_s)
            finally:
                self._notifier.close()

    def _run(self, path: str, poll_s: float) -> None:
        for row in list(self._store.intake(self._worker.next)):
            self._work_off(row)
        self._commit()
        if self._notifier is not None:
            self._notifier.recover(self._clock.now_ms())
        blocks = follow(
            path,
            self._clock,
            known_files(self._runner.file_places()),
            stop=lambda: self._worker.stopped,
            poll_s=poll_s,
            block_bytes=self._session.run.block_bytes,
            max_record_bytes=self._session.run.config.input.max_record_bytes,
        )
        for block in blocks:
            now_ms = self._clock.now_ms()
            if block is not None:
                self._enter_block(block, now_ms)
            tick = self._worker.closing_tick(now_ms)
            if tick is not None:
                self._enter(tick, [])
            if block is None:
                self._commit()  # nothing to read: all that came is committed at once
        self._commit()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _make_notifier(self) -> Notifier | None:
        config = self._session.run.config
        if not config.policy.send:
            return None
        store, directory, settings = self._store, self._runner.directory, self._session.run.settings
        if settings is None:
            channels = {name: load_line(name) for name in config.policy.channels}
            return Notifier(store, directory, config, channels, persist=self._worker.persist, say=self._say)
        return Notifier(
            store,
            directory,
            config,
            lines(settings),
            sending=settings.sending,
            words=load_words(settings, store.customer_key),
            persist=self._worker.persist,
            say=self._say,
        )

    def _enter_block(self, block: Block, now_ms: int) -> None:
        noted = pack(Noted(block.identity.encode(), block.refused))
        row = IntakeRow(block.source, block.position, block.next_position, now_ms, block.data, noted)
        known = self._runner.file_places().get(block.source)
        place = pack(FilePlace(block.identity.encode(), b""))
        self._enter(row, [Advance(block.source, None if known is None else known[1], block.next_position, place)])

    def _enter(self, row: IntakeRow, advances: list[Advance]) -> None:
        """Make a row durable, then work it off."""
        numbered: list[IntakeRow] = []

        def write() -> None:
            numbered[:] = self._store.append_intake([row], advances)

        self._worker.persist(write)
        for advance in advances:
            self._runner.note(advance)
        if numbered[0].seq == self._worker.next:
            self._work_off(numbered[0])
            return
        for between in list(self._store.intake(self._worker.next)):  # Another process has appended, too.
            self._work_off(between)

    def _work_off(self, row: IntakeRow) -> None:
        if self._worker.work_off(row) and self._runner.due:
            self._commit()

    def _commit(self) -> None:
        self._worker.commit()
        now_ms = self._clock.now_ms()
        if self._notifier is not None and self._notifier.work(now_ms, AT_ONCE):
            self._worker.persist(lambda: self._runner.commit(now_ms))
