"""The case page over HTTP: what it shows, what is done on it by whom, conflicts, hostile text, its chart."""

import asyncio
import csv
import io
import itertools
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from detector.desk.records import Approval, Case, CaseState, DeskEffects, TimelineEntry, Verdict
from detector.pipeline import Effects
from detector.watch.anomaly import Cause
from streams.clock import SystemClock
from streams.outbox.kill_switch import kill_switch, killed, set_kill_switch
from streams.store import Store, audit, open_store, queries, sign_ins
from streams.store.tokens import Scope
from streams.web.console.case import CHART_POLICY
from streams.web.console.texts import text
from streams.web.console.views.hit import ROWS
from tests.servers import engine, web
from tests.servers.asking import Asking, asking
from tests.servers.pages import HTML, OURS, text_of
from tests.streams.awaiting import made

FORM = {**HTML, "Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("awaiting") / "shop")


@pytest.fixture
def store(recorded: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "tocsin.db"
    shutil.copy(recorded, path)
    with open_store(path) as found:
        yield found


@pytest.fixture
def settings(recorded: Path) -> Any:
    return web.settings_of(recorded.parent)


@pytest.fixture
def ask(store: Store, settings: Any) -> Iterator[Asking]:
    with asking(store, Scope.OPERATE, web.app(store, settings=settings)) as found:
        yield found


def the_case(store: Store) -> Case:
    (found,) = queries.list_cases(store, finished=True)
    return found


def page(ask: Asking, case: Case, language: str = "en", **params: Any) -> str:
    headers = {**HTML, "Accept-Language": language}
    return str(ask("GET", f"/cases/{case.id}", params=params, headers=headers).text)


def form_of(html: str, verb: str, nth: int = 0) -> dict[str, str]:
    """Return the hidden fields of a form that does this."""
    found = re.findall(rf'<form method="post" action="/cases/\w+/{verb}".*?</form>', html, re.DOTALL)[nth]
    return {n: unescape(v) for n, v in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', found)}


def do(ask: Asking, case: Case, verb: str, given: dict[str, Any], status: int = 303) -> httpx.Response:
    return ask("POST", f"/cases/{case.id}/{verb}", status=status, data=given, headers=FORM)


# --- what it says -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            (
                "Payments are declined · bank BNI: 3 in 4 customers who try, since",
                "still fail",
                "11 would have been told (dry run)",
            ),
        ),
        (
            "id",
            (
                "Pembayaran ditolak · bank BNI: 3 dari 4 pelanggan yang mencoba, sejak",
                "masih gagal",
                "11 akan diberi tahu (uji coba)",
            ),
        ),
    ],
)
def test_the_answer_comes_first_in_the_viewers_language(
    store: Store, ask: Asking, language: str, said: tuple[str, ...]
) -> None:
    case = the_case(store)
    html = page(ask, case, language)
    assert case.affected is not None
    head = text_of(re.search(r'<header class="case-head".*?</header>', html, re.DOTALL)[0])  # type: ignore[index]
    assert all(part in head for part in said), head
    assert f"{case.affected.confirmed + case.affected.likely} " in head
    assert re.search(r"<h1>.*WIB", html)


@pytest.mark.slow
def test_every_number_opens_the_people_that_it_counts(store: Store, ask: Asking) -> None:
    case = the_case(store)
    links = re.findall(r'<a href="(/cases/\w+\?who=(\w+)[^"#]*)#who"', page(ask, case))
    assert {name for _, name in links} >= {"still_failing", "told", "called", "confirmed"}
    for address, name in links:
        html = ask("GET", unescape(address), headers=HTML).text
        rows = re.findall(r'<a href="/customers/([^"]+)"', html)
        count = re.search(rf'aria-current="true">{text(f"who.{name}", "en")} <strong>(\d+)</strong>', html)
        assert count is not None and len(rows) == min(int(count[1]), ROWS), name


