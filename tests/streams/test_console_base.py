"""What every page of the console shares: words in both languages, refusals, the way in, preferences, its own files."""

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from streams.store import Store, sign_ins
from streams.store.tokens import Scope
from streams.web import console
from streams.web.console import formats, static
from streams.web.console.base import is_ours
from streams.web.console.texts import TEXTS, text
from streams.web.console.viewer import LANGUAGES, Language, Viewer
from tests.servers.clocks import HandClock
from tests.servers.stores import new_store
from tests.servers.web import BASE, client

HTML = {"Accept": "text/html,application/xhtml+xml"}
OURS = {**HTML, "Sec-Fetch-Site": "same-origin", "Origin": BASE}
FOLDER = Path(console.__file__).parent
EVIL = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "\u202egnp.exe")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "tocsin.db")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await test()

    asyncio.run(whole())


def csrf_of(html: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found is not None
    return found.group(1)


async def signed_in(
    asked: httpx.AsyncClient, store: Store, clock: HandClock, scope: Scope = Scope.ADMIN
) -> httpx.Response:
    code = sign_ins.make_link(store, scope, "person:eko", "cli:eko", clock.now_ms())
    return await asked.post("/sign-in", data={"code": code}, headers=OURS)


# --- words ------------------------------------------------------------------------------------------------------------


def test_a_text_is_there_in_both_languages_with_the_same_values() -> None:
    def values(found: str) -> set[str]:
        return set(re.findall(r"{(\w+)}", found))

    empty = {key for key, of in TEXTS.items() if not all(one.strip() for one in of)}
    unequal = {key for key, (english, bahasa) in TEXTS.items() if values(english) != values(bahasa)}
    assert not empty and not unequal


def sources() -> str:
    files = [*FOLDER.rglob("*.html"), *(f for f in FOLDER.rglob("*.py") if f.parent.name != "texts")]
    return "\n".join(file.read_text(encoding="utf-8") for file in (*files, FOLDER.parent / "pages.py"))


def test_every_text_that_a_template_asks_for_is_there() -> None:
    for file in FOLDER.rglob("*.html"):
        for key, more in re.findall(r"\bt\(\s*'([\w.-]+)'\s*(~?)", file.read_text(encoding="utf-8")):
            known = any(name.startswith(key) for name in TEXTS) if more else key in TEXTS
            assert known, f"{file.name}: {key}"


@pytest.mark.slow
def test_every_text_is_used() -> None:
    found = sources()
    stems = set(re.findall(r"""["']([\w.-]+\.)["'{]""", found)) | set(re.findall(r"""f["']([\w.-]+\.){""", found))
    stems |= {f"{kind}." for kind in re.findall(r"""named\(\s*["'](\w+)["']""", found)}
    unused = {key for key in TEXTS if not re.search(rf"""["']{re.escape(key)}["']""", found)}
    left = {key for key in unused if not any(key.startswith(stem) for stem in stems)} - NOT_BY_NAME
    assert not left


NOT_BY_NAME = {key for key in TEXTS if key.startswith(("error.", "sign_in."))}
"""By the status or code of a refusal (`streams.web.console.errors`), by what went wrong at the sign-in."""


def test_numbers_and_forms_are_the_languages_own() -> None:
    assert text("new_cases", "en", n=1) == "1 new case"
    assert text("new_cases", "en", n=12_345) == "12,345 new cases"
    assert text("new_cases", "id", n=12_345) == "12.345 kasus baru"


@pytest.mark.parametrize("evil", EVIL)
def test_a_value_of_a_text_never_becomes_markup(evil: str) -> None:
    told = text("kill_switch.by", "en", who=evil, at=Markup("<b>now</b>"))
    assert isinstance(told, Markup) and "<b>now</b>" in told and "<script" not in told and "<img" not in told


# --- times ------------------------------------------------------------------------------------------------------------

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = 1_772_416_800_000


@pytest.mark.parametrize(
    ("passed", "english", "bahasa"),
    [
        (0, "just now", "baru saja"),
        (45_000, "45 s ago", "45 dtk lalu"),
        (12 * MINUTE, "12 min ago", "12 mnt lalu"),
        (119 * MINUTE, "119 min ago", "119 mnt lalu"),
        (3 * HOUR, "3 h ago", "3 jam lalu"),
        (9 * DAY, "9 d ago", "9 hari lalu"),
        (-5 * MINUTE, "in 5 min", "5 mnt lagi"),
    ],
)
def test_how_long_ago(passed: int, english: str, bahasa: str) -> None:
    for language, told in (("en", english), ("id", bahasa)):
        viewer = Viewer("en" if language == "en" else "id", "UTC", "auto", NOW)
        assert formats.ago(NOW - passed, viewer) == told


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("Asia/Jakarta", "09:00 WIB"),
        ("Asia/Makassar", "10:00 WITA"),
        ("Asia/Jayapura", "11:00 WIT"),
        ("UTC", "02:00 UTC"),
    ],
)
def test_a_moment_is_told_in_the_viewers_zone_by_its_name(zone: str, told: str) -> None:
    assert formats.moment(NOW, Viewer("en", zone, "auto", NOW)) == told


