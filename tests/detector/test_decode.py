"""What the decoder makes of records: columns of the good ones, a named reason for each of the others."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.decode import JSON, CustomerKeys, Decoder, Format, TimeField, Unit, customer_key
from detector.decode.decoder import MAX_DEPTH
from detector.decode.placement import partition_of
from detector.events import REASONS, Batch, EventSchema, canonical

SCHEMA = EventSchema(("kind", "bank", "outcome"), ("latency",))
GOOD = b'{"id":"e1","time":"2026-03-27T13:06:56.250Z","kind":"pay","customer":"C1","bank":"BNI","latency":12.5}'
GOOD_MS = 1_774_616_816_250
NESTED = Format(
    time=TimeField(("meta", "at"), Unit.MILLISECONDS),
    id=("meta", "id"),
    customer=("user", "id"),
    kind=("meta", "type"),
    fields={"bank": ("card", "bank"), "latency": ("card", "ms")},
)


def decoder(format: Format = JSON, schema: EventSchema = SCHEMA, **options: Any) -> Decoder:
    return Decoder(schema, format, CustomerKeys(b"key"), **options)


def rows(batch: Batch) -> list[tuple[Any, ...]]:
    """A batch's events as plain values, NaN as None."""
    numbers = {name: [None if np.isnan(v) else v for v in column.tolist()] for name, column in batch.numbers.items()}
    return [
        (
            int(batch.position[i]),
            int(batch.time_ms[i]),
            int(batch.ingest_ms[i]),
            int(batch.customer[i]),
            batch.raw_customer[i],
            batch.event_id[i],
            [(type(value), value) for value in batch.fields[i]],
            [column[i] for column in numbers.values()],
            int(batch.partition[i]),
        )
        for i in range(len(batch.time_ms))
    ]


def whole(batch: Batch) -> tuple[list[Any], list[Any]]:
    return rows(batch), batch.invalid


def joined(batches: Iterable[Batch]) -> tuple[list[Any], list[Any]]:
    parts = [whole(batch) for batch in batches]
    return [row for part in parts for row in part[0]], [one for part in parts for one in part[1]]


def test_an_event_becomes_a_row_of_every_column() -> None:
    batch = decoder().decode(GOOD + b"\n", 100, 7)
    assert rows(batch) == [
        (
            100,
            GOOD_MS,
            7,
            customer_key(b"key", "C1"),
            "C1",
            "e1",
            [(str, "pay"), (str, "BNI"), (type(None), None)],
            [12.5],
            0,
        )
    ]
    assert batch.records == 1
    assert not batch.invalid


def test_positions_are_the_records_first_bytes() -> None:
    batch = decoder().decode(GOOD + b"\r\n" + GOOD + b"\n\n" + GOOD, 1000)
    assert batch.position.tolist() == [1000, 1000 + len(GOOD) + 2, 1000 + 2 * len(GOOD) + 4]
    assert [(one.position, one.reason) for one in batch.invalid] == [(1000 + 2 * len(GOOD) + 3, "empty")]


def event(**changes: object) -> bytes:
    values = {"time": "2026-03-27T13:06:56.250Z", "kind": "pay", **changes}
    return msgspec.json.encode({key: value for key, value in values.items() if value is not ...})


def with_raw(field: str, raw: bytes) -> bytes:
    return GOOD.replace(b'"bank":"BNI"', b'"%s":%s' % (field.encode(), raw))


