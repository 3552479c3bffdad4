"""What must hold whatever happens: any sequence of windows, anomalies, commands and deliveries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import MINUTE_MS, Config, QuietHours
from detector.desk.desk import STORY, Desk
from detector.desk.records import (
    Command,
    Decision,
    Delivered,
    DeskEffects,
    Kind,
    Loss,
    Notice,
    NoticeState,
    Reach,
    Verb,
    Verdict,
)
from detector.errors import UsageError
from detector.signals import Stake
from detector.watch.anomaly import Phase
from tests.detector.desk_world import NO_QUIET, T0, Cell, Happening, Minute, World, anomaly, config, losing

LOGIN_CELLS: list[Cell] = [("5.2", "Karta"), ("4.0", "Karta"), ("5.2", "Lain")]
PAYMENT_CELLS: list[Cell] = [("BNI", "5.2"), ("BCA", "4.0")]
SIGNAL_OF = {"a": "login", "b": "login", "c": "payment", "d": "checkout", "e": "hidden"}
WHERE = [{}, {"app": "5.2"}, {"app": "5.2", "provider": "Karta"}, {"provider": "Karta"}, {"bank": "BNI"}]
QUIET = QuietHours(5 * 60 + 20, 5 * 60 + 30)
OTHERS: dict[int, Reach | None] = {
    1: None,
    2: Reach("en", "Asia/Makassar", frozenset({"email"})),
    3: Reach("id", "Asia/Jakarta", frozenset()),
}


@dataclass(frozen=True)
class Word:
    """What Watch says of an anomaly in a window; times are minutes before it."""

    id: str
    phase: Phase
    where: dict[str, str]
    onset: int
    ended: int | None
    observed: int


@dataclass(frozen=True)
class Close:
    minute: Minute
    words: tuple[Word, ...]
    skip: int = 1


@dataclass(frozen=True)
class Do:
    verb: Verb
    case: str
    verdict: Verdict | None
    into: str | None
    customers: int | None = None
    anomalies: tuple[str, ...] = ()
    newest: bool = False
    """Of the cases that there are by then the last one, which a split may have made."""


@dataclass(frozen=True)
class Deliver:
    which: int
    outcome: str
    reason: str = ""


Doing = Close | Do | Deliver


def happenings(cells: list[Cell]) -> st.SearchStrategy[list[Happening]]:
    one = st.tuples(st.integers(0, 8), st.sampled_from(cells), st.integers(0, MINUTE_MS - 1))
    return st.lists(one, max_size=6)


def by_signal() -> st.SearchStrategy[dict[str, list[Happening]]]:
    return st.fixed_dictionaries({"login": happenings(LOGIN_CELLS), "payment": happenings(PAYMENT_CELLS)})


MINUTES = st.builds(
    Minute,
    bad=by_signal(),
    back=by_signal(),
    contacts=st.lists(st.tuples(st.integers(0, 8), st.integers(0, MINUTE_MS - 1)), max_size=1),
)
WORDS = st.builds(
    Word,
    id=st.sampled_from(sorted(SIGNAL_OF)),
    phase=st.sampled_from(list(Phase)),
    where=st.sampled_from(WHERE),
    onset=st.integers(0, 5),
    ended=st.none() | st.integers(-1, 4),
    observed=st.integers(0, 40),
)
CLOSES = st.builds(
    Close,
    MINUTES,
    st.lists(WORDS, max_size=3, unique_by=lambda w: w.id).map(tuple),
    st.sampled_from([1, 1, 1, 1, 6, 90, 1500]),
)
DOINGS = st.builds(
    Do,
    st.sampled_from(list(Verb)),
    st.sampled_from(sorted(SIGNAL_OF)),
    st.sampled_from([None, *Verdict]),
    st.sampled_from([None, *sorted(SIGNAL_OF)]),
    st.none() | st.integers(0, 4),
    st.lists(st.sampled_from(sorted(SIGNAL_OF)), max_size=2, unique=True).map(tuple),
    st.booleans(),
)
DELIVERIES = st.builds(
    Deliver,
    st.integers(0, 5),
    st.sampled_from(["sent", "failed", "unknown", "suppressed"]),
    st.sampled_from(["", "stale", "already-recovered", "no-consent", "something-new"]),
)
MIXED = st.lists(CLOSES | CLOSES | CLOSES | DOINGS | DELIVERIES, min_size=1, max_size=25)
CALM = st.builds(  # a success of some, and Watch's word that it is over
    lambda customers, phase, ended, skip: Close(
        Minute(back={"login": [(c, LOGIN_CELLS[0], 0) for c in customers]}),
        (Word("a", phase, WHERE[2], 5, ended, 10),),
        skip,
    ),
    st.lists(st.integers(2, 8)),
    st.sampled_from([Phase.RECOVERING, Phase.RECOVERING, Phase.ENDED, Phase.RELAPSED]),
    st.sampled_from([1, 2, 3, None]),
    st.sampled_from([1, 3, 6]),
)
HIT = Close(Minute(bad={"login": [(c, LOGIN_CELLS[0], 0) for c in range(1, 9)]}), ())
FOUND = Close(Minute(), (Word("a", Phase.OPENED, WHERE[2], 1, None, 30),))
LIVES = st.lists(CALM | CALM | CALM | CLOSES | DOINGS | DELIVERIES, max_size=15).map(lambda rest: [HIT, FOUND, *rest])
SCRIPTS: st.SearchStrategy[list[Doing]] = MIXED | LIVES


def careful(settings: Config) -> Config:
    """The same with logins of mere convenience, which may have a holdout."""
    signals = tuple(
        msgspec.structs.replace(s, stake=Stake.CONVENIENCE) if s.name == "login" else s for s in settings.signals
    )
    return msgspec.structs.replace(settings, signals=signals)


POLICIES: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "approval": st.sampled_from([("high",), ("low", "medium", "high", "critical")]),
        "per_case": st.integers(1, 4),
        "follow_up_ms": st.sampled_from([MINUTE_MS, 5 * MINUTE_MS]),
        "holdout_share": st.sampled_from([0.3, 1.0]),
        "holdout_ms": st.just(3 * MINUTE_MS),
        "per_day": st.sampled_from([2, 20]),
    },
)


@dataclass
class Run:
    """A script played on a world whose customers carry other keys."""

    names: dict[int, int] = field(default_factory=dict)
    send: bool = True
    quiet: QuietHours = NO_QUIET
    policy: Mapping[str, object] = field(default_factory=dict)
    losing: tuple[str, ...] = ("login",)
    """The signals that name a loss."""

    def __post_init__(self) -> None:
        others = {self.names.get(c, c): r for c, r in OTHERS.items()}
        policy = {"send": self.send, "quiet": self.quiet, "min_probability": 0.4, **self.policy}
        self.world = World(losing(careful(config(**policy)), *self.losing), others)
        self.told: list[Any] = []
        self.back = {v: k for k, v in self.names.items()}

    def play(self, doing: Doing) -> DeskEffects | str:
        world = self.world
        match doing:
            case Close():
                world.minute += doing.skip - 1
                at = world.window_ms
                return world.go(doing.minute.renamed(self.names), *(spoken(w, at) for w in doing.words))
            case Do():
                case = list(world.store.cases)[-1] if doing.newest and world.store.cases else doing.case
                command = Command(
                    doing.verb, case, "ani", doing.verdict, doing.into, doing.case, doing.customers, doing.anomalies
                )
                before = world.desk.snapshot()
                try:
                    return world.step(command, world.now_ms)
                except UsageError as error:
                    assert world.desk.snapshot() == before
                    return str(error)
            case Deliver():
                queued = sorted(
                    (n.case, self.back.get(n.customer, n.customer), n.kind.value, n.episode, n.id)
                    for n in world.store.notices.values()
                    if n.state is NoticeState.QUEUED
                )
                which = queued[doing.which][-1] if doing.which < len(queued) else "nothing"
                return world.step(Delivered(which, doing.outcome, "email", doing.reason), world.now_ms)

    def plain(self, effects: DeskEffects | str) -> Any:
        """The effects with the customers' own names, and without what is a hash of their keys."""
        if isinstance(effects, str):
            return effects
        built: Any = msgspec.to_builtins(
            {name: getattr(effects, name) for name in ("cases", "ledger", "notices", "timeline", "evidence")}
        )
        for row in (*built["ledger"], *built["notices"]):
            row["customer"] = self.back.get(row["customer"], row["customer"])
            row.pop("id", None)
        return built, effects.rewritten


