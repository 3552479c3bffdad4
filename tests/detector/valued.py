"""Windows of values drawn from a seed, for value signals without a limit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from detector.config import MINUTE_MS, Config
from detector.counter.counter import buckets
from detector.counter.record import Histograms, SignalWindow
from detector.events import Floats
from detector.signals import Direction, Measure, Mode, Signal
from detector.watch.anomaly import Anomaly
from detector.watch.exceedance import ValueWatch
from tests.detector.watching import T0

SLOWER = Signal(
    name="latency",
    title={"en": "Slow"},
    events=(),
    measure=Measure.VALUE,
    value="latency_ms",
    direction=Direction.UP,
    dimensions=("endpoint", "version"),
    window_ms=MINUTE_MS,
    mode=Mode.LIVE,
)
BASES = {"search": 900.0, "ping": 10.0, "pay": 200.0}
VERSIONS = ("v1", "v2", "v3")
Cell = tuple[str, str]
Values = Callable[[int, Cell, Floats], Floats]
"""Minute, cell, standard normal numbers → values."""


def latencies(_minute: int, cell: Cell, z: Floats) -> Floats:
    return np.asarray(BASES[cell[0]] * np.exp(0.5 * z), np.float64)


def steady(_minute: int, _cell: Cell) -> float:
    return 1.0


@dataclass
class Shop:
    """`volume` values a minute in every cell, times what is planted."""

    values: Values = latencies
    volumes: Callable[[int, Cell], float] = steady
    volume: float = 8.0
    seed: int = 1
    records: dict[int, SignalWindow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def at(self, minute: int) -> SignalWindow:
        """Draw one minute."""
        cells: list[Cell] = []
        rows, total = [], []
        for cell in sorted((endpoint, version) for endpoint in BASES for version in VERSIONS):
            number = int(self._rng.poisson(self.volume * self.volumes(minute, cell)))
            if number:
                bucket = buckets(self.values(minute, cell, self._rng.normal(0, 1, number)))
                keys, count = np.unique(bucket, return_counts=True)
                rows.append(np.stack([np.full(len(keys), len(cells)), keys, count]))
                cells.append(cell)
                total.append(number)
        joined = np.concatenate(rows, axis=1)
        no_bad = np.zeros(len(cells), np.int64)
        return SignalWindow(
            cells=list(cells),
            people=no_bad,
            total=np.array(total, np.int64),
            attempts=no_bad,
            values=Histograms(joined[0], joined[1], joined[2]),
        )


def value_watch(signal: Signal = SLOWER) -> ValueWatch:
    return ValueWatch(Config(signals=(signal,)), signal)


def run(shop: Shop, minutes: int, watch: ValueWatch | None = None, *, first: int = 0) -> Iterator[Anomaly]:
    """Step a Watch through the shop's minutes."""
    watch = watch or value_watch()

    def look(from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]:
        return [(w, r) for w, r in sorted(shop.records.items()) if from_ms <= w < to_ms]

    for minute in range(first, minutes):
        window_ms = T0 + minute * MINUTE_MS
        shop.records[window_ms] = record = shop.at(minute)
        yield from watch.step(window_ms, record, look)