BAD = [
    pytest.param(b"", "empty", "", id="blank line"),
    pytest.param(b" \t\r", "empty", "", id="white space"),
    pytest.param(b"{", "not-json", "", id="truncated"),
    pytest.param(b'{"time":5,', "not-json", "", id="truncated behind a wrong type"),
    pytest.param(GOOD + GOOD, "not-json", "", id="two records on a line"),
    pytest.param(GOOD + b" " + GOOD, "not-json", "", id="two records on a line, apart"),
    pytest.param(b"\xef\xbb\xbf" + GOOD, "not-json", "", id="byte order mark"),
    pytest.param(with_raw("bank", b"NaN"), "not-json", "", id="NaN"),
    pytest.param(with_raw("latency", b"Infinity"), "not-json", "", id="Infinity"),
    pytest.param(with_raw("bank", rb'"\ud800"'), "not-json", "", id="lone surrogate"),
    pytest.param(with_raw("other", rb'"\ud800"'), "not-json", "", id="lone surrogate in an unused field"),
    pytest.param(with_raw("bank", b'"\x00"'), "not-json", "", id="NUL"),
    pytest.param(with_raw("bank", b"[" * 10_000 + b"]" * 10_000), "not-json", "", id="depth 10,000"),
    pytest.param(with_raw("other", b"[" * MAX_DEPTH + b"]" * MAX_DEPTH), "not-json", "", id="just too deep"),
    pytest.param(with_raw("bank", b'"\xff"'), "not-utf8", "", id="invalid UTF-8"),
    pytest.param(with_raw("other", b'"\xc3"'), "not-utf8", "", id="invalid UTF-8 in an unused field"),
    pytest.param(with_raw("bank", b'"\xed\xa0\x80"'), "not-utf8", "", id="surrogate in UTF-8"),
    pytest.param(b"null", "not-an-object", "", id="null"),
    pytest.param(b'[{"time":1}]', "not-an-object", "", id="array"),
    pytest.param(b'"text"', "not-an-object", "", id="text"),
    pytest.param(b"12", "not-an-object", "", id="number"),
    pytest.param(event(time=...), "missing-field", "$.time", id="no time"),
    pytest.param(event(kind=...), "missing-field", "$.kind", id="no kind"),
    pytest.param(event(kind=""), "missing-field", "$.kind", id="empty kind"),
    pytest.param(event(kind=5), "wrong-type", "$.kind", id="kind a number"),
    pytest.param(event(time=1774616816250), "wrong-type", "$.time", id="time a bare number"),
    pytest.param(event(time=None), "wrong-type", "$.time", id="time null"),
    pytest.param(event(bank={"name": "BNI"}), "wrong-type", "$.bank", id="category an object"),
    pytest.param(event(bank=["BNI"]), "wrong-type", "$.bank", id="category an array"),
    pytest.param(event(latency="12"), "wrong-type", "$.latency", id="number in a text"),
    pytest.param(event(latency=True), "wrong-type", "$.latency", id="number a boolean"),
    pytest.param(event(customer=1.5), "wrong-type", "$.customer", id="customer a fraction"),
    pytest.param(event(customer=True), "wrong-type", "$.customer", id="customer a boolean"),
    pytest.param(event(id=[1]), "wrong-type", "$.id", id="id an array"),
    pytest.param(event(time="yesterday"), "bad-time", "$.time", id="time in words"),
    pytest.param(event(time="NaN"), "bad-time", "$.time", id="time NaN"),
    pytest.param(event(time=""), "bad-time", "$.time", id="time empty"),
    pytest.param(event(time="1774616816250"), "bad-time", "$.time", id="time in digits"),
    pytest.param(event(time="2026-02-30T00:00:00Z"), "bad-time", "$.time", id="no such day"),
    pytest.param(event(time="2026-03-27T24:00:00Z"), "bad-time", "$.time", id="no such hour"),
    pytest.param(event(time="2026-03-27T13:06:56"), "bad-time", "$.time", id="no zone"),
    pytest.param(event(time="1999-12-31T23:59:59Z"), "ancient", "$.time", id="before 2000"),
    pytest.param(event(time="0000-01-01T00:00:00Z"), "ancient", "$.time", id="year 0"),
    pytest.param(with_raw("latency", b"1e999"), "bad-number", "$.latency", id="1e999"),
    pytest.param(with_raw("bank", b"-1e999"), "bad-number", "$.bank", id="category -1e999"),
    pytest.param(with_raw("latency", b"9" * 400), "bad-number", "$.latency", id="400 digits"),
    pytest.param(with_raw("customer", b"9" * 5000), "bad-number", "$.customer", id="5,000 digits"),
]


