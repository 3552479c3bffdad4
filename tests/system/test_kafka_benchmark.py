"""The benchmark on Kafka runs, and finds all contenders that are there in agreement."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.kafka.broker import NoKafka, jars
from tests.servers.missing import missing

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

ROOT = Path(__file__).parents[2]


def test_whoever_counts_the_same_topic_finds_the_same_and_who_is_missing_is_left_out() -> None:
    try:
        jars()
    except NoKafka as error:
        missing("kafka", str(error))
    words = ["--kafka", "--events", "16000", "--rounds", "1", "--cases", "0", "--json"]
    command = [sys.executable, "benchmarks/throughput.py", *words, "--peers", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    rows = {row["name"]: row for row in result["contenders"]}
    ours = {"worker", "worker, 50 a message", "1 worker, all cores", "2 workers"}
    assert ours | {"plain Faust agent, naive", "aiokafka getmany, same engine"} <= set(rows)
    assert all(row["events_per_s"] > 0 for row in rows.values())
    assert rows["2 workers"]["to_one"]["ratio"] > 0
    assert rows["plain Faust agent, naive"]["worker"]["ratio"] > 0
    assert all(why.endswith("is not installed") for why in result["left_out"].values())
    assert len(rows) + len(result["left_out"]) == 11
