"""How the brokers are reached: one value, and what kafka-python, aiokafka and Faust want to hear of it.

Everything that talks to Kafka takes its arguments from here. The password is read where arguments are made, stands in
no value that is kept, and is never shown; certificates of the brokers are always checked against their names.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.errors import ConfigError, Problem
from detector.fields import shown
from streams.kinds import parse_brokers
from streams.sections import KafkaSection, SaslSection, TenantSection, TlsSection, TopicsSection
from streams.settings import TOCSIN, Secret, Settings, secret_of

if TYPE_CHECKING:
    from faust.types.auth import CredentialsT

BROKERS = "TOCSIN_BROKERS"

_CLIENT = "tocsin"
_REQUEST_S = 90.0
DEFAULT_TENANT = "default"


@dataclass(frozen=True)
class Sasl:
    """User and password."""

    mechanism: str
    user: str
    password: Secret

    def read(self) -> str:
        """Return the password.

        Raises
        ------
        ConfigError
            It is not where it should be.
        """
        try:
            return self.password.read(least=1).decode()
        except UnicodeDecodeError as error:
            raise ConfigError([Problem(self.password.where, "bytes that are no UTF-8", "a password")]) from error


@dataclass(frozen=True)
class Tls:
    """Files of PEM; what is None is the system's, or not used."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password: Secret | None = None

    def context(self, where: str = f"{TOCSIN}: kafka.tls") -> ssl.SSLContext:
        """Return what checks the brokers' certificates and shows ours.

        Raises
        ------
        ConfigError
            A file is missing, or does not hold what it should.
        """
        _there(self.ca, f"{where}.ca")
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except (ssl.SSLError, OSError) as error:
            found = f"{self.ca.name if self.ca else 'nothing'} without one"
            raise ConfigError([Problem(f"{where}.ca", found, "a file of certificates (PEM)")]) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None and self.key is not None:
            _there(self.certificate, f"{where}.certificate")
            _there(self.key, f"{where}.key")
            # Without a password of ours OpenSSL would ask for one at the terminal.
            password = b"" if self.key_password is None else self.key_password.read(least=1)
            try:
                context.load_cert_chain(self.certificate, self.key, password=password)
            except (ssl.SSLError, OSError, ValueError) as error:
                found = f"{self.certificate.name} and {self.key.name}, which can't be used: {_short(error)}"
                raise ConfigError(
                    [Problem(where, found, "a certificate (PEM) and the key that belongs to it")]
                ) from error
        return context


def _there(path: Path | None, where: str) -> None:
    if path is not None and not path.is_file():
        raise ConfigError([Problem(where, shown(str(path)), "a file that is there")])


