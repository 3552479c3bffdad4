"""What affected customers are worth and lose: in lists, files, documents, the feed and the dump."""

import csv
import io
import json
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from detector.decode.customers import customer_key
from detector.desk.records import Affected, Case, CaseState, DeskEffects, Grade, LedgerRow, Loss
from detector.desk.records import CustomerState as State
from detector.pipeline import Effects
from detector.signals import Mode, Severity
from streams.cli.words import sentence
from streams.store import Store, documents, feedtypes, pages, spreadsheet
from streams.store.customers_csv import CustomerRow
from streams.store.directory import CustomerDirectory
from streams.store.tokens import Scope
from streams.web.console.views import hit
from tests.servers.asking import Asking, asking
from tests.servers.stores import new_store

CASE = Case(
    tenant="default",
    id="00000000000a",
    mode=Mode.LIVE,
    title={"en": "Payments are declined", "id": "Pembayaran ditolak"},
    state=CaseState.OPEN,
    severity=Severity.HIGH,
    signals=("payment-declines",),
    anomalies=("00000000000a",),
    onset_ms=1_000,
    detected_ms=2_000,
    opened_ms=2_000,
    affected=Affected(confirmed=6),
    loss=Loss(84_000_250_500, "IDR", 4),
)
LOSSES = {1: 0, 2: 150_000_000, 3: 99_950, 4: 150_000_000, 5: 0, 6: 5_000}
"""By customer, in thousandths."""


def row(store: Store, customer: int, loss_milli: int) -> LedgerRow:
    return LedgerRow(
        tenant="default",
        case=CASE.id,
        customer=customer_key(store.customer_key, f"C-{customer}"),
        grade=Grade.CONFIRMED,
        state=State.HIT,
        probability=0.9,
        first_failure_ms=1_000 + customer,
        last_failure_ms=2_000,
        tries=1,
        loss_milli=loss_milli,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "tocsin.db") as found:
        directory = CustomerDirectory(found)
        for n in range(1, 5):
            directory.put(CustomerRow(n, f"C-{n}", tier="gold" if n == 2 else None, contract_value_milli=n * 1_500))
        rows = [row(found, n, loss) for n, loss in LOSSES.items()]
        found.commit(Effects(desk=DeskEffects(cases=[CASE], ledger=rows)))
        yield found


@pytest.fixture
def ask(store: Store) -> Iterator[Asking]:
    with asking(store, Scope.READ) as found:
        yield found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 10])
def test_sorted_by_loss_come_those_who_lost_something_the_largest_first_and_each_once(store: Store, limit: int) -> None:
    after, found = None, list[tuple[int, int]]()
    while True:
        page = pages.affected_page(store, CASE.id, by_loss=True, after=after, limit=limit)
        found += [(hit.row.loss_milli, hit.row.customer) for hit in page.items]
        after = page.next
        if after is None:
            break
    keys = {n: customer_key(store.customer_key, f"C-{n}") for n in LOSSES}
    assert found == sorted(((loss, keys[n]) for n, loss in LOSSES.items() if loss), reverse=True)


@pytest.mark.parametrize("after", [None, (5_000, 7)], ids=["first page", "a later one"])
def test_a_page_by_loss_is_read_from_its_index_and_nothing_is_sorted(store: Store, after: pages.Place | None) -> None:
    asked = list[tuple[str, object]]()
    sa.event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    pages.affected_page(store, CASE.id, by_loss=True, after=after, limit=10)
    ((text, given),) = [one for one in asked if "ORDER BY" in one[0]]
    with store.reading() as connection:
        plan = " ".join(str(r[3]) for r in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given))  # type: ignore[arg-type]
    assert "USING INDEX ledger_by_loss (tenant=? AND case_id=? AND " in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.slow
def test_the_api_shows_worth_and_loss_and_pages_by_loss(ask: Asking) -> None:
    path = f"/v1/cases/{CASE.id}/affected"
    assert ask.get(f"/v1/cases/{CASE.id}")["loss"] == {"amount": 84_000_250.5, "unit": "IDR"}
    first = ask.get(path, sort="-loss", limit=2)
    rest = ask.get(path, sort="-loss", limit=2, cursor=first["next"])
    shown = [
        [one[name] for name in ("loss", "loss_unit", "tier", "contract_value")]
        for one in (*first["items"], *rest["items"])
    ]
    assert sorted(shown[:2], key=str) == [[150_000, "IDR", "gold", 3], [150_000, "IDR", None, 6]]
    assert shown[2:] == [[99.95, "IDR", None, 4.5], [5, "IDR", None, None]]
    assert rest["next"] is None
    assert ask.get(path, status=422, cursor=first["next"])["code"] == "invalid-cursor"
    assert ask.get(path, status=422, sort="loss")["code"] == "invalid-request"
    for also in ({"grade": "likely"}, {"state": "hit"}, {"told": "true"}, {"contacted": "false"}):
        (name,) = also
        for of in (path, f"{path}.csv"):
            assert ask.get(of, status=422, sort="-loss", **also)["detail"].startswith(f"query.{name}: expected nothing")
    (none,) = [one for one in ask.get(path)["items"] if one["customer"] == "C-1"]
    assert (none["loss"], none["loss_unit"]) == (None, None)
    (of,) = ask.get("/v1/customers/C-2")["cases"]
    assert (of["loss"], of["case"]["loss"]["unit"]) == (150_000, "IDR")


