"""The outbox: one message per notice whatever crashes, in order, over the next channel, every no by name."""

import asyncio
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from detector.desk.records import CustomerState, Delivered, Kind
from detector.desk.wording import Message
from detector.errors import ConfigError, UnreachableError, UsageError
from streams.outbox import people
from streams.outbox.channel import Line, OnUnknown, Outcome, Outgoing, Sent, available, load, load_line, masked
from streams.outbox.channels.log import LogChannel
from streams.outbox.kill_switch import (
    TurnedError,
    file_of,
    kill_switch,
    killed,
    set_kill_switch,
    turn_kill_switch,
)
from streams.outbox.outbox import LEASE_MS
from streams.store import audit, open_store
from streams.store import tables as t
from tests.streams.sending import FIRST_RETRY_MS, HOUR_MS, NOW_MS, Scripted, World, a_case, an_entry

ATTEMPTS = 8


class Killed(BaseException):
    """As if the process ended here."""


@pytest.fixture
def world(tmp_path: Path, db: str) -> Iterator[World]:
    world = World(tmp_path, db=db)
    yield world
    world.store.close()


def test_a_queued_notice_is_sent_once_with_words_and_the_directorys_address(world: World) -> None:
    world.queue()
    channel = Scripted()
    for _ in range(2):
        world.work(channel)
    (sent,) = channel.handed
    assert (sent.notice, sent.address) == ("n1", "b0@example.com")
    assert sent.message.body.startswith("Hi Budi 0, ")
    assert world.state() == "sent"
    assert world.told() == [Delivered(notice="n1", outcome="sent", channel="email")]
    assert channel.closed


def test_it_is_claimed_in_a_committed_transaction_before_it_is_sent(world: World) -> None:
    def look(outgoing: Outgoing) -> None:
        with open_store(world.db) as other, other.reading() as connection:
            assert connection.execute(sa.select(t.outbox.c.state)).scalar_one() == "claimed"

    world.queue()
    channel = Scripted(before=look)
    world.work(channel)
    assert world.state() == "sent"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "handed", "left"),
    [
        pytest.param(Line(Scripted(Killed())), ["n1", "n1"], "sent", id="the channel says: again under the same id"),
        pytest.param(
            Line(Scripted(Killed(), on_unknown=OnUnknown.HOLD)), ["n1"], "unknown", id="the channel says: a person"
        ),
        pytest.param(Line(Scripted(Killed()), on_unknown=OnUnknown.HOLD), ["n1"], "unknown", id="configured: a person"),
        pytest.param(
            Line(Scripted(Killed(), on_unknown=OnUnknown.HOLD), on_unknown=OnUnknown.RESEND),
            ["n1", "n1"],
            "sent",
            id="configured: again",
        ),
    ],
)
def test_a_crash_while_sending(world: World, line: Line, handed: list[str], left: str) -> None:
    world.queue()
    line = deepcopy(line)
    with pytest.raises(Killed):
        world.work(lines={"email": line})
    assert world.state() == "claimed"
    after, later_ms = world.notifier(lines={"email": line}), NOW_MS + LEASE_MS + 1
    assert after.recover(NOW_MS) == (0 if world.store.on_server else 1)  # on a server another may be sending it
    assert after.recover(later_ms) == (1 if world.store.on_server else 0)
    after.work(later_ms)
    after.close()
    assert isinstance(line.channel, Scripted)
    assert line.channel.ids == handed
    assert world.state() == left
    assert [record.outcome for record in world.told()] == [left]
    assert world.attempts()[0] == ("email", "unknown", "crash: a crash left it unknown")


def test_what_a_channel_does_not_know_is_treated_like_a_crash(world: World) -> None:
    world.queue("again")
    world.queue("held", customer=1, channel="whatsapp")
    unknown = Sent(Outcome.UNKNOWN, "dropped", "connection")
    lines = {"email": Line(Scripted(unknown)), "whatsapp": Line(Scripted(unknown, on_unknown=OnUnknown.HOLD))}
    world.work(lines=lines)
    assert world.states() == {"again": "waiting", "held": "unknown"}
    world.work(lines=lines, now_ms=NOW_MS + FIRST_RETRY_MS)
    assert world.states() == {"again": "sent", "held": "unknown"}


