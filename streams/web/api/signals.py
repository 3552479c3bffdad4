"""What is watched, under which budget, and how far the stream has come."""

from typing import Any

from fastapi import APIRouter, Request

from detector.fields import duration_text
from detector.signals import Measure, Mode, Severity, Signal
from streams.store import queries
from streams.store.documents import rfc3339
from streams.store.standing import standing
from streams.web.access import Read
from streams.web.api.kinds import Shown, Time, described, show
from streams.web.api.route import ApiRoute
from streams.web.api.sending import WORK
from streams.web.context import web_of

router = APIRouter(tags=["signals"], route_class=ApiRoute)


class LevelShown(Shown):
    level: int = described("Dimensions that its segments fix.")
    segments: int
    threshold_nats: float
    source: str = described("`theory`, or the stream's `own peaks`.")
    noise: float


class OperatingShown(Shown):
    mean: float = described("False cases in the budget's period that this signal may have on average.")
    hours: int = described("Hours of its own past that the thresholds know.")
    shift_nats: float = described("What the verdicts have moved the thresholds by.")
    levels: list[LevelShown]


class SignalShown(Shown):
    name: str
    titles: dict[str, str]
    mode: Mode
    severity: Severity
    measure: Measure
    dimensions: list[str]
    window: str
    unfinished: int = described("Cases of it that are not finished.")
    operating: OperatingShown | None = described("Its thresholds, as the engines said last; null: they have not yet.")


class BudgetShown(Shown):
    cases: int
    per: str


class SignalList(Shown):
    items: list[SignalShown]
    budget: BudgetShown = described("So many false cases are put up with.")
    last_window: Time | None = described("The end of the last closed window that had an event.")
    seen_at: Time | None = described("When the engines said so last; null: they have not yet.")


@router.get("/v1/signals", operation_id="listSignals", summary="What is watched")
def list_signals(request: Request, principal: Read) -> SignalList:
    """List the signals of the configuration in force."""
    web = web_of(request)
    config = web.config
    work = next((p for p in standing(web.store, web.clock.now_ms()).processes if p.name == WORK), None)
    says = {} if work is None else {found["signal"]: found for found in work.body.get("operating", ())}
    newest = queries.newest_window(web.store)
    return show(
        SignalList,
        items=[_document(s, says.get(s.name), queries.unfinished_of(web.store, s.name)) for s in config.signals],
        budget={"cases": config.budget.cases, "per": duration_text(config.budget.per_ms)},
        last_window=None if newest is None else rfc3339(newest.window_ms + newest.width_ms),
        seen_at=None if work is None else rfc3339(work.at_ms),
    )


def _document(signal: Signal, operating: Any, unfinished: int) -> dict[str, Any]:
    return {
        "name": signal.name,
        "titles": dict(signal.title),
        "mode": signal.mode,
        "severity": signal.severity,
        "measure": signal.measure,
        "dimensions": list(signal.dimensions),
        "window": duration_text(signal.window_ms),
        "unfinished": unfinished,
        "operating": operating,
    }
