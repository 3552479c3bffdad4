"""Writes the reference pages from what they describe: signals.yml, tocsin.yml, the commands, the metrics.

`python -m streams.reference DIR`, or `make docs`.
"""

import inspect
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from detector import signalfields
from detector.calendar import OwnDay
from detector.config import Budget, QuietHours
from detector.fields import duration_text
from detector.signals import Condition
from streams.cli.common import Command, Group
from streams.cli.main import cli
from streams.clock import SystemClock
from streams.metrics import KAFKA_METRICS, METRICS, SERVICE_METRICS, MetricDoc
from streams.outbox.channel import Common, available, provider
from streams.sections import Document, Duration, SecretReference
from streams.settings import SIGNALS, defaults_directory, load
from streams.store import open_store
from streams.store.directory import CustomerDirectory
from streams.store.feedtypes import TYPES, Data
from streams.web.api.openapi import document
from streams.web.api.page import page
from streams.web.app import create_app
from streams.web.context import Web

_MADE = "<!-- Written by `make docs`; do not edit. -->"

_SIGNALS = """\
# signals.yml

What is watched. Each entry of `signals` has a name (lower-case letters, digits and dashes) and these fields.
`tocsin check` lists every mistake with its path, and warns of what will not work well.

{table}

## Conditions

`events` and `bad` hold conditions: all of them must hold. Values are compared as text, so `5`, `"5"` and `5.0` are the
same, and `true` is `"true"`. An event without the field satisfies `not` and `present: false`, and nothing else.

| condition | holds for an event whose field |
|---|---|
| `field: value` | has this value |
| `field: [value, value]` | has one of these values |
| `field: {{not: value}}`, `field: {{not: [value, value]}}` | has none of these values |
| `field: {{at_least: 5}}` | is a number of 5 or more |
| `field: {{below: 3}}` | is a number below 3 |
| `field: {{present: true}}` | is there, whatever it holds |

## Example

```yaml
{example}
```
"""

_SETTINGS = """\
# tocsin.yml

How Tocsin runs. Every field has a default, so the file may be empty, or missing. Durations are written `10s`, `1m`,
`2h`, `7d`. `tocsin init` writes a commented copy.

{sections}

## channels

What carries a channel's messages; [notices](../notices.md#channels) shows each at work. At every channel may stand:

{channels}

## formats

Any shape of JSON, mapped to events by name: where the time, the id, the customer, the kind and the fields stand. What
is not mapped stands at the top under its own name. Built in are `json`, our own flat event, and `sshd`, an OpenSSH log.

| field | is | default | meaning |
|---|---|---|---|
| `time` | a path, or `{{path, unit, zone}}` | `time` | Units: iso, s, ms, us, ns; a zone for ISO times without one. |
| `id` | a path, or null | `id` | Tells duplicates apart; null where there is none. |
| `customer` | a path, or null | `customer` | An id or an alias that the customer directory knows. |
| `kind` | a path, or `{{constant: text}}` | `kind` | What happened; a constant where the records do not say it. |
| `fields` | a mapping from field to path | none | Dimensions, values and the fields of conditions. |

A path is text with dots (`user.id`), or a list of keys where keys themselves have dots (`[geo, city.name]`).

```yaml
formats:
  our-app:
    time: {{path: meta.at, unit: ms}}
    id: meta.id
    customer: user.id
    kind: type
    fields: {{bank: payment.bank, city: [geo, city.name]}}
```
"""

_COMMANDS = """\
# Commands

Every option can be set in the environment as well, by the name beside it; what the command line says wins.
[What they print for machines](../commands.md) has a page of its own.

{sections}
"""


_METRICS = """\
# Metrics

What Tocsin tells Prometheus. A running process answers on the loopback address, and a store that nothing runs on is
written once, in the same form and with the same sums:

```sh
tocsin replay --follow --metrics-port 9464 --config shop events.ndjson
tocsin budget --prometheus > tocsin.prom
```

Sums are those of the store's life. No customer's id and no text of an event is ever a label. What the numbers mean is
told in [the budget](../budget.md) and [detection](../detection.md), which of them to watch in
[operations](../operations.md).

{table}

The reasons of `tocsin_events_dropped_total` are `late` (its window was closed), `duplicate` (its id was seen) and
`unwatched` (no signal counts it), on Kafka also `over-quota`; those of `tocsin_dead_letters` are on
[the page of the input](../input.md).

## Of the running service

`GET /metrics` of `tocsin run` answers with the ones above and these; those of a moment are read from the
store when they are asked for.

{service}

## Of a worker on Kafka

A worker answers `GET /metrics` on the port of `--health` with its `tocsin_build_info`, `tocsin_check_ok`,
`tocsin_config_ok` and `tocsin_commit_age_seconds` (of the Counters that it has), the process' own `process_…` (CPU,
memory, open files), and with these; all else that is above comes from `tocsin web` on the same store.

{kafka}
"""


