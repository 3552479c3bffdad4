"""The inbox: which cases in which order, what stands in a row, addresses, CSV, and what is said when nothing is wrong."""

import csv
import io
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from detector.desk.records import Affected, Approval, CaseState, NoticeCounts, Verdict
from detector.signals import Mode, Severity
from detector.watch.anomaly import Cause
from streams.store import LIVE, RECORDING, Store, open_store
from streams.store.tokens import Scope
from streams.web.console.texts import text
from streams.web.console.views import inbox as views
from streams.web.console.views.inbox import Wanted
from tests.servers.asking import Asking, asking
from tests.servers.cases import T0, case, written
from tests.servers.stores import new_store
from tests.servers.web import settings_of

HTML = {"Accept": "text/html"}
MINUTE = 60_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "tocsin.db") as found:
        found.claim_mode(LIVE)
        yield found


@pytest.fixture
def ask(store: Store) -> Iterator[Asking]:
    with asking(store, Scope.READ) as found:
        yield found


def page(ask: Asking, **params: str) -> str:
    return ask("GET", "/", params=params, headers=HTML).text


def ids(html: str) -> list[str]:
    return re.findall(r'<tr id="case-(\w+)"', html)


def numbers(html: str) -> list[int]:
    return [int(id, 16) for id in ids(html)]


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


# --- the rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_people_still_failing_come_first(store: Store, ask: Asking) -> None:
    written(store, *(case(n) for n in (2, 9, 5)))
    assert numbers(page(ask)) == [9, 5, 2]


def test_a_row_says_how_bad_it_is_whom_it_hit_and_whether_we_were_first(store: Store) -> None:
    found = case(
        7,
        notices=NoticeCounts(told=396, held=4, queued=1),
        contacts=9,
        first_contact_ms=T0 + 19 * MINUTE,
        assignee="ani",
    )
    row = views.row_of(found, "id")
    assert (row.title, row.where) == ("Pembayaran ditolak", "bank B7")
    assert (row.still_failing, row.hit, row.told, row.waiting, row.contacts) == (7, 28, 396, 5, 9)
    assert (row.lead_ms, row.owner) == (18 * MINUTE, "ani")


def test_the_lead_is_behind_where_customers_were_first(store: Store, ask: Asking) -> None:
    written(store, case(1, contacts=1, first_contact_ms=T0), case(2, contacts=1, first_contact_ms=T0 + 31 * MINUTE))
    told = text_of(page(ask))
    assert "1 min behind" in told and "30 min ahead" in told


@pytest.mark.slow
def test_where_nobody_can_be_named_it_says_so(store: Store, ask: Asking) -> None:
    written(store, case(1, affected=None))
    assert views.row_of(case(1, affected=None), "en").hit is None
    assert text("inbox.unnamed", "en") in page(ask)


@pytest.mark.slow
@pytest.mark.parametrize("approval", [Approval.NEEDED, Approval.HELD, Approval.SAMPLE])
def test_a_case_that_waits_for_a_person_says_so(store: Store, ask: Asking, approval: Approval) -> None:
    written(store, case(1, approval=approval), case(2, approval=approval, state=CaseState.RESOLVED))
    html = page(ask, state="all")
    assert html.count(text(f"inbox.approval.{approval.value}", "en")) == 1


def test_a_rows_version_changes_with_what_it_shows() -> None:
    base = views.row_of(case(3), "en")
    assert base.version == views.row_of(case(3), "en").version
    for changes in ({"state": CaseState.ACKNOWLEDGED}, {"assignee": "ani"}, {"affected": Affected(confirmed=4)}):
        assert views.row_of(case(3, **changes), "en").version != base.version


EVIL = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "=cmd|'/C calc'!A0")


