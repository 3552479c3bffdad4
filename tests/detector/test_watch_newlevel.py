"""When a deviation counts as the new level."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import MINUTE_MS
from detector.events import Floats
from detector.watch.newlevel import NewLevel, new_level

DAY = 24 * 60
Shape = Callable[[Floats], Floats]
"""Minutes since the onset → factor on what was expected."""


def wander(rng: np.random.Generator, minutes: int, sd: float) -> Floats:
    keep = np.exp(-1 / 150)
    out, now = np.empty(minutes), rng.normal() * sd
    for i in range(minutes):
        now = keep * now + np.sqrt(1 - keep**2) * sd * rng.normal()
        out[i] = now
    return np.exp(out)


def judged(
    shape: Shape, *, minutes: int = DAY, rate: float = 2.0, sd: float = 0.1, seed: int = 1, share: bool, up: bool
) -> NewLevel | None:
    """Ordinary days with their nights, wandering noise and chance, from the onset on."""
    rng = np.random.default_rng(seed)
    t = np.arange(minutes, dtype=np.float64)
    expected = rate * (1 + 0.7 * np.cos(2 * np.pi * t / DAY))
    observed = rng.poisson(expected * shape(t) * wander(rng, minutes, sd)).astype(np.float64)
    return new_level(observed, expected, expected / 0.04, MINUTE_MS, share=share, up=up, noise=sd)


def stands(factor: float) -> Shape:
    return lambda t: np.full(len(t), factor)


@pytest.mark.parametrize(
    ("factor", "share", "up"),
    [
        pytest.param(2.0, True, True, id="a share that doubled"),
        pytest.param(3.0, False, True, id="a count that trebled"),
        pytest.param(0.6, False, False, id="a volume that fell by 40 %"),
        pytest.param(0.15, False, False, id="a volume that fell to a seventh"),
    ],
)
def test_what_stands_for_a_day_is_the_new_level(factor: float, share: bool, up: bool) -> None:
    found = [judged(stands(factor), share=share, up=up, seed=seed) for seed in range(20)]
    taken = [f for f in found if f is not None]
    assert len(taken) >= 18
    assert np.median([f.factor for f in taken]) == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize(
    ("shape", "up"),
    [
        pytest.param(lambda t: 1 + 4 * np.exp(-t / (5 * 60)), True, id="waning"),
        pytest.param(lambda t: 1 + 3 * t / DAY, True, id="still growing"),
        pytest.param(lambda t: np.where(t % DAY < DAY / 2, 4.0, 1.0), True, id="half of the day"),
        pytest.param(lambda t: np.where(t < DAY - 240, 4.0, 1.0), True, id="gone since four hours"),
        pytest.param(lambda t: np.where(t < 300, 0.05, 0.6), False, id="an outage half mended"),
        pytest.param(lambda t: np.full(len(t), 1.02), True, id="hardly any deviation"),
        pytest.param(lambda t: np.full(len(t), 0.5), True, id="the good direction"),
    ],
)
def test_what_does_not_stand_still_is_no_new_level(shape: Shape, up: bool) -> None:
    found = [judged(shape, share=up, up=up, seed=seed) for seed in range(20)]
    assert sum(f is not None for f in found) <= 1


@pytest.mark.parametrize(
    ("factor", "share", "up"),
    [pytest.param(20.0, True, True, id="most fail"), pytest.param(0.01, False, False, id="nearly nothing flows")],
)
def test_an_outage_takes_three_days_to_be_called_normal(factor: float, share: bool, up: bool) -> None:
    assert judged(stands(factor), minutes=3 * DAY - 1, share=share, up=up) is None
    assert judged(stands(factor), minutes=3 * DAY, share=share, up=up) is not None


def test_what_was_long_ago_does_not_keep_a_new_level_from_being_seen() -> None:
    shape: Shape = lambda t: np.where(t < 600, 8.0, 3.0)  # noqa: E731
    assert judged(shape, minutes=DAY, share=True, up=True) is None
    found = judged(shape, minutes=DAY + 610, share=True, up=True)
    assert found is not None and found.first == 610


def test_hourly_and_daily_windows_have_new_levels_too() -> None:
    days = np.full(6, 1000.0)
    for width_ms, k in ((24 * 60 * MINUTE_MS, days), (60 * MINUTE_MS, np.repeat(days, 4))):
        assert new_level(2 * k, k, k, width_ms, share=False, up=True, noise=0.1) is not None
        assert new_level(2 * k[1:], k[1:], k[1:], width_ms, share=False, up=True, noise=0.1) is None


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(1e-9, 50.0)), max_size=400),
    st.sampled_from([MINUTE_MS, 10 * MINUTE_MS, 60 * MINUTE_MS, 24 * 60 * MINUTE_MS]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_counts_nothing_breaks_and_nothing_is_new_within_a_day(
    rows: list[tuple[int, float]], width_ms: int, up: bool
) -> None:
    k, m = (np.array([float(r[i]) for r in rows]) for i in range(2))
    found = new_level(k, m, k + 1, width_ms, share=up, up=up, noise=0.1)
    if found is not None:
        assert len(rows) * width_ms >= DAY * MINUTE_MS
        assert (found.factor > 1) == up
