"""Chooses what goes out next: the most valuable that is due, that its channel, its limits and the gate let through.

Cost: it reads a few rows for each (channel, signal) of which something waits and may go; what waits for a limit or for
a channel that is down is not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from detector.config import Config
from detector.desk.policy import Reason
from streams.outbox.breaker import Breaker
from streams.outbox.came import Rest
from streams.outbox.channel import Line
from streams.outbox.gate import Asked, Go, Later, No, ask
from streams.outbox.limits import GoneOut, Limit, Limits, Tier, rate
from streams.outbox.outbox import Item, Outbox, Result
from streams.sections import SendingSection
from streams.store.directory import CustomerDirectory

AT_A_TIME = 8
"""Messages under way on one channel."""
LOOK, FEW = 100, 2 * AT_A_TIME
"""Rows of a signal that are looked at together: many while the gate says no to most of them."""
TIER_LOOK_MS = 30_000
"""While a channel's tier is full, messages to customers whom it counts already are looked for this often."""


@dataclass(frozen=True)
class UnderWay:
    """A message that is claimed, or about to be: its attempt counts, and it is counted in the limits."""

    item: Item
    counted: GoneOut


@dataclass(frozen=True)
class Answered:
    """What the gate said, and what it was asked; None: the notice is no more."""

    answer: Go | No | Later
    asked: Asked | None


@dataclass
class Way:
    """A channel as it stands."""

    line: Line
    breaker: Breaker = field(default_factory=Breaker)
    under_way: set[int] = field(default_factory=set)
    """The customers to whom something is on its way here."""

    def room(self, now_ms: int) -> int:
        return self.breaker.room(now_ms, len(self.under_way), AT_A_TIME)


@dataclass(frozen=True)
class Chosen:
    """What goes out now (counted in the limits), what the gate says no to, and which limits keep others waiting."""

    going: list[UnderWay]
    settled: list[Result]
    bound: set[tuple[Limit, str]]


