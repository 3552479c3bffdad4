"""What people do to a case: assign, comment, split, try again; what is refused changes nothing."""

import pytest

from detector.config import HOUR_MS, MINUTE_MS, QuietHours
from detector.desk.commands import COMMENT_LENGTH
from detector.desk.records import (
    Approval,
    Case,
    CaseState,
    Command,
    Delivered,
    DeskEffects,
    Kind,
    Notice,
    NoticeState,
    Verb,
    Verdict,
)
from detector.errors import UsageError
from detector.watch.anomaly import Phase
from tests.detector.desk_world import T0, Cell, Minute, World, anomaly, config, fails

ONE, OTHER = ("5.2", "Karta"), ("4.0", "Lain")
A, B, BOTH = range(1, 11), range(21, 31), (41, 42)


def two_in_one(**policy: object) -> World:
    """A world with one case of two anomalies: `a` of version 5.2, `b` of 4.0; 41 and 42 were hit by both."""
    world = World(config(**{"per_day": 20, **policy}))
    bad = [*fails("login", [*A, *BOTH], ONE)["login"], *fails("login", [*B, *BOTH], OTHER, at=2000)["login"]]
    world.go(Minute(bad={"login": bad}))
    say(world, {"a": Phase.OPENED})
    say(world, {"a": Phase.UPDATED, "b": Phase.OPENED})
    if "b" in world.store.cases:
        world.command(Verb.MERGE, "b", into="a")
    assert world.store.cases["a"].anomalies == ("a", "b")
    return world


def say(world: World, phases: dict[str, Phase], minute: Minute | None = None, ended: int | None = None) -> None:
    where = {"a": {"app": "5.2"}, "b": {"app": "4.0"}}
    at, ended_ms = world.window_ms, None if ended is None else T0 + ended * MINUTE_MS
    world.go(minute, *(anomaly(i, "login", where[i], at, phase=p, ended_ms=ended_ms) for i, p in phases.items()))


def do(world: World, verb: Verb, case: str = "a", **rest: object) -> DeskEffects:
    return world.step(Command(verb, case, "ani", **rest), world.now_ms)  # type: ignore[arg-type]


def refused(world: World, verb: Verb, match: str, case: str = "a", **rest: object) -> None:
    before = world.desk.snapshot()
    with pytest.raises(UsageError, match=match) as caught:
        do(world, verb, case, **rest)
    assert "\n" not in str(caught.value)
    assert world.desk.snapshot() == before


def lines(world: World, what: str, case: str = "a") -> list[tuple[str, str]]:
    return [(t.by, t.detail) for t in world.store.timeline if t.case == case and t.what == what]


def kinds(world: World, kind: Kind) -> list[Notice]:
    return [n for n in world.store.notices.values() if n.kind is kind]


def back(*customers: int, cell: Cell = ONE) -> Minute:
    return Minute(back=fails("login", customers, cell))


def split(world: World) -> Case:
    do(world, Verb.SPLIT, anomalies=("b",))
    (new,) = [c for c in world.store.cases.values() if c.anomalies == ("b",) and c.state is not CaseState.MERGED]
    return new


# --- names and remarks ---


def test_who_works_on_it_is_said_and_taken_back() -> None:
    world = two_in_one()
    do(world, Verb.ASSIGN, text=" Rina\nA. ")
    assert world.store.cases["a"].assignee == "Rina A."
    do(world, Verb.ASSIGN, text="")
    assert world.store.cases["a"].assignee == ""
    assert lines(world, "assigned") == [("ani", "Rina A."), ("ani", "nobody")]
    refused(world, Verb.ASSIGN, "assigned to nobody already", text="  ")


def test_a_comment_stands_in_the_story_on_one_line_and_not_longer_than_allowed() -> None:
    world = two_in_one()
    do(world, Verb.COMMENT, text="they\r\nknow\u202e")
    do(world, Verb.COMMENT, text="x" * 9_999)
    (_, first), (_, second) = lines(world, "commented")
    assert first == "they know"
    assert len(second) == COMMENT_LENGTH
    refused(world, Verb.COMMENT, "takes a text, found none", text="\n \x00")


def test_a_dismissed_case_takes_remarks_and_nothing_else() -> None:
    world = two_in_one()
    world.command(Verb.DISMISS, "a", Verdict.EXPECTED)
    do(world, Verb.COMMENT, text="planned")
    do(world, Verb.ASSIGN, text="rina")
    assert world.store.story("a")[-2:] == ["commented", "assigned"]
    for verb in (Verb.APPROVE, Verb.HOLD, Verb.TRY_AGAIN, Verb.SPLIT, Verb.ACKNOWLEDGE):
        refused(world, verb, "it is dismissed, so it cannot be .*; possible: assigned, commented", anomalies=("a",))


