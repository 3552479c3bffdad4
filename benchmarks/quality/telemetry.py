"""Seeded 1-minute telemetry with labelled incidents, for judging `tocsin detect` on series that nobody tuned to.

Gauges, sampled latencies, counts, rates, queues, sawtooths, cron jobs, constants; days that differ in length, missing
rows and jumps in time. Per series some incidents of several kinds, each labelled where it can be seen, and things that
are no incidents: single heavy-tailed rows, night jobs, slow drift.

    python benchmarks/quality/telemetry.py --seed 7 --out DIR      writes NAME.csv with timestamp,value,label
"""

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rng = np.random.Generator

MINUTES_A_DAY = 1_440
EPOCH = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Telemetry:
    """One series: `value` NaN where the row has none; `label` marks the rows of incidents."""

    name: str
    minute: npt.NDArray[np.int64]
    value: Floats
    label: Bools


def wander(rng: Rng, rows: int, sd: float, minutes: float) -> Floats:
    """Ornstein-Uhlenbeck noise: standard deviation `sd`, relaxation in `minutes`."""
    from scipy.signal import lfilter

    keep = float(np.exp(-1 / minutes))
    steps = rng.normal(0, sd * np.sqrt(1 - keep * keep), rows)
    steps[0] = rng.normal(0, sd)
    return np.asarray(lfilter([1.0], [1.0, -keep], steps), np.float64)


def day(rng: Rng, rows: int, depth: float) -> Floats:
    """A smooth daily pattern around 1: two harmonics, weekends lower by up to a third."""
    t = np.arange(rows) / MINUTES_A_DAY
    a, b, p, q = rng.uniform(0.6, 1), rng.uniform(0, 0.5), *rng.uniform(0, 1, 2)
    shape = a * np.cos(2 * np.pi * (t - p)) + b * np.cos(4 * np.pi * (t - q))
    weekend = np.where((t.astype(int) + int(rng.integers(7))) % 7 >= 5, rng.uniform(0.65, 1), 1.0)
    fading = np.convolve(np.pad(weekend, 180, mode="edge"), np.full(361, 1 / 361), "valid")
    return np.asarray((1 + depth * shape / (a + b)) * fading, np.float64)


# --- what a series looks like when nothing is wrong ------------------------------------------------------------------
# Each returns a function of (factor, add, spread): the incident's multiplier, its summand in units of the series' own
# size, and its multiplier of the noise, one for each row.

Shaped = Callable[[Floats, Floats, Floats], Floats]


def latency(rng: Rng, rows: int) -> Shaped:
    mean = day(rng, rows, rng.uniform(0, 0.25)) * np.exp(wander(rng, rows, 0.05, 120)) * rng.uniform(0.02, 0.8)
    noise = rng.normal(0, rng.uniform(0.03, 0.15), rows) + (rng.random(rows) < 0.002) * rng.exponential(0.6, rows)
    return lambda factor, add, spread: mean * factor * np.exp(noise * spread) + add * mean.mean()


def latency_p99(rng: Rng, rows: int) -> Shaped:
    mean = day(rng, rows, rng.uniform(0, 0.2)) * np.exp(wander(rng, rows, 0.05, 120)) * rng.uniform(50, 2_000)
    noise = rng.gumbel(0, rng.uniform(0.1, 0.3), rows)
    return lambda factor, add, spread: mean * factor * np.exp(np.minimum(noise * spread, 2)) + add * mean.mean()


def requests(rng: Rng, rows: int) -> Shaped:
    mean = day(rng, rows, rng.uniform(0.3, 0.8)) * np.exp(wander(rng, rows, 0.06, 90)) * 10 ** rng.uniform(0.5, 3.5)
    shape, seed = rng.uniform(20, 200), int(rng.integers(2**31))

    def draw(factor: Floats, add: Floats, spread: Floats) -> Floats:
        own = np.random.default_rng(seed)
        k = shape / spread**2
        rate = np.maximum(mean * factor + add * mean.mean(), 0)
        return np.asarray(own.poisson(own.gamma(k, 1 / k, rows) * rate), np.float64)

    return draw


