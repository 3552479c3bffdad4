"""Formats by name, and mappings whose every mistake is named."""

import msgspec
import pytest

from detector.decode import JSON, CustomerKeys, Decoder, Format, TimeField, Unit
from detector.errors import ConfigError, UsageError
from detector.events import EventSchema
from streams.intake.formats import check_formats, decoder_for, parse_format
from streams.intake.sshd import SshdDecoder

SCHEMA = EventSchema(("kind", "bank", "city"), ("ms",))
KEYS = CustomerKeys(b"key")
SHOP = {
    "time": {"path": "meta.at", "unit": "ms"},
    "id": "meta.id",
    "customer": ["user", "id"],
    "kind": {"constant": "order"},
    "fields": {"bank": "pay.bank", "city": ["geo", "city.name"]},
}


def test_a_mapping_becomes_a_format() -> None:
    assert parse_format("shop", SHOP) == Format(
        time=TimeField(("meta", "at"), Unit.MILLISECONDS),
        id=("meta", "id"),
        customer=("user", "id"),
        kind=None,
        constant_kind="order",
        fields={"bank": ("pay", "bank"), "city": ("geo", "city.name")},
    )


def test_what_is_not_mapped_stands_where_our_own_event_has_it() -> None:
    assert parse_format("same", {}) == JSON
    assert parse_format("none", {"id": None, "customer": None}) == Format(id=None, customer=None)
    assert parse_format("local", {"time": {"zone": "+07:00"}}).time == TimeField(zone_ms=25_200_000)
    assert parse_format("short", {"time": "at", "kind": "type"}) == Format(time=TimeField(("at",)), kind=("type",))


def test_a_mapped_record_is_an_event() -> None:
    record = {
        "meta": {"at": "1774616816250", "id": 5},
        "user": {"id": "C1"},
        "pay": {"bank": "BNI"},
        "geo": {"city.name": "Bandung"},
        "ms": 7,
    }
    batch = decoder_for("shop", SCHEMA, KEYS, {"shop": SHOP}).decode(msgspec.json.encode(record), 0)
    assert batch.invalid == []
    assert batch.fields == [("order", "BNI", "Bandung")]
    assert (batch.time_ms.tolist(), batch.event_id, batch.raw_customer) == ([1_774_616_816_250], ["5"], ["C1"])
    assert batch.numbers["ms"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param([], "formats.f: expected a mapping, found an empty list", id="no mapping"),
        pytest.param(
            {"tiem": "at"},
            'formats.f.tiem: expected one of time, id, customer, kind or fields, found an unknown field (did you mean "time"?)',
            id="unknown field",
        ),
        pytest.param(
            {"time": 5}, "formats.f.time: expected a path such as user.id, or a list of keys, found 5", id="time"
        ),
        pytest.param(
            {"time": {"unit": "min"}}, 'formats.f.time.unit: expected iso, s, ms, us or ns, found "min"', id="unit"
        ),
        pytest.param(
            {"time": {"zone": "WIB"}},
            'formats.f.time.zone: expected an offset such as "+07:00", found "WIB" (put it in quotes)',
            id="zone",
        ),
        pytest.param(
            {"time": {"unit": "s", "zone": "Z"}},
            'formats.f.time.zone: expected no zone with the unit s, found "Z" (such times count from 1970 UTC)',
            id="zone of an epoch",
        ),
        pytest.param(
            {"id": ""}, 'formats.f.id: expected a path such as user.id, or a list of keys, found ""', id="empty path"
        ),
        pytest.param(
            {"customer": ["a", 1]},
            "formats.f.customer: expected a path such as user.id, or a list of keys, found a list",
            id="list with a number",
        ),
        pytest.param(
            {"kind": {"value": "x"}},
            "formats.f.kind.value: expected one of constant, found an unknown field",
            id="kind",
        ),
        pytest.param(
            {"kind": {"constant": ""}},
            'formats.f.kind.constant: expected one line of text, at most 100 characters, found ""',
            id="constant",
        ),
        pytest.param(
            {"kind": None},
            "formats.f.kind: expected a path such as user.id, or a list of keys, found nothing",
            id="no kind",
        ),
        pytest.param(
            {"fields": {"time": "at"}},
            'formats.f.fields.time: expected a field other than time, id, customer or kind, found the field "time" (write time: beside fields:)',
            id="reserved",
        ),
        pytest.param(
            {"fields": {"bank": 'a"b'}},
            'formats.f.fields.bank: expected a path such as user.id, or a list of keys, at most 20 deep, without quotes, backslashes or controls, found "a\\"b"',
            id="quote",
        ),
    ],
)
def test_every_mistake_is_named(document: object, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_format("f", document)
    assert f"tocsin.yml: {message}" in str(error.value).splitlines()


def test_all_mistakes_are_listed_at_once() -> None:
    problems = check_formats({"a": {"id": 1, "kind": 2}, "json": {}, "good": SHOP})
    assert [problem.path for problem in problems] == [
        "tocsin.yml: formats.a.id",
        "tocsin.yml: formats.a.kind",
        "tocsin.yml: formats.json",
    ]


def test_names_lead_to_decoders() -> None:
    assert isinstance(decoder_for("json", SCHEMA, KEYS), Decoder)
    assert isinstance(decoder_for("sshd", SCHEMA, KEYS, year=2026), SshdDecoder)
    with pytest.raises(
        UsageError, match=r'--format: expected json, sshd or shop, found "shp" \(did you mean "shop"\?\)'
    ):
        decoder_for("shp", SCHEMA, KEYS, {"shop": SHOP})
    with pytest.raises(UsageError, match=r"zone: expected an offset such as \+07:00"):
        decoder_for("sshd", SCHEMA, KEYS, zone="Jakarta")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"bank": "city.bank"}, "formats.f: $.city.bank", id="a value that is an object, too"),
        pytest.param({"ms": "kind"}, "formats.f: $.kind", id="a number where a text stands"),
    ],
)
def test_parts_that_exclude_each_other_are_named(fields: dict[str, str], path: str) -> None:
    with pytest.raises(ConfigError) as error:
        decoder_for("f", SCHEMA, KEYS, {"f": {"fields": fields}})
    assert [problem.path for problem in error.value.problems] == [f"tocsin.yml: {path}"]
