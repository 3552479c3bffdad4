"""The broker that `make kafka` and the tests run: real, without Docker, with the data it had before."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from deploy.kafka.broker import OLDER, Cluster, NoKafka, jars
from tests.servers.kafka import own_settings, started
from tests.servers.missing import missing

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def _write(running: Cluster, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(**own_settings(running).for_kafka_python())
    try:
        for value in values:
            producer.send(topic, value)
        producer.flush(30)
    finally:
        producer.close()


def _read(running: Cluster, topic: str) -> list[bytes]:
    arguments = own_settings(running).for_kafka_python()
    consumer = KafkaConsumer(topic, **arguments, auto_offset_reset="earliest", consumer_timeout_ms=3_000)
    try:
        return [record.value for record in consumer]
    finally:
        consumer.close()


def _make(running: Cluster, topic: str, copies: int) -> None:
    admin = KafkaAdminClient(**own_settings(running).for_kafka_python())
    try:
        admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=copies)])
    finally:
        admin.close()


@pytest.mark.parametrize("version", [pytest.param(None, id="4.x"), pytest.param(OLDER, id="3.9")])
def test_a_node_keeps_its_data_and_its_port_through_kill_freeze_and_stop(tmp_path: Path, version: str | None) -> None:
    given = {} if version is None else {"version": version}
    with started(tmp_path, **given) as one:
        where = one.bootstrap
        _make(one, "kept", 1)
        _write(one, "kept", [b"1"])
        one.nodes[0].kill()
        assert not one.nodes[0].running
        one.start()
        _write(one, "kept", [b"2"])
        one.nodes[0].freeze()
        one.nodes[0].thaw()
        _write(one, "kept", [b"3"])
    with started(tmp_path, **given) as again:
        assert again.bootstrap == where
        assert _read(again, "kept") == [b"1", b"2", b"3"]


def test_three_nodes_go_on_without_one(cluster: Cluster) -> None:
    _make(cluster, "three", 3)
    _write(cluster, "three", [b"1"])
    cluster.nodes[2].kill()
    try:
        _write(cluster, "three", [b"2"])
        assert _read(cluster, "three") == [b"1", b"2"]
    finally:
        cluster.start()


def test_make_kafka_says_where_it_is_and_stops_at_ctrl_c(tmp_path: Path) -> None:
    try:
        jars()
    except NoKafka as error:
        missing("kafka", str(error))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "deploy.kafka.broker", "--directory", str(tmp_path), "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert re.search(rf"at 127\.0\.0\.1:{port} ", first), first
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0 and out.endswith("Kafka has stopped.\n") and not err
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 1):
        pass


def test_a_directory_with_other_nodes_is_refused(tmp_path: Path) -> None:
    with started(tmp_path) as running:
        at = int(running.bootstrap.rpartition(":")[2])
    with pytest.raises(NoKafka, match=r"holds 1 node\(s\) of Kafka 4.+, not 3"):
        Cluster(tmp_path, nodes=3)
    with pytest.raises(NoKafka, match=f"holds nodes at port {at}, not {at + 1}"):
        Cluster(tmp_path, port=at + 1)
    assert Cluster(tmp_path, port=at).bootstrap == running.bootstrap


def test_without_java_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(NoKafka, match="no Java found"):
        Cluster(tmp_path)


def test_a_second_make_kafka_says_in_one_line_that_one_runs_already(tmp_path: Path) -> None:
    with started(tmp_path / "one") as running:
        again = [sys.executable, "-m", "deploy.kafka.broker", "--directory"]
        port = str(running.nodes[0].ports["PLAINTEXT"])
        for more in ([str(tmp_path / "one")], [str(tmp_path / "two"), "--port", port]):
            found = subprocess.run([*again, *more], capture_output=True, text=True, cwd=Path(__file__).parents[2])
            assert found.returncode == 3 and found.stderr.count("\n") == 1, found.stderr
            assert f"Error: 127.0.0.1:{port} is taken: a broker runs already" in found.stderr
        assert running.nodes[0].running
