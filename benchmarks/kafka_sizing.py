"""How big a machine on Kafka and PostgreSQL: a simulated day through workers, and what the server then holds.

    python -m benchmarks.kafka_sizing [--days 1] [--workers 1] [--partitions 6] [--json]

Starts a broker and a server (fsync on), writes the day into the input's topic, one event a message, keyed by customer,
and lets workers drain it in all three roles. Told are events a second by the clock and by the workers' processor time,
what the tables and the server's log have grown by, and how many connections were open at most.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import yaml

from deploy.kafka.broker import Cluster
from streams.kafka.client import KafkaSettings
from tests.servers import postgres
from tests.system.kafka_workers import make_topics, produce

COMMAND = (sys.executable, "-m", "streams.cli.main")
TABLES = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC LIMIT 6
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as text, postgres.running(fsync=True) as server:
        folder = Path(text)
        with Cluster(folder / "kafka") as broker:
            found = measured(folder, broker, server, given)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:<28} {value}")


def measured(folder: Path, broker: Cluster, server: postgres.Server, given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run."""
    shop = folder / "shop"
    simulate = ["simulate", "--seed", str(given.seed), "--days", str(given.days), "--out", str(shop)]
    subprocess.run([*COMMAND, *simulate], check=True, stdout=subprocess.DEVNULL)
    lines = (shop / "events.ndjson").read_bytes().splitlines()
    kafka = replace(KafkaSettings(tuple(broker.bootstrap.split(","))), partitions=given.partitions)
    make_topics(kafka)
    produce(kafka, lines)
    settings = yaml.safe_load((shop / "tocsin.yml").read_text("utf-8")) or {}
    settings["kafka"] = {"brokers": list(kafka.brokers), "partitions": given.partitions}
    (shop / "tocsin.yml").write_text(yaml.safe_dump(settings), "utf-8")
    url = server.url(name := server.database())
    with psycopg.connect(server.url("postgres"), autocommit=True) as watching:

        def one(query: str) -> int:
            row = watching.execute(query.encode()).fetchone()
            assert row is not None
            return int(row[0])

        log = one("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
        before_s, began_s, most = _children_s(), time.monotonic(), 0
        drain = [*COMMAND, "worker", "--drain", "--config", str(shop), "--db", url]
        workers = [subprocess.Popen(drain, stderr=subprocess.DEVNULL) for _ in range(given.workers)]
        memory = 0
        while any(worker.poll() is None for worker in workers):
            most = max(most, one(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"))
            memory = max(memory, *[_resident_kb(worker.pid) for worker in workers])
            time.sleep(0.5)
        took_s, processor_s = time.monotonic() - began_s, _children_s() - before_s
        codes = {worker.returncode for worker in workers}
        if codes != {0}:
            sys.exit(f"the workers ended with {codes}")
        log = one("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')") - log
        size = one(f"SELECT pg_database_size('{name}')")
    tables = server.execute(TABLES, name)
    return {
        "events": len(lines),
        "workers": given.workers,
        "seconds": round(took_s, 1),
        "events a second": round(len(lines) / took_s),
        "events a processor second": round(len(lines) / processor_s),
        "most memory of a worker, MB": round(memory / 1024),
        "database, MB": round(size / 1e6, 1),
        "server's log, MB": round(log / 1e6, 1),
        "largest tables, MB": {name: round(bytes_ / 1e6, 1) for name, bytes_ in tables},
        "connections at most": most,
    }


def _resident_kb(pid: int) -> int:
    """Return the most memory that a process had; 0 once it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
