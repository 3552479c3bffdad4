"""Who is told, held and not told over a case's life, and what a delivery makes of it."""

import msgspec
import pytest

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, Policy, QuietHours
from detector.desk.notices import notice_id
from detector.desk.policy import RULES
from detector.desk.records import (
    CaseState,
    Decision,
    Delivered,
    Kind,
    Notice,
    NoticeState,
    Reach,
    Verb,
    Verdict,
)
from detector.watch.anomaly import Phase
from tests.detector.desk_world import T0, Minute, World, anomaly, config, fails

CELL = ("5.2", "Karta")
WHERE = {"app": "5.2", "provider": "Karta"}
NIGHT = QuietHours(4 * 60, 7 * 60)  # 05:14 in Jakarta is quiet


def opened(people: int = 10, *, others: dict[int, Reach | None] | None = None, **policy: object) -> World:
    world = World(config(**policy), others)
    world.go(Minute(bad=fails("login", range(1, people + 1), CELL)))
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED))
    return world


def say(world: World, phase: Phase, minute: Minute | None = None, ended: int | None = None, id: str = "a") -> None:
    ended_ms = None if ended is None else T0 + ended * MINUTE_MS
    world.go(minute, anomaly(id, "login", WHERE, world.window_ms, phase=phase, ended_ms=ended_ms))


def back(*customers: int) -> Minute:
    return Minute(back=fails("login", customers, CELL))


def kinds(world: World, kind: Kind) -> dict[int, Notice]:
    return {n.customer: n for n in world.store.notices.values() if n.kind is kind}


def state(world: World, customer: int, kind: Kind = Kind.PROBLEM) -> tuple[NoticeState, str]:
    notice = world.store.notice("a", customer, kind)
    return notice.state, notice.reason


def test_everyone_confirmed_is_told_on_opening_and_newcomers_later() -> None:
    world = opened()
    assert set(kinds(world, Kind.PROBLEM)) == set(range(1, 11))
    say(world, Phase.UPDATED, Minute(bad=fails("login", [1, 50], CELL)))
    assert state(world, 50) == (NoticeState.SIMULATED, "")
    counts = world.store.cases["a"].notices
    assert (counts.sent, counts.held, counts.dropped) == (11, 0, {})


def test_who_got_through_before_the_detection_is_not_told_until_they_fail_again() -> None:
    world = World()
    world.go(Minute(bad=fails("login", range(1, 11), CELL)))
    world.go(back(3))
    say(world, Phase.OPENED)
    assert state(world, 3) == (NoticeState.DROPPED, "already-recovered")
    say(world, Phase.UPDATED, Minute(bad=fails("login", [3], CELL)))
    assert state(world, 3) == (NoticeState.SIMULATED, "")
    assert world.store.cases["a"].notices.dropped == {}


def test_who_becomes_confirmed_is_told_then() -> None:
    world = World()
    world.go(Minute(bad=fails("login", range(1, 11), CELL)))
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, observed=30, expected=20.0))
    assert state(world, 1) == (NoticeState.DROPPED, "not-confirmed")
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, observed=300, expected=20.0))
    assert state(world, 1) == (NoticeState.SIMULATED, "")


def test_who_is_not_in_the_directory_is_counted_and_never_told() -> None:
    world = opened(others={1: None, 2: Reach("id", "Asia/Jakarta", frozenset())})
    assert world.store.cases["a"].notices.dropped == {"no-consent": 1, "unknown-customer": 1}
    assert len(world.store.listed("a")) == 10


def test_contact_since_the_onset_keeps_the_problem_notice_back() -> None:
    world = World()
    world.go(Minute(bad=fails("login", range(1, 11), CELL), contacts=[(4, 30_000)]))
    say(world, Phase.OPENED)
    assert state(world, 4) == (NoticeState.DROPPED, "in-contact")


def test_nobody_is_told_of_a_problem_that_recovers() -> None:
    world = opened()
    say(world, Phase.RECOVERING, back(1), ended=3)
    assert world.store.cases["a"].state is CaseState.RECOVERING
    # a wider cause brings in others from before the end
    world.records.all[0] = Minute(bad=fails("login", [*range(1, 11), 70], CELL)).record(T0)
    world.go(
        None,
        anomaly(
            "a",
            "login",
            {"app": "5.2"},
            world.window_ms,
            phase=Phase.RECOVERING,
            ended_ms=T0 + 3 * MINUTE_MS,
        ),
    )
    assert state(world, 70) == (NoticeState.DROPPED, "case-over")
    world.go(None, anomaly("a", "login", {"app": "5.2"}, world.window_ms, phase=Phase.RELAPSED))
    assert state(world, 70) == (NoticeState.SIMULATED, "")


