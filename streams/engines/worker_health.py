"""A worker's own port: is it alive, is it ready, what does it measure. Off unless asked for; from a thread.

Alive means progress: the loop turns, and where records wait something is committed. Ready means that the brokers and
the store answered lately.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from detector.errors import UnreachableError
from streams.clock import Clock
from streams.engines.reload import Kept
from streams.metrics import (
    BUILD_INFO,
    CHECK_OK,
    COMMIT_AGE,
    CONFIG_CURRENT,
    CONFIG_OK,
    KAFKA_LAG,
    KAFKA_PASSED,
    KAFKA_RECORDS,
)
from streams.store.engines import COUNT

SILENT_S = 30.0
"""Who has not answered for longer is not there."""
STALLED_S = 120.0
"""So long may pass without a commit while records wait."""
PROCESS = "worker"

_log = logging.getLogger("tocsin.worker")


@dataclass
class Doing:
    """What a worker's roles last did, in seconds of the clock that only goes forward."""

    clock: Clock
    turned_s: float = 0.0
    broker_s: float = 0.0
    asking_s: float | None = None
    """Since when the store is asked for something, and has not done it; None: it is not asked."""
    lag: dict[tuple[str, int], int] = field(default_factory=dict)
    """Of the partitions that this worker has."""
    waiting_s: dict[str, float] = field(default_factory=dict)
    """By engine, since when it has had something that is not committed."""
    read: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """How many records were read, and how much of them was passed over."""
    configuration: Kept | None = None
    """None: nobody looks at its files."""

    def __post_init__(self) -> None:
        self.turned_s = self.broker_s = self.clock.monotonic_s()

    def waits(self, engine: str, *, waiting: bool) -> None:
        """Note whether an engine has something to commit."""
        if not waiting:
            self.waiting_s.pop(engine, None)
        else:
            self.waiting_s.setdefault(engine, self.clock.monotonic_s())

    def waits_s(self) -> dict[str, float]:
        """Return for how long each Counter that is held, and whoever else waits, has had something to commit."""
        now_s = self.clock.monotonic_s()
        held = dict.fromkeys((f"{COUNT}/{topic}/{partition}" for topic, partition in list(self.lag)), 0.0)
        return held | {engine: now_s - since_s for engine, since_s in list(self.waiting_s.items())}

    def config(self) -> dict[str, bool]:
        """Return whether the configuration's files hold, and whether they are what this worker started with."""
        of = self.configuration
        return {"config_ok": of is None or not of.error, "config_current": of is None or of.current}

    def checks(self) -> dict[str, bool]:
        now_s = self.clock.monotonic_s()
        # Who waits for the store asks no broker: its silence counts only up to then.
        asking_s = self.asking_s
        asking_s = now_s if asking_s is None else asking_s
        longest_s = max((now_s - since_s for since_s in list(self.waiting_s.values())), default=0.0)
        return {
            "loop": now_s - self.turned_s < SILENT_S * 2,
            "progress": longest_s < STALLED_S,
            "broker": asking_s - self.broker_s < SILENT_S,
            "store": now_s - asking_s < SILENT_S,
        }


class _Numbers(Collector):
    def __init__(self, doing: Doing) -> None:
        self._doing = doing

    def collect(self) -> Iterator[Metric]:
        doing, config = self._doing, self._doing.config()
        build = GaugeMetricFamily(BUILD_INFO.name, BUILD_INFO.help, labels=BUILD_INFO.labels)
        build.add_metric([version("tocsin")], 1.0)
        config_ok = GaugeMetricFamily(CONFIG_OK.name, CONFIG_OK.help, labels=CONFIG_OK.labels)
        config_ok.add_metric([PROCESS], float(config["config_ok"]))
        ok = GaugeMetricFamily(CHECK_OK.name, CHECK_OK.help, labels=CHECK_OK.labels)
        for name, good in doing.checks().items():
            ok.add_metric([name], float(good))
        lag = GaugeMetricFamily(KAFKA_LAG.name, KAFKA_LAG.help, labels=KAFKA_LAG.labels)
        for (topic, partition), n in list(doing.lag.items()):
            lag.add_metric([topic, str(partition)], float(n))
        age = GaugeMetricFamily(COMMIT_AGE.name, COMMIT_AGE.help, labels=COMMIT_AGE.labels)
        for engine, waits_s in doing.waits_s().items():
            age.add_metric([engine], waits_s)
        records, passed = doing.read()
        yield from (build, ok, config_ok, lag, age)
        yield GaugeMetricFamily(CONFIG_CURRENT.name, CONFIG_CURRENT.help, value=float(config["config_current"]))
        yield CounterMetricFamily(KAFKA_RECORDS.name, KAFKA_RECORDS.help, value=records)
        yield CounterMetricFamily(KAFKA_PASSED.name, KAFKA_PASSED.help, value=passed)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hung up before the answer is no error; what else went wrong is one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            _log.warning("the health port could not answer: %s: %s", type(error).__name__, error)


class Port:
    """Answers `/healthz`, `/readyz` and `/metrics` until it is closed.

    Raises
    ------
    UnreachableError
        The address is taken, or not this machine's.
    """

    def __init__(self, doing: Doing, host: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(_Numbers(doing))
        ProcessCollector(registry=registry)

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                checks = doing.checks()
                if self.path == "/metrics":
                    self._send(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif self.path == "/healthz":
                    self._say(all(checks[name] for name in ("loop", "progress")), checks)
                elif self.path == "/readyz":
                    self._say(all(checks.values()), checks)
                else:
                    self._send(404, "text/plain", b"/healthz, /readyz or /metrics\n")

            do_HEAD = do_GET

            def _say(self, good: bool, checks: dict[str, bool]) -> None:
                body = msgspec.json.encode(checks | doing.config())
                self._send(200 if good else 503, "application/json", body)

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Probes come every few seconds."""

        try:
            self._server = _Server((host, port), Answer)
        except OSError as error:
            message = f"--health: {host}:{port} can't be listened on ({error.strerror or error}); give another"
            raise UnreachableError(message) from error
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
