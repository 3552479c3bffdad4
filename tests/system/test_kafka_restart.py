"""A worker that is restarted, with a name of its own and without, and one that does not come back: who stands still.

`pytest -s tests/system/test_kafka_restart.py` prints the pauses that docs/operations.md tells.
"""

import itertools
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from deploy.kafka.broker import Cluster
from detector.errors import TocsinError
from streams.kafka.client import KafkaSettings
from streams.store import open_store
from streams.store import tables as t
from tests.servers.http import free_port
from tests.servers.kafka import own_settings
from tests.servers.service import until
from tests.streams.shop import lines
from tests.system.kafka_traffic import LONG
from tests.system.kafka_workers import Workers, configured, make_topics, produce, workers

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

PARTITIONS = 6
A_SECOND = 1_000
NAMED = [pytest.param(True, id="with a name"), *([pytest.param(False, id="without a name")] if LONG else [])]


class Watched:
    """The Counters of a store: how often each was taken over, and the longest time in which each committed nothing."""

    def __init__(self, db: Path) -> None:
        self.db = db
        self.over = threading.Event()
        self.pause_s: dict[int, float] = {}
        self._since: dict[int, tuple[int, float]] = {}

    def rows(self) -> dict[int, tuple[int, int | None]]:
        """Return epoch and place of each partition's Counter."""
        with open_store(self.db) as store, store.engine.connect() as connection:
            found = connection.execute(sa.select(t.engine.c.name, t.engine.c.epoch, t.engine.c.next))
            return {int(name.rpartition("/")[2]): (epoch, at) for name, epoch, at in found if name.startswith("count/")}

    def epochs(self) -> dict[int, int]:
        return {partition: epoch for partition, (epoch, _) in self.rows().items()}

    def begin(self) -> None:
        """Forget the pauses so far."""
        now_s = time.monotonic()
        self.pause_s = dict.fromkeys(self.pause_s, 0.0)
        self._since = {partition: (at, now_s) for partition, (at, _) in self._since.items()}

    def watch(self) -> None:
        while not self.over.wait(0.05):
            try:
                rows = self.rows()
            except TocsinError:
                continue
            now_s = time.monotonic()
            for partition, (_, place) in rows.items():
                at, since_s = self._since.setdefault(partition, (place or 0, now_s))
                self.pause_s[partition] = max(self.pause_s.get(partition, 0.0), now_s - since_s)
                if place != at:
                    self._since[partition] = (place or 0, now_s)


@contextmanager
def watched(db: Path) -> Iterator[Watched]:
    made = Watched(db)
    thread = threading.Thread(target=made.watch, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        thread.join(30)


class Three:
    """Three workers, each of whose port says which partitions it has."""

    def __init__(self, found: Workers, *, named: bool) -> None:
        self.found, self.named = found, named
        self.ports = [free_port() for _ in range(3)]
        self.running = [self.start(i) for i in range(3)]

    def start(self, i: int) -> "subprocess.Popen[bytes]":
        name = ["--instance", f"worker-{i}"] if self.named else []
        return self.found.start("--health", str(self.ports[i]), *name)

    def has(self, i: int) -> set[int]:
        try:
            text = httpx.get(f"http://127.0.0.1:{self.ports[i]}/metrics", trust_env=False, timeout=5).text
        except httpx.HTTPError:
            return set()
        rows = [line for line in text.splitlines() if line.startswith("tocsin_kafka_lag_records{")]
        return {int(row.split('partition="')[1].split('"')[0]) for row in rows}

    def share(self) -> bool:
        """Whether each has two of the six."""
        return [len(self.has(i)) for i in range(3)] == [2, 2, 2]


@contextmanager
def at_work(broker: Cluster, folder: Path, *, named: bool, session_s: int = 10) -> Iterator[tuple[Three, Watched]]:
    kafka: KafkaSettings = own_settings(broker, partitions=PARTITIONS, session_timeout_ms=session_s * 1_000)
    shop = configured(folder / "shop", kafka)
    make_topics(kafka)
    over = threading.Event()
    found = itertools.takewhile(lambda _: not over.is_set(), itertools.cycle(lines()))
    producing = threading.Thread(target=produce, args=(kafka, found), kwargs={"a_second": A_SECOND}, daemon=True)
    producing.start()
    db = folder / "many.db"
    try:
        with workers(shop, db, folder / "logs") as ours, watched(db) as seen:
            three = Three(ours, named=named)
            until(three.share, "each has its share", 40)
            until(lambda: len(seen.pause_s) == PARTITIONS, "all are counted", 40)
            time.sleep(3.0)
            seen.begin()
            yield three, seen
    finally:
        over.set()
        producing.join(30)


def tell(what: str, seen: Watched, mine: set[int]) -> None:
    others = max(pause_s for p, pause_s in seen.pause_s.items() if p not in mine)
    print(f"\n{what}: its partitions paused {max(seen.pause_s[p] for p in mine):.1f} s, the others' {others:.1f} s")


@pytest.mark.parametrize("named", NAMED)
def test_a_restart_under_a_name_of_its_own_is_nothing_to_the_others(
    broker: Cluster, tmp_path: Path, named: bool
) -> None:
    # A name is kept for as long: longer than a worker takes to start on a busy machine.
    with at_work(broker, tmp_path, named=named, session_s=30 if named else 10) as (three, seen):
        mine, before = three.has(0), seen.epochs()
        time.sleep(4.0 if LONG else 1.0)
        tell("nothing happens", seen, mine)
        seen.begin()
        began_s = time.monotonic()
        three.running[0].terminate()
        assert three.found.end(three.running[0], 25) == 0, three.found.said()
        print(f"it ends within {time.monotonic() - began_s:.1f} s")
        three.running[0] = three.start(0)
        until(three.share, "each has its share again", 40)
        until(lambda: all(epoch > before[p] for p, epoch in seen.epochs().items() if p in mine), "it has its work", 40)
        time.sleep(2.0)
        tell("restarted " + ("under its name" if named else "without a name"), seen, mine)
        after = seen.epochs()
        if named:
            assert three.has(0) == mine, three.found.said()
            assert {p: after[p] for p in after if p not in mine} == {p: before[p] for p in before if p not in mine}
            # Two of the same name do not go on both: whichever of them notices ends.
            both = [three.running[0], three.found.start("--instance", "worker-0")]
            until(lambda: any(one.poll() is not None for one in both), "one of them ends", 40)
            (ended,) = [one for one in both if one.poll() is not None]
            assert three.found.end(ended, 1) == 70, three.found.said()


@pytest.mark.skipif(not LONG, reason="TOCSIN_TEST_LONG is not set")
@pytest.mark.parametrize("named", NAMED)
def test_who_is_killed_and_does_not_come_back_is_replaced_after_the_session_timeout(
    broker: Cluster, tmp_path: Path, named: bool
) -> None:
    with at_work(broker, tmp_path, named=named) as (three, seen):
        mine, before = three.has(0), seen.epochs()
        three.found.kill(three.running[0])
        until(lambda: all(epoch > before[p] for p, epoch in seen.epochs().items() if p in mine), "taken over", 30)
        time.sleep(3.0)
        tell("killed for good", seen, mine)
        assert all(seen.pause_s[p] < 20 for p in mine), "the session timeout, and a round of the group"
