"""`tocsin topics` on a real broker: one node, three, the older version, and behind passwords and certificates."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from deploy.kafka.broker import OLDER, Cluster, Listener
from streams.cli.main import main
from streams.kafka.client import KafkaSettings, kafka_settings
from streams.settings import defaults_directory, load
from tests.servers.certificates import Authority, Pair
from tests.servers.kafka import own_settings, started

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CREATED = {"events": 6, "windows": 6, "anomalies": 1, "cases": 1, "dead": 1}


class Topics:
    """Calls `tocsin topics` with a configuration of the test's own."""

    def __init__(self, directory: Path, settings: KafkaSettings, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings, self._capsys = settings, capsys
        self._directory = directory
        directory.mkdir(exist_ok=True)
        shutil.copy(defaults_directory() / "signals.yml", directory)
        self.err = ""
        self.says()

    def says(self, **more: object) -> None:
        """Write tocsin.yml."""
        topics = self.settings.topics.model_dump()
        kafka = {"brokers": list(self.settings.brokers), "group": self.settings.group, "topics": topics} | more
        (self._directory / "tocsin.yml").write_text(yaml.safe_dump({"kafka": kafka}), "utf-8")

    def read(self) -> KafkaSettings:
        """Return what tocsin.yml says."""
        return kafka_settings(load(self._directory))

    def __call__(self, *arguments: str, exits: int = 0) -> Any:
        code = main(["topics", *arguments, "--config", str(self._directory), "--json"])
        said = self._capsys.readouterr()
        self.err = said.err
        assert code == exits, said
        return json.loads(said.out) if said.out else None


@pytest.fixture
def at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Cluster], Topics]:
    return lambda running: Topics(tmp_path / "config", own_settings(running), capsys)


def partitions(answer: Mapping[str, Any]) -> dict[str, int]:
    return {topic["role"]: topic["partitions"] for topic in answer["topics"]}


def test_topics_are_created_once_and_found_as_they_should_be(broker: Cluster, at: Callable[[Cluster], Topics]) -> None:
    topics = at(broker)
    before = topics("check", exits=1)
    assert not before["ok"] and len(before["errors"]) == 5 and not any(t["exists"] for t in before["topics"])
    made = topics("create")
    assert made["ok"] and made["brokers"] == 1 and partitions(made) == CREATED and len(made["done"]) == 5
    assert f"{topics.settings.topics.events}: creating it with 6 partition(s), 1 copy" in topics.err
    again = topics("create")
    assert again["ok"] and not again["done"] and not topics.err
    assert topics("check")["topics"] == made["topics"]


def test_partitions_and_retention_are_taken_from_the_flags(broker: Cluster, at: Callable[[Cluster], Topics]) -> None:
    topics = at(broker)
    made = topics("create", "--partitions", "3", "--retention", "none")
    assert partitions(made)["events"] == 3 and made["topics"][0]["retention_s"] is None
    assert made["topics"][0]["configs"]["retention.ms"] == "-1"
    assert topics("check")["ok"], "what tocsin.yml does not say is no difference"


def test_it_says_whose_records_are_taken_and_in_which_groups(broker: Cluster, at: Callable[[Cluster], Topics]) -> None:
    topics = at(broker)
    topics.says(tenant={"header": "tenant"})
    group = topics.settings.group
    groups = [f"{group}-{role}" for role in ("count", "watch", "desk")]
    assert topics("create")["tenant"] == {"name": "default", "by": "header tenant", "groups": groups}


def test_an_inputs_partitions_stay_and_it_says_why(broker: Cluster, at: Callable[[Cluster], Topics]) -> None:
    topics = at(broker)
    topics("create", "--partitions", "2")
    (error,) = topics("create", "--partitions", "4", exits=1)["errors"]
    assert (error["found"], error["wanted"]) == ("2", "4") and "customers would move" in error["do"]
    assert partitions(topics("check")) | {"windows": 0} == CREATED | {"events": 2, "windows": 0}
    topics.says(partitions=4)
    assert not topics("check", exits=1)["ok"]


def test_what_differs_is_altered_after_saying_so(broker: Cluster, at: Callable[[Cluster], Topics]) -> None:
    topics = at(broker)
    topics("create")
    topics.says(retention="3d", message_bytes=2_000_000)
    wrong = topics("check", exits=1)
    assert {error["what"] for error in wrong["errors"]} == {"retention.ms", "max.message.bytes"}
    altered = topics("create")
    assert altered["ok"] and [warning["what"] for warning in altered["warnings"]] == ["kept"]
    assert f"{topics.settings.topics.events}: retention.ms: 604800000 → 259200000" in topics.err
    assert altered["topics"][0]["retention_s"] == 3 * 86_400
    assert altered["topics"][0]["configs"]["max.message.bytes"] == "2000000"


