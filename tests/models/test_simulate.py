"""The simulated run as a whole: its bytes, its noise, its truth, recounted from what was written."""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import pytest
import yaml

from detector.advice import warnings
from detector.config import HOUR_MS, MINUTE_MS, Config
from detector.desk.records import Kind
from detector.desk.wording import NoticeFacts, words
from detector.signals import Mode, parse_signals
from models.simulate import World, simulate
from models.simulate.traffic import ROW_LENGTH
from models.simulate.world import CHECKOUT, KINDS, LATENCY_LIMIT_MS

Event = dict[str, Any]

IS_BAD: dict[str, Callable[[Event], bool]] = {
    "login": lambda e: bool(e["outcome"] == "failure"),
    "payment": lambda e: bool(e["outcome"] == "declined"),
    "api": lambda e: bool(e["latency_ms"] > LATENCY_LIMIT_MS),
}
FIELDS = {
    "login": {"outcome", "app_version", "otp_provider", "city", "platform"},
    "payment": {"outcome", "bank", "method", "city", "app_version", "amount"},
    "checkout": {"city", "platform", "app_version"},
    "api": {"latency_ms", "endpoint", "city", "app_version"},
    "contact": {"channel", "topic", "text"},
}
KIND_OF = {kind.signal: kind.name for kind in KINDS}


def epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


@dataclass(frozen=True)
class Run:
    """A run, read back from its bytes by nothing but the standard library."""

    world: World
    data: bytes
    lines: list[Event]
    """As they arrive."""
    events: list[Event]
    """Each once, by time."""

    @property
    def truth(self) -> dict[str, Any]:
        return self.world.truth


@cache
def run(seed: int = 5, days: float = 0.5, rate: float = 2.0, quiet_only: bool = False) -> Run:
    world = simulate(seed, days, rate, quiet_only=quiet_only)
    data = b"".join(world.blocks())
    lines = [json.loads(line) for line in data.splitlines()]
    for line in lines:
        line["at"] = epoch_ms(line["time"])
    events = sorted({line["id"]: line for line in lines}.values(), key=lambda e: e["at"])
    return Run(world, data, lines, events)


def inside(problem: dict[str, Any], event: Event) -> bool:
    """Whether an event is of the problem's signal, in its `where` and its span."""
    return (
        KIND_OF[problem["signals"][0]] == event["kind"]
        and epoch_ms(problem["onset"]) <= event["at"] < epoch_ms(problem["end"])
        and all(event[dimension] == value for dimension, value in problem["where"].items())
    )


# --- bytes ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_seed_writes_the_same_bytes() -> None:
    first, second = simulate(11, 0.32, 1.0), simulate(11, 0.32, 1.0)
    assert b"".join(first.blocks()) == b"".join(second.blocks())
    assert first.truth == second.truth
    assert first.customers_csv() == second.customers_csv()


def test_reading_the_blocks_again_begins_anew() -> None:
    world = simulate(12, 0.05, 1.0)
    assert b"".join(world.blocks()) == b"".join(world.blocks())


@pytest.mark.slow
def test_another_seed_writes_other_bytes() -> None:
    assert b"".join(simulate(1, 0.01).blocks()) != b"".join(simulate(2, 0.01).blocks())


def test_the_truth_is_not_known_before_the_last_block() -> None:
    world = simulate(1, 0.01)
    blocks = world.blocks()
    next(blocks)
    with pytest.raises(RuntimeError, match="after the last block"):
        _ = world.truth


@pytest.mark.slow
def test_every_line_is_an_event_with_the_fields_of_its_kind() -> None:
    found = run()
    assert found.data.endswith(b"\n")
    assert len(found.lines) == found.world.events
    assert {line["kind"] for line in found.lines} == set(FIELDS)
    for line in found.lines:
        assert set(line) == {"id", "time", "kind", "customer", "at"} | FIELDS[line["kind"]]
        assert line["time"].endswith("Z") and found.world.start_ms <= line["at"] < found.world.end_ms


@pytest.mark.slow
def test_lines_arrive_nearly_in_order_and_a_few_twice() -> None:
    found = run()
    highest, worst, backward = 0, 0, 0
    for line in found.lines:
        highest = max(highest, line["at"])
        worst = max(worst, highest - line["at"])
        backward += line["at"] < highest
    assert 1_000 < worst < 60_000
    assert 0.005 < backward / len(found.lines) < 0.03
    assert 0.0003 < 1 - len(found.events) / len(found.lines) < 0.003