def cpu(rng: Rng, rows: int) -> Shaped:
    level = rng.uniform(5, 60) * day(rng, rows, rng.uniform(0, 0.3))
    noise = wander(rng, rows, 1, rng.uniform(1, 10)) * level.mean() * rng.uniform(0.02, 0.12)
    cron = np.zeros(rows)
    if rng.random() < 0.5:
        every, width = int(rng.choice([15, 60, 360, MINUTES_A_DAY])), int(rng.integers(1, 4))
        at = np.arange(rows) % every
        cron = (at < width) * rng.uniform(0.2, 1) * level.mean()
    return lambda factor, add, spread: np.clip(level * factor + cron + noise * spread + add * level.mean(), 0, 100)


def errors(rng: Rng, rows: int) -> Shaped:
    seen = np.maximum(rng.poisson(day(rng, rows, 0.5) * 10 ** rng.uniform(1.5, 3.5)), 1)
    share, seed = 10 ** rng.uniform(-3.3, -1.5) * np.exp(wander(rng, rows, 0.15, 150)), int(rng.integers(2**31))

    def draw(factor: Floats, add: Floats, spread: Floats) -> Floats:
        lifted = np.clip(share * factor * np.where(factor > 1, 2, 1) + np.maximum(add, 0) * 0.1, 0, 1)
        return np.asarray(np.random.default_rng(seed).binomial(seen, lifted) / seen * 100, np.float64)

    return draw


def success(rng: Rng, rows: int) -> Shaped:
    bad = errors(rng, rows)
    return lambda factor, add, spread: 100 - bad(factor, add, spread)


def sawtooth(rng: Rng, rows: int) -> Shaped:
    period, depth, low = rng.uniform(20, 400), rng.uniform(0.2, 0.8), rng.uniform(100, 4_000)
    phase = np.cumsum(np.exp(wander(rng, rows, 0.1, 60)) / period) + rng.random()
    shape, noise = 1 + depth * (phase % 1), rng.normal(0, 0.01, rows)
    return lambda factor, add, spread: low * (shape * factor + noise * spread + add)


def queue(rng: Rng, rows: int) -> Shaped:
    busy = np.convolve(rng.random(rows) < rng.uniform(0.002, 0.03), np.exp(-np.arange(10) / 3), "same")
    height, seed = rng.uniform(5, 80), int(rng.integers(2**31))

    def draw(factor: Floats, add: Floats, spread: Floats) -> Floats:
        lifted = np.maximum(busy * factor + np.maximum(factor - 1, 0) + np.maximum(add, 0), 0)
        return np.random.default_rng(seed).poisson(lifted * height).astype(float)

    return draw


def gauge(rng: Rng, rows: int) -> Shaped:
    level = rng.uniform(20, 90) + wander(rng, rows, 3, rng.uniform(200, 2_000)) + 5 * (day(rng, rows, 0.3) - 1)
    noise = rng.normal(0, rng.uniform(0.05, 0.5), rows)
    return lambda factor, add, spread: level + 12 * np.log(np.maximum(factor, 0.01)) + noise * spread + add * 20


def traffic(rng: Rng, rows: int) -> Shaped:
    mean = day(rng, rows, rng.uniform(0.1, 0.5)) * 10 ** rng.uniform(4, 7)
    noise = wander(rng, rows, rng.uniform(0.1, 0.35), rng.uniform(1, 5))
    return lambda factor, add, spread: np.maximum(mean * factor * np.exp(noise * spread) + add * mean.mean(), 0)


def constant(rng: Rng, rows: int) -> Shaped:
    level = float(rng.choice([0.0, 1.0, 3.0, 100.0, 512.0]))
    return lambda factor, add, spread: np.round(level * factor + add * max(level, 1.0), 3)


KINDS: dict[str, Callable[[Rng, int], Shaped]] = {
    "latency": latency,
    "latency-p99": latency_p99,
    "requests": requests,
    "cpu": cpu,
    "errors": errors,
    "success": success,
    "sawtooth": sawtooth,
    "queue": queue,
    "gauge": gauge,
    "traffic": traffic,
    "constant": constant,
}

# --- incidents -------------------------------------------------------------------------------------------------------

