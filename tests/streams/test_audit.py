"""The audit log: rows are only added, and a change of one shows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from streams.store import Store, audit, open_store
from streams.store import tables as t
from tests.servers.stores import new_store
from tests.streams.commands import Tocsin

NOW = 1_780_000_000_000


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with new_store(db) as found:
        yield found


def record(store: Store, *whats: str, tenant: str = "default") -> None:
    for n, what in enumerate(whats):
        with store.transaction() as connection:
            audit.record(connection, tenant, "cli:eko", what, "case:3f2a", "by hand", NOW + n)


def test_an_untouched_log_is_unbroken(store: Store) -> None:
    assert audit.verify(store).ok and audit.verify(store).rows == 0
    record(store, "a", "b", "c")
    found = audit.verify(store)
    assert found.ok and found.rows == 3 and found.head == audit.entries(store)[-1].chain


def test_a_row_is_there_only_if_the_change_is(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as connection:
        audit.record(connection, "default", "cli:eko", "a", "", "", NOW)
        raise ZeroDivisionError
    assert audit.entries(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("column", ["at_ms", "who", "what", "target", "detail", "chain"])
def test_a_changed_row_shows(store: Store, column: str) -> None:
    record(store, *"abcde")
    new: object = {"at_ms": NOW - 1, "chain": b"\1" * 32}.get(column, "other")
    with store.transaction() as connection:
        connection.execute(sa.update(t.audit).where(t.audit.c.seq == 3).values({column: new}))
    assert audit.verify(store).broken == 3


@pytest.mark.parametrize("seq", [1, 3])
def test_a_row_that_was_taken_out_shows(store: Store, seq: int) -> None:
    record(store, *"abcde")
    with store.transaction() as connection:
        connection.execute(sa.delete(t.audit).where(t.audit.c.seq == seq))
    assert audit.verify(store).broken == seq + 1


def test_a_row_that_was_put_in_shows(store: Store) -> None:
    record(store, *"abc")
    with store.transaction() as connection:
        row = {"tenant": "default", "seq": 4, "at_ms": NOW, "who": "x", "what": "x", "target": "", "detail": ""}
        connection.execute(sa.insert(t.audit), {**row, "chain": b"\0" * 32})
    assert audit.verify(store).broken == 4


def test_rows_cut_off_at_the_end_show_to_whoever_kept_the_head(store: Store) -> None:
    record(store, *"abcde")
    kept = audit.verify(store).head.hex()
    record(store, "f")
    assert audit.verify(store, head=kept).ok
    with store.transaction() as connection:
        connection.execute(sa.delete(t.audit).where(t.audit.c.seq >= 5))
    assert audit.verify(store).ok
    assert audit.verify(store, head=kept).cut


def test_each_tenant_has_a_log_of_its_own(store: Store) -> None:
    record(store, "a", "b")
    record(store, "x", tenant="other")
    assert [(e.seq, e.what) for e in audit.entries(store)] == [(1, "a"), (2, "b")]
    with open_store(store.where, tenant="other") as other:
        assert [(e.seq, e.what) for e in audit.newest(other)] == [(1, "x")] and audit.verify(other).ok


@pytest.mark.slow
@given(text=st.text(max_size=700))
def test_any_text_is_one_printable_line(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.db"
    with new_store(path) as store:
        with store.transaction() as connection:
            audit.record(connection, "default", text, "said", text, text, NOW)
        entry = audit.newest(store, limit=1)[0]
        for found in (entry.who, entry.target, entry.detail):
            assert (not found or found.isprintable()) and len(found) <= audit.DETAIL_LENGTH
        assert audit.verify(store).ok


def test_pages_of_the_log_follow_each_other(store: Store) -> None:
    record(store, *"abcde")
    first = audit.newest(store, limit=2)
    second = audit.newest(store, before=first[-1].seq, limit=2)
    assert [e.what for e in (*first, *second)] == ["e", "d", "c", "b"]
    assert [e.what for e in audit.entries(store, after=3)] == ["d", "e"]


def test_the_command_shows_and_checks_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tocsin = Tocsin(tmp_path / "tocsin.db", capsys)
    store = new_store(tocsin.db)
    assert "Nothing was noted" in tocsin("audit")
    record(store, "a\x1b[31m", "b")
    found = tocsin.json("audit", "--limit", "1")
    assert [(row["seq"], row["what"], row["at"]) for row in found] == [(2, "b", "2026-05-28T20:26:40.001Z")]
    assert "\x1b" not in tocsin("audit", "list")
    good = tocsin.json("audit", "verify")
    assert good == {"ok": True, "rows": 2, "head": found[0]["chain"], "broken": None, "cut": False}
    assert f"2 rows, unbroken; head {good['head']}" in tocsin("audit", "verify", "--head", good["head"])
    with store.transaction() as connection:
        connection.execute(sa.update(t.audit).where(t.audit.c.seq == 1).values(who="cli:budi"))
    assert tocsin.json("audit", "verify", exits=1)["broken"] == 1
    tocsin("audit", "verify", exits=1)
    assert "Row 1 does not follow" in tocsin.err
    assert tocsin.json("audit", "verify", "--head", "00" * 32, exits=1)["ok"] is False


def test_what_is_done_to_customers_by_command_is_noted_without_naming_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tocsin = Tocsin(tmp_path / "tocsin.db", capsys)
    file = tmp_path / "customers.csv"
    file.write_text("id,name,language,time_zone,email,phone,consent\nC-1,Budi,id,,budi@example.com,,all\n", "utf-8")
    tocsin("customers", "import", str(file))
    tocsin("customers", "opt-out", "budi@example.com")
    tocsin("customers", "erase", "C-1", "--yes")
    found = tocsin.json("audit")
    assert [row["what"] for row in found] == ["customer.erased", "customer.opted-out", "customers.imported"]
    assert found[0]["target"] == found[1]["target"] and found[0]["who"].startswith("cli:")
    assert "C-1" not in str(found) and "budi" not in str(found).lower()
