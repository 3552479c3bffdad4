"""`tocsin budget`: how many false cases are put up with, how many there were, and what the thresholds are by now."""

from typing import TYPE_CHECKING, Any

import click

from detector.errors import UsageError
from streams.cli import common
from streams.cli.common import json_option, option, store_option

if TYPE_CHECKING:
    from detector.config import Config
    from detector.watch.budget import Level, Operating
    from streams.store.spending import Period, Spending


@common.command(
    example="tocsin budget\ntocsin budget --db shop.db --json\ntocsin budget --prometheus > tocsin.prom",
    exits={common.NO: "", common.INTERRUPTED: ""},
)
@option("--periods", type=click.IntRange(1, 520), default=8, metavar="N", help="Show so many weeks (days, hours).")
@option("--prometheus", is_flag=True, help="Print the metrics as text for Prometheus instead.")
@store_option
@json_option
def command(periods: int, prometheus: bool, db: str, as_json: bool) -> None:
    """Show the budget of false cases: as it is set, what was spent of it, and the thresholds that follow.

    Spent is what people judged not-a-problem. A signal raises a case where its evidence passes the threshold in nats.
    """
    from streams.clock import SystemClock
    from streams.engines.facts import now_of
    from streams.engines.metering import metrics_of
    from streams.engines.operating import in_force, operating_points
    from streams.store.spending import spending

    if prometheus and as_json:
        message = "--prometheus and --json: expected one of them, found both"
        raise UsageError(message)
    with common.open_store(db) as store:
        config = in_force(store)
        if config is None:
            message = f"{store.where}: has seen no events yet, so no threshold is known; run `tocsin replay` first"
            raise UsageError(message)
        now_ms = now_of(store, SystemClock())
        if prometheus:
            click.echo(metrics_of(store, config, now_ms).exposition(), nl=False)
            return
        spent, points = spending(store, config, now_ms, periods), operating_points(store)
        if as_json:
            common.print_json(_document(config, spent, points, now_ms))
        else:
            _print(config, spent, points)


# --- for machines -----------------------------------------------------------------------------------------------------


def _document(
    config: "Config", spent: "list[Spending]", points: "tuple[Operating, ...]", now_ms: int
) -> dict[str, Any]:
    return {
        "at": common.utc(now_ms),
        "budgets": [_budget_document(budget) for budget in spent],
        "signals": [_signal_document(config, point) for point in points],
    }


def _budget_document(spent: "Spending") -> dict[str, Any]:
    over = spent.periods[1:]
    return {
        "of": spent.of,
        "signals": list(spent.signals),
        "budget": spent.budget.words,
        "cases": spent.budget.cases,
        "per_s": spent.budget.per_ms // 1_000,
        "spent": spent.spent,
        "kept": spent.periods[0].kept,
        "kept_before": sum(period.kept for period in over),
        "periods_before": len(over),
        "periods": [_period_document(period) for period in spent.periods],
    }


def _period_document(period: "Period") -> dict[str, Any]:
    return {
        "from": common.utc(period.from_ms),
        "until": common.utc(period.until_ms),
        "cases": period.cases,
        "not_a_problem": period.false,
        "unjudged": period.unjudged,
        "kept": period.kept,
    }


def _signal_document(config: "Config", point: "Operating") -> dict[str, Any]:
    return {
        "signal": point.signal,
        "mode": config.signal(point.signal).mode.value,
        "budget": _words(point),
        "own_budget": config.signal(point.signal).budget is not None,
        "shared_by": point.divisor,
        "aimed_at": round(point.mean, 6),
        "shift_nats": point.shift_nats,
        "known_s": point.hours * 3_600,
        "levels": [_level_document(level) for level in point.levels],
    }


def _level_document(level: "Level") -> dict[str, Any]:
    from streams.metrics import level_name

    return {
        "level": level_name(level.level),
        "segments": level.segments,
        "threshold_nats": level.threshold_nats,
        "source": level.source,
        "noise": level.noise,
    }


