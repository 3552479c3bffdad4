"""A producer that sends a twentieth of a file's lines, and the rest after a line on its standard input.

python -m tests.system.one_producer BROKERS TOPIC FILE A_SECOND
"""

import sys
from pathlib import Path

from streams.kafka.client import KafkaSettings
from streams.sections import TopicsSection
from tests.system.kafka_workers import produce


def main(brokers: str, topic: str, file: str, a_second: str) -> None:
    kafka = KafkaSettings(tuple(brokers.split(",")), topics=TopicsSection(events=topic))
    lines = Path(file).read_bytes().splitlines()
    first = len(lines) // 20
    produce(kafka, lines[:first])
    sys.stdin.readline()
    produce(kafka, lines[first:], a_second=int(a_second))


if __name__ == "__main__":
    main(*sys.argv[1:])
