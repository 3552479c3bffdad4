"""What every route of the API shares: a POST under an idempotency key is done once.

Promises
- The same key and the same request: the stored answer, with `Idempotency-Replayed: true`; where the engines had not
  answered yet, the command that was posted then is waited for, not posted again.
- The same key and another request: 422. While the first one is being worked on: 409. A request that did nothing (an
  error) leaves no trace, and may be tried again under its key.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from streams.store import idempotency
from streams.store.idempotency import Answered, Busy, Differs, Mine, Stored, TooMany
from streams.web import problem
from streams.web.context import Web, web_of
from streams.web.principal import IDENTIFIED, Principal
from streams.web.problem import ProblemError

KEY_HEADER = "Idempotency-Key"
KEY_LENGTH = 200
_KEPT = ("location", "content-type")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass
class Once:
    """A request under an idempotency key, while it is worked on."""

    who: str
    key: str
    posted: int | None = None
    """The command that was left for the engines, by an earlier try or by this one."""
    instead: Response | None = None
    """What a repetition is answered, where the answer itself is for one time only."""


def once_of(request: Request) -> Once | None:
    """Return under which key the request is worked on; None: under none."""
    found = getattr(request.state, "once", None)
    return found if isinstance(found, Once) else None


class ApiRoute(APIRoute):
    """A route of the API."""

    def get_route_handler(self) -> Handler:
        plain = super().get_route_handler()

        async def handler(request: Request) -> Response:
            if request.method != "POST" or KEY_HEADER not in request.headers:
                return await plain(request)
            body = hashlib.sha256(await request.body()).digest()
            return await once(request, body, lambda: plain(request))

        return handler


async def once(request: Request, body: bytes, work: Callable[[], Awaitable[Response]]) -> Response:
    """Return what the work answers, or has answered before under the request's idempotency key.

    Parameters
    ----------
    body : bytes
        A hash of the request's body.
    """
    web = web_of(request)
    principal = request.scope.get(IDENTIFIED)
    if not isinstance(principal, Principal):
        return await work()  # which refuses it
    key = request.headers[KEY_HEADER]
    if not (0 < len(key) <= KEY_LENGTH and key.isascii() and key.isprintable()):
        detail = (
            f"{KEY_HEADER}: expected 1 to {KEY_LENGTH} printable ASCII characters, found {len(key)} of another kind"
        )
        raise ProblemError(422, "invalid-request", detail)
    mine = Once(principal.who, key)
    print_ = await run_in_threadpool(_fingerprint, web, request, body)
    found = await run_in_threadpool(idempotency.begin, web.store, mine.who, key, print_, web.clock.now_ms())
    match found:
        case Answered(status=status, stored=stored):
            return Response(stored.body, status, {**stored.headers, "Idempotency-Replayed": "true"})
        case Differs():
            raise ProblemError(422, "key-reused", f"{KEY_HEADER}: was used for another request; take a new one")
        case Busy():
            detail = f"{KEY_HEADER}: the first request under it is being worked on; ask again"
            raise ProblemError(409, "in-progress", detail, {"Retry-After": "1"})
        case TooMany():
            detail = f"{KEY_HEADER}: at most {idempotency.MOST:,} are kept, for a day; send without one, or later"
            raise ProblemError(429, "too-many-keys", detail, {"Retry-After": "3600"})
        case Mine(posted=posted):
            mine.posted = posted
            request.state.once = mine
    return await _worked(web, mine, work)


async def _worked(web: Web, mine: Once, work: Callable[[], Awaitable[Response]]) -> Response:
    """Do the work; keep its answer, or let go of the key where nothing was done."""
    response: Response | None = None
    try:
        response = await work()
    except ProblemError as error:
        if mine.posted is None or error.status >= 500:
            raise
        response = problem.response(error.status, error.code, error.detail, headers=error.headers, more=error.more)
    finally:
        if response is not None and response.status_code < 500:
            kept = mine.instead or response
            headers = {name: kept.headers[name] for name in _KEPT if name in kept.headers}
            stored = Stored(bytes(kept.body).decode(), headers, mine.posted)
            await run_in_threadpool(idempotency.finish, web.store, mine.who, mine.key, kept.status_code, stored)
        elif mine.posted is None:
            await run_in_threadpool(idempotency.release, web.store, mine.who, mine.key)
    return response


def _fingerprint(web: Web, request: Request, body: bytes) -> bytes:
    """Return a keyed hash of the request: what was asked can't be read off it."""
    asked = f"{request.method} {request.url.path}?{request.url.query} ".encode()
    return hmac.new(web.store.customer_key, asked + body, hashlib.sha256).digest()
