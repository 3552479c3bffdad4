"""Cases, customers and notices for tests of the feed."""

from pathlib import Path
from typing import Any

import msgspec

from detector.decode.customers import customer_key
from detector.desk.records import (
    Affected,
    Case,
    CaseState,
    CustomerState,
    Decision,
    DeskEffects,
    Grade,
    Kind,
    LedgerRow,
    Notice,
    NoticeState,
)
from detector.pipeline import Effects
from detector.signals import Mode, Severity
from detector.watch.anomaly import Cause
from streams.feeds.log import bounds
from streams.store import LIVE, Commit, Store
from streams.store.feedtypes import TYPES
from tests.servers.stores import new_store

NOW_MS = 1_772_416_800_000


def live_store(path: Path, key: bytes | None = None) -> Store:
    store = new_store(path, tenant="default", customer_key=key)
    store.claim_mode(LIVE)
    return store


def a_case(id: str = "case-1", **changes: Any) -> Case:
    case = Case(
        tenant="default",
        id=id,
        mode=Mode.LIVE,
        title={"en": "Logins fail at BNI", "id": "Login gagal di BNI"},
        state=CaseState.OPEN,
        severity=Severity.HIGH,
        signals=("login",),
        anomalies=("a1",),
        onset_ms=NOW_MS - 600_000,
        detected_ms=NOW_MS - 60_000,
        opened_ms=NOW_MS,
        causes=(Cause({"bank": "BNI"}, 0.9, 0.8),),
        affected=Affected(confirmed=1, still_failing=1),
    )
    return msgspec.structs.replace(case, **changes)


def a_row(customer: int, case: str = "case-1", **changes: Any) -> LedgerRow:
    row = LedgerRow(
        tenant="default",
        case=case,
        customer=customer,
        grade=Grade.CONFIRMED,
        state=CustomerState.STILL_FAILING,
        probability=0.98,
        first_failure_ms=NOW_MS - 500_000,
        last_failure_ms=NOW_MS - 100_000,
        tries=3,
    )
    return msgspec.structs.replace(row, **changes)


def a_notice(customer: int, state: NoticeState, case: str = "case-1", id: str = "n1", reason: str = "") -> Notice:
    return Notice(
        tenant="default",
        id=id,
        case=case,
        customer=customer,
        kind=Kind.PROBLEM,
        episode=1,
        decision=Decision.SEND,
        state=state,
        reason=reason,
        until_ms=None,
        at_ms=NOW_MS,
        channel="email",
        language="en",
        time_zone="Asia/Jakarta",
        signal="login",
        cause={"bank": "BNI"},
        when_ms=NOW_MS - 500_000,
        stale_ms=NOW_MS + 600_000,
    )


def commit(store: Store, *things: Case | LedgerRow | Notice, at_ms: int = NOW_MS) -> None:
    """Commit these rows as one step, in this order."""
    store.commit(Effects(desk=effects(*things)), Commit(at_ms=at_ms))


def effects(*things: Case | LedgerRow | Notice) -> DeskEffects:
    desk = DeskEffects()
    for thing in things:
        if isinstance(thing, Case):
            desk.cases.append(thing)
        elif isinstance(thing, LedgerRow):
            desk.ledger.append(thing)
        else:
            desk.notices.append(thing)
    return desk


def customer(store: Store, id: str) -> int:
    """Return a customer's hash, whom the store has seen from now on."""
    key = customer_key(store.customer_key, id)
    store.commit(Effects(customers={key: id}), Commit())
    return key


def fill(store: Store, n: int, *, at_ms: int = NOW_MS) -> None:
    """Write `n` events: cases that are opened."""
    _, before = bounds(store)
    commit(store, *(a_case(f"case-{before + i + 1}") for i in range(n)), at_ms=at_ms)


def names() -> list[str]:
    return [kind.name for kind in TYPES]
