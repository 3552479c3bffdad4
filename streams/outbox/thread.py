"""The notifier at work in a service: a thread with an event loop and a store handle of its own.

    notifier = NotifierThread(db, settings, clock)
    notifier.start()          # settles what a crash left, then sends what is due as time passes
    notifier.wake()           # something new may be due: looked at now instead of within half a second
    notifier.status()         # for /metrics and readiness
    notifier.stop(20.0)       # no more is handed over; what is under way ends first

Promises
- Where the store cannot be written (locked, disk full) nothing new is handed over, what was sent is written down as
  soon as it can be, and it goes on by itself.
- `alive` is False once it has ended, for whatever reason: the process should end too, and be started again.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from detector.errors import TocsinError, UnreachableError
from streams.background import Background
from streams.clock import Clock
from streams.outbox.channel import lines
from streams.outbox.kill_switch import kill_switch
from streams.outbox.notifier import Notifier
from streams.outbox.outbox import LEASE_MS, Outbox
from streams.outbox.people import resumptions
from streams.outbox.words import load_words
from streams.settings import Settings
from streams.store import Store, open_store
from streams.store.directory import CustomerDirectory
from streams.store.lock import only

LOOK_S = 0.5
"""How often it looks by itself: the kill switch, limits that free, retries that come due."""
PAUSE_S = 5.0
"""Wait where the store cannot be read or written."""
COUNT_S = 5.0
"""How often `status` counts what waits."""


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Keep other notifiers from a store in a file; on a server they share the work.

    Raises
    ------
    RunnerActiveError
        Another process sends from it.
    """
    if store.on_server:
        yield
        return
    with only(store, "notifier.lock", "sending"):
        yield


class NotifierThread(Background):
    """Sends one tenant's notices in the background.

    Parameters
    ----------
    db
        The store; the thread opens a handle of its own.
    say
        Tells ops: a pause, a channel that is down, limits that bind for long. Called from the thread.
    at
        As `Notifier`'s.
    """

    def __init__(
        self,
        db: str | Path,
        settings: Settings,
        clock: Clock,
        say: Callable[[str], None] = lambda text: None,
        at: Callable[[str], None] = lambda point: None,
        lease_ms: int = LEASE_MS,
    ) -> None:
        super().__init__("notifier")
        self._db, self._settings, self._clock, self._say, self._at = db, settings, clock, say, at
        self._lease_ms = lease_ms
        self._alone = ExitStack()
        self._cancel = threading.Event()
        self._clean = True
        self._lock = threading.Lock()
        self._status: dict[str, Any] = {"at_ms": 0, "error": ""}

    # --- for the process ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin.

        Raises
        ------
        UsageError, ConfigError
            The channels or the templates are not right.
        RunnerActiveError
            Another process sends from this store, and it is a file.
        """
        self._lines = lines(self._settings)
        with open_store(self._db, tenant=self._settings.config.tenant) as store:
            self._words = load_words(self._settings, store.customer_key)
            self._alone.enter_context(alone(store))
        super().start()

    def stop(self, timeout_s: float = 20.0) -> bool:
        """Hand nothing more over, let what is under way end, and end; returns whether all of it did in time.

        What did not is left claimed, and treated as unknown by the next start.
        """
        patience_s = max(timeout_s - 2.0, timeout_s / 2)
        if not super().stop(patience_s):
            self._cancel.set()
            self.wake()
        return self._ended_within(timeout_s - patience_s) and self._clean

    def status(self) -> dict[str, Any]:
        """Return how it stands, as JSON can hold it.

        `at_ms` when it last looked, `error` what it waits for or died of, `waiting`, `claimed`, `unknown` rows of the
        outbox, `circuits` by channel, `stopped` channels with the reason, `limits` that bind (by kind) and `held_by` in
        words, `alert` once they have for long, `kill_switch`.
        """
        with self._lock:
            return {**self._status, "alive": self.alive}

    # --- in the thread --------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            super()._main()
        except TocsinError:  # it was said
            return
        finally:
            self._alone.close()

    def _died(self, error: BaseException) -> None:
        known = isinstance(error, TocsinError)
        self._note(error=str(error) if known else type(error).__name__)
        self._say(f"notifier: {error}" if known else f"notifier: ended by {type(error).__name__}")

    async def _run(self) -> None:
        with (
            ThreadPoolExecutor(1, "notifier-store") as executor,
            open_store(self._db, tenant=self._settings.config.tenant) as store,
        ):
            config = self._settings.config
            notifier = Notifier(
                store,
                CustomerDirectory(store, config.policy.channels),
                config,
                self._lines,
                sending=self._settings.sending,
                words=self._words,
                persist=self._persist,
                executor=executor,
                say=self._say,
                at=self._at,
                lease_ms=self._lease_ms,
            )
            try:
                await self._rounds(notifier, store, executor)
            finally:
                self._clean = self._clean and not notifier.under_way()
                await notifier.leave()

    async def _rounds(self, notifier: Notifier, store: Store, executor: ThreadPoolExecutor) -> None:
        loop, outbox = asyncio.get_running_loop(), Outbox(store)
        await loop.run_in_executor(executor, lambda: notifier.recover(self._clock.now_ms()))
        resumed = await loop.run_in_executor(executor, lambda: resumptions(store))
        counted_s, paused = -COUNT_S, False
        while not self._cancel.is_set():
            ending = self._stopping.is_set()
            self._woken.clear()
            changed = 0
            try:
                changed = await notifier.step(self._clock.now_ms(), claim=not ending)
                if ending and not notifier.under_way():
                    return
                if self._clock.monotonic_s() - counted_s >= COUNT_S:
                    counted_s = self._clock.monotonic_s()
                    counts, switch, now = await loop.run_in_executor(
                        executor, lambda: (outbox.counts(), kill_switch(store), resumptions(store))
                    )
                    for channel in [name for name, n in now.items() if n != resumed.get(name)]:
                        notifier.resume(channel, self._clock.now_ms())
                    resumed = now
                    self._note(**counts, kill_switch={"on": switch.on, "by": switch.by, "reason": switch.reason})
                self._note(error="", **notifier.status(self._clock.now_ms()))
                if paused:
                    self._say("notifier: going on")
                paused = False
            except UnreachableError as error:
                self._note(error=str(error))
                if not paused:
                    self._say(f"notifier: {error}; trying again every {PAUSE_S:.0f} s")
                paused = True
            if not changed:
                await self._wait(notifier, PAUSE_S if paused else LOOK_S)

    async def _wait(self, notifier: Notifier, longest_s: float) -> None:
        """Wait until something has ended, something new may be due, or it is time to look."""
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait([*notifier.under_way(), woken], timeout=longest_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()

    def _persist(self, write: Callable[[], None]) -> None:
        """Write, and again after a pause where the store can't be written now; in the store's thread."""
        paused = False
        while True:
            try:
                write()
            except UnreachableError as error:
                if self._cancel.is_set():
                    self._clean = False
                    raise
                self._note(error=str(error))
                if not paused:
                    self._say(f"notifier: {error}; trying again every {PAUSE_S:.0f} s")
                paused = True
                self._cancel.wait(PAUSE_S)
            else:
                if paused:
                    self._say("notifier: going on")
                return

    def _note(self, **values: Any) -> None:
        with self._lock:
            self._status |= {"at_ms": self._clock.now_ms(), **values}
