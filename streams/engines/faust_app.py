"""Faust as consumer and scheduler: who works on which partitions, and from where. Nothing that must be exact is its.

Promises
- Whole fetches come in, one item a partition, raw; of transactions only what was committed.
- Before the first record after an assignment each partition stands where the store says; what the log no longer holds,
  or does not hold yet, ends the worker with what to do.
- Asked to stop, the process has ended within `STOP_S`, whatever brokers and store do.
- A process whose loop stands still for `STUCK_S`, as on a store that neither answers nor refuses, ends by itself.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import faust
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, ConsumerRebalanceListener
from faust.transport.utils import DefaultSchedulingStrategy

from detector.errors import FencedError, TocsinError, UnreachableError
from streams.kafka import unopened
from streams.kafka.client import KafkaSettings
from streams.kafka.unopened import Taken

STOP_S = 20.0
STUCK_S = 120.0
ASSIGN_S = 120.0
"""The brokers may take so long to say where newly assigned partitions begin and end."""
RESTART = 70
"""Exit code of a worker that must be started anew: another one has its work, or something did not get better."""
WRONG_USAGE = 2
"""Exit code where starting anew does not help: a person has to decide."""
FETCH_WAIT_MS = 100
ASK_S = 5.0
"""The brokers are waited for so long."""

_log = logging.getLogger("tocsin.worker")


class Role(Protocol):
    """What a Faust app works for."""

    @property
    def topic(self) -> str: ...

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int | None]:
        """Take these partitions' engines over; returns from which offset each goes on, None: from the end."""
        ...

    def sent(self, places: Mapping[int, int]) -> None:
        """Note from where each partition is read now."""
        ...

    async def revoked(self) -> None:
        """Commit what can be committed, and let go."""
        ...

    async def take(self, partition: int, fetched: Taken) -> None:
        """Take what was fetched of a partition."""
        ...

    async def turn(self) -> None:
        """Do what time brings."""
        ...


def leave(why: str, code: int = RESTART, *, unexpected: bool = False) -> NoReturn:
    """End this process at once: what is not committed is done again by whoever takes over."""
    _log.error("%s", why, exc_info=unexpected)
    logging.shutdown()
    os._exit(code)


@dataclass(frozen=True, slots=True)
class _Fetched:
    """What was fetched, and after how many times of sending the consumer somewhere."""

    what: Taken
    sent: int


class _Fetch:
    """Looks like one record to Faust: its offset is the last one's, its value is what was fetched."""

    __slots__ = (
        "checksum",
        "headers",
        "key",
        "offset",
        "partition",
        "serialized_key_size",
        "serialized_value_size",
        "timestamp",
        "timestamp_type",
        "topic",
        "value",
    )

    def __init__(self, partition: TopicPartition, fetched: _Fetched) -> None:
        self.topic, self.partition, self.offset = partition.topic, partition.partition, fetched.what.next - 1
        self.timestamp, self.timestamp_type = 0, 0
        self.headers, self.key, self.value, self.checksum = (), None, fetched, None
        self.serialized_key_size = self.serialized_value_size = 0


class _Fetches(DefaultSchedulingStrategy):
    def iterate(self, records: Mapping[Any, list[Any]]) -> Iterator[tuple[Any, Any]]:
        for partition, (fetched,) in records.items():
            yield partition, _Fetch(partition, fetched)


class _Listener(ConsumerRebalanceListener):
    """Tells the app from when on its partitions are no longer its own, and when it has new ones."""

    def on_partitions_revoked(self, revoked: Any) -> Awaitable[None]:
        app: Any = self._thread.app
        app.moves, app.moving = app.moves + 1, True
        return super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any) -> None:
        app: Any = self._thread.app
        app.moving = False
        await super().on_partitions_assigned(assigned)


class _Thread(AIOKafkaConsumerThread):
    """Has what Faust has no setting for.

    Of transactions only what was committed is read. And a partition that has just been read waits for its next record
    no longer than `FETCH_WAIT_MS`: it is not part of the request under way, which ends when any other has a record.
    And what was fetched is numbered here, where seeks and fetches come one after the other: whoever looks later can't
    tell what was on its way while the consumer was sent elsewhere.
    """

    _sent = 0
    """How often the consumer was sent somewhere."""

    async def send(self, places: Mapping[Any, int]) -> int:
        """Send the consumer to these places; returns the number that what it fetches from there has."""
        sent: int = await self.call_thread(self._send, places)
        return sent

    async def _send(self, places: Mapping[Any, int]) -> int:
        self._sent += 1  # one step with the seek, which comes before all that is waited for
        sent = self._sent
        await self._seek_wait(self._ensure_consumer(), places)
        return sent

    async def _fetch_records(self, *given: Any, **more: Any) -> dict[Any, list[Any]]:
        found = await super()._fetch_records(*given, **more)
        return {tp: [_Fetched(unopened.taken(records), self._sent)] for tp, records in found.items() if records}

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer: Any = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class _AllNew(dict[Any, int | None]):
    """How far Faust has handed on a partition's records: it would drop older ones also after a seek back to them."""

    def __getitem__(self, _: Any) -> None:
        """Nothing was handed on: `_Thread` and `App.take` see to it that no record comes twice."""


