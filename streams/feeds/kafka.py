"""Publishes the feed and the dead letters to Kafka: store → read → one transaction of the broker → noted in the store.

| topic | message | key |
|---|---|---|
| `kafka.topics.cases` | the feed's event, as a structured CloudEvent: what streams and webhooks get | see below |
| `kafka.topics.dead` | a dead letter as `tocsin dead list --json` shows it, and whose it is | its source |

The topic of cases is compacted: of each key the last message stays. So a case's events have the case's id as their
key, those of its customers and notices `CASE/customer/ID` and `CASE/notice/ID`: what stays is the last state of each.
All of a case are in the partition of the case's id, in order.

Promises
- At least once: what was published is noted after the brokers have it. A kill at any moment publishes again what was
  not noted, under the same ids and in the same order.
- One at a time: whoever starts takes the place of the one before, by the brokers' own fence (a transactional id). One
  that was replaced without knowing, frozen and thawed say, can't publish any more, and ends.
- Brokers that are gone are waited for; what is published meanwhile grows in the store, for as long as the feed is kept.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog

from detector.decode.placement import partition_of
from detector.errors import TocsinError
from streams.background import Background
from streams.feeds.log import Document, Entry, encoded, read
from streams.intake.cloudevents import STRUCTURED
from streams.kafka.client import KafkaSettings
from streams.kafka.producers import begin, let_go
from streams.store import Store
from streams.store import tables as t
from streams.store.documents import dead_document
from streams.store.publishing import CASES, DEAD, advance_in, published_in
from streams.store.queries import DeadLetter

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

POLL_S = 1.0
BATCH = 200
"""Events, and dead letters, in one transaction."""
ROUND_S = 10.0
LAST_ROUND_S = 3.0
"""Whoever is asked to stop gives what is being published so long."""
REQUEST_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0

_CONTENT_TYPE = f"{STRUCTURED}; charset=UTF-8".encode()

_log = structlog.get_logger()


@dataclass(frozen=True)
class Outgoing:
    """One message; `placed_by` decides its partition."""

    topic: str
    key: str
    placed_by: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def of_entry(entry: Entry, topic: str) -> Outgoing:
    """Return an event of the feed as a message."""
    case, data = str(entry.document["subject"]), entry.document["data"]
    key = case
    if entry.type.startswith("customer."):
        key = f"{case}/customer/{data['customer']}"
    elif entry.type.startswith("notice."):
        key = f"{case}/notice/{data['notice']}"
    return Outgoing(topic, key, case, encoded(entry.document).encode(), (("content-type", _CONTENT_TYPE),))


def of_letter(letter: DeadLetter, tenant: str, topic: str) -> Outgoing:
    """Return a dead letter as a message."""
    document: Document = {"tenant": tenant, **dead_document(letter)}
    value = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Outgoing(topic, letter.source, letter.source, value, (("content-type", b"application/json"),))


class KafkaFeed(Background):
    """Publishes one tenant's feed and dead letters, from `start` to `stop`.

    Parameters
    ----------
    store
        Of a live run; the thread opens a handle of its own.
    """

    def __init__(self, store: Store, settings: KafkaSettings) -> None:
        super().__init__("kafka-feed")
        self._given, self._settings = store, settings
        self._id = f"{settings.group}-feed-{store.tenant}"
        self._producer: AIOKafkaProducer | None = None
        self._counts = {CASES: 0, DEAD: 0, "lost": 0}
        self._error = ""
        self._pause_s = 0.0

    # --- for whoever runs it --------------------------------------------------------------------------------------

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Publish nothing more, and end; returns whether it did in time. What is cut off is published again later."""
        if not super().stop(LAST_ROUND_S):
            self._cut_off()
        return self._ended_within(timeout_s - LAST_ROUND_S)

    def status(self) -> dict[str, Any]:
        """Return how it goes: `alive`; `error` is what it waits for or ended by; sums since the start.

        `cases` and `dead` count messages; `lost` events were pruned from the feed before the brokers took them.
        """
        return {"alive": self.alive, "error": self._error, **self._counts}

    # --- the thread -----------------------------------------------------------------------------------------------

    def _died(self, error: BaseException) -> None:
        self._complain(f"ended by {type(error).__name__}")

    async def _run(self) -> None:
        from aiokafka.errors import KafkaError, ProducerFenced

        with self._given.again() as store:
            try:
                while not self._stopping.is_set():
                    try:
                        more = await asyncio.wait_for(self._round(store), ROUND_S)
                    except ProducerFenced:
                        self._complain("another process publishes the feed")
                        return
                    except (KafkaError, TimeoutError, OSError) as error:
                        await self._leave()
                        self._complain(f"Kafka: {type(error).__name__}")
                        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
                        await self._pause(self._pause_s)
                    except TocsinError as error:  # the store can't be read or written now
                        self._complain(str(error))
                        await self._pause(POLL_S)
                    else:
                        self._error, self._pause_s = "", 0.0
                        if not more:
                            await self._pause(POLL_S)
            finally:
                await self._leave()

    async def _round(self, store: Store) -> bool:
        """Publish what is new, and note it; returns whether there may be more."""
        producer = await self._at_work()
        entries, letters = await asyncio.to_thread(self._look, store)
        if not entries and not letters:
            return False
        topics = self._settings.topics
        found = [of_entry(entry, topics.cases) for entry in entries]
        found += [of_letter(letter, store.tenant, topics.dead) for letter in letters]
        await _publish(producer, found)
        await asyncio.to_thread(_note, store, entries, letters)
        self._counts[CASES] += len(entries)
        self._counts[DEAD] += len(letters)
        return len(entries) == BATCH or len(letters) == BATCH

    def _look(self, store: Store) -> tuple[list[Entry], list[DeadLetter]]:
        after = published(store, CASES)
        page = read(store, after, limit=BATCH)
        if after and page.oldest > after + 1:
            self._counts["lost"] += page.oldest - after - 1
            _log.warning("kafka_feed_lost", events=page.oldest - after - 1)
        return page.entries, _letters(store, published(store, DEAD))

    async def _at_work(self) -> "AIOKafkaProducer":
        """Return the producer; making it ends whoever has the same id."""
        if self._producer is None:
            from aiokafka import AIOKafkaProducer

            producer = AIOKafkaProducer(
                **self._settings.for_aiokafka(),
                transactional_id=self._id,
                acks="all",
                enable_idempotence=True,
                compression_type="gzip",
                request_timeout_ms=int(REQUEST_S * 1_000),
            )
            await begin(producer)
            self._producer = producer
        return self._producer

    async def _leave(self) -> None:
        if self._producer is not None:
            await let_go(self._producer)
            self._producer = None

    def _complain(self, error: str) -> None:
        if error != self._error:
            _log.warning("kafka_feed_waits", error=error)
        self._error = error


