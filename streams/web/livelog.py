"""Appends what comes in over HTTP to the live log: many requests in one transaction, by one thread.

Promises
- A request's future is done only after its records are on disk with their ingest time; it fails where nothing of the
  request was written.
- Nothing grows without bound: what waits here, and what was accepted and not worked off, is limited in bytes; beyond
  it a request is turned away at once.
- Where the store can't be written (locked, disk full) requests are turned away at once but for one at a time, which
  finds out when it can be again.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread

from detector.errors import TocsinError
from detector.pack import pack
from streams.clock import Clock
from streams.intake.bodies import Lines
from streams.intake.files import BLOCK_BYTES, Block, Cutter, Noted
from streams.settings import Settings
from streams.store import Store
from streams.store.values import Piece
from streams.web.keeping import BusyError, UnwritableError
from streams.web.metrics import WebNumbers

HTTP = "http"
"""The source's name; its positions are the bytes that came before."""
WAITING_BYTES = 67_108_864
GROUP_BYTES = 8_388_608
"""A transaction holds so many bytes at most, or one request."""
BUSY_MS = 5_000
"""So long the writer waits for the store; then the group's requests are told to come again."""
LOOK_S = 0.25
"""How often it is looked up how far the log was worked off."""
STUCK_S = 60.0


@dataclass(eq=False)
class _Request:
    pieces: Sequence[Piece]
    records: int
    size: int
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[None]"
    error: TocsinError | None = None

    def settle(self) -> None:
        """Answer; on the event loop."""
        if self.done.done():  # whoever asked has gone
            return
        if self.error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(self.error)


@dataclass
class Backlog:
    """What is in the log and not worked off, in bytes."""

    bytes: int = 0
    rows: deque[tuple[int, int]] = field(default_factory=deque)

    def add(self, seq: int, size: int) -> None:
        self.rows.append((seq, size))
        self.bytes += size

    def worked_off(self, until: int) -> None:
        while self.rows and self.rows[0][0] < until:
            self.bytes -= self.rows.popleft()[1]