class _FromTheStore(Consumer):
    """Goes on where the store says: `perform_seek` is the last thing before records flow after an assignment.

    Faust also calls it in the midst of a rebalance, when what is assigned is no longer, and twice at the same time:
    then nothing is taken over.
    """

    RebalanceListener = _Listener

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._read_offset = _AllNew()

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Send the consumer to where the store stands; where Kafka has us committed is for lag tools only."""
        assert isinstance(self.app, App)
        async with self.app.handover:
            await _guarded(self._seek_to_the_store(self.app))

    async def _seek_to_the_store(self, app: "App") -> None:
        if app.moving:
            return
        moves, role, app.taking = app.moves, app.role, None
        mine = [tp for tp in self.assignment() if tp.topic == role.topic]
        wanted = await role.assigned(frozenset(tp.partition for tp in mine))
        if not mine:
            return
        for left in reversed(range(int(ASSIGN_S / ASK_S))):
            if app.moves != moves:
                return
            try:
                low = await asyncio.wait_for(self.earliest_offsets(*mine), ASK_S)
                end = await asyncio.wait_for(self.highwaters(*mine), ASK_S)
                break
            except (KafkaError, TimeoutError) as error:
                if not left:
                    leave(f"the brokers did not say where the partitions begin and end ({_named(error)}); start again")
                await asyncio.sleep(1.0)
        places: dict[Any, int] = {}
        for tp in mine:
            place = wanted[tp.partition]
            if place is None:
                places[tp] = end[tp]
                continue
            place = max(place, 0)
            check_place(f"{tp.topic}/{tp.partition}", place, low[tp], end[tp], accept_loss=app.accept_loss)
            places[tp] = max(place, low[tp])
        try:
            assert isinstance(self._thread, _Thread)
            sent = await self._thread.send(places)
        except IllegalStateError:
            if app.moves == moves:
                raise
            return  # they have just been taken away again
        role.sent({tp.partition: place for tp, place in places.items()})
        app.taking = sent


def check_place(where: str, place: int, low: int, end: int, *, accept_loss: bool) -> None:
    """End the process where a partition does not hold the place that the store stands at, and say what to do."""
    if place > end:
        leave(
            f"{where}: the store stands at offset {place:,}, the topic ends at {end:,}: "
            "it was deleted and made again, or is another one; take another store, or give the topic back",
            WRONG_USAGE,
        )
    if place and place < low:
        lost = f"{where}: retention has removed {low - place:,} records that were not read"
        if not accept_loss:
            leave(f"{lost}; start once with --accept-loss to go on without them", WRONG_USAGE)
        _log.error("%s; going on without them", lost)


class _NoTables(TableManager):
    """Begins at once: Faust gives tables a second to be registered, and there are none here."""

    async def sleep(self, *_: Any, **__: Any) -> None:
        """Wait for nobody."""


class App(faust.App):
    """One role's consumer group."""

    role: Role
    accept_loss = False
    moves = 0
    """How often partitions were taken away."""
    moving = False
    """They have been, and no others were assigned yet."""
    taking: int | None = None
    """What is taken was fetched after so many times of sending the consumer somewhere; None: nothing is."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.handover = asyncio.Lock()
        """Between engines that are let go, those that are taken over, and what is fetched."""

    async def take(self, partition: int, fetched: _Fetched) -> None:
        """Hand on what was fetched, unless the consumer was sent elsewhere since."""
        async with self.handover:
            if fetched.sent == self.taking:
                await self.role.take(partition, fetched.what)

    async def let_go(self) -> None:
        async with self.handover:
            self.taking = None
            await self.role.revoked()

    async def begins_at(self, topic: str, partition: int) -> int:
        """Return the first offset that a partition still holds."""
        tp: Any = TopicPartition(topic, partition)
        found: Mapping[Any, int] = await asyncio.wait_for(self.consumer.earliest_offsets(tp), ASK_S)
        return found[tp]

    async def ends_at(self, topic: str) -> dict[int, int]:
        """Return where this process' partitions of a topic end."""
        mine = [tp for tp in self.consumer.assignment() if tp.topic == topic]
        # Who has none asks for another's: it has to know whether the brokers are there.
        first: Any = TopicPartition(topic, 0)
        found = await asyncio.wait_for(self.consumer.highwaters(*(mine or [first])), ASK_S)
        return {tp.partition: int(end) for tp, end in found.items() if tp in mine}

    def _create_directories(self) -> None:
        """Make none: they are for Faust's tables, and we have none."""

    def _new_transport(self) -> Any:
        transport: Any = super()._new_transport()
        transport.Consumer = _FromTheStore
        return transport


