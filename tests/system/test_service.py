"""The service as people run it: real processes that are killed, stopped and starved while events come in."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import msgspec
import pytest

from streams.store import open_store
from tests.servers.service import ROOT, Service, command, configured, environment, service, stamp, until

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("TOCSIN_TEST_SEED", "20260302"))
NDJSON = {"Content-Type": "application/x-ndjson"}


def events(first: int, count: int) -> bytes:
    at = stamp()
    return b"".join(
        msgspec.json.encode(
            {
                "id": f"e-{n}",
                "time": at,
                "kind": "payment",
                "customer": f"C-{n % 997}",
                "outcome": "declined" if n % 31 == 0 else "approved",
                "bank": ("BCA", "BNI", "BRI")[n % 3],
            }
        )
        + b"\n"
        for n in range(first, first + count)
    )


class Sender(threading.Thread):
    """Sends events until each was answered with 202, whatever happens to the connection."""

    def __init__(self, to: Service, first: int, count: int, batch: int) -> None:
        super().__init__()
        self.to, self.first, self.count, self.batch = to, first, count, batch
        self.accepted = self.failures = 0
        self.odd: list[str] = []

    def run(self) -> None:
        with self.to.client() as client:
            for first in range(self.first, self.first + self.count, self.batch):
                body, size = events(first, self.batch), self.batch
                while not self._sent(client, body, size):
                    time.sleep(0.02)

    def _sent(self, client: httpx.Client, body: bytes, size: int) -> bool:
        try:
            answer = client.post("/v1/events", content=body, headers=NDJSON)
        except httpx.HTTPError:
            self.failures += 1
            return False
        if answer.status_code == 202:
            assert answer.json()["accepted"] == size
            self.accepted += size
            return True
        if answer.status_code not in (429, 503):
            self.odd.append(answer.text)
            return True
        self.failures += 1
        return False


def test_kill_9_of_either_process_loses_nothing_that_was_accepted_and_doubles_nothing(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    chance, count, clients = random.Random(SEED), 50_000, 4
    with service(tmp_path, configured(tmp_path / "config")) as running:
        each = count // clients
        senders = [Sender(running, i * each, each, 25) for i in range(clients)]
        for sender in senders:
            sender.start()
        killed = {"web": 0, "work": 0}
        while any(sender.is_alive() for sender in senders) and sum(killed.values()) < 6:
            time.sleep(chance.uniform(0.2, 1.0))
            name = "web" if killed["web"] <= killed["work"] else "work"
            running.kill_and_wait(name)
            killed[name] += 1
        for sender in senders:
            sender.join()
        assert [sender.odd for sender in senders] == [[]] * clients
        assert sum(sender.accepted for sender in senders) == count
        print(f"killed {killed}, {sum(sender.failures for sender in senders)} requests failed and were sent again")
        assert min(killed.values()) >= 1, "the events were in before anything was killed"

        def all_in() -> bool:
            return sum(running.tally().get("applied", {}).values()) >= count

        until(all_in, "all events counted", 90.0)
        with open_store(running.db) as store:
            until(lambda: not store.unread()[1], "the log worked off", 60.0)
        found = running.tally()
        assert found["applied"] == {"": count}
        assert set(found.get("dropped", {})) <= {"duplicate"}
        assert "dead" not in found
        assert sum(found["events"].values()) == count + sum(found.get("dropped", {}).values())
        assert running.stop() == 0
    assert "Traceback" not in running.errors()


def test_time_passes_without_events_and_closes_windows(tmp_path: Path) -> None:
    config = configured(tmp_path / "config", "input: {window: 5s, lateness: 5s}\n", QUICK)
    with service(tmp_path, config) as running, running.client() as client:
        assert client.post("/v1/events", content=events(0, 10), headers=NDJSON).status_code == 202
        assert running.read(10)["applied"] == {"": 10}

        def closed() -> bool:
            return sum(running.tally().get("windows", {}).values()) >= 2

        until(closed, "two windows closed by ticks", 40.0)


QUICK = """
signals:
  payment-declines:
    title: {en: Payments are declined}
    events: {kind: payment}
    bad: {outcome: declined}
    measure: share
    dimensions: [bank]
    window: 5s
"""


def stop_between_commits(pid: int, db: Path) -> None:
    """Stop a process where it does not have the store's write lock: it would keep it."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(db, timeout=0.1, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                return
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)