def test_a_channel_that_breaks_its_contract_leaves_the_message_unknown_and_holds_up_no_other(world: World) -> None:
    world.queue("a")
    world.queue("b", customer=1)
    world.work(Scripted(ValueError("b0@example.com"), on_unknown=OnUnknown.HOLD))
    assert world.states() == {"a": "unknown", "b": "sent"}
    assert world.attempts("a") == [("email", "unknown", "internal: the channel broke: ValueError")]


@pytest.mark.parametrize("point", ["claimed", "handed-over"])
def test_a_store_that_cannot_be_read_for_a_moment_leaves_nothing_claimed(world: World, point: str) -> None:
    world.queue()
    broken: list[str] = []

    def persist(write: Callable[[], None]) -> None:
        try:
            write()
        except UnreachableError:
            write()

    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if broken == [point] and "FROM notices" in statement:
            broken.append("was read")
            message = "unable to open database file"
            raise sqlite3.OperationalError(message)

    def at(found: str) -> None:
        if found == point and not broken:
            broken.append(found)

    sa.event.listen(world.store.engine, "before_cursor_execute", fail)
    channel = Scripted(Outcome.FAILED)
    world.work(channel, persist=persist, at=at)
    sa.event.remove(world.store.engine, "before_cursor_execute", fail)
    assert broken == [point, "was read"]
    assert channel.ids == ["n1"]
    assert world.state() == "failed"


# --- trying again -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_fails_for_now_is_tried_again_later_and_later(world: World) -> None:
    world.queue(stale_ms=NOW_MS + 10**10)
    channel, now_ms = Scripted(then=Outcome.AGAIN), NOW_MS
    world.work(channel)
    assert world.work(channel, now_ms + FIRST_RETRY_MS - 1) == 0
    assert world.told() == []
    for n in range(1, ATTEMPTS):
        now_ms += FIRST_RETRY_MS * 2 ** (n - 1)
        world.work(channel, now_ms)
        assert len(channel.handed) == n + 1
    assert world.state() == "failed"
    assert world.told() == [Delivered("n1", "failed", "email", "refused")]
    assert [outcome for _, outcome, _ in world.attempts()] == ["again"] * (ATTEMPTS - 1) + ["failed"]


def test_it_is_tried_again_when_the_other_side_says(world: World) -> None:
    world.queue()
    channel = Scripted(Sent(Outcome.AGAIN, reason="unavailable", retry_after_s=400.0))
    world.work(channel)
    world.work(channel, NOW_MS + 399_999)
    assert len(channel.handed) == 1
    world.work(channel, NOW_MS + 400_000)
    assert world.state() == "sent"


def test_what_fails_for_good_is_not_tried_again(world: World) -> None:
    world.queue()
    channel = Scripted(Sent(Outcome.FAILED, "no such user", "hard-bounce"))
    world.work(channel)
    world.work(channel, NOW_MS + 10**9)
    assert len(channel.handed) == 1
    assert world.state() == "failed"
    assert world.told() == [Delivered("n1", "failed", "email", "hard-bounce")]
    assert world.attempts() == [("email", "failed", "hard-bounce: no such user")]


def test_what_failed_for_good_goes_out_on_the_next_channel_that_reaches_them(world: World) -> None:
    world.queue()
    email, whatsapp = Scripted(Sent(Outcome.FAILED, "", "hard-bounce")), Scripted(Outcome.AGAIN)
    lines = {"email": Line(email), "whatsapp": Line(whatsapp)}
    world.work(lines=lines)
    assert world.row().attempts == 1, "attempts start anew"
    world.work(lines=lines, now_ms=NOW_MS + FIRST_RETRY_MS)
    assert (email.ids, whatsapp.ids) == (["n1"], ["n1", "n1"])
    assert whatsapp.handed[0].address == "+6281234500000"
    assert [(channel, outcome) for channel, outcome, _ in world.attempts()] == [
        ("email", "failed"),
        ("whatsapp", "again"),
        ("whatsapp", "sent"),
    ]
    assert world.told() == [Delivered("n1", "sent", "whatsapp")]


