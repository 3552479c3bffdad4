"""Bytes of a file, a pipe or standard input, unpacked where they are packed.

What the system refuses becomes an error of ours, in one line.
"""

import gzip
import os
import select
import stat
import zlib
from io import BufferedIOBase
from typing import Protocol, cast

from detector.errors import TocsinError, UnreachableError, UsageError

STDIN = "-"
_GZIP = b"\x1f\x8b"
_PIECE_BYTES = 262_144


class DamagedFileError(TocsinError):
    """A packed file breaks off or does not unpack."""


class ByteStream(Protocol):
    """Bytes, forward only."""

    def read(self, size: int) -> bytes:
        """Return up to `size` further bytes; none at the end only."""
        ...

    def skip_to(self, offset: int) -> bool:
        """Go on at `offset`; False if the stream ends before."""
        ...

    def close(self) -> None: ...


def open_stream(path: str, stdin_fd: int = 0) -> ByteStream:
    """Return the (unpacked) bytes of a file, or of standard input for "-".

    Raises
    ------
    UsageError
        There is no such file, or it may not be read.
    """
    stream = _Raw(stdin_fd, "standard input", own=False) if path == STDIN else _Raw(open_file(path), path, own=True)
    try:
        first = read_fully(stream, len(_GZIP))
    except BaseException:
        stream.close()
        raise
    ahead = _Ahead(first, stream)
    return _Unpacked(ahead, stream.name) if first == _GZIP else ahead


def open_file(path: str) -> int:
    """Return a descriptor for reading.

    Raises
    ------
    UsageError
        There is no such file, or it may not be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        message = f"{path}: expected a file that can be read, found: {(error.strerror or 'none').lower()}"
        raise UsageError(message) from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        message = f"{path}: expected a file, found a directory (name the files in it)"
        raise UsageError(message)
    return fd


def changed_ms(path: str, stdin_fd: int = 0) -> int | None:
    """Return when a file was last written to, epoch milliseconds; None of a pipe."""
    found = os.fstat(stdin_fd) if path == STDIN else os.stat(path)
    return found.st_mtime_ns // 1_000_000 if stat.S_ISREG(found.st_mode) else None


def read_fully(stream: ByteStream, size: int) -> bytes:
    """Return `size` bytes, fewer only where the stream ends."""
    parts: list[bytes] = []
    while size > 0 and (piece := stream.read(size)):
        parts.append(piece)
        size -= len(piece)
    return b"".join(parts)


def ready(fd: int) -> bool:
    """Whether a read would return at once."""
    return bool(select.select([fd], [], [], 0)[0])


class _Raw:
    """A descriptor. Of a pipe a read takes what is there and never waits for more than the first byte."""

    def __init__(self, fd: int, name: str, *, own: bool) -> None:
        self.fd, self.name, self._own = fd, name, own
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)

    def read(self, size: int) -> bytes:
        try:
            data = os.read(self.fd, size)
            while not self._regular and data and len(data) < size and ready(self.fd):
                more = os.read(self.fd, size - len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            message = f"{self.name}: expected to read on, found: {(error.strerror or 'an error').lower()}"
            raise UnreachableError(message) from error
        return data

    def skip_to(self, offset: int) -> bool:
        os.lseek(self.fd, offset, os.SEEK_SET)
        return os.fstat(self.fd).st_size >= offset

    @property
    def seekable(self) -> bool:
        return self._own and self._regular

    def close(self) -> None:
        if self._own:
            os.close(self.fd)


class _Ahead:
    """A stream of which some bytes were read ahead. `at` counts what was given out."""

    def __init__(self, ahead: bytes, stream: _Raw) -> None:
        self._ahead, self._stream, self._at = ahead, stream, 0

    def read(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            data = self._stream.read(size)
        self._at += len(data)
        return data

    def skip_to(self, offset: int) -> bool:
        if self._stream.seekable:
            self._ahead, self._at = b"", offset
            return self._stream.skip_to(offset)
        return _pass_over(self, offset - self._at)

    def close(self) -> None:
        self._stream.close()


class _Unpacked:
    """The unpacked bytes of a gzip stream (of several in a row, too)."""

    def __init__(self, stream: _Ahead, name: str) -> None:
        self._stream, self._name, self._at = stream, name, 0
        # It asks for nothing but read().
        self._gzip = gzip.GzipFile(fileobj=cast(BufferedIOBase, stream), mode="rb")

    def read(self, size: int) -> bytes:
        try:
            data = self._gzip.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            message = f"{self._name}: expected packed data, found damage after {self._at:,} unpacked bytes"
            raise DamagedFileError(message) from error
        self._at += len(data)
        return data

    def skip_to(self, offset: int) -> bool:
        return _pass_over(self, offset - self._at)

    def close(self) -> None:
        self._gzip.close()
        self._stream.close()


def _pass_over(stream: ByteStream, size: int) -> bool:
    while size > 0:
        piece = stream.read(min(size, _PIECE_BYTES))
        if not piece:
            return False
        size -= len(piece)
    return True
