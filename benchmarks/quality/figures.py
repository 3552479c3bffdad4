"""Which columns of the reports are figures, which way is better, and what part of a change chance can explain.

One table for all benchmarks (`COLUMNS`). A column that is not in it is an error: a figure whose direction nobody wrote
down could not be lost. Where the number of problems or weeks behind a figure is known, the tolerance is two standard
errors of the difference, as if base and head had drawn problems of their own; with the same seeds they draw the same
ones, so it errs on the careful side. Elsewhere it is a stated share of the base.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from benchmarks.quality.peers import RIVER, SIMPLE
from benchmarks.quality.report import BadReport, Report, Row

LIMIT = 300.0
"""Windows: what was not found within them counts as found then."""
OURS = ("tocsin", "tocsin detect")
ERRORS = 2.0
"""Standard errors that chance is granted."""


class Better(Enum):
    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Key:
    """Names the row."""


@dataclass(frozen=True)
class Told:
    """Describes the row, or is a peer's; not compared."""


Number = Callable[[Row], float | None]


def of(name: str) -> Number:
    """Return what reads a number off another column."""
    return lambda row: number(row.get(name))


@dataclass(frozen=True)
class Share:
    """A part of `count`, in units of `whole` (100: percent)."""

    better: Better
    count: Number
    whole: float = 100

    def error(self, base: float, head: float, n_base: float, n_head: float) -> float:
        hits = (base * n_base + head * n_head) / self.whole
        part = (hits + 1) / (n_base + n_head + 2)
        return self.whole * math.sqrt(part * (1 - part) * (1 / n_base + 1 / n_head))


@dataclass(frozen=True)
class Delay:
    """The median of `count` delays or distances, taken to spread like an exponential; "-": not within the limit."""

    count: Number
    limit: float | None = LIMIT
    better: Better = Better.LOWER

    def error(self, base: float, head: float, n_base: float, n_head: float) -> float:
        # An exponential's median is ln 2 of its mean, with the standard error mean / √n; one window is the grain.
        return base / math.log(2) * math.sqrt(1 / n_base + 1 / n_head) + 1 / ERRORS


@dataclass(frozen=True)
class Rate:
    """Events per `count`, or (`total`) their number in all of it: as a Poisson."""

    count: Number
    total: bool = False
    better: Better = Better.LOWER

    def error(self, base: float, head: float, n_base: float, n_head: float) -> float:
        events = base + head if self.total else base * n_base + head * n_head
        rate = (events + 1) / (n_base + n_head)
        return math.sqrt(rate * (1 / n_base + 1 / n_head)) * (n_base if self.total else 1)


@dataclass(frozen=True)
class Stated:
    """No count is known: a share of the base, and at least `floor`."""

    better: Better
    share: float
    floor: float = 0.0


Figure = Share | Delay | Rate | Stated
Column = Key | Told | Figure

UNCOUNTED = 0.2
"""The share of the base where a count should be known, and is not."""
UP, DOWN = Better.HIGHER, Better.LOWER


def _found(row: Row) -> float | None:
    """How many of the planted problems were found."""
    planted, share = number(row.get("planted")), number(row.get("found %"))
    return None if planted is None or share is None else planted * share / 100


def _later(row: Row) -> float | None:
    """Quiet weeks without each tenant's first two."""
    weeks, tenants = number(row.get("quiet weeks")), number(row.get("tenants"))
    return None if weeks is None or tenants is None else weeks - 2 * tenants


def _joint(name: str) -> dict[str, Column]:
    def found(row: Row) -> float | None:
        planted, share = number(row.get("planted")), number(row.get(f"{name}: found %"))
        return None if planted is None or share is None else planted * share / 100

    return {
        f"{name}: found %": Share(UP, of("planted")),
        f"{name}: windows": Delay(of("planted")),
        f"{name}: cause right %": Share(UP, found),
    }


