"""A log that is being written → its lines as they come, through every way in which logs are rotated.

- Renamed and made anew: the old file is read to its end, then the new one from its beginning.
- Copied and cut off in place: where the file became shorter, or begins otherwise, reading starts at its beginning.
- Rotated while nobody read: the older files beside it (`auth.log.1`, `auth.log-20260327.gz`) are read first, from where
  reading stopped.
- Absent: waited for.

A line counts once its newline is there; the last one of a file that was rotated counts without.
"""

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

from detector.errors import UnreachableError, UsageError
from streams.clock import Clock
from streams.intake.bytestream import STDIN, DamagedFileError, open_file, ready
from streams.intake.files import (
    BLOCK_BYTES,
    HEAD_BYTES,
    MAX_RECORD_BYTES,
    Block,
    Cutter,
    Identity,
    Known,
    Source,
    known_as,
    new_key,
)

POLL_S = 0.5


def follow(
    path: str | os.PathLike[str],
    clock: Clock,
    known: Known | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    poll_s: float = POLL_S,
    stdin_fd: int = 0,
    block_bytes: int = BLOCK_BYTES,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Block | None]:
    """Yield blocks of lines as the file grows, and None after every `poll_s` in which nothing came.

    It ends when `stop()` says so, which is asked before every read and wait (a signal handler may set it), and at the
    end of standard input. Close the iterator to close the file.

    Parameters
    ----------
    path
        Of the file; "-" for standard input.
    known
        The files read before.

    Raises
    ------
    UsageError
        It may not be read.
    """
    follower = _Follower(Path(path), known or {}, block_bytes, max_record_bytes)
    following = follower.stdin(stdin_fd) if os.fspath(path) == STDIN else follower.file()
    try:
        for block in following:
            if stop():
                return
            if block is None:
                clock.sleep(poll_s)
            yield block
    finally:
        following.close()


_Blocks = Generator[Block | None, None, None]


class _Follower:
    """What follows; it yields None where there is nothing to read now."""

    def __init__(self, path: Path, known: Known, block_bytes: int, max_record_bytes: int) -> None:
        self._path = path
        self._known: dict[str, tuple[Identity, int]] = dict(known)
        self._block_bytes, self._max_record_bytes = block_bytes, max_record_bytes

    def stdin(self, fd: int) -> _Blocks:
        while not ready(fd):
            yield None
        with self._source(STDIN, fd) as source:
            while (blocks := source.read()) is not None:
                yield from self._noted(blocks)
                while not ready(fd):
                    yield None
            yield from self._noted(source.end())

    def file(self) -> _Blocks:
        while True:
            tail = self._open()
            if tail is None:
                yield None
                continue
            try:
                yield from self._rotated()
                yield from self._to_its_end(tail)
            finally:
                tail.close()

    def _to_its_end(self, tail: "_Tail") -> _Blocks:
        """Follow one file until another stands in its place and nothing is left of it."""
        replaced = False
        while True:
            if tail.cut_off():
                yield from self._rotated()
                tail.start_over(self._known)
            blocks = tail.read()
            if blocks is not None:
                yield from self._noted(blocks)
            elif replaced:  # Read once more after the other was seen: the writer has left this one.
                yield from self._noted(tail.end())
                return
            else:
                replaced = tail.replaced()
                if not replaced:
                    yield None

    def _noted(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            self._known[block.source] = (block.identity, block.next_position)
            yield block

    def _source(self, path: str | Path, fd: int = 0) -> Source:
        return Source(
            path,
            self._known,
            stdin_fd=fd,
            block_bytes=self._block_bytes,
            max_record_bytes=self._max_record_bytes,
            name=os.fspath(self._path),
        )

    def _open(self) -> "_Tail | None":
        try:
            return _Tail(self._path, self._known, self._block_bytes, self._max_record_bytes)
        except UsageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def _rotated(self) -> Iterator[Block]:
        """Yield what was not read of the rotated files, oldest first.

        Nothing where the file itself is known, and nothing at the first run: then what it holds now is meant.
        """
        if known_as(_beginning(self._path), self._known) is not None:
            return
        begun = False
        for older in _beside(self._path):
            try:
                with self._source(older) as source:
                    begun = begun or source.start > 0
                    if begun:
                        yield from self._noted(source.blocks())
            except (UsageError, DamagedFileError):
                continue  # A copy made earlier than reading got to, or half packed: nothing of it is new.


class _Tail:
    """One open file, and how far it was read."""

    def __init__(self, path: Path, known: Known, block_bytes: int, max_record_bytes: int) -> None:
        self._path, self._block_bytes, self._max_record_bytes = path, block_bytes, max_record_bytes
        self._fd = open_file(os.fspath(path))
        head = self._at(0, HEAD_BYTES)
        key, start = known_as(head, known) or ("", 0)
        if not key or os.fstat(self._fd).st_size < start:
            key, start = new_key(os.fspath(path), known), 0
        self._cutter = Cutter(key, head[:start], start, max_record_bytes)

    def cut_off(self) -> bool:
        """Whether it became shorter, or begins otherwise."""
        cutter = self._cutter
        return os.fstat(self._fd).st_size < cutter.read or self._at(0, len(cutter.head)) != cutter.head

    def start_over(self, known: Known) -> None:
        """Read it as another file."""
        key = new_key(os.fspath(self._path), {*known, self._cutter.source})
        self._cutter = Cutter(key, b"", 0, self._max_record_bytes)

    def read(self) -> list[Block] | None:
        """Return the blocks that further bytes complete; None where nothing came."""
        piece = self._at(self._cutter.read, self._block_bytes)
        return self._cutter.feed(piece) if piece else None

    def replaced(self) -> bool:
        """Whether another file with something in it stands in this one's place."""
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        return there.st_size > 0 and not os.path.samestat(there, os.fstat(self._fd))

    def end(self) -> list[Block]:
        return self._cutter.end()

    def close(self) -> None:
        os.close(self._fd)

    def _at(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            message = f"{self._path}: expected to read on, found: {(error.strerror or 'an error').lower()}"
            raise UnreachableError(message) from error


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _beside(path: Path) -> list[Path]:
    """Return the files that have the name of a rotated one, oldest first: name.1, name-20260327, name.2.gz."""
    rotated = re.compile(re.escape(path.name) + r"[.-][0-9][0-9-]*(\.gz)?")
    try:
        entries = [entry for entry in os.scandir(path.parent) if rotated.fullmatch(entry.name) and entry.is_file()]
        aged = sorted((entry.stat().st_mtime_ns, entry.name) for entry in entries)
    except OSError:
        return []
    return [path.parent / name for _, name in aged]
