"""Events a second on one core, as ratios against named anchors in the same run.

    python benchmarks/throughput.py [--events 400000] [--rounds 7] [--json]
    python benchmarks/throughput.py --kafka …    from a real broker: benchmarks/kafka_throughput.py

The events: about 200 bytes, four dimensions, failures with retries, as a producer with volume sends them. Each round
runs every contestant once, in turn, so that all see the same machine; a contestant's ratio is the median over rounds of
its rate divided by the anchors' of that same round, which were timed just before and just after it.
"""

import argparse
import collections
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import combinations

import msgspec
import numpy as np
import orjson
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from benchmarks.payments import DIMENSIONS, Event, lines, signal
from detector.config import Config
from detector.counter.counter import Counter
from detector.decode import JSON, CustomerKeys, Decoder
from detector.signals import CountBy
from detector.watch.segments import Segments
from detector.watch.watch import Watch

BLOCK_BYTES = 262_144


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    out, position = [], 0
    while position < len(data):
        end = data.rfind(b"\n", position, position + BLOCK_BYTES) + 1
        out.append((position, data[position:end]))
        position = end
    return out


def decode_only(parts: list[tuple[int, bytes]]) -> None:
    decoder = msgspec.json.Decoder(Event)
    for _, block in parts:
        decoder.decode_lines(block)


def orjson_only(parts: list[tuple[int, bytes]]) -> None:
    for _, block in parts:
        for line in block.splitlines():
            orjson.loads(line)


def naive(parts: list[tuple[int, bytes]]) -> None:
    """Count ten groupings with a dictionary per event, and keep who failed: the way one would begin."""
    decoder = msgspec.json.Decoder(Event)
    pairs = list(combinations(DIMENSIONS, 2))
    counts: dict[tuple[object, ...], list[int]] = collections.defaultdict(lambda: [0, 0])
    failed: dict[tuple[object, ...], set[str]] = collections.defaultdict(set)
    for _, block in parts:
        for event in decoder.decode_lines(block):
            minute = event.time[:16]
            bad = event.outcome == "failure"
            groupings: list[tuple[object, ...]] = [(minute, d, getattr(event, d)) for d in DIMENSIONS]
            groupings += [(minute, a, getattr(event, a), b, getattr(event, b)) for a, b in pairs]
            for group in groupings:
                cell = counts[group]
                cell[0] += 1
                if bad:
                    cell[1] += 1
                    failed[group].add(event.customer)


def counted(parts: list[tuple[int, bytes]], *, people: bool) -> None:
    """Tocsin: bytes to closed windows with all their segments; with `people` as shipped, without it bare counting."""
    by = CountBy.PEOPLE if people else CountBy.ATTEMPTS
    config = Config(signals=(signal(by),))
    form = JSON if people else msgspec.structs.replace(JSON, id=None, customer=None)
    decoder = Decoder(config.schema, form, CustomerKeys(b"benchmark"))
    counter, segments = Counter(config, 0), Segments(DIMENSIONS)
    for position, block in parts:
        for record in counter.feed(decoder.decode(block, position)).closed:
            window = record.signals["declines"]
            rows = segments.rows(window.cells)
            segments.totals(rows, [window.people.astype(np.float64), window.total.astype(np.float64)])


def watched(parts: list[tuple[int, bytes]]) -> None:
    """Tocsin: bytes to anomalies."""
    config = Config(signals=(signal(CountBy.PEOPLE),))
    decoder = Decoder(config.schema, JSON, CustomerKeys(b"benchmark"))
    counter, watch = Counter(config, 0), Watch(config, config.signals[0])
    for position, block in parts:
        for record in counter.feed(decoder.decode(block, position)).closed:
            watch.step(record.window_ms, record.signals["declines"], lambda _a, _b: [])


ANCHORS: dict[str, Callable[[list[tuple[int, bytes]]], None]] = {
    "msgspec decode only": decode_only,
    "orjson.loads only": orjson_only,
    "naive dict counting": naive,
}
CONTESTANTS: dict[str, Callable[[list[tuple[int, bytes]]], None]] = {
    "bare counting": lambda parts: counted(parts, people=False),
    "duplicates, people, recoveries": lambda parts: counted(parts, people=True),
    "… and watched": watched,
}
GOALS = {
    ("bare counting", "msgspec decode only"): 0.45,
    ("bare counting", "orjson.loads only"): 0.90,
    ("bare counting", "naive dict counting"): 4.0,
    ("duplicates, people, recoveries", "msgspec decode only"): 0.30,
    ("duplicates, people, recoveries", "orjson.loads only"): 0.65,
}


def seconds(run: Callable[[list[tuple[int, bytes]]], None], parts: list[tuple[int, bytes]]) -> float:
    start = time.perf_counter()
    run(parts)
    return time.perf_counter() - start


def main() -> None:
    if "--kafka" in sys.argv:
        from benchmarks import kafka_throughput

        kafka_throughput.main([word for word in sys.argv[1:] if word != "--kafka"])
        return
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=400_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    parts = blocks(lines(given.events))
    console = Console(stderr=True)
    ratios: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    rates: dict[str, list[float]] = collections.defaultdict(list)
    for _ in progress(range(given.rounds), "rounds", console=console, disable=not sys.stderr.isatty()):
        before = {name: seconds(run, parts) for name, run in ANCHORS.items()}
        took = {name: seconds(run, parts) for name, run in CONTESTANTS.items()}
        after = {name: seconds(run, parts) for name, run in ANCHORS.items()}
        for name, own in took.items():
            rates[name].append(given.events / own)
            for anchor in ANCHORS:
                ratios[name, anchor].append((before[anchor] + after[anchor]) / 2 / own)
        for anchor in ANCHORS:
            rates[anchor].append(given.events * 2 / (before[anchor] + after[anchor]))
    result = [
        {
            "contestant": name,
            "anchor": anchor,
            "ratio": round(statistics.median(ratios[name, anchor]), 3),
            "low": round(min(ratios[name, anchor]), 3),
            "high": round(max(ratios[name, anchor]), 3),
            "goal": GOALS.get((name, anchor)),
        }
        for name in CONTESTANTS
        for anchor in ANCHORS
    ]
    if given.json:
        print(json.dumps({"events": given.events, "rounds": given.rounds, "ratios": result}))
        return
    table = Table(
        title=f"{given.events:,} events of {len(parts[0][1]) // parts[0][1].count(10)} bytes, {given.rounds} rounds"
    )
    for column in ("", "against", "ratio", "range", "goal"):
        table.add_column(column, justify="left" if column in ("", "against") else "right")
    for row in result:
        goal = "" if row["goal"] is None else f"≥ {row['goal']}"
        table.add_row(
            str(row["contestant"]), str(row["anchor"]), f"{row['ratio']}×", f"{row['low']}–{row['high']}", goal
        )
    Console().print(table)
    Console().print({name: f"{statistics.median(values):,.0f} events/s" for name, values in rates.items()})


if __name__ == "__main__":
    main()
