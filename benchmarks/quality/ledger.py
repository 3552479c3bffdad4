"""The ledger of affected customers against the planted ones: `tocsin demo` over several seeds, in one table.

    python -m benchmarks.quality.ledger --seeds 11 12 13

Two days of an online shop's and bank's traffic a seed. `precision` and `recall` are of the customers that cases list,
against all whom the problem struck. `confirmed` are those whom the ledger is sure of, against those who failed because
of it and would not have otherwise; the `oracle`, who knows cause, hours and everyone's odds, is held against the same.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.quality import report

PARTS = ("precision", "recall", "confirmed precision", "confirmed recall", "oracle precision", "oracle recall")


def row(kind: str, problems: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of the problems of one kind."""
    found = [problem for problem in problems if problem["detected_at"] is not None]
    told: dict[str, Any] = {
        "problem": kind,
        "planted": len(problems),
        "found %": round(100 * len(found) / len(problems)),
    }
    told["cause right %"] = round(100 * sum(p["cause_right"] for p in found) / len(found)) if found else "-"
    people = [problem for problem in problems if problem["affected_planted"]]
    told["customers"] = sum(problem["affected_planted"] for problem in people)
    for name in PARTS:
        whole = "affected_found" if name == "precision" else "affected_planted"
        told[name] = weighted((problem[name.replace(" ", "_")], problem[whole]) for problem in people)
    return told


def weighted(parts: Iterable[tuple[float | None, int | None]]) -> float | None:
    """Return the mean of shares by what they are a part of.

    >>> weighted([(1.0, 1), (0.5, 3), (None, 9)])
    0.625
    """
    known = [(share, count) for share, count in parts if share is not None and count]
    return round(sum(share * count for share, count in known) / sum(count for _, count in known), 3) if known else None


def tables(results: list[dict[str, Any]], days: float) -> dict[str, list[dict[str, Any]]]:
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        for problem in result["problems"]:
            by_kind.setdefault(problem["name"].rpartition("-")[0], []).append(problem)
    rows = [row(kind, problems) for kind, problems in sorted(by_kind.items())]
    if rows:
        rows.append(row("all problems", [problem for problems in by_kind.values() for problem in problems]))
    false = {"traffic": "all signals", "weeks": round(len(results) * days / 7, 2)}
    false["false cases"] = sum(len(result["false_cases"]) for result in results)
    return {"Planted problems and their customers": rows, "False cases beside them": [false]}


def main() -> None:
    from streams.cli.demo import prepare, run
    from streams.clock import SystemClock

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--days", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=12.0, help="events a second")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="write the tables as a report, for `compare`")
    options = parser.parse_args()
    results = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "demo"
            prepare(folder)
            results.append(run(seed, folder, options.days, options.rate, SystemClock()))
    found = report.named({"tables": tables(results, options.days), "results": results}, "ledger")
    if options.out:
        report.write(found, options.out)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for title, rows in found["tables"].items():
        table = Table(*(rows[0] if rows else ["no problems"]), title=title)
        for one in rows:
            table.add_row(*("–" if value is None else str(value) for value in one.values()))
        Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    main()
