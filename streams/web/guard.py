"""What every request passes before any route, and every answer on its way out.

Rules of the file
- A body is read only of somebody who is known, within a size, a time and a depth; of anybody else none is but of a
  provider that calls back.
- A token never stands in an address: such a request is refused, whatever it asks for.
- A browser's word (cookie, proxy) changes something only if our own page sent it, with its token.
- Every answer has the security headers; an unforeseen error is a problem without its text, never a traceback.
"""

import asyncio
import hmac
import logging
import re
import secrets
import traceback
from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import parse_qs, parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detector.errors import TocsinError
from streams.store.tokens import PREFIX
from streams.web import problem
from streams.web.auth import Auth
from streams.web.principal import IDENTIFIED, Principal
from streams.web.problem import ProblemError

T = TypeVar("T")

STREAMED = ("/v1/events", "/v1/logs", "/v1/customers/import")
"""Routes that read their body themselves, piece by piece, within limits of their own (`streams.web.door`)."""
SIGN_IN = "/sign-in"
"""The one form that is open to everybody."""
NOT_FORMS = "/v1/"
"""Below it a body is JSON; anywhere else it is a plain form's."""
BY_LINK = "/u/"
"""Routes whose link is all that they need: whoever holds it may change what it is about, from any page or none."""
CALLED_BACK = "/v1/inbound/"
"""Routes that providers call back: they show a secret of their own or sign the body, so it is read before they are
known, within the limits."""
OPEN_NAMES = ("/healthz", "/readyz")
"""Routes that may be asked under any name: they say nothing, and a probe asks by address."""

JSON_BYTES = 1_048_576
FORM_BYTES = 16_384
JSON_DEPTH = 32
PIECE_S, BODY_S, STREAM_PIECE_S = 10.0, 60.0, 30.0
"""A body's next piece comes within `PIECE_S` (streamed: `STREAM_PIECE_S`), the whole within `BODY_S`."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""On every answer; a route's own value counts where it sets one."""

STRICT_TRANSPORT = "max-age=31536000"

_TOKEN_NAMES = frozenset({"token", "access_token", "api_token", "api_key", "apikey", "bearer", "authorization"})
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")

_log = logging.getLogger("tocsin.web")


class Guard:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp, auth: Auth) -> None:
        self._app, self._auth = app, auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        answer = _Answer(scope, send, acceptable=_acceptable(request), https=self._auth.surroundings.https(request))
        try:
            await self._app(scope, await self._let_in(request, receive), answer)
        except Exception as error:
            if answer.started:
                raise
            refusal = problem.of(error) or _unforeseen(error)
            await refusal(scope, receive, answer)

    async def _let_in(self, request: HTTPConnection, receive: Receive) -> Receive:
        """Return what the routes read the body from."""
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            # Where a proxy goes by the one and we by the other, a body is taken for somebody else's next request.
            detail = "the body's length is said twice, by Content-Length and Transfer-Encoding: send one of the two"
            raise ProblemError(400, "two-lengths", detail, {"Connection": "close"})
        path, method = request.scope["path"], request.scope["method"]
        if path in OPEN_NAMES:
            request.scope[IDENTIFIED] = None
            return _replayed(b"", receive)
        surroundings = self._auth.surroundings
        if not surroundings.knows_host(request):
            detail = "asked under a name that is not ours; add it to service.hosts, or set service.public_url"
            raise ProblemError(421, "unknown-host", detail)
        _refuse_tokens_in_the_address(request)
        if path.startswith(BY_LINK):
            request.scope[IDENTIFIED] = None
            return _replayed(b"", receive)
        if path.startswith(CALLED_BACK):
            request.scope[IDENTIFIED] = None
            return _replayed(await _body(request, receive, is_form=False), receive)
        who = await self._identified(request)
        request.scope[IDENTIFIED] = who
        by_browser = not (isinstance(who, Principal) and who.via == "token")
        if method not in SAFE and by_browser and not surroundings.same_origin(request.headers):
            self._auth.notes.refused("nobody", "origin.refused", "")
            raise ProblemError(
                403, "cross-site", "sent by another site's page; use the service's own pages, or a token"
            )
        if path in STREAMED and isinstance(who, Principal):
            await self._check_csrf(request, who, b"")
            return _timed(receive)
        if isinstance(who, Principal) or path == SIGN_IN:
            body = await _body(request, receive, is_form := not path.startswith(NOT_FORMS))
            await self._check_csrf(request, who, body if is_form else b"")
            return _replayed(body, receive)
        return _replayed(b"", receive)

    async def _identified(self, request: HTTPConnection) -> Principal | ProblemError | None:
        """Return who asks; where they came with something that opens nothing, the routes that need it say so."""
        try:
            return await self._auth.identify(request)
        except ProblemError as error:
            return error
        except TocsinError as error:
            _log.warning("nobody can be identified: %s", error)
            return ProblemError(503, "unavailable", problem.UNREACHABLE, {"Retry-After": "5"})

    async def _check_csrf(self, request: HTTPConnection, who: object, body: bytes) -> None:
        """Refuse a change by cookie without the session's token (header `X-CSRF-Token`, or a form's `csrf`)."""
        if request.scope["method"] in SAFE or not isinstance(who, Principal) or who.via != "session":
            return
        if request.scope["path"] == SIGN_IN:  # signing in anew: nothing of the old session is used
            return
        given = request.headers.get("x-csrf-token") or parse_qs(body.decode("utf-8", "replace")).get("csrf", [""])[0]
        if not who.csrf or not hmac.compare_digest(who.csrf.encode(), given.encode()):
            self._auth.notes.refused(who.who, "csrf.refused", "")
            detail = "a change by a signed-in browser needs the page's token (X-CSRF-Token); load the page anew"
            raise ProblemError(403, "csrf", detail)


