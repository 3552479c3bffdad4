"""Simulated counts: every kind of noise is visible in what comes out, at four sizes; planted problems are what they say."""

import pickle
from collections import defaultdict
from functools import cache
from itertools import islice

import numpy as np
import pytest

from detector.config import HOUR_MS, MINUTE_MS, WEEK_MS
from detector.counter.record import SignalWindow
from models.simulate.counts import COUNT, ROW_SHARE, START_MS, CountStream, Recent
from models.simulate.faults import DOWN_KINDS, FOREVER_MS, SHARE_KINDS, TO_ALL, UP_KINDS, Fault, Kind, plant
from models.simulate.noise import season
from models.simulate.tenants import SCALES, SHARE_RANGE

Windows = list[tuple[int, SignalWindow]]
DAY = 1440
EVERY_SCALE = [10, 300, 5_000, pytest.param(50_000, marks=pytest.mark.slow)]


@cache
def windows(scale: int, count: int, seed: int = 1, noise: float = 1.0, measure: str = "share") -> Windows:
    return list(islice(CountStream(scale, seed, noise, measure=measure), count))


def same(one: Windows, other: Windows) -> bool:
    return all(
        a == b and x.cells == y.cells and all(np.array_equal(getattr(x, f), getattr(y, f)) for f in NUMBERS)
        for (a, x), (b, y) in zip(one, other, strict=True)
    )


NUMBERS = ("people", "total", "attempts")


def sums(found: Windows, dimension: int) -> dict[str, np.ndarray]:
    """Per value people, total and attempts over all windows."""
    out: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    for _, record in found:
        for cell, *row in zip(record.cells, record.people, record.total, record.attempts, strict=True):
            out[cell[dimension]] += row
    return out


def ordinary(stream: CountStream, fault: Fault) -> tuple[np.ndarray, np.ndarray]:
    """People, total and attempts of the next window within a problem's cells, and outside."""
    stream.next()
    rows, people, total = stream.last
    inside = stream.inside(fault)[rows]
    return (
        np.array([people[inside].sum(), total[inside].sum()]),
        np.array([people[~inside].sum(), total[~inside].sum()]),
    )


def gathered(stream: CountStream, fault: Fault, count: int) -> tuple[np.ndarray, np.ndarray]:
    parts = [ordinary(stream, fault) for _ in range(count)]
    return sum((p[0] for p in parts), np.zeros(2)), sum((p[1] for p in parts), np.zeros(2))


# --- a stream -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["share", "count"])
def test_the_same_seed_gives_the_same_counts_and_another_seed_others(measure: str) -> None:
    again = list(islice(CountStream(300, 1, measure=measure), 120))
    assert same(windows(300, 120, measure=measure), again)
    assert not same(windows(300, 120, seed=2, measure=measure), again)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 700])
def test_a_kept_stream_goes_on_exactly(count: int) -> None:
    stream = CountStream(300, 4)
    for _ in range(count):
        stream.next()
    kept = pickle.loads(pickle.dumps(stream))
    assert same(list(islice(stream, 400)), list(islice(kept, 400)))


def test_windows_follow_each_other_a_minute_apart() -> None:
    assert [at for at, _ in windows(300, 120)] == [START_MS + i * MINUTE_MS for i in range(120)]


@pytest.mark.parametrize("measure", ["share", "count"])
def test_a_window_is_what_a_counter_would_give(measure: str) -> None:
    for _, record in windows(300, 120, measure=measure):
        assert record.cells == sorted(set(record.cells))
        assert len(record.cells) == len(record.people) == len(record.total) == len(record.attempts)
        assert (record.people <= record.total).all() and (record.people <= record.attempts).all()
        assert (record.total + record.attempts > 0).all()
        assert not len(record.bad_customer) and not len(record.back_customer)


@pytest.mark.parametrize("scale", EVERY_SCALE)
def test_a_tenant_has_about_as_many_segments_as_its_size_says(scale: int) -> None:
    stream = CountStream(scale, 2)
    assert 0.85 * scale <= stream.tenant.segments() <= 1.25 * scale
    assert len(stream.tenant.codes) <= 50_000
    assert stream.dimensions == tuple(SCALES[scale].dimensions)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [10, 300, 5_000])