def test_a_case_that_has_left_memory_takes_a_remark_and_a_name() -> None:
    world = two_in_one()
    world.command(Verb.RESOLVE, "a", Verdict.REAL)
    say(world, {"a": Phase.ENDED, "b": Phase.ENDED}, ended=3)
    world.skip(2 * 24 * 60)
    do(world, Verb.COMMENT, text="a late word")
    do(world, Verb.ASSIGN, text="rina")
    assert world.store.cases["a"].assignee == "rina"
    assert lines(world, "commented") == [("ani", "a late word")]
    refused(world, Verb.SPLIT, "finished more than a day ago", anomalies=("b",))


# --- splitting ---


def test_a_split_moves_the_anomaly_and_the_customers_whom_only_it_hit() -> None:
    world = two_in_one()
    assert set(world.store.listed("a")) == {*A, *B, *BOTH}
    new = split(world)
    assert world.store.cases["a"].anomalies == ("a",)
    assert (new.state, new.signals, new.episode) == (CaseState.OPEN, ("login",), 1)
    assert set(world.store.listed("a")) == {*A, *BOTH}
    assert set(world.store.listed(new.id)) == {*B, *BOTH}
    assert lines(world, "split") == [("ani", f"login: case {new.id}")]
    assert lines(world, "opened", new.id) == [("ani", "login: split off case a")]
    say(world, {"a": Phase.UPDATED, "b": Phase.UPDATED}, Minute(bad=fails("login", [50], OTHER)))
    assert 50 in world.store.listed(new.id) and 50 not in world.store.listed("a")


def test_a_split_tells_nobody_twice_and_newcomers_once() -> None:
    world = two_in_one()
    before = dict(world.store.notices)
    new = split(world)
    assert not [n for k, n in world.store.notices.items() if k not in before and n.decision == "send"]
    assert {n.reason for n in world.store.notices.values() if n.case == new.id} == {"already-told"}
    say(world, {"a": Phase.UPDATED, "b": Phase.UPDATED}, Minute(bad=fails("login", [22, 50], OTHER)))
    told = [n.customer for n in kinds(world, Kind.PROBLEM) if n.case == new.id and n.state is NoticeState.SIMULATED]
    assert told == [50]


def test_after_a_split_each_customer_hears_that_it_works_from_one_case() -> None:
    world = two_in_one()
    new = split(world)
    say(world, {"a": Phase.UPDATED, "b": Phase.RECOVERING}, back(21, 41, cell=OTHER), ended=2)
    world.rest(5)
    assert [(n.case, n.customer) for n in kinds(world, Kind.RESOLVED)] == [(new.id, 21)]
    say(world, {"a": Phase.RECOVERING, "b": Phase.ENDED}, back(1, 41), ended=3)
    world.rest(5)
    assert sorted((n.case, n.customer) for n in kinds(world, Kind.RESOLVED)) == sorted(
        [(new.id, 21), ("a", 1), ("a", 41)]
    )


@pytest.mark.parametrize("moves", ["split", "split and merge"])
def test_what_was_heard_before_a_move_is_not_heard_again_after_it(moves: str) -> None:
    world = two_in_one(follow_up_ms=MINUTE_MS)
    again = Minute(bad=fails("login", [22, 1], OTHER))
    for minute in range(5):
        say(world, {"a": Phase.UPDATED, "b": Phase.UPDATED}, again if minute == 2 else None)
    assert {n.customer for n in kinds(world, Kind.FOLLOW_UP)} == {1, 22}
    do(world, Verb.TRY_AGAIN)
    say(world, {"a": Phase.RECOVERING, "b": Phase.RECOVERING}, back(21, cell=OTHER), ended=7)
    world.rest(5)
    assert [n.customer for n in kinds(world, Kind.RESOLVED)] == [21]
    before = [len(kinds(world, kind)) for kind in (Kind.FOLLOW_UP, Kind.TRY_AGAIN, Kind.RESOLVED)]
    case = split(world).id
    if moves == "split and merge":
        world.command(Verb.MERGE, case, into="a")
        case = "a"
    refused(world, Verb.TRY_AGAIN, "nobody who was told of it still waits", case)
    for _ in range(5):
        say(world, {"a": Phase.RELAPSED, "b": Phase.RELAPSED}, again)
    assert [len(kinds(world, kind)) for kind in (Kind.FOLLOW_UP, Kind.TRY_AGAIN, Kind.RESOLVED)] == before


