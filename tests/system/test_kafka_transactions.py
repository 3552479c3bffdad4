"""Events written in transactions: what was aborted never happened, and a marker at the end holds nothing up."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from deploy.kafka.broker import Cluster
from streams.kafka.client import KafkaSettings
from tests.servers.kafka import own_settings
from tests.system.kafka_workers import configured, dumped, make_topics, one_process, workers

pytestmark = [pytest.mark.slow, pytest.mark.kafka]


BOTH, ABORTED = (False, True), (False,)


async def in_transactions(kafka: KafkaSettings, events: list[bytes], name: str, ends: tuple[bool, ...]) -> None:
    """Write some hundred events a transaction, once for each of its ends: False is aborted, True committed."""
    producer = AIOKafkaProducer(**kafka.for_aiokafka(), transactional_id=name)
    await producer.start()
    try:
        for first in range(0, len(events), 300):
            some = events[first : first + 300]
            for commits in ends:
                await producer.begin_transaction()
                for line in some:
                    # Another event each time, or telling duplicates apart would do what is to be shown.
                    value = line if commits else line.replace(b'"id":"', b'"id":"aborted-')
                    await producer.send(kafka.topics.events, value, key=_customer(line))
                await (producer.commit_transaction() if commits else producer.abort_transaction())
    finally:
        await producer.stop()


def _customer(line: bytes) -> bytes:
    event = msgspec.json.decode(line)
    return str(event.get("customer") or event["id"]).encode()


def test_what_was_aborted_never_happened_and_markers_hold_nothing_up(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=2)
    shop = configured(tmp_path / "shop", kafka)
    shop.events.write_bytes(
        b"".join(line + b"\n" for line in shop.events.read_bytes().splitlines() if line.startswith(b'{"id"'))
    )
    events = shop.events.read_bytes().splitlines()
    half = len(events) // 2
    make_topics(kafka)
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        for part in (events[:half], events[half:]):
            asyncio.run(in_transactions(kafka, part, f"{kafka.group}-shop", BOTH))
        assert found.end(found.start("--drain"), 90) == 0, found.said()
        expected = one_process(shop, tmp_path / "one.db", 2)
        assert dumped(tmp_path / "many.db") == expected
        # Nothing came but what was aborted, and markers.
        asyncio.run(in_transactions(kafka, events[:600], f"{kafka.group}-shop", ABORTED))
        assert found.end(found.start("--drain"), 90) == 0, found.said()
        assert dumped(tmp_path / "many.db") == expected
