"""Ends a process whose event loop stands still: whoever watches over it starts it again."""

import asyncio
import faulthandler
import logging
import os
from collections.abc import Callable
from threading import Event, Thread

from streams.clock import Clock

BEAT_S = 1.0
STUCK_S = 60.0
EXIT_STUCK = 70

_log = logging.getLogger("tocsin.web")


class Watchdog:
    """Watches one event loop from a thread.

    Parameters
    ----------
    end
        Called when the loop stands still.
    """

    def __init__(self, clock: Clock, end: Callable[[], None] | None = None, stuck_s: float = STUCK_S) -> None:
        self._clock, self._end, self._stuck_s = clock, end or _exit, stuck_s
        self._beat_s = clock.monotonic_s()
        self.lag_s = 0.0
        """By how much the loop was late the last time."""
        self._task: asyncio.Task[None] | None = None
        self._closed = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Watch the running loop."""
        self._beat_s = self._clock.monotonic_s()
        self._task = asyncio.get_running_loop().create_task(self._beats())
        self._thread = Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        self._closed.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def _beats(self) -> None:
        while True:
            before_s = self._clock.monotonic_s()
            await asyncio.sleep(BEAT_S)
            self._beat_s = self._clock.monotonic_s()
            self.lag_s = max(0.0, self._beat_s - before_s - BEAT_S)

    def _watch(self) -> None:
        while not self._closed.wait(min(BEAT_S, self._stuck_s / 4)):
            if self._clock.monotonic_s() - self._beat_s > self._stuck_s:
                _log.critical("the event loop has stood still for %.0f s; ending this process", self._stuck_s)
                self._end()
                return


def _exit() -> None:
    faulthandler.dump_traceback()
    os._exit(EXIT_STUCK)
