"""Two tenants on one topic: each has the results that it would have alone, and a flood of the one is nothing to the other."""

import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from kafka import KafkaProducer

from deploy.kafka.broker import Cluster
from detector.errors import TocsinError
from streams.intake.quota import OVER
from streams.kafka.client import KafkaSettings
from streams.store import Store, open_store
from streams.store.documents import dump
from streams.store.engines import COUNT, Engines
from tests.servers.kafka import own_settings
from tests.servers.postgres import postgres as postgres
from tests.servers.service import stamp
from tests.servers.stores import db as db
from tests.streams.shop import Shop, lines
from tests.system.kafka_workers import configured, make_topics, one_process, workers

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

END_S = 90.0
NAMELESS = 40
FLOOD = 10
"""So many times the events of the other tenant."""


def tenant(folder: Path, kafka: KafkaSettings, name: str, naming: dict[str, Any], **more: Any) -> Shop:
    """Write a tenant's configuration on a topic that it shares."""
    shop = configured(folder, kafka)
    settings = yaml.safe_load((folder / "tocsin.yml").read_text("utf-8"))
    settings["tenant"] = name
    settings["kafka"] |= {"tenant": naming, **more}
    (folder / "tocsin.yml").write_text(yaml.safe_dump(settings), "utf-8")
    return shop


@contextmanager
def sending(kafka: KafkaSettings) -> Iterator[Any]:
    """Give what sends a tenant's line; None: nobody's."""
    producer = KafkaProducer(**kafka.for_kafka_python(), acks="all", enable_idempotence=True)

    def send(name: str | None, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line)
            key = str(event.get("customer") or event.get("id") or "").encode() or None
        except msgspec.DecodeError:
            key = None
        headers = [("trace", b"x")] if name is None else [("trace", b"x"), ("tenant", name.encode())]
        producer.send(kafka.topics.events, line, key=key, headers=headers, partition=0 if key is None else None)

    try:
        yield send
    finally:
        producer.flush()
        producer.close()


def mixed(own: Sequence[bytes], flood: Sequence[bytes]) -> Iterable[tuple[str | None, bytes]]:
    """Both tenants' lines, each in its own order, and now and then one of nobody."""
    for i, line in enumerate(own):
        yield "toko", line
        for other in flood[i * FLOOD : (i + 1) * FLOOD]:
            yield "bank", other
    for other in flood[len(own) * FLOOD :]:
        yield "bank", other
    for line in own[:NAMELESS]:
        yield None, line


def results(db: Path | str, name: str) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    with open_store(db, tenant=name) as store:
        return list(dump(store)), store.tally()


def test_each_tenant_has_the_results_that_it_has_alone_and_what_is_over_a_quota_is_dropped(
    broker: Cluster, tmp_path: Path, db: str
) -> None:
    kafka = own_settings(broker, partitions=3)
    toko = tenant(tmp_path / "toko", kafka, "toko", {"header": "tenant"})
    takes = {"header": "tenant", "unnamed": "dead", "others": ["toko"]}
    bank = tenant(tmp_path / "bank", kafka, "bank", takes, quota=100)
    own, flood = lines(seed=1, per_minute=30), lines(seed=2, per_minute=30 * FLOOD)
    toko.events.write_bytes(b"\n".join(own) + b"\n")
    expected = one_process(toko, tmp_path / "alone.db", 3)
    with open_store(tmp_path / "alone.db") as store:
        alone = store.tally()
    assert "case" in {document["type"] for document in expected}
    make_topics(kafka)
    with sending(kafka) as send:
        for name, line in mixed(own, flood):
            send(name, line)
    with workers(toko, db, tmp_path / "a") as first, workers(bank, db, tmp_path / "b") as second:
        started = [(one, one.start("--drain")) for one in (first, second, first, second)]
        for one, process in started:
            assert one.end(process, END_S) == 0, one.said()
        assert "over its quota of 100 events a second" in second.said() and "quota" not in first.said()

    assert results(db, "toko") == (expected, alone)
    found, sums = results(db, "bank")
    assert sums["events"][""] == len(flood) + NAMELESS
    assert sums["events"][""] == sum(sum(sums[what].values()) for what in ("applied", "dropped", "dead"))
    assert sums["dropped"][OVER] > len(flood) // 2

    with workers(bank, tmp_path / "again.db", tmp_path / "c") as third:
        assert third.end(third.start("--drain"), END_S) == 0, third.said()
    assert results(tmp_path / "again.db", "bank") == (found, sums)

    generous = yaml.safe_load((bank.folder / "tocsin.yml").read_text("utf-8"))
    generous["kafka"]["quota"] = None
    (bank.folder / "tocsin.yml").write_text(yaml.safe_dump(generous), "utf-8")
    with workers(bank, tmp_path / "whole.db", tmp_path / "d") as fourth:
        assert fourth.end(fourth.start("--drain"), END_S) == 0, fourth.said()
    bank.events.write_bytes(b"\n".join(flood) + b"\n")
    found, sums = results(tmp_path / "whole.db", "bank")
    assert sums["dead"]["no-tenant"] == NAMELESS and OVER not in sums.get("dropped", {})
    assert found == one_process(bank, tmp_path / "flood.db", 3)


