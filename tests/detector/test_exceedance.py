"""Values without a limit: ranks among the past, watched as shares."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import MINUTE_MS
from detector.events import Floats
from detector.pack import pack, unpack
from detector.signals import Direction
from detector.watch.anomaly import Phase
from detector.watch.exceedance import BODY, CHANNELS, TAIL, exceedances
from tests.detector.valued import SLOWER, Cell, Shop, latencies, run, value_watch
from tests.detector.watching import T0, first, minute_of, wheres

LEARNED = 150


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20), st.booleans(), st.sampled_from(CHANNELS))
def test_whatever_the_shape_and_its_ties_what_is_usual_counts_the_same(
    masses: list[float], up: bool, channel: object
) -> None:
    levels = BODY.levels if channel is BODY else TAIL.levels
    shares = np.array(masses) / sum(masses)
    high = np.minimum(np.cumsum(shares), 1.0)
    low = np.concatenate([[0.0], high[:-1]])
    counted = float((shares * exceedances(low, high, levels, up=up)).sum())
    assert counted == pytest.approx(sum(1 - level for level in levels), abs=1e-6)


def test_the_body_counts_one_for_each_value_and_is_spread_as_a_poisson_count() -> None:
    rank = (np.arange(100_000) + 0.5) / 100_000
    counted = exceedances(rank, rank, BODY.levels, up=True)
    assert counted.mean() == pytest.approx(1.0, abs=0.002)
    assert counted.var() == pytest.approx(1.0, abs=0.02)


def test_a_higher_value_counts_no_less_and_for_low_ones_no_more() -> None:
    rank = np.linspace(0, 1, 101)
    assert (np.diff(exceedances(rank, rank, BODY.levels, up=True)) >= 0).all()
    assert (np.diff(exceedances(rank, rank, BODY.levels, up=False)) <= 0).all()


def slower(minute: int, cell: Cell, z: Floats) -> Floats:
    return latencies(minute, cell, z) * (1.6 if cell[1] == "v2" and minute >= LEARNED else 1.0)


@pytest.mark.slow
def test_a_version_that_has_become_slower_is_found_with_its_cause_and_said_in_words() -> None:
    anomalies = list(run(Shop(slower), LEARNED + 40))
    opened = first(anomalies)
    assert wheres(opened) == [{"version": "v2"}]
    assert LEARNED <= minute_of(opened.detected_ms) <= LEARNED + 20
    assert minute_of(opened.onset_ms) == pytest.approx(LEARNED, abs=5)
    shift = next(s for s in (a.why.shift for a in reversed(anomalies)) if s is not None and s.quantile == 0.5)
    assert shift.values > 300
    assert shift.observed / shift.usual == pytest.approx(1.6, rel=0.25)


@pytest.mark.slow
def test_the_past_does_not_learn_from_the_problem() -> None:
    shop, watch = Shop(slower), value_watch()
    assert list(run(shop, LEARNED + 20, watch))
    before = watch.past.below(watch.past.rows([("pay", "v2")]), T0)
    middle = int((before[0] < 0.5).sum())
    list(run(shop, LEARNED + 80, watch, first=LEARNED + 20))
    after = watch.past.below(watch.past.rows([("pay", "v2")]), T0)
    assert after[0, middle] == pytest.approx(before[0, middle], abs=0.01)


@pytest.mark.slow
def test_a_few_that_take_very_long_are_the_tails_to_find() -> None:
    def tail(minute: int, cell: Cell, z: Floats) -> Floats:
        slow = np.where((z > 1.4) & (minute >= LEARNED), 8.0, 1.0)
        return np.asarray(latencies(minute, cell, z) * slow, np.float64)

    watch = value_watch()
    opened = first(list(run(Shop(tail), LEARNED + 40, watch)))
    assert opened.why.shift is not None
    assert opened.why.shift.quantile == TAIL.quantile
    assert wheres(opened) == [{}]


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        pytest.param(latencies, id="latencies"),
        pytest.param(lambda m, c, z: np.round(np.exp(z)), id="whole numbers with zeros"),
        pytest.param(lambda m, c, z: np.where(z > 0.3, latencies(m, c, z), 0.0), id="mostly zero"),
        pytest.param(lambda m, c, z: np.tanh(z + 0.2), id="sentiment"),
        pytest.param(lambda m, c, z: np.exp(2.5 * z), id="heavy tail"),
        pytest.param(lambda m, c, z: np.full(len(z), 7.0), id="constant"),
    ],
)
def test_quiet_values_of_any_shape_raise_nothing(values: object) -> None:
    for direction in Direction:
        watch = value_watch(msgspec.structs.replace(SLOWER, direction=direction))
        assert list(run(Shop(values, volume=4.0), 200, watch)) == []  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_change_of_mix_raises_nothing() -> None:
    def campaign(minute: int, cell: Cell) -> float:
        return 6.0 if cell[0] == "search" and minute >= LEARNED else 1.0

    assert list(run(Shop(volumes=campaign), LEARNED + 60)) == []


@pytest.mark.slow
def test_low_values_are_found_where_low_is_bad() -> None:
    def sadder(minute: int, cell: Cell, z: Floats) -> Floats:
        return np.asarray(np.tanh(0.3 + 0.6 * z - (0.8 if cell[0] == "pay" and minute >= LEARNED else 0)), np.float64)

    lower = value_watch(msgspec.structs.replace(SLOWER, direction=Direction.DOWN))
    opened = first(list(run(Shop(sadder), LEARNED + 30, lower)))
    assert wheres(opened) == [{"endpoint": "pay"}]
    assert opened.why.shift is not None
    assert opened.why.shift.observed < 0 < opened.why.shift.usual
    assert list(run(Shop(sadder), LEARNED + 30)) == []


@pytest.mark.slow
def test_what_was_slow_and_is_no_more_ends() -> None:
    def for_a_while(minute: int, cell: Cell, z: Floats) -> Floats:
        return slower(minute if minute < LEARNED + 60 else 0, cell, z)

    anomalies = list(run(Shop(for_a_while), LEARNED + 140))
    assert first(anomalies, Phase.ENDED).ended_ms is not None
    assert minute_of(first(anomalies, Phase.ENDED).ended_ms or 0) == pytest.approx(LEARNED + 60, abs=6)


@pytest.mark.slow
def test_what_has_stood_still_for_a_day_is_the_new_level_and_a_shift_from_there_is_found() -> None:
    again = LEARNED + 30 * 60

    def twice(minute: int, cell: Cell, z: Floats) -> Floats:
        return slower(minute, cell, z) * (1.6 if cell[1] == "v2" and minute >= again else 1.0)

    shop, watch = Shop(twice, volume=4.0), value_watch()
    anomalies = list(run(shop, again + 60, watch))
    accepted = [minute_of(a.window_ms) for a in anomalies if a.new_level is not None]
    assert accepted and LEARNED + 1_400 <= accepted[0] <= LEARNED + 1_600
    opened = [
        minute_of(a.detected_ms) for a in anomalies if a.phase is Phase.OPENED and minute_of(a.window_ms) > accepted[0]
    ]
    assert opened and again <= min(opened) <= again + 40


@pytest.mark.slow
@pytest.mark.parametrize("at", [pytest.param(100, id="while learning"), pytest.param(LEARNED + 9, id="in a problem")])
def test_a_restored_watch_goes_on_as_if_nothing_had_happened(at: int) -> None:
    whole = value_watch()
    said = [a for a in run(Shop(slower), LEARNED + 30, whole) if minute_of(a.window_ms) >= at]
    shop, before, after = Shop(slower), value_watch(), value_watch()
    list(run(shop, at, before))
    after.restore(unpack(pack(before.state()), dict))
    assert pack(list(run(shop, LEARNED + 30, after, first=at))) == pack(said)
    assert pack(after.state()) == pack(whole.state())


@pytest.mark.slow
def test_a_window_of_several_base_windows_is_judged_as_one() -> None:
    watch = value_watch(msgspec.structs.replace(SLOWER, window_ms=5 * MINUTE_MS))
    anomalies = list(run(Shop(slower), LEARNED + 60, watch))
    assert wheres(first(anomalies)) == [{"version": "v2"}]
    assert all(a.window_ms % (5 * MINUTE_MS) == 0 for a in anomalies)
