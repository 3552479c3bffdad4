"""What Tocsin says of itself to Prometheus: one list of metrics, and the numbers behind them.

Promises
- No customer's id and no free text is ever a label: labels are names of signals, levels, modes and bounded reasons.
- The sums are those of the store's life, so they go on over a restart, and `tocsin budget --prometheus` prints what a
  scrape of the running process would.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from threading import Lock

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from detector.config import Config
from detector.desk.records import DeskEffects, WindowClosed
from detector.errors import UsageError
from detector.events import REASONS as DEAD_REASONS
from detector.pipeline import Effects
from detector.signals import Mode
from detector.watch.anomaly import Phase
from detector.watch.budget import Operating

LOOPBACK = "127.0.0.1"
LEVELS = ("whole", "value", "pair")
"""What the segments of a level fix."""
REASONS = ("late", "duplicate", "unwatched")
"""Reasons for drops that stand at zero from the start, so that an alert on them works from the first minute."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class MetricDoc:
    """One metric: the reference page and the exposition are made of these."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


EVENTS = MetricDoc("tocsin_events_total", Kind.COUNTER, "Records that were read.")
APPLIED = MetricDoc("tocsin_events_applied_total", Kind.COUNTER, "Events that were counted in a window.")
DROPPED = MetricDoc(
    "tocsin_events_dropped_total", Kind.COUNTER, "Events that were not counted, by reason.", ("reason",)
)
DEAD = MetricDoc("tocsin_dead_letters", Kind.GAUGE, "Records that are no events, by reason.", ("reason",))
WINDOWS = MetricDoc("tocsin_windows_total", Kind.COUNTER, "Base windows that were closed.")
CASES = MetricDoc(
    "tocsin_cases_opened_total", Kind.COUNTER, "Cases that were opened, by their first signal.", ("signal", "mode")
)
ANOMALIES = MetricDoc(
    "tocsin_anomalies_open", Kind.GAUGE, "Anomalies that are followed. Only of a live run.", ("signal",)
)
DELAY = MetricDoc(
    "tocsin_event_delay_seconds",
    Kind.GAUGE,
    "From the end of the last closed window until now. Only of a live run, from its first window on.",
)
DELAY_DUE = MetricDoc(
    "tocsin_event_delay_due_seconds",
    Kind.GAUGE,
    "What that delay grows to where all is well: a base window and the lateness, as configured.",
)
DETECTED = MetricDoc(
    "tocsin_time_to_detect_seconds",
    Kind.HISTOGRAM,
    "From onset to detection, of live cases opened since the process started. Only of a live run.",
    ("signal",),
)
BUDGET = MetricDoc(
    "tocsin_budget_cases",
    Kind.GAUGE,
    "False cases that are put up with in a period; `budget` is live, shadow, or the signal that has its own.",
    ("budget",),
)
PERIOD = MetricDoc("tocsin_budget_period_seconds", Kind.GAUGE, "Length of a budget's period.", ("budget",))
SPENT = MetricDoc(
    "tocsin_budget_spent_cases", Kind.GAUGE, "Cases of this period that were judged not-a-problem.", ("budget",)
)
THRESHOLD = MetricDoc(
    "tocsin_threshold_nats",
    Kind.GAUGE,
    "Evidence from which a segment raises an anomaly; `level` says what its segments fix: nothing, a value, a pair.",
    ("signal", "level"),
)
SEGMENTS = MetricDoc("tocsin_segments", Kind.GAUGE, "Segments that are searched.", ("signal", "level"))
NOISE = MetricDoc(
    "tocsin_noise",
    Kind.GAUGE,
    "Learned wandering of the segments: the median standard deviation of the log of their rate.",
    ("signal", "level"),
)
SHIFT = MetricDoc("tocsin_threshold_shift_nats", Kind.GAUGE, "What verdicts have moved the thresholds by.", ("signal",))

METRICS = (
    *(EVENTS, APPLIED, DROPPED, DEAD, WINDOWS, DELAY, DELAY_DUE),
    *(CASES, ANOMALIES, DETECTED),
    *(BUDGET, PERIOD, SPENT, THRESHOLD, SEGMENTS, NOISE, SHIFT),
)

UP = MetricDoc("tocsin_process_up", Kind.GAUGE, "1: the process has spoken in the last 15 seconds.", ("process",))
CONFIG_OK = MetricDoc(
    "tocsin_config_ok",
    Kind.GAUGE,
    "0: the configuration's files hold a mistake, and the one before stays in force.",
    ("process",),
)
BACKLOG_BYTES = MetricDoc("tocsin_backlog_bytes", Kind.GAUGE, "Accepted at the door and not worked off yet.")
BACKLOG_AGE = MetricDoc("tocsin_backlog_seconds", Kind.GAUGE, "For how long the oldest of it waits.")
COMMANDS_WAITING = MetricDoc("tocsin_commands_waiting", Kind.GAUGE, "What people asked for and is not applied yet.")
OPEN_CASES = MetricDoc("tocsin_open_cases", Kind.GAUGE, "Unfinished cases.", ("severity", "mode", "state"))
UNACKNOWLEDGED = MetricDoc(
    "tocsin_unacknowledged_seconds", Kind.GAUGE, "Age of the oldest live case that nobody has acknowledged."
)
OUTBOX = MetricDoc(
    "tocsin_outbox_notices", Kind.GAUGE, "Notices that are waiting, claimed or unknown.", ("channel", "state")
)
OUTBOX_AGE = MetricDoc("tocsin_outbox_seconds", Kind.GAUGE, "For how long the oldest due notice waits.", ("channel",))
DELIVERIES = MetricDoc(
    "tocsin_deliveries_total",
    Kind.COUNTER,
    "Attempts to deliver, by what came of them and why.",
    ("channel", "outcome", "reason"),
)
KILL_SWITCH = MetricDoc("tocsin_kill_switch", Kind.GAUGE, "1: nothing is sent.")
CIRCUIT = MetricDoc("tocsin_circuit_open", Kind.GAUGE, "1: the channel is not tried for a while.", ("channel",))
LIMIT = MetricDoc(
    "tocsin_limit_reached", Kind.GAUGE, "1: notices wait because of a limit: signal, hour, rate, tier.", ("limit",)
)
WEBHOOKS = MetricDoc("tocsin_webhooks", Kind.GAUGE, "Subscriptions to the feed.", ("state",))
WEBHOOK_QUEUE = MetricDoc("tocsin_webhook_entries", Kind.GAUGE, "Entries of the feed on their way.", ("state",))
STREAMS = MetricDoc("tocsin_feed_clients", Kind.GAUGE, "Who reads the feed as it comes.")
REQUESTS = MetricDoc(
    "tocsin_http_requests_total", Kind.COUNTER, "Requests, by the route's template.", ("method", "route", "status")
)
REQUEST_SECONDS = MetricDoc(
    "tocsin_http_request_seconds", Kind.HISTOGRAM, "How long an answer took.", ("method", "route")
)
DOOR_EVENTS = MetricDoc(
    "tocsin_door_events_total", Kind.COUNTER, "Records that were accepted: they are on disk, or with the brokers."
)
DOOR_BYTES = MetricDoc("tocsin_door_bytes_total", Kind.COUNTER, "Bytes of them, unpacked.")
DOOR_REFUSED = MetricDoc(
    "tocsin_door_refused_total", Kind.COUNTER, "Requests with events that were refused.", ("reason",)
)
DOOR_COMMIT = MetricDoc(
    "tocsin_door_commit_seconds",
    Kind.HISTOGRAM,
    "How long a group of requests took to reach the disk, or one the brokers.",
)

CHECK_OK = MetricDoc(
    "tocsin_check_ok",
    Kind.GAUGE,
    "0: readiness finds fault with it: store, disk, schema, work, progress, configuration; of a worker also broker.",
    ("check",),
)
DISK_FREE = MetricDoc("tocsin_disk_free_bytes", Kind.GAUGE, "Room on the disk of a store that is a file.")
DISK_SIZE = MetricDoc("tocsin_disk_size_bytes", Kind.GAUGE, "Size of that disk.")
COMMIT_AGE = MetricDoc(
    "tocsin_commit_age_seconds",
    Kind.GAUGE,
    "For how long an engine has had something to do and has not committed; 0: nothing waits.",
    ("engine",),
)
ALERTMANAGER_OK = MetricDoc(
    "tocsin_alertmanager_ok",
    Kind.GAUGE,
    "0: this Alertmanager does not take our alerts; `endpoint` is its place in the settings, from 0.",
    ("endpoint",),
)

BUILD_INFO = MetricDoc("tocsin_build_info", Kind.GAUGE, "Always 1; `version` is Tocsin's.", ("version",))
LOOP_LAG = MetricDoc(
    "tocsin_loop_lag_seconds",
    Kind.GAUGE,
    "By how much the web process' event loop was late when it was last looked at.",
)

SERVICE_METRICS = (
    BUILD_INFO,
    *(UP, CHECK_OK, CONFIG_OK, BACKLOG_BYTES, BACKLOG_AGE, COMMIT_AGE, COMMANDS_WAITING, DISK_FREE, DISK_SIZE),
    *(OPEN_CASES, UNACKNOWLEDGED),
    *(OUTBOX, OUTBOX_AGE, DELIVERIES, KILL_SWITCH, CIRCUIT, LIMIT),
    *(WEBHOOKS, WEBHOOK_QUEUE, STREAMS, ALERTMANAGER_OK),
    *(REQUESTS, REQUEST_SECONDS, DOOR_EVENTS, DOOR_BYTES, DOOR_REFUSED, DOOR_COMMIT, LOOP_LAG),
)
"""What the running service says beside them: of its processes, the door, cases that wait for people, and sending."""

KAFKA_LAG = MetricDoc(
    "tocsin_kafka_lag_records",
    Kind.GAUGE,
    "Records of the input that this worker has before it.",
    ("topic", "partition"),
)
KAFKA_RECORDS = MetricDoc(
    "tocsin_kafka_records_total", Kind.COUNTER, "Records of the input that this worker has read, others' too."
)
KAFKA_PASSED = MetricDoc(
    "tocsin_kafka_passed_over_total",
    Kind.COUNTER,
    "What of a shared topic was other tenants': records where a header names the tenant, lines where a field does.",
)
CONFIG_CURRENT = MetricDoc(
    "tocsin_config_current",
    Kind.GAUGE,
    "0: the configuration's files are others than those that this worker started with; start it again.",
)

KAFKA_METRICS = (KAFKA_LAG, KAFKA_RECORDS, KAFKA_PASSED, CONFIG_CURRENT)
"""What a worker on Kafka says beside the engines' and `BUILD_INFO`, `CHECK_OK`, `CONFIG_OK`, `COMMIT_AGE`."""