# --- for people -------------------------------------------------------------------------------------------------------


def _print(config: "Config", spent: "list[Spending]", points: "tuple[Operating, ...]") -> None:
    for budget in spent:
        _print_budget(budget)
    click.echo("Thresholds: the evidence (in nats) from which a segment raises a case")
    for point in points:
        _print_signal(config, point)


def _print_budget(spent: "Spending") -> None:
    what = {"live": "Live signals", "shadow": "Shadow signals"}.get(spent.of, f"Signal {spent.of}")
    names = "" if spent.of in spent.signals else f" ({', '.join(spent.signals)})"
    click.echo(common.plain(f"{what}{names}: {spent.budget.words}"))
    over, unjudged = spent.periods[1:], sum(period.unjudged for period in spent.periods)
    unit = _unit(spent.budget.per_ms)
    verdict = "kept so far" if spent.periods[0].kept else "exceeded"
    click.echo(f"  This {unit} {spent.spent} of {spent.budget.cases} spent: {verdict}.", nl=False)
    if over:
        click.echo(f" Kept in {sum(p.kept for p in over)} of the {len(over)} {unit}s before.", nl=False)
    click.echo("" if not unjudged else f" {unjudged} {'case has' if unjudged == 1 else 'cases have'} no verdict yet.")
    rows = [
        (
            _day(period.from_ms, spent.budget.per_ms),
            period.cases,
            period.false,
            period.unjudged,
            "yes" if period.kept else "no",
        )
        for period in spent.periods
    ]
    columns = (f"{unit} from (UTC)", "cases", "not a problem", "no verdict", "kept")
    common.print_table(columns, rows, right=columns[1:4])


def _print_signal(config: "Config", point: "Operating") -> None:
    from streams.metrics import level_name

    signal = config.signal(point.signal)
    share = (
        "its own" if signal.budget is not None else "all of it" if point.divisor == 1 else f"1/{point.divisor} of it"
    )
    click.echo()
    click.echo(common.plain(f"{point.signal} ({signal.mode.value}): {_words(point)}, {share}"))
    click.echo(f"  {_known(point)}")
    columns = ("segments that fix", "searched", "threshold", "wandering", "comes from")
    whats = {"whole": "nothing (all together)", "value": "one value", "pair": "a pair of values"}
    rows = [
        (
            whats.get(name := level_name(level.level), name),
            f"{level.segments:,}",
            f"{level.threshold_nats:.1f}",
            f"{level.noise:.0%}",
            _source(level, point),
        )
        for level in point.levels
        if level.segments
    ]
    common.print_table(columns, rows, right=columns[1:4])


def _known(point: "Operating") -> str:
    """Return what the thresholds know, and what verdicts did."""
    known = common.duration(point.hours * 3_600)
    text = f"knows {known} of its own past" if point.hours else "knows nothing of its own past yet"
    if abs(point.shift_nats) < 0.05:
        return f"{text}; verdicts have moved nothing"
    return f"{text}; verdicts have moved the thresholds by {point.shift_nats:+.1f}"


def _source(level: "Level", point: "Operating") -> str:
    source = level.source if level.source == "theory" else f"{level.source} of {common.duration(point.hours * 3_600)}"
    shift = f", {point.shift_nats:+.1f} by verdicts" if abs(point.shift_nats) >= 0.05 else ""
    return f"{source}{shift}"


def _words(point: "Operating") -> str:
    from detector.config import Budget

    return Budget(cases=point.cases, per_ms=point.per_ms).words


def _unit(per_ms: int) -> str:
    from detector.budgets import BUDGET_PERIODS

    return next((word for word, ms in BUDGET_PERIODS.items() if ms == per_ms), "period")


def _day(at_ms: int, per_ms: int) -> str:
    from detector.config import DAY_MS
    from detector.desk.zones import local

    here = local(at_ms, "UTC")
    return f"{here.day} {here:%b}" if per_ms >= DAY_MS else f"{here.day} {here:%b %H:%M}"
