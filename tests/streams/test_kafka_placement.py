"""Producers of ours, `--partitions` and Kafka's default partitioner place alike, so files and topics count alike."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafka_pythons

from detector.decode.placement import partition_of, partitions_of
from tests.servers.producing import Form, key_of, messages

KEYS = st.text(min_size=1, max_size=40)


@given(st.lists(KEYS, min_size=1, max_size=20), st.integers(1, 200))
def test_a_key_goes_where_kafkas_default_partitioner_puts_it(keys: list[str], partitions: int) -> None:
    kafkas, all_of_them = DefaultPartitioner(), list(range(partitions))
    theirs = [kafkas(key.encode(), all_of_them, all_of_them) for key in keys]
    assert [(kafka_pythons(key.encode()) & 0x7FFFFFFF) % partitions for key in keys] == theirs
    assert partitions_of(keys, partitions).tolist() == theirs
    assert [partition_of(key, partitions) for key in keys] == theirs


@given(st.lists(st.integers(0, 30), max_size=200), st.sampled_from(list(Form)), st.integers(1, 7))
def test_every_form_holds_all_events_in_their_partitions_order(numbers: list[int], form: Form, partitions: int) -> None:
    lines = [b'{"id":"e%d","time":"t","kind":"k","customer":"C-%d"}' % (i, n) for i, n in enumerate(numbers)]
    found: dict[int, list[str]] = {number: [] for number in range(partitions)}
    for message in messages(lines, form, partitions, at_once=7):
        assert message.key == "" or partition_of(message.key, partitions) == message.partition
        ids = [part.split(b'"')[0].decode() for part in message.value.split(b'"id":"')[1:]]
        found[message.partition] += ids[:1] if form is Form.STRUCTURED else ids
    expected: dict[int, list[str]] = {number: [] for number in range(partitions)}
    for i, line in enumerate(lines):
        expected[partition_of(key_of(line), partitions)].append(f"e{i}")
    assert found == expected


def test_an_event_without_a_customer_is_placed_by_its_id_and_what_is_no_event_by_nothing() -> None:
    assert [key_of(b'{"id":"e1"}'), key_of(b'{"customer":7}'), key_of(b"{"), key_of(b"[1]")] == ["e1", "7", "", ""]
