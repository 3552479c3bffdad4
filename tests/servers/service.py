"""`tocsin run` as tests run it: real processes on a free port, found again after they were killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
START_S = 60.0

SIGNALS = """
signals:
  payment-declines:
    title: {en: Payments are declined, id: Pembayaran ditolak}
    events: {kind: payment}
    bad: {outcome: declined}
    measure: share
    dimensions: [bank]
    window: 1m
    severity: high
    mode: live
"""


def configured(folder: Path, tocsin: str = "", signals: str = SIGNALS) -> Path:
    """Write a small configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "signals.yml").write_text(signals, encoding="utf-8")
    (folder / "tocsin.yml").write_text(tocsin, encoding="utf-8")
    return folder


def until(condition: Callable[[], Any], what: str, within_s: float = 30.0) -> Any:
    """Wait for a condition, and return what it gave."""
    end = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.05)


def stamp(ms: int | None = None) -> str:
    ms = time.time_ns() // 1_000_000 if ms is None else ms  # noqa: TID251
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass
class Service:
    """A running `tocsin run`."""

    process: "subprocess.Popen[bytes]"
    db: Path | str
    said: Path
    url: str
    token: str
    sign_in: str

    def child(self, name: str) -> int:
        """Return the process id of `web` or `work`, as it runs now."""

        def find() -> int | None:
            for stat in Path("/proc").glob("[0-9]*/stat"):
                try:
                    parent = int(stat.read_text().rpartition(")")[2].split()[1])
                    words = (stat.parent / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if parent == self.process.pid and name.encode() in words:
                    return int(stat.parent.name)
            return None

        return int(until(find, f"a {name} process"))

    def kill(self, name: str) -> int:
        """Kill one of the processes; returns its id."""
        pid = self.child(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_and_wait(self, name: str) -> None:
        """Kill one of the processes, and wait until another does its work."""
        killed = self.kill(name)
        until(lambda: self.child(name) != killed and self.ready(), f"{name} is at work again", 60.0)

    def client(self, **kwargs: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        # A connection kept for later may be closed by the server just when it is used again.
        afresh = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30.0, limits=afresh, **kwargs)

    def json(self, path: str) -> Any:
        with self.client() as client:
            return client.get(path).json()

    def ready(self) -> bool:
        try:
            return bool(self.json("/readyz")["ready"])
        except httpx.HTTPError:
            return False

    def tally(self) -> dict[str, dict[str, int]]:
        from streams.store import open_store

        with open_store(self.db) as store:
            return store.tally()

    def read(self, events: int) -> dict[str, dict[str, int]]:
        """Wait until so many records were worked off and committed; return the store's sums."""

        def enough() -> dict[str, dict[str, int]] | None:
            found = self.tally()
            return found if sum(found.get("events", {}).values()) >= events else None

        found: dict[str, dict[str, int]] = until(enough, f"{events:,} records worked off", 60.0)
        return found

    def stop(self, number: int = signal.SIGTERM, within_s: float = 25.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def errors(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")


def command(*arguments: str | Path) -> list[str]:
    code = "import sys; from streams.cli.main import main; sys.exit(main())"
    return [sys.executable, "-c", code, *map(str, arguments)]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


@contextmanager
def service(folder: Path, config: Path, *more: str, db: Path | str | None = None) -> Iterator[Service]:
    """Run the service until the block ends."""
    db, said = db or folder / "service.db", folder / "said.log"
    words = command("run", "--config", config, "--db", db, "--port", "0", "--json", *more)
    with said.open("ab") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, env=environment(), cwd=folder)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, said.read_text(encoding="utf-8")
        first = json.loads(line)
        file = first["token_file"] or (db.parent if isinstance(db, Path) else folder) / "admin.token"
        token = Path(file).read_text(encoding="utf-8").strip()
        yield Service(process, db, said, first["url"], token, first["sign_in"])
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()
