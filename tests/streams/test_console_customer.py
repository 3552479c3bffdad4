"""A customer's page: what happened to them, what we said and why not; finding, opting out, erasing."""

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
import sqlalchemy as sa

from detector.config import Config
from detector.decode.customers import customer_key
from detector.desk.records import CaseState, CustomerState, Decision, Kind, NoticeState
from detector.desk.records import Check as CheckRecord
from detector.pipeline import Effects
from detector.signals import Mode
from streams.engines.operating import in_force
from streams.store import Commit, Store, audit, open_store, pages, person, queries
from streams.store.customers_csv import CustomerRow
from streams.store.directory import Customer, CustomerDirectory
from streams.store.tokens import Scope
from streams.web.console.views import customer as views
from tests.servers.asking import Asking, asking
from tests.servers.pages import EVIL, HTML, escaped, forms, page, post, sign_in, text_of
from tests.streams.feed_rows import a_case, a_notice, a_row, commit, live_store

NOW = 1_772_416_800_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with live_store(tmp_path / "tocsin.db") as found:
        yield found


@pytest.fixture
def ask(store: Store) -> Iterator[Asking]:
    with asking(store, Scope.ADMIN) as found:
        yield found


@pytest.fixture
def ran(replayed: Path, tmp_path: Path) -> Iterator[Store]:
    """Give the store of a whole run: people who were hit, told, in touch."""
    shutil.copy(replayed, tmp_path / "shop.db")
    with open_store(tmp_path / "shop.db") as found:
        yield found


def known(store: Store, id: str, **values: object) -> int:
    """Take a customer in; returns their hash."""
    given = {"name": "Budi", "email": "budi@mail.example", "phone": "+6281234567890", "consent": ("email",)} | values
    CustomerDirectory(store).put(CustomerRow(1, id, language="id", time_zone="Asia/Makassar", **given))  # type: ignore[arg-type]
    return customer_key(store.customer_key, id)


def seen(store: Store, key: int, case: str = "") -> views.Seen:
    return views.seen(store, in_force(store) or Config(), key, "en", case=case)


def hit(store: Store) -> tuple[int, str]:
    """Return somebody of the run who was told."""
    (case,) = queries.list_cases(store, finished=True)
    told = next(one for one in pages.affected_page(store, case.id, told=True).items if one.id)
    return told.row.customer, str(told.id)


# --- what happened and what we said -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_story_of_a_run_has_failures_with_their_place_and_what_we_said_in_order(ran: Store) -> None:
    key, _ = hit(ran)
    found = seen(ran, key)
    assert found.numbers.told == 1 and found.numbers.cases == 1 and found.chosen is not None
    failed = [line for line in found.story if line.what == "failed"]
    assert len(failed) >= found.chosen.tries and all("BNI" in line.place for line in failed if line.at_ms)
    config = in_force(ran)
    assert config is not None
    titles = {signal.title["en"] for signal in config.signals}
    assert {line.kind for line in failed} <= titles, "the signal's title, not its name"
    told = next(line for line in found.story if line.what == "told" and line.kind == "problem")
    assert (told.kind, told.channel, told.outcome) == ("problem", "whatsapp", "simulated")
    assert min(line.at_ms for line in failed) < told.at_ms
    assert [line.at_ms for line in found.story] == sorted((line.at_ms for line in found.story), reverse=True)


@pytest.mark.slow
def test_who_was_in_touch_is_shown_with_the_way(ran: Store) -> None:
    (case,) = queries.list_cases(ran, finished=True)
    called = pages.affected_page(ran, case.id, contacted=True).items[0]
    found = seen(ran, called.row.customer)
    assert found.numbers.contacts == 1
    assert any(line.what == "contact" and line.place == "chat" for line in found.story)


def test_windows_that_are_no_longer_kept_leave_what_the_case_knows(store: Store) -> None:
    key = known(store, "C-1")
    commit(store, a_case(), a_row(key, contact_ms=NOW - 50_000, last_success_ms=NOW - 10_000))
    assert [(line.what, line.at_ms - NOW) for line in seen(store, key).story] == [
        ("succeeded", -10_000),
        ("contact", -50_000),
        ("failed", -100_000),
        ("failed", -500_000),
    ]


