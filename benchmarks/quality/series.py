"""`tocsin detect` on plain series beside its goals and simple peers, in one run with one configuration each.

    python benchmarks/quality/series.py --data ../shared/data [--tools DIR] [--sets nab,ms_cloud,nezha,simulated]
                                        [--without-peers] [--seed 11] [--json] [--out FILE]

NAB and ms_cloud are scored by the scorers beside the data (`nab_score.py`, `event_score.py`), the simulated 1-minute
telemetry by the latter. For Nezha: a fault is seen if any of the front end's and the service pairs' series alerts
within 5 minutes of its injection; false alarms are counted where the last fault is more than half an hour past, those
within 10 minutes being one.
"""

import argparse
import csv
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.quality import report, telemetry
from benchmarks.quality.series_peers import PEERS, Floats, Times, once
from detector.series import THRESHOLD, SeriesDetector
from streams.cli.series_file import parse_time, read_series

OURS = "tocsin detect"
SETS = ("nab", "ms_cloud", "nezha", "simulated")
SEEN_S, QUIET_S, JOINED_S = 300, 1_800, 600
Ints = npt.NDArray[np.int64]
Judge = Callable[[Times, Floats], Floats]

GOALS: dict[tuple[str, str], float] = {
    ("nab", "standard"): 76,
    ("nab", "low FP"): 69,
    ("nab", "low FN"): 81,
    ("nab", "preset"): 73,
    ("ms_cloud", "F1 preset"): 0.62,
    ("ms_cloud", "F1 best"): 0.65,
    ("ms_cloud", "recall at 1"): 0.80,
    ("simulated", "F1 preset"): 0.75,
    ("simulated", "F1 best"): 0.82,
    ("nezha", "seen at 1 a day"): 53,
    ("nezha", "median delay, windows"): 1,
}


@dataclass(frozen=True)
class Series:
    """One series of a set; `path` is where its scored rows go, below the set's results."""

    path: str
    stamps: list[str]
    times_ms: Times
    value: Floats


def ours(times_ms: Times, value: Floats) -> Floats:
    """Scores of the product."""
    detector = SeriesDetector("value")
    steps = zip(times_ms.tolist(), value.tolist(), strict=True)
    return np.array([detector.step(time_ms, number).score for time_ms, number in steps])


def judges(*, peers: bool) -> dict[str, Judge]:
    """Everyone who is measured, as a function from rows to scores in [0, 1] with a preset threshold of 0.5."""

    def scaled(peer: Judge) -> Judge:
        def judge(times_ms: Times, value: Floats) -> Floats:
            strength = once(np.nan_to_num(peer(times_ms, value), nan=0.0, posinf=1e9))
            return strength / (strength + 1)

        return judge

    return {OURS: ours} | ({name: scaled(peer) for name, peer in PEERS.items()} if peers else {})


# --- the sets --------------------------------------------------------------------------------------------------------


def from_folder(folder: Path, depth: str) -> list[Series]:
    """Every series of a folder, as `tocsin detect` reads it."""
    found = []
    for path in sorted(folder.glob(depth)):
        rows = read_series(str(path))
        times = np.array([row.time_ms for row in rows])
        value = np.array([row.value for row in rows])
        found.append(Series(str(path.relative_to(folder)), [row.stamp for row in rows], times, value))
    return found


def nezha(folder: Path) -> list[Series]:
    """The front end's success rate and latencies, and the latency of each service pair; one series a column."""
    found = []
    for path in sorted([*folder.glob("*/front_service.csv"), *folder.glob("*/source_50.csv")]):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        time = next(name for name in rows[0] if name.lower() == "timestamp")
        stamps = [row[time] for row in rows]
        times = np.array([parse_time(stamp) or 0 for stamp in stamps])
        for name in rows[0]:
            if name.lower() not in ("time", "timestamp", "servicename"):
                value = np.array([float(row[name] or "nan") for row in rows])
                found.append(Series(f"{path.parent.name}-{name}.csv", stamps, times, value))
    return found


def faults(folder: Path) -> Ints:
    """Epoch ms of every injected fault."""
    found = []
    for path in sorted(folder.glob("*/*fault_list.json")):
        for hour in json.loads(path.read_text()).values():
            found += [1_000 * int(fault["inject_timestamp"]) for fault in hour]
    return np.array(sorted(found))


# --- scoring ---------------------------------------------------------------------------------------------------------


def write(series: Series, scores: Floats, folder: Path) -> None:
    """Write a scored series as `tocsin detect --out` does, as far as the scorers read it."""
    path = folder / series.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("timestamp", "value", "anomaly_score", "alert"))
        for stamp, value, score in zip(series.stamps, series.value.tolist(), scores.tolist(), strict=True):
            out.writerow((stamp, value, f"{score:.6f}", int(score >= THRESHOLD)))


