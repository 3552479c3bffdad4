"""Writes events to Kafka as producers do, in each of the forms that are read, placed as `--partitions` places them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from kafka import KafkaProducer

from detector.decode.placement import partition_of
from streams.intake.cloudevents import STRUCTURED
from streams.kafka.client import KafkaSettings

_OF_THE_ENVELOPE = {"id", "time", "kind", "customer"}


class Form(StrEnum):
    LINE = "one event a message"
    LINES = "many events a message, one to a line"
    STRUCTURED = "a structured CloudEvent"
    BINARY = "a binary CloudEvent"


@dataclass(frozen=True)
class Message:
    partition: int
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def key_of(line: bytes) -> str:
    """Return what decides an event's place: the customer, without one the id; "" where it has neither, or is none."""
    try:
        event = msgspec.json.decode(line)
        return str(event.get("customer") or event.get("id") or "")
    except (msgspec.DecodeError, AttributeError):
        return ""


def messages(lines: Sequence[bytes], form: Form, partitions: int, *, at_once: int = 50) -> Iterator[Message]:
    """Yield the messages of events, in order within each partition."""
    held: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
    for line in lines:
        key = key_of(line)
        partition = partition_of(key, partitions) if key else 0
        if form is Form.LINES:
            held[partition].append(line)
            if len(held[partition]) == at_once:
                yield Message(partition, "", b"\n".join(held[partition]))
                held[partition].clear()
        elif form is Form.LINE or not _is_whole(line):
            yield Message(partition, key, line)
        else:
            yield _cloud_event(line, form, partition, key)
    for partition, rest in held.items():
        if rest:
            yield Message(partition, "", b"\n".join((*rest, b"")))


def _is_whole(line: bytes) -> bool:
    """Whether an event has what the envelope needs."""
    try:
        return set(msgspec.json.decode(line)) >= {"id", "time", "kind"}
    except (msgspec.DecodeError, TypeError):
        return False


def _cloud_event(line: bytes, form: Form, partition: int, key: str) -> Message:
    event: dict[str, Any] = msgspec.json.decode(line)
    data = {name: value for name, value in event.items() if name not in _OF_THE_ENVELOPE}
    data["id"] = event["id"]  # ours, in place of the envelope's: no two producers have the same
    attributes = {"specversion": "1.0", "id": event["id"], "source": "/shop", "type": event["kind"]}
    attributes |= {"time": event["time"]} | ({"subject": event["customer"]} if "customer" in event else {})
    if form is Form.STRUCTURED:
        value = msgspec.json.encode({**attributes, "datacontenttype": "application/json", "data": data})
        return Message(partition, key, value, (("content-type", f"{STRUCTURED}; charset=UTF-8".encode()),))
    headers = [(f"ce_{name}", str(value).encode()) for name, value in attributes.items()]
    return Message(partition, key, msgspec.json.encode(data), (*headers, ("content-type", b"application/json")))


def produce(
    settings: KafkaSettings, lines: Sequence[bytes], form: Form = Form.LINE, *, timestamp_ms: int | None = None
) -> None:
    """Write events to the input topic; returns once the brokers have them all."""
    topic = settings.topics.events
    producer = KafkaProducer(**settings.for_kafka_python(), acks="all")
    try:
        partitions = len(producer.partitions_for(topic))
        for one in messages(lines, form, partitions):
            producer.send(
                topic,
                one.value,
                key=one.key.encode() or None,
                partition=one.partition,
                headers=list(one.headers),
                timestamp_ms=timestamp_ms,
            )
        producer.flush(60)
    finally:
        producer.close()
