"""What a request carries, taken apart: nothing is judged, nothing is lost, nothing grows beyond its limit."""

import base64
import gzip
import json
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.decode import JSON, CustomerKeys, Decoder
from detector.errors import UsageError
from detector.events import EventSchema
from streams.intake import cloudevents, otlp
from streams.intake.bodies import TooLargeError, apart, joined, json_records, lines, unpacked
from streams.web.livelog import merged, pieces_of

MB = 1 << 20

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def decoder() -> Decoder:
    return Decoder(EventSchema(("kind", "bank"), ()), JSON, CustomerKeys(b"k"))


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.lists(values, max_size=6), st.sampled_from([None, 2]))
def test_an_array_comes_apart_into_its_elements_however_it_is_laid_out(found: list[Any], indent: int | None) -> None:
    body = json.dumps(found, indent=indent).encode()
    assert [json.loads(record) for record in json_records(body)] == found
    if found:
        assert [json.loads(record) for record in apart(body)] == found, "both ways give the same"
    data = joined(json_records(body))
    assert data.records == len(found) == data.data.count(b"\n")
    assert [json.loads(line) for line in data.data.splitlines()] == found


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b'{"a":01}', id="a number that is none"),
        pytest.param(b'{"a":"x\ny"}', id="a line break in a text"),
        pytest.param(b'{"a":"\\ud800"}', id="half a surrogate"),
        pytest.param(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", id="10,000 deep"),
        pytest.param(b'{"a" 1, "b": "}],["}', id="no JSON, with brackets in a text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_one_record_that_is_no_json_takes_no_other_along(poison: bytes) -> None:
    body = b'[{"kind":"a","x":"1,2"}, ' + poison + b' , {"kind":"b","y":[1,{"z":"]"}]}]'
    first, wrong, last = json_records(body)
    assert (first, last) == (b'{"kind":"a","x":"1,2"}', b'{"kind":"b","y":[1,{"z":"]"}]}')
    assert wrong == poison
    data = joined([wrong])
    assert data.records == data.data.count(b"\n") == 1
    batch = decoder().decode(data.data, 0)
    assert [one.reason for one in batch.invalid], "it does not become an event by being put on one line"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        pytest.param(b'[{"a":1}', "end missing after 8 bytes", id="broken off"),
        pytest.param(b'[{"a":"x]', "end missing after 9 bytes", id="broken off in a text"),
        pytest.param(b"[" * 100_000, "end missing after 100,000 bytes", id="nothing but beginnings"),
        pytest.param(b'[NaN] {"a":1}', "found more at byte 5", id="more behind it"),
        pytest.param(b'{"a":1}\n{"a":2}', "application/x-ndjson", id="records one to a line"),
    ],
)
def test_what_can_not_be_taken_apart_is_refused_with_where(body: bytes, where: str) -> None:
    with pytest.raises(UsageError, match=where):
        json_records(body)


def test_one_object_is_one_record_even_where_it_is_no_json() -> None:
    assert json_records(b'\xef\xbb\xbf {"a":\n1}\n') == [b'{"a":\n1}']
    assert joined(json_records(b'{"a":\n1}')).data == b'{"a": 1}\n'
    assert json_records(b'{"a":1') == [b'{"a":1']
    assert json_records(b" \n") == []


def test_lines_are_taken_as_they_are() -> None:
    assert lines(b"a\r\nb") == lines(b"a\r\nb\n")
    assert lines(b"a\n\nb\n").records == 3
    assert lines(b"").records == 0


# --- packages ---------------------------------------------------------------------------------------------------------


def test_a_package_unpacks_to_its_contents_in_several_parts_too() -> None:
    assert unpacked(gzip.compress(b"one\n") + gzip.compress(b"two\n"), 100) == b"one\ntwo\n"
    assert unpacked(b"", 100) == b""


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_unpacks() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([packer.compress(bytes(MB)) for _ in range(150)] + [packer.flush()])
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="16,777,216"):
        unpacked(bomb, 16 * MB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bomb) < MB
    assert peak < 48 * MB


@pytest.mark.parametrize(
    "damage", [pytest.param(lambda b: b[:-9], id="cut off"), pytest.param(lambda b: b"x" + b[1:], id="no gzip")]
)
def test_a_damaged_package_is_refused(damage: Any) -> None:
    with pytest.raises(UsageError, match="gzip"):
        unpacked(damage(gzip.compress(b"abc" * 1_000)), MB)


