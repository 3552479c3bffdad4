"""`delay`: problems of every kind planted into warmed-up streams: how many are found, how soon, with which cause."""

import argparse
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.quality.driven import MEASURES, median
from benchmarks.quality.peers import SIMPLE, Peers
from benchmarks.quality.warmed import WarmPeers, WarmWatch, thawed, warm_peers, warm_watch
from detector.config import MINUTE_MS
from detector.watch.anomaly import Anomaly, Phase
from models.simulate.counts import CountStream
from models.simulate.faults import DOWN_KINDS, SHARE_KINDS, UP_KINDS, Fault, Kind, plant
from models.simulate.tenants import SCALES

LIMIT = 300
"""Windows in which a problem must be found: five hours."""
LATER = 10
"""Windows after detection when the cause is looked at again."""
QUIET = (10, 60)
"""Windows between the snapshot and the onset."""
KINDS = {"share": SHARE_KINDS, "down": DOWN_KINDS, "up": UP_KINDS}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", type=int, nargs="+", default=[300], help="10, 300, 5000 or 50000 segments")
    parser.add_argument("--problems", type=int, default=10, help="of each kind")
    parser.add_argument("--warm", type=int, default=3, help="quiet weeks before; problems begin in the last of them")
    parser.add_argument("--snapshots", type=int, default=24, help="moments of that week from which problems begin")
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--budget", type=int, default=1, help="false cases a week that are allowed")
    parser.add_argument("--measure", choices=list(MEASURES), default="share")
    parser.add_argument("--kinds", nargs="+", help="only these kinds of problem")
    parser.add_argument("--peers", nargs="*", choices=list(SIMPLE), default=list(SIMPLE), help="none: only Watch")
    parser.add_argument("--river", action="store_true", help="river's detectors too: slow beyond 10 segments")
    parser.add_argument("--rate", type=float, default=1.0, help="false cases a week that the peers' limits give")
    parser.add_argument("--calibrate", type=int, default=4, help="further quiet weeks on which the limits are found")
    parser.add_argument("--cache", type=Path, help="where warmed-up detectors are kept")
    parser.add_argument("--seed", type=int, default=1)


@dataclass
class Outcome:
    """What one detector made of one planted problem."""

    after: float = np.inf
    """Windows from the onset to the detection; 0: the first."""
    right: bool | None = None
    right_later: bool | None = None
    onset_error: float | None = None
    """Windows, with its sign: positive is late."""
    said: list[dict[str, str]] = field(default_factory=list)
    said_later: list[dict[str, str]] = field(default_factory=list)
    elsewhere: int = 0
    """Opened where nothing is wrong."""


class Judge:
    """Follows what Watch says of a planted problem."""

    def __init__(self, stream: CountStream, faults: tuple[Fault, ...]) -> None:
        self._stream, self._faults = stream, faults
        self._onset_ms = faults[0].episodes[-1][0]
        """Where there is a relapse, it is the relapse that must be found."""
        masks = [stream.inside(f) for f in faults]
        self._truth = {m.tobytes() for m in masks}
        self._struck = np.any(masks, axis=0)
        self._open: dict[str, Anomaly] = {}
        self._first: str | None = None
        self.outcome = Outcome()

    def take(self, window_ms: int, anomalies: list[Anomaly]) -> None:
        out = self.outcome
        for anomaly in anomalies:
            if anomaly.phase is Phase.ENDED:
                self._open.pop(anomaly.id, None)
            elif self._hits(anomaly) and anomaly.window_ms >= self._faults[0].onset_ms:
                self._open[anomaly.id] = anomaly
            new = anomaly.phase is Phase.OPENED or (anomaly.phase is Phase.RELAPSED)
            if not new:
                continue
            if not self._hits(anomaly):
                out.elsewhere += 1
            elif window_ms >= self._onset_ms and self._first is None:
                self._first = anomaly.id
                out.after = (window_ms - self._onset_ms) // MINUTE_MS
        if self._first is None:
            return
        age = (window_ms - self._onset_ms) // MINUTE_MS - out.after
        if age == 0:
            out.right, out.said = self._right()
        if age == LATER:
            out.right_later, out.said_later = self._right()
            if self._first in self._open:
                out.onset_error = (self._open[self._first].onset_ms - self._onset_ms) / MINUTE_MS

    def _hits(self, anomaly: Anomaly) -> bool:
        return any((self._stream.covered(c.where) & self._struck).any() for c in anomaly.causes)

    def _right(self) -> tuple[bool, list[dict[str, str]]]:
        """Whether the causes that are named now are the planted ones: as sets of cells, whatever they are called."""
        wheres = [c.where for a in self._open.values() for c in a.causes]
        return {self._stream.covered(w).tobytes() for w in wheres} == self._truth, wheres

    def over(self, window_ms: int) -> bool:
        age = (window_ms - self._onset_ms) // MINUTE_MS
        return age >= LIMIT or age >= self.outcome.after + LATER


def planted(stream: CountStream, kind: Kind, number: int, seed: int) -> tuple[Fault, ...]:
    """Plant a problem that begins soon."""
    name = int.from_bytes(kind.name.encode(), "little") % 2**31
    rng = np.random.default_rng([seed, number, name])
    onset_ms = stream.window_ms + int(rng.integers(*QUIET)) * MINUTE_MS
    stream.problems = plant(rng, kind, stream.scale, stream.tenant.codes, stream.rates(), onset_ms)
    return stream.problems


