"""A connection of kafka-python's administration, whose failures are one line that says what to look at.

kafka-python tries again and again until its patience ends, tells of every try in its log, and then says only that it
could not begin. So its log is kept from the terminal, and read for the reason.
"""

import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from detector.errors import UnreachableError
from streams.kafka.client import KafkaSettings

T = TypeVar("T")

PATIENCE_S = 5.0
REQUEST_S = 15.0

_SHUT = re.compile(r"AuthenticationFailed|socket disconnected|Connection reset")
_WRONG_MECHANISM = re.compile(r"UnsupportedSaslMechanism|IllegalSaslState")
_NOT_BELIEVED = re.compile(r"CERTIFICATE_VERIFY_FAILED|self.signed|hostname|Hostname mismatch", re.IGNORECASE)
_WANTS_CERTIFICATE = re.compile(r"CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|alert", re.IGNORECASE)


class _Kept(logging.Handler):
    """What kafka-python says of its failures."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.texts) < 1_000:
            self.texts.append(record.getMessage())


@contextmanager
def _listening() -> Iterator[_Kept]:
    logger, kept = logging.getLogger("kafka"), _Kept()
    before = logger.propagate
    logger.addHandler(kept)
    logger.propagate = False
    try:
        yield kept
    finally:
        logger.removeHandler(kept)
        logger.propagate = before


@contextmanager
def administration(settings: KafkaSettings, patience_s: float = PATIENCE_S) -> Iterator[Any]:
    """Give a `kafka.KafkaAdminClient`.

    Raises
    ------
    UnreachableError
        No broker answers within `patience_s`, lets us in or understands us; or one refuses a request.
    """
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    arguments = settings.for_kafka_python()
    _is_there(settings)
    with _listening() as kept:
        try:
            client = KafkaAdminClient(
                **arguments,
                bootstrap_timeout_ms=int(patience_s * 1_000),
                request_timeout_ms=int(REQUEST_S * 1_000),
            )
        except KafkaError as error:
            raise UnreachableError(_reason(settings, kept.texts, patience_s)) from error
        try:
            yield client
        except KafkaError as error:
            message = f"Kafka at {settings.bootstrap}: {in_words(error)}"
            raise UnreachableError(message) from error
        finally:
            client.close()


def patiently(act: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Do what may be done twice, again while a broker is just going or coming."""
    from kafka.errors import KafkaConnectionError, RetriableError

    until = time.monotonic() + patience_s
    while True:
        try:
            return act()
        except (KafkaConnectionError, RetriableError):
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


def in_words(error: Exception) -> str:
    """Return what kafka-python's error means, without the request and the response that it carries."""
    said = getattr(error, "description", "") or str(error)
    name = type(error).__name__.removesuffix("Error")
    return f"{name}: {said.splitlines()[0][:200]}" if said else name


def _reason(settings: KafkaSettings, texts: list[str], patience_s: float) -> str:
    """Return why nobody answered, and what to look at."""
    said, at = "\n".join(texts), f"Kafka at {settings.bootstrap}"
    if settings.sasl is not None and _WRONG_MECHANISM.search(said):
        return f"{at} does not take {settings.sasl.mechanism}: look at kafka.sasl.mechanism and kafka.security"
    if _NOT_BELIEVED.search(said):
        return f"{at} shows a certificate that is not believed: look at kafka.tls.ca and at the name in kafka.brokers"
    if _WANTS_CERTIFICATE.search(said) and settings.security.endswith("SSL"):
        return f"{at} refuses our certificate, or wants one: look at kafka.tls.certificate and kafka.tls.key"
    if settings.sasl is not None and _SHUT.search(said):  # often all that one hears of a wrong password
        return f"{at} does not let us in: look at kafka.sasl (user, password, mechanism) and kafka.security"
    return (
        f"{at} is reached, but did not answer within {patience_s:.0f} s as {settings.security}: "
        "look at kafka.security, and at how the broker is doing"
    )


def _is_there(settings: KafkaSettings) -> None:
    """Say at once where nothing listens at all."""
    silent = []
    for broker in settings.brokers:
        why = _silence(broker)
        if why is None:
            return
        silent.append(f"{broker} ({why})")
    message = f"no broker can be reached: {', '.join(silent)}. Is Kafka running there?"
    raise UnreachableError(message)


def _silence(broker: str) -> str | None:
    """Return why nothing listens at an address; None where something does."""
    host, _, port = broker.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 1).close()
    except socket.gaierror:
        return "no such name"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return None
