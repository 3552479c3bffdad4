"""Refusals as pages, for whoever asks with a browser; programs get the problem details as they are.

Promises
- Whoever is not signed in is led to the sign-in, and afterwards to where they wanted to go, if that is a page of ours.
- A page says what happened in the person's language, never the text of an error that may hold somebody's data.
"""

import json

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.web.console.base import bare_page, here_of, is_ours
from streams.web.console.texts import TEXTS
from streams.web.problem import MEDIA_TYPE

NEXT_COOKIE = "tocsin_next"
_NEXT_S = 900
_NEXT_LENGTH = 1_500
_PASSING = (409, 429)
_NOT_PAGES = ("/v1/", "/u/", "/static/", "/sign-in", "/sign-out")


class HtmlErrors:
    """ASGI middleware around the guard."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _wants_page(HTTPConnection(scope)):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        start: Message | None = None
        body = b""

        async def held(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
                if kinds == [MEDIA_TYPE.encode()]:
                    start = message
                    return
            elif start is not None:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _shown(request, start, body)(scope, receive, send)
                return
            await send(message)

        await self._app(scope, receive, held)


def _wants_page(request: HTTPConnection) -> bool:
    path = request.scope["path"]
    return "text/html" in request.headers.get("accept", "") and not path.startswith(_NOT_PAGES)


def _shown(request: HTTPConnection, start: Message, body: bytes) -> Response:
    """Return the page instead of the problem, with the headers that the guard gave that."""
    problem = json.loads(body)
    response = _page(request, int(start["status"]), str(problem.get("code", "")), str(problem.get("detail", "")))
    own = {name.lower() for name, _ in response.raw_headers}
    kept = [
        (name, value) for name, value in start["headers"] if name.lower() not in own and name.lower() != b"content-type"
    ]
    response.raw_headers.extend(kept)
    return response


def _page(request: HTTPConnection, status: int, code: str, detail: str) -> Response:
    if code == "not-signed-in":
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A browser keeps a strict cookie back where another site's link is followed; from our own page it comes.
            return bare_page(request, "go_on.html", to=here_of(request))
        return to_sign_in(request)
    key = next((k for k in (f"error.{code}", f"error.{status}") if k in TEXTS), "error.other")
    reference = detail.rpartition(" ")[2] if code == "internal-error" else ""
    again = status >= 500 or status in _PASSING or code == "csrf"  # what stays so is not asked for again
    return bare_page(request, "error.html", status, key=key, reference=reference, back=here_of(request), again=again)


def to_sign_in(request: HTTPConnection) -> Response:
    """Lead to the sign-in, and keep where somebody wanted to go."""
    response = RedirectResponse("/sign-in", 303)
    here = here_of(request)
    if request.scope["method"] == "GET" and here != "/" and len(here) <= _NEXT_LENGTH and here.isascii():
        response.set_cookie(NEXT_COOKIE, here, max_age=_NEXT_S, path="/", httponly=True, samesite="lax")
    return response


def next_of(request: HTTPConnection) -> str:
    """Return where somebody wanted to go before they signed in; the inbox where that is nothing of ours."""
    kept = request.cookies.get(NEXT_COOKIE, "")
    return kept if is_ours(kept) and not kept.startswith(_NOT_PAGES) else "/"


def forget_next(request: HTTPConnection, response: Response) -> None:
    """Keep no longer where somebody wanted to go: they are there."""
    if NEXT_COOKIE in request.cookies:
        response.delete_cookie(NEXT_COOKIE, path="/", httponly=True, samesite="lax")
