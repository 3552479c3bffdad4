"""A recording and what a run made of it, once for all tests that only read them."""

import shutil
from pathlib import Path

import pytest

from streams.clock import SystemClock
from streams.engines.session import session
from tests.streams.commands import Tocsin
from tests.streams.shop import Shop, write


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return write(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def replayed(shop: Shop) -> Path:
    """Return the store of a finished run."""
    db = shop.folder / "replayed.db"
    with session(db, shop.run(), SystemClock(), mode="recording") as found:
        found.read([str(shop.events)])
    return db


@pytest.fixture
def tocsin(replayed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tocsin:
    """Return the commands on a copy of that store."""
    copied = tmp_path / "tocsin.db"
    shutil.copy(replayed, copied)
    return Tocsin(copied, capsys)
