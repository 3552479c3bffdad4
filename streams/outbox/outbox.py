"""The outbox in the store: which rows are next, claiming them, writing down what came of them.

Promises
- Finding what is next reads as many rows as it returns, however many wait: every question follows an index.
- A row's new state, its attempt in `delivery`, the sum by outcome and the letter to the Desk are one transaction.
- A row is only ever claimed from `waiting`, and settled from `claimed` (or `waiting`, by the gate).
- What becomes of a row is written only while it stands as it was seen: a notifier whose lease of it ran out, and which
  another took it from, writes nothing of it.

Several notifiers send from a store on a server. Each chooses and claims under one lock (`choosing`), without the
store's write lock, so that limits, order and caps count what all of them do; the sending itself goes side by side.

    waiting ──claim──► claimed ──► sent | failed | suppressed | unknown
       ▲                  │ again, another channel, not handed over
       └──────────────────┘           (a person: unknown ──► waiting | sent | failed)
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
ASKED = (*WENT, "again", "failed")
"""Outcomes for which the other side was asked: they count in a channel's rate."""
LEASE_MS = 150_000
"""A claim is its notifier's for so long; then another settles it as one that a crash left."""
TALLY = "delivery"
_BATCH = 500

_ENDED = (
    sa.update(t.outbox)
    .where(t.outbox.c.tenant == sa.bindparam("_tenant"), t.outbox.c.notice == sa.bindparam("_notice"))
    .values(state=sa.bindparam("_state"), attempts=sa.bindparam("_attempts"), channel=sa.bindparam("_channel"))
)
_AGAIN = _ENDED.values(due_ms=sa.bindparam("_due"), claimed_ms=None, claimed_by="")


