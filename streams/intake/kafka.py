"""Kafka's records → events: the bytes of whole fetched batches, joined once and decoded at once.

A message is one event, many of them one to a line, or a CloudEvent (structured, or binary with `ce_` headers). Which it
is its headers and its bytes say, so that producers of all kinds may share a topic; with a mapped format a CloudEvent is
its envelope, as over HTTP (`streams.intake.cloudevents`).

Promises
- The record's timestamp is the ingest time of each of its events, its offset is their position.
- Nothing raises for what a message holds, and nothing takes another message along: what is no event is a dead letter,
  once for each line. Its position is the message's offset; where the message has several lines, its path begins with
  the line's number from 1 on (`line 3 $.time`, `line 3`). One that is only refused by its time (`far-future`) has none.
- JSON that is one value over several lines is one event.
- Where tenants share the topic (`streams.intake.tenants`), only what is this tenant's becomes events; what is of others
  is not counted at all. What is over the tenant's quota is `over-quota`, and is not decoded.
- A null or empty message is `empty`. Of one that is `oversized` nothing is kept but its hash: `sha256:…`.
"""

import hashlib
from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol

import msgspec
import numpy as np

from detector.events import KEPT_BYTES, Batch, Ints, Invalid
from streams.intake import cloudevents
from streams.intake.bodies import joined
from streams.intake.files import RecordDecoder
from streams.intake.formats import OWN, SSHD
from streams.intake.quota import OVER, Quota
from streams.intake.tenants import NAMELESS, NO_TENANT, OTHERS, UNSAID, Naming, Verdicts
from streams.intake.tenants import OWN as OURS

HEADER_PREFIX = "ce_"
CONTENT_TYPE = "content-type"
_LENGTH = len(CONTENT_TYPE)
_HEADERS = attrgetter("headers")
_TIMESTAMP = attrgetter("timestamp")
_POSITION = attrgetter("position")

Headers = Sequence[tuple[str, bytes | None]]


class Message(Protocol):
    """What of a fetched record is read; aiokafka's and kafka-python's records are such."""

    @property
    def value(self) -> bytes | None: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def offset(self) -> int: ...


