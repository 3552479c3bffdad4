"""What a worker says where brokers or topics are not what the store needs: one line, the right exit code, no flood."""

import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import TopicPartition

from deploy.kafka.broker import Cluster, free_ports
from streams.kafka.client import KafkaSettings
from streams.store import open_store, queries
from tests.servers.kafka import own_settings
from tests.streams.shop import lines
from tests.system import kafka_checks
from tests.system.kafka_traffic import LONG
from tests.system.kafka_workers import Workers, configured, make_topics, produce, workers
from tests.system.test_kafka_live import until

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

LIMIT_S = 40
AWAY_S = 60 if LONG else 6


def said_at_the_end(found: Workers, *arguments: str) -> tuple[int, str]:
    """Return the exit code of a worker that can't begin, and the one line that says why."""
    code = found.end(found.start(*arguments), LIMIT_S)
    (log,) = [path for path in found.logs.glob("*.log") if path.name == f"worker-{len(found.ended) - 1}.log"]
    said = log.read_text("utf-8").strip().splitlines()
    assert len(said) == 1, said
    return code, said[0]


def remove(kafka: KafkaSettings) -> None:
    admin = KafkaAdminClient(**kafka.for_kafka_python())
    admin.delete_topics([kafka.topics.events])
    end_s = time.monotonic() + 20
    while kafka.topics.events in admin.list_topics():
        assert time.monotonic() < end_s
        time.sleep(0.1)
    admin.close()


def make(kafka: KafkaSettings, partitions: int) -> None:
    admin = KafkaAdminClient(**kafka.for_kafka_python())
    admin.create_topics([NewTopic(kafka.topics.events, partitions, 1)])
    admin.close()


def drained(found: Workers) -> None:
    assert found.end(found.start("--drain"), 90) == 0, found.said()


def forget(kafka: KafkaSettings, before: int) -> None:
    """Do to the first partition what retention does."""
    admin = KafkaAdminClient(**kafka.for_kafka_python())
    admin.delete_records({TopicPartition(kafka.topics.events, 0): before})
    admin.close()


def test_brokers_and_topics_that_are_not_there(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=2)
    shop = configured(tmp_path / "shop", kafka)
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        (port,) = free_ports(1)
        code, said = said_at_the_end(found, "--brokers", f"127.0.0.1:{port}")
        assert code == 3
        assert "no broker can be reached" in said
        code, said = said_at_the_end(found, "--brokers", "kafka.invalid:9092")
        assert code == 3
        assert "no such name" in said
        code, said = said_at_the_end(found, "--brokers", "kafka:ninety")
        assert code == 2
        assert "kafka-1:9092" in said
        code, said = said_at_the_end(found)
        assert code == 2
        assert "`tocsin topics create` makes them" in said
        make_topics(kafka)
        drained(found)
        remove(kafka)
        make(kafka, 3)
        code, said = said_at_the_end(found)
        assert code == 2
        assert "/2 (topic/partitions), the brokers have" in said


def test_a_topic_made_again_is_noticed_at_the_start_and_at_work(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=1)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    events = shop.events.read_bytes().splitlines()
    produce(kafka, events)
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        one = found.start()
        until(lambda: _read(tmp_path / "many.db") == len(events), "counted events")
        before = _counted(tmp_path / "many.db")
        remove(kafka)
        make(kafka, 1)
        produce(kafka, events[:100])
        assert found.end(one, 90) == 2, found.said()
        assert "it was deleted and made again" in found.said()
        assert "Traceback" not in found.said()
        assert found.end(found.start(), LIMIT_S) == 2, found.said()
        # Also where the new topic has grown beyond the place at which the store stands.
        produce(kafka, events * 2)
        code, said = said_at_the_end(found)
        assert code == 2
        assert "was deleted and made again" in said
    assert _counted(tmp_path / "many.db") == before


