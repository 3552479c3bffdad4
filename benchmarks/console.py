"""How long the console's pages take with a full store, as ratios to an almost empty one asked in the same run.

    python benchmarks/console.py [--cases 10000] [--affected 1000000] [--large 100000] [--rounds 15] [--json]

Two stores with the same configuration: one with a single open case of as many customers as fill a page, one with
`--cases` open cases and `--affected` customers among them, of whom one case has `--large`. Each customer has a row in
the directory, one in the ledger and a decided notice. Each round asks for every page in both stores, in turn, through
the whole application (guard, token, queries, template); a page's ratio is the median over rounds of its time in the
full store by that in the small one. The goal is 200 ms a page, ratios say whether it would still hold elsewhere.
"""

import argparse
import asyncio
import collections
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from detector.desk.records import (
    Affected,
    Approval,
    Case,
    CaseState,
    Check,
    CustomerState,
    Decision,
    EvidencePoint,
    Grade,
    Kind,
    LedgerRow,
    Notice,
    NoticeCounts,
    NoticeState,
    TimelineEntry,
)
from detector.signals import Mode, Severity
from detector.watch.anomaly import Cause, Point, Why
from detector.watch.explanation import Account, Counted
from streams.clock import SystemClock
from streams.settings import defaults_directory, load
from streams.store import LIVE, Store, open_store, rows, tokens
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.tokens import Scope
from streams.web.app import create_app
from streams.web.context import Web

T0 = 1_772_416_800_000
MINUTE_MS = 60_000
SMALL = 100
"""Customers of an ordinary case: more than fill a page."""
GOAL_MS = 200.0
BATCH = 20_000
RULES = ("mode", "membership", "case", "confirmation", "directory", "consent", "history", "recovery", "contact")
RULES_AFTER = ("freshness", "approval", "holdout", "frequency", "quiet")