# --- live -------------------------------------------------------------------------------------------------------------

WINDOW_MS = 2_000
PAUSE_S = 10.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251


class Windows:
    """When a tenant's windows were committed: how long after their end."""

    def __init__(self, db: Path, name: str, partitions: int) -> None:
        self._db, self._tenant, self._partitions = db, name, partitions
        self._store: Store | None = None

    def until_ms(self) -> int:
        """Up to where all partitions have closed their windows; 0 while one has not begun."""
        if self._store is None:
            try:
                self._store = open_store(self._db, tenant=self._tenant)
            except TocsinError:
                return 0
        found = [of.until_ms or 0 for of in Engines(self._store, "").standings(COUNT).values()]
        return min(found) if len(found) == self._partitions else 0

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def delays_ms(self, for_s: float) -> list[int]:
        out, seen, end_s = list[int](), self.until_ms(), time.monotonic() + for_s
        while time.monotonic() < end_s:
            time.sleep(0.05)
            if (until := self.until_ms()) > seen:
                seen = until
                out.append(now_ms() - until)
        return out

    def wait(self, until_ms: int, what: str, within_s: float = END_S) -> None:
        end_s = time.monotonic() + within_s
        while self.until_ms() < until_ms:
            assert time.monotonic() < end_s, f"no {what} within {within_s:.0f} s"
            time.sleep(0.05)


class Stream:
    """Payments of a tenant, now, so many a second, until stopped."""

    def __init__(self, kafka: KafkaSettings, name: str, a_second: int) -> None:
        self._kafka, self._name, self._a_second = kafka, name, a_second
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def _run(self) -> None:
        with sending(self._kafka) as send:
            while not self._stopping.wait(0.1):
                for _ in range(self._a_second // 10):
                    self.sent += 1
                    event = {"id": f"{self._name}{self.sent}", "time": stamp(now_ms()), "kind": "payment"}
                    event |= {"customer": f"C-{self.sent % 500}", "outcome": "approved", "bank": "BCA", "city": "Medan"}
                    send(self._name, msgspec.json.encode(event))

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()


def quick(shop: Shop) -> Shop:
    """Windows of seconds, so that a test sees many."""
    settings = yaml.safe_load((shop.folder / "tocsin.yml").read_text("utf-8"))
    settings["input"] = {"window": "2s", "lateness": "1s"}
    (shop.folder / "tocsin.yml").write_text(yaml.safe_dump(settings), "utf-8")
    return shop


def test_a_flood_of_one_tenant_leaves_the_other_its_time(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=3)
    toko = quick(tenant(tmp_path / "toko", kafka, "toko", {"header": "tenant"}))
    bank = quick(tenant(tmp_path / "bank", kafka, "bank", {"header": "tenant"}, quota=20))
    make_topics(kafka)
    with (
        closing(Windows(tmp_path / "toko.db", "toko", 3)) as windows,
        workers(toko, tmp_path / "toko.db", tmp_path / "a") as first,
    ):
        with workers(bank, tmp_path / "bank.db", tmp_path / "b") as second:
            running = [first.start(), second.start()]
            with Stream(kafka, "toko", 60) as own:
                windows.wait(now_ms(), "closed window")
                calm = windows.delays_ms(PAUSE_S)
                with Stream(kafka, "bank", 60 * FLOOD) as flood:
                    beside = windows.delays_ms(PAUSE_S)
                    own.stop()
                    # The one is silent now, the other goes on: of no partition is nothing left to read for long.
                    windows.wait(now_ms() + 2 * WINDOW_MS, "window closed while others' records keep coming")
            assert [process.poll() for process in running] == [None, None], first.said() + second.said()
            one, other = statistics.median(calm), statistics.median(beside)
            print(f"event to committed window: {one:.0f} ms alone, {other:.0f} ms beside a flood: {other / one:.2f}")
            for shop, stream in ((toko, own), (bank, flood)):
                count_all(shop, stream)
    assert "over its quota of 20 events a second" in second.said()


def count_all(shop: Shop, stream: Stream) -> None:
    """Wait until all that was sent is counted or dropped: of each tenant its own, and nothing else."""
    name = shop.folder.name
    end_s = time.monotonic() + END_S
    while True:
        with open_store(shop.folder.parent / f"{name}.db", tenant=name) as store:
            sums = store.tally()
        if sums["events"][""] >= stream.sent or time.monotonic() > end_s:
            break
        time.sleep(0.1)
    assert sums["events"][""] == stream.sent
    assert stream.sent == sums["applied"][""] + sum(sums.get("dropped", {}).values())
    assert (OVER in sums.get("dropped", {})) == (name == "bank")
