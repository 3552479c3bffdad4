"""The Counter: windows, watermark, people, recoveries, bounds."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import DAY_MS, HOUR_MS
from detector.counter.counter import Counted, Counter, bucket_value, buckets
from detector.counter.losses import MOST_MILLI
from detector.counter.record import SignalWindow, losses_of, merge_signal
from detector.pack import pack, unpack
from detector.signals import ALL_OTHERS, Condition, CountBy, Signal
from tests.detector.counting import (
    MINUTE,
    RANKED,
    SHARE,
    SILENCE,
    T0,
    VALUE,
    Ev,
    add,
    as_bytes,
    batch,
    config,
    count,
    counts_of,
    plain_counts,
)

LOSING: Signal = msgspec.structs.replace(SHARE, name="losing", loss="amount")
WORLD = config(SHARE, VALUE, RANKED, SILENCE, LOSING)


@st.composite
def streams(draw: st.DrawFn, disorder_ms: int = 2 * MINUTE) -> list[Ev]:
    """A stream that moves on by up to an hour an event, seldom by more than a week, out of order by less than allowed."""
    events, now = [], T0
    for i in range(draw(st.integers(1, 60))):
        now += draw(st.sampled_from([0, 500, 7_000, 31_000, 4 * MINUTE, 40 * MINUTE, 8 * DAY_MS]))
        events.append(
            Ev(
                at_ms=now - draw(st.sampled_from([0, 0, 0, 1, 20_000, disorder_ms - 1])),
                customer=draw(st.sampled_from(["C-1", "C-2", "C-3", None])),
                outcome=draw(st.sampled_from(["success", "failure"])),
                bank=draw(st.sampled_from(["BNI", "BCA", "BRI"])),
                kind=draw(st.sampled_from(["payment", "payment", "api", "contact", "other"])),
                id=draw(st.sampled_from([None, f"e{i}", f"e{i - 1}"])),
                value=draw(st.sampled_from([10.0, 1500.0, 0.001, 1e300, -5.0, float("nan")])),
            )
        )
    return events


@pytest.mark.slow
@given(streams(), st.data())
@settings(max_examples=60, deadline=None)
def test_what_comes_out_does_not_depend_on_how_the_input_is_cut(events: list[Ev], data: st.DataObject) -> None:
    whole = as_bytes(count(events, WORLD))
    cuts = data.draw(st.lists(st.integers(0, len(events))))
    assert as_bytes(count(events, WORLD, cuts)) == whole
    assert as_bytes(count(events, WORLD, range(len(events)))) == whole


@pytest.mark.slow
@given(streams(disorder_ms=5 * HOUR_MS), st.data())
@settings(max_examples=50, deadline=None)
def test_a_restart_at_any_point_changes_nothing(events: list[Ev], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(events))))
    assert as_bytes(count(events, WORLD, cuts, restart=True)) == as_bytes(count(events, WORLD))


@pytest.mark.slow
@given(streams())
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_the_plain_way(events: list[Ev]) -> None:
    # Repeated ids may lie further apart than the open windows; those are late or new, which the plain way cannot know.
    events = [replace(e, id=None) for e in events]
    assert counts_of(count(events, WORLD).closed) == plain_counts(events, WORLD)


@pytest.mark.slow
@given(streams(disorder_ms=5 * HOUR_MS))
@settings(max_examples=50, deadline=None)
def test_every_event_is_applied_or_dropped_with_a_reason(events: list[Ev]) -> None:
    counted = count(events, WORLD)
    assert counted.applied + sum(counted.dropped.values()) == len(events)


def test_the_first_failure_is_evidence_and_retries_are_attempts() -> None:
    events = [Ev(T0 + i * 1000, outcome="failure") for i in range(8)] + [Ev(T0 + 9000, customer="C-2")]
    assert counts_of(count(events, WORLD).closed) == {(T0, "BNI", "Jakarta"): (1, 2, 8)}


def test_while_a_customer_rests_their_successes_count_no_more_than_their_failures() -> None:
    events = [Ev(T0, outcome="failure"), Ev(T0 + 5_000), Ev(T0 + 6_000), Ev(T0 + 7_000, customer="C-2")]
    counted = count([*events, Ev(T0 + 31 * MINUTE)], WORLD)
    assert list(counts_of(counted.closed).values()) == [(1, 2, 1), (0, 1, 0)]
    assert counted.applied == 5


def test_a_customer_is_evidence_again_after_half_an_hour() -> None:
    events = [Ev(T0 + at * MINUTE, outcome="failure") for at in (0, 20, 31)]
    assert [k for k, _, _ in counts_of(count(events, WORLD).closed).values()] == [1, 0, 1]


def test_failures_without_a_customer_are_evidence_each() -> None:
    events = [Ev(T0 + i, customer=None, outcome="failure") for i in range(4)]
    assert counts_of(count(events, WORLD).closed) == {(T0, "BNI", "Jakarta"): (4, 4, 4)}


def test_the_first_success_after_a_failure_is_a_recovery_and_the_second_is_not() -> None:
    events = [
        Ev(T0, outcome="failure"),
        Ev(T0 + 5_000, customer="C-2"),
        Ev(T0 + 10_000, bank="BCA"),
        Ev(T0 + 20_000),
    ]
    (record,) = count(events, WORLD).closed
    signal = record.signals["declines"]
    assert signal.back_time_ms.tolist() == [T0 + 10_000]
    assert [signal.cells[c] for c in signal.back_cell] == [("BCA", "Jakarta")]


def test_a_recovery_is_noticed_days_later_but_not_beyond_the_horizon() -> None:
    for days, found in ((2, 1), (4, 0)):
        steps = [Ev(T0 + h * HOUR_MS, customer="C-9") for h in range(1, days * 24)]
        events = [Ev(T0, outcome="failure"), *steps, Ev(T0 + days * DAY_MS)]
        records = count(events, WORLD).closed
        assert sum(len(r.signals["declines"].back_time_ms) for r in records) == found


def test_a_late_event_within_the_lateness_counts_in_its_window() -> None:
    events = [Ev(T0), Ev(T0 + 2 * MINUTE + 59_999), Ev(T0 + 1)]
    assert counts_of(count(events, WORLD).closed)[T0, "BNI", "Jakarta"] == (0, 2, 0)


def test_an_event_after_its_window_closed_is_counted_as_late() -> None:
    counted = count([Ev(T0), Ev(T0 + 3 * MINUTE), Ev(T0 + 1)], WORLD)
    assert counted.dropped == {"late": 1}
    assert counts_of(counted.closed)[T0, "BNI", "Jakarta"] == (0, 1, 0)


def test_duplicates_by_id_are_dropped_while_their_window_is_open() -> None:
    counted = count([Ev(T0, id="a"), Ev(T0, id="a"), Ev(T0 + 1, id="b")], WORLD)
    assert (counted.applied, counted.dropped) == (2, {"duplicate": 1})


def test_one_line_dated_2036_closes_nothing() -> None:
    far = T0 + 3650 * DAY_MS
    quiet = [Ev(T0 + i * 1000, customer=f"C-{i}") for i in range(10)]
    counted = count([*quiet[:5], Ev(far), *quiet[5:]], WORLD)
    assert counted.dropped == {"far-future": 1}
    assert [r.window_ms for r in counted.closed] == [T0]


def test_a_file_that_begins_with_a_line_dated_2036_is_read_all_the_same() -> None:
    counted = count([Ev(T0 + 3650 * DAY_MS), *(Ev(T0 + i, customer=f"C-{i}") for i in range(5))], WORLD)
    assert (counted.applied, counted.dropped) == (5, {"far-future": 1})


def test_a_true_gap_of_three_days_does_not_stall() -> None:
    after = [Ev(T0 + 3 * DAY_MS + i * 1000, customer=f"C-{i}") for i in range(10)]
    counted = count([Ev(T0), *after], WORLD)
    assert counted.applied == 11
    assert not counted.dropped


@pytest.mark.parametrize("last_ms", [pytest.param(3 * DAY_MS, id="believed"), pytest.param(900 * DAY_MS, id="not")])
def test_a_leap_at_the_end_of_the_input_is_believed_up_to_a_month(last_ms: int) -> None:
    counted = count([*(Ev(T0 + i, customer=f"C-{i}") for i in range(9)), Ev(T0 + last_ms)], WORLD)
    assert counted.applied == (10 if last_ms < 31 * DAY_MS else 9)


def test_a_live_event_ahead_of_its_ingest_time_beyond_the_skew_is_refused() -> None:
    events = [Ev(T0), Ev(T0 + 10 * MINUTE), Ev(T0 + 1000)]
    counted = Counter(WORLD, 0).feed(batch(events, WORLD, ingest_ms=[T0, T0, T0 + 1000]))
    assert counted.refused is not None
    assert counted.refused.position.tolist() == [1]
    assert counted.applied == 2


def test_where_nothing_comes_a_window_closes_the_lateness_after_its_end() -> None:
    counter, closes_ms = Counter(WORLD, 0), T0 + MINUTE + WORLD.input.lateness_ms
    counter.feed(batch([Ev(T0)], WORLD, ingest_ms=[T0]))
    assert T0 not in [record.window_ms for record in counter.tick(closes_ms - 1).closed]
    assert (counter.would_close(closes_ms - 1), counter.would_close(closes_ms)) == (False, True)
    assert [record.window_ms for record in counter.tick(closes_ms).closed] == [T0]
    assert counter.feed(batch([Ev(T0)], WORLD, 1, [closes_ms])).dropped == {"late": 1}


@pytest.mark.slow
@given(streams(), st.data())
@settings(max_examples=60, deadline=None)
def test_time_that_passes_by_itself_makes_nothing_late_that_comes_within_the_lateness(
    events: list[Ev], data: st.DataObject
) -> None:
    events = [replace(e, id=None) for e in events]  # a repeated id is a duplicate only while its window is open
    now_ms, total, counter = 0, Counted(), Counter(WORLD, 0)
    for i, event in enumerate(events):
        now_ms = max(now_ms, event.at_ms)
        if data.draw(st.booleans()):
            add(total, counter.tick(min(now_ms, event.at_ms + WORLD.input.lateness_ms)))
        add(total, counter.feed(batch([event], WORLD, i, [now_ms])))
    add(total, counter.end())
    assert "late" not in total.dropped
    assert counts_of(total.closed) == counts_of(count(events, WORLD).closed)


def test_values_beyond_the_cap_fold_into_other_and_get_their_place_after_a_week() -> None:
    small = config(replace_dimensions(("bank",)), max_values=3)
    first = [Ev(T0 + i * 1000, bank=f"B{i}", customer=f"C-{i}") for i in range(5)]
    later = [
        Ev(T0 + d * DAY_MS + h * HOUR_MS, bank="B9", customer=f"C-{d}-{h}") for d in range(1, 10) for h in range(24)
    ]
    records = count([*first, *later], small).closed
    named = [{cell[0] for cell in r.signals["declines"].cells} for r in records]
    assert named[0] == {"B0", "B1", "B2", ALL_OTHERS}
    assert named[1] == {ALL_OTHERS}
    assert named[-1] == {"B9"}


def test_what_an_open_window_counts_keeps_its_place_over_a_gap_of_more_than_a_week() -> None:
    later = T0 + 9 * DAY_MS
    events = [Ev(T0, bank="BNI"), Ev(T0 + MINUTE, bank="BCA"), Ev(later, bank="BNI"), Ev(later + 10_000, bank="BCA")]
    events.append(Ev(later + 5 * MINUTE + 10_000, bank="XXX"))
    expected = [(later, "BCA", "Jakarta"), (later, "BNI", "Jakarta"), (later + 5 * MINUTE, "XXX", "Jakarta")]
    assert sorted(counts_of(count(events, WORLD).closed))[2:] == expected


def test_cells_beyond_the_cap_lose_the_dimension_with_the_most_values_first() -> None:
    many = [Ev(T0 + i, customer=f"C-{i}", bank=f"B{i}", city=("Jakarta", "Medan")[i % 2]) for i in range(60)]
    (record,) = count(many, config(max_cells=20)).closed
    cells = record.signals["declines"].cells
    assert len(cells) == 22
    assert {(ALL_OTHERS, "Jakarta"), (ALL_OTHERS, "Medan")} <= set(cells)
    assert record.signals["declines"].total.sum() == 60


def replace_dimensions(dimensions: tuple[str, ...]) -> Signal:
    return msgspec.structs.replace(SHARE, dimensions=dimensions)


def test_silence_counts_every_event_and_names_nobody() -> None:
    (record,) = count([Ev(T0, outcome="failure"), Ev(T0 + 1, customer="C-2")], WORLD).closed
    signal = record.signals["silence"]
    assert (signal.total.tolist(), signal.attempts.tolist(), len(signal.bad_customer)) == ([2], [0], 0)


def test_a_value_beyond_its_limit_is_bad_and_an_absent_one_is_not_counted() -> None:
    events = [Ev(T0 + i, customer=f"C-{i}", kind="api", value=v) for i, v in enumerate((10, 1500, 1000, float("nan")))]
    counted = count(events, WORLD)
    signal = counted.closed[0].signals["latency"]
    assert (signal.people.tolist(), signal.total.tolist()) == ([1], [3])
    assert signal.values is not None
    assert signal.values.count.sum() == 3
    assert counted.dropped == {"unwatched": 1}


def test_without_a_limit_one_value_of_a_customer_counts_in_half_an_hour_and_nobody_is_named() -> None:
    events = [Ev(T0 + i, customer="C-1", kind="api", value=1500.0 + i) for i in range(9)]
    events += [Ev(T0 + 9, customer=None, kind="api", value=30.0), Ev(T0 + 10, customer=None, kind="api", value=30.0)]
    events += [Ev(T0 + 29 * MINUTE, kind="api", value=9.0), Ev(T0 + 31 * MINUTE, kind="api", value=10.0)]
    windows = [r.signals["slower"] for r in count(events, WORLD).closed]
    values = [w.values for w in windows]
    assert [w.total.sum() for w in windows] == [3, 0, 1]
    assert [None if v is None else v.count.tolist() for v in values] == [[2, 1], [], [1]]
    assert all(len(w.bad_customer) == len(w.back_customer) == w.attempts.sum() == 0 for w in windows)


def test_by_attempts_every_value_counts() -> None:
    events = [Ev(T0 + i, kind="api", value=1500.0) for i in range(9)]
    every = msgspec.structs.replace(RANKED, count_by=CountBy.ATTEMPTS)
    assert count(events, config(every)).closed[0].signals["slower"].total.tolist() == [9]


@given(st.lists(st.floats(1e-6, 1e9) | st.floats(-1e9, -1e-6), min_size=1))
def test_a_bucket_stands_for_its_values_within_the_stated_error(values: list[float]) -> None:
    exact = np.array(values)
    assert (np.abs(bucket_value(buckets(exact)) / exact - 1) <= 0.0201).all()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2))
def test_buckets_are_in_the_order_of_their_values(values: list[float]) -> None:
    exact = np.sort(np.array(values))
    assert (np.diff(bucket_value(buckets(exact))) >= 0).all()


@pytest.mark.slow
@given(streams())
@settings(max_examples=40, deadline=None)
def test_partitions_merge_to_what_one_partition_counts(events: list[Ev]) -> None:
    # By customer, so that people and recoveries stay in one partition; ids aside, which may repeat across customers.
    events = [replace(e, id=None) for e in events]
    parts = [[e for e in events if (e.customer == "C-1") == which] for which in (True, False)]
    whole = {r.window_ms: r.signals["losing"] for r in count(events, WORLD).closed if "losing" in r.signals}
    split: dict[int, list[SignalWindow]] = {}
    for part in parts:
        for r in count(part, WORLD).closed:
            if "losing" in r.signals:
                split.setdefault(r.window_ms, []).append(r.signals["losing"])
    merged = {w: merge_signal(s) for w, s in split.items()}
    assert {w: (m.cells, m.people.tolist(), m.total.tolist(), m.attempts.tolist()) for w, m in merged.items()} == {
        w: (m.cells, m.people.tolist(), m.total.tolist(), m.attempts.tolist()) for w, m in whole.items()
    }
    assert {w: lost_by(m) for w, m in merged.items()} == {w: lost_by(m) for w, m in whole.items()}


def lost_by(window: SignalWindow) -> list[tuple[int, ...]]:
    columns = (window.bad_customer, window.bad_cell, window.bad_time_ms, losses_of(window))
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_each_bad_event_carries_what_it_was_worth_in_thousandths_and_none_where_that_is_not_known() -> None:
    amounts = [84_000.0, 99.95, float("nan"), -5.0, 1e300]
    events = [Ev(T0 + i, outcome="failure", value=amount) for i, amount in enumerate(amounts)]
    window = count([*events, Ev(T0 + 9, value=7.0)], config(LOSING)).closed[0].signals["losing"]
    assert losses_of(window).tolist() == [84_000_000, 99_950, 0, 0, MOST_MILLI]
    assert window.bad_time_ms.tolist() == [T0 + i for i in range(5)]


def test_a_signal_without_a_loss_has_the_records_and_the_state_that_it_always_had() -> None:
    counter, plain = Counter(config(LOSING), 0), Counter(config(SHARE), 0)
    events = [Ev(T0, outcome="failure", value=10.0), Ev(T0 + 1)]
    for one in (counter, plain):
        one.feed(batch(events, config(LOSING), ingest_ms=[T0, T0]))
    (losing,), (share,) = (one.state()["windows"] for one in (counter, plain))
    assert losing[1]["signals"]["losing"].keys() - share[1]["signals"]["declines"].keys() == {"loss_milli"}
    found, same = counter.end().closed[0].signals["losing"], plain.end().closed[0].signals["declines"]
    assert b"loss" not in pack(same)
    assert pack(msgspec.structs.replace(found, bad_loss_milli=msgspec.UNSET)) == pack(same)


def test_a_loss_that_is_named_or_dropped_in_between_loses_no_failure() -> None:
    for before, after, lost in ((SHARE, True, [0, 0, 0, 20_000]), (LOSING, False, [0, 0, 0, 0])):
        named = msgspec.structs.replace(before, name="x")
        later = msgspec.structs.replace(named, loss="amount" if after else msgspec.UNSET)
        assert named.counted_as == later.counted_as
        first, old = Counter(config(named), 0), [Ev(T0 + i, f"C-{i}", "failure", value=10.0) for i in range(2)]
        first.feed(batch(old[:1], config(named), ingest_ms=[T0]))
        first.feed(batch(old[1:], config(named)))
        parked = replace(old[1], at_ms=T0 + 2 * HOUR_MS)
        assert first.feed(batch([parked], config(named))).applied == 0
        second = Counter(config(later), 0)
        second.restore(unpack(pack(first.state()), dict), {"x"})
        second.feed(batch([replace(parked, at_ms=parked.at_ms + 1, value=20.0)], config(later), 3))
        windows = [record.signals["x"] for record in second.end().closed]
        assert [milli for window in windows for milli in losses_of(window).tolist()] == lost
        assert {window.bad_loss_milli is msgspec.UNSET for window in windows} == {not after}


def test_a_condition_on_a_number_decides_who_belongs() -> None:
    large = msgspec.structs.replace(SHARE, events=(*SHARE.events, Condition("amount", at_least=100.0)))
    events = [Ev(T0, value=50.0), Ev(T0 + 1, value=100.0), Ev(T0 + 2)]
    counted = count(events, config(large))
    assert (counted.applied, counted.dropped) == (1, {"unwatched": 2})
