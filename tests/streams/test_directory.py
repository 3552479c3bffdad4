"""The directory: who may be told, by which alias they are known, and who is forgotten."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.decode.customers import CustomerKeys, customer_key, phone_e164
from detector.errors import UsageError
from detector.pipeline import Effects
from streams.store import Store
from streams.store import tables as t
from streams.store.customers_csv import BadRow, normal_email, normal_phone, read_customers
from streams.store.directory import CustomerDirectory
from tests.servers.stores import new_store

HEADER = "id,name,language,time_zone,email,phone,consent,login\n"


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with new_store(db) as found:
        yield found


def key(store: Store, text: str) -> int:
    return customer_key(store.customer_key, text)


def imported(store: Store, tmp_path: Path, rows: str) -> list[BadRow]:
    file = tmp_path / "customers.csv"
    file.write_text(HEADER + rows, encoding="utf-8")
    return CustomerDirectory(store).import_file(file).bad


def test_a_customer_is_reached_where_they_consent_and_have_an_address(store: Store, tmp_path: Path) -> None:
    rows = (
        "C-1,Budi,id,Asia/Jakarta,budi@example.com,0812-3456-7890,whatsapp email,budi\n"
        "C-2,Sari,en,,sari@example.com,,whatsapp;email,\n"
        "C-3,Eko,,,,+6281234567891,none,\n"
    )
    assert imported(store, tmp_path, rows) == []
    store.commit(Effects(customers={key(store, "C-9"): "C-9"}))
    wanted = np.array([key(store, f"C-{i}") for i in (1, 2, 3, 9)], np.int64)
    found = CustomerDirectory(store).reach(wanted)
    assert {k: r.channels for k, r in found.items()} == {
        wanted[0]: frozenset({"whatsapp", "email"}),
        wanted[1]: frozenset({"email"}),
        wanted[2]: frozenset(),
    }
    assert (found[wanted[0]].language, found[wanted[0]].time_zone) == ("id", "Asia/Jakarta")
    assert CustomerDirectory(store).count() == (3, 1)


def test_a_customer_is_known_by_phone_email_and_login(store: Store, tmp_path: Path) -> None:
    imported(store, tmp_path, "C-1,Budi,id,,Budi@Example.com,0812-3456-7890,all,budi.s\n")
    directory = CustomerDirectory(store)
    keys = CustomerKeys(store.customer_key, directory.aliases())
    for alias in ("C-1", "+62 812 3456 7890", "081234567890", "budi@example.com", "BUDI@EXAMPLE.COM", "budi.s"):
        assert keys[alias] == key(store, "C-1")
        assert directory.find(alias) == key(store, "C-1")
    with pytest.raises(UsageError, match="nobody"):
        directory.find("budi.t")


def test_tier_and_contract_value_are_no_aliases_and_may_be_left_out(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("id,tier,contract_value\nC-1,gold,1500000\nC-2,,99.95\nC-3,gold,0\n", encoding="utf-8")
    directory = CustomerDirectory(store)
    assert directory.import_file(file).bad == []
    found = [directory.get(key(store, f"C-{i}")) for i in (1, 2, 3)]
    assert [(c.tier, c.contract_value_milli) for c in found if c] == [
        ("gold", 1_500_000_000),
        (None, 99_950),
        ("gold", 0),
    ]
    with pytest.raises(UsageError, match="nobody"):
        directory.find("gold")
    assert imported(store, tmp_path, "C-1,Budi,,,,,,\n") == []
    again = directory.get(key(store, "C-1"))
    assert again is not None and (again.tier, again.contract_value_milli) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tier", "worth", "column"),
    [
        pytest.param("g" * 41, "1", "tier", id="a long tier"),
        pytest.param("gold", "-1", "contract_value", id="negative"),
        pytest.param("gold", '"1,5"', "contract_value", id="a comma"),
        pytest.param("gold", "nan", "contract_value", id="no number"),
        pytest.param("gold", "1.2345", "contract_value", id="finer than a thousandth"),
        pytest.param("gold", "1000000000000", "contract_value", id="too much"),
    ],
)
def test_a_row_with_a_wrong_worth_is_left_out_and_named(
    store: Store, tmp_path: Path, tier: str, worth: str, column: str
) -> None:
    file = tmp_path / "customers.csv"
    file.write_text(f"id,tier,contract_value\nC-1,{tier},{worth}\nC-2,gold,1\n", encoding="utf-8")
    done = CustomerDirectory(store).import_file(file)
    assert (done.imported, [(bad.line, bad.column) for bad in done.bad]) == (1, [(2, column)])


def test_an_alias_that_two_customers_share_names_neither(store: Store, tmp_path: Path) -> None:
    rows = "C-1,A,id,,,+6281234567890,all,\nC-2,B,id,,,+6281234567890,all,C-1\n"
    bad = imported(store, tmp_path, rows)
    assert [(b.line, b.found) for b in bad] == [(3, "+6281234567890"), (3, "C-1")]
    keys = CustomerKeys(store.customer_key, CustomerDirectory(store).aliases())
    assert keys["+6281234567890"] == key(store, "+6281234567890")
    assert keys["C-1"] == key(store, "C-1")


def test_a_second_import_replaces_the_row_and_its_aliases(store: Store, tmp_path: Path) -> None:
    imported(store, tmp_path, "C-1,A,id,,,+6281234567890,all,old\n")
    before = CustomerDirectory(store).version
    imported(store, tmp_path, "C-1,B,en,,,,none,new\n")
    directory = CustomerDirectory(store)
    found = directory.get(key(store, "C-1"))
    assert found is not None
    assert (found.name, found.phone, found.consent) == ("B", "", ())
    assert directory.find("new") == key(store, "C-1")
    with pytest.raises(UsageError):
        directory.find("old")
    assert directory.version != before


@pytest.mark.parametrize(
    ("row", "column"),
    [
        pytest.param(",A,id,,,,,", "id", id="no id"),
        pytest.param("C-1,A", "row", id="too few cells"),
        pytest.param("C-1,A,id,Asia/Jakarte,,,,", "time_zone", id="unknown zone"),
        pytest.param("C-1,A,indonesian,,,,,", "language", id="unknown language"),
        pytest.param("C-1,A,id,,not an address,,,", "email", id="no address"),
        pytest.param('C-1,A,id,,"a@example.com\r\nBcc: b@example.com",,,', "email", id="line break in an address"),
        pytest.param("C-1,A,id,,,12,,", "phone", id="no number"),
        pytest.param("C-1,A,id,,,,WhatsApp & more,", "consent", id="no channels"),
        pytest.param("C-1,A\u202eB,id,,,,,", "name", id="override of the direction"),
        pytest.param("C-1," + "A" * 201 + ",id,,,,,", "name", id="far too long"),
        pytest.param("C-0,A,id,,,,,", "id", id="a second time"),
    ],
)
def test_a_bad_row_is_listed_with_its_line_and_the_good_ones_are_taken(tmp_path: Path, row: str, column: str) -> None:
    file = tmp_path / "customers.csv"
    file.write_text(f"{HEADER}C-0,Z,id,,,,,\n{row}\nC-8,Z,id,,,,,\n", encoding="utf-8", newline="")
    read = read_customers(file)
    assert [r.id for r in read.rows] == ["C-0", "C-8"]
    assert [b.column for b in read.bad] == [column]
    assert "expected" in str(read.bad[0])
    assert 3 <= read.bad[0].line <= 4


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_listed(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("csv") / "customers.csv"
    file.write_bytes(HEADER.encode() + b"C-1,A,id,,,,,\n" + data)
    read = read_customers(file)
    assert read.rows[0].id == "C-1"
    assert all(str(bad).isprintable() for bad in read.bad)


def test_a_file_without_ids_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("name,email\nA,a@example.com\n", encoding="utf-8")
    with pytest.raises(UsageError, match="expected the columns"):
        read_customers(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_customers(tmp_path / "missing.csv")


def test_an_erased_customer_stays_forgotten_whatever_comes_later(store: Store, tmp_path: Path) -> None:
    imported(store, tmp_path, "C-1,Budi,id,,b@example.com,+6281234567890,all,budi\n")
    directory, who = CustomerDirectory(store), key(store, "C-1")
    directory.erase(who)
    assert directory.get(who) is None
    with pytest.raises(UsageError):
        directory.find("b@example.com")
    store.commit(Effects(customers={who: "C-1"}))
    bad = imported(store, tmp_path, "C-1,Budi,id,,b@example.com,+6281234567890,all,budi\n")
    assert [b.column for b in bad] == ["id"]
    assert directory.reach(np.array([who], np.int64)) == {}
    assert directory.get(who) is None


@pytest.mark.slow
@pytest.mark.parametrize("alias", ["C-1", "b@example.com", "B@Example.com", "0812-3456-7890", "+6281234567890", "budi"])
def test_no_id_of_an_erased_customer_is_stored_again_by_whichever_they_come(
    store: Store, tmp_path: Path, alias: str
) -> None:
    store.commit(Effects(customers={key(store, alias): alias}))  # seen before the directory knew them
    rows = "C-1,Budi,id,,b@example.com,+6281234567890,all,budi\nC-2,Sari,id,,,,all,\n"
    assert imported(store, tmp_path, rows) == []
    directory = CustomerDirectory(store)
    assert directory.find(alias) == key(store, "C-1")
    directory.erase(key(store, "C-1"))
    again = {key(store, name): name for name in (alias, "C-2", "C-3")}
    store.commit(Effects(customers=again))
    with store.reading() as connection:
        assert {row.id for row in connection.execute(sa.select(t.customer.c.id))} == {"C-2", "C-3"}


def test_who_opted_out_is_known_but_reached_nowhere(store: Store, tmp_path: Path) -> None:
    imported(store, tmp_path, "C-1,Budi,id,,b@example.com,+6281234567890,all,\n")
    directory, who = CustomerDirectory(store), key(store, "C-1")
    directory.opt_out(who)
    assert directory.reach(np.array([who], np.int64))[who].channels == frozenset()


def test_what_was_withdrawn_stays_withdrawn_whatever_an_import_says(store: Store, tmp_path: Path) -> None:
    row = "C-1,Budi,id,,b@example.com,+6281234567890,all,\n"
    imported(store, tmp_path, row)
    directory, who = CustomerDirectory(store), key(store, "C-1")

    def channels() -> frozenset[str]:
        return directory.reach(np.array([who], np.int64))[who].channels

    directory.withdraw(who, "email")
    directory.withdraw(who, "email")
    imported(store, tmp_path, row)
    assert channels() == {"whatsapp", "sms"}
    found = directory.get(who)
    assert found is not None
    assert (found.address("email"), found.address("whatsapp")) == ("", "+6281234567890")
    directory.opt_out(who)
    imported(store, tmp_path, row)
    assert channels() == frozenset()


def test_withdrawing_concerns_nobody_else(store: Store, tmp_path: Path) -> None:
    imported(store, tmp_path, "C-1,Budi,id,,b@example.com,,all,\nC-2,Sari,id,,s@example.com,,all,\n")
    directory = CustomerDirectory(store)
    directory.withdraw(key(store, "C-1"), "email")
    found = directory.get(key(store, "C-2"))
    assert found is not None
    assert found.address("email") == "s@example.com"


@pytest.mark.parametrize(
    "text", ["+6281234567890", "+628123456789", "+6289912345678", "+62 812-3456-7890", "0812345678"]
)
def test_a_phone_is_normal_in_one_form_only(text: str) -> None:
    assert normal_phone(text) == phone_e164(text)


@pytest.mark.parametrize(
    "text", ["a@example.com", "a.b@example.id", "a@b.test", "a..b@example.com", "a@-x.com", "a@com"]
)
def test_a_plain_address_is_judged_like_any_other(text: str) -> None:
    from email_validator import EmailNotValidError, validate_email

    try:
        expected: str | None = validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        expected = None
    assert normal_email(text) == expected
