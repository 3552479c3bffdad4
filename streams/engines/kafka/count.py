"""The Counters of the partitions that are assigned to this process.

Time passes on a live input by ticks, and only on a partition of which the broker has just said that nothing is left to
read: a broker that is away makes no silence. Once it is back, time stands still for as long again, up to half a minute:
what producers could not send meanwhile comes first, and is not late.
"""

import asyncio
import logging
from collections.abc import Mapping

from aiokafka.errors import KafkaError

from detector.errors import FencedError, UnreachableError
from detector.pack import unpack
from streams.engines.faust_app import App, check_place, commit_for_lag_tools, leave
from streams.engines.kafka.shared import ASKED_S, PAUSE_S, Shared
from streams.engines.kafka.waker import Waker
from streams.engines.stages import Counting, Progress, flush
from streams.intake.quota import Quota
from streams.kafka.groups import note_of
from streams.kafka.unopened import Taken
from streams.store.engines import COUNT

COMMIT_S = 1.0
BEHIND_MS = 60_000
"""Whoever is so far behind in reading commits by the second; else what closed a window goes out at once."""
COMMIT_EVENTS = 200_000
"""So many counted events are committed at once, however little time has passed."""
TICK_S = 0.25

_log = logging.getLogger("tocsin.worker")
_KEPT: set[asyncio.Task[None]] = set()


