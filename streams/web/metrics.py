"""`GET /metrics`: what the web process counts itself, what the store holds, what the work process last said.

Promises
- Everything in it is in `streams.metrics`; no customer's id and no free text is a label.
- What the work process published is passed on as it stands, so its sums go on over restarts of either.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from streams import metrics as m
from streams.metrics import Kind, MetricDoc
from streams.store import Store
from streams.store.standing import FRESH_MS, Standing, standing

L = TypeVar("L", bound=tuple[str, ...])
WORK, WEB = "work", "web"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Disk:
    """A disk, in bytes."""

    free: int
    size: int


disable_created_metrics()  # type: ignore[no-untyped-call]  # or each counter and histogram has a second series that nobody asks for


class WebNumbers:
    """What the web process counts of itself, since its start."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(m.REQUESTS)
        self.request_seconds = self._histogram(m.REQUEST_SECONDS)
        self.door_events = self._counter(m.DOOR_EVENTS)
        self.door_bytes = self._counter(m.DOOR_BYTES)
        self.door_refused = self._counter(m.DOOR_REFUSED)
        self.door_commit = self._histogram(m.DOOR_COMMIT)
        self.loop_lag = Gauge(m.LOOP_LAG.name, m.LOOP_LAG.help, registry=self.registry)

    def _counter(self, doc: MetricDoc) -> Counter:
        return Counter(doc.name.removesuffix("_total"), doc.help, doc.labels, registry=self.registry)

    def _histogram(self, doc: MetricDoc) -> Histogram:
        return Histogram(doc.name, doc.help, doc.labels, registry=self.registry, buckets=SECONDS)


class StoreNumbers(Collector):
    """What the store holds now, as metrics."""

    def __init__(
        self,
        now: Standing,
        now_ms: int,
        *,
        kill_switch: bool,
        deliveries: Mapping[str, int],
        checks: Mapping[str, bool],
        disk: Disk | None,
    ) -> None:
        self._now, self._now_ms = now, now_ms
        self._kill_switch, self._deliveries = kill_switch, deliveries
        self._checks, self._disk = checks, disk

    def collect(self) -> Iterator[Metric]:
        now, age = self._now, self._age_s
        work: Mapping[str, Any] = next((p.body for p in now.processes if p.name == WORK), {})
        sending: Mapping[str, Any] = {} if now.sender is None else now.sender.body.get("notifier", {})
        yield _gauge(m.BUILD_INFO, {(version("tocsin"),): 1.0})
        yield _gauge(m.UP, {(p.name,): float(age(p.at_ms) * 1_000 < FRESH_MS) for p in now.processes})
        yield _gauge(m.CHECK_OK, {(name,): float(ok) for name, ok in self._checks.items()})
        yield _gauge(m.CONFIG_OK, {(p.name,): float(not p.body.get("config_error")) for p in now.processes})
        yield _gauge(m.BACKLOG_BYTES, {(): now.backlog_bytes})
        yield _gauge(m.BACKLOG_AGE, {(): age(now.backlog_since_ms)})
        waits_ms, committed_ms = now.backlog_since_ms, int(work.get("committed_ms") or 0)
        if work:
            yield _gauge(m.COMMIT_AGE, {(WORK,): age(None if waits_ms is None else max(waits_ms, committed_ms))})
        if self._disk is not None:
            yield _gauge(m.DISK_FREE, {(): self._disk.free})
            yield _gauge(m.DISK_SIZE, {(): self._disk.size})
        yield _gauge(m.COMMANDS_WAITING, {(): now.commands})
        yield _gauge(m.OPEN_CASES, now.cases)
        yield _gauge(m.UNACKNOWLEDGED, {(): age(now.unacknowledged_since_ms)})
        yield _gauge(m.OUTBOX, now.outbox)
        yield _gauge(m.OUTBOX_AGE, {(c,): age(since) for c, since in now.outbox_since_ms.items()})
        yield _counted(m.DELIVERIES, {tuple(key.split("/", 2)): n for key, n in self._deliveries.items()})
        yield _gauge(m.KILL_SWITCH, {(): float(self._kill_switch)})
        yield _gauge(m.CIRCUIT, {(c,): float(state != "closed") for c, state in sending.get("circuits", {}).items()})
        yield _gauge(m.LIMIT, {(name,): float(bound) for name, bound in sending.get("limits", {}).items()})
        yield _gauge(m.WEBHOOKS, {(state,): n for state, n in now.webhooks.items()})
        yield _gauge(m.WEBHOOK_QUEUE, {(state,): n for state, n in now.webhook_queue.items()})
        taken: Sequence[bool] = work.get("alertmanager", {}).get("taken", ())
        yield _gauge(m.ALERTMANAGER_OK, {(str(i),): float(ok) for i, ok in enumerate(taken)})

    def _age_s(self, since_ms: int | None) -> float:
        return 0.0 if since_ms is None else max(0.0, (self._now_ms - since_ms) / 1_000)


def exposition(
    store: Store,
    numbers: WebNumbers,
    now_ms: int,
    *,
    kill_switch: bool,
    checks: Mapping[str, bool],
    disk: Disk | None,
) -> str:
    """Return the text that a scrape of the service gets.

    Parameters
    ----------
    checks
        What readiness looked at, and whether it is well.
    disk
        Of a store that is a file.
    """
    now = standing(store, now_ms)
    registry = CollectorRegistry()
    deliveries = store.tally().get("delivery", {})
    registry.register(
        StoreNumbers(now, now_ms, kill_switch=kill_switch, deliveries=deliveries, checks=checks, disk=disk)
    )
    published = next((p.body.get("metrics", "") for p in now.processes if p.name == WORK), "")
    return generate_latest(registry).decode() + generate_latest(numbers.registry).decode() + str(published)


def _gauge(doc: MetricDoc, values: Mapping[L, float]) -> Metric:
    assert doc.kind is Kind.GAUGE
    family = GaugeMetricFamily(doc.name, doc.help, labels=doc.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _counted(doc: MetricDoc, values: Mapping[L, float]) -> Metric:
    family = CounterMetricFamily(doc.name.removesuffix("_total"), doc.help, labels=doc.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family
