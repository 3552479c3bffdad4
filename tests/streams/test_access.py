"""Every route, every role: nobody gets in where the policy does not say so, and a new route has to say so."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.routing import Mount, Route

from streams.store import Store, audit, open_store, tokens
from streams.store.tokens import ALLOWS, Scope
from streams.web.access import PUBLIC, Policy, Read, check_policies, needs, policies, public
from streams.web.app import create_app
from tests.servers.clocks import HandClock
from tests.servers.stores import new_store
from tests.servers.web import app, client, token, web

ROLES = ("nobody", *Scope, "expired", "revoked", "guess", "another tenant's")
"""Who comes: a token of each scope, and what opens nothing."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return new_store(tmp_path_factory.mktemp("access") / "tocsin.db")


def all_routes() -> list[tuple[str, str, str]]:
    """Return method, path and policy of every route of the real app."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder, new_store(Path(folder) / "tocsin.db") as store:
        found = policies(app(store))
    return sorted((method, policy.path, policy.allowed) for policy in found for method in policy.methods)


ROUTES = all_routes()


def token_of(store: Store, role: str, clock: HandClock) -> str | None:
    now_ms = clock.now_ms()
    match role:
        case "nobody":
            return None
        case "expired":
            return token(store, Scope.ADMIN, now_ms=now_ms - 2, expires_ms=now_ms - 1)
        case "revoked":
            id_, text = tokens.create(store, Scope.ADMIN, "", "cli:test", now_ms)
            tokens.revoke(store, id_, "cli:test", now_ms)
            return text
        case "guess":
            return f"toc_{'0' * 12}_{'A' * 43}"
        case "another tenant's":
            with open_store(store.where, tenant="other") as other:
                return token(other, Scope.ADMIN, now_ms=now_ms)
    return token(store, Scope(role), now_ms=now_ms)


@asynccontextmanager
async def asked_as(store: Store, role: str, clock: HandClock) -> AsyncIterator[httpx.AsyncClient]:
    given = token_of(store, role, clock)
    async with client(store, None, application=create_app(web(store, clock=clock))) as found:
        if given is not None:
            found.headers["Authorization"] = f"Bearer {given}"
        yield found


NO = {"not-signed-in", "not-allowed", "token-unknown", "token-expired", "token-revoked"}


def fits(role: str, allowed: str, status: int, code: str) -> bool:
    """Return whether an answer is what the policy says: a refusal of this kind, or the route's own answer."""
    if allowed == PUBLIC:
        return code not in NO and status != 500
    if role not in set(Scope):
        expected = {"nobody": "not-signed-in", "expired": "token-expired", "revoked": "token-revoked"}
        return (status, code) == (401, expected.get(role, "token-unknown"))
    if Scope(allowed) not in ALLOWS[Scope(role)]:
        return (status, code) == (403, "not-allowed")
    return code not in NO and status not in (401, 403, 429) and status < 500


def filled(path: str) -> str:
    """Return a path with ids that nothing has."""
    return re.sub(r"\{[^}]+\}", "0" * 12, path)


async def status_of(asked: httpx.AsyncClient, method: str, path: str) -> tuple[int, str]:
    """Return what a request without a body is answered; a stream is left as soon as it begins."""
    async with asyncio.timeout(20), asked.stream(method, filled(path), headers={"Last-Event-ID": "x"}) as answer:
        if answer.status_code == 200:
            return 200, ""
        await answer.aread()
    kind = answer.headers.get("content-type", "")
    return answer.status_code, answer.json()["code"] if kind == "application/problem+json" else ""


@pytest.mark.slow
@pytest.mark.parametrize("role", [pytest.param(role, id=str(role)) for role in ROLES])
def test_every_route_lets_in_whom_its_policy_names(store: Store, role: str) -> None:
    async def test() -> None:
        clock, wrong = HandClock(), []
        async with asked_as(store, role, clock) as asked:
            for method, path, allowed in ROUTES:
                status, code = await status_of(asked, method, path)
                clock.advance(1_000)  # nobody waits for having guessed
                if not fits(role, allowed, status, code):
                    wrong.append(f"{method} {path} ({allowed}): found {status} {code}")
        assert wrong == []

    asyncio.run(test())


def test_the_table_has_every_kind_of_policy() -> None:
    assert {allowed for _, _, allowed in ROUTES} == {PUBLIC, *Scope}
    assert ("POST", "/v1/events", "ingest") in ROUTES and ("GET", "/v1/audit", "admin") in ROUTES