def test_neither_process_waits_for_the_other(tmp_path: Path) -> None:
    config = configured(tmp_path / "config", "input: {window: 5s, lateness: 5s}\n", QUICK)
    with service(tmp_path, config) as running, running.client() as client:
        work = running.child("work")
        stop_between_commits(work, tmp_path / "service.db")
        try:
            for i in range(20):
                begun = time.monotonic()
                assert client.post("/v1/events", content=events(i * 10, 10), headers=NDJSON).status_code == 202
                assert time.monotonic() - begun < 5
            until(lambda: not running.ready(), "the service says that nothing is worked off", 30.0)
            checks = {check["name"]: check["ok"] for check in running.json("/readyz")["checks"]}
            assert not checks["work"] and checks["store"]
            assert client.get("/healthz").json() == {"alive": True}
        finally:
            os.kill(work, signal.SIGCONT)
        assert running.read(200)["applied"] == {"": 200}
        until(running.ready, "the service is ready again")
        web = running.child("web")
        stop_between_commits(web, tmp_path / "service.db")
        try:
            before = sum(running.tally().get("windows", {}).values())
            until(
                lambda: sum(running.tally().get("windows", {}).values()) > before,
                "windows close while the door stands still",
                40.0,
            )
        finally:
            os.kill(web, signal.SIGCONT)
        assert client.post("/v1/events", content=events(900, 1), headers=NDJSON).status_code == 202


def test_a_killed_supervisor_leaves_nobody_behind(tmp_path: Path) -> None:
    with service(tmp_path, configured(tmp_path / "config")) as running:
        pids = [running.child("web"), running.child("work")]
        running.process.kill()
        running.process.wait()
        until(lambda: not any(_alive(pid) for pid in pids), "both processes have ended", 25.0)
        with pytest.raises(httpx.ConnectError):
            httpx.get(running.url, trust_env=False)


def _alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGTERM, 0, id="SIGTERM"), pytest.param(signal.SIGINT, 130, id="Ctrl-C")]
)
def test_it_ends_in_time_when_asked_to(tmp_path: Path, number: int, code: int) -> None:
    with service(tmp_path, configured(tmp_path / "config")) as running:
        pids = [running.child("web"), running.child("work")]
        with running.client() as client:
            assert client.post("/v1/events", content=events(0, 100), headers=NDJSON).status_code == 202
            assert running.stop(number) == code
        assert not any(_alive(pid) for pid in pids)
    assert "Traceback" not in running.errors()


def test_a_web_process_that_is_asked_to_end_before_it_listens_ends(tmp_path: Path) -> None:
    program = [
        "import os, signal, sys",
        "from streams.cli.main import main",
        "from streams.web import server",
        "made = server.Pulse",
        "def asked(*given):",
        "    os.kill(os.getpid(), signal.SIGTERM)",
        "    return made(*given)",
        "server.Pulse = asked",
        "sys.exit(main())",
    ]
    words = command("web", "--config", configured(tmp_path / "config"), "--db", tmp_path / "a.db")[3:]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program), *words], env=environment(), cwd=ROOT, capture_output=True, timeout=25
    )
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("wrong", ["configuration", "port"])
def test_what_can_not_start_says_so_in_one_line_and_ends(tmp_path: Path, wrong: str) -> None:
    config = configured(tmp_path / "config", "input: {window: yellow}\n" if wrong == "configuration" else "")
    words = command("run", "--config", config, "--db", tmp_path / "a.db")
    with service(tmp_path, configured(tmp_path / "other")) as running:
        words += ["--port", running.url.rpartition(":")[2]]
        done = subprocess.run(words, capture_output=True, env=environment(), timeout=60, check=False)
    assert done.returncode == (2 if wrong == "configuration" else 3)
    assert len(done.stderr.decode().splitlines()) == 1
    assert ("input.window" if wrong == "configuration" else "--port") in done.stderr.decode()


def test_a_channel_that_can_not_be_used_is_refused_before_anything_listens(tmp_path: Path) -> None:
    email = (
        "{by: smtp, host: m.example, sender: a@b.example, tls: insecure-plain-text, user: u, password: {file: word}}"
    )
    config = configured(
        tmp_path / "config", f"notices: {{send: true, channels: [email]}}\nchannels: {{email: {email}}}\n"
    )
    (config / "word").write_text("secret", encoding="utf-8")
    words = command("run", "--config", config, "--db", tmp_path / "a.db", "--port", "0")
    done = subprocess.run(words, capture_output=True, env=environment(), timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.decode().splitlines()) == 1
    assert "channels.email.tls" in done.stderr.decode()
    assert not (tmp_path / "admin.token").exists()


def test_an_address_that_others_reach_is_refused_without_a_sign_in_for_teams(tmp_path: Path) -> None:
    words = command("run", "--config", configured(tmp_path / "config"), "--db", tmp_path / "a.db", "--host", "0.0.0.0")
    done = subprocess.run(words, capture_output=True, env=environment(), timeout=60, check=False)
    assert done.returncode == 2
    assert "service.host" in done.stderr.decode()


def test_a_recording_is_shown_and_takes_no_events(tmp_path: Path) -> None:
    config = configured(tmp_path / "config")
    (tmp_path / "old.ndjson").write_bytes(events(0, 100))
    words = command("replay", "--config", config, "--db", tmp_path / "service.db", tmp_path / "old.ndjson")
    subprocess.run(words, check=True, capture_output=True, env=environment(), timeout=60)
    with service(tmp_path, config) as running, running.client() as client:
        answer = client.post("/v1/events", content=events(0, 1), headers=NDJSON)
        assert (answer.status_code, answer.json()["code"]) == (409, "recording")
        assert client.get("/readyz").json()["ready"]
