"""Our own Watch, driven window by window over simulated counts, with its configuration as it comes."""

from typing import Any

import numpy as np

from detector.config import HOUR_MS, MINUTE_MS, Budget, Config
from detector.counter.record import SignalWindow
from detector.signals import Direction, Measure, Mode, Signal
from detector.watch.anomaly import Anomaly, Phase
from detector.watch.watch import Watch
from models.simulate.counts import COUNT, SHARE, CountStream, Recent

MEASURES = {"share": (SHARE, Direction.UP), "down": (COUNT, Direction.DOWN), "up": (COUNT, Direction.UP)}
JOIN_MS = HOUR_MS


def configured(dimensions: tuple[str, ...], measure: str, cases: int) -> tuple[Config, Signal]:
    signal = Signal(
        name="failures",
        title={"en": "It fails"},
        events=(),
        measure=Measure.SHARE if measure == "share" else Measure.COUNT,
        direction=MEASURES[measure][1],
        dimensions=dimensions,
        window_ms=MINUTE_MS,
        mode=Mode.LIVE,
    )
    return Config(signals=(signal,), budget=Budget(cases=cases)), signal


class Driven:
    """Watch over one stream."""

    def __init__(self, stream: CountStream, measure: str, cases: int = 1) -> None:
        self.watch = Watch(*configured(stream.dimensions, measure, cases))
        self.recent = Recent()

    def step(self, window_ms: int, record: SignalWindow) -> list[Anomaly]:
        self.recent.add(window_ms, record)
        return self.watch.step(window_ms, record if record.cells else None, self.recent)


def told(anomaly: Anomaly) -> dict[str, Any]:
    """What one opened anomaly says, for a report."""
    return {
        "window_ms": anomaly.window_ms,
        "onset_ms": anomaly.onset_ms,
        "causes": [c.where for c in anomaly.causes],
        "observed": anomaly.observed,
        "expected": round(anomaly.expected, 1),
        "trials": anomaly.trials,
        "score": round(anomaly.score, 1),
        "why_score": round(anomaly.why.score_nats, 1),
        "threshold": round(anomaly.why.threshold_nats, 1),
    }


def opened(anomalies: list[Anomaly]) -> list[Anomaly]:
    return [a for a in anomalies if a.phase is Phase.OPENED]


def joined(times_ms: list[int]) -> list[int]:
    """Moments of cases: what opens within an hour of the one before is the same case.

    >>> joined([0, 3_000_000, 6_000_000, 20_000_000])
    [0, 20000000]
    """
    out: list[int] = []
    last: int | None = None
    for at in sorted(times_ms):
        if last is None or at - last > JOIN_MS:
            out.append(at)
        last = at
    return out


def median(values: list[float]) -> float | None:
    """The median with those never found as infinite; None where it is."""
    if not values:
        return None
    middle = float(np.median(np.array(values, np.float64)))
    return middle if np.isfinite(middle) else None