PUBLIC_ROUTES = {
    ("GET", "/healthz"),
    ("HEAD", "/healthz"),
    ("GET", "/readyz"),
    ("HEAD", "/readyz"),
    ("GET", "/sign-in"),
    ("GET", "/sign-in/oidc"),
    ("GET", "/sign-in/oidc/callback"),
    ("POST", "/sign-in"),
    ("POST", "/sign-out"),
    ("GET", "/static/{of}/{name}"),
    ("GET", "/u/{token}"),
    ("POST", "/u/{token}"),
    ("GET", "/v1/inbound/whatsapp-cloud"),
    ("POST", "/v1/inbound/whatsapp-cloud"),
    ("POST", "/v1/inbound/qontak"),
    ("POST", "/v1/inbound/qontak/{secret}"),
}


def test_what_is_public_is_listed_here_as_well() -> None:
    assert {(method, path) for method, path, allowed in ROUTES if allowed == PUBLIC} == PUBLIC_ROUTES


def test_only_admins_see_and_make_what_lets_others_in() -> None:
    guarded = [allowed for _, path, allowed in ROUTES if path.startswith(("/v1/tokens", "/v1/audit"))]
    assert guarded and set(guarded) == {"admin"}


def test_who_reads_changes_nothing() -> None:
    """A route that changes something needs more than `read`, but for what a browser keeps for itself."""
    looks = {path for method, path, allowed in ROUTES if method not in ("GET", "HEAD") and allowed == "read"}
    assert looks == {"/preferences"}


async def plain() -> str:
    return ""


def with_policy(*dependencies: Any) -> APIRouter:
    router = APIRouter()
    router.add_api_route("/new", plain, dependencies=list(dependencies))
    return router


@pytest.mark.parametrize(
    "router",
    [
        pytest.param(with_policy(), id="none"),
        pytest.param(with_policy(public(), needs(Scope.READ)), id="two"),
        pytest.param(with_policy(needs(Scope.READ), needs(Scope.READ)), id="the same twice"),
    ],
)
@pytest.mark.parametrize("deep", [0, 1, 2])
def test_a_route_without_one_policy_fails_the_start(router: APIRouter, deep: int) -> None:
    for _ in range(deep):
        outer = APIRouter(prefix="/inner")
        outer.include_router(router)
        router = outer
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    application.include_router(router)
    with pytest.raises(RuntimeError, match="/new: expected exactly one policy"):
        check_policies(application)


@pytest.mark.parametrize(
    "route",
    [
        pytest.param(Route("/new", PlainTextResponse("")), id="a plain route"),
        pytest.param(Mount("/new", PlainTextResponse("")), id="a mounted app"),
    ],
)
def test_a_route_that_can_state_no_policy_fails_the_start(route: Any) -> None:
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    application.router.routes.append(route)
    with pytest.raises(RuntimeError, match="/new: expected exactly one policy"):
        check_policies(application)


def test_what_fastapi_adds_by_itself_fails_the_start() -> None:
    with pytest.raises(RuntimeError, match=r"/openapi\.json"):
        check_policies(FastAPI())


def test_a_policy_of_the_router_counts_for_its_routes() -> None:
    router = APIRouter(dependencies=[needs(Scope.OPERATE)])
    router.add_api_route("/a", plain)
    outer = APIRouter(prefix="/v1")
    outer.include_router(router)
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    application.include_router(outer)

    async def read(who: Read) -> str:
        return who.who

    application.get("/b")(read)
    assert policies(application) == [
        Policy("/v1/a", frozenset({"GET"}), "operate"),
        Policy("/b", frozenset({"GET"}), "read"),
    ]


@pytest.mark.parametrize(
    ("held", "allows"),
    [
        (Scope.INGEST, {Scope.INGEST}),
        (Scope.READ, {Scope.READ}),
        (Scope.OPERATE, {Scope.READ, Scope.OPERATE}),
        (Scope.ADMIN, set(Scope)),
    ],
)
def test_what_each_scope_allows(held: Scope, allows: set[Scope]) -> None:
    assert ALLOWS[held] == allows


