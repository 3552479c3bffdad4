"""The Watches and the Desk as they fall to this process: woken by a record, or by a second that passes."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from kafka.partitioner.default import murmur2

from detector.counter.gate import NEVER
from streams.engines.beside import Beside
from streams.engines.faust_app import App
from streams.engines.kafka.shared import ASKED_S, Shared
from streams.engines.kafka.waker import Waker
from streams.engines.stages import Desking, Watching, watched
from streams.kafka.unopened import Taken
from streams.store.engines import DESK, WATCH

T = TypeVar("T")
IDLE_S = 1.0
"""The store is looked at so often where nothing wakes."""


class _Woken:
    """What Watches and Desk have in common: they are woken, and work on what the store holds."""

    def __init__(self, shared: Shared, topic: str) -> None:
        self.topic = topic
        self._shared = shared
        self._bell = shared.bells.setdefault(topic, asyncio.Event())
        self._lock = asyncio.Lock()
        self._turned_s = self._asked_s = 0.0
        self.app: App | None = None

    async def take(self, _partition: int, fetched: Taken) -> None:
        if self._shared.config.tenant.encode() in {record.value for record in fetched.records}:
            self._bell.set()

    def sent(self, places: Mapping[int, int]) -> None:
        """Its place is in the store, not in the topic that wakes it."""

    async def _due(self) -> bool:
        now_s = self._shared.clock.monotonic_s()
        self._shared.doing.turned_s = now_s
        if now_s - self._asked_s >= ASKED_S:
            self._asked_s = now_s
            await self._shared.ends_of(self.app, self.topic)
        if not self._bell.is_set() and now_s - self._turned_s < IDLE_S:
            return False
        self._bell.clear()
        self._turned_s = now_s
        return True


class WatchRole(_Woken):
    """Runs the Watches of the signals that fall to the partitions assigned to this process."""

    def __init__(self, shared: Shared, waker: Waker, partitions: int) -> None:
        super().__init__(shared, shared.kafka.topics.windows)
        self._waker, self._partitions = waker, partitions
        self._held: list[Watching] = []

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int | None]:
        async with self._lock:
            names = [signal.name for signal in self._shared.config.signals]
            mine = [name for name in names if partition_of(name, self._partitions) in partitions]
            stages = [Watching(self._shared.engines, self._shared.config, name) for name in mine]
            await self._shared.take_over(stages)
            self._held = stages
            self._bell.set()
            return dict.fromkeys(partitions)

    async def revoked(self) -> None:
        async with self._lock:
            self._held = []

    async def turn(self) -> None:
        if not await self._due():
            return
        async with self._lock:
            frontier_ms = await self._shared.persist(self._shared.frontier_ms)
            while frontier_ms != NEVER and await self._round(frontier_ms):
                self._waker.wake(self._shared.kafka.topics.anomalies)
            if self._shared.ends is not None and await self._shared.persist(self._drained):
                self._shared.done.add(WATCH)

    async def _round(self, frontier_ms: int) -> bool:
        """Take what all partitions have closed, and commit it together: the Desk waits for the last of them."""
        for stage in self._held:
            await _step(self._shared, [stage], partial(stage.step, frontier_ms))
            await asyncio.sleep(0)  # others have their turn between two signals
        taken = [stage for stage in self._held if stage.found]
        await _step(self._shared, taken, partial(watched, self._shared.engines, taken, self._shared.clock.now_ms()))
        return bool(taken)

    def _drained(self) -> bool:
        end_ms = self._shared.counted_all()
        watches = self._shared.engines.standings(WATCH)
        if end_ms is None or end_ms == NEVER:  # the latter: there was no event at all
            return end_ms is not None
        return all(
            (found := watches.get(f"{WATCH}/{signal.name}")) is not None and found.next >= end_ms
            for signal in self._shared.config.signals
        )


class DeskRole(_Woken):
    """Runs the Desk where its one partition is assigned to this process."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared, shared.kafka.topics.anomalies)
        self._desk: Desking | None = None
        self._beside: Beside | None = None

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int | None]:
        async with self._lock:
            await self._let_go()
            if 0 in partitions:
                shared = self._shared
                desk = await shared.persist(lambda: Desking(shared.engines, shared.config, shared.clock))
                await shared.take_over([desk])
                self._desk = desk
                if shared.ends is None:
                    beside = shared.beside()
                    await shared.persist(beside.start)
                    self._beside = beside
            self._bell.set()
            return dict.fromkeys(partitions)

    async def revoked(self) -> None:
        async with self._lock:
            await self._let_go()

    async def _let_go(self) -> None:
        beside, self._desk, self._beside = self._beside, None, None
        if beside is not None:
            await asyncio.to_thread(beside.stop)

    async def turn(self) -> None:
        if not await self._due():
            return
        async with self._lock:
            desk = self._desk
            while desk is not None and await _step(self._shared, [desk], desk.step) > 0:
                if self._beside is not None:
                    self._beside.wake()
                await asyncio.sleep(0)
            if self._shared.ends is not None and await self._shared.persist(self._drained):
                self._shared.done.add(DESK)

    def _drained(self) -> bool:
        end_ms = self._shared.counted_all()
        desk = self._shared.engines.standings(DESK).get(DESK)
        return end_ms is not None and (end_ms == NEVER or (desk is not None and desk.next >= end_ms))


async def _step(shared: Shared, stages: Sequence[Watching | Desking], step: Callable[[], T]) -> T:
    """Take a step; one that could not be written is forgotten, and taken again from what the store holds."""
    failed = False

    def again() -> T:
        nonlocal failed
        if failed:
            for stage, taken in zip(stages, shared.engines.take_over([stage.name for stage in stages]), strict=True):
                stage.resume(taken)
        failed = True
        return step()

    return await shared.persist(again)


def partition_of(name: str, partitions: int) -> int:
    """Return to which partition of the internal topic a signal's Watch belongs."""
    return int(murmur2(name.encode()) & 0x7FFFFFFF) % partitions
