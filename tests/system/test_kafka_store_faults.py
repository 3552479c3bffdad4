"""Workers whose store stands still or goes away, who are frozen for too long, or fail: nothing lost, nothing twice."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.kafka.broker import Cluster
from tests.servers.postgres import Server, running
from tests.servers.service import until
from tests.system import kafka_checks
from tests.system.kafka_traffic import LONG, Recording, traffic
from tests.system.kafka_traffic import recording as recording

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

AWAY_S = 20 if LONG else 7
REBALANCE_S = 15.0
"""A group shares out anew what one had after its session timeout, and a round."""
WRONG = "tests.system.wrong_worker"
EVERYTHING = ("engine", "tally", "notices", "ledger", "window_record", "delivery")


def stat_of(pid: int) -> list[str]:
    """Return what the kernel says of a process, its state first."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own: it is killed and frozen."""
    with running() as own:
        yield own


@contextmanager
def away(server: Server, what: str) -> Iterator[None]:
    (server.freeze if what == "frozen" else server.kill)()
    try:
        yield
    finally:
        (server.thaw if what == "frozen" else server.start)()


@pytest.mark.postgres
def test_workers_outlast_a_store_that_is_frozen_and_killed(
    broker: Cluster, server: Server, recording: Recording, tmp_path: Path
) -> None:
    db = server.url(server.database())

    def epochs() -> dict[str, int]:
        return dict(kafka_checks.rows(db, "SELECT name, epoch FROM engine"))

    with traffic(broker, recording, tmp_path, db) as on:
        found = on.workers
        for _ in range(2):
            found.start()
        for tenths, what in ((1, "frozen"), (4, "killed")):
            on.until_counted(len(recording.lines) * tenths // 10)
            with away(server, what):
                time.sleep(AWAY_S)
                assert all(one.poll() is None for one in found.running), found.said()
        # What the one had becomes the other's while the store is away, and is taken over once it is back.
        one, other = found.running
        before = epochs()
        with away(server, "killed"):
            one.terminate()
            assert found.end(one, 25) == 0, found.said()
            time.sleep(REBALANCE_S)
            assert other.poll() is None, found.said()
        until(lambda: all(epochs()[name] > before[name] for name in before), "engines taken over")
        on.until_counted(len(recording.lines) * 9 // 10)
        assert len(found.said().splitlines()) < 60, found.said()
        assert "Traceback" not in found.said()


@pytest.mark.postgres
def test_a_worker_ends_with_70_where_the_store_stays_away_and_with_0_where_it_was_asked_to(
    broker: Cluster, server: Server, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_GIVE_UP_S", "3")
    monkeypatch.setenv("TOCSIN_TEST_STUCK_S", "5")
    db = server.url(server.database())

    def epochs() -> dict[str, int]:
        return dict(kafka_checks.rows(db, "SELECT name, epoch FROM engine"))

    with traffic(broker, recording, tmp_path, db) as on:
        found = on.workers
        for tenths, what, says in ((1, "frozen", "the store does not answer"), (3, "killed", "given up after")):
            one = found.start(module=WRONG)
            on.until_counted(len(recording.lines) * tenths // 10)
            with away(server, what):
                assert found.end(one, 40) == 70, found.said()
            assert says in found.said()
        before = epochs()
        one = found.start()
        # What the one before had counted may be more than is waited for below.
        until(lambda: all(epochs()[name] > before[name] for name in before), "engines taken over")
        on.until_counted(len(recording.lines) * 5 // 10)
        with away(server, "frozen"):
            time.sleep(1)
            one.terminate()
            assert found.end(one, 25) == 0, found.said()
        assert "Traceback" not in found.said()


def test_a_worker_frozen_at_a_commit_until_its_work_was_taken_over_writes_nothing_and_ends_with_70(
    broker: Cluster, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = str(tmp_path / "many.db")

    def epochs() -> dict[str, int]:
        return dict(kafka_checks.rows(db, "SELECT name, epoch FROM engine"))

    def everything() -> list[list[str]]:
        return [sorted(map(repr, kafka_checks.rows(db, f"SELECT * FROM {table}"))) for table in EVERYTHING]

    with traffic(broker, recording, tmp_path, db) as on:
        found = on.workers
        monkeypatch.setenv("TOCSIN_TEST_FREEZES_AT", str(on.chance.randint(2, 8)))
        zombie = found.start(module=WRONG)
        monkeypatch.delenv("TOCSIN_TEST_FREEZES_AT")
        until(lambda: stat_of(zombie.pid)[0] == "T", "a frozen worker")
        before = epochs()
        other = found.start()
        on.until_counted(len(recording.lines))
        until(lambda: all(epochs()[name] > before[name] for name in before), "engines taken over")
        other.terminate()
        assert found.end(other, 25) == 0, found.said()
        held = everything()
        zombie.send_signal(signal.SIGCONT)
        assert found.end(zombie, 30) == 70, found.said()
        assert "another worker has taken it over; nothing of this step was written" in found.said(zombie)
        assert "Traceback" not in found.said()
        assert everything() == held


def test_an_error_in_an_agent_loses_no_record(
    broker: Cluster, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_FAILS_AT", "3")
    with traffic(broker, recording, tmp_path, str(tmp_path / "many.db")) as on:
        for _ in range(2):
            one = on.workers.start(module=WRONG)
            assert on.workers.end(one, 60) == 70, on.workers.said()
            (line,) = [line for line in on.workers.said(one).splitlines() if '"error"' in line]
            assert json.loads(line)["event"] == "RuntimeError: a test's own; start again"
            assert "in take" in json.loads(line)["exception"]
        monkeypatch.delenv("TOCSIN_TEST_FAILS_AT")
        on.workers.start()
        on.until_counted(len(recording.lines) // 2)


def test_a_consumer_that_is_sent_to_its_place_while_records_come_in_passes_over_none(
    broker: Cluster, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_SEEKS_AT", "5")
    with traffic(broker, recording, tmp_path, str(tmp_path / "many.db")) as on:
        found = [on.workers.start(module=WRONG) for _ in range(2)]
        on.until_counted(len(recording.lines))
        assert all(one.poll() is None for one in found), on.workers.said()
