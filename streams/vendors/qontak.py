"""Mekari Qontak, all that is known of its shapes: sending an approved template, signing in, what it calls back.

Its documentation stands behind a sign-in; the shapes are those that independent public clients agree on. What is not
certain is read leniently: a shape that is not known gives nothing, and nothing breaks.

- Send: `POST {base}/broadcasts/whatsapp/direct`. An account needs an Admin and an SPV user, or every call is a 401.
- Sign in: a bearer token of one's own, one got by OAuth (password, then refresh), or HMAC over date and request line.
- Errors: `{"error": {"code", "message" | "messages"}}`.
- Calls back: `webhook_event` and `data_event`, of messages from customers and of broadcasts' statuses. They are not
  signed: `subscription` makes the request that sets their address.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from streams.vendors import lenient
from streams.vendors.inbound import E164, Inbound, Progress, Reply, Status, phone_of

LEGACY_BASE = "https://service-chat.qontak.com/api/open/v1"
HMAC_BASE = "https://api.mekari.com/qontak/chat/v1"
OAUTH_URL = "https://service-chat.qontak.com/oauth/token"
DIRECT = "/broadcasts/whatsapp/direct"
SUBSCRIBE = "/message_interactions"
REPEATED = "X-Idempotency-Key"
"""Carries the notice's id. That a repetition is dropped is not documented: nothing here relies on it."""

_PROGRESS = {
    "delivered": Progress.DELIVERED,
    "read": Progress.READ,
    "failed": Progress.FAILED,
    "undelivered": Progress.FAILED,
    "rejected": Progress.FAILED,
}
_FROM_CUSTOMER = "receive_message_from_customer"


# --- out ------------------------------------------------------------------------------------------------------------


def to_number(phone: str) -> str:
    """Return a phone number (E.164) as Qontak wants it; "" where it is none.

    Examples
    --------
    >>> to_number("+6281234567890"), to_number("081234567890"), to_number("budi@example.com")
    ('6281234567890', '', '')
    """
    return phone[1:] if E164.fullmatch(phone) else ""


def direct(
    *, number: str, name: str, template: str, integration: str, language: str, parameters: Mapping[str, str]
) -> dict[str, Any]:
    """Return the body of a direct send: the parameters fill {{1}}, {{2}}, … in their order."""
    return {
        "to_number": number,
        "to_name": name or number,
        "message_template_id": template,
        "channel_integration_id": integration,
        "language": {"code": language},
        "parameters": {
            "body": [
                {"key": str(n), "value": key, "value_text": text} for n, (key, text) in enumerate(parameters.items(), 1)
            ]
        },
    }


def message_id(body: bytes) -> str:
    """Return what Qontak calls the message that it took; "" where the answer is not one."""
    data = lenient.mapping(lenient.mapping(lenient.decoded(body)).get("data"))
    return lenient.text(data.get("id"))


def error_words(body: bytes) -> str:
    """Return what an error's body says.

    Examples
    --------
    >>> error_words(b'{"status": "error", "error": {"code": 422, "messages": ["a", "b"]}}'), error_words(b"<html>")
    ('a; b', '')
    """
    error = lenient.mapping(lenient.mapping(lenient.decoded(body)).get("error"))
    found = error.get("messages") or error.get("message")
    texts = found if isinstance(found, list) else [found]
    return "; ".join(text for text in texts if isinstance(text, str))


def hmac_headers(client: str, secret: bytes, method: str, path: str, now_ms: int) -> dict[str, str]:
    """Return the headers that sign a request by HMAC; `path` is with its query.

    Examples
    --------
    >>> hmac_headers("id", b"secret", "GET", "/qontak/chat/v1/me", 1_772_416_800_000)["Date"]
    'Mon, 02 Mar 2026 02:00:00 GMT'
    """
    date = format_datetime(datetime.fromtimestamp(now_ms // 1_000, UTC), usegmt=True)
    text = f"date: {date}\n{method} {path} HTTP/1.1"
    signature = base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()
    parts = {"username": client, "algorithm": "hmac-sha256", "headers": "date request-line", "signature": signature}
    return {"Date": date, "Authorization": "hmac " + ", ".join(f'{key}="{value}"' for key, value in parts.items())}


def password_grant(user: str, password: str, client: str, secret: str) -> dict[str, str]:
    """Return the body that asks for a token."""
    return {
        "grant_type": "password",
        "username": user,
        "password": password,
        "client_id": client,
        "client_secret": secret,
    }


def refresh_grant(refresh: str, client: str, secret: str) -> dict[str, str]:
    """Return the body that asks for the next token."""
    return {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": client, "client_secret": secret}


def tokens(body: bytes) -> tuple[str, str]:
    """Return the access and the refresh token of an answer; "" for what is not there."""
    found = lenient.mapping(lenient.decoded(body))
    access, refresh = lenient.text(found.get("access_token")), lenient.text(found.get("refresh_token"))
    return (access if access.isascii() and access.isprintable() else ""), refresh


def subscription(url: str) -> dict[str, Any]:
    """Return the body of `PUT {base}/message_interactions`: what is called back, and where."""
    return {
        "receive_message_from_customer": True,
        "receive_message_from_agent": False,
        "broadcast_log_status": True,
        "status_message": True,
        "url": url,
    }


# --- in -------------------------------------------------------------------------------------------------------------


def inbound(body: bytes) -> list[Inbound]:
    """Return what a call back says; nothing where it is of no concern.

    Examples
    --------
    >>> inbound(b'{"data_event": "broadcast_log_status", "id": "7", "status": "read", "created_at": null}')
    [Status(id='7:read', reference='7', progress=<Progress.READ: 'read'>, at_ms=None, code='')]
    """
    found = lenient.mapping(lenient.decoded(body))
    event, at_ms = lenient.text(found.get("data_event")), _moment(found.get("created_at"))
    if event == _FROM_CUSTOMER:
        room, identity = lenient.mapping(found.get("room")), lenient.text(found.get("id"))
        phone = phone_of(room.get("account_uniq_id"))
        text = found.get("text")
        if identity and phone and isinstance(text, str) and room.get("channel") in (None, "wa", "wa_cloud", "whatsapp"):
            return [Reply(identity, phone, text, at_ms)]
        return []
    data = {**lenient.mapping(found.get("data")), **found}
    progress = _PROGRESS.get(lenient.text(data.get("status")).lower())
    reference = _first(data, ("broadcast_id", "messages_broadcast_id", "broadcast_log_id", "message_id", "id"))
    if progress is None or not reference:
        return []
    code = _first(data, ("error_code", "code"))
    return [Status(f"{reference}:{progress.value}", reference, progress, at_ms, re.sub(r"\W", "", code)[:20])]


def _first(data: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((text for name in names if (text := lenient.text(data.get(name)))), "")


def _moment(value: object) -> int | None:
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if when is None:
        return None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1_000)