def test_where_every_channel_gave_it_up_the_desk_hears_of_the_last_no(world: World) -> None:
    world.queue()
    lines = {
        "email": Line(Scripted(Sent(Outcome.FAILED, "", "hard-bounce"))),
        "whatsapp": Line(Scripted(Sent(Outcome.FAILED, "", "opted-out"))),
    }
    world.work(lines=lines)
    assert world.told() == [Delivered("n1", "failed", "whatsapp", "opted-out")]


def test_a_next_channel_that_they_do_not_consent_to_is_none(world: World) -> None:
    world.directory.withdraw(world.customer(), "whatsapp")
    world.queue()
    lines = {"email": Line(Scripted(Sent(Outcome.FAILED, "", "hard-bounce"))), "whatsapp": Line(Scripted())}
    world.work(lines=lines)
    assert world.state() == "failed"


# --- order ------------------------------------------------------------------------------------------------------------


def test_the_most_valuable_go_first_and_then_the_longest_due(world: World) -> None:
    world.queue("low", customer=0, priority=1, at_ms=NOW_MS - 3)
    world.queue("late", customer=1, priority=5, at_ms=NOW_MS - 1)
    world.queue("early", customer=2, priority=5, at_ms=NOW_MS - 2)
    channel = Scripted()
    world.work(channel)
    assert channel.ids == ["early", "late", "low"]


def test_never_are_two_on_their_way_to_one_customer(world: World) -> None:
    for i in range(6):
        world.queue(f"n{i}0", customer=i % 2, case=f"c{i}")
        world.put(cases=[a_case(f"c{i}")])
    under_way: set[str] = set()

    class Watching(Scripted):
        async def send(self, outgoing: Outgoing) -> Sent:
            assert outgoing.address not in under_way
            under_way.add(outgoing.address)
            sent = await super().send(outgoing)
            under_way.discard(outgoing.address)
            return sent

    channel = Watching()
    world.work(channel)
    assert len(channel.handed) == 6
    assert channel.most == 2, "and those to different customers at the same time"


@pytest.mark.slow
def test_an_older_message_that_is_to_be_tried_again_goes_before_a_younger_one_to_the_same_customer(
    world: World,
) -> None:
    world.put(cases=[a_case("other")])
    world.queue("old", at_ms=NOW_MS - 2, case="case")
    channel = Scripted(Outcome.AGAIN)
    world.work(channel)
    world.queue("young", at_ms=NOW_MS - 1, case="other", priority=9)
    world.queue("another", customer=1, case="other", at_ms=NOW_MS - 1)
    world.work(channel, NOW_MS + 1)
    assert channel.ids == ["old", "another"]
    world.work(channel, NOW_MS + FIRST_RETRY_MS)
    assert channel.ids == ["old", "another", "old", "young"]


def test_a_slow_channel_does_not_hold_up_another(world: World) -> None:
    world.queue("mail")
    world.queue("wa", customer=1, channel="whatsapp")
    order: list[str] = []

    class Slow(Scripted):
        async def send(self, outgoing: Outgoing) -> Sent:
            while "wa" not in order:
                await asyncio.sleep(0.001)
            order.append("mail")
            return await super().send(outgoing)

    whatsapp = Scripted(before=lambda outgoing: order.append("wa"))
    world.work(lines={"email": Line(Slow()), "whatsapp": Line(whatsapp)})
    assert order == ["wa", "mail"]


def test_a_bounded_piece_of_work_leaves_the_others_for_the_next(world: World) -> None:
    for i in range(20):
        world.queue(f"m{i:02}", customer=i % 3, case=f"c{i}")
        world.put(cases=[a_case(f"c{i}")])
    channel = Scripted()
    notifier = world.notifier(channel)
    notifier.work(NOW_MS, 4)
    assert 4 <= len(channel.handed) < 20
    notifier.work(NOW_MS)
    notifier.close()
    assert len(channel.handed) == 20


