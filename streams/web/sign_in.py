"""Signing in and out in a browser: by a link that works once, or by the identity provider.

Promises
- Opening a link signs nobody in: a preview or a prefetch asks for it too. The button on its page does.
- It leads on to the page of ours that somebody wanted to see, and nowhere else.
- Signing in always begins a new session with a new cookie, and ends the one that the browser had.
- The cookie is out of reach of scripts and of other sites' pages (HttpOnly, SameSite=Strict; over https Secure and
  bound to this host).
"""

import asyncio
import logging
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from detector.errors import TocsinError, UnreachableError
from streams.settings import secret_of
from streams.store import sign_ins
from streams.web import pages
from streams.web.access import public
from streams.web.auth import Auth, scope_of
from streams.web.console.base import bare_page
from streams.web.console.errors import forget_next, next_of
from streams.web.context import web_of
from streams.web.oidc import ATTEMPT_MS, NotSignedInError, unsealed

router = APIRouter(include_in_schema=False)

_CODE_LENGTH = 64

_log = logging.getLogger("tocsin.web")


@router.get("/sign-in", dependencies=[public()])
async def sign_in_page(request: Request, code: str = "") -> Response:
    """Show the button that uses the link, or how to get one."""
    if not code and await _auth(request).session(request) is not None:
        return RedirectResponse("/", 303)
    return pages.sign_in_page(request, oidc=_has_oidc(request), code=code[:_CODE_LENGTH])


@router.post("/sign-in", dependencies=[public()])
async def sign_in(request: Request) -> Response:
    """Use a link."""
    auth = _auth(request)
    address = auth.allow_attempt(request)
    code = parse_qs((await request.body()).decode("utf-8", "replace")).get("code", [""])[0]
    opened = await asyncio.to_thread(
        sign_ins.use_link,
        auth.web.store,
        code[:_CODE_LENGTH],
        auth.web.clock.now_ms(),
        idle_ms=auth.web.settings.service.session,
        old=auth.cookie(request),
    )
    if opened is None:
        auth.backoff.failed(address)
        auth.notes.refused("nobody", "sign-in.failed", "")
        return pages.sign_in_page(request, oidc=_has_oidc(request), problem="link_over", status=403)
    auth.backoff.succeeded(address)
    response = RedirectResponse(next_of(request), 303)
    forget_next(request, response)
    auth.set_cookie(request, response, opened[0])
    return response


@router.get("/sign-in/oidc", dependencies=[public()])
async def begin_with_provider(request: Request) -> Response:
    """Send the browser to the identity provider."""
    auth = _auth(request)
    section = auth.web.settings.service.oidc
    if section is None:
        return RedirectResponse("/sign-in", 303)
    auth.allow_attempt(request)
    try:
        url, attempt = await auth.oidc.begin(section, _redirect_uri(request))
    except TocsinError as error:
        return _provider_failed(request, error)
    response = RedirectResponse(url, 303)
    secure = auth.surroundings.https(request)
    response.set_cookie(
        _attempt_cookie(request),
        attempt.sealed(),
        max_age=ATTEMPT_MS // 1_000,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )
    return response


@router.get("/sign-in/oidc/callback", dependencies=[public()])
async def finish_with_provider(request: Request) -> Response:
    """Sign in whom the identity provider vouches for."""
    auth = _auth(request)
    section, store, clock = auth.web.settings.service.oidc, auth.web.store, auth.web.clock
    attempt = unsealed(request.cookies.get(_attempt_cookie(request), ""))
    if section is None or attempt is None:
        return pages.sign_in_page(request, oidc=section is not None, problem="provider_failed", status=403)
    address = auth.allow_attempt(request)
    try:
        reference = secret_of(
            section.client_secret, "tocsin.yml: service.oidc.client_secret", auth.web.settings.directory
        )
        assert reference is not None
        secret = reference.read(1).decode()
        person = await auth.oidc.finish(section, secret, attempt, request.query_params, _redirect_uri(request))
    except NotSignedInError as error:
        auth.backoff.failed(address)
        return _provider_failed(request, error)
    except TocsinError as error:
        return _provider_failed(request, error)
    scope, who = scope_of(section.roles, person.groups), f"person:{person.name}"
    if scope is None:
        auth.notes.refused(who, "sign-in.no-role", "")
        response: Response = pages.sign_in_page(request, oidc=True, problem="no_role", status=403)
    else:
        opened = await asyncio.to_thread(
            sign_ins.open_session,
            store,
            who,
            scope,
            "by provider",
            clock.now_ms(),
            idle_ms=auth.web.settings.service.session,
            old=auth.cookie(request),
        )
        auth.backoff.succeeded(address)
        # The browser comes from the provider's page, and would not show a strict cookie on a redirect from here.
        response = bare_page(request, "go_on.html", to=next_of(request))
        forget_next(request, response)
        auth.set_cookie(request, response, opened[0])
    response.delete_cookie(_attempt_cookie(request), path="/", secure=auth.surroundings.https(request), httponly=True)
    return response


@router.post("/sign-out", dependencies=[public()])
async def sign_out(request: Request) -> Response:
    """End the browser's session."""
    auth = _auth(request)
    session = await auth.session(request)
    if session is not None:
        await asyncio.to_thread(sign_ins.close_session, auth.web.store, session, auth.web.clock.now_ms())
    response = RedirectResponse("/sign-in", 303)
    auth.unset_cookie(request, response)
    return response


def _provider_failed(request: Request, error: TocsinError) -> HTMLResponse:
    """Tell the person what to do; the log has why."""
    _auth(request).notes.refused("nobody", "sign-in.failed", "")
    _log.warning("sign-in: %s", error)
    away = isinstance(error, UnreachableError)
    return pages.sign_in_page(
        request, oidc=True, problem="provider_away" if away else "provider_failed", status=503 if away else 403
    )


def _redirect_uri(request: Request) -> str:
    """Return where the provider sends the browser back to: the public address, else where we are asked."""
    auth = _auth(request)
    scheme = "https" if auth.surroundings.https(request) else "http"
    base = auth.web.settings.service.public_url or f"{scheme}://{request.headers['host']}"
    return f"{base}/sign-in/oidc/callback"


def _attempt_cookie(request: Request) -> str:
    return "__Host-tocsin_attempt" if _auth(request).surroundings.https(request) else "tocsin_attempt"


def _has_oidc(request: Request) -> bool:
    return web_of(request).settings.service.oidc is not None


def _auth(request: Request) -> Auth:
    found = web_of(request).identifier
    assert isinstance(found, Auth)
    return found
