"""Windows of counts drawn from a seed, for the Watch: a cube of two dimensions, with whatever is planted in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from detector.config import MINUTE_MS, Config
from detector.counter.record import SignalWindow
from detector.signals import Condition, Direction, Measure, Mode, Signal
from detector.watch.anomaly import Anomaly, Phase
from detector.watch.watch import Watch

T0 = 1_772_409_600_000
VERSIONS = tuple(f"v{i}" for i in range(5))
CITIES = tuple(f"c{i}" for i in range(6))

SHARE = Signal(
    name="logins",
    title={"en": "Logins fail"},
    events=(Condition("kind", any_of=("login",)),),
    bad=(Condition("outcome", any_of=("failure",)),),
    measure=Measure.SHARE,
    dimensions=("version", "city"),
    window_ms=MINUTE_MS,
    mode=Mode.LIVE,
)
SILENCE = Signal(
    name="checkouts",
    title={"en": "Checkouts have stopped"},
    events=(Condition("kind", any_of=("checkout",)),),
    measure=Measure.COUNT,
    direction=Direction.DOWN,
    dimensions=("version", "city"),
    window_ms=MINUTE_MS,
    mode=Mode.LIVE,
)

Cell = tuple[str, str]
Rate = Callable[[int, Cell], float]
"""Minute, cell → a factor."""


def same(_minute: int, _cell: Cell) -> float:
    return 1.0


@dataclass
class Cube:
    """A signal's windows: `share` of `volume` a minute fails, both times what is planted."""

    signal: Signal = SHARE
    seed: int = 1
    share: float = 0.04
    volume: float = 4.0
    shares: Rate = same
    volumes: Rate = same
    versions: tuple[str, ...] = VERSIONS
    records: dict[int, SignalWindow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._cells = sorted((v, c) for v in self.versions for c in CITIES)

    def at(self, minute: int) -> SignalWindow | None:
        """Draw one minute: Poisson volume, binomial failures."""
        mean = np.array([self.volume * self.volumes(minute, cell) for cell in self._cells])
        chance = np.array([min(self.share * self.shares(minute, cell), 1.0) for cell in self._cells])
        total = self._rng.poisson(mean)
        bad = self._rng.binomial(total, chance)
        if self.signal.measure is Measure.COUNT:
            bad = np.zeros_like(total)
        used = np.flatnonzero(total)
        if not len(used):
            return None
        return SignalWindow(
            cells=[self._cells[i] for i in used],
            people=bad[used].astype(np.int64),
            total=total[used].astype(np.int64),
            attempts=bad[used].astype(np.int64),
        )


def watch_of(signal: Signal = SHARE) -> Watch:
    return Watch(Config(signals=(signal,)), signal)


def run(
    cube: Cube, minutes: int, watch: Watch | None = None, *, first: int = 0, learn_only: bool = False
) -> Iterator[Anomaly]:
    """Step a Watch through the cube's minutes."""
    watch = watch or watch_of(cube.signal)

    def look(from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]:
        return [(w, r) for w, r in sorted(cube.records.items()) if from_ms <= w < to_ms]

    for minute in range(first, minutes):
        window_ms = T0 + minute * MINUTE_MS
        record = cube.at(minute)
        if record is not None:
            cube.records[window_ms] = record
        yield from watch.step(window_ms, record, look, learn_only=learn_only)


def minute_of(time_ms: int) -> float:
    return (time_ms - T0) / MINUTE_MS


def first(anomalies: list[Anomaly], phase: Phase = Phase.OPENED) -> Anomaly:
    return next(a for a in anomalies if a.phase is phase)


def wheres(anomaly: Anomaly) -> list[dict[str, str]]:
    return [c.where for c in anomaly.causes]
