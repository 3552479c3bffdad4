"""Webhooks as administrators handle them over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from streams.feeds import queue, subscriptions
from streams.feeds.queue import Due, Settled
from streams.net import Rules
from streams.store import Store, audit
from streams.store.tokens import Scope
from tests.servers.http import Play, free_port, says, serving
from tests.servers.web import client, settings_of
from tests.streams.feed_rows import NOW_MS, fill, live_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with live_store(tmp_path / "tocsin.db") as store:
        yield store


@asynccontextmanager
async def admin(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client that may do everything; webhooks may lead to this machine."""
    settings = settings_of(webhook_networks=["127.0.0.1/32"], webhook_http=True)
    async with client(store, settings=settings) as found:
        yield found


async def test_a_webhook_is_made_listed_and_deleted_and_its_secret_is_shown_once(store: Store) -> None:
    fill(store, 3)
    async with admin(store) as asked:
        made = await asked.post(
            "/v1/webhooks", json={"url": "http://127.0.0.1:9/hook?key=s3cret", "types": ["case.opened", "notice.sent"]}
        )
        assert made.status_code == 201
        secret = made.json()["secret"]
        assert secret.startswith("whsec_")
        assert made.json()["next"] == "default/4"
        shown = await asked.get(f"/v1/webhooks/{made.json()['id']}")
        (listed,) = (await asked.get("/v1/webhooks")).json()["items"]
        assert shown.json() == listed
        assert listed["types"] == ["case.opened", "notice.sent"]
        assert listed["deliveries"] == {"waiting": 0, "sent": 0, "failed": 0}
        assert secret not in shown.text
        assert (await asked.delete(f"/v1/webhooks/{listed['id']}")).status_code == 204
        assert (await asked.get(f"/v1/webhooks/{listed['id']}")).status_code == 404
        assert (await asked.get("/v1/webhooks")).json() == {"items": []}
    story = [(entry.what, entry.target) for entry in audit.entries(store) if entry.what.startswith("webhook")]
    assert story == [(f"webhook.{what}", f"webhook:{listed['id']}") for what in ("created", "deleted")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "says_"),
    [
        pytest.param({"url": "http://127.0.0.1/"}, "expected https, found http", id="http"),
        pytest.param({"url": "https://127.0.0.1/"}, "127.0.0.1 is not a public address", id="this machine"),
        pytest.param({"url": "https://[::ffff:10.0.0.1]/"}, "not a public address", id="a private one in disguise"),
        pytest.param({"url": "https://0x7f.1/"}, "a number in disguise", id="a number"),
        pytest.param({"url": "https://metadata.google.internal/"}, "inner name", id="metadata"),
        pytest.param({"url": "https://a:b@example.com/"}, "no user and password", id="user and password"),
        pytest.param({"url": "file:///etc/passwd"}, "expected https", id="a file"),
        pytest.param({"url": "https://127.0.0.1/", "types": ["case.closed"]}, "types: ", id="a type that is none"),
        pytest.param({"url": "https://127.0.0.1/", "after": "other/1"}, "an event's id", id="another tenant's event"),
        pytest.param({"url": "https://127.0.0.1/", "secret": "x"}, "secret", id="a field that is none"),
        pytest.param({}, "url", id="nothing"),
    ],
)
async def test_what_may_not_be_is_refused_when_it_is_stored(store: Store, given: dict[str, Any], says_: str) -> None:
    async with client(store) as asked:
        refused = await asked.post("/v1/webhooks", json=given)
        assert refused.status_code == 422
        assert refused.headers["content-type"] == "application/problem+json"
        assert says_ in refused.json()["detail"]
        assert (await asked.get("/v1/webhooks")).json() == {"items": []}


async def test_a_repetition_under_an_idempotency_key_makes_no_second_one_and_shows_no_secret(store: Store) -> None:
    async with admin(store) as asked:
        given = {"url": "http://127.0.0.1:9/"}
        first, second = [
            await asked.post("/v1/webhooks", json=given, headers={"Idempotency-Key": "k1"}) for _ in range(2)
        ]
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.json() == {**first.json(), "secret": None}
        assert len((await asked.get("/v1/webhooks")).json()["items"]) == 1


