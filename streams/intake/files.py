"""Files and standard input → blocks of whole lines, each with its place, from where an earlier run stopped.

A file is known by its beginning, not by its name: `Identity` is a hash of its first bytes. A renamed or copied log
goes on where it was left; another file under an old name starts at its beginning. Offsets of packed files (gzip) are
those of the unpacked bytes, so a log is the same file before and after it was packed.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import msgspec

from detector.errors import UsageError
from detector.events import KEPT_BYTES, Batch, Invalid
from streams.intake.bytestream import ByteStream, open_stream, read_fully

HEAD_BYTES = 4_096
BLOCK_BYTES = 262_144
"""About a thousand events: large enough for numpy, small enough for the processor's cache."""
MAX_RECORD_BYTES = 262_144


class RecordDecoder(Protocol):
    """What turns records of one format into batches."""

    @property
    def state(self) -> bytes:
        """What is to be stored with the position, so that a restart goes on exactly."""
        ...

    def restore(self, state: bytes) -> None:
        """Go on from a stored state."""
        ...

    def decode(self, lines: bytes, position: int, ingest_ms: int = -1) -> Batch:
        """Return the events of a block of lines that begins at `position`."""
        ...

    def decode_records(self, records: Sequence[bytes], positions: Sequence[int], ingest_ms: Sequence[int]) -> Batch:
        """Return the events of records that are no lines of a file, each with its position and ingest time."""
        ...

    def reject(self, refused: Invalid) -> Batch:
        """Return the batch of a record that the reader has refused."""
        ...


