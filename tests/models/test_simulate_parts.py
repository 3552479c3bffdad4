"""The simulator's parts on their own: plans, wandering, versions, the book of whom a problem hit."""

from itertools import pairwise

import numpy as np
import pytest

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS
from models.simulate import simulate
from models.simulate.noise import (
    CAMPAIGN_FACTOR,
    WANDER_SD,
    WANDER_TAU_H,
    Campaign,
    Moving,
    Wander,
    plan_campaigns,
    season,
)
from models.simulate.play import START_MS
from models.simulate.problems import APART_MS, FIRST_AFTER_MS, Book, Planted
from models.simulate.traffic import BLOCK_MS, BOTS_A_WEEK, Traffic, plan_bots
from models.simulate.world import KINDS, LOGIN, SHARE_RANGE, Shop


def shop(seed: int = 1, days: float = 2.0, customers: int = 20_000) -> Shop:
    return Shop(np.random.default_rng(seed), START_MS, days, customers)


def traffic(book: Book, campaigns: tuple[Campaign, ...] = (), noise: float = 1.0, rate: float = 12.0) -> Traffic:
    rng, weather = np.random.default_rng(2), np.random.default_rng(3)
    return Traffic(rng, weather, book.shop, book, campaigns, (), rate, noise)


# --- plans ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("days", [0.32, 0.5, 2.0, 7.0])
def test_problems_begin_after_six_hours_and_end_within_the_run(days: float) -> None:
    overlapping = 0
    for seed in range(12):
        world = simulate(seed, days)
        planted = world.problems
        assert len({p.kind.name for p in planted}) == len(KINDS)
        assert len(planted) == max(4, round(1.5 * days))
        assert min(p.onset_ms for p in planted) >= world.start_ms + FIRST_AFTER_MS
        assert max(p.end_ms for p in planted) <= world.end_ms
        assert [p.onset_ms for p in planted] == sorted(p.onset_ms for p in planted)
        overlapping += any(a.end_ms > b.onset_ms for a, b in pairwise(planted))
        for kind in KINDS:
            own = [p for p in planted if p.kind is kind]
            assert all(b.onset_ms - a.end_ms >= APART_MS for a, b in pairwise(own))
    assert overlapping > 0


@pytest.mark.slow
def test_a_problem_lasts_as_long_as_its_kind_does() -> None:
    for seed in range(8):
        for problem in simulate(seed, 2.0).problems:
            hours = (problem.end_ms - problem.onset_ms) / HOUR_MS
            low, high = (1 / 3, 0.75) if problem.silence else (1.0, 2.5)
            assert low <= hours <= high
            assert problem.ramp == (problem.kind.name == "payment")
            assert season(problem.onset_ms) > 0.3


def test_a_run_too_short_for_a_problem_has_none() -> None:
    assert simulate(1, 0.2).problems == ()


@pytest.mark.slow
def test_causes_differ_between_seeds() -> None:
    causes = {tuple(sorted(p.where.items())) for seed in range(6) for p in simulate(seed, 2.0).problems if p.where}
    assert len(causes) > 10


def test_campaigns_come_twice_a_week_and_last_one_to_three_hours() -> None:
    found = plan_campaigns(np.random.default_rng(1), 0, 700, {"city": 10, "bank": 5}, 1.0)
    assert 160 < len(found) < 240
    assert all(HOUR_MS <= c.end_ms - c.start_ms <= 3 * HOUR_MS for c in found)
    assert 0.35 < sum(c.dimension is None for c in found) / len(found) < 0.65


def test_bots_come_ten_to_forty_times_a_week_and_twice_as_often_with_noise_doubled() -> None:
    weeks = [len(plan_bots(np.random.default_rng(seed), 1_000, 0, 7, 12, 1.0)) for seed in range(60)]
    doubled = [len(plan_bots(np.random.default_rng(seed), 1_000, 0, 7, 12, 2.0)) for seed in range(60)]
    assert BOTS_A_WEEK[0] < np.mean(weeks) < BOTS_A_WEEK[1]
    assert 1.6 < np.mean(doubled) / np.mean(weeks) < 2.4


# --- noise ----------------------------------------------------------------------------------------------------------


def test_wandering_keeps_its_spread_and_forgets_within_its_time() -> None:
    wander = Wander(np.random.default_rng(1), np.full(4_000, 0.1), WANDER_TAU_H)
    first = wander.log.copy()
    for _ in range(5):
        wander.step(0.5)
    assert wander.log.std() == pytest.approx(0.1, rel=0.06)
    assert np.corrcoef(first, wander.log)[0, 1] == pytest.approx(np.exp(-1), abs=0.06)