class Chooser:
    """Chooses for one tenant.

    Parameters
    ----------
    ways
        The channels as they stand, in the policy's order; the notifier keeps them up to date.
    """

    def __init__(
        self,
        outbox: Outbox,
        directory: CustomerDirectory,
        config: Config,
        sending: SendingSection,
        ways: Mapping[str, Way],
    ) -> None:
        self._outbox, self._directory, self._ways = outbox, directory, ways
        self._policy, self._signals = config.policy, {signal.name: signal for signal in config.signals}
        lines = {name: way.line for name, way in ways.items()}
        self.limits = Limits(
            sending.per_hour,
            sending.per_signal_hour,
            rates={name: rate(line.per_second) for name, line in lines.items() if line.per_second is not None},
            tiers={name: Tier(line.per_day) for name, line in lines.items() if line.per_day is not None},
        )
        self._look, self._counted = FEW, -1
        """`_counted`: up to which attempt the limits have counted; -1: none yet."""
        self._tier_looked_ms: dict[str, int] = {}

    def choose(self, now_ms: int) -> Chosen:
        """Return what goes out now, the most valuable first."""
        beside = [
            GoneOut(item.channel, item.signal, item.customer, now_ms if item.claimed_ms is None else item.claimed_ms)
            for item in self._outbox.of_others()
        ]
        # After that: what others settle in between is counted twice for once, and never not at all.
        self._catch_up(now_ms)
        for one in beside:
            self.limits.begin(one)
        try:
            return self._choose(now_ms, {one.customer for one in beside})
        finally:
            for one in beside:
                self.limits.undo(one)

    def _catch_up(self, now_ms: int) -> None:
        """Count in the limits what went out before, and what other notifiers have sent since."""
        if self._counted < 0:
            found = self._outbox.gone_out(self._ways, now_ms)
        elif self._outbox.shared:
            found = self._outbox.attempts_after(self._counted)
        else:
            return
        self.limits.count(found.went)
        for one in found.asked:
            self.limits.begin(one)
            self.limits.end(one, None)
        self._counted = found.newest

    def _choose(self, now_ms: int, busy: set[int]) -> Chosen:
        """Choose; `busy` are customers to whom others send."""
        limits = self.limits
        found, bound = self._found(now_ms)
        busy = busy | {customer for way in self._ways.values() for customer in way.under_way}
        items, settled = self._in_order([item for item in found if item.customer not in busy], now_ms)
        answers = self.ask(items, now_ms)
        room = {name: way.room(now_ms) for name, way in self._ways.items()}
        going: list[UnderWay] = []
        for item in items:
            result = unless_go(item, answers[item.notice], item.attempts, now_ms)
            if result is not None:
                settled.append(result)
            elif room[item.channel] > 0 and item.customer not in busy:
                limit = limits.binding(item.channel, item.signal, item.customer, now_ms)
                if limit is not None:
                    bound.add((limit, _which(limit, item)))
                    continue
                counted = GoneOut(item.channel, item.signal, item.customer, now_ms)
                limits.begin(counted)
                busy.add(item.customer)
                room[item.channel] -= 1
                going.append(UnderWay(replace(item, attempts=item.attempts + 1), counted))
        self._look = LOOK if 2 * len(settled) > len(items) else FEW
        for one in going:
            self._tier_looked_ms.pop(one.item.channel, None)  # there may be more to customers whom its tier counts
        return Chosen(going, settled, bound)

    def ask(self, items: Sequence[Item], now_ms: int) -> dict[str, Answered]:
        """Ask the gate about these, by notice."""
        out: dict[str, Answered] = {}
        for item, asked in self._asked(items, now_ms) if items else ():
            out[item.notice] = Answered(No(Reason.CASE_GONE.value) if asked is None else ask(asked), asked)
        return out

    def rest(self, item: Item, now_ms: int) -> Rest:
        """Return what is left for a message that its channel has given up."""
        ((_, asked),) = self._asked([item], now_ms)
        if asked is None:
            return Rest()
        further = replace(asked, refused=asked.refused | {item.channel}).reaching
        return Rest(next(iter(further), None), asked.unsure)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _found(self, now_ms: int) -> tuple[list[Item], set[tuple[Limit, str]]]:
        """Return what is due and may go as far as its channel and signal are concerned, and which limits bind."""
        found, bound = list[Item](), set[tuple[Limit, str]]()
        for channel, signal in self._outbox.heads():
            way = self._ways.get(channel)
            if way is None:  # the gate finds another channel, or says no
                found += self._outbox.due(channel, signal, now_ms, self._look)
                continue
            if way.room(now_ms) == 0:
                continue
            limit = self.limits.closed(channel, signal, now_ms)
            due = self._outbox.due(channel, signal, now_ms, 1 if limit else self._look)
            if limit is None:
                found += due
            elif due:
                bound.add((limit, _which(limit, due[0])))
                if limit is Limit.TIER:
                    found += self._to_known(channel, now_ms)
        return sorted(found, key=lambda item: (item.rank, item.due_ms, item.notice)), bound

    def _to_known(self, channel: str, now_ms: int) -> list[Item]:
        """Return what is due to customers whom a full tier counts already."""
        looked_ms = self._tier_looked_ms.get(channel)
        if looked_ms is not None and now_ms - looked_ms < TIER_LOOK_MS:
            return []
        self._tier_looked_ms[channel] = now_ms
        return self._outbox.due_of(channel, self.limits.tiers[channel].customers(), now_ms, LOOK)

    def _in_order(self, items: Sequence[Item], now_ms: int) -> tuple[list[Item], list[Result]]:
        """Put older messages in the place of younger ones to the same customer, where they must go before them.

        That is an older one of the same case, and any older one that was tried already. Where it is not due yet, the
        younger one waits as long.
        """
        beside = self._outbox.waiting_for({item.customer for item in items}) if items else {}
        out, later = dict[str, Item](), list[Result]()
        for item in items:
            first = item
            while older := [o for o in beside.get(item.customer, ()) if _goes_before(o, first)]:
                first = min(older, key=_age)
            if first.due_ms <= now_ms:
                out.setdefault(first.notice, first)
            else:
                later.append(Result(item, "waiting", attempts=item.attempts, due_ms=first.due_ms))
        return list(out.values()), later

    def _asked(self, items: Sequence[Item], now_ms: int) -> Iterator[tuple[Item, Asked | None]]:
        """Yield what the gate is to look at, as the store has it now; None: the notice is no more."""
        known = self._outbox.known(items, now_ms)
        customers = self._directory.get_many(notice.customer for notice in known.notices.values())
        for item in items:
            notice = known.notices.get(item.notice)
            if notice is None:
                yield item, None
                continue
            yield (
                item,
                Asked(
                    notice=notice,
                    now_ms=now_ms,
                    policy=self._policy,
                    signal=self._signals.get(notice.signal),
                    customer=customers.get(notice.customer),
                    case=known.cases.get(notice.case),
                    entry=known.entries.get((notice.case, notice.customer)),
                    channel=item.channel,
                    usable=tuple(self._ways),
                    refused=known.refused.get(item.notice, frozenset()),
                    recent_ms=tuple(at for name, at in known.recent.get(notice.customer, ()) if name != item.notice),
                    unsure=item.notice in known.unsure,
                ),
            )


def unless_go(item: Item, answered: Answered, attempts: int, now_ms: int) -> Result | None:
    """Return what becomes of a row that may not go out now on its channel; None: it may."""
    answer = answered.answer
    if isinstance(answer, No):
        return suppressed(item, answer.reason, unsure=answered.asked is not None and answered.asked.unsure)
    if isinstance(answer, Later):
        return Result(item, "waiting", attempts=attempts, due_ms=answer.until_ms)
    if answer.channel != item.channel:
        return Result(item, "waiting", channel=answer.channel, due_ms=now_ms)
    return None


def suppressed(item: Item, reason: str, *, unsure: bool) -> Result:
    """Return what becomes of a row that must not go out; one that may have gone out before is left to a person."""
    state = "unknown" if unsure else "suppressed"
    return Result(item, state, "suppressed", reason, attempts=item.attempts, tell=True)


def _which(limit: Limit, item: Item) -> str:
    return {Limit.HOUR: "", Limit.SIGNAL: item.signal}.get(limit, item.channel)


def _age(item: Item) -> tuple[int, str]:
    return item.at_ms, item.notice


def _goes_before(other: Item, item: Item) -> bool:
    mine = other.channel == item.channel and (other.case == item.case or other.attempts > 0)
    return mine and _age(other) < _age(item)