def test_what_retention_removed_unread_is_gone_on_without_only_by_consent(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=1)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    events = shop.events.read_bytes().splitlines()
    third = len(events) // 3
    produce(kafka, events[:third])
    db = tmp_path / "many.db"
    with workers(shop, db, tmp_path / "logs") as found:
        drained(found)
        produce(kafka, events[third:])
        forget(kafka, third + 1_000)
        one = found.start()
        assert found.end(one, LIMIT_S) == 2, found.said()
        assert "retention has removed 1,000 records that were not read; start once with --accept-loss" in found.said()
        one = found.start("--accept-loss")
        until(lambda: _read(db) == len(events), "counted events")
        assert "going on without them" in found.said()
        one.terminate()
        assert found.end(one, 25) == 0

        # While a worker stands still for a moment.
        before = _epoch(db)
        one = found.start()
        until(lambda: _epoch(db) > before, "a worker")
        one.send_signal(signal.SIGSTOP)
        produce(kafka, events[:2_000])
        forget(kafka, len(events) + 1_500)
        one.send_signal(signal.SIGCONT)
        assert found.end(one, LIMIT_S) == 2, found.said()
        assert "retention has removed 1,500 records" in found.said()
        assert "Traceback" not in found.said()
    assert _read(db) == len(events)


def test_a_broker_that_is_away_does_not_flood_the_log(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=2)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        one = found.start()
        produce(kafka, lines()[:1_000])
        until(lambda: _read(tmp_path / "many.db") >= 1_000, "counted events")
        broker.nodes[0].kill()
        try:
            until(lambda: "do not answer" in found.said(), "word of it")
            time.sleep(AWAY_S)
            said = found.said().splitlines()
            assert len(said) <= 40, found.said()
            assert "Traceback" not in found.said()
            if LONG:
                one.terminate()
                assert found.end(one, 25) == 0, found.said()
        finally:
            broker.start()


def test_messages_that_are_no_events_are_dead_letters_once_and_hold_nothing_up(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=1, message_bytes=4 << 20)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    good = [line for line in lines() if line.startswith(b'{"id"')][:400]
    poison = [b"{no json", b"\xff\xfe\x00", None, b"x" * (2 << 20), b'{"id":' + b"9" * 200, b"", b"[1,2]", b"null"]
    producer = KafkaProducer(**kafka.for_kafka_python(), max_request_size=4 << 20, acks="all")
    for i, line in enumerate(good):
        producer.send(kafka.topics.events, line, key=b"one")
        if i % 10 == 0:
            producer.send(kafka.topics.events, poison[i // 10 % len(poison)], key=b"one")
    producer.flush()
    producer.close()
    db = tmp_path / "many.db"
    with workers(shop, db, tmp_path / "logs") as found:
        one = found.start()
        until(lambda: _counted(db) >= len(good), "counted events")
        begun_s = time.monotonic()
        produce(kafka, good[:1])
        until(lambda: _counted(db) >= len(good) + 1, "the event after them", 10)
        print(f"one more event after {time.monotonic() - begun_s:.1f} s")
        found.kill(one)
        drained(found)
    with open_store(db) as store:
        dead = store.tally()["dead"]
        letters = queries.dead_letters(store)
        assert len({letter.position for letter in letters}) == len(letters) == 40
    print(dead)
    assert sum(dead.values()) == 40
    assert Counter(letter.reason for letter in letters) == dead


def _counted(db: Path) -> int:
    if not db.exists():
        return 0
    with open_store(db) as store:
        tally = store.tally()
    return sum(tally.get("applied", {}).values()) + sum(tally.get("dropped", {}).values())


def _read(db: Path) -> int:
    """Return up to which offsets all is committed."""
    try:
        return sum(kafka_checks.counted(str(db)).values())
    except sqlite3.Error:
        return 0  # it is being made


def _epoch(db: Path) -> int:
    found = kafka_checks.rows(str(db), "SELECT max(epoch) FROM engine WHERE name LIKE 'count/%'")
    return int(found[0][0])