def test_the_file_has_worth_and_loss_with_its_unit(store: Store) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(spreadsheet.affected_lines(store, CASE.id, by_loss=True)))))
    assert [one["loss"] for one in rows] == ["150000", "150000", "99.95", "5"]
    assert {(one["customer"], one["tier"], one["contract_value"], one["loss_unit"]) for one in rows} >= {
        ("C-2", "gold", "3", "IDR"),
        ("(erased)", "", "", "IDR"),
    }


def test_who_is_erased_is_worth_nothing_any_more(store: Store) -> None:
    directory = CustomerDirectory(store)
    directory.erase(directory.find("C-2"))
    shown = documents.affected_documents(store, CASE.id)
    assert "gold" not in json.dumps(shown)
    assert sum(one["loss"] == 150_000 for one in shown) == 2


def test_the_feed_carries_what_is_lost(store: Store) -> None:
    lost, nothing = row(store, 2, 99_950), row(store, 1, 0)
    data = feedtypes.customer_data(lost, CASE)
    assert (data.loss, data.loss_unit, data.title) == (99.95, "IDR", "Payments are declined")
    assert (feedtypes.customer_data(nothing, CASE).loss, feedtypes.customer_data(nothing, CASE).loss_unit) == (
        None,
        None,
    )
    assert feedtypes.case_data(CASE).loss == feedtypes.LossData(84_000_250.5, "IDR")


def test_the_dump_speaks_of_losses_only_where_there_are_any(store: Store) -> None:
    dumped = [line for line in documents.dump(store) if "loss" in line]
    assert [line["type"] for line in dumped] == ["case", *["ledger"] * 4]
    plain = msgspec.structs.replace(CASE, loss=msgspec.UNSET)
    rows = [row(store, n, 0) for n in LOSSES]
    store.commit(Effects(desk=DeskEffects(cases=[plain], ledger=rows)))
    assert not any("loss" in line for line in documents.dump(store))


# --- what people see --------------------------------------------------------------------------------------------------


def shown(ask: Asking, path: str, language: str = "en", **params: object) -> str:
    answer = ask("GET", path, params=params, headers={"Accept": "text/html", "Accept-Language": language})
    return unescape(answer.text).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("language", "said", "cell", "worth"),
    [
        pytest.param("en", "What failed was worth about Rp 84 million.", "Rp 150,000", "gold · Rp 3", id="English"),
        pytest.param("id", "Nilai yang gagal sekitar Rp 84 juta.", "Rp 150.000", "gold · Rp 3", id="Bahasa"),
    ],
)
def test_a_cases_page_says_what_failed_was_worth_and_what_each_loses(
    ask: Asking, language: str, said: str, cell: str, worth: str
) -> None:
    text = shown(ask, f"/cases/{CASE.id}", language)
    assert all(words in text for words in (said, cell, worth))
    assert f'href="/cases/{CASE.id}?who=lost#who"' in text


@pytest.mark.slow
def test_the_tab_of_those_who_lose_begins_with_the_largest_goes_on_and_gives_its_file(
    ask: Asking, store: Store
) -> None:
    found = hit.hits(store, CustomerDirectory(store), CASE, who="lost", limit=3)
    rest = hit.hits(store, CustomerDirectory(store), CASE, who="lost", after=found.next, limit=3)
    assert [row.loss_milli for row in (*found.rows, *rest.rows)] == [150_000_000, 150_000_000, 99_950, 5_000]
    assert found.next is not None and rest.next is None
    place = ".".join(map(str, found.next))
    text = shown(ask, f"/cases/{CASE.id}", who="lost", after=place)
    assert "Rp 5" in text and "Rp 150,000" not in text
    assert f'href="/v1/cases/{CASE.id}/affected.csv?sort=-loss"' in text
    lines = ask("GET", f"/v1/cases/{CASE.id}/affected.csv", params={"sort": "-loss"}).text.splitlines()
    assert len(lines) == 5
    for strange in ("5", "a.b", "1.2.3", ".", f"1.{2**63}"):
        assert "Rp 150,000" in shown(ask, f"/cases/{CASE.id}", who="lost", after=strange)


def test_a_customers_page_has_tier_value_and_loss(ask: Asking) -> None:
    text = shown(ask, "/customers/C-2")
    assert "<dd>gold</dd>" in text and "<dd>Rp 3</dd>" in text
    assert "Rp 150,000" in text


def test_where_nothing_is_known_to_be_lost_the_page_does_not_speak_of_it(store: Store) -> None:
    plain = msgspec.structs.replace(CASE, loss=msgspec.UNSET)
    store.commit(Effects(desk=DeskEffects(cases=[plain], ledger=[row(store, n, 0) for n in LOSSES])))
    with asking(store, Scope.READ) as ask:
        text = shown(ask, f"/cases/{CASE.id}")
    assert "loss" not in text.partition('id="who"')[2] and "worth about" not in text and "who=lost" not in text


def test_the_command_line_says_it_too(store: Store) -> None:
    assert sentence(CASE, "Asia/Jakarta").replace("\u00a0", " ").endswith("What failed was worth about Rp 84 million.")
