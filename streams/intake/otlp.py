"""OTLP/JSON logs → our own events: one for each log record, flat.

| ours | is |
|---|---|
| `time` | `timeUnixNano`, else `observedTimeUnixNano` |
| `kind` | the record's `eventName` (or attribute `event.name`), else `log` |
| `id` | the attribute `id` or `log.record.uid`; without one a repetition is not known as one |
| `customer` | the attribute `customer`, `enduser.id` or `user.id` |
| `severity`, `severity_number`, `body`, `trace_id`, `span_id` | the record's; a body that is a map is spread |
| any other field | attributes of the record, else of the body, the scope, the resource |

A log record that can't be read passes through whole, to be refused with its reason; the sender is told how many.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from detector.errors import UsageError

_CUSTOMER = ("customer", "enduser.id", "user.id")
_ID = ("id", "log.record.uid")
_KIND = ("kind", "event.name")
_MAX_DEPTH = 20
_encode = msgspec.json.Encoder().encode


class _Attribute(msgspec.Struct):
    key: str
    value: dict[str, Any] | None = None


class _Scope(msgspec.Struct):
    attributes: list[_Attribute] = []


class _ScopeLogs(msgspec.Struct, rename="camel"):
    scope: _Scope | None = None
    log_records: list[msgspec.Raw] = []


class _ResourceLogs(msgspec.Struct, rename="camel"):
    resource: _Scope | None = None
    scope_logs: list[_ScopeLogs] = []


class _Logs(msgspec.Struct, rename="camel"):
    resource_logs: list[_ResourceLogs] = []


class _Record(msgspec.Struct, rename="camel"):
    time_unix_nano: str | int = 0
    observed_time_unix_nano: str | int = 0
    severity_number: int | str | None = None
    severity_text: str = ""
    trace_id: str = ""
    span_id: str = ""
    body: dict[str, Any] | None = None
    attributes: list[_Attribute] = []
    event_name: str = ""


@dataclass(frozen=True)
class Logs:
    """The events of a request; `unread` of them are log records as they came."""

    records: list[bytes]
    unread: int


_read = msgspec.json.Decoder(_Logs).decode
_record = msgspec.json.Decoder(_Record).decode


def events(body: bytes) -> Logs:
    """Return the events of an export request.

    Raises
    ------
    UsageError
        It is no such request.
    """
    try:
        logs = _read(body)
    except msgspec.DecodeError as error:
        message = f"body: expected OTLP logs as JSON ({{resourceLogs: …}}), found: {error}"
        raise UsageError(message) from error
    except RecursionError as error:
        message = "body: expected OTLP logs as JSON, found them nested too deep"
        raise UsageError(message) from error
    out: list[bytes] = []
    unread = 0
    for of_resource in logs.resource_logs:
        resource = _attributes([] if of_resource.resource is None else of_resource.resource.attributes)
        for of_scope in of_resource.scope_logs:
            around = resource | _attributes([] if of_scope.scope is None else of_scope.scope.attributes)
            for raw in of_scope.log_records:
                try:
                    out.append(_encode(_event(_record(raw), around)))
                except (msgspec.DecodeError, RecursionError, ValueError, OverflowError):
                    out.append(bytes(raw))
                    unread += 1
    return Logs(out, unread)


def _event(record: _Record, around: dict[str, Any]) -> dict[str, Any]:
    body = None if record.body is None else _value(record.body)
    spread = body if isinstance(body, dict) else {} if body is None else {"body": body}
    event = {**around, **spread, **_attributes(record.attributes)}
    own = {
        "severity": record.severity_text,
        "severity_number": record.severity_number,
        "trace_id": record.trace_id,
        "span_id": record.span_id,
    }
    for name, value in own.items():
        if value not in ("", None):
            event.setdefault(name, value)
    nanoseconds = int(record.time_unix_nano) or int(record.observed_time_unix_nano)
    if nanoseconds:
        event["time"] = _rfc3339(nanoseconds)
    kind = record.event_name or next((event[name] for name in _KIND if event.get(name)), "log")
    event["kind"] = kind
    for ours, theirs in (("id", _ID), ("customer", _CUSTOMER)):
        found = next((event[name] for name in theirs if event.get(name)), None)
        if found is not None:
            event[ours] = found
    return event


def _rfc3339(nanoseconds: int) -> str:
    """Return the moment to the millisecond, as all our times.

    Examples
    --------
    >>> _rfc3339(1_544_712_660_300_000_000)
    '2018-12-13T14:51:00.300Z'
    """
    seconds, rest = divmod(nanoseconds // 1_000_000, 1_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:03d}Z"


def _attributes(given: list[_Attribute], depth: int = 0) -> dict[str, Any]:
    return {one.key: None if one.value is None else _value(one.value, depth) for one in given}


def _value(given: dict[str, Any], depth: int = 0) -> Any:
    """Return a value of OTLP's own kind as JSON has it."""
    if depth > _MAX_DEPTH:
        message = "nested too deep"
        raise ValueError(message)
    for kind, value in given.items():
        if kind == "intValue":
            return int(value)
        if kind == "doubleValue":
            number = float(value)
            return number if number - number == 0 else None  # NaN and the infinities are no JSON.
        if kind == "arrayValue":
            return [_value(one, depth + 1) for one in _list(value)]
        if kind == "kvlistValue":
            return {str(one["key"]): _value(one.get("value") or {}, depth + 1) for one in _list(value) if "key" in one}
        if kind in ("stringValue", "boolValue", "bytesValue"):
            return value
    return None


def _list(value: Any) -> list[dict[str, Any]]:
    found = value.get("values", []) if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        message = "expected a list of values"
        raise ValueError(message)
    return found
