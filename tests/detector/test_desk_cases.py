"""The lifecycle: every state and every trigger, and how anomalies and people move a case."""

import itertools

import msgspec
import pytest

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS
from detector.desk.cases import (
    BY_PEOPLE,
    TABLE,
    IllegalTransitionError,
    Trigger,
    advance,
    by_people,
    mermaid,
    open_case,
    recovery_shown,
)
from detector.desk.records import Case, CaseState, Configured, Kind, Verb, Verdict
from detector.errors import UsageError
from detector.signals import Mode
from detector.watch.anomaly import Phase
from detector.watch.control import Judged
from tests.detector.desk_world import T0, Minute, World, anomaly, config, fails

CELL = ("5.2", "Karta")
WHERE = {"app": "5.2", "provider": "Karta"}


def case_in(state: CaseState) -> Case:
    case = open_case(anomaly("a", "login", WHERE, T0), "a", "default", Mode.LIVE, T0)
    return msgspec.structs.replace(case, state=state)


ALL = list(itertools.product(CaseState, Trigger))
LEGAL = [pair for pair in ALL if pair in TABLE]
ILLEGAL = [pair for pair in ALL if pair not in TABLE]


@pytest.mark.parametrize(("state", "trigger"), [pytest.param(*p, id=f"{p[0]}-{p[1]}") for p in LEGAL])
def test_a_listed_transition_leads_to_the_tables_state(state: CaseState, trigger: Trigger) -> None:
    assert advance(case_in(state), trigger, T0 + 5).state is TABLE[state, trigger]


@pytest.mark.parametrize(("state", "trigger"), [pytest.param(*p, id=f"{p[0]}-{p[1]}") for p in ILLEGAL])
def test_any_other_transition_raises_and_names_what_is_possible(state: CaseState, trigger: Trigger) -> None:
    case = case_in(state)
    with pytest.raises(IllegalTransitionError, match=f"it is {state.value}, so it cannot be") as caught:
        advance(case, trigger, T0 + 5)
    assert case == case_in(state)
    assert "\n" not in str(caught.value)


def test_dismissed_and_merged_are_final() -> None:
    assert {
        s for s in CaseState if not any(before is s and after is not s for (before, _), after in TABLE.items())
    } == {
        CaseState.DISMISSED,
        CaseState.MERGED,
    }


def test_the_drawing_holds_every_transition() -> None:
    drawn, people = mermaid().splitlines(), by_people()
    moves = [(before, trigger) for (before, trigger), after in TABLE.items() if before is not after]
    assert len(drawn) == 1 + len(moves) + 2
    assert "    resolved --> open: reopened" in drawn
    others = {trigger for (before, trigger), after in TABLE.items() if before is after}
    assert others <= set(BY_PEOPLE.values())
    assert set(BY_PEOPLE) == set(Verb)
    of_people = [key for key in TABLE if key[1] in BY_PEOPLE.values()]
    assert sum(cell.strip() != "" for line in people.splitlines()[2:] for cell in line.split("|")[2:]) == len(of_people)


def test_reopening_counts_the_episode_and_forgets_the_end() -> None:
    resolved = advance(case_in(CaseState.OPEN), Trigger.SETTLED, T0 + 5)
    again = advance(resolved, Trigger.REOPENED, T0 + 9)
    assert (resolved.resolved_ms, again.resolved_ms, again.episode) == (T0 + 5, None, 2)


@pytest.mark.parametrize(
    ("recovered", "since_end", "failing", "shown"),
    [
        pytest.param(0, 0, 0, False, id="nobody tried again"),
        pytest.param(1, 1, 0, True, id="all who tried got through"),
        pytest.param(5, 5, 1, False, id="one of a few still fails"),
        pytest.param(20, 20, 9, True, id="twenty got through since the end"),
        pytest.param(90, 19, 9, False, id="nineteen since the end do not suffice"),
    ],
)
def test_recovery_is_shown_by_customers(recovered: int, since_end: int, failing: int, shown: bool) -> None:
    assert recovery_shown(recovered, since_end, failing) is shown


# --- driven ---


def state(world: World, case: str = "a") -> CaseState:
    return world.store.cases[case].state


