"""Cases as the Desk writes them, made by hand: for what reads them out of a store."""

import msgspec

from detector.desk.records import Affected, Case, CaseState, DeskEffects, NoticeCounts
from detector.pipeline import Effects
from detector.signals import Mode, Severity
from detector.watch.anomaly import Cause
from streams.store import Store

T0 = 1_772_416_800_000
"""Monday 2026-03-02, 09:00 WIB."""


def case(number: int, **changes: object) -> Case:
    """Return an open live case, the third of its customers still failing."""
    base = Case(
        tenant="default",
        id=f"{number:012x}",
        mode=Mode.LIVE,
        title={"en": f"Payments are declined · bank B{number}", "id": f"Pembayaran ditolak · bank B{number}"},
        state=CaseState.OPEN,
        severity=Severity.HIGH,
        signals=("payment-declines",),
        anomalies=(f"{number:012x}",),
        onset_ms=T0 + number * 1_000,
        detected_ms=T0 + 60_000,
        opened_ms=T0 + 60_000 + number,
        causes=(Cause({"bank": f"B{number}"}, 1.0),),
        affected=Affected(confirmed=3 * number, likely=number, still_failing=number),
        notices=NoticeCounts(told=2 * number),
    )
    return msgspec.structs.replace(base, **changes)


def written(store: Store, *cases: Case) -> None:
    """Write cases as a commit of the Desk does."""
    store.commit(Effects(desk=DeskEffects(cases=list(cases))))
