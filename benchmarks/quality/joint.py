"""A shift that is too small for either of two signals: a joint signal beside the two alone, at the same budget.

    python -m benchmarks.quality.joint
    python -m benchmarks.quality.joint --moments 24 --weeks 6 --seed 7 --json

Two signals of one shop wander on their own for `--weeks` weeks (the first `--warm` of them only to learn). Two
configurations watch them, each with a budget of one false case a week for everything: `alone`, the two signals, and
`joint`, the same two and a joint signal over city and provider. At `--moments` times, evenly over the weeks after the
warm-up, the world is copied, a problem of each kind is planted in both signals, and the copies are run for at most five
hours. The table says how many problems each configuration found, the median delay (a problem that was not found counts
as infinitely late), how often the cause was right at detection, and how many false cases the quiet weeks brought.
"""

import argparse
import copy
import json
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.quality import report
from detector.config import HOUR_MS, MINUTE_MS, WEEK_MS, Config, Input
from detector.counter.joint import Joint
from detector.counter.record import SignalWindow
from detector.signals import PART, Condition, Measure, Mode, Signal
from detector.watch.anomaly import Anomaly, Phase
from detector.watch.watch import Watch
from models.simulate.counts import CountStream, Recent
from models.simulate.faults import FOREVER_MS, Fault

PARTS = ("logins", "payments")
COMMON = ("city", "provider")
WITHIN = 300
"""Windows in which a problem must be found."""
SCALE = 300


@dataclass(frozen=True)
class Kind:
    """What is planted: the odds' factors in the two signals, in a value of a common dimension or for everyone."""

    name: str
    odds: tuple[float, float]
    dimension: str | None


KINDS = (
    Kind("city x1.5 in both", (1.5, 1.5), "city"),
    Kind("city x2 in both", (2.0, 2.0), "city"),
    Kind("provider x1.4 in both", (1.4, 1.4), "provider"),
    Kind("everyone x1.25 in both", (1.25, 1.25), None),
    Kind("city x2 in one, none in the other", (2.0, 1.0), "city"),
    Kind("city x2 in one, half in the other", (2.0, 0.5), "city"),
)


def signal(name: str, dimensions: tuple[str, ...], parts: tuple[str, ...] = ()) -> Signal:
    return Signal(
        name=name,
        title={"en": f"{name} fail"},
        events=(),
        bad=(Condition("outcome", any_of=("failure",)),),
        measure=Measure.JOINT if parts else Measure.SHARE,
        dimensions=dimensions,
        window_ms=MINUTE_MS,
        mode=Mode.LIVE,
        signals=parts,
    )


@dataclass
class Watched:
    """One configuration: its signals' Watches, each with its own past."""

    signals: tuple[Signal, ...]
    watches: list[Watch] = field(init=False)
    recent: list[Recent] = field(init=False)
    openings: list[int] = field(default_factory=list)
    """Windows in which something was opened."""

    def __post_init__(self) -> None:
        config = Config(signals=self.signals)
        self.watches = [Watch(config, s) for s in self.signals]
        self.recent = [Recent() for _ in self.signals]

    def copied(self) -> "Watched":
        """As it stands; windows are shared, they never change."""
        twin = copy.copy(self)
        twin.watches = copy.deepcopy(self.watches)
        twin.recent = []
        for recent in self.recent:
            same = Recent()
            same._windows = deque(recent._windows, recent._windows.maxlen)
            twin.recent.append(same)
        twin.openings = []
        return twin

    def step(self, window_ms: int, records: dict[str, SignalWindow]) -> list[Anomaly]:
        """What was opened in this window."""
        out = []
        for one, watch, recent in zip(self.signals, self.watches, self.recent, strict=True):
            record = records.get(one.name)
            if record is not None:
                recent.add(window_ms, record)
            out += [a for a in watch.step(window_ms, record, recent) if a.phase is Phase.OPENED]
        if out:
            self.openings.append(window_ms)
        return out

    def false_cases(self, from_ms: int) -> int:
        """Openings, those within an hour of each other as one."""
        cases, last = 0, -(2**62)
        for at in self.openings:
            if at >= from_ms and at - last >= HOUR_MS:
                cases += 1
            last = max(last, at)
        return cases


