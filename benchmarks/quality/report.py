"""What every benchmark of quality hands out: tables of rows, the command that makes them; and how they are read again.

A report is a JSON object with `benchmark` (its name), `command` (reproduces it) and `tables`: by title a list of rows,
each an object of column and cell. What else a benchmark prints with `--json`, such as every planted problem, is left
out of files (`--out`). Reports of an older form are brought into this one by

    python -m benchmarks.quality.report FULL.json --benchmark "segments delay" --command "python -m …" --out FILE
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
NOT_TOLD = {"--json": 0, "--verbose": 0, "--out": 1, "--cache": 1}
"""Options that change no figure, and how many words follow them."""

Row = dict[str, Any]


class BadReport(Exception):
    """One line: which file, what is wrong with it, what to do."""


@dataclass(frozen=True)
class Report:
    """What one benchmark handed out."""

    benchmark: str
    command: str
    tables: dict[str, list[Row]]
    name: str = ""
    """Of its file."""


def command_line(module: str, words: Sequence[str]) -> str:
    """Return the command that makes a report again.

    >>> command_line("values", ["--kinds", "gamma", "--json", "--out", "x.json"])
    'python -m benchmarks.quality.values --kinds gamma'
    """
    kept, skip = [], 0
    for word in words:
        name, equals, _ = word.partition("=")
        if skip:
            skip -= 1
        elif name in NOT_TOLD:
            skip = 0 if equals else NOT_TOLD[name]
        else:
            kept.append(word if word.replace("-", "").isalnum() or not set(word) & set(" \"'$*;|&") else f'"{word}"')
    return " ".join(["python -m benchmarks.quality." + module, *kept])


def named(found: dict[str, Any], benchmark: str) -> dict[str, Any]:
    """Put a benchmark's name and its command in front of what it found."""
    module = benchmark.partition(" ")[0]
    return {"benchmark": benchmark, "command": command_line(module, sys.argv[1:]), **found}


def write(found: dict[str, Any], path: Path) -> None:
    """Write what a report needs, and nothing else."""
    kept = {name: _plain(found[name]) for name in ("benchmark", "command", "tables")}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> Report:
    """Read one report.

    Raises
    ------
    BadReport
        The file can't be read or holds no report.
    """
    found = _object(path)
    if not isinstance(found.get("benchmark"), str) or not _tables(found.get("tables")):
        message = f"{path}: holds no `benchmark` and `tables` of rows; give what a benchmark writes with --out"
        raise BadReport(message)
    return Report(found["benchmark"], str(found.get("command", "")), found["tables"], path.stem)


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        message = f"{path}: {error.strerror or error}; give a report or a folder of reports"
        raise BadReport(message) from None
    except ValueError:
        message = f"{path}: is no JSON; give what a benchmark writes with --out"
        raise BadReport(message) from None
    return found if isinstance(found, dict) else {}


def _tables(found: object) -> bool:
    return isinstance(found, dict) and all(
        isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in found.values()
    )


def read_all(path: Path) -> list[Report]:
    """Read a report, or all of a folder in the order of their names."""
    if not path.is_dir():
        return [read(path)]
    files = sorted(path.glob("*.json"))
    if not files:
        message = f"{path}: holds no report (*.json); run `make quality OUT={path}`"
        raise BadReport(message)
    return [read(file) for file in files]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", type=Path)
    parser.add_argument("--benchmark", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        found = _object(options.full)
        if not _tables(found.get("tables")):
            message = f"{options.full}: holds no `tables` of rows; give what a benchmark prints with --json"
            raise BadReport(message)
    except BadReport as error:
        print(error, file=sys.stderr)
        return 2
    write({**found, "benchmark": options.benchmark, "command": options.command}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
