"""All of it on Kafka and PostgreSQL under a real Prometheus: each number is what happened, each part that dies is told.

`pytest -s tests/system/test_kafka_watched.py` prints what fires for each part, and after how long.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kafka import KafkaProducer

from deploy.kafka.broker import Cluster
from streams.kafka.client import KafkaSettings
from streams.store import open_store
from streams.store.engines import COUNT, Engines
from streams.store.tokens import Scope, create
from tests.servers import prometheus as servers
from tests.servers.http import free_port
from tests.servers.kafka import own_settings, started
from tests.servers.postgres import Server, running
from tests.servers.prometheus import Alertmanager, Prometheus
from tests.servers.service import stamp, until
from tests.system.kafka_traffic import LONG
from tests.system.kafka_workers import make_topics
from tests.system.test_kafka_live import configured, now_ms

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.prometheus]

PARTITIONS = 2
QUOTA = 2
"""Events a second: a minute's worth is 120."""
OURS, OTHERS = 300, 70


@dataclass
class Everything:
    """The parts, each of which may die."""

    broker: Cluster
    server: Server
    db: str
    shop: Path
    logs: Path
    kafka: KafkaSettings
    web_port: int = field(default_factory=free_port)
    health_port: int = field(default_factory=free_port)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str) -> None:
        words = {
            "web": ["web", "--port", str(self.web_port)],
            "worker": ["worker", "--health", str(self.health_port)],
            "notifier": ["notifier", "--name", "a"],
        }[name]
        command = [sys.executable, "-m", "streams.cli.main", *words, "--config", str(self.shop), "--db", self.db]
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.logs)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def answers(self, port: int, path: str = "/readyz") -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def said(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text('utf-8')[-4_000:]}" for path in self.logs.glob("*.log"))

    def produce(self, n: int, prefix: str, tenant: str = "default", **more: Any) -> None:
        producer = KafkaProducer(**self.kafka.for_kafka_python(), acks="all")
        for i in range(n):
            event = {"id": f"{prefix}{i}", "time": stamp(), "kind": "payment", "customer": f"C-{i % 40}"}
            line = json.dumps({**event, "outcome": "approved", "bank": "BNI", "city": "Medan", **more}).encode()
            headers = [("tenant", tenant.encode())]
            producer.send(self.kafka.topics.events, line, partition=i % PARTITIONS, headers=headers)
        producer.flush()
        producer.close()

    def counted(self) -> int:
        with open_store(self.db) as store:
            return sum(of.next for of in Engines(store, "").standings(COUNT).values())


@contextmanager
def everything(folder: Path, alertmanager: str) -> Iterator[Everything]:
    with started(folder / "kafka") as broker, running() as server:
        kafka = own_settings(broker, partitions=PARTITIONS)
        shop = configured(folder / "shop", kafka).folder
        settings = yaml.safe_load((shop / "tocsin.yml").read_text("utf-8"))
        settings["kafka"] |= {"tenant": {"header": "tenant"}, "quota": QUOTA, "partitions": PARTITIONS}
        settings["alertmanager"] = {"urls": [alertmanager], "allow": ["127.0.0.0/8"], "insecure": True}
        settings["alertmanager"] |= {"resend": "1s", "expire": "1m"}
        (shop / "tocsin.yml").write_text(yaml.safe_dump(settings), "utf-8")
        make_topics(kafka)
        (folder / "logs").mkdir()
        made = Everything(broker, server, server.url(server.database()), shop, folder / "logs", kafka)
        try:
            made.start("worker")
            until(lambda: made.answers(made.health_port), "the worker is ready", 60)
            made.start("web")
            made.start("notifier")
            until(lambda: made.answers(made.web_port, "/healthz"), "web answers", 60)
            yield made
        finally:
            for name in list(made.processes):
                made.kill(name)


@contextmanager
def watched(on: Everything, manager: Alertmanager, folder: Path) -> Iterator[Prometheus]:
    with open_store(on.db) as store:
        _, token = create(store, Scope.READ, "prometheus", "test", now_ms())
    targets = {
        "tocsin": [f"127.0.0.1:{on.web_port}"],
        "workers": [f"127.0.0.1:{on.health_port}"],
        "alertmanager": [f"127.0.0.1:{manager.port}"],
    }
    with servers.prometheus(folder, targets, token) as found:
        yield found


