"""What people know stands beside the cases that it may explain, and verdicts go on to the Watches."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS
from detector.desk.desk import Desk
from detector.desk.facts import LONGEST_MS
from detector.desk.records import Case, DeskEffects, Verb, Verdict
from detector.errors import UsageError
from detector.watch.anomaly import Anomaly, Phase
from detector.watch.control import Fact, FactKind, Judged, Withdrawn
from tests.detector.desk_world import T0, Minute, World, anomaly, fails

ONSET = T0 + 5 * MINUTE_MS
APP = {"app": "5.2"}


def fact(kind: FactKind = FactKind.DEPLOYMENT, **changes: Any) -> Fact:
    until_ms = ONSET + (-4 * MINUTE_MS if kind is FactKind.DEPLOYMENT else HOUR_MS)
    made = Fact(
        id="f1", kind=kind, text="app 5.2.1", by="ani", where=APP, from_ms=ONSET - 4 * MINUTE_MS, until_ms=until_ms
    )
    return msgspec.structs.replace(made, **changes)


def world(*told: Fact, where: dict[str, str] | None = None) -> World:
    """A case of the signal `login` that began at `ONSET`; facts are told before it."""
    made = World()
    for one in told:
        made.step(one, made.now_ms)
    made.rest(5)
    at = made.window_ms
    made.go(Minute(fails("login", range(1, 30), ("5.2", "Karta"))), word(at, where, Phase.OPENED))
    return made


def word(
    at: int, where: dict[str, str] | None = None, phase: Phase = Phase.UPDATED, *, onset_ms: int = ONSET
) -> Anomaly:
    cause = {"app": "5.2", "provider": "Karta"} if where is None else where
    return anomaly("a", "login", cause, at, phase=phase, onset_ms=onset_ms)


def case(made: World) -> Case:
    return made.store.cases["a"]


def told(made: World, kind: FactKind) -> list[str]:
    return [t.detail for t in made.store.timeline if t.what == kind.value]


# --- beside a case ----------------------------------------------------------------------------------------------------


def test_a_deployment_shortly_before_the_onset_stands_beside_the_case() -> None:
    made = world(fact())
    assert case(made).facts == (fact(),)
    assert told(made, FactKind.DEPLOYMENT) == ["app 5.2.1 (app 5.2), 4 min before the onset"]
    made.go(None, word(made.window_ms))
    assert len(told(made, FactKind.DEPLOYMENT)) == 1


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        pytest.param({"where": {}}, True, id="deployed-everywhere"),
        pytest.param({"where": {"app": "5.1"}}, False, id="another-version"),
        pytest.param({"signals": ("login", "payment")}, True, id="for-this-signal"),
        pytest.param({"signals": ("payment",)}, False, id="for-another-signal"),
        pytest.param({"where": {"bank": "BNI"}}, False, id="a-dimension-of-another-signal"),
        pytest.param({"from_ms": ONSET - 3 * HOUR_MS, "until_ms": ONSET - 3 * HOUR_MS}, False, id="long-before"),
        pytest.param({"from_ms": ONSET - 3 * HOUR_MS, "until_ms": ONSET - HOUR_MS}, True, id="a-slow-rollout"),
        pytest.param({"from_ms": ONSET + MINUTE_MS, "until_ms": ONSET + MINUTE_MS}, True, id="onset-dated-early"),
        pytest.param({"from_ms": ONSET + HOUR_MS, "until_ms": ONSET + HOUR_MS}, False, id="after-it"),
    ],
)
def test_only_what_may_explain_a_case_stands_beside_it(changes: dict[str, Any], stands: bool) -> None:
    assert bool(case(world(fact(**changes))).facts) is stands


def test_a_cause_of_everyone_is_touched_by_every_deployment() -> None:
    assert case(world(fact(), where={})).facts == (fact(),)


def test_what_is_told_afterwards_stands_beside_the_case_at_once() -> None:
    made = world()
    assert case(made).facts == ()
    made.step(fact(), made.now_ms)
    assert case(made).facts == (fact(),)
    assert told(made, FactKind.DEPLOYMENT) == ["app 5.2.1 (app 5.2), 4 min before the onset"]


def test_a_revised_onset_takes_a_deployment_away_again() -> None:
    made = world(fact())
    made.go(None, word(made.window_ms, onset_ms=ONSET - 2 * HOUR_MS))
    assert case(made).facts == ()


def test_maintenance_that_covers_a_case_is_told_in_it() -> None:
    work = fact(FactKind.MAINTENANCE)
    made = world(work)
    assert case(made).facts == (work,)
    assert told(made, FactKind.MAINTENANCE) == ["app 5.2.1 (app 5.2), from 4 min before the onset on, for 1 h 4 min"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"where": {"app": "5.2", "provider": "Lain"}}, id="only-a-part-of-the-cause"),
        pytest.param({"until_ms": ONSET}, id="over-before-it-began"),
        pytest.param({"from_ms": ONSET + HOUR_MS, "until_ms": ONSET + 2 * HOUR_MS}, id="not-begun"),
    ],
)
def test_maintenance_that_does_not_cover_a_case_is_not_told_in_it(changes: dict[str, Any]) -> None:
    assert case(world(fact(FactKind.MAINTENANCE, **changes))).facts == ()


def test_planned_work_is_told_once_it_has_begun() -> None:
    made = world(fact(FactKind.MAINTENANCE, from_ms=ONSET + 3 * MINUTE_MS))
    seen = []
    for _ in range(5):
        made.go(None, word(made.window_ms))
        seen.append(bool(case(made).facts))
    assert seen == [False, False, True, True, True]


def test_ended_work_is_told_and_stays_as_long_as_it_held() -> None:
    made = world(fact(FactKind.MUTE))
    effects = made.step(Withdrawn("f1", "budi"), made.now_ms)
    assert told(made, FactKind.MUTE)[-1] == "ended: app 5.2.1"
    assert case(made).facts == (fact(FactKind.MUTE, until_ms=made.window_ms),)
    assert effects.controls == [Withdrawn("f1", "budi")]


def test_a_deployment_that_was_told_in_error_leaves_the_case() -> None:
    made = world(fact())
    made.step(Withdrawn("f1"), made.now_ms)
    assert case(made).facts == ()


def test_a_fact_is_forgotten_once_no_case_can_concern_it() -> None:
    made = World()
    made.step(fact(), made.now_ms)
    made.skip(24 * 60)
    assert made.desk.facts
    made.skip(2 * 24 * 60)
    assert not made.desk.facts


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"signals": ("logni",)}, r'found "logni" \(did you mean "login"\?\)', id="signal"),
        pytest.param({"where": {"ap": "5"}, "signals": ("login",)}, r"app or provider\), found", id="dimension"),
        pytest.param({"where": {"provider": "K", "bank": "B"}}, "no signal has all", id="dimensions-of-two-signals"),
        pytest.param({"until_ms": ONSET - HOUR_MS}, "until: expected a time after", id="ends-before-it-begins"),
        pytest.param({"until_ms": ONSET + 2 * LONGEST_MS}, "a year at most", id="for-ever"),
    ],
)
def test_what_no_fact_can_be_made_of_is_refused_and_changes_nothing(changes: dict[str, Any], words: str) -> None:
    made = world()
    before = made.desk.snapshot()
    with pytest.raises(UsageError, match=words):
        made.step(fact(FactKind.MUTE, **changes), made.now_ms)
    assert made.desk.snapshot() == before


def test_the_same_fact_is_taken_once() -> None:
    made = world(fact())
    with pytest.raises(UsageError, match="told already"):
        made.step(fact(), made.now_ms)


def test_what_is_not_known_or_has_ended_can_not_be_ended() -> None:
    made = world(fact(FactKind.MUTE, until_ms=ONSET - MINUTE_MS))
    for name, words in (("f2", "no such fact"), ("f1", "it has ended")):
        with pytest.raises(UsageError, match=words):
            made.step(Withdrawn(name), made.now_ms)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "verdict", "real"),
    [
        pytest.param(Verb.DISMISS, Verdict.NOT_A_PROBLEM, False, id="not-a-problem"),
        pytest.param(Verb.DISMISS, Verdict.EXPECTED, True, id="expected-did-happen"),
        pytest.param(Verb.RESOLVE, Verdict.REAL, True, id="real"),
    ],
)
def test_a_verdict_goes_to_the_watches_for_every_anomaly_of_the_case(verb: Verb, verdict: Verdict, real: bool) -> None:
    made = world()
    at = made.window_ms
    made.go(None, word(at), anomaly("b", "payment", APP, at, phase=Phase.OPENED, onset_ms=ONSET))
    assert case(made).anomalies == ("a", "b")
    assert made.command(verb, "a", verdict).controls == [Judged("a", real), Judged("b", real)]


def test_nothing_but_a_verdict_is_one() -> None:
    made = world()
    effects = [made.command(Verb.ACKNOWLEDGE, "a"), made.command(Verb.RESOLVE, "a")]
    assert [e.controls for e in effects] == [[], []]


# --- whatever happens -------------------------------------------------------------------------------------------------

TIMES = st.integers(-20, 60).map(lambda minute: T0 + minute * MINUTE_MS)
SPANS = st.tuples(TIMES, TIMES).map(sorted)
FACTS = st.builds(
    lambda number, kind, span, where: Fact(
        id=f"f{number}", kind=kind, from_ms=span[0], until_ms=span[1] + MINUTE_MS, where=where
    ),
    st.integers(0, 3),
    st.sampled_from(list(FactKind)),
    SPANS,
    st.sampled_from([{}, APP, {"app": "5.1"}, {"provider": "Karta"}]),
)
ENDS = st.integers(0, 3).map(lambda number: Withdrawn(f"f{number}"))
STEPS = st.lists(FACTS | ENDS | st.sampled_from([1, 1, 1, 5, 90]), max_size=20)


def play(made: World, doing: Fact | Withdrawn | int) -> DeskEffects | str:
    if isinstance(doing, int):
        made.minute += doing - 1
        return made.go(None, word(made.window_ms))
    try:
        return made.step(doing, made.now_ms)
    except UsageError as error:
        return str(error)


@pytest.mark.slow
@given(STEPS, st.integers(0, 20))
def test_facts_survive_a_restart_at_any_place(steps: list[Fact | Withdrawn | int], cut: int) -> None:
    one, other = world(), world()
    for i, doing in enumerate(steps):
        if i == cut:
            data = other.desk.snapshot()
            other.desk = Desk(other.config)
            other.desk.restore(data)
        assert play(one, doing) == play(other, doing)
    assert one.desk.snapshot() == other.desk.snapshot()
    kept = {f.id: f for f in one.desk.facts}
    assert all(kept[f.id] == f for f in case(one).facts)
    assert all(f.until_ms > T0 - 3 * DAY_MS for f in one.desk.facts)
