"""The three engines chained: what comes out is a function of the log alone."""

import json
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import DAY_MS, MINUTE_MS
from detector.decode import JSON, CustomerKeys, Decoder
from detector.decode.times import iso_ms
from detector.desk.desk import Desk
from detector.desk.records import CaseState, Command, Configured, DeskEffects, Loss, Verb
from detector.errors import UsageError
from detector.pack import pack, unpack
from detector.pipeline import Pipeline
from detector.signals import Mode, Signal
from tests.detector.counting import SHARE, SILENCE, T0
from tests.detector.piping import CONFIG, KEY, Kept, Nothing, decided, play, traffic

LINES = traffic(220)


@pytest.mark.slow
def test_a_problem_becomes_a_case_with_its_cause_and_its_customers() -> None:
    effects, _ = play(LINES)
    case = effects.desk.cases[-1]
    assert [c.where for c in case.causes] == [{"bank": "BNI"}]
    assert case.state in (CaseState.RECOVERING, CaseState.RESOLVED)
    failed = {
        e["customer"]
        for e in map(json.loads, LINES)
        if e["outcome"] == "failure"
        and e["bank"] == "BNI"
        and T0 + 120 * MINUTE_MS <= ms_of(e["time"]) < T0 + 160 * MINUTE_MS
    }
    listed = {r.customer: r.withdrawn for r in effects.desk.ledger}
    found = {c for c, withdrawn in listed.items() if not withdrawn}
    keys = CustomerKeys(KEY)
    assert len(found & {keys[c] for c in failed}) >= 0.98 * len(failed)
    assert len(found) <= len(failed) / 0.95


@cache
def whole() -> bytes:
    return decided(play(LINES)[0])


def ms_of(text: str) -> int:
    value = iso_ms(text, None)
    assert value is not None
    return value


@pytest.mark.slow
@given(st.lists(st.integers(0, len(LINES)), max_size=8))
@settings(max_examples=8, deadline=None)
def test_the_same_log_gives_the_same_decisions_however_it_is_cut_and_restarted(cuts: list[int]) -> None:
    assert decided(play(LINES, cuts)[0]) == whole()
    assert decided(play(LINES, cuts, restart=True)[0]) == whole()


@pytest.mark.slow
def test_three_partitions_decide_what_one_decides() -> None:
    split, _ = play(LINES, partitions=3)
    one, _ = play(LINES)
    assert pack(split.desk.cases[-1]) == pack(one.desk.cases[-1])
    rows = [{r.customer: pack(r) for r in e.desk.ledger} for e in (split, one)]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_what_customers_lose_is_the_same_however_the_log_is_cut_restarted_and_spread() -> None:
    losing = msgspec.structs.replace(SHARE, loss="amount", loss_unit="IDR")
    config = msgspec.structs.replace(CONFIG, signals=(losing, SILENCE))
    one, _ = play(LINES, config=config)
    case = one.desk.cases[-1]
    rows = {row.customer: row for row in one.desk.ledger}
    known = sum(row.loss_milli > 0 and not row.withdrawn for row in rows.values())
    assert case.loss == Loss(
        sum(r.loss_milli for r in rows.values() if r.grade == "confirmed" and not r.withdrawn),
        "IDR",
        known,
    )
    assert 0 < max(row.loss_milli for row in rows.values()) % 1_000 == 250
    for cuts, restart in ((range(0, len(LINES), 700), True), ([1, 4_000, 4_001, 4_900], False)):
        assert decided(play(LINES, cuts, config=config, restart=restart)[0]) == decided(one)
    split, _ = play(LINES, config=config, partitions=3)
    assert pack(split.desk.cases[-1]) == pack(case)
    assert {r.customer: pack(r) for r in split.desk.ledger} == {c: pack(r) for c, r in rows.items()}


@pytest.mark.slow
def test_every_record_is_applied_dropped_or_invalid() -> None:
    garbage = [b"\xff\n", b"[]\n", b'{"kind":"payment"}\n', b'{"kind":"other","time":"2026-03-02T00:00:00Z"}\n']
    lines = [line for i, line in enumerate(LINES) for line in ((line, garbage[i % 4]) if i % 50 == 0 else (line,))]
    effects, _ = play(lines, range(0, len(lines), 97))
    assert effects.records == len(lines)
    assert effects.applied + sum(effects.dropped.values()) + len(effects.invalid) == len(lines)
    assert decided(effects) != b""
    assert pack(effects.desk.cases) == pack(play(LINES)[0].desk.cases)