@dataclass(frozen=True)
class Item:
    """One row of the outbox, as it was seen. `attempts` counts those on this channel."""

    notice: str
    channel: str
    attempts: int
    due_ms: int
    customer: int
    case: str
    signal: str
    rank: int
    at_ms: int
    state: str = "waiting"
    claimed_by: str = ""
    claimed_ms: int | None = None

    @classmethod
    def of(cls, r: Any) -> "Item":
        row = (r.notice, r.channel, r.attempts, r.due_ms, r.customer, r.case_id, r.signal, r.rank, r.at_ms)
        return cls(*row, r.state, r.claimed_by, r.claimed_ms)


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
    unsure: frozenset[str]
    """Notices that an earlier attempt may have sent."""
    recent: Mapping[int, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """By customer: notices that went out in the last 24 hours, and when."""


@dataclass(frozen=True)
class Attempts:
    """Attempts that were written down: up to number `newest`."""

    newest: int
    went: list[GoneOut]
    asked: list[GoneOut]
    """Those that came to nothing: the other side was asked all the same."""


class Outbox:
    """One tenant's outbox.

    Parameters
    ----------
    by
        The notifier that claims; "" where nothing is claimed.
    lease_ms
        For how long.
    """

    def __init__(self, store: Store, by: str = "", lease_ms: int = LEASE_MS) -> None:
        self._store, self.by, self.lease_ms = store, by, lease_ms
        self._here = t.outbox.c.tenant == store.tenant
        self._own: set[int] = set()
        """Numbers of the attempts that this notifier wrote down."""

    @property
    def shared(self) -> bool:
        """Whether other notifiers may be sending from this store."""
        return self._store.on_server

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

    def unsure(self, items: Sequence[Item]) -> frozenset[str]:
        """Return the notices of those rows that an earlier attempt may have sent."""
        d, names = t.delivery.c, {item.notice for item in items}
        wanted = sa.select(d.notice).where(d.tenant == self._store.tenant, d.notice.in_(names), d.outcome == "unknown")
        with self._store.reading() as connection:
            return frozenset(connection.execute(wanted).scalars())

    def left(self, now_ms: int) -> list[Item]:
        """Return what a crash left claimed: where others may be sending, what nobody has a lease of any more."""
        wanted = self._claimed()
        if self.shared:
            wanted = wanted.where(t.outbox.c.claimed_by != self.by, t.outbox.c.claimed_ms < now_ms - self.lease_ms)
        return self._items(wanted.order_by(t.outbox.c.at_ms, t.outbox.c.notice))

    def of_others(self) -> list[Item]:
        """Return what other notifiers have claimed."""
        return self._items(self._claimed().where(t.outbox.c.claimed_by != self.by)) if self.shared else []

    def ours(self, items: Sequence[Item]) -> dict[str, Item]:
        """Return those of these rows that this notifier has claimed, by notice, as they are now."""
        wanted = self._claimed().where(t.outbox.c.claimed_by == self.by)
        names = t.outbox.c.notice.in_([item.notice for item in items])
        return {item.notice: item for item in self._items(wanted.where(names))}

    def counts(self) -> dict[str, int]:
        """Return how many rows wait, are claimed, are unknown."""
        c = t.outbox.c
        out = dict.fromkeys(("waiting", "claimed", "unknown"), 0)
        wanted = sa.select(c.state, sa.func.count().label("n")).where(self._here, c.state.in_(tuple(out)))
        with self._store.reading() as connection:
            out.update((row.state, row.n) for row in connection.execute(wanted.group_by(c.state)))
        return out

    def gone_out(self, channels: Iterable[str], now_ms: int) -> Attempts:
        """Return what went out in the last 24 hours, in the order of time."""
        d, out = t.delivery.c, list[GoneOut]()
        with self._store.reading() as connection:
            newest = _newest(connection, self._store.tenant)
            for channel in channels:
                wanted = sa.select(d.signal, d.customer, d.at_ms).where(
                    d.tenant == self._store.tenant, d.channel == channel, d.at_ms > now_ms - DAY_MS, d.outcome.in_(WENT)
                )
                out += [GoneOut(channel, r.signal, r.customer, r.at_ms) for r in connection.execute(wanted)]
        self._own.clear()
        return Attempts(newest, sorted(out, key=lambda one: one.at_ms), [])

    def attempts_after(self, number: int) -> Attempts:
        """Return the attempts that other notifiers have written down since."""
        d, went, asked = t.delivery.c, list[GoneOut](), list[GoneOut]()
        wanted = sa.select(d.n, d.channel, d.signal, d.customer, d.at_ms, d.outcome).where(
            d.tenant == self._store.tenant, d.n > number, d.outcome.in_(ASKED)
        )
        with self._store.reading() as connection:
            for r in connection.execute(wanted.order_by(d.n)):
                number = max(number, r.n)
                if r.n not in self._own:
                    (went if r.outcome in WENT else asked).append(GoneOut(r.channel, r.signal, r.customer, r.at_ms))
        self._own = {n for n in self._own if n > number}
        return Attempts(number, went, asked)

    def known(self, items: Sequence[Item], now_ms: int) -> Known:
        """Return what the store holds about these rows, all as of one moment."""
        tenant = self._store.tenant
        names, cases = {item.notice for item in items}, {item.case for item in items}
        customers = {item.customer for item in items}
        n, ca, le, d = t.notices.c, t.cases.c, t.ledger.c, t.delivery.c
        notices: dict[str, Notice] = {}
        refused, unsure = dict[str, set[str]](), set[str]()
        recent: dict[int, dict[str, int]] = {}
        with self._store.reading() as connection:
            for row in connection.execute(sa.select(t.notices).where(n.tenant == tenant, n.id.in_(names))):
                notices[row.id] = rows.notice_of(row)
            found_cases = connection.execute(sa.select(t.cases).where(ca.tenant == tenant, ca.id.in_(cases)))
            by_id = {row.id: rows.case_of(row) for row in found_cases}
            wanted = sa.select(t.ledger).where(le.tenant == tenant, le.case_id.in_(cases), le.customer.in_(customers))
            entries = {(row.case_id, row.customer): rows.ledger_of(row) for row in connection.execute(wanted)}
            tried = sa.select(d.notice, d.channel, d.outcome).where(
                d.tenant == tenant, d.notice.in_(names), d.outcome.in_(("failed", "unknown"))
            )
            for row in connection.execute(tried):
                if row.outcome == "unknown":
                    unsure.add(row.notice)
                else:
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
            frozenset(unsure),
            {customer: tuple(told.items()) for customer, told in recent.items()},
        )

    # --- writing --------------------------------------------------------------------------------------------------

    @contextmanager
    def choosing(self) -> Iterator[sa.Connection | None]:
        """Choose and claim in here, one notifier at a time; give the connection to `claim`.

        What one has claimed the next one sees. A store in a file has one notifier, which needs no lock.
        """
        if not self.shared:
            yield None
            return
        from streams.store import postgres

        with self._store.beside() as connection:
            postgres.lock(connection, f"{self._store.tenant}/choosing")
            yield connection

    def claim(self, items: Sequence[Item], now_ms: int, connection: sa.Connection | None = None) -> dict[str, Item]:
        """Claim rows that wait, without waiting for whoever writes one now; returns ours, by notice."""
        if not items:
            return {}
        if connection is None:
            with self._store.beside() as own:
                return self.claim(items, now_ms, own)
        c = t.outbox.c
        wanted = self._waiting().where(c.notice.in_([item.notice for item in items]))
        free = [str(row.notice) for row in connection.execute(wanted.with_for_update(skip_locked=True))]
        mine = sa.update(t.outbox).where(self._here, c.notice.in_(free))
        values = {"state": "claimed", "claimed_ms": now_ms, "claimed_by": self.by, "attempts": c.attempts + 1}
        claimed = connection.execute(mine.values(values).returning(*t.outbox.c)) if free else ()
        return {row.notice: Item.of(row) for row in claimed}

    def settle(self, results: Sequence[Result], now_ms: int) -> None:
        """Write down what came of rows."""
        if results:
            with self._store.transaction() as connection:
                numbers = self.write(connection, results, now_ms)
            self._own |= numbers

    def write(self, connection: sa.Connection, results: Sequence[Result], now_ms: int) -> set[int]:
        """Write down what came of rows, each of another notice, in the caller's transaction (which writes).

        Nothing is written of a row that does not stand as it was seen. Returns the numbers of the attempts.
        """
        results = self._as_seen(connection, results)
        if not results:
            return set()
        again = [self._state(r) | {"_due": r.due_ms} for r in results if r.state == "waiting"]
        ended = [self._state(r) for r in results if r.state != "waiting"]
        if again:
            connection.execute(_AGAIN, again)
        if ended:
            connection.execute(_ENDED, ended)
        made, numbers = [r for r in results if r.outcome], set[int]()
        if made:
            attempts = self._attempts(connection, made, now_ms)
            numbers = {attempt["n"] for attempt in attempts}
            connection.execute(sa.insert(t.delivery), attempts)
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
        return numbers

    # --- inside ---------------------------------------------------------------------------------------------------

    def _as_seen(self, connection: sa.Connection, results: Sequence[Result]) -> list[Result]:
        """Return those whose rows still stand as they were seen, and hold these rows."""
        stands: dict[str, Item] = {}
        for i in range(0, len(results), _BATCH):
            names = [result.item.notice for result in results[i : i + _BATCH]]
            wanted = sa.select(t.outbox).where(self._here, t.outbox.c.notice.in_(names))
            for row in connection.execute(wanted.order_by(t.outbox.c.notice).with_for_update()):
                stands[row.notice] = Item.of(row)
        return [result for result in results if stands.get(result.item.notice) == result.item]

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
        first = _newest(connection, self._store.tenant) + 1
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
                "n": first + i,
            }
            for i, result in enumerate(made)
        ]

    def _waiting(self) -> "sa.Select[tuple[object, ...]]":
        return sa.select(t.outbox).where(self._here, t.outbox.c.state == "waiting")

    def _claimed(self) -> "sa.Select[tuple[object, ...]]":
        return sa.select(t.outbox).where(self._here, t.outbox.c.state == "claimed")

    def _items(self, wanted: "sa.Select[tuple[object, ...]]") -> list[Item]:
        with self._store.reading() as connection:
            return [Item.of(row) for row in connection.execute(wanted)]


def _newest(connection: sa.Connection, tenant: str) -> int:
    wanted = sa.select(sa.func.coalesce(sa.func.max(t.delivery.c.n), 0)).where(t.delivery.c.tenant == tenant)
    return int(connection.execute(wanted).scalar_one())