def test_the_customers_own_cap_holds_for_what_really_went_out(world: World) -> None:
    world.policy = msgspec.structs.replace(world.policy, per_day=2)
    for i in range(4):
        world.put(cases=[a_case(f"c{i}")])
        stale_ms = NOW_MS + (6 if i < 3 else 30) * HOUR_MS
        world.queue(f"m{i}", case=f"c{i}", at_ms=NOW_MS + i, stale_ms=stale_ms)
    channel = Scripted()
    world.work(channel, NOW_MS + 9)
    assert channel.ids == ["m0", "m1"]
    assert world.states() == {"m0": "sent", "m1": "sent", "m2": "suppressed", "m3": "waiting"}
    assert world.attempts("m2") == [("email", "suppressed", "frequency-cap")]
    world.work(channel, NOW_MS + 24 * HOUR_MS + 9)
    assert channel.ids == ["m0", "m1", "m3"]


# --- the gate, as far as the store is concerned (its rules: test_outbox_gate.py) ---------------------------------------


@pytest.mark.slow
def test_the_gate_says_no_by_name_and_the_desk_hears_of_it(world: World) -> None:
    world.queue()
    world.directory.opt_out(world.customer())
    channel = Scripted()
    world.work(channel)
    assert channel.handed == []
    assert world.state() == "suppressed"
    assert world.attempts() == [("email", "suppressed", "no-consent")]
    assert world.told() == [Delivered("n1", "suppressed", "email", "no-consent")]
    assert world.store.tally()["delivery"] == {"email/suppressed/no-consent": 1}


def test_the_gate_is_asked_again_between_the_claim_and_the_sending(world: World) -> None:
    world.queue()
    channel = Scripted()

    def withdraw(point: str) -> None:
        if point == "claimed":
            world.directory.opt_out(world.customer())

    world.work(channel, at=withdraw)
    assert channel.handed == []
    assert world.attempts() == [("email", "suppressed", "no-consent")]


def test_who_recovered_while_it_waited_is_not_told(world: World) -> None:
    world.queue()
    world.put(ledger=[an_entry(world.customer(), state=CustomerState.RECOVERED, last_success_ms=NOW_MS)])
    world.work()
    assert world.told() == [Delivered("n1", "suppressed", "email", "already-recovered")]


def test_it_goes_out_on_another_channel_where_consent_to_the_first_was_withdrawn(world: World) -> None:
    world.queue()
    world.directory.withdraw(world.customer(), "email")
    email, whatsapp = Scripted(), Scripted()
    world.work(lines={"email": Line(email), "whatsapp": Line(whatsapp)})
    assert (email.ids, whatsapp.ids) == ([], ["n1"])


def test_what_waits_for_a_channel_that_is_no_more_finds_another_or_a_name(world: World) -> None:
    world.queue("a", channel="pigeon")
    world.directory.withdraw(world.customer(1), "email")
    world.queue("b", customer=1, channel="pigeon")
    world.work()
    assert world.states() == {"a": "sent", "b": "suppressed"}
    assert world.attempts("b") == [("pigeon", "suppressed", "no-such-channel")]


def test_what_is_stale_is_cleared_away_even_where_the_channel_is_down(world: World) -> None:
    world.queue(stale_ms=NOW_MS + HOUR_MS)
    channel = Scripted(then=Sent(Outcome.AGAIN, reason="credentials", stop=True))
    notifier = world.notifier(channel)
    notifier.work(NOW_MS)
    notifier.work(NOW_MS + HOUR_MS + 1)
    notifier.close()
    assert len(channel.handed) == 1
    assert world.told() == [Delivered("n1", "suppressed", "email", "stale")]


