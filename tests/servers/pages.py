"""Pages of the console as tests ask for and read them."""

import re
from html import unescape
from typing import Any

import httpx

from streams.clock import SystemClock
from streams.store import Store, sign_ins
from streams.store.tokens import Scope
from tests.servers.asking import Asking
from tests.servers.web import BASE

HTML = {"Accept": "text/html"}
OURS = {**HTML, "Sec-Fetch-Site": "same-origin", "Origin": BASE}
EVIL = "<script>alert(1)</script>\u202e'\"><img src=x onerror=alert(2)>"
"""What an event or a person may write."""


def page(ask: Asking, path: str, language: str = "en", *, status: int = 200, **params: str) -> str:
    """Return a page's HTML."""
    headers = {**HTML, "Accept-Language": language}
    return str(ask("GET", path, status=status, params=params or None, headers=headers).text)


def text_of(html: str) -> str:
    """Return what a page says, in one line."""
    return re.sub(r" (?=[,.:;])", "", re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))))


def forms(html: str, action: str) -> list[dict[str, str]]:
    """Return the hidden fields of each form that goes there."""
    found = re.findall(rf'<form method="post" action="{re.escape(action)}".*?</form>', html, re.DOTALL)
    return [
        {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', one)}
        for one in found
    ]


def post(ask: Asking, path: str, given: dict[str, Any], *, status: int = 303) -> httpx.Response:
    """Send a form."""
    return ask("POST", path, status=status, data=given, headers=OURS)


def sign_in(ask: Asking, store: Store, scope: Scope = Scope.ADMIN, who: str = "eko") -> None:
    """Sign a client in as a browser is: by a cookie."""
    code = sign_ins.make_link(store, scope, f"person:{who}", "cli:test", SystemClock().now_ms())
    post(ask, "/sign-in", {"code": code})


def escaped(html: str) -> bool:
    """Return whether nothing of `EVIL` became markup."""
    return "<script>alert" not in html and "<img src=x" not in html