def test_doings_read_no_more_windows_than_they_may(ran: Store) -> None:
    key, _ = hit(ran)
    row = seen(ran, key).chosen
    assert row is not None
    span = [(row.first_failure_ms - 60_000, row.last_failure_ms + 60_000)]
    assert person.doings(ran, key, span, 500)
    assert person.doings(ran, key, span, 0) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({}, views.Told("problem", "queued", "", "email", NOW, None), id="on its way"),
        pytest.param(
            {"state": NoticeState.HELD, "decision": Decision.HOLD, "reason": "quiet-hours", "until_ms": NOW + 5},
            views.Told("problem", "held", "quiet-hours", "email", NOW, NOW + 5),
            id="held",
        ),
        pytest.param(
            {"state": NoticeState.DROPPED, "decision": Decision.DROP, "reason": "no-consent", "channel": None},
            views.Told("problem", "dropped", "no-consent", "", NOW, None),
            id="not told",
        ),
    ],
)
def test_the_last_decision_says_what_became_of_telling_them(
    store: Store, changes: dict[str, object], told: views.Told
) -> None:
    key = known(store, "C-1")
    notice = msgspec.structs.replace(a_notice(key, NoticeState.QUEUED), **changes)
    commit(store, a_case(), a_row(key), notice)
    (found,) = seen(store, key).hits
    assert found.told == told


def test_where_nothing_was_decided_it_is_said_why(store: Store) -> None:
    key = known(store, "C-1")
    commit(store, a_case("a"), a_row(key, "a"), a_case("b", mode=Mode.SHADOW), a_row(key, "b"))
    commit(store, a_case("c"), a_row(key, "c", withdrawn=True))
    assert {one.case: one.told.reason for one in seen(store, key).hits} == {
        "a": "live-case-undecided",
        "b": "shadow-case-undecided",
        "c": "withdrawn",
    }


def test_numbers_are_of_live_cases_and_the_story_of_where_it_still_fails(store: Store) -> None:
    key = known(store, "C-1")
    commit(store, a_case("old", opened_ms=NOW - 9), a_row(key, "old", tries=2))
    commit(store, a_case("new", opened_ms=NOW - 5), a_row(key, "new", state=CustomerState.RECOVERED, tries=4))
    commit(store, a_case("hid", mode=Mode.SHADOW), a_row(key, "hid"), a_case("out"), a_row(key, "out", withdrawn=True))
    commit(store, a_notice(key, NoticeState.SENT, "old"))
    found = seen(store, key)
    assert found.numbers == views.Numbers(cases=2, shadow=1, failing=1, told=1, untold=1, contacts=0, tries=6)
    assert found.chosen is not None and found.chosen.case == "old"
    chosen = seen(store, key, "hid").chosen
    assert chosen is not None and chosen.case == "hid"


def test_a_rules_own_words_stand_beside_its_reason(store: Store) -> None:
    key = known(store, "C-1")
    check = CheckRecord("consent", Decision.DROP, "no-consent", "none of whatsapp")
    notice = msgspec.structs.replace(
        a_notice(key, NoticeState.DROPPED, reason="no-consent"),
        decision=Decision.DROP,
        checks=(check,),
        kind=Kind.PROBLEM,
    )
    commit(store, a_case(), a_row(key), notice)
    line = next(line for line in seen(store, key).story if line.what == "dropped")
    assert (line.reason, line.rule, line.detail) == ("no-consent", "consent", "none of whatsapp")


# --- who they are -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("consent", "withdrawn", "phone", "expected"),
    [
        (("all",), (), "+62811", ["", ""]),
        (("email",), (), "+62811", ["no-consent", ""]),
        (("all",), (), "", ["no-address", ""]),
        (("all",), ("whatsapp",), "+62811", ["withdrawn", ""]),
        (("all",), ("all",), "+62811", ["withdrawn", "withdrawn"]),
    ],
)
def test_each_channel_says_whether_it_may_be_used_and_why_not(
    consent: tuple[str, ...], withdrawn: tuple[str, ...], phone: str, expected: list[str]
) -> None:
    found = Customer("C-1", "Budi", "id", "", "b@mail.example", phone, consent, True, withdrawn)
    shown = views.person_of(found, ("whatsapp", "email"), clear=True)
    assert [c.why_not for c in shown.consents[:2]] == expected
    for consented in shown.consents:
        assert bool(found.address(consented.channel)) == (consented.why_not == ""), "as the directory decides it"


