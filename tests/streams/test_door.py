"""The door over HTTP: what is answered 202 is on disk, everything else was not taken, and no body gets out of hand."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from detector.errors import UnreachableError, UsageError
from streams.clock import SystemClock
from streams.engines.pulse import Pulse
from streams.engines.session import FORMAT
from streams.intake.bodies import lines
from streams.sections import KafkaSection
from streams.settings import Settings
from streams.store import Store
from streams.store.engines import claim_kafka_input
from streams.store.tokens import Scope
from streams.web import door as doors
from streams.web import health, livelog
from streams.web.app import create_app
from streams.web.door import door_of
from streams.web.problem import ProblemError
from tests.servers import web
from tests.servers.stores import new_store

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
KB, MB = 1 << 10, 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with new_store(tmp_path / "door.db") as found:
        yield found


def asked(store: Store, ask: Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]], **kwargs: Any) -> Any:
    async def run() -> Any:
        async with web.client(store, **kwargs) as client:
            return await ask(client)

    return asyncio.run(run())


def post(store: Store, body: Any, headers: dict[str, str], path: str = "/v1/events", **kwargs: Any) -> httpx.Response:
    found: httpx.Response = asked(store, lambda client: client.post(path, content=body, headers=headers), **kwargs)
    return found


def log(store: Store) -> bytes:
    return b"".join(row.data or b"" for row in store.intake(0))


def small(**service: Any) -> Settings:
    return web.settings_of(**service)


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_what_is_answered_202_stands_in_the_log_with_its_ingest_time(store: Store) -> None:
    before = SystemClock().now_ms()
    answer = post(store, b'{"a":1}\n{"a":2}', NDJSON)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "bytes": 16})
    (row,) = store.intake(0)
    assert (row.source, row.position, row.next, row.data) == ("http", 0, 16, b'{"a":1}\n{"a":2}\n')
    assert before <= row.ingest_ms <= SystemClock().now_ms()
    assert store.mode == "live"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "headers", "taken"),
    [
        pytest.param(b'[{"a":1},\n{"a":\n2}]', JSON, b'{"a":1}\n{"a": 2}\n', id="array"),
        pytest.param(b'{"a":1}', JSON, b'{"a":1}\n', id="one object"),
        pytest.param(b"[]", JSON, b"", id="nothing"),
        pytest.param(b"", NDJSON, b"", id="an empty body"),
        pytest.param(
            b'{"a":1}', {"Content-Type": "application/json; charset=UTF-8"}, b'{"a":1}\n', id="with a charset"
        ),
        pytest.param(gzip.compress(b'{"a":1}\n'), {**NDJSON, "Content-Encoding": "gzip"}, b'{"a":1}\n', id="gzip"),
        pytest.param(
            b'{"specversion":"1.0","id":"1","source":"/s","type":"pay","data":{"bank":"BNI"}}',
            {"Content-Type": "application/cloudevents+json; charset=utf-8"},
            b'{"bank":"BNI","id":"/s 1","kind":"pay"}\n',
            id="CloudEvent",
        ),
        pytest.param(
            b'[{"specversion":"1.0","id":"1","source":"/s","type":"pay"}]',
            {"Content-Type": "application/cloudevents-batch+json"},
            b'{"id":"/s 1","kind":"pay"}\n',
            id="CloudEvents",
        ),
        pytest.param(
            b'{"bank":"BNI"}',
            {**JSON, "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "pay"},
            b'{"bank":"BNI","id":"/s 1","kind":"pay"}\n',
            id="CloudEvent in headers",
        ),
        pytest.param(b"\xff\xfe\nnull\n{", NDJSON, b"\xff\xfe\nnull\n{\n", id="what is no event at all"),
    ],
)
def test_a_body_is_taken_as_its_type_says(store: Store, body: bytes, headers: dict[str, str], taken: bytes) -> None:
    answer = post(store, body, headers)
    assert (answer.status_code, answer.json()["accepted"]) == (202, taken.count(b"\n"))
    assert log(store) == taken


def test_a_mapped_format_gets_the_whole_envelope(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tocsin.yml").write_text("input: {format: shop}\nformats: {shop: {time: time}}\n", encoding="utf-8")
    (tmp_path / "signals.yml").write_text((web.settings_of().directory / "signals.yml").read_text(), encoding="utf-8")
    body = b'{"specversion":"1.0","id":"1","source":"/s","type":"pay","data":{"bank":"BNI"}}'
    post(store, body, {"Content-Type": "application/cloudevents+json"}, settings=web.settings_of(tmp_path))
    assert log(store) == body + b"\n"


@pytest.mark.slow
def test_opentelemetry_hears_what_it_expects(store: Store) -> None:
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1544712660300000000"}, 5]}]}]}
    whole = msgspec.json.encode(body)
    answer = post(store, whole, JSON, "/v1/logs")
    assert (answer.status_code, answer.json()["partialSuccess"]["rejectedLogRecords"]) == (200, "1")
    answer = post(store, whole.replace(b",5]", b"]"), JSON, "/v1/logs")
    assert (answer.status_code, answer.json()) == (200, {})
    assert post(store, b"\x0a", {"Content-Type": "application/x-protobuf"}, "/v1/logs").status_code == 415


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        pytest.param(b'[{"a":1}', JSON, 400, "unreadable-body", id="an array that breaks off"),
        pytest.param(
            b"\x1f\x8b\x08", {**NDJSON, "Content-Encoding": "gzip"}, 400, "unreadable-body", id="half a package"
        ),
        pytest.param(
            b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type", id="a form"
        ),
        pytest.param(b"{}", {"Content-Type": "text/plain"}, 415, "unsupported-media-type", id="text"),
        pytest.param(
            b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415, "unsupported-media-type", id="UTF-16"
        ),
        pytest.param(b"{}", {**JSON, "Content-Encoding": "br"}, 415, "unsupported-encoding", id="another packing"),
        pytest.param(b"{}\n" * 500, NDJSON, 413, "too-large", id="too long"),
        pytest.param(
            gzip.compress(b"{}\n" * 500), {**NDJSON, "Content-Encoding": "gzip"}, 413, "too-large", id="unpacks to more"
        ),
    ],
)
def test_what_is_refused_says_why_and_leaves_nothing(
    store: Store, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = post(store, body, headers, settings=small(request_bytes=1_024))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert log(store) == b""


def test_a_body_without_a_stated_length_is_bounded_too(store: Store) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b'{"a":1}\n' * 64

    answer = post(store, endless(), NDJSON, settings=small(request_bytes=4 * KB))
    assert answer.status_code == 413
    assert log(store) == b""


@pytest.mark.slow
def test_only_who_may_send_events_gets_in(store: Store) -> None:
    for scope, status in (
        (None, 401),
        (Scope.READ, 403),
        (Scope.OPERATE, 403),
        (Scope.INGEST, 202),
        (Scope.ADMIN, 202),
    ):
        assert post(store, b"{}\n", NDJSON, scope=scope).status_code == status
    assert log(store) == b"{}\n" * 2


def test_a_recording_takes_no_events(store: Store) -> None:
    store.claim_mode("recording")
    answer = post(store, b"{}\n", NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (409, "recording")
    assert log(store) == b""


def test_before_anybody_worked_on_a_store_that_is_for_kafka_nothing_goes_where_no_worker_reads(store: Store) -> None:
    settings = replace(web.settings_of(), kafka=KafkaSection(brokers=("127.0.0.1:1",)))
    answer = post(store, b"{}\n", NDJSON, settings=settings)
    assert (answer.status_code, answer.json()["code"]) == (503, "no-worker")
    assert "tocsin worker" in answer.json()["detail"] and int(answer.headers["retry-after"]) > 0
    assert log(store) == b""

    store.set_meta(f"{FORMAT}:{store.tenant}", b"{}")  # as `tocsin work` does
    assert post(store, b"{}\n", NDJSON, settings=settings).status_code == 202
    assert log(store) == b"{}\n"
    with pytest.raises(UsageError, match="its engines run on one machine"):
        claim_kafka_input(store, "tocsin.events", 3)


@pytest.mark.slow
def test_without_brokers_the_door_says_so_at_once(store: Store) -> None:
    claim_kafka_input(store, "tocsin.events", 3)
    settings = replace(web.settings_of(), kafka=KafkaSection(brokers=("127.0.0.1:1",)))

    async def ask(client: httpx.AsyncClient) -> None:
        for _ in range(2):
            answer = await client.post("/v1/events", content=b"{}\n", headers=NDJSON)
            assert (answer.status_code, answer.json()["code"]) == (503, "unwritable")
            assert "the brokers at 127.0.0.1:1 do not answer" in answer.json()["detail"]
        checks = {check["name"]: check for check in (await client.get("/readyz")).json()["checks"]}
        assert checks["store"]["ok"] and not checks["brokers"]["ok"]
        assert checks["work"]["detail"] == "no work process has been seen; `tocsin worker` starts one"
        refused = await client.post("/v1/events", content=b"[1", headers=JSON)
        assert refused.status_code == 400

    asked(store, ask, settings=settings)
    assert log(store) == b""


@pytest.mark.slow
def test_a_body_that_dawdles_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "IDLE_S", 0.1)
    app = create_app(web.web(store))
    door = door_of(app)

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"a":1}\n'
        await asyncio.sleep(60)

    async def ask() -> None:
        from starlette.requests import Request

        pieces = slowly()

        async def receive() -> Any:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        with pytest.raises(ProblemError) as raised:
            await door.take(Request(scope, receive), lambda body: (lines(body), 0))
        assert raised.value.status == 408
        await door.close()

    asyncio.run(ask())
    assert log(store) == b""


# --- back-pressure ----------------------------------------------------------------------------------------------------


def test_beyond_the_backlog_senders_wait_until_it_is_worked_off(store: Store) -> None:
    body = b"x" * (300 * KB) + b"\n"

    async def ask(client: httpx.AsyncClient) -> None:
        for _ in range(4):
            last = await client.post("/v1/events", content=body, headers=NDJSON)
            if last.status_code != 202:
                break
        assert (last.status_code, last.json()["code"]) == (429, "busy")
        assert int(last.headers["retry-after"]) > 0
        taken = len(list(store.intake(0)))
        with store.transaction() as connection:
            from streams.store import tables as t

            connection.execute(sa.delete(t.intake))
            row = {"tenant": store.tenant, "source": "<intake>", "next": taken, "detail": b""}
            connection.execute(sa.insert(t.position), row)
        async with asyncio.timeout(10):
            while (await client.post("/v1/events", content=b"{}\n", headers=NDJSON)).status_code != 202:
                await asyncio.sleep(0.05)

    asked(store, ask, settings=small(backlog_bytes=MB))


def test_a_backlog_of_before_counts(store: Store) -> None:
    from streams.store.values import Piece

    store.claim_mode("live")
    store.append_pieces("http", [Piece(b"x" * MB, MB)], 1)
    assert post(store, b"{}\n", NDJSON, settings=small(backlog_bytes=MB)).status_code == 429


@pytest.mark.slow
def test_many_requests_share_a_transaction(store: Store) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        await client.post("/v1/events", content=b"{}\n", headers=NDJSON)
        hold, holding = threading.Event(), threading.Event()
        held = threading.Thread(target=_hold, args=(store, hold, holding))
        held.start()
        assert await asyncio.to_thread(holding.wait, 30)
        many = [asyncio.create_task(client.post("/v1/events", content=b"{}\n", headers=NDJSON)) for _ in range(50)]
        await asyncio.sleep(0.5)
        hold.set()
        assert {answer.status_code for answer in await asyncio.gather(*many)} == {202}
        await asyncio.to_thread(held.join)

    asked(store, ask)
    assert log(store) == b"{}\n" * 51
    assert len(list(store.intake(0))) <= 5


def _hold(store: Store, until: threading.Event, holding: threading.Event | None = None) -> None:
    """Hold the store's write lock."""
    with store.transaction():
        if holding is not None:
            holding.set()
        until.wait(30)