def spoken(word: Word, at: int) -> Any:
    return anomaly(
        word.id,
        SIGNAL_OF[word.id],
        word.where,
        at,
        phase=word.phase,
        onset_ms=max(T0, at - word.onset * MINUTE_MS),
        ended_ms=None if word.ended is None else at - word.ended * MINUTE_MS,
        observed=word.observed,
        expected=4.0,
    )


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SCRIPTS, st.booleans(), st.sampled_from([NO_QUIET, QUIET]), POLICIES)
def test_one_intent_per_person_and_only_what_they_may_hear(
    script: list[Doing], send: bool, quiet: QuietHours, policy: dict[str, object]
) -> None:
    run = Run(send=send, quiet=quiet, policy=policy)
    sent: set[tuple[str, int, Kind, int]] = set()
    heard: dict[int, set[Kind]] = {}
    for doing in script:
        effects = run.play(doing)
        if isinstance(effects, str):
            continue
        for notice in effects.notices:
            key = (notice.case, notice.customer, notice.kind, notice.episode)
            if decided_to_send(notice):
                assert key not in sent
                sent.add(key)
                assert notice.customer not in (0, 1, 3)  # nobody, unknown, without consent
                if notice.kind is not Kind.PROBLEM:
                    assert Kind.PROBLEM in heard[notice.customer]
                if notice.kind is Kind.RESOLVED:
                    row = run.world.store.ledger[notice.case, notice.customer]
                    assert row.last_success_ms is not None and row.last_success_ms > row.last_failure_ms
                    assert row.last_success_ms <= notice.at_ms - 5 * MINUTE_MS
            if notice.state in (NoticeState.SENT, NoticeState.SIMULATED):
                heard.setdefault(notice.customer, set()).add(notice.kind)
        counts_add_up(run.world)
        assert {t.what for t in effects.timeline} <= set(STORY)


