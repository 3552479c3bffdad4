"""Wakes the next engines, wherever they run."""

import asyncio
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.engines.faust_app import ASK_S
from streams.engines.kafka.shared import Shared
from streams.kafka.producers import begin, let_go

_log = logging.getLogger("tocsin.worker")


class Waker:
    """Wakes the next engines: those of this process at once, the others by a record that says whose are meant."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._sending: set[asyncio.Task[None]] = set()
        self._closed = False

    def wake(self, topic: str) -> None:
        if (bell := self._shared.bells.get(topic)) is not None:
            bell.set()
        if not self._closed and len(self._sending) < 2:  # what waits to be sent wakes for this, too
            task = asyncio.create_task(self._send(topic))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, topic: str) -> None:
        try:
            producer = await self._started()
            for partition in await asyncio.wait_for(producer.partitions_for(topic), ASK_S):
                whom = self._shared.config.tenant.encode()
                await asyncio.wait_for(producer.send(topic, whom, partition=partition), ASK_S)
        except (KafkaError, TimeoutError) as error:
            _log.debug("nobody was woken: %s", error)

    async def _started(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(**self._shared.kafka.for_aiokafka(), acks=1)
                await asyncio.wait_for(begin(producer), ASK_S)
                self._producer = producer
            return self._producer

    async def close(self, *_: object, **__: object) -> None:
        self._closed = True
        for task in self._sending:
            task.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            await let_go(producer)
