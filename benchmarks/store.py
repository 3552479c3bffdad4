"""What a commit costs in a file and on a PostgreSQL server, on the same machine, in interleaved rounds.

    python -m benchmarks.store [--rows 100000] [--rounds 5] [--json]

Each round commits so many rows of the ledger, replaces them all, reads them back, and makes small commits (a window's
worth); first in a file, then on the server, which is started for it with its durable settings (fsync on). Figures are
medians in seconds, and the server's as a multiple of the file's.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detector.desk.records import DeskEffects
from detector.pipeline import Effects
from streams.store import Commit, Snapshot, Store, open_store, queries
from tests.servers import postgres
from tests.servers.stored import a_row, a_window

SMALL = 50
"""Small commits a round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    seconds: dict[str, dict[str, list[float]]] = {"file": {}, "server": {}}
    with tempfile.TemporaryDirectory() as folder, postgres.running(fsync=True) as server:
        for number in range(given.rounds):
            for where, db in (("file", str(Path(folder) / f"{number}.db")), ("server", server.store_url())):
                with open_store(db, create=True) as store:
                    for what, took_s in measured(store, given.rows).items():
                        seconds[where].setdefault(what, []).append(took_s)
    show(seconds, given.rows, given.json)


def measured(store: Store, rows: int) -> dict[str, float]:
    """Return how many seconds each thing took."""
    new = [a_row(i) for i in range(rows)]
    changed = [a_row(i, tries=3) for i in range(rows)]
    snapshot = Snapshot(bytes(200_000), "h")

    def small() -> None:
        for i in range(SMALL):
            ledger = [a_row(i * 20 + j, tries=4) for j in range(20)]
            store.commit(
                Effects(windows=[a_window(60_000 * i)], desk=DeskEffects(ledger=ledger)), Commit(snapshot=snapshot)
            )

    work: dict[str, Callable[[], Any]] = {
        "insert": lambda: store.commit(Effects(desk=DeskEffects(ledger=new))),
        "replace": lambda: store.commit(Effects(desk=DeskEffects(ledger=changed))),
        "read": lambda: sum(1 for _ in queries.ledger(store, "c0ffee")),
        "small commits": small,
    }
    return {what: timed(do) for what, do in work.items()}


def timed(do: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


def show(seconds: dict[str, dict[str, list[float]]], rows: int, as_json: bool) -> None:
    found: list[dict[str, Any]] = []
    for what in seconds["file"]:
        file, server = (statistics.median(seconds[where][what]) for where in ("file", "server"))
        ratios = [b / a for a, b in zip(seconds["file"][what], seconds["server"][what], strict=True)]
        low, high, ratio = min(ratios), max(ratios), statistics.median(ratios)
        found.append({"what": what, "file_s": file, "server_s": server, "ratio": ratio, "low": low, "high": high})
    if as_json:
        json.dump({"rows": rows, "small_commits": SMALL, "found": found}, sys.stdout)
        return
    print(f"{rows:,} rows; {SMALL} small commits")
    for one in found:
        print(
            "{what:14} file {file_s:7.3f} s   server {server_s:7.3f} s   × {ratio:.2f} [{low:.2f}–{high:.2f}]".format(
                **one
            )
        )


if __name__ == "__main__":
    main()