def test_traffic_is_what_a_tenant_of_that_size_has(scale: int) -> None:
    found = windows(scale, DAY)
    mean = np.mean([record.total.sum() for _, record in found])
    assert 0.5 < mean / SCALES[scale].per_minute < 2.0


def test_the_past_is_looked_up_by_time() -> None:
    recent = Recent(hours=1.0)
    for at, record in windows(300, 120):
        recent.add(at, record)
    assert len(recent(START_MS, START_MS + WEEK_MS)) == 60
    found = [t for t, _ in recent(START_MS + 70 * MINUTE_MS, START_MS + 75 * MINUTE_MS)]
    assert found == [START_MS + i * MINUTE_MS for i in range(70, 75)]


# --- noise, as it comes out -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_evening_is_busy_and_the_night_is_not() -> None:
    by_hour = np.zeros(24)
    for at, record in windows(300, 3 * DAY):
        by_hour[at // HOUR_MS % 24] += record.total.sum()
    evening, night = by_hour[13], by_hour[20]
    assert evening > 8 * night


def excess(noise: float) -> float:
    """Standard deviation of the log failure share by city and hour, beyond what chance makes of it."""
    top, bottom = 0.0, 0.0
    for seed in range(4):
        people: dict[tuple[str, int], float] = defaultdict(float)
        total: dict[tuple[str, int], float] = defaultdict(float)
        for at, record in windows(300, 2 * DAY, seed=seed, noise=noise):
            for cell, k, n in zip(record.cells, record.people.tolist(), record.total.tolist(), strict=True):
                people[cell[1], at // HOUR_MS] += k
                total[cell[1], at // HOUR_MS] += n
        for city in {c for c, _ in total}:
            hours = [h for c, h in total if c == city]
            k = np.array([people[city, h] for h in hours])
            n = np.array([total[city, h] for h in hours])
            m = n * k.sum() / n.sum()
            top, bottom = top + float(((k - m) ** 2 - m).sum()), bottom + float((m**2).sum())
    return float(np.sqrt(max(top, 0.0) / bottom))


@pytest.mark.slow
def test_failure_shares_wander_and_twice_as_far_with_noise_doubled() -> None:
    once, twice = excess(1.0), excess(2.0)
    assert 0.08 < once < 0.3
    assert 1.5 < twice / once < 2.6


@pytest.mark.slow
def test_volume_wanders_by_more_than_chance() -> None:
    found = sums(windows(300, 2 * DAY)[:DAY], 1), sums(windows(300, 2 * DAY)[DAY:], 1)
    ratios = [found[1][city][1] / found[0][city][1] for city in found[0] if found[0][city][1] > 2_000]
    assert np.std(np.log(ratios)) > 0.02


@pytest.mark.slow
def test_failure_shares_differ_by_cell_from_half_a_percent_to_fifteen() -> None:
    base = CountStream(300, 1).tenant.base
    assert SHARE_RANGE[0] <= base.min() and base.max() <= SHARE_RANGE[1]
    assert np.quantile(base, 0.95) > 4 * np.quantile(base, 0.05)
    seen = [k / n for k, n, _ in sums(windows(300, 2 * DAY), 2).values() if n > 1_000]
    assert max(seen) > 1.5 * min(seen)


@pytest.mark.slow
def test_a_city_lies_in_one_region_and_leans_to_providers_of_its_own() -> None:
    of_city: dict[str, set[str]] = defaultdict(set)
    pairs: dict[tuple[str, str], int] = defaultdict(int)
    for _, record in windows(300, DAY):
        for cell, n in zip(record.cells, record.total.tolist(), strict=True):
            of_city[cell[1]].add(cell[0])
            pairs[cell[1], cell[2]] += n
    assert {len(regions) for regions in of_city.values()} == {1}
    cities, providers = sorted({c for c, _ in pairs}), sorted({p for _, p in pairs})
    table = np.array([[pairs[c, p] for p in providers] for c in cities], np.float64)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() > 20 * table.size


@pytest.mark.slow
def test_new_versions_appear_grow_and_starve_old_ones() -> None:
    found = windows(10, 4 * 7 * DAY)
    days: list[dict[str, int]] = []
    for start in range(0, len(found), DAY):
        day: dict[str, int] = defaultdict(int)
        for _, record in found[start : start + DAY]:
            for cell, n in zip(record.cells, record.total.tolist(), strict=True):
                day[cell[-1]] += n
        days.append(day)
    first = {version: next(i for i, day in enumerate(days) if version in day) for day in days for version in day}
    fresh = [v for v, at in first.items() if 0 < at < 22]
    assert 2 <= len(fresh) <= 6
    for version in fresh:
        shares = [day.get(version, 0) / sum(day.values()) for day in days[first[version] : first[version] + 6]]
        assert shares[0] < 0.25 < 0.45 < max(shares)
    old = [v for v in days[0] if v not in days[-1]]
    assert old and all(days[0][v] > 0 for v in old)


@pytest.mark.slow
def test_campaigns_triple_the_volume_for_hours_twice_a_week() -> None:
    found = windows(10, 4 * 7 * DAY)
    hours = [found[i : i + 60] for i in range(0, len(found), 60)]
    level = [sum(r.total.sum() for _, r in h) / season(h[30][0]) for h in hours]
    high = np.array(level) > 2.0 * np.median(level)
    starts = int((high[1:] & ~high[:-1]).sum())
    assert 2 <= starts <= 12
    assert high.sum() <= 3.5 * starts


def test_forty_percent_of_those_who_fail_do_so_several_times() -> None:
    found = windows(300, DAY)
    people = sum(int(r.people.sum()) for _, r in found)
    # Without the bots' cells: a burst of one customer's failures.
    attempts = sum(int(np.minimum(r.attempts, 12 * r.people + 12).sum()) for _, r in found)
    more = ROW_SHARE * np.mean([2, 3, 4, 5, 6, 7])
    assert attempts / people == pytest.approx(1 + more, rel=0.08)


def bursts(seed: int, noise: float = 1.0) -> list[tuple[int, tuple[str, ...]]]:
    """Cells and windows with many failures of hardly anyone."""
    return [
        (at, cell)
        for at, record in windows(300, 7 * DAY, seed=seed, noise=noise)
        for cell, k, a in zip(record.cells, record.people.tolist(), record.attempts.tolist(), strict=True)
        if a >= 25 and k <= 1
    ]


@pytest.mark.slow
def test_bots_make_bursts_of_attempts_by_one_customer() -> None:
    found = bursts(1)
    count = 0
    last: dict[tuple[str, ...], int] = {}
    for at, cell in found:
        count += at - last.get(cell, 0) > HOUR_MS
        last[cell] = at
    assert 3 <= count <= 45


def test_noise_doubled_has_more_bots_and_campaigns() -> None:
    once, twice = (CountStream(10, 3, noise) for noise in (1.0, 2.0))
    counts = []
    for stream in (once, twice):
        bots = 0
        for _ in range(6):
            stream._begin_week()
            bots += len(stream._bots)
            stream.window_ms += WEEK_MS
        counts.append(bots)
    assert 1.3 < counts[1] / counts[0] < 3.0


@pytest.mark.slow
def test_a_count_has_every_event_and_its_people_once() -> None:
    found = windows(300, DAY, measure=COUNT)
    people = sum(int(r.people.sum()) for _, r in found)
    total = sum(int(r.total.sum()) for _, r in found)
    assert people < total < 1.5 * people
    assert all(np.array_equal(r.total, r.attempts) for _, r in found)


# --- planted problems -----------------------------------------------------------------------------------------------

ONSET_MS = START_MS + 180 * MINUTE_MS


def fault(**changes: object) -> Fault:
    given: dict[str, object] = {"kind": "x", "where": ((3, 1),), "episodes": ((ONSET_MS, FOREVER_MS),)}
    return Fault(**(given | changes))  # type: ignore[arg-type]


def shares_around(one: Fault, seed: int = 3) -> tuple[float, float, float, float]:
    """Failure shares inside before and after the onset, and outside before and after."""
    stream = CountStream(300, seed, problems=(one,))
    before, after = gathered(stream, one, 180), gathered(stream, one, 180)
    inside, outside = (tuple(float(part[i][0] / part[i][1]) for part in (before, after)) for i in (0, 1))
    return inside[0], inside[1], outside[0], outside[1]


def test_a_problem_multiplies_the_odds_where_it_strikes_and_nowhere_else() -> None:
    before, after, outside_before, outside_after = shares_around(fault(odds=5.0))
    odds = after / (1 - after) / (before / (1 - before))
    assert odds == pytest.approx(5.0, rel=0.3)
    assert outside_after == pytest.approx(outside_before, rel=0.3)


def test_a_problem_to_all_lets_nearly_nobody_through() -> None:
    assert shares_around(fault(odds=float("inf")))[1] == pytest.approx(TO_ALL, abs=0.02)


def test_a_ramp_grows_from_nothing_to_its_full_size() -> None:
    ramp = fault(odds=5.0, ramp_ms=2 * HOUR_MS)
    share = np.array([0.03])
    grown = [float(ramp.shares(share, ramp.strength(ONSET_MS + m * MINUTE_MS))[0]) for m in (0, 30, 60, 119, 600)]
    assert grown == sorted(grown)
    assert grown[0] < 0.032
    assert grown[-1] == pytest.approx(0.15 / (0.97 + 0.15), rel=0.01)


def test_a_relapse_is_off_between_its_episodes() -> None:
    kind = next(k for k in SHARE_KINDS if k.relapse)
    stream = CountStream(300, 1)
    [one] = plant(np.random.default_rng(1), kind, stream.scale, stream.tenant.codes, stream.rates(), ONSET_MS)
    assert [one.strength(ONSET_MS + m * MINUTE_MS) for m in (-1, 0, 59, 60, 179, 180, 5_000)] == [0, 1, 1, 0, 0, 1, 1]


@pytest.mark.slow
def test_a_silent_segment_has_no_event_and_a_drop_loses_its_part() -> None:
    silent, drop = fault(volume=0.0), fault(volume=0.7)
    for one, left in ((silent, 0.0), (drop, 0.7)):
        stream = CountStream(300, 5, noise=0.0, problems=(one,), measure=COUNT)
        before, after = gathered(stream, one, 180), gathered(stream, one, 180)
        whole = after[1][1] / before[1][1]
        assert after[0][1] / before[0][1] / whole == pytest.approx(left, abs=0.08)


@pytest.mark.parametrize("scale", EVERY_SCALE)
@pytest.mark.parametrize("kind", [*SHARE_KINDS, *DOWN_KINDS, *UP_KINDS], ids=lambda k: k.name)
def test_every_kind_of_problem_finds_a_place_at_every_scale(scale: int, kind: Kind) -> None:
    stream = busy(scale)
    rates = stream.rates()
    for number in range(3):
        rng = np.random.default_rng([scale, number])
        found = plant(rng, kind, stream.scale, stream.tenant.codes, rates, ONSET_MS)
        assert len(found) == kind.faults and {f.onset_ms for f in found} == {ONSET_MS}
        assert all(len(f.where) == min(kind.dimensions, len(stream.dimensions)) for f in found)
        assert all(rates[stream.inside(f)].sum() > 0 for f in found)
        assert len({f.where for f in found}) == kind.faults


@pytest.mark.parametrize("scale", EVERY_SCALE[1:])
@pytest.mark.parametrize("size", ["small", "tiny", "pair"])
def test_small_problems_strike_segments_of_that_size(scale: int, size: str) -> None:
    stream = busy(scale)
    kind = next(k for k in SHARE_KINDS if k.size == size)
    low, high = getattr(stream.scale, size)
    for number in range(5):
        rng = np.random.default_rng(number)
        [one] = plant(rng, kind, stream.scale, stream.tenant.codes, stream.rates(), ONSET_MS)
        assert 0.5 * low < stream.rates()[stream.inside(one)].sum() < 2 * high


@cache
def busy(scale: int) -> CountStream:
    return CountStream(scale, 1)


def test_two_problems_at_once_strike_different_dimensions() -> None:
    kind = next(k for k in SHARE_KINDS if k.faults == 2)
    stream = busy(300)
    for number in range(10):
        rng = np.random.default_rng(number)
        one, two = plant(rng, kind, stream.scale, stream.tenant.codes, stream.rates(), ONSET_MS)
        assert {d for d, _ in one.where}.isdisjoint(d for d, _ in two.where)


def test_where_a_problem_strikes_is_named_as_the_windows_name_it() -> None:
    stream = CountStream(300, 1)
    one = fault(where=((1, 2), (3, 0)))
    named = stream.named(one)
    assert np.array_equal(stream.covered(named), stream.inside(one))
    rows = {
        cell
        for _, record in islice(stream, 60)
        for cell in record.cells
        if all(cell[stream.dimensions.index(d)] == v for d, v in named.items())
    }
    assert rows
