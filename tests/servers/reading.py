"""Reads what is on the input's topic, as a consumer does; `Record` is a message as one gives it."""

from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from streams.intake.kafka import Headers
from streams.kafka.client import KafkaSettings


@dataclass(frozen=True)
class Record:
    """A message that was fetched; milliseconds."""

    value: bytes | None
    headers: Headers = ()
    timestamp: int = 1_774_616_820_000
    offset: int = 0


def records_of(kafka: KafkaSettings) -> dict[int, list[Any]]:
    """Return what the input's partitions hold, each in order."""
    consumer = KafkaConsumer(**kafka.for_kafka_python(), enable_auto_commit=False)
    try:
        topic = kafka.topics.events
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        out: dict[int, list[Any]] = {partition.partition: [] for partition in partitions}
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for partition, found in consumer.poll(timeout_ms=500).items():
                out[partition.partition] += found
        return out
    finally:
        consumer.close()