@given(st.integers(0, 4_102_444_800_000), st.integers(0, 4_102_444_800_000), st.sampled_from(LANGUAGES))
def test_any_moment_is_told_absolutely_and_relatively(at_ms: int, now_ms: int, language: Language) -> None:
    told = formats.when(at_ms, Viewer(language, "Asia/Jakarta", "auto", now_ms))
    assert re.search(r'class="abs">[^<]*\d\d[:.]\d\d WIB</span> <span class="ago">[^<]+</span></time>$', told)


# --- refusals and the way in ------------------------------------------------------------------------------------------


def test_a_browser_is_led_to_the_sign_in_and_back_to_what_it_wanted(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with client(store, None, clock=clock) as asked:
            asked.headers.update(HTML)
            sent = await asked.get("/?state=all&q=BNI")
            assert (sent.status_code, sent.headers["location"]) == (303, "/sign-in")
            assert text("sign_in.afterwards", "en") in (await asked.get("/sign-in")).text
            answer = await signed_in(asked, store, clock)
            assert (answer.status_code, answer.headers["location"]) == (303, "/?state=all&q=BNI")
            assert "tocsin_next" not in asked.cookies
            assert (await asked.get(answer.headers["location"])).status_code == 200

    run(test)


def test_a_program_is_told_so(store: Store) -> None:
    async def test() -> None:
        async with client(store, None) as asked:
            for path in ("/", "/v1/cases"):
                for accept in ("*/*", "application/json", "text/html") if path != "/" else ("*/*", "application/json"):
                    answer = await asked.get(path, headers={"Accept": accept})
                    assert answer.status_code == 401 and answer.json()["code"] == "not-signed-in"

    run(test)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/v1/tokens",
        "/sign-out",
        "/u/x",
        "javascript:1",
        "",
        "/\t/evil",
    ],
)
def test_nobody_is_led_to_where_is_no_page_of_ours(store: Store, clock: HandClock, wanted: str) -> None:
    async def test() -> None:
        async with client(store, None, clock=clock) as asked:
            asked.headers.update(HTML)
            asked.headers["Cookie"] = f"tocsin_next={wanted}"
            assert (await signed_in(asked, store, clock)).headers["location"] == "/"

    run(test)


@given(st.text(max_size=30).map(lambda tail: "/" + tail))
def test_what_counts_as_ours_names_no_other_host(path: str) -> None:
    if is_ours(path):
        joined = httpx.URL(BASE).join(path)
        assert joined.host == "127.0.0.1"


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_is_a_page_for_a_browser(store: Store, language: Language) -> None:
    async def test() -> None:
        async with client(store, Scope.READ) as asked:
            asked.headers.update({**HTML, "Accept-Language": language})
            for path, status in (("/nowhere", 404), ("/?state=what", 422), ("/?token=x", 400)):
                answer = await asked.get(path)
                assert answer.status_code == status and text(f"error.{status}", language) in unescape(answer.text)
                assert answer.headers["content-type"].startswith("text/html")
                assert "default-src 'self'" in answer.headers["content-security-policy"]
                assert answer.headers["cache-control"] == "no-store"

    run(test)


def test_a_page_that_is_not_there_does_not_offer_to_load_it_again(store: Store) -> None:
    async def test() -> None:
        async with client(store, Scope.READ) as asked:
            for path in ("/nowhere", "/cases/nosuchcase", "/?state=what"):
                page = (await asked.get(path, headers=HTML)).text
                assert text("error.back", "en") in page and text("error.again", "en") not in page

    run(test)