@pytest.mark.slow
@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("language", ["en", "id"])
def test_values_of_events_and_names_of_people_are_text(store: Store, ask: Asking, evil: str, language: str) -> None:
    title = {"en": f"Payments fail · bank {evil}", "id": f"Gagal · bank {evil}"}
    written(store, case(1, title=title, assignee=evil, causes=(Cause({"bank": evil}, 1.0),), signals=(evil,)))
    html = ask("GET", "/", headers={**HTML, "Accept-Language": language}).text
    assert evil in unescape(html)
    assert "<script>alert" not in html and "<img src=x" not in html and 'href="javascript:' not in html


# --- which, in which order: the address -------------------------------------------------------------------------------


def test_finished_cases_are_not_what_is_wrong_now(store: Store, ask: Asking) -> None:
    states = [CaseState.OPEN, CaseState.ACKNOWLEDGED, CaseState.RECOVERING, CaseState.RESOLVED, CaseState.DISMISSED]
    written(store, *(case(n + 1, state=state) for n, state in enumerate(states)))
    assert sorted(numbers(page(ask))) == [1, 2, 3]
    assert sorted(numbers(page(ask, state="all"))) == [1, 2, 3, 4, 5]
    assert numbers(page(ask, state="resolved")) == [4]
    tabs = text_of(re.search(r'id="states".*?</nav>', page(ask), re.DOTALL)[0])  # type: ignore[index]
    assert "unfinished 3" in tabs and "open 1" in tabs and "resolved 1" in tabs and "all 5" in tabs


@pytest.mark.slow
def test_filters_stand_in_the_address(store: Store, ask: Asking) -> None:
    written(
        store,
        case(1, severity=Severity.CRITICAL, assignee="ani"),
        case(2, signals=("logins",), title={"en": "Logins fail · bank Mandiri"}),
        case(3, assignee="budi"),
    )
    assert numbers(page(ask, severity="critical")) == [1]
    assert numbers(page(ask, signal="logins")) == [2]
    assert numbers(page(ask, owner="budi")) == [3]
    assert numbers(page(ask, owner="nobody")) == [2]
    assert numbers(page(ask, q="mandiri")) == [2]
    assert numbers(page(ask, q="mandiri", owner="budi")) == []
    assert text("inbox.no_match", "en") in page(ask, q="nothing like this")
    assert 'value="mandiri"' in page(ask, q="mandiri")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("-still_failing", [5, 3, 1]),
        ("still_failing", [1, 3, 5]),
        ("-severity", [3, 5, 1]),
        ("onset", [1, 3, 5]),
        ("-onset", [5, 3, 1]),
        ("-opened", [5, 3, 1]),
    ],
)
def test_columns_sort(store: Store, ask: Asking, sort: str, order: list[int]) -> None:
    written(store, case(1), case(3, severity=Severity.CRITICAL), case(5))
    html = page(ask, sort=sort)
    assert numbers(html) == order
    if not sort.endswith("opened"):
        assert html.count(f'aria-sort="{"descending" if sort.startswith("-") else "ascending"}"') >= 1


