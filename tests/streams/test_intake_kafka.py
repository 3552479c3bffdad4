"""Kafka's records → events: all forms of messages give what the same lines of a file give, whatever stands around."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.decode import JSON, CustomerKeys, Decoder
from detector.events import REASONS, Batch, EventSchema
from streams.intake.cloudevents import STRUCTURED
from streams.intake.formats import decoder_for
from streams.intake.kafka import Messages
from tests.servers.reading import Record

KEYS = CustomerKeys(b"k")
SCHEMA = EventSchema(("kind", "bank"), ("amount",))
MAX_BYTES = 512
AT_MS = 1_774_616_820_000


@dataclass
class Rows:
    """What a batch says, without its arrays."""

    events: list[tuple[object, ...]] = field(default_factory=list)
    refused: list[tuple[object, ...]] = field(default_factory=list)


def decoder() -> Decoder:
    return Decoder(SCHEMA, JSON, KEYS, max_record_bytes=MAX_BYTES)


def read(records: Sequence[Record], format: str = "json", reader: Any = None) -> Batch:
    return Messages(reader or decoder(), format).batch(records)


def contents(batch: Batch) -> list[tuple[object, ...]]:
    columns = zip(batch.time_ms.tolist(), batch.event_id, batch.raw_customer, batch.fields, strict=True)
    return [(*row, None if a != a else a) for row, a in zip(columns, batch.numbers["amount"].tolist(), strict=True)]


def reasons(batch: Batch) -> list[tuple[int, str, str]]:
    return [(one.position, one.reason, one.path) for one in batch.invalid]


def event(n: int, **more: object) -> bytes:
    time = {"time": f"2026-03-27T13:{n // 60 % 60:02d}:{n % 60:02d}Z"}
    return json.dumps({"id": f"e{n}", "kind": "payment", "customer": f"C-{n}", "bank": "BNI"} | time | more).encode()


def test_one_event_a_message() -> None:
    batch = read([Record(event(n), timestamp=AT_MS + n, offset=100 + 3 * n) for n in range(5)])
    assert batch.position.tolist() == [100, 103, 106, 109, 112]
    assert batch.ingest_ms.tolist() == [AT_MS + n for n in range(5)]
    assert batch.event_id == ["e0", "e1", "e2", "e3", "e4"] and not batch.invalid
    assert batch.record is not None and batch.record(3) == event(3)


@pytest.mark.parametrize("ends", [b"", b"\n"])
def test_many_events_a_message_share_its_offset_and_its_time(ends: bytes) -> None:
    two = [
        Record(b"\n".join([event(1), event(2)]) + ends, timestamp=AT_MS, offset=7),
        Record(b"\n".join([event(3), b'{"kind":"payment"}', event(4)]) + ends, timestamp=AT_MS + 5, offset=9),
    ]
    batch = read(two)
    assert batch.position.tolist() == [7, 7, 9, 9]
    assert batch.ingest_ms.tolist() == [AT_MS, AT_MS, AT_MS + 5, AT_MS + 5]
    assert reasons(batch) == [(9, "missing-field", "line 2 $.time")]
    assert batch.record is not None and batch.record(3) == event(4)


def test_a_message_of_one_line_has_no_number_beside_one_of_many() -> None:
    batch = read([Record(b"\n".join([event(1), b"x"]), offset=1), Record(b"x", offset=2)])
    assert reasons(batch) == [(1, "not-json", "line 2"), (2, "not-json", "")]


def test_json_over_several_lines_is_one_event() -> None:
    spread = json.dumps(json.loads(event(1)), indent=2).encode()
    batch = read([Record(spread, offset=1), Record(b"\n".join([event(2), event(3)]), offset=2)])
    assert batch.event_id == ["e1", "e2", "e3"] and batch.position.tolist() == [1, 2, 2]


def test_a_structured_cloudevent() -> None:
    envelope = {
        "specversion": "1.0",
        "id": "7",
        "source": "/shop",
        "type": "payment",
        "subject": "C-1",
        "time": "2026-03-27T13:06:56Z",
        "data": {"bank": "BNI", "amount": 12.5},
    }
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    texts = [json.dumps(envelope).encode(), json.dumps(envelope, indent=1).encode()]
    batch = read([Record(text, headers, offset=n) for n, text in enumerate(texts)])
    row = (1_774_616_816_000, "/shop 7", "C-1", ("payment", "BNI"), 12.5)
    assert contents(batch) == [row, row] and batch.position.tolist() == [0, 1]


def test_a_binary_cloudevent() -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"100%41"),
        ("ce_source", "/toko/déjà".encode()),
        ("ce_type", b"payment"),
        ("ce_subject", b"C-1"),
        ("ce_time", b"2026-03-27T13:06:56Z"),
        ("content-type", b"application/json"),
        ("traceparent", b"\xff\xfe"),
    ]
    batch = read([Record(b'{"bank":\n"BNI"}', headers)])
    assert contents(batch) == [(1_774_616_816_000, "/toko/déjà 100%41", "C-1", ("payment", "BNI"), None)]
    without_data = read([Record(None, headers)])
    assert contents(without_data) == [(1_774_616_816_000, "/toko/déjà 100%41", "C-1", ("payment", None), None)]


def test_a_mapped_format_sees_the_envelope() -> None:
    mapping = {
        "ours": {"time": "time", "id": "id", "kind": "type", "customer": "subject", "fields": {"bank": "data.b"}}
    }
    reader = decoder_for("ours", EventSchema(("kind", "bank"), ()), KEYS, mapping)
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_type", b"paid"), ("ce_time", b"2026-03-27T13:06:56Z")]
    batch = read([Record(b'{"b":"BNI"}', headers)], "ours", reader)
    assert batch.fields == [("paid", "BNI")] and batch.event_id == ["1"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param(Record(None), "empty", id="null"),
        pytest.param(Record(b""), "empty", id="empty"),
        pytest.param(Record(b"\n"), "empty", id="an empty line"),
        pytest.param(Record(b"\xff\xfe{}"), "not-utf8", id="no UTF-8"),
        pytest.param(Record(b"{"), "not-json", id="broken off"),
        pytest.param(Record(b"[1]"), "not-an-object", id="a list"),
        pytest.param(Record(event(1, note="x" * MAX_BYTES)), "oversized", id="too large"),
        pytest.param(Record(b"{", [("content-type", STRUCTURED.encode())]), "not-json", id="a broken envelope"),
        pytest.param(Record(b'{"id":"1"}', [("content-type", STRUCTURED.encode())]), "missing-field", id="no envelope"),
        pytest.param(Record(None, [("content-type", STRUCTURED.encode())]), "empty", id="a null envelope"),
        pytest.param(Record(b"{}", [("ce_specversion", b"1.0")]), "missing-field", id="no attributes"),
        pytest.param(Record(b"{", [("ce_specversion", b"1.0"), ("ce_id", b"1")]), "not-json", id="broken data"),
        pytest.param(Record(b"{}", [("ce_specversion", b"\xff")]), "not-utf8", id="a header of no UTF-8"),
        pytest.param(Record(b'{"a":"\n"}', [("ce_specversion", b"1.0")]), "not-json", id="a line break in a text"),
    ],
)
def test_what_is_no_event_is_one_dead_letter_and_takes_no_other_along(record: Record, reason: str) -> None:
    batch = read(
        [Record(event(1), offset=1), Record(record.value, record.headers, offset=2), Record(event(3), offset=3)]
    )
    assert batch.event_id == ["e1", "e3"] and batch.position.tolist() == [1, 3]
    ((position, found, path),) = reasons(batch)
    assert (position, found) == (2, reason) and not path.startswith("line")
    assert batch.records == 3


def test_of_what_is_too_large_only_its_hash_is_kept() -> None:
    large = event(1, note="x" * MAX_BYTES)
    alone, among = read([Record(large, offset=5)]), read([Record(b"\n".join([event(2), large]), offset=6)])
    expected = f"sha256:{hashlib.sha256(large).hexdigest()}".encode()
    for batch, path in ((alone, ""), (among, "line 2")):
        (one,) = batch.invalid
        assert (one.reason, one.path, one.size, one.data) == ("oversized", path, len(large), expected)


def test_no_records_are_no_events() -> None:
    assert read([]).records == 0


def test_lines_of_a_log_are_lines() -> None:
    line = b"Mar 27 13:06:56 host sshd[1]: Failed password for root from 10.0.0.1 port 22 ssh2"
    reader = decoder_for("sshd", EventSchema(("kind", "user"), ()), KEYS)
    batch = read([Record(b"\n".join([line, b"noise", line]), offset=4), Record(line, offset=5)], "sshd", reader)
    assert batch.position.tolist() == [4, 4, 5] and batch.dropped == {"not-an-event": 1}
    assert set(batch.time_ms.tolist()) == {1_774_616_816_000}, "the year is the one of the message"


# --- whatever comes ---------------------------------------------------------------------------------------------------

_LINES = st.one_of(
    st.integers(0, 3_000).map(event),
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from([b"{}", b"", b"[1]", b"{", b"null", b"\xff", b'{"time":5}', event(1, note="x" * MAX_BYTES)]),
)
_HEADERS: st.SearchStrategy[list[tuple[str, bytes]]] = st.one_of(
    st.just([]),
    st.just([("content-type", b"application/cloudevents+json")]),
    st.just([("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/s"), ("ce_type", b"payment")]),
    st.lists(st.tuples(st.sampled_from(["ce_specversion", "ce_id", "content-type", "x"]), st.binary(max_size=8))),
)


def lines_of(message: list[bytes]) -> list[bytes]:
    """One JSON value is one line; what ends with an empty line has ended its last line by a newline."""
    try:
        msgspec.json.decode(b"\n".join(message))
    except msgspec.DecodeError:
        return message[:-1] if len(message) > 1 and message[-1] == b"" else message
    return [b" ".join(message).rstrip()] if len(message) > 1 else message


@given(st.lists(st.lists(_LINES, min_size=1, max_size=5), max_size=8), st.integers(0, 2**40))
def test_messages_give_what_their_lines_give_in_a_file(messages: list[list[bytes]], first: int) -> None:
    records = [Record(b"\n".join(lines), offset=first + n) for n, lines in enumerate(messages)]
    batch = read(records)
    expected = [line for of in messages for line in lines_of(of)]
    in_file = decoder().decode(b"\n".join([*expected, b""]) if expected else b"", 0)
    assert contents(batch) == contents(in_file)
    assert [one.reason for one in batch.invalid] == [one.reason for one in in_file.invalid]
    assert batch.records == len(expected)
    assert all(first <= one.position < first + len(messages) for one in batch.invalid)
    assert sorted(batch.position.tolist()) == batch.position.tolist()


@given(st.lists(st.tuples(st.none() | st.lists(_LINES, max_size=4).map(b"\n".join), _HEADERS), min_size=1, max_size=8))
def test_whatever_a_message_holds_it_is_judged_alone_and_nothing_is_lost(
    given_records: list[tuple[bytes | None, list[tuple[str, bytes]]]],
) -> None:
    records = [Record(value, headers, offset=n) for n, (value, headers) in enumerate(given_records)]
    together, apart = read(records), [read([record]) for record in records]
    assert contents(together) == [row for batch in apart for row in contents(batch)]
    assert together.position.tolist() == [at for batch in apart for at in batch.position.tolist()]
    assert together.invalid == [one for batch in apart for one in batch.invalid]
    assert all(batch.records >= 1 for batch in apart)
    assert {one.reason for one in together.invalid} <= set(REASONS)
