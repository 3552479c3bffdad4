"""Two live tenants' results in one store: every statement is one tenant's, and nothing of the one is shown to the other."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from detector.errors import UsageError
from streams.engines.session import import_customers
from streams.settings import Settings, load
from streams.store import LIVE, Store, open_store, queries
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.engines import claim_kafka_input, claim_nameless
from streams.web.access import PUBLIC, policies
from tests.servers.postgres import postgres as postgres
from tests.servers.stores import db as db
from tests.servers.stores import new_store
from tests.servers.web import app, client
from tests.streams.shop import Shop, write
from tests.streams.test_stages import Topic, Workers
from tests.streams.test_tenants import about

pytestmark = pytest.mark.slow

OF_TENANTS = {name for name, table in t.metadata.tables.items() if "tenant" in table.c}
BY_WHAT_IS_UNIQUE = ("token.digest = ", "inbox.id = ")
"""Rows that are found by a number or secret that only one tenant has."""


def written(folder: Path, tenant: str) -> Shop:
    shop = write(folder)
    settings = yaml.safe_load((folder / "tocsin.yml").read_text("utf-8"))
    (folder / "tocsin.yml").write_text(yaml.safe_dump({**settings, "tenant": tenant}), "utf-8")
    customers = (folder / "customers.csv").read_text("utf-8")
    (folder / "customers.csv").write_text(customers.replace("Name ", f"{tenant.title()} "), "utf-8")
    return shop


def unscoped(statement: str) -> list[str]:
    """Return the tables of a statement whose rows it does not choose, or make, by tenant."""
    text = " ".join(statement.split())
    if text.startswith("INSERT"):
        name = text.split()[2]
        return [name] if name in OF_TENANTS and "tenant" not in text.partition(")")[0] else []
    if not text.startswith(("SELECT", "UPDATE", "DELETE")) or any(key in text for key in BY_WHAT_IS_UNIQUE):
        return []
    chosen = text[text.find(" FROM ") :] if text.startswith("SELECT") else re.sub(r" SET .*? WHERE ", " WHERE ", text)
    found = re.findall(r"(?:FROM|JOIN|UPDATE|,) (\w+)(?: AS (\w+))?", chosen)
    return [name for name, alias in found if name in OF_TENANTS and f"{alias or name}.tenant" not in chosen]


@contextmanager
def statements() -> Iterator[set[str]]:
    """Collect what is asked of any database."""
    seen = set[str]()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.add(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


@dataclass
class Both:
    """One store with the results of toko and of bank."""

    db: str
    toko: Settings
    bank: Settings


def work_off(db: str, shop: Shop) -> Settings:
    """Run a tenant's engines over its events, as workers on Kafka do."""
    run, settings = shop.run(), load(shop.folder)
    with new_store(db, tenant=run.config.tenant) as store:
        claim_kafka_input(store, "tocsin.events", 1)
        import_customers(store, CustomerDirectory(store, run.config.policy.channels), run.customers)
        many = Workers(store, Topic(run, shop, store, 1))
        while many.feed(0, 4_000):
            pass
        many.end()
        assert store.mode == LIVE and queries.list_cases(store)
    return settings


def names_of(store: Store) -> dict[str, str]:
    """Return what a tenant has, by the names that paths give it."""
    with store.reading() as connection:
        notice = connection.execute(sa.select(t.notices).where(t.notices.c.tenant == store.tenant).limit(1)).one()
    return {"cases": notice.case_id, "notice": notice.id, "dead-letters": "1"}


def test_nothing_of_one_tenant_is_shown_to_the_other_and_every_statement_is_one_tenants(
    tmp_path: Path, db: str
) -> None:
    new_store(db).close()  # what makes and changes tables is about all tenants
    with statements() as seen:
        both = Both(db, *(work_off(db, written(tmp_path / name, name)) for name in ("toko", "bank")))

        async def test(own: Settings, other: Settings) -> None:
            tenants = own.config.tenant, other.config.tenant
            with open_store(both.db, tenant=tenants[0]) as store, open_store(both.db, tenant=tenants[1]) as others:
                mine, theirs = names_of(store), names_of(others)
                assert not {mine["cases"], mine["notice"]} & {theirs["cases"], theirs["notice"]}
                application = app(store, settings=own)
                shown = 0
                async with client(store, "admin", application=application) as asked:
                    for policy in policies(application):
                        if "GET" not in policy.methods or policy.allowed == PUBLIC or "stream" in policy.path:
                            continue
                        if "{" not in policy.path:
                            answer = await asked.get(policy.path)
                            assert answer.status_code < 400, (policy.path, answer.text[:200])
                            shown += mine["cases"] in answer.text
                        elif re.search(r"\{(?!id|case|number)", policy.path) or "/cases/" not in policy.path:
                            continue
                        else:
                            answer = await asked.get(about(policy.path, theirs))
                            assert answer.status_code == 404, policy.path
                            answer = await asked.get(about(policy.path, mine))
                            assert answer.status_code == 200, policy.path
                        found = [value for value in (theirs["cases"], theirs["notice"]) if value in answer.text]
                        assert not found and f"{tenants[1].title()} " not in answer.text, policy.path
                assert shown >= 2

        asyncio.run(test(both.toko, both.bank))
        asyncio.run(test(both.bank, both.toko))
    assert len(seen) > 60
    assert {statement: tables for statement in seen if (tables := unscoped(statement))} == {}


def test_in_one_store_one_tenant_takes_what_names_nobody(db: str) -> None:
    with new_store(db, tenant="toko") as toko, open_store(db, tenant="bank") as bank:
        claim_nameless(toko, "events", take=True)
        claim_nameless(toko, "events", take=True)
        with pytest.raises(UsageError, match="what names no tenant on events is taken by toko"):
            claim_nameless(bank, "events", take=True)
        claim_nameless(bank, "events", take=False)
        claim_nameless(bank, "others", take=True)
        with pytest.raises(UsageError, match="taken by toko"):
            claim_nameless(bank, "events", take=True)
        claim_nameless(toko, "events", take=False)
        claim_nameless(bank, "events", take=True)
