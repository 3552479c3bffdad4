"""The benchmark over segments: how it counts false cases, finds limits for peers, and judges a cause."""

import argparse
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks.quality import budget_of_segments, delay_of_segments
from benchmarks.quality.delay_of_segments import Judge
from benchmarks.quality.driven import joined, median
from benchmarks.quality.peers import SIMPLE, Index, Peers, threshold_for
from detector.config import HOUR_MS, MINUTE_MS, WEEK_MS
from detector.watch.anomaly import Anomaly, Cause, Phase, Why
from models.simulate.counts import START_MS, CountStream
from models.simulate.faults import FOREVER_MS, Fault


def options(*words: str, command: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return parser.parse_args(words)


# --- counting cases -------------------------------------------------------------------------------------------------


def test_what_opens_within_an_hour_of_the_one_before_is_one_case() -> None:
    assert joined([0, 50 * MINUTE_MS, 100 * MINUTE_MS, 161 * MINUTE_MS]) == [0, 161 * MINUTE_MS]


def test_what_was_never_found_is_infinitely_late() -> None:
    assert median([1.0, 2.0, np.inf]) == 2.0
    assert median([1.0, np.inf, np.inf]) is None


@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0])
def test_a_limit_keeps_its_rate_of_false_cases_and_a_lower_one_does_not(rate: float) -> None:
    weeks = 4
    peaks = np.random.default_rng(1).exponential(1.0, weeks * WEEK_MS // MINUTE_MS)
    limit = threshold_for(peaks, rate)
    lower = np.sort(peaks[peaks < limit])[-1]

    def cases(at: float) -> int:
        return len(joined((np.flatnonzero(peaks >= at) * MINUTE_MS).tolist()))

    assert cases(limit) <= rate * weeks < cases(float(lower))


def test_a_score_that_saturates_has_no_limit_that_keeps_the_rate() -> None:
    peaks = np.zeros(2 * WEEK_MS // MINUTE_MS)
    peaks[::200] = 1.0
    assert threshold_for(peaks, 1.0) == np.inf


# --- peers ----------------------------------------------------------------------------------------------------------


def test_segments_of_the_peers_add_up_their_cells() -> None:
    stream = CountStream(300, 1)
    index = Index(stream)
    assert index.count == stream.tenant.segments()
    stream.next()
    rows, _, total = stream.last
    sums = index.totals(rows, total)
    assert sums[0] == total.sum()
    for d, size in enumerate(stream.tenant.sizes):
        start = 1 + sum(stream.tenant.sizes[:d])
        expected = np.bincount(stream.tenant.codes[rows, d], weights=total, minlength=size)
        assert np.array_equal(sums[start : start + size], expected)
    fault = Fault("x", ((1, 2),), ((0, FOREVER_MS),))
    assert index.struck(stream.inside(fault)).sum() < index.count


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("measure", ["share", "down", "up"])
def test_a_peer_scores_a_plain_problem_higher_than_anything_before(name: str, measure: str) -> None:
    peer = SIMPLE[name](2, measure)
    rng = np.random.default_rng(1)
    quiet = np.array(
        [
            peer.step(rng.binomial(40, [0.05, 0.05]).astype(np.float64), np.full(2, 40.0) + rng.integers(-5, 6))
            for _ in range(800)
        ]
    )
    worse = {"share": (np.array([2.0, 36.0]), np.array([40.0, 40.0])), "down": (np.zeros(2), np.array([40.0, 0.0]))}
    k, n = worse.get(measure, (np.zeros(2), np.array([40.0, 400.0])))
    after = np.array([peer.step(k, n) for _ in range(8)])
    assert after[:, 1].max() > quiet[400:].max()
    assert after[:, 1].max() > after[:, 0].max()


@pytest.mark.slow
def test_peers_forget_a_version_that_gave_its_place_to_a_new_one() -> None:
    stream = CountStream(10, 1)
    peers = Peers(stream, "share", SIMPLE, river=False)
    versions = list(stream.values[-1])
    for _ in range(3 * WEEK_MS // MINUTE_MS):
        stream.next()
        peers.step(stream)
        if stream.values[-1] != versions:
            break
    [cusum] = [p for p in peers.all if p.name == "Poisson CUSUM"]
    seen = vars(cusum)["_seen"]
    assert seen.min() < 10 < seen.max()


# --- judging --------------------------------------------------------------------------------------------------------

ONSET_MS = START_MS + HOUR_MS


def said(window_ms: int, where: dict[str, str], phase: Phase = Phase.OPENED, name: str = "a") -> Anomaly:
    return Anomaly(
        id=name,
        signal="failures",
        phase=phase,
        at_ms=window_ms,
        window_ms=window_ms,
        onset_ms=ONSET_MS + MINUTE_MS,
        detected_ms=window_ms,
        ended_ms=None,
        causes=(Cause(where, 1.0),),
        observed=10,
        expected=1.0,
        trials=20,
        score=20.0,
        points=(),
        rewrite=False,
        why=Why(20.0, 15.0, "1 per week", 1, 0.1),
    )


def test_a_problem_counts_as_found_from_its_onset_on_and_its_cause_as_a_set_of_cells() -> None:
    stream = CountStream(300, 1)
    fault = Fault("x", ((1, 2),), ((ONSET_MS, FOREVER_MS),))
    judge = Judge(stream, (fault,))
    region = stream.values[0][int(stream.tenant.parent[2])]
    elsewhere = {"city": stream.values[1][3]}
    judge.take(ONSET_MS, [said(ONSET_MS, elsewhere, name="b")])
    assert judge.outcome.elsewhere == 1 and judge.outcome.after == np.inf
    for i in range(3, 14):
        now = ONSET_MS + i * MINUTE_MS
        phase = Phase.OPENED if i == 3 else Phase.UPDATED
        # At first the whole region; then the city, named with the region that it lies in anyway.
        where = {"region": region} if i < 6 else {"region": region, "city": stream.values[1][2]}
        judge.take(now, [said(now, where, phase)])
    out = judge.outcome
    assert (out.after, out.right, out.right_later, out.onset_error) == (3, False, True, 1.0)
    assert judge.over(now)


def test_of_a_relapse_only_what_is_found_anew_counts() -> None:
    stream = CountStream(300, 1)
    again_ms = ONSET_MS + 3 * HOUR_MS
    fault = Fault("x", ((1, 2),), ((ONSET_MS, ONSET_MS + HOUR_MS), (again_ms, FOREVER_MS)))
    judge, where = Judge(stream, (fault,)), {"city": stream.values[1][2]}
    judge.take(ONSET_MS, [said(ONSET_MS, where)])
    assert judge.outcome.after == np.inf
    judge.take(again_ms + MINUTE_MS, [said(again_ms + MINUTE_MS, where, Phase.RELAPSED)])
    assert judge.outcome.after == 1


# --- as a whole -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_quiet_weeks_of_a_small_tenant_are_counted_week_by_week() -> None:
    given = options("--scale", "10", "--weeks", "1", command=budget_of_segments)
    found = budget_of_segments.run(given, Console(quiet=True))
    [tenant] = found["tenants"]
    assert len(tenant["weeks"]) == 1 and sum(tenant["weeks"]) <= len(tenant["opened"])
    [[row]] = found["tables"].values()
    assert row["quiet weeks"] == 1


@pytest.mark.slow
def test_a_problem_that_nobody_could_miss_is_found_by_watch_and_by_a_limit(tmp_path: Any) -> None:
    words = ["--scale", "10", "--warm", "1", "--problems", "2", "--snapshots", "4", "--calibrate", "1"]
    given = options(*words, "--cache", str(tmp_path), "--kinds", "to 100 %", command=delay_of_segments)
    first, again = (delay_of_segments.run(given, Console(quiet=True)) for _ in range(2))
    assert first == again and len(list(tmp_path.iterdir())) == 2
    for one in first["scales"]["10"]["runs"]:
        assert one["after"] is not None and one["after"] < 10
        assert one["peers"]["static limit"] is not None
