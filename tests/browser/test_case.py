"""The case page in a real browser on a real service: a case is read, approved, and what it sends arrives; conflicts."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from streams.store.tokens import Scope
from tests.servers import smtp
from tests.servers.browser import chromium, payments, signed_in
from tests.servers.service import Service, configured, service, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SECOND = 1_000
CUSTOMERS = 1_200
HISTORY = 150


def settings(mail_port: int) -> str:
    return f"""
customers: customers.csv
input: {{lateness: 10s}}
notices:
  {{send: true, channels: [email], quiet_hours: none, language: en, approval: [low, medium, high, critical]}}
channels:
  email: {{by: smtp, host: 127.0.0.1, port: {mail_port}, tls: insecure-plain-text, sender: "Shop <shop@shop.example>"}}
"""


def customers() -> str:
    rows = [f"C-{i},Name {i},{('en', 'id')[i % 2]},Asia/Jakarta,c{i}@mail.example,,email" for i in range(CUSTOMERS)]
    return "\n".join(["id,name,language,time_zone,email,phone,consent", *rows, ""])


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def mail() -> Iterator[smtp.MailServer]:
    with smtp.running(smtp.Play(tls="none")) as found:
        yield found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, mail: smtp.MailServer) -> Iterator[Service]:
    """Give a service with one open case whose customers wait for a person."""
    folder = tmp_path_factory.mktemp("case")
    config = configured(folder / "shop", settings(mail.port))
    (config / "customers.csv").write_text(customers(), encoding="utf-8")
    with service(folder, config) as found:
        with found.client() as client:
            lines = payments({"BNI": 0.9}, customers=CUSTOMERS, history=HISTORY, ago=3)
            lines += b"\n" + payments({}, history=1, per_minute=1, prefix="last")  # moves the time on
            answer = client.post("/v1/events", content=lines, headers={"Content-Type": "application/x-ndjson"})
            assert answer.status_code == 202, answer.text
        until(lambda: (case := the_case(found)) and case["notices"]["held"] > 20, "a case whose customers wait", 60)
        # Nobody is found hit any more while the test looks: all windows with events are closed.
        until(lambda: found.tally()["windows"][""] > HISTORY, "closed windows", 60)
        yield found


def the_case(running: Service) -> dict[str, Any]:
    found: list[dict[str, Any]] = running.json("/v1/cases")["items"]
    return found[0] if found else {}


def opened(page: "Page", running: Service, query: str = "") -> str:
    id: str = the_case(running)["id"]
    page.goto(f"{running.url}/cases/{id}{query}")
    page.locator("#live[data-state=on]").wait_for()
    return id


def test_a_case_is_read_approved_and_closed_by_two_people(
    browser: "Browser", running: Service, mail: smtp.MailServer
) -> None:
    wide: Any = {"viewport": {"width": 1400, "height": 1000}}
    with signed_in(browser, running, "ani", **wide) as ani, signed_in(browser, running, "budi", **wide) as budi:
        id = opened(ani, running)
        opened(budi, running, "?do=assign")

        # --- what is it, and why do we think so?
        head = ani.locator("#case-head").inner_text()
        assert re.search(r"Payments are declined · bank BNI: \d+ in \d+ customers who try, since .*WIB", head), head
        assert "0 have been told" in head and "Nobody is told until somebody approves." in head
        assert "bank BNI is the cause with" in ani.locator("#causes").inner_text()
        chart = ani.locator(".chart img")
        assert chart.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        box = chart.bounding_box()
        assert box is not None
        ani.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 200)
        ani.mouse.down()
        ani.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 210, steps=5)
        assert ani.locator(".zoom-band").is_visible()
        ani.mouse.up()
        ani.wait_for_url(re.compile(r"[?&]from=\d+&to=\d+"))
        ani.get_by_role("link", name="Whole").click()
        ani.wait_for_url(re.compile(rf"/cases/{id}(#chart)?$"))

        # --- acknowledged by one, seen by the other
        ani.keyboard.press("a")
        ani.locator(".said.good").wait_for()
        budi.locator("#case-head .state.acknowledged").wait_for(timeout=10 * SECOND)
        budi.locator("#story").get_by_text("acknowledged").wait_for()

        # --- two who assign: nothing is overwritten
        ani.get_by_role("button", name="Assign to me").click()
        ani.locator("#case-head").get_by_text("works on it: ani").wait_for()
        budi.fill("#assignee", "budi")
        budi.get_by_role("button", name="Assign", exact=True).click()
        conflict = budi.locator("#conflict")
        conflict.wait_for()
        assert "it has changed since you looked" in conflict.inner_text()
        assert "ani assigned to ani" in re.sub(r"\s+", " ", conflict.inner_text())
        assert the_case(running)["assignee"] == "ani"

        # --- what do we tell them, and whom?
        words = ani.locator("#preview").inner_text()
        assert "Hi Name" in words and "Halo Name" in words and "their language" in words
        ani.get_by_role("link", name="Tell them…").click()
        ask = ani.locator("#ask")
        found = re.search(r"Sends (\d+) e-mail messages\.", ask.inner_text())
        assert found is not None, ask.inner_text()
        assert not mail.received, "asked first"
        ask.get_by_role("button", name=f"Tell all {found[1]} customers").click()
        ani.locator(".said.good").wait_for()
        told = int(found[1])
        until(lambda: len(mail.received) >= told, "the mails", 60)
        assert (
            until(lambda: (n := the_case(running)["notices"]) and not n["queued"] and n, "an empty outbox", 60)["sent"]
            == told
        )
        ani.locator("#case-head").get_by_text(f"{told} have been told").wait_for(timeout=10 * SECOND)
        to = [recipient for _, recipients in mail.envelopes for recipient in recipients]
        assert len(to) == len(set(to)) == told

        # --- whom, one by one
        ani.goto(f"{running.url}/cases/{id}?who=told")
        first = ani.locator("table.who tbody tr").first
        assert "problem: e-mail" in first.inner_text()
        customer = first.locator("a").first.inner_text()
        ani.keyboard.press("/")
        ani.keyboard.type(customer)
        ani.keyboard.press("Enter")
        ani.wait_for_url(re.compile(rf"q={customer}"))
        assert ani.locator("table.who tbody tr").count() == 1

        # --- it was none: those who were told hear so, once
        ani.fill("#comment", "The bank says it was a test of ours.")
        ani.get_by_role("button", name="Comment").click()
        ani.locator("#story blockquote").get_by_text("a test of ours").wait_for()
        ani.get_by_role("link", name="Dismiss…").click()
        assert f"The {told} customers who were told get one correction each." in ani.locator("#ask").inner_text()
        assert "Costs the budget one false case: 1 of 1" in ani.locator("#ask").inner_text()
        ani.locator("#ask").get_by_role("button", name="Dismiss").click()
        ani.locator(".said.good").wait_for()
        assert "1 of 1 false cases spent" in ani.locator(".said.good").inner_text()
        until(lambda: len(mail.received) >= 2 * told, "the corrections", 60)
        budi.locator("#case-head .state.dismissed").wait_for(timeout=10 * SECOND)
    log = running.errors()
    assert "Traceback" not in log and "mail.example" not in log


@pytest.mark.parametrize(("theme", "language", "width"), [("light", "en-GB", 1380), ("dark", "id-ID", 360)])
def test_nothing_stands_in_the_way_of_anybody(
    browser: "Browser", running: Service, theme: str, language: str, width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped,unused-ignore]

    look: dict[str, Any] = {"color_scheme": theme, "locale": language, "viewport": {"width": width, "height": 800}}
    with signed_in(browser, running, "rina", **look, bypass_csp=True) as page:
        for query in ("", "?do=assign", "?do=stop-sending", "?do=dismiss", "?q=nobody", "?who=told&kind=resolved"):
            opened(page, running, query)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, query
            found = Axe().run(page).response["violations"]
            assert [(v["id"], v["nodes"][0]["html"]) for v in found] == [], query


def test_without_scripts_it_is_read_and_acted_on(browser: "Browser", running: Service) -> None:
    id = the_case(running)["id"]
    with signed_in(browser, running, "ani", java_script_enabled=False) as page:
        page.goto(f"{running.url}/cases/{id}")
        page.fill("#comment", "Written without scripts.")
        page.get_by_role("button", name="Comment").click()
        page.locator("#story blockquote").get_by_text("Written without scripts.").wait_for()
        page.get_by_role("link", name="Zoom in").click()
        assert "from=" in page.url
    with signed_in(browser, running, "rina", Scope.READ) as page:
        page.goto(f"{running.url}/cases/{id}?do=dismiss")
        assert page.locator("#ask").count() == 0 and page.locator("textarea").count() == 0


def test_the_kill_switch_is_one_question_away(browser: "Browser", running: Service) -> None:
    with signed_in(browser, running, "ani") as page:
        opened(page, running)
        page.get_by_role("link", name="Stop all sending…").click()
        assert "from now on nothing goes out to anybody" in page.locator("#ask").inner_text()
        page.fill("#reason", "wrong words")
        page.get_by_role("button", name="Stop all sending").click()
        page.locator(".strip.bad").wait_for()
        assert running.json("/v1/kill-switch")["on"] and running.json("/v1/kill-switch")["reason"] == "wrong words"
        page.get_by_role("link", name="Go on sending…").click()
        page.get_by_role("button", name="Go on sending").click()
        page.locator(".said.good").wait_for()
        assert not running.json("/v1/kill-switch")["on"]
