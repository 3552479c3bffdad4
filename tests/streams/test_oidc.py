"""Sign-in by an identity provider: a real one on loopback, and one that lies in every way."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from streams.store import Store, audit
from streams.web.console.texts import text
from streams.web.oidc import ATTEMPT_MS, Attempt
from tests.servers.clocks import HandClock
from tests.servers.oidc import CLIENT, SECRET, Provider, provider
from tests.servers.stores import new_store
from tests.servers.web import BASE, client, settings_of

pytestmark = pytest.mark.slow

ROLES = {"support": "operate", "ops": "admin", "guests": "read"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "tocsin.db")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def idp(clock: HandClock) -> Iterator[Provider]:
    with provider(clock) as found:
        yield found


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", SECRET)


def browser(
    store: Store, clock: HandClock, idp: Provider, **service: Any
) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    oidc = {"issuer": idp.issuer, "client_id": CLIENT, "client_secret": {"env": "CLIENT_SECRET"}, "roles": ROLES}
    settings = settings_of(oidc={**oidc, **service.pop("oidc", {})}, **service)
    return client(store, None, settings=settings, clock=clock)


async def begin(asked: httpx.AsyncClient) -> str:
    """Return the address of ours that the provider sends the browser back to."""
    sent = await asked.get("/sign-in/oidc")
    assert sent.status_code == 303, sent.text
    async with httpx.AsyncClient() as there:
        back = await there.get(sent.headers["location"])
    return back.headers["location"]


async def sign_in(asked: httpx.AsyncClient) -> httpx.Response:
    return await asked.get(await begin(asked))


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await test()

    asyncio.run(whole())


def test_whoever_has_a_role_gets_in_with_it(store: Store, clock: HandClock, idp: Provider) -> None:
    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            offered = await asked.get("/sign-in")
            assert text("sign_in.with_account", "en") in offered.text
            answer = await sign_in(asked)
            assert answer.status_code == 200 and 'content="0; url=/"' in answer.text
            cookies = answer.headers.get_list("set-cookie")
            assert re.match(r"tocsin_session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict$", cookies[0])
            assert cookies[1].startswith('tocsin_attempt=""')
            home = (await asked.get("/")).text
            assert "ani" in home and text("role.operate", "en") in home

    run(test)
    assert [(e.what, e.who, e.detail) for e in audit.entries(store)] == [
        ("signed-in", "person:ani", "by provider, scope operate")
    ]


def test_the_attempt_is_bound_to_the_browser(store: Store, clock: HandClock, idp: Provider) -> None:
    async def test() -> None:
        async with browser(store, clock, idp) as asked, browser(store, clock, idp) as other:
            sent = await asked.get("/sign-in/oidc")
            assert re.search(r"HttpOnly; Max-Age=600; Path=/; SameSite=lax$", sent.headers["set-cookie"])
            query = parse_qs(urlsplit(sent.headers["location"]).query)
            assert query["scope"] == ["openid profile groups"]
            assert query["redirect_uri"] == [f"{BASE}/sign-in/oidc/callback"]
            for name in ("state", "nonce", "code_challenge"):
                assert len(query[name][0]) == 43
            theirs = await begin(other)
            assert (await asked.get(theirs)).status_code == 403  # another's code in this browser
            asked.cookies.clear()
            assert (await asked.get(theirs)).status_code == 403
            assert (await other.get(theirs)).status_code == 200
            assert (await other.get(theirs)).status_code == 403  # a second time

    run(test)


def test_the_public_address_is_where_the_browser_comes_back(store: Store, clock: HandClock, idp: Provider) -> None:
    async def test() -> None:
        async with browser(store, clock, idp, public_url="https://tocsin.example") as asked:
            sent = await asked.get("/sign-in/oidc", headers={"Host": "tocsin.example"})
            query = parse_qs(urlsplit(sent.headers["location"]).query)
            assert query["redirect_uri"] == ["https://tocsin.example/sign-in/oidc/callback"]
            assert re.match(r"__Host-tocsin_attempt=.*; SameSite=lax; Secure$", sent.headers["set-cookie"])

    run(test)


@pytest.mark.parametrize(
    ("claims", "user", "claim", "scope"),
    [
        pytest.param({"groups": ["guests", "ops"]}, {}, "groups", "admin", id="the widest of several"),
        pytest.param({"groups": "guests"}, {}, "groups", "read", id="one as text"),
        pytest.param({"groups": None, "realm": {"roles": ["support"]}}, {}, "realm.roles", "operate", id="within"),
        pytest.param({"groups": None}, {"groups": ["guests"]}, "groups", "read", id="told beside the token"),
        pytest.param({"groups": ["strangers"]}, {"groups": ["ops"]}, "groups", "", id="none of ours"),
        pytest.param({"groups": None}, {}, "groups", "", id="none at all"),
        pytest.param({"groups": [["ops"], 7, None]}, {}, "groups", "", id="no texts"),
        pytest.param({"groups": None}, {"sub": "u-18", "groups": ["ops"]}, "groups", "", id="of somebody else"),
    ],
)
def test_a_claim_says_what_they_may_do(
    store: Store, clock: HandClock, idp: Provider, claims: dict[str, Any], user: dict[str, Any], claim: str, scope: str
) -> None:
    idp.claims, idp.user = claims, user

    async def test() -> None:
        async with browser(store, clock, idp, oidc={"role_claim": claim}) as asked:
            answer = await sign_in(asked)
            home = await asked.get("/", headers={"Accept": "text/html"})
            if scope:
                assert answer.status_code == 200 and text(f"role.{scope}", "en") in home.text
            else:
                assert answer.status_code == 403 and home.status_code == 303

    run(test)


NOW_S = HandClock().now_ms() // 1_000


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"iss": "https://evil.example"}, id="another issuer"),
        pytest.param({"iss": None}, id="no issuer"),
        pytest.param({"aud": "other"}, id="for another client"),
        pytest.param({"aud": None}, id="for nobody"),
        pytest.param({"aud": [CLIENT, "other"]}, id="for several"),
        pytest.param({"aud": [CLIENT, "other"], "azp": "other"}, id="made for another"),
        pytest.param({"azp": "other"}, id="handed to another"),
        pytest.param({"exp": NOW_S - 61}, id="over"),
        pytest.param({"exp": None}, id="without an end"),
        pytest.param({"iat": NOW_S + 120}, id="of the future"),
        pytest.param({"nbf": NOW_S + 120}, id="not yet"),
        pytest.param({"nonce": "A" * 43}, id="of another attempt"),
        pytest.param({"nonce": None}, id="of no attempt"),
        pytest.param({"sub": None}, id="about nobody"),
        pytest.param({"sub": 17}, id="about a number"),
    ],
)
def test_a_token_that_does_not_hold_signs_nobody_in(
    store: Store, clock: HandClock, idp: Provider, claims: dict[str, Any]
) -> None:
    idp.claims = claims

    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            answer = await sign_in(asked)
            assert answer.status_code == 403 and text("sign_in.provider_failed", "en") in answer.text
            assert "tocsin_session" not in asked.cookies

    run(test)
    assert [e.what for e in audit.entries(store)] == ["sign-in.failed"]


def test_several_audiences_do_if_the_token_was_made_for_us(store: Store, clock: HandClock, idp: Provider) -> None:
    idp.claims = {"aud": [CLIENT, "other"], "azp": CLIENT}

    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            assert (await sign_in(asked)).status_code == 200

    run(test)


def lie_with_another_key(idp: Provider) -> None:
    idp.signing = Provider(idp.clock).key


def lie_with_a_shared_secret(idp: Provider) -> None:
    idp.algorithm = "HS256"


def lie_with_garbage(idp: Provider) -> None:
    idp.token = "a.b.c"


def lie_with_nothing(idp: Provider) -> None:
    idp.token = "."


def lie_with_a_refusal(idp: Provider) -> None:
    idp.status = 400


@pytest.mark.parametrize(
    "lie", [lie_with_another_key, lie_with_a_shared_secret, lie_with_garbage, lie_with_nothing, lie_with_a_refusal]
)
def test_a_signature_that_does_not_hold_signs_nobody_in(
    store: Store, clock: HandClock, idp: Provider, lie: Callable[[Provider], None]
) -> None:
    lie(idp)

    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            assert (await sign_in(asked)).status_code == 403
            assert "tocsin_session" not in asked.cookies

    run(test)


def test_an_unsigned_token_signs_nobody_in(store: Store, clock: HandClock, idp: Provider) -> None:
    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            sent = await asked.get("/sign-in/oidc")
            idp.token = idp.unsigned(parse_qs(urlsplit(sent.headers["location"]).query)["nonce"][0])
            async with httpx.AsyncClient() as there:
                back = await there.get(sent.headers["location"])
            assert (await asked.get(back.headers["location"])).status_code == 403

    run(test)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"issuer": "https://evil.example"}, id="another name"),
        pytest.param({"issuer": None}, id="no name"),
        pytest.param({"token_endpoint": None}, id="no endpoint"),
    ],
)
def test_a_provider_that_is_another_is_not_asked(
    store: Store, clock: HandClock, idp: Provider, config: dict[str, Any]
) -> None:
    issuer = idp.issuer
    idp.config = config

    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            answer = await asked.get("/sign-in/oidc")
            assert answer.status_code == 403 and issuer not in answer.headers.get("location", "")

    run(test)


def test_an_answer_that_comes_too_late_or_is_of_another_provider_is_refused(
    store: Store, clock: HandClock, idp: Provider
) -> None:
    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            back = await begin(asked)
            assert (await asked.get(re.sub("iss=[^&]*", "iss=https%3A%2F%2Fevil.example", back))).status_code == 403
            clock.advance(ATTEMPT_MS / 1_000)
            assert (await asked.get(back)).status_code == 403
            assert (await asked.get("/sign-in/oidc/callback?error=access_denied&state=x")).status_code == 403

    run(test)


def test_a_forged_attempt_gains_nothing(store: Store, clock: HandClock, idp: Provider) -> None:
    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            back = await begin(asked)
            state = parse_qs(urlsplit(back).query)["state"][0]
            forged = Attempt(state, "nonce", "verifier", clock.now_ms())
            for cookie in (forged.sealed(), "", "x", "W10", "bnVsbA"):
                asked.cookies.clear()
                answer = await asked.get(back, headers={"Cookie": f"tocsin_attempt={cookie}"})
                assert answer.status_code == 403

    run(test)


def test_new_keys_of_the_provider_are_asked_for_once_a_minute(store: Store, clock: HandClock, idp: Provider) -> None:
    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            assert (await sign_in(asked)).status_code == 200
            idp.rotate()
            clock.advance(60)
            assert (await sign_in(asked)).status_code == 200
            assert idp.seen == ["configuration", "keys", "keys"]
            lie_with_another_key(idp)
            for _ in range(3):
                assert (await sign_in(asked)).status_code == 403
            assert idp.seen == ["configuration", "keys", "keys"]

    run(test)


def test_a_provider_that_is_away_is_said_to_be(store: Store, clock: HandClock) -> None:
    with provider(clock) as gone:
        pass

    async def test() -> None:
        async with browser(store, clock, gone) as asked:
            answer = await asked.get("/sign-in/oidc", headers={"Accept-Language": "id"})
            assert answer.status_code == 503 and text("sign_in.provider_away", "id") in answer.text

    run(test)


def test_a_secret_that_is_not_there_is_no_traceback(
    store: Store, clock: HandClock, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLIENT_SECRET")

    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            answer = await sign_in(asked)
            assert answer.status_code == 403 and text("sign_in.provider_failed", "en") in answer.text

    run(test)


def test_without_a_provider_its_routes_lead_to_the_sign_in(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with client(store, None, clock=clock) as asked:
            assert (await asked.get("/sign-in/oidc")).headers["location"] == "/sign-in"
            assert (await asked.get("/sign-in/oidc/callback?code=a&state=b")).status_code == 403

    run(test)


def test_whoever_guesses_answers_waits(store: Store, clock: HandClock, idp: Provider) -> None:
    async def test() -> None:
        async with browser(store, clock, idp) as asked:
            await asked.get("/sign-in/oidc")
            found = [await asked.get(f"/sign-in/oidc/callback?code=a&state={i}") for i in range(13)]
            assert [answer.status_code for answer in found] == [403] * 11 + [429] * 2

    run(test)