@pytest.mark.slow
def test_the_rate_is_about_what_was_asked_for() -> None:
    found = run(days=1.0, rate=1.0, quiet_only=True)
    assert 0.7 < len(found.lines) / found.world.expected_events < 1.6


# --- truth ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 6])
def test_affected_is_who_failed_in_the_cause_between_onset_and_end(seed: int) -> None:
    found = run(seed=seed)
    assert len(found.truth["problems"]) == 4
    for problem in found.truth["problems"]:
        bad = IS_BAD.get(KIND_OF[problem["signals"][0]])
        if bad is None:
            assert (problem["affected"], problem["because"], problem["oracle"]) == (None, None, None)
            continue
        failed = {e["customer"] for e in found.events if inside(problem, e) and bad(e)}
        assert sorted(failed) == problem["affected"]
        assert len(failed) >= 20
        assert set(problem["because"]) <= failed and set(problem["oracle"]) <= failed
        assert len(problem["because"]) > 0.6 * len(failed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 6])
def test_a_planted_problem_can_be_seen_in_the_events(seed: int) -> None:
    found = run(seed=seed)
    for problem in found.truth["problems"]:
        kind = KIND_OF[problem["signals"][0]]
        within = [e for e in found.events if inside(problem, e)]
        if kind == CHECKOUT.name:
            assert within == []
            continue
        shifted = {**problem, "onset": "1970-01-01T00:00:00Z", "end": problem["onset"]}
        before = [e for e in found.events if inside(shifted, e)]
        middle = (epoch_ms(problem["onset"]) + epoch_ms(problem["end"])) / 2
        late = [e for e in within if e["at"] >= middle]
        usual, now = (sum(map(IS_BAD[kind], some)) / len(some) for some in (before, late))
        assert now > 2 * usual


@pytest.mark.slow
def test_complaints_follow_a_problem_after_some_minutes() -> None:
    found = run()
    firsts = [(p["first_complaint"], p["onset"]) for p in found.truth["problems"] if p["first_complaint"]]
    assert len(firsts) >= 2
    contacts = {e["time"] for e in found.events if e["kind"] == "contact"}
    for first, onset in firsts:
        assert first in contacts
        assert 4 * MINUTE_MS <= epoch_ms(first) - epoch_ms(onset)


@pytest.mark.slow
def test_quiet_only_plants_nothing() -> None:
    found = run(quiet_only=True)
    assert found.truth == {"seed": 5, "problems": []}
    assert found.world.problems == ()


@pytest.mark.slow
def test_where_names_values_that_the_events_have() -> None:
    found = run()
    values = defaultdict(set)
    for event in found.events:
        for name, value in event.items():
            values[name].add(str(value))
    for problem in found.truth["problems"]:
        for dimension, value in problem["where"].items():
            assert value in values[dimension]


# --- noise ----------------------------------------------------------------------------------------------------------


def rows_of_failures(found: Run) -> list[list[Event]]:
    """Failures of one customer in one cell, each within three minutes of the one before."""
    rows: dict[tuple[str, ...], list[list[Event]]] = defaultdict(list)
    for event in found.events:
        if event["kind"] in ("login", "payment") and IS_BAD[event["kind"]](event):
            cell = tuple(str(event[name]) for name in sorted(FIELDS[event["kind"]] - {"amount"}))
            mine = rows[(event["customer"], event["kind"], *cell)]
            if mine and event["at"] - mine[-1][-1]["at"] < 3 * MINUTE_MS:
                mine[-1].append(event)
            else:
                mine.append([event])
    return [row for mine in rows.values() for row in mine]


@pytest.mark.slow
def test_forty_percent_of_those_who_fail_do_so_three_to_eight_times_in_a_row() -> None:
    rows = rows_of_failures(run(quiet_only=True))
    lengths = Counter(len(row) for row in rows if len(row) <= 10)
    several = sum(n for length, n in lengths.items() if ROW_LENGTH[0] <= length)
    assert sum(lengths.values()) > 1_000
    assert 0.34 < several / sum(lengths.values()) < 0.46
    assert all(lengths[length] > 0.03 * sum(lengths.values()) for length in range(ROW_LENGTH[0], ROW_LENGTH[1]))


