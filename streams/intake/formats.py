"""Formats by name: `json` is our own event, `sshd` an OpenSSH log, all others are mappings from the configuration.

A mapping says where an event's parts stand in a producer's JSON, so that no producer must change:

    formats:
      shop:
        time: {path: meta.at, unit: ms}
        id: meta.id
        customer: user.id
        kind: {constant: order}
        fields: {bank: payment.bank, city: [geo, "city.name"]}

A path is text with dots, or a list of keys where keys themselves have dots. What is not mapped stands at the top under
its own name; `id: null` or `customer: null` says that there is none.
"""

from collections.abc import Mapping

from detector.decode import JSON, CustomerKeys, Decoder, Format, TimeField, Unit
from detector.decode.shape import Path
from detector.decode.times import zone_offset_ms
from detector.errors import ConfigError, Problem, UsageError
from detector.events import EventSchema
from detector.fields import Fields, did_you_mean, join, listed, shown
from streams.intake.files import MAX_RECORD_BYTES
from streams.intake.sshd import SshdDecoder

OWN, SSHD = "json", "sshd"
BUILT_IN = (OWN, SSHD)

_KEYS = ("time", "id", "customer", "kind", "fields")
_RESERVED = ("time", "id", "customer", "kind")


def decoder_for(
    name: str,
    schema: EventSchema,
    keys: CustomerKeys,
    formats: Mapping[str, object] | None = None,
    *,
    where: str = "tocsin.yml",
    partitions: int = 1,
    max_record_bytes: int = MAX_RECORD_BYTES,
    year: int | None = None,
    zone: str = "Z",
) -> Decoder | SshdDecoder:
    """Return the decoder of a format.

    Parameters
    ----------
    formats
        The configuration's mappings by name, as they stand in it.
    where
        What messages call the configuration.
    year, zone
        For stamps that do not state them (sshd).

    Raises
    ------
    UsageError
        There is no such format, or the zone is none.
    ConfigError
        The mapping does not hold, or not together with the signals' fields.
    """
    formats = formats or {}
    if name == SSHD:
        zone_ms = zone_offset_ms(zone)
        if zone_ms is None:
            message = f"zone: expected an offset such as +07:00, found {shown(zone)}"
            raise UsageError(message)
        return SshdDecoder(schema, year=year, zone_ms=zone_ms, max_record_bytes=max_record_bytes)
    if name != OWN and name not in formats:
        known = [*BUILT_IN, *sorted(set(formats) - set(BUILT_IN))]
        hint = did_you_mean(name, known)
        message = f"--format: expected {listed(known)}, found {shown(name)}" + (f" ({hint})" if hint else "")
        raise UsageError(message)
    format = JSON if name == OWN else parse_format(name, formats[name], where)
    try:
        return Decoder(schema, format, keys, partitions=partitions, max_record_bytes=max_record_bytes)
    except ConfigError as error:
        at = f"{where}: formats.{name}" if name != OWN else f"format {OWN}"
        raise ConfigError([Problem(f"{at}: {p.path}", p.found, p.allowed, p.do) for p in error.problems]) from error


def parse_format(name: str, document: object, where: str = "tocsin.yml") -> Format:
    """Return the format that a mapping describes.

    Raises
    ------
    ConfigError
        With every mistake at once, each with its path.

    Examples
    --------
    >>> parse_format("shop", {"time": {"path": "at", "unit": "minutes"}})
    Traceback (most recent call last):
    detector.errors.ConfigError: tocsin.yml: formats.shop.time.unit: expected iso, s, ms, us or ns, found "minutes"
    """
    fields = Fields(where)
    format = _format(fields, name, document)
    fields.finish()
    return format


def check_formats(formats: Mapping[str, object], where: str = "tocsin.yml") -> list[Problem]:
    """Return every mistake in the mappings of a configuration."""
    fields = Fields(where)
    for name, document in formats.items():
        _format(fields, name, document)
    return fields.problems


def _format(fields: Fields, name: str, document: object) -> Format:
    path = f"formats.{name}"
    if name in BUILT_IN:
        fields.complain(path, f"the name {shown(name)}", f"a name other than {listed(BUILT_IN)}", "these are built in")
    given = fields.mapping(document, path, _KEYS)
    time = _time(fields, given.get("time", "time"), f"{path}.time")
    id = _optional_path(fields, given.get("id", "id"), f"{path}.id")
    customer = _optional_path(fields, given.get("customer", "customer"), f"{path}.customer")
    kind, constant = _kind(fields, given.get("kind", "kind"), f"{path}.kind")
    mapped = _fields(fields, given.get("fields", {}), f"{path}.fields")
    return Format(time=time, id=id, customer=customer, kind=kind, constant_kind=constant, fields=mapped)


def _time(fields: Fields, value: object, path: str) -> TimeField:
    if not isinstance(value, Mapping):
        return TimeField(_path(fields, value, path) or ("time",))
    given = fields.mapping(value, path, ("path", "unit", "zone"))
    at = _path(fields, given.get("path", "time"), f"{path}.path") or ("time",)
    unit = Unit(fields.choice(given.get("unit", "iso"), f"{path}.unit", [str(unit) for unit in Unit]) or Unit.ISO)
    if "zone" not in given:
        return TimeField(at, unit)
    zone = given["zone"]
    zone_ms = zone_offset_ms(zone) if isinstance(zone, str) else None
    if zone_ms is None:
        fields.complain(f"{path}.zone", shown(zone), 'an offset such as "+07:00"', "put it in quotes")
    elif unit is not Unit.ISO:
        fields.complain(f"{path}.zone", shown(zone), f"no zone with the unit {unit}", "such times count from 1970 UTC")
    return TimeField(at, unit, zone_ms)


def _kind(fields: Fields, value: object, path: str) -> tuple[Path | None, str | None]:
    if not isinstance(value, Mapping):
        return _path(fields, value, path), None
    given = fields.mapping(value, path, ("constant",))
    if "constant" not in given:
        fields.complain(path, shown(value), "a path, or {constant: text}")
        return ("kind",), None
    return None, fields.text(given["constant"], f"{path}.constant", longest=100) or "kind"


def _fields(fields: Fields, value: object, path: str) -> dict[str, Path]:
    out = {}
    for name, item in fields.mapping(value, path).items():
        at = join(path, name)
        if name in _RESERVED:
            do = f"write {name}: beside fields:"
            fields.complain(at, f"the field {shown(name)}", f"a field other than {listed(_RESERVED)}", do)
        found = _path(fields, item, at)
        if found is not None:
            out[name] = found
    return out


def _optional_path(fields: Fields, value: object, path: str) -> Path | None:
    return None if value is None else _path(fields, value, path)


def _path(fields: Fields, value: object, path: str) -> Path | None:
    allowed = "a path such as user.id, or a list of keys"
    keys = value.split(".") if isinstance(value, str) else value
    if not isinstance(keys, list | tuple) or not keys or not all(isinstance(key, str) and key for key in keys):
        fields.complain(path, shown(value), allowed)
        return None
    if len(keys) > 20 or any(not key.isprintable() or '"' in key or "\\" in key for key in keys):
        fields.complain(path, shown(value), f"{allowed}, at most 20 deep, without quotes, backslashes or controls")
        return None
    return tuple(keys)