def of_peers(stream: CountStream, peers: Peers, limits: tuple[float, ...], faults: tuple[Fault, ...]) -> list[float]:
    """Windows until each peer's score of a segment that the problem strikes passes its limit."""
    onset_ms = faults[0].episodes[-1][0]
    struck = peers.index.struck(np.any([stream.inside(f) for f in faults], axis=0))
    after = [np.inf] * len(limits)
    while peers.all and np.isinf(after).any() and stream.window_ms < onset_ms + LIMIT * MINUTE_MS:
        window_ms, _ = stream.next()
        scores = peers.step(stream)
        if window_ms < onset_ms:
            continue
        for i, (score, limit) in enumerate(zip(scores, limits, strict=True)):
            if np.isinf(after[i]) and (score[struck] >= limit).any():
                after[i] = (window_ms - onset_ms) // MINUTE_MS
    return after


def one(
    window_ms: int, watch: WarmWatch, peers: WarmPeers, kind: Kind, number: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Plant one problem and follow it."""
    stream, driven, others = thawed(window_ms, watch, peers, options)
    again = pickle.loads(pickle.dumps(stream))
    faults = planted(stream, kind, number, options.seed)
    judge = Judge(stream, faults)
    while True:
        window_ms, record = stream.next()
        judge.take(window_ms, driven.step(window_ms, record))
        if judge.over(window_ms):
            break
    struck = np.any([stream.inside(f) for f in faults], axis=0)
    out = judge.outcome
    again.problems = faults
    after = of_peers(again, others, peers.limits, faults)
    return {
        "peers": {name: None if np.isinf(at) else int(at) for name, at in zip(peers.names, after, strict=True)},
        "kind": kind.name,
        "onset_ms": faults[0].onset_ms,
        "where": [stream.named(f) for f in faults],
        "a_minute": round(float(stream.rates()[struck].sum()), 2),
        "after": None if np.isinf(out.after) else int(out.after),
        "right": out.right,
        "right_later": out.right_later,
        "onset_error": out.onset_error,
        "said": out.said,
        "said_later": out.said_later,
        "elsewhere": out.elsewhere,
    }


def _percent(flags: list[bool]) -> str:
    return f"{100 * float(np.mean(flags)):.0f}" if flags else "-"


def summary(kind: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    after = [np.inf if r["after"] is None else float(r["after"]) for r in runs]
    middle = median(after)
    errors = [abs(r["onset_error"]) for r in runs if r["onset_error"] is not None]
    return {
        "problem": kind,
        "planted": len(runs),
        "a minute": round(float(np.median([r["a_minute"] for r in runs])), 1),
        "found %": _percent([r["after"] is not None for r in runs]),
        "windows": "-" if middle is None else f"{middle:g}",
        "cause right %": _percent([bool(r["right"]) for r in runs if r["right"] is not None]),
        f"{LATER} later %": _percent([bool(r["right_later"]) for r in runs if r["right_later"] is not None]),
        "onset off": f"{np.median(errors):g}" if errors else "-",
        "elsewhere": sum(r["elsewhere"] for r in runs),
    }


def beside(kind: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Found % · median windows of every detector."""
    row: dict[str, Any] = {"problem": kind}
    for name in ("Watch", *runs[0]["peers"]):
        found = [r["after"] if name == "Watch" else r["peers"][name] for r in runs]
        middle = median([np.inf if a is None else float(a) for a in found])
        row[name] = f"{_percent([a is not None for a in found])} · {'-' if middle is None else f'{middle:g}'}"
    return row


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    kinds = [k for k in KINDS[options.measure] if not options.kinds or k.name in options.kinds]
    tables, every = {}, {}
    with Progress(console=console) as progress:
        for scale in options.scale:
            watch, peers = warm_watch(scale, options, progress), warm_peers(scale, options, progress)
            at = sorted(watch.snapshots)
            here = [k for k in kinds if k.dimensions <= len(SCALES[scale].dimensions)]
            task = progress.add_task(f"{scale} segments: planting", total=len(here) * options.problems)
            rows, compared, runs = [], [], []
            for kind in here:
                of_kind = []
                for i in range(options.problems):
                    # Spread over the week: as many by night as by day.
                    moment = at[i * len(at) // options.problems % len(at)]
                    of_kind.append(one(moment, watch, peers, kind, i, options))
                    progress.advance(task)
                rows.append(summary(kind.name, of_kind))
                compared.append(beside(kind.name, of_kind))
                runs += of_kind
            title = f"{scale} segments, noise × {options.noise}, budget {options.budget} a week, {options.measure}"
            tables[title] = rows
            if peers.names:
                tables[f"{scale} segments: found % · median windows; peers at {options.rate:g} false cases a week"] = (
                    compared
                )
            limits = dict(zip(peers.names, peers.limits, strict=True))
            every[str(scale)] = {"opened_in_warm_up": watch.opened, "limits": limits, "runs": runs}
    return {"tables": tables, "scales": every}