def value(watching: Prometheus, expression: str) -> float:
    return sum(watching.query(f"sum({expression})").values())


@contextmanager
def died(
    watching: Prometheus, what: str, alerts: set[str], kill: Callable[[], Any], back: Callable[[], Any]
) -> Iterator[dict[str, float]]:
    """Kill a part, wait until it is told, and bring it back; gives the alerts, and after how many seconds each fired."""
    began_s = time.monotonic()
    seen: dict[str, float] = {}

    def fires() -> bool:
        for name in watching.firing():
            seen.setdefault(name, time.monotonic() - began_s)
        return alerts <= set(seen)

    kill()
    yield seen
    until(fires, f"{what} is missed: {alerts}", 90)
    time.sleep(4.0 if LONG else 0.0)
    fires()
    back()
    until(lambda: not alerts & set(watching.firing()), f"{what} is back", 90)
    print(f"{what} dies: " + ", ".join(f"{name} after {s:.0f} s" for name, s in seen.items()))


def dies(watching: Prometheus, *given: Any) -> dict[str, float]:
    with died(watching, *given) as seen:
        pass
    return seen


def test_each_number_is_what_happened_and_each_part_that_dies_is_told(tmp_path: Path) -> None:
    with (
        servers.alertmanager(tmp_path / "alertmanager") as manager,
        everything(tmp_path, manager.url) as on,
        watched(on, manager, tmp_path) as watching,
    ):
        # --- numbers
        on.produce(20, "first")
        until(lambda: on.counted() == 20, "the first are counted", 60)
        on.produce(4, "late", time=stamp(now_ms() - 3_600_000))
        on.produce(2, "bad", time="never")
        on.produce(OURS, "more")
        on.produce(OTHERS, "others", "toko")
        sent = 20 + 6 + OURS + OTHERS
        until(lambda: on.counted() == sent, "all is counted", 60)
        until(lambda: value(watching, "tocsin_kafka_records_total") == sent, "records")
        until(lambda: value(watching, "tocsin_kafka_passed_over_total") == OTHERS, "others'")
        until(lambda: value(watching, "tocsin_events_total") == sent - OTHERS, "ours")
        over, late, dead, applied = (
            value(watching, name)
            for name in (
                'tocsin_events_dropped_total{reason="over-quota"}',
                'tocsin_events_dropped_total{reason="late"}',
                'tocsin_dead_letters{reason="bad-time"}',
                "tocsin_events_applied_total",
            )
        )
        assert (late, dead) == (4, 2)
        assert 60 * QUOTA <= applied + late + dead < 90 * QUOTA, "a minute's worth, and what the time since allows"
        assert applied + late + dead + over == sent - OTHERS
        until(lambda: value(watching, "tocsin_kafka_lag_records") == 0, "nothing waits any more")
        until(lambda: len(watching.query("tocsin_process_up == 1")) == 3, "three processes")
        until(lambda: 0 < value(watching, "tocsin_event_delay_seconds") < 60, "delay")
        until(lambda: value(watching, "tocsin_alertmanager_ok") == 1, "Alertmanager has what there is")
        assert set(watching.firing()) <= {"TocsinOverQuota", "TocsinNoInput"}, "their waits are a second here"

        # --- parts
        node = on.broker.nodes[0]
        dies(watching, "worker", {"TocsinDown"}, lambda: on.kill("worker"), lambda: on.start("worker"))
        with died(
            watching, "notifier", {"TocsinProcessSilent"}, lambda: on.kill("notifier"), lambda: on.start("notifier")
        ):
            seen = dies(watching, "broker", {"TocsinBrokerUnreachable"}, node.kill, on.broker.start)
        assert "TocsinStoreFailing" not in seen
        if LONG:
            dies(watching, "web", {"TocsinDown"}, lambda: on.kill("web"), lambda: on.start("web"))
            seen = dies(watching, "PostgreSQL", {"TocsinStoreFailing"}, on.server.stop, on.server.start)
            assert "TocsinBrokerUnreachable" not in seen
        before = on.counted()
        on.produce(10, "last")
        until(lambda: on.counted() == before + 10, "all goes on", 60)
        assert all(process.poll() is None for process in on.processes.values()), on.said()
        assert "Traceback" not in on.said()
