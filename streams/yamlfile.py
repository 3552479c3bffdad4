"""Reads a YAML file into plain values, and refuses what a configuration never needs.

Scalars follow YAML 1.2's core schema: `no` and `21:00` are text, 010 is text too, only true and false are booleans, and
dates stay text. Refused, with the line: keys that stand twice, anchors and aliases (a few lines of them expand to
gigabytes), tags, several documents, nesting beyond 20, files beyond 1 MiB.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from detector.errors import ConfigError, Problem

MAX_BYTES = 1_048_576
MAX_DEPTH = 20

_NULL = "tag:yaml.org,2002:null"
_RESOLVED = (
    ("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)$"), "tf"),
    (_NULL, re.compile(r"(?:~|null|)$"), ["~", "n", ""]),
    ("tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]{0,18})$"), "-0123456789"),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:e[-+]?[0-9]+)?|e[-+]?[0-9]+)$"),
        "-0123456789",
    ),
)


class _Refused(yaml.MarkedYAMLError):
    """What is good YAML and yet not taken."""

    def __init__(self, mark: yaml.Mark | None, found: str, allowed: str, do: str = "") -> None:
        super().__init__(problem=found, problem_mark=mark)
        self.allowed, self.do = allowed, do


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused(event.start_mark, "an anchor or alias", "each value written out")
        if getattr(event, "tag", None):
            raise _Refused(event.start_mark, f"the tag {event.tag}", "no tags")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(event.start_mark, "deeper nesting", f"at most {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused(key.start_mark, "a key that is no text", "text as keys")
            if key.value in lines:
                first = f"it stands in line {lines[key.value]} already"
                raise _Refused(key.start_mark, f'the key "{key.value}" again', "each key once", first)
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in _RESOLVED:
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))


def read_yaml(path: Path) -> object:
    """Return what the file holds; messages call it by its name.

    Raises
    ------
    ConfigError
        It is missing, unreadable, too big, not UTF-8, or not the YAML that is taken: where, and what to do.
    """
    name = path.name
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(name, error.strerror or str(error), "a file that can be read")]) from error
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem(name, "more than 1 MiB", "at most 1 MiB")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(f"{name}: line {line}", "bytes that are not UTF-8", "UTF-8 text")]) from error
    return parse_yaml(text, name)


def parse_yaml(text: str, name: str) -> object:
    r"""Return what the text holds.

    Raises
    ------
    ConfigError
        As `read_yaml`.

    Examples
    --------
    >>> parse_yaml("window: 1m\nquiet: 21:00\nanswer: no", "tocsin.yml")
    {'window': '1m', 'quiet': '21:00', 'answer': 'no'}
    """
    try:
        return yaml.load(text, _Loader)
    except _Refused as error:
        raise ConfigError([Problem(_line(name, error), str(error.problem), error.allowed, error.do)]) from error
    except yaml.MarkedYAMLError as error:
        found = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise ConfigError([Problem(_line(name, error), found, "valid YAML")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Problem(name, str(error).splitlines()[0], "valid YAML")]) from error


def _line(name: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return name if mark is None else f"{name}: line {mark.line + 1}"
