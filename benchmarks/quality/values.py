"""How early a change of values is found, and how often quiet ones raise a case: ranks against three usual ways.

Values of five kinds are drawn from a seed: lognormal, gamma, heavy-tailed, with zeros and ties, bounded (sentiment in
[-1, 1]). Levels wander per dimension value, days have a season, campaigns change the mix. After some quiet days of
learning, quiet weeks count false cases; then a change is planted again and again in one value of a dimension (in 1
segment: in everything), and each detector says when it saw it.

- `ranks`: a value signal without a limit (`detector.watch.exceedance`), at its budget's threshold;
- `limit`: the same engine on the share beyond a fixed limit (the quantile 0.95 of the first days), at its threshold;
- `mean` and `p95`: z-scores of every segment's window mean and 95th percentile against an average of a day, at the
  threshold that the quiet weeks themselves would have asked for: the best that they could have had.

    python -m benchmarks.quality.values [--kinds lognormal,zeros] [--segments 300] [--problems 10] [--weeks 2] [--json]
                                        [--out FILE]
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality import report
from detector.config import HOUR_MS, MINUTE_MS, Config
from detector.counter.counter import buckets
from detector.counter.record import Histograms, SignalWindow
from detector.events import Floats, Ints
from detector.pack import pack, unpack
from detector.signals import Direction, Measure, Mode, Signal
from detector.watch.anomaly import Phase
from detector.watch.exceedance import ValueWatch
from detector.watch.watch import Watch

T0 = 1_772_409_600_000
KINDS = ("lognormal", "gamma", "heavy", "zeros", "bounded")
SCALES = {1: ((1, 1), 30.0), 300: ((12, 20), 300.0)}
"""Values of each dimension, values a minute."""
CHANGES = {
    "+10 %": ("shift", 1.1),
    "+25 %": ("shift", 1.25),
    "+50 %": ("shift", 1.5),
    "tenth x2": ("tail", 2.0),
    "fiftieth x4": ("rare", 4.0),
    "spread x1.5": ("spread", 1.5),
    "tenth x3, same mean": ("split", 3.0),
}
PATIENCE = 240
"""Minutes in which a change must be found."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Change:
    """What is wrong: in which cells (bool[cells]), what and how much."""

    cells: Flags
    what: str
    size: float


