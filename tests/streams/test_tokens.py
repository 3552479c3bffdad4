"""Tokens: shown once, kept as a hash, one tenant's, with an end."""

import asyncio
import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from detector.errors import UsageError
from streams.store import Store, audit, open_store, tokens
from streams.store import tables as t
from streams.store.tokens import Scope, Standing
from tests.servers.stores import new_store

NOW = 1_780_000_000_000


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with new_store(db) as found:
        yield found


def test_a_token_is_found_by_its_whole_text_only(store: Store) -> None:
    token_id, text = tokens.create(store, Scope.READ, "grafana", "cli:eko", NOW)
    assert re.fullmatch(rf"toc_{token_id}_[A-Za-z0-9_-]{{43}}", text)
    found = tokens.find(store, text)
    assert found is not None and (found.id, found.scope, found.name, found.by) == (
        token_id,
        Scope.READ,
        "grafana",
        "cli:eko",
    )
    last = "A" if text[-1] != "A" else "B"
    other = text.replace(token_id, "0" * 12)
    for guess in ("", "toc_", text[:-1], text[:-1] + last, text + "x", other, text + "\n", " " + text, "é" * 60):
        assert tokens.find(store, guess) is None


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_the_store_has_only_the_hash(store: Store) -> None:
    _, text = tokens.create(store, Scope.ADMIN, "", "cli:eko", NOW)
    secret = text.split("_", 2)[2].encode()
    for name in ("tocsin.db", "tocsin.db-wal"):
        assert secret not in (store.path.parent / name).read_bytes()


def test_a_token_expires_and_is_revoked(store: Store) -> None:
    token_id, text = tokens.create(store, Scope.READ, "", "cli:eko", NOW, expires_ms=NOW + 10)
    found = tokens.find(store, text)
    assert found is not None
    assert (found.standing(NOW + 9), found.standing(NOW + 10)) == (Standing.VALID, Standing.EXPIRED)
    tokens.revoke(store, token_id, "cli:eko", NOW + 1)
    tokens.revoke(store, token_id, "cli:eko", NOW + 2)
    found = tokens.find(store, text)
    assert found is not None and found.standing(NOW + 1) is Standing.REVOKED and found.revoked_ms == NOW + 1
    with pytest.raises(UsageError, match="none of this id"):
        tokens.revoke(store, "000000000000", "cli:eko", NOW)
    with pytest.raises(UsageError, match="is over"):
        tokens.create(store, Scope.READ, "", "cli:eko", NOW, expires_ms=NOW)
    assert [entry.what for entry in audit.entries(store)] == ["token.created", "token.revoked"]


def test_another_tenant_does_not_know_it(store: Store) -> None:
    token_id, text = tokens.create(store, Scope.ADMIN, "", "cli:eko", NOW)
    with open_store(store.where, tenant="other") as other:
        assert tokens.find(other, text) is None and tokens.listed(other) == []
        with pytest.raises(UsageError):
            tokens.revoke(other, token_id, "cli:eko", NOW)
    assert [token.id for token in tokens.listed(store)] == [token_id]


def test_its_first_use_is_in_the_audit_log_and_its_last_in_the_list(store: Store) -> None:
    token_id, _ = tokens.create(store, Scope.READ, "", "cli:eko", NOW)
    for at_ms in (NOW + 5, NOW + 90_000, NOW + 80_000):
        tokens.used(store, token_id, at_ms)
    assert [token.used_ms for token in tokens.listed(store)] == [NOW + 90_000]
    assert [(e.what, e.who) for e in audit.entries(store)][1:] == [("token.first-used", f"token:{token_id}")]


@pytest.mark.parametrize("name", [pytest.param("a" * 61, id="long"), pytest.param("a\nb", id="newline")])
def test_a_name_is_short_printable_text(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="name: expected printable text"):
        tokens.create(store, Scope.READ, name, "cli:eko", NOW)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], None, id="none"),
        pytest.param([Scope.INGEST], Scope.INGEST, id="ingest"),
        pytest.param([Scope.INGEST, Scope.READ], Scope.READ, id="read before ingest"),
        pytest.param([Scope.READ, Scope.ADMIN, Scope.OPERATE], Scope.ADMIN, id="admin"),
    ],
)
def test_of_several_scopes_the_widest_counts(found: list[Scope], expected: Scope | None) -> None:
    assert tokens.widest(found) is expected


def test_who_asks_is_known_by_the_token(store: Store) -> None:
    from tests.servers.web import client

    async def asked() -> list[int]:
        async with client(store, "read") as read:
            return [(await read.get("/nowhere")).status_code]

    assert asyncio.run(asked()) == [404]
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.token)).scalar_one() == 1
