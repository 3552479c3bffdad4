"""What must not share a group or change under a worker's feet: another store's workers, more partitions, no topic."""

from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, NewPartitions

from deploy.kafka.broker import Cluster
from tests.servers.kafka import own_settings
from tests.system.kafka_workers import configured, dumped, make_topics, one_process, produce, workers
from tests.system.test_kafka_live import until
from tests.system.test_kafka_wrong import _read, remove, said_at_the_end

pytestmark = [pytest.mark.slow, pytest.mark.kafka]


def test_workers_of_another_store_are_kept_out_of_a_group_as_long_as_it_has_members(
    broker: Cluster, tmp_path: Path
) -> None:
    kafka = own_settings(broker, partitions=2)
    shop = configured(tmp_path / "shop", kafka, per_minute=20)
    make_topics(kafka)
    events = shop.events.read_bytes().splitlines()
    produce(kafka, events)
    with (
        workers(shop, tmp_path / "own.db", tmp_path / "own") as own,
        workers(shop, tmp_path / "other.db", tmp_path / "other") as other,
    ):
        own.start()
        until(lambda: _read(tmp_path / "own.db") == len(events), "all that was produced")
        code, said = said_at_the_end(other)
        assert code == 2
        assert "work for another store" in said and "kafka.group another name" in said
        assert own.stop() == {0}, own.said()
        # Nobody is left: a new store may begin from the start.
        assert other.end(other.start("--drain"), 90) == 0, other.said()
    assert dumped(tmp_path / "other.db") == one_process(shop, tmp_path / "one.db", 2)


@pytest.mark.parametrize("what", ["more partitions", "deleted"])
def test_an_input_that_changes_under_a_worker_ends_it_and_says_why(broker: Cluster, tmp_path: Path, what: str) -> None:
    kafka = own_settings(broker, partitions=2)
    shop = configured(tmp_path / "shop", kafka, per_minute=20)
    make_topics(kafka)
    events = shop.events.read_bytes().splitlines()
    produce(kafka, events)
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        one = found.start()
        until(lambda: _read(tmp_path / "many.db") == len(events), "all that was produced")
        if what == "deleted":
            remove(kafka)
        else:
            admin = KafkaAdminClient(**kafka.for_kafka_python())
            admin.create_partitions({kafka.topics.events: NewPartitions(3)})
            admin.close()
        assert found.end(one, 90) == 2, found.said()
        expected = (
            "`tocsin topics create` makes them" if what == "deleted" else "/2 (topic/partitions), the brokers have"
        )
        assert expected in found.said()
