"""Stores as tests get them: what is promised of a store holds in a file and in a database of a server alike."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from streams.store import Store, open_store
from streams.store.database import where_of

ON_SERVER = (pytest.mark.postgres, pytest.mark.slow)
"""Marks of what needs the server."""
BOTH = ("sqlite", pytest.param("postgres", marks=ON_SERVER))


@pytest.fixture(params=BOTH)
def db(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `--db` names, of a store that is to be made or is new: in a file, then in a database."""
    if request.param == "sqlite":
        return str(tmp_path / "tocsin.db")
    monkeypatch.chdir(tmp_path)  # where files that belong to the store go
    return str(request.getfixturevalue("postgres").store_url())


def new_store(db: str | Path, *, tenant: str | None = None, customer_key: bytes | None = None) -> Store:
    """Open a new store; one in a file is a copy of one that was made once, as making it takes longer than most tests."""
    path = where_of(db).path
    if path is not None and not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_new_file(customer_key or bytes(range(32))))
    return open_store(db, tenant=tenant, create=True, customer_key=customer_key)


@cache
def _new_file(customer_key: bytes) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        open_store(path, create=True, customer_key=customer_key).close()
        return path.read_bytes()
