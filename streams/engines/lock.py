"""One runner per store: an advisory lock on a file beside it, which a killed process gives back by itself."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detector.errors import UnreachableError


class RunnerActiveError(UnreachableError):
    """Another process is running this store."""


@contextmanager
def only_runner(store: Path) -> Iterator[None]:
    """Hold the store's lock.

    Raises
    ------
    RunnerActiveError
        Another process holds it.
    """
    file = store.with_name(store.name + ".lock")
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = f"{store}: another process is running on this store; wait for it or give --db another file"
            raise RunnerActiveError(message) from error
        yield
    finally:
        os.close(handle)