def case(number: int, customers: int) -> Case:
    """An open case of so many customers, of whom half wait for a person."""
    id, cause = f"{number:012x}", Cause({"bank": f"B{number}"}, 0.9, 0.95)
    why = Why(40.0, 15.0, "1 false case per week", 300, 0.1, segment=cause.where)
    return Case(
        tenant="default",
        id=id,
        mode=Mode.LIVE,
        title={"en": f"Payments are declined · bank B{number}", "id": f"Pembayaran ditolak · bank B{number}"},
        state=CaseState.OPEN,
        severity=tuple(Severity)[number % 4],
        signals=("payment-declines",),
        anomalies=(id,),
        onset_ms=T0 + number * 1_000,
        detected_ms=T0 + number * 1_000 + 4 * MINUTE_MS,
        opened_ms=T0 + number * 1_000 + 4 * MINUTE_MS,
        causes=(cause,),
        observed=customers,
        expected=3.0,
        affected=Affected(confirmed=customers, still_failing=customers // 3, recovered=customers // 4),
        notices=NoticeCounts(sent=customers // 2, held=customers - customers // 2, told=customers // 2),
        contacts=customers // 50,
        approval=Approval.SAMPLE,
        accounts=(
            Account(
                signal="payment-declines",
                anomaly=id,
                counted=Counted.FAILED,
                causes=(cause,),
                observed=customers,
                expected=3.0,
                trials=3 * customers,
                why=why,
            ),
        ),
    )


def ledger(of: Case, customer: int) -> LedgerRow:
    first_ms = of.onset_ms + customer % 600 * 1_000
    state = (CustomerState.STILL_FAILING, CustomerState.HIT, CustomerState.RECOVERED, CustomerState.HIT)[customer % 4]
    return LedgerRow(
        tenant="default",
        case=of.id,
        customer=customer,
        grade=Grade.CONFIRMED,
        state=state,
        probability=0.97,
        first_failure_ms=first_ms,
        last_failure_ms=first_ms + customer % 3 * MINUTE_MS,
        tries=1 + customer % 3,
        last_success_ms=first_ms + 10 * MINUTE_MS if state is CustomerState.RECOVERED else None,
        contact_ms=first_ms if customer % 50 == 0 else None,
    )


def notice(of: Case, customer: int) -> Notice:
    told = customer % 2 == 0
    checks = tuple(Check(rule, Decision.SEND, "") for rule in (*RULES, *RULES_AFTER))
    return Notice(
        tenant="default",
        id=f"{of.id}-{customer}",
        case=of.id,
        customer=customer,
        kind=Kind.PROBLEM,
        episode=1,
        decision=Decision.SEND if told else Decision.HOLD,
        state=NoticeState.SENT if told else NoticeState.HELD,
        reason="" if told else "needs-approval",
        until_ms=None,
        at_ms=of.opened_ms,
        channel=("whatsapp", "email")[customer % 3 == 0],
        language="id",
        time_zone="Asia/Jakarta",
        signal="payment-declines",
        cause=of.causes[0].where,
        when_ms=of.onset_ms,
        stale_ms=of.onset_ms + 6 * 60 * MINUTE_MS,
        checks=checks,
    )


def customer_row(key: int) -> rows.Row:
    return {
        "tenant": "default",
        "key": key,
        "id": f"C-{key}",
        "name": f"Name {key}",
        "language": "id",
        "time_zone": "Asia/Jakarta",
        "email": f"c{key}@shop.example",
        "phone": f"+62811{key:08d}",
        "consent": "whatsapp email",
        "tier": "gold",
        "contract_value_milli": 1_000 * key,
        "known": 1,
    }


def story(of: Case) -> Iterator[TimelineEntry]:
    for seq, what in enumerate(("opened", *["notices"] * 60, "first-contact"), 1):
        detail = "told 3, held 2" if what == "notices" else ""
        yield TimelineEntry(
            tenant="default", case=of.id, seq=seq, n=0, at_ms=of.opened_ms + seq * MINUTE_MS, what=what, detail=detail
        )


def evidence(of: Case) -> Iterator[EvidencePoint]:
    for minute in range(180):
        point = Point(T0 + minute * MINUTE_MS, minute % 30, 2.0, 100, 0.0, 5.0)
        yield EvidencePoint(tenant="default", case=of.id, signal="payment-declines", point=point)


def fill(store: Store, sizes: list[int], shown: bool) -> None:
    """Write cases of these sizes; every customer is in one case."""
    store.claim_mode(LIVE)
    key = 1
    waiting: list[tuple[Case, int, int]] = []
    for number, size in progress(list(enumerate(sizes, 1)), "filling", disable=not shown, console=Console(stderr=True)):
        waiting.append((case(number, size), key, size))
        key += size
        if sum(n for _, _, n in waiting) >= BATCH or number == len(sizes):
            _write(store, waiting)
            waiting = []


def _write(store: Store, some: list[tuple[Case, int, int]]) -> None:
    with store.transaction() as connection:
        rows.put(connection, t.cases, [rows.case_row(of) for of, _, _ in some])
        rows.put(connection, t.timeline, [rows.timeline_row(e) for of, _, _ in some for e in story(of)])
        rows.put(connection, t.evidence, [rows.evidence_row(e) for of, _, _ in some for e in evidence(of)])
        rows.put(connection, t.customer, [customer_row(k) for _, first, n in some for k in range(first, first + n)])
        entries = [rows.ledger_row(ledger(of, k)) for of, first, n in some for k in range(first, first + n)]
        rows.put(connection, t.ledger, entries)
        notices: list[rows.Row] = []
        for of, first, n in some:
            model = rows.notice_row(notice(of, 0)), rows.notice_row(notice(of, 1))
            for k in range(first, first + n):
                found = model[k % 2] | {"id": f"{of.id}-{k}", "customer": k}
                notices.append(found | {"channel": "email" if k % 3 == 0 else "whatsapp"})
        rows.put(connection, t.notices, notices)


def pages(cases: int, *, full: bool) -> dict[str, str]:
    """The pages that are asked: name → address in the full store, or the like of it in the small one."""
    large, usual = f"/cases/{1:012x}", f"/cases/{(cases if full else 1):012x}"
    return {
        "inbox": "/",
        "inbox, by severity": "/?sort=-severity",
        "inbox, searched": f"/?q=b{cases if full else 1}",
        "case of 100 customers": usual,
        "case of many": large,
        "… those told": f"{large}?who=told",
        "… those not told": f"{large}?who=untold",
        "… those who called": f"{large}?who=called",
        "… still failing": f"{large}?who=still_failing",
        "… asked before telling all": f"{large}?do=approve",
        "… its chart": f"{large}/chart.svg",
    }


ASKED_ONCE = ("… asked before telling all",)
"""Counts every waiting customer before a person decides: allowed to take longer than a page."""


async def measure(small: Store, full: Store, cases: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each page by store."""
    took: dict[str, dict[str, list[float]]] = collections.defaultdict(lambda: {"small": [], "full": []})
    clock, settings = SystemClock(), load(defaults_directory())
    async with AsyncExitStack() as stack:
        clients: dict[str, httpx.AsyncClient] = {}
        for name, store in (("small", small), ("full", full)):
            app = create_app(Web(settings, store, CustomerDirectory(store), clock))
            await stack.enter_async_context(app.router.lifespan_context(app))
            token = tokens.create(store, Scope.OPERATE, "benchmark", "cli:benchmark", clock.now_ms())[1]
            headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
            transport = httpx.ASGITransport(app=app)
            client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8321", headers=headers)
            clients[name] = await stack.enter_async_context(client)
        addresses = {name: pages(cases, full=name == "full") for name in clients}
        for number in range(rounds + 1):  # the first one warms up
            for page in addresses["full"]:
                for name in ("small", "full") if number % 2 else ("full", "small"):
                    start = time.perf_counter()
                    answer = await clients[name].get(addresses[name][page])
                    ms = (time.perf_counter() - start) * 1_000
                    assert answer.status_code == 200, (page, answer.status_code, answer.text[:300])
                    if number:
                        took[page][name].append(ms)
    return took


def sizes_of(cases: int, affected: int, large: int) -> list[int]:
    """How many customers each case has: the first is the large one."""
    rest = (affected - large) // max(cases - 1, 1)
    return [large, *[rest] * (cases - 2), SMALL]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cases", type=int, default=10_000)
    arguments.add_argument("--affected", type=int, default=1_000_000)
    arguments.add_argument("--large", type=int, default=100_000, help="customers of the largest case")
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--store", help="keep the full store in this file, and use it again")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(given.store) if given.store else Path(folder) / "full.db"
        fresh = not kept.exists()
        with (
            open_store(Path(folder) / "small.db", create=True) as small,
            open_store(kept, create=True) as full,
        ):
            fill(small, [SMALL], shown=False)
            if fresh:
                fill(full, sizes_of(given.cases, given.affected, given.large), shown=sys.stderr.isatty())
            took = asyncio.run(measure(small, full, given.cases, given.rounds))
    result = [
        {
            "page": page,
            "ms": round(statistics.median(of["full"]), 1),
            "worst_ms": round(max(of["full"]), 1),
            "small_ms": round(statistics.median(of["small"]), 1),
            "ratio": round(statistics.median(f / s for f, s in zip(of["full"], of["small"], strict=True)), 2),
            "goal_ms": None if page in ASKED_ONCE else GOAL_MS,
        }
        for page, of in took.items()
    ]
    if given.json:
        print(json.dumps({"cases": given.cases, "affected": given.affected, "rounds": given.rounds, "pages": result}))
        return
    table = Table(title=f"{given.cases:,} open cases, {given.affected:,} affected customers, {given.rounds} rounds")
    for column in ("", "full store", "worst", "almost empty", "ratio", "goal"):
        table.add_column(column, justify="left" if column == "" else "right")
    for row in result:
        goal = "" if row["goal_ms"] is None else f"≤ {row['goal_ms']:.0f} ms"
        table.add_row(
            str(row["page"]),
            f"{row['ms']} ms",
            f"{row['worst_ms']} ms",
            f"{row['small_ms']} ms",
            f"{row['ratio']}×",
            goal,
        )
    Console().print(table)


if __name__ == "__main__":
    main()
