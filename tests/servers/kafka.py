"""A real Kafka: the fixtures `broker` (one node) and `cluster` (three), shared by the tests of a run.

Each test has topics of its own: `own_settings(broker)`. One that kills or freezes a node starts or thaws it again
(`broker.start()`), or takes a cluster of its own from `started`.
"""

import gc
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.kafka.broker import Cluster, NoKafka
from streams.kafka.client import KafkaSettings
from streams.sections import TopicsSection
from tests.servers.missing import missing


@contextmanager
def started(directory: Path, **given: Any) -> Iterator[Cluster]:
    """Give a cluster of the test's own; where there is no Kafka the test is skipped, but not in CI."""
    try:
        made = Cluster(directory, **given)
    except NoKafka as error:
        missing("kafka", str(error))
    with made:
        yield made


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node."""
    with started(tmp_path_factory.mktemp("kafka-1")) as one:
        yield one


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes."""
    with started(tmp_path_factory.mktemp("kafka-3"), nodes=3) as three:
        yield three


@pytest.fixture(autouse=True)
def sockets_left_by_kafka_python(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what kafka-python leaves of connections that were refused: sockets that nobody closes."""
    if request.node.get_closest_marker("kafka") is None:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <(socket|ssl)", ResourceWarning)
        yield
        gc.collect()


def own_settings(running: Cluster, **given: Any) -> KafkaSettings:
    """Return settings with topics and a group that no other test has; `given` are fields of KafkaSettings."""
    name = f"t{uuid.uuid4().hex[:8]}"
    topics = TopicsSection(**{field: f"{name}.{field}" for field in TopicsSection.model_fields})
    return replace(KafkaSettings(tuple(running.bootstrap.split(",")), group=name, topics=topics), **given)