class World:
    """Two streams, and their joint windows as the Counter makes them."""

    def __init__(self, seed: int, noise: float) -> None:
        self.streams = [CountStream(SCALE, seed * 100 + i, noise) for i in range(len(PARTS))]
        parts = tuple(signal(name, s.dimensions) for name, s in zip(PARTS, self.streams, strict=True))
        both = signal("both", (PART, *COMMON), PARTS)
        self.joint = Joint(both, parts, Input())
        self.configurations = {"alone": parts, "joint": (*parts, both)}
        self._customer = 0

    def next(self) -> tuple[int, dict[str, SignalWindow]]:
        """Return the next window of all signals."""
        records, window_ms = {}, 0
        for name, stream in zip(PARTS, self.streams, strict=True):
            window_ms, record = stream.next()
            if record.cells:
                records[name] = self._named(record, window_ms)
        joint = self.joint.of(records)
        if window_ms % HOUR_MS == 0:
            self.joint.sweep(window_ms)
        return window_ms, records | ({} if joint is None else {"both": joint})

    def _named(self, record: SignalWindow, window_ms: int) -> SignalWindow:
        """Give every failure that is evidence a customer of its own."""
        cell = np.repeat(np.arange(len(record.cells)), record.people)
        customer = self._customer + 1 + np.arange(len(cell))
        self._customer += len(cell)
        bad = {"bad_customer": customer, "bad_cell": cell, "bad_time_ms": np.full(len(cell), window_ms)}
        return SignalWindow(**{name: getattr(record, name) for name in record.__struct_fields__} | bad)

    def plant(self, rng: np.random.Generator, kind: Kind, onset_ms: int) -> dict[str, str]:
        """Plant a problem in both streams; returns where."""
        where: tuple[tuple[int, int], ...] = ()
        named = {}
        if kind.dimension is not None:
            first = self.streams[0]
            d = first.dimensions.index(kind.dimension)
            rate = np.bincount(first.tenant.codes[:, d], weights=first.rates())
            value = int(rng.choice(np.flatnonzero(rate >= rate.mean() / 2)))
            where, named = ((d, value),), {kind.dimension: first.values[d][value]}
        for stream, odds in zip(self.streams, kind.odds, strict=True):
            stream.problems = (Fault(kind.name, where, ((onset_ms, FOREVER_MS),), odds),)
        return named


@dataclass
class Trial:
    """One problem, one configuration."""

    kind: str
    configuration: str
    delay: int | None
    """Windows; None: not within five hours."""
    signal: str = ""
    right: bool = False


