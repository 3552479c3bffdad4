"""Detectors warmed up on quiet weeks, once a scale: snapshots of the last week, from which problems are planted."""

import argparse
import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

import detector
import models
from benchmarks.quality.driven import MEASURES, Driven
from detector.config import HOUR_MS, MINUTE_MS, WEEK_MS
from models.simulate.counts import CountStream, Recent

LOOK_MS = 12 * HOUR_MS
"""How much of the past is at hand when a problem is planted: the quiet stream is run again over it."""


@dataclass(frozen=True)
class Snapshot:
    """Watch as it stood at `window_ms`, and the stream as it stood `LOOK_MS` before."""

    window_ms: int
    stream: bytes
    watch: bytes


@dataclass(frozen=True)
class Warm:
    snapshots: tuple[Snapshot, ...]
    false_cases: int
    """Opened in the warm-up."""


def _sources() -> bytes:
    """What the warm-up depends on: our own sources."""
    digest = hashlib.sha256()
    for package in (detector, models):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.digest()


def warm(scale: int, options: argparse.Namespace, progress: Progress) -> Warm:
    """Run `options.warm` quiet weeks, or take them from the cache."""
    key = repr((scale, options.seed, options.noise, options.measure, options.warm, options.snapshots, options.budget))
    name = hashlib.sha256(key.encode() + _sources()).hexdigest()[:24]
    path = options.cache / f"warm-{scale}-{name}.pickle" if options.cache else None
    if path and path.exists():
        kept: Warm = pickle.loads(path.read_bytes())
        return kept
    made = _warmed(scale, options, progress)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(made))
    return made


def _warmed(scale: int, options: argparse.Namespace, progress: Progress) -> Warm:
    stream = CountStream(scale, options.seed, options.noise, measure=MEASURES[options.measure][0])
    driven = Driven(stream, options.measure, options.budget)
    end_ms = stream.start_ms + options.warm * WEEK_MS
    apart_ms = WEEK_MS // options.snapshots // (5 * MINUTE_MS) * 5 * MINUTE_MS
    at = [end_ms - i * apart_ms for i in range(options.snapshots)]
    streams: dict[int, bytes] = {}
    snapshots = []
    task = progress.add_task(f"{scale} segments: warming up", total=(end_ms - stream.start_ms) // MINUTE_MS)
    opened = 0
    while True:
        now = stream.window_ms
        if now + LOOK_MS in at:
            streams[now + LOOK_MS] = pickle.dumps(stream)
        if now in at:
            snapshots.append(Snapshot(now, streams.pop(now), pickle.dumps(driven.watch.state())))
        if now >= end_ms:
            break
        opened += sum(a.phase == "opened" for a in driven.step(*stream.next()))
        if now // MINUTE_MS % 200 == 0:
            progress.update(task, completed=(now - stream.start_ms) // MINUTE_MS)
    progress.remove_task(task)
    return Warm(tuple(snapshots), opened)


def thawed(snapshot: Snapshot, options: argparse.Namespace) -> tuple[CountStream, Driven]:
    """The stream and Watch as they stood at a snapshot, with the past at hand."""
    stream: CountStream = pickle.loads(snapshot.stream)
    recent = Recent((LOOK_MS + 12 * HOUR_MS) / HOUR_MS)
    while stream.window_ms < snapshot.window_ms:
        recent.add(*stream.next())
    driven = Driven(stream, options.measure, options.budget)
    driven.watch.restore(pickle.loads(snapshot.watch))
    driven.recent = recent
    return stream, driven
