"""`tocsin doctor`: what is wrong is found, and what to do is said."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from streams.cli.doctor import WARNING, WRONG
from streams.clock import SystemClock
from streams.outbox.kill_switch import set_kill_switch
from streams.store import open_store
from streams.store import tables as t
from streams.store.engines import claim_kafka_input
from streams.store.standing import speak
from tests.servers.stores import new_store
from tests.streams.commands import Tocsin
from tests.streams.shop import Shop

Findings = list[dict[str, Any]]


def run(tocsin: Tocsin, *arguments: str, exits: int = 0) -> Findings:
    found = tocsin.json("doctor", *arguments, exits=exits)
    assert found["ok"] is (exits == 0)
    listed: Findings = found["findings"]
    return listed


def of(findings: Findings, what: str) -> dict[str, Any]:
    return next(finding for finding in findings if finding["what"] == what)


@pytest.mark.slow
def test_a_store_and_configuration_in_order_have_nothing_wrong(tocsin: Tocsin, shop: Shop) -> None:
    found = run(tocsin, "--config", str(shop.folder))
    assert not [finding for finding in found if finding["state"] == WRONG]
    assert of(found, "configuration")["found"] == "1 signals, tenant default"
    assert of(found, "service")["found"] == "was never started on this store"


@pytest.mark.slow
def test_people_get_a_line_each_and_what_to_do(tocsin: Tocsin) -> None:
    os.chmod(tocsin.db, 0o644)
    lines = tocsin("doctor", exits=1).splitlines()
    assert "✗ store's permissions: 644: others can read it" in lines
    assert f"    chmod 600 {tocsin.db}" in lines


def test_a_mistake_in_the_configuration_is_found(tocsin: Tocsin, shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "signals.yml").write_text("signals: {a: {}}\n", encoding="utf-8")
    found = run(tocsin, "--config", str(tmp_path), exits=1)
    assert of(found, "configuration")["found"].startswith("signals.yml: signals.a")


def damage_pages(db: Path) -> None:
    data = bytearray(db.read_bytes())
    data[len(data) // 3 : len(data) // 2] = os.urandom(len(data) // 2 - len(data) // 3)
    db.write_bytes(data)


def damage_snapshot(db: Path) -> None:
    with open_store(db) as store, store.transaction() as connection:
        connection.execute(sa.update(t.snapshot).values(checksum=b"other"))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        pytest.param(damage_pages, "store", id="pages"),
        pytest.param(damage_snapshot, "snapshot", id="snapshot"),
        pytest.param(lambda db: db.write_bytes(b""), "store", id="empty"),
    ],
)
def test_damage_is_found(tocsin: Tocsin, damage: Callable[[Path], None], what: str) -> None:
    damage(tocsin.db)
    assert of([f for f in run(tocsin, exits=1) if f["state"] == WRONG], what)


def test_no_store_yet_is_no_fault(tocsin: Tocsin, tmp_path: Path) -> None:
    tocsin.db = tmp_path / "none.db"
    assert of(run(tocsin), "store")["state"] == WARNING


def test_a_process_that_hangs_and_one_that_is_gone_are_told_apart(tocsin: Tocsin) -> None:
    now_ms = SystemClock().now_ms()
    with open_store(tocsin.db) as store:
        speak(store, "work", os.getpid(), now_ms - 60_000, {"config_error": "signals.yml: signals.a"})
        speak(store, "web", 2**22 - 1, now_ms - 60_000, {})
    found = run(tocsin, exits=1)
    assert "has not spoken for 60 s" in of(found, "process work")["found"]
    assert of(found, "process web")["state"] == WARNING
    assert "signals.yml: signals.a" in of(found, "configuration in force in work")["found"]


def test_a_configuration_that_both_processes_refuse_is_told_of_each(tocsin: Tocsin) -> None:
    with open_store(tocsin.db) as store:
        for process in ("web", "work"):
            speak(store, process, os.getpid(), SystemClock().now_ms(), {"config_error": "signals.yml: signals.a"})
    found = [f["what"] for f in run(tocsin, exits=1) if f["what"].startswith("configuration")]
    assert sorted(found) == ["configuration in force in web", "configuration in force in work"]


def test_a_channel_that_stopped_is_found_with_its_reason(tocsin: Tocsin) -> None:
    with open_store(tocsin.db) as store:
        now_ms = SystemClock().now_ms()
        speak(store, "work", os.getpid(), now_ms, {"notifier": {"stopped": {"email": "credentials"}}})
    found = of(run(tocsin, exits=1), "channel email")
    assert found["found"].startswith("is stopped (credentials)")
    assert "/v1/channels/email/resume" in found["do"]


def test_what_waits_and_what_may_have_gone_out_is_said(tocsin: Tocsin) -> None:
    with open_store(tocsin.db) as store, store.transaction() as connection:
        for n, state in enumerate(("waiting", "unknown", "sent")):
            row = {"tenant": "default", "notice": f"n{n}", "state": state, "channel": "email", "attempts": 0}
            connection.execute(sa.insert(t.outbox).values(**row, due_ms=1, stale_ms=1))
        row = {"tenant": "default", "seq": 1, "source": "http", "position": 0, "next": 5, "ingest_ms": 1}
        connection.execute(sa.insert(t.intake).values(**row, data=b"12345", detail=b""))
    found = run(tocsin, exits=1)
    assert "due and not sent: email for" in of(found, "outbox")["found"]
    assert of(found, "unknown sends")["found"] == "1 notices may have gone out"
    assert of(found, "intake")["found"].startswith("5 bytes wait")


def test_the_kill_switch_is_in_sight(tocsin: Tocsin) -> None:
    with open_store(tocsin.db) as store:
        set_kill_switch(store, on=True, by="cli:me", reason="too many")
    assert of(run(tocsin), "kill switch")["found"] == "on: too many"


def test_a_port_that_is_taken_is_found(tocsin: Tocsin, shop: Shop, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "signals.yml").write_bytes((shop.folder / "signals.yml").read_bytes())
        (tmp_path / "tocsin.yml").write_text(f"service: {{port: {port}}}\n", encoding="utf-8")
        found = run(tocsin, "--config", str(tmp_path), exits=1)
    assert "can't be used" in of(found, "port")["found"]


def test_an_admin_token_that_others_can_read_is_wrong(tocsin: Tocsin) -> None:
    token = tocsin.db.with_name("admin.token")
    token.write_text(json.dumps("secret"), encoding="utf-8")
    os.chmod(token, 0o644)
    found = run(tocsin, exits=1)
    assert of(found, "admin.token")["state"] == WRONG
    assert "secret" not in json.dumps(found)


def test_a_store_whose_engines_run_on_kafka_is_asked_for_its_workers(tmp_path: Path, tocsin: Tocsin) -> None:
    tocsin.db = tmp_path / "kafka.db"
    with new_store(tocsin.db) as store:
        claim_kafka_input(store, "tocsin.events", 6)
        os.chmod(tocsin.db, 0o600)
        found = run(tocsin)
        assert of(found, "process work")["found"] == "no worker with the Desk was seen yet"
        assert of(found, "input")["found"].startswith("tocsin.events on Kafka, 0 of 6 partitions begun, nothing")
        assert not [f for f in found if f["what"] in ("intake", "snapshot", "service")]
        speak(store, "work", 2**22 - 1, SystemClock().now_ms(), {})
        assert "is at work" in of(run(tocsin), "process work")["found"]
        speak(store, "web", 2**22 - 1, SystemClock().now_ms() - 60_000, {"brokers_error": "nobody answers"})
        found = run(tocsin, exits=1)
        assert of(found, "process web")["do"] == "`tocsin web` starts it"
        assert of(found, "brokers of web")["found"] == "takes no events: nobody answers"
        speak(store, "work", os.getpid(), SystemClock().now_ms() - 60_000, {})
        assert of(run(tocsin, exits=1), "process work")["found"] == "no worker has had the Desk for 1 min"
