"""`tocsin worker` with little patience, with an error in an agent's body, frozen or rebalanced at the worst moment.

TOCSIN_TEST_GIVE_UP_S and TOCSIN_TEST_STUCK_S shorten how long a store is waited for; at the batch TOCSIN_TEST_FAILS_AT
an unexpected exception is raised; right before the commit TOCSIN_TEST_FREEZES_AT the process stops until it is thawed;
at every TOCSIN_TEST_SEEKS_AT-th batch it seeks, as Faust does in a rebalance, while records come in. Started by the tests.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from detector.events import Batch
from streams.cli.main import main
from streams.engines import faust_app
from streams.engines.kafka import shared
from streams.engines.kafka.count import CountRole
from streams.intake.kafka import Messages
from streams.store.engines import Engines


def shorten(given: Mapping[str, str]) -> None:
    if "TOCSIN_TEST_GIVE_UP_S" in given:
        shared.GIVE_UP_S = float(given["TOCSIN_TEST_GIVE_UP_S"])
    if "TOCSIN_TEST_STUCK_S" in given:
        faust_app.STUCK_S = float(given["TOCSIN_TEST_STUCK_S"])


def fail_at(number: int) -> None:
    batch, left = Messages.batch, [number]

    def failing(self: Messages, *given: Any) -> Batch:
        left[0] -= 1
        if not left[0]:
            message = "a test's own"
            raise RuntimeError(message)
        return batch(self, *given)

    setattr(Messages, "batch", failing)  # noqa: B010


def freeze_at(number: int) -> None:
    commit, left = Engines.commit, [number]

    def freezing(self: Engines, *given: Any, **more: Any) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGSTOP)
        commit(self, *given, **more)

    setattr(Engines, "commit", freezing)  # noqa: B010


def seek_at(every: int) -> None:
    take, left, seeking = CountRole.take, [every], set[asyncio.Task[None]]()

    async def also_seeking(self: CountRole, *given: Any) -> None:
        await take(self, *given)
        left[0] -= 1
        if not left[0]:
            left[0] = every
            assert self.app is not None
            task = asyncio.create_task(self.app.consumer.perform_seek())
            seeking.add(task)
            task.add_done_callback(seeking.discard)

    setattr(CountRole, "take", also_seeking)  # noqa: B010


if __name__ == "__main__":
    shorten(os.environ)
    if "TOCSIN_TEST_FAILS_AT" in os.environ:
        fail_at(int(os.environ["TOCSIN_TEST_FAILS_AT"]))
    if "TOCSIN_TEST_FREEZES_AT" in os.environ:
        freeze_at(int(os.environ["TOCSIN_TEST_FREEZES_AT"]))
    if "TOCSIN_TEST_SEEKS_AT" in os.environ:
        seek_at(int(os.environ["TOCSIN_TEST_SEEKS_AT"]))
    sys.exit(main())