class Messages:
    r"""Reads a partition's fetched records.

    Parameters
    ----------
    decoder
        Of one line's bytes.
    format
        The name of its format.
    naming
        How records name their tenant; None: all are ours.

    Examples
    --------
    >>> from types import SimpleNamespace as Record
    >>> from detector.decode import JSON, CustomerKeys, Decoder
    >>> from detector.events import EventSchema
    >>> messages = Messages(Decoder(EventSchema(("kind",), ()), JSON, CustomerKeys(b"k")))
    >>> two = b'{"time":"2026-03-27T13:06:56Z","kind":"pay"}\n{"kind":"pay"}'
    >>> batch = messages.batch([Record(value=two, headers=(), timestamp=1774616817000, offset=7)])
    >>> batch.position.tolist(), batch.ingest_ms.tolist()
    ([7], [1774616817000])
    >>> [(refused.position, refused.reason, refused.path) for refused in batch.invalid]
    [(7, 'missing-field', 'line 2 $.time')]
    """

    def __init__(self, decoder: RecordDecoder, format: str = OWN, naming: Naming | None = None) -> None:
        self._decoder, self._naming = decoder, naming
        self._flat = format == OWN
        self._json = format != SSHD
        self._records = self._passed_over = 0

    def read(self) -> tuple[int, int]:
        """Return how many records were read, and what of them was others': records by header, lines by field."""
        return self._records, self._passed_over

    def batch(self, records: Sequence[Message], quota: Quota | None = None) -> Batch:
        """Return the events of fetched records, in their order, as far as they are ours and within the quota."""
        naming, whose = self._naming, None
        self._records += len(records)
        if naming is not None:
            whose = naming.by_header(records)
            if not whose.all():
                self._passed_over += int((whose == OTHERS).sum())
                records = [record for record, verdict in zip(records, whose.tolist(), strict=True) if verdict]
                whose = whose[whose != OTHERS]
        if not records:
            return self._decoder.decode_records((), (), ())
        values = self._values(records)
        block = b"\n".join(values)
        breaks = _breaks(block)
        several = len(breaks) >= len(values)
        if several and any(value.endswith(b"\n") for value in values):  # a last line may end as the others do
            values = [value[:-1] if value.endswith(b"\n") else value for value in values]
            block = b"\n".join(values)
            breaks = _breaks(block)
        if self._json and several and not _lines_of_objects(block, breaks):
            values = [_one_line(value) if b"\n" in value else value for value in values]
            block = b"\n".join(values)
            breaks = _breaks(block)
        count = len(breaks) + 1
        offset = _offsets(records)
        ingest_ms = np.fromiter(map(_TIMESTAMP, records), np.int64, len(records))
        number = np.zeros(count, np.int64)
        if count > len(values):
            sizes = np.array([value.count(b"\n") + 1 for value in values], np.int64)
            offset, ingest_ms = np.repeat(offset, sizes), np.repeat(ingest_ms, sizes)
            whose = None if whose is None else np.repeat(whose, sizes)
            of_message = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
            number = np.where(np.repeat(sizes, sizes) > 1, of_message, 0)
        if naming is None and quota is None:
            return self._decoded(block, offset, ingest_ms, number)
        lines = block.split(b"\n")
        if naming is not None and whose is not None and (unsaid := np.flatnonzero(whose == UNSAID)).size:
            whose[unsaid] = naming.by_field([lines[i] for i in unsaid.tolist()])
        return self._ours(lines, offset, ingest_ms, number, whose, quota)

    def _ours(
        self,
        lines: list[bytes],
        offset: Ints,
        ingest_ms: Ints,
        number: Ints,
        whose: Verdicts | None,
        quota: Quota | None,
    ) -> Batch:
        """Return the events of those lines that are ours and within the quota; `whose` None: all are ours."""
        whose = np.full(len(lines), OURS, np.int8) if whose is None else whose
        taken = whose != OTHERS
        wanted = int(taken.sum())
        self._passed_over += len(lines) - wanted
        if quota is not None:
            taken[taken] = quota.admit(ingest_ms[taken])
        rows = np.flatnonzero(taken & (whose == OURS))
        if len(rows):
            block = b"\n".join(lines if len(rows) == len(lines) else [lines[i] for i in rows.tolist()])
            batch = self._decoded(block, offset[rows], ingest_ms[rows], number[rows])
        else:
            batch = self._decoder.decode_records((), (), ())
        if over := wanted - int(taken.sum()):
            batch.dropped = {**batch.dropped, OVER: over}
        nameless = np.flatnonzero(taken & (whose == NAMELESS)).tolist()
        if nameless:
            path = "" if self._naming is None else self._naming.path
            refused = [
                Invalid(int(offset[i]), NO_TENANT, _path(path, int(number[i])), len(lines[i]), lines[i][:KEPT_BYTES])
                for i in nameless
            ]
            batch.invalid = sorted([*batch.invalid, *refused], key=_POSITION)
        return batch

    def _decoded(self, block: bytes, offset: Ints, ingest_ms: Ints, number: Ints) -> Batch:
        """Return the events of lines, of which offset, ingest time and number in the message are given."""
        lines: Sequence[bytes] = ()
        if self._json:
            batch = self._decoder.decode(block + b"\n", 0)
        else:  # a text format may need the ingest time of each line
            lines = block.split(b"\n")
            batch = self._decoder.decode_records(lines, list(range(len(lines))), ingest_ms.tolist())
        if len(batch.position) == len(offset) and self._json:
            batch.position, batch.ingest_ms = offset, ingest_ms
            return batch
        lines = lines or block.split(b"\n")
        starts: Ints = np.arange(len(lines), dtype=np.int64)
        if self._json:
            lengths = np.fromiter(map(len, lines), np.int64, len(lines)) + 1
            starts = np.cumsum(lengths) - lengths
        rows = np.searchsorted(starts, batch.position)
        batch.position, batch.ingest_ms = offset[rows], ingest_ms[rows]
        refused = np.searchsorted(starts, [one.position for one in batch.invalid]).tolist()
        batch.invalid = [
            _refused(one, int(offset[row]), lines[row], int(number[row]))
            for one, row in zip(batch.invalid, refused, strict=True)
        ]
        return batch

    def _values(self, records: Sequence[Message]) -> list[bytes]:
        """Return what the messages hold: a CloudEvent as one line."""
        values = [record.value or b"" for record in records]
        if any(map(_HEADERS, records)):
            for i, record in enumerate(records):
                # What other headers hold is nothing to us: they are passed over quickly.
                if any(name[:3] == HEADER_PREFIX or len(name) == _LENGTH for name, _ in record.headers):
                    values[i] = self._of_cloud_event(record.headers, values[i])
        return values

    def _of_cloud_event(self, headers: Headers, value: bytes) -> bytes:
        """Return a CloudEvent as one line; what is none as it came."""
        kind, attributes = "", dict[str, str]()
        for name, given in headers:
            if name.lower() != CONTENT_TYPE and not name.startswith(HEADER_PREFIX):
                continue
            try:
                text = (given or b"").decode()
            except UnicodeDecodeError:  # refused for what it is, with what it holds
                return b'{"' + name.encode("utf-8", "replace") + b'":"' + (given or b"").replace(b"\n", b" ") + b'"}'
            if name.lower() == CONTENT_TYPE:
                kind = text
            else:
                attributes[name.removeprefix(HEADER_PREFIX)] = text
        if kind.partition(";")[0].strip().lower() == cloudevents.STRUCTURED:
            envelope = value
        elif "specversion" in attributes:
            if kind:
                attributes["datacontenttype"] = kind
            envelope = cloudevents.binary(attributes, value, quoted=False)
        else:
            return value
        return joined([cloudevents.flattened(envelope) if self._flat else envelope]).data[:-1]


def _offsets(records: Sequence[Message]) -> Ints:
    """int64[records]: their offsets. They grow, so none is left out where the last is as far on as there are others."""
    first, last = records[0].offset, records[-1].offset
    if last - first == len(records) - 1:
        return np.arange(first, last + 1)
    return np.array([record.offset for record in records], np.int64)


def _breaks(block: bytes) -> Ints:
    """Return where lines end; numpy finds them in half the time that `bytes.count` takes."""
    return np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))


def _lines_of_objects(block: bytes, breaks: Ints) -> bool:
    """Whether every line begins as an object does."""
    if not block.startswith(b"{") or block.endswith(b"\n"):
        return False
    return bool((np.frombuffer(block, np.uint8)[breaks + 1] == ord("{")).all())


def _one_line(value: bytes) -> bytes:
    """Return one JSON value that stands on several lines as one line; lines as they are."""
    if value.startswith(b"{") and value.count(b"\n{") == value.count(b"\n"):
        return value
    try:
        msgspec.json.decode(value, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return value
    return value.replace(b"\n", b" ")


def _refused(refused: Invalid, offset: int, line: bytes, number: int) -> Invalid:
    """Return a dead letter with its message's offset; `number` is the line's where that has several, else 0."""
    data = refused.data
    if refused.reason == "oversized":
        data = f"sha256:{hashlib.sha256(line).hexdigest()}".encode()
    return Invalid(offset, refused.reason, _path(refused.path, number), refused.size, data)


def _path(path: str, number: int) -> str:
    return f"line {number} {path}".rstrip() if number else path