@dataclass
class World:
    """Values by cell, minute by minute."""

    kind: str
    scale: int
    seed: int
    wander: float = 0.04
    season: float = 0.15
    campaign: tuple[int, int, bool] = (0, 0, False)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng = np.random.default_rng(self.seed)
        sizes, self.volume = SCALES[self.scale]
        self.codes = np.array([(a, b) for a in range(sizes[0]) for b in range(sizes[1])])
        size = [np.sort(rng.lognormal(0, 0.8, n))[::-1] for n in sizes]
        weight = size[0][self.codes[:, 0]] * size[1][self.codes[:, 1]]
        self.weight = weight / weight.sum()
        self.names = [(f"a{a:02}", f"b{b:02}") for a, b in self.codes.tolist()]  # in order as they stand
        own = [rng.normal(0, sd, n)[self.codes[:, d]] for d, (n, sd) in enumerate(zip(sizes, (0.6, 0.2), strict=True))]
        self.level = own[0] + own[1] + rng.normal(0, 0.1, len(self.codes))
        self.sd = 0.5 * np.exp(rng.normal(0, 0.15, sizes[0]))[self.codes[:, 0]]
        self.drift = [rng.normal(0, self.wander, n) for n in (1, *sizes)]

    def minute(self, minute: int, change: Change | None = None) -> tuple[Ints, Floats]:
        """int64[values] their cells, and float64[values]."""
        rng, keep = self.rng, float(np.exp(-1 / 150))
        for drift in self.drift:
            drift[:] = drift * keep + rng.normal(0, self.wander * np.sqrt(1 - keep**2), len(drift))
        if rng.random() < 1 / 5000 and self.campaign[0] < minute:
            until = minute + int(rng.integers(60, 180))
            self.campaign = (until, int(rng.integers(self.codes[:, 0].max() + 1)), bool(rng.random() < 0.5))
        until, where, everywhere = self.campaign
        boost = np.where((self.codes[:, 0] == where) | everywhere, 3.0, 1.0) if until > minute else 1.0
        busy = 1 + 0.6 * np.cos(2 * np.pi * (minute / 1440 - 0.55))
        number = rng.poisson(self.volume * busy * self.weight * boost)
        cell = np.repeat(np.arange(len(number)), number)
        drift = self.drift[0][0] + self.drift[1][self.codes[:, 0]] + self.drift[2][self.codes[:, 1]]
        level = self.level + drift + self.season * np.cos(2 * np.pi * (minute / 1440 - 0.6))
        return cell, self._values(cell, level[cell], change)

    def _values(self, cell: Ints, level: Floats, change: Change | None) -> Floats:
        from scipy.stats import gamma, norm

        rng, many = self.rng, len(cell)
        z, sd = rng.normal(0, 1, many), self.sd[cell]
        x = np.log(gamma.ppf(norm.cdf(z), 2.0) / 2) if self.kind == "gamma" else sd * z
        if self.kind == "heavy":
            x = x + (rng.random(many) < 0.03) * rng.exponential(1.2, many)
        if change is not None:
            x = np.where(change.cells[cell], _changed(x, z, sd, change, rng), x)
        if self.kind == "bounded":
            return np.asarray(np.tanh(0.4 - x - 0.3 * level), np.float64)
        value = 200 * np.exp(x + level)
        if self.kind == "zeros":
            value = np.where(rng.random(many) < 0.4, 0.0, np.round(value))
        return np.asarray(value, np.float64)

    def window(self, cell: Ints, values: Floats, limit: float, *, up: bool) -> SignalWindow | None:
        """What the Counter makes of them; `people` are those beyond the limit."""
        total = np.bincount(cell, minlength=len(self.names))
        used = np.flatnonzero(total)
        if not len(used):
            return None
        place = np.zeros(len(total), np.int64)
        place[used] = np.arange(len(used))
        bad = np.bincount(cell[(values > limit) if up else (values < limit)], minlength=len(total))[used]
        keys, count = np.unique(np.stack([place[cell], buckets(values)]), axis=1, return_counts=True)
        return SignalWindow(
            cells=[self.names[i] for i in used],
            people=bad.astype(np.int64),
            total=total[used].astype(np.int64),
            attempts=bad.astype(np.int64),
            values=Histograms(keys[0], keys[1], count.astype(np.int64)),
        )


def _changed(x: Floats, z: Floats, sd: Floats, change: Change, rng: np.random.Generator) -> Floats:
    """float64[values]: the logs as the change has them."""
    size = change.size
    if change.what == "shift":
        out = x + np.log(size)
    elif change.what == "tail":
        out = np.where(z > 1.2816, x + np.log(size), x)
    elif change.what == "rare":
        out = np.where(rng.random(len(x)) < 0.02, x + np.log(size), x)
    elif change.what == "spread":  # the mean of a lognormal stays
        out = x * size - sd**2 * (size**2 - 1) / 2
    else:
        out = np.where(rng.random(len(x)) < 0.1, x + np.log(size), x + np.log((1 - 0.1 * size) / 0.9))
    return np.asarray(out, np.float64)


class ZScores:
    """Every segment's window mean and 95th percentile against an average of a day."""

    def __init__(self, world: World, *, up: bool) -> None:
        families = [f for size in range(3) for f in combinations(range(2), size)]
        top = world.codes.max(axis=0) + 1
        self._up, self._keys, self._at = up, [], 0
        for family in families:
            key = np.zeros(len(world.codes), np.int64)
            for d in family:
                key = key * top[d] + world.codes[:, d]
            self._keys.append(key + self._at)
            self._at += int(key.max()) + 1
        self._sums = np.zeros((3, 2, self._at))
        """Weight, sum, sum of squares, faded: of mean and p95."""

    def step(self, cell: Ints, values: Floats) -> tuple[float, float]:
        """The highest z-score of any segment with ten values or more: by mean, by p95."""
        values = values if self._up else -values
        keys = np.concatenate([key[cell] for key in self._keys])
        repeated = np.tile(values, len(self._keys))
        order = np.lexsort((repeated, keys))
        number = np.bincount(keys, minlength=self._at)
        last = np.cumsum(number)
        enough = np.flatnonzero(number >= 10)
        mean = np.bincount(keys, weights=repeated, minlength=self._at)[enough] / number[enough]
        at = last[enough] - 1 - ((number[enough] - 1) * 0.05).astype(np.int64)
        seen = np.stack([mean, repeated[order][at]])
        weight, first, second = self._sums[:, :, enough]
        average = first / np.maximum(weight, 1e-9)
        spread = np.sqrt(np.maximum(second / np.maximum(weight, 1e-9) - average**2, 1e-12))
        z = np.where(weight > 60, (seen - average) / spread, 0.0)
        self._sums *= 0.5 ** (1 / 1440)
        self._sums[:, :, enough] += np.stack([np.ones_like(seen), seen, seen**2])
        top = z.max(axis=1, initial=0.0)
        return float(top[0]), float(top[1])


