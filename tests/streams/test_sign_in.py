"""Signing in with a browser: links that work once, sessions that end, cookies out of reach."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from html import unescape

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.store import Store, audit, open_store, sign_ins
from streams.store.tokens import Scope
from streams.web.app import create_app
from streams.web.console.texts import text
from streams.web.console.viewer import LANGUAGES, Language, best_language
from tests.servers.clocks import HandClock
from tests.servers.stores import new_store
from tests.servers.web import BASE, client, settings_of, web

OURS = {"Sec-Fetch-Site": "same-origin", "Origin": BASE}


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with new_store(db) as found:
        yield found


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@asynccontextmanager
async def browser(store: Store, clock: HandClock, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    async with client(store, None, clock=clock, address=address) as found:
        found.headers["Accept"] = "text/html"
        yield found


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await test()

    asyncio.run(whole())


def link(store: Store, clock: HandClock, scope: Scope = Scope.ADMIN) -> str:
    return sign_ins.make_link(store, scope, "person:eko", "cli:eko", clock.now_ms())


async def signed_in(asked: httpx.AsyncClient, code: str) -> httpx.Response:
    return await asked.post("/sign-in", data={"code": code}, headers=OURS)


def csrf_of(html: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found is not None
    return found.group(1)


def test_a_link_signs_in_once_and_opening_it_does_not_use_it(store: Store, clock: HandClock) -> None:
    code = link(store, clock)

    async def test() -> None:
        async with browser(store, clock) as first, browser(store, clock, "192.0.2.7") as second:
            for _ in range(3):  # a preview, a prefetch, a person
                opened = await first.get("/sign-in", params={"code": code})
                assert opened.status_code == 200 and f'value="{code}"' in opened.text
                assert "set-cookie" not in opened.headers
            answer = await signed_in(first, code)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            home = await first.get("/")
            assert home.status_code == 200 and "person:eko" in home.text
            again = await signed_in(second, code)
            assert again.status_code == 403 and text("sign_in.link_over", "en") in again.text
            assert "set-cookie" not in again.headers

    run(test)
    assert [(e.what, e.who) for e in audit.entries(store)] == [
        ("link.created", "cli:eko"),
        ("signed-in", "person:eko"),
        ("sign-in.failed", "nobody"),
    ]


def test_of_many_who_use_a_link_at_once_one_gets_in(store: Store, clock: HandClock) -> None:
    code = link(store, clock)

    async def test() -> None:
        async with browser(store, clock) as asked:
            answers = await asyncio.gather(*(signed_in(asked, code) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [303] + [403] * 7

    run(test)


def test_an_old_link_signs_nobody_in(store: Store, clock: HandClock) -> None:
    code = link(store, clock)
    clock.advance(sign_ins.LINK_MS / 1_000)

    async def test() -> None:
        async with browser(store, clock) as asked:
            assert (await signed_in(asked, code)).status_code == 403

    run(test)


def test_the_cookie_is_out_of_reach(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with browser(store, clock) as asked:
            cookie = (await signed_in(asked, link(store, clock))).headers["set-cookie"]
            assert re.fullmatch(r"tocsin_session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict", cookie)

    run(test)


@pytest.mark.slow
def test_over_https_the_cookie_is_bound_to_this_host(store: Store, clock: HandClock) -> None:
    settings = settings_of(public_url="https://tocsin.example")
    there = {"Host": "tocsin.example", "Origin": "https://tocsin.example"}

    async def test() -> None:
        async with client(store, None, settings=settings, clock=clock) as asked:
            answer = await asked.post("/sign-in", data={"code": link(store, clock)}, headers=there)
            cookie = answer.headers["set-cookie"]
            assert re.fullmatch(r"__Host-tocsin_session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", cookie)
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            value = cookie.partition(";")[0].partition("=")[2]
            asked.cookies.clear()
            there["Accept"] = "text/html"
            for name, status in (("tocsin_session", 303), ("__Host-tocsin_session", 200)):
                found = await asked.get("/", headers={**there, "Cookie": f"{name}={value}"})
                assert found.status_code == status, name

    run(test)


@pytest.mark.slow
def test_signing_in_begins_a_new_session_whatever_cookie_was_there(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with browser(store, clock) as asked:
            asked.cookies.set("tocsin_session", "A" * 43, domain="127.0.0.1")
            await signed_in(asked, link(store, clock))
            first = asked.cookies["tocsin_session"]
            assert first != "A" * 43
            await signed_in(asked, link(store, clock))
            second = asked.cookies["tocsin_session"]
            asked.cookies.clear()
            for value, status in (("A" * 43, 303), (first, 303), (second, 200)):
                found = await asked.get("/", headers={"Cookie": f"tocsin_session={value}"})
                assert found.status_code == status

    run(test)


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_the_store_has_neither_code_nor_cookie(store: Store, clock: HandClock) -> None:
    used, unused = link(store, clock), link(store, clock)

    async def test() -> None:
        async with browser(store, clock) as asked:
            await signed_in(asked, used)
            cookie = asked.cookies["tocsin_session"]
            for secret in (used, unused, cookie):
                for name in ("tocsin.db", "tocsin.db-wal"):
                    assert secret.encode() not in (store.path.parent / name).read_bytes()

    run(test)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every_s", "times", "last"),
    [
        pytest.param(12 * 3_600 - 1, 3, 200, id="used in time"),
        pytest.param(12 * 3_600, 1, 303, id="not used for too long"),
        pytest.param(6 * 3_600, 28, 303, id="too old however much it is used"),
    ],
)
def test_a_session_ends(store: Store, clock: HandClock, every_s: float, times: int, last: int) -> None:
    async def test() -> None:
        asked_of = web(store, clock=clock)
        async with client(store, None, application=create_app(asked_of)) as asked:
            asked.headers["Accept"] = "text/html"
            await signed_in(asked, link(store, clock))
            status = 0
            for _ in range(times):
                clock.advance(every_s)
                status = (await asked.get("/")).status_code
                asked_of.identifier.flush()
            assert status == last

    run(test)


def test_signing_out_ends_the_session_on_the_server(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with browser(store, clock) as asked:
            await signed_in(asked, link(store, clock))
            cookie = asked.cookies["tocsin_session"]
            csrf = csrf_of((await asked.get("/")).text)
            out = await asked.post("/sign-out", data={"csrf": csrf}, headers=OURS)
            assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
            asked.cookies.clear()
            copied = await asked.get("/", headers={"Cookie": f"tocsin_session={cookie}"})
            assert copied.status_code == 303

    run(test)
    assert [e.what for e in audit.entries(store)] == ["link.created", "signed-in", "signed-out"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "csrf", "status"),
    [
        pytest.param(OURS, True, 303, id="our own page"),
        pytest.param({}, True, 303, id="a program with the token"),
        pytest.param(OURS, False, 403, id="without the token"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, True, 403, id="another site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, True, 403, id="a sister site"),
        pytest.param({"Sec-Fetch-Site": "none"}, True, 403, id="no site"),
        pytest.param({"Origin": "https://evil.example"}, True, 403, id="another origin"),
        pytest.param({"Origin": "null"}, True, 403, id="a hidden origin"),
        pytest.param({"Origin": "http://127.0.0.1:9999"}, True, 403, id="another port"),
    ],
)
def test_only_our_own_page_changes_something(
    store: Store, clock: HandClock, headers: dict[str, str], csrf: bool, status: int
) -> None:
    async def test() -> None:
        async with browser(store, clock) as asked:
            await signed_in(asked, link(store, clock))
            form = {"csrf": csrf_of((await asked.get("/")).text)} if csrf else {"csrf": "A" * 43}
            assert (await asked.post("/sign-out", data=form, headers=headers)).status_code == status
            assert (await asked.get("/")).status_code == (303 if status == 303 else 200)

    run(test)


def test_another_site_cannot_sign_a_browser_in(store: Store, clock: HandClock) -> None:
    code = link(store, clock)

    async def test() -> None:
        async with browser(store, clock) as asked:
            for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                answer = await asked.post("/sign-in", data={"code": code}, headers=headers)
                assert answer.status_code == 403 and "set-cookie" not in answer.headers
            assert (await signed_in(asked, code)).status_code == 303

    run(test)


@pytest.mark.slow
def test_a_link_followed_from_another_site_finds_the_session(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with browser(store, clock) as asked:
            bounced = await asked.get("/", headers={"Sec-Fetch-Site": "cross-site"})
            assert bounced.status_code == 200 and 'http-equiv="refresh" content="0; url=/"' in bounced.text
            after = await asked.get("/", headers={"Sec-Fetch-Site": "same-origin"})
            assert after.headers["location"] == "/sign-in"

    run(test)


def test_whoever_guesses_links_waits_and_others_do_not(store: Store, clock: HandClock) -> None:
    good = link(store, clock)

    async def test() -> None:
        application = create_app(web(store, clock=clock))
        async with (
            client(store, None, application=application, address="192.0.2.1") as guesser,
            client(store, None, application=application, address="192.0.2.2") as person,
        ):
            found = [await signed_in(guesser, f"guess-{i}") for i in range(14)]
            assert [answer.status_code for answer in found] == [403] * 11 + [429] * 3
            wait_s = int(found[-1].headers["retry-after"])
            assert 1 <= wait_s <= 3
            assert (await signed_in(guesser, good)).status_code == 429
            assert (await signed_in(person, good)).status_code == 303
            clock.advance(wait_s)
            assert (await signed_in(guesser, "guess")).status_code == 403

    run(test)
    counted = [(e.what, e.detail) for e in audit.entries(store) if e.what == "sign-in.failed"]
    assert counted == [("sign-in.failed", ""), ("sign-in.failed", "11 more since")]


@pytest.mark.slow
@pytest.mark.parametrize("code", ['"><script>alert(1)</script>', "{{ 7 * 7 }}", "a\r\nSet-Cookie: x=1", "\u202e<b>"])
def test_what_stands_in_the_address_is_text(store: Store, clock: HandClock, code: str) -> None:
    async def test() -> None:
        async with browser(store, clock) as asked:
            answer = await asked.get("/sign-in", params={"code": code})
            value = re.search(r'name="code" value="([^"]*)"', answer.text)
            assert value is not None and unescape(value.group(1)) == code
            assert "<script" not in answer.text and "set-cookie" not in answer.headers

    run(test)


def test_the_pages_speak_the_languages_of_ours(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with browser(store, clock) as asked:
            wishes: tuple[tuple[str, Language], ...] = (("id-ID,id;q=0.9", "id"), ("fr", "en"))
            for header, language in wishes:
                answer = await asked.get("/sign-in", headers={"Accept-Language": header})
                assert f'<html lang="{language}"' in answer.text and text("sign_in.get_link", language) in answer.text
                assert answer.headers["content-language"] == language

    run(test)


@given(st.text(max_size=80))
def test_any_wish_for_a_language_finds_one(header: str) -> None:
    assert best_language(header) in LANGUAGES


@pytest.mark.slow
def test_links_and_sessions_are_bounded(store: Store, clock: HandClock) -> None:
    first = link(store, clock)
    for _ in range(sign_ins.MAX_LINKS):
        clock.advance(1)
        link(store, clock)
    assert sign_ins.use_link(store, first, clock.now_ms(), idle_ms=1_000) is None


def test_a_link_is_one_tenants(store: Store, clock: HandClock) -> None:
    code = link(store, clock)
    with open_store(store.where, tenant="other") as other:
        assert sign_ins.use_link(other, code, clock.now_ms(), idle_ms=1_000) is None
    opened = sign_ins.use_link(store, code, clock.now_ms(), idle_ms=1_000)
    assert opened is not None
    with open_store(store.where, tenant="other") as other:
        assert sign_ins.find_session(other, opened[0], clock.now_ms(), idle_ms=1_000) is None
