"""How the tests' servers end: every connection is cut, and nothing is left to the garbage collector."""

import asyncio
from collections.abc import Callable, Iterable


async def let_go(listener: asyncio.Server, connections: Callable[[], Iterable[object]]) -> None:
    """Take nobody in any more and cut who is there, whoever is just being let in too.

    Parameters
    ----------
    connections
        Gives the transports of all connections so far.
    """
    for one in listener.sockets:
        asyncio.get_running_loop().remove_reader(one)
    # Who was let in gets a transport first: with the listener closed, or its task cancelled, its socket would be nobody's.
    await asyncio.sleep(0)
    listener.close()
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        _cut(connections())
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=0.05)
    _cut(connections())
    for _ in range(3):  # a transport that was cut closes its socket in the loop's next turn, under TLS in the one after
        await asyncio.sleep(0)


def _cut(transports: Iterable[object]) -> None:
    for transport in transports:
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
