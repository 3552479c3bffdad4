"""Customers over HTTP: taken in, asked about, left in peace, forgotten."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from detector.decode.customers import customer_key
from detector.desk.records import Command, DeskEffects, LogRecord, TimelineEntry, Verb
from detector.events import Invalid
from detector.pack import pack
from detector.pipeline import Effects
from streams.engines.embedded import LETTER
from streams.store import Commit, Store, audit, open_store, queries, rows
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.tokens import Scope
from tests.servers.asking import Asking, asking
from tests.servers.stores import new_store

ANI: dict[str, Any] = {
    "name": "Ani",
    "language": "id",
    "time_zone": "Asia/Jakarta",
    "email": "ani@example.com",
    "phone": "0812-3456-7890",
}
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with new_store(db) as found:
        yield found


@pytest.fixture
def ask(store: Store) -> Iterator[Asking]:
    with asking(store, Scope.ADMIN) as found:
        yield found


def put(ask: Asking, id: str, status: int = 200, **given: Any) -> Any:
    return ask("PUT", f"/v1/customers/{id}", status=status, json=given).json()


def test_a_customer_is_taken_in_as_a_row_of_a_file_is(ask: Asking) -> None:
    worth: dict[str, Any] = {"tier": "gold", "contract_value": 1_500_000}
    taken = put(ask, "C-1", **ANI, **worth, consent=["email", "whatsapp"], aliases=["ani.s"])
    assert taken == {
        "id": "C-1",
        **ANI,
        "phone": "+6281234567890",
        "consent": ["email", "whatsapp"],
        "withdrawn": [],
        **worth,
        "known": True,
        "remarks": [],
    }
    for name in ("C-1", "ani.s", "Ani@Example.com", "081234567890"):
        assert ask.get(f"/v1/customers/{name}")["id"] == "C-1"
    put(ask, "C-1", name="Ani Suryani")
    found = ask.get("/v1/customers/C-1")
    assert (found["phone"], found["tier"], found["contract_value"]) == ("", None, None)
    ask.get("/v1/customers/ani.s", status=404)


@pytest.mark.slow
def test_an_id_may_hold_whatever_an_id_holds(ask: Asking) -> None:
    for id in ("a/b", "a%2Fb/c", "ü", "a b", "opt-out", "import"):
        path = id.replace("%", "%25").replace(" ", "%20")
        assert put(ask, path, name="x")["id"] == id
        assert ask.get(f"/v1/customers/{path}")["id"] == id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"email": "no address"}, "email: expected an e-mail address", id="email"),
        pytest.param({"phone": "12"}, "phone: expected a phone number", id="phone"),
        pytest.param({"time_zone": "Asia/Jakarte"}, "time_zone: expected a time zone", id="zone"),
        pytest.param({"language": "indonesian"}, "language: expected a language", id="language"),
        pytest.param({"consent": ["What's app"]}, "consent: expected channels", id="consent"),
        pytest.param({"tier": "g" * 41}, "tier: expected a short text", id="tier"),
        pytest.param({"contract_value": -1}, "body.contract_value", id="negative value"),
        pytest.param({"contract_value": "much"}, "body.contract_value", id="value in words"),
        pytest.param({"name": "A\u202eB"}, "name: expected plain text", id="direction"),
        pytest.param({"aliases": ["a\tb"]}, "expected plain text", id="alias"),
        pytest.param({"mail": "a@example.com"}, "body.mail", id="unknown field"),
    ],
)
def test_what_is_wrong_with_a_customer_is_named(ask: Asking, given: dict[str, Any], words: str) -> None:
    assert words in put(ask, "C-1", status=422, **given)["detail"]
    ask.get("/v1/customers/C-1", status=404)


@pytest.mark.slow
def test_an_alias_that_another_has_is_remarked(ask: Asking) -> None:
    put(ask, "C-1", aliases=["shared"])
    assert "shared" in put(ask, "C-2", aliases=["shared"])["remarks"][0]


@pytest.mark.slow
def test_those_who_may_only_read_see_addresses_masked(ask: Asking, store: Store) -> None:
    put(ask, "C-1", **ANI)
    with asking(store, Scope.READ) as reader:
        found = reader.get("/v1/customers/C-1")
        assert (found["email"], found["phone"]) == ("a•••@example.com", "+628•••90")
        reader("PUT", "/v1/customers/C-1", status=403, json={})
        reader("PATCH", "/v1/customers/C-1", status=403, json={})
        reader.post("/v1/customers/C-1/opt-out", status=403)
        reader("POST", "/v1/customers/import", status=403, content="id\nC-1\n", headers=CSV)
    with asking(store, Scope.OPERATE) as operator:
        assert operator.get("/v1/customers/C-1")["phone"] == "+6281234567890"
        operator.post("/v1/customers/erase", {"customer": "C-1"}, status=403)


def test_preferences_are_set_one_by_one(ask: Asking) -> None:
    put(ask, "C-1", **ANI, consent=["email"], aliases=["ani.s"])
    found = ask("PATCH", "/v1/customers/ani.s", json={"language": "en"}).json()
    assert (found["language"], found["time_zone"], found["consent"]) == ("en", "Asia/Jakarta", ["email"])
    found = ask("PATCH", "/v1/customers/C-1", json={"consent": [], "time_zone": ""}).json()
    assert (found["language"], found["time_zone"], found["consent"]) == ("en", "", [])
    assert ask.get("/v1/customers/ani.s")["id"] == "C-1"
    assert "time_zone" in ask("PATCH", "/v1/customers/C-1", status=422, json={"time_zone": "Mars"}).json()["detail"]
    ask("PATCH", "/v1/customers/nobody", status=404, json={})


@pytest.mark.slow
def test_who_opted_out_is_told_nothing_whatever_an_import_says_until_they_say_otherwise(
    ask: Asking, store: Store
) -> None:
    put(ask, "C-1", **ANI, consent=["all"])
    assert ask.post("/v1/customers/0812-3456-7890/opt-out", status=204) is None
    put(ask, "C-1", **ANI, consent=["all"])
    found = ask.get("/v1/customers/C-1")
    assert found["withdrawn"] == ["all"]
    directory = CustomerDirectory(store)
    customer = directory.get(directory.find("C-1"))
    assert customer is not None and customer.address("email") == ""
    assert ask("PATCH", "/v1/customers/C-1", json={"consent": ["email"]}).json()["withdrawn"] == []
    customer = directory.get(directory.find("C-1"))
    assert customer is not None and (customer.address("email"), customer.address("whatsapp")) == (ANI["email"], "")


def test_someone_seen_failing_but_in_no_directory_is_shown_and_has_no_preferences(ask: Asking, store: Store) -> None:
    store.commit(Effects(customers={customer_key(store.customer_key, "X-1"): "X-1"}))
    assert ask.get("/v1/customers/X-1")["known"] is False
    ask("PATCH", "/v1/customers/X-1", status=404, json={"language": "en"})


def test_a_file_is_taken_in_and_its_bad_rows_are_listed(ask: Asking, store: Store) -> None:
    rows_given = "id,name,email,consent\nC-1,Ani,ani@example.com,all\nC-2,Budi,no address,all\nC-1,Ani,,\n"
    found = ask("POST", "/v1/customers/import", content=rows_given, headers=CSV).json()
    assert found["imported"] == 1
    assert [(row["line"], row["column"]) for row in found["rejected"]] == [(3, "email"), (4, "id")]
    assert "no address" not in str(found) and "C-1" not in str(found)
    assert CustomerDirectory(store).count() == (1, 0)


def test_a_repeated_import_does_not_turn_back_what_was_changed_since(ask: Asking) -> None:
    given: dict[str, Any] = {"content": "id,name\nC-1,Ani\n", "headers": {**CSV, "Idempotency-Key": "k"}}
    first = ask("POST", "/v1/customers/import", **given).json()
    put(ask, "C-1", name="Ani Suryani")
    assert ask("POST", "/v1/customers/import", **given).json() == first
    assert ask.get("/v1/customers/C-1")["name"] == "Ani Suryani"
    other = {**given, "content": "id,name\nC-2,Ani\n"}
    assert ask("POST", "/v1/customers/import", status=422, **other).json()["code"] == "key-reused"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        pytest.param(b"name\nAni\n", CSV, 422, "invalid-request", id="no ids"),
        pytest.param(b"id\nC-1\n", {"Content-Type": "application/json"}, 415, "unsupported-type", id="another type"),
        pytest.param(b"id,name\n" + b"C-1,x\n" * 3_000_000, CSV, 413, "too-large", id="too large"),
    ],
)
def test_a_body_that_is_no_customers_file_is_refused(
    ask: Asking, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    found = ask("POST", "/v1/customers/import", status=status, content=content, headers=headers)
    assert found.json()["code"] == code


def test_any_bytes_are_taken_or_listed(ask: Asking) -> None:
    found = ask(
        "POST", "/v1/customers/import", content=b"\xef\xbb\xbfid,name\nC-1,\xff\xfe\n\x00,\n", headers=CSV
    ).json()
    assert found["imported"] == 0
    assert [row["line"] for row in found["rejected"]] == [2, 3]


@pytest.mark.slow
def test_a_customer_is_shown_with_every_decision_on_telling_them(replayed: Path, tmp_path: Path) -> None:
    shutil.copy(replayed, tmp_path / "tocsin.db")
    with open_store(tmp_path / "tocsin.db") as found, asking(found, Scope.READ) as reader:
        (case,) = queries.list_cases(found, finished=True)
        rows_of = list(queries.ledger(found, case.id))
        names = queries.names(found, [row.customer for row in rows_of])
        decided = {n.customer: n for n in queries.notices(found, case.id) if n.kind == "problem"}
        silent = next(row for row in rows_of if decided[row.customer].decision == "drop")
        (hit,) = reader.get(f"/v1/customers/{names[silent.customer]}")["cases"]
        assert hit["case"]["id"] == case.id
        assert hit["why"]["reason"] == decided[silent.customer].reason
        assert hit["why"]["notices"][0]["checks"]
        with open_store(tmp_path / "tocsin.db", tenant="other") as other, asking(other) as theirs:
            assert theirs.get(f"/v1/customers/{names[silent.customer]}", status=404)["code"] == "not-found"
            theirs.post(f"/v1/customers/{names[silent.customer]}/opt-out", status=404)
            theirs.post("/v1/customers/erase", {"customer": names[silent.customer]}, status=404)


# --- forgetting -----------------------------------------------------------------------------------------------------

NAMED = ("C-4711", "budi@example.com", "+6281299998888", "0812-9999-8888", "budi.santoso")


def with_traces(ask: Asking, store: Store) -> None:
    """Leave whatever can name a customer wherever it can be."""
    put(ask, "C-4711", name="Budi Santoso", email=NAMED[1], phone=NAMED[2], consent=["all"], aliases=["budi.santoso"])
    put(ask, "C-47", name="Sari")
    bad = [
        b'{"customer": "C-4711", "time": 1}',
        b'{"who": {"mail": "BUDI@example.com"}}',
        b'{"phone": "0812\\u002d9999-8888"}',
        b"Mar  2 sshd[1]: Failed password for budi.santoso from 10.0.0.1",
        b"call from 0812-9999-8888.",
        b'{"customer": "C-47", "also": "C-47110"}',
    ]
    invalid = [Invalid(i, "not-json", "", len(data), data) for i, data in enumerate(bad)]
    said = "C-4711 called from 0812-9999-8888, see C-47"
    command = Command(Verb.COMMENT, "c1", "ani", text=said)
    log = [LogRecord(tenant=store.tenant, seq=1, at_ms=5, payload=command)]
    story = [
        TimelineEntry(tenant=store.tenant, case="c1", seq=1, n=0, at_ms=5, what="comment", by="ani", detail=said),
        TimelineEntry(tenant=store.tenant, case="c1", seq=1, n=1, at_ms=5, what="opened", detail="bank C-4711"),
    ]
    bare = {customer_key(store.customer_key, alias): alias for alias in ("0812-9999-8888", "X-1")}
    effects = Effects(customers=bare, log=log, invalid=invalid, desk=DeskEffects(timeline=story))
    store.commit(effects, Commit(sources=["http"] * len(bad)))
    store.post(pack(command))


def test_an_erased_customer_is_named_nowhere_any_more(ask: Asking, store: Store) -> None:
    with_traces(ask, store)
    found = ask.post("/v1/customers/erase", {"customer": "budi.santoso"})
    assert found["removed"] == {"customers": 2, "aliases": 3, "dead_letters": 5, "remarks": 1}
    assert (found["remains"]["cases"], found["remains"]["notices"], found["remains"]["copies"]) == (0, 0, [])
    for name in NAMED:
        ask.get(f"/v1/customers/{name}", status=404)
    letters = queries.dead_letters(store)
    assert [bool(letter.data) for letter in letters] == [False] * 5 + [True]
    assert [letter.size > 0 for letter in letters] == [True] * 6
    said = "(erased) called from (erased), see C-47"
    with store.reading() as connection:
        assert [row.detail for row in connection.execute(sa.select(t.timeline).order_by(t.timeline.c.n))] == [
            said,
            "bank C-4711",
        ]
        (record,) = [rows.log_of(row) for row in connection.execute(sa.select(t.desk_log))]
        (letter,) = [LETTER.decode(row.data) for row in connection.execute(sa.select(t.inbox))]
    assert record.payload == letter == Command(Verb.COMMENT, "c1", "ani", text=said)
    assert ask.get("/v1/customers/C-47")["name"] == "Sari"


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
@pytest.mark.slow
def test_nothing_of_an_erased_customer_is_left_in_the_stores_files(ask: Asking, store: Store) -> None:
    others = "".join(f"C-{i},Name {i},name{i}@example.com,\n" for i in range(200))
    own = f"C-4711,Budi Santosa {'x' * 180},,\n"
    ask("POST", "/v1/customers/import", content=f"id,name,email,phone\n{others}{own}", headers=CSV)
    put(ask, "C-4711", name="Budi Santoso", email=NAMED[1], phone=NAMED[2], aliases=["budi.santoso"])
    invalid = [Invalid(0, "not-json", "", 17, b'{"id": "C-4711" x')]
    store.commit(Effects(invalid=invalid), Commit(sources=["http"]))
    ask.post("/v1/customers/opt-out-nobody/opt-out", status=404)
    ask.post("/v1/customers/C-4711/opt-out", status=204, Idempotency_Key="k")
    found = ask("POST", "/v1/customers/erase", json={"customer": "C-4711"}, headers={"Idempotency-Key": "e"})
    assert "C-4711" not in found.text
    for file in store.path.parent.iterdir():
        held = file.read_bytes()
        assert not [name for name in (*NAMED, "Budi Santos") if name.encode() in held], file.name
    kept = list(audit.entries(store))
    assert [entry.what for entry in kept if entry.what.startswith("customer.")] == [
        "customer.put",
        "customer.opted-out",
        "customer.erased",
    ]
    assert len({entry.target for entry in kept if entry.what.startswith("customer.")}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_nobody_who_was_erased_comes_back_by_any_of_their_names(ask: Asking, store: Store, name: str) -> None:
    with_traces(ask, store)
    ask.post("/v1/customers/erase", {"customer": name})
    store.commit(Effects(customers={customer_key(store.customer_key, one): one for one in NAMED}))
    rejected = ask("POST", "/v1/customers/import", content="id,phone\nC-4711,0812\n", headers=CSV).json()
    assert rejected["imported"] == 0
    assert put(ask, "C-4711", status=409)["code"] == "erased"
    for one in NAMED:
        ask.get(f"/v1/customers/{one}", status=404)


def test_an_erasure_is_asked_for_twice_and_done_once(ask: Asking) -> None:
    put(ask, "C-1", name="x")
    first = ask.post("/v1/customers/erase", {"customer": "C-1"}, Idempotency_Key="k")
    assert ask.post("/v1/customers/erase", {"customer": "C-1"}, Idempotency_Key="k") == first
    ask.post("/v1/customers/erase", {"customer": "C-1"}, status=404)