class Bench:
    """One world with all that watch it."""

    def __init__(self, kind: str, scale: int, seed: int) -> None:
        self.world, self.up = World(kind, scale, seed), kind != "bounded"
        # Ten minutes an hour of a day before the world begins: where a person would put a limit.
        before = World(kind, scale, seed)
        many = np.concatenate([before.minute(m)[1] for m in range(-1440, 0, 6)])
        self.limit = float(np.quantile(many, 0.95 if self.up else 0.05))
        side = {"bad_above": self.limit} if self.up else {"bad_below": self.limit}
        limited, ranked = _signal(**side), _signal(direction=Direction.UP if self.up else Direction.DOWN)
        self.ranks = ValueWatch(Config(signals=(ranked,)), ranked)
        self.fixed = Watch(Config(signals=(limited,)), limited)
        self.z = ZScores(self.world, up=self.up)
        self.minute = 0
        self._records: dict[int, SignalWindow] = {}

    def _look(self, from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]:
        times = range(from_ms, to_ms, MINUTE_MS)
        return [(t, self._records[t]) for t in times if t in self._records]

    def step(self, change: Change | None = None) -> tuple[bool, bool, float, float]:
        """One minute: whether `ranks` and `limit` opened a case, and the two z-scores."""
        cell, values = self.world.minute(self.minute, change)
        record, now_ms = self.world.window(cell, values, self.limit, up=self.up), T0 + self.minute * MINUTE_MS
        if record is not None:
            self._records[now_ms] = record
        self._records.pop(now_ms - 12 * HOUR_MS, None)
        found = [watch.step(now_ms, record, self._look) for watch in (self.ranks, self.fixed)]
        opened = [any(a.phase in (Phase.OPENED, Phase.RELAPSED) for a in said) for said in found]
        self.minute += 1
        return opened[0], opened[1], *self.z.step(cell, values)

    def keep(self) -> Callable[[int], "Bench"]:
        """Return what makes a copy that goes on from here with other random numbers."""
        parts = {"ranks": self.ranks.state(), "fixed": self.fixed.state()}
        kept = pack(parts), self.z._sums.copy(), [d.copy() for d in self.world.drift], dict(self._records)

        def copy(seed: int) -> Bench:
            other = object.__new__(Bench)
            vars(other).update(vars(self))
            world = other.world = object.__new__(World)
            vars(world).update(vars(self.world))
            world.rng, world.drift = np.random.default_rng(seed), [d.copy() for d in kept[2]]
            state: dict[str, Any] = unpack(kept[0], dict)
            other.ranks = ValueWatch(self.ranks._config, self.ranks.signal)
            other.ranks.restore(state["ranks"])
            other.fixed = Watch(self.fixed._config, self.fixed.signal)
            other.fixed.restore(state["fixed"])
            other.z = ZScores(world, up=self.up)
            other.z._sums, other._records = kept[1].copy(), dict(kept[3])
            return other

        return copy


def _signal(**given: Any) -> Signal:
    return Signal(
        name="values",
        title={"en": "Values"},
        events=(),
        measure=Measure.VALUE,
        value="value",
        dimensions=("a", "b"),
        window_ms=MINUTE_MS,
        mode=Mode.LIVE,
        **given,
    )


def cases(opened: list[int]) -> int:
    """How many cases these minutes make, joined over an hour."""
    return sum(i == 0 or minute - opened[i - 1] > 60 for i, minute in enumerate(opened))