class _Answer:
    """Sends an answer with the security headers; one of a type that was not asked for becomes a 406."""

    def __init__(self, scope: Scope, send: Send, *, acceptable: "_Accept", https: bool) -> None:
        self._scope, self._send, self._acceptable, self._https = scope, send, acceptable, https
        self.started = self._replaced = False

    async def __call__(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if 200 <= message["status"] < 300 and not self._acceptable.takes(headers.get("content-type")):
                self._replaced = True
                await self._refuse(headers.get("content-type", ""))
                return
            self.started = True
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._https:
                headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)
        await self._send(message)

    async def _refuse(self, found: str) -> None:
        refusal = problem.response(
            406, "not-acceptable", f"there is only {found}; ask for it by Accept, or leave it out"
        )
        other = _Answer(self._scope, self._send, acceptable=_ANYTHING, https=self._https)
        await refusal(self._scope, _nothing, other)
        self.started = True


class _Accept:
    """The types that a request takes."""

    def __init__(self, header: str) -> None:
        parts = [part.partition(";") for part in header.lower().split(",")]
        refused = re.compile(r"\bq\s*=\s*0(\.0*)?\s*$")
        self._ranges = [
            kind.strip() for kind, _, parameters in parts if kind.strip() and not refused.search(parameters)
        ]
        self._any = not header.strip() or "*/*" in self._ranges

    def takes(self, content_type: str | None) -> bool:
        if self._any or not content_type:
            return True
        kind = content_type.partition(";")[0].strip().lower()
        return kind in self._ranges or f"{kind.partition('/')[0]}/*" in self._ranges


_ANYTHING = _Accept("")


def _acceptable(request: HTTPConnection) -> _Accept:
    asked = request.scope["method"] in ("GET", "HEAD") and request.scope["path"].startswith("/v1/")
    return _Accept(",".join(request.headers.getlist("accept"))) if asked else _ANYTHING


def _refuse_tokens_in_the_address(request: HTTPConnection) -> None:
    query = request.scope["query_string"].decode("latin-1")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _TOKEN_NAMES or value.startswith(PREFIX):
            detail = (
                "a token stands in the address, where logs and histories keep it: send it as Authorization: Bearer …, "
                "and revoke this one (`tocsin token revoke`)"
            )
            raise ProblemError(400, "token-in-address", detail)


# --- bodies -----------------------------------------------------------------------------------------------------------


async def _body(request: HTTPConnection, receive: Receive, is_form: bool) -> bytes:
    """Return the whole body of a request, within its limits."""
    limit = FORM_BYTES if is_form else JSON_BYTES
    _check_length(request, limit)
    pieces: list[bytes] = []
    size = 0

    async def read() -> None:
        nonlocal size
        while True:
            message = await _soon(receive(), PIECE_S)
            if message["type"] == "http.disconnect":
                raise ProblemError(400, "disconnected", "the connection closed within the body")
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return

    await _soon(read(), BODY_S)
    body = b"".join(pieces)
    if body:
        _check_type(request, is_form)
        if not is_form and depth(body) > JSON_DEPTH:
            raise ProblemError(
                422, "too-deep", f"body: nested deeper than {JSON_DEPTH} levels, which is the most allowed"
            )
    return body


def _timed(receive: Receive) -> Receive:
    """Return a `receive` that does not wait long for a body's next piece."""
    ended = False

    async def read() -> Message:
        nonlocal ended
        if ended:  # then it waits for the end of the connection, however long that takes
            return await receive()
        message = await _soon(receive(), STREAM_PIECE_S)
        ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return read


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read already, then what else the connection says."""
    given = False

    async def read() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _soon(awaited: Awaitable[T], within_s: float) -> T:
    try:
        async with asyncio.timeout(within_s):
            return await awaited
    except TimeoutError:
        raise ProblemError(
            408, "too-slow", "the body came too slowly; send it again", {"Connection": "close"}
        ) from None


def _check_length(request: HTTPConnection, limit: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, "too-large", f"body: at most {limit} bytes are taken at once; send it in parts", _CLOSE)


_CLOSE = {"Connection": "close"}


def _check_type(request: HTTPConnection, is_form: bool) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if is_form:
        allowed, fits = "application/x-www-form-urlencoded", given == "application/x-www-form-urlencoded"
    else:
        json = given.startswith("application/") and given.endswith("+json")
        allowed, fits = "application/json", given == "application/json" or json
    if not fits:
        found = given if given.isprintable() and given else "none"
        raise ProblemError(
            415, "wrong-type", f"Content-Type: expected {allowed}, found {found[:80]}", {"Accept": allowed}
        )


def depth(body: bytes) -> int:
    """Return how deep arrays and objects of a JSON text are nested; beyond the limit it stops counting.

    Examples
    --------
    >>> depth(b'{"a": [1, {"b": "[[[["}]}'), depth(b"[" * 1000) == JSON_DEPTH + 1
    (3, True)
    """
    deepest = level = 0
    for match in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        level += 1 if match.group() in b"[{" else -1
        deepest = max(deepest, level)
        if deepest > JSON_DEPTH:
            break
    return deepest


# --- errors -----------------------------------------------------------------------------------------------------------


def _unforeseen(error: Exception) -> JSONResponse:
    """Answer an error that is ours: the log has where it was, neither has its text, which may hold somebody's data."""
    reference = secrets.token_hex(4)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = ", ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in last)
    _log.error("internal error %s: %s at %s", reference, type(error).__name__, where)
    return problem.response(500, "internal-error", f"something went wrong here; the log has it as {reference}")
