"""From the failing payments to the open case, on a live worker: real time, windows of ten seconds.

One worker does all there is to do, on SQLite. Each of several signals learns from the 65 minutes of payments that are
there at its start; then payments come as they happen, and in one signal after the other a bank breaks. Looked at is
when its case can first be read from the store, against the end of the window that decided it: a payment of that window
waits at most a window's length longer.
"""

import asyncio
import logging
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from benchmarks.over_http import now_ms, stamp
from streams.store import open_store, queries

WINDOW_MS, LATENESS_MS = 10_000, 1_000
LEARN_MS = 3_900_000
A_SECOND = 4
"""Payments a second of each signal."""
APART_S = 3.0
LIMIT_S = 120.0
PARTITIONS = 8
GOAL_S = 2.0
"""Beyond a window."""


@dataclass(frozen=True)
class Live:
    """The topics and the configuration of one live worker."""

    folder: Path
    brokers: str
    signals: int

    @property
    def db(self) -> Path:
        return self.folder / "live.db"

    def write(self) -> None:
        self.folder.mkdir()
        signals = {
            f"declines-{n}": {
                "title": {"en": f"Payments {n} are declined"},
                "events": {"kind": f"payment-{n}"},
                "bad": {"outcome": "failure"},
                "measure": "share",
                "dimensions": ["bank", "city"],
                "window": "10s",
                "mode": "live",
            }
            for n in range(self.signals)
        }
        (self.folder / "signals.yml").write_text(yaml.safe_dump({"signals": signals}), encoding="utf-8")
        topics = {name: f"live.{name}" for name in ("events", "windows", "anomalies", "cases", "dead")}
        kafka = {"brokers": self.brokers.split(","), "group": "live", "topics": topics, "partitions": PARTITIONS}
        settings = {"input": {"window": "10s", "lateness": "1s"}, "kafka": kafka}
        (self.folder / "tocsin.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        start = "import sys; from streams.cli.main import main; sys.exit(main())"
        return [sys.executable, "-c", start, *words, "--config", str(self.folder)]


class Payments:
    """Draws payments; bank 0 of a broken signal fails."""

    def __init__(self) -> None:
        self._chance = random.Random(11)
        self._count = 0

    def one(self, signal: int, at_ms: int, *, broken: bool) -> tuple[bytes, bytes]:
        """Return a payment's customer and itself."""
        self._count += 1
        bank = self._chance.randrange(4)
        fails = self._chance.random() < (0.7 if broken and bank == 0 else 0.03)
        customer = f"C-{signal}-{self._chance.randrange(5_000)}"
        text = (
            f'{{"id":"{self._count:012x}","time":"{stamp(at_ms)}","kind":"payment-{signal}","customer":"{customer}",'
            f'"bank":"bank-{signal}-{bank}","city":"city-{signal}-{self._chance.randrange(3)}",'
            f'"outcome":"{"failure" if fails else "success"}"}}'
        )
        return customer.encode(), text.encode()


async def produced(live: Live, console: Console) -> list[float]:
    """Let a worker learn, then break one bank after the other; returns each case's wait, s."""
    from aiokafka import AIOKafkaProducer

    payments = Payments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tries again where a leader is not chosen yet
    producer = AIOKafkaProducer(bootstrap_servers=live.brokers, linger_ms=5)
    await producer.start()
    begun_ms = now_ms()
    try:
        for ms in range(begun_ms - LEARN_MS, begun_ms, 1_000 // A_SECOND):
            for signal in range(live.signals):
                key, value = payments.one(signal, ms, broken=False)
                await producer.send("live.events", value, key=key)
        await producer.flush()
        waits: dict[str, float] = {}
        sent_ms, until_s = begun_ms, time.monotonic() + LIMIT_S
        learnt_s: float | None = None
        with closing(sqlite3.connect(live.db, isolation_level=None, timeout=40)) as database, open_store(live.db) as s:
            while len(waits) < live.signals and time.monotonic() < until_s:
                due_ms = now_ms()
                while sent_ms + 1_000 // A_SECOND <= due_ms:
                    sent_ms += 1_000 // A_SECOND
                    for signal in range(live.signals):
                        broken = learnt_s is not None and time.monotonic() - learnt_s > signal * APART_S
                        key, value = payments.one(signal, sent_ms, broken=broken)
                        await producer.send("live.events", value, key=key)
                if learnt_s is None and _taken_ms(database) > begun_ms:
                    learnt_s = time.monotonic()
                    until_s = learnt_s + LIMIT_S
                    console.print("the worker has learnt; banks break")
                if database.execute("SELECT count(*) FROM cases").fetchone()[0] > len(waits):
                    seen_ms = now_ms()
                    for case in queries.list_cases(s, finished=True, merged=True):
                        waits.setdefault(case.id, (seen_ms - case.detected_ms) / 1_000)
                await asyncio.sleep(0.01)
        return sorted(waits.values())
    finally:
        await producer.stop()


def _taken_ms(database: sqlite3.Connection) -> int:
    """Return up to where the Desk has taken the windows."""
    found = database.execute("SELECT next FROM engine WHERE name = 'desk'").fetchone()
    return 0 if found is None else int(found[0])


def delays(folder: Path, brokers: str, signals: int, console: Console) -> dict[str, Any]:
    """Return how long after its window's end a case is open."""
    live = Live(folder, brokers, signals)
    live.write()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run(live.command("topics", "create"), check=True, stdout=subprocess.DEVNULL, env=environment)
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(live.command("worker", "--db", str(live.db)), stderr=log, env=environment)
    try:
        until_s = time.monotonic() + LIMIT_S
        while not live.db.exists() or not _begun(live.db):
            if worker.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError((folder / "worker.log").read_text()[-2_000:])
            time.sleep(0.1)
        waits = asyncio.run(produced(live, console))
    finally:
        worker.terminate()
        worker.wait(60)
    if not waits:
        raise RuntimeError(f"no case within {LIMIT_S:.0f} s: {(folder / 'worker.log').read_text()[-2_000:]}")
    return {
        "cases": len(waits),
        "broken": signals,
        "p50_s": round(waits[len(waits) // 2], 2),
        "p99_s": round(waits[min(len(waits) - 1, int(0.99 * len(waits)))], 2),
        "of_it_lateness_s": LATENESS_MS / 1_000,
        "goal_p99_s": GOAL_S,
    }


def _begun(db: Path) -> bool:
    """Whether the worker has made its tables, and holds its partitions."""
    with closing(sqlite3.connect(db, isolation_level=None, timeout=40)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM engine").fetchone()[0]) >= PARTITIONS
        except sqlite3.OperationalError:
            return False
