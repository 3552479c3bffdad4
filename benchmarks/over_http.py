"""Events a second over HTTP and how long an answer takes, as ratios to a bare route in the same run.

    python benchmarks/over_http.py [--rounds 5] [--seconds 3] [--kafka] [--json]

The bare route: FastAPI on uvicorn, whose one handler writes the body's bytes to SQLite as they are (write-ahead log,
`synchronous=full`: the same durability) and answers 202; nothing is checked, split, limited or signed in. `door` is
`tocsin web` alone, `service` is `tocsin run`, whose engines work off what comes in beside it. In each round every
contestant is loaded in turn by the same client over the same number of connections, so that all see the same machine; a
ratio is the median over rounds. The service's engines get the time they need before the next one is loaded: `worked
off` is the rate with that time. With `--kafka` there is one more, `kafka`: `tocsin web` alone, on a store whose events
go to a broker on the same cores. Last, how long after a 202 a case is open that the request has decided.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import local
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from streams.store import open_store, tokens
from streams.store.tokens import Scope

SIZES = (1, 100, 1_000)
CONNECTIONS = 16
SIGNALS = """
signals:
  declines:
    title: {en: Payments are declined}
    events: {kind: payment}
    bad: {outcome: failure}
    measure: share
    dimensions: [app_version, bank, city, provider]
    window: 1m
    mode: live
