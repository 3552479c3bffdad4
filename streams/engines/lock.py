"""One runner per store; see `streams.store.lock`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.store import Store
from streams.store.lock import RunnerActiveError as RunnerActiveError
from streams.store.lock import only


@contextmanager
def only_runner(store: Store | Path) -> Iterator[None]:
    """Hold the store's lock.

    Parameters
    ----------
    store : Store or Path
        A path: that of a store which need not be there yet.

    Raises
    ------
    RunnerActiveError
        Another process holds it.
    """
    with only(store, "lock", "running"):
        yield
