"""The Watch: what is found, when, with which cause; and what must stay quiet."""

import msgspec
import numpy as np
import pytest

from detector.config import DAY_MS, HOUR_MS, Config, Input
from detector.counter.record import SignalWindow
from detector.pack import pack, unpack
from detector.watch.anomaly import Phase, Point
from detector.watch.watch import Watch
from tests.detector.watching import (
    SHARE,
    SILENCE,
    T0,
    VERSIONS,
    Cell,
    Cube,
    Rate,
    first,
    minute_of,
    run,
    watch_of,
    wheres,
)

pytestmark = pytest.mark.slow

WARM = 600
"""Minutes of quiet before anything is planted."""


def hit(where: dict[str, str], factor: float, start: int = WARM, end: int = 10**9) -> Rate:
    """A factor on the cells in `where` from `start` to `end`."""

    def rate(minute: int, cell: Cell) -> float:
        version, city = cell
        inside = where.get("version", version) == version and where.get("city", city) == city
        return factor if inside and start <= minute < end else 1.0

    return rate


@pytest.mark.parametrize(
    "where",
    [
        pytest.param({}, id="everyone"),
        pytest.param({"version": "v2"}, id="one value"),
        pytest.param({"version": "v2", "city": "c3"}, id="a pair"),
    ],
)
def test_a_problem_is_found_with_its_smallest_cause_and_dated(where: dict[str, str]) -> None:
    cube = Cube(shares=hit(where, 10.0))
    anomalies = list(run(cube, WARM + 40))
    opened, latest = first(anomalies), anomalies[-1]
    assert wheres(latest) == [where]
    assert 0 < minute_of(opened.detected_ms) - WARM <= 25
    assert abs(minute_of(latest.onset_ms) - WARM) <= 4
    assert len({a.id for a in anomalies}) == 1


@pytest.mark.slow
def test_quiet_traffic_raises_nothing_in_three_days() -> None:
    assert not list(run(Cube(volume=2.0), 3 * 1440))


def test_a_campaign_in_a_segment_that_fails_often_raises_nothing() -> None:
    # A change of mix: three times the traffic where the failure share is ten times as high.
    bad = hit({"version": "v4"}, 6.0, 0)
    cube = Cube(share=0.02, shares=bad, volumes=hit({"version": "v4"}, 3.0, WARM, WARM + 120))
    assert not list(run(cube, WARM + 240))


def test_fewer_failures_than_usual_open_nothing() -> None:
    assert not list(run(Cube(share=0.2, shares=hit({}, 0.1)), WARM + 120))


def test_the_way_back_is_seen_and_dated_and_the_problem_let_go() -> None:
    cube = Cube(shares=hit({"version": "v2"}, 12.0, WARM, WARM + 60))
    anomalies = list(run(cube, WARM + 130))
    recovering = first(anomalies, Phase.RECOVERING)
    assert recovering.ended_ms is not None
    assert abs(minute_of(recovering.ended_ms) - WARM - 60) <= 3
    assert anomalies[-1].phase is Phase.ENDED


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_steady_problem_in_sparse_traffic_is_never_called_over(seed: int) -> None:
    cube = Cube(shares=hit({"version": "v2"}, 4.0), volume=0.5, seed=seed)
    anomalies = list(run(cube, WARM + 600))
    assert {a.phase for a in anomalies} == {Phase.OPENED, Phase.UPDATED}
    assert len({a.id for a in anomalies}) == 1


def test_a_relapse_is_seen_while_recovering_and_found_anew_afterwards() -> None:
    def twice(minute: int, cell: Cell) -> float:
        bad = WARM <= minute < WARM + 40 or WARM + 55 <= minute < WARM + 90 or WARM + 200 <= minute
        return 12.0 if bad and cell[0] == "v2" else 1.0

    anomalies = list(run(Cube(shares=twice), WARM + 240))
    relapsed = first(anomalies, Phase.RELAPSED)
    assert minute_of(relapsed.window_ms) - WARM - 55 <= 10
    assert [minute_of(a.detected_ms) >= WARM + 200 for a in anomalies if a.phase is Phase.OPENED] == [False, True]


@pytest.mark.slow
def test_a_long_problem_does_not_become_the_new_normal() -> None:
    cube = Cube(shares=hit({"version": "v2"}, 12.0, WARM, WARM + 600))
    anomalies = list(run(cube, WARM + 600))
    early, late = anomalies[20].points[-1], anomalies[-1].points[-1]
    assert late.expected / late.trials == pytest.approx(early.expected / early.trials, rel=0.3)


def test_a_new_version_that_fails_from_its_first_minute_is_found_within_minutes() -> None:
    def appears(minute: int, cell: Cell) -> float:
        return 1.0 if cell[0] != "v9" or minute >= WARM else 0.0

    cube = Cube(versions=(*VERSIONS, "v9"), volumes=appears, shares=hit({"version": "v9"}, 15.0, 0))
    opened = first(list(run(cube, WARM + 40)))
    assert wheres(opened) == [{"version": "v9"}]
    assert minute_of(opened.detected_ms) - WARM <= 12


