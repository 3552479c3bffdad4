"""Compare two sets of results, figure by figure: what was gained, lost, is gone or new, beyond what chance explains.

    python -m benchmarks.quality.compare                          build/quality beside the committed results
    python -m benchmarks.quality.compare HEAD
    python -m benchmarks.quality.compare BASE HEAD [--partial] [--json]

BASE and HEAD are reports (what benchmarks write with `--out`) or folders of them; BASE is the committed results unless
given. A change counts from two standard errors on where the number of problems behind a figure is known, else from a
stated share on (`benchmarks/quality/figures.py`). `all` are the shares of a table's rows taken together: many small
losses are one that is seen. With `--partial`, or a folder beside a single report, reports that HEAD does not have
(by file name, else command, else table) are named and not missed.

Exit code 0: nothing was lost; 1: something was lost or is gone; 2: a report can't be read or compared.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.quality.figures import ERRORS, Better, Found, Name, Rate, Share, figures, tolerance
from benchmarks.quality.report import RESULTS, BadReport, Report, read_all

HEAD = Path("build/quality")
LOST = ("lost", "gone")
STYLES = {"lost": "bold red", "gone": "bold red", "gained": "green", "new": "cyan"}
ALL = "all"


@dataclass(frozen=True)
class Compared:
    """One figure of base beside head."""

    name: Name
    better: Better
    base: float | None
    head: float | None
    tolerance: float | None
    verdict: str

    def told(self) -> dict[str, Any]:
        names = dict(zip(("benchmark", "table", "row", "figure"), self.name, strict=True))
        numbers = {"base": self.base, "head": self.head, "tolerance": self.tolerance}
        return {**names, "better": self.better.value, **numbers, "verdict": self.verdict}


def judged(name: Name, base: Found, head: Found) -> Compared:
    """Say what became of a figure that both have."""
    better = base.kind.better
    if base.value is None or head.value is None:
        # Nothing was found of which this could be said; that is another figure's loss.
        return Compared(name, better, base.value, head.value, None, "nothing to say")
    value = head.value
    if isinstance(base.kind, Rate) and base.kind.total and base.count and head.count:
        value *= base.count / head.count
    allowed = tolerance(base, head)
    return Compared(name, better, base.value, head.value, allowed, _verdict(better, value - base.value, allowed))


def _verdict(better: Better, change: float, allowed: float) -> str:
    if abs(change) <= allowed + 1e-9:
        return "within tolerance"
    return "gained" if (change > 0) is (better is Better.HIGHER) else "lost"


def together(found: dict[Name, tuple[Found, Found]]) -> Iterator[Compared]:
    """Yield the shares of all rows of a table as one, weighted by what base counts; stratified standard error."""
    tables: dict[Name, list[tuple[Found, Found]]] = {}
    for (benchmark, table, _, column), pair in found.items():
        if isinstance(pair[0].kind, Share) and all(one.value is not None and one.count for one in pair):
            tables.setdefault((benchmark, table, ALL, column), []).append(pair)
    for name, pairs in tables.items():
        if len(pairs) < 2 or name in found:
            continue
        total = sum(base.count or 0 for base, _ in pairs)
        before = after = square = 0.0
        for pair in pairs:
            weight = (pair[0].count or 0) / total
            before += weight * (pair[0].value or 0)
            after += weight * (pair[1].value or 0)
            square += (weight * tolerance(*pair) / ERRORS) ** 2
        better, allowed = pairs[0][0].kind.better, ERRORS * math.sqrt(square)
        yield Compared(name, better, before, after, allowed, _verdict(better, after - before, allowed))


def measured(base: list[Report], head: list[Report]) -> list[Report]:
    """Return base's reports that head measured again: of the same file name, else command, else with a table of it."""
    again: list[Report] = []
    for report in head:
        titles = {(report.benchmark, title) for title in report.tables}
        again += (
            [one for one in base if one.name == report.name]
            or [one for one in base if one.command == report.command]
            or [one for one in base if any((one.benchmark, title) in titles for title in one.tables)]
        )
    return [one for one in base if one in again]


def compare(base: dict[Name, Found], head: dict[Name, Found]) -> list[Compared]:
    """Return every figure of both, in base's order."""
    out = []
    for name, one in base.items():
        if name in head:
            out.append(judged(name, one, head[name]))
        else:
            out.append(Compared(name, one.kind.better, one.value, None, None, "gone"))
    out += together({name: (base[name], head[name]) for name in base if name in head})
    out += [Compared(n, one.kind.better, None, one.value, None, "new") for n, one in head.items() if n not in base]
    return out


def show(compared: list[Compared], skipped: list[str], console: Console) -> None:
    """Print a table for each table of the reports, and what was counted."""
    for title in dict.fromkeys(one.name[:2] for one in compared):
        rows = [one for one in compared if one.name[:2] == title]
        table = Table("row", "figure", "better", title=": ".join(title), title_justify="left")
        for column in ("base", "head", "tolerance"):
            table.add_column(column, justify="right")
        table.add_column("verdict")
        for one in rows:
            numbers = (_shown(number) for number in (one.base, one.head, one.tolerance))
            table.add_row(*one.name[2:], one.better.value, *numbers, one.verdict, style=STYLES.get(one.verdict))
        console.print(table)
    for name in skipped:
        console.print(f"not measured by head: {name}")
    counts = Counter(one.verdict for one in compared)
    console.print(", ".join(f"{number} {verdict}" for verdict, number in counts.items()) or "no figures")
    for one in compared:
        if one.verdict in LOST:
            console.print(f"{one.verdict}: {' · '.join(one.name)}: {_shown(one.base)} → {_shown(one.head)}")


def _shown(number: float | None) -> str:
    return "–" if number is None else f"{number:.4g}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="*", metavar="[BASE] [HEAD]")
    parser.add_argument("--partial", action="store_true", help="reports that HEAD does not have are not missed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if len(options.paths) > 2:
        parser.error("give BASE and HEAD")
    base_path, head_path = [RESULTS, HEAD] if not options.paths else [RESULTS, *options.paths][-2:]
    try:
        reports, head_reports = read_all(base_path), read_all(head_path)
        partial = options.partial or (base_path.is_dir() and not head_path.is_dir())
        again = measured(reports, head_reports) if partial else reports
        base, head = figures(again), figures(head_reports)
        if not head.keys() & base.keys():
            message = f"{base_path} and {head_path}: have no figure in common; compare reports of the same benchmark"
            raise BadReport(message)
    except BadReport as error:
        print(error, file=sys.stderr)
        return 2
    compared = compare(base, head)
    skipped = [one.name for one in reports if one not in again]
    lost = any(one.verdict in LOST for one in compared)
    if options.json:
        found = {"base": str(base_path), "head": str(head_path), "lost": lost, "not_measured": skipped}
        print(json.dumps({**found, "figures": [one.told() for one in compared]}, indent=1, ensure_ascii=False))
    else:
        show(compared, skipped, Console(width=None if sys.stdout.isatty() else 160))
    return int(lost)


if __name__ == "__main__":
    sys.exit(main())
