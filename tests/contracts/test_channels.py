"""What every channel must do, whatever carries it: one suite over all providers, against real servers that misbehave.

A provider joins by a file `tests/servers/harness_<provider>.py`.
"""

import asyncio
import gc
import os
import time
from collections.abc import Iterator

import pytest

from detector.desk.wording import Message
from streams.outbox.channel import REASONS, OnUnknown, Outcome, Outgoing, Sent, available
from tests.servers.harness import Behaviour, Harness, Scene, harnesses

pytestmark = pytest.mark.slow

HARNESSES = harnesses()
NAME, SUBJECT, BODY = "Budi Santoso", "Your payment: a fault on our side", "Hi Budi, your payment did not go through."
MARGIN_S = 3.0
"""How much later than its own limit a channel may end on a busy machine."""

each = pytest.mark.parametrize("harness", [pytest.param(found, id=name) for name, found in HARNESSES.items()])
each_misbehaviour = pytest.mark.parametrize(
    ("harness", "behaviour"),
    [
        pytest.param(found, behaviour, id=f"{name} {behaviour.value}")
        for name, found in HARNESSES.items()
        for behaviour in found.expected
    ],
)


def message(scene: Scene, notice: str = "n1", **changes: str) -> Outgoing:
    return Outgoing(
        notice=notice,
        case="c1",
        kind="problem",
        address=changes.get("address", scene.address),
        language="en",
        message=Message(SUBJECT, BODY),
        signal="payments",
        name=NAME,
        template=scene.template,
        parameters=scene.parameters,
    )


def send(scene: Scene, *outgoing: Outgoing) -> list[Sent]:
    """Hand messages over one after another, then close the channel."""

    async def go() -> list[Sent]:
        try:
            return [await scene.channel.send(one) for one in outgoing]
        finally:
            await scene.channel.close()

    return asyncio.run(go())


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Every socket and file that a test opened is closed at its end."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_every_provider_is_under_this_suite() -> None:
    assert sorted(HARNESSES) == available()
    assert all(Behaviour.ACCEPTS in harness.expected for harness in HARNESSES.values())


@each
def test_a_message_is_handed_over_once(harness: Harness) -> None:
    with harness.scene(Behaviour.ACCEPTS) as scene:
        (sent,) = send(scene, message(scene))
        assert sent.outcome is Outcome.SENT
        assert not sent.stop
        assert scene.received() == ["n1"]


@each
def test_a_repetition_carries_the_same_id(harness: Harness) -> None:
    with harness.scene(Behaviour.ACCEPTS) as scene:
        send(scene, message(scene), message(scene), message(scene, "n2"))
        assert scene.received() == ["n1", "n1", "n2"]


@each
def test_several_are_under_way_at_a_time(harness: Harness) -> None:
    with harness.scene(Behaviour.ACCEPTS) as scene:

        async def go() -> list[Sent]:
            try:
                return await asyncio.gather(*(scene.channel.send(message(scene, f"n{i}")) for i in range(8)))
            finally:
                await scene.channel.close()

        assert [sent.outcome for sent in asyncio.run(go())] == [Outcome.SENT] * 8
        assert sorted(scene.received()) == [f"n{i}" for i in range(8)]


@each
def test_closing_twice_or_unused_harms_nothing(harness: Harness) -> None:
    with harness.scene(Behaviour.ACCEPTS) as scene:

        async def go() -> None:
            await scene.channel.close()
            await scene.channel.close()

        asyncio.run(go())


@each
def test_it_says_what_to_do_with_a_send_that_a_crash_left_unknown(harness: Harness) -> None:
    with harness.scene(Behaviour.ACCEPTS) as scene:
        assert scene.channel.on_unknown in OnUnknown
        send(scene)


@each_misbehaviour
def test_what_came_of_it_is_said_in_time_and_without_giving_anything_away(
    harness: Harness, behaviour: Behaviour
) -> None:
    expected = harness.expected[behaviour]
    with harness.scene(behaviour) as scene:
        begun_s = time.monotonic()
        (sent,) = send(scene, message(scene))
        took_s = time.monotonic() - begun_s
        received = scene.received()
    assert sent.outcome in expected.outcomes, sent
    assert sent.stop is expected.stop, sent
    if expected.retry_after_s is not None:
        assert sent.retry_after_s == pytest.approx(expected.retry_after_s, abs=2.0)
    assert took_s < harness.time_limit_s + MARGIN_S
    if sent.outcome is Outcome.SENT:
        assert received == ["n1"]
    else:
        assert sent.reason in REASONS, "a no has a name"
    said = repr(sent)
    hidden = (scene.address, NAME, BODY, SUBJECT, *scene.secrets)
    assert [text for text in hidden if text and text in said] == []
    assert sent.detail.isprintable(), "one line, no control characters"


@each
def test_a_channel_that_failed_once_goes_on(harness: Harness) -> None:
    if Behaviour.FLAKY not in harness.expected:
        pytest.skip("has no connections")
    with harness.scene(Behaviour.FLAKY) as scene:
        first, second = send(scene, message(scene), message(scene, "n2"))
        assert first.outcome in harness.expected[Behaviour.FLAKY].outcomes
        assert second.outcome is Outcome.SENT


@pytest.mark.parametrize(
    ("harness", "address"),
    [
        pytest.param(found, address, id=f"{name} {address!r}")
        for name, found in HARNESSES.items()
        for address in found.bad_addresses
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_leaves(harness: Harness, address: str) -> None:
    with harness.scene(Behaviour.ACCEPTS) as scene:
        (sent,) = send(scene, message(scene, address=address))
        assert sent.outcome is Outcome.FAILED
        assert scene.received() == []
