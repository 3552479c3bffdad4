"""Works the outbox off: claim → gate → send → write down.

Promises
- A message goes out only after its row was claimed in a committed transaction, so a crash leaves it `claimed`, never
  unsent without a trace. What is found claimed at the start was left unknown: the channel says whether to send it again
  (under the same id) or to leave it to a person.
- The gate asks at the moment of sending: is it stale, is the customer still known, do they still consent?
- What came of it goes to the Desk through the inbox, in the transaction that marks the row.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from detector.config import Config
from detector.desk.records import Delivered, Notice
from detector.desk.wording import facts_of, words
from detector.pack import pack
from streams.outbox.channel import Channel, OnUnknown, Outcome, Outgoing, Sent
from streams.store import Store, rows
from streams.store import tables as t
from streams.store.directory import Customer, CustomerDirectory

BATCH = 100
Row = sa.Row[tuple[object, ...]]
FIRST_RETRY_MS = 30_000
MAX_ATTEMPTS = 8


@dataclass(frozen=True)
class Suppressed:
    """The gate's no, by name."""

    reason: str


class Notifier:
    """Delivers one tenant's notices over the given channels.

    Parameters
    ----------
    channels
        By name, as the notices name them.
    persist
        Does a write, and again where the store can't be written now: what was sent must be written down.
    """

    def __init__(
        self,
        store: Store,
        directory: CustomerDirectory,
        config: Config,
        channels: Mapping[str, Channel],
        persist: Callable[[Callable[[], None]], None] = lambda write: write(),
    ) -> None:
        self._store, self._directory, self._config, self._channels = store, directory, config, channels
        self._persist = persist

    def recover(self, now_ms: int) -> int:
        """Settle what a crash left claimed; returns how many there were."""
        left = self._rows("claimed", now_ms)
        for row in left:
            channel = self._channels.get(row.channel)
            if channel is not None and channel.on_unknown is OnUnknown.RESEND:
                with self._store.transaction() as connection:
                    self._mark(connection, row, "waiting", due_ms=now_ms)
            else:
                self._done(row, Sent(Outcome.UNKNOWN, "a crash left it unknown"), now_ms)
        return len(left)

    def work(self, now_ms: int) -> int:
        """Send what is due; returns how many rows were settled."""
        settled = 0
        for row in self._claim(now_ms):
            found = self._gate(row, now_ms)
            if isinstance(found, Suppressed):
                self._done(row, Sent(Outcome.FAILED, found.reason), now_ms, state="suppressed")
            else:
                self._done(row, asyncio.run(self._channels[row.channel].send(found)), now_ms)
            settled += 1
        return settled

    # --- inside ---------------------------------------------------------------------------------------------------

    def _rows(self, state: str, now_ms: int) -> list[Row]:
        table = t.outbox
        wanted = sa.select(table).where(table.c.tenant == self._store.tenant, table.c.state == state)
        if state == "waiting":
            wanted = wanted.where(table.c.due_ms <= now_ms).limit(BATCH)
        with self._store.reading() as connection:
            return list(connection.execute(wanted.order_by(table.c.due_ms, table.c.notice)))

    def _claim(self, now_ms: int) -> Sequence[Row]:
        found = self._rows("waiting", now_ms)

        def write() -> None:
            with self._store.transaction() as connection:
                for row in found:
                    self._mark(connection, row, "claimed", claimed_ms=now_ms, attempts=row.attempts + 1)

        if found:
            self._persist(write)
        return found

    def _mark(self, connection: sa.Connection, row: Row, state: str, **values: object) -> None:
        table = t.outbox
        mine = (table.c.tenant == self._store.tenant) & (table.c.notice == row.notice)
        connection.execute(sa.update(table).where(mine).values(state=state, **values))

    def _gate(self, row: Row, now_ms: int) -> Outgoing | Suppressed:
        """Return the message with its address, or why it must not go out."""
        with self._store.reading() as connection:
            table = t.notices
            mine = (table.c.tenant == self._store.tenant) & (table.c.id == row.notice)
            notice = rows.notice_of(connection.execute(sa.select(table).where(mine)).one())
        if now_ms > notice.stale_ms:
            return Suppressed("stale")
        customer = self._directory.get(notice.customer)
        if customer is None or not customer.known:
            return Suppressed("unknown-customer")
        if row.channel not in self._channels:
            return Suppressed("no-such-channel")
        if not customer.address(row.channel):
            return Suppressed("no-consent")
        return self._outgoing(notice, customer, row.channel)

    def _outgoing(self, notice: Notice, customer: Customer, channel: str) -> Outgoing | Suppressed:
        signal = next((s for s in self._config.signals if s.name == notice.signal), None)
        if signal is None:
            return Suppressed("signal-gone")
        message = words(facts_of(notice, signal), customer.name, notice.language)
        address = customer.address(channel)
        return Outgoing(notice.id, notice.case, notice.kind.value, address, notice.language, message)

    def _done(self, row: Row, sent: Sent, now_ms: int, state: str | None = None) -> None:
        """Write down what came of an attempt, and tell the Desk where it is final."""
        attempt = row.attempts + 1
        again = sent.outcome is Outcome.AGAIN and attempt < MAX_ATTEMPTS
        outcome = Outcome.FAILED if sent.outcome is Outcome.AGAIN and not again else sent.outcome
        values = {
            "tenant": self._store.tenant,
            "notice": row.notice,
            "attempt": attempt,
            "channel": row.channel,
            "outcome": state or outcome.value,
            "at_ms": now_ms,
            "detail": sent.detail,
            "customer": row.customer,
            "case_id": row.case_id,
            "signal": row.signal,
            "reference": sent.reference,
        }
        record = Delivered(notice=row.notice, outcome=outcome.value, channel=row.channel)
        letter = {"tenant": self._store.tenant, "state": "waiting", "data": pack(record), "answer": ""}

        def write() -> None:
            with self._store.transaction() as connection:
                connection.execute(rows.upsert(t.delivery), values)
                if again:
                    due_ms = now_ms + FIRST_RETRY_MS * 2 ** (attempt - 1)
                    self._mark(connection, row, "waiting", due_ms=due_ms, attempts=attempt)
                else:
                    self._mark(connection, row, state or outcome.value, attempts=attempt)
                    connection.execute(sa.insert(t.inbox), letter)

        self._persist(write)
