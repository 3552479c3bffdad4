"""Workers that are killed, frozen, added and stopped, brokers that go and come back: nothing lost, nothing twice."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from deploy.kafka.broker import Cluster
from tests.servers.postgres import postgres as postgres
from tests.system.kafka_traffic import LONG, STOPPED, Recording, traffic
from tests.system.kafka_traffic import recording as recording

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

LEAST_KILLS = 20 if LONG else 3
FROZEN_S = 12.0 if LONG else 8.0
"""At most; longer than the session timeout."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "many.db")
    server = request.getfixturevalue("postgres")
    return str(server.url(server.database()))


def test_workers_that_are_killed_frozen_added_and_stopped_leave_the_results_of_one_process(
    broker: Cluster, recording: Recording, tmp_path: Path, db: str
) -> None:
    with traffic(broker, recording, tmp_path, db) as on:
        chance, found, done = on.chance, on.workers, Counter[str]()
        for _ in range(3):
            found.start()
        begun_s = time.monotonic()
        while on.producing.poll() is None or done["kill"] < LEAST_KILLS:
            time.sleep(chance.uniform(0.5, 4.0))
            if chance.random() < 0.5:
                on.until_more()
            what = chance.choice(("kill", "kill", "kill", "term", "freeze"))
            one = found.any(chance)
            done[what] += 1
            if what == "kill":
                found.kill(one)
            elif what == "term":
                one.terminate()
                assert found.end(one, 25) in STOPPED, found.said()
            else:
                one.send_signal(signal.SIGSTOP)
                time.sleep(chance.uniform(1.0, FROZEN_S))
                one.send_signal(signal.SIGCONT)
                continue
            found.start()
        print(f"{dict(done)} in {time.monotonic() - begun_s:.0f} s, {on.counted():,} records counted meanwhile")


def test_workers_are_restarted_one_after_the_other_added_and_removed(
    broker: Cluster, recording: Recording, tmp_path: Path
) -> None:
    with traffic(broker, recording, tmp_path, str(tmp_path / "many.db")) as on:
        found = on.workers
        first = [found.start() for _ in range(3)]
        on.until_counted(1)
        for one in first:
            one.terminate()
            assert found.end(one, 25) == 0, found.said()
            found.start()
        more = [found.start() for _ in range(2)]
        on.until_counted(len(recording.lines) // 2)
        for one in more:
            one.terminate()
            assert found.end(one, 25) in STOPPED, found.said()
        on.until_counted(len(recording.lines) * 9 // 10)


def test_workers_outlast_a_broker_that_is_killed_away_and_frozen(
    broker: Cluster, recording: Recording, tmp_path: Path
) -> None:
    node = broker.nodes[0]
    with traffic(broker, recording, tmp_path, str(tmp_path / "many.db")) as on:
        found = on.workers
        for _ in range(2):
            found.start()
        away_s = 0.0
        for tenths, what, for_s in (
            (1, "killed", 0),
            (3, "killed", 60 if LONG else 8),
            (6, "frozen", 30 if LONG else 7),
        ):
            on.until_counted(len(recording.lines) * tenths // 10)
            try:
                if what == "frozen":
                    node.freeze()
                else:
                    node.kill()
                time.sleep(for_s)
                assert all(one.poll() is None for one in found.running), found.said()
            finally:
                if what == "frozen":
                    node.thaw()
                else:
                    broker.start()
            away_s += for_s
        on.until_counted(len(recording.lines) * 9 // 10)
        said = found.said().splitlines()
        print(f"{len(said)} lines of log")
        assert len(said) < 80 + away_s, found.said()
        assert "Traceback" not in found.said()
