"""Detection on a plain series: no look-ahead, exact restarts, and what must hold for every series."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.pack import pack, unpack
from detector.series import THRESHOLD, Kind, Row, SeriesDetector

START_MS = 1_772_409_600_000
DATA = Path(__file__).parents[3] / "shared" / "data"
Points = list[tuple[int, float, float | None]]


def points(values: list[float], step_s: int = 60, totals: list[float] | None = None) -> Points:
    return [
        (START_MS + 1_000 * step_s * i, value, None if totals is None else totals[i]) for i, value in enumerate(values)
    ]


def run(series: Points, kind: Kind | str = "value", detector: SeriesDetector | None = None) -> list[Row]:
    detector = detector or SeriesDetector(kind)
    return [detector.step(*point) for point in series]


def alerts(rows: list[Row]) -> list[int]:
    return [i for i, row in enumerate(rows) if row.alert]


def gauge(rows: int = 1_500, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    t = np.arange(rows)
    return np.asarray(50 + 10 * np.sin(t / 1440 * 2 * np.pi) + rng.normal(0, 1, rows), np.float64)


def same(a: list[Row], b: list[Row]) -> bool:
    return repr(a) == repr(b)


def mixed(seed: int, kind: str, rows: int = 700) -> Points:
    """A series with everything in it: gaps, blanks, jumps in time, spikes, a shift, a stuck stretch, zeros."""
    rng = np.random.default_rng(seed)
    value = gauge(rows, seed)
    if kind != "value":
        value = rng.poisson(np.maximum(value, 0)).astype(float)
    value[rng.random(rows) < 0.01] *= 3
    value[400:430] = 0
    value[500:560] = value[499]
    value[rng.random(rows) < 0.02] = np.nan
    times = START_MS + 60_000 * np.cumsum(np.where(rng.random(rows) < 0.01, 90, 1))
    times[100] = times[99]
    times[200] = times[190]
    totals = np.maximum(np.nan_to_num(value), 1) * 10
    return [
        (t, v, total if kind == "share" else None)
        for t, v, total in zip(times.tolist(), value.tolist(), totals.tolist(), strict=True)
    ]


KINDS = [pytest.param(kind.value, id=kind.value) for kind in Kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_change_when_later_rows_are_removed(kind: str) -> None:
    series = mixed(3, kind)
    whole = run(series, kind)
    for cut in (1, 7, 41, 200, 431, 699):
        assert same(run(series[:cut], kind), whole[:cut])


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_change_when_later_rows_are_others(kind: str) -> None:
    series = mixed(3, kind)
    other = series[:350] + mixed(8, kind)[350:]
    assert same(run(other, kind)[:350], run(series, kind)[:350])
    assert not same(run(other, kind), run(series, kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [0, 1, 5, 44, 402, 505, 698])
def test_a_restart_goes_on_with_the_very_same_numbers(kind: str, cut: int) -> None:
    series = mixed(5, kind)
    whole = run(series, kind)
    first = SeriesDetector(kind)
    run(series[:cut], kind, first)
    second = SeriesDetector(kind)
    second.restore(unpack(pack(first.state()), dict))
    assert same(run(series[cut:], kind, second), whole[cut:])
    assert repr(second.state()) == repr(run_state(series, kind))


def run_state(series: Points, kind: str) -> dict[str, Any]:
    detector = SeriesDetector(kind)
    run(series, kind, detector)
    return detector.state()


def test_a_state_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind count"):
        SeriesDetector("value").restore(SeriesDetector("count").state())
    with pytest.raises(ValueError, match="values found"):
        SeriesDetector("value").restore({"kind": "value", "engine": [1, 2]})


def test_a_state_is_plain_json_apart_from_nan() -> None:
    detector = SeriesDetector()
    run(mixed(2, "value"), "value", detector)
    text = json.dumps(detector.state())
    other = SeriesDetector()
    other.restore(json.loads(text))
    assert repr(other.state()) == repr(detector.state())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(10**12), 10**13),
            st.one_of(st.floats(width=64), st.integers(-3, 3).map(float)),
            st.one_of(st.none(), st.floats(0, 1e6)),
        ),
        max_size=120,
    ),
    st.sampled_from(list(Kind)),
)
def test_nothing_that_comes_in_breaks_it(series: Points, kind: Kind) -> None:
    if kind is not Kind.VALUE:
        series = [(t, abs(v), None if n is None else max(n, abs(v))) for t, v, n in series]
    for point, row in zip(series, run(series, kind), strict=True):
        assert 0 <= row.score <= 1
        assert row.alert == (row.score >= THRESHOLD)
        assert not math.isnan(row.score)
        if row.expected == row.expected and row.low == row.low:
            assert row.low <= row.expected <= row.high
        if not abs(point[1]) < 1e100:
            assert row.score == 0


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**16), st.integers(-20, 20))
def test_the_scale_of_a_series_says_nothing(seed: int, power: int) -> None:
    values = gauge(400, seed)
    values[300:305] += 20
    scaled = run(points((values * 2.0**power).tolist()))
    for a, b in zip(run(points(values.tolist())), scaled, strict=True):
        assert b.score == pytest.approx(a.score, abs=1e-6)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**16), st.integers(-1_000, 1_000))
def test_where_a_gauge_has_its_zero_says_nothing(seed: int, shift: int) -> None:
    values = np.round(gauge(400, seed) * 64) / 64
    values[300:305] += 20
    shifted = run(points((values + shift).tolist()))
    for a, b in zip(run(points(values.tolist())), shifted, strict=True):
        assert b.score == pytest.approx(a.score, abs=0.01)


def test_a_series_upside_down_alerts_on_the_same_rows() -> None:
    values = gauge(1_500)
    values[1_200:1_203] += 25
    assert alerts(run(points((-values).tolist()))) == alerts(run(points(values.tolist()))) != []


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.0, 1.0, -3.0, 1e-9, 1e12, 0.1])
def test_a_constant_series_never_alerts(level: float) -> None:
    assert max(row.score for row in run(points([level] * 2_000))) < THRESHOLD


def test_a_rare_change_of_a_constant_series_alerts_once() -> None:
    values = [3.0] * 1_500
    values[1_000:1_030] = [0.0] * 30
    assert alerts(run(points(values))) == [1_000]


def test_what_stays_stuck_alerts() -> None:
    values = gauge(1_500)
    values[1_200:1_300] = values[1_199]
    (alert,) = [i for i in alerts(run(points(values.tolist()))) if i >= 300]
    assert 1_200 < alert < 1_260


def test_a_success_rate_is_free_to_stay_at_its_best() -> None:
    rng = np.random.default_rng(4)
    values = np.where(rng.random(3_000) < 0.1, 99.5 + rng.random(3_000) / 2, 100.0)
    values[2_000:2_300] = 100.0
    assert [i for i in alerts(run(points(values.tolist()))) if 2_000 <= i < 2_300] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "within"),
    [
        pytest.param(lambda v: v.__setitem__(slice(3_000, 3_002), 95), 2, id="spike"),
        pytest.param(lambda v: v.__setitem__(slice(3_000, 3_060), v[3_000:3_060] + 30), 5, id="shift up"),
        pytest.param(lambda v: v.__setitem__(slice(3_000, 3_060), v[3_000:3_060] - 30), 5, id="shift down"),
        pytest.param(lambda v: v.__setitem__(slice(3_000, 3_060), 0), 5, id="dropout"),
        pytest.param(lambda v: v.__setitem__(slice(3_000, 3_120), v[3_000:3_120] + np.arange(120) / 2), 90, id="ramp"),
    ],
)
def test_incidents_of_several_sorts_are_seen_once_and_soon(change: Any, within: int) -> None:
    values = gauge(4_000, 2)
    change(values)
    found = [i for i in alerts(run(points(values.tolist()))) if i >= 600]
    assert len(found) in (1, 2)
    assert 3_000 <= found[0] <= 3_000 + within


def test_rows_without_a_value_teach_nothing() -> None:
    values = gauge(600)
    rows = run(points(values.tolist()))
    series = points(values.tolist())
    with_gap = [*series[:300], *((series[300][0], math.nan, None) for _ in range(5)), *series[300:]]
    found = run(with_gap)
    assert all(row.score == 0 and not row.alert for row in found[300:305])
    assert same(found[:300] + found[305:], rows)


# --- counts and shares -----------------------------------------------------------------------------------------------


def counts(rows: int = 4_000, rate: float = 40.0, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    daily = 1 + 0.5 * np.sin(np.arange(rows) / 1_440 * 2 * np.pi)
    return rng.poisson(rng.gamma(50, 1 / 50, rows) * rate * daily).astype(float)


@pytest.mark.parametrize("rate", [pytest.param(r, id=f"{r:g} a row") for r in (0.3, 4.0, 40.0, 2_000.0)])
def test_quiet_counts_stay_quiet(rate: float) -> None:
    assert len(alerts(run(points(counts(rate=rate).tolist()), "count"))) <= 1


def test_the_first_day_of_small_counts_is_not_judged_by_its_own_last_rows() -> None:
    found = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        value = rng.poisson(5 * (1 + 0.6 * np.sin(np.arange(288) / 288 * 2 * np.pi))).astype(float)
        series: Points = [(START_MS + 300_000 * i, count, None) for i, count in enumerate(value.tolist())]
        found += len(alerts(run(series, "count")))
    assert found <= 1


@pytest.mark.parametrize(
    ("rate", "factor", "within"),
    [
        pytest.param(40.0, 0.0, 3, id="silence"),
        pytest.param(3.0, 0.0, 15, id="silence of few"),
        pytest.param(40.0, 3.0, 3, id="three times as many"),
        pytest.param(1.0, 6.0, 20, id="six times as many of few"),
        pytest.param(400.0, 0.4, 10, id="down to 40 %"),
    ],
)
def test_counts_that_change_are_seen_soon(rate: float, factor: float, within: int) -> None:
    value = counts(rate=rate, seed=3)
    value[3_000:3_060] = np.random.default_rng(9).poisson(value[3_000:3_060] * factor)
    found = alerts(run(points(value.tolist()), "count"))
    assert [i for i in found if 3_000 <= i <= 3_000 + within]


def shares(rows: int = 4_000, rate: float = 0.02, seed: int = 1) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    total = np.maximum(counts(rows, 100.0, seed), 1)
    return rng.binomial(total.astype(int), rate).astype(float).tolist(), total.tolist()


def test_quiet_shares_stay_quiet_and_a_problem_is_seen() -> None:
    bad, total = shares()
    assert len(alerts(run(points(bad, totals=total), "share"))) <= 1
    rng = np.random.default_rng(7)
    bad[3_000:3_060] = rng.binomial(np.array(total[3_000:3_060], np.int64), 0.12).astype(float).tolist()
    found = run(points(bad, totals=total), "share")
    assert [i for i in alerts(found) if 3_000 <= i <= 3_005]
    assert 0 <= found[2_999].low <= found[2_999].expected < 0.05


def test_a_share_of_nothing_is_no_value() -> None:
    detector = SeriesDetector("share")
    assert detector.step(START_MS, 0.0, 0.0).score == 0
    assert detector.step(START_MS, 0.0, None).score == 0
    assert math.isnan(detector.step(START_MS, 0.0, math.nan).expected)


# --- real series -----------------------------------------------------------------------------------------------------


def real(path: str) -> Points:
    from streams.cli.series_file import read_series

    if not (DATA / path).is_file():
        pytest.skip(f"{path} of the shared data is not there")
    return [(row.time_ms, row.value, row.total) for row in read_series(str(DATA / path))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "nab/data/realKnownCause/rogue_agent_key_hold.csv",
        "ms_cloud/application-crash-rate-1__app1-06.csv",
        "ms_cloud/middle-tier-api-dependency-latency__outbound-02.csv",
    ],
)
def test_no_look_ahead_on_real_series(path: str) -> None:
    series = real(path)
    whole = run(series)
    for cut in (len(series) // 3, len(series) - 1):
        assert same(run(series[:cut]), whole[:cut])


@pytest.mark.slow
def test_isolated_errors_do_not_alert_again_and_again() -> None:
    rows = run(real("ms_cloud/service-unavailable__unavail-01.csv"))
    assert len(alerts(rows)) <= 2