def test_a_message_whose_words_cannot_be_made_holds_up_no_other(world: World) -> None:
    world.queue("bad", time_zone="Asia/Jakarta", when_ms=10**17)
    world.queue("good", customer=1)
    world.work()
    assert world.states() == {"bad": "failed", "good": "sent"}


# --- the kill switch --------------------------------------------------------------------------------------------------


def test_while_the_kill_switch_is_on_nothing_is_handed_over_and_nothing_is_dropped(world: World) -> None:
    world.queue(stale_ms=NOW_MS + 1)
    channel = Scripted()
    set_kill_switch(world.store, True, "cli:budi", "wrong words", NOW_MS)
    assert world.work(channel, NOW_MS + 2) == 0
    assert world.state() == "waiting"
    set_kill_switch(world.store, False, "cli:budi", now_ms=NOW_MS)
    world.work(channel, NOW_MS)
    assert world.state() == "sent"
    assert [(e.who, e.what, e.detail) for e in audit.entries(world.store)] == [
        ("cli:budi", "kill-switch.on", "wrong words"),
        ("cli:budi", "kill-switch.off", ""),
    ]


def test_the_kill_switch_stops_what_is_claimed_and_not_handed_over(world: World) -> None:
    world.queue()
    channel = Scripted()

    def turn(point: str) -> None:
        if point == "claimed":
            set_kill_switch(world.store, True, "cli:budi")

    world.work(channel, at=turn)
    assert channel.handed == []
    row = world.row()
    assert (row.state, row.attempts) == ("waiting", 0)


def test_the_kill_switch_is_looked_at_and_turned_in_one(world: World) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    before, start = kill_switch(world.store), Barrier(8)

    def press(who: int) -> str:
        start.wait()
        try:
            turn_kill_switch(world.store, True, f"cli:{who}", f"why {who}", NOW_MS + who, expected=before.__eq__)
        except TurnedError as error:
            return error.now.by
        return "done"

    with ThreadPoolExecutor(8) as pool:
        came = list(pool.map(press, range(8)))
    assert came.count("done") == 1
    winner = f"cli:{came.index('done')}"
    assert {who for who in came if who != "done"} == {winner}, "the others are told who was first"
    assert kill_switch(world.store).by == winner and file_of(world.store).exists()
    now = kill_switch(world.store)
    turn_kill_switch(world.store, False, "cli:x", "", NOW_MS + 9, expected=now.__eq__)
    assert not killed(world.store) and not file_of(world.store).exists()


def test_sending_can_be_stopped_as_it_was_seen_where_the_store_can_not_be_written_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise UnreachableError("locked")

    monkeypatch.setattr("streams.outbox.kill_switch._write", locked)
    turn_kill_switch(world.store, True, "cli:ani", "wrong words", NOW_MS, expected=lambda now: not now.on)
    assert killed(world.store)


def test_either_place_of_the_kill_switch_is_enough(world: World) -> None:
    file = file_of(world.store)
    assert file.name == f"{Path(world.db).name}.kill"
    file.touch()
    assert kill_switch(world.store).on
    assert killed(world.store)
    set_kill_switch(world.store, False, "cli:budi")
    assert not file.exists()
    assert not killed(world.store)
    set_kill_switch(world.store, True, "cli:budi", "why", NOW_MS)
    file.unlink()  # as a backup that is put back: the store alone says it
    assert killed(world.store)
    found = kill_switch(world.store)
    assert (found.on, found.by, found.reason, found.at_ms) == (True, "cli:budi", "why", NOW_MS)


def test_a_switch_that_cannot_be_read_counts_as_on(world: World) -> None:
    file_of(world.store).write_bytes(b"\xff{")
    assert kill_switch(world.store).on
    file_of(world.store).unlink()
    world.store.set_meta("kill_switch", b"\xff{")
    assert kill_switch(world.store).on
    assert killed(world.store)


