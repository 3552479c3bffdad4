"""The notifier in its thread: it sends as things come due, stops cleanly, obeys the kill switch within seconds."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from detector.errors import ConfigError
from streams.clock import SystemClock
from streams.outbox import people, thread
from streams.outbox.kill_switch import file_of, set_kill_switch
from streams.outbox.thread import NotifierThread
from streams.settings import Settings
from streams.store import database
from tests.servers import http
from tests.servers.sending_config import sending, webhook
from tests.streams.sending import HOUR_MS, World

CLOCK = SystemClock()


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path, db: str) -> Iterator[World]:
    world = World(tmp_path, customers=60, db=db)
    yield world
    world.store.close()


class Running:
    """A notifier at work on a world."""

    def __init__(self, world: World, settings: Settings, **more: Any) -> None:
        self.said: list[str] = []
        self.thread = NotifierThread(world.db, settings, CLOCK, self.said.append, **more)
        self.thread.start()

    def __enter__(self) -> NotifierThread:
        return self.thread

    def __exit__(self, *_: object) -> None:
        self.thread.stop(5.0)
        assert not self.thread.alive


def queue(world: World, n: int = 1, first: int = 0) -> list[str]:
    now_ms, names = CLOCK.now_ms(), [f"n{i:03}" for i in range(first, first + n)]
    for i, name in enumerate(names, first):
        world.queue(name, customer=i, at_ms=now_ms, when_ms=now_ms, stale_ms=now_ms + HOUR_MS)
    return names


def test_what_waits_and_what_comes_is_sent_and_the_status_says_so(world: World, tmp_path: Path) -> None:
    names = queue(world, 3)
    with http.serving(http.says(204)) as server:
        with Running(world, sending(tmp_path, webhook(tmp_path, server.url))) as notifier:
            wait_for(lambda: set(world.states().values()) == {"sent"})
            names += queue(world, 2, first=3)
            notifier.wake()
            wait_for(lambda: len(world.states()) == 5 and set(world.states().values()) == {"sent"})
            status = notifier.status()
            assert status["alive"]
            assert status["circuits"] == {"email": "closed"}
            assert not any(status["limits"].values())
            assert CLOCK.now_ms() - status["at_ms"] < 10_000
            assert notifier.stop(5.0)
        assert sorted(seen.headers["webhook-id"] for seen in server.seen) == names


def test_it_is_woken_instead_of_looking(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "LOOK_S", 600.0)
    with http.serving(http.says(204)) as server:
        with Running(world, sending(tmp_path, webhook(tmp_path, server.url))) as notifier:
            wait_for(lambda: "circuits" in notifier.status())
            queue(world)
            notifier.wake()
            wait_for(lambda: set(world.states().values()) == {"sent"})


@pytest.mark.slow
@pytest.mark.parametrize("by_hand", [pytest.param(True, id="by the file"), pytest.param(False, id="by the store")])
def test_the_kill_switch_acts_within_five_seconds_and_survives_a_restart(
    world: World, tmp_path: Path, by_hand: bool
) -> None:
    queue(world, 60)
    with http.serving(http.says(204)) as server:
        settings = sending(tmp_path, webhook(tmp_path, server.url, per_second=5))
        with Running(world, settings):
            wait_for(lambda: len(server.seen) >= 3)
            if by_hand:
                file_of(world.store).touch()
            else:
                set_kill_switch(world.store, True, "cli:test", now_ms=CLOCK.now_ms())
                file_of(world.store).unlink()
            time.sleep(5)
            seen = len(server.seen)
            time.sleep(2)
            assert len(server.seen) == seen < 60
        with Running(world, settings) as notifier:
            wait_for(lambda: notifier.status().get("kill_switch", {}).get("on", False))
            time.sleep(1)
            assert len(server.seen) == seen
            assert set(world.states().values()) == {"sent", "waiting"}
            set_kill_switch(world.store, False, "cli:test")
            wait_for(lambda: len(server.seen) > seen)


def after(seconds: float) -> http.Play:
    async def play(seen: http.Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await http.says(204)(seen, writer)

    return play


@pytest.mark.slow
def test_asked_to_stop_it_lets_end_what_is_under_way_and_begins_nothing(world: World, tmp_path: Path) -> None:
    queue(world, 20)
    with http.serving(after(0.7)) as server:
        with Running(world, sending(tmp_path, webhook(tmp_path, server.url))) as notifier:
            wait_for(lambda: len(server.seen) >= 1)
            assert notifier.stop(10.0)
        states = list(world.states().values())
        assert states.count("sent") == len(server.seen)
        assert states.count("waiting") == 20 - len(server.seen)


@pytest.mark.slow
def test_what_hangs_at_the_end_is_left_claimed_and_sent_again_under_the_same_id(world: World, tmp_path: Path) -> None:
    (name,) = queue(world)
    with http.serving(http.hangs) as server:
        running = Running(world, sending(tmp_path, webhook(tmp_path, server.url)))
        wait_for(lambda: len(server.seen) == 1)
        assert not running.thread.stop(1.0)
        wait_for(lambda: not running.thread.alive)
        assert world.state(name) == "claimed"
    with http.serving(http.says(204)) as server:
        with Running(world, sending(tmp_path, webhook(tmp_path, server.url)), lease_ms=500):
            wait_for(lambda: world.state(name) == "sent")
        assert [seen.headers["webhook-id"] for seen in server.seen] == [name]


@pytest.mark.slow
def test_a_store_that_is_locked_pauses_it_and_loses_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 100)
    monkeypatch.setattr(thread, "PAUSE_S", 0.1)
    with http.serving(after(0.3)) as server:
        queue(world)
        running = Running(world, sending(tmp_path, webhook(tmp_path, server.url)))
        with running:
            wait_for(lambda: len(server.seen) == 1)
            with world.store.transaction():
                wait_for(lambda: any("trying again" in said for said in running.said))
                assert "the store" in running.thread.status()["error"]
            wait_for(lambda: set(world.states().values()) == {"sent"})
            assert running.said[-1] == "notifier: going on"
            wait_for(lambda: running.thread.status()["error"] == "")
        assert len(server.seen) == 1


@pytest.mark.slow
def test_a_channel_that_was_stopped_goes_on_once_a_person_resumes_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "COUNT_S", 0.1)
    queue(world, 3)
    answers = [401]

    async def play(seen: http.Seen, writer: asyncio.StreamWriter) -> None:
        await http.says(answers[-1])(seen, writer)

    with http.serving(play) as server:
        with Running(world, sending(tmp_path, webhook(tmp_path, server.url))) as notifier:
            wait_for(lambda: notifier.status().get("stopped") == {"email": "credentials"})
            wait_for(lambda: set(world.states().values()) == {"waiting"})
            answers.append(204)
            people.resume_channel(world.store, "email", "person:ani", CLOCK.now_ms())
            wait_for(lambda: set(world.states().values()) == {"sent"})


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"colour": "red"}, id="an unknown field"),
        pytest.param({"per_day": 0}, id="a limit of none"),
        pytest.param({"allow": "[]"}, id="a place that is not public"),
    ],
)
def test_a_wrong_configuration_is_said_at_the_start(world: World, tmp_path: Path, more: dict[str, Any]) -> None:
    settings = sending(tmp_path, webhook(tmp_path, "http://127.0.0.1:1/", **more))
    notifier = NotifierThread(world.db, settings, CLOCK)
    with pytest.raises(ConfigError, match=r"tocsin.yml: channels.email"):
        notifier.start()
    assert not notifier.alive