@pytest.mark.slow
def test_the_affected_come_in_pages_each_once(store: Store, ask: Asking) -> None:
    case, seen = the_case(store), list[str]()
    address: str | None = f"/cases/{case.id}"
    while address is not None:
        html = ask("GET", address, headers=HTML).text
        rows = re.findall(r'<td>\s*<a href="/customers/([^"]+)"', html)
        assert 0 < len(rows) <= 50
        seen += rows
        following = re.search(r'<a href="([^"]+)" rel="next"', html)
        address = unescape(following[1]) if following else None
    assert case.affected is not None
    assert len(seen) == len(set(seen)) == case.affected.confirmed + case.affected.likely


@pytest.mark.slow
def test_a_customer_is_found_by_id_or_alias_and_who_is_not_hit_is_said_so(store: Store, ask: Asking) -> None:
    case = the_case(store)
    customer = next(c for c in re.findall(r'/customers/(C-\d+)"', page(ask, case)) if int(c[2:]) < 2_900)
    for asked in (customer, f"user{customer[2:]}"):
        assert set(re.findall(r'/customers/(C-\d+)"', page(ask, case, q=asked))) == {customer}
    assert text("who.unknown", "en") in page(ask, case, q="nobody at all")


@pytest.mark.slow
@pytest.mark.parametrize("who", ["all", "told", "untold", "called", "confirmed", "still_failing"])
def test_each_list_is_a_file_as_well(store: Store, ask: Asking, who: str) -> None:
    html = page(ask, the_case(store), who=who)
    address = re.search(r'<a href="(/v1/cases/[^"]+\.csv[^"]*)"', html)
    assert address is not None
    rows = list(csv.reader(io.StringIO(ask("GET", unescape(address[1])).text)))[1:]
    count = re.search(rf'aria-current="true">{text(f"who.{who}", "en")} <strong>(\d+)</strong>', html)
    assert count is not None and len(rows) == int(count[1])


@pytest.mark.slow
def test_why_and_what_they_read_stand_on_the_page(store: Store, ask: Asking) -> None:
    case = the_case(store)
    html = page(ask, case)
    told = text_of(html)
    assert "bank BNI is the cause with" in told and "threshold of" in told and "budget of" in told
    person = re.search(r'/customers/(C-\d+)"', html)[1]  # type: ignore[index]
    assert f"As {person} would read it" in told
    assert f"Hi Name {person[2:]}" in told and f"Halo Name {person[2:]}" in told
    assert text("kind.resolved", "en") in told
    other = text_of(page(ask, case, person=person, kind="resolved"))
    assert "works again" in other and "Hi Name" in other


@pytest.mark.slow
def test_a_case_of_nobody_says_what_was_seen_instead(store: Store, ask: Asking) -> None:
    case = msgspec.structs.replace(the_case(store), id="0" * 12, affected=None)
    store.commit(Effects(desk=DeskEffects(cases=[case])))
    html = page(ask, case)
    assert text("case.nobody_named", "en") in html and text("who.nobody", "en") in html
    assert 'id="preview"' not in html


def test_there_is_no_page_of_another_case(ask: Asking) -> None:
    for path in ("/cases/ffffffffffff", "/cases/ffffffffffff/chart.svg", "/cases/%00"):
        answer = ask("GET", path, status=404, headers=HTML)
        assert "text/html" in answer.headers["content-type"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        {"who": "x", "after": "x", "from": "x", "to": "9" * 30, "do": "x", "kind": "x", "signal": "x", "person": "x"},
        {"after": "-9223372036854775808"},
        {"after": "999999999999999999", "q": "a\0b"},
        {"do": "approve", "person": "=1+1", "kind": "correction"},
        {"from": "1", "to": "0"},
    ],
)
def test_an_address_with_values_that_can_not_be_shows_the_case_all_the_same(
    store: Store, ask: Asking, query: dict[str, str]
) -> None:
    assert "<h1>" in page(ask, the_case(store), **query)