def test_after_a_split_a_correction_comes_from_the_case_that_was_no_problem() -> None:
    world = two_in_one()
    new = split(world)
    world.command(Verb.DISMISS, new.id, Verdict.NOT_A_PROBLEM)
    assert {(n.case, n.customer) for n in kinds(world, Kind.CORRECTION)} == {(new.id, c) for c in B}
    world.command(Verb.DISMISS, "a", Verdict.NOT_A_PROBLEM)
    corrected = [n.customer for n in kinds(world, Kind.CORRECTION)]
    assert sorted(corrected) == sorted({*A, *B, *BOTH})


def test_a_delivery_after_a_split_counts_where_the_customer_is_now() -> None:
    world = two_in_one(send=True)
    queued = {n.customer: n for n in kinds(world, Kind.PROBLEM) if n.state is NoticeState.QUEUED}
    new = split(world)
    assert {n.customer for n in kinds(world, Kind.PROBLEM) if n.state is NoticeState.QUEUED} == set(queued)
    world.step(Delivered(queued[21].id, "sent", "email"), world.now_ms)
    world.desk.restore(world.desk.snapshot())
    world.step(Delivered(queued[22].id, "failed", "email", "hard-bounce"), world.now_ms)
    world.step(Delivered(queued[41].id, "sent", "email"), world.now_ms)
    say(world, {"a": Phase.UPDATED, "b": Phase.RECOVERING}, back(21, 22, 41, cell=OTHER), ended=2)
    world.rest(5)
    assert [(n.case, n.customer) for n in kinds(world, Kind.RESOLVED)] == [(new.id, 21)]


def test_what_is_held_is_dropped_where_a_customer_leaves_and_decided_where_they_are() -> None:
    world = two_in_one(approval=("low", "medium", "high", "critical"))
    new = split(world)
    assert (world.store.cases["a"].approval, new.approval) == (Approval.NEEDED, Approval.NEEDED)
    assert world.store.notice("a", 21).reason == "withdrawn"
    assert world.store.notice(new.id, 21).reason == "needs-approval"
    do(world, Verb.APPROVE, new.id)
    told = {n.customer for n in kinds(world, Kind.PROBLEM) if n.state is NoticeState.SIMULATED}
    assert told == {*B, *BOTH}


def test_a_case_split_and_merged_again_is_what_it_was() -> None:
    world = two_in_one()
    new = split(world)
    world.command(Verb.MERGE, new.id, into="a")
    assert world.store.cases["a"].anomalies == ("a", "b")
    assert set(world.store.listed("a")) == {*A, *B, *BOTH}
    world.command(Verb.DISMISS, "a", Verdict.NOT_A_PROBLEM)
    corrected = [n.customer for n in kinds(world, Kind.CORRECTION)]
    assert sorted(corrected) == sorted({*A, *B, *BOTH})


@pytest.mark.parametrize(
    "anomalies",
    [
        pytest.param((), id="none"),
        pytest.param(("a", "b"), id="all"),
        pytest.param(("c",), id="unknown"),
        pytest.param(("b", "c"), id="one unknown"),
    ],
)
def test_a_split_that_leaves_nothing_or_takes_nothing_is_refused(anomalies: tuple[str, ...]) -> None:
    refused(two_in_one(), Verb.SPLIT, "splitting takes some of its anomalies, not all", anomalies=anomalies)


def test_splitting_in_a_later_episode_tells_again_only_who_is_hit_again() -> None:
    world = two_in_one()
    say(world, {"a": Phase.RECOVERING, "b": Phase.RECOVERING}, Minute(back=fails("login", [1, 21], ONE)), ended=1)
    say(world, {"a": Phase.ENDED, "b": Phase.ENDED}, ended=1)
    world.rest(60)
    again = Minute(bad=fails("login", [3, 23], OTHER))
    say(world, {"b": Phase.RELAPSED}, again)
    assert world.store.cases["a"].episode == 2
    new = split(world)
    assert new.episode == 2
    say(world, {"b": Phase.UPDATED}, Minute(bad=fails("login", [24], OTHER)))
    second = {n.customer: n.case for n in kinds(world, Kind.PROBLEM) if n.episode == 2 and n.decision == "send"}
    assert set(second) <= {3, 23, 24}
    assert 24 in second


# --- try again ---


