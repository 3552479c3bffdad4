"""What a page says an approval would send is what the approval sends, however those who wait came to wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from detector.desk.records import Case, Decision, Kind
from streams.clock import SystemClock
from streams.engines.session import Run, session
from streams.settings import Settings, load
from streams.store import Store, open_store, queries
from streams.store import tables as t
from streams.store.tokens import Scope
from streams.web.console.views.acts import Telling, telling
from tests.servers import web
from tests.servers.asking import asking
from tests.servers.browser import MINUTE_MS, payments
from tests.servers.service import configured

pytestmark = pytest.mark.slow

CUSTOMERS = 1_200
SETTINGS = """
customers: customers.csv
input: {lateness: 10s}
notices: {send: true, channels: [email], quiet_hours: none, language: en, approval: [low, medium, high, critical]}
channels:
  email: {by: log}
"""


@contextmanager
def waiting(folder: Path, second: int = 0) -> Iterator[tuple[Store, Settings, Case]]:
    """Give a store with one case that waits for a person, of events up to this second of a minute a while ago."""
    config = configured(folder / "shop", SETTINGS)
    rows = [f"C-{i},Name {i},en,Asia/Jakarta,c{i}@mail.example,,email" for i in range(CUSTOMERS)]
    text = "\n".join(["id,name,language,time_zone,email,phone,consent", *rows, ""])
    (config / "customers.csv").write_text(text, encoding="utf-8")
    now_ms = (SystemClock().now_ms() // MINUTE_MS - 80) * MINUTE_MS + second * 1_000
    events = payments({"BNI": 0.9}, ago=3, customers=CUSTOMERS, now_ms=now_ms)
    later = payments({}, history=1, per_minute=1, prefix="last", now_ms=now_ms)  # moves the time on
    (folder / "events.ndjson").write_bytes(events + b"\n" + later + b"\n")
    settings = load(config)
    with session(folder / "shop.db", Run.of(settings), SystemClock(), mode="recording") as run:
        run.read([str(folder / "events.ndjson")])
    with open_store(folder / "shop.db") as store:
        (case,) = queries.list_cases(store)
        yield store, settings, case


def said(store: Store, settings: Settings, case: Case) -> Telling:
    return telling(store, case, settings.config.policy, SystemClock().now_ms())


# At second 36 and 37 what came after makes it unlikely that the problem hit one who waits.
@pytest.mark.parametrize("second", [0, 17, 36, 37, 55])
def test_as_many_are_told_as_the_page_says_before(second: int, tmp_path: Path) -> None:
    with waiting(tmp_path, second) as (store, settings, case):
        before = said(store, settings, case)
        with asking(store, Scope.OPERATE, web.app(store, settings=settings)) as ask:
            ask.post(f"/v1/cases/{case.id}/approve")
        decided = [n for n in queries.notices(store, case.id) if n.kind is Kind.PROBLEM]
        told = sum(n.decision is Decision.SEND for n in decided)
        assert before.by_channel == (("email", told),)
        assert (before.waiting - before.over, before.nobody) == (told, 0)
        assert before.over > 0, "some got through since"


def test_who_is_unlikely_to_have_been_hit_is_not_counted_among_those_it_would_tell(tmp_path: Path) -> None:
    with waiting(tmp_path) as (store, settings, case):
        before = said(store, settings, case)
        row, waits = t.ledger.c, sa.select(t.notices.c.customer).where(t.notices.c.state == "held")
        some = sa.select(row.customer).where(row.customer.in_(waits), row.state != "recovered").limit(3)
        with store.transaction() as connection:
            connection.execute(sa.update(t.ledger).where(row.customer.in_(some)).values(probability=0.4999))
        after = said(store, settings, case)
        assert (after.waiting, after.over) == (before.waiting, before.over + 3)
        assert dict(after.by_channel)["email"] == dict(before.by_channel)["email"] - 3
