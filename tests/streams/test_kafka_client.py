"""The settings of Kafka: each mistake with its path, and the same settings in the forms of three libraries."""

import ssl
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detector.errors import ConfigError
from streams.kafka.client import KafkaSettings, kafka_settings, of_section
from streams.sections import KafkaSection, parse_document
from streams.settings import load
from tests.servers.certificates import Authority

SASL = {"mechanism": "SCRAM-SHA-512", "user": "tocsin", "password": {"env": "KAFKA_PASSWORD"}}


def section(**given: Any) -> KafkaSection:
    return parse_document({"kafka": given}).kafka


@pytest.mark.parametrize(
    ("given", "path", "allowed"),
    [
        *(
            pytest.param({"brokers": value}, "brokers", "a list of addresses", id=f"brokers {value}")
            for value in ("kafka:9092", [], [""], ["kafka:0"], ["kafka:99999"], ["kafka:"], ["a b:1"], [9092])
        ),
        pytest.param({"brokers": ["http://kafka:9092"]}, "brokers", "a list of addresses", id="an address of the web"),
        pytest.param({"brokers": ["[::1:9092"]}, "brokers", "a list of addresses", id="half an address"),
        pytest.param({"topics": {"events": "a/b"}}, "topics.events", "a name of letters", id="topic"),
        pytest.param({"topics": {"events": ".."}}, "topics.events", "a name of letters", id="topic of dots"),
        pytest.param({"topics": {"events": "a" * 250}}, "topics.events", "at most 249 long", id="a long topic"),
        pytest.param({"topics": {"dead": "tocsin.cases"}}, "topics", "a topic of its own", id="one topic for two"),
        pytest.param({"topics": {"case": "x"}}, "topics.case", "one of events", id="unknown topic"),
        pytest.param({"tenant": {}}, "tenant", "`header` or `field`", id="a tenant by nothing"),
        pytest.param({"tenant": {"header": "a", "field": "b"}}, "tenant", "one of the two", id="a tenant by both"),
        pytest.param({"tenant": {"header": ""}}, "tenant.header", "a text that is not empty", id="a header of no name"),
        pytest.param({"tenant": {"field": "a", "others": ["b"]}}, "tenant", "only with unnamed: dead", id="others"),
        pytest.param(
            {"tenant": {"field": "a", "unnamed": "dead", "others": ["B"]}}, "tenant.others", "lower-case", id="a name"
        ),
        pytest.param({"quota": 0}, "quota", "at least 1", id="a quota of nothing"),
        pytest.param({"partitions": 0}, "partitions", "at least 1", id="no partitions"),
        pytest.param({"partitions": "6"}, "partitions", "a whole number", id="partitions as text"),
        pytest.param({"replication": 10}, "replication", "at most 9", id="replication"),
        pytest.param({"retention": "1s"}, "retention", "a duration from 1h", id="retention"),
        pytest.param({"message_bytes": 100}, "message_bytes", "at least 65536", id="message_bytes"),
        pytest.param({"session_timeout": "5s"}, "session_timeout", "a duration from 6s", id="session_timeout"),
        pytest.param({"session_timeout": "6s"}, "", "three times `heartbeat`", id="few heartbeats"),
        pytest.param({"heartbeat": "0s"}, "heartbeat", "a duration from 1s", id="heartbeat"),
        pytest.param({"security": "TLS"}, "security", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", id="security"),
        pytest.param({"security": "SASL_SSL"}, "", "`sasl` with security", id="SASL without sasl"),
        pytest.param({"sasl": SASL}, "", "`sasl` with security", id="sasl without SASL"),
        pytest.param({"tls": {"ca": "ca.pem"}}, "", "`tls` only with security", id="tls without SSL"),
        pytest.param(
            {"security": "SSL", "tls": {"key": "a.key"}}, "tls", "a certificate and its key", id="half a pair"
        ),
        pytest.param({"security": "SSL", "tls": {"key_password": {"env": "A"}}}, "tls", "only with a key", id="no key"),
        pytest.param(
            {"security": "SASL_SSL", "sasl": SASL | {"mechanism": "GSSAPI"}}, "sasl.mechanism", "PLAIN", id="mechanism"
        ),
        pytest.param(
            {"security": "SASL_SSL", "sasl": SASL | {"password": "in plain"}}, "sasl.password", "{env", id="password"
        ),
        pytest.param({"security": "SASL_SSL", "sasl": {}}, "sasl.mechanism", "a value", id="empty sasl"),
    ],
)
def test_what_does_not_hold_is_named(given: dict[str, Any], path: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as found:
        section(**given)
    first = found.value.problems[0]
    assert first.path == "tocsin.yml: kafka" + (f".{path}" if path else "") and allowed in first.allowed
    assert first.found != "a mapping", "that says nothing"
    assert "in plain" not in str(found.value)


def test_nothing_said_is_a_broker_on_this_machine() -> None:
    settings = of_section(section(), Path())
    assert settings == KafkaSettings(("localhost:9092",))
    assert settings.for_kafka_python()["security_protocol"] == "PLAINTEXT"
    assert settings.for_faust()["broker"] == ["aiokafka://localhost:9092"]
    assert settings.for_faust()["broker_credentials"] is None
    assert (
        settings.for_faust()["broker_session_timeout"] == 10.0 and settings.for_faust()["broker_request_timeout"] > 10
    )
    assert settings.for_faust()["broker_heartbeat_interval"] == 3.0
    assert settings.for_faust()["consumer_group_instance_id"] is None


def test_a_worker_may_have_a_name_and_longer_to_be_silent() -> None:
    given = replace(of_section(section(session_timeout="5m", heartbeat="10s"), Path()), instance="worker-1").for_faust()
    assert given["consumer_group_instance_id"] == "worker-1"
    assert given["broker_session_timeout"] == 300.0 < given["broker_request_timeout"]
    assert given["broker_heartbeat_interval"] == 10.0


def test_the_commented_defaults_are_the_defaults(tmp_path: Path) -> None:
    text = Path("deploy/config/tocsin.yml").read_text("utf-8")
    lines = iter(text[text.index("# kafka:") :].splitlines())
    block: list[str] = []
    for line in lines:
        if not line:
            break
        block.append(line.removeprefix("# "))
    (tmp_path / "tocsin.yml").write_text("\n".join(block), "utf-8")
    (tmp_path / "signals.yml").write_text(Path("deploy/config/signals.yml").read_text("utf-8"), "utf-8")
    assert load(tmp_path).kafka == KafkaSection()


def test_the_environment_names_other_brokers(tmp_path: Path) -> None:
    (tmp_path / "tocsin.yml").write_text("kafka: {brokers: [a:1]}", "utf-8")
    (tmp_path / "signals.yml").write_text(Path("deploy/config/signals.yml").read_text("utf-8"), "utf-8")
    settings = kafka_settings(load(tmp_path), "b, c:9093,[::1]:9")
    assert settings.brokers == ("b:9092", "c:9093", "[::1]:9") and settings.said == {"brokers"}
    for wrong in ("", "b,", "b:x", "b:1,,c"):
        with pytest.raises(ConfigError, match="TOCSIN_BROKERS: expected addresses such as kafka-1:9092"):
            kafka_settings(load(tmp_path), wrong)


def test_a_password_stands_in_no_value_and_reaches_every_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "s3cret")
    settings = of_section(section(security="SASL_PLAINTEXT", sasl=SASL), Path())
    assert "s3cret" not in repr(settings)
    for given in (settings.for_kafka_python(), settings.for_aiokafka()):
        assert (given["sasl_mechanism"], given["sasl_plain_username"]) == ("SCRAM-SHA-512", "tocsin")
        assert given["sasl_plain_password"] == "s3cret" and given["ssl_context"] is None
    credentials = settings.for_faust()["broker_credentials"]
    assert (credentials.username, credentials.password) == ("tocsin", "s3cret")
    assert credentials.protocol.value == "SASL_PLAINTEXT" and credentials.mechanism.value == "SCRAM-SHA-512"
    assert "s3cret" not in repr(credentials)


def test_a_missing_password_is_named() -> None:
    settings = of_section(section(security="SASL_PLAINTEXT", sasl=SASL), Path())
    with pytest.raises(ConfigError, match=r"tocsin.yml: kafka.sasl.password: expected a secret, found nothing in the"):
        settings.for_kafka_python()


def test_certificates_are_read_from_beside_the_configuration(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    pair = authority.pair("tocsin", password=b"locked")
    (tmp_path / "key.password").write_text("locked\n")
    tls = {
        "ca": "pki/authority.pem",
        "certificate": f"pki/{pair.certificate.name}",
        "key": f"pki/{pair.key.name}",
        "key_password": {"file": "key.password"},
    }
    settings = of_section(section(security="SSL", tls=tls), tmp_path)
    context = settings.for_kafka_python()["ssl_context"]
    assert isinstance(context, ssl.SSLContext) and context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED and context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert [one["subject"] for one in context.get_ca_certs()] == [((("commonName", "authority"),),)]
    assert settings.for_faust()["broker_credentials"].protocol.value == "SSL"


@pytest.mark.parametrize(
    ("tls", "line"),
    [
        ({"ca": "none.pem"}, r"kafka\.tls\.ca: expected a file that is there, found"),
        ({"ca": "text.pem"}, r"kafka\.tls\.ca: expected a file of certificates \(PEM\)"),
        ({"certificate": "none.pem", "key": "pki/a.key"}, r"kafka\.tls\.certificate: expected a file that is there"),
        ({"certificate": "pki/a.pem", "key": "none.key"}, r"kafka\.tls\.key: expected a file that is there"),
        ({"certificate": "pki/a.pem", "key": "pki/b.key"}, r"kafka\.tls: expected .* belongs to it.* mismatch"),
        ({"certificate": "pki/c.pem", "key": "pki/c.key"}, r"kafka\.tls: expected .* c\.pem and c\.key"),
        ({"certificate": "text.pem", "key": "pki/a.key"}, r"kafka\.tls: expected a certificate \(PEM\)"),
    ],
)
def test_a_broken_certificate_is_named(tmp_path: Path, tls: dict[str, str], line: str) -> None:
    authority = Authority(tmp_path / "pki")
    authority.pair("a"), authority.pair("b"), authority.pair("c", password=b"locked")
    (tmp_path / "text.pem").write_text("no certificate")
    settings = of_section(section(security="SSL", tls=tls), tmp_path)
    with pytest.raises(ConfigError, match=line):
        settings.for_aiokafka()


def test_settings_alone_import_no_library() -> None:
    before = set(sys.modules)
    of_section(section(), Path()).for_kafka_python()
    assert not {"faust", "kafka", "aiokafka"} & (set(sys.modules) - before)


def test_a_tenant_is_not_among_the_others_and_lines_without_fields_are_named_by_a_header() -> None:
    naming = {"field": "shop", "unnamed": "dead", "others": ["bank", "toko"]}
    with pytest.raises(ConfigError, match="without this one"):
        parse_document({"tenant": "toko", "kafka": {"tenant": naming}})
    with pytest.raises(ConfigError, match=r"kafka\.tenant\.header with format: sshd"):
        parse_document({"input": {"format": "sshd"}, "kafka": {"tenant": {"field": "shop"}}})


def test_two_tenants_never_share_a_group() -> None:
    kafka = of_section(section(group="g"), Path())
    groups = [kafka.group_of(tenant, role) for tenant in ("default", "toko", "bank") for role in ("count", "watch")]
    assert len(set(groups)) == len(groups) and groups[0] == "g-count" and groups[2] == "g-toko-count"
