"""The work process: the engines on the live log, the notifier beside them, and what they say of themselves.

Promises
- A changed configuration counts from the next window on; one with a mistake, or that this store can't go on with,
  changes nothing.
- Asked to stop, it commits what it has.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from detector.errors import TocsinError
from streams.clock import Clock
from streams.engines.live import Live
from streams.engines.lock import RunnerActiveError
from streams.engines.metering import Meter
from streams.engines.pulse import Pulse
from streams.engines.reload import Configuration
from streams.engines.session import Run, Session, session
from streams.metrics import Metrics
from streams.settings import Settings
from streams.store import LIVE

NAME = "work"
AGAIN_S = 0.5
TRIES = 20
"""A store that another runner holds is tried so often before it is given up."""

_log = logging.getLogger("tocsin.work")


class Work:
    """Runs the engines until asked to stop.

    Parameters
    ----------
    ready
        Called once everything is set up and the log is being worked off.
    """

    def __init__(self, db: str | Path, settings: Settings, clock: Clock, ready: Callable[[], None]) -> None:
        self._db, self._clock, self._ready = db, clock, ready
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
        with ExitStack() as stack:
            found = self._set_up(stack, settings)
            live = Live(found, self._clock, _log.warning, lambda: self._configuration.changed() is not None)
            metrics = Metrics(found.run.config, self._clock.now_ms)
            found.runner.committed = Meter(metrics, found.runner, self._clock).committed
            for bad in found.bad_customers[:5]:
                _log.warning("customers: %s", bad)
            pulse = Pulse(found.store, NAME, self._clock, lambda: self._says(live, metrics))
            stack.callback(pulse.close)
            self._ready()
            live.run()
            return found.stop.signal is not None

    def _set_up(self, stack: ExitStack, settings: Settings) -> Session:
        """Return a run that stands; what fails until then is no failure of the run."""
        tries = 0
        while True:
            try:
                return stack.enter_context(
                    session(self._db, Run.of(settings), self._clock, mode=LIVE, say=_log.warning)
                )
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
