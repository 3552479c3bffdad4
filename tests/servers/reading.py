"""Reads what is on the input's topic, as a consumer does."""

from typing import Any

from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from streams.kafka.client import KafkaSettings


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
