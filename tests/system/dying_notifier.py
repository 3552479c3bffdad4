"""A process that queues one notice and sends it, and dies by SIGKILL at a named point: started by the tests of F1.

python -m tests.system.dying_notifier FOLDER POINT
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from detector.decode.customers import customer_key
from detector.desk.records import DeskEffects
from detector.pipeline import Effects
from streams.clock import SystemClock
from streams.outbox.outbox import Outbox
from streams.outbox.thread import NotifierThread
from streams.settings import load
from streams.store import open_store
from tests.streams.sending import HOUR_MS, a_notice

NOTICE = "n1"
POINTS = ("before-commit", "before-claim", "claimed", "handed-over", "before-mark", "settled")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, point: str) -> None:
    settings, clock = load(folder), SystemClock()
    with open_store(folder / "tocsin.db") as store:
        now_ms = clock.now_ms()
        who = customer_key(store.customer_key, "C-0")
        notice = a_notice(who, NOTICE, at_ms=now_ms, when_ms=now_ms, stale_ms=now_ms + HOUR_MS)
        if point == "before-commit":
            dying_at_commit(1)
        store.commit(Effects(desk=DeskEffects(notices=[notice])))
        outbox = Outbox(store)
        notifier = NotifierThread(store.path, settings, clock, at=lambda at: die() if at == point else None)
        if point in ("before-claim", "before-mark"):
            dying_at_commit(1 if point == "before-claim" else 2)
        notifier.start()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            counts = outbox.counts()
            if not counts["waiting"] + counts["claimed"]:
                break
            time.sleep(0.05)
        notifier.stop(5.0)


def dying_at_commit(n: int) -> None:
    """Die where the n-th transaction from now on that wrote something is about to be committed."""
    written = 0

    @sa.event.listens_for(sa.Engine, "commit")
    def _commit(connection: Any) -> None:
        nonlocal written
        if not connection.get_execution_options().get("reads", False):
            written += 1
            if written == n:
                die()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