class CountRole:
    """Counts the partitions that are assigned to this process."""

    def __init__(self, shared: Shared, waker: Waker) -> None:
        self.topic = shared.kafka.topics.events
        self._shared, self._waker = shared, waker
        self._held: dict[int, Counting] = {}
        self._seen: dict[int, int | None] = {}
        """Where the partitions stood when the brokers were last asked."""
        self._marks: dict[int, tuple[int, int]] = {}
        """Where partitions ended, and what time it was for the input then: it passes once they are read so far."""
        self._warned: set[str] = set()
        self._lock = asyncio.Lock()
        self._committed_s = self._ticked_s = self._refreshed_s = self._asked_s = 0.0
        self.app: App | None = None

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int | None]:
        async with self._lock:
            stages = [Counting(self._shared.config, self.topic, p, self._quota()) for p in sorted(partitions)]
            await self._shared.take_over(stages)
            self._held, self._marks = dict(zip(sorted(partitions), stages, strict=True)), {}
            return {p: 0 if stage.next is None else stage.next for p, stage in self._held.items()}

    def sent(self, places: Mapping[int, int]) -> None:
        for partition, stage in self._held.items():
            stage.next = places[partition]

    def _quota(self) -> Quota | None:
        limit = self._shared.kafka.quota
        return None if limit is None else Quota(limit, self._shared.partitions)

    async def revoked(self) -> None:
        async with self._lock:
            try:
                self._flush_now()
            except (UnreachableError, FencedError) as error:
                _log.warning("%s: whoever takes over counts it again", error)
            for stage in self._held.values():
                self._shared.doing.waits(stage.name, waiting=False)
            self._held = {}

    async def take(self, partition: int, fetched: Taken) -> None:
        async with self._lock:
            stage = self._held.get(partition)
            if stage is None or stage.next is None:
                return
            records = fetched.records
            if fetched.first != stage.next:
                low = await self._check(partition, stage.next)
                if fetched.whole and fetched.first > max(stage.next, low):
                    leave(f"{stage.source}: {fetched.first:,} came where {stage.next:,} was to come; start again")
            if fetched.first < stage.next:
                records = [record for record in records if record.offset >= stage.next]
            if not records:
                stage.pass_over(fetched.next)
                return
            now_s = self._shared.clock.monotonic_s()
            if now_s - self._refreshed_s > COMMIT_S:
                await self._shared.persist(self._shared.aliases.refresh)
                self._refreshed_s = now_s
            batch = self._shared.messages.batch(records, stage.quota)
            # Of this tenant's: what time others' records say is nothing to it.
            ingest_ms = int(batch.ingest_ms[-1]) if len(batch.ingest_ms) else records[-1].timestamp
            stage.feed(batch, fetched.next, ingest_ms)
            if sum(held.effects.records for held in self._held.values()) >= COMMIT_EVENTS:
                await self._flush()

    async def _check(self, partition: int, place: int) -> int:
        """See why the consumer does not go on where the store stands; returns where the partition begins."""
        assert self.app is not None
        while True:
            ends = await self._shared.ends_of(self.app, self.topic)
            try:
                low = await self.app.begins_at(self.topic, partition)
            except (KafkaError, TimeoutError):
                ends = None
            if ends is not None:
                break
            await asyncio.sleep(PAUSE_S)
        if partition in ends:
            where = f"{self.topic}/{partition}"
            check_place(where, place, low, ends[partition], accept_loss=self.app.accept_loss)
        return low

    async def turn(self) -> None:
        async with self._lock:
            now_s = self._shared.clock.monotonic_s()
            self._shared.doing.turned_s = now_s
            if now_s - self._asked_s >= ASKED_S:
                await self._shared.persist(self._hold)
                await self._ends()
            if self._shared.ends is not None:
                await self._drain(self._shared.ends)
            elif now_s - self._ticked_s >= TICK_S:
                self._ticked_s = now_s
                await self._tick()
            closed = any(stage.effects.windows for stage in self._held.values())
            if (closed and not self._behind()) or now_s - self._committed_s >= COMMIT_S:
                await self._flush()

    def _hold(self) -> None:
        """Notice that another has the work, also where there is nothing to commit."""
        self._shared.engines.hold({stage.name: stage.epoch for stage in self._held.values()})

    def _behind(self) -> bool:
        newest_ms = max(stage.says.event_ms for stage in self._held.values())
        return newest_ms < self._shared.clock.now_ms() - BEHIND_MS

    async def _flush(self) -> None:
        await self._shared.persist(self._flush_now)

    def _flush_now(self) -> None:
        self._committed_s = self._shared.clock.monotonic_s()
        effects, moved = flush(self._shared.engines, self._held.values(), self._shared.clock.now_ms())
        for warning in effects.warnings:
            if warning not in self._warned:
                _log.warning("%s", warning)
                self._warned.add(warning)
        if not moved:
            return
        self._waker.wake(self._shared.kafka.topics.windows)
        if self.app is not None:
            places = {(self.topic, p): stage.next for p, stage in self._held.items() if stage.next is not None}
            task = asyncio.create_task(commit_for_lag_tools(self.app, places, note_of(self._shared.identity)))
            _KEPT.add(task)
            task.add_done_callback(_KEPT.discard)

    # --- time -----------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Let time pass on partitions up to when all that they held then is read: others' records never hold it up."""
        asked_ms = self._shared.clock.now_ms()
        now_ms = await self._shared.persist(lambda: self._event_now_ms(asked_ms))
        if now_ms is None or not any(stage.counter.would_close(now_ms) for stage in self._held.values()):
            return
        if (ends := await self._ends()) is None or self._shared.clock.monotonic_s() < self._shared.patient_until_s:
            return
        for partition, stage in self._held.items():
            place, end = stage.next or 0, ends[partition]
            then = (end, now_ms) if place >= end else self._marks.setdefault(partition, (end, now_ms))
            if place >= then[0]:
                self._marks.pop(partition, None)
                stage.next = place
                stage.tick(then[1])

    def _event_now_ms(self, now_ms: int) -> int | None:
        """What time it is for the input: the newest event's of all, and what has passed since that one entered."""
        says = [stage.says for stage in self._held.values()]
        if not any(of.live for of in says):
            counts = self._shared.engines.standings(COUNT)
            says += [unpack(of.body, Progress) for of in counts.values()]
        live = [of for of in says if of.live and of.event_ms >= 0]
        if not live:
            return None
        newest = max(live, key=lambda of: (of.event_ms, of.entered_ms))
        return min(now_ms, newest.event_ms + max(0, now_ms - newest.entered_ms))

    async def _ends(self) -> dict[int, int] | None:
        """Where the partitions held end, as the brokers say now; None where they do not."""
        self._asked_s = self._shared.clock.monotonic_s()
        ends = await self._shared.ends_of(self.app, self.topic)
        if ends is None or set(self._held) - set(ends):
            return None
        for p, stage in self._held.items():
            if stage.next is not None and stage.next > ends[p]:
                await self._check(p, stage.next)
        lag = {p: max(0, ends[p] - (stage.next or 0)) for p, stage in self._held.items()}
        self._shared.doing.lag = {(self.topic, p): n for p, n in lag.items()}
        for p, stage in self._held.items():
            self._shared.doing.waits(stage.name, waiting=bool(lag[p]) and stage.next == self._seen.get(p))
        self._seen = {p: stage.next for p, stage in self._held.items()}
        return ends

    # --- to the end, and no further ---------------------------------------------------------------------------------

    async def _drain(self, ends: Mapping[int, int]) -> None:
        """What is read up to the ends seen at the start is closed once all partitions are."""
        if any((stage.next or 0) < ends[partition] for partition, stage in self._held.items()):
            return
        for partition, stage in self._held.items():
            stage.settle(ends[partition])
        await self._flush()
        says = await self._shared.persist(self._shared.drained)
        if says is None:
            return
        highest_ms = max(of.highest_ms for of in says)
        for stage in self._held.values():
            stage.close_until(highest_ms)
        await self._flush()
        if await self._shared.persist(self._shared.frontier_ms) >= highest_ms:
            self._shared.done.add(COUNT)
