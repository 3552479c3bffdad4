"""A bad rule queues a hundred thousand notices: the caps hold, ops are told once, nothing is lost (a turned clock)."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from detector.desk.records import CaseState
from streams.outbox.channel import Line, OnUnknown, Outcome, Outgoing, Sent
from streams.sections import SendingSection
from streams.store import rows
from streams.store import tables as t
from tests.streams.sending import HOUR_MS, NOW_MS, Scripted, World, a_case, a_notice, a_signal

STORM = 100_000
MINUTE_MS = 60_000


class Clocked(Scripted):
    """Keeps when it was handed what."""

    def __init__(self, *answers: Outcome) -> None:
        super().__init__(*answers)
        self.now_ms = 0
        self.at: list[tuple[int, Outgoing]] = []

    async def send(self, outgoing: Outgoing) -> Sent:
        self.at.append((self.now_ms, outgoing))
        return await super().send(outgoing)


def storm(world: World, signal: str, n: int, first: int = 0, **changes: Any) -> None:
    """Queue notices of a signal to n customers, the later ones the more valuable, each of a case of its own."""
    channel = changes.get("channel", "email")
    prefix = signal if channel == "email" else f"{signal}-{channel}"
    notices, waiting, people, cases = [], [], [], []
    for i in range(n):
        who = first + i + 1
        notice = a_notice(who, f"{prefix}-{i}", case=f"{prefix}-{i}", signal=signal, priority=i, **changes)
        notices.append(rows.notice_row(notice))
        cases.append(rows.case_row(a_case(notice.case, signals=(signal,))))
        waiting.append(
            {
                **{"tenant": "default", "notice": notice.id, "state": "waiting", "channel": notice.channel},
                **{
                    "attempts": 0,
                    "due_ms": notice.at_ms,
                    "stale_ms": notice.stale_ms,
                    "claimed_ms": None,
                    "claimed_by": "",
                },
                **{"customer": who, "case_id": notice.case, "signal": signal, "kind": "problem"},
                **{"rank": -i, "at_ms": notice.at_ms},
            }
        )
        people.append(
            {
                **{"tenant": "default", "key": who, "id": str(who), "name": "", "language": "en", "time_zone": ""},
                **{"email": f"b{who}@example.com", "phone": f"+62{who:09}", "consent": "all", "known": 1},
                **{"tier": None, "contract_value_milli": None},
            }
        )
    with world.store.transaction() as connection:
        for table, values in ((t.notices, notices), (t.cases, cases), (t.outbox, waiting), (t.customer, people)):
            rows.put(connection, table, values)
        connection.execute(sa.text("ANALYZE"))  # as a server does by itself within a minute of so much that is new


@pytest.fixture
def world(tmp_path: Path, db: str) -> Iterator[World]:
    world = World(tmp_path, customers=0, db=db)
    yield world
    world.store.close()


def most_in_an_hour(moments: list[int]) -> int:
    return max((sum(at - HOUR_MS < other <= at for other in moments) for at in moments), default=0)


@pytest.mark.slow
def test_a_storm_is_held_by_the_limits_the_most_valuable_go_and_nothing_is_lost(world: World) -> None:
    world.signals = [a_signal("bad-rule"), a_signal("login")]
    storm(world, "bad-rule", STORM)
    storm(world, "login", 20, first=STORM)
    channel = Clocked()
    notifier = world.notifier(channel)
    for minute in range(0, 150, 5):
        channel.now_ms = NOW_MS + minute * MINUTE_MS
        notifier.work(channel.now_ms)
    notifier.close()

    signals = Counter(outgoing.signal for _, outgoing in channel.at)
    assert signals["login"] == 20, "what has nothing to do with it goes out at once"
    assert {at for at, outgoing in channel.at if outgoing.signal == "login"} == {NOW_MS}
    bad = [(at, outgoing) for at, outgoing in channel.at if outgoing.signal == "bad-rule"]
    assert most_in_an_hour([at for at, _ in bad]) == SendingSection().per_signal_hour
    assert [outgoing.notice for _, outgoing in bad] == [f"bad-rule-{STORM - 1 - i}" for i in range(len(bad))]
    assert len(bad) >= 2 * SendingSection().per_signal_hour
    assert len(world.said) == 1
    assert "signal: bad-rule" in world.said[0]

    with world.store.reading() as connection:
        states = connection.execute(sa.select(t.outbox.c.state, sa.func.count()).group_by(t.outbox.c.state))
        found = {state: n for state, n in states}
    assert found == {"sent": len(channel.at), "waiting": STORM + 20 - len(channel.at)}
    assert len(set(channel.ids)) == len(channel.ids)
    assert notifier.status(channel.now_ms)["alert"]


@pytest.mark.slow
def test_a_dismissed_storm_is_cleared_away_without_a_message(world: World) -> None:
    world.signals = [a_signal("bad-rule")]
    storm(world, "bad-rule", 3_000)
    with world.store.transaction() as connection:
        for row in connection.execute(sa.select(t.cases.c.id)).all():
            case = rows.case_row(a_case(row.id, state=CaseState.DISMISSED))
            connection.execute(rows.upsert(t.cases), case)
    channel = Clocked()
    world.work(channel)
    assert channel.at == []
    assert set(world.states().values()) == {"suppressed"}
    assert world.store.tally()["delivery"] == {"email/suppressed/dismissed": 3_000}


def test_the_limits_survive_a_restart(world: World) -> None:
    world.sending = SendingSection(per_hour=9, per_signal_hour=5)
    world.signals = [a_signal("bad-rule"), a_signal("login")]
    storm(world, "bad-rule", 20)
    storm(world, "login", 20, first=20)
    channel = Clocked()
    for minute in range(0, 60, 10):  # each time a notifier of its own
        world.work(channel, NOW_MS + minute * MINUTE_MS)
    assert Counter(outgoing.signal for outgoing in channel.handed) == {"bad-rule": 5, "login": 4}
    world.work(channel, NOW_MS + HOUR_MS + MINUTE_MS)
    assert len(channel.handed) == 18


@pytest.mark.parametrize("restart", [pytest.param(False, id="one run"), pytest.param(True, id="restarts")])
def test_a_providers_tier_counts_different_customers_in_a_day(world: World, restart: bool) -> None:
    world.signals = [a_signal("bad-rule"), a_signal("login")]
    storm(world, "bad-rule", 40)
    storm(world, "login", 40, at_ms=NOW_MS + HOUR_MS)  # the same customers, later
    channel = Clocked()
    lines = {"email": Line(channel, per_day=10)}
    notifier = world.notifier(lines=lines)
    for hour in range(0, 5):
        if restart:
            notifier.close()
            notifier = world.notifier(lines=lines)
        notifier.work(NOW_MS + hour * HOUR_MS)
    notifier.close()
    assert len({outgoing.address for outgoing in channel.handed}) == 10
    assert Counter(outgoing.signal for outgoing in channel.handed) == {"bad-rule": 10, "login": 10}
    assert notifier.status(NOW_MS)["limits"]["tier"]


@pytest.mark.slow
def test_a_rate_a_second_spreads_what_is_due(world: World) -> None:
    world.signals = [a_signal("bad-rule")]
    storm(world, "bad-rule", 30)
    channel = Clocked()
    notifier = world.notifier(lines={"email": Line(channel, per_second=2)})
    for tenth in range(100):
        channel.now_ms = NOW_MS + tenth * 100
        notifier.work(channel.now_ms)
    notifier.close()
    moments = [at for at, _ in channel.at]
    assert max(sum(at - 1_000 < other <= at for other in moments) for at in moments) == 2
    assert len(moments) >= 18
    assert world.said == [], "a rate that does its work is no alarm"


def test_what_did_not_go_out_does_not_count(world: World) -> None:
    world.sending = SendingSection(per_hour=5, per_signal_hour=5)
    world.signals = [a_signal("bad-rule")]
    storm(world, "bad-rule", 10)
    channel = Clocked(*[Outcome.FAILED] * 3)
    world.work(channel)
    assert Counter(world.states().values()) == {"failed": 3, "sent": 5, "waiting": 2}


def test_what_may_have_gone_out_counts(world: World) -> None:
    world.sending = SendingSection(per_hour=5, per_signal_hour=5)
    world.signals = [a_signal("bad-rule")]
    storm(world, "bad-rule", 10)
    for _ in range(2):  # the second counts what the first wrote down
        world.work(Scripted(then=Sent(Outcome.UNKNOWN, "", "timeout"), on_unknown=OnUnknown.HOLD))
    assert Counter(world.states().values()) == {"unknown": 5, "waiting": 5}


# --- a channel that is down -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_hour_without_the_mail_server_costs_no_message_and_no_other_channel(world: World) -> None:
    world.signals = [a_signal("bad-rule")]
    storm(world, "bad-rule", 30, stale_ms=NOW_MS + 12 * HOUR_MS)
    storm(world, "bad-rule", 31, first=100, channel="whatsapp")
    up_ms = NOW_MS + HOUR_MS
    now_ms = NOW_MS

    class Down(Clocked):
        async def send(self, outgoing: Outgoing) -> Sent:
            self.at.append((now_ms, outgoing))
            return Sent(Outcome.SENT) if now_ms >= up_ms else Sent(Outcome.AGAIN, "", "connection")

    email, whatsapp = Down(), Clocked()
    whatsapp.now_ms = now_ms
    notifier = world.notifier(lines={"email": Line(email), "whatsapp": Line(whatsapp)})
    while now_ms < up_ms + HOUR_MS:
        notifier.work(now_ms)
        now_ms += 10_000
    notifier.close()
    assert len(whatsapp.handed) == 31
    assert {at for at, _ in whatsapp.at} == {NOW_MS}
    tried = [at for at, _ in email.at if at < up_ms]
    assert 5 <= len(tried) < 30, "the circuit was open"
    assert set(world.states().values()) == {"sent"}
    assert [said for said in world.said if "email" in said] == [
        "channel email: nothing gets through; what is for it waits, and it is tried now and then",
        "channel email: messages get through again",
    ]


def test_a_channel_that_refuses_us_keeps_everything_until_a_person_resumes_it(world: World) -> None:
    world.signals = [a_signal("bad-rule")]
    storm(world, "bad-rule", 20)
    channel = Scripted(then=Sent(Outcome.AGAIN, "wrong password", "credentials", stop=True))
    notifier = world.notifier(channel)
    for minute in range(10):
        notifier.work(NOW_MS + minute * MINUTE_MS)
    assert len(channel.handed) <= 8
    assert set(world.states().values()) == {"waiting"}
    assert len(world.said) == 1
    assert notifier.status(NOW_MS)["stopped"] == {"email": "credentials"}
    channel.then = Sent(Outcome.SENT)
    notifier.resume("email", NOW_MS)
    notifier.work(NOW_MS + 11 * MINUTE_MS)
    notifier.close()
    assert set(world.states().values()) == {"sent"}


# --- cost -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_that_is_asked_of_the_outbox_reads_all_that_waits(world: World) -> None:
    world.signals = [a_signal("bad-rule")]
    storm(world, "bad-rule", 300)
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            asked.append((statement, parameters))

    sa.event.listen(world.store.engine, "before_cursor_execute", note)
    world.work(Scripted(Outcome.AGAIN, Outcome.FAILED))
    sa.event.remove(world.store.engine, "before_cursor_execute", note)
    plans: dict[str, list[str]] = {}
    with world.store.engine.connect() as connection:
        if world.store.on_server:
            connection.exec_driver_sql("UPDATE outbox SET state = 'waiting'")
            connection.exec_driver_sql("ANALYZE")
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # so few rows it would read whole
        for statement, parameters in asked:
            values = parameters[0] if isinstance(parameters, list) else parameters
            explain = "EXPLAIN" if world.store.on_server else "EXPLAIN QUERY PLAN"
            plans[statement] = [str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {statement}", values)]
    assert len(plans) > 8
    assert {plan for steps in plans.values() for plan in steps if plan.startswith("SCAN")} <= {"SCAN CONSTANT ROW"}
    assert not any("Seq Scan" in plan for steps in plans.values() for plan in steps)
    of_the_next = [" ".join(steps) for statement, steps in plans.items() if "ORDER BY outbox.rank" in statement]
    assert of_the_next
    assert all("outbox_next" in steps and "TEMP" not in steps and "Sort" not in steps for steps in of_the_next)