INCIDENTS = ("spike", "dip", "shift", "down", "ramp", "dropout", "variance", "frozen", "pattern")
ALLOWED = {
    "errors": ("spike", "shift", "ramp"),
    "success": ("spike", "shift", "ramp"),
    "queue": ("spike", "shift", "ramp"),
    "constant": ("spike", "shift", "dropout"),
    "sawtooth": ("spike", "dip", "shift", "down", "ramp", "frozen", "dropout"),
}
"""Where an incident of some sort could not be seen, it is not planted."""
APART = 300


def telemetry(name: str, kind: str, seed: int) -> Telemetry:
    """One series of a kind with its incidents; the same seed draws the same rows."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(3, 11)) * MINUTES_A_DAY
    shaped = KINDS[kind](rng, rows)
    incidents = _incidents(rng, kind, rows)
    factor, add, spread = np.ones(rows), np.zeros(rows), np.ones(rows)
    label = np.zeros(rows, bool)
    for what, start, length in incidents:
        at = slice(start, start + length)
        label[at] = True
        if what == "spike":
            add[at] = rng.uniform(0.6, 3)
        elif what == "dip":
            factor[at] = rng.uniform(0.05, 0.5)
        elif what == "shift":
            factor[at] = rng.uniform(1.4, 3)
        elif what == "down":
            factor[at] = rng.uniform(0.3, 0.65)
        elif what == "ramp":
            factor[at] = 1 + np.linspace(0, rng.uniform(0.8, 3), length)
        elif what == "dropout":
            factor[at], add[at] = 0, 0
        elif what == "variance":
            spread[at] = rng.uniform(2.5, 5)
    value = shaped(factor, add, spread)
    for what, start, length in incidents:
        if what == "frozen":
            value[start : start + length] = value[start - 1]
        elif what == "pattern":
            # The hours of another time of the day: only a series with a day shows it.
            value[start : start + length] = value[start - 720 : start - 720 + length]
    return _with_gaps(rng, Telemetry(name, np.arange(rows), value, label))


def _incidents(rng: Rng, kind: str, rows: int) -> list[tuple[str, int, int]]:
    count = 0 if rng.random() < 0.15 else int(rng.integers(2, 7))
    starts = np.sort(rng.integers(int(0.2 * rows), rows - APART, count))
    out = []
    for start, gap in zip(starts.tolist(), np.diff(starts, append=rows).tolist(), strict=True):
        what = str(rng.choice([i for i in INCIDENTS if i in ALLOWED.get(kind, INCIDENTS)]))
        if what == "pattern" and kind not in ("requests", "traffic"):
            what = "shift"
        shortest, longest = {
            "spike": (1, 6),
            "dip": (2, 10),
            "ramp": (45, 180),
            "frozen": (30, 150),
            "pattern": (90, 240),
        }.get(what, (10, 150))
        if gap >= APART:
            out.append((what, start, int(rng.integers(shortest, longest + 1))))
    return out


def _with_gaps(rng: Rng, whole: Telemetry) -> Telemetry:
    """Rows that never came: some single ones, and in a few series a jump of hours."""
    keep = rng.random(len(whole.minute)) >= rng.choice([0, 0, 0.002, 0.02])
    if rng.random() < 0.2:
        start = int(rng.integers(len(keep) // 3, len(keep) - 600))
        keep[start : start + int(rng.integers(30, 500))] = False
    keep |= whole.label
    return Telemetry(whole.name, whole.minute[keep], whole.value[keep], whole.label[keep])


def fleet(seed: int, each: int) -> list[Telemetry]:
    """`each` series of every kind."""
    return [
        telemetry(f"{kind}-{i:02d}", kind, seed * 100_003 + 101 * i + 7 * j)
        for j, kind in enumerate(KINDS)
        for i in range(each)
    ]


def write(series: list[Telemetry], folder: Path) -> None:
    """Write NAME.csv for each series: timestamp,value,label."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in series:
        with (folder / f"{one.name}.csv").open("w", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(("timestamp", "value", "label"))
            for minute, value, label in zip(one.minute.tolist(), one.value.tolist(), one.label.tolist(), strict=True):
                stamp = (EPOCH + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M:%S")
                out.writerow((stamp, f"{value:.6g}", int(label)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--each", type=int, default=5, help="series of every kind")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    write(fleet(options.seed, options.each), options.out)


if __name__ == "__main__":
    main()
