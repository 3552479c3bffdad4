"""Sends the feed to webhooks: queue → look → sign → post → write down, in a thread of its own beside the engines.

Promises
- At least once: a delivery is `waiting` in the store until what came of it is written there, so a kill at any moment
  sends it again under the same id, and loses none.
- Webhooks do not wait for each other: each has its own few connections. One that fails again and again is tried by one
  delivery at a time, at growing intervals.
- Every delivery is checked by `streams.net`: its address, its time limit, how much of an answer is read; no redirects.
- What cannot be written down now (disk full, store locked) is kept and written later; it is not sent again meanwhile.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from detector.errors import TocsinError
from streams.background import Background
from streams.clock import Clock
from streams.feeds import queue
from streams.feeds.log import Entry, bounds, encoded, read_these
from streams.feeds.queue import Due, Settled
from streams.feeds.signing import SCHEDULE_S, next_wait_ms, signed
from streams.feeds.subscriptions import State, Subscription, listed
from streams.net import LIMIT_S, STRICT, Answer, NoAnswerError, RefusedError, Rules, Way
from streams.store import Store

POLL_S = 0.25
AT_A_TIME = 8
"""Deliveries under way to one webhook."""
FAILURES = 5
"""After so many in a row a webhook is tried by one delivery at a time, with pauses."""
PAUSE_MS, LONGEST_PAUSE_MS = 10_000, 300_000
STOP_S = 5.0
"""How long deliveries under way may take to end at a stop; what is cut off is sent again later."""
_WAITS = (429, 503)
"""Answers whose `Retry-After` counts for the whole webhook."""

_log = structlog.get_logger()


@dataclass
class _Endpoint:
    """A webhook at work."""

    way: Way
    busy: set[int] = field(default_factory=set)
    """Numbers of events that are under way, or whose outcome is not written down yet."""
    failures: int = 0
    not_before_ms: int = 0

    def room(self, now_ms: int) -> int:
        if now_ms < self.not_before_ms:
            return 0
        return max(0, (AT_A_TIME if self.failures < FAILURES else 1) - len(self.busy))

    def take_note(self, *, ok: bool, now_ms: int, retry_after_s: float | None) -> None:
        self.failures = 0 if ok else self.failures + 1
        if self.failures >= FAILURES:
            pause_ms = min(PAUSE_MS * 2 ** min(self.failures - FAILURES, 20), LONGEST_PAUSE_MS)
            self.not_before_ms = max(self.not_before_ms, now_ms + pause_ms)
        if retry_after_s is not None:
            self.not_before_ms = max(self.not_before_ms, now_ms + int(retry_after_s * 1_000))


class WebhookSender(Background):
    """Sends one tenant's feed to its webhooks, from `start` to `stop`.

    Parameters
    ----------
    store
        Of a live run; the thread opens a handle of its own.
    rules
        Where webhooks may lead beyond https to public addresses.
    schedule_s
        The wait before each attempt.
    chance
        A number in [0, 1) for jitter.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        rules: Rules = STRICT,
        limit_s: float = LIMIT_S,
        schedule_s: Sequence[int] = SCHEDULE_S,
        chance: Callable[[], float] | None = None,
    ) -> None:
        super().__init__("webhooks")
        self._given, self._clock, self._rules, self._limit_s = store, clock, rules, limit_s
        self._schedule_s, self._chance = schedule_s, chance or random.SystemRandom().random
        self._endpoints: dict[str, _Endpoint] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[Settled] = []
        self._counts = {"delivered": 0, "refused": 0, "given_up": 0, "disabled": 0}
        self._error = ""

    # --- for whoever runs it --------------------------------------------------------------------------------------

    def stop(self, timeout_s: float = 20.0) -> bool:
        """Send nothing more, let what is under way end, and end; returns whether it did in time.

        What is cut off is sent again after the next start, under the same id.
        """
        return super().stop(timeout_s)

    def status(self) -> dict[str, Any]:
        """Return how it goes, for metrics and readiness: sums since the start, no address.

        `alive`; `error` is what it waits for or died of; `under_way`, `delivered`, `refused` (attempts), `given_up`,
        `disabled`.
        """
        under_way = sum(len(endpoint.busy) for endpoint in list(self._endpoints.values()))
        return {"alive": self.alive, "error": self._error, "under_way": under_way, **self._counts}

    # --- the thread -----------------------------------------------------------------------------------------------

    def _died(self, error: BaseException) -> None:
        self._complain(f"ended by {type(error).__name__}")

    async def _run(self) -> None:
        with self._given.again() as self._store:
            try:
                while not self._stopping.is_set():
                    try:
                        await self._round()
                    except TocsinError as error:  # the store can't be read or written now
                        self._complain(str(error))
                    else:
                        self._error = ""
                    await self._pause(POLL_S)
            finally:
                await self._leave()

    async def _round(self) -> None:
        """Write down what has ended, and begin what is due."""
        await self._write_down()
        now_ms = self._clock.now_ms()
        active, wanted = await asyncio.to_thread(self._look, now_ms)
        for id in [id for id, at in self._endpoints.items() if id not in active and not at.busy]:
            await self._endpoints.pop(id).way.close()
        for webhook, due, entry in wanted:
            self._endpoints[webhook.id].busy.add(due.seq)
            if entry is None:
                answer = "the event is not kept any more"
                self._ended.append(Settled(due, delivered=False, answer=answer, at_ms=now_ms))
                continue
            task = asyncio.get_running_loop().create_task(self._deliver(webhook, due, entry))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _look(self, now_ms: int) -> tuple[set[str], list[tuple[Subscription, Due, Entry | None]]]:
        """Queue what is new; return the active webhooks, and what is due."""
        active = listed(self._store, State.ACTIVE)
        _, newest = bounds(self._store) if active else (0, 0)
        found: list[tuple[Subscription, Due]] = []
        for webhook in active:
            if webhook.from_seq <= newest:
                queue.fan_out(self._store, webhook, newest, now_ms)
            endpoint = self._endpoints.get(webhook.id)
            if endpoint is None:
                endpoint = self._endpoints[webhook.id] = _Endpoint(Way(self._rules, limit_s=self._limit_s))
            room = endpoint.room(now_ms)
            if room:
                due = queue.due(self._store, webhook.id, now_ms, room, endpoint.busy)
                found += [(webhook, one) for one in due]
        entries = read_these(self._store, {due.seq for _, due in found})
        return {webhook.id for webhook in active}, [(webhook, due, entries.get(due.seq)) for webhook, due in found]

    async def _deliver(self, webhook: Subscription, due: Due, entry: Entry) -> None:
        """Send one event to one webhook, and keep what came of it until it is written down."""
        endpoint, body = self._endpoints[webhook.id], encoded(entry.document).encode()
        retry_after_s, status = None, 0
        try:
            now_ms = self._clock.now_ms()
            headers = signed(entry.document["id"], body, webhook.keys(now_ms), now_ms)
            answer = await endpoint.way.request("POST", webhook.url, headers, body)
            status, said = answer.status, in_words(answer)
            if status in _WAITS:
                retry_after_s = answer.retry_after_s(self._clock.now_ms())
        except (NoAnswerError, RefusedError) as error:
            said = str(error)
        except Exception as error:  # of ours: this delivery fails, the others go on
            _log.exception("webhook_broke", webhook=webhook.id)
            said = f"internal error ({type(error).__name__})"
        self._settled(endpoint, due, status, said, retry_after_s)

    def _settled(self, endpoint: _Endpoint, due: Due, status: int, said: str, retry_after_s: float | None) -> None:
        ok, gone, now_ms = 200 <= status < 300, status == 410, self._clock.now_ms()
        endpoint.take_note(ok=ok, now_ms=now_ms, retry_after_s=retry_after_s)
        wait_ms = next_wait_ms(due.attempts + 1, self._chance(), retry_after_s, self._schedule_s)
        again_ms = None if ok or wait_ms is None else now_ms + wait_ms
        self._ended.append(Settled(due, ok, said, now_ms, again_ms, gone))
        self._counts["delivered" if ok else "refused"] += 1
        self._counts["given_up"] += not ok and again_ms is None
        self._woken.set()

    async def _write_down(self) -> None:
        ended = self._ended[:]
        if not ended:
            return
        disabled = await asyncio.to_thread(queue.settle, self._store, ended)
        del self._ended[: len(ended)]
        for one in ended:
            self._endpoints[one.due.webhook].busy.discard(one.due.seq)
        for id in disabled:
            self._counts["disabled"] += 1
            _log.warning("webhook_disabled", webhook=id)

    async def _leave(self) -> None:
        """Let what is under way end, write down what did, and let go of the connections."""
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._write_down()
        except TocsinError as error:  # sent again after the next start
            self._complain(str(error))
        for endpoint in self._endpoints.values():
            await endpoint.way.close()
        self._endpoints.clear()
        self._ended.clear()

    def _complain(self, error: str) -> None:
        if error != self._error:
            _log.warning("webhooks_wait", error=error)
        self._error = error


def in_words(answer: Answer) -> str:
    """Return an answer in a few words, without anything of what the other side wrote."""
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}: a redirect, which is not followed"
    return f"HTTP {answer.status}"
