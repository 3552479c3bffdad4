"""The words of a case as they would go out: for a real customer, per channel and language, from a recording."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from streams.store import open_store
from streams.store import tables as t
from streams.store.queries import find_case
from tests.streams.commands import Tocsin
from tests.streams.shop import Shop

FIELDS = {
    "kind",
    "channel",
    "language",
    "customer",
    "to",
    "theirs",
    "subject",
    "body",
    "characters",
    "template",
    "parameters",
}


@pytest.fixture
def case(tocsin: Tocsin) -> str:
    (found,) = tocsin.json("cases", "--all")
    return str(found["id"])


def test_each_channel_and_language_for_one_real_customer(tocsin: Tocsin, case: str) -> None:
    found = tocsin.json("preview", case)
    assert all(set(one) == FIELDS for one in found)
    assert [(one["channel"], one["language"]) for one in found] == [
        ("whatsapp", "en"),
        ("whatsapp", "id"),
        ("email", "en"),
        ("email", "id"),
    ]
    assert {one["theirs"] for one in found if one["language"] == "id"} == {True}
    (who,) = {one["customer"] for one in found}
    assert who in {row["customer"] for row in tocsin.json("affected", case)}
    number = who.removeprefix("C-")
    assert f"Halo Name {number}, pembayaran BNI Anda pukul " in found[1]["body"]
    assert found[0]["characters"] == len(found[0]["body"])


@pytest.mark.slow
def test_the_address_is_masked_and_empty_where_they_do_not_consent(tocsin: Tocsin, case: str) -> None:
    found = tocsin.json("preview", case)
    assert re.fullmatch(r"\+628•••\d\d", found[0]["to"])
    assert found[2]["to"] == ""
    assert "+6281" not in tocsin("preview", case)


def test_a_customer_kind_and_channel_of_ones_own_choice(tocsin: Tocsin, case: str) -> None:
    who = tocsin.json("affected", case)[-1]["customer"]
    for kind in ("problem", "follow-up", "try-again", "resolved", "correction"):
        found = tocsin.json("preview", case, "--customer", who, "--channel", "email", "--kind", kind)
        assert {(one["customer"], one["channel"], one["kind"]) for one in found} == {(who, "email", kind)}
        assert len({one["body"] for one in found}) == 2


def test_the_words_of_a_notice_that_was_decided_are_those_that_went_out(tocsin: Tocsin, case: str) -> None:
    with open_store(tocsin.db) as store, store.reading() as connection:
        told = sa.select(t.notices).where(t.notices.c.state == "simulated", t.notices.c.kind == "problem").limit(1)
        row = connection.execute(told).one()
        key = sa.select(t.customer.c.id).where(t.customer.c.key == row.customer)
        who = str(connection.execute(key).scalar_one())
    (found,) = [
        one for one in tocsin.json("preview", case, "--customer", who, "--channel", "whatsapp") if one["theirs"]
    ]
    assert "BNI" in found["body"]


def test_own_templates_are_shown(tocsin: Tocsin, case: str, shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "templates" / "_default" / "whatsapp").mkdir(parents=True)
    for name in ("signals.yml", "tocsin.yml", "customers.csv"):
        (folder / name).write_bytes((shop.folder / name).read_bytes())
    (folder / "templates" / "_default" / "whatsapp" / "problem.id.yml").write_text(
        "template: gangguan\nparameters: {nama: \"{{ name or 'pelanggan' }}\"}\nbody: Halo {{1}}, ada gangguan.\n"
    )
    found = tocsin.json("preview", case, "--config", str(folder), "--channel", "whatsapp")[1]
    assert found["template"] == "gangguan"
    assert found["body"] == f"Halo {found['parameters']['nama']}, ada gangguan."
    shown = tocsin("preview", case, "--config", str(folder), "--channel", "whatsapp")
    assert "template gangguan with nama: Name " in shown


def test_what_people_see(tocsin: Tocsin, case: str) -> None:
    shown = tocsin("preview", case, "--channel", "whatsapp")
    assert re.search(r"whatsapp, id, their language, to C-\d+ \(\+628•••\d\d\): \d+ characters", shown)
    assert "  Pembayaran BNI Anda: gangguan di sisi kami" in shown


def test_nothing_is_written(tocsin: Tocsin, case: str) -> None:
    before = tocsin("dump")
    tocsin("preview", case)
    assert tocsin("dump") == before


@pytest.mark.slow
def test_who_is_not_affected_is_refused(tocsin: Tocsin, case: str) -> None:
    affected = {row["customer"] for row in tocsin.json("affected", case)}
    other = next(f"C-{i}" for i in range(1, 2_900) if f"C-{i}" not in affected)
    tocsin("preview", case, "--customer", other, exits=2)
    assert "expected one who is affected" in tocsin.err
    tocsin("preview", "nothing", exits=2)
    tocsin("preview", case, "--customer", "nobody", exits=2)


def test_a_case_without_anybody_has_nobody_to_write_to(tocsin: Tocsin, case: str) -> None:
    with open_store(tocsin.db) as store:
        with store.transaction() as connection:
            connection.execute(sa.delete(t.ledger).where(t.ledger.c.case_id == case))
        assert find_case(store, case).id == case
    assert tocsin("preview", case, exits=1) == "Nobody is listed, so there is nobody to write to.\n"
    assert tocsin.json("preview", case, exits=1) == []
