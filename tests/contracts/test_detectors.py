"""The contract `Detector`, over every implementation: the built-in one, foreign ones through adapters, a user's own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import MINUTE_MS
from detector.events import Floats, Ints
from detector.pack import pack, unpack
from detector.signals import Condition, Measure, Signal
from detector.watch.budget import cold_thresholds, mean_for
from detector.watch.evidence import EFFECTS_UP, Detector, Evidence, Touched
from detector.watch.plugins.resolve import detector_of

T0 = 1_772_409_600_000
SEGMENTS = 24
WARM = 700
"""Windows until the calibrated detectors know their own past."""
MEANS = np.geomspace(0.6, 14.0, SEGMENTS)
JUMPS = 20
"""The segment in which something is planted."""
SIGNAL = Signal(
    name="logins",
    title={"en": "Logins fail"},
    events=(),
    bad=(Condition("outcome", any_of=("failure",)),),
    measure=Measure.SHARE,
    dimensions=("city",),
    window_ms=MINUTE_MS,
)


def builtin() -> Detector:
    return Evidence(EFFECTS_UP)


def made(path: str, **options: int) -> Callable[[], Detector]:
    signal = msgspec.structs.replace(SIGNAL, detector=path, detector_options=options)
    return lambda: detector_of(signal, builtin, up=True)


DETECTORS = [
    pytest.param(builtin, id="built-in"),
    pytest.param(made("river.anomaly.HalfSpaceTrees", n_trees=6, height=5, window_size=120), id="river-trees"),
    pytest.param(made("river.anomaly.GaussianScorer"), id="river-gaussian"),
    pytest.param(made("sklearn.ensemble.IsolationForest", n_estimators=10), id="isolation-forest"),
    pytest.param(made("tests.contracts.own_detector.Residuals"), id="a user's own"),
]
every = pytest.mark.parametrize("make", DETECTORS)
Make = Callable[[], Detector]


@dataclass
class Stream:
    """Windows of all segments: Poisson failures, with a noise that lasts for hours; `order` shuffles the rows."""

    seed: int = 1
    order: Ints | None = None
    jump: float = 1.0
    jump_from: int = 10**9

    def windows(self, count: int) -> Iterator[Touched]:
        rng = np.random.default_rng(self.seed)
        drift = np.zeros(SEGMENTS)
        place = np.arange(SEGMENTS) if self.order is None else self.order
        for minute in range(count):
            drift = 0.995 * drift + rng.normal(0.0, 0.01, SEGMENTS)
            rate = MEANS * np.exp(drift)
            if minute >= self.jump_from:
                rate[JUMPS] *= self.jump
            yield window(minute, np.argsort(place), rng.poisson(rate)[np.argsort(place)])


def window(minute: int, which: Ints, observed: Ints) -> Touched:
    mu: Floats = MEANS[which]
    spread = np.full(len(mu), 0.02)
    return Touched(
        rows=np.arange(len(mu)),
        window_ms=T0 + minute * MINUTE_MS,
        observed=observed.astype(np.float64),
        expected=mu,
        trials=mu * 20.0,
        spread=spread,
        mean=np.zeros(len(mu)),
        variance=spread,
        slack=np.full(len(mu), 1.1),
    )


def drive(detector: Detector, stream: Stream, count: int, first: int = 0) -> list[Floats]:
    """Score, then learn what does not look suspicious, as Watch does; the scores of every window."""
    scores = []
    detector.grow(SEGMENTS)
    for minute, touched in enumerate(stream.windows(count)):
        if minute >= first:
            detector.add(touched)
            scores.append(detector.score.copy())
            detector.learn(touched, detector.score[touched.rows] < 6.0)
    return scores


def limit() -> float:
    return float(cold_thresholds(mean_for(1), 10_080, np.array([1, SEGMENTS, 1]))[1])


@pytest.mark.slow
@every
def test_scores_are_finite_and_not_negative_and_fit_the_segments(make: Make) -> None:
    detector = make()
    for scores in drive(detector, Stream(jump=20.0, jump_from=50), 120):
        assert scores.shape == (SEGMENTS,)
        assert np.isfinite(scores).all() and (scores >= 0).all()
    assert detector.start_ms.shape == (SEGMENTS,)


@pytest.mark.slow
@every
def test_a_window_is_scored_before_it_is_learned(make: Make) -> None:
    detector = make()
    drive(detector, Stream(), 200)
    touched = next(iter(Stream(seed=9).windows(1)))
    detector.add(touched)
    before = detector.score.copy()
    detector.learn(touched, np.ones(SEGMENTS, np.bool_))
    assert (detector.score == before).all()


@pytest.mark.slow
@every
def test_a_jump_stands_out_of_the_quiet_and_its_beginning_is_known(make: Make) -> None:
    detector = make()
    scores = np.array(drive(detector, Stream(jump=6.0, jump_from=WARM), WARM + 12))
    quiet, jump = scores[200:WARM], scores[WARM:, JUMPS]
    assert jump.max() > quiet.max()
    assert jump.max() >= limit()
    assert int(scores[-1].argmax()) == JUMPS
    assert abs(int(detector.start_ms[JUMPS]) - T0 - WARM * MINUTE_MS) <= 5 * MINUTE_MS


@pytest.mark.slow
@every
def test_a_quiet_stream_seldom_passes_the_threshold(make: Make) -> None:
    scores = np.array(drive(make(), Stream(seed=5), 1_500))
    assert (scores >= limit()).any(axis=1).sum() <= 2


@pytest.mark.slow
@every
def test_reset_ends_what_is_going_on_and_leaves_the_rest(make: Make) -> None:
    detector = make()
    drive(detector, Stream(jump=6.0, jump_from=WARM - 100), WARM - 90)
    before = detector.score.copy()
    detector.reset(np.array([JUMPS]))
    others = np.arange(SEGMENTS) != JUMPS
    assert detector.score[JUMPS] == 0 and detector.start_ms[JUMPS] == 0
    assert (detector.score[others] == before[others]).all()


@pytest.mark.slow
@every
def test_new_segments_begin_with_nothing_and_change_no_other(make: Make) -> None:
    detector = make()
    drive(detector, Stream(), 150)
    before = detector.score.copy()
    detector.grow(SEGMENTS + 5)
    assert (detector.score[:SEGMENTS] == before).all()
    assert (detector.score[SEGMENTS:] == 0).all() and (detector.start_ms[SEGMENTS:] == 0).all()


@pytest.mark.slow
@every
def test_segments_that_are_kept_go_on_as_they_were(make: Make) -> None:
    whole, part = make(), make()
    drive(whole, Stream(), 365)
    drive(part, Stream(), 365)
    kept = np.arange(SEGMENTS)[::-2].copy()
    part.keep(kept)
    assert (part.score == whole.score[kept]).all()
    for minute in range(365, 375):  # within an hour: what is learned of all together changes with it
        observed = np.random.default_rng(minute).poisson(MEANS * 3)
        whole.add(window(minute, np.arange(SEGMENTS), observed))
        part.add(window(minute, kept, observed[kept]))
        assert np.allclose(part.score, whole.score[kept])
        whole.learn(window(minute, np.arange(SEGMENTS), observed), np.zeros(SEGMENTS, np.bool_))
        part.learn(window(minute, kept, observed[kept]), np.zeros(len(kept), np.bool_))


def resumed(make: Make, stream: Stream, cuts: list[int], count: int) -> tuple[list[Floats], Detector]:
    """The scores of a run that is packed, dropped and restored before each of these windows."""
    detector, scores = make(), []
    for first, last in pairwise([0, *cuts, count]):
        if first:
            after = make()
            after.grow(SEGMENTS)
            after.restore(unpack(pack(detector.state()), dict))
            detector = after
        scores += drive(detector, stream, last, first)
    return scores, detector


@pytest.mark.slow
@every
@pytest.mark.parametrize("cut", [1, 301, 415])
def test_a_restart_goes_on_exactly(make: Make, cut: int) -> None:
    stream, count = Stream(jump=3.0, jump_from=400), 430
    expected, straight = resumed(make, stream, [], count)
    scores, after = resumed(make, stream, [cut], count)
    assert np.array_equal(np.array(scores), np.array(expected))
    assert pack(after.state()) == pack(straight.state())


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("river.anomaly.GaussianScorer", id="one for each"),
        pytest.param("sklearn.mixture.GaussianMixture", id="one for all"),
    ],
)
@settings(max_examples=8, deadline=None)
@given(cuts=st.sets(st.integers(1, 139), max_size=4))
def test_restarts_at_any_cuts_go_on_exactly(path: str, cuts: set[int]) -> None:
    make, stream = made(path), Stream(jump=4.0, jump_from=120)
    expected, straight = resumed(make, stream, [], 140)
    scores, after = resumed(make, stream, sorted(cuts), 140)
    assert np.array_equal(np.array(scores), np.array(expected))
    assert pack(after.state()) == pack(straight.state())


@pytest.mark.slow
@every
def test_the_order_of_the_segments_does_not_matter(make: Make) -> None:
    order = np.random.default_rng(3).permutation(SEGMENTS)
    plain = np.array(drive(make(), Stream(jump=4.0, jump_from=420), 440))
    shuffled = np.array(drive(make(), Stream(order=order, jump=4.0, jump_from=420), 440))
    assert np.allclose(shuffled[:, order], plain)


@pytest.mark.slow
@every
def test_what_is_not_touched_keeps_its_score(make: Make) -> None:
    detector = make()
    drive(detector, Stream(jump=6.0, jump_from=280), 290)
    before = detector.score.copy()
    touched = window(291, np.arange(3), np.array([0, 0, 9]))
    detector.add(touched)
    detector.learn(touched, np.ones(3, np.bool_))
    assert (detector.score[3:] == before[3:]).all()
