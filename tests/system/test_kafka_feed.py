"""The feed on Kafka: every event and dead letter arrives, in order, whoever dies; one publishes at a time."""

import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from deploy.kafka.broker import Cluster
from detector.decode.placement import partition_of
from detector.desk.records import NoticeState
from detector.events import Invalid
from detector.pipeline import Effects
from streams.feeds.kafka import KafkaFeed, advance, published
from streams.feeds.log import bounds, encoded, read
from streams.kafka.admin import administration
from streams.kafka.client import KafkaSettings
from streams.store import Commit, Store, open_store
from streams.store.documents import dead_document
from streams.store.publishing import CASES, DEAD
from streams.store.queries import dead_letters
from streams.store.retention import prune_feed
from tests.servers.kafka import own_settings, started
from tests.streams.feed_rows import NOW_MS, a_case, a_notice, a_row, commit, customer, fill, live_store

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

WAIT_S = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with live_store(tmp_path / "tocsin.db") as store:
        yield store


def made(running: Cluster, partitions: int = 1) -> KafkaSettings:
    """Return settings whose output topics are there."""
    settings = own_settings(running)
    topic = {"num_partitions": partitions, "replication_factor": min(3, len(running.nodes))}
    with administration(settings) as client:
        client.create_topics({settings.topics.cases: topic, settings.topics.dead: topic}, wait_for_metadata=True)
    return settings


@contextmanager
def publishing(store: Store, settings: KafkaSettings) -> Iterator[KafkaFeed]:
    feed = KafkaFeed(store, settings)
    feed.start()
    try:
        yield feed
    finally:
        assert feed.stop()