# --- what is done -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_acknowledging_is_one_press_and_everybody_sees_who_did(store: Store, ask: Asking) -> None:
    case = the_case(store)
    answer = do(ask, case, "acknowledge", form_of(page(ask, case), "acknowledge"))
    assert answer.headers["location"] == f"/cases/{case.id}"
    assert the_case(store).state is CaseState.ACKNOWLEDGED
    html = page(ask, case)
    assert text("said.acknowledge", "en") in html and "acknowledged" in text_of(html)
    assert not re.search(r"/acknowledge\"", html)
    assert audit.entries(store)[-1].what == "case.acknowledge"


def test_approving_says_first_whom_it_would_tell_and_on_what(store: Store, ask: Asking) -> None:
    case = the_case(store)
    asked = text_of(re.search(r'<section class="panel ask".*?</section>', page(ask, case, do="approve"), re.DOTALL)[0])  # type: ignore[index]
    found = re.search(r"Would send (\d+) WhatsApp messages?; this is a dry run.* (\d+) more have got through", asked)
    assert found is not None and f"Tell all {found[1]} customers" in asked
    assert int(found[1]) + int(found[2]) == case.notices.held
    do(ask, case, "approve", form_of(page(ask, case, do="approve"), "approve"))
    after = the_case(store)
    assert after.approval is Approval.APPROVED
    assert after.notices.told == case.notices.told + int(found[1]) and after.notices.held == 0


@pytest.mark.slow
def test_a_sample_is_told_first(store: Store, ask: Asking) -> None:
    case = the_case(store)
    given = form_of(page(ask, case, do="approve"), "approve", 1) | {"customers": "5"}
    do(ask, case, "approve", given)
    after = the_case(store)
    assert after.approval is Approval.SAMPLE and after.notices.told == case.notices.told + 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "given", "key"),
    [
        ("approve", {"customers": "0"}, "wrong.number"),
        ("approve", {"customers": "1e3"}, "wrong.number"),
        ("approve", {"customers": "9" * 40}, "wrong.number"),
        ("comment", {"text": " "}, "wrong.text"),
        ("comment", {"text": "x" * 2_001}, "wrong.long"),
        ("assign", {"text": "x" * 81}, "wrong.long"),
        ("dismiss", {}, "wrong.choice"),
        ("dismiss", {"verdict": "real"}, "wrong.choice"),
        ("resolve", {"verdict": "not-a-problem"}, "wrong.choice"),
        ("merge", {}, "wrong.choice"),
        ("split", {}, "wrong.choice"),
    ],
)
def test_what_was_filled_in_wrongly_is_said_and_nothing_is_done(
    store: Store, ask: Asking, verb: str, given: dict[str, str], key: str
) -> None:
    case = the_case(store)
    answer = do(ask, case, verb, given, 422)
    assert text(key, "en") in answer.text
    assert the_case(store) == case


def test_assigning_and_commenting(store: Store, ask: Asking) -> None:
    case = the_case(store)
    do(ask, case, "assign", form_of(page(ask, case, do="assign"), "assign", 1) | {"text": "ani"})
    assert the_case(store).assignee == "ani"
    do(ask, case, "comment", form_of(page(ask, case), "comment") | {"text": "Bank says 20 minutes."})
    html = page(ask, case)
    assert "Bank says 20 minutes." in html and "works on it: ani" in text_of(html)
    do(ask, case, "assign", form_of(html, "assign") | {"text": ""})
    assert the_case(store).assignee == ""


@pytest.mark.slow
def test_holding_and_telling_again(store: Store, ask: Asking) -> None:
    case = the_case(store)
    do(ask, case, "hold", form_of(page(ask, case, do="hold"), "hold"))
    assert the_case(store).approval is Approval.HELD
    assert 'href="/cases/' in page(ask, case) and text("case.stands.held", "en") in page(ask, case)
    asked = page(ask, case, do="try-again")
    n = int(re.search(r"<button class=\"main\">Send (\d+) message", asked)[1])  # type: ignore[index]
    do(ask, case, "try-again", form_of(asked, "try-again"))
    with store.reading() as connection:
        sent = connection.exec_driver_sql("select count(*) from notices where kind = 'try-again'").scalar_one()
    assert sent == n > 0


