"""Applies what people have left in the inbox of a store on which nothing runs, such as a recording that is shown."""

import msgspec

from detector.config import Config
from detector.pack import unpack
from streams.clock import Clock
from streams.engines.embedded import Kept, Runner
from streams.engines.lock import RunnerActiveError, only_runner
from streams.store import Store


def apply_waiting(store: Store, clock: Clock) -> None:
    """Apply the commands that wait; where a runner is at work, or nothing was ever run, they are left alone."""
    in_force, snapshot = store.in_force(), store.snapshot()
    if not in_force or snapshot is None:
        return
    try:
        with only_runner(store):
            config = msgspec.json.decode(in_force[-1].body, type=Config)
            Runner(store, config, None, clock, partitions=unpack(snapshot.data, Kept).partitions).commit()
    except RunnerActiveError:
        return
