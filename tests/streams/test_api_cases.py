"""Cases over HTTP: the documents of the command line, in pages, for one tenant's eyes."""

import csv
import io
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from detector.desk.records import Case
from streams.store import Store, open_store, pages, queries, spreadsheet
from streams.store.documents import affected_documents, case_document, case_in_full, why_document
from streams.store.pages import Hit
from streams.store.tokens import Scope
from tests.servers.asking import Asking, asking
from tests.servers.stores import BOTH


@pytest.fixture(scope="module", params=BOTH)
def store(
    request: pytest.FixtureRequest, copied: Callable[[str, Path], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with open_store(copied(request.param, tmp_path_factory.mktemp("api"))) as found:
        yield found


@pytest.fixture(scope="module")
def ask(store: Store) -> Iterator[Asking]:
    with asking(store, Scope.READ) as found:
        yield found


@pytest.fixture(scope="module")
def case(store: Store) -> Case:
    (found,) = queries.list_cases(store, finished=True)
    return found


def all_of(ask: Asking, path: str, **params: Any) -> list[Any]:
    """Return a list's items over all of its pages."""
    out, cursor = list[Any](), None
    while True:
        page = ask.get(path, **params, **({} if cursor is None else {"cursor": cursor}))
        out += page["items"]
        cursor = page["next"]
        if cursor is None:
            return out


@pytest.mark.slow
def test_cases_are_listed_as_the_command_line_does(ask: Asking, case: Case) -> None:
    assert ask.get("/v1/cases") == {"items": [case_document(case)], "next": None}


@pytest.mark.slow
def test_a_case_in_full_is_what_the_command_line_shows(ask: Asking, store: Store, case: Case) -> None:
    full = case_in_full(store, case)
    assert ask.get(f"/v1/cases/{case.id}") == full
    assert ask.get(f"/v1/cases/{case.id}/timeline") == {"items": full["timeline"]}
    assert ask.get(f"/v1/cases/{case.id}/evidence") == {"items": full["points"]}
    assert full["timeline"] and full["points"] and full["why"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "found"),
    [
        pytest.param({"state": ["open", "recovering", "resolved"]}, 1, id="one of several states"),
        pytest.param({"state": "dismissed"}, 0, id="another state"),
        pytest.param({"mode": "live", "severity": "high", "signal": "payment-declines"}, 1, id="all that is given"),
        pytest.param({"signal": "payment"}, 0, id="part of a name"),
        pytest.param({"q": "bni"}, 1, id="words"),
        pytest.param({"assignee": ""}, 1, id="nobody's"),
        pytest.param({"since": "2026-03-02T10:00:00+07:00", "until": "2026-03-02T10:04:00+07:00"}, 1, id="span"),
        pytest.param({"until": "2026-03-02T03:00:00Z"}, 0, id="before"),
    ],
)
def test_cases_are_filtered(ask: Asking, params: dict[str, Any], found: int) -> None:
    assert len(ask.get("/v1/cases", **params)["items"]) == found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "where"),
    [
        pytest.param({"state": "opened"}, "query.state.0", id="unknown state"),
        pytest.param({"sate": "open"}, "query.sate", id="misspelt parameter"),
        pytest.param({"limit": 201}, "query.limit", id="too many"),
        pytest.param({"limit": "1e2"}, "query.limit", id="no whole number"),
        pytest.param({"since": "yesterday"}, "query.since", id="no time"),
        pytest.param({"since": "2026-03-02T10:00:00"}, "query.since", id="a time without a zone"),
        pytest.param({"q": "a\0b"}, "query.q", id="what no database holds"),
        pytest.param({"sort": "title"}, "query.sort", id="unknown order"),
    ],
)
def test_what_is_wrong_in_a_query_is_named(ask: Asking, params: dict[str, Any], where: str) -> None:
    problem = ask.get("/v1/cases", status=422, **params)
    assert problem["code"] == "invalid-request"
    assert [error["path"] for error in problem["errors"]] == [where]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "",
        "WzFd",
        "e30",
        "WyJjYXNlcyIsIi1vcGVuZWQiLDFd",
        "WyJkZWFkIiwxXQ",
        "====",
        "é",
        "W" * 500,
        "WyJjYXNlcyIsIi1vcGVuZWQiLHRydWUsIngiXQ",
    ],
)
def test_a_made_up_cursor_is_refused(ask: Asking, cursor: str) -> None:
    assert ask.get("/v1/cases", status=422, cursor=cursor)["code"] == "invalid-cursor"


def test_a_cursor_holds_for_its_own_list_and_order(ask: Asking, case: Case) -> None:
    page = ask.get(f"/v1/cases/{case.id}/affected", limit=1)
    assert ask.get("/v1/cases", status=422, cursor=page["next"])["code"] == "invalid-cursor"
    assert ask.get(f"/v1/cases/{case.id}/affected", cursor=page["next"], limit=1)["items"] != page["items"]