def opened(people: int = 10) -> World:
    world = World()
    world.go(Minute(bad=fails("login", range(1, people + 1), CELL)))
    world.go(None, anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED))
    return world


def say(world: World, phase: Phase, minute: Minute | None = None, ended_ms: int | None = None, id: str = "a") -> None:
    world.go(minute, anomaly(id, "login", WHERE, world.window_ms, phase=phase, ended_ms=ended_ms))


def back(customers: range) -> Minute:
    return Minute(back=fails("login", customers, CELL))


def recovered() -> World:
    world = opened()
    say(world, Phase.RECOVERING, back(range(1, 4)), ended_ms=T0 + MINUTE_MS)
    return world


def resolved() -> World:
    world = recovered()
    say(world, Phase.ENDED, ended_ms=T0 + MINUTE_MS)
    return world


def test_a_case_keeps_the_id_of_its_first_anomaly() -> None:
    world = opened()
    assert list(world.store.cases) == ["a"]
    assert state(world) is CaseState.OPEN
    assert world.store.story("a") == ["opened", "notices"]


def test_watchs_word_alone_is_no_recovery() -> None:
    world = opened()
    say(world, Phase.RECOVERING, ended_ms=T0 + MINUTE_MS)
    assert state(world) is CaseState.OPEN
    say(world, Phase.RECOVERING, back(range(1, 2)), ended_ms=T0 + MINUTE_MS)
    assert state(world) is CaseState.RECOVERING


def test_a_case_resolves_when_all_its_anomalies_ended() -> None:
    world = resolved()
    case = world.store.cases["a"]
    assert (case.state, case.ended_ms, case.resolved_ms) == (CaseState.RESOLVED, T0 + MINUTE_MS, world.now_ms)
    assert world.store.story("a") == ["opened", "notices", "recovering", "resolved"]


def test_without_any_word_of_the_customers_an_ended_case_waits_an_hour() -> None:
    world = opened()
    say(world, Phase.ENDED, ended_ms=T0 + MINUTE_MS)
    world.rest(59)
    assert state(world) is CaseState.OPEN
    world.rest(1)
    assert state(world) is CaseState.RESOLVED


def test_silence_recovers_on_watchs_word() -> None:
    world = World()
    world.go(None, anomaly("s", "checkout", {}, world.window_ms, phase=Phase.OPENED))
    assert world.store.cases["s"].affected is None
    world.go(None, anomaly("s", "checkout", {}, world.window_ms, phase=Phase.RECOVERING, ended_ms=T0 + MINUTE_MS))
    assert state(world, "s") is CaseState.RECOVERING
    world.go(None, anomaly("s", "checkout", {}, world.window_ms, phase=Phase.ENDED, ended_ms=T0 + MINUTE_MS))
    assert state(world, "s") is CaseState.RESOLVED
    assert not world.store.notices and not world.store.ledger


@pytest.mark.parametrize("known", [pytest.param(False, id="open"), pytest.param(True, id="acknowledged")])
def test_a_relapse_leads_back_to_where_the_case_was(known: bool) -> None:
    world = opened()
    if known:
        world.command(Verb.ACKNOWLEDGE, "a")
    say(world, Phase.RECOVERING, back(range(1, 4)), ended_ms=T0 + MINUTE_MS)
    say(world, Phase.RELAPSED)
    after = world.store.cases["a"]
    assert after.state is (CaseState.ACKNOWLEDGED if known else CaseState.OPEN)
    assert (after.ended_ms, after.episode) == (None, 1)


def test_an_anomaly_of_the_same_cause_within_a_day_reopens_the_case() -> None:
    world = resolved()
    world.rest(3)
    say(world, Phase.OPENED, id="b")
    case = world.store.cases["a"]
    assert (case.state, case.episode, case.anomalies) == (CaseState.OPEN, 2, ("a", "b"))
    assert list(world.store.cases) == ["a"]


def test_an_anomaly_of_another_cause_opens_another_case() -> None:
    world = resolved()
    world.go(None, anomaly("b", "login", {"app": "9"}, world.window_ms, phase=Phase.OPENED))
    assert world.store.cases["b"].episode == 1


