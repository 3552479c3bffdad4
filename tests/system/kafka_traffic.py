"""A recording that comes in over Kafka while something goes wrong, and what one process makes of it."""

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.kafka.broker import Cluster
from streams.kafka.client import KafkaSettings
from streams.store import open_store
from tests.servers.kafka import own_settings
from tests.servers.service import ROOT
from tests.streams.shop import Shop, write
from tests.system import kafka_checks
from tests.system.kafka_workers import Workers, configured, dumped, make_topics, one_process, workers

SEED = int(os.environ.get("TOCSIN_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
LONG = bool(os.environ.get("TOCSIN_TEST_LONG"))
"""The long form: a million events, brokers and stores that are away for longer, workers of default patience."""
PER_MINUTE = 9_100 if LONG else 180
A_SECOND = int(os.environ.get("TOCSIN_TEST_A_SECOND", "0")) or (6_000 if LONG else 2_500)
PARTITIONS = 6
END_S = 300.0 if LONG else 120.0
SHORTER = {} if LONG else {"session_timeout_ms": 6_000, "heartbeat_ms": 2_000}
STOPPED = {0, -15, 70}
"""Asked to stop; at once, while the interpreter itself still starts; or it has just lost an engine."""


@dataclass(frozen=True)
class Recording:
    """Events, and what one process makes of them."""

    lines: list[bytes]
    file: Path
    dump: list[dict[str, Any]]
    tally: Mapping[str, Mapping[str, int]]


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    from tests.streams.shop import lines

    folder = tmp_path_factory.mktemp("one")
    shop = write(folder / "shop")
    found = lines(per_minute=PER_MINUTE)
    shop.events.write_bytes(b"\n".join(found) + b"\n")
    dump = one_process(shop, folder / "one.db", PARTITIONS)
    with open_store(folder / "one.db") as store:
        return Recording(found, shop.events, dump, store.tally())


@dataclass
class Traffic:
    """The recording on its way: `with traffic(…) as on: …` ends with the comparison."""

    recording: Recording
    kafka: KafkaSettings
    shop: Shop
    db: str
    workers: Workers
    producing: subprocess.Popen[bytes]
    chance: random.Random

    def counted(self) -> int:
        """Return how many records are committed as counted."""
        try:
            return sum(kafka_checks.counted(self.db).values())
        except (sqlite3.Error, psycopg.Error):
            return 0  # there is no store yet, or it is away

    def until_counted(self, records: int, within_s: float = END_S) -> None:
        """Wait until so many records are committed."""
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            if self.counted() >= records:
                return
            time.sleep(0.2)
        pytest.fail(f"only {self.counted():,} of {records:,} records counted:\n{self.workers.said()}")

    def until_more(self, within_s: float = 60.0) -> None:
        """Wait until something is committed, unless all that was sent is."""
        before, end_s = self.counted(), time.monotonic() + within_s
        while self.counted() == before and self.producing.poll() is None:
            assert time.monotonic() < end_s, f"nothing counted:\n{self.workers.said()}"
            time.sleep(0.1)

    def finish(self) -> None:
        """Stop all workers, work off what is left, and compare."""
        assert self.producing.wait(END_S) == 0
        assert self.workers.stop() <= STOPPED, self.workers.said()
        drain = self.workers.start("--drain")
        assert self.workers.end(drain, END_S) == 0, self.workers.said()
        with open_store(self.db) as store:
            tally = store.tally()
        assert tally == self.recording.tally, f"{tally} are not {self.recording.tally}"
        assert dumped(self.db) == self.recording.dump
        kafka_checks.holds(self.db, self.kafka, self.recording.lines)


@contextmanager
def traffic(broker: Cluster, recording: Recording, folder: Path, db: str) -> Iterator[Traffic]:
    """Produce the recording, most of it once a worker counts; at the end nothing is lost, and nothing is there twice."""
    print(f"TOCSIN_TEST_SEED={SEED}")
    kafka = own_settings(broker, partitions=PARTITIONS, **SHORTER)
    shop = configured(folder / "shop", kafka)
    make_topics(kafka)
    command = [sys.executable, "-m", "tests.system.one_producer", kafka.bootstrap, kafka.topics.events]
    command += [str(recording.file), str(A_SECOND)]
    over = threading.Event()

    def watch() -> None:
        seen, since_s, longest_s = 0, 0.0, 0.0
        while not over.wait(0.25):
            now = on.counted()
            if now > seen:
                if not seen:
                    assert producing.stdin is not None
                    producing.stdin.close()  # there is a worker: the rest may come
                else:
                    longest_s = max(longest_s, time.monotonic() - since_s)
                seen, since_s = now, time.monotonic()
        print(f"longest time without a commit {longest_s:.1f} s")

    watching = threading.Thread(target=watch, daemon=True)
    with (
        workers(shop, db, folder / "logs") as found,
        subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) as producing,
    ):
        on = Traffic(recording, kafka, shop, db, found, producing, random.Random(SEED))
        watching.start()
        try:
            yield on
            on.finish()
        finally:
            over.set()
            watching.join(60)
            producing.kill()
