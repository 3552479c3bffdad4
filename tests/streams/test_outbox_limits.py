"""Limits hold in every stretch of time, circuits open and close, waits grow: pure, under a clock that tests turn."""

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.outbox.breaker import FAILURES, LONGEST_OPEN_MS, OPEN_MS, Breaker, Circuit, after
from streams.outbox.channel import Outcome, Sent
from streams.outbox.limits import (
    CLEAR_AFTER_MS,
    DAY_MS,
    HOUR_MS,
    RAISE_AFTER_MS,
    Binding,
    Cap,
    GoneOut,
    Limit,
    Limits,
    Tier,
    rate,
)
from streams.outbox.retry import LONGEST_MS, wait_ms

steps = st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 5)), max_size=80)


@given(steps, st.integers(1, 8), st.sampled_from([1_000, 60_000, HOUR_MS]))
def test_a_cap_holds_in_every_stretch(steps: list[tuple[int, int]], most: int, width_ms: int) -> None:
    cap, now_ms, went = Cap(most, width_ms), 10**12, deque[int]()
    for wait, wanted in steps:
        now_ms += wait
        for _ in range(min(wanted, cap.room(now_ms))):
            cap.take(now_ms)
            went.append(now_ms)
        while went and went[0] <= now_ms - width_ms:
            went.popleft()
        assert len(went) <= most


@given(steps, st.integers(1, 8))
def test_a_cap_frees_again_within_a_slot_after_the_stretch(steps: list[tuple[int, int]], most: int) -> None:
    cap, now_ms = Cap(most, HOUR_MS), 10**12
    for wait, wanted in steps:
        now_ms += wait
        cap.take(now_ms, min(wanted, cap.room(now_ms)))
    assert cap.room(now_ms + HOUR_MS + HOUR_MS // 60) == most


@given(st.lists(st.integers(0, 10**7), max_size=40))
def test_what_is_taken_back_was_never_there(moments: list[int]) -> None:
    cap = Cap(1_000, HOUR_MS)
    for at in moments:
        cap.take(at)
    for at in reversed(moments):
        cap.take(at, -1)
    assert cap.room(max(moments, default=0)) == 1_000


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, HOUR_MS), st.integers(1, 12)), max_size=120), st.integers(1, 6))
def test_a_tier_never_holds_more_customers_than_it_may_and_known_ones_cost_nothing(
    sends: list[tuple[int, int]], most: int
) -> None:
    tier, now_ms, last = Tier(most), 10**12, dict[int, int]()
    for wait, customer in sends:
        now_ms += wait
        last = {who: at for who, at in last.items() if at > now_ms - DAY_MS}
        room = tier.room(now_ms)
        assert room == most - len(last)
        if room or tier.knows(customer):
            tier.begin(customer)
            tier.end(customer, now_ms)
            last[customer] = now_ms
        assert len(last) <= most


def test_what_is_under_way_takes_its_place_until_it_has_ended() -> None:
    tier = Tier(1)
    tier.begin(7)
    assert (tier.room(0), tier.knows(7), tier.knows(8)) == (0, True, False)
    tier.end(7, None)
    assert (tier.room(0), tier.knows(7)) == (1, False)


def test_the_first_limit_that_binds_is_named() -> None:
    limits = Limits(3, 2, rates={"wa": rate(2)}, tiers={"wa": Tier(1)})
    assert limits.binding("wa", "a", 1, 0) is None
    limits.count([GoneOut("wa", "a", 1, 0)])
    assert limits.binding("wa", "a", 2, 500) is Limit.TIER
    assert limits.binding("wa", "a", 1, 500) is None
    limits.count([GoneOut("wa", "a", 1, 500)])
    assert limits.binding("wa", "b", 1, 500) is Limit.RATE
    assert limits.binding("wa", "b", 1, 2_000) is None
    assert limits.binding("wa", "a", 1, 2_000) is Limit.SIGNAL
    limits.count([GoneOut("mail", "b", 3, 2_000)])
    assert limits.binding("mail", "c", 4, 2_000) is Limit.HOUR
    assert limits.binding("mail", "a", 4, 2 * HOUR_MS) is None


def test_a_message_that_did_not_go_out_only_counts_in_the_channels_rate() -> None:
    limits = Limits(1, 1, rates={"wa": rate(1)}, tiers={"wa": Tier(1)})
    one = GoneOut("wa", "a", 1, 0)
    limits.begin(one)
    limits.end(one, None)
    assert limits.closed("wa", "a", 0) is Limit.RATE
    assert limits.closed("wa", "a", 2_000) is None
    assert limits.closed("mail", "a", 0) is None