def test_two_problems_at_once_stay_two_causes() -> None:
    def both(minute: int, cell: Cell) -> float:
        return 14.0 if minute >= WARM and (cell[0] == "v1" or cell[1] == "c5") else 1.0

    anomalies = list(run(Cube(shares=both), WARM + 40))
    latest = {a.id: a for a in anomalies}
    found = [w for a in latest.values() for w in wheres(a)]
    assert sorted(map(str, found)) == sorted(map(str, [{"version": "v1"}, {"city": "c5"}]))


@pytest.mark.parametrize("where", [pytest.param({}, id="everywhere"), pytest.param({"version": "v1"}, id="one value")])
def test_silence_is_found_within_minutes_and_so_is_its_end(where: dict[str, str]) -> None:
    cube = Cube(SILENCE, volumes=hit(where, 0.0, WARM, WARM + 40))
    anomalies = list(run(cube, WARM + 120))
    opened = first(anomalies)
    assert minute_of(opened.detected_ms) - WARM <= 6
    assert wheres(opened) == [where]
    ended = first(anomalies, Phase.RECOVERING).ended_ms
    assert ended is not None
    assert abs(minute_of(ended) - WARM - 40) <= 2
    # What came back first says nothing about what was gone.
    assert all(wheres(a) == [where] for a in anomalies)


@pytest.mark.slow
def test_nights_and_the_end_of_a_campaign_are_no_silence() -> None:
    def day(minute: int, cell: Cell) -> float:
        season = 1.0 + 0.9 * float(np.cos(2 * np.pi * minute / 1440))
        return season * (3.0 if 300 <= minute % 1440 < 420 else 1.0)

    assert not list(run(Cube(SILENCE, volumes=day), 2 * 1440))


def test_learning_only_raises_nothing_and_warms_the_baseline() -> None:
    watch = watch_of()
    cube = Cube(shares=hit({"version": "v2"}, 12.0, 0))
    assert not list(run(cube, WARM, watch, learn_only=True))
    # What was learned is normal for this signal: nothing to report afterwards either.
    assert not list(run(cube, WARM + 60, watch, first=WARM))


def test_a_restart_in_the_middle_of_a_problem_changes_nothing() -> None:
    whole = list(run(Cube(shares=hit({"version": "v2"}, 12.0, WARM, WARM + 30)), WARM + 90))
    cube, watch = Cube(shares=hit({"version": "v2"}, 12.0, WARM, WARM + 30)), watch_of()
    pieces = []
    for start in range(0, WARM + 90, 15):
        pieces += list(run(cube, start + 15, watch, first=start))
        state = unpack(pack(watch.state()), dict)
        watch = watch_of()
        watch.restore(state)
    assert pack(pieces) == pack(whole)


def test_a_later_row_never_changes_what_was_said_before() -> None:
    rates = hit({"version": "v2"}, 12.0, WARM, WARM + 30)
    short, long = list(run(Cube(shares=rates), WARM + 20)), list(run(Cube(shares=rates), WARM + 90))
    assert pack(long[: len(short)]) == pack(short)


def test_what_is_unseen_for_a_week_is_forgotten_and_the_rest_goes_on() -> None:
    hourly = msgspec.structs.replace(SHARE, window_ms=HOUR_MS)
    settings = Config(signals=(hourly,), input=Input(window_ms=HOUR_MS))
    watch, sizes, said = Watch(settings, hourly), [], []
    records: dict[int, SignalWindow] = {}
    for hour in range(30 * 24):
        # A new version every day, for two days.
        versions = ("v0", f"d{hour // 24}", f"d{hour // 24 + 1}")
        cube = Cube(hourly, seed=hour, versions=versions, volume=40.0, shares=hit({"version": "v0"}, 10.0, 29 * 24))
        record = cube.at(hour)
        assert record is not None
        records[T0 + hour * HOUR_MS] = record
        said += watch.step(T0 + hour * HOUR_MS, record, lambda a, b: [(w, r) for w, r in records.items() if a <= w < b])
        state = unpack(pack(watch.state()), dict)
        sizes.append(len(state["segments"]["cells"]))
        watch = Watch(settings, hourly)
        watch.restore(state)
    assert max(sizes) == max(sizes[: 15 * 24])
    assert said
    assert all(wheres(a) == [{"version": "v0"}] and a.onset_ms >= T0 + 29 * DAY_MS - HOUR_MS for a in said)


def test_evidence_shows_the_hour_before_and_every_window_since() -> None:
    anomalies = list(run(Cube(shares=hit({}, 8.0)), WARM + 20))
    points: dict[int, Point] = {}
    for anomaly in anomalies:
        if anomaly.rewrite:
            points.clear()
        points.update({p.window_ms: p for p in anomaly.points})
    minutes = sorted(minute_of(w) for w in points)
    assert minutes == list(range(int(minutes[0]), WARM + 20))
    assert minutes[0] <= WARM - 55
    assert all(p.low <= p.expected <= p.high for p in points.values())