def measure(kind: str, scale: int, problems: int, weeks: float, learn: int, seed: int) -> dict[str, Any]:
    """Return false cases a week and, by change and detector, [share found, median delay in minutes or None]."""
    bench = Bench(kind, scale, seed)
    for _ in range(learn * 1440):
        bench.step()
    copy = bench.keep()
    quiet = copy(seed + 1)
    said = [quiet.step() for _ in range(int(weeks * 7 * 1440))]
    thresholds = [max(s[2] for s in said), max(s[3] for s in said)]
    limits = {"ranks": 0.5, "limit": 0.5, "mean at 3": 3.0, "p95 at 3": 3.0}
    false = {
        name: cases([minute for minute, s in enumerate(said) if s[i] > limit]) / weeks
        for i, (name, limit) in enumerate(limits.items())
    }
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, tuple[float, float | None]]] = {}
    for name, (what, size) in CHANGES.items():
        delays: list[list[float]] = [[], [], [], []]
        for i in range(problems):
            trial = copy(seed + 100 + i)
            where = int(rng.integers(min(4, trial.world.codes[:, 0].max() + 1)))
            change = Change(trial.world.codes[:, 0] == where, what, size)
            for _ in range(int(rng.integers(30, 90))):
                trial.step()
            first = [float("inf")] * 4
            for minute in range(PATIENCE):
                opened, fixed, mean, p95 = trial.step(change)
                seen = (opened, fixed, mean > thresholds[0], p95 > thresholds[1])
                first = [min(f, minute) if s else f for f, s in zip(first, seen, strict=True)]
                if np.isfinite(first).all():
                    break
            for column, delay in zip(delays, first, strict=True):
                column.append(delay)
        summary = [(float(np.isfinite(d).mean()), float(np.median(d))) for d in delays]
        found[name] = {
            n: (share, median if np.isfinite(median) else None)
            for n, (share, median) in zip(("ranks", "limit", "mean", "p95"), summary, strict=True)
        }
    return {"kind": kind, "segments": scale, "false_cases_a_week": false, "found": found}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--segments", default="1,300")
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--weeks", type=float, default=1.0, help="quiet weeks per world")
    parser.add_argument("--learn", type=int, default=8, help="days before")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="write the tables as a report, for `compare`")
    given = parser.parse_args()
    results = []
    for scale in map(int, given.segments.split(",")):
        for kind in given.kinds.split(","):
            result = measure(kind, scale, given.problems, given.weeks, given.learn, given.seed)
            results.append(result)
            if not given.json:
                show(result)
    found = report.named({"tables": tables(results, given), "results": results}, "values")
    if given.out:
        report.write(found, given.out)
    if given.json:
        print(json.dumps(found, indent=2))


def tables(results: list[dict[str, Any]], given: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the figures as rows of a report: found % · median minutes by change, and false cases a week."""
    out: dict[str, list[dict[str, Any]]] = {}
    quiet = []
    for result in results:
        world = f"{result['kind']}, {result['segments']} segments"
        out[f"Values: {world}"] = [
            {"change": change, "planted": given.problems} | {name: _cell(*cell) for name, cell in row.items()}
            for change, row in result["found"].items()
        ]
        false = {f"{name}: a week": round(value, 2) for name, value in result["false_cases_a_week"].items()}
        quiet.append({"values": world, "quiet weeks": given.weeks, **false})
    return {**out, "Values: quiet weeks": quiet}


def _cell(share: float, delay: float | None) -> str:
    return f"{100 * share:.0f} · {'-' if delay is None else f'{delay:g}'}"


def show(result: dict[str, Any]) -> None:
    """Print one world's rows: found % · median minutes until then."""
    print(f"\n{result['kind']}, {result['segments']} segments; false cases a week: ", end="")
    print(", ".join(f"{name} {value:.1f}" for name, value in result["false_cases_a_week"].items()))
    print(f"{'':24}" + "".join(f"{name:>12}" for name in ("ranks", "limit", "mean", "p95")))
    for change, row in result["found"].items():
        cells = (f"{share:.0%}·{'–' if delay is None else f'{delay:.0f}'}" for share, delay in row.values())
        print(f"{change:24}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
