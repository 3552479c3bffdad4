"""A whole shift in a real browser on a real service: seen live, read, approved, delivered, over, and a false one dismissed.

Real mail arrives at a real server.  The problem is dated back, so that its end has been seen to last when it is told.
"""

import json
import re
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.servers import smtp
from tests.servers.browser import MINUTE_MS, chromium, payments, signed_in
from tests.servers.service import SIGNALS, Service, configured, service, stamp, until

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SECOND = 1_000
CUSTOMERS, SAMPLE = 1_200, 5
HISTORY = 150
BEFORE = 80
"""So many minutes ago the first problem was at its height."""


def settings(mail_port: int) -> str:
    return f"""
customers: customers.csv
input: {{lateness: 10s}}
notices:
  {{send: true, channels: [email], quiet_hours: none, language: en, per_day: 5, approval: [low, medium, high, critical]}}
channels:
  email: {{by: smtp, host: 127.0.0.1, port: {mail_port}, tls: insecure-plain-text, sender: "Shop <shop@shop.example>"}}
"""


@pytest.fixture
def mail() -> Iterator[smtp.MailServer]:
    with smtp.running(smtp.Play(tls="none")) as found:
        yield found


@pytest.fixture
def running(tmp_path: Path, mail: smtp.MailServer) -> Iterator[Service]:
    what = '    what: {en: "{bank} payment", id: "pembayaran {bank}"}\n    events:'
    config = configured(tmp_path / "shop", settings(mail.port), SIGNALS.replace("    events:", what))
    rows = [f"C-{i},Name {i},{('en', 'id')[i % 2]},Asia/Jakarta,c{i}@mail.example,,email" for i in range(CUSTOMERS)]
    text = "\n".join(["id,name,language,time_zone,email,phone,consent", *rows, ""])
    (config / "customers.csv").write_text(text, encoding="utf-8")
    with service(tmp_path, config) as found:
        yield found