# --- pieces -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.binary(max_size=60).map(lambda b: b.replace(b"\n", b"")), max_size=8), max_size=8))
def test_the_pieces_of_several_requests_hold_all_their_records_in_order(requests: list[list[bytes]]) -> None:
    bodies = [lines(b"".join(record + b"\n" for record in request)) for request in requests]
    found = merged([pieces_of(body, 32) for body in bodies])
    passed_over = [piece for piece in found if piece.detail]
    kept = b"".join(piece.data for piece in found)
    assert sum(piece.size for piece in found) == sum(len(body.data) for body in bodies)
    assert len(kept) + sum(piece.size for piece in passed_over) == sum(len(body.data) for body in bodies)
    short = [r for request in requests for r in request if sum(len(x) + 1 for x in request) <= 32]
    assert all(record + b"\n" in kept for record in short)


def test_a_record_beyond_the_limit_is_passed_over_and_its_neighbours_are_not() -> None:
    found = pieces_of(lines(b'{"a":1}\n' + b"x" * 2 * MB + b'\n{"b":2}\n'), 262_144)
    assert [piece.data for piece in found if piece.data] == [b'{"a":1}\n', b'{"b":2}\n']
    (long,) = [piece for piece in found if piece.detail]
    assert long.size == 2 * MB + 1
    assert len(long.detail) < 5_000


# --- CloudEvents ------------------------------------------------------------------------------------------------------

ENVELOPE = {
    "specversion": "1.0",
    "id": "7",
    "source": "/shop",
    "type": "payment",
    "time": "2026-03-02T07:31:12Z",
    "subject": "c-1",
    "traceid": "t",
    "data": {"bank": "BNI", "amount": 12345678901234567890123, "where": {"city": "Medan"}},
}


def flat(**changes: Any) -> dict[str, Any]:
    envelope = {name: value for name, value in {**ENVELOPE, **changes}.items() if value is not ...}
    found: dict[str, Any] = json.loads(cloudevents.flattened(json.dumps(envelope).encode()))
    return found


def test_an_envelope_becomes_our_event() -> None:
    assert flat() == {
        "id": "/shop 7",
        "time": "2026-03-02T07:31:12Z",
        "kind": "payment",
        "customer": "c-1",
        "traceid": "t",
        "bank": "BNI",
        "amount": 12345678901234567890123,
        "where": {"city": "Medan"},
    }


def test_what_the_data_says_of_itself_counts() -> None:
    own = {"id": "own", "kind": "refund", "customer": "c-2", "time": "2026-03-01T00:00:00Z"}
    assert flat(data=own) == {**own, "traceid": "t"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(..., {}, id="none"),
        pytest.param(None, {}, id="null"),
        pytest.param([1, 2], {"data": [1, 2]}, id="no object"),
        pytest.param("text", {"data": "text"}, id="text"),
    ],
)
def test_data_of_any_kind_stands_under_its_name(data: Any, expected: dict[str, Any]) -> None:
    found = flat(data=data, subject=..., traceid=..., time=...)
    assert found == {**expected, "id": "/shop 7", "kind": "payment"}


def test_packed_data_is_unpacked_where_it_is_json() -> None:
    packed = base64.b64encode(b'{"bank":"BNI"}').decode()
    assert flat(data=..., data_base64=packed)["bank"] == "BNI"
    assert flat(data=..., data_base64="AAEC")["data_base64"] == "AAEC"


@pytest.mark.parametrize("missing", ["id", "source", "specversion", "type"])
def test_what_is_no_cloudevent_passes_through_to_be_refused(missing: str) -> None:
    body = json.dumps({name: value for name, value in ENVELOPE.items() if name != missing}).encode()
    assert cloudevents.flattened(body) == body
    assert cloudevents.flattened(b"NaN") == b"NaN"
    assert cloudevents.flattened(b"[" * 50_000) == b"[" * 50_000


def test_attributes_in_headers_make_the_same_event() -> None:
    headers = {name: str(value) for name, value in ENVELOPE.items() if name != "data"}
    body = json.dumps(ENVELOPE["data"]).encode()
    envelope = cloudevents.binary({**headers, "datacontenttype": "application/json"}, body)
    assert json.loads(cloudevents.flattened(envelope)) == flat()
    assert cloudevents.binary({**headers, "datacontenttype": "application/json"}, b"{broken") == b"{broken"
    other = json.loads(cloudevents.binary({**headers, "datacontenttype": "image/png"}, b"\x00"))
    assert other["data_base64"] == "AA=="
    percent = json.loads(cloudevents.binary({**headers, "subject": "M%C3%BCller"}, b""))
    assert percent["subject"] == "Müller"


