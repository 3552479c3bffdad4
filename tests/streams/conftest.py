"""A recording and what a run made of it, once for all tests that only read them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.clock import SystemClock
from streams.engines.session import session
from tests.servers.postgres import Server
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


@pytest.fixture(scope="session")
def replayed_on_server(shop: Shop, postgres: Server) -> str:
    """Return the database of a finished run on a server."""
    name = postgres.database()
    with session(postgres.url(name), shop.run(), SystemClock(), mode="recording") as found:
        found.read([str(shop.events)])
    return name


@pytest.fixture(scope="session")
def copied(request: pytest.FixtureRequest, replayed: Path) -> Callable[[str, Path], str]:
    """Return what makes a copy of that store (`sqlite` or `postgres`, a folder), and gives what `--db` names."""

    def make(kind: str, folder: Path) -> str:
        if kind == "sqlite":
            return str(shutil.copy(replayed, folder / "tocsin.db"))
        server: Server = request.getfixturevalue("postgres")
        return server.url(server.database(f"TEMPLATE {request.getfixturevalue('replayed_on_server')}"))

    return make


@pytest.fixture
def tocsin(replayed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tocsin:
    """Return the commands on a copy of that store."""
    copied = tmp_path / "tocsin.db"
    shutil.copy(replayed, copied)
    return Tocsin(copied, capsys)