_EVENTS = """\
# Events of the feed

What a live store tells the world, as server-sent events, in pages and to webhooks: [how to read it](../feeds.md).
Every event is a CloudEvent 1.0; `subject` is the case's id, and `data` is one of the objects below. Names and fields
stay: fields may be added, none is renamed, removed or given another meaning under its `version`.

{types}

Where several things happen at once, a case's opening stands before its customers, and its end after them. An event that
is not in this list is to be passed over: more may come.

{data}

## Beside the list

| name | where | when |
|---|---|---|
| `feed.gap` | a stream, at its end | What comes next was pruned: `data` has `after` and, in words, `detail`. |
| `webhook.test` | a webhook | An administrator tries it out; `data` has `version` and `webhook`. |
"""
_TYPE = ("type", "when", "data")
_FIELD = ("field", "is", "meaning")


def pages() -> dict[str, str]:
    """Return the pages by file name."""
    return {
        "signals.md": _signals_page(),
        "settings.md": _settings_page(),
        "commands.md": _commands_page(),
        "metrics.md": _metrics_page(),
        "events.md": _events_page(),
        "api.md": _api_page(),
    }


def _api_page() -> str:
    """Return the API's page: its document is made from the routes of an app, which needs a store to stand on."""
    with TemporaryDirectory() as folder, open_store(Path(folder) / "none.db", create=True) as store:
        web = Web(load(defaults_directory()), store, CustomerDirectory(store), SystemClock())
        return f"{_MADE}\n\n" + page(document(create_app(web)))


def _events_page() -> str:
    types = _table([(f"`{e.name}`", e.when, f"[{_data_name(e.data)}](#{_data_name(e.data)})") for e in TYPES], _TYPE)
    data = "\n\n".join(_data(kind) for kind in dict.fromkeys(e.data for e in TYPES))
    return f"{_MADE}\n\n" + _EVENTS.format(types=types, data=data)


def _data(kind: type[Data]) -> str:
    rows = [(f"`{name}`", *_field(hint)) for name, hint in get_type_hints(kind, include_extras=True).items()]
    return f"## {_data_name(kind)}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n\n" + _table(rows, _FIELD)


def _data_name(kind: type[Data]) -> str:
    return kind.__name__.removesuffix("Data").lower()


def _field(hint: Any) -> tuple[str, str]:
    """Return a field's type in JSON and its meaning."""
    inner, meta = get_args(hint)
    parts = get_args(inner) if get_origin(inner) in (Union, UnionType) else (inner,)
    plain = [get_origin(part) or part for part in parts if part is not int or str not in parts]
    names = {int: "a whole number", float: "a number", tuple: "a list", type(None): "null"}
    shown = (names.get(part, "text" if issubclass(part, str) else "an object") for part in plain)
    return " or ".join(shown), meta.description


def _metrics_page() -> str:
    def table(metrics: Sequence[MetricDoc]) -> str:
        rows = [(f"`{m.name}`", m.kind.value, ", ".join(f"`{label}`" for label in m.labels), m.help) for m in metrics]
        return _table(rows, ("metric", "is a", "labels", "meaning"))

    tables = {"table": table(METRICS), "service": table(SERVICE_METRICS), "kafka": table(KAFKA_METRICS)}
    return f"{_MADE}\n\n" + _METRICS.format_map(tables)


def _signals_page() -> str:
    rows = [(f"`{f.name}`", f.kind, f.default, f.meaning) for f in signalfields.FIELDS]
    example = _example((defaults_directory() / SIGNALS).read_text("utf-8"))
    return f"{_MADE}\n\n{_SIGNALS.format(table=_table(rows), example=example)}"


def _example(text: str) -> str:
    """Return the first signal of the commented defaults, without the comments."""
    blocks = text[text.index("signals:\n") :].split("\n\n")
    lines = "\n".join(blocks[:2]).splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _settings_page() -> str:
    sections = [_section("", Document, "")]
    for name, field in Document.model_fields.items():
        model = _model(field)
        if model is not None:
            sections.append(_section(name, model, f"## {name}\n\n{_sentence(model)}\n\n"))
    return f"{_MADE}\n\n" + _SETTINGS.format(sections="\n\n".join(sections), channels="\n\n".join(_channels()))


