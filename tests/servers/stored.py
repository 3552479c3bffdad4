"""Small values for a store: a case, who it hit, what was decided, a window, and all that one step may bring."""

from collections import Counter

import numpy as np

from detector.counter.record import SignalWindow, WindowRecord, no_ints
from detector.desk.records import (
    Affected,
    Case,
    CaseState,
    Check,
    CustomerState,
    Decision,
    DeskEffects,
    EvidencePoint,
    Grade,
    Kind,
    LedgerRow,
    LogRecord,
    Notice,
    NoticeState,
    TimelineEntry,
    WindowClosed,
)
from detector.events import Invalid
from detector.pipeline import Effects
from detector.signals import Mode, Severity
from detector.watch.anomaly import Cause, Point


def a_case(**changes: object) -> Case:
    values: dict[str, object] = {
        "tenant": "default",
        "id": "c0ffee",
        "mode": Mode.LIVE,
        "title": {"en": "Logins fail", "id": "Login gagal"},
        "state": CaseState.OPEN,
        "severity": Severity.HIGH,
        "signals": ("login",),
        "anomalies": ("c0ffee",),
        "onset_ms": 60_000,
        "detected_ms": 180_000,
        "opened_ms": 180_000,
        "causes": (Cause({"bank": "BNI"}, 0.97),),
        "expected": 0.1 + 0.2,
        "affected": Affected(confirmed=1, likely=2),
    }
    return Case(**{**values, **changes})  # type: ignore[arg-type]


def a_row(customer: int = 7, **changes: object) -> LedgerRow:
    values: dict[str, object] = {
        "tenant": "default",
        "case": "c0ffee",
        "customer": customer,
        "grade": Grade.LIKELY,
        "state": CustomerState.HIT,
        "probability": 0.25,
        "first_failure_ms": 61_000,
        "last_failure_ms": 62_000,
        "tries": 2,
    }
    return LedgerRow(**{**values, **changes})  # type: ignore[arg-type]


def a_notice(**changes: object) -> Notice:
    values: dict[str, object] = {
        "tenant": "default",
        "id": "n1",
        "case": "c0ffee",
        "customer": 7,
        "kind": Kind.PROBLEM,
        "episode": 1,
        "decision": Decision.SEND,
        "state": NoticeState.SIMULATED,
        "reason": "",
        "until_ms": None,
        "at_ms": 190_000,
        "channel": "whatsapp",
        "language": "id",
        "time_zone": "Asia/Jakarta",
        "signal": "login",
        "cause": {"bank": "BNI"},
        "when_ms": 61_000,
        "stale_ms": 999_000,
        "checks": (Check("consent", Decision.SEND, ""),),
    }
    return Notice(**{**values, **changes})  # type: ignore[arg-type]


def a_window(window_ms: int, partition: int = 0) -> WindowRecord:
    one = np.array([3], np.int64)
    signal = SignalWindow(
        cells=[("BNI",)],
        people=one,
        total=one,
        attempts=one,
        bad_customer=one * 2**60,
        bad_cell=one * 0,
        bad_time_ms=one,
        back_customer=no_ints(),
        back_cell=no_ints(),
        back_time_ms=no_ints(),
    )
    return WindowRecord(
        tenant="default",
        partition=partition,
        window_ms=window_ms,
        width_ms=60_000,
        signals={"login": signal},
        contact_customer=no_ints(),
        contact_time_ms=no_ints(),
        contact_channel=[],
        events=3,
    )


def some_effects() -> Effects:
    point = EvidencePoint(tenant="default", case="c0ffee", signal="login", point=Point(60_000, 9, 1.5, 30, 0.5, 3.5))
    entry = TimelineEntry(tenant="default", case="c0ffee", seq=1, n=0, at_ms=180_000, what="opened", detail="BNI")
    return Effects(
        records=6,
        applied=3,
        dropped=Counter({"late": 2}),
        invalid=[Invalid(17, "not-json", "$", 9, b"{nonsense")],
        windows=[a_window(60_000), a_window(0)],
        closed=2,
        customers={7: "cust-7"},
        log=[LogRecord(tenant="default", seq=1, at_ms=180_000, payload=WindowClosed(60_000, 60_000))],
        desk=DeskEffects([a_case()], [a_row()], [a_notice()], [entry], [point]),
    )
