"""Runs contenders on one broker: makes the topics, starts the processes, checks what they counted."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from benchmarks.kafka_contenders import MISSING, Asked, Took
from benchmarks.kafka_events import PARTITIONS, Sums, expected
from benchmarks.over_http import SIGNALS
from deploy.kafka.broker import Cluster

ROOT = Path(__file__).parents[1]
LIMIT_S = 240
BATCH_BYTES = 262_144


@dataclass(frozen=True)
class Contender:
    """Who counts, what, and what the worker's rate by its own should be."""

    title: str
    name: str
    topic: str = "single"
    peer: bool = False
    processes: int = 1
    pinned: bool = True
    goal: float | None = None
    many_goal: float | None = None


class Wrong(Exception):
    """A contender did not do what the others did."""


class Missing(Exception):
    """A contender's library is not there."""


# --- the topics -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Topic:
    name: str
    ends: list[int]
    each: int
    sums: Sums


async def make(brokers: str, name: str, parts: list[list[bytes]], each: int) -> Topic:
    """Make a topic of these events, `each` of them a message, and what is to be found in it."""
    from aiokafka import AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    await admin.close()
    kept = [part[: len(part) // each * each] for part in parts]
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tries again where a leader is not chosen yet
    producer = AIOKafkaProducer(bootstrap_servers=brokers, max_batch_size=BATCH_BYTES, enable_idempotence=True)
    await producer.start()
    for partition, part in enumerate(kept):
        batch = producer.create_batch()
        for i in range(0, len(part), each):
            value = b"\n".join(part[i : i + each])
            if batch.append(key=None, value=value, timestamp=None) is None:
                await producer.send_batch(batch, name, partition=partition)
                batch = producer.create_batch()
                batch.append(key=None, value=value, timestamp=None)
        await producer.send_batch(batch, name, partition=partition)
    await producer.stop()
    return Topic(name, [len(part) // each for part in kept], each, expected(kept))


async def inner_topics(brokers: str) -> None:
    """Make the topics by which engines wake one another."""
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    await admin.create_topics([NewTopic("windows", 2, 1), NewTopic("anomalies", 1, 1)])
    await admin.close()


# --- the contenders ---------------------------------------------------------------------------------------------------


class Bench:
    """Runs contenders on one broker, one at a time."""

    def __init__(self, folder: Path, cluster: Cluster, topics: dict[str, Topic], peers: Path) -> None:
        self._folder, self._brokers, self._topics, self._peers = folder, cluster.bootstrap, topics, peers
        self._runs = 0
        self._pin(cluster)

    @staticmethod
    def _pin(cluster: Cluster) -> None:
        if hasattr(os, "sched_setaffinity"):
            first = min(os.sched_getaffinity(0))
            for task in Path(f"/proc/{cluster.nodes[0].pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {first})

    def run(self, contender: Contender, profile: str = "") -> list[Took]:
        """Return what each process of a contender took."""
        self._runs += 1
        topic = self._topics[contender.topic]
        run = f"run-{self._runs}"
        asked = Asked(self._brokers, topic.name, topic.ends, run, topic.each, profile=profile)
        if contender.pinned and hasattr(os, "sched_getaffinity"):
            asked.core = max(os.sched_getaffinity(0))
        if contender.name == "worker":
            asked.config, asked.db = str(self._configured(run, topic)), str(self._folder / f"{run}.db")
        if contender.processes > 1:
            asked.go = str(self._folder / f"{run}.go")
        words = [str(self._peers if contender.peer else sys.executable), "-m", "benchmarks.kafka_contenders"]
        words += [contender.name, msgspec.json.encode(asked).decode()]
        said = self._folder / f"{run}.log"
        started: list[subprocess.Popen[str]] = []
        try:
            with said.open("w") as log:
                for _ in range(contender.processes):
                    started.append(
                        subprocess.Popen(
                            words, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=log, text=True
                        )
                    )
                if asked.go:
                    self._shared(started, topic)
                    Path(asked.go).touch()
                texts = [process.communicate(timeout=LIMIT_S)[0] for process in started]
        except subprocess.TimeoutExpired as error:
            raise Wrong(f"{contender.title}: not done within {LIMIT_S} s: {said.read_text()[-2_000:]}") from error
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if any(process.returncode == MISSING for process in started):
            raise Missing(said.read_text().strip().rpartition("\n")[2])
        took = [
            msgspec.json.decode(line, type=Took)
            for text in texts
            for line in text.splitlines()
            if line.startswith('{"sums"')
        ]
        if len(took) != contender.processes:
            raise Wrong(f"{contender.title} said nothing: {said.read_text()[-2_000:]}")
        sums = Sums()
        for one in took:
            sums.add(one.sums)
        if sums != topic.sums:
            raise Wrong(f"{contender.title}: counted {sums}, where {topic.sums} is right")
        return took

    def _shared(self, started: list[subprocess.Popen[str]], topic: Topic) -> None:
        """Wait until each of several processes holds its share of the partitions."""
        for process in started:
            assert process.stdout is not None
            share = 0
            while share != PARTITIONS // len(started):
                line = process.stdout.readline()
                if not line:
                    return
                if line.startswith('{"assigned"'):
                    share = len(json.loads(line)["assigned"])

    def _configured(self, run: str, topic: Topic) -> Path:
        folder = self._folder / run
        folder.mkdir()
        (folder / "signals.yml").write_text(SIGNALS, encoding="utf-8")
        topics = {"events": topic.name, "windows": "windows", "anomalies": "anomalies"}
        kafka = {"brokers": self._brokers.split(","), "group": run, "topics": topics, "partitions": PARTITIONS}
        (folder / "tocsin.yml").write_text(yaml.safe_dump({"tenant": run, "kafka": kafka}), encoding="utf-8")
        return folder


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
