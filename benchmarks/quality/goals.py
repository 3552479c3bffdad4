"""The goals of detection quality and of its speed: what is wanted of which figure of which report."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.quality.figures import number
from benchmarks.quality.report import Report, Row

COUNTED = r"noise × 1\.0, budget 1 a week, share$"
SCALES = (10, 300, 5_000, 50_000)


@dataclass(frozen=True)
class Reached:
    """A figure as it is shown, whether it is good enough, and the report that it is from."""

    shown: str
    met: bool
    source: str


Ask = Callable[[list[Report]], Reached | None]
"""None: not measured yet."""


@dataclass(frozen=True)
class Goal:
    """What is wanted, in words; every `ask` must be met. None: no benchmark measures it yet."""

    what: str
    goal: str
    asks: tuple[Ask, ...] = ()


def rows_of(reports: list[Report], benchmark: str, title: str) -> Iterator[tuple[Report, str, Row]]:
    """Yield the rows of all tables whose title matches."""
    for report in reports:
        if report.benchmark == benchmark:
            for name, rows in report.tables.items():
                if re.search(title, name):
                    yield from ((report, name, row) for row in rows)


def ask(
    benchmark: str,
    title: str,
    row: dict[str, object],
    column: str,
    low: float | None,
    high: float | None,
    unit: str = "",
) -> Ask:
    """Ask for one cell to be between two limits."""

    def asked(reports: list[Report]) -> Reached | None:
        for report, _, found in rows_of(reports, benchmark, title):
            if column in found and all(found.get(key) == value for key, value in row.items()):
                return reached(found[column], low, high, unit, report.name)
        return None

    return asked


def reached(cell: object, low: float | None, high: float | None, unit: str, source: str) -> Reached:
    value = number(cell)
    if value is None:
        return Reached("none" if cell == "-" else str(cell), met=False, source=source)
    met = (low is None or value >= low) and (high is None or value <= high)
    return Reached(f"{value:g}{unit}", met, source)


def least(benchmark: str, title: str, row: dict[str, object], column: str, low: float, unit: str = "") -> Ask:
    return ask(benchmark, title, row, column, low, None, unit)


def most(benchmark: str, title: str, row: dict[str, object], column: str, high: float, unit: str = "") -> Ask:
    return ask(benchmark, title, row, column, None, high, unit)


# --- segments --------------------------------------------------------------------------------------------------------


def found(problem: str, scale: int, low: float, measure: str = "share") -> Ask:
    title = rf"^{scale} segments, noise × 1\.0, budget 1 a week, {measure}$"
    return least("segments delay", title, {"problem": problem}, "found %", low, " %")


def delay(problem: str, scale: int, high: float, measure: str = "share", column: str = "windows") -> Ask:
    title = rf"^{scale} segments, noise × 1\.0, budget 1 a week, {measure}$"
    return most("segments delay", title, {"problem": problem}, column, high)


def quiet(scale: int, column: str, low: float | None, high: float | None, unit: str = "", noise: str = "1.0") -> Ask:
    """Ask for a figure of quiet weeks; says of how many, since few prove little."""

    def asked(reports: list[Report]) -> Reached | None:
        for report, _, row in rows_of(
            reports, "segments budget", rf"^Quiet weeks, noise × {re.escape(noise)}, budget 1 a week, share$"
        ):
            if row["segments"] == scale and number(row.get(column)) is not None:
                of = "tenants" if column.startswith("first") else "quiet weeks"
                return reached(row[column], low, high, f"{unit} (of {row.get(of, '?')})", report.name)
        return None

    return asked


def causes_right(column: str, low: float, kinds: str | None = None) -> Ask:
    """Ask for the mean over the problems that were found, at all scales; without `kinds` over all kinds."""

    def asked(reports: list[Report]) -> Reached | None:
        right = count = 0.0
        sources = []
        for report, _, row in rows_of(reports, "segments delay", rf"^\d+ segments, {COUNTED}"):
            share = number(row.get(column))
            if share is not None and (kinds is None or row["problem"] == kinds):
                weight = float(row["planted"]) * float(row["found %"]) / 100
                right, count = right + weight * share, count + weight
                sources.append(report.name)
        return reached(round(right / count, 1), low, None, " %", ", ".join(dict.fromkeys(sources))) if count else None

    return asked


def peers_behind(reports: list[Report]) -> Reached | None:
    """Ask for every peer to find fewer, or as many and not sooner, in every kind of problem at every scale."""
    classes, ahead, sources = 0, [], []
    for report, title, row in rows_of(reports, "segments delay", "found % · median windows"):
        cells = {name: _found_and_delay(cell) for name, cell in row.items() if name != "problem"}
        better = [name for name, cell in cells.items() if name != "Watch" and cell > cells["Watch"]]
        classes += 1
        sources.append(report.name)
        if better:
            ahead.append(f"{row['problem']} ({title.partition(' ')[0]}: {', '.join(better)})")
    if not classes:
        return None
    shown = f"behind in {classes - len(ahead)} of {classes}" + (f"; not in {'; '.join(ahead)}" if ahead else "")
    return Reached(shown, not ahead, ", ".join(dict.fromkeys(sources)))


def _found_and_delay(cell: str) -> tuple[float, float]:
    share, _, windows = cell.partition(" · ")
    middle = number(windows)
    return float(share), -1e9 if middle is None else -middle


def cost(touched: str, column: str, low: float | None, high: float | None, unit: str = "") -> Ask:
    """Ask at the largest number of segments, 90,000 or more."""

    def asked(reports: list[Report]) -> Reached | None:
        for report, _, row in rows_of(reports, "segments cost", ""):
            if row["segments"] >= 90_000 and row["touched"] == touched:
                return reached(row[column], low, high, unit, report.name)
        return None

    return asked


def ledger(column: str, low: float) -> Ask:
    return least("ledger", "^Planted", {"problem": "all problems"}, column, low)


SEGMENTS = (
    Goal(
        "quiet weeks within the budget of 1, at 10 / 300 / 5,000 / 50,000 segments (of how many)",
        "≥ 94.2 % (at most 3 of 52 over) each",
        tuple(quiet(scale, "within %", 94.2, None, " %") for scale in SCALES),
    ),
    Goal(
        "the same with doubled noise (300); tenants within the budget in their first week (300)",
        "≥ 95 % of weeks; ≥ 95 % of tenants",
        (
            quiet(300, "within %", 95, None, " %", noise="2.0"),
            quiet(300, "first weeks within %", 95, None, " %"),
        ),
    ),
    Goal(
        "budget used: mean ÷ λ*, after the first two weeks, by scale",
        "0.8 to 1.0",
        tuple(quiet(scale, "later: mean/λ*", 0.8, 1.0) for scale in SCALES),
    ),
    Goal(
        "×5 in one value, median windows, at 10 / 300 / 5,000 / 50,000",
        "4 / 2 / 9 / 20",
        tuple(delay("x5", scale, high) for scale, high in zip(SCALES, (4, 2, 9, 20), strict=True)),
    ),
    Goal(
        "×2 in one value, 300: found within 5 h; median windows",
        "97 %; 30",
        (found("x2", 300, 97), delay("x2", 300, 30)),
    ),
    Goal(
        "small segment ×5, 300: found; median; 5,000: the same",
        "97 %; 28 / 92 %; 130",
        (
            found("small x5", 300, 97),
            delay("small x5", 300, 28),
            found("small x5", 5_000, 92),
            delay("small x5", 5_000, 130),
        ),
    ),
    Goal("pair ×5, median windows, 300 / 5,000", "18 / 130", (delay("pair x5", 300, 18), delay("pair x5", 5_000, 130))),
    Goal(
        "ramp to ×5 in 2 h, median windows, 300 / 5,000",
        "42 / 70",
        (delay("ramp to x5", 300, 42), delay("ramp to x5", 5_000, 70)),
    ),
    Goal(
        "tiny segment to 100 %, median windows, 300 / 5,000",
        "8 / 35",
        (delay("tiny to 100 %", 300, 8), delay("tiny to 100 %", 5_000, 35)),
    ),
    Goal("silence of 1 to 5 a minute, median windows (300)", "≤ 5", (delay("silence 1-5/min", 300, 5, "down"),)),
    Goal(
        "volume down by 30 %, in one value / everywhere, found within 5 h (300)",
        "70 / 80 %, a stretch",
        (found("-30 % single", 300, 70, "down"), found("-30 % all", 300, 80, "down")),
    ),
    Goal(
        "relapse found anew (300): share; median windows",
        "100 %; ≤ 1",
        (found("relapse", 300, 100), delay("relapse", 300, 1)),
    ),
    Goal(
        "cause right at detection / ten windows later; two at once, ten later (all scales)",
        "93 / 99 %; 90 %",
        (
            causes_right("cause right %", 93),
            causes_right("10 later %", 99),
            causes_right("10 later %", 90, "two at once"),
        ),
    ),
    Goal(
        "onset of a ramp, median windows off, 300 / 5,000",
        "≤ 10",
        tuple(delay("ramp to x5", scale, 10, column="onset off") for scale in (300, 5_000)),
    ),
    Goal("threshold moved by three real problems a week", "≤ 0.5 nats"),
    Goal("peers at equal false cases", "behind in every kind of problem", (peers_behind,)),
    Goal(
        "ledger against planted: precision; recall",
        "≥ 0.95; ≥ 0.98",
        (ledger("precision", 0.95), ledger("recall", 0.98)),
    ),
)

# --- causes ----------------------------------------------------------------------------------------------------------


def cubes(name: str, column: str, low: float | None, high: float | None, unit: str = "") -> Ask:
    return ask("causes", "^Causes", {"set": name, "method": "tocsin"}, column, low, high, unit)


CAUSES = (
    Goal(
        "exact F1, value cubes S / L",
        "0.95 / 0.99",
        (cubes("value-s", "F1", 0.95, None), cubes("value-l", "F1", 0.99, None)),
    ),
    Goal(
        "count cubes, clean: F1; first cause right",
        "0.90; 0.93",
        (cubes("count-clean", "F1", 0.9, None), cubes("count-clean", "first right", 0.93, None)),
    ),
    Goal(
        "count cubes, hard: F1; first cause right",
        "0.80; 0.84",
        (cubes("count-hard", "F1", 0.8, None), cubes("count-hard", "first right", 0.84, None)),
    ),
    Goal(
        "everything is hit, and only that is named; published / simulated",
        "≥ 0.90",
        tuple(cubes(name, "exact", 0.9, None) for name in ("count-whole", "sim-whole")),
    ),
    Goal(
        "quiet cubes falsely explained; published / simulated",
        "≤ 0.02",
        tuple(cubes(name, "falsely explained", None, 0.02) for name in ("count-quiet", "sim-quiet")),
    ),
    Goal(
        "two sets at once, both and nothing else named (simulated)", "≥ 0.50", (cubes("sim-two", "exact", 0.5, None),)
    ),
    Goal(
        "processor seconds: median of cubes of 48,000 leaves / worst of count cubes of up to 5,400",
        "0.5 / 0.1",
        (cubes("value-s", "median s", None, 0.5), cubes("count-clean", "worst s", None, 0.1)),
    ),
)

# --- series ----------------------------------------------------------------------------------------------------------


def plain(name: str, column: str, low: float | None, high: float | None = None) -> Ask:
    return ask("series", f"^{name}$", {"by": "tocsin detect"}, column, low, high)


SERIES = (
    Goal(
        "NAB standard / low FP / low FN",
        "76 / 69 / 81",
        (plain("nab", "standard", 76), plain("nab", "low FP", 69), plain("nab", "low FN", 81)),
    ),
    Goal("NAB standard at the preset threshold", "73", (plain("nab", "preset", 73),)),
    Goal(
        "ms_cloud, event F1 preset / best; recall at 1 false alert a series-week",
        "0.62 / 0.65; 0.80",
        (
            plain("ms_cloud", "F1 preset", 0.62),
            plain("ms_cloud", "F1 best", 0.65),
            plain("ms_cloud", "recall at 1", 0.8),
        ),
    ),
    Goal(
        "1-minute telemetry (simulated), event F1 preset / best",
        "0.75 / 0.82",
        (plain("simulated", "F1 preset", 0.75), plain("simulated", "F1 best", 0.82)),
    ),
    Goal(
        "Nezha: faults seen of 56 at most 1 false alarm a day; median delay, windows",
        "53; ≤ 1",
        (plain("nezha", "seen at 1 a day", 53), plain("nezha", "median delay, windows", None, 1)),
    ),
)

# --- speed -----------------------------------------------------------------------------------------------------------

SPEED = (
    Goal(
        "close of a window, 100,000 segments: all touched / a fifth",
        "20 / 5 ms",
        (cost("all", "Watch ms", None, 20, " ms"), cost("a fifth", "Watch ms", None, 5, " ms")),
    ),
    Goal(
        "river, one GaussianScorer for each of 100,000 segments: all touched / a fifth",
        "≥ 6× / ≥ 25×",
        (cost("all", "river / Watch", 6, None, "×"), cost("a fifth", "river / Watch", 25, None, "×")),
    ),
    Goal("state a segment, 100,000 segments", "≤ 400 bytes", (cost("all", "state bytes a segment", None, 400),)),
)

GOALS = {"segments": SEGMENTS, "causes": CAUSES, "series": SERIES, "speed": SPEED}