WEEKS, PLANTED, CASES = of("quiet weeks"), of("planted"), of("cases")
SPLIT: dict[str, Column] = {"found %": Share(UP, PLANTED), "windows": Delay(PLANTED)}
"""What the two halves of "100 · 10" are."""

COLUMNS: dict[str, dict[str, Column]] = {
    "segments budget": {
        "segments": Key(),
        "tenants": Told(),
        "quiet weeks": Told(),
        "a week": Rate(WEEKS),
        "worst": Rate(lambda row: 1.0),
        "weeks over": Rate(WEEKS, total=True),
        "within %": Share(UP, WEEKS),
        "first weeks within %": Share(UP, of("tenants")),
        "mean/λ*": Told(),
        "later: a week": Rate(_later),
        "later: within %": Share(UP, _later),
        "later: mean/λ*": Told(),
    },
    "segments delay": {
        "problem": Key(),
        "planted": Told(),
        "a minute": Told(),
        **SPLIT,
        "cause right %": Share(UP, _found),
        "10 later %": Share(UP, _found),
        "onset off": Delay(_found, limit=None),
        "elsewhere": Rate(PLANTED, total=True),
        "Watch": Told(),  # what stands in the columns above, beside the peers
    }
    | dict.fromkeys((*SIMPLE, *(f"river {kind}" for kind in RIVER)), Told()),
    "segments cost": {
        "segments": Key(),
        "touched": Key(),
        "Watch ms": Told(),
        "bare numpy ms": Told(),
        "river ms": Told(),
        "Watch / bare": Stated(DOWN, 0.3),
        "river / Watch": Stated(UP, 0.3),
        "state bytes a segment": Stated(DOWN, 0.05),
    },
    "causes": {
        "set": Key(),
        "method": Key(),
        "cases": Told(),
        "F1": Share(UP, CASES, 1),
        "strict": Share(UP, CASES, 1),
        "first right": Share(UP, CASES, 1),
        "exact": Share(UP, CASES, 1),
        "falsely explained": Share(DOWN, CASES, 1),
        "median s": Told(),
        "worst s": Told(),
        "times plain scan": Stated(DOWN, 0.5),
        "stated": Key(),
        "causes": Told(),
        "mean stated": Told(),
        "right": Told(),
        "off by": Share(DOWN, of("causes"), 1),
    },
    "series": {
        "by": Key(),
        "standard": Stated(UP, 0.03),
        "low FP": Stated(UP, 0.03),
        "low FN": Stated(UP, 0.03),
        "preset": Stated(UP, 0.03),
        "F1 preset": Stated(UP, 0.03),
        "F1 best": Stated(UP, 0.03),
        "recall at 0.2": Stated(UP, 0.05),
        "recall at 1": Stated(UP, 0.05),
        "seen at 1 a day": Stated(UP, 0.05),
        "median delay, windows": Stated(DOWN, 0.2, floor=1),
        "seen, preset": Stated(UP, 0.05),
        "false a day, preset": Stated(DOWN, 0.2, floor=0.5),
    },
    "joint": {
        "problem": Key(),
        "planted": Told(),
        **_joint("alone"),
        **_joint("joint"),
        "signals": Key(),
        "quiet weeks": Told(),
        "false cases": Rate(WEEKS, total=True),
    },
    "values": {
        "change": Key(),
        "planted": Told(),
        "ranks: found %": Share(UP, PLANTED),
        "ranks: windows": Delay(PLANTED, limit=240),
        "limit: found %": Share(UP, PLANTED),
        "limit: windows": Delay(PLANTED, limit=240),
        "mean": Told(),
        "p95": Told(),
        "values": Key(),
        "quiet weeks": Told(),
        "ranks: a week": Rate(WEEKS),
        "limit: a week": Rate(WEEKS),
        "mean at 3: a week": Told(),
        "p95 at 3: a week": Told(),
    },
    "ledger": {
        "problem": Key(),
        "planted": Told(),
        "customers": Told(),
        "found %": Share(UP, PLANTED),
        "cause right %": Share(UP, _found),
        "precision": Stated(UP, 0.02),
        "recall": Stated(UP, 0.02),
        "confirmed precision": Stated(UP, 0.03),
        "confirmed recall": Stated(UP, 0.03),
        "oracle precision": Told(),
        "oracle recall": Told(),
        "traffic": Key(),
        "weeks": Told(),
        "false cases": Rate(of("weeks"), total=True),
    },
}


