"""One process at a time, as for running a store: a lock that a killed process gives back by itself.

On a file it is an advisory lock on a file beside it; on a server an advisory lock of a session, for the tenant. Where
that session is lost the lock is too: whoever does what only one may do is fenced besides (`Store.commit`).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detector.errors import UnreachableError
from streams.store.database import translated
from streams.store.store import Store


class RunnerActiveError(UnreachableError):
    """Another process does with this store what only one may do."""


@contextmanager
def only(store: Store | Path, name: str, doing: str) -> Iterator[None]:
    """Hold one of a store's locks: at most one process is at `doing`.

    Raises
    ------
    RunnerActiveError
        Another process holds it.
    """
    if isinstance(store, Store) and store.on_server:
        with _of_session(store, name, doing):
            yield
        return
    path = store if isinstance(store, Path) else store.path
    handle = os.open(path.with_name(f"{path.name}.{name}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _active(path, doing) from error
        yield
    finally:
        os.close(handle)


@contextmanager
def _of_session(store: Store, name: str, doing: str) -> Iterator[None]:
    from streams.store.postgres import give_back, session_lock

    with translated(store.where):
        held = session_lock(store.engine, f"{store.tenant}/{name}")
    if held is None:
        raise _active(store.where, doing)
    try:
        yield
    finally:
        give_back(held)


def _active(where: object, doing: str) -> RunnerActiveError:
    message = f"{where}: another process is {doing} on this store; wait for it or give --db another"
    return RunnerActiveError(message)