"""
BANKS = 8
BROKEN_MINUTES, REST_MINUTES, LEARN_MINUTES = 8, 12, 60


# --- the bare route ---------------------------------------------------------------------------------------------------


def bare(folder: str) -> None:
    """Serve the route that everything is compared with; prints its port."""
    import socket

    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.concurrency import run_in_threadpool

    path, own = str(Path(folder) / "bare.db"), local()

    def connection() -> sqlite3.Connection:
        if not hasattr(own, "db"):
            own.db = sqlite3.connect(path, isolation_level=None, timeout=40)
            own.db.execute("PRAGMA journal_mode=wal")
            own.db.execute("PRAGMA synchronous=full")
        found: sqlite3.Connection = own.db
        return found

    def write(body: bytes) -> None:
        connection().execute("INSERT INTO bodies (data) VALUES (?)", (body,))

    connection().execute("CREATE TABLE bodies (id INTEGER PRIMARY KEY, data BLOB)")
    app = FastAPI()

    @app.post("/v1/events", status_code=202)
    async def take(request: Request) -> Response:
        body = await request.body()
        await run_in_threadpool(write, body)
        return Response(status_code=202)

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    print(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}"}), flush=True)
    config = uvicorn.Config(app, log_level="critical", access_log=False, http="h11")
    asyncio.run(uvicorn.Server(config).serve([listening]))


# --- the contestants --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    name: str
    url: str
    token: str = ""
    db: Path | None = None


@contextmanager
def process(*words: str) -> Iterator[dict[str, Any]]:
    """Run a process that prints one line of JSON once it is up."""
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    started = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, env=environment)
    assert started.stdout is not None
    try:
        line = started.stdout.readline()
        if not line:
            sys.exit(f"{words} did not start")
        yield json.loads(line)
    finally:
        started.terminate()
        started.wait(30)
        started.stdout.close()


def tocsin(*words: str) -> list[str]:
    return ["-c", "import sys; from streams.cli.main import main; sys.exit(main())", *words]


def configured(folder: Path) -> tuple[str, ...]:
    folder.mkdir()
    (folder / "signals.yml").write_text(SIGNALS, encoding="utf-8")
    (folder / "tocsin.yml").write_text("service: {backlog_bytes: 17179869184}\n", encoding="utf-8")
    return "--config", str(folder), "--db", str(folder / "tocsin.db")


@contextmanager
def service(folder: Path) -> Iterator[Server]:
    """Run the whole service."""
    with process(*tocsin("run", *configured(folder), "--port", "0", "--json")) as first:
        token = Path(first["token_file"]).read_text(encoding="utf-8").strip()
        yield Server("service", first["url"], token, folder / "tocsin.db")


@contextmanager
def to_kafka(folder: Path) -> Iterator[Server]:
    """Run the same process where events go to Kafka, and a broker."""
    from deploy.kafka.broker import Cluster
    from streams.store.engines import claim_kafka_input

    with Cluster(folder.with_name("broker")) as cluster:
        configured(folder)
        (folder / "tocsin.yml").write_text(f"kafka: {{brokers: [{cluster.bootstrap}]}}\n", encoding="utf-8")
        made = [sys.executable, *tocsin("topics", "create", "--config", str(folder))]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        with open_store(folder / "tocsin.db", create=True) as store:
            claim_kafka_input(store, "tocsin.events", 6)
        with door(folder, "kafka") as server:
            yield server


@contextmanager
def door(folder: Path, name: str = "door") -> Iterator[Server]:
    """Run the process that takes events in, without the engines."""
    import socket

    words = "--config", str(folder), "--db", str(folder / "tocsin.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    db = folder / "tocsin.db"
    with open_store(db, create=True) as store:
        token = tokens.create(store, Scope.INGEST, "benchmark", "benchmark", now_ms())[1]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    started = subprocess.Popen([sys.executable, *tocsin("web", *words, "--port", str(port))], env=environment)
    try:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield Server(name, f"http://127.0.0.1:{port}", token, db)
    finally:
        started.terminate()
        started.wait(60)


# --- the load ---------------------------------------------------------------------------------------------------------


def stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


_numbers = iter(range(1 << 60))


def event(chance: random.Random, at: str, *, bank: int | None = None, fails: float = 0.03) -> str:
    """Return an event of about 230 bytes, with an id of its own."""

    def of(n: int) -> int:
        return int(n * chance.random() ** 2)

    outcome = "failure" if chance.random() < fails else "success"
    bank = of(BANKS) if bank is None else bank
    return (
        f'{{"id":"{next(_numbers):012x}","time":"{at}","kind":"payment","customer":"C-{of(100_000):06d}",'
        f'"app_version":"v-{of(6):02d}","bank":"bank-{bank:02d}","city":"city-{of(30):02d}",'
        f'"provider":"provider-{of(5):02d}","outcome":"{outcome}","amount":{of(100_000)}}}\n'
    )


@dataclass
class Load:
    """What one contestant did in one round, at one size."""

    events: int = 0
    seconds: float = 0.0
    answers_s: list[float] = field(default_factory=list)
    refused: int = 0
    worked_off_s: float = 0.0
    """Until the engines were done with it."""

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    def quantile_s(self, q: float) -> float:
        return sorted(self.answers_s)[min(len(self.answers_s) - 1, int(q * len(self.answers_s)))]


async def send(server: Server, size: int, seconds: float, bodies: list[bytes]) -> Load:
    """Send bodies over all connections, each the next one as soon as it was answered, for so long."""
    load, at = Load(), urlsplit(server.url)
    begun = time.perf_counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        try:
            while bodies and time.perf_counter() - begun < seconds:
                body = bodies.pop()
                sent = time.perf_counter()
                writer.write(
                    b"POST /v1/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
                    b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n"
                    % (at.netloc.encode(), server.token.encode(), len(body))
                    + body
                )
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                if head.split(b" ", 2)[1] == b"202":
                    load.answers_s.append(time.perf_counter() - sent)
                    load.events += size
                else:
                    load.refused += 1
        finally:
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    load.seconds = time.perf_counter() - begun
    return load


def work_off(server: Server) -> None:
    """Wait until the engines have worked off what was sent."""
    assert server.db is not None
    with closing(sqlite3.connect(server.db, isolation_level=None, timeout=40)) as database:
        while database.execute("SELECT 1 FROM intake WHERE data IS NOT NULL LIMIT 1").fetchone():
            time.sleep(0.05)


def bodies_of(size: int, events: int, seed: int) -> list[bytes]:
    chance, at = random.Random(seed), stamp(now_ms())
    return ["".join(event(chance, at) for _ in range(size)).encode() for _ in range(max(CONNECTIONS, events // size))]


def now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251


# --- from a 202 to an open case ---------------------------------------------------------------------------------------


def delays(server: Server, say: Any) -> list[float]:
    """Return seconds from the answer to the request that closes a window until the case that it decides is open.

    Hours of traffic are sent minute by minute, dated as of the hours just past; one bank after the other breaks.
    """
    import httpx

    assert server.db is not None
    chance, out = random.Random(7), list[float]()
    minutes = LEARN_MINUTES + BANKS * (BROKEN_MINUTES + REST_MINUTES)
    first_ms = (now_ms() // 60_000 - minutes - 3) * 60_000
    database = sqlite3.connect(server.db, isolation_level=None, timeout=40)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/x-ndjson"}
    seen = 0
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client:
        for minute in say(range(minutes)):
            bank, phase = divmod(minute - LEARN_MINUTES, BROKEN_MINUTES + REST_MINUTES)
            breaks = minute >= LEARN_MINUTES and phase < BROKEN_MINUTES
            at = sorted(chance.randrange(60_000) for _ in range(400))
            body = "".join(
                event(
                    chance,
                    stamp(first_ms + minute * 60_000 + ms),
                    bank=chosen,
                    fails=0.6 if breaks and chosen == bank else 0.03,
                )
                for ms in at
                for chosen in [chance.randrange(BANKS)]
            )
            client.post("/v1/events", content=body.encode()).raise_for_status()
            answered = time.perf_counter()
            while breaks and time.perf_counter() - answered < 1.0:
                cases = database.execute("SELECT count(*) FROM cases").fetchone()[0]
                if cases > seen:
                    out.append(time.perf_counter() - answered)
                    seen = cases
                    break
                time.sleep(0.002)
    database.close()
    return out


# --- all of it --------------------------------------------------------------------------------------------------------


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=3.0, help="how long each contestant is loaded at each size")
    arguments.add_argument("--kafka", action="store_true", help="also the door that writes to Kafka")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--bare", metavar="DIR", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.bare:
        bare(given.bare)
        return
    console = Console(stderr=True)
    quiet = not sys.stderr.isatty()
    loads: dict[tuple[str, int], list[Load]] = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        with service(folder / "cases") as server:
            waited = delays(server, lambda found: progress(found, "cases", console=console, disable=quiet))
        servers = [Server("bare", stack.enter_context(process(__file__, "--bare", temporary))["url"])]
        configured(folder / "door")
        servers.append(stack.enter_context(door(folder / "door")))
        if given.kafka:
            servers.append(stack.enter_context(to_kafka(folder / "kafka")))
        servers.append(stack.enter_context(service(folder / "service")))
        guess = {size: 2_000 * size if size == 1 else 60_000 for size in SIZES}
        for turn in progress(range(given.rounds), "rounds", console=console, disable=quiet):
            for size in SIZES:
                for i, server in enumerate(servers):
                    bodies = bodies_of(size, int(2 * guess[size] * given.seconds), turn * 100 + i)
                    load = asyncio.run(send(server, size, given.seconds, bodies))
                    if server.name == "service":
                        begun = time.perf_counter()
                        work_off(server)
                        load.worked_off_s = load.seconds + time.perf_counter() - begun
                    loads[server.name, size].append(load)
                    guess[size] = max(guess[size], int(load.rate))
    result = summary(loads)
    answer_s = statistics.median(load.quantile_s(0.5) for load in loads["bare", 100])
    delay = {
        "cases": len(waited),
        "p50_s": round(statistics.median(waited), 3),
        "longest_s": round(max(waited), 3),
        "to_bare_answer": round(statistics.median(waited) / answer_s, 1),
    }
    if given.json:
        print(json.dumps({"rounds": given.rounds, "connections": CONNECTIONS, "loads": result, "case": delay}))
        return
    table = Table(title=f"{CONNECTIONS} connections, {given.rounds} rounds of {given.seconds:g} s")
    columns = ("", "batch", "events/s", "to bare", "range", "p50 ms", "p99 ms", "to bare", "worked off/s", "refused")
    for column in columns:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for row in result:
        table.add_row(
            row["name"],
            f"{row['size']:,}",
            f"{row['events_per_s']:,}",
            f"{row['ratio']}×",
            f"{row['low']}–{row['high']}",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            f"{row['p99_ratio']}×",
            f"{row['worked_off_per_s']:,}" if row["worked_off_per_s"] else "",
            f"{row['refused']:,}",
        )
    Console().print(table)
    Console().print(f"From a 202 to an open case: {delay}")


def summary(loads: dict[tuple[str, int], list[Load]]) -> list[dict[str, Any]]:
    """Return each contestant's figures at each size: medians over rounds, ratios round by round."""
    out = []
    for (name, size), found in loads.items():
        anchors = loads["bare", size]
        ratios = [own.rate / anchor.rate for own, anchor in zip(found, anchors, strict=True)]
        slower = [own.quantile_s(0.99) / anchor.quantile_s(0.99) for own, anchor in zip(found, anchors, strict=True)]
        out.append(
            {
                "name": name,
                "size": size,
                "events_per_s": round(statistics.median(load.rate for load in found)),
                "p50_ms": round(1_000 * statistics.median(load.quantile_s(0.5) for load in found), 2),
                "p99_ms": round(1_000 * statistics.median(load.quantile_s(0.99) for load in found), 2),
                "ratio": round(statistics.median(ratios), 2),
                "low": round(min(ratios), 2),
                "high": round(max(ratios), 2),
                "p99_ratio": round(statistics.median(slower), 2),
                "worked_off_per_s": round(
                    statistics.median(load.events / load.worked_off_s if load.worked_off_s else 0 for load in found)
                ),
                "refused": sum(load.refused for load in found),
            }
        )
    return out


if __name__ == "__main__":
    main()
