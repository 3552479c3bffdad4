"""What the roles of a worker share: the store, waited for where it is away; the brokers; how far all have come."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from aiokafka.errors import KafkaError

from detector.config import Config
from detector.errors import FencedError, UnreachableError
from detector.events import Batch
from detector.pack import unpack
from streams.clock import Clock
from streams.engines.beside import Beside
from streams.engines.faust_app import App, leave
from streams.engines.session import Aliases
from streams.engines.stages import Counting, Desking, Progress, Watching, frontier_of
from streams.engines.worker_health import Doing
from streams.intake.quota import Quota
from streams.kafka.client import KafkaSettings
from streams.store.engines import COUNT, Engines

ASKED_S = 5.0
"""How often the brokers are asked where the partitions end, however idle."""
AWAY_S = 1.0
"""Brokers that answer only after so long were away."""
PATIENCE_S = 30.0
"""So long at most time goes on standing still once they answer again."""
PAUSE_S = 0.5
GIVE_UP_S = 60.0
"""A store that can't be written for so long ends the worker: whoever starts it again has better luck."""

_log = logging.getLogger("tocsin.worker")
T = TypeVar("T")


class Messages(Protocol):
    """Reads what a partition's records hold."""

    def batch(self, records: list[Any], quota: Quota | None = None) -> Batch:
        """Return this tenant's events of fetched records, and what among them is none, by offset."""
        ...


@dataclass
class Shared:
    """What the roles of a process work with."""

    engines: Engines
    config: Config
    kafka: KafkaSettings
    partitions: int
    """How many the input has."""
    messages: Messages
    aliases: Aliases
    clock: Clock
    doing: Doing
    beside: Callable[[], Beside]
    """Makes what runs where the Desk runs."""
    identity: str
    """Of the store."""
    input: Callable[[], None]
    """Raises where the input's topic is no longer what the store was made for."""
    ends: Mapping[int, int] | None = None
    """Where the input's partitions ended at the start, when they are to be drained; None: for ever."""
    stopping: bool = False
    alone: bool = False
    """The brokers do not answer, and that was said."""
    patient_until_s: float = 0.0
    """They were away: time stands still until then, on the clock that only goes forward."""
    _unanswered_s: float | None = None
    """Since when they have been asked for nothing."""
    bells: dict[str, asyncio.Event] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    """Roles of this process that have drained all there was."""

    async def persist(self, write: Callable[[], T]) -> T:
        """Write to the store, and again where that can't be done now."""
        began_s = self.clock.monotonic_s()
        told = False
        while True:
            if self.doing.asking_s is None:
                self.doing.asking_s = self.clock.monotonic_s()
            try:
                written = write()
                self.doing.asking_s = None
                return written
            except FencedError as error:
                leave(str(error))
            except UnreachableError as error:
                waited_s = self.clock.monotonic_s() - began_s
                if waited_s > GIVE_UP_S:
                    leave(f"{error}; given up after {waited_s:.0f} s")
                if not told:
                    _log.warning("%s; trying again, and taking nothing more in", error)
                    told = True
            await asyncio.sleep(PAUSE_S)

    async def take_over(self, stages: Iterable[Counting | Watching | Desking]) -> None:
        """Take engines over, and go on from their last commits."""
        for stage in stages:
            await self.persist(partial(self._take_over, stage))

    def _take_over(self, stage: Counting | Watching | Desking) -> None:
        (taken,) = self.engines.take_over([stage.name])
        stage.resume(taken)

    # --- the brokers ------------------------------------------------------------------------------------------------

    async def ends_of(self, app: App | None, topic: str) -> dict[int, int] | None:
        """Return where this process' partitions of a topic end; None where the brokers do not say."""
        assert app is not None
        asked_s = self.clock.monotonic_s()
        if self._unanswered_s is None:
            self._unanswered_s = asked_s
        try:
            found = await app.ends_at(topic)
        except (KafkaError, TimeoutError) as error:
            if not self.alone and not self.stopping:
                self.alone = True
                _log.warning(
                    "the brokers at %s do not answer (%s): nothing is read and time stands still until they do",
                    self.kafka.bootstrap,
                    type(error).__name__,
                )
            return None
        now_s = self.doing.broker_s = self.clock.monotonic_s()
        away_s = now_s - min(asked_s, asked_s if self._unanswered_s is None else self._unanswered_s)
        self._unanswered_s = None
        if away_s > AWAY_S:
            # Producers held back what they had, and try again after pauses that grew for as long: it comes first.
            self.patient_until_s = max(self.patient_until_s, now_s + min(away_s, PATIENCE_S))
        if self.alone:
            self.alone = False
            _log.warning("the brokers answer again")
        return found

    # --- how far all have come --------------------------------------------------------------------------------------

    def drained(self) -> list[Progress] | None:
        """Return what the Counters say once all of them have read up to the ends seen at the start; None before."""
        assert self.ends is not None
        counts = self.engines.standings(COUNT)
        out = []
        for partition in range(self.partitions):
            found = counts.get(f"{COUNT}/{self.kafka.topics.events}/{partition}")
            if found is None or found.next < self.ends[partition]:
                return None
            says = unpack(found.body, Progress)
            if not says.ended:
                return None
            out.append(says)
        return out

    def frontier_ms(self) -> int:
        """Return up to where all of the input's partitions have closed windows; `NEVER` while one has not begun."""
        return frontier_of(self.engines.standings(COUNT), self.kafka.topics.events, self.partitions)

    def counted_all(self) -> int | None:
        """Return the frontier once the Counters have drained the input; None before."""
        says = self.drained()
        if says is None:
            return None
        highest_ms = max(of.highest_ms for of in says)
        return highest_ms if self.frontier_ms() >= highest_ms else None
