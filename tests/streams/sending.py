"""A store with customers, cases and notices that wait in the outbox, and channels that answer as told."""

import asyncio
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from detector.config import Config, Policy, QuietHours
from detector.decode.customers import customer_key
from detector.desk.records import (
    Case,
    CaseState,
    CustomerState,
    Decision,
    Delivered,
    DeskEffects,
    Grade,
    Kind,
    LedgerRow,
    Notice,
    NoticeState,
)
from detector.pipeline import Effects
from detector.signals import Condition, Measure, Mode, Severity, Signal
from streams.outbox.channel import Line, OnUnknown, Outcome, Outgoing, Sent
from streams.outbox.notifier import Notifier
from streams.sections import SendingSection
from streams.store import tables as t
from streams.store.directory import CustomerDirectory
from tests.servers.stores import new_store

NOW_MS = 1_772_416_800_000  # 09:00 in Jakarta
HOUR_MS = 3_600_000
FIRST_RETRY_MS = SendingSection().first_retry


def a_signal(name: str = "login", mode: Mode = Mode.LIVE) -> Signal:
    return Signal(
        name=name,
        title={"en": "Logins fail"},
        events=(Condition("kind", any_of=("login",)),),
        measure=Measure.SHARE,
        dimensions=("city",),
        window_ms=60_000,
        mode=mode,
    )


def a_case(name: str = "case", **changes: Any) -> Case:
    case = Case(
        tenant="default",
        id=name,
        mode=Mode.LIVE,
        title={"en": "Logins fail"},
        state=CaseState.OPEN,
        severity=Severity.HIGH,
        signals=("login",),
        anomalies=(name,),
        onset_ms=NOW_MS - 600_000,
        detected_ms=NOW_MS - 60_000,
        opened_ms=NOW_MS - 60_000,
    )
    return msgspec.structs.replace(case, **changes)


def a_notice(customer: int, name: str = "n1", **changes: Any) -> Notice:
    notice = Notice(
        tenant="default",
        id=name,
        case="case",
        customer=customer,
        kind=Kind.PROBLEM,
        episode=1,
        decision=Decision.SEND,
        state=NoticeState.QUEUED,
        reason="",
        until_ms=None,
        at_ms=NOW_MS,
        channel="email",
        language="en",
        time_zone="Asia/Jakarta",
        signal="login",
        cause={},
        when_ms=NOW_MS - 60_000,
        stale_ms=NOW_MS + 6 * HOUR_MS,
    )
    return msgspec.structs.replace(notice, **changes)


def an_entry(customer: int, **changes: Any) -> LedgerRow:
    entry = LedgerRow(
        tenant="default",
        case="case",
        customer=customer,
        grade=Grade.CONFIRMED,
        state=CustomerState.HIT,
        probability=0.9,
        first_failure_ms=NOW_MS - 60_000,
        last_failure_ms=NOW_MS - 60_000,
        tries=1,
    )
    return msgspec.structs.replace(entry, **changes)


class Scripted:
    """A channel that answers as told, in order, and keeps what it was handed."""

    def __init__(
        self,
        *answers: Outcome | Sent | BaseException,
        on_unknown: OnUnknown = OnUnknown.RESEND,
        then: Outcome | Sent = Outcome.SENT,
        before: Callable[[Outgoing], None] = lambda outgoing: None,
    ) -> None:
        self.answers, self.on_unknown, self.then, self.before = list(answers), on_unknown, then, before
        self.handed: list[Outgoing] = []
        self.at_once = self.most = 0
        self.closed = False

    async def send(self, outgoing: Outgoing) -> Sent:
        self.before(outgoing)
        self.handed.append(outgoing)
        answer = self.answers.pop(0) if self.answers else self.then
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Sent) else Sent(answer, reason="" if answer is Outcome.SENT else "refused")

    async def close(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str]:
        return [outgoing.notice for outgoing in self.handed]


class World:
    """One tenant's store, and a notifier on it."""

    def __init__(self, folder: Path, customers: int = 3, policy: Policy | None = None, db: str | None = None) -> None:
        self.db = db or str(folder / "tocsin.db")
        self.store = new_store(self.db)
        self.directory = CustomerDirectory(self.store)
        file = folder / "customers.csv"
        people = (f"C-{i},Budi {i},b{i}@example.com,+62812345{i:05},all" for i in range(customers))
        file.write_text("\n".join(("id,name,email,phone,consent", *people)) + "\n", encoding="utf-8")
        self.directory.import_file(file)
        self.policy = policy or Policy(send=True, channels=("email", "whatsapp"), quiet=QuietHours(0, 0), per_day=9)
        self.signals = [a_signal()]
        self.sending = SendingSection()
        self.said: list[str] = []
        self.put(cases=[a_case()])

    def customer(self, i: int = 0) -> int:
        return customer_key(self.store.customer_key, f"C-{i}")

    def put(self, *notices: Notice, cases: Iterable[Case] = (), ledger: Iterable[LedgerRow] = ()) -> None:
        self.store.commit(Effects(desk=DeskEffects(notices=list(notices), cases=list(cases), ledger=list(ledger))))

    def queue(self, name: str = "n1", customer: int = 0, **changes: Any) -> None:
        changes.setdefault("episode", zlib.crc32(name.encode()) >> 1)  # several of one case and kind
        self.put(a_notice(self.customer(customer), name, **changes))

    def notifier(self, channel: Scripted | None = None, **more: Any) -> Notifier:
        lines = more.pop("lines", None) or {"email": Line(channel or Scripted())}
        more.setdefault("chance", lambda: 0.0)
        config = Config(signals=tuple(self.signals), policy=self.policy)
        return Notifier(self.store, self.directory, config, lines, sending=self.sending, say=self.said.append, **more)

    def work(self, channel: Scripted | None = None, now_ms: int = NOW_MS, **more: Any) -> int:
        notifier = self.notifier(channel, **more)
        try:
            return notifier.work(now_ms)
        finally:
            notifier.close()

    # --- what is there --------------------------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(t.outbox.c.notice, t.outbox.c.state))
            return {row.notice: row.state for row in rows}

    def state(self, name: str = "n1") -> str:
        return self.states()[name]

    def row(self, name: str = "n1") -> Any:
        with self.store.reading() as connection:
            return connection.execute(sa.select(t.outbox).where(t.outbox.c.notice == name)).one()

    def attempts(self, name: str = "n1") -> list[tuple[str, str, str]]:
        with self.store.reading() as connection:
            found = sa.select(t.delivery).where(t.delivery.c.notice == name).order_by(t.delivery.c.attempt)
            return [(row.channel, row.outcome, row.detail) for row in connection.execute(found)]

    def told(self) -> list[Delivered]:
        return [msgspec.msgpack.decode(letter.data, type=Delivered) for letter in self.store.waiting()]
