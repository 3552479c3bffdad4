"""Follows the feed for many at once: one look at the store per process finds what is new and wakes everybody.

Promises
- Each follower gets every event it wants, in order, from where it asked on; it reads at its own pace, and nothing is
  kept in memory for it meanwhile.
- Whoever is so slow that what comes next for them was pruned is told so, and let go.
- `close` lets everybody go at once.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from detector.errors import TocsinError
from streams.feeds.log import ALL, Entry, Filter, Page, bounds, read
from streams.store import Store

POLL_S = 0.25
QUIET_S = 15.0
"""After so long without an event a follower is given a sign of life."""
FOLLOWERS = 100
"""So many may follow at once."""


@dataclass(frozen=True)
class Gap:
    """What comes next was pruned."""

    after: int
    oldest: int


class FullError(TocsinError):
    """As many follow as may."""


class Hub:
    """The followers of one tenant's feed, on one event loop."""

    def __init__(
        self, store: Store, *, poll_s: float = POLL_S, quiet_s: float = QUIET_S, followers: int = FOLLOWERS
    ) -> None:
        self._store, self._poll_s, self._quiet_s, self._most = store, poll_s, quiet_s, followers
        self.followers = 0
        self.closed = False
        self._newest = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        return self.followers >= self._most

    async def follow(self, after: int, wanted: Filter = ALL) -> AsyncGenerator[Entry | Gap | None]:
        """Yield the events after a number as they come, and None where none comes for a while.

        Ends after a `Gap`, and when the hub is closed.

        Raises
        ------
        FullError
            As many follow as may.
        """
        self._enter()
        try:
            while not self.closed:
                changed = self._changed
                page = await asyncio.to_thread(read, self._store, after, wanted)
                if page.lost(after):
                    yield Gap(after, page.oldest)
                    return
                for entry in page.entries:
                    yield entry
                    if self.closed:
                        return
                after = page.next
                if after >= page.newest and not await self._news(page, changed):
                    yield None
        finally:
            self._leave()

    async def _news(self, page: Page, changed: asyncio.Event) -> bool:
        """Wait until there is more than a page knows of; False where that takes too long."""
        try:
            async with asyncio.timeout(self._quiet_s):
                while not self.closed and self._newest <= page.newest:
                    await changed.wait()
                    changed = self._changed
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Let everybody go; may be called from another thread."""
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _enter(self) -> None:
        if self.full:
            message = f"as many follow the feed as may ({self._most})"
            raise FullError(message)
        self.followers += 1
        self._loop = asyncio.get_running_loop()
        if self._looking is None or self._looking.done():
            self._looking = self._loop.create_task(self._look())

    def _leave(self) -> None:
        self.followers -= 1
        if not self.followers and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        """Look for what is new as long as anybody follows."""
        while True:
            try:
                _, newest = await asyncio.to_thread(bounds, self._store)
            except TocsinError:  # the store can't be read just now: whoever follows waits on
                newest = self._newest
            if newest > self._newest:
                self._newest = newest
                self._wake()
            await asyncio.sleep(self._poll_s)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
