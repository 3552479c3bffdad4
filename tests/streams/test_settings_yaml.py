"""Reading YAML: plain values by YAML 1.2's core schema, and what is refused, with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ConfigError
from streams.yamlfile import MAX_BYTES, parse_yaml, read_yaml


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yml")
    (problem,) = caught.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("no", "no", id="no is text"),
        pytest.param("on", "on", id="on is text"),
        pytest.param("21:00", "21:00", id="no base 60"),
        pytest.param("010", "010", id="no octal"),
        pytest.param("0x1f", "0x1f", id="no hexadecimal"),
        pytest.param("1_000", "1_000", id="no underscores"),
        pytest.param("2026-01-01", "2026-01-01", id="dates are text"),
        pytest.param(".nan", ".nan", id="no NaN"),
        pytest.param("8.10.1", "8.10.1", id="versions are text"),
        pytest.param("true", True, id="true"),
        pytest.param("-3", -3, id="integer"),
        pytest.param("1.5", 1.5, id="float"),
        pytest.param("1e3", 1000.0, id="exponent"),
        pytest.param("~", None, id="tilde"),
        pytest.param("", None, id="nothing"),
        pytest.param('"5"', "5", id="quoted"),
    ],
)
def test_scalars_are_what_they_look_like(written: str, read: object) -> None:
    found = parse_yaml(f"a: {written}", "f.yml")
    assert found == {"a": read}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(read)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "a: 1\nb: 2\na: 3",
            'line 3: expected each key once, found the key "a" again (it stands in line 1 already)',
            id="key twice",
        ),
        pytest.param(
            "x:\n  a: 1\n  a: 2",
            'line 3: expected each key once, found the key "a" again (it stands in line 2 already)',
            id="inner key twice",
        ),
        pytest.param(
            "1: a\n'1': b",
            'line 2: expected each key once, found the key "1" again (it stands in line 1 already)',
            id="same text",
        ),
        pytest.param(
            "a: &x 1\nb: *x", "line 1: expected each value written out, found an anchor or alias", id="anchor"
        ),
        pytest.param("b: *x", "line 1: expected each value written out, found an anchor or alias", id="alias"),
        pytest.param(
            "a: !!python/object:os.system 1",
            "line 1: expected no tags, found the tag tag:yaml.org,2002:python/object:os.system",
            id="python object",
        ),
        pytest.param("[" * 500, "line 1: expected at most 20 levels, found deeper nesting", id="deep"),
        pytest.param(
            "a: 1\n---\nb: 1",
            "line 2: expected valid YAML, found expected a single document in the stream but found another document",
            id="two documents",
        ),
        pytest.param("? [a]\n: 1", "line 1: expected text as keys, found a key that is no text", id="list as key"),
        pytest.param(
            "a: b: c", "line 1: expected valid YAML, found mapping values are not allowed here", id="two colons"
        ),
        pytest.param(
            "a:\n\tb: 1",
            "line 2: expected valid YAML, found while scanning for the next token found character '\\t' that cannot start any token",
            id="tab",
        ),
    ],
)
def test_what_a_configuration_never_needs_is_refused_with_its_line(text: str, said: str) -> None:
    assert complaint(text) == f"f.yml: {said}"


def test_an_alias_bomb_is_refused_before_it_expands() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 64))]
    assert "anchor or alias" in complaint("\n".join(lines))


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@`\n \t01.,?", max_size=60))
def test_any_text_is_plain_values_or_one_complaint(text: str) -> None:
    try:
        found = parse_yaml(text, "f.yml")
    except ConfigError as error:
        assert len(error.problems) == 1
        assert error.problems[0].path.startswith("f.yml")
    else:
        assert_plain(found)


def assert_plain(value: object) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            assert_plain(key)
            assert_plain(item)
    elif isinstance(value, list):
        for item in value:
            assert_plain(item)
    else:
        assert value is None or isinstance(value, str | int | float | bool)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(
            b"a: 1\nb: \xff", "f.yml: line 2: expected UTF-8 text, found bytes that are not UTF-8", id="not UTF-8"
        ),
        pytest.param(b"#" * (MAX_BYTES + 1), "f.yml: expected at most 1 MiB, found more than 1 MiB", id="too big"),
        pytest.param(
            b"a: \x00",
            "f.yml: expected valid YAML, found unacceptable character #x0000: special characters are not allowed",
            id="NUL",
        ),
    ],
)
def test_bytes_that_are_no_configuration_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "f.yml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value) == said


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "f.yml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(path) == {"a": 1}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yml: expected a file that can be read, found No such file"):
        read_yaml(tmp_path / "gone.yml")