# --- a store that can't be written ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_while_the_store_is_locked_nothing_is_acknowledged_and_then_it_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livelog, "BUSY_MS", 300)

    async def ask(client: httpx.AsyncClient) -> None:
        assert (await client.post("/v1/events", content=b"1\n", headers=NDJSON)).status_code == 202
        hold, holding = threading.Event(), threading.Event()
        held = threading.Thread(target=_hold, args=(store, hold, holding))
        held.start()
        assert await asyncio.to_thread(holding.wait, 30)
        answer = await client.post("/v1/events", content=b"2\n", headers=NDJSON)
        assert (answer.status_code, answer.json()["code"]) == (503, "unwritable")
        assert int(answer.headers["retry-after"]) > 0
        ready = (await client.get("/readyz")).json()
        assert {check["name"]: check["ok"] for check in ready["checks"]}["store"] is False
        hold.set()
        await asyncio.to_thread(held.join)
        assert (await client.post("/v1/events", content=b"3\n", headers=NDJSON)).status_code == 202

    asked(store, ask)
    assert log(store) == b"1\n3\n"


@pytest.mark.slow
def test_a_service_that_could_not_write_is_ready_again_without_a_further_request(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livelog, "BUSY_MS", 100)
    monkeypatch.setattr(health, "FAILING_S", 0.0)
    monkeypatch.setattr(health, "KEPT_S", 0.0)
    application = web.app(store)

    async def ask(client: httpx.AsyncClient) -> None:
        assert (await client.post("/v1/events", content=b"0\n", headers=NDJSON)).status_code == 202
        health.health_of(application).pulse = pulse = Pulse(store, "web", SystemClock(), dict)
        hold, holding = threading.Event(), threading.Event()
        held = threading.Thread(target=_hold, args=(store, hold, holding))
        held.start()
        try:
            assert await asyncio.to_thread(holding.wait, 30)
            assert (await client.post("/v1/events", content=b"1\n", headers=NDJSON)).status_code == 503
            assert not await store_is_well(client)
            hold.set()
            async with asyncio.timeout(30):
                while not await store_is_well(client):
                    await asyncio.sleep(0.05)
        finally:
            hold.set()
            await asyncio.to_thread(held.join)
            await asyncio.to_thread(pulse.close)

    asked(store, ask, application=application)