class LogWriter:
    """The one thread that appends.  It starts with the first request, and takes a moment of the store's own."""

    waits_on = "store"

    def __init__(self, store: Store, clock: Clock, numbers: WebNumbers, backlog_bytes: int) -> None:
        self._store, self._clock, self._numbers = store.again(busy_ms=BUSY_MS), clock, numbers
        self.backlog_limit = backlog_bytes
        self.backlog = Backlog()
        self.failing = ""
        """Why the last transaction failed; empty where it did not."""
        self.failed_s = 0.0
        """When that was, on the clock that only goes forward."""
        self._queue: deque[_Request] = deque()
        self._queued = 0
        self._changed = Condition()
        self._thread: Thread | None = None
        self._closing = False
        self._busy_since_s: float | None = None
        self._looked_s = -LOOK_S

    @property
    def backlog_bytes(self) -> int:
        return self.backlog.bytes

    def cut(self, lines: Lines, settings: Settings) -> list[Piece]:
        """Return the records as pieces of the log."""
        return pieces_of(lines, settings.config.input.max_record_bytes)

    def append(self, lines: Lines, cut: Sequence[Piece]) -> "asyncio.Future[None]":
        """Return a future that is done once the records are durable.

        Raises
        ------
        BusyError
            Too much is waiting.
        UnwritableError
            The store could not be written just now.
        """
        loop = asyncio.get_running_loop()
        size = sum(piece.size for piece in cut)
        request = _Request(cut, lines.records, size, loop, loop.create_future())
        with self._changed:
            if self._closing:
                message = "the service is stopping; send it again"
                raise UnwritableError(message)
            if self.failing and self._queued:
                raise UnwritableError(self.failing)
            if self._queued + size > WAITING_BYTES:
                message = f"{self._queued:,} bytes wait to be written; send it again later"
                raise BusyError(message)
            if self._thread is None:
                self._start()
            if self.backlog.bytes + self._queued + size > self.backlog_limit:
                message = (
                    f"{self.backlog.bytes + self._queued:,} bytes are accepted and not worked off "
                    f"(service.backlog_bytes: {self.backlog_limit:,}); send it again later"
                )
                raise BusyError(message)
            self._queue.append(request)
            self._queued += size
            self._changed.notify()
        return request.done

    def stuck(self) -> bool:
        """Whether the thread is gone, or has been at one transaction for a minute."""
        thread, since_s = self._thread, self._busy_since_s
        if thread is None:
            return False
        gone = not thread.is_alive() and not self._closing
        return gone or (since_s is not None and self._clock.monotonic_s() - since_s > STUCK_S)

    async def close(self) -> None:
        """Write what waits, and end."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._store.close()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        for seq, size in self._store.unread()[1]:
            self.backlog.add(seq, size)
        self._thread = Thread(target=self._run, name="live log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._queue and not self._closing:
                    self._changed.wait(LOOK_S if self.backlog.rows else None)
                group = self._group()
                if not group and self._closing:
                    return
            self._busy_since_s = self._clock.monotonic_s()
            if group:
                self._write(group)
            self._look()
            self._busy_since_s = None

    def _group(self) -> list[_Request]:
        """Return the requests of the next transaction; they stay in the queue's sum until they are written."""
        group: list[_Request] = []
        size = 0
        while self._queue and (not group or size + self._queue[0].size <= GROUP_BYTES):
            request = self._queue.popleft()
            group.append(request)
            size += request.size
        return group

    def _write(self, group: list[_Request]) -> None:
        begun_s = self._clock.monotonic_s()
        error: TocsinError | None = None
        try:
            rows = self._store.append_pieces(HTTP, merged([r.pieces for r in group]), self._clock.now_ms())
        except TocsinError as failed:
            error, rows = UnwritableError(f"{failed}; nothing of this request was accepted, send it again"), []
        except Exception as failed:  # whatever it is, those who wait must hear of it
            error, rows = UnwritableError(f"internal error: {type(failed).__name__}"), []
        size = sum(request.size for request in group)
        with self._changed:
            self._queued -= size
            self.failing = "" if error is None else str(error)
            self.failed_s = self._clock.monotonic_s()
            for row in rows:
                self.backlog.add(row.seq, row.next - row.position)
        if error is None:
            self._numbers.door_commit.observe(self._clock.monotonic_s() - begun_s)
            self._numbers.door_events.inc(sum(request.records for request in group))
            self._numbers.door_bytes.inc(size)
        for loop in {request.loop for request in group}:
            mine = [request for request in group if request.loop is loop]
            for request in mine:
                request.error = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, mine)

    def _look(self) -> None:
        """Let go of what was worked off."""
        now_s = self._clock.monotonic_s()
        if not self.backlog.rows or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        try:
            until = self._store.worked_off()
        except TocsinError:
            return  # the next look may find out
        with self._changed:
            self.backlog.worked_off(until)


def _settle(requests: list[_Request]) -> None:
    for request in requests:
        request.settle()


def pieces_of(lines: Lines, max_record_bytes: int) -> list[Piece]:
    """Return the records as pieces of the log: none longer than a block and a record, too long ones passed over."""
    if len(lines.data) <= min(BLOCK_BYTES, max_record_bytes):
        return [Piece(lines.data, len(lines.data))] if lines.data else []
    cutter = Cutter(HTTP, b"", 0, max_record_bytes)
    blocks: list[Block] = []
    for start in range(0, len(lines.data), BLOCK_BYTES):
        blocks += cutter.feed(lines.data[start : start + BLOCK_BYTES])
    blocks += cutter.end()
    return [
        Piece(
            block.data,
            block.next_position - block.position,
            b"" if block.refused is None else pack(Noted(refused=block.refused)),
        )
        for block in blocks
    ]


def merged(requests: Sequence[Sequence[Piece]]) -> list[Piece]:
    """Return the pieces of several requests as few rows: small ones together, up to the size of a block."""
    out: list[Piece] = []
    together: list[bytes] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if together:
            out.append(Piece(b"".join(together), size))
            together.clear()
            size = 0

    for pieces in requests:
        for piece in pieces:
            if piece.detail or size + piece.size > BLOCK_BYTES:
                flush()
            if piece.detail:
                out.append(piece)
            else:
                together.append(piece.data)
                size += piece.size
    flush()
    return out
