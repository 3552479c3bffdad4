"""Works the outbox off: look → claim → ask the gate → hand over → write down.

Promises
- A message is handed over only after its row was claimed in a committed transaction, so a crash leaves it `claimed`,
  never unsent without a trace. What is found claimed at the start may have gone out: the channel's settings say whether
  it is sent again (under the same id) or left to a person.
- The gate is asked after the claim, right before the channel; nothing is handed over while the kill switch is on.
- Channels are independent of each other; on one, several messages are under way at a time, but never two to one
  customer, and an older one of theirs that is to be tried again goes before a younger one.
- What came of it goes to the Desk through the inbox, in the transaction that marks the row.

`Notifier.step` is one round of this; `work` makes rounds until nothing is left to do at a moment; the thread of the
service (`streams/outbox/thread.py`) makes them as time passes.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, TypeVar

from detector.config import Config
from detector.desk.policy import Reason
from detector.errors import UnreachableError
from streams.outbox import breaker as circuits
from streams.outbox.breaker import Breaker, Circuit
from streams.outbox.came import CRASH, Rules, came
from streams.outbox.channel import Line, Outcome, Outgoing, Sent
from streams.outbox.choosing import LOOK, Answered, Chooser, Chosen, UnderWay, Way, suppressed, unless_go
from streams.outbox.kill_switch import killed
from streams.outbox.limits import Binding, Limit, named
from streams.outbox.outbox import LEASE_MS, Item, Outbox, Result
from streams.outbox.retry import wait_ms
from streams.outbox.words import Words
from streams.sections import SendingSection
from streams.store import Store
from streams.store.directory import CustomerDirectory

T = TypeVar("T")

LONGEST_SEND_SHARE = 0.8
"""Of the lease: a channel ends by itself long before; one that does not is left behind."""
SWEEP_MS = 10_000
"""How often what went stale behind a limit is cleared away, and what a notifier that died left is taken over."""
GRACE_MS = 20_000
"""After the store was out of reach, others come first to write down what they sent: then theirs is taken over."""


class Notifier:
    """Delivers one tenant's notices over the given channels.

    Parameters
    ----------
    channels
        By name, as the notices name them, in the policy's order.
    sending
        The limits, and how often it is tried.
    words
        What is said; the built-in words where not given.
    persist
        Does a write, and again where the store can't be written now: what was sent must be written down.
    chance
        A number in [0, 1) for jitter.
    executor
        Where the store is read and written, so that what is under way goes on meanwhile; None: in place.
    say
        Tells ops, once each, of limits that bind for long and of channels that are down.
    at
        Called at the points of a message's way: `claimed`, `handed-over`, `settled`.
    lease_ms
        How long a message is ours to send; what another notifier has held for longer is taken over.
    """

    def __init__(
        self,
        store: Store,
        directory: CustomerDirectory,
        config: Config,
        channels: Mapping[str, Line],
        *,
        sending: SendingSection | None = None,
        words: Words | None = None,
        persist: Callable[[Callable[[], None]], None] = lambda write: write(),
        chance: Callable[[], float] | None = None,
        executor: Executor | None = None,
        say: Callable[[str], None] = lambda text: None,
        at: Callable[[str], None] = lambda point: None,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._store, self._outbox = store, Outbox(store, secrets.token_hex(8), lease_ms)
        self._words, self._sending = words or Words(), sending or SendingSection()
        self._ways = {name: Way(line) for name, line in channels.items()}
        self._chooser = Chooser(self._outbox, directory, config, self._sending, self._ways)
        self._tasks: dict[asyncio.Task[Sent], UnderWay] = {}
        self._persist, self._chance = persist, chance or random.SystemRandom().random
        self._executor, self._say, self._at = executor, say, at
        self._bound: set[tuple[Limit, str]] = set()
        self._binding = Binding()
        self._told: dict[str, str] = {}
        self._swept_ms = self._well_since_ms = 0
        self._unwell = False
        """The store was out of reach since the last step."""
        self._runner: asyncio.Runner | None = None
        self.killed = False
        """As it was at the last look."""

    # --- for whoever runs it --------------------------------------------------------------------------------------

    def recover(self, now_ms: int) -> int:
        """Settle what a crash left claimed; returns how many there were."""
        left = self._outbox.left(now_ms)
        results = [self._becomes(item, CRASH, now_ms) for item in left]
        self._persist(lambda: self._outbox.settle(results, now_ms))
        return len(left)

    @property
    def _longest_s(self) -> float:
        return LONGEST_SEND_SHARE * self._outbox.lease_ms / 1_000

    def work(self, now_ms: int, most: int | None = None) -> int:
        """Send what is due and allowed at this moment; returns how many rows changed. End with `close`.

        Parameters
        ----------
        most : int, optional
            Begin nothing more once so many rows have changed.
        """
        self._runner = self._runner or asyncio.Runner()
        return self._runner.run(self._work(now_ms, most))

    def close(self) -> None:
        """Let go of the channels' connections, after `work`."""
        if self._runner is not None:
            self._runner.run(self.leave())
            self._runner.close()
            self._runner = None

    async def step(self, now_ms: int, *, claim: bool = True) -> int:
        """Write down what has ended, and hand over what may go; returns how many rows changed in the store.

        Parameters
        ----------
        claim : bool
            False: only the first half.
        """
        if self._unwell:
            self._unwell, self._well_since_ms = False, now_ms
        settled = await self._take_in(now_ms)
        self.killed = await self._in_store(lambda: killed(self._store))
        if self.killed or not claim:
            return settled
        return settled + await self._sweep(now_ms) + await self._hand_over(now_ms)

    async def leave(self) -> None:
        """Let go of the channels' connections; what is still under way is left unknown."""
        tasks = self.under_way()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for way in self._ways.values():
            await way.line.channel.close()

    def under_way(self) -> "list[asyncio.Task[Sent]]":
        return list(self._tasks)

    def resume(self, channel: str, now_ms: int) -> None:
        """A person says that a channel may be tried again."""
        if channel in self._ways:
            self._ways[channel].breaker = Breaker(since_ms=now_ms)

    def status(self, now_ms: int) -> dict[str, Any]:
        """Return how it stands, for metrics and for people: no address, no customer."""
        bound = {limit for limit, _ in self._bound}
        return {
            "circuits": {name: way.breaker.state(now_ms).value for name, way in self._ways.items()},
            "stopped": {name: way.breaker.stopped for name, way in self._ways.items() if way.breaker.stopped},
            "under_way": {name: len(way.under_way) for name, way in self._ways.items()},
            "limits": {limit.value: limit in bound for limit in Limit},
            "held_by": named(self._bound),
            "alert": self._binding.raised,
            "killed": self.killed,
        }

    # --- rounds ---------------------------------------------------------------------------------------------------

    async def _work(self, now_ms: int, most: int | None) -> int:
        changed = 0
        while True:
            now = await self.step(now_ms, claim=most is None or changed < most)
            changed += now
            tasks = self.under_way()
            if tasks:
                await asyncio.wait(tasks)
            elif not now:
                return changed

    async def _take_in(self, now_ms: int) -> int:
        """Write down what has ended."""
        ended = [(self._tasks.pop(task), task.result()) for task in list(self._tasks) if task.done()]
        if not ended:
            return 0
        said = [(one.item, sent, self._came(one, sent, now_ms)) for one, sent in ended]

        def write() -> None:
            results = [self._becomes(item, sent, now_ms, down=down) for item, sent, down in said]
            self._outbox.settle(results, now_ms)

        await self._write(write)
        self._at("settled")
        self._tell_circuits(now_ms)
        return len(said)

    async def _sweep(self, now_ms: int) -> int:
        """Clear away what went stale where nothing looks: behind a limit, or on a channel that is down."""
        if now_ms - self._swept_ms < SWEEP_MS:
            return 0
        found = await self._in_store(lambda: self._outbox.stale(now_ms, LOOK))
        if len(found) < LOOK:
            self._swept_ms = now_ms
        if self._outbox.shared and now_ms - self._well_since_ms >= GRACE_MS:
            taken = await self._in_store(lambda: self.recover(now_ms))
            if taken:
                self._say(f"{taken} messages were left by a notifier that has ended: they count as may have gone out")
        if found:
            unsure = await self._in_store(lambda: self._outbox.unsure(found))
            results = [suppressed(item, Reason.STALE.value, unsure=item.notice in unsure) for item in found]
            await self._write(lambda: self._outbox.settle(results, now_ms))
        return len(found)

    async def _hand_over(self, now_ms: int) -> int:
        """Claim what may go now, and begin to send it; returns how many rows changed otherwise."""
        if not await self._in_store(self._outbox.heads):  # nothing waits: no need for a lock
            self._note_bound(set(), now_ms)
            return 0
        chosen, ours = await self._in_store(lambda: self._choose(now_ms))
        self._note_bound(chosen.bound, now_ms)
        if not chosen.going and not chosen.settled:
            return 0
        self._at("claimed")
        claimed: list[UnderWay] = []
        for one in chosen.going:
            self._ways[one.item.channel].under_way.add(one.item.customer)
            if one.item.notice in ours:
                claimed.append(replace(one, item=ours[one.item.notice]))
            else:
                self._back(one)
        back = await self._send(claimed, now_ms)
        if chosen.settled:
            await self._write(lambda: self._outbox.settle(chosen.settled, now_ms))
        return len(chosen.settled) + back

    def _choose(self, now_ms: int) -> tuple[Chosen, dict[str, Item]]:
        """Choose and claim; returns what was chosen, and what of it is ours."""
        chosen: Chosen | None = None
        ours: dict[str, Item] = {}

        def look() -> None:
            assert chosen is not None
            ours.update(self._outbox.ours([one.item for one in chosen.going]))

        try:
            try:
                with self._outbox.choosing() as connection:
                    chosen = self._chooser.choose(now_ms)
                    ours.update(self._outbox.claim([one.item for one in chosen.going], now_ms, connection))
            except UnreachableError:
                if chosen is None or not chosen.going:
                    raise
                ours.clear()
                self._unwell = True
                self._persist(look)  # the claim may have come through although its answer was lost
        except BaseException:
            for one in chosen.going if chosen is not None else ():
                self._chooser.limits.end(one.counted, None)
            raise
        return chosen, ours

    async def _send(self, claimed: Sequence[UnderWay], now_ms: int) -> int:
        """Ask the gate about what is claimed now, and hand it over; returns how many were not."""
        if not claimed:
            return 0
        items, answers, ours = [one.item for one in claimed], dict[str, Answered](), dict[str, Item]()

        def look() -> None:
            answers.update(self._chooser.ask(items, now_ms))
            self.killed = killed(self._store)
            ours.clear()
            ours.update(self._outbox.ours(items))

        await self._write(look)  # tried again like a write: what is claimed must not be left behind
        back: list[Result] = []
        for one in claimed:
            item, answered = one.item, answers[one.item.notice]
            if ours.get(item.notice) != item:  # it took so long that another took it over
                self._back(one)
                continue
            result = unless_go(item, answered, item.attempts - 1, now_ms)
            if self.killed:
                result = Result(item, "waiting", attempts=item.attempts - 1, due_ms=item.due_ms)
            made = self._worded(item, answered) if result is None else result
            if isinstance(made, Outgoing):
                attempt = self._attempt(self._ways[item.channel].line, made)
                self._tasks[asyncio.get_running_loop().create_task(attempt)] = one
            else:
                self._back(one)
                back.append(made)
        if back:
            await self._write(lambda: self._outbox.settle(back, now_ms))
        return len(back)

    def _worded(self, item: Item, answered: Answered) -> Outgoing | Result:
        """Return the message, or that it fails where its words cannot be made: one such must not hold up the others."""
        asked = answered.asked
        assert asked is not None and asked.signal is not None and asked.customer is not None, "the gate let it through"
        try:
            return self._words.outgoing(asked.notice, asked.signal, asked.customer, item.channel)
        except Exception as error:
            detail = f"its words cannot be made: {type(error).__name__}"
            return Result(item, "failed", "failed", "internal", detail, attempts=item.attempts, tell=True)

    async def _attempt(self, line: Line, outgoing: Outgoing) -> Sent:
        """Hand one message over; a channel that breaks its contract leaves it unknown."""
        try:
            async with asyncio.timeout(self._longest_s):
                sent = await line.channel.send(outgoing)
        except TimeoutError:
            sent = Sent(Outcome.UNKNOWN, "the channel did not come to an end", "timeout")
        except Exception as error:
            sent = Sent(Outcome.UNKNOWN, f"the channel broke: {type(error).__name__}", "internal")
        self._at("handed-over")
        return sent

    def _tell_circuits(self, now_ms: int) -> None:
        """Say it once when a channel goes down, and once when it is back."""
        for name, way in self._ways.items():
            state, told = way.breaker.state(now_ms), self._told.get(name)
            if state is Circuit.CLOSED:
                if self._told.pop(name, None):
                    self._say(f"channel {name}: messages get through again")
            elif state is Circuit.STOPPED and told != "stopped":
                self._told[name] = "stopped"
                why = "the other side refuses us, or a secret is not where the settings say"
                do = "nothing more is tried there until a person resumes it or the service is started again"
                self._say(f"channel {name}: {why} ({way.breaker.stopped}); {do}")
            elif not told and way.breaker.opened:
                self._told[name] = "down"
                self._say(f"channel {name}: nothing gets through; what is for it waits, and it is tried now and then")

    # --- inside ---------------------------------------------------------------------------------------------------

    def _came(self, one: UnderWay, sent: Sent, now_ms: int) -> bool:
        """Take what an attempt says of the channel and of the limits; returns whether the channel was down before."""
        way = self._ways[one.item.channel]
        before, way.breaker = way.breaker, circuits.after(way.breaker, sent, now_ms, self._chance())
        way.under_way.discard(one.item.customer)
        went = sent.outcome in (Outcome.SENT, Outcome.UNKNOWN)
        self._chooser.limits.end(one.counted, now_ms if went else None)
        return before.state(now_ms) is not Circuit.CLOSED

    def _becomes(self, item: Item, sent: Sent, now_ms: int, *, down: bool = False) -> Result:
        way = self._ways.get(item.channel)
        rules = Rules(self._sending.attempts, resends=way is not None and way.line.resends, down=down)
        return came(
            item,
            sent,
            rules,
            now_ms,
            lambda: wait_ms(item.attempts, self._sending.first_retry, sent.retry_after_s, self._chance()),
            lambda: self._chooser.rest(item, now_ms),
        )

    def _back(self, one: UnderWay) -> None:
        """It was not handed over after all."""
        self._ways[one.item.channel].under_way.discard(one.item.customer)
        self._chooser.limits.end(one.counted, None)

    def _note_bound(self, bound: set[tuple[Limit, str]], now_ms: int) -> None:
        before, self._bound = self._binding, bound
        self._binding = before.seen(any(limit is not Limit.RATE for limit, _ in bound), now_ms)
        if self._binding.raised and not before.raised:
            self._say(f"notices wait for a limit ({named(bound)}): the most valuable go first, the others wait")
        elif before.raised and not self._binding.raised:
            self._say("notices no longer wait for a limit")

    async def _in_store(self, do: Callable[[], T]) -> T:
        try:
            if self._executor is None:
                return do()
            return await asyncio.get_running_loop().run_in_executor(self._executor, do)
        except UnreachableError:
            self._unwell = True
            raise

    async def _write(self, write: Callable[[], object]) -> None:
        def done() -> None:
            try:
                write()
            except UnreachableError:
                self._unwell = True
                raise

        await self._in_store(lambda: self._persist(done))