@pytest.mark.slow
def test_addresses_are_masked_for_those_who_may_only_read(store: Store, ask: Asking) -> None:
    known(store, "C-1")
    assert "budi@mail.example" in page(ask, "/customers/C-1") and "+6281234567890" in page(ask, "/customers/C-1")
    with asking(store, Scope.READ) as reader:
        html = page(reader, "/customers/C-1", do="erase")
        assert "budi@mail.example" not in html and "+6281234567890" not in html and "b•••@mail.example" in html
        assert not forms(html, "/customers/erase")
        assert "Erase" not in text_of(html) and "Tell them nothing" not in text_of(html)
        post(reader, "/customers/opt-out", {"customer": "C-1"}, status=403)
        post(reader, "/customers/erase", {"customer": "C-1"}, status=403)
    with asking(store, Scope.OPERATE) as operator:
        html = page(operator, "/customers/C-1", do="erase")
        assert "Tell them nothing" in text_of(html) and not forms(html, "/customers/erase")
        post(operator, "/customers/erase", {"customer": "C-1"}, status=403)


@pytest.mark.slow
def test_quiet_hours_are_told_in_the_customers_zone(store: Store, ask: Asking) -> None:
    key = known(store, "C-1")
    notice = msgspec.structs.replace(
        a_notice(key, NoticeState.HELD, reason="quiet-hours"), decision=Decision.HOLD, until_ms=NOW + 3_600_000
    )
    commit(store, a_case(), a_row(key), notice)
    said = text_of(page(ask, "/customers/C-1"))
    assert "held (problem): quiet hours, until 2 Mar 11:00 WITA" in said
    assert "for them" in said


# --- finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("words", ["C-1", "budi@mail.example", "+62 812-3456-7890", " c-1 ".strip().upper()])
def test_a_customer_is_found_by_id_or_alias(store: Store, ask: Asking, words: str) -> None:
    known(store, "C-1")
    answer = ask("GET", "/customers", status=303, params={"q": words}, headers=HTML)
    assert answer.headers["location"] == "/customers/C-1"


@pytest.mark.slow
@pytest.mark.parametrize("id", ["a/b", "a?b#c", "ü 1", "..", "100%", "q&q=2", "a//b"])
def test_ids_that_an_address_would_take_apart_are_found_all_the_same(store: Store, ask: Asking, id: str) -> None:
    known(store, id, email="", phone="", name="Odd One")
    answer = ask("GET", "/customers", status=200 if id == ".." else 303, params={"q": id}, headers=HTML)
    html = answer.text if id == ".." else ask("GET", answer.headers["location"], headers=HTML).text
    assert "Odd One" in html


def test_nobody_found_is_said_with_what_to_do(store: Store, ask: Asking) -> None:
    said = text_of(page(ask, "/customers/nobody", status=404))
    assert "Nobody is known as “nobody”." in said and "They are not in the directory" in said
    assert "Cari pelanggan" in page(ask, "/customers", "id")
    for words in ("\0", "%00", "x" * 300):
        assert ask("GET", "/customers", status=200 if words == "\0" else 404, params={"q": words}, headers=HTML)


def test_who_was_never_hit_is_shown_with_what_we_know(store: Store, ask: Asking) -> None:
    known(store, "C-1")
    said = text_of(page(ask, "/customers/C-1"))
    assert "No problem has hit them." in said and "Budi" in said


# --- opting out, erasing ----------------------------------------------------------------------------------------------


def test_opting_out_says_what_it_does_and_is_done_once(store: Store, ask: Asking) -> None:
    key = known(store, "C-1", consent=("all",))
    html = page(ask, "/customers/C-1", do="opt-out")
    assert "0 notices that wait for them are not sent" in text_of(html)
    (form,) = forms(html, "/customers/opt-out")
    post(ask, "/customers/opt-out", form)
    found = CustomerDirectory(store).get(key)
    assert found is not None and found.withdrawn == ("all",)
    (entry,) = audit.newest(store, limit=1)
    assert (entry.what, entry.target) == ("customer.opted-out", audit.customer(key))
    assert "They want to hear nothing from us." in text_of(page(ask, "/customers/C-1"))
    answer = post(ask, "/customers/opt-out", form, status=409)
    assert "has changed meanwhile (customer.opted-out:" in text_of(answer.text)


