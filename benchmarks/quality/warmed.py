"""Detectors warmed up on quiet weeks, once a scale: snapshots of the last week, from which problems are planted."""

import argparse
import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.progress import Progress

from benchmarks.quality.driven import MEASURES, Driven
from benchmarks.quality.peers import Peers, threshold_for
from detector.config import HOUR_MS, MINUTE_MS, WEEK_MS
from models.simulate.counts import CountStream, Recent

LOOK_MS = 12 * HOUR_MS
"""How much of the past is at hand when a problem is planted: the quiet stream is run again over it."""
ROOT = Path(__file__).resolve().parents[2]
STREAM = ("models/simulate", "benchmarks/quality/warmed.py")
T = TypeVar("T")


@dataclass(frozen=True)
class WarmWatch:
    """Watch by the window's start at which it stood so."""

    snapshots: dict[int, bytes]
    opened: int
    """Anomalies in the warm-up: false ones."""


@dataclass(frozen=True)
class WarmPeers:
    """The peers (and the stream) as they stood; the limit of each at the rate of false cases that was asked for."""

    streams: dict[int, bytes]
    """As the stream stood `LOOK_MS` before the window."""
    snapshots: dict[int, bytes]
    names: tuple[str, ...]
    limits: tuple[float, ...]


def stream_of(scale: int, options: argparse.Namespace) -> CountStream:
    return CountStream(scale, options.seed, options.noise, measure=MEASURES[options.measure][0])


def moments(stream: CountStream, options: argparse.Namespace) -> list[int]:
    """When snapshots are taken: evenly over the last week of the warm-up."""
    end_ms = stream.start_ms + options.warm * WEEK_MS
    apart_ms = WEEK_MS // options.snapshots // (5 * MINUTE_MS) * 5 * MINUTE_MS
    return sorted(end_ms - i * apart_ms for i in range(options.snapshots))


def _cached(options: argparse.Namespace, name: str, key: object, sources: tuple[str, ...], make: Callable[[], T]) -> T:
    """Return what `make` made the last time, if it was kept and no source that it rests on has changed."""
    if not options.cache:
        return make()
    digest = hashlib.sha256(repr(key).encode())
    for source in sources:
        path = ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    path = options.cache / f"{name}-{digest.hexdigest()[:24]}.pickle"
    if path.exists():
        kept: T = pickle.loads(path.read_bytes())
        return kept
    made = make()
    options.cache.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(made))
    return made


def _key(scale: int, options: argparse.Namespace) -> list[Any]:
    return [scale, options.seed, options.noise, options.measure, options.warm, options.snapshots]


def warm_watch(scale: int, options: argparse.Namespace, progress: Progress) -> WarmWatch:
    """Run Watch over `options.warm` quiet weeks, or take it from the cache."""
    sources = (*STREAM, "detector/watch", "benchmarks/quality/driven.py")
    key = [*_key(scale, options), options.budget]
    return _cached(options, f"watch-{scale}", key, sources, lambda: _warm_watch(scale, options, progress))


def _warm_watch(scale: int, options: argparse.Namespace, progress: Progress) -> WarmWatch:
    stream = stream_of(scale, options)
    driven = Driven(stream, options.measure, options.budget)
    at = moments(stream, options)
    task = progress.add_task(f"{scale} segments: Watch warms up", total=(at[-1] - stream.start_ms) // MINUTE_MS)
    snapshots, opened = {}, 0
    while True:
        now = stream.window_ms
        if now in at:
            snapshots[now] = pickle.dumps(driven.watch.state())
        if now >= at[-1]:
            break
        opened += sum(a.phase == "opened" for a in driven.step(*stream.next()))
        if now // MINUTE_MS % 200 == 0:
            progress.update(task, completed=(now - stream.start_ms) // MINUTE_MS)
    progress.remove_task(task)
    return WarmWatch(snapshots, opened)


def warm_peers(scale: int, options: argparse.Namespace, progress: Progress) -> WarmPeers:
    """Run the peers over `options.warm` quiet weeks, then find their limits on `options.calibrate` more."""
    key = [*_key(scale, options), options.calibrate, options.rate, options.peers, options.river]
    sources = (*STREAM, "benchmarks/quality/peers.py")
    return _cached(options, f"peers-{scale}", key, sources, lambda: _warm_peers(scale, options, progress))


def _warm_peers(scale: int, options: argparse.Namespace, progress: Progress) -> WarmPeers:
    stream = stream_of(scale, options)
    peers = Peers(stream, options.measure, options.peers, river=options.river)
    at = moments(stream, options)
    end_ms = at[-1] + (options.calibrate * WEEK_MS if peers.all else 0)
    task = progress.add_task(f"{scale} segments: peers warm up", total=(end_ms - stream.start_ms) // MINUTE_MS)
    streams, snapshots, peaks = {}, {}, []
    while True:
        now = stream.window_ms
        if now + LOOK_MS in at:
            streams[now + LOOK_MS] = pickle.dumps(stream)
        if now in at:
            snapshots[now] = pickle.dumps(peers)
        if now >= end_ms:
            break
        stream.next()
        if peers.all:
            scores = peers.step(stream)
            if now >= at[-1]:
                peaks.append([s.max() for s in scores])
        if now // MINUTE_MS % 200 == 0:
            progress.update(task, completed=(now - stream.start_ms) // MINUTE_MS)
    progress.remove_task(task)
    limits = [threshold_for(column, options.rate) for column in np.array(peaks).T] if peers.all else []
    return WarmPeers(streams, snapshots, tuple(p.name for p in peers.all), tuple(limits))


def thawed(
    window_ms: int, watch: WarmWatch, peers: WarmPeers, options: argparse.Namespace
) -> tuple[CountStream, Driven, Peers]:
    """The stream, Watch and the peers as they stood at a snapshot, with the past at hand."""
    stream: CountStream = pickle.loads(peers.streams[window_ms])
    recent = Recent((LOOK_MS + 12 * HOUR_MS) / HOUR_MS)
    while stream.window_ms < window_ms:
        recent.add(*stream.next())
    driven = Driven(stream, options.measure, options.budget)
    driven.watch.restore(pickle.loads(watch.snapshots[window_ms]))
    driven.recent = recent
    thawed_peers: Peers = pickle.loads(peers.snapshots[window_ms])
    return stream, driven, thawed_peers
