"""Workers on a real broker: the results of one process, whatever the number of partitions and workers."""

from pathlib import Path

import pytest

from deploy.kafka.broker import Cluster
from streams.store import open_store
from tests.servers.kafka import own_settings
from tests.system.kafka_workers import configured, dumped, make_topics, one_process, produce, workers

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

END_S = 90.0


@pytest.mark.parametrize(("partitions", "processes"), [(1, 1), (6, 1), (6, 3)])
def test_the_same_partitioned_log_gives_the_same_results_as_one_process(
    broker: Cluster, tmp_path: Path, partitions: int, processes: int
) -> None:
    kafka = own_settings(broker, partitions=partitions)
    shop = configured(tmp_path / "shop", kafka)
    expected = one_process(shop, tmp_path / "one.db", partitions)
    assert len(expected) > 100
    make_topics(kafka)
    produce(kafka, shop.events.read_bytes().splitlines())
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        for process in [found.start("--drain") for _ in range(processes)]:
            assert found.end(process, END_S) == 0, found.said()
    assert dumped(tmp_path / "many.db") == expected
    with open_store(tmp_path / "one.db") as one, open_store(tmp_path / "many.db") as many:
        assert one.tally() == many.tally()


def test_roles_may_be_split_over_processes(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=2)
    shop = configured(tmp_path / "shop", kafka)
    expected = one_process(shop, tmp_path / "one.db", 2)
    make_topics(kafka)
    produce(kafka, shop.events.read_bytes().splitlines())
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        for process in [found.start("--drain", "--only", role) for role in ("desk", "watch", "count", "count")]:
            assert found.end(process, END_S) == 0, found.said()
    assert dumped(tmp_path / "many.db") == expected


def test_what_came_later_is_drained_later(broker: Cluster, tmp_path: Path) -> None:
    kafka = own_settings(broker, partitions=3)
    shop = configured(tmp_path / "shop", kafka)
    make_topics(kafka)
    whole = shop.events.read_bytes().splitlines()
    with workers(shop, tmp_path / "many.db", tmp_path / "logs") as found:
        for part in ([], whole[: len(whole) // 2], whole[len(whole) // 2 :], []):
            produce(kafka, part)
            assert found.end(found.start("--drain"), END_S) == 0, found.said()
    with open_store(tmp_path / "many.db") as store:
        tally = store.tally()
    assert tally["events"][""] == len(whole)
    assert len(whole) == sum(sum(tally[what].values()) for what in ("applied", "dropped", "dead"))
