"""Events a second from a real broker: Tocsin's worker beside frameworks and bare clients, in turns, in one run.

    python benchmarks/throughput.py --kafka [--events 500000] [--rounds 3] [--cases 6] [--json]

One broker, 8 partitions, a message an event of about 200 bytes (once more with 50 events a message). Every contender is
a process of its own, pinned to the last core (the broker to the first), timed from a quarter of the topic to its end,
and checked: one whose sums are not those of the plainest way of counting is an error, and has no figures. Slow ones
(plain Faust, quixstreams) count a topic of the first tenth of the same events. The worker is `tocsin worker --only
count` with all its commits, on SQLite. A ratio is its rate by the contender's of the same round. The libraries compared
with are `tocsin[peers]`, for which `--peers PYTHON` names an interpreter: one that is missing is left out.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from benchmarks.kafka_contenders import Took
from benchmarks.kafka_events import MANY, by_partition
from benchmarks.kafka_runs import ROOT, Bench, Contender, Missing, Wrong, inner_topics, make
from benchmarks.payments import lines
from deploy.kafka.broker import Cluster, NoKafka

PEERS = ROOT / "build" / "peers" / "bin" / "python"


ONE, MANY_A_MESSAGE, ONE_OPEN, TWO = "worker", f"worker, {MANY} a message", "1 worker, all cores", "2 workers"
CONTENDERS = (
    Contender(ONE, "worker"),
    Contender(MANY_A_MESSAGE, "worker", "many"),
    Contender("plain Faust agent, naive", "faust", "slow", goal=35),
    Contender("quixstreams, naive", "quixstreams", "slow", peer=True, goal=5),
    Contender("bytewax, naive", "bytewax-naive", peer=True, goal=3),
    Contender("bytewax, same engine", "bytewax", peer=True, goal=2),
    Contender("aiokafka getmany, same engine", "aiokafka"),
    Contender("confluent-kafka consume, same engine", "confluent", peer=True, goal=0.6, many_goal=1.2),
    Contender(f"confluent-kafka consume, same engine, {MANY} a message", "confluent", "many", peer=True),
    Contender(ONE_OPEN, "worker", pinned=False),
    Contender(TWO, "worker", processes=2, pinned=False),
)
TWO_GOAL = 1.8
ROUNDS_S = 270.0
"""No further round is begun that would end later."""


# --- the figures ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """A contender's round."""

    rate: float
    cpu_us: float


def figure(took: list[Took]) -> Figure:
    counted = sum(one.counted for one in took)
    seconds = max(one.ended_s for one in took) - min(one.begun_s for one in took)
    return Figure(counted / seconds, sum(one.cpu_s for one in took) / counted * 1e6)


