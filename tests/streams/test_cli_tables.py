"""Tables for people: nothing is cut within a word for want of width while a column can be spared."""

import contextlib
import os
import pty
import re
import sys
from collections.abc import Callable

import pytest

from streams.cli.common import print_table

COLUMNS = ("case", "what", "since", "hit", "contacts")
ROWS = [("598235fd", "Logins fail · app_version 5.23.0 × otp_provider sms-satu", "2 Mar 17:30 WIB", "182", "32")]


def read_all(leader: int) -> bytes:
    """Read what was written to a terminal that is closed by now."""
    chunks = []
    with contextlib.suppress(OSError):  # the end of a pseudo terminal is an input/output error
        while chunk := os.read(leader, 65_536):
            chunks.append(chunk)
    os.close(leader)
    return b"".join(chunks)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Print the table on a terminal of so many columns; return its lines."""

    def run(width: int) -> list[str]:
        leader, follower = pty.openpty()
        with open(follower, "w", encoding="utf-8") as terminal:
            monkeypatch.setattr(sys, "stdout", terminal)
            monkeypatch.setenv("COLUMNS", str(width))
            monkeypatch.setenv("NO_COLOR", "1")
            monkeypatch.setenv("TERM", "xterm")
            print_table(COLUMNS, ROWS, right=("hit", "contacts"), spare=("contacts", "hit"))
        text = read_all(leader).decode()
        lines = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in text.splitlines()]
        return [line for line in lines if line]

    return run


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        pytest.param(120, COLUMNS, id="wide: all"),
        pytest.param(56, COLUMNS[:4], id="narrow: contacts are spared"),
        pytest.param(44, COLUMNS[:3], id="narrower: hit too"),
    ],
)
def test_columns_are_spared_where_the_terminal_is_narrow(
    printed: Callable[[int], list[str]], width: int, shown: tuple[str, ...]
) -> None:
    lines = printed(width)
    assert tuple(lines[0].split()) == shown
    assert all(len(line) <= width for line in lines)
    words = {word for line in lines for word in line.split()}
    assert {"598235fd", "app_version", "otp_provider", "17:30"} <= words


def test_a_row_is_a_block_where_not_even_that_fits(printed: Callable[[int], list[str]]) -> None:
    lines = printed(30)
    assert lines[0] == "case 598235fd"
    assert [line.split()[0] for line in lines] == list(COLUMNS)


def test_without_a_terminal_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS, spare=("contacts",))
    assert tuple(capsys.readouterr().out.split("\n")[1].split()) == COLUMNS
