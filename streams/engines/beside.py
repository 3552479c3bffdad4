"""What runs where the Desk runs: the process' row that pages and readiness read, webhooks, the feed, Alertmanager."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from streams.alerts.sender import AlertSender
from streams.clock import Clock
from streams.engines.metering import metrics_of
from streams.engines.pulse import Pulse
from streams.feeds.kafka import KafkaFeed
from streams.feeds.sender import WebhookSender
from streams.feeds.subscriptions import rules_of
from streams.kafka.client import KafkaSettings
from streams.settings import Settings
from streams.store import LIVE, Store
from streams.store.engines import DESK, Engines

NAME = "work"
"""For whoever asks how the engines do, the workers are what the work process is on one machine."""
METRICS_S = 5.0
STOP_S = 5.0

_log = logging.getLogger("tocsin.worker")


class Beside:
    """Runs from `start` to `stop`, in threads of its own with handles of their own on the store."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        kafka: KafkaSettings,
        clock: Clock,
        config_error: Callable[[], str] = str,
    ) -> None:
        """`config_error` says what is wrong with the configuration's files as they are now."""
        self._given, self._settings, self._kafka, self._clock = store, settings, kafka, clock
        self._config_error = config_error
        self._stack = ExitStack()
        self._senders: dict[str, WebhookSender | AlertSender | KafkaFeed] = {}
        self._metrics: tuple[float, str] = (-METRICS_S, "")

    def start(self) -> None:
        """Begin, or leave nothing running.

        Raises
        ------
        UnreachableError
            The store can't be read now.
        """
        with ExitStack() as stack:
            store = self._given.again()
            stack.callback(store.close)
            _say_what_changes(store, self._settings.config.hash)
            self._senders = {
                "webhooks": WebhookSender(store, self._clock, rules=rules_of(self._settings.service)),
                "feed": KafkaFeed(store, self._kafka),
            }
            if self._settings.alertmanager is not None:
                self._senders["alertmanager"] = AlertSender(store, self._settings, self._clock)
            for one in self._senders.values():
                one.start()
                stack.callback(one.stop, STOP_S)
            engines = Engines(store, "")
            pulse = Pulse(store, NAME, self._clock, lambda: self._says(store, engines))
            stack.callback(pulse.close)
            self._stack = stack.pop_all()

    def wake(self) -> None:
        """Something was committed."""
        for one in self._senders.values():
            one.wake()

    def stop(self) -> None:
        self._stack.close()
        self._senders = {}

    def _says(self, store: Store, engines: Engines) -> Mapping[str, Any]:
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        desk = engines.standings(DESK).get(DESK)
        if now_s - self._metrics[0] >= METRICS_S:
            metrics = metrics_of(store, self._settings.config, now_ms)
            if desk is not None and store.mode == LIVE:
                metrics.now_ms = self._clock.now_ms
                metrics.closed_until(desk.next)
            self._metrics = now_s, metrics.exposition()
        of = {name: one.status() for name, one in self._senders.items()}
        wrong = {"config_error": self._config_error()}
        return {
            "metrics": self._metrics[1],
            "committed_ms": 0 if desk is None else desk.at_ms,
            "on": "kafka",
            **of,
            **wrong,
        }


def _say_what_changes(store: Store, own: str) -> None:
    found = store.in_force()
    if found and found[-1].hash != own:
        _log.warning(
            "the Desk goes on with the configuration %s; the one in force in the store was %s: workers with that one "
            "are to be started again",
            own[:8],
            found[-1].hash[:8],
        )
