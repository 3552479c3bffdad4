"""Sending with care: approval, samples, caps, who comes first, the holdout, and what the gate refused."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import HOUR_MS, MINUTE_MS, Config, Policy, QuietHours
from detector.desk.holdout import arm_of, compares
from detector.desk.kpi import comparison, comparison_of, lead
from detector.desk.policy import Arm
from detector.desk.records import Approval, Decision, Delivered, Kind, Notice, NoticeState, Verb, Verdict
from detector.signals import Mode, Severity, Stake
from detector.watch.anomaly import Phase
from tests.detector.desk_world import LOGIN, PAYMENT, T0, Minute, World, anomaly, config, fails
from tests.detector.test_desk_commands import back, do, lines, refused, two_in_one

CELL = ("5.2", "Karta")
ALL = ("low", "medium", "high", "critical")


def opened(people: int = 10, *, settings: Config | None = None, **policy: object) -> World:
    world = World(settings or config(**policy))
    world.go(Minute(bad=fails("login", range(1, people + 1), CELL)))
    say(world, Phase.OPENED)
    return world


def say(world: World, phase: Phase = Phase.UPDATED, minute: Minute | None = None, ended: int | None = None) -> None:
    ended_ms = None if ended is None else T0 + ended * MINUTE_MS
    world.go(minute, anomaly("a", "login", {"app": "5.2"}, world.window_ms, phase=phase, ended_ms=ended_ms))


def new(*customers: int) -> Minute:
    return Minute(bad=fails("login", customers, CELL))


def problems(world: World, *, told: bool | None = None) -> dict[int, Notice]:
    found = {n.customer: n for n in world.store.notices.values() if n.kind is Kind.PROBLEM and n.case == "a"}
    return {c: n for c, n in found.items() if told is None or (n.decision is Decision.SEND) is told}


def approval(world: World) -> Approval:
    return world.store.cases["a"].approval


# --- approval ---


def test_a_case_of_a_severity_that_needs_approval_tells_nobody_until_it_has_it() -> None:
    world = opened(approval=ALL)
    assert approval(world) is Approval.NEEDED
    assert world.store.story("a")[:2] == ["opened", "approval-needed"]
    notices = problems(world)
    assert {(n.state, n.reason, n.until_ms) for n in notices.values()} == {(NoticeState.HELD, "needs-approval", None)}
    assert world.store.cases["a"].notices.held == 10
    say(world, minute=new(50))
    assert problems(world, told=True) == {}
    do(world, Verb.APPROVE)
    assert approval(world) is Approval.APPROVED
    assert set(problems(world, told=True)) == {*range(1, 11), 50}
    assert lines(world, "approved") == [("ani", "all")]
    say(world, minute=new(51))
    assert 51 in problems(world, told=True)
    refused(world, Verb.APPROVE, "approved already")


def test_what_waits_for_a_person_is_written_once_and_not_every_window() -> None:
    world = opened(approval=ALL)
    for _ in range(10):
        before = world.desk.snapshot()
        effects = world.go(None, anomaly("a", "login", {"app": "5.2"}, world.window_ms))
        assert effects.notices == []
        world.desk.restore(before)
        world.minute -= 1
        world.records.all.pop()
        say(world)
    assert problems(world)[1].at_ms == T0 + 2 * MINUTE_MS + 120_000


def test_the_facts_of_the_approval_decide_not_those_of_the_hold() -> None:
    world = opened(approval=ALL, stale_ms=HOUR_MS)
    say(world, minute=back(1))
    for _ in range(61):
        say(world, minute=new(2))
    do(world, Verb.APPROVE)
    notices = problems(world)
    assert (notices[1].reason, notices[3].reason) == ("already-recovered", "stale")
    assert list(problems(world, told=True)) == [2]


def test_what_waits_is_dropped_when_the_case_is_over() -> None:
    world = opened(approval=ALL)
    world.command(Verb.RESOLVE, "a", Verdict.REAL)
    assert {n.reason for n in problems(world).values()} == {"case-over"}
    refused(world, Verb.APPROVE, "it is resolved, so it cannot be approved")


def test_a_severity_that_rises_asks_for_those_not_told_yet() -> None:
    world = opened(approval=("high",))  # ten people: one lower than the signal's `high`
    assert approval(world) is Approval.NOT_NEEDED
    assert len(problems(world, told=True)) == 10
    say(world, minute=new(*range(20, 40)))
    assert world.store.cases["a"].severity is Severity.HIGH
    assert approval(world) is Approval.NEEDED
    assert lines(world, "approval-needed") == [("", "its severity is high")]
    assert set(problems(world, told=True)) == set(range(1, 11))
    assert world.store.cases["a"].notices.held == 20


def test_a_shadow_case_asks_nobody() -> None:
    world = World(config(approval=ALL))
    world.go(Minute(bad=fails("hidden", range(1, 11), CELL)))
    world.go(None, anomaly("a", "hidden", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED))
    assert approval(world) is Approval.NOT_NEEDED
    assert {n.reason for n in problems(world).values()} == {"shadow"}


def test_a_person_may_hold_a_case_that_tells() -> None:
    world = opened()
    do(world, Verb.HOLD)
    say(world, minute=new(50))
    assert approval(world) is Approval.HELD
    assert problems(world)[50].reason == "needs-approval"
    refused(world, Verb.HOLD, "held already")
    do(world, Verb.APPROVE)
    assert problems(world)[50].state is NoticeState.SIMULATED


def test_of_a_held_case_those_who_were_told_still_hear_that_it_works() -> None:
    world = opened()
    do(world, Verb.HOLD)
    say(world, Phase.RECOVERING, back(1), ended=1)
    say(world, Phase.ENDED, ended=1)
    world.rest(5)
    assert [n.customer for n in world.store.notices.values() if n.kind is Kind.RESOLVED] == [1]


def test_a_case_that_opens_again_is_asked_about_again() -> None:
    world = opened(approval=ALL)
    do(world, Verb.APPROVE)
    say(world, Phase.RECOVERING, back(1), ended=1)
    say(world, Phase.ENDED, ended=1)
    world.rest(5)
    say(world, Phase.RELAPSED, new(60))
    assert world.store.cases["a"].episode == 2
    assert approval(world) is Approval.NEEDED
    assert problems(world)[60].reason == "needs-approval"


def test_an_approval_at_night_tells_nobody_before_the_morning() -> None:
    world = opened(approval=ALL, quiet=QuietHours(5 * 60, 5 * 60 + 40))
    do(world, Verb.APPROVE, customers=3)
    assert {n.reason for n in problems(world).values()} == {"quiet-hours"}
    for _ in range(40):
        say(world)
    assert len(problems(world, told=True)) == 3
    assert {n.reason for n in problems(world, told=False).values()} == {"needs-approval"}
    assert world.store.cases["a"].notices.held == 7


# --- a sample, a cap ---


def test_a_sample_tells_the_most_valuable_and_the_next_sample_the_next() -> None:
    world = World(config(approval=ALL))
    world.go(new(*range(1, 11)))
    world.go(new(7, 8))
    world.go(new(8, 9))
    say(world, Phase.OPENED)
    assert len(do(world, Verb.APPROVE, customers=2).notices) == 2  # the others' rows stay as they are
    assert approval(world) is Approval.SAMPLE
    assert set(problems(world, told=True)) == {8, 7}  # three tries, and of two the first who failed
    say(world, minute=new(50))
    assert 50 not in problems(world, told=True)
    do(world, Verb.APPROVE, customers=2)
    assert set(problems(world, told=True)) == {8, 7, 9, 1}
    assert lines(world, "approved") == [("ani", "a sample of 2"), ("ani", "a sample of 2")]
    do(world, Verb.APPROVE)
    assert len(problems(world, told=True)) == 11


def test_what_is_left_of_a_sample_goes_to_newcomers() -> None:
    world = opened(2, approval=ALL)
    do(world, Verb.APPROVE, customers=3)
    say(world, minute=new(50, 51))
    assert set(problems(world, told=True)) == {1, 2, 50}


def test_what_is_left_of_a_sample_stays_with_the_case_it_was_approved_for() -> None:
    world = two_in_one()
    do(world, Verb.HOLD)
    do(world, Verb.APPROVE, customers=1)
    do(world, Verb.SPLIT, anomalies=("b",))
    (other,) = set(world.store.cases) - {"a", "b"}
    assert (approval(world), world.store.cases[other].approval) == (Approval.SAMPLE, Approval.NEEDED)
    both = Minute(bad={"login": [(50, CELL, 0), (51, CELL, 0), (60, ("4.0", "Lain"), 0)]})
    at = world.window_ms
    world.go(both, anomaly("a", "login", {"app": "5.2"}, at), anomaly("b", "login", {"app": "4.0"}, at))
    assert [world.store.notice("a", c).reason for c in (50, 51)] == ["", "needs-approval"]
    assert world.store.notice(other, 60).reason == "needs-approval"


@pytest.mark.parametrize("customers", [0, -1])
def test_a_sample_of_nobody_is_refused(customers: int) -> None:
    refused(opened(approval=ALL), Verb.APPROVE, "expected a whole number from 1 on", customers=customers)


def test_a_sample_of_a_case_that_tells_everybody_is_refused() -> None:
    refused(opened(), Verb.APPROVE, "told already .approval not-needed.; hold it first", customers=3)


def test_the_cap_of_a_case_holds_the_rest_until_a_person_approves() -> None:
    world = opened(per_case=4)
    assert len(problems(world, told=True)) == 4
    assert {n.reason for n in problems(world, told=False).values()} == {"case-cap"}
    assert approval(world) is Approval.NEEDED
    assert lines(world, "approval-needed") == [("", "4 customers were told")]
    say(world, minute=new(50))
    assert problems(world)[50].reason == "case-cap"
    do(world, Verb.APPROVE)
    assert len(problems(world, told=True)) == 11


def test_the_cap_binds_for_the_most_valuable_first() -> None:
    world = World(config(per_case=2))
    world.go(new(*range(1, 11)))
    world.go(new(9))
    say(world, Phase.OPENED)
    assert set(problems(world, told=True)) == {9, 1}


def test_a_case_within_its_cap_asks_nobody() -> None:
    world = opened(per_case=10)
    assert (approval(world), len(problems(world, told=True))) == (Approval.NOT_NEEDED, 10)


@pytest.mark.parametrize(
    ("one", "other", "joint"),
    [
        pytest.param(Verb.APPROVE, None, Approval.NEEDED, id="approved into waiting"),
        pytest.param(None, Verb.APPROVE, Approval.NEEDED, id="waiting into approved"),
        pytest.param(Verb.HOLD, Verb.APPROVE, Approval.HELD, id="held into approved"),
        pytest.param(Verb.APPROVE, Verb.APPROVE, Approval.APPROVED, id="both approved"),
        pytest.param(Verb.APPROVE, Verb.HOLD, Approval.HELD, id="approved into held"),
    ],
)
def test_merged_cases_take_the_stricter_approval(one: Verb | None, other: Verb | None, joint: Approval) -> None:
    world = opened(approval=ALL)
    late = Minute(bad=fails("login", [60], ("9", "Lain")))
    world.go(late, anomaly("b", "login", {"app": "9"}, world.window_ms, phase=Phase.OPENED, onset_ms=world.window_ms))
    for case, verb in (("a", one), ("b", other)):
        if verb is not None:
            do(world, verb, case)
    world.command(Verb.MERGE, "a", into="b")
    assert world.store.cases["b"].approval is joint
    told = {n.customer for n in world.store.notices.values() if n.decision is Decision.SEND}
    assert (60 in told) is (other is Verb.APPROVE)
    late = Minute(bad=fails("login", [61], ("9", "Lain")))
    world.go(late, anomaly("b", "login", {"app": "9"}, world.window_ms))
    assert (world.store.notice("b", 61).decision is Decision.SEND) is (joint is Approval.APPROVED)


# --- who comes first ---


def test_still_failing_comes_first_then_the_stake_then_who_is_likely_to_call() -> None:
    stakes = {"login": Stake.CONVENIENCE, "payment": Stake.MONEY}
    signals = tuple(msgspec.structs.replace(s, stake=stakes.get(s.name)) for s in config().signals)
    world = World(msgspec.structs.replace(config(), signals=signals))
    pays = fails("payment", [3, 4], ("BNI", "4"))
    world.go(Minute(bad={**fails("login", [1, 2], CELL), **pays}))
    world.go(new(2))
    world.go(
        None,
        anomaly("a", "login", {"app": "5.2"}, world.window_ms),
        anomaly("p", "payment", {"bank": "BNI"}, world.window_ms),
    )
    by_customer = {n.customer: n.priority for n in world.store.notices.values()}
    likely = {c: round(r.probability * 10_000) * 99 // 10_000 for (_, c), r in world.store.ledger.items()}
    severity = 1_000 * 1  # `high`, one lower as few were hit
    assert by_customer == {
        1: severity + 100 + likely[1],
        2: 100_000 + severity + 200 + likely[2],
        3: 1_000 * 4 * 2 + severity + 100 + likely[3],
        4: 1_000 * 4 * 2 + severity + 100 + likely[4],
    }


# --- holdout ---


def with_stakes(stake: Stake | None, **policy: object) -> Config:
    settings = config(**policy)
    signals = tuple(msgspec.structs.replace(s, stake=stake) for s in settings.signals)
    return msgspec.structs.replace(settings, signals=signals)


def held_out(world: World) -> set[int]:
    """Who is held out, as the notices' checks say it."""
    found = ((n.customer, c.detail) for n in problems(world).values() for c in n.checks if c.rule == "holdout")
    return {customer for customer, detail in found if detail.startswith(Arm.OUT.value)}


