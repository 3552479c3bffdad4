"""The feed over HTTP: nothing is lost or told twice, whatever breaks in between; who is too slow or too late is told."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from detector.desk.records import CaseState, CustomerState, NoticeState
from streams.feeds import log
from streams.store import Store, open_store, tokens
from streams.store.directory import CustomerDirectory
from streams.store.retention import prune_feed
from streams.store.tokens import Scope
from streams.web import feeds
from streams.web.feeds import hub_of
from tests.servers.http import free_port
from tests.servers.listening import listening
from tests.servers.web import app, token
from tests.streams.feed_rows import NOW_MS, a_case, a_notice, a_row, commit, customer, fill, live_store

pytestmark = pytest.mark.slow

WAIT_S = 10.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with live_store(tmp_path / "tocsin.db") as store:
        yield store


@pytest.fixture
def reader(store: Store) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(store, Scope.READ)}"}


class Follower:
    """A client of the stream that keeps what it was told."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.comments: list[str] = []
        self.retry: list[str] = []

    def next(self) -> dict[str, str] | None:
        """Return the next event's fields; None at the end of the stream."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line.startswith("retry:"):
                self.retry.append(line[6:].strip())
            elif line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                return fields
            else:
                return {}
        return None

    def take(self, n: int) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        while len(found) < n:
            event = self.next()
            assert event is not None, f"the stream ended after {len(found)} of {n}"
            if event:
                found.append(event)
        return found

    def rest(self) -> list[dict[str, str]]:
        return [event for event in iter(self.next, None) if event]


@contextmanager
def following(url: str, headers: dict[str, str], **params: Any) -> Iterator[Follower]:
    with httpx.stream("GET", f"{url}/v1/feed/stream", headers=headers, params=params, timeout=WAIT_S) as response:
        if response.status_code != 200:
            response.read()
        assert response.status_code == 200, response.text
        follower = Follower(response)
        assert follower.next() == {}  # the greeting: everything from here on is told
        yield follower


def numbers(events: list[dict[str, str]]) -> list[int]:
    return [int(event["id"].removeprefix("default/")) for event in events]


# --- the stream -------------------------------------------------------------------------------------------------------


def test_an_event_is_told_within_a_moment_as_a_cloudevent_with_the_customers_id(
    store: Store, reader: dict[str, str]
) -> None:
    key = customer(store, "C-1")
    with listening(app(store)) as url, following(url, reader) as follower:
        began = time.monotonic()
        commit(store, a_case(), a_row(key))
        opened, affected = follower.take(2)
        assert time.monotonic() - began < 1.5
    assert follower.retry == ["2000"]
    assert (opened["id"], opened["event"]) == ("default/1", "case.opened")
    told = json.loads(affected["data"])
    assert {name: told[name] for name in told if name != "data"} == {
        "specversion": "1.0",
        "id": "default/2",
        "source": "/tocsin/default",
        "type": "customer.affected",
        "subject": "case-1",
        "time": "2026-03-02T02:00:00Z",
        "datacontenttype": "application/json",
    }
    assert told["data"]["customer"] == "C-1"


def test_a_stream_is_taken_up_over_a_restart_without_loss_and_without_repetition(
    store: Store, reader: dict[str, str]
) -> None:
    port, seen = free_port(), list[int]()
    fill(store, 3)
    with listening(app(store), port) as url, following(url, reader, after="0") as follower:
        fill(store, 2)
        seen += numbers(follower.take(4))
    fill(store, 3)
    with listening(app(store), port) as url:
        last = {"Last-Event-ID": f"default/{seen[-1]}"}
        with following(url, {**reader, **last}) as follower:
            seen += numbers(follower.take(2))
        with following(url, reader, after=str(seen[-1])) as follower:
            seen += numbers(follower.take(2))
    assert seen == list(range(1, 9))


def test_closing_ends_a_stream_between_events(store: Store, reader: dict[str, str]) -> None:
    fill(store, 2)
    application = app(store)
    with listening(application) as url, following(url, reader, after="0") as follower:
        assert numbers(follower.take(2)) == [1, 2]
        hub_of(application).close()
        assert follower.rest() == []


def test_without_a_place_it_begins_now(store: Store, reader: dict[str, str]) -> None:
    fill(store, 3)
    with listening(app(store)) as url, following(url, reader) as follower:
        fill(store, 1)
        assert numbers(follower.take(1)) == [4]


def test_filters_let_only_what_is_asked_for_pass(store: Store, reader: dict[str, str]) -> None:
    with listening(app(store)) as url:
        with (
            following(url, reader, types="customer.affected, case.resolved") as by_type,
            following(url, reader, case="case-2") as by_case,
        ):
            commit(store, a_case(), a_row(1), a_case("case-2"), a_row(2, "case-2"))
            commit(store, a_case(state=CaseState.RESOLVED), a_row(1, state=CustomerState.RECOVERED))
            commit(store, a_case("case-2", state=CaseState.DISMISSED))
            assert [event["event"] for event in by_type.take(3)] == [
                *("customer.affected", "customer.affected", "case.resolved")
            ]
            assert [event["event"] for event in by_case.take(3)] == [
                *("case.opened", "customer.affected", "case.dismissed")
            ]


@pytest.mark.slow
def test_many_follow_at_once_and_each_gets_everything(store: Store, reader: dict[str, str]) -> None:
    got: dict[int, list[int]] = {}
    ready = threading.Barrier(11)
    with listening(app(store)) as url:

        def one(i: int) -> None:
            with following(url, reader) as follower:
                ready.wait(WAIT_S)
                got[i] = numbers(follower.take(500))

        threads = [threading.Thread(target=one, args=(i,)) for i in range(10)]
        for thread in threads:
            thread.start()
        ready.wait(WAIT_S)
        for _ in range(5):
            fill(store, 100)
        for thread in threads:
            thread.join(30)
    assert got == {i: list(range(1, 501)) for i in range(10)}


def test_a_quiet_stream_gives_signs_of_life(store: Store, reader: dict[str, str]) -> None:
    application = app(store)
    hub_of(application)._quiet_s = 0.2
    with listening(application) as url, following(url, reader) as follower:
        assert follower.next() == {}
    assert follower.comments[-1] == "nothing new"


def test_who_may_not_read_any_more_is_let_go(
    store: Store, reader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "RECHECK_S", 0.3)
    application = app(store)
    hub_of(application)._quiet_s = 0.2
    with listening(application) as url, following(url, reader) as follower:
        fill(store, 1)
        assert numbers(follower.take(1)) == [1]
        (found,) = tokens.listed(store)
        tokens.revoke(store, found.id, "cli:test", NOW_MS)
        assert follower.rest() == []


def test_more_than_may_follow_are_sent_away_and_come_back(store: Store, reader: dict[str, str]) -> None:
    application = app(store)
    hub_of(application)._most = 1
    with listening(application) as url:
        with following(url, reader):
            refused = httpx.get(f"{url}/v1/feed/stream", headers=reader, timeout=WAIT_S)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        until(lambda: hub_of(application).followers == 0)
        with following(url, reader):
            pass


@pytest.mark.slow
def test_whoever_takes_nothing_is_let_go_and_can_take_up_again(
    store: Store, reader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "SEND_S", 0.5)
    fill(store, 6_000)
    application = app(store)
    with listening(application) as url:
        host, port = httpx.URL(url).host, httpx.URL(url).port
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            plain.connect((host, port))
            lines = [
                "GET /v1/feed/stream?after=0 HTTP/1.1",
                "Host: 127.0.0.1",
                f"Authorization: {reader['Authorization']}",
            ]
            plain.sendall("\r\n".join([*lines, "", ""]).encode())
            until(lambda: hub_of(application).followers == 1)
            until(lambda: hub_of(application).followers == 0)
            plain.settimeout(WAIT_S)
            received = b"".join(iter(lambda: plain.recv(65_536), b""))
        whole = received[: received.rindex(b"\n\n")]
        last = int(whole[whole.rindex(b"id: default/") :].split(b"\n")[0].removeprefix(b"id: default/"))
        assert 0 < last < 6_000
        with following(url, {**reader, "Last-Event-ID": f"default/{last}"}) as follower:
            assert numbers(follower.take(6_000 - last)) == list(range(last + 1, 6_001))


def test_what_is_not_kept_any_more_is_refused_and_what_to_do_is_said(store: Store, reader: dict[str, str]) -> None:
    fill(store, 5, at_ms=NOW_MS)
    fill(store, 5, at_ms=NOW_MS + 1_000)
    assert prune_feed(store, NOW_MS + 1_000) == 5
    with listening(app(store)) as url:
        for path in ("/v1/feed", "/v1/feed/stream"):
            gone = httpx.get(url + path, headers=reader, params={"after": "default/3"})
            assert (gone.status_code, gone.json()["code"], gone.json()["oldest"]) == (410, "feed-gap", "default/6")
            assert "GET /v1/cases" in gone.json()["detail"]
            ahead = httpx.get(url + path, headers=reader, params={"after": "11"})
            assert (ahead.status_code, ahead.json()["newest"]) == (410, "default/10")
        with following(url, reader, after="5") as follower:
            assert numbers(follower.take(5)) == [6, 7, 8, 9, 10]


def test_who_falls_behind_what_is_kept_is_told_within_the_stream(store: Store, reader: dict[str, str]) -> None:
    application = app(store)
    hub = hub_of(application)
    fill(store, 1)
    with listening(application) as url, following(url, reader, after="1") as follower:
        until(lambda: hub.followers == 1)
        hub._poll_s = 60
        time.sleep(0.5)  # the last look before the long sleep
        fill(store, 3)
        prune_feed(store, NOW_MS + 1)
        fill(store, 1)
        hub._newest = 5
        assert hub._loop is not None
        hub._loop.call_soon_threadsafe(hub._wake)
        (gap,) = follower.rest()
    assert gap["event"] == "feed.gap"
    assert json.loads(gap["data"])["after"] == "default/1"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        pytest.param({"after": "other/1"}, "expected an event's id such as default/1", id="another tenant"),
        pytest.param({"after": "-1"}, "expected an event's id", id="no number"),
        pytest.param({"after": "9" * 30}, "expected an event's id", id="too large"),
        pytest.param({"types": "case.opend"}, 'did you mean "case.opened"?', id="a type that is none"),
    ],
)
def test_what_makes_no_sense_is_refused(
    store: Store, reader: dict[str, str], params: dict[str, str], says: str
) -> None:
    with listening(app(store)) as url:
        for path in ("/v1/feed", "/v1/feed/stream"):
            refused = httpx.get(url + path, headers=reader, params=params)
            assert refused.status_code == 422
            assert says in refused.json()["detail"]


# --- pages ------------------------------------------------------------------------------------------------------------


def test_pages_follow_each_other_by_their_link(store: Store, reader: dict[str, str]) -> None:
    fill(store, 7)
    with listening(app(store)) as url, httpx.Client(base_url=url, headers=reader) as client:
        seen, path = [], "/v1/feed?limit=3"
        while True:
            found = client.get(path)
            assert found.headers["content-type"] == "application/cloudevents-batch+json"
            if not found.json():
                break
            seen += [event["id"] for event in found.json()]
            path = found.links["next"]["url"]
        assert seen == [f"default/{i}" for i in range(1, 8)]
        fill(store, 1)
        assert [event["id"] for event in client.get(path).json()] == ["default/8"]


@pytest.mark.parametrize("kind", ["application/json", "application/cloudevents-batch+json"])
def test_a_page_is_json_for_whoever_asks_for_json(store: Store, reader: dict[str, str], kind: str) -> None:
    with listening(app(store)) as url:
        found = httpx.get(f"{url}/v1/feed", headers={**reader, "Accept": kind})
    assert (found.status_code, found.headers["content-type"], found.json()) == (200, kind, [])


def test_a_filtered_page_goes_on_behind_what_it_looked_through(store: Store, reader: dict[str, str]) -> None:
    fill(store, 50)
    with listening(app(store)) as url, httpx.Client(base_url=url, headers=reader) as client:
        empty = client.get("/v1/feed?types=notice.sent")
        assert empty.json() == []
        assert empty.links["next"]["url"] == "/v1/feed?after=default/50&types=notice.sent&limit=200"


def test_an_erased_customer_is_not_named_any_more(store: Store, reader: dict[str, str]) -> None:
    key = customer(store, "C-1")
    commit(store, a_case(), a_row(key), a_notice(key, NoticeState.SENT))
    with listening(app(store)) as url, httpx.Client(base_url=url, headers=reader) as client:
        assert client.get("/v1/feed?after=1").text.count("C-1") == 2
        CustomerDirectory(store).erase(key)
        assert "C-1" not in client.get("/v1/feed").text
        assert [event["data"]["customer"] for event in client.get("/v1/feed?after=1").json()] == ["(erased)"] * 2


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        pytest.param(None, 401, id="nobody"),
        pytest.param(Scope.INGEST, 403, id="ingest"),
        pytest.param(Scope.READ, 200, id="read"),
    ],
)
def test_only_who_may_read_is_told(store: Store, scope: Scope | None, status: int) -> None:
    headers = {} if scope is None else {"Authorization": f"Bearer {token(store, scope)}"}
    with listening(app(store)) as url:
        assert httpx.get(f"{url}/v1/feed", headers=headers).status_code == status
        with httpx.stream("GET", f"{url}/v1/feed/stream", headers=headers, timeout=WAIT_S) as response:
            assert response.status_code == status


def test_another_tenants_events_are_not_there(store: Store, reader: dict[str, str]) -> None:
    with open_store(store.where, tenant="other") as other:
        commit(other, a_case("theirs", tenant="other"))
        assert log.bounds(other) == (1, 1)
    fill(store, 1)
    with listening(app(store)) as url:
        found = httpx.get(f"{url}/v1/feed", headers=reader).json()
    assert [event["subject"] for event in found] == ["case-1"]


# --- pruning ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pruning_keeps_the_newest_event_so_that_no_number_is_used_twice(store: Store) -> None:
    fill(store, 25_000)
    assert prune_feed(store, NOW_MS) == 0
    assert prune_feed(store, NOW_MS + 1) == 24_999
    assert log.bounds(store) == (25_000, 25_000)
    assert prune_feed(store, NOW_MS + 1) == 0
    fill(store, 1)
    assert log.bounds(store) == (25_000, 25_001)


def test_pruning_an_empty_feed_does_nothing(store: Store) -> None:
    assert prune_feed(store, NOW_MS) == 0


# --- a process of its own ---------------------------------------------------------------------------------------------

SERVER = """
import sys, uvicorn
from streams.store import open_store
from tests.servers.web import app
with open_store(sys.argv[1]) as store:
    uvicorn.run(app(store), port=int(sys.argv[2]), log_level="error")
"""


@pytest.mark.slow
def test_a_server_that_is_told_to_stop_lets_its_followers_go_at_once(store: Store, reader: dict[str, str]) -> None:
    port = free_port()
    fill(store, 1)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(store.path), str(port)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stderr=subprocess.PIPE,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: listens(port), 30)
        with following(url, reader) as follower:
            process.send_signal(signal.SIGTERM)
            assert follower.rest() == []
            assert process.wait(5) in (0, -signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Any, seconds: float = WAIT_S) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.02)
