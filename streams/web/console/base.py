"""What every page shares: `page` renders a template with all that the frame needs, `redirect` leads on with a word.

Rules of the file
- Every value is escaped by the template engine; a template has no inline script or style (the policy forbids them).
- A name that a template needs and is not given is an error.
- What a page says once (`redirect(…, said=…)`) is a key of the texts, kept in a cookie until the next page shows it.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import HTTPConnection

from streams.feeds.log import bounds
from streams.outbox.kill_switch import kill_switch
from streams.store import RECORDING, queries
from streams.store.tokens import Scope
from streams.web.console import formats
from streams.web.console.static import asset
from streams.web.console.texts import TEXTS, named, text
from streams.web.console.viewer import LANGUAGES, THEMES, Viewer, viewer_of
from streams.web.context import Web, web_of
from streams.web.principal import IDENTIFIED, Principal

TEMPLATES = Path(__file__).parent / "templates"
SAID_COOKIE = "tocsin_said"
_SAID_LENGTH = 1_000


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the template engine."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.filters.update(formats.filters())
    made.globals.update(
        t=_t,
        named=_named,
        time_words=_time_words,
        asset=asset,
        csrf_field=_csrf_field,
        LANGUAGES=LANGUAGES,
        THEMES=THEMES,
        SEVERITY_MARK=SEVERITY_MARK,
    )
    return made


SEVERITY_MARK = {"critical": "▲▲", "high": "▲", "medium": "△", "low": "·"}
"""A shape beside the word, so that nothing hangs on colour."""


@pass_context
def _t(context: Context, key: str, **values: Any) -> str:
    return text(key, context["viewer"].language, **values)


@pass_context
def _named(context: Context, prefix: str, value: str) -> str:
    return named(prefix, value, context["viewer"].language)


@pass_context
def _time_words(context: Context) -> str:
    return formats.time_words(context["viewer"].language)


@pass_context
def _csrf_field(context: Context) -> Markup:
    """Return the hidden field that every form that changes something has."""
    return Markup('<input type="hidden" name="csrf" value="{}">').format(context["csrf"])


def viewer_for(request: Request) -> Viewer:
    """Return how this page is to be told; its now is the moment, or the end of a recording.

    Ask before anything is read that the page shows: what happens after `feed_seq` the page hears of by itself.
    """
    web = web_of(request)
    _, newest = bounds(web.store)
    return viewer_of(request, web.settings.config.policy.default_time_zone, now_of(web), newest)


def now_of(web: Web) -> int:
    """Return the moment; of a recording the end of its last window, since nothing happened after."""
    if web.store.mode == RECORDING:
        newest = queries.newest_window(web.store)
        if newest is not None:
            return newest.window_ms + newest.width_ms
    return web.clock.now_ms()


def page(
    request: Request,
    template: str,
    *,
    section: str = "",
    status: int = 200,
    viewer: Viewer | None = None,
    headers: dict[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """Return a page of the console, for a route that somebody signed in may ask.  Reads the store: no event loop.

    Parameters
    ----------
    section : str
        Which entry of the navigation it belongs to: `inbox`, `sending`, `signals`, `audit`.
    viewer : Viewer, optional
        From `viewer_for`, where the route needed it already.
    values
        What the template needs beside the frame's own names: `viewer`, `me`, `csrf`, `recording`, `kill`, `dry_run`,
        `section`, `said`, `here`, and the functions `t`, `named`, `asset`, `csrf_field`.
    """
    web, viewer = web_of(request), viewer or viewer_for(request)
    me = request.scope[IDENTIFIED]
    assert isinstance(me, Principal)
    body = (
        environment()
        .get_template(template)
        .render(
            viewer=viewer,
            me=me,
            may_operate=me.may(Scope.OPERATE),
            may_admin=me.may(Scope.ADMIN),
            csrf=me.csrf,
            recording=web.store.mode == RECORDING,
            kill=kill_switch(web.store),
            dry_run=not web.settings.config.policy.send,
            section=section,
            said=_said(request, viewer),
            here=here_of(request),
            **values,
        )
    )
    return _html(request, body, status, viewer, headers)


def bare_page(request: HTTPConnection, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page outside the console's frame, for anybody; reads nothing of the store."""
    viewer = viewer_of(request, "UTC", 0)
    body = environment().get_template(template).render(viewer=viewer, **values)
    return _html(request, body, status, viewer, None)


def _html(
    request: HTTPConnection, body: str, status: int, viewer: Viewer, headers: dict[str, str] | None
) -> HTMLResponse:
    given = {"Content-Language": viewer.language, "Vary": "Accept-Language, Cookie", **(headers or {})}
    response = HTMLResponse(body, status, given)
    if SAID_COOKIE in request.cookies:
        response.delete_cookie(SAID_COOKIE, path="/", httponly=True, samesite="lax")
    return response


# --- leading on -------------------------------------------------------------------------------------------------------


def redirect(path: str, said: str = "", kind: str = "good", **values: str | int) -> RedirectResponse:
    """Lead the browser on after a form, with something to say once.

    Parameters
    ----------
    said : str
        A key of the texts.
    kind : str
        `good`, or `problem`.
    """
    response = RedirectResponse(path if is_ours(path) else "/", 303)
    if said:
        data = json.dumps([said, kind, values], separators=(",", ":")).encode()
        cookie = urlsafe_b64encode(data).decode()
        response.set_cookie(SAID_COOKIE, cookie, max_age=60, path="/", httponly=True, samesite="lax")
    return response


def _said(request: HTTPConnection, viewer: Viewer) -> tuple[str, str] | None:
    """Return (`good` or `problem`, text) of what is to be said; None where that is nothing of ours."""
    cookie = request.cookies.get(SAID_COOKIE, "")
    if not cookie or len(cookie) > _SAID_LENGTH:
        return None
    try:
        key, kind, values = json.loads(urlsafe_b64decode(cookie))
        if key not in TEXTS or kind not in ("good", "problem"):
            return None
        return str(kind), text(key, viewer.language, **{str(k): v for k, v in values.items() if type(v) in (str, int)})
    except (ValueError, TypeError, AttributeError, LookupError):
        return None


def here_of(request: HTTPConnection) -> str:
    """Return the path and query of this page."""
    query = request.scope["query_string"].decode("latin-1")
    return str(request.url.path) + (f"?{query}" if query else "")


def is_ours(path: str) -> bool:
    r"""Return whether a browser that follows this stays on this service.

    Examples
    --------
    >>> [is_ours(path) for path in ("/cases/3f?x=1", "//evil.example", "/\\evil.example", "https://evil.example", "a")]
    [True, False, False, False, False]
    """
    if not path.startswith("/") or path.startswith("//") or "\\" in path or not path.isprintable():
        return False
    try:
        found = urlsplit(path)
    except ValueError:
        return False
    return not found.scheme and not found.netloc