Labels = tuple[str, ...]

DETECTED_S = (60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0)
"""Bounds of the time to detect."""


@dataclass(frozen=True)
class Spent:
    """A budget as the metrics show it."""

    of: str
    cases: int
    per_ms: int
    spent: int


@dataclass
class _Detected:
    """How long it took to detect one signal's cases."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(DETECTED_S) + 1))
    """By the bucket they fall into, not summed up."""
    sum_s: float = 0.0

    def observe(self, took_s: float) -> None:
        self.counts[bisect_left(DETECTED_S, took_s)] += 1
        self.sum_s += took_s

    def buckets(self) -> list[tuple[str, float]]:
        bounds = [*map(floatToGoString, DETECTED_S), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


@dataclass(eq=False)
class Metrics(Collector):
    """The numbers of one tenant's run, and how they are read.

    Parameters
    ----------
    now_ms
        What time it is when somebody asks; None where the run is no live one.
    """

    config: Config
    now_ms: Callable[[], int] | None = None
    _values: dict[str, dict[Labels, float]] = field(default_factory=dict)
    _open: dict[str, str] = field(default_factory=dict)
    """Open anomalies and their signals."""
    _closed_ms: int | None = None
    _detected: dict[str, "_Detected"] = field(default_factory=dict)
    """By signal, of a live run."""
    _lock: Lock = field(default_factory=Lock)
    points: tuple[Operating, ...] = ()
    """Where the signals stand."""

    def __post_init__(self) -> None:
        self._values = {metric.name: {} for metric in METRICS}
        for metric in (EVENTS, APPLIED, WINDOWS):
            self._set(metric, 0)
        for reason in REASONS:
            self._set(DROPPED, 0, reason)
        for reason in DEAD_REASONS:
            self._set(DEAD, 0, reason)
        given = self.config.input
        self._set(DELAY_DUE, (given.window_ms + given.lateness_ms) / 1_000)
        for signal in self.config.signals:
            self._set(CASES, 0, signal.name, signal.mode.value)
            if self.now_ms is not None:
                self._set(ANOMALIES, 0, signal.name)
                self._detected[signal.name] = _Detected()

    # --- in -------------------------------------------------------------------------------------------------------

    def begin(self, tally: Mapping[str, Mapping[str, int]], opened: Mapping[tuple[str, str], int]) -> None:
        """Take the sums of the store's life: `tally` by what and reason, cases opened by signal and mode."""
        with self._lock:
            for metric, what in ((EVENTS, "events"), (APPLIED, "applied"), (WINDOWS, "windows")):
                self._set(metric, sum(tally.get(what, {}).values()))
            for metric, what in ((DROPPED, "dropped"), (DEAD, "dead")):
                for reason, n in tally.get(what, {}).items():
                    self._set(metric, n, reason)
            for (signal, mode), n in opened.items():
                self._set(CASES, n, signal, mode)

    def take(self, effects: Effects) -> None:
        """Take what a commit wrote."""
        with self._lock:
            self._add(EVENTS, effects.records)
            self._add(APPLIED, effects.applied)
            self._add(WINDOWS, effects.closed)
            for reason, n in effects.dropped.items():
                self._add(DROPPED, n, reason)
            for invalid in effects.invalid:
                self._add(DEAD, 1, invalid.reason)
            self._opened(effects.desk)
            for record in effects.log:
                if isinstance(record.payload, WindowClosed):
                    self._anomalies(record.payload)

    def _opened(self, desk: DeskEffects) -> None:
        cases = {case.id: case for case in desk.cases}
        for entry in desk.timeline:
            if entry.what == "opened" and entry.case in cases:
                case = cases[entry.case]
                self._add(CASES, 1, case.signals[0], case.mode.value)
                if self.now_ms is not None and case.mode is Mode.LIVE:
                    found = self._detected.setdefault(case.signals[0], _Detected())
                    found.observe(max(0, case.detected_ms - case.onset_ms) / 1_000)

    def _anomalies(self, closed: WindowClosed) -> None:
        for anomaly in closed.anomalies:
            if anomaly.phase is Phase.ENDED:
                self._open.pop(anomaly.id, None)
            else:
                self._open[anomaly.id] = anomaly.signal
        for signal in self.config.signals:
            self._set(ANOMALIES, sum(name == signal.name for name in self._open.values()), signal.name)

    def closed_until(self, at_ms: int) -> None:
        """All windows before this moment are closed."""
        self._closed_ms = at_ms

    def stand(self, points: Iterable[Operating], spent: Iterable[Spent]) -> None:
        """Take where the signals stand, and what was spent of the budgets."""
        self.points = tuple(points)
        with self._lock:
            for point in self.points:
                self._set(SHIFT, point.shift_nats, point.signal)
                for level in point.levels:
                    name = level_name(level.level)
                    self._set(THRESHOLD, level.threshold_nats, point.signal, name)
                    self._set(SEGMENTS, level.segments, point.signal, name)
                    self._set(NOISE, level.noise, point.signal, name)
            for budget in spent:
                self._set(BUDGET, budget.cases, budget.of)
                self._set(PERIOD, budget.per_ms / 1_000, budget.of)
                self._set(SPENT, budget.spent, budget.of)

    def _set(self, metric: MetricDoc, value: float, *labels: str) -> None:
        self._values[metric.name][labels] = value

    def _add(self, metric: MetricDoc, more: float, *labels: str) -> None:
        values = self._values[metric.name]
        values[labels] = values.get(labels, 0) + more

    # --- out ------------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they stand now, for a registry."""
        with self._lock:
            if self.now_ms is not None and self._closed_ms is not None:
                self._set(DELAY, max(0.0, (self.now_ms() - self._closed_ms) / 1_000))
            standing = {name: sorted(values.items()) for name, values in self._values.items()}
            detected = {signal: (found.buckets(), found.sum_s) for signal, found in sorted(self._detected.items())}
        for metric in METRICS:
            if metric is DETECTED:
                histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for signal, (buckets, sum_s) in detected.items():
                    histogram.add_metric((signal,), buckets, sum_s)
                yield histogram
                continue
            kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
            family = kind(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
            for labels, value in standing[metric.name]:
                family.add_metric(labels, value)
            yield family

    def exposition(self) -> str:
        """Return the text that a scrape gets."""
        return generate_latest(self.registry()).decode()

    def registry(self) -> CollectorRegistry:
        """Return a registry of these metrics alone."""
        registry = CollectorRegistry()
        registry.register(self)
        return registry


@contextmanager
def serving(metrics: Metrics, port: int) -> Iterator[int]:
    """Answer scrapes on the loopback address while the block runs; gives the port (0 takes a free one).

    Raises
    ------
    UsageError
        The port is taken.
    """
    from prometheus_client.exposition import start_http_server

    try:
        server, thread = start_http_server(port, LOOPBACK, metrics.registry())
    except OSError as error:
        message = (
            f"--metrics-port: {port} can't be used on {LOOPBACK} ({error.strerror}); give another, or 0 for a free one"
        )
        raise UsageError(message) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def level_name(level: int) -> str:
    """Return a level in words.

    Examples
    --------
    >>> level_name(0), level_name(2), level_name(3)
    ('whole', 'pair', 'level-3')
    """
    return LEVELS[level] if level < len(LEVELS) else f"level-{level}"
