"""From the budget to the thresholds: cold by theory, then by the stream's own past, moved by verdicts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS, Budget
from detector.events import Floats
from detector.pack import pack, unpack
from detector.watch.budget import (
    CLEAR_NATS,
    SHIFT_NATS,
    OperatingPoint,
    cold_thresholds,
    mean_for,
    tail_threshold,
)

SEGMENTS = np.array([1, 20, 300])
START_MS = WEEK_MS * 2_900


NOISE = 3.0 + np.random.default_rng(1).exponential(1.0, (40 * 168, 3))
"""Of each hour since the start: what no problem brought."""


def quiet(point: OperatingPoint, weeks: float, start_ms: int = START_MS) -> int:
    """Let hours pass whose peaks have an exponential tail; return when the next begins."""
    first = (start_ms - START_MS) // HOUR_MS
    last = first + round(weeks * 168)
    for hour in range(first, last):
        point.see(START_MS + hour * HOUR_MS, NOISE[hour])
    return START_MS + last * HOUR_MS


def fresh(cases: int = 1, split: int = 1) -> OperatingPoint:
    return OperatingPoint(Budget(cases=cases), split, MINUTE_MS)


def test_a_new_stream_is_judged_by_theory_for_two_weeks_at_least() -> None:
    point = fresh()
    cold = cold_thresholds(mean_for(1), 10_080, SEGMENTS)
    now_ms = quiet(point, 1.9)
    assert point.limits(SEGMENTS) == pytest.approx(cold)
    quiet(point, 0.5, now_ms)
    assert (point.limits(SEGMENTS) < cold).all()


def test_peaks_of_the_streams_own_are_passed_about_as_often_as_the_budget_says() -> None:
    rng = np.random.default_rng(7)
    passed, weeks = 0.0, 0
    for _ in range(40):
        peaks = 3.0 + rng.exponential(1.0, 8 * 168)
        limit = tail_threshold(peaks, 8 * 168, 0.355)
        passed += float((3.0 + rng.exponential(1.0, 50 * 168) > limit).sum())
        weeks += 50
    assert 0.02 <= passed / weeks <= 0.355


@given(
    peaks=st.lists(st.floats(0.1, 40.0), min_size=1, max_size=80),
    rare=st.floats(0.01, 1.0),
    often=st.floats(1.0, 20.0),
)
def test_a_smaller_budget_never_lowers_a_threshold(peaks: list[float], rare: float, often: float) -> None:
    assert tail_threshold(np.array(peaks), 1000, rare) >= tail_threshold(np.array(peaks), 1000, often)


def test_signals_that_share_a_budget_have_higher_thresholds_each() -> None:
    assert (fresh(split=4).limits(SEGMENTS) > fresh().limits(SEGMENTS)).all()
    assert (fresh(cases=7).limits(SEGMENTS) < fresh().limits(SEGMENTS)).all()


def raised(point: OperatingPoint, name: str, now_ms: int, score: float) -> None:
    """A problem of an hour that stands out by `score` at single values, and is opened at its end."""
    limit = float(point.limits(SEGMENTS)[1])
    for minute in range(60):
        point.see(now_ms + minute * MINUTE_MS, np.array([4.0, min(score, limit + 1), 5.0]))
    point.raised(name, now_ms + HOUR_MS - MINUTE_MS, 1, now_ms, limit)
    point.climbed(name, score)


def with_problems(score: float, verdict: bool | None) -> Floats:
    """Thresholds after eight weeks with three such problems in each."""
    point, now_ms = fresh(), START_MS
    for at_ms in (START_MS + week * WEEK_MS + day * DAY_MS for week in range(8) for day in (1, 3, 5)):
        now_ms = quiet(point, (at_ms - now_ms) / WEEK_MS, now_ms)
        raised(point, str(at_ms), now_ms, score)
        if verdict is not None:
            point.judge(str(at_ms), real=verdict)
        now_ms += HOUR_MS
    point.see(quiet(point, (START_MS + 8 * WEEK_MS - now_ms) / WEEK_MS, now_ms), np.zeros(3))
    return point.limits(SEGMENTS) - point.shift


def without_problems() -> Floats:
    point = fresh()
    point.see(quiet(point, 8.0), np.zeros(3))
    return point.limits(SEGMENTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        pytest.param(60.0, None, id="beyond doubt, without a verdict"),
        pytest.param(22.0, True, id="judged real"),
        pytest.param(60.0, True, id="beyond doubt and judged real"),
    ],
)
def test_three_real_problems_a_week_move_no_threshold(score: float, verdict: bool | None) -> None:
    assert with_problems(score, verdict) == pytest.approx(without_problems(), abs=0.5)


@pytest.mark.slow
def test_problems_judged_to_be_none_raise_the_threshold_of_their_level() -> None:
    before, after = without_problems(), with_problems(22.0, verdict=False)
    assert after[1] > before[1] + 1.0
    assert after[2] == pytest.approx(before[2], abs=0.6)


def test_what_nobody_judges_counts_no_higher_than_the_threshold() -> None:
    point = fresh()
    now_ms = quiet(point, 4.0)
    before = point.limits(SEGMENTS)
    raised(point, "a", now_ms, float(before[1]) + CLEAR_NATS - 1)
    point.see(now_ms + 2 * HOUR_MS, np.zeros(3))
    assert before[1] <= point.limits(SEGMENTS)[1] < before[1] + 1.0


@pytest.mark.slow
def test_the_controller_follows_verdicts_within_its_bounds_and_sleeps_without_them() -> None:
    asleep = fresh()
    quiet(asleep, 20)
    assert asleep.shift == 0.0
    point, now_ms = fresh(), START_MS
    for week in range(30):
        for i in range(3):
            name = f"{week}-{i}"
            point.raised(name, now_ms, 1, now_ms, 15.0)
            point.judge(name, real=False)
        now_ms = quiet(point, 1.0, now_ms)
    assert point.shift == SHIFT_NATS[1]


@pytest.mark.slow
@given(cut=st.integers(0, 59))
def test_a_restart_at_any_hour_goes_on_exactly(cut: int) -> None:
    def played(restart: bool) -> bytes:
        rng, point = np.random.default_rng(3), fresh()
        for hour in range(60):
            if restart and hour == cut:
                again = fresh()
                again.restore(unpack(pack(point.state()), dict))
                point = again
            now_ms = START_MS + hour * HOUR_MS * 9
            point.see(now_ms, rng.exponential(2.0, 3))
            if hour % 7 == 3:
                point.raised(f"p{hour}", now_ms, hour % 3, now_ms - HOUR_MS, 12.0)
            if hour % 11 == 5:
                point.judge(f"p{hour - 2}", real=hour % 2 == 0)
        return pack(point.state())

    assert played(restart=True) == played(restart=False)


def test_an_unknown_verdict_changes_nothing() -> None:
    point = fresh()
    quiet(point, 3)
    before = pack(point.state())
    point.judge("never heard of", real=False)
    assert pack(point.state()) == before