def test_noise_doubled_doubles_the_wandering() -> None:
    once, twice = (Moving(np.random.default_rng(1), (500,), noise).share()[0] for noise in (1.0, 2.0))
    assert WANDER_SD[0] < once.std()
    assert twice == pytest.approx(2 * once)


def test_failure_shares_differ_by_cell_within_the_range() -> None:
    for kind in KINDS:
        if kind.bad_share:
            base = shop().base[kind.name]
            assert SHARE_RANGE[0] <= base.min() and base.max() <= SHARE_RANGE[1]
            assert np.quantile(base, 0.95) > 3 * np.quantile(base, 0.05)


def test_a_campaign_triples_the_volume_of_its_value_only() -> None:
    book = Book((), shop())
    campaign = Campaign(START_MS, START_MS + HOUR_MS, "platform", 1)
    counts = {}
    for name, campaigns in (("with", (campaign,)), ("without", ())):
        [logins, *_], _ = traffic(book, campaigns, noise=0.0, rate=60.0).block(START_MS, START_MS + BLOCK_MS)
        ios = logins.cell % 2 == 1
        counts[name] = np.array([(~ios).sum(), ios.sum()])
    other, own = counts["with"] / counts["without"]
    assert other == pytest.approx(1.0, abs=0.15)
    assert own == pytest.approx(CAMPAIGN_FACTOR, rel=0.2)


def test_a_new_version_grows_over_days_and_starves_the_old_one() -> None:
    world = shop(seed=4, days=6.0)
    new = next(i for i, r in enumerate(world.releases) if r.at_ms > START_MS)
    at = world.releases[new].at_ms
    shares = []
    for hours in (-1, 12, 36, 60, 96):
        version = world.customers.versions(at + hours * HOUR_MS)
        shares.append(((version == new).mean(), (version == new - 1).mean()))
    grown, starved = zip(*shares, strict=True)
    assert grown[0] == 0.0
    assert list(grown) == sorted(grown) and grown[-1] > 0.5
    assert starved[-1] < 0.4 * starved[0]


def test_versions_hang_on_the_platform() -> None:
    world = shop()
    only = next(i for i, r in enumerate(world.releases) if r.android_only)
    version = world.customers.versions(START_MS)
    assert set(world.customers.platform[version == only]) == {0}


# --- the book -------------------------------------------------------------------------------------------------------


def planted(name: str, where: dict[str, int], strength: float, end_ms: int, ramp: bool = False) -> Planted:
    return Planted(name, "failures", LOGIN, START_MS, end_ms, where, strength, ramp)


def test_a_rising_problem_rises_from_nothing_to_its_strength_and_is_gone() -> None:
    problem = planted("a", {}, 0.6, START_MS + 60 * MINUTE_MS, ramp=True)
    times = START_MS + np.array([-1, 0, 30 * MINUTE_MS, 60 * MINUTE_MS - 1, 60 * MINUTE_MS])
    assert problem.added(times) == pytest.approx([0, 0, 0.3, 0.6, 0], abs=1e-5)


def test_the_oracles_probability_is_true_also_where_two_problems_overlap() -> None:
    end = START_MS + 3 * HOUR_MS
    problems = (planted("a", {"platform": 0}, 0.03, end), planted("b", {"otp_provider": 1}, 0.05, end, ramp=True))
    book = Book(problems, shop())
    running = traffic(book, rate=40.0)
    for start in range(START_MS, end, BLOCK_MS):
        running.block(start, start + BLOCK_MS)
    for problem in problems:
        page = book.page(problem)
        probability = 1 - np.exp(page.anyway_log[page.hit])
        because = page.because[page.hit]
        spread = np.sqrt((probability * (1 - probability)).sum())
        assert page.hit.sum() > 500
        assert abs(because.sum() - probability.sum()) < 4 * spread
        likely = probability >= 0.5
        assert because[likely].mean() > 0.5 > because[~likely].mean()


def test_with_certain_failure_everyone_in_the_cause_fails_and_nobody_else_is_noted() -> None:
    problem = planted("a", {"otp_provider": 2}, 1.0, START_MS + DAY_MS)
    book = Book((problem,), shop())
    [logins, *_], _ = traffic(book, rate=40.0).block(START_MS, START_MS + BLOCK_MS)
    within = book.mask(problem)[logins.cell]
    assert logins.bad[within].all() and not logins.bad[~within].all()
    assert set(np.flatnonzero(book.page(problem).hit)) == set(logins.customer[within])