def test_tokens_over_http(store: Store) -> None:
    async def test() -> None:
        async with client(store, "admin") as admin:
            made = await admin.post(
                "/v1/tokens", json={"scope": "read", "name": "grafana", "expires": "2126-01-01T00:00:00Z"}
            )
            assert made.status_code == 201 and made.headers["cache-control"] == "no-store"
            body = made.json()
            assert body["token"].startswith(f"toc_{body['id']}_") and body["standing"] == "valid"
            me = {"Authorization": f"Bearer {body['token']}"}
            assert (await admin.get("/v1/feed", headers=me)).status_code == 200
            [listed] = [t for t in (await admin.get("/v1/tokens")).json()["tokens"] if t["id"] == body["id"]]
            assert "token" not in listed and listed["by"].startswith("token:")
            gone = await admin.delete(f"/v1/tokens/{body['id']}")
            assert gone.json()["standing"] == "revoked"
            refused = await admin.get("/v1/feed", headers=me)
            assert (refused.status_code, refused.json()["code"]) == (401, "token-revoked")
            assert 'error="invalid_token"' in refused.headers["www-authenticate"]
            assert (await admin.delete("/v1/tokens/000000000000")).status_code == 404
            for wrong in (
                {"scope": "root"},
                {"scope": "read", "expires": "2020-01-01T00:00:00Z"},
                {},
                {"scope": "read", "x": 1},
            ):
                assert (await admin.post("/v1/tokens", json=wrong)).status_code == 422

    asyncio.run(test())


def test_a_repeated_request_for_a_token_gets_no_second_one_and_not_the_token(store: Store) -> None:
    async def test() -> None:
        async with client(store, "admin") as admin:
            key = {"Idempotency-Key": "make-1"}
            first = await admin.post("/v1/tokens", json={"scope": "read"}, headers=key)
            again = await admin.post("/v1/tokens", json={"scope": "read"}, headers=key)
            assert again.json() == {**first.json(), "token": None}
            for name in ("tocsin.db", "tocsin.db-wal"):
                assert first.json()["token"].split("_", 2)[2].encode() not in (store.path.parent / name).read_bytes()

    asyncio.run(test())


def test_another_tenants_ids_are_not_there(store: Store) -> None:
    now_ms = HandClock().now_ms()
    with open_store(store.where, tenant="other") as other:
        theirs, _ = tokens.create(other, Scope.READ, "theirs", "cli:other", now_ms)

    async def test() -> None:
        async with client(store, "admin") as admin:
            assert (await admin.delete(f"/v1/tokens/{theirs}")).status_code == 404
            assert theirs not in (await admin.get("/v1/tokens")).text
            rows = (await admin.get("/v1/audit", params={"limit": 200})).json()["rows"]
            assert rows and not any("cli:other" in row["who"] for row in rows)

    asyncio.run(test())


def test_the_audit_log_comes_in_pages(tmp_path: Path) -> None:
    store = new_store(tmp_path / "tocsin.db")
    for n in range(5):
        with store.transaction() as connection:
            audit.record(connection, "default", "cli:eko", f"done-{n}", "", "", n)

    async def test() -> None:
        async with client(store, "admin") as admin:
            found: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                page = (
                    await admin.get("/v1/audit", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
                ).json()
                found += [row["what"] for row in page["rows"]]
                cursor = page["next"]
            assert [what for what in found if what.startswith("done")] == [f"done-{n}" for n in (4, 3, 2, 1, 0)]
            assert (await admin.get("/v1/audit", params={"cursor": "AAAA"})).status_code == 422

    asyncio.run(test())


def test_who_is_refused_stands_in_the_audit_log_and_a_flood_is_a_number(tmp_path: Path) -> None:
    store = new_store(tmp_path / "tocsin.db")
    clock = HandClock()
    read = token(store, Scope.READ, now_ms=clock.now_ms())

    async def test() -> None:
        async with client(store, None, application=create_app(web(store, clock=clock))) as asked:
            for _ in range(50):
                answer = await asked.get("/v1/tokens", headers={"Authorization": f"Bearer {read}"})
                assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")

    asyncio.run(test())
    [id_] = [found.id for found in tokens.listed(store)]
    rows = [(e.who, e.what, e.target, e.detail) for e in audit.entries(store)][1:]
    denied = (f"token:{id_}", "denied", "scope:admin")
    assert sorted(rows) == sorted(
        [(f"token:{id_}", "token.first-used", f"token:{id_}", ""), (*denied, ""), (*denied, "49 more since")]
    )
