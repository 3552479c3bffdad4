"""Takes what comes in over HTTP to the input's topic, where workers on Kafka read it.

Promises
- A request is done only after all replicas in sync have its messages (`acks=all`, idempotent). Where that did not
  happen within `ANSWER_S` it fails; what was on its way by then may still arrive. Whoever sends it again is counted
  once, by the events' ids: as after any answer that got lost.
- A request's messages have its moment as their time, and name the tenant as the topic's records do.
- Memory is bounded: so much waits for the brokers, the rest is turned away. While they do not answer only what is
  already on its way waits for them; everything else is turned away at once. When they are back it goes on by itself.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detector.errors import ConfigError, TocsinError
from streams.clock import Clock
from streams.intake.bodies import Lines
from streams.intake.tenants import DOOR
from streams.kafka.client import KafkaSettings
from streams.kafka.placing import GROUP_BYTES, Placed, Placer
from streams.kafka.producers import begin, let_go
from streams.settings import Settings
from streams.store.engines import COUNT, Standing
from streams.web.keeping import BusyError, UnwritableError
from streams.web.metrics import WebNumbers

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

WAITING_BYTES = 67_108_864
ANSWER_S = 5.0
"""So long a request waits for the brokers."""
REQUEST_MS = 5_000
PAUSE_S = 1.0
"""Between two tries to connect."""
CLOSE_S = 5.0

_log = logging.getLogger("tocsin.web")


class TopicWriter:
    """Writes to the input of one tenant's store; on one event loop, from its first request on.

    Parameters
    ----------
    kafka_input
        `TOPIC/PARTITIONS`, as the store has it: customers were placed among so many.
    """

    waits_on = "brokers"
    backlog_bytes = 0
    """Only the brokers know."""

    def __init__(self, kafka_input: str, kafka: KafkaSettings, tenant: str, clock: Clock, numbers: WebNumbers) -> None:
        import aiokafka  # noqa: F401  # now, in whatever thread this is, rather than later on the event loop

        topic, _, partitions = kafka_input.rpartition("/")
        self.topic, self.partitions = topic, int(partitions)
        self._kafka, self._clock, self._numbers = kafka, clock, numbers
        self._headers: list[tuple[str, bytes]] = []
        if kafka.tenant is not None:
            self._headers = [(kafka.tenant.header or DOOR, tenant.encode())]
        self.failing = ""
        self.failed_s = 0.0
        self._placer: tuple[Settings, Placer] | None = None
        self._waiting = 0
        self._producer: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        """A try to connect has ended, this way or the other."""
        self._sending: set[asyncio.Task[None]] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._closing = False
        self._marks: dict[int, tuple[int, int]] = {}
        """By partition: a message that the brokers have, and since when; the oldest that is not known to be read."""

    # --- records --------------------------------------------------------------------------------------------------

    def cut(self, lines: Lines, settings: Settings) -> list[Placed]:
        """Return the records as messages.

        Raises
        ------
        TooLargeError
            One of them is larger than the brokers take.
        """
        if self._placer is None or self._placer[0] is not settings:
            longest = settings.config.input.max_record_bytes
            placer = Placer(settings.format, settings.formats, self.partitions, self._kafka.message_bytes, longest)
            self._placer = settings, placer
        return self._placer[1].messages(lines.data)

    async def append(self, lines: Lines, cut: Sequence[Placed]) -> None:
        """Return once the brokers have the messages.

        Raises
        ------
        BusyError
            Too much waits for them.
        UnwritableError
            They are not known to have all of them.
        """
        size = len(lines.data)
        if self._closing:
            message = "the service is stopping; send it again"
            raise UnwritableError(message)
        if self.failing and (self._waiting or self._producer is None):
            self.connect()
            raise UnwritableError(self.failing)
        if self._waiting + size > WAITING_BYTES:
            message = f"{self._waiting:,} bytes wait for the brokers; send it again later"
            raise BusyError(message)
        begun_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        self._waiting += size
        sending = asyncio.create_task(self._send(cut, now_ms))
        self._sending.add(sending)
        sending.add_done_callback(lambda task: self._ended(task, size))
        done, _ = await asyncio.wait({sending}, timeout=ANSWER_S)
        if not done:
            self._fail(f"the brokers at {self._kafka.bootstrap} did not acknowledge within {ANSWER_S:.0f} s")
            if self._producer is None:
                sending.cancel()  # nothing of it has left
            raise UnwritableError(self.failing)
        error = None if sending.cancelled() else sending.exception()
        if error is not None or sending.cancelled():
            raise UnwritableError(self.failing or str(error))
        self._numbers.door_commit.observe(self._clock.monotonic_s() - begun_s)
        self._numbers.door_events.inc(lines.records)
        self._numbers.door_bytes.inc(size)

    async def _send(self, messages: Sequence[Placed], now_ms: int) -> None:
        """Give the messages to the brokers; done once these have each of them, or one was refused."""
        if self._producer is None:
            self.connect()
            await self._tried.wait()
        producer = self._producer
        if producer is None:
            raise UnwritableError(self.failing)
        self._check_partitions(len(await producer.partitions_for(self.topic)))
        sent: list[asyncio.Future[Any]] = []
        try:
            for one in messages:
                given = await producer.send(
                    self.topic,
                    one.value,
                    key=one.key,
                    partition=one.partition,
                    timestamp_ms=now_ms,
                    headers=self._headers,
                )
                given.add_done_callback(_looked_at)
                sent.append(given)
        except Exception:
            await asyncio.gather(*sent, return_exceptions=True)  # they take room until they are gone
            raise
        for end in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(end, BaseException):
                raise end
            if end.offset >= 0:
                self._marks.setdefault(end.partition, (end.offset, now_ms))

    def _ended(self, sending: "asyncio.Task[None]", size: int) -> None:
        self._waiting -= size
        self._sending.discard(sending)
        if sending.cancelled():
            return
        error = sending.exception()
        if error is None:
            self._well()
        elif not isinstance(error, UnwritableError):
            # What one message lost, its partition's next ones are missing: they are numbered by this producer.
            self._fail(f"the brokers at {self._kafka.bootstrap} refused it: {_words(error)}")
            self._replace()

    def _check_partitions(self, found: int) -> None:
        if found != self.partitions:
            message = (
                f"{self.topic} has {found} partitions, the store was made for {self.partitions}: "
                "customers are counted by partition; give --db a new store, or that topic back"
            )
            raise TocsinError(message)

    # --- the brokers ----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin to look for the brokers, until they are found; on the event loop."""
        if self._producer is None and not self._closing and (self._connecting is None or self._connecting.done()):
            self._tried.clear()
            self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        from aiokafka import AIOKafkaProducer
        from aiokafka.errors import KafkaError

        while not self._closing:
            producer = None
            try:
                arguments = self._kafka.for_aiokafka()
                producer = AIOKafkaProducer(
                    **arguments,
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=REQUEST_MS,
                    max_batch_size=min(GROUP_BYTES, self._kafka.message_bytes),
                    max_request_size=self._kafka.message_bytes,
                )
                async with asyncio.timeout(2 * ANSWER_S):
                    await begin(producer)
                    self._check_partitions(len(await producer.partitions_for(self.topic)))
            except (KafkaError, ConfigError, TocsinError, OSError, TimeoutError) as error:
                self._fail(_reason(error, self.topic, self._kafka.bootstrap))
                self._tried.set()
                if producer is not None:
                    await let_go(producer)
                await asyncio.sleep(PAUSE_S)
            except BaseException:
                if producer is not None:
                    await let_go(producer)
                raise
            else:
                self._producer = producer
                self._well()
                self._tried.set()
                return

    def _replace(self) -> None:
        """Go on with another producer; what this one still holds ends first, one way or the other."""
        old, self._producer = self._producer, None
        if old is not None:
            task = asyncio.create_task(_retire(old, set(self._sending)))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        self.connect()

    def _fail(self, why: str) -> None:
        if not self.failing:
            _log.warning("no events are taken: %s", why)
        self.failing, self.failed_s = why, self._clock.monotonic_s()

    def _well(self) -> None:
        if self.failing:
            _log.warning("the brokers answer again: events are taken")
        self.failing = ""

    # --- for whoever asks how it goes -----------------------------------------------------------------------------

    def unread_since(self, counts: Mapping[str, Standing]) -> int | None:
        """Return since when the oldest message waits that no worker is known to have read; None: none does."""
        for partition, (offset, _) in list(self._marks.items()):
            stands = counts.get(f"{COUNT}/{self.topic}/{partition}")
            if stands is not None and stands.next > offset:
                self._marks.pop(partition, None)
        return min((since_ms for _, since_ms in list(self._marks.values())), default=None)

    def stuck(self) -> bool:
        return False

    async def close(self) -> None:
        self._closing = True
        if self._sending:
            await asyncio.wait(self._sending, timeout=CLOSE_S)
        ending = {*self._sending, *self._retiring, *([self._connecting] if self._connecting else [])}
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._producer is not None:
            await let_go(self._producer)
            self._producer = None


async def _retire(producer: "AIOKafkaProducer", sending: set["asyncio.Task[None]"]) -> None:
    await let_go(producer)
    for task in sending:  # nothing is heard of theirs any more
        task.cancel()


def _looked_at(given: "asyncio.Future[Any]") -> None:
    """Take note of what became of a message, whoever still waits for it."""
    if not given.cancelled():
        given.exception()


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, TocsinError) else f"{type(error).__name__.removesuffix('Error')}"


def _reason(error: Exception, topic: str, bootstrap: str) -> str:
    from aiokafka.errors import UnknownTopicOrPartitionError

    if isinstance(error, TocsinError):
        return str(error)
    if isinstance(error, UnknownTopicOrPartitionError):
        return f"the brokers at {bootstrap} have no topic {topic}; `tocsin topics create` makes it"
    return f"the brokers at {bootstrap} do not answer ({type(error).__name__})"