@pytest.mark.slow
@pytest.mark.parametrize("evil", EVIL)
def test_what_stands_in_an_address_is_text_on_every_page(store: Store, evil: str) -> None:
    async def test() -> None:
        async with client(store, Scope.READ) as asked:
            for path in ("/nowhere", "/"):
                for params in ({"q": evil}, {"signal": evil}, {"owner": evil}, {"state": evil}, {"row": evil}):
                    page = (await asked.get(path, params=params, headers=HTML)).text
                    assert "<script>alert" not in page and "<img src=x" not in page
                    assert 'href="javascript:' not in page

    run(test)


def test_a_form_without_the_pages_token_changes_nothing(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with client(store, None, clock=clock) as asked:
            asked.headers.update(HTML)
            await signed_in(asked, store, clock)
            answer = await asked.post("/preferences", data={"language": "id", "csrf": "x"}, headers=OURS)
            assert answer.status_code == 403 and text("error.csrf", "en") in answer.text
            assert "tocsin_language" not in asked.cookies

    run(test)


# --- preferences ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_language_and_look_are_kept_and_lead_back_to_the_page(store: Store, clock: HandClock) -> None:
    async def test() -> None:
        async with client(store, None, clock=clock) as asked:
            asked.headers.update(HTML)
            await signed_in(asked, store, clock)
            page = (await asked.get("/?state=all")).text
            assert '<html lang="en" data-theme="auto"' in page and 'name="back" value="/?state=all"' in page
            form = {"csrf": csrf_of(page), "back": "/?state=all"}
            for name, value in (("language", "id"), ("theme", "dark")):
                kept = await asked.post("/preferences", data={**form, name: value}, headers=OURS)
                assert (kept.status_code, kept.headers["location"]) == (303, "/?state=all")
            assert '<html lang="id" data-theme="dark"' in (await asked.get("/")).text
            away = await asked.post("/preferences", data={**form, "back": "https://evil.example"}, headers=OURS)
            assert away.headers["location"] == "/"

    run(test)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cookie",
    [
        "tocsin_theme=neon",
        "tocsin_language=xx",
        "tocsin_zone=../../etc/passwd",
        "tocsin_zone=" + "A" * 4_000,
        'tocsin_zone="<b>"',
    ]
    + [f"tocsin_said={value}" for value in ("x", "!!", base64.urlsafe_b64encode(b'["close","good",7]').decode())]
    + ["tocsin_said=" + base64.urlsafe_b64encode(json.dumps(["<b>", "good", {}]).encode()).decode()],
)
def test_a_cookie_that_is_none_of_ours_changes_nothing(store: Store, cookie: str) -> None:
    async def test() -> None:
        async with client(store, Scope.READ) as asked:
            page = await asked.get("/", headers={**HTML, "Cookie": cookie})
            assert page.status_code == 200 and '<html lang="en" data-theme="auto" data-zone="Asia/Jakarta"' in page.text
            assert 'class="said' not in page.text.replace('id="toast" class="said', "")

    run(test)


def test_the_zone_of_the_browser_is_the_one_that_times_are_told_in(store: Store) -> None:
    async def test() -> None:
        async with client(store, Scope.READ) as asked:
            page = await asked.get("/", headers={**HTML, "Cookie": "tocsin_zone=Asia/Makassar"})
            assert 'data-zone="Asia/Makassar"' in page.text

    run(test)


# --- our own files ----------------------------------------------------------------------------------------------------


def test_a_page_asks_for_nothing_that_is_not_ours_and_has_nothing_inline(store: Store) -> None:
    async def test() -> None:
        async with client(store, Scope.READ) as asked:
            for path in ("/", "/nowhere", "/sign-in"):
                page = (await asked.get(path, headers=HTML)).text
                links = re.findall(r'(?:src|href|action)="([^"]*)"', page)
                assert links and all(is_ours(link) or link.startswith("#") for link in links)
                assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page)

    run(test)


def test_files_are_kept_for_ever_under_the_address_of_their_content(store: Store) -> None:
    async def test() -> None:
        async with client(store, None) as asked:
            for name in static.files():
                answer = await asked.get(static.asset(name))
                assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
                assert answer.content == (static.FOLDER / name).read_bytes()
                assert answer.headers["x-content-type-options"] == "nosniff"
            old = await asked.get("/static/000000000000/console.css")
            assert old.status_code == 200 and old.headers["cache-control"] == "no-cache"
            for wrong in ("x.css", "..%2fbase.py", "%2e%2e"):
                assert (await asked.get(f"/static/{static.version()}/{wrong}")).status_code == 404

    run(test)


def test_style_and_scripts_are_small() -> None:
    assert sum(len(packed) for _, packed in static.files().values()) < 40_000
