"""A Watch with a detector that was plugged in: the same causes, onsets and restarts as with the built-in one."""

from collections.abc import Iterator

import msgspec
import pytest

from detector.config import MINUTE_MS
from detector.counter.record import SignalWindow
from detector.errors import TocsinError
from detector.pack import pack, unpack
from detector.signals import Signal
from detector.watch.anomaly import Anomaly
from tests.detector.watching import SHARE, T0, Cell, Cube, first, minute_of, run, watch_of, wheres

WARM = 420


def with_detector(path: str, **options: float) -> Signal:
    return msgspec.structs.replace(SHARE, detector=path, detector_options=options)


def fails(minute: int, cell: Cell) -> float:
    return 12.0 if cell[0] == "v2" and minute >= WARM else 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "signal",
    [
        pytest.param(with_detector("river.anomaly.GaussianScorer"), id="river"),
        pytest.param(with_detector("sklearn.ensemble.IsolationForest", n_estimators=10), id="scikit-learn"),
        pytest.param(with_detector("tests.contracts.own_detector.Residuals"), id="a user's own"),
    ],
)
def test_a_problem_is_found_with_its_cause_and_dated(signal: Signal) -> None:
    anomalies = list(run(Cube(signal, shares=fails), WARM + 30))
    assert wheres(anomalies[-1]) == [{"version": "v2"}]
    assert 0 < minute_of(first(anomalies).detected_ms) - WARM <= 20
    assert abs(minute_of(anomalies[-1].onset_ms) - WARM) <= 4


@pytest.mark.slow
def test_a_restart_does_not_show() -> None:
    signal = with_detector("river.anomaly.GaussianScorer")

    def stepped(cuts: set[int]) -> Iterator[Anomaly]:
        cube, watch = Cube(signal, shares=fails), watch_of(signal)

        def look(from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]:
            return [(at, r) for at, r in sorted(cube.records.items()) if from_ms <= at < to_ms]

        for minute in range(WARM + 20):
            if minute in cuts:
                state = unpack(pack(watch.state()), dict)
                watch = watch_of(signal)
                watch.restore(state)
            record = cube.at(minute)
            if record is not None:
                cube.records[T0 + minute * MINUTE_MS] = record
            yield from watch.step(T0 + minute * MINUTE_MS, record, look)

    straight = list(stepped(set()))
    assert straight
    assert pack(straight) == pack(list(stepped({100, 311, WARM + 3})))


def test_a_detector_that_fails_stops_with_its_name() -> None:
    with pytest.raises(TocsinError, match=r"signals\.logins: detector tests\.contracts\.own_detector\.Senseless: add"):
        list(run(Cube(with_detector("tests.contracts.own_detector.Senseless")), 3))