def _short(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else type(error).__name__


@dataclass(frozen=True)
class KafkaSettings:
    """Which brokers, how to enter, which topics: `KafkaSettings(brokers=("127.0.0.1:9092",))`.

    Attributes
    ----------
    brokers
        `host:port`, some of them.
    replication
        Copies of each topic; None: three, or as many as there are brokers.
    retention_ms
        How long the input is kept; None: for ever.
    tenant
        How a record names its tenant; None: the topic is one tenant's.
    quota
        Events a second that are taken of this tenant; None: all.
    session_timeout_ms
        A worker that is silent for so long has lost its work to the others.
    instance
        A worker's own name in its groups: one that comes back under it within the session timeout finds its work as it
        was, and the others notice nothing. None: each start is a new member.
    security
        As Kafka calls it: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
    """

    brokers: tuple[str, ...]
    group: str = "tocsin"
    topics: TopicsSection = field(default_factory=TopicsSection)
    tenant: TenantSection | None = None
    quota: int | None = None
    partitions: int = 6
    replication: int | None = None
    retention_ms: int | None = 7 * 86_400_000
    message_bytes: int = 1_048_576
    session_timeout_ms: int = 10_000
    heartbeat_ms: int = 3_000
    instance: str | None = None
    security: str = "PLAINTEXT"
    sasl: Sasl | None = None
    tls: Tls = field(default_factory=Tls)
    said: frozenset[str] = frozenset()
    """The fields of `kafka:` that tocsin.yml (or a flag) really says; the others are defaults."""

    @property
    def bootstrap(self) -> str:
        """The brokers as one text, for people and messages."""
        return ",".join(self.brokers)

    def group_of(self, tenant: str, role: str) -> str:
        """Return a role's consumer group: two tenants never share one.

        Examples
        --------
        >>> kafka = KafkaSettings(("127.0.0.1:9092",))
        >>> kafka.group_of("default", "count"), kafka.group_of("toko", "count")
        ('tocsin-count', 'tocsin-toko-count')
        """
        return f"{self.group}-{role}" if tenant == DEFAULT_TENANT else f"{self.group}-{tenant}-{role}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return what checks the brokers' certificates; None where nothing is encrypted."""
        return self.tls.context() if self.security.endswith("SSL") else None

    def for_kafka_python(self) -> dict[str, Any]:
        """Return the arguments of kafka-python's clients (administration, producer, consumer)."""
        found: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": _CLIENT,
            "security_protocol": self.security,
            "ssl_context": self.ssl_context(),
        }
        if self.sasl is not None:
            found |= {
                "sasl_mechanism": self.sasl.mechanism,
                "sasl_plain_username": self.sasl.user,
                "sasl_plain_password": self.sasl.read(),
            }
        return found

    def for_aiokafka(self) -> dict[str, Any]:
        """Return the arguments of aiokafka's clients."""
        return self.for_kafka_python()

    def for_faust(self) -> dict[str, Any]:
        """Return the arguments of `faust.App`."""
        session_s = self.session_timeout_ms / 1000
        return {
            "broker": [f"aiokafka://{broker}" for broker in self.brokers],
            "broker_client_id": _CLIENT,
            "broker_credentials": self._credentials(),
            "broker_session_timeout": session_s,
            "broker_heartbeat_interval": self.heartbeat_ms / 1000,
            # Faust wants requests to be waited for longer than that.
            "broker_request_timeout": max(_REQUEST_S, session_s + _REQUEST_S / 3),
            "consumer_group_instance_id": self.instance,
        }

    def _credentials(self) -> "CredentialsT | None":
        import faust

        context = self.ssl_context()
        if self.sasl is not None:
            return faust.SASLCredentials(
                username=self.sasl.user,
                password=self.sasl.read(),
                ssl_context=context,
                mechanism=self.sasl.mechanism,
            )
        return None if context is None else faust.SSLCredentials(context)


def kafka_settings(settings: Settings, brokers: str | None = None) -> KafkaSettings:
    """Return how a configuration's brokers are reached.

    Parameters
    ----------
    brokers : str, optional
        Addresses with commas, instead of those of tocsin.yml: what `--brokers` or TOCSIN_BROKERS says.

    Raises
    ------
    ConfigError
        They are no addresses.
    """
    return of_section(settings.kafka, settings.directory, brokers)


def of_section(section: KafkaSection, directory: Path, brokers: str | None = None) -> KafkaSettings:
    """Return how the brokers of a section are reached; its files are relative to `directory`."""
    addresses = section.brokers
    if brokers is not None:
        given = parse_brokers(brokers)
        if given is None:
            raise ConfigError([Problem(BROKERS, shown(brokers), "addresses such as kafka-1:9092,kafka-2:9092")])
        addresses = given
    return KafkaSettings(
        brokers=addresses,
        group=section.group,
        topics=section.topics,
        tenant=section.tenant,
        quota=section.quota,
        partitions=section.partitions,
        replication=section.replication,
        retention_ms=section.retention,
        message_bytes=section.message_bytes,
        session_timeout_ms=section.session_timeout,
        heartbeat_ms=section.heartbeat,
        security=section.security,
        sasl=_sasl(section.sasl, directory),
        tls=_tls(section.tls, directory),
        said=frozenset(section.model_fields_set),
    )


def _sasl(section: SaslSection | None, directory: Path) -> Sasl | None:
    if section is None:
        return None
    password = secret_of(section.password, f"{TOCSIN}: kafka.sasl.password", directory)
    assert password is not None
    return Sasl(section.mechanism, section.user, password)


def _tls(section: TlsSection | None, directory: Path) -> Tls:
    if section is None:
        return Tls()
    return Tls(
        ca=None if section.ca is None else directory / section.ca,
        certificate=None if section.certificate is None else directory / section.certificate,
        key=None if section.key is None else directory / section.key,
        key_password=secret_of(section.key_password, f"{TOCSIN}: kafka.tls.key_password", directory),
    )
