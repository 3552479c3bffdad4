"""What must hold of a store whatever happened to its workers, seen from outside.

From what was produced, the brokers' own offsets, the store's tables read with the database's own driver, and
`tocsin dump`: none of our code that wrote it is asked.
"""

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from streams.kafka.client import KafkaSettings
from tests.streams.shop import BROKEN, START_MS, rfc3339

MINUTE_MS = 60_000
_NEVER_OPEN = ("resolved", "dismissed", "merged")


def holds(db: str, kafka: KafkaSettings, produced: Sequence[bytes]) -> None:
    """Assert what must hold once the recording of `tests.streams.shop` was produced and worked off."""
    _every_record_ended_in_exactly_one_way(db, kafka, len(produced))
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "dump", "--db", db], capture_output=True, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    cases = [one for one in found if one["type"] == "case"]
    _one_case_lists_who_failed(cases, [one for one in found if one["type"] == "ledger"], produced)
    _one_intent_per_person(db, cases, [one for one in found if one["type"] == "notice"])


def rows(db: str, statement: str) -> list[tuple[Any, ...]]:
    """Return what the database says, whichever it is."""
    if db.startswith("postgresql:"):
        with psycopg.connect(db) as server:
            return list(server.execute(statement.encode()).fetchall())
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as file:
        return file.execute(statement).fetchall()


def counted(db: str) -> dict[str, int]:
    """Return how far each input partition is committed as counted."""
    return dict(rows(db, "SELECT name, next FROM engine WHERE name LIKE 'count/%' AND next >= 0"))


def ends(kafka: KafkaSettings) -> dict[str, int]:
    """Return where the brokers say that the input's partitions end, as an engine's name says the partition."""
    consumer = KafkaConsumer(**kafka.for_kafka_python())
    try:
        wanted = [TopicPartition(kafka.topics.events, partition) for partition in range(kafka.partitions)]
        return {f"count/{tp.topic}/{tp.partition}": end for tp, end in consumer.end_offsets(wanted).items()}
    finally:
        consumer.close()


def _every_record_ended_in_exactly_one_way(db: str, kafka: KafkaSettings, produced: int) -> None:
    """Nothing counted twice, nothing lost (one message is one event here)."""
    there = ends(kafka)
    assert sum(there.values()) == produced
    assert counted(db) == there
    ended = Counter[str]()
    for what, n in rows(db, "SELECT what, n FROM tally"):
        ended[what] += n
    assert ended["events"] == produced
    assert ended["applied"] + ended["dropped"] + ended["dead"] == produced, ended
    letters = rows(db, "SELECT source, position FROM dead_letter")
    assert len(letters) == len(set(letters)) == ended["dead"]


def _one_case_lists_who_failed(cases: Sequence[Any], ledger: Sequence[Any], produced: Sequence[bytes]) -> None:
    (case,) = [one for one in cases if one["state"] not in _NEVER_OPEN]
    assert [cause["where"] for cause in case["causes"]] == [{"bank": "BNI"}]
    begun, over = (rfc3339(START_MS + minute * MINUTE_MS) for minute in (BROKEN.start, BROKEN.stop))
    assert case["onset"][:16] == begun[:16] and case["ended_at"][:16] == over[:16]
    failed = set[str]()
    for line in produced:
        with contextlib.suppress(msgspec.DecodeError):
            event = msgspec.json.decode(line)
            if event.get("outcome") == "declined" and event["bank"] == "BNI" and begun <= event["time"] < over:
                failed.add(event["customer"])
    listed = [row["customer"] for row in ledger if row["case"] == case["id"] and not row["withdrawn"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == failed
    assert case["affected"]["confirmed"] + case["affected"]["likely"] == len(failed)


def _one_intent_per_person(db: str, cases: Sequence[Any], notices: Sequence[Any]) -> None:
    intents = Counter((one["case"], one["customer"], one["kind"], one["episode"]) for one in notices)
    assert intents and set(intents.values()) == {1}
    assert all(one["reason"] for one in notices if one["decision"] != "send")
    assert sum(case["notices"]["sent"] for case in cases) == sum(one["state"] == "simulated" for one in notices)
    # Who is told that it works again was told that it did not.
    told = {(one["case"], one["customer"]) for one in notices if one["kind"] == "problem" and one["decision"] == "send"}
    assert {(one["case"], one["customer"]) for one in notices if one["kind"] == "resolved"} <= told
    # Each of them went out once, or not at all.
    delivered = rows(db, "SELECT notice, count(*) FROM delivery GROUP BY notice")
    assert all(n == 1 for _, n in delivered)
    assert len(delivered) == sum(one["state"] == "simulated" for one in notices)
