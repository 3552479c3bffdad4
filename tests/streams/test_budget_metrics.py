"""The budget's page and the metrics: what was spent, what the thresholds are, and that a scrape says the same."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS, Budget, Config
from detector.desk.records import Case, CaseState, DeskEffects, LogRecord, TimelineEntry, Verdict, WindowClosed
from detector.events import Invalid
from detector.pipeline import Effects
from detector.signals import Mode, Severity, parse_signals
from detector.watch.anomaly import Phase
from detector.watch.budget import Level, Operating
from streams.cli.main import main
from streams.clock import SystemClock
from streams.engines.metering import Meter, metrics_of
from streams.engines.session import session
from streams.metrics import METRICS, Kind, Metrics, Spent, serving
from streams.store import Store
from streams.store.spending import period_start_ms, spending
from tests.detector.desk_world import anomaly
from tests.servers.stores import new_store
from tests.streams.shop import BANKS, START_MS, Shop

MONDAY_MS = 1_772_409_600_000
"""2026-03-02, midnight UTC."""
COUNT: dict[str, Any] = {"title": {"en": "Logins"}, "measure": "count", "events": {}}
LIVE = COUNT | {"mode": "live"}
OWN = LIVE | {"budget": "2 false cases per day"}
CONFIG = Config(signals=parse_signals({"signals": {"logins": LIVE, "chats": COUNT, "payments": OWN}}))


def case(id: str, at_ms: int, verdict: Verdict | None = None, **changes: Any) -> Case:
    made = Case(
        tenant="default",
        id=id,
        mode=Mode.LIVE,
        title={},
        state=CaseState.DISMISSED if verdict else CaseState.OPEN,
        severity=Severity.LOW,
        signals=("logins",),
        anomalies=(id,),
        onset_ms=at_ms - HOUR_MS,
        detected_ms=at_ms,
        opened_ms=at_ms + 2 * MINUTE_MS,
        verdict=verdict,
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "tocsin.db") as made:
        yield made


def keep(store: Store, *cases: Case) -> None:
    store.commit(Effects(desk=DeskEffects(cases=list(cases))))


# --- what was spent ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**42), st.sampled_from([HOUR_MS, DAY_MS, WEEK_MS]))
def test_a_period_holds_its_moments_and_begins_on_a_monday(at_ms: int, per_ms: int) -> None:
    start_ms = period_start_ms(at_ms, per_ms)
    assert start_ms <= at_ms < start_ms + per_ms
    assert (start_ms - MONDAY_MS) % per_ms == 0


def test_only_what_was_no_problem_is_spent_in_the_period_of_its_detection(store: Store) -> None:
    now_ms = MONDAY_MS + 2 * DAY_MS
    false = Verdict.NOT_A_PROBLEM
    keep(
        store,
        case("a", now_ms, false),
        case("b", now_ms, Verdict.REAL),
        case("c", now_ms, Verdict.EXPECTED),
        case("d", now_ms),
        case("e", now_ms, false, state=CaseState.MERGED),
        case("f", MONDAY_MS - 1, false),  # opened this week, detected in the last
        case("g", MONDAY_MS - 1, false),
        case("h", now_ms, false, mode=Mode.SHADOW, signals=("chats",)),
        case("i", now_ms, false, signals=("payments", "logins")),
        case("j", now_ms - 2 * DAY_MS, false, signals=("payments",)),
    )
    window = "insert into window_record values ('default', ?, 0, x'')"
    with store.transaction() as connection:
        connection.exec_driver_sql(window, (MONDAY_MS - 3 * DAY_MS,))
    live, shadow, own = spending(store, CONFIG, now_ms)
    assert [s.of for s in (live, shadow, own)] == ["live", "shadow", "payments"]
    assert [(p.cases, p.false, p.unjudged, p.kept) for p in live.periods] == [(4, 1, 1, True), (2, 2, 0, False)]
    assert live.periods[0].from_ms == MONDAY_MS == live.periods[0].until_ms - WEEK_MS
    assert shadow.spent == 1
    assert [p.false for p in own.periods[:3]] == [1, 0, 1]
    assert own.budget == Budget(cases=2, per_ms=DAY_MS)
    assert len(own.periods) == 6


def test_a_case_of_a_signal_that_is_gone_is_its_modes(store: Store) -> None:
    keep(store, case("a", MONDAY_MS, Verdict.NOT_A_PROBLEM, signals=("gone",)))
    assert [s.spent for s in spending(store, CONFIG, MONDAY_MS)] == [1, 0, 0]


# --- the page ---------------------------------------------------------------------------------------------------------


class Tocsin:
    """Runs commands on one store."""

    def __init__(self, db: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.db, self._capsys, self.err = db, capsys, ""

    def __call__(self, *arguments: str, exits: int = 0) -> str:
        code = main([*arguments, "--db", str(self.db)])
        found = self._capsys.readouterr()
        assert code == exits, found.err
        self.err = found.err
        return found.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def tocsin(replayed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tocsin:
    copied = tmp_path / "tocsin.db"
    shutil.copy(replayed, copied)
    return Tocsin(copied, capsys)


def test_the_budget_is_shown_for_machines(tocsin: Tocsin) -> None:
    found = tocsin.json("budget")
    (budget,), (signal,) = found["budgets"], found["signals"]
    assert (budget["of"], budget["budget"], budget["cases"], budget["per_s"]) == (
        "live",
        "1 false case per week",
        1,
        604_800,
    )
    assert (budget["spent"], budget["kept"], budget["periods"][0]["unjudged"]) == (0, True, 1)
    assert (signal["signal"], signal["mode"], signal["own_budget"], signal["shared_by"]) == (
        "payment-declines",
        "live",
        False,
        1,
    )
    assert [level["level"] for level in signal["levels"]][:3] == ["whole", "value", "pair"]
    assert [level["segments"] for level in signal["levels"]][:3] == [1, len(BANKS) + 3, 3 * len(BANKS)]
    thresholds = [level["threshold_nats"] for level in signal["levels"]]
    assert all(value > 5 for value in thresholds)


def test_a_verdict_is_seen_in_the_budget(tocsin: Tocsin) -> None:
    (one,) = tocsin.json("cases", "--all")
    tocsin("cases", "dismiss", one["id"], "--verdict", "not-a-problem")
    (budget,) = tocsin.json("budget")["budgets"]
    assert (budget["spent"], budget["kept"], budget["periods"][0]["unjudged"]) == (1, True, 0)
    assert "This week 1 of 1 spent: kept so far." in tocsin("budget")


def test_the_budget_is_shown_for_people(tocsin: Tocsin) -> None:
    text = tocsin("budget")
    for words in (
        "Live signals (payment-declines): 1 false case per week",
        "This week 0 of 1 spent: kept so far. 1 case has no verdict yet.",
        "payment-declines (live): 1 false case per week, all of it",
        "a pair of values",
        "theory",
    ):
        assert words in text
    assert "\x1b" not in text


def test_before_the_first_event_no_threshold_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_store(tmp_path / "new.db").close()
    empty = Tocsin(tmp_path / "new.db", capsys)
    empty("budget", exits=2)
    assert "has seen no events yet" in empty.err


def test_one_form_at_a_time(tocsin: Tocsin) -> None:
    tocsin("budget", "--prometheus", "--json", exits=2)
    assert "expected one of them" in tocsin.err


# --- the numbers ------------------------------------------------------------------------------------------------------

Sample = tuple[str, tuple[tuple[str, str], ...]]


def parsed(text: str) -> dict[Sample, float]:
    """What Prometheus understands of an exposition."""
    found: dict[Sample, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float:
    return parsed(text)[name, tuple(sorted(labels.items()))]


def test_every_metric_that_is_listed_is_exposed_with_its_kind_help_and_labels() -> None:
    metrics = Metrics(CONFIG, lambda: MONDAY_MS)
    metrics.closed_until(MONDAY_MS - 90_000)
    metrics.take(Effects(invalid=[Invalid(0, "not-json", "$", 1, b"x")]))
    level = Level(1, 8, 16.25, "theory")
    point = Operating(
        signal="logins", cases=1, per_ms=WEEK_MS, divisor=1, mean=0.4, levels=(level,), shift_nats=0.5, hours=3
    )
    metrics.stand([point], [Spent("live", 1, WEEK_MS, 2)])
    text = metrics.exposition()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families) == len(METRICS)
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
        assert family.samples, metric.name
        assert all(set(sample.labels) - {"le"} == set(metric.labels) for sample in family.samples)
        assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert value(text, "tocsin_event_delay_seconds") == 90
    assert value(text, "tocsin_event_delay_due_seconds") == 180
    assert value(text, "tocsin_threshold_nats", signal="logins", level="value") == 16.25
    assert value(text, "tocsin_segments", signal="logins", level="value") == 8
    assert value(text, "tocsin_budget_spent_cases", budget="live") == 2


def test_sums_go_on_from_those_of_the_store() -> None:
    metrics = Metrics(CONFIG)
    tally = {
        "events": {"": 10},
        "applied": {"": 7},
        "dropped": {"late": 2},
        "dead": {"not-json": 1},
        "windows": {"": 3},
    }
    metrics.begin(tally, {("logins", "live"): 4})
    opened = TimelineEntry(tenant="default", case="a", seq=1, n=0, at_ms=0, what="opened")
    step = Effects(records=5, applied=4, closed=1, desk=DeskEffects(cases=[case("a", 0)], timeline=[opened]))
    step.dropped["late"] = 1
    metrics.take(step)
    text = metrics.exposition()
    assert value(text, "tocsin_events_total") == 15
    assert value(text, "tocsin_events_applied_total") == 11
    assert value(text, "tocsin_events_dropped_total", reason="late") == 3
    assert value(text, "tocsin_events_dropped_total", reason="duplicate") == 0
    assert value(text, "tocsin_dead_letters", reason="not-json") == 1
    assert value(text, "tocsin_windows_total") == 4
    assert value(text, "tocsin_cases_opened_total", signal="logins", mode="live") == 5


def test_the_time_to_detect_is_that_of_live_cases_and_starts_at_nothing() -> None:
    metrics = Metrics(CONFIG, lambda: MONDAY_MS)
    opened = [TimelineEntry(tenant="default", case=id, seq=1, n=0, at_ms=0, what="opened") for id in "abc"]
    metrics.begin({}, {("logins", "live"): 4})
    cases = [
        case("a", MONDAY_MS, onset_ms=MONDAY_MS - 2 * MINUTE_MS),
        case("b", MONDAY_MS, onset_ms=MONDAY_MS - 5 * HOUR_MS),
        case("c", MONDAY_MS, mode=Mode.SHADOW),
    ]
    metrics.take(Effects(desk=DeskEffects(cases=cases, timeline=opened)))
    text, name = metrics.exposition(), "tocsin_time_to_detect_seconds"
    buckets = {le: value(text, f"{name}_bucket", signal="logins", le=le) for le in ("60.0", "120.0", "14400.0", "+Inf")}
    assert buckets == {"60.0": 0, "120.0": 1, "14400.0": 1, "+Inf": 2}
    assert value(text, f"{name}_sum", signal="logins") == 120 + 5 * 3_600
    assert value(text, f"{name}_count", signal="payments") == 0
    assert f"{name}_count{{" not in Metrics(CONFIG).exposition(), "a recording detects nothing in time"


def test_open_anomalies_are_those_that_have_not_ended() -> None:
    metrics, standing = Metrics(CONFIG, lambda: 0), []
    for phases in ({"a": Phase.OPENED, "b": Phase.UPDATED}, {"a": Phase.RECOVERING}, {"a": Phase.ENDED}, {}):
        words = tuple(anomaly(id, "logins", {}, 0, phase=phase) for id, phase in phases.items())
        closed = LogRecord(tenant="default", seq=0, at_ms=0, payload=WindowClosed(0, MINUTE_MS, words))
        metrics.take(Effects(log=[closed]))
        standing.append(value(metrics.exposition(), "tocsin_anomalies_open", signal="logins"))
    assert standing == [2, 2, 1, 1]


@pytest.mark.slow
def test_what_is_printed_once_is_what_a_run_says_at_its_end(shop: Shop, tmp_path: Path) -> None:
    with session(tmp_path / "a.db", shop.run(), SystemClock(), mode="recording") as found:
        metrics = Metrics(found.run.config)
        found.runner.committed = Meter(metrics, found.runner, found.clock).committed
        found.read([str(shop.events)])
        once = metrics_of(found.store, found.run.config, START_MS)
        mine = parsed(metrics.exposition())
        assert {
            k: v for k, v in mine.items() if k[0] not in ("tocsin_anomalies_open", "tocsin_event_delay_seconds")
        } == (parsed(once.exposition()))
    assert mine["tocsin_cases_opened_total", (("mode", "live"), ("signal", "payment-declines"))] == 1
    assert mine["tocsin_events_total", ()] > 9_000


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=f"--metrics-port: {port} can't be used"), serving(Metrics(CONFIG), port):
            pass


def test_metrics_are_served_of_a_run_that_goes_on_only(tocsin: Tocsin, shop: Shop) -> None:
    tocsin("replay", "--metrics-port", "0", "--config", str(shop.folder), str(shop.events), exits=2)
    assert "takes --follow" in tocsin.err


# --- a real process ---------------------------------------------------------------------------------------------------

SECRETS = ("C-1", "Name 1", "+62811", "user1")
DEADLINE_S = 60.0


@contextmanager
def following(folder: Path, db: Path, file: Path) -> Iterator[str]:
    """A process that follows the file; gives where it answers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    code = "import sys; from streams.cli.main import main; sys.exit(main())"
    words = ["replay", "--follow", "--metrics-port", "0", "--config", str(folder), "--db", str(db), str(file)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**kept, "TOCSIN_COMMIT_SECONDS": "0.05"},
    )
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, b"")
        ready, _, _ = select.select([process.stderr], [], [], DEADLINE_S)
        assert ready, "the process said nothing"
        yield next(line.decode().split()[1] for line in lines if line.startswith(b"Metrics: "))
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.slow
def test_a_scrape_of_a_running_process_counts_every_event_and_names_no_customer(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "log.ndjson"
    shutil.copy(shop.events, file)
    events = len(file.read_bytes().splitlines())
    with following(shop.folder, tmp_path / "live.db", file) as url:
        assert url.startswith("http://127.0.0.1:")
        until_s = time.monotonic() + DEADLINE_S
        while value(text := scrape(url), "tocsin_events_total") < events:
            assert time.monotonic() < until_s
    assert value(text, "tocsin_events_applied_total") + value(text, "tocsin_dead_letters", reason="not-json") + value(
        text, "tocsin_dead_letters", reason="missing-field"
    ) == (events)
    assert value(text, "tocsin_cases_opened_total", signal="payment-declines", mode="live") == 1
    assert value(text, "tocsin_threshold_nats", signal="payment-declines", level="pair") > 5
    assert value(text, "tocsin_budget_cases", budget="live") == 1
    assert not [secret for secret in (*SECRETS, *BANKS) if secret in text]