@pytest.mark.parametrize(
    ("verdict", "said"), [("not-a-problem", "1 of 1 false cases spent"), ("expected", "the budget is untouched")]
)
def test_dismissing_says_before_and_after_what_it_costs(store: Store, ask: Asking, verdict: str, said: str) -> None:
    case = the_case(store)
    asked = page(ask, case, do="dismiss")
    assert "Costs the budget one false case: 1 of 1 (1 false case per week)." in text_of(asked)
    assert f"The {case.notices.told} customers who were told get one correction each." in text_of(asked)
    do(ask, case, "dismiss", form_of(asked, "dismiss") | {"verdict": verdict})
    after = the_case(store)
    assert (after.state, after.verdict) == (CaseState.DISMISSED, Verdict(verdict))
    assert said in text_of(page(ask, case))


def test_in_a_recording_nothing_that_was_done_lies_ahead(store: Store, ask: Asking) -> None:
    case = the_case(store)
    do(ask, case, "comment", form_of(page(ask, case), "comment") | {"text": "later than the recording"})
    story = re.search(r'<ol class="plain story".*?</ol>', page(ask, case), re.DOTALL)
    assert story is not None and "later than the recording" in story[0]
    assert not re.search(r"\bin \d+ (s|min|h|d)\b", text_of(story[0]))


def test_resolving(store: Store, ask: Asking) -> None:
    case = the_case(store)
    do(ask, case, "resolve", form_of(page(ask, case, do="resolve"), "resolve") | {"verdict": "real"})
    assert (the_case(store).state, the_case(store).verdict) == (CaseState.RESOLVED, Verdict.REAL)


def test_merging_offers_the_other_cases_and_what_the_engines_refuse_is_said(store: Store, ask: Asking) -> None:
    case = the_case(store)
    assert text("ask.merge.none", "en") in page(ask, case, do="merge")
    other = msgspec.structs.replace(case, id="ab" * 6, title={"en": "Another one"}, opened_ms=case.opened_ms + 1)
    store.commit(Effects(desk=DeskEffects(cases=[other])))
    asked = page(ask, case, do="merge")
    assert "Another one" in asked and f'value="{other.id}"' in asked and f'name="into" value="{case.id}"' not in asked
    answer = do(ask, case, "merge", form_of(asked, "merge") | {"into": other.id}, 409)
    assert "no such case" in text_of(answer.text)  # it was written by hand: the engines do not know it


@pytest.mark.slow
def test_the_kill_switch_is_in_sight_and_says_what_waits(store: Store, settings: Any) -> None:
    store.set_meta("mode", b"live")
    case = the_case(store)
    with asking(store, Scope.OPERATE, web.app(store, settings=settings)) as ask:
        asked = page(ask, case, do="stop-sending")
        assert "Nothing waits at the moment." in text_of(asked) and "0 messages wait" not in asked
        do(ask, case, "stop-sending", form_of(asked, "stop-sending") | {"text": "wrong words"})
        assert killed(store)
        html = page(ask, case, do="go-on-sending")
        assert text("do.sending.off", "en") in html
        do(ask, case, "go-on-sending", form_of(html, "go-on-sending"))
        assert not killed(store)
    assert [entry.what for entry in audit.entries(store)][-2:] == ["kill-switch.on", "kill-switch.off"]


def test_the_kill_switch_of_a_case_is_turned_only_as_its_page_showed_it_and_with_a_reason(
    store: Store, settings: Any
) -> None:
    store.set_meta("mode", b"live")
    case = the_case(store)
    with asking(store, Scope.OPERATE, web.app(store, settings=settings)) as ask:
        seen = form_of(page(ask, case, do="stop-sending"), "stop-sending")
        wrong = do(ask, case, "stop-sending", seen, 422)
        assert text("switch.no_reason", "en") in text_of(wrong.text) and not killed(store)
        set_kill_switch(store, True, "person:ani", "wrong words", 7)
        late = do(ask, case, "stop-sending", seen | {"text": "mine"}, 409)
        assert "ani has turned the kill switch on meanwhile" in text_of(late.text) and "mine" in text_of(late.text)
        assert kill_switch(store).reason == "wrong words"
        assert "kill switch (ani, " in text_of(late.text) and '<q class="wrap">wrong words</q>' in late.text
        seen = form_of(page(ask, case, do="go-on-sending"), "go-on-sending")
        set_kill_switch(store, False, "person:ani", "", 8)
        set_kill_switch(store, True, "person:budi", "worse", 9)
        do(ask, case, "go-on-sending", seen, 409)
    assert kill_switch(store).reason == "worse"


