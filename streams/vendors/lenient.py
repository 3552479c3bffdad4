"""Reads what vendors send without ever failing: what is not as expected is empty."""

import json
from collections.abc import Mapping
from typing import Any

_LONGEST = 200


def decoded(body: bytes) -> object:
    """Return a body's JSON, or None."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a text or a whole number as text, cut."""
    return str(value)[:_LONGEST] if isinstance(value, str | int) and not isinstance(value, bool) else ""