@pytest.mark.parametrize(("line", "reason", "path"), BAD)
def test_a_bad_record_is_named_and_its_neighbours_live(line: bytes, reason: str, path: str) -> None:
    batch = decoder().decode(GOOD + b"\n" + line + b"\n" + GOOD + b"\n", 0)
    assert [(one.position, one.reason, one.path, one.size, one.data) for one in batch.invalid] == [
        (len(GOOD) + 1, reason, path, len(line), line[:4096])
    ]
    assert batch.position.tolist() == [0, len(GOOD) + len(line) + 2]
    assert reason in REASONS


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(with_raw("other", b"1e999"), id="a number out of range where nobody looks"),
        pytest.param(with_raw("bank", b"9223372036854775809"), id="2^63+1 as a category"),
        pytest.param(with_raw("latency", b"9223372036854775809"), id="2^63+1 as a value"),
        pytest.param(with_raw("other", b"[" * 199 + b"]" * 199), id="deep, but not too deep"),
        pytest.param(with_raw("other", b'"' + b"{[" * 300 + b'"'), id="brackets in a text"),
        pytest.param(with_raw("other", b"[" + b"{}," * 300 + b"1]"), id="many objects side by side"),
        pytest.param(with_raw("kind", b'"late"'), id="a key that stands twice"),
        pytest.param(b"\t " + GOOD + b" \r", id="white space around"),
        pytest.param(with_raw("bank", '"Bank Jaténg €𝄞"'.encode()), id="text beyond ASCII"),
        pytest.param(b'{"time":"2016-12-31T23:59:60Z","kind":"k"}', id="a leap second"),
        pytest.param(b"{" + b'"k":1,' * 10_000 + GOOD[1:], id="10,000 keys"),
    ],
)
def test_an_odd_record_is_an_event_alone_and_in_a_block(line: bytes) -> None:
    alone = decoder().decode(line, 0)
    assert len(alone.time_ms) == 1
    block = decoder().decode(GOOD + b"\n" + line + b"\n" + GOOD, -len(GOOD) - 1)
    assert rows(block)[1] == rows(alone)[0]


def test_the_last_of_two_equal_keys_counts() -> None:
    assert decoder().decode(with_raw("kind", b'"late"'), 0).fields[0][0] == "late"


def test_a_record_beyond_the_limit_is_refused_undecoded() -> None:
    small = decoder(max_record_bytes=len(GOOD))
    batch = small.decode(GOOD + b"\n" + GOOD + b" \n", 0)
    assert batch.position.tolist() == [0]
    assert [(one.reason, one.size) for one in batch.invalid] == [("oversized", len(GOOD) + 1)]


def test_a_dead_letter_keeps_the_first_4_kib() -> None:
    (dead,) = decoder().decode(b"x" * 10_000, 0).invalid
    assert (dead.size, dead.data) == (10_000, b"x" * 4096)


def test_ids_and_customers_are_texts_or_none() -> None:
    lines = [event(id=i, customer=c) for i, c in [("a", "C"), (5, 7), ("", ""), (None, None), (..., ...), (2**70, -1)]]
    batch = decoder().decode(b"\n".join(lines), 0)
    assert batch.event_id == ["a", "5", None, None, None, str(2**70)]
    assert batch.raw_customer == ["C", "7", None, None, None, "-1"]
    hashed = batch.customer.tolist()
    assert [h == 0 for h in hashed] == [False, False, True, True, True, False]
    assert hashed[1] == customer_key(b"key", "7")


def test_categories_keep_their_values_and_truth_is_spelled_out() -> None:
    values: list[object] = ["BNI", "", 5, 2.5, None, 2**64]
    batch = decoder().decode(b"\n".join(event(bank=value) for value in values), 0)
    assert [(type(row[1]), row[1]) for row in batch.fields] == [(type(value), value) for value in values]


@pytest.mark.parametrize("first", [1, True, 1.0, "true"])
def test_true_and_one_are_never_taken_for_each_other(first: object) -> None:
    one = decoder()
    rows = [row for value in (first, True, 1, False, 0) for row in one.decode(event(bank=value) + b"\n", 0).fields]
    assert [canonical(row[1]) for row in rows] == [canonical(first), "true", "1", "false", "0"]
    assert not any(isinstance(row[1], bool) for row in rows)


def test_a_field_that_is_category_and_value_is_both() -> None:
    schema = EventSchema(("kind", "latency"), ("latency",))
    batch = decoder(schema=schema).decode(event(latency=5) + b"\n" + event() + b"\n" + event(latency="5"), 0)
    assert batch.fields == [("pay", 5.0), ("pay", None)]
    assert batch.numbers["latency"].tolist()[0] == 5.0
    assert np.isnan(batch.numbers["latency"][1])
    assert [one.reason for one in batch.invalid] == ["wrong-type"]


