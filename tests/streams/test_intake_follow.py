"""Following a growing file through growth, rotation, truncation and absence, with real files and a clock moved by hand."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.intake.files import Block, Known
from streams.intake.follow import follow


class HandClock:
    """Each wait plays the next act of a script; nothing sleeps."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        self.acts = list(acts)
        self.slept_s = 0.0

    @property
    def done(self) -> bool:
        return not self.acts

    def now_ms(self) -> int:
        return int(self.slept_s * 1000)

    def monotonic_s(self) -> float:
        return self.slept_s

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        if self.acts:
            self.acts.pop(0)()


def idle() -> None:
    """Nothing happens."""


def followed(path: Path, *acts: Callable[[], object], known: Known | None = None, **options: int) -> list[Block]:
    """All blocks while the script runs, and some rounds after it."""
    clock = HandClock(*acts, idle, idle, idle)
    blocks = follow(path, clock, known, stop=lambda: clock.done, **options)
    return [block for block in blocks if block is not None]


def lines(blocks: list[Block]) -> list[bytes]:
    return [line for block in blocks for line in block.data.splitlines()]


def after(blocks: list[Block]) -> Known:
    return {block.source: (block.identity, block.next_position) for block in blocks}


def append(path: Path, data: bytes) -> Callable[[], object]:
    def act() -> None:
        with path.open("ab") as file:
            file.write(data)

    return act


def rename(path: Path, to: Path) -> Callable[[], object]:
    return lambda: path.rename(to)


def copy_and_truncate(path: Path, to: Path) -> Callable[[], object]:
    def act() -> None:
        shutil.copyfile(path, to)
        os.truncate(path, 0)

    return act


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_bytes(b"a1\na2\n")
    return path


def test_lines_come_as_they_are_written(log: Path) -> None:
    blocks = followed(log, append(log, b"a3\n"), idle, append(log, b"a4\na5\n"))
    assert lines(blocks) == [b"a1", b"a2", b"a3", b"a4", b"a5"]
    assert [block.position for block in blocks] == [0, 6, 9]
    assert {block.source for block in blocks} == {str(log)}


def test_nothing_new_is_none_after_every_wait(log: Path) -> None:
    clock = HandClock(idle, append(log, b"a3\n"), idle)
    found = list(follow(log, clock, stop=lambda: clock.done, poll_s=0.25))
    assert [block is None for block in found] == [False, True, True, False, True]
    assert clock.slept_s == 0.75


def test_it_stops_when_told(log: Path) -> None:
    assert list(follow(log, HandClock(), stop=lambda: True)) == []


def test_a_half_line_waits_for_its_end(log: Path) -> None:
    blocks = followed(log, append(log, b"a3 be"), idle, append(log, b"gun\na4"), idle)
    assert lines(blocks) == [b"a1", b"a2", b"a3 begun"]
    assert lines(followed(log, append(log, b"\n"), known=after(blocks))) == [b"a4"]


def test_a_line_beyond_the_limit_is_passed_over_while_it_is_written(log: Path) -> None:
    acts = [append(log, b"x" * 100) for _ in range(5)]
    blocks = followed(log, *acts, append(log, b"\na3\n"), max_record_bytes=150, block_bytes=64)
    assert lines(blocks) == [b"a1", b"a2", b"a3"]
    assert [(b.refused.position, b.refused.size) for b in blocks if b.refused is not None] == [(6, 500)]


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(log: Path) -> None:
    old = log.with_name("app.log.1")
    blocks = followed(
        log,
        append(log, b"a3\n"),
        rename(log, old),
        append(old, b"a4\n"),
        append(log, b"b1\n"),
        append(log, b"b2\n"),
    )
    assert lines(blocks) == [b"a1", b"a2", b"a3", b"a4", b"b1", b"b2"]
    assert [(b.source, b.position) for b in blocks[-2:]] == [(f"{log}@2", 0), (f"{log}@2", 3)]


def test_what_is_written_to_the_old_file_until_the_new_one_is_used_is_read(log: Path) -> None:
    old = log.with_name("app.log.1")

    def both() -> None:
        append(old, b"a3\na4 unfinished")()
        append(log, b"b1\n")()

    blocks = followed(log, rename(log, old), log.touch, idle, both)
    assert lines(blocks) == [b"a1", b"a2", b"a3", b"a4 unfinished", b"b1"]


