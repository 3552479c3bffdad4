"""What plain series are measured by: the simulated telemetry, the simple peers, the scorer of injected faults."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import telemetry
from benchmarks.quality.series import OURS, Series, judges, nezha, score_nezha
from benchmarks.quality.series_peers import PEERS, once
from streams.cli.series_file import read_series

MINUTE_MS = 60_000


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind) for kind in telemetry.KINDS])
def test_the_same_seed_draws_the_same_telemetry(kind: str) -> None:
    one, two, other = (telemetry.telemetry("x", kind, seed) for seed in (5, 5, 6))
    assert one.value.tobytes() == two.value.tobytes() != other.value.tobytes()
    assert len(one.minute) == len(one.value) == len(one.label)
    assert (np.diff(one.minute) > 0).all()
    assert np.isfinite(one.value).all()
    assert one.label.mean() < 0.2


def test_telemetry_shows_every_sort_of_incident_and_quiet_series_too(tmp_path: Path) -> None:
    fleet = telemetry.fleet(3, 2)
    labelled = [one.label.any() for one in fleet]
    assert any(labelled)
    assert not all(labelled)
    telemetry.write(fleet[:1], tmp_path)
    rows = read_series(str(tmp_path / f"{fleet[0].name}.csv"))
    assert len(rows) == len(fleet[0].value)
    assert rows[1].time_ms - rows[0].time_ms == MINUTE_MS * (fleet[0].minute[1] - fleet[0].minute[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in (*PEERS, OURS)])
def test_nobody_who_is_measured_looks_ahead(name: str) -> None:
    value = telemetry.telemetry("x", "cpu", 9).value[:900]
    value[500] = np.nan
    times = np.arange(len(value)) * MINUTE_MS
    judge = judges(peers=True)[name]
    # The static threshold reads its limit off the first 15 %, which is why its rows there count for nothing.
    if name == "static threshold":
        assert not judge(times, value)[:135].any()
        return
    whole = judge(times, value)
    assert ((whole >= 0) & (whole <= 1)).all()
    assert whole[:600].tolist() == pytest.approx(judge(times[:600], value[:600]).tolist(), abs=1e-6)


def test_one_alert_for_each_incident() -> None:
    assert once(np.array([1.0, 3.0, 2.0, 3.0, 4.0]), 3).tolist() == [1.0, 3.0, 0.0, 0.0, 4.0]


def test_faults_are_seen_within_five_minutes_and_false_alarms_count_where_it_is_quiet() -> None:
    times = np.arange(1_440) * MINUTE_MS
    faults = np.array([60, 120, 180]) * MINUTE_MS
    series = Series("x", [""] * len(times), times, np.zeros(len(times)))
    scores = np.zeros(len(times))
    scores[[61, 124, 190]] = 0.9  # the third comes too late for its fault
    scores[[600, 605, 900]] = 0.6  # two false alarms: the first two are one
    found = score_nezha([series], [scores], faults)
    assert (found["seen at 1 a day"], found["median delay, windows"], found["seen, preset"]) == (2, 2.5, 2)
    assert found["false a day, preset"] == pytest.approx(2 / ((1_440 - 211) / 1_440 + 60 / 1_440), rel=0.05)


def test_nezha_is_read_one_series_a_column(tmp_path: Path) -> None:
    day = tmp_path / "2022-08-22"
    day.mkdir()
    (day / "front_service.csv").write_text("Time,TimeStamp,ServiceName,SuccessRate(%)\nx,60,Frontend,100\ny,120,F,\n")
    (one,) = nezha(tmp_path)
    assert (one.path, one.stamps, one.times_ms.tolist()) == (
        "2022-08-22-SuccessRate(%).csv",
        ["60", "120"],
        [60_000, 120_000],
    )
    assert np.isnan(one.value[1])
