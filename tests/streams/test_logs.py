"""What a service logs: one object a line, nobody's address in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from streams import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    out = io.StringIO()
    logs.configure("work", out)
    yield out
    logging.getLogger().handlers[:], level = before
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_is_one_object_with_time_level_and_process(stream: io.StringIO) -> None:
    structlog.get_logger().warning("circuit opened", channel="email", waiting=12)
    (line,) = lines(stream)
    assert {k: line[k] for k in ("event", "level", "process", "channel", "waiting")} == {
        "event": "circuit opened",
        "level": "warning",
        "process": "work",
        "channel": "email",
        "waiting": 12,
    }
    assert str(line["at"]).endswith("Z")


def test_a_text_with_line_breaks_and_terminal_controls_forges_no_line(stream: io.StringIO) -> None:
    structlog.get_logger().info('bad\n{"event":"forged"}\x1b[31m', detail="a\nb")
    (line,) = lines(stream)
    assert line["event"] == 'bad {"event":"forged"} [31m'
    assert "\x1b" not in stream.getvalue()


def test_libraries_log_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("somebody").error("lost %s", "connection")
    assert lines(stream)[0]["event"] == "lost connection"


def test_addresses_are_masked_in_texts_values_and_exceptions(stream: io.StringIO) -> None:
    log = structlog.get_logger()
    log.info("to budi.santoso@example.com", to="+6281234567890")
    try:
        message = "refused siti@toko.example and 081298765432"
        raise ValueError(message)
    except ValueError:
        log.exception("failed")
    text = stream.getvalue()
    for secret in ("budi.santoso", "81234567890", "siti@", "081298765432"):
        assert secret not in text
    assert "b•••@example.com" in text


@pytest.mark.parametrize("text", ["2026-08-12T08:12:34Z", "a0812ff08123456781", "case 0812345", "1772409600000"])
def test_what_is_no_address_stays_as_it_is(text: str) -> None:
    assert logs.masked_text(text) == text


def test_what_a_library_says_over_and_over_is_told_once_a_minute() -> None:
    seldom, at_s = logs.Seldom(), 1_000.0

    def told(name: str, text: str, line: int, error: Exception | None = None) -> str | None:
        given = (type(error), error, None) if error is not None else None
        record = logging.LogRecord(name, logging.ERROR, "conn.py", line, text, (), given)
        record.created = at_s
        return record.getMessage() if seldom.filter(record) else None

    assert told("aiokafka.conn", "no broker", 7, OSError("refused")) == "no broker (OSError: refused)"
    assert [told("aiokafka.conn", f"no broker, try {n}", 7) for n in range(70)] == [None] * 70
    assert told("aiokafka.conn", "another", 8) == "another"
    assert told("tocsin.worker", "ours", 7) == told("tocsin.worker", "ours", 7) == "ours"
    at_s += 61
    assert told("aiokafka.conn", "no broker", 7) == "no broker (and 70 more of this)"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://tocsin@127.0.0.1/t is away", "postgresql://tocsin@127.0.0.1/t is away"),
        ("postgresql+psycopg://tocsin@127.0.0.1:5432/t", "postgresql+psycopg://tocsin@127.0.0.1:5432/t"),
        ("postgresql://tocsin:se@cret@db.example/t", "postgresql://tocsin:•••@db.example/t"),
        ("smtp://budi@toko.example:geheim@mail.example", "smtp://b•••@toko.example:•••@mail.example"),
        ("http://u:secret@10.0.0.1:80/ of ani@toko.example", "http://u:•••@10.0.0.1:80/ of a•••@toko.example"),
        ("postgresql://t@db.example: ask ani@toko.example", "postgresql://t@db.example: ask a•••@toko.example"),
    ],
)
def test_a_urls_password_is_masked_and_the_user_of_a_store_is_no_address(text: str, masked: str) -> None:
    assert logs.masked_text(text) == masked


def test_what_libraries_of_kafka_say_in_every_rebalance_is_no_error(stream: io.StringIO) -> None:
    logging.getLogger("aiokafka.consumer.group_coordinator").error("OffsetCommit failed for group %s", "g")
    logging.getLogger("aiokafka.consumer.group_coordinator").error("Group Coordinator Request failed: %s", "[Error 15]")
    logging.getLogger("mode.threads").error("Thread keepalive is not responding...")
    logging.getLogger("faust.app.base").warning("Missing sensor state for rebalance #%s", 1)
    logging.getLogger("mode.services").error("Crashed reason=%r", "out of luck")
    logging.getLogger("mode.worker").critical("We experienced a crash! Reraising original exception...")
    logging.getLogger("tocsin.worker").error("ours")
    assert [line["level"] for line in lines(stream)] == ["warning", "warning", "error", "critical", "error"]


def test_a_library_of_kafka_that_says_what_nobody_expected_is_an_error(stream: io.StringIO) -> None:
    try:
        message = "no such thing"
        raise KeyError(message)
    except KeyError:
        logging.getLogger("aiokafka.consumer.fetcher").exception("failed")
    (line,) = lines(stream)
    assert line["level"] == "error" and "KeyError" in str(line["exception"])
