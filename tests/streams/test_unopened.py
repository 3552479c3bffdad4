"""Fetches taken apart batch by batch hold what aiokafka's own way of record by record gives."""

import inspect
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka import unopened
from streams.kafka.unopened import Taken, taken

TP = TopicPartition("events", 3)
ABORT, COMMIT = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
UNCOMMITTED, COMMITTED = 0, 1

Log = list[tuple[list[bytes | None], int | None, bytes | None]]
"""Values of each batch, its producer where it is a transaction's, the marker where it is one."""


def blob(log: Log, compression: int = 0) -> bytes:
    """Return the bytes of a fetch as a broker sends them."""
    out, offset = b"", 0
    for values, producer, marker in log:
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=compression,
            is_transactional=producer is not None,
            producer_id=-1 if producer is None else producer,
            producer_epoch=0,
            base_sequence=0,
            batch_size=1 << 20,
        )
        rows = [(None, value) for value in values] if marker is None else [(marker, b"\x00" * 6)]
        for i, (key, value) in enumerate(rows):
            builder.append(i, 1_000 + offset + i, key, value, [("source", b"app")])
        batch = bytearray(builder.build())
        struct.pack_into(">q", batch, 0, offset)
        if marker is not None:  # the bit that makes it a control batch, and the sum anew
            (attributes,) = struct.unpack_from(">h", batch, 21)
            struct.pack_into(">h", batch, 21, attributes | 0x20)
            struct.pack_into(">I", batch, 17, fetcher_crc(bytes(batch[21:])))
        out += bytes(batch)
        offset += len(rows)
    return out


def fetcher_crc(data: bytes) -> int:
    from aiokafka.record.util import calc_crc32c

    return int(calc_crc32c(data))


def both(
    log: Log, start: int, aborted: Sequence[tuple[int, int]], level: int
) -> tuple[list[tuple[Any, ...]], Taken | None]:
    """Return what aiokafka itself finds, and what is found batch by batch."""
    data = blob(log)
    own = OWN(TP, MemoryRecords(data), list(aborted), start, None, None, True, level)
    plain = [(one.offset, one.timestamp, one.value, tuple(one.headers)) for one in own]
    by_batch = unopened._RecordBatches(TP, MemoryRecords(data), list(aborted), start, None, None, True, level)
    found = list(by_batch)
    assert by_batch.next_fetch_offset == own.next_fetch_offset
    return plain, taken(found) if found else None


OWN: type[Any] = fetcher.PartitionRecords


@pytest.fixture(autouse=True)
def own_again() -> Iterator[None]:
    yield
    fetcher.PartitionRecords = OWN


BATCHES = st.lists(
    st.tuples(
        st.lists(st.one_of(st.none(), st.binary(max_size=5)), min_size=1, max_size=4),
        st.one_of(st.none(), st.integers(1, 3)),
        st.one_of(st.none(), st.none(), st.sampled_from([ABORT, COMMIT])),
    ),
    min_size=1,
    max_size=8,
)


@given(BATCHES, st.integers(0, 10), st.sets(st.tuples(st.integers(1, 3), st.integers(0, 12)), max_size=4))
def test_whatever_the_log_holds_the_same_records_are_found(log: Log, start: int, aborted: set[tuple[int, int]]) -> None:
    marked = [(values, 1 if marker and producer is None else producer, marker) for values, producer, marker in log]
    end = sum(1 if marker else len(values) for values, _, marker in marked)
    for level in (UNCOMMITTED, COMMITTED):
        plain, found = both(marked, min(start, end - 1), sorted(aborted), level)
        assert found is not None
        assert [(one.offset, one.timestamp, one.value, tuple(one.headers)) for one in found.records] == plain
        assert found.first == min(start, end - 1)
        assert found.next == end


def test_a_fetch_of_markers_alone_leads_on() -> None:
    plain, found = both([([], 7, COMMIT)], 0, [], COMMITTED)
    assert plain == []
    assert found == Taken([], 0, 1)


def test_damaged_bytes_are_refused() -> None:
    data = bytearray(blob([([b"one"], None, None)]))
    data[-1] ^= 1
    with pytest.raises(fetcher.Errors.CorruptRecordException):
        list(unopened._RecordBatches(TP, MemoryRecords(bytes(data)), [], 0, None, None, True, UNCOMMITTED))


def test_a_library_as_it_is_known_is_used_batch_by_batch() -> None:
    assert unopened.install()
    assert fetcher.PartitionRecords is unopened._RecordBatches


def test_another_library_is_left_as_it_is_and_read_record_by_record(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def __init__(self, tp: TopicPartition, records: MemoryRecords, more: object) -> None: ...

    assert "more" in inspect.signature(Other.__init__).parameters
    monkeypatch.setattr(fetcher, "PartitionRecords", Other)
    assert not unopened.install()
    assert fetcher.PartitionRecords is Other
    own = list(OWN(TP, MemoryRecords(blob([([b"a", b"b"], None, None)])), [], 0, None, None, True, UNCOMMITTED))
    found = taken(own)
    assert [one.value for one in found.records] == [b"a", b"b"]
    assert (found.first, found.next) == (0, 2)
