"""Kinds of values in requests and answers, and the base of their models.

A request's body refuses fields that it does not know; an answer is checked against its model before it leaves, so the
OpenAPI document says what is true.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, LiteralString, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_REFUSED: LiteralString = "refused"
_BOOLEANS = {"true": True, "false": False}
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)


def _refuse(allowed: LiteralString) -> NoReturn:
    raise PydanticCustomError(_REFUSED, allowed)


def _moment(value: object) -> int:
    try:
        if isinstance(value, str) and _RFC3339.fullmatch(value):
            found = datetime.fromisoformat(value.upper())
            if found.year >= 1970:
                return round(found.timestamp() * 1_000)
    except (ValueError, OverflowError):
        pass
    _refuse("expected a time such as 2026-03-02T01:00:00Z")


def _boolean(value: object) -> bool:
    found = value if isinstance(value, bool) else _BOOLEANS.get(value) if isinstance(value, str) else None
    if found is None:
        _refuse("expected true or false")
    return found


def _integer(value: object) -> object:
    """Read a whole number as a query writes it: digits, nothing around them."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    _refuse("expected a whole number")


def _text(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        _refuse("expected text without the character 0")
    return value


Moment = Annotated[
    int,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-02T01:00:00Z"]}),
]
"""A time in a request, as epoch milliseconds."""
Flag = Annotated[bool, BeforeValidator(_boolean)]
Limit = Annotated[int, Field(ge=1, le=200, description="Rows of a page, at most."), BeforeValidator(_integer)]
Cursor = Annotated[
    str | None, Field(max_length=500, description="Where to go on: the `next` of the page before. None: at the start.")
]
Line = Annotated[str, Field(max_length=200), BeforeValidator(_text)]
"""A short text in a request."""
Id = Annotated[str, Field(min_length=1, max_length=200), BeforeValidator(_text)]

Time = Annotated[
    str,
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-03-02T01:00:00Z"]),
]
"""A time in an answer: RFC 3339 in UTC."""


Amount = Annotated[int | float, WithJsonSchema({"type": "number", "examples": [150000]})]
"""An amount in an answer: whole where it is."""
AmountGiven = Annotated[float, Field(strict=True, ge=0, lt=1e12, allow_inf_nan=False, examples=[150000])]
"""An amount in a request; it is kept to the thousandth."""


def described(text: str, **more: Any) -> Any:
    """Return a field with a description."""
    return Field(description=text, **more)


class Given(BaseModel):
    """What a request brings."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Shown(BaseModel):
    """What an answer holds."""

    model_config = ConfigDict(extra="ignore")


M = TypeVar("M", bound=Shown)


def show(model: type[M], **fields: object) -> M:
    """Return an answer of documents, checked."""
    return model.model_validate(fields)


class Paged(Given):
    """What every list in pages takes."""

    cursor: Cursor = None
    limit: Limit = 50


class ProblemShown(Shown):
    """Why a request was not done (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str = described("A short stable name, for machines.", examples=["not-found"])
    detail: str = described("What was found, what is allowed, what to do.")


Sort = Literal["opened", "-opened", "onset", "-onset", "still_failing", "-still_failing", "severity", "-severity"]