async def _publish(producer: "AIOKafkaProducer", found: Sequence[Outgoing]) -> None:
    """Give messages to the brokers, all of them or (for who reads what is committed) none."""
    sizes = {topic: len(await producer.partitions_for(topic)) for topic in {one.topic for one in found}}
    # What goes wrong in a transaction is not undone here, where that would wait for the brokers once more: the producer
    # is given up, and the next one of its id ends what it left open.
    await producer.begin_transaction()
    sent: list[asyncio.Future[Any]] = []
    for one in found:
        partition = partition_of(one.placed_by, sizes[one.topic])
        key, headers = one.key.encode("utf-8", "replace"), list(one.headers)
        given = await producer.send(one.topic, one.value, key=key, partition=partition, headers=headers)
        given.add_done_callback(_looked_at)
        sent.append(given)
    await asyncio.gather(*sent)
    await producer.commit_transaction()


def _looked_at(given: "asyncio.Future[Any]") -> None:
    """Take note of what became of a message: the first that fails says it for all."""
    if not given.cancelled():
        given.exception()


def published(store: Store, what: str) -> int:
    """Return the last number of `CASES` or `DEAD` that was published; 0 before the first."""
    with store.reading() as connection:
        return published_in(connection, store.tenant, what)


def advance(store: Store, what: str, number: int) -> None:
    """Note that everything up to a number is published; one that is behind changes nothing."""
    with store.beside() as connection:
        advance_in(connection, store.tenant, what, number)


def _note(store: Store, entries: Sequence[Entry], letters: Sequence[DeadLetter]) -> None:
    if entries:
        advance(store, CASES, entries[-1].seq)
    if letters:
        advance(store, DEAD, letters[-1].n)


def _letters(store: Store, after: int) -> list[DeadLetter]:
    """Return the next dead letters after a number."""
    table = t.dead_letter
    wanted = sa.select(table).where(table.c.tenant == store.tenant, table.c.n > after).order_by(table.c.n).limit(BATCH)
    with store.reading() as connection:
        found = connection.execute(wanted)
        return [DeadLetter(r.n, r.source, r.position, r.reason, r.path, r.size, r.data) for r in found]
