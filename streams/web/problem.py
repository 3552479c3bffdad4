"""Errors as RFC 9457 problem details (`application/problem+json`): the one form in which the service says no.

Where the store is and what its database says stands in the log, never in an answer: some are given before it is known
who asks.
"""

import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from detector.errors import TocsinError, UnreachableError, UsageError
from streams.outbox.kill_switch import StuckError

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 50
UNREACHABLE = "the store can't be reached or written now; try again"
_NO_JSON = "json_invalid"
_OURS = {
    "extra_forbidden": "no such field",
    "missing": "a value",
    _NO_JSON: "JSON",
    "model_attributes_type": "an object",
}

_log = logging.getLogger("tocsin.web")


@dataclass
class ProblemError(Exception):
    """A request that can't be done: raise it anywhere below a route.

    `detail` says what was found, what is allowed and what to do; `code` is a short stable name for machines.
    """

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def response(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    return JSONResponse({**body, **(more or {})}, status, dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of this app a problem; nothing shows a traceback."""

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        code = phrase.lower().replace(" ", "-")
        return response(error.status_code, code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = [{"path": _path(e), "found": _found(e), "allowed": _allowed(e)} for e in error.errors()[:MOST_ERRORS]]
        detail = "; ".join(f"{e['path']}: expected {e['allowed']}, found {e['found']}" for e in found[:5])
        return response(422, "invalid-request", detail, more={"errors": found})

    for kind in (ProblemError, TocsinError):
        app.add_exception_handler(kind, _known)


def of(error: Exception) -> JSONResponse | None:
    """Return the answer to an error of the tree or a `ProblemError`; None for any other."""
    match error:
        case ProblemError():
            return response(error.status, error.code, error.detail, headers=error.headers, more=error.more)
        case UsageError():
            return response(422, "invalid-request", str(error))
        case StuckError():
            return response(503, "unavailable", str(error), headers={"Retry-After": "5"})
        case UnreachableError():
            _log.warning("a request could not be done: %s", error)
            return response(503, "unavailable", UNREACHABLE, headers={"Retry-After": "5"})
        case TocsinError():
            reference = secrets.token_hex(4)
            _log.error("internal error %s: %s", reference, error)
            return response(500, "internal-error", f"something went wrong here; the log has it as {reference}")
    return None


async def _known(_request: Request, error: Exception) -> JSONResponse:
    found = of(error)
    assert found is not None
    return found


def _allowed(error: Mapping[str, Any]) -> str:
    """Return what a field may be, in our words."""
    text = _OURS.get(error["type"], str(error["msg"]))
    for begin in ("Input should be ", "expected "):
        text = text.removeprefix(begin)
    return re.sub(r"^(String|List|Dictionary|Data) should (match|have) ", "", text)


def _path(error: Mapping[str, Any]) -> str:
    """Return where it is; of text that is no JSON the place within it is no field, so `found` says it."""
    location = error["loc"][:1] if error["type"] == _NO_JSON else error["loc"]
    return ".".join(map(str, location))


def _found(error: Mapping[str, Any]) -> str:
    if error["type"] == _NO_JSON:
        what = error.get("ctx", {}).get("error", "another text")
        return f"a mistake after {error['loc'][-1]} characters ({what})"
    return "nothing" if error["type"] == "missing" else _short(error.get("input"))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
