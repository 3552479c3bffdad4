"""kill -9 at each point of a message's way, before a real receiver: one row, never lost, doubled only where it must.

The points: before the commit that queues it, before the claim's, after the claim and before the sending, after the
sending and before it is marked, after the mark.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.outbox import people
from tests.servers import http, smtp
from tests.servers.sending_config import mail, sending, webhook
from tests.streams.sending import World
from tests.system.dying_notifier import NOTICE, POINTS

pytestmark = pytest.mark.slow

SENT_AND_NOT_MARKED = ("handed-over", "before-mark")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, customers=1)
    yield world
    world.store.close()


def run(folder: Path, point: str) -> int:
    command = [sys.executable, "-m", "tests.system.dying_notifier", str(folder), point]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, timeout=60)
    assert done.returncode in (0, -9), done.stderr.decode()
    assert not done.stderr
    return done.returncode


@pytest.mark.parametrize("point", POINTS)
def test_a_webhook_hears_of_it_at_most_twice_and_under_one_id(world: World, tmp_path: Path, point: str) -> None:
    with http.serving(http.says(204)) as server:
        sending(tmp_path, webhook(tmp_path, server.url))
        assert run(tmp_path, point) == -9
        first = len(server.seen)
        assert first == (1 if point in (*SENT_AND_NOT_MARKED, "settled") else 0)
        assert run(tmp_path, "") == 0
        ids = [seen.headers["webhook-id"] for seen in server.seen]
    assert ids == [NOTICE] * (2 if point in SENT_AND_NOT_MARKED else 1)
    assert world.states() == {NOTICE: "sent"}
    assert [record.outcome for record in world.told()] == ["sent"]


@pytest.mark.parametrize("point", POINTS)
def test_a_mail_is_never_doubled_a_person_decides_where_it_may_have_gone_out(
    world: World, tmp_path: Path, point: str
) -> None:
    unsure = point in ("claimed", *SENT_AND_NOT_MARKED)
    with smtp.running(smtp.Play(tls="none")) as server:
        sending(tmp_path, mail(server.port))
        assert run(tmp_path, point) == -9
        assert run(tmp_path, "") == 0
        assert len(server.received) == (0 if point == "claimed" else 1)
        assert world.states() == {NOTICE: "unknown" if unsure else "sent"}
        assert [record.outcome for record in world.told()] == ["unknown" if unsure else "sent"]
        if unsure:
            people.settle_unknown(world.store, NOTICE, "resend", "person:ani")
            assert run(tmp_path, "") == 0
        assert world.states() == {NOTICE: "sent"}
        messages = [str(message["Message-ID"]) for message in server.received]
    assert len(messages) == (2 if point in SENT_AND_NOT_MARKED else 1)
    assert len(set(messages)) == 1


@pytest.mark.parametrize("point", ["claimed", "handed-over"])
def test_a_mail_that_is_to_be_sent_again_is_doubled_only_after_the_sending_and_under_one_id(
    world: World, tmp_path: Path, point: str
) -> None:
    with smtp.running(smtp.Play(tls="none")) as server:
        sending(tmp_path, mail(server.port, on_unknown="resend"))
        assert run(tmp_path, point) == -9
        assert run(tmp_path, "") == 0
        messages = [str(message["Message-ID"]) for message in server.received]
    assert len(messages) == (2 if point in SENT_AND_NOT_MARKED else 1)
    assert len(set(messages)) == 1
    assert world.states() == {NOTICE: "sent"}


def test_killed_again_and_again_after_the_sending_it_stays_one_id_and_is_not_tried_without_end(
    world: World, tmp_path: Path
) -> None:
    with http.serving(http.says(204)) as server:
        sending(tmp_path, webhook(tmp_path, server.url), service="sending: {attempts: 3}\n")
        for _ in range(4):
            run(tmp_path, "handed-over")
        ids = [seen.headers["webhook-id"] for seen in server.seen]
    assert ids == [NOTICE] * 3
    assert world.states() == {NOTICE: "unknown"}