@pytest.mark.slow
def test_erasing_asks_once_with_what_is_removed_and_what_stays(store: Store, ask: Asking) -> None:
    key = known(store, "C-1", aliases=("budi77",))
    commit(store, a_case(), a_row(key), a_notice(key, NoticeState.SENT))
    html = page(ask, "/customers/C-1", do="erase")
    said = text_of(html)
    assert "3 aliases" in said and "their e-mail address" in said and "1 case and 1 notice under a hash" in said
    (form,) = forms(html, "/customers/erase")
    answer = post(ask, "/customers/erase", form)
    assert answer.headers["location"] == "/customers"
    said = text_of(page(ask, "/customers"))
    assert "Erased: 1 rows of the directory, 3 aliases" in said and "1 cases and 1 notices keep a hash" in said
    assert CustomerDirectory(store).get(key) is None
    html = page(ask, "/customers", q="budi77", status=404)
    assert "was erased" in text_of(html) and "a hash that names nobody" in text_of(html)
    post(ask, "/customers/erase", form, status=404)


def test_erasing_what_has_changed_since_is_refused(store: Store, ask: Asking) -> None:
    key = known(store, "C-1", phone="")
    (form,) = forms(page(ask, "/customers/C-1", do="erase"), "/customers/erase")
    known(store, "C-1")
    answer = post(ask, "/customers/erase", form, status=409)
    assert "Nothing was done: what we know of them has changed meanwhile" in text_of(answer.text)
    assert CustomerDirectory(store).get(key) is not None


def test_a_browser_erases_nobody_without_the_pages_token(store: Store) -> None:
    key = known(store, "C-1")
    with asking(store, None) as browser:
        sign_in(browser, store)
        (form,) = forms(page(browser, "/customers/C-1", do="erase"), "/customers/erase")
        post(browser, "/customers/erase", {k: v for k, v in form.items() if k != "csrf"}, status=403)
        assert CustomerDirectory(store).get(key) is not None
        post(browser, "/customers/erase", form)
        assert CustomerDirectory(store).get(key) is None


# --- files, and what others write -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["cases", "notices", "story"])
def test_each_table_is_a_file_that_a_spreadsheet_takes_for_text(store: Store, ask: Asking, wanted: str) -> None:
    key = known(store, "C-1")
    commit(store, a_case(title={"en": "=cmd()"}), a_row(key), a_notice(key, NoticeState.SENT))
    answer = ask("GET", "/customers/C-1", params={"csv": wanted})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows and answer.headers["content-disposition"].startswith("attachment")
    assert ",=cmd" not in answer.text


def test_what_others_write_never_becomes_markup(store: Store, ask: Asking) -> None:
    evil = EVIL.replace("\u202e", "")
    key = customer_key(store.customer_key, evil)
    store.commit(Effects(customers={key: evil}), Commit())
    commit(store, a_case(title={"en": EVIL}, state=CaseState.OPEN), a_row(key))
    notice = msgspec.structs.replace(
        a_notice(key, NoticeState.DROPPED, reason=EVIL),
        checks=(CheckRecord("rule", Decision.SEND, "", EVIL),),
        time_zone=EVIL,
        channel=EVIL,
    )
    commit(store, notice)
    for name, value in (("do", ""), ("do", "erase"), ("do", "opt-out"), ("case", EVIL)):
        html = page(ask, f"/customers/{quote(evil, safe='')}", **{name: value})  # type: ignore[arg-type]
        assert escaped(html) and "alert(1)" in html
    assert escaped(page(ask, "/customers", q=EVIL, status=404))


def test_the_page_of_one_of_many_is_found_by_indexes(ran: Store) -> None:
    key, _ = hit(ran)
    asked = list[str]()
    sa.event.listen(ran.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    seen(ran, key)
    with ran.reading() as connection:
        for statement in [one for one in asked if one.startswith("SELECT")]:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("x",) * statement.count("?")).all()
            assert "SCAN" not in str(plan), statement