# --- what people decide -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "state", "told"),
    [
        pytest.param("resend", "sent", ["unknown", "sent"], id="send it again"),
        pytest.param("sent", "sent", ["unknown", "sent"], id="it was sent"),
        pytest.param("failed", "failed", ["unknown", "failed"], id="it was not, and is not to be"),
    ],
)
def test_a_person_decides_on_an_unknown_send(world: World, how: people.How, state: str, told: list[str]) -> None:
    world.queue()
    channel = Scripted(Sent(Outcome.UNKNOWN, "", "timeout"), on_unknown=OnUnknown.HOLD)
    world.work(channel)
    assert world.state() == "unknown"
    people.settle_unknown(world.store, "n1", how, "person:ani", NOW_MS)
    world.work(channel)
    assert channel.ids == (["n1", "n1"] if how == "resend" else ["n1"])
    assert world.state() == state
    assert [record.outcome for record in world.told()] == told
    assert [(e.who, e.what, e.target) for e in audit.entries(world.store)] == [
        ("person:ani", f"notice.{how}", "notice:n1")
    ]


def test_only_an_unknown_send_is_decided_on(world: World) -> None:
    world.queue()
    with pytest.raises(UsageError, match=r"n1.*it is waiting"):
        people.settle_unknown(world.store, "n1", "sent", "person:ani")
    with pytest.raises(UsageError, match="none of that id"):
        people.settle_unknown(world.store, "n2", "sent", "person:ani")
    assert audit.entries(world.store) == []


# --- channels ---------------------------------------------------------------------------------------------------------


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
    assert {"log", "smtp", "webhook"} <= set(available())
    assert isinstance(load("log"), LogChannel)


def test_what_is_common_to_all_channels_is_not_the_providers(world: World) -> None:
    line = load_line("sms", {"by": "log", "per_second": 2.5, "per_day": 250, "on_unknown": "hold"})
    assert (line.per_second, line.per_day, line.resends) == (2.5, 250, False)


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        pytest.param(
            {"by": "log", "colour": 1}, "channels.sms.colour", "an unknown field", id="unknown to the provider"
        ),
        pytest.param({"by": "log", "per_day": 0}, "channels.sms.per_day", "at least 1", id="common, out of range"),
        pytest.param(
            {"by": "log", "on_unknown": "ask"}, "channels.sms.on_unknown", "resend", id="common, no such word"
        ),
    ],
)
def test_a_wrong_option_is_named_with_its_path(given: dict[str, object], path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as found:
        load("sms", given)
    assert [problem.path for problem in found.value.problems] == [f"tocsin.yml: {path}"]


@pytest.mark.parametrize("address", ["+6281234567890", "budi.santoso@example.com", "C-1042", ""])
def test_a_masked_address_names_nobody(address: str) -> None:
    assert not address or address not in masked(address)


def test_kinds_of_the_gate_are_all_kinds() -> None:
    assert {kind.value for kind in Kind} == {"problem", "resolved", "correction", "follow-up", "try-again"}


def test_what_waited_before_the_outbox_knew_its_customer_keeps_its_order(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "contracts" / "golden" / "store-0001.sql"
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(golden.read_text(encoding="utf-8"))
    connection.execute(
        "INSERT INTO notices (tenant, id, case_id, customer, kind, episode, decision, state, reason, at_ms, language, "
        "time_zone, signal, cause, when_ms, stale_ms, checks) VALUES "
        "('default', 'n1', 'c1', 77, 'problem', 1, 'send', 'queued', '', 5, 'en', 'UTC', 'login', '{}', 4, 9, '[]')"
    )
    connection.execute("INSERT INTO outbox VALUES ('default', 'n1', 'waiting', 'log', 0, 5, 9, NULL)")
    connection.execute("INSERT INTO delivery VALUES ('default', 'n1', 1, 'log', 'sent', 6, '')")
    connection.commit()
    connection.close()
    with open_store(path) as store, store.reading() as found:
        row = found.execute(sa.select(t.outbox)).one()
        assert (row.customer, row.case_id, row.signal, row.kind, row.at_ms) == (77, "c1", "login", "problem", 5)
        tried = found.execute(sa.select(t.delivery)).one()
        assert (tried.customer, tried.case_id, tried.signal) == (77, "c1", "login")