HALF: dict[str, Any] = {"holdout_share": 0.5, "holdout_ms": 30 * MINUTE_MS}


def test_who_is_held_out_hears_of_it_later_and_the_side_is_recorded_whatever_is_decided() -> None:
    world = World(with_stakes(Stake.CONVENIENCE, **HALF), {1: None, 2: None, 3: None, 4: None})
    world.go(new(*range(1, 101)))
    say(world, Phase.OPENED)
    out = {c for c in range(1, 101) if arm_of("default", "a", c, 0.5) is Arm.OUT}
    assert held_out(world) == out and 30 < len(out) < 70
    assert out & {1, 2, 3, 4} and {1, 2, 3, 4} - out
    counts = world.store.cases["a"].notices
    assert (counts.holdout, counts.compared) == (len(out), 100 - len(out))
    assert counts.held == len(out - {1, 2, 3, 4})
    until = {n.until_ms for n in problems(world).values() if n.decision is Decision.HOLD}
    assert until == {world.now_ms + 30 * MINUTE_MS}
    say(world, minute=back(*sorted(out)[4:6]))
    for _ in range(30):
        say(world)
    assert held_out(world) == out
    told = problems(world, told=True)
    assert set(told) == set(range(5, 101)) - set(sorted(out)[4:6])
    again = world.store.cases["a"].notices
    assert (again.holdout, again.compared, again.held) == (counts.holdout, counts.compared, 0)


