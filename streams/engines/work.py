"""The work process: the engines on the live log, beside them what sends, and what they say of themselves.

Promises
- A changed configuration counts from the next window on; one with a mistake, or that this store can't go on with,
  changes nothing.
- Asked to stop, it commits what it has.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from detector.errors import TocsinError
from detector.pipeline import Effects
from streams.alerts.sender import AlertSender
from streams.clock import Clock
from streams.engines.live import Live
from streams.engines.lock import RunnerActiveError
from streams.engines.metering import Meter
from streams.engines.pulse import Pulse, Watcher
from streams.engines.reload import Configuration
from streams.engines.session import Run, Session, session
from streams.feeds.sender import WebhookSender
from streams.feeds.subscriptions import rules_of
from streams.metrics import Metrics
from streams.outbox.thread import NotifierThread
from streams.settings import Settings
from streams.store import LIVE

NAME = "work"
AGAIN_S = 0.5
NOTIFIER_STOP_S, WEBHOOKS_STOP_S, ALERTS_STOP_S = 9.0, 5.0, 3.0
"""So long what is being sent may take to end: together less than the supervisor waits."""
TRIES = 20
"""A store that another runner holds is tried so often before it is given up."""

_log = logging.getLogger("tocsin.work")


class Work:
    """Runs the engines until asked to stop.

    Parameters
    ----------
    watcher
        Hears when everything is set up and the log is being worked off, and from then on that it is.
    """

    def __init__(self, db: str | Path, settings: Settings, clock: Clock, watcher: Watcher) -> None:
        self._db, self._clock, self._watcher = db, clock, watcher
        self._configuration = Configuration(settings, clock, _log.error)

    def run(self) -> None:
        """Work, on each configuration in turn.

        Raises
        ------
        TocsinError
            The store can't be used, or the first configuration not with it.
        """
        configuration, before = self._configuration, None
        while True:
            settings = configuration.settings
            try:
                stopped = self._on(settings)
            except _NotBegunError as error:
                if before is None:
                    raise error.why from None
                configuration.refuse(error.why, before)
                before = None
                continue
            if stopped:
                return
            before = settings
            _log.info("the configuration was changed and is in force")

    def _on(self, settings: Settings) -> bool:
        """Work on one configuration; returns whether to stop, False where it has changed."""
        self._watcher.busy()
        with ExitStack() as stack:
            found, notifier = self._set_up(stack, settings)
            webhooks = WebhookSender(found.store, self._clock, rules=rules_of(settings.service))
            webhooks.start()
            stack.callback(webhooks.stop, WEBHOOKS_STOP_S)
            alerts = self._alerts(stack, found, settings)
            beside = [one for one in (notifier, webhooks, alerts) if one is not None]
            live = Live(found, self._clock, _log.warning, lambda: self._leave(beside), self._watcher.turned)
            metrics = Metrics(found.run.config, self._clock.now_ms)
            meter = Meter(metrics, found.runner, self._clock)

            def committed(effects: Effects) -> None:
                meter.committed(effects)
                for one in beside:
                    one.wake()

            found.runner.committed = committed
            for bad in found.bad_customers[:5]:
                _log.warning("customers: %s", bad)

            def says() -> dict[str, Any]:
                of_notifier = {} if notifier is None else notifier.status()
                of_alerts = {} if alerts is None else alerts.status()
                of = {"notifier": of_notifier, "webhooks": webhooks.status(), "alertmanager": of_alerts}
                return {**self._says(live, metrics), **of}

            pulse = Pulse(found.store, NAME, self._clock, says)
            stack.callback(pulse.close)
            self._watcher.ready()
            live.run()
            self._watcher.busy()
            return found.stop.signal is not None

    def _alerts(self, stack: ExitStack, found: Session, settings: Settings) -> AlertSender | None:
        """Return what tells Alertmanager of the cases, at work, where the configuration names one."""
        if settings.alertmanager is None:
            return None
        try:
            alerts = AlertSender(found.store, settings, self._clock)
        except TocsinError as error:
            raise _NotBegunError(error) from error
        alerts.start()
        stack.callback(alerts.stop, ALERTS_STOP_S)
        return alerts

    def _leave(self, beside: "Sequence[NotifierThread | WebhookSender | AlertSender]") -> bool:
        """Whether to end for a reason other than a signal: the configuration has changed."""
        if not all(one.alive for one in beside):
            message = "sending has ended; the process starts again"
            raise TocsinError(message)
        return self._configuration.changed() is not None

    def _set_up(self, stack: ExitStack, settings: Settings) -> "tuple[Session, NotifierThread | None]":
        """Return a run that stands, and its notifier where it sends; what fails until then is no failure of the run."""
        tries = 0
        while True:
            try:
                run = session(self._db, Run.of(settings), self._clock, mode=LIVE, say=_log.warning)
                found = stack.enter_context(run)
                if not settings.config.policy.send:
                    return found, None
                notifier = NotifierThread(self._db, settings, self._clock, _log.warning)
                notifier.start()
                stack.callback(notifier.stop, NOTIFIER_STOP_S)
                return found, notifier
            except RunnerActiveError as error:  # a command that works on the store for a moment
                tries += 1
                if tries == TRIES:
                    raise _NotBegunError(error) from error
                self._clock.sleep(AGAIN_S)
            except TocsinError as error:
                raise _NotBegunError(error) from error

    def _says(self, live: Live, metrics: Metrics) -> dict[str, Any]:
        progress = live.progress
        return {
            "config_error": self._configuration.error,
            "metrics": metrics.exposition(),
            "operating": [msgspec.to_builtins(point) for point in metrics.points],
            "next": progress.next,
            "entered_ms": progress.entered_ms,
            "committed_ms": progress.committed_ms,
            "commit_s": round(progress.commit_s, 4),
            "turned_s": round(self._clock.monotonic_s() - progress.turned_s, 1),
        }


class _NotBegunError(Exception):
    """A run could not be set up."""

    def __init__(self, why: TocsinError) -> None:
        super().__init__(str(why))
        self.why = why
