"""The notifier as a process of its own: it sends what the engines decided, wherever they run.

Promises
- Any number of them send from a store on a server: each message is one's alone, and limits, order and caps hold over
  all of them (`streams/outbox/outbox.py`). A store in a file has one.
- A changed configuration counts once what is under way has ended; one with a mistake changes nothing.
- Asked to stop, it begins nothing more and lets what is under way end.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from detector.errors import TocsinError
from streams.clock import Clock
from streams.engines.pulse import Pulse
from streams.engines.reload import Configuration
from streams.engines.session import Stop, stopping
from streams.outbox.thread import NotifierThread
from streams.settings import Settings
from streams.store import open_store

LOOK_S = 0.25
STOP_S = 20.0

_log = logging.getLogger("tocsin.notifier")


class Notify:
    """Sends until asked to stop.

    Parameters
    ----------
    name
        What this process is called among the service's processes, such as the machine's name.
    ready
        Called once it is at work.
    """

    def __init__(self, db: str | Path, settings: Settings, clock: Clock, name: str, ready: Callable[[], None]) -> None:
        self._db, self._clock, self._name, self._ready = db, clock, name, ready
        self._configuration = Configuration(settings, clock, _log.error)

    def run(self) -> None:
        """Send, on each configuration in turn.

        Raises
        ------
        TocsinError
            The store or the channels can't be used; or sending has ended, and the process is to start again.
        """
        with stopping() as stop:
            while stop.signal is None:
                self._on(self._configuration.settings, stop)

    def _on(self, settings: Settings, stop: Stop) -> None:
        """Send on one configuration, until it changes or it is time to stop."""
        with ExitStack() as stack:
            store = stack.enter_context(open_store(self._db, tenant=settings.config.tenant))
            notifier: NotifierThread | None = None
            if settings.config.policy.send:
                notifier = NotifierThread(self._db, settings, self._clock, _log.warning)
                notifier.start()
                stack.callback(notifier.stop, STOP_S)
            else:
                _log.warning("dry run: no notice leaves the house (tocsin.yml: notices.send)")

            def says() -> dict[str, Any]:
                of_notifier = {} if notifier is None else notifier.status()
                return {"config_error": self._configuration.error, "notifier": of_notifier}

            pulse = Pulse(store, f"notifier {self._name}", self._clock, says)
            stack.callback(pulse.close)
            self._ready()
            while stop.signal is None:
                if notifier is not None and not notifier.alive:
                    message = "sending has ended; start the process again"
                    raise TocsinError(message)
                if self._configuration.changed() is not None:
                    _log.info("the configuration was changed and is in force")
                    return
                self._clock.sleep(LOOK_S)
