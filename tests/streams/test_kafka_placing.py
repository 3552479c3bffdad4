"""Lines → messages for Kafka: whatever the lines are, a worker reads what one process would read of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.decode import JSON, CustomerKeys, Decoder
from detector.decode.placement import partition_of
from detector.events import Batch, EventSchema
from streams.intake.bodies import TooLargeError
from streams.intake.kafka import Messages
from streams.kafka.placing import GROUP_BYTES, OVERHEAD_BYTES, Placed, Placer
from tests.servers.reading import Record

LONGEST = 300
KEYS = CustomerKeys(b"k")
SCHEMA = EventSchema(("kind", "bank"), ("amount",))


def decoder() -> Decoder:
    return Decoder(SCHEMA, JSON, KEYS, max_record_bytes=LONGEST)


def placer(partitions: int = 3, *, message_bytes: int = 1_048_576, longest: int = LONGEST) -> Placer:
    return Placer("json", {}, partitions, message_bytes, longest)


def event(n: int, **more: object) -> bytes:
    return msgspec.json.encode({"id": f"e{n}", "time": "2026-03-27T13:06:56Z", "kind": "payment", **more})


def contents(batches: list[Batch]) -> tuple[list[str], list[tuple[str, str, int]]]:
    events = [repr(row) for b in batches for row in zip(b.event_id, b.raw_customer, b.fields, strict=True)]
    refused = [(one.reason, one.path.partition("$")[2], one.size) for b in batches for one in b.invalid]
    return sorted(events), sorted(refused)


def read(messages: list[Placed], partitions: int) -> list[Batch]:
    reader = Messages(decoder())
    records = [
        [Record(m.value, offset=i) for i, m in enumerate(messages) if m.partition == p] for p in range(partitions)
    ]
    return [reader.batch(some) for some in records]


PIECES = (
    b"{",
    b"}",
    b'{"a":',
    b"1",
    b'"',
    b"[",
    b"]",
    b",",
    b" ",
    b"\r",
    b"\xff",
    b"{}",
    b"null",
    b'\\"',
    b"\xef\xbb\xbf",
)
LINES = st.one_of(
    st.builds(lambda n: event(n, customer=f"C-{n % 7}"), st.integers(0, 99)),
    st.builds(lambda n: event(n, note="x" * 20 * n), st.integers(0, 30)),
    st.lists(st.sampled_from(PIECES), max_size=5).map(b"".join),
    st.sampled_from(
        [b'{"time":', b'"2026-03-27T13:06:56Z",', b'"kind":"payment"}', b"  " + event(1), event(2) + b"\r"]
    ),
)


@given(st.lists(LINES, max_size=30), st.integers(1, 5))
def test_whatever_the_lines_are_the_same_is_read_of_them(lines: list[bytes], partitions: int) -> None:
    body = b"".join(line + b"\n" for line in lines)
    placed = placer(partitions).messages(body)
    assert contents(read(placed, partitions)) == contents([decoder().decode(body, 0)])


@given(st.lists(st.text(max_size=8), min_size=1, max_size=30))
def test_an_event_is_where_kafkas_own_partitioner_puts_its_customer(names: list[str]) -> None:
    lines = [event(i, customer=name) for i, name in enumerate(names)]
    found: dict[str, int] = {}
    for message in placer(5).messages(b"".join(line + b"\n" for line in lines)):
        for line in message.value.split(b"\n"):
            found[msgspec.json.decode(line)["id"]] = message.partition
    assert found == {f"e{i}": partition_of(name or f"e{i}", 5) for i, name in enumerate(names)}


def test_a_message_with_one_event_has_its_customer_as_its_key_and_one_with_several_none() -> None:
    lines = b"".join(event(n, customer=customer) + b"\n" for n, customer in enumerate(("C-1042", "C-7", "C-1042")))
    found = {one.key: one.value.count(b"\n") + 1 for one in placer(8).messages(lines)}
    assert found == {b"C-7": 1, None: 2}


def test_messages_stay_small_and_events_of_a_partition_in_order() -> None:
    lines = [event(n, customer="C-1", note="x" * 100) for n in range(5_000)]
    placed = placer().messages(b"".join(line + b"\n" for line in lines))
    assert len(placed) > 2 and max(len(one.value) for one in placed) <= GROUP_BYTES
    assert b"\n".join(one.value for one in placed).split(b"\n") == lines


def test_what_is_too_long_for_an_event_is_cut_to_what_the_brokers_take_and_refused_as_that() -> None:
    placed = placer(message_bytes=65_536).messages(event(1, note="x" * 200_000) + b"\n" + event(2) + b"\n")
    assert max(len(one.value) for one in placed) == 65_536 - OVERHEAD_BYTES
    events, refused = contents(read(placed, 3))
    assert len(events) == 1 and [reason for reason, _, _ in refused] == ["oversized"]


def test_an_event_that_the_brokers_do_not_take_is_refused_with_its_place() -> None:
    with pytest.raises(TooLargeError, match=r"record 2: expected at most 64,512 bytes \(kafka.message_bytes\)"):
        placer(message_bytes=65_536, longest=262_144).messages(event(1) + b"\n" + event(2, note="x" * 70_000) + b"\n")


def test_lines_of_a_log_share_messages_in_the_first_partition_and_empty_ones_stand_alone() -> None:
    placed = Placer("sshd", {}, 4, 1_048_576, LONGEST).messages(b"a\nb\n\nc\n")
    assert placed == [Placed(0, b"a\nb"), Placed(0, b""), Placed(0, b"c")]
