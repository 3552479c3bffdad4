"""Where a store's signals stand: asked of its last snapshot, without running anything."""

import msgspec

from detector.config import Config
from detector.pack import unpack
from detector.pipeline import Pipeline
from detector.watch.budget import Operating
from streams.engines.embedded import Kept
from streams.store import Store
from streams.store.directory import CustomerDirectory
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
    if config is None or snapshot is None:
        return ()
    kept = unpack(snapshot.data, Kept)
    directory = CustomerDirectory(store, config.policy.channels)
    pipeline = Pipeline(config, StoreHistory(store), directory, partitions=kept.partitions)
    pipeline.restore(kept.pipeline)
    return pipeline.operating