def test_affected_customers_in_pages_are_those_of_the_command_line(ask: Asking, store: Store, case: Case) -> None:
    expected = affected_documents(store, case.id)
    found = all_of(ask, f"/v1/cases/{case.id}/affected", limit=100)
    assert sorted(found, key=lambda one: one["customer"]) == sorted(expected, key=lambda one: one["customer"])
    assert len(found) > 100


def test_affected_customers_are_filtered(ask: Asking, store: Store, case: Case) -> None:
    documents = affected_documents(store, case.id)
    path = f"/v1/cases/{case.id}/affected"
    for field in ("grade", "state"):
        for value in {one[field] for one in documents}:
            wanted = [one["customer"] for one in documents if one[field] == value]
            assert sorted(one["customer"] for one in all_of(ask, path, **{field: value})) == sorted(wanted)
    known = next(one for one in documents if int(one["customer"][2:]) < 2_900)
    login = f"user{known['customer'][2:]}"
    assert ask.get(path, q=known["customer"])["items"] == ask.get(path, q=login)["items"] == [known]
    assert ask.get(path, q="nobody")["items"] == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["path", "accept"])
def test_the_whole_list_comes_as_a_file_that_a_spreadsheet_takes_for_text(
    ask: Asking, store: Store, case: Case, how: str
) -> None:
    path = f"/v1/cases/{case.id}/affected"
    found = ask("GET", f"{path}.csv") if how == "path" else ask("GET", path, headers={"Accept": "text/csv"})
    assert found.headers["content-type"] == "text/csv; charset=utf-8"
    assert found.headers["content-disposition"] == f'attachment; filename="affected-{case.id}.csv"'
    assert found.headers["x-content-type-options"] == "nosniff"
    rows = list(csv.reader(io.StringIO(found.text)))
    expected = affected_documents(store, case.id)
    assert len(rows) == 1 + len(expected)
    assert sorted(row[0] for row in rows[1:]) == [one["customer"] for one in expected]


@pytest.mark.slow
def test_a_file_of_any_length_takes_the_same_memory(monkeypatch: pytest.MonkeyPatch, store: Store, case: Case) -> None:
    def peak(pages_of: int) -> int:
        (row,) = [hit.row for hit in pages.affected_page(store, case.id, limit=1).items]
        left = [pages_of]

        def page(*_: Any, **__: Any) -> Any:
            left[0] -= 1
            hits = [Hit(row, "=1+1")] * spreadsheet.PAGE
            return pages.Page(hits, (1,) if left[0] else None)

        monkeypatch.setattr(pages, "affected_page", page)
        tracemalloc.start()
        try:
            lines = sum(1 for _ in spreadsheet.affected_lines(store, case.id))
            found = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            monkeypatch.undo()
        assert lines == 1 + pages_of * spreadsheet.PAGE  # the header is a line of its own
        return found

    peak(1)
    assert peak(12) < 1.5 * peak(3)


def test_notices_come_with_the_rules_answers_and_deliveries(ask: Asking, store: Store, case: Case) -> None:
    found = all_of(ask, f"/v1/cases/{case.id}/notices", limit=150)
    assert len(found) == len(queries.notices(store, case.id)) > 150
    for kind in {one["kind"] for one in found}:
        for state in {one["state"] for one in found}:
            some = all_of(ask, f"/v1/cases/{case.id}/notices", kind=kind, state=state, limit=200)
            assert [one["id"] for one in some] == [
                one["id"] for one in found if one["kind"] == kind and one["state"] == state
            ]
    told = next(one for one in found if one["state"] == "simulated")
    assert [one["outcome"] for one in told["deliveries"]] == ["simulated"]
    assert told["checks"]


def test_why_a_customer_was_told_or_not(ask: Asking, store: Store, case: Case) -> None:
    row = next(iter(queries.ledger(store, case.id)))
    name = queries.names(store, [row.customer])[row.customer]
    assert ask.get(f"/v1/cases/{case.id}/customers/{name}") == why_document(store, case, row.customer)
    assert ask.get(f"/v1/cases/{case.id}/customers/nobody", status=404)["code"] == "not-found"


def test_the_words_are_shown_before_they_go_out(ask: Asking, case: Case) -> None:
    items = ask.get(f"/v1/cases/{case.id}/preview")["items"]
    assert {one["language"] for one in items} == {"en", "id"}
    assert all("•" in one["to"] or not one["to"] for one in items)
    assert ask.get(f"/v1/cases/{case.id}/preview", customer="nobody", status=404)["code"] == "not-found"


ROUTES = ["", "/timeline", "/evidence", "/affected", "/affected.csv", "/notices", "/preview", "/customers/C-1"]


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_another_tenants_case_is_not_there(store: Store, case: Case, route: str) -> None:
    with open_store(store.where, tenant="other") as other, asking(other) as theirs:
        assert theirs.get(f"/v1/cases/{case.id}{route}", status=404)["code"] == "not-found"
        assert theirs.get("/v1/cases")["items"] == []


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("id", ["0" * 12, "1' OR '1'='1", "%", "a%00b", "ünïcode"])
def test_a_case_that_is_not_there(ask: Asking, route: str, id: str) -> None:
    assert ask.get(f"/v1/cases/{id}{route}", status=404)["code"] == "not-found"
