"""Webhooks: every event arrives, signed, whatever the receiver does; none of them holds up another."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook, WebhookVerificationError

from detector.errors import UnreachableError, UsageError
from streams.clock import SystemClock
from streams.feeds import queue, subscriptions
from streams.feeds.log import bounds, encoded, read
from streams.feeds.queue import GIVE_UP_MS, Due, Settled
from streams.feeds.sender import AT_A_TIME, WebhookSender
from streams.feeds.signing import SCHEDULE_S, new_secret, next_wait_ms, signed
from streams.feeds.subscriptions import GRACE_MS, State, Subscription
from streams.net import STRICT, Rules, networks
from streams.store import Store, audit, open_store
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.retention import prune_feed
from tests.servers.http import (
    Play,
    Seen,
    Server,
    bomb,
    drips,
    drips_body,
    endless,
    free_port,
    hangs,
    resets,
    says,
    serving,
    swallows,
    writes,
)
from tests.streams.feed_rows import NOW_MS, a_case, a_row, commit, customer, fill, live_store

pytestmark = pytest.mark.slow

LOOPBACK = Rules(networks(["127.0.0.1"]), insecure=True)
WAIT_S = 15.0
AT_ONCE = (0,) * 10


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with live_store(tmp_path / "tocsin.db") as store:
        yield store


@contextmanager
def sending(
    store: Store, *, schedule_s: Sequence[int] = AT_ONCE, rules: Rules = LOOPBACK, limit_s: float = 1.0
) -> Iterator[WebhookSender]:
    sender = WebhookSender(
        store, SystemClock(), rules=rules, limit_s=limit_s, schedule_s=schedule_s, chance=lambda: 0.0
    )
    sender.start()
    try:
        yield sender
    finally:
        assert sender.stop()


def subscribe(store: Store, url: str, *types: str, after: int | None = None, rules: Rules = LOOPBACK) -> Subscription:
    return subscriptions.create(store, url, frozenset(types), "cli:test", NOW_MS, rules, after=after)[0]


def until(holds: Callable[[], bool], seconds: float = WAIT_S) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.02)


def ids(server: Server) -> list[str]:
    return [seen.headers["webhook-id"] for seen in server.seen]


def queued(store: Store, webhook: Subscription) -> dict[str, int]:
    return subscriptions.queued(store, webhook.id)


def stands(store: Store, webhook: Subscription, **counts: int) -> Callable[[], bool]:
    return lambda: queued(store, webhook) == {"waiting": 0, "sent": 0, "failed": 0, **counts}


def in_turn(*plays: Play) -> Play:
    """Play one after the other, the last one from then on."""
    left = list(plays)

    async def play(seen: Seen, writer: Any) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(seen, writer)

    return play


# --- what arrives -----------------------------------------------------------------------------------------------------


def test_every_event_arrives_signed_as_a_cloudevent(store: Store) -> None:
    key = customer(store, "C-1")
    with serving(says(200)) as server, sending(store):
        webhook = subscribe(store, f"{server.url}/hook?from=tocsin")
        commit(store, a_case(), a_row(key))
        until(stands(store, webhook, sent=2))
        assert sorted(ids(server)) == ["default/1", "default/2"]
        for seen in server.seen:
            assert (seen.method, seen.path) == ("POST", "/hook?from=tocsin")
            assert seen.headers["content-type"].startswith("application/cloudevents+json")
            document = Webhook(webhook.secrets[0][0]).verify(seen.body, dict(seen.headers))
            assert document["id"] == seen.headers["webhook-id"]
        names = {document["type"]: document for document in (json.loads(seen.body) for seen in server.seen)}
        assert names["customer.affected"]["data"]["customer"] == "C-1"
    after = subscriptions.get(store, webhook.id)
    assert (after.answer, after.failing_ms) == ("HTTP 200", None)
    assert after.delivered_ms is not None


def test_only_the_types_that_were_asked_for_are_sent(store: Store) -> None:
    with serving(says(204)) as server, sending(store):
        webhook = subscribe(store, server.url, "case.opened")
        commit(store, a_case(), a_row(7))
        commit(store, a_case("case-2"))
        until(stands(store, webhook, sent=2))
        assert sorted(ids(server)) == ["default/1", "default/3"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(None, ["default/6"], id="from now on"),
        pytest.param(0, [f"default/{i}" for i in range(1, 7)], id="all that is kept"),
        pytest.param(4, ["default/5", "default/6"], id="behind an event"),
        pytest.param(99, ["default/6"], id="behind one that is none yet"),
    ],
)
def test_a_webhook_begins_where_it_is_told(store: Store, after: int | None, expected: list[str]) -> None:
    fill(store, 5)
    with serving(says(200)) as server, sending(store):
        webhook = subscribe(store, server.url, after=after)
        fill(store, 1)
        until(stands(store, webhook, sent=len(expected)))
        assert sorted(ids(server)) == expected


def test_what_came_while_nothing_ran_is_sent_then_and_once(store: Store) -> None:
    with serving(says(200)) as server:
        webhook = subscribe(store, server.url)
        for n in (3, 2):
            fill(store, n)
            with sending(store):
                until(lambda: bounds(store)[1] == queued(store, webhook)["sent"])
        assert sorted(ids(server)) == [f"default/{i}" for i in range(1, 6)]


def test_an_erased_customer_is_not_named_to_a_webhook(store: Store) -> None:
    key = customer(store, "C-1")
    with serving(says(200)) as server:
        webhook = subscribe(store, server.url, "customer.affected")
        commit(store, a_case(), a_row(key))
        CustomerDirectory(store).erase(key)
        with sending(store):
            until(stands(store, webhook, sent=1))
        assert json.loads(server.seen[0].body)["data"]["customer"] == "(erased)"


# --- receivers that misbehave -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("play", "says_"),
    [
        pytest.param(says(500, b"broken"), "HTTP 500", id="500"),
        pytest.param(says(404), "HTTP 404", id="404"),
        pytest.param(says(302, b"", {"Location": "http://169.254.169.254/"}), "HTTP 302: a redirect", id="a redirect"),
        pytest.param(hangs, "no answer within", id="no answer"),
        pytest.param(swallows, "the connection", id="closes without a word"),
        pytest.param(resets, "the connection", id="breaks off"),
        pytest.param(drips, "no answer within", id="headers byte by byte"),
        pytest.param(endless(500), "HTTP 500", id="an endless body"),
        pytest.param(drips_body(503), "HTTP 503", id="a body byte by byte"),
        pytest.param(bomb(500), "HTTP 500", id="a body that unpacks to very much"),
        pytest.param(writes(b"SSH-2.0-OpenSSH_9.6\r\n"), "", id="no HTTP"),
    ],
)
def test_a_failure_is_tried_again_under_the_same_id_until_it_arrives(store: Store, play: Play, says_: str) -> None:
    with serving(in_turn(play, play, says(200))) as server, sending(store, limit_s=0.3):
        webhook = subscribe(store, server.url)
        fill(store, 1)
        until(stands(store, webhook, sent=1))
        assert ids(server) == ["default/1"] * 3
        with store.reading() as connection:
            assert connection.execute(sa.select(t.webhook_queue.c.attempts)).scalar_one() == 3
    assert subscriptions.get(store, webhook.id).failing_ms is None


def test_why_a_delivery_failed_is_told_without_what_the_receiver_wrote(store: Store) -> None:
    with serving(says(500, b"customer C-1 <script>")) as server, sending(store, schedule_s=(0, 3_600)) as sender:
        webhook = subscribe(store, server.url + "/secret-path")
        fill(store, 1)
        until(lambda: subscriptions.get(store, webhook.id).answer == "HTTP 500")
        status = sender.status()
    assert {name: status[name] for name in ("delivered", "refused", "given_up", "disabled", "error")} == {
        **{"delivered": 0, "refused": 1, "given_up": 0, "disabled": 0},
        "error": "",
    }
    with store.reading() as connection:
        row = connection.execute(sa.select(t.webhook_queue)).one()
    assert (row.state, row.attempts, row.detail) == ("waiting", 1, "HTTP 500")


def test_a_bad_certificate_is_a_failure(store: Store, tmp_path: Path) -> None:
    from tests.servers.http import certificate

    with serving(says(200), tls=certificate(tmp_path / "tls.pem")) as server, sending(store, schedule_s=(0,)):
        webhook = subscribe(store, server.url)
        fill(store, 1)
        until(stands(store, webhook, failed=1))
        assert server.seen == []
    assert "certificate" in subscriptions.get(store, webhook.id).answer


def test_after_the_last_attempt_it_is_given_up_kept_and_can_be_sent_again(store: Store) -> None:
    with serving(in_turn(says(500), says(500), says(500), says(200))) as server, sending(store, schedule_s=(0, 0, 0)):
        webhook = subscribe(store, server.url)
        fill(store, 1)
        until(stands(store, webhook, failed=1))
        assert subscriptions.send_again(store, webhook.id, "cli:test", NOW_MS) == 1
        until(stands(store, webhook, sent=1))
        assert ids(server) == ["default/1"] * 4
    assert [entry.what for entry in audit.entries(store)] == ["webhook.created", "webhook.sent-again"]


def test_a_receiver_that_is_gone_disables_its_webhook_and_a_person_can_resume_it(store: Store) -> None:
    with serving(in_turn(says(410), says(200))) as server, sending(store) as sender:
        webhook = subscribe(store, server.url)
        fill(store, 1)
        until(lambda: subscriptions.get(store, webhook.id).state is State.DISABLED)
        fill(store, 1)
        assert "410" in subscriptions.get(store, webhook.id).reason
        assert sender.status()["disabled"] == 1
        with pytest.raises(UsageError, match="disabled"):
            subscriptions.pause(store, webhook.id, "cli:test", NOW_MS)
        subscriptions.resume(store, webhook.id, "cli:test", NOW_MS)
        until(stands(store, webhook, sent=2))
        assert sorted(ids(server)) == ["default/1", "default/1", "default/2"]
    assert [(entry.who, entry.what) for entry in audit.entries(store)][1:] == [
        ("service", "webhook.disabled"),
        ("cli:test", "webhook.resumed"),
    ]


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_says_when_to_come_back_is_left_alone_until_then(store: Store, status: int) -> None:
    with serving(in_turn(says(status, b"", {"Retry-After": "1"}), says(200))) as server, sending(store):
        webhook = subscribe(store, server.url)
        fill(store, 1)
        until(lambda: len(server.seen) == 1)
        began = time.monotonic()
        fill(store, 1)
        until(stands(store, webhook, sent=2))
        assert time.monotonic() - began > 0.6
        assert len(server.seen) == 3


def test_receivers_that_hang_or_are_not_there_hold_up_no_other(store: Store) -> None:
    with serving(hangs) as dead, serving(says(200)) as well, sending(store, limit_s=5.0, schedule_s=SCHEDULE_S):
        for _ in range(10):
            subscribe(store, dead.url)
        subscribe(store, f"http://127.0.0.1:{free_port()}")
        fill(store, 5)
        until(lambda: len(dead.seen) >= 10 * 5)
        webhook = subscribe(store, well.url, after=0)
        began = time.monotonic()
        until(stands(store, webhook, sent=5))
        assert time.monotonic() - began < 3
        assert dead.connections <= 10 * AT_A_TIME


def test_a_receiver_that_fails_again_and_again_is_tried_by_one_at_a_time_with_pauses(store: Store) -> None:
    with serving(says(500)) as server, sending(store, schedule_s=(0, 3_600)):
        subscribe(store, server.url)
        fill(store, 100)
        until(lambda: len(server.seen) >= 5)
        time.sleep(1.0)  # nothing more comes: the pause is 10 s
        assert len(server.seen) <= 5 + AT_A_TIME


def test_after_five_days_of_failures_a_webhook_is_disabled(store: Store) -> None:
    webhook = subscribe(store, "https://hooks.example.com/")
    fill(store, 3)
    queue.fan_out(store, webhook, 3, NOW_MS)
    due = queue.due(store, webhook.id, NOW_MS, 10, ())
    first = [Settled(due[0], False, "HTTP 500", NOW_MS, NOW_MS + 1)]
    last = [Settled(due[1], False, "HTTP 502", NOW_MS + GIVE_UP_MS, NOW_MS + GIVE_UP_MS + 1)]
    assert queue.settle(store, first) == []
    assert queue.settle(store, [Settled(due[2], True, "HTTP 200", NOW_MS + 5)]) == []
    assert queue.settle(store, last) == []
    assert queue.settle(store, first) == []
    after = NOW_MS + 2 * GIVE_UP_MS
    assert queue.settle(store, [Settled(due[1], False, "HTTP 502", after, after + 1)]) == [webhook.id]
    found = subscriptions.get(store, webhook.id)
    assert found.state is State.DISABLED
    assert found.reason == "every delivery has failed for 5d; the last: HTTP 502"


# --- where it may lead ------------------------------------------------------------------------------------------------

INNER = [
    *("http://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/", "https://169.254.169.254/latest/meta-data/"),
    *("https://100.64.0.1/", "https://[fc00::1]/", "https://[::ffff:127.0.0.1]/", "https://2130706433/"),
    *("https://0x7f.1/", "https://metadata.google.internal/", "https://user:word@example.com/", "ftp://example.com/"),
    *("http://hooks.example.com/", "gopher://example.com/", "https://localhost/"),
]


@pytest.mark.parametrize("url", INNER)
def test_an_address_that_leads_inside_is_refused_when_it_is_stored(store: Store, url: str) -> None:
    with pytest.raises(UsageError, match=r"^url: "):
        subscribe(store, url, rules=STRICT)
    assert subscriptions.listed(store) == []


def test_an_address_that_leads_inside_by_now_is_refused_at_the_delivery(store: Store) -> None:
    with serving(says(200)) as server:
        webhook = subscribe(store, server.url)
        fill(store, 1)
        with sending(store, rules=STRICT, schedule_s=(0,)):
            until(stands(store, webhook, failed=1))
        assert server.connections == 0
    assert "127.0.0.1 is not a public address" in subscriptions.get(store, webhook.id).answer


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_while_a_secret_is_exchanged_both_hold_and_then_the_new_one_alone(store: Store) -> None:
    webhook = subscribe(store, "https://hooks.example.com/")
    (old,) = webhook.keys(NOW_MS)
    rotated, new = subscriptions.rotate(store, webhook.id, "cli:test", NOW_MS)
    assert rotated.keys(NOW_MS) == [new, old]
    assert rotated.keys(NOW_MS + GRACE_MS) == [new]
    again, newest = subscriptions.rotate(store, webhook.id, "cli:test", NOW_MS)
    assert again.keys(NOW_MS) == [newest, new]


def test_a_delivery_verifies_with_either_secret_and_with_no_other() -> None:
    now_ms = SystemClock().now_ms()
    old, new = new_secret(), new_secret()
    body = encoded({"title": "Anmeldung schlägt fehl ⚠"}).encode()
    headers = signed("default/1", body, [new, old], now_ms)
    for key in (old, new):
        Webhook(key).verify(body, headers)
    for wrong in (new_secret(),):
        with pytest.raises(WebhookVerificationError):
            Webhook(wrong).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body, {**headers, "webhook-id": "default/2"})


def test_the_five_lines_of_the_guide_verify_a_delivery() -> None:
    guide = Path("docs/feeds.md").read_text("utf-8")
    code = guide[guide.index("```python\n") + 10 :].split("```")[0]
    space: dict[str, Any] = {}
    exec(code, space)
    secret, now_ms = new_secret(), SystemClock().now_ms()
    headers = {k.lower(): v for k, v in signed("default/1", b"{}", [new_secret(), secret], now_ms).items()}
    assert space["genuine"](secret, headers, b"{}")
    assert not space["genuine"](secret, headers, b"{ }")
    assert not space["genuine"](new_secret(), headers, b"{}")
    old = signed("default/1", b"{}", [secret], now_ms - 600_000)
    assert not space["genuine"](secret, {k.lower(): v for k, v in old.items()}, b"{}")


# --- the schedule, pausing, limits ------------------------------------------------------------------------------------


def test_the_schedule_is_that_of_standard_webhooks_and_waits_are_up_to_a_tenth_longer() -> None:
    waits = [next_wait_ms(n, 0.0) for n in range(1, len(SCHEDULE_S))]
    assert waits == [s * 1_000 for s in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)]
    assert next_wait_ms(len(SCHEDULE_S), 0.0) is None
    assert next_wait_ms(2, 0.999) == pytest.approx(330_000, rel=0.01)


def test_a_paused_webhook_gets_afterwards_what_came_meanwhile(store: Store) -> None:
    with serving(says(200)) as server, sending(store):
        webhook = subscribe(store, server.url)
        subscriptions.pause(store, webhook.id, "cli:test", NOW_MS)
        fill(store, 3)
        time.sleep(0.6)
        assert server.seen == []
        subscriptions.resume(store, webhook.id, "cli:test", NOW_MS)
        until(stands(store, webhook, sent=3))


def test_a_deleted_webhook_gets_nothing_more_and_leaves_nothing(store: Store) -> None:
    with serving(says(500)) as server, sending(store, schedule_s=(0, 3_600)):
        webhook = subscribe(store, server.url)
        fill(store, 3)
        until(lambda: len(server.seen) == 3)
        subscriptions.delete(store, webhook.id, "cli:test", NOW_MS)
        fill(store, 1)
        time.sleep(0.6)
        assert len(server.seen) == 3
    with store.reading() as connection:
        assert connection.execute(sa.select(t.webhook_queue)).all() == []


def test_more_webhooks_than_may_be_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST", 2)
    for _ in range(2):
        subscribe(store, "https://hooks.example.com/")
    with pytest.raises(UsageError, match="there are 2 already"):
        subscribe(store, "https://hooks.example.com/")


def test_what_is_not_kept_any_more_is_given_up(store: Store) -> None:
    webhook = subscribe(store, "https://hooks.example.com/")
    fill(store, 3)
    queue.fan_out(store, webhook, 3, NOW_MS)
    subscriptions.pause(store, webhook.id, "cli:test", NOW_MS)
    assert prune_feed(store, NOW_MS + 1) == 2
    assert queued(store, webhook) == {"waiting": 1, "sent": 0, "failed": 0}
    with store.transaction() as connection:
        connection.execute(sa.delete(t.feed))
    subscriptions.resume(store, webhook.id, "cli:test", NOW_MS)
    with sending(store):
        until(stands(store, webhook, failed=1))


def test_an_active_webhook_keeps_what_it_waits_for_and_a_stopped_one_nothing(store: Store) -> None:
    webhook = subscribe(store, "https://hooks.example.com/")
    fill(store, 5)
    assert prune_feed(store, NOW_MS + 1) == 0  # nothing of it is queued yet
    queue.fan_out(store, webhook, 5, NOW_MS)
    queue.settle(store, [Settled(Due(webhook.id, seq, 0), True, "HTTP 200", NOW_MS) for seq in (1, 2, 4)])
    assert prune_feed(store, NOW_MS + 1) == 2
    subscriptions.pause(store, webhook.id, "cli:test", NOW_MS)
    assert prune_feed(store, NOW_MS + 1) == 2
    assert [entry.seq for entry in read(store, 0).entries] == [5]


def test_another_tenants_webhook_is_not_there(store: Store) -> None:
    webhook = subscribe(store, "https://hooks.example.com/")
    with open_store(store.where, tenant="other") as other:
        assert subscriptions.listed(other) == []
        for do in (subscriptions.get, subscriptions.queued):
            if do is subscriptions.get:
                with pytest.raises(UsageError):
                    do(other, webhook.id)
        with pytest.raises(UsageError):
            subscriptions.delete(other, webhook.id, "cli:test", NOW_MS)
    assert subscriptions.get(store, webhook.id) == webhook


def test_what_is_under_way_at_a_stop_ends_first(store: Store) -> None:
    async def dawdles(seen: Seen, writer: Any) -> None:
        await asyncio.sleep(0.5)
        await says(200)(seen, writer)

    with serving(dawdles) as server:
        webhook = subscribe(store, server.url)
        with sending(store, limit_s=5.0) as sender:
            assert sender.alive
            fill(store, 1)
            until(lambda: len(server.seen) == 1)
        assert not sender.alive
        assert queued(store, webhook)["sent"] == 1


def test_a_store_that_cannot_be_written_now_is_waited_for_and_nothing_is_sent_twice(store: Store) -> None:
    with serving(says(200)) as server:
        webhook = subscribe(store, server.url)
        fill(store, 1)
        with open_store(store.path) as other:
            gate = Gate()
            with sending(Hindered(store, gate)) as sender:
                until(lambda: len(server.seen) == 1)
                until(lambda: "disk is full" in sender.status()["error"])
                assert queued(other, webhook)["sent"] == 0
                gate.open = True
                until(stands(other, webhook, sent=1))
                until(lambda: sender.status()["error"] == "")
        assert ids(server) == ["default/1"]


class Gate:
    open = False


class Hindered(Store):
    """A store on which what was sent can't be written down until the gate opens: the disk is full."""

    def __init__(self, store: Store, gate: Gate) -> None:
        super().__init__(store.engine, store.where, store.tenant)
        self.gate, self.writes = gate, 0

    def again(self, busy_ms: int | None = None) -> Store:
        return Hindered(super().again(busy_ms), self.gate)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        self.writes += 1
        if self.writes > 1 and not self.gate.open:
            message = "the disk is full"
            raise UnreachableError(message)
        with super().transaction() as connection:
            yield connection


