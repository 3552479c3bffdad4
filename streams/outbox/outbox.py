"""The outbox in the store: which rows are next, claiming them, writing down what came of them.

Promises
- Finding what is next reads as many rows as it returns, however many wait: every question follows an index.
- A row's new state, its attempt in `delivery`, the sum by outcome and the letter to the Desk are one transaction.
- A row is only ever claimed from `waiting`, and settled from `claimed` (or `waiting`, by the gate).

    waiting ──claim──► claimed ──► sent | failed | suppressed | unknown
       ▲                  │ again, another channel, not handed over
       └──────────────────┘           (a person: unknown ──► waiting | sent | failed)
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from detector.desk.records import Case, Delivered, LedgerRow, Notice
from detector.pack import pack
from streams.outbox.limits import DAY_MS, GoneOut
from streams.store import Store, rows
from streams.store import tables as t

WENT = ("sent", "unknown")
"""Outcomes that may have reached the customer: they count in limits."""
TALLY = "delivery"
_BATCH = 500

_ENDED = (
    sa.update(t.outbox)
    .where(t.outbox.c.tenant == sa.bindparam("_tenant"), t.outbox.c.notice == sa.bindparam("_notice"))
    .values(state=sa.bindparam("_state"), attempts=sa.bindparam("_attempts"), channel=sa.bindparam("_channel"))
)
_AGAIN = _ENDED.values(due_ms=sa.bindparam("_due"), claimed_ms=None)


@dataclass(frozen=True)
class Item:
    """One row of the outbox. `attempts` counts those on this channel."""

    notice: str
    channel: str
    attempts: int
    due_ms: int
    customer: int
    case: str
    signal: str
    rank: int
    at_ms: int

    @classmethod
    def of(cls, r: Any) -> "Item":
        return cls(r.notice, r.channel, r.attempts, r.due_ms, r.customer, r.case_id, r.signal, r.rank, r.at_ms)


@dataclass(frozen=True)
class Result:
    """What becomes of a row.

    Attributes
    ----------
    state
        The row's new one.
    outcome
        Of the attempt; "": none was made, nothing is noted in `delivery`.
    reference
        The other side's name for the message.
    tell
        The Desk hears of it: this is the end.
    """

    item: Item
    state: str
    outcome: str = ""
    reason: str = ""
    detail: str = ""
    channel: str = ""
    attempts: int = 0
    due_ms: int = 0
    reference: str = ""
    tell: bool = False


@dataclass(frozen=True)
class Known:
    """What the store holds about some rows now, for the gate."""

    notices: Mapping[str, Notice]
    cases: Mapping[str, Case]
    entries: Mapping[tuple[str, int], LedgerRow]
    refused: Mapping[str, frozenset[str]]
    """By notice: channels that gave it up."""
    recent: Mapping[int, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """By customer: notices that went out in the last 24 hours, and when."""


class Outbox:
    """One tenant's outbox."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._here = t.outbox.c.tenant == store.tenant

    # --- finding --------------------------------------------------------------------------------------------------

    def heads(self) -> list[tuple[str, str]]:
        """Return the (channel, signal) of which something waits, each found by one step in the index."""
        c, out = t.outbox.c, list[tuple[str, str]]()
        with self._store.reading() as connection:
            waiting = sa.select(c.channel, c.signal).where(self._here, c.state == "waiting")
            waiting = waiting.order_by(c.channel, c.signal).limit(1)
            found = connection.execute(waiting).first()
            while found is not None:
                channel, signal = str(found.channel), str(found.signal)
                out.append((channel, signal))
                found = connection.execute(waiting.where(c.channel == channel, c.signal > signal)).first()
                if found is None:
                    found = connection.execute(waiting.where(c.channel > channel)).first()
        return out

    def due(self, channel: str, signal: str, now_ms: int, limit: int) -> list[Item]:
        """Return what is due, the most valuable first, the longest due first of these."""
        c = t.outbox.c
        wanted = (self._waiting().where(c.channel == channel, c.signal == signal, c.due_ms <= now_ms)).order_by(
            c.rank, c.due_ms
        )
        return self._items(wanted.limit(limit))

    def due_of(self, channel: str, customers: Sequence[int], now_ms: int, limit: int) -> list[Item]:
        """Return what is due to some of these customers, the most valuable first."""
        c, found = t.outbox.c, list[Item]()
        for i in range(0, len(customers), _BATCH):
            of = c.customer.in_(customers[i : i + _BATCH])
            wanted = self._waiting().where(of, c.channel == channel, c.due_ms <= now_ms).order_by(c.rank, c.due_ms)
            found += self._items(wanted.limit(limit))
        return sorted(found, key=lambda item: (item.rank, item.due_ms))[:limit]

    def waiting_for(self, customers: Iterable[int]) -> dict[int, list[Item]]:
        """Return what waits for these customers, by customer."""
        wanted, out = sorted(customers), dict[int, list[Item]]()
        for i in range(0, len(wanted), _BATCH):
            for item in self._items(self._waiting().where(t.outbox.c.customer.in_(wanted[i : i + _BATCH]))):
                out.setdefault(item.customer, []).append(item)
        return out

    def stale(self, now_ms: int, limit: int) -> list[Item]:
        """Return what waits and is not to be sent any more."""
        return self._items(
            self._waiting().where(t.outbox.c.stale_ms < now_ms).order_by(t.outbox.c.stale_ms).limit(limit)
        )

    def claimed(self) -> list[Item]:
        """Return what is claimed: at the start, what a crash left."""
        wanted = sa.select(t.outbox).where(self._here, t.outbox.c.state == "claimed")
        return self._items(wanted.order_by(t.outbox.c.at_ms, t.outbox.c.notice))

    def counts(self) -> dict[str, int]:
        """Return how many rows wait, are claimed, are unknown."""
        c = t.outbox.c
        out = dict.fromkeys(("waiting", "claimed", "unknown"), 0)
        wanted = sa.select(c.state, sa.func.count().label("n")).where(self._here, c.state.in_(tuple(out)))
        with self._store.reading() as connection:
            out.update((row.state, row.n) for row in connection.execute(wanted.group_by(c.state)))
        return out

    def gone_out(self, channels: Iterable[str], now_ms: int) -> list[GoneOut]:
        """Return what went out in the last 24 hours, in the order of time."""
        d, out = t.delivery.c, list[GoneOut]()
        with self._store.reading() as connection:
            for channel in channels:
                wanted = sa.select(d.signal, d.customer, d.at_ms).where(
                    d.tenant == self._store.tenant, d.channel == channel, d.at_ms > now_ms - DAY_MS, d.outcome.in_(WENT)
                )
                out += [GoneOut(channel, r.signal, r.customer, r.at_ms) for r in connection.execute(wanted)]
        return sorted(out, key=lambda one: one.at_ms)

    def known(self, items: Sequence[Item], now_ms: int) -> Known:
        """Return what the store holds about these rows, all as of one moment."""
        tenant = self._store.tenant
        names, cases = {item.notice for item in items}, {item.case for item in items}
        customers = {item.customer for item in items}
        n, ca, le, d = t.notices.c, t.cases.c, t.ledger.c, t.delivery.c
        notices: dict[str, Notice] = {}
        refused: dict[str, set[str]] = {}
        recent: dict[int, dict[str, int]] = {}
        with self._store.reading() as connection:
            for row in connection.execute(sa.select(t.notices).where(n.tenant == tenant, n.id.in_(names))):
                notices[row.id] = rows.notice_of(row)
            found_cases = connection.execute(sa.select(t.cases).where(ca.tenant == tenant, ca.id.in_(cases)))
            by_id = {row.id: rows.case_of(row) for row in found_cases}
            wanted = sa.select(t.ledger).where(le.tenant == tenant, le.case_id.in_(cases), le.customer.in_(customers))
            entries = {(row.case_id, row.customer): rows.ledger_of(row) for row in connection.execute(wanted)}
            gave_up = sa.select(d.notice, d.channel).where(
                d.tenant == tenant, d.notice.in_(names), d.outcome == "failed"
            )
            for row in connection.execute(gave_up):
                refused.setdefault(row.notice, set()).add(row.channel)
            lately = sa.select(d.customer, d.notice, d.at_ms).where(
                d.tenant == tenant, d.customer.in_(customers), d.at_ms > now_ms - DAY_MS, d.outcome.in_(WENT)
            )
            for row in connection.execute(lately):
                told = recent.setdefault(row.customer, {})
                told[row.notice] = max(row.at_ms, told.get(row.notice, row.at_ms))
        return Known(
            notices,
            by_id,
            entries,
            {name: frozenset(channels) for name, channels in refused.items()},
            {customer: tuple(told.items()) for customer, told in recent.items()},
        )

    # --- writing --------------------------------------------------------------------------------------------------

    def claim(self, items: Sequence[Item], settled: Sequence[Result], now_ms: int) -> set[str]:
        """Claim rows and write down what the gate said of others, in one transaction; returns which are ours."""
        c = t.outbox.c
        with self._store.transaction() as connection:
            self.write(connection, settled, now_ms)
            if not items:
                return set()
            names = [item.notice for item in items]
            mine = sa.update(t.outbox).where(self._here, c.notice.in_(names), c.state == "waiting")
            claimed = mine.values(state="claimed", claimed_ms=now_ms, attempts=c.attempts + 1).returning(c.notice)
            return {str(row.notice) for row in connection.execute(claimed)}

    def settle(self, results: Sequence[Result], now_ms: int) -> None:
        """Write down what came of rows."""
        if results:
            with self._store.transaction() as connection:
                self.write(connection, results, now_ms)

    def write(self, connection: sa.Connection, results: Sequence[Result], now_ms: int) -> None:
        """Write down what came of rows, each of another notice, in the caller's transaction."""
        if not results:
            return
        again = [self._state(r) | {"_due": r.due_ms} for r in results if r.state == "waiting"]
        ended = [self._state(r) for r in results if r.state != "waiting"]
        if again:
            connection.execute(_AGAIN, again)
        if ended:
            connection.execute(_ENDED, ended)
        made = [r for r in results if r.outcome]
        if made:
            connection.execute(sa.insert(t.delivery), self._attempts(connection, made, now_ms))
            sums = Counter("/".join((r.item.channel, r.outcome, r.reason)) for r in made)
            tallies = [
                {"tenant": self._store.tenant, "what": TALLY, "reason": key, "n": n} for key, n in sorted(sums.items())
            ]
            connection.execute(rows.upsert(t.tally, add=("n",)), tallies)
        letters = [
            {
                "tenant": self._store.tenant,
                "state": "waiting",
                "data": pack(Delivered(r.item.notice, r.state, r.item.channel, r.reason)),
                "answer": "",
            }
            for r in results
            if r.tell
        ]
        if letters:
            connection.execute(sa.insert(t.inbox), letters)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _state(self, result: Result) -> dict[str, object]:
        return {
            "_tenant": self._store.tenant,
            "_notice": result.item.notice,
            "_state": result.state,
            "_attempts": result.attempts,
            "_channel": result.channel or result.item.channel,
        }

    def _attempts(self, connection: sa.Connection, made: Sequence[Result], now_ms: int) -> list[rows.Row]:
        """Return the attempts as rows, numbered on from those that there are."""
        d, names = t.delivery.c, [result.item.notice for result in made]
        last: dict[str, int] = {}
        for i in range(0, len(names), _BATCH):
            wanted = sa.select(d.notice, sa.func.max(d.attempt).label("n")).where(
                d.tenant == self._store.tenant, d.notice.in_(names[i : i + _BATCH])
            )
            last.update((row.notice, row.n) for row in connection.execute(wanted.group_by(d.notice)))
        return [
            {
                "tenant": self._store.tenant,
                "notice": result.item.notice,
                "attempt": last.get(result.item.notice, 0) + 1,
                "channel": result.item.channel,
                "outcome": result.outcome,
                "at_ms": now_ms,
                "detail": ": ".join(filter(None, (result.reason, result.detail))),
                "customer": result.item.customer,
                "case_id": result.item.case,
                "signal": result.item.signal,
                "reference": result.reference,
            }
            for result in made
        ]

    def _waiting(self) -> "sa.Select[tuple[object, ...]]":
        return sa.select(t.outbox).where(self._here, t.outbox.c.state == "waiting")

    def _items(self, wanted: "sa.Select[tuple[object, ...]]") -> list[Item]:
        with self._store.reading() as connection:
            return [Item.of(row) for row in connection.execute(wanted)]
