"""The command line on one store, as tests call it."""

import json
from pathlib import Path
from typing import Any

import pytest

from streams.cli.main import main


class Tocsin:
    """Runs commands on one store."""

    def __init__(self, db: Path | str, capsys: pytest.CaptureFixture[str]) -> None:
        self.db: Any = db
        """A file's path, or a server's address."""
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str, exits: int = 0) -> str:
        code = main([*arguments, "--db", str(self.db)])
        found = self._capsys.readouterr()
        assert code == exits, found.err
        self.err = found.err
        return found.out

    def json(self, *arguments: str, exits: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", exits=exits))
