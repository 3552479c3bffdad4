"""The service on a PostgreSQL server, and what it does while the server is gone."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from streams.store import open_store
from tests.servers import postgres as servers
from tests.servers.postgres import PASSWORD, Server
from tests.servers.service import Service, configured, service, stamp, until

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def database() -> Iterator[Server]:
    with servers.running(fsync=True) as server:
        server.execute(f"CREATE USER bob PASSWORD '{PASSWORD}'")
        yield server


def events(first: int, n: int) -> bytes:
    line = '{"id":"e%d","time":"%s","kind":"payment","customer":"C-%d","outcome":"approved","bank":"B\\u0000NI"}\n'
    return "".join(line % (i, stamp(), i % 50) for i in range(first, first + n)).encode()


def send(running: Service, body: bytes) -> int:
    """Send it until it is taken; returns how often that was tried."""
    for tries in range(1, 200):
        try:
            with running.client() as client:
                if client.post("/v1/events", content=body, headers=NDJSON).status_code == 202:
                    return tries
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("not taken")


def test_it_takes_events_goes_not_ready_while_the_server_is_gone_and_comes_back_by_itself(
    database: Server, tmp_path: Path
) -> None:
    name = database.database()
    database.execute(f"ALTER DATABASE {name} OWNER TO bob")
    url = database.url(name, user=f"bob:{PASSWORD}")
    with service(tmp_path, configured(tmp_path / "config"), db=url) as running:
        until(running.ready, "it is ready")
        assert (tmp_path / "admin.token").exists()
        for child in ("web", "work"):  # the password is not for everybody who lists processes
            words = (Path("/proc") / str(running.child(child)) / "cmdline").read_bytes()
            assert PASSWORD.encode() not in words
        send(running, events(0, 100))
        running.read(100)
        checks = {check["name"]: check for check in running.json("/readyz")["checks"]}
        assert checks["store"]["ok"] and "disk" not in checks
        database.kill()
        until(lambda: not running.ready(), "it says that it is not ready", 30.0)
        with running.client() as client:
            answered = client.post("/v1/events", content=events(100, 1), headers=NDJSON)
        assert answered.status_code == 503
        time.sleep(2.0)
        database.start()
        until(running.ready, "it is ready again", 60.0)
        send(running, events(100, 100))
        assert running.read(200)["events"] == {"": 200}
        assert running.process.poll() is None
        assert PASSWORD not in running.errors()
        assert running.stop() == 0
    with open_store(url) as store:
        assert store.tally()["applied"] == {"": 200}


def test_a_server_that_goes_and_comes_all_the_time_costs_no_event(database: Server, tmp_path: Path) -> None:
    """A request without an answer is sent again, as senders do: its events are told by their ids."""
    url = database.url(database.database())
    with service(tmp_path, configured(tmp_path / "config"), db=url) as running:
        until(running.ready, "it is ready")
        for i in range(6):
            send(running, events(i * 500, 500))
            if i % 2:
                database.kill()
                database.start()
        until(running.ready, "it is ready again", 60.0)

        def counted() -> bool:
            found = running.tally()
            return sum(found.get("applied", {}).values()) >= 3_000

        until(counted, "every event", 60.0)
        found = running.tally()
        assert found["applied"] == {"": 3_000}
        assert set(found.get("dropped", {})) <= {"duplicate"}
    assert "Traceback" not in running.errors(), running.errors()
    assert os.path.exists(tmp_path / "said.log")
