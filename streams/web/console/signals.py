"""The signals page: what we are watching, how well, at what price in false cases.

Addresses: `csv` (`signals`, `budgets`) gives a table as a file; each signal has its own anchor (`#signal-NAME`).
"""

from fastapi import APIRouter, Request, Response

from detector.config import DAY_MS, HOUR_MS, WEEK_MS
from streams.store.documents import rfc3339
from streams.web.access import Read
from streams.web.console.base import page, viewer_for
from streams.web.console.sheet import csv_file
from streams.web.console.views import signals as views
from streams.web.context import web_of

router = APIRouter(include_in_schema=False)

_PERIODS = {HOUR_MS: "hour", DAY_MS: "day", WEEK_MS: "week"}


@router.get("/signals")
def signals(request: Request, principal: Read) -> Response:
    """Show what is watched."""
    web, viewer = web_of(request), viewer_for(request)
    config = web.config
    found = views.signals(web.store, config, viewer.now_ms, viewer.language)
    wanted = request.query_params.get("csv", "")
    if wanted == "signals":
        return _signals_file(found)
    if wanted == "budgets":
        return _budgets_file(found)
    return page(
        request,
        "signals.html",
        section="signals",
        viewer=viewer,
        found=found,
        live=sum(signal.mode == "live" for signal in found.watched),
        periods=_PERIODS,
        spark_windows=views.SPARK,
    )


def _signals_file(found: views.Signals) -> Response:
    header = ("signal", "mode", "severity", "measure", "window", "counted_a_minute", "bad_share", "last_event")
    rows = [
        (
            *(s.name, s.mode, s.severity, s.measure, s.window, round(s.a_minute, 2)),
            *(None if s.bad_share is None else round(s.bad_share, 4), rfc3339(s.last_ms), s.unfinished, s.budget),
            "; ".join(f"{case.id} {case.state} {case.verdict}".strip() for case in s.cases),
        )
        for s in found.watched
    ]
    return csv_file("signals", (*header, "unfinished_cases", "budget", "last_cases"), rows)


def _budgets_file(found: views.Signals) -> Response:
    rows = [
        (b.of, rfc3339(p.from_ms), rfc3339(p.until_ms), p.cases, p.false, p.unjudged, p.limit)
        for b in found.budgets
        for p in b.periods
    ]
    return csv_file("budgets", ("budget", "from", "until", "cases", "false", "without_verdict", "allowed"), rows)
