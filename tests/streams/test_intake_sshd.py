"""What counts as an attempt to log in, in the shapes that OpenSSH's lines have."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import Config
from detector.events import REASONS, Batch, EventSchema
from streams.intake.sshd import NOT_AN_EVENT, SSHD_SIGNALS, SshdDecoder, latest_year

SCHEMA = EventSchema(("kind", "channel", "known", "method", "outcome", "source", "user"), ("latency",))
HEAD = b"Mar 27 13:06:56 host sshd[1291]: "
FAILED = HEAD + b"Failed password for root from 192.0.2.7 port 4022 ssh2"
REAL_LOG = Path(__file__).resolve().parents[3] / "shared" / "data" / "sshd" / "auth.log"


def decode(data: bytes, year: int | None = 2026, position: int = 0, ingest_ms: int = -1) -> Batch:
    return SshdDecoder(SCHEMA, year=year).decode(data, position, ingest_ms)


def attempt(batch: Batch) -> dict[str, object]:
    (row,) = batch.fields
    return dict(zip(SCHEMA.fields, row, strict=True))


def when(batch: Batch) -> list[str]:
    return [datetime.fromtimestamp(ms / 1000, UTC).isoformat() for ms in batch.time_ms.tolist()]


def test_a_failed_login_is_an_event() -> None:
    batch = decode(FAILED + b"\n", position=70, ingest_ms=-1)
    assert attempt(batch) == {
        "kind": "ssh",
        "channel": None,
        "known": "yes",
        "method": "password",
        "outcome": "failure",
        "source": "192.0.2.7",
        "user": "root",
    }
    assert when(batch) == ["2026-03-27T13:06:56+00:00"]
    assert (batch.position.tolist(), batch.event_id, batch.customer.tolist()) == ([70], [None], [0])
    assert batch.records == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "Accepted publickey for ani from 192.0.2.7 port 4022 ssh2: ED25519 SHA256:abc/def+0",
            ("success", "publickey", "ani", "yes", "192.0.2.7"),
            id="accepted with a key",
        ),
        pytest.param(
            "Accepted keyboard-interactive/pam for ani from 2001:db8::7 port 4022 ssh2",
            ("success", "keyboard-interactive/pam", "ani", "yes", "2001:db8::7"),
            id="IPv6",
        ),
        pytest.param(
            "Failed password for invalid user admin from 192.0.2.7 port 4022 ssh2",
            ("failure", "password", "admin", "no", "192.0.2.7"),
            id="unknown user",
        ),
        pytest.param(
            "Failed none for invalid user  from 192.0.2.7 port 4022 ssh2",
            ("failure", "none", "", "no", "192.0.2.7"),
            id="unknown user without a name",
        ),
        pytest.param(
            "Failed password for illegal user guest from 192.0.2.7 port 4022",
            ("failure", "password", "guest", "no", "192.0.2.7"),
            id="an old server",
        ),
        pytest.param(
            "Failed password for invalid user x from 10.0.0.1 port 1 ssh2 from 192.0.2.7 port 4022 ssh2",
            ("failure", "password", "x from 10.0.0.1 port 1 ssh2", "no", "192.0.2.7"),
            id="a user's name that forges a source",
        ),
    ],
)
def test_attempts_have_these_shapes(text: str, expected: tuple[str, ...]) -> None:
    found = attempt(decode(HEAD + text.encode()))
    assert tuple(found[name] for name in ("outcome", "method", "user", "known", "source")) == expected


@pytest.mark.parametrize(
    "line",
    [
        HEAD + b"Server listening on 0.0.0.0 port 22.",
        HEAD + b"Invalid user admin from 192.0.2.7",
        HEAD + b"error: maximum authentication attempts exceeded for root from 192.0.2.7 port 4022 ssh2 [preauth]",
        HEAD + b"error: PAM: Authentication failure for root from 192.0.2.7",
        HEAD + b"Connection closed by authenticating user root 192.0.2.7 port 4022 [preauth]",
        HEAD + b"PAM 5 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root",
        HEAD + b"Postponed publickey for ani from 192.0.2.7 port 4022 ssh2 [preauth]",
        HEAD + b"Failed to allocate a display",
        HEAD + b"message repeated 2 times: [ Connection closed by 192.0.2.7]",
        b"Mar 27 13:06:56 host CRON[12]: pam_unix(cron:session): session opened for user root by (uid=0)",
        b"Mar 27 13:06:56 host sudo: ani : COMMAND=/bin/echo Failed password for root from 192.0.2.7 port 1 ssh2",
        b"-- a note --",
        b"\x00\x00\xff",
    ],
)
def test_every_other_line_is_dropped_by_design(line: bytes) -> None:
    batch = decode(line + b"\n" + FAILED)
    assert (batch.dropped, batch.invalid, len(batch.time_ms)) == ({NOT_AN_EVENT: 1}, [], 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"", "empty", id="blank"),
        pytest.param(HEAD + b"Failed password for root from", "unreadable-line", id="cut off"),
        pytest.param(
            b"13:06:56 host sshd[1]: Failed password for root from 192.0.2.7 port 1", "unreadable-line", id="no stamp"
        ),
        pytest.param(FAILED.replace(b"Mar 27", b"Feb 30"), "bad-time", id="no such day"),
        pytest.param(FAILED.replace(b"Mar", b"Mrz"), "bad-time", id="no such month"),
        pytest.param(FAILED.replace(b"13:06", b"25:06"), "bad-time", id="no such hour"),
        pytest.param(FAILED.replace(b"Mar 27 13:06:56", b"1999-03-27T13:06:56Z"), "ancient", id="before 2000"),
        pytest.param(FAILED.replace(b"root", b"ro\xffot"), "not-utf8", id="invalid UTF-8"),
        pytest.param(
            HEAD + b"message repeated 0 times: [ " + FAILED[len(HEAD) :] + b"]",
            "unreadable-line",
            id="repeated 0 times",
        ),
        pytest.param(
            HEAD + b"message repeated 900 times: [ " + FAILED[len(HEAD) :] + b"]",
            "unreadable-line",
            id="repeated beyond belief",
        ),
        pytest.param(FAILED + b" " * 300_000, "oversized", id="oversized"),
    ],
)
def test_an_attempt_that_cannot_be_read_is_named(line: bytes, reason: str) -> None:
    batch = decode(line + b"\n" + FAILED, position=5)
    assert [(one.position, one.reason, one.data) for one in batch.invalid] == [(5, reason, line[:4096])]
    assert len(batch.time_ms) == 1
    assert reason in REASONS


def test_a_repeated_message_is_that_many_attempts() -> None:
    repeated = HEAD + b"message repeated 5 times: [ " + FAILED[len(HEAD) :] + b"]"
    batch = decode(FAILED + b"\n" + repeated + b"\n" + FAILED + b"\n", position=10)
    second, third = 10 + len(FAILED) + 1, 10 + len(FAILED) + len(repeated) + 2
    assert batch.position.tolist() == [10, *range(second, second + 5), third]
    assert len(set(batch.fields)) == 1
    assert batch.records == 7
    shared = SshdDecoder(SCHEMA, year=2026).decode_records([FAILED, repeated], [3, 4], [-1, -1])
    assert shared.position.tolist() == [3, 4, 4, 4, 4, 4]


@pytest.mark.parametrize(
    "stamp",
    [
        pytest.param(b"Mar 27 13:06:56", id="syslog"),
        pytest.param(b"<38>Mar 27 13:06:56", id="syslog with priority"),
        pytest.param(b"2026-03-27T13:06:56.000000+00:00", id="ISO"),
        pytest.param(b"2026-03-27T20:06:56+0700", id="ISO of the journal"),
    ],
)
@pytest.mark.parametrize("program", [b"sshd[1]", b"sshd-session[1]", b"sshd"])
def test_stamps_and_programs_are_read(stamp: bytes, program: bytes) -> None:
    line = stamp + b" host " + program + b": " + FAILED[len(HEAD) :] + b"\r"
    assert when(decode(line)) == ["2026-03-27T13:06:56+00:00"]


def test_syslog_stamps_are_of_the_given_zone() -> None:
    batch = SshdDecoder(SCHEMA, year=2026, zone_ms=7 * 3_600_000).decode(FAILED, 0)
    assert when(batch) == ["2026-03-27T06:06:56+00:00"]


def at(*stamps: str) -> bytes:
    return b"".join(stamp.encode() + FAILED[15:] + b"\n" for stamp in stamps)


ROLLOVER = at(
    "Dec 31 23:59:58", "Jan  1 00:00:01", "Dec 31 23:59:59", "Jan  1 00:00:02", "Jun 30 00:00:00", "Jan  2 00:00:00"
)
ROLLED = [
    "2025-12-31T23:59:58+00:00",
    "2026-01-01T00:00:01+00:00",
    "2025-12-31T23:59:59+00:00",
    "2026-01-01T00:00:02+00:00",
    "2026-06-30T00:00:00+00:00",
    "2026-01-02T00:00:00+00:00",
]


def test_the_year_rolls_over_at_new_year_and_back_for_a_late_line() -> None:
    assert when(decode(ROLLOVER, year=2025)) == ROLLED


def test_other_lines_carry_the_year_too() -> None:
    lines = at("Sep 01 00:00:00") + b"Dec 01 00:00:00 host CRON[1]: x\n" + at("Mar 01 00:00:00")
    assert when(decode(lines, year=2025)) == ["2025-09-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00"]


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_restart_keeps_the_year(cut: int) -> None:
    lines = ROLLOVER.splitlines(keepends=True)
    first, second = SshdDecoder(SCHEMA, year=2025), SshdDecoder(SCHEMA, year=2025)
    before = first.decode(b"".join(lines[:cut]), 0)
    second.restore(first.state)
    after = second.decode(b"".join(lines[cut:]), 0)
    assert when(before) + when(after) == ROLLED
    fresh = SshdDecoder(SCHEMA)
    fresh.restore(b"")
    assert fresh.state == b""


def test_a_leap_day_needs_a_leap_year() -> None:
    assert when(decode(at("Feb 29 12:00:00"), year=2024)) == ["2024-02-29T12:00:00+00:00"]
    assert [one.reason for one in decode(at("Feb 29 12:00:00"), year=2025).invalid] == ["bad-time"]


def test_without_a_year_the_ingest_time_says_it() -> None:
    new_year_ms = int(datetime(2031, 1, 1, 0, 5, tzinfo=UTC).timestamp() * 1000)
    assert when(decode(at("Dec 31 23:59:58", "Jan  1 00:01:00"), None, 0, new_year_ms)) == [
        "2030-12-31T23:59:58+00:00",
        "2031-01-01T00:01:00+00:00",
    ]
    assert [one.reason for one in decode(FAILED, year=None).invalid] == ["bad-time"]


def test_a_given_year_counts_more_than_the_ingest_time() -> None:
    april_ms = int(datetime(2026, 4, 20, tzinfo=UTC).timestamp() * 1000)
    assert when(decode(at("Dec 31 23:59:58", "Jan  1 00:01:00"), 2019, 0, april_ms)) == [
        "2019-12-31T23:59:58+00:00",
        "2020-01-01T00:01:00+00:00",
    ]


@pytest.mark.parametrize(
    ("month", "day", "changed", "year"),
    [
        pytest.param(3, 27, "2026-04-20", 2026, id="this year's"),
        pytest.param(12, 31, "2026-04-20", 2025, id="begun last year"),
        pytest.param(4, 20, "2026-04-20", 2026, id="of the last day"),
        pytest.param(4, 21, "2026-04-20", 2026, id="of a zone ahead"),
        pytest.param(4, 22, "2026-04-20", 2025, id="two days later"),
        pytest.param(1, 1, "2026-12-31", 2026, id="a year long"),
        pytest.param(2, 29, "2027-04-20", 2024, id="a leap day"),
        pytest.param(0, 27, "2026-04-20", None, id="no month"),
    ],
)
def test_a_log_begins_in_the_latest_year_that_fits_its_last_change(
    month: int, day: int, changed: str, year: int | None
) -> None:
    assert latest_year(month, day, _noon_ms(changed)) == year


def _noon_ms(day: str) -> int:
    return int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp() * 1000)


def test_the_first_stamp_without_a_year_takes_it_from_the_last_change_and_later_ones_follow() -> None:
    decoder = SshdDecoder(SCHEMA)
    decoder.assume(_noon_ms("2026-04-20"))
    assert decoder.decode(b"a note\n", 0).dropped == {NOT_AN_EVENT: 1}
    assert decoder.taken is None
    assert when(decoder.decode(at("Dec 31 23:59:58", "Jan  1 00:01:00"), 7)) == [
        "2025-12-31T23:59:58+00:00",
        "2026-01-01T00:01:00+00:00",
    ]
    assert decoder.taken == 2025
    resumed = SshdDecoder(SCHEMA)
    resumed.restore(decoder.state)
    resumed.assume(_noon_ms("2031-04-20"))
    assert when(resumed.decode(at("Jan  2 00:00:00"), 200)) == ["2026-01-02T00:00:00+00:00"]
    assert resumed.taken is None


def test_a_log_that_states_its_year_has_none_taken() -> None:
    decoder = SshdDecoder(SCHEMA)
    decoder.assume(_noon_ms("2031-04-20"))
    assert when(decoder.decode(at("2026-03-27T13:06:56Z"), 0)) == ["2026-03-27T13:06:56+00:00"]
    assert decoder.taken is None


_texts = st.one_of(
    st.sampled_from([FAILED, HEAD, b"", HEAD + b"Accepted password for a from b port 1 ssh2"]),
    st.binary(max_size=20).map(lambda b: HEAD + b"Failed password for " + b),
    st.binary(max_size=40),
    st.builds(lambda i, b: FAILED[:i] + b + FAILED[i:], st.integers(0, len(FAILED)), st.binary(max_size=4)),
).map(lambda b: b.replace(b"\n", b" "))


@given(st.lists(_texts), st.integers(0, 20))
def test_every_line_ends_as_one_record_whatever_it_holds_and_wherever_it_is_cut(lines: list[bytes], cut: int) -> None:
    block = b"".join(line + b"\n" for line in lines)
    whole = decode(block)
    assert whole.records == len(lines)
    assert len(whole.time_ms) >= lines.count(FAILED)
    parts = SshdDecoder(SCHEMA, year=2026)
    head = b"".join(line + b"\n" for line in lines[:cut])
    first, second = parts.decode(head, 0), parts.decode(block[len(head) :], len(head))
    assert first.time_ms.tolist() + second.time_ms.tolist() == whole.time_ms.tolist()
    assert first.position.tolist() + second.position.tolist() == whole.position.tolist()
    assert first.invalid + second.invalid == whole.invalid


def test_its_signal_watches_failed_attempts() -> None:
    config = Config(signals=SSHD_SIGNALS)
    batch = SshdDecoder(config.schema, year=2026).decode(FAILED, 0)
    assert dict(zip(config.schema.fields, batch.fields[0], strict=True))["outcome"] == "failure"
    (signal,) = SSHD_SIGNALS
    assert signal.window_ms % config.input.window_ms == 0
    assert set(signal.dimensions) <= set(config.schema.fields)


@pytest.mark.skipif(not REAL_LOG.is_file(), reason="the real log lies beside the project, and is not here")
def test_the_real_log_reads_without_a_bad_line() -> None:
    data = REAL_LOG.read_bytes()
    batch = decode(data)
    assert batch.invalid == []
    rows = Counter((row[4], row[3]) for row in batch.fields)
    # 713 lines say "Failed password", 84 of them "repeated", for 409 attempts in all.
    assert rows == {
        ("failure", "password"): 713 - 84 + 409,
        ("failure", "publickey"): 4,
        ("success", "password"): 190,
        ("success", "publickey"): 36,
    }
    assert data.count(b"\n") == 7121
    assert batch.dropped == {NOT_AN_EVENT: 7121 - 713 - 4 - 226}
    assert when(batch)[0] == "2026-03-27T13:08:09+00:00"
    assert when(batch)[-1] == "2026-04-20T14:14:29+00:00"
