"""What the web process writes in passing: last uses, refusals for the audit log.

Promises
- A request never waits for it: one thread writes, a store that is locked holds up that thread and nobody else.
- A flood of refusals is one row a minute and kind, with its number; kinds are bounded.
- What is waiting is written when the process ends in order; a kill loses at most a minute of counts, never a sign-in.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from detector.errors import TocsinError
from streams.clock import Clock
from streams.store import Store, audit

EVERY_MS = 60_000
MAX_WAITING = 1_000
MAX_KINDS = 500
_MANY = "others"


@dataclass
class _Count:
    from_ms: int
    more: int = 0


class Notes:
    """Writes beside the requests."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="notes")
        self._waiting: set[Future[None]] = set()
        self._counts: dict[tuple[str, str, str], _Count] = {}

    def write(self, task: Callable[[], object]) -> None:
        """Run a task of the store on the writing thread; where too many wait, it is left out."""
        if len(self._waiting) >= MAX_WAITING:
            return

        def run() -> None:
            try:
                task()
            except TocsinError:  # a use that is not noted is noted by the next one
                pass

        future = self._writer.submit(run)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)

    def refused(self, who: str, what: str, target: str) -> None:
        """Put a refusal into the audit log: the first one at once, further ones as a number a minute later."""
        now_ms = self._clock.now_ms()
        self._tell_counts(now_ms)
        key = (who, what, target)
        if key not in self._counts and len(self._counts) >= MAX_KINDS:
            key = (_MANY, what, "")
        count = self._counts.get(key)
        if count is not None:
            count.more += 1
            return
        self._counts[key] = _Count(now_ms)
        self._record(key, "", now_ms)

    def flush(self) -> None:
        """Wait until what was noted is written."""
        wait(set(self._waiting))

    def close(self) -> None:
        """Write what is waiting."""
        self._tell_counts(self._clock.now_ms(), everything=True)
        self._writer.shutdown(wait=True)

    def _tell_counts(self, now_ms: int, *, everything: bool = False) -> None:
        for key, count in list(self._counts.items()):
            if everything or now_ms - count.from_ms >= EVERY_MS:
                del self._counts[key]
                if count.more:
                    self._record(key, f"{count.more} more since", now_ms)

    def _record(self, key: tuple[str, str, str], detail: str, now_ms: int) -> None:
        who, what, target = key

        def task() -> None:
            with self._store.transaction() as connection:
                audit.record(connection, self._store.tenant, who, what, target, detail, now_ms)

        self.write(task)