def test_what_comes_back_after_a_day_is_a_new_case() -> None:
    world = resolved()
    world.skip(DAY_MS // MINUTE_MS + 1)
    say(world, Phase.OPENED, id="b")
    assert (state(world), state(world, "b")) == (CaseState.RESOLVED, CaseState.OPEN)


def test_a_dismissed_case_takes_its_anomalys_words_silently() -> None:
    world = opened()
    world.command(Verb.DISMISS, "a", Verdict.EXPECTED)
    lines = len(world.store.timeline)
    for phase in (Phase.UPDATED, Phase.RECOVERING, Phase.RELAPSED, Phase.ENDED):
        effects = world.go(
            Minute(bad=fails("login", [77], CELL)), anomaly("a", "login", WHERE, world.window_ms, phase=phase)
        )
        assert not effects.cases and not effects.ledger and not effects.notices and not effects.evidence
    assert len(world.store.timeline) == lines
    say(world, Phase.OPENED, id="b")
    assert state(world, "b") is CaseState.OPEN


def test_a_case_resolved_by_a_person_stays_so_until_watch_says_that_it_relapsed() -> None:
    world = opened()
    world.command(Verb.RESOLVE, "a", Verdict.REAL)
    assert world.store.cases["a"].verdict is Verdict.REAL
    say(world, Phase.UPDATED, Minute(bad=fails("login", [77], CELL)))
    say(world, Phase.RECOVERING, ended_ms=world.window_ms)
    assert state(world) is CaseState.RESOLVED
    assert 77 not in world.store.listed("a")
    say(world, Phase.RELAPSED)
    assert (state(world), world.store.cases["a"].episode) == (CaseState.OPEN, 2)


def test_a_finished_case_leaves_memory_after_a_day() -> None:
    world = resolved()
    world.skip(DAY_MS // MINUTE_MS)
    before = len(world.desk.snapshot())
    world.command(Verb.DISMISS, "a", Verdict.EXPECTED)
    world.skip(2)
    for verb in (Verb.RESOLVE, Verb.MERGE):
        with pytest.raises(UsageError, match="no such case, or it was finished more than a day ago"):
            world.command(verb, "a", Verdict.REAL, "b")
    assert len(world.desk.snapshot()) < before / 2
    assert len(World().desk.snapshot()) >= len(world.desk.snapshot()) - 200


def late() -> World:
    """A case that was resolved by itself and left memory days ago."""
    world = resolved()
    world.skip(DAY_MS // MINUTE_MS + 5)
    world.skip(3 * DAY_MS // MINUTE_MS)
    return world


@pytest.mark.parametrize(
    ("verb", "verdict", "after", "real"),
    [
        pytest.param(Verb.RESOLVE, Verdict.REAL, CaseState.RESOLVED, True, id="real"),
        pytest.param(Verb.RESOLVE, Verdict.EXPECTED, CaseState.RESOLVED, True, id="expected"),
        pytest.param(Verb.DISMISS, Verdict.NOT_A_PROBLEM, CaseState.DISMISSED, False, id="not-a-problem"),
    ],
)
def test_a_verdict_may_come_days_later(verb: Verb, verdict: Verdict, after: CaseState, real: bool) -> None:
    world = late()
    old = world.store.cases["a"]
    effects = world.command(verb, "a", verdict)
    assert world.store.cases["a"] == msgspec.structs.replace(old, state=after, verdict=verdict)
    assert effects.controls == [Judged("a", real)]
    assert [(t.what, t.detail, t.by) for t in effects.timeline] == [(after.value, verdict.value, "ani")]
    assert not effects.notices and not effects.ledger


def test_a_late_verdict_may_be_changed_until_the_case_is_dismissed() -> None:
    world = late()
    world.command(Verb.RESOLVE, "a", Verdict.REAL)
    world.command(Verb.DISMISS, "a", Verdict.NOT_A_PROBLEM)
    with pytest.raises(UsageError, match="no such case"):
        world.command(Verb.RESOLVE, "a", Verdict.REAL)


def test_nothing_but_a_verdict_comes_late() -> None:
    world = late()
    before = world.desk.snapshot()
    for verb in Verb:
        with pytest.raises(UsageError):
            world.command(verb, "a")
    assert world.desk.snapshot() == before


def test_an_anomaly_heard_of_after_its_case_left_memory_gets_a_case_of_its_own() -> None:
    world = resolved()
    world.skip(DAY_MS // MINUTE_MS + 5)
    old = world.store.cases["a"]
    say(world, Phase.UPDATED)
    assert world.store.cases["a"] == old
    (new,) = (c for c in world.store.cases.values() if c.id != "a")
    assert (new.state, new.anomalies) == (CaseState.OPEN, ("a",))
    say(world, Phase.UPDATED)
    assert len(world.store.cases) == 2


def test_an_anomaly_without_a_word_for_an_hour_is_let_go() -> None:
    world = opened()
    world.rest(HOUR_MS // MINUTE_MS)
    assert state(world) is CaseState.OPEN
    world.rest(2)
    assert state(world) is CaseState.RESOLVED
    assert world.store.story("a")[-2:] == ["signal-lost", "resolved"]


def test_cases_of_a_removed_signal_resolve() -> None:
    world = opened()
    without = msgspec.structs.replace(config(), signals=config().signals[1:])
    world.desk.configure(without)
    world.step(Configured(without.hash), world.now_ms)
    case = world.store.cases["a"]
    assert case.state is CaseState.RESOLVED
    assert case.title["en"].startswith("login fails")
    say(world, Phase.UPDATED)
    assert state(world) is CaseState.RESOLVED


def test_a_merge_moves_customers_and_later_anomalies() -> None:
    world = opened()
    world.go(
        Minute(bad=fails("login", range(50, 55), ("9", "Lain"))),
        anomaly("b", "login", {"app": "9"}, world.window_ms, phase=Phase.OPENED, onset_ms=world.window_ms),
    )
    world.command(Verb.MERGE, "b", into="a")
    merged, into = world.store.cases["b"], world.store.cases["a"]
    assert (merged.state, merged.merged_into) == (CaseState.MERGED, "a")
    assert into.anomalies == ("a", "b")
    assert sorted(world.store.listed("a")) == [*range(1, 11), *range(50, 55)]
    assert world.store.listed("b") == {}
    world.go(
        Minute(bad=fails("login", [60], ("9", "Lain"))),
        anomaly("b", "login", {"app": "9"}, world.window_ms, onset_ms=world.window_ms - MINUTE_MS),
    )
    assert 60 in world.store.listed("a")
    assert world.store.cases["b"] == merged


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param((Verb.ACKNOWLEDGE, "x"), "no such case", id="unknown case"),
        pytest.param((Verb.DISMISS, "a"), "takes a verdict", id="dismissed without a verdict"),
        pytest.param((Verb.DISMISS, "a", Verdict.REAL), "takes a verdict", id="dismissed as real"),
        pytest.param((Verb.RESOLVE, "a", Verdict.NOT_A_PROBLEM), "is dismissed, not resolved", id="no problem"),
        pytest.param((Verb.MERGE, "a"), "takes another case", id="merged into nothing"),
        pytest.param((Verb.MERGE, "a", None, "a"), "takes another case", id="merged into itself"),
        pytest.param((Verb.MERGE, "a", None, "x"), "no such case", id="merged into an unknown one"),
        pytest.param((Verb.MERGE, "a", None, "h"), "one mode", id="merged with a shadow case"),
    ],
)
def test_an_illegal_command_changes_nothing(command: tuple[Verb, str], message: str) -> None:
    world = opened()
    world.go(None, anomaly("h", "hidden", {"app": "1"}, world.window_ms, phase=Phase.OPENED))
    before = world.desk.snapshot()
    with pytest.raises(UsageError, match=message):
        world.command(*command)
    assert world.desk.snapshot() == before


def test_merging_into_a_finished_case_is_refused() -> None:
    world = resolved()
    world.go(None, anomaly("b", "login", {"app": "9"}, world.window_ms, phase=Phase.OPENED))
    with pytest.raises(UsageError, match="no case can be merged into it"):
        world.command(Verb.MERGE, "b", into="a")


def test_a_resolved_case_takes_a_verdict_later() -> None:
    world = resolved()
    with pytest.raises(UsageError, match="resolved already"):
        world.command(Verb.RESOLVE, "a")
    world.command(Verb.RESOLVE, "a", Verdict.EXPECTED)
    assert world.store.cases["a"].verdict is Verdict.EXPECTED


# --- a new level ---


def told_of_what_became_normal(factor: float | None = 1.8) -> World:
    """Ten customers are hit and told; all get through, as most always do, and then it has become normal."""
    world = opened()
    say(world, Phase.UPDATED, back(range(1, 11)))
    world.go(
        None,
        anomaly("a", "login", WHERE, world.window_ms, phase=Phase.ENDED, ended_ms=world.window_ms, new_level=factor),
    )
    return world


def test_what_has_become_normal_ends_at_once_and_its_story_says_so() -> None:
    world = told_of_what_became_normal()
    assert state(world) is CaseState.RESOLVED
    assert world.store.story("a") == ["opened", "notices", "new-level", "resolved"]
    (line,) = (t.detail for t in world.store.timeline if t.what == "new-level")
    assert line == "login: it has become normal: 1.8 times what was expected before"
    assert world.store.cases["a"].accounts[0].new_level == 1.8


def works_again(world: World) -> dict[int, str]:
    world.rest(30)
    return {n.customer: n.reason for n in world.store.notices.values() if n.kind is Kind.RESOLVED}


def test_nobody_hears_that_it_works_again_where_it_has_become_normal() -> None:
    assert works_again(told_of_what_became_normal()) == dict.fromkeys(range(1, 11), "new-level")
    assert works_again(told_of_what_became_normal(factor=None)) == dict.fromkeys(range(1, 11), "")


def test_who_was_hit_by_another_signal_hears_that_it_works_again() -> None:
    world = World()
    bad = fails("login", range(1, 31), CELL) | fails("payment", range(1, 26), ("BNI", "5.2"))
    world.go(Minute(bad=bad))
    # 31 to 40: by the payments only
    world.go(
        Minute(bad=fails("payment", range(31, 41), ("BNI", "5.2"))),
        anomaly("a", "login", WHERE, world.window_ms, phase=Phase.OPENED),
        anomaly("b", "payment", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED),
    )
    assert list(world.store.cases) == ["a"]
    over = world.window_ms
    through = fails("login", range(1, 31), CELL) | fails("payment", [*range(1, 26), *range(31, 41)], ("BNI", "5.2"))
    world.go(
        Minute(back=through),
        anomaly("a", "login", WHERE, world.window_ms, phase=Phase.ENDED, ended_ms=over, new_level=2.0),
        anomaly("b", "payment", {"app": "5.2"}, world.window_ms, phase=Phase.RECOVERING, ended_ms=over),
    )
    assert state(world) is CaseState.RECOVERING
    reasons = works_again(world)
    assert reasons == dict.fromkeys(range(1, 31), "new-level") | dict.fromkeys(range(31, 41), "")


def test_silence_that_has_become_normal_is_over() -> None:
    world = World()
    world.go(None, anomaly("s", "checkout", {}, world.window_ms, phase=Phase.OPENED))
    world.go(
        None, anomaly("s", "checkout", {}, world.window_ms, phase=Phase.ENDED, ended_ms=world.window_ms, new_level=0.4)
    )
    assert world.store.story("s") == ["opened", "new-level", "resolved"]


def test_what_comes_back_after_it_became_normal_and_goes_is_a_recovery() -> None:
    world = told_of_what_became_normal()
    world.rest(2)
    onset = world.window_ms
    world.go(
        Minute(bad=fails("login", range(5, 16), CELL)),
        anomaly("b", "login", WHERE, world.window_ms, phase=Phase.OPENED, onset_ms=onset),
    )
    assert (state(world), world.store.cases["a"].episode) == (CaseState.OPEN, 2)
    end = world.window_ms
    world.go(
        Minute(back=fails("login", range(5, 16), CELL)),
        anomaly("b", "login", WHERE, world.window_ms, phase=Phase.RECOVERING, onset_ms=onset, ended_ms=end),
    )
    assert state(world) is CaseState.RECOVERING
    world.rest(30)
    again = {n.customer: n.reason for n in world.store.notices.values() if n.kind is Kind.RESOLVED and n.episode == 2}
    assert {r for c, r in again.items() if c >= 5} == {"", "frequency-cap"}  # the second notice of the day, or third
    assert {r for c, r in again.items() if c < 5} == {"new-level"}