@pytest.mark.slow
async def test_a_rotated_secret_is_shown_once_and_the_old_one_holds_on(store: Store) -> None:
    async with admin(store) as asked:
        made = (await asked.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"})).json()
        rotated = await asked.post(f"/v1/webhooks/{made['id']}/rotate")
        assert rotated.json()["secret"] != made["secret"]
        assert (rotated.json()["secrets"], (await asked.get(f"/v1/webhooks/{made['id']}")).json()["secrets"]) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("play", "delivered", "answer"),
    [
        pytest.param(says(200, b"thanks, C-1"), True, "HTTP 200", id="well"),
        pytest.param(says(500, b"<script>"), False, "HTTP 500", id="badly"),
        pytest.param(
            says(302, b"", {"Location": "/"}), False, "HTTP 302: a redirect, which is not followed", id="away"
        ),
    ],
)
def test_a_test_event_is_sent_at_once_and_what_came_of_it_is_said(
    store: Store, play: Play, delivered: bool, answer: str
) -> None:
    async def made_and_tried(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
        async with admin(store) as asked:
            made = (await asked.post("/v1/webhooks", json={"url": url})).json()
            return made, (await asked.post(f"/v1/webhooks/{made['id']}/test")).json()

    with serving(play) as server:
        made, tried = asyncio.run(made_and_tried(server.url))
        (seen,) = server.seen
        assert tried == {"delivered": delivered, "answer": answer, "id": seen.headers["webhook-id"]}
        document = Webhook(made["secret"]).verify(seen.body, dict(seen.headers))
        assert (document["type"], document["data"]) == ("webhook.test", {"version": 1, "webhook": made["id"]})


async def test_a_test_event_to_nobody_says_so(store: Store) -> None:
    async with admin(store) as asked:
        made = (await asked.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{free_port()}/"})).json()
        tried = (await asked.post(f"/v1/webhooks/{made['id']}/test")).json()
    assert (tried["delivered"], tried["answer"]) == (False, "no connection")


@pytest.mark.slow
async def test_a_webhook_is_paused_resumed_and_what_was_given_up_sent_again(store: Store) -> None:
    async with admin(store) as asked:
        made = (await asked.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"})).json()
        path = f"/v1/webhooks/{made['id']}"
        assert (await asked.post(f"{path}/pause")).json()["state"] == "paused"
        assert (await asked.post(f"{path}/resume")).json()["state"] == "active"
        fill(store, 2)
        queue.fan_out(store, subscriptions.get(store, made["id"]), 2, NOW_MS)
        queue.settle(store, [Settled(Due(made["id"], 1, 9), False, "HTTP 500", NOW_MS)])
        assert (await asked.get(path)).json()["deliveries"] == {"waiting": 1, "sent": 0, "failed": 1}
        assert (await asked.post(f"{path}/send-again")).json() == {"deliveries": 1}
        queue.settle(store, [Settled(Due(made["id"], 1, 0), False, "HTTP 410", NOW_MS, NOW_MS + 1, gone=True)])
        assert (await asked.get(path)).json()["state"] == "disabled"
        assert (await asked.post(f"{path}/pause")).status_code == 422
        assert (await asked.post(f"{path}/resume")).json()["reason"] == ""


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    async with admin(store) as asked:
        for action in ("pause", "resume", "send-again", "rotate", "test"):
            assert (await asked.post(f"/v1/webhooks/wh_0/{action}")).status_code == 404
        assert (await asked.delete("/v1/webhooks/wh_0")).status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize("scope", [None, Scope.INGEST, Scope.READ, Scope.OPERATE])
async def test_only_administrators_see_or_change_webhooks(store: Store, scope: Scope | None) -> None:
    id = subscriptions.create(store, "https://hooks.example.com/", frozenset(), "cli:test", NOW_MS, Rules())[0].id
    async with client(store, scope) as asked:
        for method, path in (
            *(("GET", "/v1/webhooks"), ("POST", "/v1/webhooks"), ("GET", f"/v1/webhooks/{id}")),
            *(("DELETE", f"/v1/webhooks/{id}"), ("POST", f"/v1/webhooks/{id}/rotate")),
            *(("POST", f"/v1/webhooks/{id}/{action}") for action in ("pause", "resume", "send-again", "test")),
        ):
            answer = await asked.request(method, path, json={} if method == "POST" else None)
            assert answer.status_code == (401 if scope is None else 403), (method, path)
    assert subscriptions.get(store, id).state == "active"
