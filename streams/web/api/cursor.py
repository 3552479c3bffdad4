"""Cursors: where a page ended, as text that only this service reads.

A cursor is no secret and gives nothing: whoever makes one up gets a page of what they may see, or is told that it is
none.
"""

import base64
import binascii
import json

from streams.store.pages import Place
from streams.web.problem import ProblemError

LONGEST = 500


def encode(place: Place | None, *order: str) -> str | None:
    """Return a place as text; `order` says in which list, in which order.

    Examples
    --------
    >>> encode((1_767_225_600_000, "3f2a"), "cases", "-opened")
    'WyJjYXNlcyIsIi1vcGVuZWQiLDE3NjcyMjU2MDAwMDAsIjNmMmEiXQ'
    """
    if place is None:
        return None
    text = json.dumps([*order, *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str | None, shape: tuple[type, ...], *order: str) -> Place | None:
    """Return the place that a cursor names.

    Raises
    ------
    ProblemError
        It is no cursor of this list, in this order.

    Examples
    --------
    >>> decode("WyJjYXNlcyIsIi1vcGVuZWQiLDE3NjcyMjU2MDAwMDAsIjNmMmEiXQ", (int, str), "cases", "-opened")
    (1767225600000, '3f2a')
    """
    if text is None:
        return None
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error):
        found = None
    if isinstance(found, list) and len(found) == len(order) + len(shape) and found[: len(order)] == list(order):
        place = found[len(order) :]
        if all(type(value) is kind for value, kind in zip(place, shape, strict=True)) and _stored(place):
            return tuple(place)
    detail = "cursor: expected the `next` of a page of this list in this order, found another text; begin without one"
    raise ProblemError(422, "invalid-cursor", detail)


def _stored(place: list[object]) -> bool:
    """Whether a database can hold these values."""
    return all(-(2**63) <= v < 2**63 if isinstance(v, int) else "\0" not in str(v) for v in place)
