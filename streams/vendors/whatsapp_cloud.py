"""Meta's WhatsApp Cloud API, all that is known of its shapes: sending an approved template, errors, what it calls back.

- Send: `POST {base}/{phone_number_id}/messages` with a bearer token; the answer's `messages[0].id` (wamid) names it.
- Errors: `{"error": {"code", "message", "error_data": {"details"}}}`; the code says more than the status.
- Calls back: `entry[].changes[].value` with `statuses` and `messages`, signed with the app's secret
  (`X-Hub-Signature-256`); it asks once by GET whether the address is ours.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any

from streams.vendors import lenient
from streams.vendors.inbound import MAX_EVENTS, Inbound, Progress, Reply, Status, phone_of

BASE = "https://graph.facebook.com/v23.0"
SIGNATURE = "X-Hub-Signature-256"

_RATE = frozenset({4, 80007, 130429, 131048, 131056, 133016})
_SIGN_IN = frozenset({0, 3, 10, 190, 131005, 131031, 131042, 131045, 133010})
_UNDELIVERABLE = frozenset({131021, 131026, 131030})
_OPTED_OUT = frozenset({131050})
_CONTENT = frozenset({131008, 131009, 131047, 131051, 100})
_CAPPED = frozenset({131049})
"""Held back for the recipient's sake: not to be tried again soon."""
_TROUBLE = frozenset({1, 2, 131000, 131016, 131057, 133004})
_PROGRESS = {"delivered": Progress.DELIVERED, "read": Progress.READ, "failed": Progress.FAILED}


# --- out ------------------------------------------------------------------------------------------------------------


def template_message(
    *, number: str, template: str, language: str, parameters: Mapping[str, str], notice: str
) -> dict[str, Any]:
    """Return the body that sends a template: the parameters fill {{1}}, {{2}}, … in their order.

    `notice` comes back with every status.
    """
    filled = [{"type": "text", "text": text} for text in parameters.values()]
    components = [{"type": "body", "parameters": filled}] if filled else []
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": number,
        "type": "template",
        "template": {"name": template, "language": {"code": language}, "components": components},
        "biz_opaque_callback_data": notice,
    }


def message_id(body: bytes) -> str:
    """Return what WhatsApp calls the message that it took; "" where the answer is not one."""
    messages = lenient.mapping(lenient.decoded(body)).get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    return lenient.text(lenient.mapping(first).get("id"))


def error_of(body: bytes) -> tuple[int | None, str]:
    """Return an error's code and words.

    Examples
    --------
    >>> error_of(b'{"error": {"code": 131026, "message": "(#131026) Message undeliverable"}}')
    (131026, '(#131026) Message undeliverable')
    """
    error = lenient.mapping(lenient.mapping(lenient.decoded(body)).get("error"))
    code = error.get("code")
    details = lenient.mapping(error.get("error_data")).get("details")
    words = "; ".join(text for text in (error.get("message"), details) if isinstance(text, str))
    return (code if isinstance(code, int) and not isinstance(code, bool) else None), words


def meaning(code: int | None) -> str:
    """Return what an error's code means, by the names that channels give (`streams.outbox.channel.REASONS`).

    "" where the status has to say it.

    Examples
    --------
    >>> [meaning(code) for code in (131026, 190, 130429, 132001, 131000, 7, None)]
    ['hard-bounce', 'credentials', 'rate-limited', 'content', 'unavailable', '', '']
    """
    if code is None:
        return ""
    if code in _SIGN_IN or 200 <= code <= 219:
        return "credentials"
    if code in _CONTENT or 132_000 <= code < 133_000:
        return "content"
    named = {_RATE: "rate-limited", _UNDELIVERABLE: "hard-bounce", _OPTED_OUT: "opted-out", _CAPPED: "refused"}
    return next((name for codes, name in named.items() if code in codes), "unavailable" if code in _TROUBLE else "")


# --- in -------------------------------------------------------------------------------------------------------------


def is_signed(body: bytes, signature: str, secret: bytes) -> bool:
    """Return whether whoever has the app's secret wrote a call back."""
    expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))


def inbound(body: bytes) -> list[Inbound]:
    """Return what a call back says; what is of no concern is left out."""
    out: list[Inbound] = []
    for value in _values(lenient.decoded(body)):
        for status in lenient.items(value.get("statuses")):
            out += _status(lenient.mapping(status))
        for message in lenient.items(value.get("messages")):
            out += _reply(lenient.mapping(message))
        if len(out) >= MAX_EVENTS:
            break
    return out[:MAX_EVENTS]


def _values(document: object) -> Iterator[Mapping[str, Any]]:
    for entry in lenient.items(lenient.mapping(document).get("entry")):
        for change in lenient.items(lenient.mapping(entry).get("changes")):
            yield lenient.mapping(lenient.mapping(change).get("value"))


def _status(status: Mapping[str, Any]) -> list[Inbound]:
    reference, said = lenient.text(status.get("id")), lenient.text(status.get("status"))
    progress = _PROGRESS.get(said)
    if progress is None or not reference:
        return []
    errors = lenient.items(status.get("errors"))
    code = lenient.text(lenient.mapping(errors[0] if errors else None).get("code"))
    identity = f"{reference}:{said}"
    return [Status(identity, reference, progress, _moment(status.get("timestamp")), re.sub(r"\W", "", code)[:20])]


def _reply(message: Mapping[str, Any]) -> list[Inbound]:
    identity, phone = lenient.text(message.get("id")), phone_of(message.get("from"))
    said = lenient.mapping(message.get("text")).get("body") or lenient.mapping(message.get("button")).get("text")
    if not identity or not phone or not isinstance(said, str):
        return []
    return [Reply(identity, phone, said, _moment(message.get("timestamp")))]


def _moment(value: object) -> int | None:
    text = lenient.text(value)
    return int(text) * 1_000 if re.fullmatch(r"[0-9]{1,11}", text) else None
