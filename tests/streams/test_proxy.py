"""A proxy in front: its headers count from its addresses, and from nowhere else."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from streams.sections import parse_document
from streams.store import Store, audit
from streams.web.surroundings import Surroundings, host_name
from tests.servers.stores import new_store
from tests.servers.web import BASE, client, settings_of

PROXY, OTHER = "10.0.0.5", "192.0.2.66"
SECTION = {"addresses": [PROXY, "10.1.0.0/16", "fd00::/8"], "roles": {"support": "operate", "ops": "admin"}}
ANI = {"X-Forwarded-Email": "ani@example.com", "X-Forwarded-Groups": "guests, ops"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "tocsin.db")


def ask(
    store: Store, address: str, headers: Any, method: str = "GET", path: str = "/v1/me", **section: Any
) -> httpx.Response:
    settings = settings_of(proxy={**SECTION, **section})

    async def asked() -> httpx.Response:
        async with client(store, None, settings=settings, address=address) as found:
            return await found.request(method, path, headers=headers)

    return asyncio.run(asked())


@pytest.mark.slow
@pytest.mark.parametrize("address", [PROXY, "10.1.200.3", "fd12::9", "::ffff:10.0.0.5"])
def test_whom_the_proxy_vouches_for_gets_in(store: Store, address: str) -> None:
    answer = ask(store, address, ANI)
    assert answer.json() == {"who": "person:ani@example.com", "scope": "admin", "via": "proxy", "tenant": "default"}


@pytest.mark.slow
@pytest.mark.parametrize("address", [OTHER, "127.0.0.1", "10.0.0.6", "10.2.0.1", "fe80::1", "::ffff:192.0.2.66", "x"])
def test_from_elsewhere_its_headers_say_nothing(store: Store, address: str) -> None:
    spoofed = {**ANI, "X-Forwarded-For": PROXY, "X-Real-IP": PROXY, "Forwarded": f"for={PROXY}", "Via": PROXY}
    assert ask(store, address, spoofed).status_code == 401


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"X-Forwarded-Groups": "ops"}, 401, id="no name"),
        pytest.param({**ANI, "X-Forwarded-Email": " "}, 401, id="an empty name"),
        pytest.param([*ANI.items(), ("X-Forwarded-Email", "budi@example.com")], 401, id="two names"),
        pytest.param({**ANI, "X-Forwarded-Groups": ""}, 403, id="no group"),
        pytest.param({**ANI, "X-Forwarded-Groups": "guests,OPS,op"}, 403, id="no group of ours"),
        pytest.param({"X-Forwarded-Email": "ani@example.com"}, 403, id="no header of groups"),
    ],
)
def test_without_a_name_and_a_role_nobody_gets_in(store: Store, headers: Any, status: int) -> None:
    assert ask(store, PROXY, headers).status_code == status
    if status == 403:
        page = ask(store, PROXY, [*dict(headers).items(), ("Accept", "text/html")], path="/")
        assert page.status_code == 403 and "may not enter" in page.text


def test_the_providers_token_that_the_proxy_hands_over_is_not_taken_for_ours(store: Store) -> None:
    for token, address, status in (
        ("Bearer eyJhbGciOiJSUzI1NiJ9.e30.x", PROXY, 200),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.e30.x", OTHER, 401),
        ("Bearer toc_x", PROXY, 401),
    ):
        assert ask(store, address, {**ANI, "Authorization": token}).status_code == status


@pytest.mark.slow
def test_the_headers_names_are_settings(store: Store) -> None:
    names = {"user_header": "Remote-User", "role_header": "Remote-Groups"}
    assert ask(store, PROXY, {"Remote-User": "ani", "Remote-Groups": "support"}, **names).json()["scope"] == "operate"
    assert ask(store, PROXY, ANI, **names).status_code == 401


def test_a_proxy_without_roles_lets_nobody_in_by_its_headers(store: Store) -> None:
    assert ask(store, PROXY, ANI, roles={}).status_code == 401


@pytest.mark.slow
def test_a_page_of_another_site_changes_nothing_through_the_proxy(store: Store) -> None:
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": BASE, "Sec-Fetch-Site": "same-origin"}, 422),
        ({}, 422),
    ):
        assert ask(store, PROXY, {**ANI, **headers}, "POST", "/v1/tokens").status_code == status


@pytest.mark.slow
def test_a_name_is_written_into_the_audit_log_as_text(store: Store) -> None:
    name = "ani\t\x1b[31m\u202e".encode()
    headers = [(b"X-Forwarded-Email", name), (b"X-Forwarded-Groups", b"strangers")]
    assert ask(store, PROXY, headers).status_code == 403
    [entry] = audit.entries(store)
    assert entry.what == "sign-in.no-role" and entry.who.isprintable()


def connection(address: str | None, *headers: tuple[str, str], scheme: str = "http") -> HTTPConnection:
    return HTTPConnection(
        {
            "type": "http",
            "scheme": scheme,
            "client": None if address is None else (address, 1),
            "headers": [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers],
        }
    )


def surroundings(**service: Any) -> Surroundings:
    return Surroundings(parse_document({"service": {"proxy": SECTION, **service}}).service)


@pytest.mark.parametrize(
    ("peer", "way", "address"),
    [
        pytest.param(OTHER, ["198.51.100.1"], OTHER, id="no proxy"),
        pytest.param(PROXY, [], PROXY, id="says nothing"),
        pytest.param(PROXY, ["198.51.100.1"], "198.51.100.1", id="one proxy"),
        pytest.param(PROXY, ["198.51.100.1, 10.1.0.9"], "198.51.100.1", id="two proxies"),
        pytest.param(PROXY, ["203.0.113.9, 198.51.100.1"], "198.51.100.1", id="a forged beginning"),
        pytest.param(PROXY, ["203.0.113.9", "198.51.100.1"], "198.51.100.1", id="two headers"),
        pytest.param(PROXY, ["unknown"], PROXY, id="no address"),
        pytest.param(PROXY, ["198.51.100.1, _hidden"], PROXY, id="hidden"),
        pytest.param(PROXY, ["10.1.0.9"], PROXY, id="proxies alone"),
        pytest.param(None, ["198.51.100.1"], "", id="a socket"),
    ],
)
def test_the_address_is_the_last_one_that_is_no_proxy(peer: str | None, way: list[str], address: str) -> None:
    assert surroundings().address(connection(peer, *(("X-Forwarded-For", hop) for hop in way))) == address


@pytest.mark.parametrize(
    ("found", "https"),
    [
        pytest.param(connection(OTHER, scheme="https"), True, id="by ourselves"),
        pytest.param(connection(OTHER, ("X-Forwarded-Proto", "https")), False, id="somebody says so"),
        pytest.param(connection(PROXY, ("X-Forwarded-Proto", "https")), True, id="the proxy says so"),
        pytest.param(connection(PROXY, ("X-Forwarded-Proto", "http")), False, id="the proxy says it is not"),
        pytest.param(connection(OTHER, ("Host", "tocsin.example")), True, id="by our public name"),
        pytest.param(connection(OTHER, ("Host", "127.0.0.1:8321")), False, id="past it"),
    ],
)
def test_whether_the_way_is_encrypted(found: HTTPConnection, https: bool) -> None:
    assert surroundings(public_url="https://tocsin.example").https(found) is https


@given(st.text(max_size=60))
def test_no_header_breaks_it(text: str) -> None:
    ours = surroundings()
    found = connection(PROXY, ("X-Forwarded-For", text), ("Host", text), ("Origin", text), ("X-Forwarded-Proto", text))
    assert isinstance(ours.address(found), str) and ours.https(found) in (True, False)
    assert ours.knows_host(found) in (True, False) and ours.same_origin(found.headers) in (True, False)
    assert host_name(text) == host_name(text.upper()) or not text.isascii()


def test_behind_the_proxy_each_guesser_waits_alone(store: Store) -> None:
    settings = settings_of(proxy=SECTION)

    async def test() -> None:
        async with client(store, None, settings=settings, address=PROXY) as asked:

            async def guess(address: str) -> int:
                headers = {"Authorization": "Bearer toc_x", "X-Forwarded-For": address}
                return (await asked.get("/v1/me", headers=headers)).status_code

            assert [await guess("198.51.100.1") for _ in range(12)][-1] == 429
            assert await guess("198.51.100.2") == 401

    asyncio.run(test())