def test_every_case_is_on_one_page(store: Store, ask: Asking) -> None:
    written(store, *(case(n) for n in range(1, 121)))
    seen, path = list[int](), "/?state=all"
    for _ in range(4):
        html = ask("GET", path, headers=HTML).text
        seen += numbers(html)
        assert "120 cases" in text_of(html)
        following = re.search(r'href="([^"]+)" rel="next"', html)
        if following is None:
            break
        path = unescape(following[1])
        assert parse_qs(urlsplit(path).query)["state"] == ["all"]
    assert seen == list(range(120, 0, -1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "query", ["state=x", "mode=x", "severity=x", "sort=x", "sort=--onset", "after=x", "q=" + "a" * 201]
)
def test_an_address_that_can_not_be_is_refused(ask: Asking, query: str) -> None:
    ask("GET", f"/?{query}", headers=HTML, status=422)


def test_a_wish_is_what_its_address_says() -> None:
    wanted = Wanted(state="open", q="BNI", sort="onset")
    assert wanted.query() == {"state": "open", "q": "BNI", "sort": "onset"}
    assert wanted.query(sort="-still_failing", state="") == {"q": "BNI"}
    assert Wanted().query(after="x") == {"after": "x"}


# --- shadow -----------------------------------------------------------------------------------------------------------


def test_shadow_cases_stand_apart_and_are_marked(store: Store, ask: Asking) -> None:
    written(store, case(1), *(case(n, mode=Mode.SHADOW) for n in range(20, 35)))
    html = page(ask)
    live, _, shadow = html.partition('id="shadow"')
    assert numbers(live) == [1] and len(numbers(shadow)) == views.SHADOW_ROWS
    assert "shadow-mark" not in live and shadow.count("shadow-mark") == views.SHADOW_ROWS + 1
    assert text("inbox.shadow_more", "en", n=15) in text_of(shadow)
    assert len(numbers(page(ask, mode="shadow"))) == 15 and 'id="shadow"' not in page(ask, mode="shadow")


# --- nothing, and recordings ------------------------------------------------------------------------------------------


def test_where_nothing_is_wrong_it_says_what_is_watched_and_how_well(store: Store, ask: Asking) -> None:
    watched = len(settings_of().config.signals)
    told = text_of(page(ask))
    assert f"Nothing is wrong that we can see. Watching {watched} signals; no event yet;" in told
    assert re.search(r"false cases this week 0 of \d+ ?\.", told)


def test_false_cases_of_this_week_are_counted(store: Store) -> None:
    false = case(1, state=CaseState.DISMISSED, verdict=Verdict.NOT_A_PROBLEM)
    written(store, false, case(2, state=CaseState.RESOLVED, verdict=Verdict.REAL))
    found = views.quiet(store, settings_of().config, T0 + 10 * MINUTE)
    assert (found.false, found.per) == (1, "week")


@pytest.mark.slow
def test_a_recording_says_so_and_shows_all_that_was_found(replayed: Path, tmp_path: Path) -> None:
    copied = tmp_path / "tocsin.db"
    copied.write_bytes(replayed.read_bytes())
    with open_store(copied) as store, asking(store, Scope.READ) as ask:
        assert store.mode == RECORDING
        html = page(ask)
        assert len(ids(html)) == 1
        assert "data-frozen" in html and text("recording.short", "en") in html and "2 Mar 2026" in text_of(html)
        assert re.search(r"\d+ min ago", text_of(html)), "told against the end of the recording"
        assert (
            text("inbox.quiet.recording", "id")
            in ask("GET", "/", params={"state": "dismissed"}, headers={**HTML, "Accept-Language": "id"}).text
            or ids(page(ask, state="dismissed")) == []
        )


# --- CSV, access ------------------------------------------------------------------------------------------------------


def test_the_csv_has_what_the_address_asks_for_and_no_formulas(store: Store, ask: Asking) -> None:
    evil = "=1+1"
    written(
        store,
        *(case(n) for n in range(1, 60)),
        case(60, assignee=evil, mode=Mode.SHADOW),
        case(61, severity=Severity.LOW),
    )
    answer = ask("GET", "/inbox.csv", params={"severity": "high"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="cases.csv"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(row["id"], 16) for row in rows] == list(range(60, 0, -1))
    assert rows[0]["owner"] == "'=1+1" and rows[0]["mode"] == "shadow"
    assert (rows[1]["still_failing"], rows[1]["hit"], rows[1]["told"]) == ("59", "236", "118")


@pytest.mark.slow
@pytest.mark.parametrize(("scope", "may"), [(Scope.READ, False), (Scope.OPERATE, True), (Scope.ADMIN, True)])
def test_who_may_only_read_is_offered_no_acts(store: Store, scope: Scope, may: bool) -> None:
    written(store, case(1))
    with asking(store, scope) as ask:
        html = page(ask)
        assert ("data-may-act" in html) is may
        assert ('href="/audit"' in html) is (scope is Scope.ADMIN)


def test_who_may_only_send_events_sees_nothing(store: Store) -> None:
    with asking(store, Scope.INGEST) as ask:
        for path in ("/", "/inbox.csv"):
            ask("GET", path, headers=HTML, status=403)