def _channels() -> Iterator[str]:
    """Yield what may stand at a channel, then each provider's own."""
    yield _section("", Common, "")
    for name in available():
        options: type[BaseModel] = provider(name).Options
        head = f"### {name}\n\n{_sentence(options)}"
        yield _section("", options, f"{head}\n\n") if options.model_fields else head


def _section(name: str, model: type[BaseModel], head: str) -> str:
    rows: list[tuple[str, ...]] = []
    for key, field in model.model_fields.items():
        inner = _model(field)
        path = f"{name}.{key}" if name else key
        if inner is not None and model is Document:
            rows.append((f"`{path}`", f"[a section](#{key})", "", _sentence(inner)))
        elif model is Document and key in ("formats", "channels"):
            rows.append((f"`{path}`", f"[a section](#{key})", "none", field.description or ""))
        else:
            rows.append((f"`{path}`", _kind(field), _default(field), field.description or ""))
    return head + _table(rows)


_FIELDS = ("field", "is", "default", "meaning")


def _table(rows: Sequence[tuple[str, ...]], columns: tuple[str, ...] = _FIELDS) -> str:
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join(lines + [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows])


def _sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _kind(field: FieldInfo) -> str:
    if any(isinstance(part, Duration) for part in field.metadata):
        return "a duration"
    return _kind_of(field.annotation)


def _kind_of(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_kind_of(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " or ".join(kind)
    names: dict[Any, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        Budget: "a budget",
        QuietHours: "times of day",
        tuple[str, ...]: "a list",
        tuple[OwnDay, ...]: "a list of days",
        tuple[Condition, ...]: "[conditions](signals.md#conditions)",
    }
    if kind in names:
        return names[kind]
    if get_origin(kind) is tuple:
        return f"a list of {_kind_of(get_args(kind)[0])}"
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return "a mapping"
    return "`{env: NAME}` or `{file: PATH}`" if kind is SecretReference else f"`{{{', '.join(kind.model_fields)}}}`"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "needed"
    if isinstance(value, BaseModel):
        return ""
    if value is None or value is PydanticUndefined or value in ({}, ()):
        return "none"
    if any(isinstance(part, Duration) for part in field.metadata):
        return f"`{duration_text(value)}`"
    return f"`{_written(value)}`"


def _written(value: object) -> str:
    """Return a default as one would write it in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Budget):
        return value.words
    if isinstance(value, QuietHours):
        times = (divmod(minute, 60) for minute in (value.start_minute, value.end_minute))
        return "-".join(f"{hour:02d}:{minute:02d}" for hour, minute in times)
    if isinstance(value, tuple) and value and isinstance(value[0], Condition):
        return "{" + ", ".join(f"{c.field}: {', '.join(c.any_of or ())}" for c in value) + "}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


# --- the commands -----------------------------------------------------------------------------------------------------


def _commands_page() -> str:
    sections = "\n\n".join(_command(cli, click.Context(cli, info_name="tocsin"), 1))
    return f"{_MADE}\n\n{_COMMANDS.format(sections=sections)}"


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    """Yield the parts of a command's section, then those of its commands."""
    if level > 1:
        usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
        yield f"{'#' * level} {context.command_path}\n\n{inspect.cleandoc(command.help or '')}"
        example = command.example.strip() if isinstance(command, Command | Group) else ""
        yield f"```text\n{usage}\n```"
        rows = [row for option in command.params if (row := _option(option, context))]
        if rows:
            yield _table(rows, ("option", "environment", "default", "meaning"))
        if example:
            yield f"Example:\n\n```sh\n{example}\n```"
    if isinstance(command, Command):
        yield "Exit codes: " + ", ".join(f"{code} {text}" for code, text in command.exits.items()) + "."
    if isinstance(command, Group):
        if command.default is not None:
            yield f"Without a command, `{command.default}` is meant."
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, info_name=name, parent=context), level + 1)


def _option(option: click.Parameter, context: click.Context) -> tuple[str, ...]:
    """Return an option's row; nothing for arguments and for what the help hides."""
    if not isinstance(option, click.Option) or option.hidden:
        return ()
    extra = option.get_help_extra(context)
    names = ", ".join(option.opts) + ("" if option.is_flag else f" {option.make_metavar(context)}")
    default = "required" if option.required else f"`{extra['default']}`" if "default" in extra else ""
    environment = ", ".join(f"`{name}`" for name in extra.get("envvars", ()))
    return f"`{names}`", environment, default, option.help or ""


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
