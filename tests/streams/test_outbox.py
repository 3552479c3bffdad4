"""The outbox: one message per notice whatever crashes, the gate at the moment of sending, every no by name."""

import asyncio
import io
import json
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from detector.config import Config
from detector.decode.customers import customer_key
from detector.desk.records import Decision, Delivered, DeskEffects, Kind, Notice, NoticeState
from detector.desk.wording import Message
from detector.pipeline import Effects
from detector.signals import Condition, Measure, Signal
from streams.outbox.channel import OnUnknown, Outcome, Outgoing, Sent, available, load, masked
from streams.outbox.channels.log import LogChannel
from streams.outbox.deliver import FIRST_RETRY_MS, MAX_ATTEMPTS, Notifier
from streams.store import Store, open_store
from streams.store import tables as t
from streams.store.directory import CustomerDirectory

NOW_MS = 1_772_416_800_000
SIGNAL = Signal(
    name="login",
    title={"en": "Logins fail"},
    events=(Condition("kind", any_of=("login",)),),
    measure=Measure.SHARE,
    dimensions=("city",),
    window_ms=60_000,
)


class Scripted:
    """A channel that answers as told, in order, and keeps what it was handed."""

    def __init__(self, *answers: Outcome | type[Exception], on_unknown: OnUnknown = OnUnknown.RESEND) -> None:
        self.answers, self.on_unknown = list(answers), on_unknown
        self.handed: list[Outgoing] = []

    async def send(self, outgoing: Outgoing) -> Sent:
        self.handed.append(outgoing)
        answer = self.answers.pop(0) if self.answers else Outcome.SENT
        if isinstance(answer, type):
            raise answer
        return Sent(answer)

    async def close(self) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "tocsin.db", create=True)
    file = tmp_path / "customers.csv"
    file.write_text("id,name,email,phone,consent\nC-1,Budi,budi@example.com,+6281234567890,all\n", encoding="utf-8")
    CustomerDirectory(store).import_file(file)
    store.commit(Effects(desk=DeskEffects(notices=[a_notice(store)])))
    return store


def a_notice(store: Store, **changes: object) -> Notice:
    notice = Notice(
        tenant="default",
        id="n1",
        case="case",
        customer=customer_key(store.customer_key, "C-1"),
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
        stale_ms=NOW_MS + 3_600_000,
    )
    return msgspec.structs.replace(notice, **changes)


def notifier(store: Store, channel: Scripted) -> Notifier:
    return Notifier(store, CustomerDirectory(store), Config(signals=(SIGNAL,)), {"email": channel})


def state(store: Store) -> str:
    with store.reading() as connection:
        return str(connection.execute(sa.select(t.outbox.c.state)).scalar_one())


def told_desk(store: Store) -> list[Delivered]:
    return [msgspec.msgpack.decode(letter.data, type=Delivered) for letter in store.waiting()]


def attempts(store: Store) -> list[tuple[str, str]]:
    with store.reading() as connection:
        rows = connection.execute(sa.select(t.delivery).order_by(t.delivery.c.attempt))
        return [(row.outcome, row.detail) for row in rows]


def test_a_queued_notice_is_sent_once_with_words_and_the_directorys_address(store: Store) -> None:
    channel = Scripted()
    for _ in range(2):
        notifier(store, channel).work(NOW_MS)
    (sent,) = channel.handed
    assert (sent.notice, sent.address) == ("n1", "budi@example.com")
    assert sent.message.body.startswith("Hi Budi, ")
    assert state(store) == "sent"
    assert told_desk(store) == [Delivered(notice="n1", outcome="sent", channel="email")]


def test_it_is_claimed_in_a_committed_transaction_before_it_is_sent(store: Store) -> None:
    class Watching(Scripted):
        async def send(self, outgoing: Outgoing) -> Sent:
            with open_store(store.path) as other:
                assert state(other) == "claimed"
            return await super().send(outgoing)

    channel = Watching()
    notifier(store, channel).work(NOW_MS)
    assert len(channel.handed) == 1