@pytest.mark.parametrize("per_second", [0.01, 0.2, 0.7, 1.0, 2.5, 80.0, 333.3])
def test_a_rate_is_never_exceeded_over_a_minute_and_nearly_reached(per_second: float) -> None:
    cap, sent = rate(per_second), 0
    for now_ms in range(0, 600_000, 10):
        while cap.room(now_ms):
            cap.take(now_ms)
            sent += 1
    assert sent <= per_second * 600 + cap.most
    assert sent >= per_second * 600 * 0.9


def test_ops_are_told_once_that_a_limit_binds_and_once_that_it_is_over() -> None:
    binding, changes = Binding(), list[tuple[int, bool]]()
    for minute in range(120):
        bound = 10 <= minute < 60 and minute != 30  # a moment's calm is no end
        found = binding.seen(bound, minute * 60_000)
        if found.raised != binding.raised:
            changes.append((minute, found.raised))
        binding = found
    assert changes == [(10 + RAISE_AFTER_MS // 60_000, True), (60 + CLEAR_AFTER_MS // 60_000, False)]


# --- circuits ---------------------------------------------------------------------------------------------------------

DOWN, UP = Sent(Outcome.AGAIN, reason="connection"), Sent(Outcome.SENT)
REFUSED = Sent(Outcome.FAILED, reason="hard-bounce")


def test_a_channel_that_is_down_is_tried_by_one_message_at_a_time_and_ever_less_often() -> None:
    breaker, now_ms, tried = Breaker(), 0, list[int]()
    for _ in range(FAILURES):
        assert breaker.room(now_ms, 0, 8) == 8
        breaker = after(breaker, DOWN, now_ms, 0.0)
    while now_ms < HOUR_MS:
        assert breaker.room(now_ms, 1, 8) == 0
        if breaker.room(now_ms, 0, 8):
            assert breaker.room(now_ms, 0, 8) == 1
            tried.append(now_ms)
            breaker = after(breaker, DOWN, now_ms, 0.0)
        now_ms += 1_000
    gaps = [b - a for a, b in pairwise(tried)]
    assert gaps[0] == 2 * OPEN_MS
    assert max(gaps) == LONGEST_OPEN_MS
    assert after(breaker, UP, now_ms, 0.0).room(now_ms, 0, 8) == 8


def test_what_concerns_one_message_opens_nothing() -> None:
    breaker = Breaker()
    for _ in range(50):
        breaker = after(breaker, REFUSED, 0, 0.0)
        breaker = after(breaker, Sent(Outcome.AGAIN, reason="deferred"), 0, 0.0)
        breaker = after(breaker, DOWN, 0, 0.0)
    assert breaker.state(0) is Circuit.CLOSED


def test_a_channel_that_refuses_us_is_stopped_until_a_person_resumes_it() -> None:
    breaker = after(Breaker(), Sent(Outcome.FAILED, reason="credentials", stop=True), 5, 0.0)
    for sent in (UP, DOWN, REFUSED):
        breaker = after(breaker, sent, 10, 0.0)
    assert breaker.state(10**12) is Circuit.STOPPED
    assert (breaker.stopped, breaker.since_ms, breaker.room(10**12, 0, 8)) == ("credentials", 5, 0)


def test_a_rate_limit_with_a_time_pauses_the_channel_so_long() -> None:
    breaker = after(Breaker(), Sent(Outcome.AGAIN, reason="rate-limited", retry_after_s=7.0), 0, 0.0)
    assert breaker.room(6_999, 0, 8) == 0
    assert breaker.room(7_000, 0, 8) == 1
    forever = after(Breaker(), Sent(Outcome.AGAIN, reason="rate-limited", retry_after_s=1e9), 0, 0.0)
    assert forever.room(LONGEST_OPEN_MS, 0, 8) == 1


@given(st.lists(st.tuples(st.sampled_from([DOWN, UP, REFUSED]), st.integers(0, 60_000)), max_size=60))
def test_a_circuit_that_is_open_becomes_half_open_in_bounded_time(way: list[tuple[Sent, int]]) -> None:
    breaker, now_ms = Breaker(), 0
    for sent, wait in way:
        now_ms += wait
        breaker = after(breaker, sent, now_ms, 0.99)
        if sent is not DOWN:
            assert breaker.state(now_ms) is Circuit.CLOSED
    assert breaker.room(now_ms + int(1.2 * LONGEST_OPEN_MS), 0, 8) >= 1


# --- waits ------------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 10_000),
    st.integers(1_000, HOUR_MS),
    st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
    st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_at_least_what_was_asked_and_at_most_some_hours(
    attempts: int, first_ms: int, asked_s: float | None, chance: float
) -> None:
    wait = wait_ms(attempts, first_ms, asked_s, chance)
    assert min(first_ms, LONGEST_MS) <= wait <= LONGEST_MS
    if asked_s is not None and 0 < asked_s < LONGEST_MS / 1_000:
        assert wait >= int(asked_s * 1_000)
