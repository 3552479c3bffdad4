"""CloudEvents 1.0 → our own event: what the data says of itself counts, the envelope fills what is missing.

| ours | is |
|---|---|
| `id` | `data.id`, else `source` and `id` of the envelope together: they name an event once |
| `time`, `kind`, `customer` | those of the data, else the envelope's `time`, `type`, `subject` |
| any other field | the data's, else the envelope's (extensions too) |

Values pass through as they were written. What is no CloudEvent passes through whole, to be refused with its reason.
"""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
PREFIX = "ce-"

_REQUIRED = ("id", "source", "specversion", "type")
_CARRIED = {"data", "data_base64", "datacontenttype", "dataschema", *_REQUIRED}

_Values = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(_Values).decode
_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def flattened(envelope: bytes) -> bytes:
    r"""Return the event of a structured envelope.

    Examples
    --------
    >>> flattened(b'{"specversion":"1.0","id":"7","source":"/shop","type":"payment","data":{"bank":"BNI"}}')
    b'{"bank":"BNI","id":"/shop 7","kind":"payment"}'
    """
    try:
        given = _decode(envelope)
        texts = {name: _text(given[name]) for name in _REQUIRED}
    except (msgspec.DecodeError, RecursionError, KeyError):
        return envelope
    data = _data(given)
    event: _Values = {name: value for name, value in given.items() if name not in _CARRIED}
    subject = event.pop("subject", None)
    event.update(data)
    event.setdefault("id", msgspec.Raw(_encode(f"{texts['source']} {texts['id']}")))
    event.setdefault("kind", given["type"])
    if subject is not None:
        event.setdefault("customer", subject)
    return _encode(event)


def binary(headers: Mapping[str, str], body: bytes, *, quoted: bool = True) -> bytes:
    """Return the structured envelope of an event whose attributes are headers, by their names without the prefix.

    Parameters
    ----------
    headers
        `specversion`, `id`, `type`, `source` …, and `datacontenttype` where the body has a type.
    quoted
        Their values are percent-encoded, as they are over HTTP.
    """
    kind = headers.get("datacontenttype", "")
    envelope: _Values = {
        name: msgspec.Raw(_encode(unquote(value) if quoted else value)) for name, value in headers.items()
    }
    if is_json(kind) or not kind:
        try:
            envelope["data"] = msgspec.Raw(msgspec.json.decode(body, type=msgspec.Raw)) if body.strip() else _NULL
        except (msgspec.DecodeError, RecursionError):
            return body  # What was to be JSON is none: it is refused as it came.
    else:
        envelope["data_base64"] = msgspec.Raw(_encode(base64.b64encode(body).decode()))
    return _encode(envelope)


def is_json(media_type: str) -> bool:
    """Whether data of this type is JSON."""
    name = media_type.partition(";")[0].strip().lower()
    return name.endswith(("/json", "+json"))


_NULL = msgspec.Raw(b"null")


def _data(given: _Values) -> _Values:
    """Return the fields of the data; what is no object stands under its own name."""
    if "data_base64" in given:
        try:
            data = base64.b64decode(_text(given["data_base64"]), validate=True)
            return _decode(data)
        except (msgspec.DecodeError, RecursionError, binascii.Error, ValueError):
            return {"data_base64": given["data_base64"]}
    if "data" not in given or bytes(given["data"]) == b"null":
        return {}
    try:
        return _decode(given["data"])
    except (msgspec.DecodeError, RecursionError):
        return {"data": given["data"]}
