"""What may have gone out once ends as sent or with a person: never as not told, never told again by another channel."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from detector.desk.records import CaseState, CustomerState
from streams.outbox import people
from streams.outbox.channel import Line, Outcome, Sent
from streams.store import tables as t
from tests.streams.sending import FIRST_RETRY_MS, HOUR_MS, NOW_MS, Scripted, World, a_case, an_entry

LATER_MS = NOW_MS + FIRST_RETRY_MS
DROPPED = Sent(Outcome.UNKNOWN, "dropped", "connection")


@pytest.fixture
def world(tmp_path: Path, db: str) -> Iterator[World]:
    world = World(tmp_path, db=db)
    yield world
    world.store.close()


def unsure(world: World, *answers: Outcome | Sent) -> dict[str, Line]:
    """Have a message that may have gone out by e-mail; returns the channels: e-mail answers so, WhatsApp takes all."""
    world.queue()
    lines = {"email": Line(Scripted(DROPPED, *answers)), "whatsapp": Line(Scripted())}
    world.work(lines=lines)
    assert world.state() == "waiting"
    return lines


def handed(lines: dict[str, Line]) -> dict[str, int]:
    found = {name: line.channel for name, line in lines.items()}
    return {name: len(channel.handed) for name, channel in found.items() if isinstance(channel, Scripted)}


@pytest.mark.parametrize(
    "now",
    [
        pytest.param({"state": CustomerState.RECOVERED, "last_success_ms": NOW_MS}, id="who got through meanwhile"),
        pytest.param({"contact_ms": NOW_MS}, id="who contacted us meanwhile"),
    ],
)
def test_it_is_sent_again_under_its_id_to_who_no_longer_needs_it(world: World, now: dict[str, Any]) -> None:
    lines = unsure(world)
    world.put(ledger=[an_entry(world.customer(), **now)])
    world.work(lines=lines, now_ms=LATER_MS)
    assert (world.state(), handed(lines)) == ("sent", {"email": 2, "whatsapp": 0})
    assert [record.outcome for record in world.told()] == ["sent"]


def test_what_is_not_true_any_more_is_left_to_a_person(world: World) -> None:
    lines = unsure(world)
    world.put(cases=[a_case(state=CaseState.DISMISSED)])
    world.work(lines=lines, now_ms=LATER_MS)
    assert (world.state(), handed(lines)) == ("unknown", {"email": 1, "whatsapp": 0})
    assert [(record.outcome, record.reason) for record in world.told()] == [("unknown", "dismissed")]
    assert world.attempts()[-1] == ("email", "suppressed", "dismissed")
    people.settle_unknown(world.store, "n1", "sent", "person:ani", LATER_MS)
    assert world.state() == "sent"
    assert [record.outcome for record in world.told()] == ["unknown", "sent"]


@pytest.mark.parametrize("line", [True, False], ids=["on a channel that works", "on one that is gone"])
def test_what_went_stale_is_left_to_a_person(world: World, line: bool) -> None:
    lines = unsure(world)
    world.work(lines=lines if line else {"whatsapp": lines["whatsapp"]}, now_ms=NOW_MS + 7 * HOUR_MS)
    assert (world.state(), handed(lines)) == ("unknown", {"email": 1, "whatsapp": 0})
    assert [(record.outcome, record.reason) for record in world.told()] == [("unknown", "stale")]


def test_no_other_channel_gets_it_where_the_first_reaches_them_no_more(world: World) -> None:
    lines = unsure(world)
    with world.store.transaction() as connection:
        connection.execute(sa.update(t.customer).values(consent="whatsapp"))
    world.work(lines=lines, now_ms=LATER_MS)
    assert (world.state(), handed(lines)) == ("unknown", {"email": 1, "whatsapp": 0})
    assert [(record.outcome, record.reason) for record in world.told()] == [("unknown", "no-consent")]


@pytest.mark.parametrize("refusal", [Outcome.FAILED, Outcome.AGAIN], ids=["for good", "until it is given up"])
def test_no_other_channel_gets_it_where_its_repetition_is_refused(world: World, refusal: Outcome) -> None:
    world.sending = world.sending.__class__(attempts=2)
    lines = unsure(world, refusal)
    world.work(lines=lines, now_ms=LATER_MS)
    assert (world.state(), handed(lines)) == ("unknown", {"email": 2, "whatsapp": 0})
    assert [(record.outcome, record.reason) for record in world.told()] == [("unknown", "refused")]
    people.settle_unknown(world.store, "n1", "resend", "person:ani", LATER_MS)
    world.work(lines=lines, now_ms=LATER_MS)
    assert (world.state(), handed(lines)) == ("sent", {"email": 3, "whatsapp": 0})
