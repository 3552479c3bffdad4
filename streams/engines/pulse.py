"""A process says every two seconds that it is alive, and how it is doing: its row in the store, from a thread.

Whoever started it (`Watcher`) hears by another way whether its main loop turns, also where the store can't be written.
"""

import os
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any, Protocol

from detector.errors import TocsinError
from streams.clock import Clock
from streams.store import Store
from streams.store.standing import speak

PULSE_S = 2.0
BUSY_MS = 5_000


class Watcher(Protocol):
    """Who starts this process again where it hangs."""

    def ready(self) -> None:
        """Hear that the process does its work."""
        ...

    def turned(self) -> None:
        """Hear that its main loop has come round, or waits and knows it."""
        ...

    def busy(self) -> None:
        """Hear that its main loop is left for something that may take long."""
        ...


class Pulse:
    """Speaks for a process until it is closed.

    Parameters
    ----------
    body
        Called in the thread: what else to say.
    """

    def __init__(self, store: Store, name: str, clock: Clock, body: Callable[[], Mapping[str, Any]]) -> None:
        self._store, self._name, self._clock, self._body = store.again(busy_ms=BUSY_MS), name, clock, body
        self._end = Event()
        self.error = ""
        """Why the store could not be written the last time; empty where it could."""
        self._spoken_s = clock.monotonic_s()
        self._thread = Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    @property
    def spoken_s(self) -> float:
        """When it last wrote, on the clock that only goes forward."""
        return self._spoken_s

    @property
    def silent_s(self) -> float:
        """For how long nothing could be written."""
        return self._clock.monotonic_s() - self._spoken_s

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while True:
            try:
                speak(self._store, self._name, os.getpid(), self._clock.now_ms(), self._body())
            except TocsinError as error:
                self.error = str(error)
            else:
                self.error, self._spoken_s = "", self._clock.monotonic_s()
            if self._end.wait(PULSE_S):
                return