async def store_is_well(client: httpx.AsyncClient) -> bool:
    ready = (await client.get("/readyz")).json()
    return {str(check["name"]): bool(check["ok"]) for check in ready["checks"]}["store"]


def test_a_full_disk_acknowledges_nothing_and_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    full = True
    whole = Store.append_pieces

    def append(self: Store, *arguments: Any) -> Any:
        if full:
            message = "the disk is full"
            raise UnreachableError(message)
        return whole(self, *arguments)

    monkeypatch.setattr(Store, "append_pieces", append)

    async def ask(client: httpx.AsyncClient) -> None:
        nonlocal full
        answer = await client.post("/v1/events", content=b"1\n", headers=NDJSON)
        assert (answer.status_code, answer.json()["detail"]) == (
            503,
            "the store can't take events now; send it again later",
        )
        full = False
        assert (await client.post("/v1/events", content=b"2\n", headers=NDJSON)).status_code == 202
        text = (await client.get("/metrics")).text
        assert 'tocsin_door_refused_total{reason="unwritable"} 1.0' in text
        assert "tocsin_door_events_total 1.0" in text
        assert 'tocsin_http_requests_total{method="POST",route="/v1/events",status="503"} 1.0' in text

    asked(store, ask)
    assert log(store) == b"2\n"


@pytest.mark.slow
def test_a_probe_that_asks_for_the_head_gets_the_same_answer(store: Store) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        for path in ("/healthz", "/readyz"):
            whole, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.headers["content-type"]) == (whole.status_code, "application/json")

    asked(store, ask)


@pytest.mark.slow
def test_what_was_asked_for_is_no_label(store: Store) -> None:
    async def ask(client: httpx.AsyncClient) -> str:
        await client.get("/v1/c-1001@example.com")
        await client.request("BREW", "/healthz")
        return (await client.get("/metrics")).text

    text = asked(store, ask)
    assert 'route="other"' in text
    assert "c-1001" not in text and "BREW" not in text