def create_app(name: str, kafka: KafkaSettings, role: Role, every_s: float, **settings: Any) -> App:
    """Return the Faust app of a role: `name` is its consumer group, `every_s` how often it turns without a record."""
    app = App(
        name,
        **kafka.for_faust(),
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        TableManager=_NoTables,
        ConsumerScheduler=_Fetches,
        stream_buffer_maxsize=16,
        worker_redirect_stdouts=False,
        producer_threaded=False,
        logging_config=None,
        **settings,
    )
    app.role = role
    topic = app.topic(role.topic, value_type=bytes, value_serializer="raw", acks=False)

    @app.agent(topic, name=f"{name}.{role.topic}", concurrency=1)
    async def work(stream: Any) -> None:
        async for event in stream.events():
            await _guarded(app.take(event.message.partition, event.value))

    async def turn() -> None:
        while not app.should_stop:
            await _guarded(role.turn())
            await asyncio.sleep(every_s)

    app.task(turn)

    @app.on_partitions_revoked.connect
    async def revoked(*_args: Any, **_kwargs: Any) -> None:
        await _guarded(app.let_go())

    return app


async def _guarded(step: Awaitable[None]) -> None:
    """No exception leaves an agent, or Faust would take the record for done."""
    try:
        await step
    except asyncio.CancelledError:
        raise
    except (FencedError, UnreachableError) as error:
        leave(str(error))
    except TocsinError as error:
        leave(str(error), error.exit_code)
    except Exception as error:
        leave(f"{type(error).__name__}: {error}; start again", unexpected=True)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def commit_for_lag_tools(app: App, places: Mapping[tuple[str, int], int], note: str) -> None:
    """Tell Kafka how far we are, and whose that is: no place is read again from there, and a failure harms nobody."""
    if app.moving:  # it would be refused, and have this worker join once more
        return
    consumer: Any = app.consumer
    thread, mine = consumer._thread, consumer.assignment()
    offsets = {TopicPartition(*tp): (place, note) for tp, place in places.items() if TopicPartition(*tp) in mine}
    try:
        if offsets:
            await asyncio.wait_for(thread.call_thread(thread._ensure_consumer().commit, offsets), ASK_S)
    except (KafkaError, TimeoutError, AssertionError) as error:
        _log.debug("no offsets committed to Kafka: %s", error)


class _Guard(threading.Thread):
    """Ends the process where its loop stands still, or long after it was asked to stop.

    It counts its own turns: while the whole process is frozen none pass.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="guard", daemon=True)
        self.stopping = False
        self._loop = loop
        self._turned = threading.Event()
        self._turned.set()
        self._never = threading.Event()

    def run(self) -> None:
        still = since_asked = 0
        while not self._never.wait(1.0):
            still = 0 if self._turned.is_set() else still + 1
            since_asked += self.stopping
            if since_asked >= STOP_S:
                os._exit(0)
            if still >= STUCK_S:
                leave(f"nothing has moved for {still} s: the store does not answer; start again")
            if not still:
                self._turned.clear()
                with suppress(RuntimeError):  # the loop is closed: the process ends
                    self._loop.call_soon_threadsafe(self._turned.set)


class Worker(faust.Worker):
    """Ends within `STOP_S` of being asked to, and on its own when the work is done."""

    def __init__(self, apps: list[App], stopping: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(apps[0], *apps[1:], redirect_stdouts=False, quiet=True, override_logging=False, loop=loop)
        self._stopping = stopping
        self._guard = _Guard(loop)
        self._guard.start()
        self.spinner = None

    def end(self) -> None:
        """Stop: what was taken in is committed, and the process ends."""
        self._guard.stopping = True
        self._stopping()
        super()._on_sigterm()

    def _install_signal_handlers_unix(self) -> None:
        # The loop's own handlers would not be heard while it waits for a store that does not answer.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)

    def _asked(self, *_: object) -> None:
        self._guard.stopping = True
        self.loop.call_soon_threadsafe(self.end)