@pytest.mark.parametrize("stake", [None, Stake.LOCK_OUT, Stake.MONEY, Stake.SAFETY])
def test_nobody_is_held_out_of_what_is_more_than_convenience(stake: Stake | None) -> None:
    world = opened(40, settings=with_stakes(stake, holdout_share=1.0))
    assert len(problems(world, told=True)) == 40
    assert held_out(world) == set()
    assert world.store.cases["a"].notices.compared == 0


STAKES = st.dictionaries(st.sampled_from("abcd"), st.none() | st.sampled_from(list(Stake)))


@given(STAKES, st.sets(st.sampled_from("abcd"), min_size=1), st.floats(0, 1), st.sampled_from(list(Mode)))
def test_a_holdout_takes_convenience_in_every_signal(
    stakes: dict[str, Stake | None], signals: set[str], share: float, mode: Mode
) -> None:
    found = compares(mode, sorted(signals), Policy(holdout_share=share), stakes)
    assert found == (share > 0 and mode is Mode.LIVE and {stakes.get(s) for s in signals} == {Stake.CONVENIENCE})


def test_who_is_held_out_is_told_at_once_when_more_is_at_stake() -> None:
    settings = with_stakes(Stake.CONVENIENCE, **HALF)
    signals = tuple(
        msgspec.structs.replace(s, stake=Stake.MONEY) if s.name == PAYMENT.name else s for s in settings.signals
    )
    world = opened(40, settings=msgspec.structs.replace(settings, signals=signals))
    assert 5 < len(problems(world, told=True)) < 35
    payment = Minute(bad=fails("payment", range(1, 41), ("BNI", "5.2")))
    world.go(payment, anomaly("b", "payment", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED))
    assert world.store.cases["a"].signals == (LOGIN.name, PAYMENT.name)
    assert len(problems(world, told=True)) == 40


