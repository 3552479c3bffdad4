"""Detection over the many segments of a stream: false cases, delay, causes, cost; with peers in the same run.

    python -m benchmarks.quality.segments budget --scale 300 --weeks 8 --tenants 2
    python -m benchmarks.quality.segments budget --scale 300 --weeks 8 --noise 2 --budget 7
    python -m benchmarks.quality.segments delay --scale 300 --problems 10 --warm 3 --cache .segments
    python -m benchmarks.quality.segments delay --scale 300 --measure down --kinds "silence 1-5/min"
    python -m benchmarks.quality.segments cost --segments 1000 10000 100000

Each prints a table, and JSON with `--json`; `--out FILE` writes the tables as a report, for `compare`. All is seeded
(`--seed`): the same command prints the same figures.

`budget` runs quiet weeks and counts what Watch opens (openings within an hour of each other are one case). `delay`
warms the detectors up on quiet weeks (`--cache DIR` keeps that), then plants problems of every kind, by day and by
night, and says how many were found within five hours, how soon, and whether the cause was right; every peer on the
same problems, at `--rate` false cases a week. `cost` times the close of a window against a bare numpy pass and river.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.quality import budget_of_segments, cost_of_segments, delay_of_segments, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    budget_of_segments.arguments(commands.add_parser("budget"))
    delay_of_segments.arguments(commands.add_parser("delay"))
    cost_of_segments.arguments(commands.add_parser("cost"))
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        command.add_argument("--out", type=Path, default=argparse.SUPPRESS)
    options = parser.parse_args()
    runs = {"budget": budget_of_segments.run, "delay": delay_of_segments.run, "cost": cost_of_segments.run}
    console = Console(stderr=True)
    found: dict[str, Any] = report.named(runs[options.command](options, console), f"segments {options.command}")
    if options.out:
        report.write(found, options.out)
    if options.json:
        json.dump(found, sys.stdout, indent=1)
        print()
        return
    for title, rows in found["tables"].items():
        table = Table(title=title)
        for i, column in enumerate(rows[0]):
            table.add_column(column, justify="right" if i else "left")
        for row in rows:
            table.add_row(*(str(v) for v in row.values()))
        Console(width=None if sys.stdout.isatty() else 200).print(table)


if __name__ == "__main__":
    main()