def test_leftover_topics_are_named(broker: Cluster, at: Callable[[Cluster], Topics]) -> None:
    from streams.kafka.admin import administration

    topics = at(broker)
    topics("create")
    left = topics.settings.topics.events.replace("events", "old")
    with administration(topics.settings) as client:
        client.create_topics({left: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    assert [warning["topic"] for warning in topics("check")["warnings"]] == [left]


def test_three_nodes_keep_three_copies_and_a_dead_one_is_told(
    cluster: Cluster, at: Callable[[Cluster], Topics]
) -> None:
    topics = at(cluster)
    made = topics("create")
    assert made["ok"] and made["brokers"] == 3
    assert {topic["replication"] for topic in made["topics"]} == {3}
    assert {topic["configs"]["min.insync.replicas"] for topic in made["topics"]} == {"2"}
    cluster.nodes[1].kill()
    try:
        until = time.monotonic() + 30
        while "partitions with copies that are behind" not in {w["what"] for w in topics("check")["warnings"]}:
            assert time.monotonic() < until
    finally:
        cluster.start()


def test_one_copy_on_three_nodes_is_warned_of(cluster: Cluster, at: Callable[[Cluster], Topics]) -> None:
    topics = at(cluster)
    topics.says(replication=1)
    made = topics("create")
    assert made["ok"] and {warning["what"] for warning in made["warnings"]} == {"copies"}


def test_the_older_version_does_the_same(tmp_path: Path, at: Callable[[Cluster], Topics]) -> None:
    with started(tmp_path / "kafka", version=OLDER) as older:
        topics = at(older)
        assert partitions(topics("create")) == CREATED
        topics.says(retention="9d")
        assert topics("create")["ok"] and topics("check")["topics"][0]["retention_s"] == 9 * 86_400


# --- nobody there -----------------------------------------------------------------------------------------------------


def test_where_no_broker_is_it_says_so_in_one_line_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert main(["topics", "check", "--brokers", "127.0.0.1:1,nobody.invalid:9092"]) == 3
    said = capfd.readouterr().err
    assert said == (
        "Error: no broker can be reached: 127.0.0.1:1 (connection refused), nobody.invalid:9092 (no such name). "
        "Is Kafka running there?\n"
    )
    assert time.monotonic() - began < 5


def test_a_frozen_broker_is_told_within_seconds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with started(tmp_path / "kafka") as frozen:
        frozen.nodes[0].freeze()
        began = time.monotonic()
        assert main(["topics", "check", "--brokers", frozen.bootstrap]) == 3
        assert time.monotonic() - began < 15
        said = capfd.readouterr().err
    assert said.count("\n") == 1 and "did not answer within 5 s as PLAINTEXT" in said


# --- passwords and certificates ---------------------------------------------------------------------------------------


@dataclass
class Secured:
    """A broker that asks who one is, in every way that we know."""

    cluster: Cluster
    authority: Authority
    client: Pair
    locked: Pair


_PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_ani="plain-secret";'
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_LOGIN = {
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    "plain.sasl.jaas.config": _PLAIN,
    "scram-sha-256.sasl.jaas.config": _SCRAM,
    "scram-sha-512.sasl.jaas.config": _SCRAM,
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority(directory / "pki")
    server = authority.pair("broker")
    tls = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server.both()),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.certificate),
    }
    listeners = (
        Listener("SSL", tls | {"ssl.client.auth": "required"}),
        Listener("SASL_PLAINTEXT", _LOGIN),
        Listener("SASL_SSL", _LOGIN | tls),
    )
    users = [f"{kind}=[name=budi,password=scram-secret]" for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
    with started(directory / "kafka", listeners=listeners, users=users) as running:
        yield Secured(running, authority, authority.pair("client"), authority.pair("locked", password=b"of the key"))


def _sasl(mechanism: str, user: str) -> dict[str, object]:
    return {"sasl": {"mechanism": mechanism, "user": user, "password": {"env": "KAFKA_PASSWORD"}}}


def _topics(secured: Secured, tmp_path: Path, protocol: str, capsys: pytest.CaptureFixture[str]) -> Topics:
    settings = own_settings(secured.cluster, brokers=secured.cluster.addresses(protocol))
    return Topics(tmp_path / "config", settings, capsys)


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize(
    ("mechanism", "user", "password"),
    [
        ("PLAIN", "ani", "plain-secret"),
        ("SCRAM-SHA-256", "budi", "scram-secret"),
        ("SCRAM-SHA-512", "budi", "scram-secret"),
    ],
)
def test_topics_are_created_with_a_password(
    secured: Secured,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    mechanism: str,
    user: str,
    password: str,
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", password)
    topics = _topics(secured, tmp_path, protocol, capsys)
    tls = {"tls": {"ca": str(secured.authority.certificate)}} if protocol == "SASL_SSL" else {}
    topics.says(security=protocol, **_sasl(mechanism, user), **tls)
    assert topics("create")["ok"]
    assert asyncio.run(_there_and_back(topics.read().for_aiokafka(), topics.settings.topics.events)) == b"through"
    _as_faust_asks(topics.read())


async def _there_and_back(arguments: dict[str, Any], topic: str) -> bytes:
    """Return what was written by one of aiokafka's clients, as another one reads it."""
    async with asyncio.timeout(30), AIOKafkaProducer(**arguments, acks="all") as producer:
        await producer.send_and_wait(topic, b"through", partition=0)
        consumer = AIOKafkaConsumer(**arguments, auto_offset_reset="earliest")
        consumer.assign([TopicPartition(topic, 0)])
        async with consumer:
            return bytes((await consumer.getone()).value)


def _as_faust_asks(settings: KafkaSettings) -> None:
    """What Faust makes of its arguments is what aiokafka gets."""
    faust, ours = settings.for_faust(), settings.for_aiokafka()
    assert faust["broker"] == [f"aiokafka://{broker}" for broker in ours["bootstrap_servers"]]
    theirs = dict(credentials_to_aiokafka_auth(faust["broker_credentials"]))
    assert theirs.pop("ssl_context") is None or ours["ssl_context"] is not None
    assert theirs == {name: ours[name] for name in theirs}


def test_topics_are_created_with_a_certificate_of_ours(
    secured: Secured, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_PASSWORD", "of the key")
    topics = _topics(secured, tmp_path, "SSL", capsys)
    for pair, more in ((secured.client, {}), (secured.locked, {"key_password": {"env": "KEY_PASSWORD"}})):
        ours = {"ca": str(secured.authority.certificate), "certificate": str(pair.certificate), "key": str(pair.key)}
        topics.says(security="SSL", tls=ours | more)
        assert topics("create")["ok"]
        assert asyncio.run(_there_and_back(topics.read().for_aiokafka(), topics.settings.topics.events)) == b"through"
        _as_faust_asks(topics.read())


@pytest.mark.parametrize(
    ("protocol", "says", "line"),
    [
        pytest.param(
            "SASL_PLAINTEXT",
            {"security": "SASL_PLAINTEXT", **_sasl("SCRAM-SHA-512", "budi")},
            "does not let us in: look at kafka.sasl",
            id="wrong password",
        ),
        pytest.param(
            "SASL_PLAINTEXT",
            {"security": "SASL_PLAINTEXT", **_sasl("PLAIN", "nobody")},
            "does not let us in: look at kafka.sasl",
            id="unknown user",
        ),
        pytest.param(
            "PLAINTEXT",
            {"security": "SASL_PLAINTEXT", **_sasl("PLAIN", "ani")},
            "look at kafka.sasl.mechanism and kafka.security",
            id="no password wanted",
        ),
        pytest.param("SASL_PLAINTEXT", {}, "did not answer within 5 s as PLAINTEXT", id="no password"),
        pytest.param("SSL", {"security": "SSL"}, "not believed: look at kafka.tls.ca", id="unknown authority"),
        pytest.param("SSL", {"security": "SSL", "tls": {"ca": "CA"}}, "wants one: look at kafka.tls", id="no pair"),
        pytest.param("PLAINTEXT", {"security": "SSL"}, "did not answer within 5 s as SSL", id="no TLS there"),
    ],
)
def test_who_is_not_let_in_is_told_in_one_line_what_to_look_at(
    secured: Secured,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    says: dict[str, Any],
    line: str,
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "a wrong one")
    topics = _topics(secured, tmp_path, protocol, capsys)
    if "tls" in says:
        says = says | {"tls": {"ca": str(secured.authority.certificate)}}
    topics.says(**says)
    assert topics("check", exits=3) is None
    assert topics.err.count("\n") == 1 and line in topics.err and "a wrong one" not in topics.err