def test_a_case_with_a_holdout_shows_what_telling_changed_on_its_page_and_in_the_api(store: Store, ask: Asking) -> None:
    before = the_case(store)
    assert 'id="comparison"' not in page(ask, before)
    assert ask("GET", f"/v1/cases/{before.id}").json()["comparison"] is None
    counts = msgspec.structs.replace(
        before.notices, holdout=200, holdout_contacts=40, compared=1_800, compared_contacts=180
    )
    store.commit(Effects(desk=DeskEffects(cases=[msgspec.structs.replace(before, notices=counts)])))
    html = page(ask, before)
    said = text_of(re.search(r'<div id="comparison".*?</div>', html, re.DOTALL)[0])  # type: ignore[index]
    assert "held out: told later 200 40 (20%)" in said and "told at once 1,800 180 (10%)" in said
    assert "avoided about 180 contacts" in said
    found = ask("GET", f"/v1/cases/{before.id}").json()["comparison"]
    assert (found["held_out_contacts"], found["others_contacts"], found["difference"]) == (40, 180, pytest.approx(0.1))
    assert 0 < found["low"] < 0.1 < found["high"] and found["avoided"] == pytest.approx(180)


def test_of_two_who_stop_all_sending_at_the_same_moment_one_does_and_one_is_told(store: Store, settings: Any) -> None:
    store.set_meta("mode", b"live")
    case = the_case(store)

    async def both() -> list[httpx.Response]:
        async with web.client(store, Scope.OPERATE, settings=settings) as client:
            given = form_of((await client.get(f"/cases/{case.id}?do=stop-sending", headers=HTML)).text, "stop-sending")
            path = f"/cases/{case.id}/stop-sending"
            wishes = (client.post(path, data=given | {"text": f"why {n}"}, headers=FORM) for n in range(6))
            return list(await asyncio.gather(*wishes))

    answers = asyncio.run(both())
    assert sorted(answer.status_code for answer in answers) == [303, *[409] * 5]
    assert [entry.what for entry in audit.entries(store)].count("kill-switch.on") == 1


def test_merging_says_that_a_split_takes_it_apart_again(store: Store, ask: Asking) -> None:
    first = the_case(store)
    other = msgspec.structs.replace(first, id="0123456789ab")
    store.commit(Effects(desk=DeskEffects(cases=[other])))
    asked = text_of(page(ask, first, do="merge"))
    assert "“Split” takes it apart again." in asked and "can't be undone" not in asked


# --- two at once --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_who_acts_on_what_has_changed_is_told_who_changed_it_and_nothing_is_done(store: Store, ask: Asking) -> None:
    case = the_case(store)
    late = form_of(page(ask, case), "acknowledge")
    do(ask, case, "acknowledge", form_of(page(ask, case), "acknowledge"))
    answer = do(ask, case, "acknowledge", late, 409)
    told = text_of(re.search(r'<section class="panel conflict".*?</section>', answer.text, re.DOTALL)[0])  # type: ignore[index]
    assert text("conflict", "en") in told and re.search(r"just now token:\w+ acknowledged|token:\S+ acknowledged", told)
    assert len([e for e in queries.timeline(store, case.id) if e.what == "acknowledged"]) == 1


