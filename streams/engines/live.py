"""Follows a growing file: lines become durable with their ingest time first, and only then anything is made of them.

Promises
- The live log (`intake`) is the input: after a crash its rows since the last commit are fed again, with the times they
  had, ticks too. What came out before the crash comes out again, no more and no less.
- Time passes by ticks, each a row of that log, and only where it closes a window on a live source (`event_now_ms`).
- A full disk or a locked store pauses the run, loudly, and loses nothing: it goes on by itself.
"""

from collections.abc import Callable

import msgspec

from detector.config import Policy
from detector.errors import UnreachableError
from detector.events import Invalid
from detector.pack import pack, unpack
from streams.clock import Clock
from streams.engines.embedded import Entry, FilePlace
from streams.engines.session import Session, known_files
from streams.intake.files import Block, Identity
from streams.intake.follow import POLL_S, follow
from streams.outbox.channel import load
from streams.outbox.deliver import Notifier
from streams.store import Advance
from streams.store.values import IntakeRow

LOG = "<intake>"
PAUSE_S = 5.0


class _Noted(msgspec.Struct, frozen=True):
    """What a row of the live log says beside the lines."""

    identity: bytes
    refused: Invalid | None = None


class Follower:
    """Runs a session on one growing file.

    Parameters
    ----------
    say
        Tells the operator, on a pause and when it ends.
    """

    def __init__(self, session: Session, clock: Clock, say: Callable[[str], None]) -> None:
        self._session, self._runner, self._store = session, session.runner, session.store
        self._clock, self._say = clock, say
        self._notifier = self._make_notifier(session.run.config.policy)
        begun = self._runner.entry(LOG)
        self._next = 0 if begun is None else begun[0]
        if begun is not None:
            session.decoder.restore(begun[1])

    def run(self, path: str, poll_s: float = POLL_S) -> None:
        """Feed what the last run left in the live log, then follow the file until asked to stop."""
        for row in list(self._store.intake(self._next)):
            self._work_off(row)
        self._commit()
        if self._notifier is not None:
            self._notifier.recover(self._clock.now_ms())
        blocks = follow(
            path,
            self._clock,
            known_files(self._runner.file_places()),
            stop=self._stopped,
            poll_s=poll_s,
            block_bytes=self._session.run.block_bytes,
            max_record_bytes=self._session.run.config.input.max_record_bytes,
        )
        for block in blocks:
            now_ms = self._clock.now_ms()
            if block is not None:
                self._enter(self._row(block, now_ms), block)
            self._tick(now_ms)
            if block is None:
                self._commit()  # nothing to read: all that came is committed at once
        self._commit()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _make_notifier(self, policy: Policy) -> Notifier | None:
        if not policy.send:
            return None
        channels = {name: load(name) for name in policy.channels}
        return Notifier(self._store, self._runner.directory, self._session.run.config, channels, self._persist)

    def _stopped(self) -> bool:
        return self._session.stop.signal is not None

    def _row(self, block: Block, now_ms: int) -> IntakeRow:
        noted = pack(_Noted(block.identity.encode(), block.refused))
        return IntakeRow(self._next, block.source, block.position, block.next_position, now_ms, block.data, noted)

    def _tick(self, now_ms: int) -> None:
        event_ms = self._runner.event_now_ms(now_ms)
        if event_ms is not None and self._runner.pipeline.would_close(event_ms):
            self._enter(IntakeRow(self._next, LOG, 0, 0, event_ms, None), None)

    def _enter(self, row: IntakeRow, block: Block | None) -> None:
        """Make a row durable, then work it off."""
        advances = []
        if block is not None:
            known = self._runner.file_places().get(block.source)
            place = pack(FilePlace(block.identity.encode(), b""))
            advances = [Advance(block.source, None if known is None else known[1], block.next_position, place)]
        self._persist(lambda: self._store.append_intake([row], advances))
        for advance in advances:
            self._runner.note(advance)
        self._work_off(row)

    def _work_off(self, row: IntakeRow) -> None:
        self._next = row.seq + 1
        entry = Entry(LOG, self._next)
        if row.data is None:
            effects = self._runner.tick(row.ingest_ms, entry)
        else:
            noted = unpack(row.detail, _Noted)
            identity = Identity.parse(noted.identity)
            block = Block(row.source, identity, row.position, row.data, row.next, noted.refused)
            self._session.aliases.refresh()
            effects = self._runner.feed(block, ingest_ms=row.ingest_ms, entry=entry)
            self._session.tell_year(row.source, "the clock")
        if effects.closed and self._runner.due:
            self._commit()

    def _commit(self) -> None:
        now_ms = self._clock.now_ms()
        self._persist(lambda: self._runner.commit(now_ms))
        if self._notifier is not None and self._notifier.work(now_ms):
            self._persist(lambda: self._runner.commit(now_ms))

    def _persist(self, write: Callable[[], None]) -> None:
        """Write, and again after a pause where the store can't be written now."""
        paused = False
        while True:
            try:
                write()
            except UnreachableError as error:
                if self._stopped():
                    raise
                if not paused:
                    self._say(f"{error}; trying again every {PAUSE_S:.0f} s")
                paused = True
                self._clock.sleep(PAUSE_S)
            else:
                if paused:
                    self._say("going on")
                return
