"""Causes in a cube: ours beside the plain scan statistic and Adtributor, in the same run.

    python -m benchmarks.quality.causes --data ../shared/data/cubes
    python -m benchmarks.quality.causes --simulated 60

F1 counts causes whose leaves are exactly those planted (two names of the same leaves are one cause); `strict` wants
the planted name as well. The last table compares the confidence that was stated with how often it was right. `--out
FILE` writes the tables as a report, for `compare`.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.quality import report
from benchmarks.quality.cause_peers import adtributor, plain_scan
from benchmarks.quality.cubes import COUNT_SETS, VALUE_SETS, Case, Where, held, published, simulated
from detector.attribution import explain

SIMULATED = ("sim-one", "sim-two", "sim-whole", "sim-quiet", "sim-bare", "sim-value")
BINS = (0.0, 0.5, 0.7, 0.85, 0.95, 1.0001)

Method = Callable[[Case], tuple[list[Where], list[float]]]


def ours(case: Case) -> tuple[list[Where], list[float]]:
    causes = explain(case.cube, case.kind).causes
    return [dict(cause.where) for cause in causes], [cause.confidence for cause in causes]


def _peer(find: Callable[..., list[Where]]) -> Method:
    return lambda case: (find(case.cube), [])


METHODS: dict[str, Method] = {"tocsin": ours, "plain scan": _peer(plain_scan), "Adtributor": _peer(adtributor)}


class Tally:
    """What a method got right on one set."""

    def __init__(self) -> None:
        self.cases = self.right = self.found = self.planted = self.first = self.exact = self.strict = self.told = 0
        self.seconds: list[float] = []
        self.stated: list[tuple[float, bool]] = []

    def add(self, case: Case, found: list[Where], confidence: list[float], seconds: float) -> bool:
        wanted = [held(case.cube, where) for where in case.causes]
        rows = [held(case.cube, where) for where in found]
        good = [any(bool((mine == other).all()) for other in wanted) for mine in rows]
        hit = [any(bool((mine == other).all()) for mine in rows) for other in wanted]
        self.cases += 1
        self.right += sum(hit)
        self.found += len(found)
        self.planted += len(wanted)
        self.first += bool(good) and good[0]
        exact = all(good) and all(hit)
        self.exact += exact
        self.strict += sum(where in case.causes for where in found)
        self.told += bool(found)
        self.seconds.append(seconds)
        self.stated += list(zip(confidence, good, strict=False))
        return exact

    def row(self, scan: "Tally | None") -> dict[str, Any]:
        """Return figures; where nothing is planted only how often something was named all the same."""
        both = max(self.found + self.planted, 1)
        quiet = not self.planted
        row: dict[str, Any] = {
            "cases": self.cases,
            "F1": None if quiet else round(2 * self.right / both, 3),
            "strict": None if quiet else round(2 * self.strict / both, 3),
            "first right": None if quiet else round(self.first / self.cases, 3),
            "exact": None if quiet else round(self.exact / self.cases, 3),
            "falsely explained": round(self.told / self.cases, 3) if quiet else None,
            "median s": round(float(np.median(self.seconds)), 4),
            "worst s": round(max(self.seconds), 3),
        }
        if scan is not None:
            ratios = [mine / max(other, 1e-6) for mine, other in zip(self.seconds, scan.seconds, strict=True)]
            row["times plain scan"] = round(float(np.median(ratios)), 1)
        return row


def calibration(stated: list[tuple[float, bool]]) -> list[dict[str, Any]]:
    """Stated confidence against how often it was right; last the mean distance over all causes."""
    out: list[dict[str, Any]] = []
    for low, high in itertools.pairwise(BINS):
        inside = [(c, right) for c, right in stated if low <= c < high]
        if inside:
            mean = sum(c for c, _ in inside) / len(inside)
            share = sum(right for _, right in inside) / len(inside)
            out.append(
                {
                    "stated": f"{low:g} to {min(high, 1):g}",
                    "causes": len(inside),
                    "mean stated": round(mean, 3),
                    "right": round(share, 3),
                }
            )
    if stated:
        off = sum(row["causes"] * abs(row["mean stated"] - row["right"]) for row in out) / len(stated)
        mean, share = np.mean(stated, axis=0).tolist()
        every = {"causes": len(stated), "mean stated": round(mean, 3), "right": round(share, 3)}
        out.append({"stated": "all", **every, "off by": round(off, 3)})
    return out


def sets(options: argparse.Namespace) -> Iterator[tuple[str, Iterator[Case]]]:
    if options.simulated:
        for name in SIMULATED:
            yield name, simulated(name, options.simulated, options.seed)
    if options.data is not None:
        for name in (*VALUE_SETS, *COUNT_SETS):
            yield name, published(options.data, name)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    tables: dict[str, list[dict[str, Any]]] = {}
    stated: list[tuple[float, bool]] = []
    for name, cases in sets(options):
        if options.only and name not in options.only:
            continue
        tallies = {method: Tally() for method in METHODS if method in options.methods}
        for number, case in enumerate(cases):
            if options.half is not None and number % 2 != options.half:
                continue
            for method, tally in tallies.items():
                start = time.process_time()
                found, confidence = METHODS[method](case)
                exact = tally.add(case, found, confidence, time.process_time() - start)
                if options.verbose and method == "tocsin" and not exact:
                    say(f"{case.name}: planted {case.causes}, found {found}")
        for method, tally in tallies.items():
            title = f"Causes, {'simulated' if name in SIMULATED else 'published'} cubes"
            tables.setdefault(title, []).append({"set": name, "method": method, **tally.row(tallies.get("plain scan"))})
        if "tocsin" in tallies:
            stated += tallies["tocsin"].stated
    what = " and ".join(
        name for name, there in (("published", options.data), ("simulated", options.simulated)) if there
    )
    return {"tables": {**tables, f"Confidence of the causes, {what} cubes": calibration(stated)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of value-s, value-l, count-clean …")
    parser.add_argument("--simulated", type=int, default=0, metavar="CASES", help="simulated cases of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="these sets only")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--half", type=int, choices=[0, 1], help="even or odd cases only")
    parser.add_argument("--verbose", action="store_true", help="name what went wrong")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    console = Console(stderr=True, markup=False)
    found = report.named(run(options, console.print), "causes")
    if options.out:
        report.write(found, options.out)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    *causes, confidence = found["tables"].values()
    for rows in causes:
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*("–" if value is None else str(value) for value in row.values()))
        Console(width=None if sys.stdout.isatty() else 160).print(table)
    for row in confidence:
        Console().print(f"stated {row['mean stated']:.2f}, right {row['right']:.2f} ({row['causes']} causes)")


if __name__ == "__main__":
    main()
