"""A real browser on a running service: Debian's Chromium by playwright, signed in by a link."""

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streams.clock import SystemClock
from streams.store import open_store, sign_ins
from streams.store.tokens import Scope
from tests.servers.missing import missing
from tests.servers.service import Service, stamp

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

MINUTE_MS = 60_000


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Give a browser; where there is none the test is skipped, but not in CI where it could be installed."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        sync_playwright = None  # type: ignore[assignment]
    if path is None or sync_playwright is None:
        why = "no Chromium found (CHROMIUM names one)" if path is None else "playwright is not installed"
        missing("chromium", why)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def signed_in(
    browser: "Browser", running: Service, who: str = "ani", scope: Scope = Scope.ADMIN, **look: Any
) -> "Iterator[Page]":
    """Give a page of somebody who is signed in; whatever the page complains of fails the test.

    Parameters
    ----------
    look
        Of the browser's context: viewport, locale, color_scheme, …
    """
    with open_store(running.db) as store:
        code = sign_ins.make_link(store, scope, f"person:{who}", "cli:test", SystemClock().now_ms())
    context: BrowserContext = browser.new_context(timezone_id="Asia/Jakarta", **({"locale": "en-GB"} | look))
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if _is_complaint(message) else None)
    page.on("request", lambda r: said.append(r.url) if not r.url.startswith((running.url, "data:", "blob:")) else None)
    try:
        page.goto(f"{running.url}/sign-in?code={code}")
        page.get_by_role("button").click()
        page.wait_for_url(f"{running.url}/**")
        yield page
        assert not said, said
    finally:
        context.close()


def _is_complaint(message: Any) -> bool:
    # A refusal that a test asks for is told by the browser as well; what a page does wrong is not.
    return message.type in ("error", "warning") and "the server responded with a status of 4" not in message.text


def payments(
    banks: dict[str, float],
    *,
    history: int = 150,
    broken: int = 14,
    per_minute: int = 60,
    customers: int = 1_200,
    ago: int = 0,
    prefix: str = "e",
    now_ms: int | None = None,
) -> bytes:
    """Return two and a half hours of payments up to now; at the end each bank declines this share of its own.

    Parameters
    ----------
    ago
        They end so many minutes before now.
    prefix
        Of the events' ids.
    now_ms
        The clock's where not given.
    """
    chance, lines = random.Random(f"7{prefix}" if prefix != "e" else 7), list[bytes]()
    now_ms = (time.time_ns() // 1_000_000 if now_ms is None else now_ms) - ago * MINUTE_MS  # noqa: TID251
    names = ("BCA", "BNI", "BRI", "Mandiri", "Permata")
    for minute in range(history):
        start_ms = now_ms - (history - minute) * MINUTE_MS
        for moment in sorted(chance.randrange(MINUTE_MS) for _ in range(per_minute)):
            bank = chance.choice(names)
            share = banks.get(bank, 0.02) if minute >= history - broken else 0.02
            event = {
                "id": f"{prefix}{len(lines)}",
                "time": stamp(start_ms + moment),
                "kind": "payment",
                "customer": f"C-{chance.randrange(customers)}",
                "outcome": "declined" if chance.random() < share else "approved",
                "bank": bank,
                "city": chance.choice(("Jakarta", "Medan")),
            }
            lines.append(json.dumps(event).encode())
    return b"\n".join(lines)