def called(tool: Path, *arguments: str) -> Any:
    """What a scorer prints."""
    done = subprocess.run(
        [sys.executable, str(tool), *arguments, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr or f"{tool}: failed")
    return json.loads(done.stdout)


def score_nab(scored: Path, data: Path, tools: Path) -> dict[str, float]:
    best = called(tools / "nab_score.py", str(scored), "--nab", str(data))
    preset = called(tools / "nab_score.py", str(scored), "--nab", str(data), "--threshold", str(THRESHOLD))
    return {
        "standard": best["standard"]["score"],
        "low FP": best["reward_low_FP_rate"]["score"],
        "low FN": best["reward_low_FN_rate"]["score"],
        "preset": preset["standard"]["score"],
    }


def score_events(scored: Path, data: Path, tools: Path) -> dict[str, float]:
    found = called(tools / "event_score.py", str(scored), "--data", str(data))
    return {
        "F1 preset": found["preset"]["f1"],
        "F1 best": found["oracle"]["f1"],
        "recall at 0.2": found["recall_at_0.2"],
        "recall at 1": found["recall_at_1"],
    }


def score_nezha(series: list[Series], scores: list[Floats], injected: Ints) -> dict[str, float]:
    """Faults seen where there is at most one false alarm a day, and at the preset threshold."""
    times = np.concatenate([one.times_ms for one in series])
    score = np.concatenate(scores)
    order = np.argsort(times, kind="stable")
    times, score = times[order], score[order]
    fault = np.searchsorted(injected, times, side="right") - 1
    since_s = np.where(fault >= 0, times - injected[np.maximum(fault, 0)], 10**12) / 1_000
    quiet = since_s > QUIET_S
    days = len(np.unique(times[quiet] // 60_000)) / 1_440

    def at(threshold: float) -> tuple[int, int, float]:
        hit = (score >= threshold) & (since_s <= SEEN_S)
        delays = [float(since_s[hit & (fault == i)].min()) // 60 for i in np.unique(fault[hit])]
        alarms = np.unique(times[(score >= threshold) & quiet]) / 1_000
        false = int((np.diff(alarms, prepend=-(10.0**12)) > JOINED_S).sum())
        return len(delays), false, statistics.median(delays) if delays else float("nan")

    tried = [at(threshold) for threshold in np.unique(np.round(score[score > 0], 3))]
    seen, _, delay = max(((s, f, d) for s, f, d in tried if f <= max(1, days)), default=(0, 0, float("nan")))
    preset = at(THRESHOLD)
    return {
        "seen at 1 a day": seen,
        "median delay, windows": delay,
        "seen, preset": preset[0],
        "false a day, preset": preset[1] / days,
    }


def measured(options: argparse.Namespace, show: Console) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield set, judge and what it reached."""
    data: Path = options.data
    everyone = judges(peers=not options.without_peers)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for which in options.sets.split(","):
            folder = data / which
            if which == "simulated":
                folder = work / "telemetry"
                telemetry.write(telemetry.fleet(options.seed, options.each), folder)
            elif not folder.is_dir():
                show.print(f"{folder} is not there: {which} is left out")
                continue
            if which == "nezha":
                series = nezha(folder)
            else:
                series = from_folder(folder / "data", "*/*.csv") if which == "nab" else from_folder(folder, "*.csv")
            for judge, by in everyone.items():
                scores = [by(one.times_ms, one.value) for one in following(series, f"{which}: {judge}", show)]
                if which == "nezha":
                    yield which, judge, score_nezha(series, scores, faults(folder))
                    continue
                scored = work / which / judge.replace(" ", "_")
                for one, score in zip(series, scores, strict=True):
                    write(one, score, scored)
                scorer = score_nab if which == "nab" else score_events
                yield which, judge, scorer(scored, folder, options.tools or data.parent / "tools")


def following(series: list[Series], label: str, show: Console) -> Iterable[Series]:
    return track(series, label, console=show, transient=True)


def tables(found: list[tuple[str, str, dict[str, float]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the figures as rows of a report, a table for each set."""
    out: dict[str, list[dict[str, Any]]] = {}
    for which, judge, result in found:
        row = {name: round(number, 3) if math.isfinite(number) else None for name, number in result.items()}
        out.setdefault(which, []).append({"by": judge, **row})
    return out


def print_sets(found: list[tuple[str, str, dict[str, float]]]) -> None:
    """A table for each set: what was reached by whom, beside the goal."""
    console = Console(width=120)
    for which in dict.fromkeys(entry[0] for entry in found):
        rows = [(judge, result) for name, judge, result in found if name == which]
        table = Table(title=which, title_justify="left")
        table.add_column("")
        for column in rows[0][1]:
            table.add_column(column, justify="right")
        for judge, result in rows:
            table.add_row(judge, *(shown(number) for number in result.values()), style="bold" if judge == OURS else "")
        goals = [GOALS.get((which, column)) for column in rows[0][1]]
        table.add_row("goal", *("" if goal is None else shown(goal) for goal in goals), style="dim")
        console.print(table)


def shown(number: float) -> str:
    return f"{number:.0f}" if number == int(number) else f"{number:.3f}" if abs(number) < 2 else f"{number:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nab, ms_cloud and nezha")
    parser.add_argument("--tools", type=Path, help="folder of the scorers; beside the data unless given")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--seed", type=int, default=11, help="of the simulated telemetry")
    parser.add_argument("--each", type=int, default=5, help="simulated series of every kind")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="write the tables as a report, for `compare`")
    options = parser.parse_args()
    show = Console(stderr=True)
    found = list(measured(options, show))
    told = report.named({"tables": tables(found)}, "series")
    if options.out:
        report.write(told, options.out)
    if options.json:
        print(json.dumps(told, indent=1))
    else:
        print_sets(found)


if __name__ == "__main__":
    main()
