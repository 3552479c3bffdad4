"""Workers on live traffic: a case opens, time passes where nothing comes, and stands still while the broker is away."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from deploy.kafka.broker import Cluster
from streams.kafka.client import KafkaSettings
from streams.store import Store, open_store, queries
from streams.store.engines import COUNT, Engines
from tests.servers.kafka import own_settings
from tests.servers.service import stamp
from tests.streams.shop import Shop
from tests.system.kafka_workers import make_topics, produce, workers
from tests.system.test_story import SIGNALS, customers, traffic

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

WINDOW_MS = 10_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251


def until(found: Callable[[], Any], what: str, within_s: float = 60.0) -> Any:
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if result := found():
            return result
        time.sleep(0.1)
    pytest.fail(f"no {what} within {within_s:.0f} s")


def configured(folder: Path, kafka: KafkaSettings) -> Shop:
    folder.mkdir()
    (folder / "signals.yml").write_text(SIGNALS.replace("window: 1m", "window: 10s"), "utf-8")
    (folder / "customers.csv").write_text(customers(), "utf-8")
    topics = {name: getattr(kafka.topics, name) for name in type(kafka.topics).model_fields}
    settings = {
        "customers": "customers.csv",
        "input": {"window": "10s", "lateness": "5s"},
        "notices": {"channels": ["email"]},
        "kafka": {"brokers": list(kafka.brokers), "group": kafka.group, "topics": topics},
    }
    (folder / "tocsin.yml").write_text(yaml.safe_dump(settings), "utf-8")
    return Shop(folder)


def frontiers(store: Store, partitions: int) -> list[int]:
    found = Engines(store, "").standings(COUNT)
    return [of.until_ms for of in found.values() if of.until_ms is not None] if len(found) == partitions else []


def payment(number: int, at_ms: int) -> bytes:
    event = {"id": f"late{number}", "time": stamp(at_ms), "kind": "payment", "customer": f"C-{number}"}
    return msgspec.json.encode({**event, "outcome": "approved", "bank": "BCA", "city": "Medan"})


def test_a_failing_bank_becomes_a_case_and_a_broker_that_is_away_makes_no_silence(
    broker: Cluster, tmp_path: Path
) -> None:
    kafka = own_settings(broker, partitions=3)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    lines, _hit = traffic(now_ms())
    db = tmp_path / "live.db"
    with workers(shop, db, tmp_path / "logs") as found:
        one = found.start()
        produce(kafka, lines.splitlines())
        until(db.exists, "store")
        with open_store(db) as store:
            case = until(lambda: queries.list_cases(store), "case")[0]
            assert [cause.where for cause in case.causes] == [{"bank": "BNI"}]

            # Nothing comes any more, an old event the last: windows close all the same, of every partition.
            produce(kafka, [payment(-1, now_ms() - 48 * 3_600_000)])
            begun_ms = now_ms()
            until(lambda: min(frontiers(store, 3), default=0) > begun_ms, "closed windows", 90)

            # The broker is away, and what is to be sent meanwhile comes late through no fault of its own: whoever holds
            # it tries again after pauses that have grown.
            before = min(frontiers(store, 3))
            broker.nodes[0].freeze()
            try:
                time.sleep(3 * WINDOW_MS / 1_000)
                assert max(frontiers(store, 3)) <= now_ms() - 3 * WINDOW_MS
                assert one.poll() is None
            finally:
                broker.nodes[0].thaw()
            time.sleep(WINDOW_MS / 1_000)
            late_ms = before + WINDOW_MS
            dropped = dict(store.tally().get("dropped", {}))
            applied = sum(store.tally()["applied"].values())
            produce(kafka, [payment(n, late_ms + WINDOW_MS) for n in range(30)])
            until(lambda: sum(store.tally()["applied"].values()) >= applied + 30, "applied events", 60)
            assert store.tally().get("dropped", {}).get("late", 0) == dropped.get("late", 0)
            until(lambda: min(frontiers(store, 3)) > late_ms + WINDOW_MS, "closed windows again", 90)

            broker.nodes[0].freeze()
            try:
                one.terminate()
                assert found.end(one, 25) == 0, found.said()
            finally:
                broker.nodes[0].thaw()
