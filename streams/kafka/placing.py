"""Lines that came over HTTP → Kafka's messages: each event in its customer's partition, in the order in which it came.

Promises
- A worker reads from the messages what one process reads from the lines: the same events, and dead letters for the same
  reasons. So only lines that can't be taken for parts of one value share a message.
- An event is in the partition of its customer (without one, of its id) by Kafka's own partitioner, and has it as its
  key where it is alone in its message. What has neither, or is no event, is in the first.
- Nothing is larger than the brokers take. Of a record that is too long for an event anyhow the beginning does.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.decode import CustomerKeys, Decoder
from detector.decode.placement import partition_of, partitions_of
from detector.events import EventSchema, Ints
from streams.intake.bodies import TooLargeError
from streams.intake.formats import SSHD, decoder_for

GROUP_BYTES = 262_144
"""Lines share a message up to this size: what the reader takes at once."""
OVERHEAD_BYTES = 1_024
"""Of a message on the wire, beside its key and value: numbers, and the header that names the tenant."""


@dataclass(frozen=True)
class Placed:
    """A message; `key` is None where it holds the events of several, or of nobody."""

    partition: int
    value: bytes
    key: bytes | None = None


FEW = 8
"""Fewer names are placed one by one: columns are dear to set up."""


class _Unhashed(CustomerKeys):
    """Who a customer is does not matter here, only how the event writes it."""

    def column(self, raw: Sequence[str | int | None]) -> Ints:
        return np.zeros(len(raw), np.int64)


@dataclass
class _Group:
    lines: list[bytes] = field(default_factory=list)
    size: int = 0
    key: bytes | None = None


class Placer:
    r"""Places the lines of one format; threads may share it.

    Parameters
    ----------
    format, formats
        The input's format by name, and the mappings of the configuration.
    partitions
        Of the input.
    message_bytes
        The largest message that the brokers take.
    max_record_bytes
        The longest record that may be an event.

    Examples
    --------
    >>> placer = Placer("json", {}, partitions=8, message_bytes=1_048_576, max_record_bytes=262_144)
    >>> payment = b'{"time":"2026-03-27T13:06:56Z","kind":"payment","customer":"C-1042"}\n'
    >>> [(one.partition, one.key) for one in placer.messages(payment + b"null\n")]
    [(0, None), (3, b'C-1042')]
    """

    def __init__(
        self,
        format: str,
        formats: Mapping[str, object],
        partitions: int,
        message_bytes: int,
        max_record_bytes: int,
    ) -> None:
        self._format, self._formats, self._partitions = format, formats, partitions
        self._longest, self._most = max_record_bytes, message_bytes - OVERHEAD_BYTES
        self._group = min(GROUP_BYTES, self._most)
        self._json = format != SSHD
        self._of_thread = threading.local()

    def messages(self, lines: bytes) -> list[Placed]:
        """Return the messages of records, each ended by a newline.

        Raises
        ------
        TooLargeError
            One that may be an event is larger than the brokers take.
        """
        records = lines.split(b"\n")
        records.pop()
        partition, keys = self._places(lines, records)
        out: list[Placed] = []
        groups: dict[int, _Group] = {}

        def flush(number: int) -> None:
            group = groups.pop(number, None)
            if group is not None:
                out.append(Placed(number, b"\n".join(group.lines), group.key if len(group.lines) == 1 else None))

        for i, record in enumerate(records):
            number, key = partition[i], keys[i]
            size = len(record) + 1
            if size > self._group or not self._stands_alone(record):
                flush(number)
                out.append(self._single(i, number, record, key))
                continue
            group = groups.get(number)
            if group is not None and group.size + size > self._group:
                flush(number)
                group = None
            if group is None:
                group = groups[number] = _Group(key=key)
            group.lines.append(record)
            group.size += size
        for number in list(groups):
            flush(number)
        return out

    def _stands_alone(self, record: bytes) -> bool:
        """Whether no reader takes the line for a part of what stands beside it."""
        return record.startswith(b"{") if self._json else bool(record)

    def _single(self, i: int, number: int, record: bytes, key: bytes | None) -> Placed:
        if len(record) > self._most:
            if self._most <= self._longest:
                message = (
                    f"record {i + 1}: expected at most {self._most:,} bytes (kafka.message_bytes), "
                    f"found {len(record):,}"
                )
                raise TooLargeError(message)
            record = record[: self._most]
        return Placed(number, record, key if len(record) + len(key or b"") <= self._most else None)

    def _places(self, lines: bytes, records: list[bytes]) -> tuple[list[int], list[bytes | None]]:
        """Return partition and key of each record."""
        partition, keys = [0] * len(records), list[bytes | None]([None]) * len(records)
        if not self._json or not records:
            return partition, keys
        batch = self._decoder().decode(lines, 0)
        rows: Any = range(len(records))
        if len(batch.position) < len(records):
            lengths = np.fromiter(map(len, records), np.int64, len(records)) + 1
            rows = np.searchsorted(np.cumsum(lengths) - lengths, batch.position).tolist()
        named = [customer or event or "" for customer, event in zip(batch.raw_customer, batch.event_id, strict=True)]
        for row, number, name in zip(rows, self._partition_of_each(named), named, strict=True):
            if name:
                partition[row], keys[row] = number, name.encode("utf-8", "surrogatepass")
        return partition, keys

    def _partition_of_each(self, names: list[str]) -> list[int]:
        if len(names) < FEW:
            return [partition_of(name, self._partitions) for name in names]
        found: list[int] = partitions_of(names, self._partitions).tolist()
        return found

    def _decoder(self) -> Decoder:
        """Return what finds the customer; it learns from what it reads, so each thread has its own."""
        found: Decoder | None = getattr(self._of_thread, "decoder", None)
        if found is None:
            made = decoder_for(
                self._format,
                EventSchema((), ()),
                _Unhashed(b""),
                self._formats,
                max_record_bytes=self._longest,
            )
            assert isinstance(made, Decoder)
            found = self._of_thread.decoder = made
        return found
