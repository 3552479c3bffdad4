"""Planned work, known noise and verdicts on their way through the whole pipeline."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import MINUTE_MS, Config, Policy, QuietHours
from detector.decode import JSON, CustomerKeys, Decoder
from detector.desk.records import Case, CaseState, Command, Delivered, Notice, NoticeState, Verb, Verdict
from detector.errors import UsageError
from detector.pack import unpack
from detector.pipeline import Effects, Pipeline, Told
from detector.signals import Severity, Stake, parse_signals
from detector.watch.control import Fact, FactKind, Withdrawn
from tests.detector.counting import SHARE, SILENCE, T0
from tests.detector.piping import CONFIG, KEY, Everybody, Kept, Nothing, decided, play, traffic

pytestmark = pytest.mark.slow

START, END = 120, 190
LINES = traffic(220, start=START, end=END)
PER_MINUTE = 30

At = tuple[int, Told]
"""A minute of the recording, and what people say then."""


def work(from_minute: int, until_minute: int, kind: FactKind = FactKind.MAINTENANCE, **changes: Any) -> Fact:
    from_ms, until_ms = T0 + from_minute * MINUTE_MS, T0 + until_minute * MINUTE_MS
    made = Fact(id="f1", kind=kind, where={"bank": "BNI"}, from_ms=from_ms, until_ms=until_ms)
    return msgspec.structs.replace(made, **changes)


def run(
    told: Sequence[At] = (), cuts: Sequence[int] = (), *, restart: bool = False, config: Config = CONFIG
) -> tuple[Effects, Pipeline]:
    """Play the recording; what is refused is refused."""

    def after(lines: int, pipeline: Pipeline) -> Effects:
        out = Effects()
        for minute, payload in told:
            if minute * PER_MINUTE == lines:
                try:
                    out.extend(pipeline.command(payload))
                except UsageError:
                    continue
        return out

    stops = {minute * PER_MINUTE for minute, _ in told} | set(cuts)
    return play(LINES, stops, config=config, directory=Everybody(), restart=restart, after=after)


def cases(effects: Effects) -> list[Case]:
    return list({case.id: case for case in effects.desk.cases}.values())


@cache
def the_case() -> Case:
    """The case of the recording where nobody says anything."""
    (found,) = cases(run()[0])
    return found


def minute_of(ms: int) -> float:
    return (ms - T0) / MINUTE_MS


def test_the_problem_is_found_where_nobody_says_anything() -> None:
    assert [c.where for c in the_case().causes] == [{"bank": "BNI"}]
    assert START <= minute_of(the_case().detected_ms) < START + 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FactKind.MAINTENANCE, FactKind.MUTE])
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the-cause"),
        pytest.param({"where": {}}, id="everywhere"),
        pytest.param({"signals": ("declines",)}, id="the-signal"),
    ],
)
def test_planned_work_raises_nothing(kind: FactKind, changes: dict[str, Any]) -> None:
    effects, _ = run([(30, work(START - 5, END + 5, kind, **changes))])
    assert cases(effects) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"where": {"bank": "BCA"}}, id="another-bank"),
        pytest.param({"signals": ("silence",), "where": {}}, id="another-signal"),
        pytest.param({"until_ms": T0 + START * MINUTE_MS}, id="over-before"),
        pytest.param({"kind": FactKind.DEPLOYMENT}, id="a-deployment"),
    ],
)
def test_what_does_not_cover_the_problem_hides_nothing(changes: dict[str, Any]) -> None:
    effects, _ = run([(30, work(START - 5, END + 5, **changes))])
    (found,) = cases(effects)
    assert [c.where for c in found.causes] == [{"bank": "BNI"}]
    assert abs(minute_of(found.detected_ms) - minute_of(the_case().detected_ms)) <= 3


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([(30, work(START - 5, START + 30))], id="as-planned"),
        pytest.param([(30, work(START - 5, END + 5)), (START + 30, Withdrawn("f1"))], id="early"),
    ],
)
def test_what_is_still_broken_when_the_work_ends_is_raised_then(told: list[At]) -> None:
    effects, _ = run(told)
    (found,) = cases(effects)
    assert [c.where for c in found.causes] == [{"bank": "BNI"}]
    assert START + 30 - 3 <= minute_of(found.detected_ms) < START + 45


def test_what_happens_during_the_work_is_not_taken_for_normal() -> None:
    muted, _ = run([(30, work(START - 5, START + 30))])
    (found,) = cases(muted)
    assert found.expected < 0.2 * found.observed


@pytest.mark.slow
def test_a_verdict_reaches_the_thresholds_of_the_signal() -> None:
    minute = START + 30
    (anomaly,) = the_case().anomalies
    kept = {}
    for verdict in (None, Verdict.NOT_A_PROBLEM, Verdict.EXPECTED):
        told = [] if verdict is None else [(minute, Command(Verb.DISMISS, the_case().id, "ani", verdict))]
        _, pipeline = run(told)
        kept[verdict] = unpack(pipeline.snapshot(), dict)["watches"]["declines"]["operating"]["_raised"][anomaly]
    assert [k["real"] for k in kept.values()] == [None, False, True]


def test_the_operating_point_of_every_signal_can_be_asked_for() -> None:
    _, pipeline = run()
    points = {point.signal: point for point in pipeline.operating}
    assert list(points) == ["declines", "silence"]
    assert [level.level for level in points["declines"].levels] == [0, 1, 2]
    assert points["declines"].levels[1].segments == 5


def test_a_signal_that_starts_anew_knows_what_is_muted() -> None:
    _, pipeline = run([(30, work(0, 10_000, where={}))])
    other = msgspec.structs.replace(SHARE, dimensions=("bank",))
    again = Pipeline(msgspec.structs.replace(CONFIG, signals=(other, SILENCE)), Kept(), Nothing())
    again.restore(pipeline.snapshot())
    watches = unpack(again.snapshot(), dict)["watches"]
    assert [[f["id"] for f in watches[name]["facts"]] for name in ("declines", "silence")] == [["f1"], ["f1"]]


def test_a_fact_is_a_record_of_the_log() -> None:
    fact = work(START - 5, END + 5)
    effects, _ = run([(30, fact), (60, Withdrawn("f1", "ani")), (90, Withdrawn("f2"))])
    assert [r.payload for r in effects.log if isinstance(r.payload, Fact | Withdrawn)] == [fact, Withdrawn("f1", "ani")]


def test_a_fact_told_between_learning_and_looking_makes_no_silence_of_the_gap() -> None:
    _, learned = play(LINES, learn_only=True)
    telling = Pipeline(CONFIG, Kept(), Nothing())
    telling.restore(learned.snapshot())
    telling.command(work(0, 10, FactKind.DEPLOYMENT))
    looking = Pipeline(CONFIG, Kept(), Nothing())
    looking.restore(telling.snapshot())
    later = b"".join(line.replace(b"2026-03-02", b"2026-03-04") for line in traffic(60, start=0, end=0))
    effects = looking.feed(Decoder(CONFIG.schema, JSON, CustomerKeys(KEY)).decode(later, 10**8))
    effects.extend(looking.end())
    assert cases(effects) == []
    assert effects.closed == 60


FACTS = st.builds(
    lambda number, kind, a, length, where: work(a, a + length, kind, id=f"f{number}", where=where),
    st.integers(0, 2),
    st.sampled_from(list(FactKind)),
    st.integers(90, 210),
    st.integers(1, 60),
    st.sampled_from([{}, {"bank": "BNI"}, {"city": "Medan"}]),
)
COMMANDS = st.builds(
    lambda verb, verdict, customers: Command(
        verb, the_case().id, "ani", verdict, text=verb.value, customers=customers, anomalies=the_case().anomalies[:1]
    ),
    st.sampled_from(list(Verb)),
    st.sampled_from([None, *Verdict]),
    st.none() | st.integers(1, 5),
)
CAREFUL = Config(
    signals=tuple(msgspec.structs.replace(s, stake=Stake.CONVENIENCE) for s in CONFIG.signals),
    policy=Policy(
        send=True,
        quiet=QuietHours(0, 0),
        approval=(Severity.HIGH,),
        per_case=20,
        follow_up_ms=5 * MINUTE_MS,
        holdout_share=0.2,
        holdout_ms=10 * MINUTE_MS,
    ),
)


@cache
def with_care() -> list[Notice]:
    """What is decided where some wait for a person and some are held out."""
    return run(config=CAREFUL)[0].desk.notices


def queued() -> list[str]:
    return sorted(n.id for n in with_care() if n.state is NoticeState.QUEUED)


DELIVERIES = st.deferred(
    lambda: st.builds(
        Delivered,
        st.sampled_from(queued()),
        st.sampled_from(["sent", "sent", "failed", "unknown", "suppressed"]),
        st.just("email"),
        st.sampled_from(["", "stale", "hard-bounce"]),
    )
)
SOONER = st.integers(START + 5, 219)
TOLD = st.lists(
    st.tuples(st.integers(1, 219), FACTS | st.integers(0, 2).map(lambda n: Withdrawn(f"f{n}")))
    | st.tuples(SOONER, COMMANDS | DELIVERIES),
    max_size=12,
)


@pytest.mark.slow
@given(TOLD, st.lists(st.integers(0, len(LINES) - 1), max_size=5), st.sampled_from([CONFIG, CAREFUL]))
@settings(max_examples=12, deadline=None)
def test_what_people_say_counts_the_same_however_the_run_is_cut_and_restarted(
    told: list[At], cuts: list[int], config: Config
) -> None:
    whole = decided(run(told, config=config)[0])
    assert decided(run(told, cuts, config=config)[0]) == whole
    assert decided(run(told, cuts, restart=True, config=config)[0]) == whole


def test_with_care_some_are_told_some_wait_and_some_are_held_out() -> None:
    found = {n.reason for n in with_care() if n.case == the_case().id}
    assert found >= {"", "case-cap", "holdout"}
    assert len(queued()) == 20


def test_a_dismissed_case_stays_so_while_its_problem_goes_on() -> None:
    effects, _ = run([(START + 30, Command(Verb.DISMISS, the_case().id, "ani", Verdict.NOT_A_PROBLEM))])
    assert {case.id: case.state for case in cases(effects)}[the_case().id] is CaseState.DISMISSED


def test_what_is_muted_of_a_part_is_muted_in_the_joint_signal() -> None:
    login = {"title": {"en": "Login fails"}, "measure": "share", "events": {}, "bad": {"outcome": "failure"}}
    joint = {"title": {"en": "Things fail"}, "measure": "joint", "signals": ["a", "b"]}
    named = {"a": login | {"dimensions": ["bank", "city"]}, "b": login | {"dimensions": ["city"]}, "both": joint}
    pipeline = Pipeline(Config(signals=parse_signals({"signals": named})), Kept(), Nothing())

    def muted(signal: str) -> list[dict[str, str]]:
        return [f["where"] for f in unpack(pipeline.snapshot(), dict)["watches"][signal]["facts"]]

    pipeline.command(work(0, 10, where={"bank": "BNI", "city": "Medan"}))
    assert [muted(name) for name in named] == [
        [{"bank": "BNI", "city": "Medan"}],
        [],
        [{"signal": "a", "city": "Medan"}],
    ]
    pipeline.command(work(0, 10, id="f2", signals=("b",), where={}))
    assert muted("both")[1:] == [{"signal": "b"}]
    pipeline.command(work(0, 10, id="f3", where={}))
    assert muted("both")[2:] == [{}]
    for name in ("f1", "f2", "f3"):
        pipeline.command(Withdrawn(name))
    assert [muted(name) for name in named] == [[], [], []]
