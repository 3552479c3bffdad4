"""Runs a worker's roles in one process, each a consumer group of its own."""

import asyncio
import gc
from collections.abc import Iterable
from functools import partial

from detector.errors import UnreachableError, UsageError
from streams.engines.faust_app import App, Worker, create_app, leave
from streams.engines.kafka.count import CountRole
from streams.engines.kafka.shared import Shared
from streams.engines.kafka.waker import Waker
from streams.engines.kafka.woken import DeskRole, WatchRole
from streams.kafka import unopened
from streams.store.engines import COUNT, DESK, WATCH

ROLES = (COUNT, WATCH, DESK)
TURN_S = 0.1
LOOK_S = 5.0
"""How often it is looked whether the input is still the one of the store."""
GC_OBJECTS = 100_000


def run(shared: Shared, roles: Iterable[str], watch_partitions: int, *, accept_loss: bool = False) -> None:
    """Work in these roles until asked to stop, or until all is drained.  Does not return."""
    unopened.install()
    # Records come by the thousand and hold nothing that refers back to them: looking for cycles at every 700 objects
    # more would take a sixth of the time.
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, 20, 20)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    waker = Waker(shared)
    made: dict[str, CountRole | WatchRole | DeskRole] = {}
    for name in roles:
        if name == COUNT:
            made[name] = CountRole(shared, waker)
        elif name == WATCH:
            made[name] = WatchRole(shared, waker, watch_partitions)
        else:
            made[name] = DeskRole(shared)
    apps = []
    for name, role in made.items():
        role.app = create_app(shared.kafka.group_of(shared.config.tenant, name), shared.kafka, role, TURN_S)
        role.app.accept_loss = accept_loss
        apps.append(role.app)

    def stopping() -> None:
        shared.stopping = True

    apps[0].on_before_shutdown.connect(waker.close)
    apps[0].task(partial(look_after_the_input, shared, apps[0]))
    worker = Worker(apps, stopping, loop=loop)
    if shared.ends is not None:

        async def end_when_drained() -> None:
            while not shared.done.issuperset(made):
                await asyncio.sleep(TURN_S)
            worker.end()

        apps[0].task(end_when_drained)

    worker.execute_from_commandline()


async def look_after_the_input(shared: Shared, app: App) -> None:
    """End the worker where the input's topic was deleted, made again, or given more partitions.

    It is looked at twice: brokers that have just started may not know a topic yet.
    """
    wrong = ""
    while not app.should_stop:
        await asyncio.sleep(LOOK_S)
        try:
            await asyncio.to_thread(shared.input)
        except UnreachableError:
            continue
        except UsageError as error:
            if str(error) == wrong:
                leave(wrong, error.exit_code)
            wrong = str(error)
        else:
            wrong = ""
