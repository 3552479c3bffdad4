"""What an event is: one thing that happened to one customer, as columns of a batch.

`streams/intake` cuts a source into records; a `Decoder` (`detector/decode`) turns their bytes into a `Batch` or,
record by record, into `Invalid`. Nothing behind this file reads raw bytes again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Invalid(msgspec.Struct, frozen=True):
    """A record that is no event, on its way to the dead letter.

    `reason` is one of a bounded set (`REASONS`); `path` says where in the record (`$.time`), "" for the whole.
    """

    position: int
    reason: str
    path: str
    size: int
    data: bytes
    """The record's first 4 KiB, as they came."""


KEPT_BYTES = 4_096
"""How much of a refused record is kept."""

REASONS = (
    "not-json",  # not JSON: NaN, Infinity, lone surrogates, a BOM, truncated, too deep
    "not-utf8",
    "not-an-object",  # null, an array, a bare string or number
    "empty",
    "oversized",  # beyond the record limit: never decoded
    "missing-field",
    "wrong-type",
    "bad-time",  # not a time in the stated form
    "ancient",  # before the oldest time that is taken (default the year 2000)
    "far-future",  # ahead of its ingest time beyond the skew; in a recording, a leap that no later record confirms
    "bad-number",  # infinite, or beyond a 64-bit float
    "no-tenant",  # on a topic that tenants share: names none, or one whom nobody serves
    "unreadable-line",  # a text format's line that names an event but does not parse
)


@dataclass
class Batch:
    """Events of one stretch of a source, in its order. Row i of every column is one event.

    Attributes
    ----------
    position : int64[n]
        Where the record begins in its source (a byte offset, a sequence number, a Kafka offset): grows strictly.
    time_ms : int64[n]
        Event time, epoch milliseconds UTC.
    ingest_ms : int64[n]
        When the record entered; -1 in a recording, which has no ingest times.
    customer : int64[n]
        Keyed hash of the customer's id, aliases resolved (`CustomerKeys`); 0 where there is none.
    raw_customer : list[str | None]
        The id as it came, for the directory's bare row of a failing customer. Never stored elsewhere.
    event_id : list[str | None]
        For dropping duplicates; None is never a duplicate.
    fields : list[tuple]
        Per event the values of `schema.fields`, in that order (str, int, float, bool or None).
    numbers : dict[str, float64[n]]
        Per numeric field of the signals (`schema.numbers`), NaN where absent.
    partition : int64[n]
        By murmur2 of the customer (or the event's id): 0 throughout with one partition.
    invalid : list[Invalid]
        The records among them that are no events.
    dropped : dict[str, int]
        Records that are no events by design, by reason (a log's other programs).
    records : int
        Records read: `len(time_ms) + len(invalid) + sum(dropped.values())`.
    """

    position: Ints
    time_ms: Ints
    ingest_ms: Ints
    customer: Ints
    raw_customer: list[str | None]
    event_id: list[str | None]
    fields: list[tuple[object, ...]]
    numbers: dict[str, Floats]
    partition: Ints
    invalid: list[Invalid] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    record: Callable[[int], bytes] | None = None
    """The bytes of row i, while the block that they came in is at hand: for an event that is refused after all."""

    @classmethod
    def none(cls, schema: "EventSchema", *invalid: Invalid) -> "Batch":
        """Return a batch without events: what stood there is `invalid`."""
        empty = np.zeros(0, np.int64)
        numbers = {name: np.zeros(0) for name in schema.numbers}
        return cls(empty, empty, empty, empty, [], [], [], numbers, empty, list(invalid))

    @property
    def records(self) -> int:
        return len(self.time_ms) + len(self.invalid) + sum(self.dropped.values())


class EventSchema(msgspec.Struct, frozen=True):
    """Which fields of an event the signals use: the rest is skipped unparsed."""

    fields: tuple[str, ...]
    """Categorical: `kind` first, then every dimension and every field of a condition, sorted."""
    numbers: tuple[str, ...]
    """Numeric: the measured values and the fields of numeric conditions, sorted."""


def canonical(value: object) -> str:
    """A dimension value's text, however the producer typed it.

    Examples
    --------
    >>> canonical("BNI"), canonical(True), canonical(5), canonical(5.0), canonical(None)
    ('BNI', 'true', '5', '5', '')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
