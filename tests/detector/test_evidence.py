"""Sequential evidence: bounded by the noise, measured against what the last hours have shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import MINUTE_MS
from detector.events import Floats, Ints
from detector.pack import pack, unpack
from detector.watch.evidence import CUSUM_CAP, EFFECTS_DOWN, EFFECTS_UP, Evidence, Touched
from detector.watch.local import BOUND, TAU_MS, Local, averaged

T0 = 1_772_409_600_000
SPREAD = 0.15**2


def window(minute: int, observed: Floats, expected: Floats, trials: Floats | None, mean: float = 0.0) -> Touched:
    size = len(observed)
    full = np.full(size, SPREAD)
    rows: Ints = np.arange(size)
    at = T0 + minute * MINUTE_MS
    return Touched(rows, at, observed, expected, trials, full, np.full(size, mean), full, np.full(size, 1.05))


def played(counts: Floats, expected: float, *, least: int = 0, mean: float = 0.0, share: bool = True) -> Evidence:
    """Play counts float64[windows, segments] against one expectation."""
    evidence = Evidence(EFFECTS_UP, least)
    evidence.grow(counts.shape[1])
    for minute, k in enumerate(counts):
        full = np.full(counts.shape[1], expected)
        evidence.add(window(minute, k, full, full * 25 if share else None, mean))
    return evidence


@pytest.mark.slow
@given(
    st.lists(st.lists(st.integers(0, 12), min_size=4, max_size=4), min_size=1, max_size=30),
    st.booleans(),
)
def test_a_segments_score_does_not_depend_on_the_others(counts: list[list[int]], share: bool) -> None:
    drawn = np.array(counts, float)
    together = played(drawn, 1.5, share=share).score
    alone = [played(drawn[:, [i]], 1.5, share=share).score[0] for i in range(4)]
    assert together.tolist() == pytest.approx(alone, abs=1e-12)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=120), st.floats(0.05, 20.0))
def test_evidence_is_finite_and_never_negative(counts: list[int], expected: float) -> None:
    score = played(np.array(counts, float)[:, None], expected).score
    assert np.isfinite(score).all()
    assert (score >= 0).all()


@pytest.mark.slow
def test_a_slow_rise_within_the_noise_never_becomes_evidence_however_long_it_lasts() -> None:
    steady = np.full((2_000, 1), 50.0 * 1.15)
    assert played(steady, 50.0).score[0] < 6.0
    assert played(steady * 2, 50.0).score[0] > 15.0


def test_fewer_than_are_asked_for_raise_nothing() -> None:
    counts = np.array([[2.0], [2.0], [0.0]])
    assert played(counts, 0.01).score[0] > 12.0
    assert played(counts, 0.01, least=5).score[0] == 0.0
    assert played(np.concatenate([counts, [[2.0]]]), 0.01, least=5).score[0] > 12.0


def test_what_the_last_hours_have_shown_counts_as_usual() -> None:
    counts = np.full((20, 1), 8.0)
    assert played(counts, 4.0, mean=0.3).score[0] < played(counts, 4.0).score[0]


def test_silence_is_evidence_downwards() -> None:
    evidence = Evidence(EFFECTS_DOWN)
    evidence.grow(2)
    for minute in range(15):
        evidence.add(window(minute, np.array([0.0, 3.0]), np.full(2, 3.0), None))
    assert evidence.score[0] > 12.0
    assert evidence.score[1] == 0.0


def test_a_span_ends_soon_after_the_problem_so_that_a_relapse_is_seen_anew() -> None:
    loud, quiet = np.full((300, 1), 20.0), np.full((60, 1), 2.0)
    assert played(np.concatenate([loud, quiet]), 2.0).score[0] == 0.0
    assert played(loud, 2.0)._cusum.max() <= CUSUM_CAP


def test_what_a_problem_explains_is_taken_out_and_the_rest_goes_on() -> None:
    counts = np.tile([30.0, 30.0], (10, 1))
    evidence = played(counts, 5.0)
    rows, effects = np.array([0, 1]), len(EFFECTS_UP)
    # All of the first segment's excess lies in the problem's cells, none of the second's.
    explained = np.array([[260.0] * effects, [5.0] * effects])
    evidence.explain(rows, explained, np.full((2, effects), 0.2))
    evidence.add(window(10, np.array([4.0, 30.0]), np.full(2, 4.0), np.full(2, 100.0)))
    assert evidence.score[0] < 3.0
    assert evidence.score[1] > 30.0


@pytest.mark.slow
@given(cut=st.integers(0, 39), seed=st.integers(0, 99))
def test_evidence_and_the_local_level_go_on_exactly_after_a_restart(cut: int, seed: int) -> None:
    def run(restart: bool) -> bytes:
        rng, evidence, local = np.random.default_rng(seed), Evidence(EFFECTS_UP), Local()
        evidence.grow(3)
        local.grow(3)
        rows, spread, mu = np.arange(3), np.full(3, SPREAD), np.full(3, 2.0)
        for minute in range(40):
            if restart and minute == cut:
                kept = unpack(pack([evidence.state(), local.state()]), list)
                evidence, local = Evidence(EFFECTS_UP), Local()
                evidence.restore(kept[0])
                local.restore(kept[1])
            at = T0 + minute * MINUTE_MS
            predicted, k = local.predict(rows, at, spread), rng.poisson(2.0 + minute / 10, 3).astype(float)
            evidence.add(Touched(rows, at, k, mu, mu * 30, spread, *predicted, np.full(3, 1.1)))
            local.learn(rows, at, predicted, k, mu, spread, evidence.score < 6.0)
        return pack([evidence.state(), local.state()])

    assert run(restart=True) == run(restart=False)


def followed(rate: float, minutes: int, *, quiet: bool = True) -> tuple[float, float]:
    """Where the local level stands after so many minutes at `rate` times what is expected."""
    local, spread, rows = Local(), np.full(1, SPREAD), np.zeros(1, np.int64)
    local.grow(1)
    mu = np.full(1, 10.0)
    for minute in range(minutes):
        at = T0 + minute * MINUTE_MS
        local.learn(rows, at, local.predict(rows, at, spread), mu * rate, mu, spread, np.array([quiet]))
    mean, variance = local.predict(rows, T0 + minutes * MINUTE_MS, spread)
    return float(mean[0]), float(variance[0])


def test_wandering_is_followed_within_the_hour_and_makes_the_next_minutes_surer() -> None:
    mean, variance = followed(1.15, 60)
    assert mean == pytest.approx(np.log(1.15), abs=0.03)
    assert variance < SPREAD / 4


def test_no_problem_is_followed_away() -> None:
    assert followed(5.0, 600)[0] <= BOUND * np.sqrt(SPREAD) + 1e-12


def test_what_an_alarm_holds_is_not_followed() -> None:
    assert followed(1.5, 120, quiet=False) == pytest.approx((0.0, SPREAD))


def test_what_was_known_is_forgotten_with_time() -> None:
    local, spread, rows = Local(), np.full(1, SPREAD), np.zeros(1, np.int64)
    local.grow(1)
    mu = np.full(1, 50.0)
    for minute in range(60):
        at = T0 + minute * MINUTE_MS
        local.learn(rows, at, local.predict(rows, at, spread), mu * 1.2, mu, spread, np.array([True]))
    later = int(T0 + 60 * MINUTE_MS + 10 * TAU_MS)
    mean, variance = local.predict(rows, later, spread)
    assert abs(mean[0]) < 1e-3
    assert variance[0] == pytest.approx(SPREAD, rel=1e-3)


@given(st.floats(1e-4, 100.0))
def test_a_span_never_knows_more_than_its_beginning_and_never_less_than_the_noise(length: float) -> None:
    begun, noise = averaged(np.array([length]))
    assert 0.0 <= begun[0] <= 1.0
    assert 0.0 <= noise[0] <= 1.0
    assert begun[0] + noise[0] <= 1.0 + 1e-9