def test_parts_are_found_by_path_in_any_json() -> None:
    line = (
        b'{"meta":{"at":1774616816250,"id":9,"type":"pay"},"user":{"id":"C1","x":1},'
        b'"card":{"bank":"BNI","ms":3},"outcome":"ok"}'
    )
    batch = decoder(NESTED).decode(line, 0)
    assert (batch.time_ms.tolist(), batch.event_id, batch.raw_customer) == ([GOOD_MS], ["9"], ["C1"])
    assert (batch.fields, batch.numbers["latency"].tolist()) == ([("pay", "BNI", "ok")], [3.0])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b'{"meta":{"at":1774616816250,"type":"k"}}', None, id="optional objects absent"),
        pytest.param(b'{"meta":{"at":1774616816250,"type":"k"},"user":null,"card":null}', None, id="null objects"),
        pytest.param(b'{"user":{"id":"C1"}}', ("missing-field", "$.meta"), id="required object absent"),
        pytest.param(b'{"meta":{"type":"k"}}', ("missing-field", "$.meta.at"), id="required value absent"),
        pytest.param(b'{"meta":{"at":1,"type":"k"},"user":"C1"}', ("wrong-type", "$.user"), id="a value for an object"),
        pytest.param(b'{"meta":{"at":-1,"type":"k"}}', ("ancient", "$.meta.at"), id="negative time"),
        pytest.param(b'{"meta":{"at":1e300,"type":"k"}}', ("bad-time", "$.meta.at"), id="time without bounds"),
    ],
)
def test_nested_parts_may_be_absent_or_wrong(line: bytes, expected: tuple[str, str] | None) -> None:
    batch = decoder(NESTED).decode(line, 0)
    if expected is None:
        assert batch.fields == [("k", None, None)]
        assert batch.customer.tolist() == [0]
    else:
        assert [(one.reason, one.path) for one in batch.invalid] == [expected]


def test_the_kind_may_be_a_constant() -> None:
    format = Format(kind=None, constant_kind="order", id=None)
    batch = decoder(format).decode(b'{"time":"2026-03-27T13:06:56Z","bank":"BNI","id":"x"}', 0)
    assert batch.fields == [("order", "BNI", None)]
    assert batch.event_id == [None]
    only_kind = decoder(format, EventSchema(("kind",), ())).decode(b'{"time":"2026-03-27T13:06:56Z"}', 0)
    assert only_kind.fields == [("order",)]


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_events_are_placed_by_customer_or_else_by_id(partitions: int) -> None:
    lines = [event(customer="C1", id="a"), event(customer=42), event(id="b"), event()]
    batch = decoder(partitions=partitions).decode(b"\n".join(lines), 0)
    assert batch.partition.tolist() == [*(partition_of(key, partitions) for key in ("C1", "42", "b")), 0]


def test_records_that_are_no_lines_decode_as_lines_do() -> None:
    lines = [GOOD, b"", b"nonsense", event(bank="BCA")]
    positions, ingest = [5, 6, 7, 9], [1, 2, 3, 4]
    batch = decoder().decode_records(lines, positions, ingest)
    assert (batch.position.tolist(), batch.ingest_ms.tolist()) == ([5, 9], [1, 4])
    assert [(one.position, one.reason) for one in batch.invalid] == [(6, "empty"), (7, "not-json")]
    clean = decoder().decode_records([GOOD, GOOD], [3, 4], [0, 1])
    assert (clean.position.tolist(), clean.ingest_ms.tolist()) == ([3, 4], [0, 1])


def test_a_record_may_be_printed_over_several_lines() -> None:
    pretty = msgspec.json.format(GOOD)
    batch = decoder().decode_records([pretty, GOOD], [0, 1], [-1, -1])
    assert rows(batch)[0][1:] == rows(batch)[1][1:]
    assert len(decoder().decode(pretty, 0).invalid) == pretty.count(b"\n") + 1


@pytest.mark.parametrize(
    ("half", "rest"),
    [
        pytest.param(b"{", GOOD[1:], id="neither line looks whole"),
        pytest.param(b'{"other":{}', b"," + GOOD[1:], id="the first looks whole"),
        pytest.param(b'{"other":', b"{}," + GOOD[1:], id="the second looks whole"),
    ],
)
def test_lines_whose_records_shift_are_not_taken_for_each_other(half: bytes, rest: bytes) -> None:
    """As many values as lines, yet not one on each."""
    block = half + b"\n" + rest + GOOD + b"\n" + GOOD
    batch = decoder().decode(block, 0)
    assert batch.position.tolist() == [len(block) - len(GOOD)]
    assert [one.reason for one in batch.invalid] == ["not-json", "not-json"]


