"""How a producer begins and ends, whatever the brokers do."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

LET_GO_S = 2.0


async def begin(producer: "AIOKafkaProducer") -> None:
    """Connect a producer; one that could not be is let go of.

    Raises
    ------
    KafkaError
    """
    from aiokafka.errors import KafkaConnectionError

    starting = asyncio.ensure_future(producer.start())
    try:
        await asyncio.shield(starting)
    except BaseException as error:
        # Whoever gives up waits for it all the same: a start that is broken off leaves its connection open.
        await asyncio.wait({starting}, timeout=LET_GO_S)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await let_go(producer)
        if isinstance(error, AssertionError):  # so aiokafka says that the brokers went away while it began
            raise KafkaConnectionError(str(error)) from error
        raise


async def let_go(producer: "AIOKafkaProducer") -> None:
    """Let go of a producer; what the brokers do not have by then it gives up."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(producer.stop(), LET_GO_S)
        return
    # It would wait for the brokers for ever, and send when they are back: there is no other way to its task.
    sender = getattr(getattr(producer, "_sender", None), "sender_task", None)
    if sender is not None:
        sender.cancel()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(producer.client.close(), LET_GO_S)
