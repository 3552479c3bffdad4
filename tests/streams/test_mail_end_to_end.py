"""A notice on its way by mail: from the outbox through a real server, and back by the link in it."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.outbox.channel import Line
from streams.outbox.unsubscribe import Links
from streams.outbox.words import Words
from tests.servers.harness_smtp import channel
from tests.servers.smtp import Play, free_port, running
from tests.servers.web import client
from tests.streams.sending import FIRST_RETRY_MS, HOUR_MS, NOW_MS, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


def work(world: World, port: int, now_ms: int = NOW_MS) -> None:
    """Send what is due through the server on this port."""
    words = Words(links=Links(world.store.customer_key, world.store.tenant, "https://tocsin.shop.example"))
    world.work(now_ms=now_ms, lines={"email": Line(channel(port, limit_ms=5_000))}, words=words)


@pytest.mark.slow
def test_the_link_of_a_message_ends_the_messages(world: World) -> None:
    with running(Play()) as server:
        world.queue("first")
        work(world, server.port)
        (mail,) = server.received
        found = re.fullmatch(r"<https://tocsin\.shop\.example(/u/[\w-]+)>", mail["List-Unsubscribe"])
        assert found is not None

        async def click() -> int:
            async with client(world.store, None) as asked:
                return (await asked.post(found[1], data={"List-Unsubscribe": "One-Click"})).status_code

        world.queue("second")
        world.queue("third", customer=1)
        assert asyncio.run(click()) == 200
        work(world, server.port)
        assert world.states() == {"first": "sent", "second": "suppressed", "third": "sent"}
        assert server.notices()[0] == "first"
        assert [mail["To"] for mail in server.received] == ["b0@example.com", "b1@example.com"]


@pytest.mark.slow
def test_while_the_server_is_down_everything_waits_and_then_goes_out_in_order(world: World) -> None:
    for i in range(6):
        world.queue(f"n{i}", customer=i % 3, at_ms=NOW_MS + i)
    nobody, now_ms = free_port(), NOW_MS
    while now_ms < NOW_MS + HOUR_MS:
        work(world, nobody, now_ms)
        assert set(world.states().values()) == {"waiting"}
        now_ms += HOUR_MS // 4
    with running(Play()) as server:
        while set(world.states().values()) != {"sent"} and now_ms < NOW_MS + 5 * HOUR_MS:
            work(world, server.port, now_ms)
            now_ms += HOUR_MS // 4
        assert sorted(server.notices()) == [f"n{i}" for i in range(6)]
        for i in range(3):
            theirs = [name for name in server.notices() if int(name[1]) % 3 == i]
            assert theirs == sorted(theirs), "each customer's in the order in which they were decided"
    assert set(world.states().values()) == {"sent"}


def test_a_mailbox_that_is_not_there_fails_at_once_and_its_reason_is_kept(world: World) -> None:
    with running(Play({"RCPT": "550 5.1.1 <b0@example.com> unknown"})) as server:
        world.queue()
        work(world, server.port)
    assert world.state() == "failed"
    (attempt,) = world.attempts()
    assert attempt[:2] == ("email", "failed")
    assert "hard-bounce" in attempt[2]
    assert "b0" not in attempt[2]
    (told,) = world.told()
    assert (told.outcome, told.reason) == ("failed", "hard-bounce")


def test_a_greylisted_message_arrives_once_a_little_later(world: World) -> None:
    with running(Play({"RCPT": "451 4.7.1 come back later"}, refuse_first=1)) as server:
        world.queue()
        work(world, server.port)
        assert (world.state(), server.received) == ("waiting", [])
        work(world, server.port, NOW_MS + FIRST_RETRY_MS)
        assert server.notices() == ["n1"]
    assert world.state() == "sent"
