"""What every request passes: names, tokens in addresses, bodies, types, headers on the way out."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Body, FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import UnreachableError
from streams.store import Store, tokens
from streams.web import guard
from streams.web.access import Operate, Read, public
from streams.web.app import create_app
from streams.web.auth import Auth
from tests.servers.clocks import HandClock
from tests.servers.stores import new_store
from tests.servers.web import client, settings_of, token, web

DEEP = guard.JSON_DEPTH


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "tocsin.db")


def application(store: Store, **service: Any) -> FastAPI:
    """The real app, and beside its routes some that only tests have."""
    app = create_app(web(store, settings=settings_of(**service)))

    @app.post("/v1/test/echo")
    async def echo(who: Operate, body: Annotated[Any, Body()] = None) -> dict[str, Any]:
        return {"who": who.who, "body": body}

    @app.get("/v1/test/json")
    async def as_json(who: Read) -> dict[str, str]:
        return {"who": who.who}

    @app.get("/v1/test/csv")
    async def as_csv(who: Read) -> PlainTextResponse:
        return PlainTextResponse("a,b\n", media_type="text/csv")

    @app.get("/v1/test/bug")
    async def bug(who: Read) -> None:
        raise KeyError("budi@example.com")

    @app.get("/v1/test/locked")
    async def locked(who: Read) -> None:
        message = "tocsin.db: another process has held the store for 40 s; stop it or try again"
        raise UnreachableError(message)

    @app.get("/v1/test/late-bug")
    async def late_bug(who: Read) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"a"
            raise KeyError("budi@example.com")

        return StreamingResponse(pieces())

    @app.get("/test/open", dependencies=[public()])
    async def open_route(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    return app


def ask(
    store: Store,
    method: str,
    path: str,
    *,
    scope: str | None = "admin",
    service: dict[str, Any] | None = None,
    **how: Any,
) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with client(store, scope, application=application(store, **(service or {}))) as found:
            return await found.request(method, path, **how)

    return asyncio.run(asked())


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == answer.status_code and found["detail"]
    return answer.status_code, found["code"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "known"),
    [
        *((name, True) for name in ("127.0.0.1", "localhost:8321", "[::1]:8321", "LOCALHOST", "localhost.")),
        *((name, True) for name in ("tocsin.example", "tocsin.example:443", "alerts.internal")),
        *((name, False) for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example")),
        *((name, False) for name in ("evil@localhost", "localhost/x", "[::1", "", "tocsin.example:99999", "a b")),
    ],
)
def test_only_names_of_ours_are_answered(store: Store, host: str, known: bool) -> None:
    service = {"public_url": "https://tocsin.example", "hosts": ["alerts.internal"]}
    answer = ask(store, "GET", "/v1/test/json", service=service, headers={"Host": host})
    assert answer.status_code == 200 if known else code(answer) == (421, "unknown-host")


@pytest.mark.slow
@pytest.mark.parametrize("query", ["token=x", "access_token=", "API_KEY=1", "q=toc_abc", "a=1&b=%74oc_x"])
def test_a_token_in_the_address_is_refused_and_not_repeated(store: Store, query: str) -> None:
    for scope in ("admin", None):
        answer = ask(store, "GET", f"/v1/test/json?{query}", scope=scope)
        assert code(answer) == (400, "token-in-address")
        assert "toc_" not in answer.text and "Authorization" in answer.json()["detail"]


HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/test/json", 200),
        ("GET", "/sign-in", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/test/json", 405),
        ("GET", "/v1/test/json?token=x", 400),
        ("GET", "/v1/test/bug", 500),
        ("GET", "/v1/test/locked", 503),
        ("OPTIONS", "/v1/test/json", 405),
    ],
)
def test_every_answer_has_the_headers(store: Store, method: str, path: str, status: int) -> None:
    answer = ask(store, method, path, headers={"Origin": "https://evil.example"})
    assert answer.status_code == status
    for name, value in HEADERS.items():
        assert value in answer.headers[name], name
    assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "strict-transport-security" not in answer.headers


@pytest.mark.slow
def test_an_unforeseen_error_says_nothing_of_itself(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = ask(store, "GET", "/v1/test/bug")
    assert code(answer) == (500, "internal-error")
    for text in (answer.text, caplog.text):
        assert "budi" not in text and "Traceback" not in text
    reference = answer.json()["detail"].split()[-1]
    assert reference in caplog.text and "KeyError at test_guard.py" in caplog.text
    with pytest.raises(KeyError):  # an answer that has begun can only be broken off
        ask(store, "GET", "/v1/test/late-bug")


@pytest.mark.slow
def test_errors_of_the_store_say_what_to_do_and_only_the_log_says_where_it_is(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(store, "GET", "/v1/test/locked")
    assert code(answer) == (503, "unavailable") and answer.headers["retry-after"] == "5"
    assert answer.json()["detail"] == "the store can't be reached or written now; try again"
    assert "another process has held the store" in caplog.text


@pytest.mark.slow
def test_a_stranger_is_not_told_where_the_store_is_that_knows_the_tokens(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: object) -> None:
        message = "postgresql://ani@db.internal/shop: the server does not answer"
        raise UnreachableError(message)

    monkeypatch.setattr(Auth, "identify", away)
    answer = ask(store, "GET", "/v1/test/json")
    assert code(answer) == (503, "unavailable")
    assert "db.internal" not in answer.text
    assert "db.internal" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/v1/test/json", None, 200),
        ("/v1/test/json", "*/*", 200),
        ("/v1/test/json", "text/html, application/*;q=0.8", 200),
        ("/v1/test/json", "Application/JSON", 200),
        ("/v1/test/json", "text/csv", 406),
        ("/v1/test/json", "text/html, application/json;q=0", 406),
        ("/v1/test/csv", "text/csv", 200),
        ("/v1/test/csv", "application/json", 406),
        ("/v1/test/bug", "text/csv", 500),
    ],
)
def test_what_is_not_asked_for_is_not_sent(store: Store, path: str, accept: str | None, status: int) -> None:
    answer = ask(store, "GET", path, headers={} if accept is None else {"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert code(answer) == (406, "not-acceptable") and "x-frame-options" in answer.headers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/merge-patch+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
        ("application/json\t\x7f", 415),
    ],
)
def test_a_body_has_a_type(store: Store, content_type: str, status: int) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = ask(store, "POST", "/v1/test/echo", content=b"{}", headers=headers)
    assert answer.status_code == status, answer.text
    if status == 415:
        assert code(answer) == (415, "wrong-type") and answer.headers["accept"] == "application/json"


def test_no_body_needs_no_type(store: Store) -> None:
    assert ask(store, "POST", "/v1/test/echo").json()["body"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"[" * DEEP + b"]" * DEEP, (200, ""), id="as deep as may be"),
        pytest.param(b"[" * (DEEP + 1) + b"]" * (DEEP + 1), (422, "too-deep"), id="deeper"),
        pytest.param(b"[" * 500_000, (422, "too-deep"), id="very deep"),
        pytest.param(b'{"a":' * 100_000, (422, "too-deep"), id="deep objects"),
        pytest.param(json.dumps(["[" * 100, '"\\"[[[{']).encode(), (200, ""), id="brackets in texts"),
        pytest.param(b"[1", (422, "invalid-request"), id="broken"),
        pytest.param(b" " * (guard.JSON_BYTES + 1), (413, "too-large"), id="too large"),
        pytest.param(b"\xff\xfe[", (400, "bad-request"), id="no text"),
    ],
)
def test_a_body_has_its_limits(store: Store, body: bytes, expected: tuple[int, str]) -> None:
    answer = ask(store, "POST", "/v1/test/echo", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "") == expected or code(answer) == expected


@pytest.mark.slow
@given(
    st.recursive(
        st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_the_depth_is_that_of_the_value(value: Any) -> None:
    def deep(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(deep, inner), default=0)

    assert guard.depth(json.dumps(value).encode()) == deep(value)


Messages = list[dict[str, Any]]


async def raw(
    app: FastAPI, path: str, receive: Callable[[], Awaitable[dict[str, Any]]], headers: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    """Ask without a client in between; return the status and the problem."""
    sent: Messages = []

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1", "content-type": "application/json", **headers}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8321),
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body)


def bearer(store: Store) -> dict[str, str]:
    return {"authorization": f"Bearer {token(store, tokens.Scope.ADMIN)}"}


@pytest.mark.slow
def test_a_body_without_an_announced_size_is_cut_off_when_it_is_too_large(store: Store) -> None:
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    async def test() -> None:
        found = await raw(application(store), "/v1/test/echo", receive, bearer(store))
        assert said(found) == (413, "too-large")

    asyncio.run(test())
    assert read == 17


@pytest.mark.parametrize("path", ["/v1/test/echo", "/v1/events"])
def test_an_announced_size_that_is_too_large_is_refused_unread(store: Store, path: str) -> None:
    async def receive() -> dict[str, Any]:
        pytest.fail("the body was read")

    async def test() -> None:
        headers = {**bearer(store), "content-length": str(1 << 30)}
        assert said(await raw(application(store), path, receive, headers)) == (413, "too-large")

    asyncio.run(test())


def test_a_body_with_two_lengths_is_refused_and_its_connection_ends(store: Store) -> None:
    async def receive() -> dict[str, Any]:
        pytest.fail("the body was read")

    async def test() -> None:
        headers = {**bearer(store), "content-length": "5", "transfer-encoding": "chunked"}
        assert said(await raw(application(store), "/v1/events", receive, headers)) == (400, "two-lengths")

    asyncio.run(test())


def said(found: tuple[int, dict[str, Any]]) -> tuple[int, str]:
    return found[0], found[1]["code"]


@pytest.mark.parametrize("path", ["/v1/test/echo", "/v1/events", "/v1/nowhere"])
def test_of_nobody_no_body_is_read(store: Store, path: str) -> None:
    async def receive() -> dict[str, Any]:
        pytest.fail("the body was read")

    async def test() -> None:
        found = await raw(application(store), path, receive, {"content-length": "100"})
        assert found[0] == (404 if path == "/v1/nowhere" else 401)

    asyncio.run(test())


@pytest.mark.parametrize(
    ("path", "limit", "content_type"),
    [
        ("/v1/test/echo", "PIECE_S", "application/json"),
        ("/v1/customers/import", "STREAM_PIECE_S", "text/csv"),
    ],
)
def test_a_body_that_comes_too_slowly_is_given_up(
    store: Store, path: str, limit: str, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, limit, 0.05)
    first = True

    async def receive() -> dict[str, Any]:
        nonlocal first
        if not first:
            await asyncio.Event().wait()
        first = False
        return {"type": "http.request", "body": b"[", "more_body": True}

    async def test() -> None:
        headers = {**bearer(store), "content-type": content_type}
        assert said(await raw(application(store), path, receive, headers)) == (408, "too-slow")

    asyncio.run(test())


@pytest.mark.slow
def test_a_body_that_drips_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.1)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"[", "more_body": True}

    async def test() -> None:
        found = await raw(application(store), "/v1/test/echo", receive, bearer(store))
        assert said(found) == (408, "too-slow")

    asyncio.run(test())


@pytest.mark.slow
def test_the_door_reads_its_body_itself(store: Store) -> None:
    body = b"{}\n" * 1_000_000
    answer = ask(store, "POST", "/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert (answer.status_code, answer.json()["bytes"]) == (202, len(body))


@pytest.mark.slow
def test_a_wrong_method_names_the_right_ones(store: Store) -> None:
    answer = ask(store, "PUT", "/v1/test/json")
    assert code(answer) == (405, "method-not-allowed") and answer.headers["allow"] == "GET"


def test_wrong_tokens_from_one_address_wait_and_a_known_one_does_not(store: Store) -> None:
    clock = HandClock()
    good = token(store, tokens.Scope.READ, now_ms=clock.now_ms())

    async def test() -> None:
        app = create_app(web(store, clock=clock))
        async with (
            client(store, None, application=app) as asked,
            client(store, None, application=app, address="::1") as other,
        ):
            me = {"Authorization": f"Bearer {good}"}
            assert (await asked.get("/v1/feed", headers=me)).status_code == 200
            found = [await asked.get("/v1/feed", headers={"Authorization": f"Bearer toc_{i}"}) for i in range(13)]
            assert [answer.status_code for answer in found] == [401] * 11 + [429] * 2
            assert int(found[-1].headers["retry-after"]) == 3
            clock.advance(2)
            assert (await asked.get("/v1/feed", headers=me)).status_code == 200
            assert (await other.get("/v1/feed", headers={"Authorization": "Bearer toc_x"})).status_code == 401

    asyncio.run(test())


@pytest.mark.slow
def test_a_websocket_is_closed(store: Store) -> None:
    sent: Messages = []

    async def test() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        await application(store)({"type": "websocket", "path": "/", "headers": []}, receive, send)

    asyncio.run(test())
    assert sent == [{"type": "websocket.close", "code": 1008}]