def send(running: Service, lines: bytes) -> None:
    with running.client() as client:
        answer = client.post("/v1/events", content=lines, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 202, answer.text


def case_at(running: Service, bank: str) -> dict[str, Any]:
    """Return the case of a bank; empty where there is none."""
    items: list[dict[str, Any]] = running.json("/v1/cases")["items"]
    return next((case for case in items if {"bank": bank} in [cause["where"] for cause in case["causes"]]), {})


def body(message: EmailMessage) -> str:
    found = message.get_body(("plain",))
    assert found is not None
    return str(found.get_content())


def recipients(mail: smtp.MailServer, *words: str) -> list[str]:
    """Return whom mails went to that have one of these words."""
    both = zip(mail.envelopes, mail.received, strict=False)
    return [to for (_, people), message in both for to in people if any(w in body(message) for w in words)]


def address(customer: str) -> str:
    return f"c{customer.removeprefix('C-')}@mail.example"


def test_a_whole_shift(running: Service, mail: smtp.MailServer) -> None:
    earlier = payments({"BNI": 0.9}, history=HISTORY, ago=BEFORE + 3, customers=CUSTOMERS)
    earlier += b"\n" + payments({}, history=1, per_minute=1, prefix="last", ago=BEFORE)  # moves the time on
    later = payments({"Mandiri": 0.9}, history=BEFORE, ago=0, prefix="later", customers=CUSTOMERS)
    worked = {e["customer"] for e in map(json.loads, later.splitlines()) if e["outcome"] == "approved"}
    wide: Any = {"viewport": {"width": 1400, "height": 1000}}
    with chromium() as browser, signed_in(browser, running, "ani", **wide) as page:
        # --- nothing is wrong; then a case opens while she looks
        assert "Nothing is wrong that we can see." in page.locator("#empty").inner_text()
        page.locator("#live[data-state=on]").wait_for()
        send(running, earlier)
        row = page.locator("#cases tr").first
        row.wait_for(timeout=60 * SECOND)
        assert "BNI" in row.inner_text() and "open" in row.inner_text()
        case = until(
            lambda: (c := case_at(running, "BNI")) and c["notices"]["held"] > 2 * SAMPLE and c, "who waits", 60
        )
        # Nobody is found hit any more, or to have got through, while she decides.
        until(lambda: running.tally()["windows"][""] > HISTORY, "closed windows", 60)

        # --- she reads the evidence
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/cases/{case['id']}")
        page.locator("#live[data-state=on]").wait_for()
        head = page.locator("#case-head").inner_text()
        assert "Payments are declined · bank BNI" in head and "Nobody is told until somebody approves." in head
        why = page.locator("#causes").inner_text()
        assert "bank BNI is the cause with" in why and "1 false case per week" in why
        assert page.locator(".chart img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        assert page.locator("table.who tbody tr").count() > 5

        # --- what would they read?
        words = page.locator("#preview").inner_text()
        assert "Hi Name" in words and "Halo Name" in words and not mail.received

        # --- a sample first, which arrives; then all
        page.get_by_role("link", name="Tell them…").click()
        page.fill("#sample", str(SAMPLE))
        page.get_by_role("button", name="Tell a sample").click()
        page.locator(".said.good").wait_for()
        until(lambda: len(mail.received) >= SAMPLE, "the sample", 60)
        page.locator("#case-head").get_by_text(f"{SAMPLE} have been told").wait_for(timeout=60 * SECOND)
        assert "the others wait for approval" in page.locator("#case-head").inner_text()
        assert len(mail.received) == SAMPLE
        page.get_by_role("link", name="Tell them…").click()
        found = re.search(r"Sends (\d+) e-mail messages\.", page.locator("#ask").inner_text())
        assert found is not None
        page.get_by_role("button", name=f"Tell all {found[1]} customers").click()
        page.locator(".said.good").wait_for()
        told = SAMPLE + int(found[1])
        until(lambda: len(mail.received) >= told, "the mails", 60)
        page.locator("#case-head").get_by_text(f"{told} have been told").wait_for(timeout=60 * SECOND)
        to = recipients(mail, "did not go through", "belum berhasil")
        assert len(to) == len(set(to)) == len(mail.received) == told

        # --- it ends, and those who got through since hear that it works again, nobody else
        send(running, later)
        page.locator("#case-head .state.resolved").wait_for(timeout=60 * SECOND)
        running.read(len(earlier.splitlines()) + len(later.splitlines()))
        listed = running.json(f"/v1/cases/{case['id']}/affected?state=recovered&limit=200")["items"]
        back = {
            address(one["customer"]): one["last_success"]
            for one in listed
            if any(n["kind"] == "problem" and n["state"] == "sent" for n in one["notices"])
        }
        lasted = {to for to, success in back.items() if success < stamp(time.time_ns() // 1_000_000 - 8 * MINUTE_MS)}  # noqa: TID251
        assert len(lasted) > 10
        again = "works again: it went through at", "sudah normal kembali, dan pembayaran BNI Anda"
        until(lambda: lasted <= set(recipients(mail, *again)), "the all-clear", 60)
        cleared = recipients(mail, *again)
        assert len(cleared) == len(set(cleared)) and set(cleared) <= set(back)
        assert set(back) <= set(to) & {address(customer) for customer in worked}
        assert len(set(to) - set(cleared)) > 0, "who has not got through since still waits"

        # --- another one opens live in the inbox: it is false, and she says so
        page.goto(running.url + "/")
        row = page.locator("#cases tr", has_text="Mandiri")
        row.wait_for(timeout=60 * SECOND)
        row.locator("a").first.click()
        page.wait_for_url(f"**/cases/{case_at(running, 'Mandiri')['id']}")
        page.get_by_role("link", name="Dismiss…").click()
        assert "Costs the budget one false case: 1 of 1" in page.locator("#ask").inner_text()
        page.locator("#ask").get_by_role("button", name="Dismiss").click()
        page.locator(".said.good").wait_for()
        assert "was no problem" in page.locator("#case-head").inner_text()
        assert (case_at(running, "Mandiri")["state"], case_at(running, "Mandiri")["verdict"]) == (
            *("dismissed", "not-a-problem"),
        )
        assert len(mail.received) == told + len(recipients(mail, *again)), "nobody was told of the false one"
        page.goto(running.url + "/")
        page.locator("#live[data-state=on]").wait_for()
        assert "Nothing is wrong that we can see." in page.locator("#empty").inner_text()
        assert "false cases this week 1 of 1" in page.locator("#empty").inner_text()
    log = running.errors()
    assert "Traceback" not in log and "mail.example" not in log
