"""Where the door takes accepted records: to the store's live log, or to Kafka.

The engines of one machine read the log (`streams.web.livelog`), workers on Kafka the input's topic
(`streams.web.topicwriter`). Which of the two a store has is settled by whoever works on it first.
"""

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from detector.errors import TocsinError
from streams.engines.session import FORMAT
from streams.intake.bodies import Lines
from streams.settings import Settings
from streams.store import Store
from streams.store.engines import kafka_input

P = TypeVar("P")


class BusyError(TocsinError):
    """Too much is waiting: come again later."""


class UnwritableError(TocsinError):
    """Nothing can be made durable now: come again later."""


class NoWorkerError(TocsinError):
    """Nobody has worked on the store yet, so it is not known who will."""


class Keeping(Protocol[P]):
    """What makes records durable, and says so only then.  Bounded in memory: beyond, it turns away at once."""

    failing: str
    """Why it can't be done now; empty where it can."""
    failed_s: float
    """When that was found out last, on the clock that only goes forward."""

    @property
    def waits_on(self) -> str:
        """What `failing` is about: `store`, or `brokers`."""
        ...

    @property
    def backlog_bytes(self) -> int:
        """What was accepted and is not worked off, as far as it is known here."""
        ...

    def cut(self, lines: Lines, settings: Settings) -> P:
        """Return the records in the form in which they are kept; in any thread.

        Raises
        ------
        TooLargeError
            One of them can't be kept.
        """
        ...

    def append(self, lines: Lines, cut: P) -> Awaitable[None]:
        """Return what is done once the records are durable; on the event loop.

        Raises
        ------
        BusyError
            Too much is waiting.
        UnwritableError
            They are not known to be durable: whoever sends them again is right.
        """
        ...

    def stuck(self) -> bool:
        """Whether only a new process helps."""
        ...

    async def close(self) -> None:
        """Make durable what waits, as far as that is possible in a moment, and end."""
        ...


def input_of(store: Store, settings: Settings, brokers: str | None) -> str | None:
    """Return which input on Kafka the store's engines read (`TOPIC/PARTITIONS`); None: they read the live log.

    Raises
    ------
    NoWorkerError
        The configuration is one for Kafka, and nobody has worked on the store yet.
    """
    found = kafka_input(store)
    said = brokers is not None or bool(settings.kafka.model_fields_set)
    if found is None and said and store.meta(f"{FORMAT}:{store.tenant}") is None:
        message = (
            "no worker has been seen on this store yet, so it is not known whether it reads from Kafka: "
            "start `tocsin worker`"
        )
        raise NoWorkerError(message)
    return found


def reads_kafka(store: Store, settings: Settings, brokers: str | None) -> bool:
    """Whether workers on Kafka work on the store, or are to."""
    try:
        return input_of(store, settings, brokers) is not None
    except NoWorkerError:
        return True
