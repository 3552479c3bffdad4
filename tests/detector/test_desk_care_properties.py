"""What must hold of approvals, samples, the holdout, splits and merges, whatever happens."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import MINUTE_MS, QuietHours
from detector.desk.holdout import arm_of
from detector.desk.policy import Arm
from detector.desk.records import Approval, Command, Decision, Delivered, Kind, NoticeState, Verb, Verdict
from detector.errors import UsageError
from detector.watch.anomaly import Phase
from tests.detector.desk_world import NO_QUIET, Minute, World, anomaly, config, fails
from tests.detector.test_desk_properties import QUIET, SCRIPTS, Do, Doing, Run, counts_add_up, decided_to_send

ALL = ("low", "medium", "high", "critical")
NEWS = (Kind.PROBLEM, Kind.FOLLOW_UP)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SCRIPTS, st.booleans(), st.sampled_from([NO_QUIET, QUIET]))
def test_nobody_hears_of_a_case_before_it_is_approved(script: list[Doing], send: bool, quiet: QuietHours) -> None:
    run = Run(send=send, quiet=quiet, policy={"approval": ALL, "follow_up_ms": MINUTE_MS, "per_day": 20})
    for doing in script:
        effects = run.play(doing)
        if isinstance(effects, str):
            continue
        for notice in effects.notices:
            if decided_to_send(notice) and notice.kind is Kind.PROBLEM:
                assert run.world.store.cases[notice.case].approval in (Approval.SAMPLE, Approval.APPROVED)
            if decided_to_send(notice) and notice.kind is Kind.FOLLOW_UP:
                assert run.world.store.cases[notice.case].approval is not Approval.HELD


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SCRIPTS, st.booleans(), st.sampled_from([NO_QUIET, QUIET]), st.none() | st.integers(1, 4))
def test_a_sample_tells_so_many_at_most(
    script: list[Doing], send: bool, quiet: QuietHours, per_case: int | None
) -> None:
    policy: dict[str, object] = {"per_day": 20, **({"per_case": per_case} if per_case else {"approval": ALL})}
    run = Run(send=send, quiet=quiet, policy=policy)
    left: dict[str, float] = {}
    sent: dict[str, int] = {}
    for doing in script:
        if isinstance(doing, Do) and doing.verb in (Verb.MERGE, Verb.SPLIT):
            continue  # what they do to a sample is told elsewhere
        known = run.world.store.cases
        case = "" if not isinstance(doing, Do) else list(known)[-1] if doing.newest and known else doing.case
        effects = run.play(doing)
        if isinstance(effects, str):
            continue
        for entry in effects.timeline:
            if entry.what == "opened":
                left[entry.case] = per_case or 0
            elif entry.what == "held":
                left[entry.case] = 0
            elif entry.what == "reopened":
                left[entry.case] = max((per_case or 0) - sent.get(entry.case, 0), 0)
            elif entry.what == "approved":
                assert isinstance(doing, Do) and entry.case == case
                left[case] = float("inf") if doing.customers is None else doing.customers
        for notice in effects.notices:
            if decided_to_send(notice) and notice.kind is Kind.PROBLEM:
                left[notice.case] -= 1
                sent[notice.case] = sent.get(notice.case, 0) + 1
                assert left[notice.case] >= 0
        left |= {entry.case: 0 for entry in effects.timeline if entry.what == "approval-needed"}


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(SCRIPTS, st.sampled_from([0.3, 0.7]), st.booleans())
def test_who_is_held_out_follows_from_the_key_alone(script: list[Doing], share: float, send: bool) -> None:
    run = Run(send=send, policy={"holdout_share": share, "holdout_ms": 3 * MINUTE_MS})
    first: dict[tuple[str, int, int], int] = {}
    for doing in script:
        effects = run.play(doing)
        if isinstance(effects, str):
            continue
        for notice in effects.notices:
            check = next((c for c in notice.checks if c.rule == "holdout"), None)
            if check is None or notice.kind is not Kind.PROBLEM or not check.detail:
                assert check is None or check.decision is Decision.SEND
                continue
            arm = arm_of("default", notice.case, notice.customer, share)
            assert check.detail.startswith(arm.value)
            since_ms = first.setdefault((notice.case, notice.customer, notice.episode), notice.at_ms)
            if decided_to_send(notice) and arm is Arm.OUT:
                assert notice.at_ms >= since_ms + 3 * MINUTE_MS
            signals = {s.name: s.stake for s in run.world.config.signals}
            assert signals[notice.signal] == "convenience"


# --- moved by people ---


@dataclass(frozen=True)
class Say:
    phases: dict[str, Phase]
    back: tuple[int, ...]
    skip: int


CELLS = {"a": ("5.2", "Karta"), "b": ("4.0", "Lain")}
WHERE = {"a": {"app": "5.2"}, "b": {"app": "4.0"}}
PEOPLE = st.sets(st.integers(1, 9), min_size=2)
CASES = st.integers(0, 5)
"""One of the cases that there are by then."""
MOVES = st.lists(
    st.tuples(st.just("merge"), CASES, CASES)
    | st.tuples(st.just("split"), CASES, st.sampled_from("ab"))
    | st.tuples(st.just("verb"), CASES, st.sampled_from([Verb.TRY_AGAIN, Verb.HOLD, Verb.APPROVE]))
    | st.tuples(st.just("close"), CASES, st.sampled_from([Verdict.NOT_A_PROBLEM, Verdict.EXPECTED, Verdict.REAL]))
    | st.tuples(st.just("deliver"), CASES, st.sampled_from(["sent", "sent", "failed", "suppressed", "unknown"]))
    | st.builds(
        Say,
        st.dictionaries(st.sampled_from("ab"), st.sampled_from([Phase.UPDATED, Phase.RECOVERING, Phase.ENDED])),
        st.lists(st.integers(1, 9), max_size=5).map(tuple),
        st.sampled_from([1, 1, 6, 30]),
    ),
    max_size=20,
)
GIVEN = (NoticeState.QUEUED, NoticeState.SIMULATED, NoticeState.SENT)


def heard(world: World) -> dict[tuple[int, Kind], int]:
    """How many notices of a kind went to a customer, or are on their way, over all cases."""
    out: dict[tuple[int, Kind], int] = {}
    for notice in world.store.notices.values():
        if notice.state in GIVEN:
            out[notice.customer, notice.kind] = out.get((notice.customer, notice.kind), 0) + 1
    return out


def move(world: World, what: object, over: set[str]) -> None:
    """Do one move; what is refused is refused."""
    cases = sorted(world.store.cases)
    try:
        match what:
            case ("merge", int() as i, int() as j):
                world.command(Verb.MERGE, cases[i % len(cases)], into=cases[j % len(cases)])
            case ("split", int() as i, str() as id):
                world.step(Command(Verb.SPLIT, cases[i % len(cases)], "ani", anomalies=(id,)), world.now_ms)
            case ("verb", int() as i, Verb() as verb):
                world.command(verb, cases[i % len(cases)])
            case ("close", int() as i, Verdict() as verdict):
                verb = Verb.RESOLVE if verdict is Verdict.REAL else Verb.DISMISS
                world.command(verb, cases[i % len(cases)], verdict)
            case ("deliver", int() as i, str() as outcome):
                waiting = sorted(n.id for n in world.store.notices.values() if n.state is NoticeState.QUEUED)
                if waiting:
                    world.step(Delivered(waiting[i % len(waiting)], outcome, "email"), world.now_ms)
            case Say():
                world.minute += what.skip - 1
                words = {id: phase for id, phase in what.phases.items() if id not in over}
                over.update(id for id, phase in words.items() if phase is Phase.ENDED)
                ended_ms = world.window_ms - MINUTE_MS
                world.go(
                    Minute(back={"login": [(c, CELLS["a"], 0) for c in what.back]}),
                    *(
                        anomaly(
                            id,
                            "login",
                            WHERE[id],
                            world.window_ms,
                            phase=phase,
                            ended_ms=None if phase is Phase.UPDATED else ended_ms,
                        )
                        for id, phase in sorted(words.items())
                    ),
                )
    except UsageError:
        return


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(PEOPLE, PEOPLE, MOVES, st.booleans(), st.booleans())
def test_moving_customers_between_cases_tells_nobody_twice(
    a: set[int], b: set[int], moves: list[object], send: bool, restart: bool
) -> None:
    world = World(config(send=send, per_day=50, follow_up_ms=MINUTE_MS, stale_ms=10**9))
    bad = [*fails("login", sorted(a), CELLS["a"])["login"], *fails("login", sorted(b), CELLS["b"], 2000)["login"]]
    world.go(Minute(bad={"login": bad}))
    at = world.window_ms
    world.go(None, *(anomaly(i, "login", WHERE[i], at, phase=Phase.OPENED, observed=500) for i in "ab"))
    before = heard(world)
    assert {c for c, _ in before} == a | b
    over: set[str] = set()
    for what in moves:
        move(world, what, over)
        counts_add_up(world)
        if restart:
            world.desk.restore(world.desk.snapshot())
    for (customer, kind), n in heard(world).items():
        assert n <= before[customer, Kind.PROBLEM], (customer, kind)
    told = {c for (c, kind) in heard(world) if kind is Kind.PROBLEM}
    assert {c for (c, _) in heard(world)} == told


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(PEOPLE, PEOPLE, MOVES)
def test_moved_cases_go_on_the_same_after_a_restart(a: set[int], b: set[int], moves: list[object]) -> None:
    def play(restart: bool) -> tuple[bytes, object]:
        world = World(config(send=True, per_day=50, approval=("critical",), per_case=5, follow_up_ms=MINUTE_MS))
        bad = [*fails("login", sorted(a), CELLS["a"])["login"], *fails("login", sorted(b), CELLS["b"], 2000)["login"]]
        world.go(Minute(bad={"login": bad}))
        at, over = world.window_ms, set[str]()
        world.go(None, *(anomaly(i, "login", WHERE[i], at, phase=Phase.OPENED, observed=500) for i in "ab"))
        for what in moves:
            move(world, what, over)
            if restart:
                world.desk.restore(world.desk.snapshot())
        store = world.store
        rows = (store.cases, list(store.ledger.items()), list(store.notices.items()), store.timeline)
        return world.desk.snapshot(), msgspec.to_builtins(rows)

    assert play(restart=False) == play(restart=True)