@pytest.mark.slow
def test_most_of_those_who_fail_come_back_and_succeed() -> None:
    found = run(quiet_only=True)
    half = found.world.start_ms + 6 * HOUR_MS
    last_success: dict[tuple[str, str], int] = {}
    for event in found.events:
        if event["kind"] in ("login", "payment") and not IS_BAD[event["kind"]](event):
            last_success[event["customer"], event["kind"]] = event["at"]
    early = [row[0] for row in rows_of_failures(found) if row[0]["at"] < half]
    back = [e for e in early if last_success.get((e["customer"], e["kind"]), 0) > e["at"]]
    assert len(back) / len(early) > 0.6


@pytest.mark.slow
def test_bots_hammer_one_cell() -> None:
    found = run(quiet_only=True)
    bursts = Counter(
        (e["customer"], e["kind"], e["city"], e["at"] // (20 * MINUTE_MS)) for e in found.events if e["kind"] == "login"
    )
    assert max(bursts.values()) >= 15


@pytest.mark.slow
def test_the_evening_is_busy_and_the_night_is_not() -> None:
    found = run(days=1.0, rate=1.0, quiet_only=True)
    hours = Counter((e["at"] // HOUR_MS + 7) % 24 for e in found.events)
    assert hours[20] > 5 * hours[3]


@pytest.mark.slow
def test_dimensions_hang_together() -> None:
    pairs = Counter((e["city"], e["bank"]) for e in run(quiet_only=True).events if e["kind"] == "payment")
    cities, banks = Counter[str](), Counter[str]()
    for (city, bank), n in pairs.items():
        cities[city] += n
        banks[bank] += n
    total = sum(pairs.values())
    chi2 = sum((n - cities[c] * banks[b] / total) ** 2 / (cities[c] * banks[b] / total) for (c, b), n in pairs.items())
    assert chi2 > 4 * len(pairs)


# --- people and files -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_directory_knows_nearly_all_active_customers() -> None:
    found = run()
    rows = list(csv.DictReader(io.StringIO(found.world.customers_csv())))
    ids, phones = {row["id"] for row in rows}, {row["phone"] for row in rows}
    assert len(ids) == len(phones) == len(rows) > 19_000
    active = {e["customer"] for e in found.events if e["kind"] != "contact"}
    assert 0.01 < len(active - ids) / len(active) < 0.03
    contacts = Counter("phone" if e["customer"] in phones else "id" for e in found.events if e["kind"] == "contact")
    assert 0.05 < contacts["phone"] / sum(contacts.values()) < 0.4
    shares = {
        "id": sum(row["language"] == "id" for row in rows),
        "whatsapp": sum("whatsapp" in row["consent"] for row in rows),
        "email": sum("email" in row["consent"] for row in rows),
    }
    assert {name: n / len(rows) for name, n in shares.items()} == pytest.approx(
        {"id": 0.85, "whatsapp": 0.8, "email": 0.6}, abs=0.02
    )
    assert {row["time_zone"] for row in rows} == {"Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura"}


@pytest.mark.slow
def test_one_person_does_something_a_few_times_a_day() -> None:
    found = run(days=1.0, rate=1.0, quiet_only=True)
    each = Counter(e["customer"] for e in found.events if e["kind"] == "login")
    mean = sum(each.values()) / len(each)
    assert 1.2 < mean < 10
    assert max(each.values()) > 6 * mean


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "The fault is on our side; no money was taken for the failed payment."),
        ("id", "Gangguannya ada di sisi kami; pembayaran yang gagal tidak memotong saldo Anda."),
    ],
)
def test_what_is_promised_goes_on_within_its_sentence(language: str, sentence: str) -> None:
    signals = parse_signals(yaml.safe_load(run().world.signals_yml()))
    assert not any("promise" in warning.path for warning in warnings(Config(signals=signals)))
    payments = next(signal for signal in signals if signal.promise)
    facts = NoticeFacts(
        kind=Kind.PROBLEM, when_ms=0, at_ms=0, time_zone="UTC", title=payments.title, promise=payments.promise
    )
    assert sentence in words(facts, "", language).body


@pytest.mark.slow
def test_the_signals_watch_every_planted_kind_and_are_live() -> None:
    signals = {s.name: s for s in parse_signals(yaml.safe_load(run().world.signals_yml()))}
    for kind in KINDS:
        assert signals[kind.signal].mode is Mode.LIVE
        assert signals[kind.signal].dimensions == kind.dimensions
    assert signals["api-latency"].bad_above == LATENCY_LIMIT_MS
    assert signals["complaints"].mode is Mode.SHADOW