def test_an_assignment_is_never_overwritten_silently(store: Store, ask: Asking) -> None:
    case = the_case(store)
    late = form_of(page(ask, case), "assign")
    do(ask, case, "assign", form_of(page(ask, case), "assign") | {"text": "ani"})
    answer = do(ask, case, "assign", late | {"text": "budi"}, 409)
    assert "assigned to ani" in text_of(answer.text)
    assert the_case(store).assignee == "ani"


@pytest.mark.slow
def test_of_two_who_press_at_the_same_moment_one_is_done_and_one_is_told(store: Store, settings: Any) -> None:
    store.set_meta("mode", b"live")
    case = the_case(store)

    async def both() -> list[httpx.Response]:
        async with web.client(store, Scope.OPERATE, settings=settings) as client:
            html = (await client.get(f"/cases/{case.id}", headers=HTML)).text
            given = form_of(html, "assign")
            return list(
                await asyncio.gather(
                    *(
                        client.post(f"/cases/{case.id}/assign", data=given | {"text": who}, headers=FORM)
                        for who in ("ani", "budi")
                    )
                )
            )

    with engine.at_work(store.where):
        answers = asyncio.run(both())
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert len([e for e in queries.timeline(store, case.id) if e.what == "assigned"]) == 1
    lost = next(answer for answer in answers if answer.status_code == 409)
    assert f"assigned to {the_case(store).assignee}" in text_of(lost.text)


@pytest.mark.slow
def test_what_was_typed_is_not_lost(store: Store, ask: Asking) -> None:
    case = the_case(store)
    html = page(ask, case)
    answer = do(ask, case, "comment", form_of(html, "comment") | {"text": "y" * 2_001}, 422)
    assert "y" * 2_000 in answer.text


def test_what_the_engines_have_not_answered_yet_is_said(
    store: Store, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set_meta("mode", b"live")
    monkeypatch.setattr("streams.web.api.commands.WAIT_S", 0.05)
    case = the_case(store)
    with asking(store, Scope.OPERATE, web.app(store, settings=settings)) as ask:
        do(ask, case, "acknowledge", form_of(page(ask, case), "acknowledge"))
        assert text("said.waiting", "en") in page(ask, case)
    assert the_case(store).state is CaseState.OPEN


# --- who may ------------------------------------------------------------------------------------------------------------


def test_who_may_only_read_sees_no_button_and_gets_nothing_done(store: Store, settings: Any) -> None:
    case = the_case(store)
    with asking(store, Scope.READ, web.app(store, settings=settings)) as ask:
        html = page(ask, case, do="approve")
        assert text("do.may_not", "en") in html and 'class="panel ask"' not in html
        assert 'method="post" action="/cases/' not in html
        for verb in ("acknowledge", "approve", "stop-sending"):
            do(ask, case, verb, {}, 403)
    assert the_case(store) == case and not killed(store)


@pytest.mark.slow
def test_a_browser_acts_with_the_pages_token_only(store: Store, settings: Any) -> None:
    case = the_case(store)
    code = sign_ins.make_link(store, Scope.OPERATE, "person:eko", "cli:eko", SystemClock().now_ms())
    with asking(store, None, web.app(store, settings=settings)) as ask:
        assert ask("GET", f"/cases/{case.id}", status=303, headers=HTML).headers["location"] == "/sign-in"
        ask("POST", "/sign-in", status=303, data={"code": code}, headers=OURS)
        given = form_of(page(ask, case), "acknowledge")
        assert given["csrf"]
        path = f"/cases/{case.id}/acknowledge"
        ask("POST", path, status=403, data=given | {"csrf": "A" * 43}, headers=OURS)
        ask("POST", path, status=403, data=given, headers={**HTML, "Origin": "https://evil.example"})
        assert the_case(store).state is CaseState.OPEN
        ask("POST", path, status=303, data=given, headers=OURS)
    assert the_case(store).state is CaseState.ACKNOWLEDGED
    assert queries.timeline(store, case.id)[-1].by == "eko"


def test_nothing_else_can_be_done(store: Store, ask: Asking) -> None:
    do(ask, the_case(store), "explode", {}, 404)


# --- hostile text -------------------------------------------------------------------------------------------------------

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}",
    "\u202egnp.exe",
    "</title><svg onload=x>",
)


