"""What the processes on Kafka say of themselves: where they work, what came of it, and that a setting is new."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.kafka.broker import Cluster
from streams.settings import load
from streams.store import open_store, tokens
from tests.servers.http import free_port
from tests.servers.kafka import own_settings
from tests.system import kafka_workers, test_kafka_live
from tests.system.kafka_workers import Workers, make_topics, produce, workers
from tests.system.test_kafka_live import now_ms, until
from tests.system.test_story import SIGNALS, traffic

pytestmark = [pytest.mark.slow, pytest.mark.kafka]


def lines(found: Workers, process: "subprocess.Popen[bytes]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in found.said(process).splitlines()]


def events(found: Workers, process: "subprocess.Popen[bytes]") -> list[str]:
    return [line["event"] for line in lines(found, process)]


def test_workers_say_what_they_work_on_and_what_they_drained_and_take_several_roles(
    broker: Cluster, tmp_path: Path
) -> None:
    kafka = own_settings(broker, partitions=2)
    shop = kafka_workers.configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    given = shop.events.read_bytes().splitlines()
    produce(kafka, given)
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        both = found.start("--drain", "--only", "desk", "--only", "count", "--instance", "a")
        watch = found.start("--drain", "--only", "watch")
        for process in (both, watch):
            assert found.end(process, 90) == 0, found.said()
        first, last = lines(found, both)[0], lines(found, both)[-1]
        assert first["process"] == "worker:count+desk" and first["level"] == "info"
        for part in (
            "worker (count, desk) for the tenant default",
            f"on the store {tmp_path / 'many.db'}",
            f"input {kafka.topics.events} (2 partitions) at {kafka.bootstrap}",
            f"groups {kafka.group}-count, {kafka.group}-desk; instance a; health off",
        ):
            assert part in first["event"], first
        assert last["event"].startswith(f"drained: {len(given):,} records read; {len(given):,} events committed, of"), (
            last
        )
        assert "110 windows closed, 1 cases opened" in last["event"], last
        assert "drained: 0 records read" in events(found, watch)[-1]
        assert {line["level"] for line in [*lines(found, both), *lines(found, watch)]} <= {"info", "warning"}
        assert "Missing sensor state" not in found.said()


def test_a_worker_tells_that_its_configuration_is_another_now_and_the_next_what_it_changes(
    broker: Cluster, tmp_path: Path
) -> None:
    kafka = own_settings(broker, partitions=1)
    shop = test_kafka_live.configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    db, port = tmp_path / "live.db", free_port()
    file = shop.folder / "signals.yml"
    with workers(shop, db, tmp_path / "logs") as found:
        one = found.start("--health", str(port))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            until(lambda: "health http://127.0.0.1" in found.said(one), "health address")
            assert f"health http://127.0.0.1:{port}/readyz" in events(found, one)[0]
            produce(kafka, traffic(now_ms())[0].splitlines())
            until(db.exists, "store")
            with open_store(db) as store:
                before = until(store.in_force, "configuration")[-1].hash
            until(lambda: 'tocsin_commit_age_seconds{engine="count/' in client.get("/metrics").text, "commit age")
            assert (
                client.get("/readyz").json() | {"config_ok": True, "config_current": True}
                == client.get("/readyz").json()
            )
            right = file.read_text("utf-8")
            file.write_text(right + "nothing: [", "utf-8")
            until(lambda: not client.get("/readyz").json()["config_ok"], "mistake")
            file.write_text(right.replace("severity: high", "severity: low"), "utf-8")
            until(lambda: client.get("/readyz").json()["config_ok"], "right file")
            answer = client.get("/readyz")
            assert answer.status_code == 200 and answer.json()["config_current"] is False
            assert "\ntocsin_config_current 0.0" in client.get("/metrics").text
        said = [text for text in events(found, one) if text.startswith("the configuration was changed")]
        assert len(said) == 2 and "and has a mistake" in said[0] and "start the workers again" in said[1], said
        one.terminate()
        assert found.end(one, 25) == 0

        after = load(shop.folder).config.hash
        two = found.start("--only", "desk")
        until(lambda: "the Desk goes on" in found.said(two), "warning")
        (warning,) = [line for line in lines(found, two) if "the Desk goes on" in line["event"]]
        assert warning["level"] == "warning"
        assert after[:8] in warning["event"] and before[:8] in warning["event"]
    with open_store(db) as store:
        assert not tokens.listed(store)


def test_the_door_says_where_it_is_and_how_to_get_in(tmp_path: Path) -> None:
    (tmp_path / "signals.yml").write_text(SIGNALS, "utf-8")
    db, port = tmp_path / "own.db", free_port()
    command = [sys.executable, "-m", "streams.cli.main", "web", "--config", str(tmp_path), "--db", str(db)]
    log = tmp_path / "web.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--port", str(port)], stderr=out)
    try:
        until(lambda: log.read_bytes().count(b"\n") >= 2, "two lines")
        first, second = (json.loads(line)["event"] for line in log.read_text("utf-8").splitlines()[:2])
    finally:
        process.terminate()
        process.wait(25)
    assert f"http://127.0.0.1:{port} (store: {db})" in first
    assert second.startswith("No token was made yet: `tocsin token link`"), second
