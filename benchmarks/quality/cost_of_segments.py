"""`cost`: the close of a window over many segments, as a ratio to a bare numpy pass and to river, in one run."""

import argparse
import pickle
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.quality.driven import configured
from detector.config import MINUTE_MS
from detector.counter.record import SignalWindow
from detector.events import Ints
from detector.watch.watch import Watch
from models.simulate.counts import START_MS

SHARE_OF_CELLS = 0.05
"""Failures per event."""
PER_CELL = 2.0
GRACE = 100
"""Values after which river's GaussianScorer begins to score."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--segments", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm", type=int, default=70, help="windows before the clock runs: an hour and more")
    parser.add_argument("--seed", type=int, default=1)


def grid(segments: int) -> int:
    """Return the values per dimension of two equal ones that make about so many segments, the pairs the finest cells.

    >>> grid(1_000), grid(100_000)
    (31, 315)
    """
    return int(np.rint(np.sqrt(segments))) - 1


class Feed:
    """Windows over a grid of two dimensions: every cell has events, or a fifth of them."""

    def __init__(self, side: int, part: float, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        names = [f"v{i:03d}" for i in range(side)]
        self.cells = [(a, b) for a in names for b in names]
        self._part = part
        self.now_ms = START_MS

    def __call__(self) -> tuple[int, SignalWindow, Ints]:
        """Return a window's start, its counts, and the rows that have any."""
        rng, count = self._rng, len(self.cells)
        rows = np.arange(count) if self._part == 1 else np.sort(rng.permutation(count)[: int(count * self._part)])
        total = 1 + rng.poisson(PER_CELL - 1, len(rows))
        people = rng.binomial(total, SHARE_OF_CELLS)
        record = SignalWindow(
            cells=[self.cells[i] for i in rows.tolist()],
            people=people,
            total=total,
            attempts=people,
        )
        now, self.now_ms = self.now_ms, self.now_ms + MINUTE_MS
        return now, record, rows


class Bare:
    """What any detector on arrays must do: add the cells up in their segments, score them once, learn a mean."""

    def __init__(self, side: int) -> None:
        row = np.arange(side * side)
        columns = [row * 0, 1 + row // side, 1 + side + row % side, 1 + 2 * side + row]
        self._of_cell = np.stack(columns, axis=1)
        self.count = 1 + 2 * side + side * side
        self._k, self._n = np.ones(self.count), np.full(self.count, 30.0)

    def step(self, rows: Ints, record: SignalWindow) -> float:
        flat = self._of_cell[rows].ravel()
        k = np.bincount(flat, np.repeat(record.people, 4).astype(np.float64), minlength=self.count)
        n = np.bincount(flat, np.repeat(record.total, 4).astype(np.float64), minlength=self.count)
        mean = n * self._k / self._n
        score = (k - mean) / np.sqrt(mean + 1)
        self._k = self._k * 0.999 + k
        self._n = self._n * 0.999 + n
        return float(score.max())


class Scorers:
    """river's GaussianScorer, one per segment."""

    def __init__(self, count: int) -> None:
        from river import anomaly

        make: Any = anomaly.GaussianScorer
        first = make()
        for i in range(GRACE + 1):
            # While it has seen few values it returns at once: that is not what is timed.
            first.learn_one(None, 0.05 + 0.001 * (i % 7))
        kept = pickle.dumps(first)
        self._each: list[Any] = [pickle.loads(kept) for _ in range(count)]

    def step(self, shares: list[float]) -> None:
        for one, share in zip(self._each, shares, strict=True):
            one.score_one(None, share)
            one.learn_one(None, share)


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def _no_past(from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]:
    return []


def measured(segments: int, part: float, options: argparse.Namespace, advance: Callable[[], None]) -> dict[str, Any]:
    side = grid(segments)
    feed, bare = Feed(side, part, options.seed), Bare(side)
    # What a window leaves alone costs river nothing.
    scorers = Scorers(round(bare.count * part))
    watch = Watch(*configured(("a", "b"), "share", 1))
    times: dict[str, list[float]] = {"watch": [], "bare": [], "river": []}
    rng = np.random.default_rng(options.seed)
    for i in range(options.warm + options.rounds):
        now, record, rows = feed()
        took = {"bare": _seconds(bare.step, rows, record), "watch": _seconds(watch.step, now, record, _no_past)}
        if i >= options.warm:
            took["river"] = _seconds(scorers.step, rng.random(round(bare.count * part)).tolist())
            for name, seconds in took.items():
                times[name].append(seconds)
        advance()
    middle = {name: statistics.median(values) for name, values in times.items()}
    # Cells are named once for all that stands on them; what grows with segments is the rest.
    state = len(pickle.dumps(watch.state(), protocol=5))
    named = len(pickle.dumps(feed.cells, protocol=5))
    return {
        "segments": bare.count,
        "touched": "all" if part == 1 else "a fifth",
        "Watch ms": round(1e3 * middle["watch"], 2),
        "bare numpy ms": round(1e3 * middle["bare"], 2),
        "river ms": round(1e3 * middle["river"], 1),
        "Watch / bare": round(statistics.median(w / b for w, b in zip(times["watch"], times["bare"], strict=True)), 1),
        "river / Watch": round(
            statistics.median(r / w for r, w in zip(times["river"], times["watch"], strict=True)), 1
        ),
        "state bytes a segment": round((state - named) / bare.count),
    }


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    rows = []
    with Progress(console=console) as progress:
        task = progress.add_task("Closing windows", total=2 * len(options.segments) * (options.warm + options.rounds))
        for segments in options.segments:
            for part in (1.0, 0.2):
                rows.append(measured(segments, part, options, lambda: progress.advance(task)))
    return {"tables": {"The close of a window: medians of one run, interleaved": rows}}
