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
