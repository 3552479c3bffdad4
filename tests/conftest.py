"""For all tests: an environment that says nothing to Tocsin, and property tests without a stopwatch.

`make check` takes the profile `fast`, a third of the examples; what a machine does beside the tests is no finding, so
no profile has a deadline.
"""

import gc
import os

import pytest
from hypothesis import settings

from tests.servers.kafka import broker, cluster, sockets_left_by_kafka_python
from tests.servers.postgres import postgres
from tests.servers.stores import db

__all__ = ["broker", "cluster", "db", "postgres", "sockets_left_by_kafka_python"]

settings.register_profile("default", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=30)
settings.load_profile("default")

_SAYS_SOMETHING = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over modules and collected tests, which stay anyway."""
    gc.freeze()


@pytest.fixture(autouse=True)
def environment_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TOCSIN_") or name in _SAYS_SOMETHING:
            monkeypatch.delenv(name)
