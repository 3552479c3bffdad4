"""All forms of messages, through a real broker: each gives the events that a file of the same lines gives."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from deploy.kafka.broker import Cluster
from detector.decode import JSON, CustomerKeys, Decoder
from detector.events import Batch, EventSchema
from streams.intake.kafka import Messages
from streams.kafka.admin import administration
from streams.kafka.client import KafkaSettings
from tests.servers.kafka import own_settings
from tests.servers.producing import Form, produce
from tests.streams.shop import lines

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 3
AT_MS = 1_774_616_820_000


def decoder() -> Decoder:
    return Decoder(EventSchema(("kind", "bank", "outcome"), ()), JSON, CustomerKeys(b"k"), partitions=PARTITIONS)


def rows(batch: Batch) -> list[tuple[object, ...]]:
    return list(zip(batch.event_id, batch.time_ms.tolist(), batch.raw_customer, batch.fields, strict=True))


async def fetched(settings: KafkaSettings) -> dict[int, list[Any]]:
    """Return what the partitions hold, as a worker fetches it."""
    places = [TopicPartition(settings.topics.events, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(**settings.for_aiokafka(), auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: dict[int, list[Any]] = defaultdict(list)
        async with asyncio.timeout(30):
            while any(len(found[place.partition]) < ends[place] for place in places):
                for place, records in (await consumer.getmany(timeout_ms=500)).items():
                    found[place.partition] += records
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("form", list(Form))
def test_every_form_gives_what_a_file_gives(broker: Cluster, form: Form) -> None:
    settings = replace(own_settings(broker), partitions=PARTITIONS)
    topic = {"num_partitions": PARTITIONS, "replication_factor": 1}
    with administration(settings) as client:
        client.create_topics({settings.topics.events: topic}, wait_for_metadata=True)
    events = lines(per_minute=20)
    produce(settings, events, form, timestamp_ms=AT_MS)
    in_file = decoder().decode(b"\n".join(events) + b"\n", 0)
    expected = {
        number: [row for row, place in zip(rows(in_file), in_file.partition.tolist(), strict=True) if place == number]
        for number in range(PARTITIONS)
    }
    messages = Messages(decoder())
    refused = 0
    for number, records in asyncio.run(fetched(settings)).items():
        batch = messages.batch(records)
        assert rows(batch) == expected[number]
        assert set(batch.partition.tolist()) == {number} and set(batch.ingest_ms.tolist()) == {AT_MS}
        offsets = {record.offset for record in records}
        assert set(batch.position.tolist()) | {one.position for one in batch.invalid} == offsets
        refused += len(batch.invalid)
    assert refused == len(in_file.invalid)


def test_a_message_as_large_as_a_topic_takes_is_read(broker: Cluster, tmp_path: Path) -> None:
    settings = replace(own_settings(broker), partitions=PARTITIONS)
    configs = {"max.message.bytes": "5000000"}
    topic = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": configs}
    with administration(settings) as client:
        client.create_topics({settings.topics.events: topic}, wait_for_metadata=True)
    events = lines(per_minute=20)
    from kafka import KafkaProducer

    producer = KafkaProducer(**settings.for_kafka_python(), max_request_size=5_000_000)
    many = (events * (4_000_000 // sum(map(len, events)) + 1))[: 3_000_000 // max(map(len, events))]
    producer.send(settings.topics.events, b"\n".join(many), partition=0)
    producer.send(settings.topics.events, events[0], partition=0)
    producer.flush(30)
    producer.close()
    found = asyncio.run(fetched(settings))
    batch = Messages(decoder()).batch(found[0])
    assert batch.records == len(many) + 1