# --- kill -9 ----------------------------------------------------------------------------------------------------------

SENDER = """
import sys, time
from streams.clock import SystemClock
from streams.feeds.sender import WebhookSender
from streams.net import Rules, networks
from streams.store import open_store
with open_store(sys.argv[1]) as store:
    sender = WebhookSender(store, SystemClock(), rules=Rules(networks(["127.0.0.1"]), insecure=True))
    sender.start()
    print("sending", flush=True)
    time.sleep(60)
"""


@contextmanager
def process(store: Store) -> Iterator["subprocess.Popen[bytes]"]:
    started = subprocess.Popen(
        [sys.executable, "-c", SENDER, str(store.path)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"sending\n"
    try:
        yield started
    finally:
        started.kill()
        started.wait()
        started.stdout.close()


@pytest.mark.parametrize("answered", [pytest.param(False, id="before"), pytest.param(True, id="after")])
def test_a_kill_around_the_answer_sends_it_once_more_under_the_same_id_and_loses_nothing(
    store: Store, answered: bool
) -> None:
    victim: list[int] = []

    async def kills(seen: Seen, writer: Any) -> None:
        if answered or not victim:
            await says(200)(seen, writer)
        if victim:
            os.kill(victim.pop(), signal.SIGKILL)

    with serving(kills) as server:
        webhook = subscribe(store, server.url)
        with process(store) as first:
            victim.append(first.pid)
            fill(store, 20)
            assert first.wait(WAIT_S) == -signal.SIGKILL
        with process(store):
            until(stands(store, webhook, sent=20))
        counts = {id: ids(server).count(id) for id in ids(server)}
        assert set(counts) == {f"default/{i}" for i in range(1, 21)}
        assert max(counts.values()) <= 2
        assert sum(counts.values()) <= 20 + AT_A_TIME
        if not answered:
            assert max(counts.values()) == 2