def test_two_rotations_between_two_looks_lose_nothing(log: Path) -> None:
    first, second = log.with_name("app.log.2"), log.with_name("app.log.1")

    def twice() -> None:
        append(log, b"a3\n")()
        log.rename(first)
        append(log, b"b1\n")()
        os.utime(log, ns=(1, first.stat().st_mtime_ns + 1))
        log.rename(second)
        append(log, b"c1\n")()
        os.utime(log, ns=(1, second.stat().st_mtime_ns + 1))

    assert lines(followed(log, twice)) == [b"a1", b"a2", b"a3", b"b1", b"c1"]


@pytest.mark.parametrize("grown", [b"b1\n", b"b1\nb2 is longer than what stood there before\n"], ids=["short", "long"])
def test_a_file_cut_off_in_place_starts_anew(log: Path, grown: bytes) -> None:
    copy = log.with_name("app.log.1")

    def rotate_and_write() -> None:
        append(log, b"a3\n")()
        copy_and_truncate(log, copy)()
        append(log, grown)()

    blocks = followed(log, rotate_and_write, append(log, b"z\n"))
    assert lines(blocks) == [b"a1", b"a2", b"a3", *grown.splitlines(), b"z"]
    assert blocks[-1].source == f"{log}@2"


def test_a_file_emptied_without_a_copy_starts_anew(log: Path) -> None:
    blocks = followed(log, lambda: os.truncate(log, 0), append(log, b"b1\n"))
    assert lines(blocks) == [b"a1", b"a2", b"b1"]
    assert blocks[-1].position == 0


def test_an_absent_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "new" / "app.log"
    blocks = followed(path, idle, path.parent.mkdir, idle, append(path, b"a1\n"))
    assert lines(blocks) == [b"a1"]


def test_a_restart_goes_on_where_it_was(log: Path) -> None:
    first = followed(log, append(log, b"a3\n"))
    blocks = followed(log, append(log, b"a4\n"), known=after(first))
    assert lines(blocks) == [b"a4"]
    assert blocks[0].source == first[0].source


@pytest.mark.parametrize("pack", [False, True], ids=["plain", "gzip"])
def test_files_rotated_while_nobody_read_are_read_first(log: Path, pack: bool) -> None:
    first = followed(log)
    append(log, b"a3\n")()
    older, newer = log.with_name("app.log.2.gz" if pack else "app.log.2"), log.with_name("app.log-20260327")
    if pack:
        older.write_bytes(gzip.compress(log.read_bytes()))
        log.unlink()
    else:
        log.rename(older)
    newer.write_bytes(b"b1\n")
    log.write_bytes(b"c1\n")
    log.with_name("app.log.old-notes").write_bytes(b"none of it\n")
    log.with_name("app.log.9").write_bytes(b"before all that\n")
    for age, path in enumerate([log.with_name("app.log.9"), older, newer, log]):
        os.utime(path, (age, age))
    blocks = followed(log, append(log, b"c2\n"), known=after(first))
    assert lines(blocks) == [b"a3", b"b1", b"c1", b"c2"]


def test_the_first_run_leaves_older_files_alone(log: Path) -> None:
    log.with_name("app.log.1").write_bytes(b"long ago\n")
    assert lines(followed(log)) == [b"a1", b"a2"]


def test_an_earlier_copy_of_the_file_is_not_read_again(log: Path) -> None:
    copy = log.with_name("app.log.1")
    shutil.copyfile(log, copy)
    os.utime(copy, (1, 1))
    blocks = followed(log, append(log, b"a3\n"), rename(log, log.with_name("app.log.0")), append(log, b"b1\n"))
    assert lines(blocks) == [b"a1", b"a2", b"a3", b"b1"]


def test_standard_input_is_followed_to_its_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def say(data: bytes) -> Callable[[], object]:
        return lambda: os.write(writing, data)

    acts = [idle, say(b"a1\n"), idle, say(b"a2\na3 be"), say(b"gun\na4"), lambda: os.close(writing)]
    clock = HandClock(*acts)
    blocks = [block for block in follow("-", clock, stdin_fd=reading) if block is not None]
    os.close(reading)
    assert lines(blocks) == [b"a1", b"a2", b"a3 begun", b"a4"]
    assert clock.done