@given(st.text(max_size=8), st.text(max_size=8), st.integers(-(2**63), 2**63 - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_the_same_customers_and_more(
    tenant: str, case: str, customer: int, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    if arm_of(tenant, case, customer, small) is Arm.OUT:
        assert arm_of(tenant, case, customer, large) is Arm.OUT
    assert arm_of(tenant, case, customer, 0.0) is Arm.IN
    assert arm_of(tenant, case, customer, 1.0) is Arm.OUT


def test_the_draw_is_even_and_another_for_every_case_and_tenant() -> None:
    draws = np.array(
        [
            [arm_of(tenant, case, customer, 0.2) is Arm.OUT for customer in range(4_000)]
            for tenant, case in (("t", "a"), ("t", "b"), ("u", "a"))
        ]
    )
    assert np.allclose(draws.mean(axis=1), 0.2, atol=0.025)
    assert np.allclose(np.corrcoef(draws), np.eye(3), atol=0.06)


def test_what_the_holdout_shows_counts_everybody_drawn() -> None:
    world = World(with_stakes(Stake.CONVENIENCE, **HALF), {1: None})
    world.go(new(*range(1, 201)))
    say(world, Phase.OPENED)
    out = sorted(held_out(world))
    calls = out[:20] + [c for c in range(1, 201) if c not in out][:5]
    for _ in range(5):
        say(world)
    say(world, minute=Minute(contacts=[(c, 0) for c in calls]))
    found = comparison(world.store.listed("a").values(), world.store.notices.values())
    assert found is not None
    assert (found.held_out, found.held_out_contacts) == (len(out), 20)
    assert (found.others, found.others_contacts) == (200 - len(out), 5)
    assert 0 < found.low < found.difference < found.high < 1
    assert found.avoided == pytest.approx(found.others * (20 / len(out) - 5 / (200 - len(out))))
    assert comparison_of(world.store.cases["a"]) == found
    figures = lead(world.store.cases["a"], world.store.listed("a").values(), world.store.notices.values())
    assert figures.first_share == pytest.approx((200 - len(out) - (1 not in out)) / 200)


def test_without_a_holdout_nothing_is_compared() -> None:
    world = opened()
    assert comparison(world.store.listed("a").values(), world.store.notices.values()) is None


# --- what came of it ---


def deliver(world: World, customer: int, outcome: str, reason: str = "") -> None:
    world.step(Delivered(world.store.notice("a", customer).id, outcome, "email", reason), world.now_ms)


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("stale", "stale"),
        ("already-recovered", "already-recovered"),
        ("no-consent", "no-consent"),
        ("odd", "suppressed"),
    ],
)
def test_what_the_gate_suppressed_is_a_drop_and_the_customer_was_not_told(reason: str, named: str) -> None:
    world = opened(send=True, follow_up_ms=MINUTE_MS)
    deliver(world, 1, "suppressed", reason)
    deliver(world, 2, "sent")
    notice = world.store.notice("a", 1)
    assert (notice.state, notice.decision, notice.reason) == (NoticeState.DROPPED, Decision.DROP, named)
    assert (notice.checks[-1].rule, notice.checks[-1].reason) == ("gate", named)
    counts = world.store.cases["a"].notices
    assert (counts.sent, counts.queued, counts.dropped) == (1, 8, {named: 1})
    say(world, minute=new(1))
    for _ in range(3):  # nothing is decided on again: the intent is used up
        say(world)
    say(world, Phase.RECOVERING, back(1, 2), ended=4)
    say(world, Phase.ENDED, ended=4)
    world.rest(5)
    world.command(Verb.DISMISS, "a", Verdict.NOT_A_PROBLEM)
    assert {n.kind for n in world.store.notices.values() if n.customer == 1} == {Kind.PROBLEM}
    assert {n.kind for n in world.store.notices.values() if n.customer == 2} >= {Kind.PROBLEM, Kind.RESOLVED}


def test_what_did_not_go_out_leaves_room_for_another_notice_that_day() -> None:
    world = opened(send=True, per_day=1)
    deliver(world, 1, "suppressed", "stale")
    deliver(world, 2, "failed", "hard-bounce")
    later = Minute(bad=fails("payment", [1, 2, 3, *range(30, 40)], ("BNI", "4")))
    world.go(later, anomaly("p", "payment", {"bank": "BNI"}, world.window_ms, onset_ms=world.window_ms))
    assert [world.store.notice("p", c).state for c in (1, 2)] == [NoticeState.QUEUED] * 2
    assert world.store.notice("p", 3).reason == "frequency-cap"


def test_a_failure_keeps_its_reason() -> None:
    world = opened(send=True)
    deliver(world, 1, "failed", "hard-bounce")
    assert (world.store.notice("a", 1).state, world.store.notice("a", 1).reason) == (NoticeState.FAILED, "hard-bounce")


@pytest.mark.parametrize(("outcome", "sent", "failed"), [("sent", 1, 0), ("failed", 0, 1)])
def test_what_may_have_gone_out_is_shown_until_a_person_settles_it(outcome: str, sent: int, failed: int) -> None:
    world = opened(send=True)
    deliver(world, 1, "unknown", "timeout")
    deliver(world, 1, "unknown", "timeout")
    notice, counts = world.store.notice("a", 1), world.store.cases["a"].notices
    assert (notice.state, notice.reason) == (NoticeState.QUEUED, "timeout")
    assert (counts.queued, counts.unknown) == (10, 1)
    say(world, Phase.RECOVERING, back(1), ended=1)
    say(world, Phase.ENDED, ended=1)
    world.skip(5 * 24 * 60)  # longer than others are waited for
    deliver(world, 1, outcome)
    counts = world.store.cases["a"].notices
    assert (counts.unknown, counts.sent, counts.failed) == (0, sent, failed)
    assert world.store.notice("a", 1).reason == ""
