"""The running service under a real Prometheus and real Alertmanagers, with the project's own configuration and rules.

What breaks fires and reaches Alertmanager; what Tocsin finds pages, once, and is resolved when people say so.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana import dashboard
from tests.servers import prometheus as servers
from tests.servers.browser import payments
from tests.servers.http import Server, says, serving
from tests.servers.promql import LISTED, OF_A_SCRAPE
from tests.servers.service import Service, configured, service, stamp, until

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]

NDJSON = {"Content-Type": "application/x-ndjson"}
SIGNALS = """
signals:
  payment-declines:
    title: {en: Payments are declined, id: Pembayaran ditolak}
    events: {kind: payment}
    bad: {outcome: declined}
    measure: share
    dimensions: [bank, city]
    window: 1m
    severity: high
    mode: live
"""


def alertmanager_config(receiver: Server) -> str:
    """Return the project's configuration, with the test's receiver and without the waits that spare people."""
    text = (servers.DEPLOY / "alertmanager.yml").read_text("utf-8")
    assert "127.0.0.1:9099" in text and "group_wait: 30s" in text and "group_interval: 5m" in text
    text = text.replace("127.0.0.1:9099", f"127.0.0.1:{receiver.port}")
    return text.replace("group_wait: 30s", "group_wait: 0s").replace("group_interval: 5m", "group_interval: 1s")


def names(alerts: list[dict[str, Any]]) -> set[str]:
    return {alert["labels"]["alertname"] for alert in alerts}


def post(running: Service, n: int, prefix: str) -> None:
    lines = [
        json.dumps({"id": f"{prefix}{i}", "time": stamp(), "kind": "payment", "outcome": "approved", "bank": "BNI"})
        for i in range(n)
    ]
    with running.client() as client:
        assert client.post("/v1/events", content="\n".join(lines).encode(), headers=NDJSON).status_code == 202


def test_input_that_stops_and_a_process_that_hangs_fire_reach_alertmanager_and_are_over_again(tmp_path: Path) -> None:
    with (
        serving(says(200)) as receiver,
        servers.alertmanager(tmp_path / "alertmanager", alertmanager_config(receiver)) as manager,
        service(tmp_path, configured(tmp_path / "config", signals=SIGNALS)) as running,
    ):
        post(running, 20, "first-")
        running.read(20)
        targets = {"tocsin": [running.url.removeprefix("http://")], "alertmanager": [f"127.0.0.1:{manager.port}"]}
        with servers.prometheus(tmp_path, targets, running.token) as watching:
            until(lambda: watching.query('up{job="tocsin"} == 1'), "a scrape")
            until(lambda: "TocsinNoInput" in watching.firing(), "no input fires")
            until(lambda: names(manager.alerts()) == {"TocsinNoInput"}, "it is all that Alertmanager has")

            post(running, 20, "more-")
            until(lambda: not watching.firing(), "input again, and all is well", 60)
            until(lambda: not manager.alerts(), "at Alertmanager too", 60)
            everything_is_known(watching)

            work = running.child("work")
            os.kill(work, signal.SIGSTOP)
            try:
                until(lambda: "TocsinProcessSilent" in watching.firing(), "a silent process fires", 60)
                assert watching.firing()["TocsinProcessSilent"]["process"] == "work"
                (alert,) = until(lambda: manager.alerts("alertname=TocsinProcessSilent"), "Alertmanager has it")
                assert alert["labels"]["severity"] == "critical"
                assert alert["annotations"]["runbook_url"].endswith("operations.md#tocsinprocesssilent")
                assert alert["receivers"] == [{"name": "operations"}]
            finally:
                os.kill(work, signal.SIGCONT)
            # Nothing has come in meanwhile, so that "no input" may fire again.
            silent = "TocsinProcessSilent"
            until(lambda: silent not in watching.firing(), "it goes on, and the alert is over", 60)
            until(lambda: silent not in names(manager.alerts()), "at Alertmanager too", 60)
        told = [json.loads(one.body) for one in receiver.seen]
        assert {one["status"] for one in told} == {"firing", "resolved"}
        assert not [one for one in receiver.seen if one.path != "/operations"], "nothing of it is a case"


def everything_is_known(watching: servers.Prometheus) -> None:
    """Every series that is scraped is listed with its labels; every rule and every panel's query is answered."""
    for name in watching.get("label/__name__/values"):
        if not name.startswith("tocsin_"):
            continue
        listed = LISTED.get(name) or LISTED[name.rsplit("_", 1)[0]]
        for labels in map(json.loads, watching.query(name)):
            assert set(labels) - {"__name__", "le"} - OF_A_SCRAPE <= set(listed.labels), name
    for group in watching.get("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
    for expression in dashboard.expressions():
        watching.query(expression.replace("$__rate_interval", "1m").replace("$job", "tocsin"))
    assert watching.query('tocsin_check_ok == 1 and on () tocsin_disk_free_bytes > 0 and on () up{job="tocsin"} == 1')


def settings(*managers: servers.Alertmanager) -> str:
    urls = ", ".join(manager.url for manager in managers)
    return f"""
input: {{lateness: 10s}}
service: {{public_url: "http://127.0.0.1"}}
alertmanager:
  urls: [{urls}]
  labels: {{team: payments}}
  dimensions: [bank]
  language: id
  resend: 1s
  expire: 60s
  allow: [127.0.0.0/8]
  insecure: true
"""


def test_a_planted_problem_pages_through_restarts_and_is_resolved_when_it_is_dismissed(tmp_path: Path) -> None:
    with (
        serving(says(200)) as receiver,
        servers.alertmanager(tmp_path / "one", alertmanager_config(receiver)) as one,
        servers.alertmanager(tmp_path / "two") as two,
    ):
        config = configured(tmp_path / "config", settings(one, two), SIGNALS)
        with service(tmp_path, config) as running, running.client() as client:
            lines = payments({"BNI": 0.9})
            begun_s = time.monotonic()
            assert client.post("/v1/events", content=lines, headers=NDJSON).status_code == 202
            (alert,) = until(lambda: one.alerts("alertname=TocsinCase"), "the case at Alertmanager", 60)
            print(f"from the 202 to Alertmanager: {time.monotonic() - begun_s:.1f} s")
            (case,) = running.json("/v1/cases")["items"]
            severity = case["severity"]
            (alert,) = until(lambda: one.alerts(f"severity={severity}"), "under its severity")
            assert alert["labels"] == {
                "alertname": "TocsinCase",
                "tenant": "default",
                "case": case["id"],
                "severity": severity,
                "signal": "payment-declines",
                "team": "payments",
                "bank": "BNI",
            }
            assert alert["startsAt"][:19] == case["opened_at"][:19]
            assert alert["annotations"]["summary"] == case["titles"]["id"]
            assert alert["annotations"]["console"] == f"http://127.0.0.1/cases/{case['id']}"
            assert alert["receivers"] == [{"name": "cases"}]
            until(lambda: len(two.alerts(f"case={case['id']}")) == 1, "the other Alertmanager has it as well")
            (page,) = until(lambda: pages(receiver, "firing"), "the page")[:1]
            assert page["commonLabels"]["case"] == case["id"]

            running.kill_and_wait("work")
            one.kill()
            until(lambda: 'tocsin_alertmanager_ok{endpoint="0"} 0.0' in client.get("/metrics").text, "it is missed")
            assert 'tocsin_alertmanager_ok{endpoint="1"} 1.0' in client.get("/metrics").text
            assert running.ready()
            one.start()
            until(lambda: len(one.alerts(f"case={case['id']}")) == 1, "it has the alert again", 60)
            assert len(two.alerts(f"case={case['id']}")) == 1
            assert not pages(receiver, "resolved"), "nothing is said to be over that is not"

            done = client.post(f"/v1/cases/{case['id']}/dismiss", json={"verdict": "expected"})
            assert done.status_code == 200, done.text
            until(lambda: not one.alerts() and not two.alerts(), "it is resolved at both", 30)
            (over,) = until(lambda: pages(receiver, "resolved"), "the page that it is over")[:1]
            assert {a["labels"]["case"] for a in over["alerts"]} == {case["id"]}
            said = running.errors()
            assert "Traceback" not in said and str(one.port) not in said


def pages(receiver: Server, status: str) -> list[dict[str, Any]]:
    """Return the notifications about cases that have this status."""
    found = [json.loads(one.body) for one in receiver.seen if one.path == "/cases"]
    return [one for one in found if one["status"] == status]