# --- OTLP -------------------------------------------------------------------------------------------------------------


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def export(*records: Any, resource: list[Any] | None = None, scope: list[Any] | None = None) -> bytes:
    scopes = [{"scope": {"name": "s", "attributes": scope or []}, "logRecords": list(records)}]
    return json.dumps({"resourceLogs": [{"resource": {"attributes": resource or []}, "scopeLogs": scopes}]}).encode()


def test_a_log_record_becomes_our_event() -> None:
    record = {
        "timeUnixNano": "1544712660300000000",
        "observedTimeUnixNano": "1544712660300000001",
        "severityNumber": 17,
        "severityText": "ERROR",
        "traceId": "5b8efff798038103d269b633813fc60c",
        "body": {"stringValue": "declined"},
        "eventName": "payment",
        "attributes": [
            attribute("bank", stringValue="BNI"),
            attribute("amount", intValue="9007199254740993"),
            attribute("ratio", doubleValue=0.5),
            attribute("odd", doubleValue="NaN"),
            attribute("retry", boolValue=True),
            attribute("tags", arrayValue={"values": [{"stringValue": "a"}, {"intValue": 1}]}),
            attribute("user.id", stringValue="c-1"),
            attribute("log.record.uid", stringValue="u-1"),
        ],
    }
    found = otlp.events(export(record, resource=[attribute("service.name", stringValue="shop")]))
    assert found.unread == 0
    (event,) = map(json.loads, found.records)
    assert event == {
        "service.name": "shop",
        "body": "declined",
        "bank": "BNI",
        "amount": 9007199254740993,
        "ratio": 0.5,
        "odd": None,
        "retry": True,
        "tags": ["a", 1],
        "user.id": "c-1",
        "log.record.uid": "u-1",
        "severity": "ERROR",
        "severity_number": 17,
        "trace_id": "5b8efff798038103d269b633813fc60c",
        "time": "2018-12-13T14:51:00.300Z",
        "kind": "payment",
        "id": "u-1",
        "customer": "c-1",
    }
    assert len(decoder().decode(joined(found.records).data, 0).invalid) == 0


def test_a_body_that_is_a_map_is_spread_and_the_nearer_attribute_counts() -> None:
    body = {"kvlistValue": {"values": [attribute("bank", stringValue="BRI"), attribute("city", stringValue="Medan")]}}
    record = {"observedTimeUnixNano": 5_000_000_000, "body": body, "attributes": [attribute("bank", stringValue="BNI")]}
    around = [attribute("bank", stringValue="far"), attribute("region", stringValue="id")]
    (event,) = map(json.loads, otlp.events(export(record, resource=around)).records)
    assert event == {
        "bank": "BNI",
        "city": "Medan",
        "region": "id",
        "kind": "log",
        "time": "1970-01-01T00:00:05.000Z",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(5, id="no object"),
        pytest.param({"timeUnixNano": []}, id="a time that is none"),
        pytest.param({"attributes": [attribute("a", intValue="x")]}, id="a number that is none"),
        pytest.param({"attributes": [attribute("a", arrayValue=5)]}, id="a list that is none"),
        pytest.param({"timeUnixNano": "9" * 40}, id="a time beyond all calendars"),
    ],
)
def test_a_record_that_can_not_be_read_passes_through_and_is_counted(wrong: Any) -> None:
    found = otlp.events(export(wrong, {"timeUnixNano": "1544712660300000000"}))
    assert (found.unread, len(found.records)) == (1, 2)
    assert json.loads(found.records[0]) == wrong


@pytest.mark.parametrize("body", [b"", b"[]", b'{"resourceLogs":5}', b'{"resourceLogs":[', b"[" * 100_000])
def test_what_is_no_export_is_refused(body: bytes) -> None:
    with pytest.raises(UsageError, match="OTLP"):
        otlp.events(body)


def test_a_field_of_an_export_is_named_as_it_is_spelt() -> None:
    with pytest.raises(UsageError, match=r"`\$\.resourceLogs`"):
        otlp.events(b'{"resourceLogs":5}')


def test_values_pass_through_a_flattened_envelope_as_they_were_written() -> None:
    body = b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":1.10,"big":18446744073709551617}}'
    assert b'"n":1.10,"big":18446744073709551617' in cloudevents.flattened(body)
    assert msgspec.json.decode(cloudevents.flattened(body))["id"] == "s 1"