def test_it_works_again_goes_to_those_told_after_their_own_lasting_success() -> None:
    world = opened(others={9: None})
    say(world, Phase.RECOVERING, back(1, 9), ended=1)
    assert kinds(world, Kind.RESOLVED) == {}  # three minutes after the success
    world.rest(2)
    assert kinds(world, Kind.RESOLVED) == {}
    say(world, Phase.ENDED, back(2), ended=1)
    told = kinds(world, Kind.RESOLVED)
    assert list(told) == [1]  # 9 was never told, 2 has just got through, the others have not
    assert told[1].when_ms == T0 + 2 * MINUTE_MS + 1000
    world.rest(10)
    assert sorted(kinds(world, Kind.RESOLVED)) == [1, 2]
    # the case is over, but who comes back hours later hears it as well
    world.skip(180)
    world.go(back(5))
    world.rest(4)
    assert sorted(kinds(world, Kind.RESOLVED)) == [1, 2, 5]


def test_a_failure_after_the_success_keeps_it_works_again_back() -> None:
    world = opened()
    say(world, Phase.RECOVERING, back(1, 2), ended=1)
    say(world, Phase.ENDED, Minute(bad=fails("login", [1], ("9", "Lain"))), ended=1)
    world.rest(5)
    assert sorted(kinds(world, Kind.RESOLVED)) == [2]
    world.go(back(1))
    world.rest(5)
    assert sorted(kinds(world, Kind.RESOLVED)) == [1, 2]


def test_quiet_hours_hold_and_the_facts_of_the_morning_decide() -> None:
    world = opened(quiet=NIGHT)
    notice = world.store.notice("a", 1)
    assert (notice.state, notice.reason) == (NoticeState.HELD, "quiet-hours")
    assert world.store.cases["a"].notices.held == 10
    until_ms = notice.until_ms
    assert until_ms is not None
    say(world, Phase.UPDATED, back(1))
    while world.now_ms < until_ms:
        assert state(world, 2) == (NoticeState.HELD, "quiet-hours")
        say(world, Phase.UPDATED)
    assert state(world, 1) == (NoticeState.DROPPED, "already-recovered")
    assert state(world, 2) == (NoticeState.SIMULATED, "")
    assert world.store.cases["a"].notices.held == 0


def test_a_hold_in_a_resolved_case_is_dropped() -> None:
    world = opened(quiet=NIGHT)
    world.command(Verb.RESOLVE, "a", Verdict.REAL)
    assert state(world, 1) == (NoticeState.DROPPED, "case-over")


def test_it_works_again_waits_for_the_morning_after_the_case_is_over() -> None:
    world = World(config(quiet=QuietHours(5 * 60 + 20, 7 * 60)))
    world.go(Minute(bad=fails("login", range(1, 11), CELL)))
    say(world, Phase.OPENED)
    assert state(world, 1)[0] is NoticeState.SIMULATED
    say(world, Phase.RECOVERING, back(1), ended=1)
    say(world, Phase.ENDED, ended=1)
    world.rest(3)
    assert state(world, 1, Kind.RESOLVED) == (NoticeState.HELD, "quiet-hours")
    world.skip(100)
    assert state(world, 1, Kind.RESOLVED) == (NoticeState.SIMULATED, "")


EVENING = Reach("en", "America/Noronha", frozenset({"email"}))  # T0 is 20:14 there
SEVEN_MS = T0 + (10 * 60 + 46) * MINUTE_MS