class Reader:
    """Reads a topic as others do: what is committed, from its beginning."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        arguments = settings.for_kafka_python()
        self._consumer = KafkaConsumer(**arguments, auto_offset_reset="earliest", isolation_level="read_committed")
        numbers = self._consumer.partitions_for_topic(topic)
        self._consumer.assign([TopicPartition(topic, number) for number in numbers])
        self.records: list[Any] = []

    def until(self, holds: Callable[[], bool], seconds: float = WAIT_S) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"{len(self.records)} messages came"
            for found in self._consumer.poll(200).values():
                self.records += found

    def rest(self) -> None:
        """Read what is there, to its end."""
        end = time.monotonic() + 1.0
        self.until(lambda: time.monotonic() > end)

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.records]

    @property
    def ids(self) -> list[int]:
        return [int(document["id"].rpartition("/")[2]) for document in self.documents]

    def close(self) -> None:
        self._consumer.close()


@contextmanager
def reading(settings: KafkaSettings, topic: str) -> Iterator[Reader]:
    reader = Reader(settings, topic)
    try:
        yield reader
    finally:
        reader.close()


def refuse(store: Store, count: int, source: str = "tocsin.events/0") -> None:
    invalid = [Invalid(n, "not-json", "", 3, b"\xffx%d" % n) for n in range(count)]
    store.commit(Effects(invalid=invalid), Commit(at_ms=NOW_MS, sources=[source] * count))


def in_order(ids: Sequence[int]) -> bool:
    """Whether each was first seen after all before it, and what came again came again in order."""
    first = list(dict.fromkeys(ids))
    jumps = [b - a for a, b in itertools.pairwise(ids)]
    return first == sorted(first) and all(jump <= 1 for jump in jumps) and ids[-1] == max(ids)


def test_every_event_arrives_as_the_feed_has_it(broker: Cluster, store: Store) -> None:
    settings = made(broker)
    who = customer(store, "C-1")
    commit(store, a_case(), a_row(who))
    commit(store, a_notice(who, NoticeState.QUEUED))
    commit(store, a_notice(who, NoticeState.SENT), a_case(observed=7))
    expected = read(store, 0).entries
    assert {"case.opened", "customer.affected"} <= {entry.type for entry in expected}
    with publishing(store, settings) as feed, reading(settings, settings.topics.cases) as reader:
        reader.until(lambda: len(reader.records) >= len(expected))
        assert [record.value.decode() for record in reader.records] == [encoded(e.document) for e in expected]
        until(lambda: feed.status()["cases"] >= len(expected))  # it knows so a moment after its readers
        assert feed.status() | {"dead": 0} == {
            "alive": True, "error": "", "cases": len(expected), "dead": 0, "lost": 0,
        }  # fmt: skip
    keys = {entry.type.partition(".")[0]: record.key for entry, record in zip(expected, reader.records, strict=True)}
    assert keys["case"] == b"case-1" and keys["customer"] == b"case-1/customer/C-1"
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    assert all(list(record.headers) == headers for record in reader.records)
    assert published(store, CASES) == bounds(store)[1]


def test_dead_letters_arrive_too_and_no_number_is_used_twice(broker: Cluster, store: Store) -> None:
    settings = made(broker)
    refuse(store, 3)
    with publishing(store, settings) as feed, reading(settings, settings.topics.dead) as reader:
        reader.until(lambda: len(reader.records) >= 3)
        letters = dead_letters(store)
        assert reader.documents == [{"tenant": "default", **dead_document(letter)} for letter in letters]
        assert {record.key for record in reader.records} == {b"tocsin.events/0"}
        until(lambda: published(store, DEAD) == 3)
        store.commit(Effects(), Commit(retried=[3]))
        refuse(store, 1)
        feed.wake()
        reader.until(lambda: len(reader.records) >= 4)
        assert reader.documents[-1]["n"] == 4


def test_all_of_a_case_are_in_its_partition_in_order(broker: Cluster, store: Store) -> None:
    settings = made(broker, partitions=5)
    who = customer(store, "C-1")
    for n in range(20):
        commit(store, a_case(f"case-{n}"), a_row(who, f"case-{n}"))
    for n in range(20):
        commit(store, a_case(f"case-{n}", observed=50 + n))
    total = bounds(store)[1]
    with publishing(store, settings), reading(settings, settings.topics.cases) as reader:
        reader.until(lambda: len(reader.records) >= total)
    assert len({record.partition for record in reader.records}) == 5
    for record, document in zip(reader.records, reader.documents, strict=True):
        assert record.partition == partition_of(document["subject"], 5)
    for n in range(20):
        numbers = [id for id, d in zip(reader.ids, reader.documents, strict=True) if d["subject"] == f"case-{n}"]
        assert numbers == sorted(numbers)


def until(holds: Callable[[], bool], seconds: float = WAIT_S) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.02)


def test_a_broker_that_is_gone_is_waited_for(tmp_path: Path, store: Store) -> None:
    with started(tmp_path / "kafka") as one:
        settings = made(one)
        fill(store, 10)
        with publishing(store, settings) as feed:
            until(lambda: published(store, CASES) == 10)
            one.nodes[0].kill()
            fill(store, 500)
            feed.wake()
            until(lambda: feed.status()["error"] != "")
            assert feed.alive and published(store, CASES) == 10
            one.start()
            until(lambda: published(store, CASES) == 510)
            assert feed.status()["error"] == "" or not feed.status()["error"]
        with reading(settings, settings.topics.cases) as reader:
            reader.until(lambda: len(set(reader.ids)) >= 510)
            assert in_order(reader.ids)


def test_a_publisher_stops_in_time_without_a_broker(tmp_path: Path, store: Store) -> None:
    with started(tmp_path / "kafka") as one:
        settings = made(one)
        fill(store, 3)
        feed = KafkaFeed(store, settings)
        feed.start()
        until(lambda: published(store, CASES) == 3)
        one.nodes[0].freeze()
        fill(store, 3)
        feed.wake()
        began = time.monotonic()
        assert feed.stop() and time.monotonic() - began < 10


def _process(store: Store, settings: KafkaSettings) -> "subprocess.Popen[str]":
    topics = settings.topics
    given = [str(store.path), settings.bootstrap, settings.group, topics.cases, topics.dead]
    command = [sys.executable, "-m", "tests.system.publishing_feed", *given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_killed_again_and_again_it_loses_nothing_and_keeps_the_order(broker: Cluster, store: Store) -> None:
    settings, chance, written = made(broker), random.Random(11), 0
    refuse(store, 500)
    while published(store, CASES) < 3_000:
        process = _process(store, settings)
        try:
            assert process.stdout is not None and process.stdout.readline() == "publishing\n"
            until_s, before = time.monotonic() + chance.uniform(0.1, 1.2), published(store, CASES)
            while time.monotonic() < until_s or published(store, CASES) == before < 3_000:
                if written < 3_000:
                    fill(store, 100)
                    written += 100
                time.sleep(0.01)
                assert time.monotonic() < until_s + WAIT_S
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    with reading(settings, settings.topics.cases) as reader:
        reader.rest()
        assert set(reader.ids) == set(range(1, 3_001)) and in_order(reader.ids)
    with publishing(store, settings), reading(settings, settings.topics.dead) as reader:
        reader.until(lambda: len({document["n"] for document in reader.documents}) == 500)
        assert in_order([document["n"] for document in reader.documents])


def test_who_starts_takes_the_place_of_the_one_before(broker: Cluster, store: Store) -> None:
    settings = made(broker)
    fill(store, 5)
    with publishing(store, settings) as first:
        until(lambda: published(store, CASES) == 5)
        with publishing(store, settings) as second:
            until(lambda: second.status()["error"] == "" and second._producer is not None)
            until(lambda: not _goes_on(first, store))
            assert first.status()["error"] == "another process publishes the feed"
            last = bounds(store)[1]
            until(lambda: published(store, CASES) == last)
    with reading(settings, settings.topics.cases) as reader:
        reader.rest()
        assert set(reader.ids) == set(range(1, last + 1)) and in_order(reader.ids)


def _goes_on(feed: KafkaFeed, store: Store) -> bool:
    fill(store, 1)
    feed.wake()
    time.sleep(0.1)
    return feed.alive


def test_one_that_was_frozen_can_not_publish_any_more(broker: Cluster, store: Store) -> None:
    settings = made(broker)
    fill(store, 50)
    frozen = _process(store, settings)
    try:
        until(lambda: published(store, CASES) == 50)
        frozen.send_signal(signal.SIGSTOP)
        fill(store, 300)
        with publishing(store, settings):
            until(lambda: published(store, CASES) == 350)
            frozen.send_signal(signal.SIGCONT)
            deadline = time.monotonic() + WAIT_S
            while frozen.poll() is None:
                fill(store, 1)
                time.sleep(0.2)
                assert time.monotonic() < deadline
            assert frozen.stdout is not None
            assert frozen.returncode == 70 and frozen.stdout.read().endswith("another process publishes the feed\n")
            last = bounds(store)[1]
            until(lambda: published(store, CASES) == last)
    finally:
        frozen.kill()
        frozen.communicate()
    with reading(settings, settings.topics.cases) as reader:
        reader.rest()
        assert set(reader.ids) == set(range(1, last + 1)) and in_order(reader.ids)


def test_what_was_pruned_before_it_was_published_is_counted(broker: Cluster, store: Store) -> None:
    settings = made(broker)
    fill(store, 4)
    advance(store, CASES, 2)
    fill(store, 5, at_ms=NOW_MS + 60_000)
    prune_feed(store, NOW_MS + 30_000)
    oldest = bounds(store)[0]
    with publishing(store, settings) as feed:
        until(lambda: published(store, CASES) == 9)
        assert feed.status()["lost"] == oldest - 3 > 0


def test_a_place_that_is_behind_changes_nothing(tmp_path: Path, store: Store) -> None:
    for number, then in ((5, 5), (3, 5), (1_000, 1_000), (999, 1_000)):
        advance(store, DEAD, number)
        assert published(store, DEAD) == then and published(store, CASES) == 0
    with open_store(store.path) as again:
        assert published(again, DEAD) == 1_000
