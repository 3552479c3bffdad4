"""Reading files and standard input in blocks of whole lines, and going on where an earlier run stopped."""

import gzip
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.decode import JSON, CustomerKeys, Decoder
from detector.errors import UsageError
from detector.events import EventSchema
from streams.intake.bytestream import DamagedFileError
from streams.intake.files import Block, Cutter, Identity, Known, Source, new_key


def text_of(blocks: list[Block]) -> bytes:
    return b"".join(block.data for block in blocks)


def read(
    path: Path, known: Known | None = None, *, block_bytes: int = 262_144, max_record_bytes: int = 262_144
) -> list[Block]:
    with Source(path, known, block_bytes=block_bytes, max_record_bytes=max_record_bytes) as source:
        return list(source.blocks())


def after(block: Block) -> Known:
    return {block.source: (block.identity, block.next_position)}


LINES = b"".join(b"line %d %s\n" % (i, b"x" * (i % 50)) for i in range(2000))


def test_blocks_are_whole_lines_and_join_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(LINES)
    blocks = read(path, block_bytes=1000)
    assert text_of(blocks) == LINES
    assert all(block.data.endswith(b"\n") for block in blocks)
    assert len(blocks) > 10
    assert [block.position for block in blocks[1:]] == [block.next_position for block in blocks[:-1]]
    assert {block.source for block in blocks} == {str(path)}


def test_a_last_line_without_newline_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo")
    assert [(block.data, block.next_position) for block in read(path)] == [(b"one\n", 4), (b"two", 7)]


@given(
    st.lists(st.binary(max_size=30), max_size=20).map(b"\n".join),
    st.lists(st.integers(1, 9), min_size=1),
    st.integers(1, 20),
)
def test_cutting_gives_the_same_lines_whatever_the_pieces(data: bytes, sizes: list[int], limit: int) -> None:
    cutter, blocks, at = Cutter("a", b"", 0, limit), list[Block](), 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        blocks += cutter.feed(data[at : at + size])
        at += size
        assert cutter.read == min(at, len(data))
        assert cutter.head == data[:at]
    blocks += cutter.end()
    assert [b.position for b in blocks] == [0, *(b.next_position for b in blocks)][:-1]
    assert (blocks[-1].next_position if blocks else 0) == len(data)
    assert all(b.identity == Identity.of(data[: b.next_position]) for b in blocks)
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    found = {}
    for block in blocks:
        if block.refused is not None:
            assert block.refused.size > limit
            found[block.position] = (block.refused.size, block.refused.data)
            continue
        position = block.position
        for line in _lines(block.data):
            found[position] = (len(line.rstrip(b"\n")), line.rstrip(b"\n"))
            position += len(line)
    starts = [sum(len(line) + 1 for line in lines[:i]) for i in range(len(lines))]
    assert found == {start: (len(line), line) for start, line in zip(starts, lines, strict=True)}


def _lines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [*(part + b"\n" for part in parts[:-1]), *([parts[-1]] if parts[-1] else [])]


def test_an_oversized_line_is_passed_over_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\n" + b"y" * 500_000 + b"\ntwo\n")
    blocks = read(path, block_bytes=4096, max_record_bytes=10_000)
    assert text_of(blocks) == b"one\ntwo\n"
    (refused,) = [block.refused for block in blocks if block.refused is not None]
    assert (refused.position, refused.reason, refused.size) == (4, "oversized", 500_000)
    assert refused.data == b"y" * 4096
    assert max(len(block.data) for block in blocks) < 20_000


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("block_bytes", [10, 262_144])
def test_a_refused_line_is_the_same_dead_letter_whoever_refuses_it(
    tmp_path: Path, block_bytes: int, ending: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\n" + b"z" * 50 + ending)
    decoder = Decoder(EventSchema(("kind",), ()), JSON, CustomerKeys(b"k"), max_record_bytes=40)
    dead = [
        one
        for block in read(path, block_bytes=block_bytes, max_record_bytes=40)
        for one in block.batch(decoder).invalid
    ]
    assert [(one.position, one.reason, one.size, one.data) for one in dead] == [
        (0, "empty", 0, b""),
        (1, "oversized", 50, b"z" * 50),
    ]


@pytest.mark.parametrize("stop", [0, 1, 57, 200])
@pytest.mark.parametrize("pack", [False, True], ids=["plain", "gzip"])
def test_a_second_run_goes_on_where_the_first_stopped(tmp_path: Path, stop: int, pack: bool) -> None:
    path = tmp_path / "a"
    path.write_bytes(LINES)
    first = read(path, block_bytes=300)
    if pack:
        path = tmp_path / "b.gz"
        path.write_bytes(gzip.compress(LINES))
    rest = read(path, after(first[stop]), block_bytes=777)
    assert text_of(first[: stop + 1]) + text_of(rest) == LINES
    assert {block.source for block in rest} == {first[0].source}
    assert rest[-1].identity == first[-1].identity


def test_a_file_read_to_its_end_gives_nothing_more_until_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\n")
    (only,) = read(path)
    assert read(path, after(only)) == []
    path.write_bytes(b"one\ntwo\n")
    (grown,) = read(path, after(only))
    assert (grown.position, grown.data, grown.source) == (4, b"two\n", only.source)
    assert grown.identity == Identity.of(b"one\ntwo\n")


def test_another_file_under_the_same_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\n")
    (first,) = read(path)
    path.write_bytes(b"other\n")
    (second,) = read(path, after(first))
    assert (second.data, second.source) == (b"other\n", f"{path}@2")


def test_a_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(LINES)
    known = after(read(path)[-1])
    path.write_bytes(LINES[:5000])
    with pytest.raises(UsageError, match="bytes that were read of it, found fewer"):
        Source(path, known)


def test_what_is_no_file_is_one_line_of_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file that can be read, found: no such file"):
        Source(tmp_path / "none")
    with pytest.raises(UsageError, match="found a directory"):
        Source(tmp_path)


def test_gzip_is_known_by_its_bytes_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(LINES[:500]) + gzip.compress(LINES[500:]))
    assert text_of(read(path, block_bytes=999)) == LINES
    path.write_bytes(gzip.compress(os.urandom(50_000))[:20_000])
    with pytest.raises(DamagedFileError, match="found damage after"):
        read(path)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    os.close(ends[0])


@pytest.mark.parametrize("stop", [None, 0, 20])
def test_standard_input_is_read_on_from_where_it_stopped(
    tmp_path: Path, pipe: tuple[int, int], stop: int | None
) -> None:
    path = tmp_path / "a"
    path.write_bytes(LINES)
    first = read(path, block_bytes=2000)
    known = {} if stop is None else after(first[stop])
    before = b"" if stop is None else text_of(first[: stop + 1])

    def write() -> None:
        with os.fdopen(pipe[1], "wb") as out:
            out.write(LINES)

    writer = threading.Thread(target=write)
    writer.start()
    with Source("-", known, stdin_fd=pipe[0]) as source:
        assert before + text_of(list(source.blocks())) == LINES
    writer.join()


def test_an_identity_is_stored_as_bytes() -> None:
    identity = Identity.of(b"x" * 10_000)
    assert Identity.parse(identity.encode()) == identity
    assert identity.length == 4096
    assert identity.begins(b"x" * 4096)
    assert not identity.begins(b"x" * 4095)
    assert not Identity.of(b"").begins(b"")


@given(st.lists(st.sampled_from(["a", "b"]), max_size=8))
def test_keys_are_new(names: list[str]) -> None:
    taken: list[str] = []
    for name in names:
        taken.append(new_key(name, taken))
    assert len(set(taken)) == len(names)