def ratio(ours: list[Figure], theirs: list[Figure], goal: float | None) -> dict[str, Any]:
    """Return how many times as many events we count, round by round: by the clock, and by the processor's time."""
    by_clock = [own.rate / other.rate for own, other in zip(ours, theirs, strict=True)]
    by_cpu = [other.cpu_us / own.cpu_us for own, other in zip(ours, theirs, strict=True)]
    return {
        "ratio": _rounded(statistics.median(by_clock)),
        "low": _rounded(min(by_clock)),
        "high": _rounded(max(by_clock)),
        "by_cpu": _rounded(statistics.median(by_cpu)),
        "goal": goal,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def summary(found: dict[str, list[Figure]]) -> list[dict[str, Any]]:
    out = []
    for contender in CONTENDERS:
        if rounds := found.get(contender.title):
            row: dict[str, Any] = {
                "name": contender.title,
                "events_per_s": round(statistics.median(one.rate for one in rounds)),
                "cpu_us": _rounded(statistics.median(one.cpu_us for one in rounds)),
            }
            if contender.name != "worker" and ONE in found:
                row["worker"] = ratio(found[ONE], rounds, contender.goal)
            if contender.name != "worker" and MANY_A_MESSAGE in found:
                row["worker_many"] = ratio(found[MANY_A_MESSAGE], rounds, contender.many_goal)
            if contender.title == TWO and ONE_OPEN in found:
                row["to_one"] = ratio(rounds, found[ONE_OPEN], TWO_GOAL)
            out.append(row)
    return out


def shown(given: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print the tables."""
    title = f"{given.events:,} events, {result['rounds']} rounds, load {result['load']} on {result['cores']} cores"
    table = Table(title=title)
    for column in ("", "events/s", "CPU µs", "the worker", "range", "by CPU", "goal"):
        table.add_column(column, justify="right" if column else "left", no_wrap=bool(column))
    for row in result["contenders"]:
        table.add_row(row["name"], f"{row['events_per_s']:,}", f"{row['cpu_us']}", *_ratio(row.get("worker")))
        if (found := row.get("worker_many")) is not None and found["goal"] is not None:
            table.add_row(f"… to the worker, {MANY} a message", "", "", *_ratio(found))
        if (found := row.get("to_one")) is not None:
            table.add_row("… to one", "", "", *_ratio(found))
    Console().print(table)
    for title, why in result["left_out"].items():
        Console().print(f"{title}: left out, {why}")
    if result["case"]:
        Console().print(f"From the end of the deciding window to the open case: {result['case']}")


def _ratio(found: dict[str, Any] | None) -> tuple[str, ...]:
    if found is None:
        return ()
    goal = "" if found["goal"] is None else f"≥ {found['goal']}"
    return f"{found['ratio']}×", f"{found['low']}–{found['high']}", f"{found['by_cpu']}×", goal


def measured(given: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure all of it."""
    quiet = not sys.stderr.isatty()
    chosen = [one for one in CONTENDERS if given.only is None or given.only in one.title]
    found: dict[str, list[Figure]] = defaultdict(list)
    left_out: dict[str, str] = {}
    failed = False
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary, Cluster(Path(temporary) / "broker") as cluster:
        folder = Path(temporary)
        console.print("making the topics")
        events = lines(given.events).splitlines()
        parts, tenth = by_partition(events), by_partition(events[: len(events) // 10])
        topics = {
            "single": asyncio.run(make(cluster.bootstrap, "single", parts, 1)),
            "many": asyncio.run(make(cluster.bootstrap, "many", parts, MANY)),
            "slow": asyncio.run(make(cluster.bootstrap, "slow", tenth, 1)),
        }
        asyncio.run(inner_topics(cluster.bootstrap))
        bench = Bench(folder, cluster, topics, given.peers)
        begun_s = time.monotonic()
        done = 0
        for turn in range(given.rounds):
            if turn and (time.monotonic() - begun_s) / turn * (turn + 1) > ROUNDS_S:
                console.print(f"another round would take too long: {turn} rounds")
                break
            for one in progress(chosen, f"round {turn + 1}", console=console, disable=quiet):
                if one.title in left_out:
                    continue
                try:
                    found[one.title].append(figure(bench.run(one)))
                except (Missing, Wrong) as error:
                    left_out[one.title] = str(error)
                    found.pop(one.title, None)
                    failed |= isinstance(error, Wrong)
                if quiet and one.title in found:
                    console.print(f"{one.title}: {found[one.title][-1].rate:,.0f} events/s", highlight=False)
            done += 1
        if given.profile:
            bench.run(CONTENDERS[0], str(given.profile.resolve()))
        case = None
        if given.cases:
            from benchmarks.kafka_latency import delays

            case = delays(folder / "live", cluster.bootstrap, given.cases, console)
    return {
        "events": given.events,
        "rounds": done,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": f"{before:.1f} before, {os.getloadavg()[0]:.1f} after",
        "contenders": summary(found),
        "left_out": left_out,
        "failed": failed,
        "case": case,
    }


def main(words: list[str]) -> None:
    """Measure, and print what was found."""
    about = argparse.RawDescriptionHelpFormatter
    arguments = argparse.ArgumentParser("throughput.py --kafka", description=__doc__, formatter_class=about)
    arguments.add_argument("--events", type=int, default=500_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--cases", type=int, default=6, help="problems on a live worker; 0: none")
    arguments.add_argument("--only", metavar="TEXT", help="contenders with this in their names; rate only")
    arguments.add_argument("--peers", type=Path, default=PEERS if PEERS.exists() else Path(sys.executable))
    arguments.add_argument("--profile", type=Path, metavar="FILE", help="profile one more run of the worker, into FILE")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args(words)
    console = Console(stderr=True)
    try:
        result = measured(given, console)
    except NoKafka as error:
        sys.exit(f"Error: {error}")
    if given.json:
        print(json.dumps(result))
    else:
        shown(given, result)
    if result["failed"]:
        sys.exit(1)
