"""A notifier with a short lease, until its standard input ends: started by the tests of several.

python -m tests.system.one_notifier FOLDER DB LEASE_MS
"""

import sys
from pathlib import Path

from streams.clock import SystemClock
from streams.outbox import notifier as rounds
from streams.outbox import thread
from streams.outbox.thread import NotifierThread
from streams.settings import load


def main(folder: Path, db: str, lease_ms: int) -> None:
    # Everything about leases at a fiftieth of its usual length.
    rounds.SWEEP_MS, rounds.GRACE_MS, thread.PAUSE_S = 200, 1_000, 0.2
    said: list[str] = []
    notifier = NotifierThread(db, load(folder), SystemClock(), said.append, lease_ms=lease_ms)
    notifier.start()
    print("at work", flush=True)
    sys.stdin.read()
    notifier.stop(10.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
