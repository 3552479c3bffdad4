"""Where a store's signals stand: asked of what the engines last wrote, without running anything."""

from typing import Any

import msgspec
import sqlalchemy as sa

from detector.config import Config
from detector.pack import unpack
from detector.pipeline import Pipeline
from detector.stages import still_counted
from detector.watch.budget import Operating
from detector.watch.exceedance import watch_of
from streams.engines.embedded import Kept
from streams.store import Store
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from streams.store.engines import WATCH, kafka_input
from streams.store.history import StoreHistory


def in_force(store: Store) -> Config | None:
    """Return the configuration that the store was last run with; None before its first window."""
    found = store.in_force()
    return msgspec.json.decode(found[-1].body, type=Config) if found else None


def operating_points(store: Store) -> tuple[Operating, ...]:
    """Return each signal's operating point at the last commit, by name; none before the first.

    Raises
    ------
    UsageError
        Another version of the engine made the store.
    """
    config, snapshot = in_force(store), store.snapshot()
    if config is None:
        return ()
    if kafka_input(store) is not None:
        return _of_watches(store, config)
    if snapshot is None:
        return ()
    kept = unpack(snapshot.data, Kept)
    directory = CustomerDirectory(store, config.policy.channels)
    pipeline = Pipeline(config, StoreHistory(store), directory, partitions=kept.partitions)
    pipeline.restore(kept.pipeline)
    return pipeline.operating


def _of_watches(store: Store, config: Config) -> tuple[Operating, ...]:
    """Return the same where workers on Kafka run the Watches, each with a state of its own."""
    of = t.engine.c
    wanted = sa.select(of.name, of.data).where(of.tenant == store.tenant, of.name.startswith(f"{WATCH}/"))
    with store.reading() as connection:
        states = {row.name: row.data for row in connection.execute(wanted) if row.data}
    out = []
    for signal in config.signals:
        data = states.get(f"{WATCH}/{signal.name}")
        if data is None:
            continue
        state: dict[str, Any] = unpack(data, dict)
        if signal.name in still_counted(config, state):
            watch = watch_of(config, signal)
            watch.restore(state["watch"])
            out.append(watch.operating)
    return tuple(out)