def test_who_was_told_and_gets_through_at_ten_in_the_evening_hears_it_at_seven() -> None:
    world = opened(others=dict.fromkeys(range(1, 11), EVENING), quiet=QuietHours(21 * 60, 7 * 60))
    assert state(world, 1) == (NoticeState.SIMULATED, "")
    while world.window_ms < T0 + 106 * MINUTE_MS:
        say(world, Phase.UPDATED)
    say(world, Phase.RECOVERING, back(1), ended=106)  # 22:00
    say(world, Phase.ENDED, ended=106)
    world.rest(4)
    owed = world.store.notice("a", 1, Kind.RESOLVED)
    assert (owed.state, owed.reason, owed.until_ms) == (NoticeState.HELD, "quiet-hours", SEVEN_MS)
    world.skip((SEVEN_MS - world.now_ms) // MINUTE_MS - 1)  # nine hours: longer than a problem notice stays fresh
    assert state(world, 1, Kind.RESOLVED) == (NoticeState.HELD, "quiet-hours")
    world.go()
    assert state(world, 1, Kind.RESOLVED) == (NoticeState.SIMULATED, "")
    assert world.now_ms == SEVEN_MS


@pytest.mark.slow
def test_a_problem_notice_that_is_held_the_whole_night_is_stale_by_the_morning() -> None:
    world = opened(others=dict.fromkeys(range(1, 13), EVENING), quiet=QuietHours(21 * 60, 7 * 60))
    while world.window_ms < T0 + 60 * MINUTE_MS:
        say(world, Phase.UPDATED)
    say(world, Phase.UPDATED, Minute(bad=fails("login", [11, 12], CELL)))  # 21:14
    held = world.store.notice("a", 11)
    assert (held.state, held.reason, held.until_ms) == (NoticeState.HELD, "quiet-hours", SEVEN_MS)
    while world.now_ms < SEVEN_MS:
        assert state(world, 11) == (NoticeState.HELD, "quiet-hours")
        again = Minute(bad=fails("login", [12], CELL)) if world.now_ms == SEVEN_MS - HOUR_MS else None
        say(world, Phase.UPDATED, again)
    assert world.store.cases["a"].state is CaseState.OPEN
    assert state(world, 11) == (NoticeState.DROPPED, "stale")
    assert state(world, 12) == (NoticeState.SIMULATED, "")  # it still fails for them


def test_two_notices_a_day_over_all_cases() -> None:
    world = World(config(per_day=1, stale_ms=25 * HOUR_MS))
    world.go(Minute(bad=fails("login", range(1, 11), CELL)))
    say(world, Phase.OPENED)
    world.go(
        Minute(bad=fails("payment", [1, *range(30, 40)], ("BNI", "4"))),
        anomaly("p", "payment", {"bank": "BNI"}, world.window_ms, onset_ms=world.window_ms),
    )
    held = world.store.notice("p", 1)
    assert (held.state, held.reason) == (NoticeState.HELD, "frequency-cap")
    assert held.until_ms == world.store.notice("a", 1).at_ms + DAY_MS
    assert world.store.notice("p", 30).state is NoticeState.SIMULATED


def test_a_dismissal_as_no_problem_owes_a_correction_to_those_told_once() -> None:
    world = opened(others={3: None})
    world.command(Verb.DISMISS, "a", Verdict.NOT_A_PROBLEM)
    corrections = kinds(world, Kind.CORRECTION)
    assert sorted(corrections) == [1, 2, *range(4, 11)]
    assert {n.state for n in corrections.values()} == {NoticeState.SIMULATED}
    before = dict(world.store.notices)
    world.rest(5)
    assert world.store.notices == before


def test_a_dismissal_as_expected_owes_nothing() -> None:
    world = opened()
    world.command(Verb.DISMISS, "a", Verdict.EXPECTED)
    assert kinds(world, Kind.CORRECTION) == {}


def test_who_was_told_and_withdrawn_gets_a_correction_when_the_case_is_over() -> None:
    world = opened()
    say(world, Phase.UPDATED, Minute(bad=fails("login", [50], CELL)))
    say(world, Phase.RECOVERING, back(1), ended=1)
    assert world.store.ledger["a", 50].withdrawn
    assert kinds(world, Kind.CORRECTION) == {}
    say(world, Phase.ENDED, ended=1)
    assert list(kinds(world, Kind.CORRECTION)) == [50]
    correction = kinds(world, Kind.CORRECTION)[50]
    assert (correction.when_ms, correction.signal) == (T0 + 2 * MINUTE_MS + 1000, "login")


def test_a_reopened_case_tells_again_only_those_hit_again() -> None:
    world = opened()
    say(world, Phase.RECOVERING, back(1, 2), ended=1)
    say(world, Phase.ENDED, ended=1)
    world.rest(5)
    onset_ms = world.window_ms
    world.go(
        Minute(bad=fails("login", [1, 3, 60], CELL)),
        anomaly("b", "login", WHERE, world.window_ms, phase=Phase.OPENED, onset_ms=onset_ms),
    )
    again = {n.customer: n.state for n in world.store.notices.values() if n.episode == 2}
    assert again == dict.fromkeys([3, 60], NoticeState.SIMULATED) | {1: NoticeState.DROPPED}
    assert world.store.notice("a", 1, Kind.PROBLEM, 2).reason == "frequency-cap"


def test_a_hold_of_it_works_again_is_dropped_when_the_case_opens_again() -> None:
    world = World(config(quiet=QuietHours(5 * 60 + 20, 7 * 60)))
    world.go(Minute(bad=fails("login", range(1, 11), CELL)))
    say(world, Phase.OPENED)
    say(world, Phase.RECOVERING, back(1), ended=1)
    say(world, Phase.ENDED, ended=1)
    world.rest(3)
    world.go(None, anomaly("b", "login", WHERE, world.window_ms, phase=Phase.OPENED, onset_ms=world.window_ms))
    assert state(world, 1, Kind.RESOLVED) == (NoticeState.DROPPED, "case-open")
    assert world.store.cases["a"].notices.held == 0


def test_a_merge_tells_nobody_twice() -> None:
    world = opened(others={12: None})
    world.go(
        Minute(bad=fails("login", [12, 13], ("9", "Lain"))),
        anomaly("b", "login", {"app": "9"}, world.window_ms, phase=Phase.OPENED, onset_ms=world.window_ms),
    )
    world.command(Verb.MERGE, "b", into="a")
    assert (world.store.notice("a", 13).state, world.store.notice("a", 13).reason) == (
        NoticeState.DROPPED,
        "already-told",
    )
    ends = {"where": {"app": "9"}, "onset_ms": T0 + 2 * MINUTE_MS, "ended_ms": T0 + 3 * MINUTE_MS}
    for phase in (Phase.RECOVERING, Phase.ENDED):
        world.go(
            Minute(back={"login": [(1, CELL, 0), (13, CELL, 0)]}) if phase is Phase.RECOVERING else None,
            anomaly("a", "login", WHERE, world.window_ms, phase=phase, ended_ms=T0 + MINUTE_MS),
            anomaly("b", "login", window_ms=world.window_ms, phase=phase, **ends),  # type: ignore[arg-type]
        )
    world.rest(5)
    assert sorted(n.customer for n in world.store.notices.values() if n.kind is Kind.RESOLVED) == [1, 13]
    assert world.store.cases["b"].state is CaseState.MERGED


def test_a_merge_drops_what_the_merged_case_holds() -> None:
    world = opened(quiet=NIGHT)
    world.go(None, anomaly("b", "login", {"app": "9"}, world.window_ms, phase=Phase.OPENED))
    world.command(Verb.MERGE, "a", into="b")
    assert {n.reason for n in world.store.notices.values() if n.case == "a"} == {"merged"}
    assert world.store.cases["a"].notices.held == 0
    assert world.store.cases["b"].notices.held == 10


# --- for real ---


def deliver(world: World, customer: int, outcome: str, kind: Kind = Kind.PROBLEM) -> None:
    world.step(Delivered(world.store.notice("a", customer, kind).id, outcome, "email"), world.now_ms)


def test_a_real_send_counts_as_told_once_it_is_delivered() -> None:
    world = opened(send=True)
    assert state(world, 1) == (NoticeState.QUEUED, "")
    assert (world.store.cases["a"].notices.queued, world.store.cases["a"].notices.sent) == (10, 0)
    deliver(world, 1, "sent")
    deliver(world, 2, "failed")
    deliver(world, 3, "unknown")
    notice = world.store.notice("a", 1)
    assert (notice.state, notice.channel) == (NoticeState.SENT, "email")
    counts = world.store.cases["a"].notices
    assert (counts.sent, counts.failed, counts.queued) == (1, 1, 8)
    say(world, Phase.RECOVERING, back(1, 2, 3), ended=1)
    say(world, Phase.ENDED, ended=1)
    world.rest(5)
    assert list(kinds(world, Kind.RESOLVED)) == [1]


def test_a_delivery_told_twice_or_of_nothing_changes_nothing() -> None:
    world = opened(send=True)
    deliver(world, 1, "sent")
    before = world.desk.snapshot()
    deliver(world, 1, "sent")
    deliver(world, 1, "failed")
    world.step(Delivered("nonsense", "sent", "email"), world.now_ms)
    assert world.desk.snapshot() == before


def test_a_delivery_after_the_dismissal_owes_a_correction() -> None:
    world = opened(send=True)
    world.command(Verb.DISMISS, "a", Verdict.NOT_A_PROBLEM)
    assert kinds(world, Kind.CORRECTION) == {}
    deliver(world, 1, "sent")
    assert list(kinds(world, Kind.CORRECTION)) == [1]


def test_a_delivery_after_a_merge_counts_where_the_customer_is_now() -> None:
    world = opened(send=True)
    world.go(None, anomaly("b", "login", {"app": "9"}, world.window_ms, phase=Phase.OPENED))
    world.command(Verb.MERGE, "a", into="b")
    deliver(world, 1, "sent")
    assert world.store.cases["a"].notices.sent == 1
    world.command(Verb.DISMISS, "b", Verdict.NOT_A_PROBLEM)
    assert [n.case for n in kinds(world, Kind.CORRECTION).values()] == ["b"]


def test_what_the_gate_kept_back_as_the_case_went_into_another_is_decided_anew_there() -> None:
    world = opened(send=True)
    world.go(None, anomaly("b", "login", {"app": "9"}, world.window_ms, phase=Phase.OPENED))
    world.command(Verb.MERGE, "a", into="b")
    assert {n.reason for n in world.store.notices.values() if n.case == "b"} == {"already-told"}
    world.step(Delivered(world.store.notice("a", 1).id, "suppressed", "email", "merged"), world.now_ms)
    world.step(Delivered(world.store.notice("a", 2).id, "failed", "email", "hard-bounce"), world.now_ms)
    assert world.store.notice("b", 1).state is NoticeState.QUEUED
    assert world.store.notice("b", 2).reason == "already-told"
    assert world.store.cases["b"].notices.dropped == {"already-told": 9}
    assert world.store.cases["a"].notices.dropped == {"merged": 1}
    world.step(Delivered(world.store.notice("b", 1).id, "sent", "email"), world.now_ms)
    assert world.store.cases["b"].notices.sent == 1


def test_who_was_told_in_simulation_hears_nothing_real_of_that_case() -> None:
    world = opened()
    world.desk.configure(
        msgspec.structs.replace(world.config, policy=msgspec.structs.replace(world.config.policy, send=True))
    )
    say(world, Phase.RECOVERING, back(1), ended=1)
    say(world, Phase.ENDED, ended=1)
    world.rest(5)
    assert state(world, 1, Kind.RESOLVED) == (NoticeState.DROPPED, "simulated-only")


def test_a_signal_put_back_into_the_shadow_tells_nobody_any_more() -> None:
    world = opened()
    hidden = msgspec.structs.replace(world.config.signals[0], mode="shadow")
    settings = msgspec.structs.replace(world.config, signals=(hidden, *world.config.signals[1:]))
    world.desk.configure(msgspec.convert(msgspec.to_builtins(settings), type(settings)))
    say(world, Phase.UPDATED, Minute(bad=fails("login", [50], CELL)))
    assert state(world, 50) == (NoticeState.DROPPED, "shadow")


def test_a_notices_id_is_the_hash_of_what_it_names() -> None:
    ids = {
        notice_id(t, c, n, k, e) for t in ("t", "u") for c in ("a", "b") for n in (1, 2) for k in Kind for e in (1, 2)
    }
    assert len(ids) == 16 * len(Kind)
    assert notice_id("t", "a", 1, Kind.PROBLEM, 1) == notice_id("t", "a", 1, Kind.PROBLEM, 1)


def test_every_notice_carries_all_checks_for_why() -> None:
    world = opened(others={1: None})
    checks = world.store.notice("a", 1).checks
    assert [c.rule for c in checks if c.decision is not Decision.SEND] == ["directory"]
    assert [c.rule for c in checks] == [rule.__name__ for rule in RULES]


@pytest.mark.parametrize("language", ["id", "en", "fr"])
def test_the_language_is_the_customers_where_there_are_words_in_it(language: str) -> None:
    world = opened(others={1: Reach(language, "Mars/Olympus", frozenset({"email"}))})
    notice = world.store.notice("a", 1)
    assert notice.language == ("id" if language == "fr" else language)
    assert notice.time_zone == Policy().default_time_zone
