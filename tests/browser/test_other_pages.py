"""Customer, sending, signals, audit in a real browser: nothing that axe calls serious, worked by keyboard, at any width."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from streams.outbox.kill_switch import kill_switch
from streams.store import open_store, queries
from tests.servers.browser import chromium, payments, signed_in
from tests.servers.service import Service, configured, service, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SETTINGS = "customers: customers.csv\ninput: {lateness: 10s}\nnotices: {channels: [email], quiet_hours: none}\n"


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a service with one case whose customers are told, in a dry run."""
    folder = tmp_path_factory.mktemp("pages")
    config = configured(folder / "shop", SETTINGS)
    rows = [f"C-{i},Name {i},id,Asia/Makassar,c{i}@mail.example,,email" for i in range(1_200)]
    header = "id,name,language,time_zone,email,phone,consent"
    (config / "customers.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    with service(folder, config) as found:
        with found.client() as client:
            lines = payments({"BNI": 0.9})
            assert client.post("/v1/events", content=lines, headers=_NDJSON).status_code == 202
        until(lambda: told(found), "somebody who was told", 60)
        yield found


_NDJSON = {"Content-Type": "application/x-ndjson"}


def told(running: Service) -> str | None:
    """Return the id of somebody who was told."""
    with open_store(running.db) as store:
        for case in queries.list_cases(store, finished=True):
            keys = [n.customer for n in queries.notices(store, case.id) if n.state.value == "simulated"]
            if keys:
                return next(iter(queries.names(store, keys[:1]).values()))
    return None


def serious(page: "Page") -> list[tuple[str, Any]]:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    found = json.loads(json.dumps(Axe().run(page).response))["violations"]
    return [(v["id"], [n["target"] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize(
    "look",
    [
        pytest.param({"color_scheme": "light", "locale": "en-GB"}, id="light"),
        pytest.param(
            {"color_scheme": "dark", "locale": "id-ID", "viewport": {"width": 360, "height": 800}}, id="phone"
        ),
    ],
)
def test_no_page_has_what_axe_calls_serious_or_is_wider_than_the_screen(
    browser: "Browser", running: Service, look: dict[str, Any]
) -> None:
    who = told(running)
    paths = (
        *("/sending", "/sending?do=stop", "/sending/queue", "/sending/held?reason=quiet-hours", "/signals"),
        *("/audit", "/audit?verify=1", "/customers", "/customers?q=nobody"),
        *(f"/customers/{who}", f"/customers/{who}?do=erase", f"/customers/{who}?do=opt-out"),
    )
    with signed_in(browser, running, **look) as page:
        for path in paths:
            page.goto(running.url + path)
            assert page.locator("h1").first.is_visible(), path
            assert serious(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_the_kill_switch_is_turned_by_keyboard_and_everybody_sees_it(browser: "Browser", running: Service) -> None:
    with signed_in(browser, running, "ani") as page:
        page.goto(running.url + "/sending")
        page.get_by_role("link", name="Stop all sending…").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/sending?do=stop#ask")
        page.get_by_label("Why (everybody sees it)").focus()
        page.keyboard.type("wrong words")
        page.keyboard.press("Enter")
        page.get_by_text("Sending is stopped.", exact=True).wait_for()
        with open_store(running.db) as store:
            found = kill_switch(store)
        assert (found.on, found.by, found.reason) == (True, "person:ani", "wrong words")
        page.goto(running.url + "/signals")
        assert "Sending is stopped by the kill switch" in page.locator("#strips").inner_text()
        page.goto(running.url + "/sending?do=go")
        page.get_by_role("button", name="Let sending go on").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Sending goes on.", exact=True).wait_for()


def test_a_customer_is_found_read_and_erased(browser: "Browser", running: Service) -> None:
    who = told(running)
    assert who is not None
    with signed_in(browser, running, "eko") as page:
        page.locator("[data-find]").focus()
        page.keyboard.type(f"{who.replace('C-', 'c')}@mail.example")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/customers/{who}")
        story = page.locator("#story")
        assert "failed" in story.inner_text() and "would have been told (problem)" in story.inner_text()
        assert "WITA" in page.locator("#person").inner_text()
        left = story.locator(".at").evaluate_all("all => all.map(one => one.getBoundingClientRect().left)")
        assert len(left) > 1 and len(set(left)) == 1, "the moments of a story do not stand below each other"
        page.get_by_role("link", name="Erase…").click()
        page.get_by_role("button", name="Erase them").click()
        page.get_by_text("Erased:").wait_for()
        assert page.locator("h1").inner_text() == "Find a customer"
        page.goto(f"{running.url}/customers/{who}")
        assert "was erased" in page.locator("[role=alert]").inner_text()


def test_pages_can_be_read_and_acted_on_without_scripts(browser: "Browser", running: Service) -> None:
    with signed_in(browser, running, java_script_enabled=False) as page:
        page.goto(running.url + "/signals")
        page.get_by_text("Thresholds").first.click()
        assert page.locator("details[open]").count() == 1
        page.goto(running.url + "/audit")
        page.get_by_label("What", exact=True).fill("sign")
        page.get_by_role("button", name="Apply").click()
        page.wait_for_url("**/audit?**what=sign**")
        assert "signed-in" in page.locator("table").inner_text()