def number(cell: object) -> float | None:
    """Read a cell; None where it holds no number.

    >>> number("92.5"), number("-"), number(3), number(None)
    (92.5, None, 3.0, None)
    """
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    try:
        return float(cell)
    except ValueError:
        return None


@dataclass(frozen=True)
class Found:
    """One figure of a report."""

    value: float | None
    """None: says nothing here, as the causes of problems that were not found."""
    count: float | None
    kind: Figure


Name = tuple[str, str, str, str]
"""Benchmark, title of the table, the row's keys, column."""


def _columns(row: Row, known: dict[str, Column]) -> Iterator[tuple[str, Any]]:
    """Yield the cells, "100 · 10" as two."""
    for column, cell in row.items():
        if column in known:
            yield column, cell
            continue
        parts = [part.strip() for part in cell.split("·")] if isinstance(cell, str) else []
        if len(parts) == len(SPLIT):
            yield from ((f"{column}: {name}", part) for name, part in zip(SPLIT, parts, strict=True))
        else:
            yield column, cell


def figures(reports: list[Report]) -> dict[Name, Found]:
    """Return every figure of ours in these reports.

    Raises
    ------
    BadReport
        A benchmark or a column that is not in the table, or a figure that stands twice with different values.
    """
    out: dict[Name, Found] = {}
    for report in reports:
        known = COLUMNS.get(report.benchmark)
        if known is None:
            message = f"{report.benchmark}: no such benchmark; known are {', '.join(COLUMNS)}"
            raise BadReport(message)
        for title, rows in report.tables.items():
            for row in rows:
                cells = dict(_columns(row, known))
                unknown = [column for column in cells if column not in known]
                if unknown:
                    message = (
                        f'{report.benchmark}, "{title}": nobody says whether "{unknown[0]}" should be high or low; '
                        "add it to COLUMNS in benchmarks/quality/figures.py"
                    )
                    raise BadReport(message)
                keys = [str(cell) for column, cell in cells.items() if isinstance(known[column], Key)]
                peers = {"method", "by"} & set(row)
                if peers and not any(row[name] in OURS for name in peers):
                    continue
                for column, cell in cells.items():
                    kind = known[column]
                    if isinstance(kind, Key | Told) or cell is None:
                        continue
                    name = (report.benchmark, title, ", ".join(keys), column)
                    found = Found(_value(cell, kind), _count(kind, row), kind)
                    if out.get(name, found).value != found.value:
                        message = f"{' · '.join(name)}: stands twice, as {out[name].value} and {found.value}; keep one"
                        raise BadReport(message)
                    out[name] = found
    return out


def _value(cell: object, kind: Figure) -> float | None:
    if cell != "-" and number(cell) is None:
        message = f"{cell!r} is no figure; a number, or - where there is nothing to say"
        raise BadReport(message)
    return kind.limit if cell == "-" and isinstance(kind, Delay) else number(cell)


def _count(kind: Figure, row: Row) -> float | None:
    count = None if isinstance(kind, Stated) else kind.count(row)
    return count if count is not None and count > 0 else None


def tolerance(base: Found, head: Found) -> float:
    """Return the change that chance may explain, in the unit of the base."""
    if base.value is None or head.value is None:
        return 0.0
    if isinstance(base.kind, Stated):
        return max(abs(base.value) * base.kind.share, base.kind.floor)
    if base.count is None or head.count is None:
        return abs(base.value) * UNCOUNTED
    return ERRORS * base.kind.error(base.value, head.value, base.count, head.count)