@pytest.mark.parametrize(
    ("on_unknown", "handed", "left"),
    [
        pytest.param(OnUnknown.RESEND, ["n1", "n1"], "sent", id="sent again under the same id"),
        pytest.param(OnUnknown.HOLD, ["n1"], "unknown", id="left to a person"),
    ],
)
def test_a_crash_while_sending(store: Store, on_unknown: OnUnknown, handed: list[str], left: str) -> None:
    channel = Scripted(InterruptedError, on_unknown=on_unknown)
    with pytest.raises(InterruptedError):
        notifier(store, channel).work(NOW_MS)
    assert state(store) == "claimed"
    after = notifier(store, channel)
    assert after.recover(NOW_MS) == 1
    after.work(NOW_MS)
    assert [outgoing.notice for outgoing in channel.handed] == handed
    assert state(store) == left
    assert [record.outcome for record in told_desk(store)] == [left]


def test_what_fails_for_now_is_tried_again_later_and_later(store: Store) -> None:
    channel, now_ms = Scripted(*[Outcome.AGAIN] * 99), NOW_MS
    work = notifier(store, channel)
    work.work(now_ms)
    assert work.work(now_ms + FIRST_RETRY_MS - 1) == 0
    assert told_desk(store) == []
    for _ in range(MAX_ATTEMPTS - 1):
        now_ms += FIRST_RETRY_MS * 2**MAX_ATTEMPTS
        with store.transaction() as connection:  # no staleness here
            connection.execute(sa.update(t.notices).values(stale_ms=now_ms + 1))
        work.work(now_ms)
    assert len(channel.handed) == MAX_ATTEMPTS
    assert state(store) == "failed"
    assert [record.outcome for record in told_desk(store)] == ["failed"]


def test_what_fails_for_good_is_not_tried_again(store: Store) -> None:
    channel = Scripted(Outcome.FAILED)
    notifier(store, channel).work(NOW_MS)
    notifier(store, channel).work(NOW_MS + 10**9)
    assert len(channel.handed) == 1
    assert state(store) == "failed"


@pytest.mark.parametrize(
    ("reason", "now_ms"),
    [
        pytest.param("stale", NOW_MS + 3_600_001, id="stale"),
        pytest.param("no-consent", NOW_MS, id="consent withdrawn"),
        pytest.param("unknown-customer", NOW_MS, id="erased"),
    ],
)
def test_the_gate_says_no_by_name(store: Store, reason: str, now_ms: int) -> None:
    directory, who = CustomerDirectory(store), customer_key(store.customer_key, "C-1")
    if reason == "no-consent":
        directory.opt_out(who)
    if reason == "unknown-customer":
        directory.erase(who)
    channel = Scripted()
    notifier(store, channel).work(now_ms)
    assert channel.handed == []
    assert state(store) == "suppressed"
    assert attempts(store) == [("suppressed", reason)]
    assert [record.outcome for record in told_desk(store)] == ["failed"]


def test_the_log_channel_writes_one_line_that_cannot_be_forged() -> None:
    stream = io.StringIO()
    message = Message("Subject\n{}", 'Hi "Budi"\r\n{"event":"notice"}\x1b[31m')
    sent = asyncio.run(LogChannel(stream).send(Outgoing("n1", "case", "problem", "+6281234567890", "en", message)))
    assert sent == Sent(Outcome.SENT)
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["body"] == message.body
    assert "+6281234567890" not in line
    assert line.isprintable()


def test_channels_are_the_files_that_are_there() -> None:
    assert available() == ["log"]
    assert isinstance(load("log"), LogChannel)


@pytest.mark.parametrize("address", ["+6281234567890", "budi.santoso@example.com", "C-1042", ""])
def test_a_masked_address_names_nobody(address: str) -> None:
    assert not address or address not in masked(address)
