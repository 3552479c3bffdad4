"""Workers on a real broker, as processes: for the tests that start, kill and freeze them."""

import random
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import yaml
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from streams.clock import SystemClock
from streams.engines.session import session
from streams.kafka.client import KafkaSettings
from streams.store import RECORDING, open_store
from streams.store.documents import dump
from tests.streams.shop import Shop, lines, write

PATIENCE_MS = 240_000
"""A producer waits so long for brokers that are away."""


def dumped(db: Path | str) -> list[dict[str, Any]]:
    with open_store(db) as store:
        return list(dump(store))


def make_topics(kafka: KafkaSettings) -> None:
    partitions = dict.fromkeys(kafka.topics.model_dump().values(), 1) | {
        kafka.topics.events: kafka.partitions,
        kafka.topics.windows: 2,
    }
    configs = {"max.message.bytes": str(kafka.message_bytes)}
    wanted = {
        name: {"num_partitions": n, "replication_factor": 1, "configs": configs} for name, n in partitions.items()
    }
    admin = KafkaAdminClient(**kafka.for_kafka_python())
    admin.create_topics(wanted, wait_for_metadata=True)
    admin.close()


def produce(kafka: KafkaSettings, found: Iterable[bytes], *, a_second: int | None = None) -> None:
    """One event a message, keyed by its customer, as producers do."""
    pause = threading.Event()
    patient = {"max_block_ms": PATIENCE_MS, "delivery_timeout_ms": PATIENCE_MS}
    producer = KafkaProducer(**kafka.for_kafka_python(), acks="all", enable_idempotence=True, **patient)
    for i, line in enumerate(found):
        try:
            event = msgspec.json.decode(line)
            key = str(event.get("customer") or event.get("id") or "").encode() or None
        except msgspec.DecodeError:
            key = None
        # What has no customer goes where one process puts it: into the first partition.
        producer.send(kafka.topics.events, line, key=key, partition=0 if key is None else None)
        if a_second and i % 500 == 499:
            pause.wait(500 / a_second)
    producer.flush()
    producer.close()


def configured(folder: Path, kafka: KafkaSettings, *, per_minute: int = 90) -> Shop:
    """Write the shop's configuration with these brokers and topics, and its events."""
    shop = write(folder)
    if per_minute != 90:
        shop.events.write_bytes(b"\n".join(lines(per_minute=per_minute)) + b"\n")
    settings = yaml.safe_load((folder / "tocsin.yml").read_text("utf-8"))
    topics = {name: getattr(kafka.topics, name) for name in type(kafka.topics).model_fields}
    settings["kafka"] = {"brokers": list(kafka.brokers), "group": kafka.group, "topics": topics}
    settings["kafka"]["partitions"] = kafka.partitions
    settings["kafka"]["session_timeout"] = f"{kafka.session_timeout_ms // 1_000}s"
    settings["kafka"]["heartbeat"] = f"{kafka.heartbeat_ms // 1_000}s"
    (folder / "tocsin.yml").write_text(yaml.safe_dump(settings), "utf-8")
    return shop


def one_process(shop: Shop, db: Path, partitions: int) -> list[dict[str, Any]]:
    """Return what one process makes of the shop's events."""
    run = replace(shop.run(), partitions=partitions, commit_s=2.0)
    with session(db, run, SystemClock(), mode=RECORDING) as found:
        found.read([str(shop.events)])
    return dumped(db)


@dataclass
class Workers:
    """The workers of a test on one store."""

    shop: Shop
    db: str
    logs: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    log_of: dict[int, Path] = field(default_factory=dict)

    def start(self, *arguments: str, module: str = "streams.cli.main") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, "worker", "--config", str(self.shop.folder)]
        path = self.logs / f"worker-{len(self.running) + len(self.ended)}.log"
        with path.open("wb") as log:
            process = subprocess.Popen([*command, "--db", self.db, *arguments], stderr=log)
        self.running.append(process)
        self.log_of[process.pid] = path
        return process

    def end(self, process: subprocess.Popen[bytes], within_s: float) -> int:
        code = process.wait(within_s)
        self.running.remove(process)
        self.ended.append(code)
        return code

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        self.end(process, 10)

    def any(self, chance: random.Random) -> subprocess.Popen[bytes]:
        return chance.choice(self.running)

    def stop(self) -> set[int]:
        """Ask all to stop; returns their exit codes."""
        stopping = list(self.running)
        for process in stopping:
            process.terminate()
        return {self.end(process, 25) for process in stopping}

    def said(self, process: subprocess.Popen[bytes] | None = None) -> str:
        if process is not None:
            return self.log_of[process.pid].read_text("utf-8")
        return "\n".join(f"--- {path.name}\n{path.read_text('utf-8')}" for path in sorted(self.logs.glob("*.log")))


@contextmanager
def workers(shop: Shop, db: Path | str, logs: Path) -> Iterator[Workers]:
    logs.mkdir(exist_ok=True)
    found = Workers(shop, str(db), logs)
    try:
        yield found
    finally:
        for process in found.running:
            process.kill()
            process.wait()
