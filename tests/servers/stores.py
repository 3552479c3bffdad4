"""Stores as tests get them: what is promised of a store holds in a file and in a database of a server alike."""

from pathlib import Path

import pytest

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
