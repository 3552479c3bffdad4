"""Whose part of a store the commands show: the configuration's, the one that is named, or the only one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from streams.cli.main import main
from streams.store import open_store
from streams.store import tables as t

KINDS = ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])]


@pytest.fixture(params=KINDS)
def bank(request: pytest.FixtureRequest, copied: Callable[[str, Path], str], tmp_path: Path) -> str:
    """Return what `--db` names: the store of a run on Kafka of the tenant `bank`, which has engines and no positions."""
    db = copied(request.param, tmp_path)
    with open_store(db) as store, store.transaction() as connection:
        for table in t.metadata.tables.values():
            if "tenant" in table.c:
                connection.execute(sa.update(table).values(tenant="bank"))
        connection.execute(sa.delete(t.position))
        row = {
            "tenant": "bank",
            "name": "desk",
            "epoch": 1,
            "next": 0,
            "at_ms": 0,
            "body": b"",
            "engine": "",
            "data": b"",
        }
        connection.execute(sa.insert(t.engine), {**row, "config": "", "checksum": b""})
        by_mistake = {
            "tenant": "default",
            "id": "1",
            "hash": b"",
            "scope": "read",
            "name": "",
            "by": "",
            "created_ms": 0,
        }
        connection.execute(sa.insert(t.token), by_mistake)
    return db


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_a_store_of_one_tenant_shows_it_whatever_its_name(bank: str, capsys: pytest.CaptureFixture[str]) -> None:
    (case,) = json.loads(asked(capsys, "cases", "--all", "--db", bank, "--json"))
    assert json.loads(asked(capsys, "affected", case["id"], "--db", bank, "--json"))
    assert asked(capsys, "dump", "--db", bank)


def test_of_several_tenants_one_has_to_be_named(
    bank: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with open_store(bank, tenant="loket") as store, store.transaction() as connection:
        row = {"tenant": "loket", "name": "work", "pid": 1, "at_ms": 0, "body": b"{}"}
        connection.execute(sa.insert(t.process), row)
    assert main(["cases", "--db", bank]) == 2
    assert "bank, loket; name one by --tenant NAME or TOCSIN_TENANT" in capsys.readouterr().err
    assert len(json.loads(asked(capsys, "cases", "--all", "--tenant", "bank", "--db", bank, "--json"))) == 1
    assert json.loads(asked(capsys, "cases", "--all", "--tenant", "loket", "--db", bank, "--json")) == []
    monkeypatch.setenv("TOCSIN_TENANT", "bank")
    assert len(json.loads(asked(capsys, "cases", "--all", "--db", bank, "--json"))) == 1
    assert "The kill switch is off" in asked(capsys, "kill-switch", "--db", bank)
    assert main(["init", str(tmp_path / "toko")]) == 0
    settings = tmp_path / "toko" / "tocsin.yml"
    settings.write_text("tenant: loket\n" + settings.read_text().replace("tenant:", "# tenant:"))
    monkeypatch.delenv("TOCSIN_TENANT")
    capsys.readouterr()
    main(["doctor", "--config", str(tmp_path / "toko"), "--db", bank, "--json"])
    assert "several tenants" not in capsys.readouterr().out
    main(["doctor", "--db", bank, "--json"])
    assert "several tenants" in capsys.readouterr().out


def test_a_tenant_that_is_not_there_is_told_from_one_without_cases(
    bank: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cases", "--db", bank, "--tenant", "bnak"]) == 2
    assert "--tenant: expected one of those in" in (said := capsys.readouterr().err)
    assert "bank" in said
    assert "bnak" in said


def test_what_concerns_the_whole_store_needs_no_name(
    bank: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # where a server's switch has its file
    with open_store(bank, tenant="loket") as store, store.transaction() as connection:
        connection.execute(sa.insert(t.process), {"tenant": "loket", "name": "w", "pid": 1, "at_ms": 0, "body": b"{}"})
    assert "The kill switch is on" in asked(capsys, "kill-switch", "on", "--db", bank)
    assert asked(capsys, "db", "migrate", "--db", bank)