def test_new_texts_of_a_category_appear_at_any_time() -> None:
    one = decoder()
    for i in range(60):
        line = event(bank=f"bank {i % 7 if i < 30 else i}", outcome="ok" if i % 2 else None)
        assert rows(one.decode(line, 0)) == rows(decoder().decode(line, 0))


def test_a_category_of_countless_texts_is_decoded_all_the_same() -> None:
    one = decoder()
    for start in range(0, 3000, 100):
        lines = [event(bank=f"b{i}") for i in range(start, start + 100)]
        assert [row[1] for row in one.decode(b"\n".join(lines), 0).fields] == [
            f"b{i}" for i in range(start, start + 100)
        ]


# --- what always holds ----------------------------------------------------------------------------------------------

_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2)
)
_times = st.one_of(
    st.sampled_from(
        [
            "2026-03-27T13:06:56Z",
            "2026-03-27T13:06:56.123456+07:00",
            "2026-03-27T13:06:57.1Z",
            "x",
            "1999-01-01T00:00:00Z",
        ]
    ),
    _values,
)
_keys = st.sampled_from(["id", "kind", "customer", "bank", "latency", "other", "meta", "card"])
_objects = st.dictionaries(_keys, _values, max_size=5).flatmap(
    lambda known: st.builds(lambda time: {"time": time, "kind": "pay", **known}, _times)
)
_near_json = st.builds(
    lambda record, start, count, junk: record[:start] + junk + record[start + count :],
    st.just(GOOD),
    st.integers(0, len(GOOD)),
    st.integers(0, 3),
    st.binary(max_size=3),
)
_lines = st.one_of(
    st.just(GOOD),
    st.binary(max_size=30),
    _near_json,
    _objects.map(lambda o: msgspec.json.encode(o)),
    st.sampled_from([b"{}", b"{}{}", b"}", b'{"a":1', b"", b"\r", GOOD + b"\r", b"[", b"{" * 300 + b"}" * 300]),
).map(lambda line: line.replace(b"\n", b" "))


@pytest.mark.slow
@given(st.lists(_lines, max_size=12))
def test_a_record_is_judged_alone_whatever_stands_around_it(lines: list[bytes]) -> None:
    shared = decoder(partitions=3, max_record_bytes=500)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    alone = [
        decoder(partitions=3, max_record_bytes=500).decode(line + b"\n", at)
        for line, at in zip(lines, starts, strict=False)
    ]
    assert all(batch.records == 1 for batch in alone)
    block = shared.decode(b"".join(line + b"\n" for line in lines), 0)
    assert whole(block) == joined(alone)
    again = shared.decode(b"".join(line + b"\n" for line in lines), 0)
    assert whole(again) == whole(block)
    records = shared.decode_records(lines, starts[:-1], [-1] * len(lines))
    assert whole(records) == whole(block)


@given(st.binary(max_size=200).map(lambda b: b.replace(b"0", b"\n")))
def test_every_line_of_anything_ends_as_one_record(block: bytes) -> None:
    lines = block.split(b"\n")
    batch = decoder().decode(block, 10)
    assert batch.records == len(lines) - (lines[-1] == b"")
    assert all(one.reason in REASONS for one in batch.invalid)
    places = sorted([*batch.position.tolist(), *(one.position for one in batch.invalid)])
    assert all(a < b for a, b in pairwise(places))


@given(st.lists(st.one_of(st.just(GOOD), st.binary(max_size=20)), min_size=1), st.data())
def test_good_lines_survive_garbage_and_any_cut(lines: list[bytes], data: st.DataObject) -> None:
    block = b"".join(line + b"\n" for line in lines)
    ends = [i + 1 for i in range(len(block)) if block[i : i + 1] == b"\n"]
    cuts = sorted(data.draw(st.sets(st.sampled_from(ends))) | {0, len(block)})
    one = decoder()
    parts = joined(one.decode(block[a:b], a) for a, b in pairwise(cuts))
    assert parts == whole(one.decode(block, 0))
    assert len(parts[0]) >= lines.count(GOOD)
