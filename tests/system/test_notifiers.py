"""Several notifier processes on one store: each message is one's, in order and within the limits, whoever dies."""

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from detector.desk.records import DeskEffects, Notice
from detector.pipeline import Effects
from streams.clock import SystemClock
from streams.store import tables as t
from tests.servers import http, smtp
from tests.servers import postgres as servers
from tests.servers.postgres import Server
from tests.servers.sending_config import mail, sending, webhook
from tests.servers.service import ROOT, command, environment, until
from tests.streams.sending import HOUR_MS, World, a_notice

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SEED = int(os.environ.get("TOCSIN_TEST_SEED", "20260302"))
LEASE_MS = 3_000
AT_A_TIME = 8


@pytest.fixture
def world(tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    made = World(tmp_path, customers=100, db=postgres.store_url())
    yield made
    made.store.close()


def queue(world: World, customers: int, each: int, first: int = 0) -> list[str]:
    """Queue some notices of one case for each customer, the later ones the more valuable."""
    now_ms, notices = SystemClock().now_ms(), list[Notice]()
    times = {"when_ms": now_ms, "stale_ms": now_ms + HOUR_MS}
    for number, i in itertools.product(range(each), range(customers)):
        name = f"n{first + number}-{i}"
        more = {"at_ms": now_ms + number, "episode": first + number + 1, "priority": number, **times}
        notices.append(a_notice(world.customer(i), name, **more))
    world.store.commit(Effects(desk=DeskEffects(notices=notices)))
    return [notice.id for notice in notices]


class Notifiers:
    """Processes at work on a world."""

    def __init__(self, folder: Path, db: str, n: int) -> None:
        self._words = [sys.executable, "-m", "tests.system.one_notifier", str(folder), db, str(LEASE_MS)]
        self.processes: list[subprocess.Popen[bytes]] = [self._start() for _ in range(n)]

    def _start(self) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        return subprocess.Popen(self._words, stdin=pipe, stdout=pipe, cwd=ROOT, env=environment())

    def kill(self, i: int) -> None:
        """Kill one, and start another in its place."""
        self.processes[i].send_signal(signal.SIGKILL)
        self._ended(self.processes[i])
        self.processes[i] = self._start()

    def at_work(self) -> None:
        for process in self.processes:
            assert process.stdout is not None
            process.stdout.readline()

    def end(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            self._ended(process)

    @staticmethod
    def _ended(process: "subprocess.Popen[bytes]") -> None:
        process.wait(30)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def notifiers(folder: Path, db: str, n: int = 3) -> Iterator[Notifiers]:
    running = Notifiers(folder, db, n)
    try:
        yield running
    finally:
        running.end()


def slowly(seconds: float = 0.05) -> http.Play:
    async def play(seen: http.Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await http.says(204)(seen, writer)

    return play


def settled(world: World) -> dict[str, str] | None:
    states = world.states()
    return states if not {"waiting", "claimed"} & set(states.values()) else None


def ids(seen: Sequence[http.Seen]) -> list[str]:
    return [one.headers["webhook-id"] for one in seen]


def more_than(found: Sequence[object], n: int) -> Callable[[], bool]:
    return lambda: len(found) > n


def told(seen: Sequence[http.Seen]) -> set[str]:
    """Return the customers who heard of it."""
    return {name.split("-")[1] for name in ids(seen)}


def in_order(names: Sequence[str]) -> bool:
    """Whether the first time of each message came after those before it to the same customer."""
    of = defaultdict[str, list[int]](list)
    for name in dict.fromkeys(names):
        number, customer = name[1:].split("-")
        of[customer].append(int(number))
    return all(numbers == sorted(numbers) for numbers in of.values())


def claimed_by(world: World) -> list[str]:
    with world.store.reading() as connection:
        return list(connection.execute(sa.select(t.outbox.c.claimed_by).distinct()).scalars())


def test_three_share_the_work_and_each_message_is_sent_once_in_order(world: World, tmp_path: Path) -> None:
    with http.serving(slowly()) as server:
        sending(tmp_path, webhook(tmp_path, server.url))
        with notifiers(tmp_path, world.db) as running:
            running.at_work()
            names = queue(world, 100, 3)
            states = until(lambda: settled(world), "all is sent", 60.0)
        found = ids(server.seen)
    assert set(states.values()) == {"sent"}
    assert sorted(found) == sorted(names)
    assert in_order(found)
    assert len(claimed_by(world)) == 3
    assert Counter(letter.outcome for letter in world.told()) == {"sent": 300}


def test_webhooks_whose_notifier_was_killed_are_sent_again_under_their_id_and_no_other_twice(
    world: World, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    chance, kills = random.Random(SEED), 0
    with http.serving(slowly(0.2)) as server:
        sending(tmp_path, webhook(tmp_path, server.url))
        names = queue(world, 100, 3)
        with notifiers(tmp_path, world.db) as running:
            running.at_work()
            while kills < 4 and len(server.seen) < 280:
                time.sleep(chance.uniform(0.3, 0.8))
                running.kill(chance.randrange(3))
                kills += 1
            states = until(lambda: settled(world), "all is sent", 90.0)
        found = ids(server.seen)
    print(f"killed {kills}; {len(found) - len(names)} came twice")
    assert kills
    assert set(states.values()) == {"sent"}
    assert set(found) == set(names)
    assert max(Counter(found).values()) <= 1 + kills
    assert len(found) - len(names) <= kills * AT_A_TIME
    assert in_order(found)
    assert Counter(letter.outcome for letter in world.told()) == {"sent": 300}


def test_mails_whose_notifier_was_killed_are_held_for_a_person_and_none_is_sent_twice(
    world: World, tmp_path: Path
) -> None:
    chance, kills = random.Random(SEED), 0
    with smtp.running(smtp.Play(tls="none")) as server:
        sending(tmp_path, mail(server.port))
        names = queue(world, 100, 2)
        with notifiers(tmp_path, world.db) as running:
            running.at_work()
            while kills < 3 and len(server.received) < 180:
                until(more_than(server.received, len(server.received)), "some go out", 30.0)
                running.kill(chance.randrange(3))
                kills += 1
            states = until(lambda: settled(world), "all is settled", 90.0)
        found = server.notices()
    assert kills
    assert set(states) == set(names)
    assert max(Counter(found).values()) == 1
    unknown = {name for name, state in states.items() if state == "unknown"}
    assert {name for name, state in states.items() if state == "sent"} == set(states) - unknown
    assert set(states) - unknown <= set(found)
    assert len(unknown) <= kills * AT_A_TIME
    assert Counter(letter.outcome for letter in world.told()) == Counter(states.values())


def test_a_limit_an_hour_holds_over_all_of_them(world: World, tmp_path: Path) -> None:
    with http.serving(slowly()) as server:
        sending(tmp_path, webhook(tmp_path, server.url), service="sending: {per_hour: 70, per_signal_hour: 60}\n")
        queue(world, 100, 1)
        with notifiers(tmp_path, world.db) as running:
            running.at_work()
            until(lambda: len(server.seen) >= 60, "as many as may have gone", 30.0)
            time.sleep(2.0)  # whoever would send more had the time to
        assert len(server.seen) == 60
    assert Counter(world.states().values()) == {"sent": 60, "waiting": 40}


def test_a_rate_and_a_daily_tier_hold_over_all_of_them(world: World, tmp_path: Path) -> None:
    with http.serving(http.says(204)) as server:
        sending(tmp_path, webhook(tmp_path, server.url, per_second=10, per_day=40))
        queue(world, 100, 2)
        begun_s = time.monotonic()
        with notifiers(tmp_path, world.db) as running:
            running.at_work()
            until(lambda: len(told(server.seen)) >= 40, "as many as may have heard", 60.0)
            took_s = time.monotonic() - begun_s
            time.sleep(1.0)
    assert took_s > 3.0  # forty, at ten a second
    assert len(told(server.seen)) == 40


def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent while it was away is written down by whoever sent it, before another takes it over."""
    monkeypatch.chdir(tmp_path)
    with servers.running(fsync=True) as database, http.serving(slowly(0.2)) as server:
        world = World(tmp_path, customers=100, db=database.store_url())
        sending(tmp_path, webhook(tmp_path, server.url))
        names = queue(world, 100, 1)
        with notifiers(tmp_path, world.db) as running:
            running.at_work()
            until(lambda: len(server.seen) > 20, "some go out", 30.0)
            database.kill()
            time.sleep(1.0)
            database.start()
            states = until(lambda: settled(world), "all is sent", 60.0)
        world.store.close()
        found = ids(server.seen)
    assert set(states.values()) == {"sent"}
    assert sorted(found) == sorted(names)


def test_the_command_sends_stops_when_asked_and_is_seen(world: World, tmp_path: Path) -> None:
    with http.serving(http.says(204)) as server:
        sending(tmp_path, webhook(tmp_path, server.url))
        names = queue(world, 10, 1)
        words = command("notifier", "--config", tmp_path, "--db", world.db)
        processes = [
            subprocess.Popen([*words, "--name", name], env=environment(), cwd=tmp_path, stderr=subprocess.PIPE)
            for name in ("a", "b")
        ]
        until(lambda: settled(world), "all is sent", 30.0)
        assert sorted(ids(server.seen)) == sorted(names)

        def seen() -> bool:
            with world.store.reading() as connection:
                found = set(connection.execute(sa.select(t.process.c.name)).scalars())
            return found == {"notifier a", "notifier b"}

        until(seen, "both say that they are at work", 30.0)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            _, err = process.communicate(timeout=25)
            assert process.returncode == 0, err.decode()


def test_a_store_in_a_file_has_one_notifier(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.store.close()
    sending(tmp_path, webhook(tmp_path, "http://127.0.0.1:1/"))
    with notifiers(tmp_path, world.db, 1) as running:
        running.at_work()
        words = command("notifier", "--config", tmp_path, "--db", world.db)
        done = subprocess.run(words, env=environment(), cwd=tmp_path, capture_output=True, timeout=60)
        assert done.returncode == 3
        assert b"another process is sending on this store" in done.stderr