def decided_to_send(notice: Notice) -> bool:
    """Whether this row is the decision, and not what came of it later (a queued one with a reason may have gone out)."""
    given = notice.state in (NoticeState.QUEUED, NoticeState.SIMULATED)
    return notice.decision is Decision.SEND and given and not notice.reason


def counts_add_up(world: World) -> None:
    """The case's counters are those of its rows."""
    store = world.store
    for case in store.cases.values():
        notices = [n for n in store.notices.values() if n.case == case.id]
        counts = case.notices
        states = [n.state for n in notices]
        assert counts.sent == states.count(NoticeState.SENT) + states.count(NoticeState.SIMULATED)
        assert counts.held == states.count(NoticeState.HELD)
        assert counts.queued == states.count(NoticeState.QUEUED)
        assert counts.failed == states.count(NoticeState.FAILED)
        assert counts.unknown == sum(n.state is NoticeState.QUEUED and n.reason != "" for n in notices)
        reasons = [n.reason for n in notices if n.state is NoticeState.DROPPED]
        assert counts.dropped == {r: reasons.count(r) for r in set(reasons)}
        rows = store.listed(case.id).values()
        if case.affected is None:
            assert not rows
            continue
        assert case.affected.confirmed == sum(r.grade == "confirmed" for r in rows)
        lost = [r.loss_milli for r in rows if r.grade == "confirmed"]
        known = sum(r.loss_milli > 0 for r in rows)
        loses = not world.losing.isdisjoint(case.signals)
        assert case.loss == (Loss(sum(lost), "IDR", known) if loses else msgspec.UNSET)
        assert case.affected.confirmed + case.affected.likely == len(rows)
        assert case.affected.recovered == sum(r.state == "recovered" for r in rows)
        assert case.affected.still_failing == sum(r.state == "still_failing" for r in rows)
        contacts = [r.contact_ms for r in rows if r.contact_ms is not None]
        assert case.contacts == len(contacts)
        at_once = [r.contact_ms for r in rows if r.contact_ms is not None and r.contact_ms >= r.first_failure_ms]
        if at_once:
            assert case.first_contact_ms is not None and case.first_contact_ms <= min(at_once)
        assert case.first_contact_ms is None or case.first_contact_ms >= min(r.first_failure_ms for r in rows)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(SCRIPTS, st.integers(0, 24), st.booleans(), POLICIES)
def test_from_a_snapshot_everything_goes_on_the_same(
    script: list[Doing], cut: int, send: bool, policy: dict[str, object]
) -> None:
    one, other = Run(send=send, policy=policy), Run(send=send, policy=policy)
    for i, doing in enumerate(script):
        if i == cut:
            data = other.world.desk.snapshot()
            other.world.desk = Desk(other.world.config)
            other.world.desk.restore(data)
            assert other.world.desk.snapshot() == data
        assert one.play(doing) == other.play(doing)
    assert one.world.desk.snapshot() == other.world.desk.snapshot()


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(SCRIPTS, st.permutations(range(1, 9)), st.integers(1, 2**62), POLICIES)
def test_nothing_depends_on_the_customers_keys(
    script: list[Doing], order: list[int], offset: int, policy: dict[str, object]
) -> None:
    policy.pop("holdout_share", None)  # which is by the key, and by it alone
    one = Run(policy=policy)
    other = Run(names={c: (offset + 7919 * order[c - 1]) * (-1) ** c for c in range(1, 9)}, policy=policy)
    for doing in script:
        assert one.plain(one.play(doing)) == other.plain(other.play(doing))
