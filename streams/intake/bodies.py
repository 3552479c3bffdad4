"""What a request carries → records, one to a line, as the live log keeps them.

A record is not judged here: what is no event becomes a dead letter later, with its reason, and takes no other record
along. Refused is only what can't be taken apart: a damaged package, a list that breaks off.
"""

import itertools
import re
import zlib
from dataclasses import dataclass

import msgspec
import numpy as np

from detector.errors import TocsinError, UsageError

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)
_GZIP = 31
"""zlib's name for a gzip stream."""
_PIECE_BYTES = 262_144
_MARK = b"\xef\xbb\xbf"
_TRAILING = "trailing characters"


class TooLargeError(TocsinError):
    """The body is longer than is taken, packed or unpacked."""


@dataclass(frozen=True)
class Lines:
    """Records, each ended by a newline."""

    data: bytes
    records: int


def unpacked(body: bytes, limit: int) -> bytes:
    """Return the contents of a gzip body; never more than `limit` bytes are held.

    Raises
    ------
    TooLargeError
        It unpacks to more.
    UsageError
        It does not unpack.
    """
    out: list[bytes] = []
    size = 0
    while body:
        stream = zlib.decompressobj(_GZIP)
        while not stream.eof:
            try:
                piece = stream.decompress(body, min(_PIECE_BYTES, limit + 1 - size))
            except zlib.error as error:
                message = f"body: expected gzip, found damage after {size:,} unpacked bytes"
                raise UsageError(message) from error
            size += len(piece)
            if size > limit:
                message = f"body: expected at most {limit:,} bytes unpacked, found more (service.request_bytes)"
                raise TooLargeError(message)
            out.append(piece)
            body = stream.unconsumed_tail
            if not piece and not body and not stream.eof:
                message = f"body: expected gzip, found its end missing after {size:,} unpacked bytes"
                raise UsageError(message)
        body = stream.unused_data
    return b"".join(out)


def lines(body: bytes) -> Lines:
    """Return records that came one to a line."""
    if not body:
        return Lines(b"", 0)
    data = body if body.endswith(b"\n") else body + b"\n"
    return Lines(data, data.count(b"\n"))


def json_records(body: bytes) -> list[bytes]:
    """Return the elements of a JSON array, or the one value that the body is.

    Raises
    ------
    UsageError
        The array breaks off, or several values stand after each other.

    Examples
    --------
    >>> json_records(b'[{"a": 1}, NaN]'), json_records(b'{"a": 1}')
    ([b'{"a": 1}', b'NaN'], [b'{"a": 1}'])
    """
    given = body.removeprefix(_MARK).strip()
    if not given.startswith(b"["):
        return [one_value(given)] if given else []
    try:
        return [bytes(part) for part in msgspec.json.decode(given, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, RecursionError):
        return apart(given)  # One of them is no JSON: the others are not to suffer for it.


def one_value(given: bytes) -> bytes:
    """Return the body as one record.

    Raises
    ------
    UsageError
        Several values stand after each other.
    """
    try:
        msgspec.json.decode(given, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        if _TRAILING in str(error):
            message = "body: expected one JSON value, found more; send records one to a line as application/x-ndjson"
            raise UsageError(message) from error
    except RecursionError:
        pass
    return given


def apart(array: bytes) -> list[bytes]:
    """Return the elements of an array in which something is no JSON: cut at its own commas, unread.

    Raises
    ------
    UsageError
        The array is not closed, or goes on behind its end.
    """
    codes = np.frombuffer(array, np.uint8).copy()
    for text in _STRING.finditer(array):
        codes[text.start() : text.end()] = 0
    cuts, end, depth = [0], -1, 0
    for start in range(0, len(codes), _PIECE_BYTES):
        piece = codes[start : start + _PIECE_BYTES]
        opening, closing = (piece == ord("[")) | (piece == ord("{")), (piece == ord("]")) | (piece == ord("}"))
        depths = depth + np.cumsum(opening.astype(np.int64) - closing)
        ends = np.flatnonzero(depths <= 0)
        if len(ends):
            piece, depths, end = piece[: ends[0]], depths[: ends[0]], start + int(ends[0])
        cuts += (start + np.flatnonzero((piece == ord(",")) & (depths == 1))).tolist()
        if end >= 0:
            break
        depth = int(depths[-1])
    if end < 0:
        message = f"body: expected a JSON array, found its end missing after {len(array):,} bytes"
        raise UsageError(message)
    if array[end + 1 :].strip():
        message = f"body: expected one JSON array, found more at byte {end + 1:,}"
        raise UsageError(message)
    return [array[a + 1 : b].strip() for a, b in itertools.pairwise([*cuts, end])]


def joined(records: list[bytes]) -> Lines:
    """Return records as lines; inside a record a line break is white space, as JSON has it."""
    if not records:
        return Lines(b"", 0)
    if any(b"\n" in record for record in records):
        records = [_one_line(record) for record in records]
    return Lines(b"\n".join((*records, b"")), len(records))


def _one_line(record: bytes) -> bytes:
    """Return the record without line breaks.

    In a text they are no JSON: such a record must not become an event by this, so a control that is none either stands
    in their place.
    """
    if b"\n" not in record:
        return record
    out = _STRING.sub(lambda text: text.group().replace(b"\n", b"\x00"), record)
    return out.replace(b"\n", b" ")