def test_those_told_and_still_waiting_hear_once_that_they_can_try_again() -> None:
    world = two_in_one()
    say(world, {"a": Phase.UPDATED, "b": Phase.UPDATED}, back(1, 2))
    do(world, Verb.TRY_AGAIN)
    asked = {n.customer for n in kinds(world, Kind.TRY_AGAIN)}
    assert asked == {*A, *B, *BOTH} - {1, 2}
    assert {n.state for n in kinds(world, Kind.TRY_AGAIN)} == {NoticeState.SIMULATED}
    assert lines(world, "try-again") == [("ani", "20 were told and still wait")]
    refused(world, Verb.TRY_AGAIN, "nobody who was told of it still waits")
    say(world, {"a": Phase.UPDATED, "b": Phase.UPDATED}, Minute(bad=fails("login", [60], ONE)))
    do(world, Verb.TRY_AGAIN)
    assert {n.customer for n in kinds(world, Kind.TRY_AGAIN)} == {*asked, 60}


def test_nobody_waits_where_nobody_was_told() -> None:
    world = two_in_one(approval=("low", "medium", "high", "critical"))
    refused(world, Verb.TRY_AGAIN, "nobody who was told of it still waits")


EVENING = QuietHours(5 * 60 + 20, 5 * 60 + 40)
"""T0 is 05:14 in Jakarta."""


@pytest.mark.parametrize(
    ("taken_back", "state", "reason"),
    [
        pytest.param("", NoticeState.SIMULATED, "", id="it stands"),
        pytest.param("hold", NoticeState.DROPPED, "not-asked", id="held by a person"),
        pytest.param("relapse", NoticeState.DROPPED, "not-asked", id="the problem came back"),
        pytest.param("success", NoticeState.DROPPED, "already-recovered", id="got through meanwhile"),
    ],
)
def test_try_again_waits_for_the_morning_unless_it_is_taken_back(
    taken_back: str, state: NoticeState, reason: str
) -> None:
    world = two_in_one(quiet=EVENING)
    say(world, {"a": Phase.RECOVERING, "b": Phase.RECOVERING}, back(1), ended=2)
    assert world.store.cases["a"].state is CaseState.RECOVERING
    world.rest(4)
    do(world, Verb.TRY_AGAIN)
    assert world.store.notice("a", 5, Kind.TRY_AGAIN).reason == "quiet-hours"
    if taken_back == "hold":
        do(world, Verb.HOLD)
    elif taken_back == "relapse":
        say(world, {"a": Phase.RELAPSED, "b": Phase.UPDATED})
    world.go(back(5) if taken_back == "success" else None)
    world.rest(30)
    notice = world.store.notice("a", 5, Kind.TRY_AGAIN)
    assert (notice.state, notice.reason) == (state, reason)


# --- follow-up ---


def test_who_was_told_and_fails_on_hears_once_more() -> None:
    world = two_in_one(follow_up_ms=HOUR_MS)
    again = Minute(bad=fails("login", [1, 2, 70], ONE))
    for minute in range(70):
        say(
            world,
            {"a": Phase.UPDATED, "b": Phase.UPDATED},
            again if minute == 50 else back(2) if minute == 51 else None,
        )
    (notice,) = kinds(world, Kind.FOLLOW_UP)
    assert (notice.customer, notice.state) == (1, NoticeState.SIMULATED)  # 2 got through, the others did not try
    assert notice.when_ms == world.store.ledger["a", 1].last_failure_ms
    assert notice.at_ms == world.store.notice("a", 1).at_ms + HOUR_MS
    for _ in range(70):
        say(world, {"a": Phase.UPDATED, "b": Phase.UPDATED}, again)
    assert sorted(n.customer for n in kinds(world, Kind.FOLLOW_UP)) == [1, 2, 70]


@pytest.mark.parametrize("held", [False, True])
def test_a_follow_up_waits_while_a_person_holds_the_case(held: bool) -> None:
    world = two_in_one(follow_up_ms=HOUR_MS)
    if held:
        do(world, Verb.HOLD)
    for _ in range(70):
        say(world, {"a": Phase.UPDATED, "b": Phase.UPDATED}, Minute(bad=fails("login", [1], ONE)))
    (notice,) = kinds(world, Kind.FOLLOW_UP)
    assert notice.reason == ("needs-approval" if held else "")
    if held:
        do(world, Verb.APPROVE)
        (notice,) = kinds(world, Kind.FOLLOW_UP)
    assert notice.state is NoticeState.SIMULATED


def test_a_follow_up_that_waits_is_dropped_when_the_case_is_over() -> None:
    world = two_in_one(follow_up_ms=HOUR_MS)
    do(world, Verb.HOLD)
    for _ in range(70):
        say(world, {"a": Phase.UPDATED, "b": Phase.UPDATED}, Minute(bad=fails("login", [1], ONE)))
    world.command(Verb.RESOLVE, "a", Verdict.REAL)
    (notice,) = kinds(world, Kind.FOLLOW_UP)
    assert (notice.state, notice.reason) == (NoticeState.DROPPED, "case-over")
    assert world.store.cases["a"].notices.held == 0