def tried(world: World, watched: dict[str, Watched], kind: Kind, rng: np.random.Generator) -> list[Trial]:
    world = copy.deepcopy(world)
    onset_ms = world.streams[0].window_ms
    where = world.plant(rng, kind, onset_ms)
    pending = {name: w.copied() for name, w in watched.items()}
    out = []
    for delay in range(WITHIN):
        window_ms, records = world.next()
        for name in list(pending):
            opened = pending[name].step(window_ms, records)
            if opened:
                named = [{d: v for d, v in c.where.items() if d != PART} for c in opened[0].causes]
                out.append(Trial(kind.name, name, delay, opened[0].signal, named == [where]))
                del pending[name]
        if not pending:
            break
    return out + [Trial(kind.name, name, None) for name in pending]


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    world = World(options.seed, options.noise)
    watched = {name: Watched(signals) for name, signals in world.configurations.items()}
    start_ms = world.streams[0].window_ms
    from_ms, end_ms = start_ms + options.warm * WEEK_MS, start_ms + options.weeks * WEEK_MS
    moments = np.linspace(from_ms, end_ms, options.moments, endpoint=False).astype(np.int64) // MINUTE_MS * MINUTE_MS
    trials: list[Trial] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("weeks", total=end_ms - start_ms)
        while world.streams[0].window_ms < end_ms:
            now = world.streams[0].window_ms
            if now in moments:
                for k, kind in enumerate(KINDS):
                    rng = np.random.default_rng([options.seed, now // MINUTE_MS, k])
                    trials += tried(world, watched, kind, rng)
            window_ms, records = world.next()
            for one in watched.values():
                one.step(window_ms, records)
            if now % HOUR_MS == 0:
                progress.update(task, completed=now - start_ms)
    weeks = options.weeks - options.warm
    return {
        "seed": options.seed,
        "quiet_weeks": weeks,
        "moments": options.moments,
        "false_cases": {name: one.false_cases(from_ms) for name, one in watched.items()},
        "kinds": [_row(kind.name, trials) for kind in KINDS],
    }


def _row(kind: str, trials: list[Trial]) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": kind}
    for name in ("alone", "joint"):
        mine = [t for t in trials if t.kind == kind and t.configuration == name]
        delays = np.array([np.inf if t.delay is None else t.delay for t in mine])
        median = float(np.median(delays)) if len(delays) else np.inf
        found = [t for t in mine if t.delay is not None]
        row[name] = {
            "found": len(found) / max(len(mine), 1),
            "median_windows": None if np.isinf(median) else median,
            "cause_right": sum(t.right for t in found) / len(found) if found else None,
            "by_joint": sum(t.signal == "both" for t in found) / len(found) if found else None,
        }
    return row


def tables(found: dict[str, Any], noise: float) -> dict[str, list[dict[str, Any]]]:
    """Return the figures as rows of a report."""
    rows = []
    for kind in found["kinds"]:
        row: dict[str, Any] = {"problem": kind["kind"], "planted": found["moments"]}
        for name in ("alone", "joint"):
            one = kind[name]
            row[f"{name}: found %"] = round(100 * one["found"])
            row[f"{name}: windows"] = "-" if one["median_windows"] is None else one["median_windows"]
            row[f"{name}: cause right %"] = "-" if one["cause_right"] is None else round(100 * one["cause_right"])
        rows.append(row)
    quiet = [
        {"signals": name, "quiet weeks": found["quiet_weeks"], "false cases": cases}
        for name, cases in found["false_cases"].items()
    ]
    return {f"Two signals, noise × {noise}": rows, f"Quiet weeks of two signals, noise × {noise}": quiet}


def shown(found: dict[str, Any]) -> Table:
    table = Table(title=f"Seed {found['seed']}: {found['moments']} problems a kind, 1 false case a week for everything")
    for i, column in enumerate(("", "found: alone", "joint", "median windows: alone", "joint", "cause right", "joint")):
        table.add_column(column, justify="right" if i else "left")
    for row in found["kinds"]:
        cells = [f"{row[n]['found']:.0%}" for n in ("alone", "joint")]
        cells += [
            "–" if row[n]["median_windows"] is None else f"{row[n]['median_windows']:g}" for n in ("alone", "joint")
        ]
        cells += ["–" if row[n]["cause_right"] is None else f"{row[n]['cause_right']:.0%}" for n in ("alone", "joint")]
        table.add_row(row["kind"], *cells)
    quiet = found["false_cases"]
    table.add_section()
    table.add_row(f"false cases in {found['quiet_weeks']} quiet weeks", str(quiet["alone"]), str(quiet["joint"]))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weeks", type=int, default=6)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="write the tables as a report, for `compare`")
    options = parser.parse_args()
    found = measure(options, Console(stderr=True))
    found = report.named({"tables": tables(found, options.noise), **found}, "joint")
    if options.out:
        report.write(found, options.out)
    if options.json:
        json.dump(found, sys.stdout, indent=1)
        print()
        return
    Console(width=None if sys.stdout.isatty() else 150).print(shown(found))


if __name__ == "__main__":
    main()
