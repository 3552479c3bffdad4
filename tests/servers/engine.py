"""The engines at work on a store, in a thread: whatever is left in the inbox is applied and answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import msgspec

from detector.config import Config
from detector.pack import unpack
from streams.clock import SystemClock
from streams.engines.embedded import Kept, Runner
from streams.engines.lock import only_runner
from streams.store import open_store
from streams.store.database import Where

PAUSE_S = 0.01


@contextmanager
def at_work(db: Path | Where) -> Iterator[None]:
    """Apply commands while the block runs; what fails in the thread fails the test."""
    begun, end, failed = Event(), Event(), list[BaseException]()

    def run() -> None:
        try:
            with open_store(db) as store, only_runner(store):
                snapshot, in_force = store.snapshot(), store.in_force()
                assert snapshot is not None
                config = msgspec.json.decode(in_force[-1].body, type=Config)
                partitions = unpack(snapshot.data, Kept).partitions
                runner = Runner(store, config, None, SystemClock(), partitions=partitions)
                begun.set()
                while not end.wait(PAUSE_S):
                    runner.commit()
                runner.commit()
        except BaseException as error:
            failed.append(error)
        finally:
            begun.set()

    thread = Thread(target=run, name="engine")
    thread.start()
    begun.wait()  # or a command might find nobody at work, and apply itself
    try:
        yield
    finally:
        end.set()
        thread.join()
    if failed:
        raise failed[0]