@dataclass(frozen=True)
class Identity:
    """A file's beginning: `sha256` of its first `length` bytes (at most 4,096)."""

    length: int
    sha256: str

    @classmethod
    def of(cls, head: bytes) -> Self:
        """Return the identity of a file that begins with these bytes."""
        head = head[:HEAD_BYTES]
        return cls(len(head), hashlib.sha256(head).hexdigest())

    def begins(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes is the one. No bytes are nobody's beginning."""
        return 0 < self.length <= len(head) and Identity.of(head[: self.length]) == self

    def encode(self) -> bytes:
        """Return it as bytes, to be stored beside the position."""
        return f"{self.length}:{self.sha256}".encode()

    @classmethod
    def parse(cls, stored: bytes) -> Self:
        """Return the identity that `encode` wrote."""
        length, _, sha256 = stored.decode().partition(":")
        return cls(int(length), sha256)


class Noted(msgspec.Struct, frozen=True):
    """What a row of the live log says beside the lines: whose they are where that is a file, what was passed over."""

    identity: bytes = Identity.of(b"").encode()
    refused: Invalid | None = None


Known = Mapping[str, tuple[Identity, int]]
"""The files read before: key → beginning, and the offset where reading stopped."""


@dataclass(frozen=True)
class Block:
    """Whole lines of one file.

    Attributes
    ----------
    source
        Key of the file, the same for all its blocks and in later runs.
    identity
        The file's beginning, as far as it was read up to `next_position`: to be stored with it, in place of the last.
    position
        Offset of the first byte.
    data
        The lines; empty where the block is one refused record.
    next_position
        Where to go on once the block is committed.
    refused
        A record too long to be read.
    """

    source: str
    identity: Identity
    position: int
    data: bytes
    next_position: int
    refused: Invalid | None = None

    def batch(self, decoder: RecordDecoder, ingest_ms: int = -1) -> Batch:
        """Return the block's events."""
        if self.refused is not None:
            return decoder.reject(self.refused)
        return decoder.decode(self.data, self.position, ingest_ms)


class Cutter:
    """Bytes in any pieces → blocks of whole lines. A line beyond the limit is passed over without being held."""

    def __init__(self, source: str, head: bytes, position: int, max_record_bytes: int) -> None:
        self.source, self.head, self.position = source, head[:HEAD_BYTES], position
        self._max_record_bytes = max_record_bytes
        self._pending = b""
        self._skipped = 0
        self._identity = Identity.of(self.head[:position])

    @property
    def read(self) -> int:
        """How far the file was read: `position` (what is in blocks) and the line that has begun there."""
        return self.position + (self._skipped or len(self._pending))

    def feed(self, piece: bytes) -> list[Block]:
        """Return the blocks that these further bytes complete."""
        if self.read < HEAD_BYTES:
            self.head = (self.head[: self.read] + piece)[:HEAD_BYTES]
        blocks = []
        if self._skipped:
            end = piece.find(b"\n")
            passed = piece if end < 0 else piece[:end]
            self._skipped += len(passed)
            self._pending += passed[: KEPT_BYTES - len(self._pending)]
            if end < 0:
                return []
            blocks.append(self._refuse(newline=1))
            piece = piece[end + 1 :]
        data = self._pending + piece
        cut = data.rfind(b"\n") + 1
        if cut:
            blocks.append(self._block(data[:cut], cut))
        self._pending = data[cut:]
        if len(self._pending) > self._max_record_bytes:
            self._skipped, self._pending = len(self._pending), self._pending[:KEPT_BYTES]
        return blocks

    def end(self) -> list[Block]:
        """Return the last line, which no newline ended."""
        if self._skipped:
            return [self._refuse(newline=0)]
        return [self._block(self._pending, len(self._pending))] if self._pending else []

    def _refuse(self, newline: int) -> Block:
        refused = Invalid(self.position, "oversized", "", self._skipped, self._pending)
        return self._block(b"", self._skipped + newline, refused)

    def _block(self, data: bytes, size: int, refused: Invalid | None = None) -> Block:
        start = self.position
        self.position += size
        self._pending, self._skipped = b"", 0
        if self._identity.length < HEAD_BYTES:
            self._identity = Identity.of(self.head[: self.position])
        return Block(self.source, self._identity, start, data, self.position, refused)


class Source:
    """One file or standard input ("-"), opened where an earlier run stopped.

    Parameters
    ----------
    path
        Of the file, packed by gzip or not.
    known
        The files read before.
    name
        What it is called where it is new; its path, if not given.

    Attributes
    ----------
    key
        Its name in the store: that of the known file, or a new one.
    start
        Where reading begins.

    Raises
    ------
    UsageError
        It cannot be opened, or is shorter than what was read of it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        known: Known | None = None,
        *,
        stdin_fd: int = 0,
        block_bytes: int = BLOCK_BYTES,
        max_record_bytes: int = MAX_RECORD_BYTES,
        name: str = "",
    ) -> None:
        known = known or {}
        self.name = os.fspath(path)
        self._block_bytes = block_bytes
        self._stream = open_stream(self.name, stdin_fd)
        try:
            head = read_fully(self._stream, max((identity.length for identity, _ in known.values()), default=0))
            found = known_as(head, known)
            self.key, self.start = found or (new_key(name or self.name, known), 0)
            self._ahead = head[self.start :]
            if len(head) < self.start:
                head += self._pass_over(self._stream, len(head))
            self._cutter = Cutter(self.key, head, self.start, max_record_bytes)
        except BaseException:
            self.close()
            raise

    def _pass_over(self, stream: ByteStream, at: int) -> bytes:
        """Go from `at` to where reading begins; returns what more of the file's beginning was seen."""
        head = read_fully(stream, max(0, min(self.start, HEAD_BYTES) - at))
        at += len(head)
        reached = at == self.start or (at >= HEAD_BYTES and stream.skip_to(self.start))
        if not reached:
            message = (
                f"{self.name}: expected at least the {self.start:,} bytes that were read of it, found fewer "
                "(it was cut off since; replay it into another --db)"
            )
            raise UsageError(message)
        return head

    def read(self) -> list[Block] | None:
        """Return the blocks that the next bytes complete; None at the end."""
        piece, self._ahead = self._ahead or self._stream.read(self._block_bytes), b""
        return self._cutter.feed(piece) if piece else None

    def end(self) -> list[Block]:
        """Return the last line, which no newline ended."""
        return self._cutter.end()

    def blocks(self) -> Iterator[Block]:
        """Yield what is there, to the end; a last line without a newline too."""
        while (blocks := self.read()) is not None:
            yield from blocks
        yield from self.end()

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def known_as(head: bytes, known: Known) -> tuple[str, int] | None:
    """Return the key of the known file that begins as this one does (by the longest beginning), and its offset."""
    same = [(identity.length, offset, key) for key, (identity, offset) in known.items() if identity.begins(head)]
    if not same:
        return None
    _, offset, key = max(same)
    return key, offset


def new_key(name: str, taken: Collection[str]) -> str:
    """Return a key for a file never seen: its name, numbered if another file had it before.

    Examples
    --------
    >>> new_key("auth.log", []), new_key("auth.log", ["auth.log", "auth.log@2"])
    ('auth.log', 'auth.log@3')
    """
    if name not in taken:
        return name
    number = 2
    while f"{name}@{number}" in taken:
        number += 1
    return f"{name}@{number}"
