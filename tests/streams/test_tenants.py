"""Another tenant's ids: whatever an admin asks of them, they are not there."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from detector.desk.facts import named
from detector.desk.records import Command, Verb
from detector.pack import pack
from detector.watch.control import Fact, FactKind
from streams.feeds import subscriptions
from streams.sections import ServiceSection
from streams.store import Store, open_store, tokens
from streams.store import tables as t
from streams.store.tokens import Scope
from streams.web.access import PUBLIC, policies
from tests.servers.web import app, client

NOW = 1_780_000_000_000


@dataclass
class Theirs:
    """What another tenant has, by the names that paths give it."""

    store: Store
    ids: dict[str, str]


@pytest.fixture(scope="module")
def theirs(replayed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    db = tmp_path_factory.mktemp("tenants") / "tocsin.db"
    shutil.copy(replayed, db)
    with open_store(db) as store:
        with store.reading() as connection:

            def one(column: Any, *where: Any) -> Any:
                return connection.execute(sa.select(column).where(*where).limit(1)).scalar_one()

            case = one(t.notices.c.case_id)
            ids = {
                "cases": case,
                "notice": one(t.notices.c.id),
                "customer": one(t.customer.c.id, t.customer.c.known == 1),
            }
        fact = named(
            Fact(id="", kind=FactKind.MUTE, from_ms=NOW, until_ms=NOW + 1, signals=(), where={}, text="", by="eko")
        )
        store.post(pack(fact))
        hook, _ = subscriptions.create(
            store, "https://crm.example.com/x", frozenset(), "cli:eko", NOW, subscriptions.rules_of(ServiceSection())
        )
        ids |= {
            "commands": str(store.post(pack(Command(Verb.ACKNOWLEDGE, case, "eko")))),
            "tokens": tokens.create(store, Scope.READ, "", "cli:eko", NOW)[0],
            "facts": fact.id,
            "mutes": fact.id,
            "webhooks": hook.id,
            "dead-letters": "1",
            "verb": "acknowledge",
        }
        yield Theirs(store, ids)


BODIES: dict[str, Any] = {
    "assign": {"to": "ani"},
    "comment": {"text": "hello"},
    "merge": {"into": "0" * 8},
    "split": {"anomalies": ["0" * 8]},
    "settle": {"how": "failed"},
    "rotate": {},
}
"""What a route needs to get as far as looking for the thing, by the last word of its path."""

MAKES = {("PUT", "/v1/customers/{customer:path}"), ("POST", "/v1/channels/{channel}/resume")}
"""Routes whose names are nobody's: a customer of this name is made in one's own directory."""


def about(path: str, ids: dict[str, str]) -> str:
    """Return a path with their ids."""
    noun = path.removeprefix("/v1").split("/")[1]

    def of(found: re.Match[str]) -> str:
        name = found.group(1).partition(":")[0]
        return ids["cases" if noun == "cases" and name == "id" else name if name in ids else noun]

    return re.sub(r"\{([^}]+)\}", of, path)


def test_whatever_is_asked_of_them_they_are_not_there(theirs: Theirs) -> None:
    async def test() -> None:
        wrong: list[str] = []
        asked_of = 0
        with open_store(theirs.store.path, tenant="stranger") as store:
            application = app(store)
            async with client(store, "admin", application=application) as asked:
                for policy in policies(application):
                    for method in policy.methods:
                        if "{" not in policy.path or policy.allowed == PUBLIC or (method, policy.path) in MAKES:
                            continue
                        body = BODIES.get(policy.path.rpartition("/")[2], {})
                        form = not policy.path.startswith("/v1/")
                        given: dict[str, Any] = {"data": {"at": "1"}} if form else {"json": body}
                        given = given if method in ("POST", "PATCH") else {}
                        answer = await asked.request(method, about(policy.path, theirs.ids), **given)
                        asked_of += 1
                        if answer.status_code != 404:
                            wrong.append(f"{method} {policy.path}: {answer.status_code} {answer.text[:100]}")
        assert wrong == [] and asked_of > 25

    asyncio.run(test())


@pytest.mark.slow
def test_the_same_requests_find_them_for_their_own_tenant(theirs: Theirs) -> None:
    """So the ids are real, and 404 above is an answer about the tenant."""

    async def test() -> None:
        async with client(theirs.store, "admin") as asked:
            for path in (
                "cases/{id}",
                "commands/{number}",
                "webhooks/{id}",
                "customers/{customer}",
                "cases/{id}/notices",
            ):
                answer = await asked.get(about(f"/v1/{path}", theirs.ids))
                assert answer.status_code == 200, (path, answer.text)

    asyncio.run(test())


def test_lists_are_empty_and_sums_are_nothing(theirs: Theirs) -> None:
    async def test() -> None:
        with open_store(theirs.store.path, tenant="stranger") as store:
            application = app(store)
            async with client(store, "admin", application=application) as asked:
                for policy in policies(application):
                    if policy.methods != {"GET"} or "{" in policy.path or not policy.path.startswith("/v1/"):
                        continue
                    if policy.allowed == PUBLIC or policy.path in ("/v1/feed/stream", "/v1/openapi.json"):
                        continue
                    answer = await asked.get(policy.path)
                    assert answer.status_code == 200, (policy.path, answer.text)
                    found = [name for name, value in theirs.ids.items() if len(value) > 3 and value in answer.text]
                    assert found == [], policy.path

    asyncio.run(test())
