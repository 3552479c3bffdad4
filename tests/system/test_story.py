"""The whole story on the running service: events come in over HTTP, a bank fails, its customers get an e-mail.

Real processes, a real mail server, a real receiver of the feed. History is dated back, so that nobody waits an hour.
"""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import http, smtp
from tests.servers.service import Service, configured, service, stamp, until

MINUTE_MS = 60_000
BANKS = ("BCA", "BNI", "BRI", "Mandiri", "Permata")
HISTORY, BROKEN, PER_MINUTE = 150, 14, 60
CUSTOMERS = 1_200

SIGNALS = """
signals:
  payment-declines:
    title: {en: Payments are declined, id: Pembayaran ditolak}
    what: {en: "{bank} payment", id: "pembayaran {bank}"}
    events: {kind: payment}
    bad: {outcome: declined}
    measure: share
    dimensions: [bank, city]
    window: 1m
    severity: high
    mode: live
"""


def settings(mail_port: int) -> str:
    return f"""
customers: customers.csv
input: {{lateness: 10s}}
notices: {{send: true, channels: [email], quiet_hours: none, language: en}}
service: {{webhook_networks: [127.0.0.0/8], webhook_http: true}}
channels:
  email: {{by: smtp, host: 127.0.0.1, port: {mail_port}, tls: insecure-plain-text, sender: "Shop <shop@shop.example>"}}
"""


def customers() -> str:
    rows = [f"C-{i},Name {i},{('en', 'id')[i % 2]},Asia/Jakarta,c{i}@mail.example,,email" for i in range(CUSTOMERS)]
    return "\n".join(["id,name,language,time_zone,email,phone,consent", *rows, ""])


def traffic(now_ms: int) -> tuple[bytes, set[str]]:
    """Return two and a half hours of payments up to now, and who was declined by the broken bank in the end."""
    chance, lines, hit = random.Random(7), list[bytes](), set[str]()
    for minute in range(HISTORY):
        start_ms = now_ms - (HISTORY - minute) * MINUTE_MS
        for moment in sorted(chance.randrange(MINUTE_MS) for _ in range(PER_MINUTE)):
            bank, customer = chance.choice(BANKS), f"C-{chance.randrange(CUSTOMERS)}"
            broken = bank == "BNI" and minute >= HISTORY - BROKEN
            declined = chance.random() < (0.9 if broken else 0.02)
            event = {
                "id": f"e{len(lines)}",
                "time": stamp(start_ms + moment),
                "kind": "payment",
                "customer": customer,
                "outcome": "declined" if declined else "approved",
                "bank": bank,
                "city": chance.choice(("Jakarta", "Medan")),
            }
            lines.append(json.dumps(event).encode())
            if broken and declined:
                hit.add(customer)
    return b"\n".join(lines), hit


@pytest.fixture
def mail() -> Iterator[smtp.MailServer]:
    with smtp.running(smtp.Play(tls="none")) as found:
        yield found


def the_case(running: Service) -> dict[str, Any] | None:
    found = running.json("/v1/cases")["items"]
    return found[0] if found else None


@pytest.mark.slow
def test_a_failing_bank_becomes_a_case_and_exactly_its_customers_get_one_mail(
    tmp_path: Path, mail: smtp.MailServer
) -> None:
    config = configured(tmp_path / "shop", settings(mail.port), SIGNALS)
    (config / "customers.csv").write_text(customers(), encoding="utf-8")
    with http.serving(http.says(204)) as crm, service(tmp_path, config) as running, running.client() as client:
        hook = client.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{crm.port}/", "types": ["case.opened"]})
        assert hook.status_code == 201, hook.text
        lines, hit = traffic(time.time_ns() // 1_000_000)  # noqa: TID251
        accepted = client.post("/v1/events", content=lines, headers={"Content-Type": "application/x-ndjson"})
        assert accepted.status_code == 202

        case = until(lambda: the_case(running), "a case", 60)
        assert [cause["where"] for cause in case["causes"]] == [{"bank": "BNI"}]
        assert case["state"] == "open"

        until(lambda: len(mail.received) > 20, "mails", 60)
        waiting = until(lambda: (f := the_case(running)) and not f["notices"]["queued"] and f, "an empty outbox", 60)
        to = [recipient for _, recipients in mail.envelopes for recipient in recipients]
        assert len(to) == len(set(to)) == len(mail.received) == waiting["notices"]["sent"]
        told = {f"C-{address.removeprefix('c').partition('@')[0]}" for address in to}
        assert len(told & hit) / len(told) > 0.95
        bodies = {str(m.get_body(("plain",)).get_content()) for m in mail.received}  # type: ignore[union-attr]
        assert any(body.startswith("Hi Name ") and "BNI payment" in body for body in bodies)
        assert any(body.startswith("Halo Name ") and "pembayaran BNI" in body for body in bodies)

        (seen,) = until(lambda: crm.seen, "the feed at the receiver")
        told_crm = json.loads(seen.body)
        assert (told_crm["type"], told_crm["data"]["id"]) == ("case.opened", case["id"])

        url = f"/v1/cases/{case['id']}"
        done = client.post(f"{url}/acknowledge", json={})
        assert (done.status_code, done.json()["state"]) == (200, "acknowledged")
        done = client.post(f"{url}/dismiss", json={"verdict": "expected"})
        assert (done.status_code, done.json()["verdict"]) == (200, "expected")
        assert client.post(f"{url}/acknowledge", json={}).status_code == 409
        csv = client.get(f"{url}/affected", headers={"Accept": "text/csv"})
        over = client.get(url).json()["affected"]  # dismissed, so nobody joins any more
        assert len(csv.text.splitlines()) - 1 == over["confirmed"] + over["likely"] >= len(told)
        scrape = client.get("/metrics").text
        assert 'tocsin_deliveries_total{channel="email",outcome="sent",reason=""}' in scrape
        assert not any(f'"{customer}"' in scrape or f"{customer[2:]}@" in scrape for customer in hit)
        log = running.errors()
        assert "Traceback" not in log
        assert "mail.example" not in log
