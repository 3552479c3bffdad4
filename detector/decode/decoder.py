"""Bytes → events: which records are events, and why the others are none.

A `Decoder` reads a block of lines at once, in one pass of generated structs, and checks at block level whatever a
struct does not (the encoding, the nesting, one record to a line). Where anything is not clean the block is read record
by record. Both ways give the same: a record is judged alone, whatever stands around it. It never raises for what a
record holds.

Rules: keys that nothing asks for are skipped; they must be JSON, no more. Of a key that stands twice the last value
counts. A number beyond 64 bits stays what it is as a category and becomes a float as a value.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from detector.decode.customers import CustomerKeys
from detector.decode.placement import partitions_of
from detector.decode.shape import Format, Item, Row, Shape, dotted, spelled
from detector.decode.times import MAX_MS, OLDEST_MS, Unit, epoch_column, epoch_ms, iso_column, iso_ms
from detector.events import KEPT_BYTES, Batch, EventSchema, Floats, Ints, Invalid

MAX_DEPTH = 200
"""Records nested deeper are refused, long before a stack would overflow."""

MAX_FLOAT = 2**1023

_NEWLINE, _RETURN, _OPEN, _CLOSE, _BRACKET = b"\n\r{}["
_PLACES = np.uint64(0x0001020304050607)
_BLANK = b" \t\r\n"
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"{}[]")
_ANYTHING = msgspec.json.Decoder()


def invalid(position: int, reason: str, path: str, record: bytes) -> Invalid:
    """Return the dead letter of a record."""
    return Invalid(position, reason, path, len(record), record[:KEPT_BYTES])


class Decoder:
    r"""JSON records → batches of events.

    Parameters
    ----------
    schema
        Which fields the signals use.
    format
        Where they stand.
    keys
        Customers' hashes.
    partitions
        How many partitions events are placed in.
    max_record_bytes
        Longer records are refused undecoded.
    oldest_ms
        Events before are `ancient`.

    Raises
    ------
    ConfigError
        The schema and the format exclude each other.

    Examples
    --------
    >>> from detector.decode import JSON, CustomerKeys
    >>> decoder = Decoder(EventSchema(("kind", "bank"), ()), JSON, CustomerKeys(b"k"))
    >>> batch = decoder.decode(b'{"time":"2026-03-27T13:06:56Z","kind":"pay","bank":"BNI"}\n{"kind":"pay"}\n', 0)
    >>> batch.fields, batch.time_ms.tolist(), [(i.position, i.reason, i.path) for i in batch.invalid]
    ([('pay', 'BNI')], [1774616816000], [(58, 'missing-field', '$.time')])
    """

    def __init__(
        self,
        schema: EventSchema,
        format: Format,
        keys: CustomerKeys,
        *,
        partitions: int = 1,
        max_record_bytes: int = 262_144,
        oldest_ms: int = OLDEST_MS,
    ) -> None:
        self._schema, self._format, self._keys = schema, format, keys
        self._max_record_bytes, self._oldest_ms = max_record_bytes, oldest_ms
        self._partitions = partitions
        self._shape = Shape(schema, format)
        self._times = self._shape.column(format.time.path)
        self._ids = None if format.id is None else self._shape.column(format.id)
        self._customers = None if format.customer is None else self._shape.column(format.customer)
        self._numbers = [(n, dotted(format.path_of(n)), self._shape.column(format.path_of(n))) for n in schema.numbers]

    @property
    def state(self) -> bytes:
        """What is to be kept with the position so that a restart goes on exactly: nothing, for JSON."""
        return b""

    def restore(self, state: bytes) -> None:
        """Go on from a kept `state`."""

    def decode(self, lines: bytes, position: int, ingest_ms: int = -1) -> Batch:
        """Return the events of a block of lines.

        Parameters
        ----------
        lines
            Records, each ended by a newline; the last may lack it.
        position
            Of the first byte in its source.
        ingest_ms
            When they entered; -1 in a recording.
        """
        if not lines:
            return Batch.none(self._schema)
        if lines[-1] != _NEWLINE:
            lines += b"\n"
        ends = _line_ends(lines)
        starts = np.concatenate([[0], ends[:-1] + 1])
        rows = self._clean(lines, starts, ends)
        positions = starts + position
        ingest = np.full(len(starts), ingest_ms, np.int64)
        if rows is None:
            return self._one_by_one(lines.split(b"\n")[:-1], positions, ingest)
        return self._batch(rows, positions, ingest, lambda i: lines[starts[i] : ends[i]], [])

    def decode_records(self, records: Sequence[bytes], positions: Sequence[int], ingest_ms: Sequence[int]) -> Batch:
        """Return the events of records that are no lines of a file: of the intake log, of Kafka.

        Parameters
        ----------
        records
            One event each; a newline in a record is white space.
        positions
            Of each in its source, growing.
        ingest_ms
            When each entered; -1 in a recording.
        """
        if not records:
            return Batch.none(self._schema)
        at, ingest = np.array(positions, np.int64), np.array(ingest_ms, np.int64)
        block = b"\n".join((*records, b""))
        ends = _line_ends(block)
        if len(ends) == len(records):
            rows = self._clean(block, np.concatenate([[0], ends[:-1] + 1]), ends)
            if rows is not None:
                return self._batch(rows, at, ingest, records.__getitem__, [])
        return self._one_by_one(records, at, ingest)

    def reject(self, refused: Invalid) -> Batch:
        """Return the batch of a record that the reader has refused."""
        return Batch.none(self._schema, refused)

    # --- records --------------------------------------------------------------------------------------------------

    def _clean(self, block: bytes, starts: Ints, ends: Ints) -> list[Row] | None:
        """Return one row for each line; None where any may be no event.

        That a line begins with { and ends with } makes it exact: no record spans lines then (after } the next token of
        the same record is never {), so as many records as lines means one in each.
        """
        sizes = ends - starts
        longest = int(sizes.max())
        if longest > self._max_record_bytes or int(sizes.min()) < 2:
            return None
        codes = np.frombuffer(block, np.uint8)
        last = codes[ends - 1]
        if (last == _RETURN).any():
            last = np.where(last == _RETURN, codes[ends - 2], last)
        if (codes[starts] != _OPEN).any() or (last != _CLOSE).any():
            return None
        if longest > 2 * MAX_DEPTH and _may_be_deep(block, codes, ends):
            return None
        try:
            if not block.isascii():
                block.decode()
            rows = self._shape.decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return rows if len(rows) == len(ends) else None

    def _one_by_one(self, records: Sequence[bytes], positions: Ints, ingest: Ints) -> Batch:
        rows: list[Row] = []
        kept: list[int] = []
        refused: list[Invalid] = []
        decode = self._shape.plain.decode
        for i, record in enumerate(records):
            reason = path = ""
            if len(record) > self._max_record_bytes:
                reason = "oversized"
            elif not _is_utf8(record):
                reason = "not-utf8"
            elif record.count(b"{") + record.count(b"[") > MAX_DEPTH and _depth(record) > MAX_DEPTH:
                reason = "not-json"
            else:
                try:
                    rows.append(decode(record))
                    kept.append(i)
                except (msgspec.DecodeError, RecursionError) as error:
                    reason, path = _why(record, error)
            if reason:
                refused.append(invalid(int(positions[i]), reason, path, record))
        at = np.array(kept, np.int64)
        return self._batch(rows, positions[at], ingest[at], lambda i: records[kept[i]], refused, careful=True)

    # --- columns --------------------------------------------------------------------------------------------------

    def _batch(
        self,
        rows: list[Row],
        positions: Ints,
        ingest: Ints,
        record: Callable[[int], bytes],
        refused: list[Invalid],
        *,
        careful: bool = False,
    ) -> Batch:
        """Return the batch of decoded records; `record(i)` is the bytes of row i."""
        if not rows:
            return Batch.none(self._schema, *refused)
        items = self._shape.items(rows)
        times, numbers, wrong = self._values(items)
        if wrong:
            late = [invalid(int(positions[i]), *why, record(i)) for i, why in wrong.items()]
            keep = np.array([i for i in range(len(items)) if i not in wrong], np.int64)
            refused = sorted([*refused, *late], key=lambda one: one.position)
            if not len(keep):
                return Batch.none(self._schema, *refused)
            items = [items[i] for i in keep.tolist()]
            of_all, rows_kept = record, keep.tolist()
            record = lambda i: of_all(rows_kept[i])  # noqa: E731
            positions, ingest, times = positions[keep], ingest[keep], times[keep]
            numbers = {name: column[keep] for name, column in numbers.items()}
        fields = self._shape.fields(items)
        if self._shape.bools or careful:
            fields = list(map(spelled, fields))
        raw, customers = self._customer_columns(items)
        ids: list[str | None] = [None] * len(items) if self._ids is None else _names(self._ids(items))
        return Batch(
            position=positions,
            time_ms=times,
            ingest_ms=ingest,
            customer=customers,
            raw_customer=raw,
            event_id=ids,
            fields=fields,
            numbers=numbers,
            partition=self._place(raw, ids),
            invalid=refused,
            record=record,
        )

    def _values(self, items: list[Item]) -> tuple[Ints, dict[str, Floats], dict[int, tuple[str, str]]]:
        """Return times and numbers, and why some items are no events: index → (reason, path)."""
        wrong: dict[int, tuple[str, str]] = {}
        time, path = self._format.time, dotted(self._format.time.path)
        given = self._times(items)
        iso = time.unit is Unit.ISO
        times = iso_column(given, time.zone_ms) if iso else epoch_column(given, time.unit)
        if times is None:
            read = [iso_ms(t, time.zone_ms) if iso else epoch_ms(t, time.unit) for t in given]
            times = np.array([MAX_MS + 1 if ms is None or ms > MAX_MS else max(ms, -1) for ms in read], np.int64)
        if times.min() < self._oldest_ms or times.max() > MAX_MS:
            for i in np.flatnonzero((times < self._oldest_ms) | (times > MAX_MS)).tolist():
                wrong[i] = ("bad-time" if times[i] > MAX_MS else "ancient", path)
        numbers: dict[str, Floats] = {}
        for name, path, column in self._numbers:
            given = column(items)
            try:
                numbers[name] = np.array(given, np.float64)
            except OverflowError:  # A whole number beyond a float, where the value is an id or a time as well.
                huge = {i for i, value in enumerate(given) if isinstance(value, int) and abs(value) > MAX_FLOAT}
                wrong |= {i: ("bad-number", path) for i in huge if i not in wrong}
                numbers[name] = np.array([None if i in huge else v for i, v in enumerate(given)], np.float64)
        return times, numbers, wrong

    def _customer_columns(self, items: list[Item]) -> tuple[list[str | None], Ints]:
        if self._customers is None:
            return [None] * len(items), np.zeros(len(items), np.int64)
        given = self._customers(items)
        return _names(given), self._keys.column(given)

    def _place(self, raw: list[str | None], ids: list[str | None]) -> Ints:
        if self._partitions == 1:
            return np.zeros(len(raw), np.int64)
        named = [customer or event or "" for customer, event in zip(raw, ids, strict=True)]
        placed = partitions_of(named, self._partitions)
        if "" in named:
            placed[[name == "" for name in named]] = 0
        return placed


def _names(given: list[Any]) -> list[str | None]:
    """Return ids as texts: a number in its digits, None for none."""
    try:
        "".join(given)
    except TypeError:
        return [
            value if isinstance(value, str) and value else None if value in (None, "") else str(value)
            for value in given
        ]
    return [value or None for value in given] if "" in given else given


def _line_ends(block: bytes) -> Ints:
    """int64[lines]: where the newlines are."""
    marks = np.frombuffer(block, np.uint8) == _NEWLINE
    whole = len(marks) & ~7
    words = marks[:whole].view("<u8")
    found = np.flatnonzero(words != 0)
    # Eight marks at a time. A word with one mark is 256**place; this multiple of it has the place as its highest byte.
    one = words[found]
    if (one & (one - np.uint64(1))).any():
        ends: Ints = np.flatnonzero(marks)
        return ends
    place = (one * _PLACES) >> np.uint64(56)
    return np.concatenate([8 * found + place.astype(np.int64), whole + np.flatnonzero(marks[whole:])])


def _may_be_deep(block: bytes, codes: Any, ends: Ints) -> bool:
    """Whether any line has more than MAX_DEPTH opening brackets, inside its texts or out."""
    opening = codes == _OPEN
    if b"[" in block:
        opening |= codes == _BRACKET
    if np.count_nonzero(opening) - len(ends) < MAX_DEPTH:
        return False
    line = np.searchsorted(ends, np.flatnonzero(opening))
    return bool((line[MAX_DEPTH:] == line[:-MAX_DEPTH]).any())


def _depth(record: bytes) -> int:
    """Return how deep objects and arrays are nested; brackets in texts do not count."""
    brackets = np.frombuffer(_TEXT.sub(b"", record).translate(None, _NO_BRACKETS), np.uint8)
    opening = (brackets == _OPEN) | (brackets == _BRACKET)
    return int(np.cumsum(np.where(opening, 1, -1)).max(initial=0))


def _is_utf8(record: bytes) -> bool:
    if record.isascii():
        return True
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def _why(record: bytes, error: Exception) -> tuple[str, str]:
    """Return reason and path for a record that the struct refused with this error."""
    if not record.strip(_BLANK):
        return "empty", ""
    try:
        _ANYTHING.decode(record)
    except msgspec.ValidationError:
        pass  # A number out of range, perhaps where nobody looks: the struct's own error says whether it matters.
    except (msgspec.DecodeError, RecursionError):
        return "not-json", ""
    message, _, path = str(error).rstrip("`").partition(" - at `")
    if "out of range" in message:
        return "bad-number", path
    if "missing required field" in message:
        return "missing-field", f"{path or '$'}.{message.split('`')[1]}"
    if "of length >=" in message:
        return "missing-field", path
    return ("wrong-type", path) if path else ("not-an-object", "")