@pytest.mark.slow
def test_a_year_without_events_is_passed_over() -> None:
    late = [line.replace(b"2026-03-02", b"2027-03-02") for line in traffic(30)]
    effects, _ = play([*traffic(30), *late])
    assert effects.applied == 1800
    assert effects.closed < 30 + 30 + 2 * DAY_MS // MINUTE_MS


def test_the_configuration_in_force_is_a_record_of_the_log() -> None:
    effects, pipeline = play(LINES[:900])
    assert [r.payload for r in effects.log if isinstance(r.payload, Configured)] == [Configured(CONFIG.hash)]
    changed = msgspec.structs.replace(CONFIG, signals=(SHARE,))
    again = Pipeline(changed, Kept(), Nothing())
    again.restore(pipeline.snapshot())
    decoder = Decoder(changed.schema, JSON, CustomerKeys(KEY))
    later = again.feed(decoder.decode(b"".join(LINES[900:1800]), 10**6))
    assert [r.payload for r in later.log if isinstance(r.payload, Configured)] == [Configured(changed.hash)]


@pytest.mark.slow
def test_a_changed_signal_starts_anew_and_the_others_go_on() -> None:
    _, pipeline = play(LINES[:3000])
    other: Signal = msgspec.structs.replace(SHARE, dimensions=("bank",))
    changed = msgspec.structs.replace(CONFIG, signals=(other, SILENCE))
    again = Pipeline(changed, Kept(), Nothing())
    again.restore(pipeline.snapshot())
    decoder = Decoder(changed.schema, JSON, CustomerKeys(KEY))
    effects = again.feed(decoder.decode(b"".join(LINES[3000:]), 10**7))
    effects.extend(again.end())
    assert {len(c) for w in effects.windows for c in w.signals["declines"].cells} == {1}


def test_other_words_or_another_mode_leave_what_was_learned() -> None:
    _, pipeline = play(LINES[:3600])
    worded = msgspec.structs.replace(SHARE, title={"en": "Declined"}, mode=Mode.SHADOW)
    again = Pipeline(msgspec.structs.replace(CONFIG, signals=(worded, SILENCE)), Kept(), Nothing())
    again.restore(pipeline.snapshot())
    watches = [pack(unpack(p.snapshot(), dict)["watches"]) for p in (again, pipeline)]
    assert watches[0] == watches[1]


@pytest.mark.slow
def test_the_gap_between_learning_and_looking_is_no_silence() -> None:
    days = 3
    later = [line.replace(b"2026-03-02", b"2026-03-05") for line in traffic(200)]
    learned, pipeline = play(LINES, learn_only=True)
    looking = Pipeline(CONFIG, Kept(), Nothing())
    looking.restore(pipeline.snapshot())
    effects = looking.feed(Decoder(CONFIG.schema, JSON, CustomerKeys(KEY)).decode(b"".join(later), 10**8))
    effects.extend(looking.end())
    assert not learned.desk.cases
    assert [c.signals for c in effects.desk.cases if c.affected is None] == []
    assert effects.closed < days * DAY_MS // MINUTE_MS
    assert [[c.where for c in case.causes] for case in effects.desk.cases[-1:]] == [[{"bank": "BNI"}]]


def test_another_number_of_partitions_is_refused_with_what_to_do() -> None:
    _, pipeline = play(LINES[:300])
    other = Pipeline(CONFIG, Kept(), Nothing(), partitions=2)
    with pytest.raises(UsageError, match="--partitions: found 2, but this store was made with 1"):
        other.restore(pipeline.snapshot())


@pytest.mark.slow
def test_learning_only_opens_no_case() -> None:
    effects, _ = play(LINES, learn_only=True)
    assert effects.windows
    assert not effects.desk.cases


def test_a_command_about_an_unknown_case_is_refused_and_changes_nothing() -> None:
    _, pipeline = play(LINES[:300])
    before = pipeline.snapshot()
    with pytest.raises(UsageError):
        pipeline.command(Command(Verb.ACKNOWLEDGE, "nothing", "ops"))
    assert pipeline.snapshot() == before


@pytest.mark.slow
def test_the_desks_log_alone_repeats_what_the_desk_decided() -> None:
    effects, _ = play(LINES)
    history = Kept()
    history.records = effects.windows
    desk, again = Desk(CONFIG), DeskEffects()
    for record in effects.log:
        again.extend(desk.step(record, history, Nothing()))
    assert pack(again.cases) == pack(effects.desk.cases)
    assert pack(again.ledger) == pack(effects.desk.ledger)