@pytest.mark.slow
@pytest.mark.parametrize("evil", EVIL)
def test_what_events_and_people_wrote_is_text(store: Store, ask: Asking, evil: str) -> None:
    before = the_case(store)
    cause = Cause({"bank": evil}, 1.0, 0.9, ({"city": evil},))
    accounts = tuple(msgspec.structs.replace(a, signal=evil, causes=(cause,)) for a in before.accounts)
    case = msgspec.structs.replace(
        before, id="0" * 12, title={"en": f"Fails · {evil}"}, causes=(cause,), assignee=evil, accounts=accounts
    )
    lines = [
        TimelineEntry(tenant="default", case=case.id, seq=i, n=0, at_ms=case.onset_ms, what=what, by=evil, detail=evil)
        for i, what in enumerate(("opened", "commented", "assigned", "something-new"))
    ]
    points = [msgspec.structs.replace(e, case=case.id) for e in queries.evidence(store, before.id)]
    store.commit(Effects(desk=DeskEffects(cases=[case], timeline=lines, evidence=points)))
    for params in ({}, {"do": "merge"}, {"q": evil, "person": evil, "signal": evil}, {"do": evil}):
        html = page(ask, case, **params)
        assert "<script>alert" not in html and "<img src=x" not in html and "<svg onload" not in html
        assert ">49<" not in html and " 49 " not in text_of(html)
    chart = ask(
        "GET", f"/cases/{case.id}/chart.svg", params={"lang": evil[:5], "theme": evil[:10], "size": evil[:10]}
    ).text
    assert "<script" not in chart and "onerror" not in chart
    merge = page(ask, before, do="merge")
    assert "<script>alert" not in merge and "<img src=x" not in merge


def test_nothing_is_inline(store: Store, ask: Asking) -> None:
    html = page(ask, the_case(store), do="approve")
    assert not re.search(r"<script(?![^>]*src=)", html)
    assert not re.search(r"\sstyle=|\son\w+=", html)


# --- the chart ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_chart_is_a_picture_that_may_do_nothing(store: Store, ask: Asking) -> None:
    case = the_case(store)
    html = page(ask, case)
    address = unescape(re.search(r'<img src="(/cases/[^"]+)"', html)[1])  # type: ignore[index]
    answer = ask("GET", address)
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-security-policy"] == CHART_POLICY
    again = ask("GET", address, status=304, headers={"If-None-Match": answer.headers["etag"]})
    assert not again.content
    assert ask("GET", address).content == answer.content
    assert "Began" in answer.text and "Found" in answer.text and "First told" in answer.text


@pytest.mark.slow
def test_the_chart_speaks_the_viewers_language_in_its_theme_and_size(store: Store, ask: Asking) -> None:
    seen, path = set(), f"/cases/{the_case(store).id}/chart.svg"
    for lang, theme, size in itertools.product(("en", "id"), ("light", "dark"), ("wide", "narrow")):
        svg = ask("GET", path, params={"lang": lang, "theme": theme, "size": size}).text
        assert {"en": "Observed", "id": "Teramati"}[lang] in svg
        seen.add(svg)
    assert len(seen) == 8


def test_zooming_is_an_address(store: Store, ask: Asking) -> None:
    case = the_case(store)
    html = page(ask, case)
    closer = re.search(rf'<a href="([^"]+)">{text("chart.in", "en")}</a>', html)
    assert closer is not None
    inner = ask("GET", unescape(closer[1]).partition("#")[0], headers=HTML).text
    for key in ("chart.whole", "chart.out", "chart.earlier", "chart.later"):
        assert f">{text(key, 'en')}</a>" in inner
    span = [int(n) for n in re.findall(r'data-(?:from|to)="(\d+)"', inner)]
    whole = [int(n) for n in re.findall(r'data-(?:from|to)="(\d+)"', html)]
    assert whole[0] < span[0] < span[1] < whole[1]
