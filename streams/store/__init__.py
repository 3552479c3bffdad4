"""What Tocsin keeps, in one transaction a step."""

from streams.store.opening import open_store
from streams.store.store import LIVE, RECORDING, Store
from streams.store.values import Advance, Commit, Snapshot

__all__ = ["LIVE", "RECORDING", "Advance", "Commit", "Snapshot", "Store", "open_store"]
