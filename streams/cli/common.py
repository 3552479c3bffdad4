"""What all commands share: options with their environment names, help with an example, output for people and machines.

Rules of the command line: results go to standard output, everything else (progress, messages) to standard error;
`--json` prints one JSON value and nothing more; text that came with the data is shown as data, never as markup or
terminal control.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from streams.settings import Settings
    from streams.store import Store
    from streams.store.database import Where

F = TypeVar("F", bound=Callable[..., Any])

DONE, NO, WRONG_USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130

EXITS = {
    DONE: "done",
    NO: "the answer is no, or something was found wrong",
    WRONG_USAGE: "wrong usage or configuration",
    UNREACHABLE: "a needed service or file can't be reached",
    INTERRUPTED: "interrupted",
}

_TENANT = "tocsin.tenant"
"""Where a context keeps what `--tenant` names."""

_NO_TERMINAL_WIDTH = 1_000
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


# --- commands and options -------------------------------------------------------------------------------------------


class Command(click.Command):
    """A command whose help ends with an example and the exit codes, each option with a name in the environment."""

    def __init__(self, *args: Any, example: str = "", exits: dict[int, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if isinstance(parameter, click.Option) and parameter.envvar is None:
                parameter.envvar, parameter.show_envvar = _environment_name(parameter.opts), True
        self.example = example
        self.exits = {code: text for code, text in sorted((EXITS | (exits or {})).items()) if text}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_epilog(formatter, self.example, self.exits)


class Group(click.Group):
    """A group of commands; with `default` set, that command runs where none is named (`tocsin cases --all`).

    With `positional` the default takes a name of the user's, so an unknown word is meant for it (`tocsin mute logins`).
    """

    command_class = Command

    def __init__(
        self, *args: Any, example: str = "", default: str | None = None, positional: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.default = default
        self.positional = positional
        if default is not None:
            self.no_args_is_help = False

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_epilog(formatter, self.example, EXITS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self.default is not None and not (args and args[0] in ctx.help_option_names):
            args = self._with_command(args)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            message = f"No such command '{name}'.{did_you_mean(name, self.list_commands(ctx))}"
            ctx.fail(message)
        return super().resolve_command(ctx, args)

    def _with_command(self, args: list[str]) -> list[str]:
        """Put the command's name first: options may stand before it, and without a name the default is meant."""
        i = 0
        while i < len(args) and args[i].startswith("-") and args[i] not in ("-", "--"):
            i += 2 if self._takes_value(args[i]) else 1
        if i < len(args) and args[i] in self.commands:
            return [args[i], *args[:i], *args[i + 1 :]]
        if 0 == i < len(args) and args[i] not in ("-", "--") and not self.positional:
            return args
        return [self.default or "", *args]

    def _takes_value(self, option: str) -> bool:
        parameters = (p for c in self.commands.values() for p in c.params if isinstance(p, click.Option))
        return any(option in (*p.opts, *p.secondary_opts) and not p.is_flag and not p.count for p in parameters)


def _write_epilog(formatter: click.HelpFormatter, example: str, exits: dict[int, str]) -> None:
    for title, lines in (
        ("Example", example.strip("\n").splitlines()),
        ("Exit codes", [f"{c:<3}  {t}" for c, t in exits.items()]),
    ):
        if lines:
            formatter.write_paragraph()
            formatter.write(f"{title}:\n")
            formatter.write("".join(f"  {line}".rstrip() + "\n" for line in lines))


def command(
    *, example: str, exits: dict[int, str] | None = None, **kwargs: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command; its docstring is the help, `example` is shown with it.

    `exits` says what an exit code means for this command where that is more exact than the general meaning; "" where
    the command never ends with it.
    """
    return click.command(cls=Command, example=example, exits=exits, **kwargs)


def group(
    *, example: str, default: str | None = None, positional: bool = False, **kwargs: Any
) -> Callable[[Callable[..., Any]], Group]:
    """Make a function a group of commands, `default` being the one that runs where none is named.

    `positional` says that the default takes a name of the user's as its argument.

    A group's commands are made by `@command.command(example=...)`.
    """
    return click.group(cls=Group, example=example, default=default, positional=positional, **kwargs)


def option(*names: str, **kwargs: Any) -> Callable[[F], F]:
    """Make an option that the environment can set as well: `--day-count` by `TOCSIN_DAY_COUNT`, as the help shows."""
    kwargs.setdefault("envvar", _environment_name(names))
    kwargs.setdefault("show_default", kwargs.get("default") is not None and not kwargs.get("is_flag"))
    return click.option(*names, show_envvar=True, **kwargs)


def _environment_name(names: Sequence[str]) -> str:
    long = next(name for name in names if name.startswith("--"))
    return "TOCSIN_" + long.split("/")[0].lstrip("-").upper().replace("-", "_")


def config_option(function: F) -> F:
    """Add `--config DIR`, given as `config: Path | None`."""
    kind = click.Path(exists=True, file_okay=False, path_type=Path)
    return option("--config", type=kind, metavar="DIR", help="Directory of tocsin.yml and signals.yml.")(function)


def db_option(function: F) -> F:
    """Add `--db`, given as `db: str`: a SQLite file, or the URL of a PostgreSQL database."""
    told = "The store: a file (SQLite), or postgresql://USER@HOST/DATABASE."
    return option("--db", default="tocsin.db", metavar="FILE|URL", help=told)(function)


def store_option(function: F) -> F:
    """Add `--db`, given as `db: str`, and `--tenant`, which `open_store` knows."""
    told = "Whose part of the store, where it has several tenants and --config does not say it."
    named = option("--tenant", metavar="NAME", help=told, expose_value=False, callback=_note_tenant)
    return db_option(named(function))


def _note_tenant(context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value:
        context.meta[_TENANT] = value
    return value


def open_store(
    db: "str | Path | Where", settings: "Settings | None" = None, *, create: bool = False, whole: bool = False
) -> "Store":
    """Open the store that `--db` names: the configuration's tenant's part, else `--tenant`'s, else the only one.

    Parameters
    ----------
    settings
        Of `--config`, where it is given.
    create
        Make one where there is none.
    whole
        What the command does concerns the whole store: of several tenants none has to be named.

    Raises
    ------
    UsageError
        There is no store, or several tenants are in it and none is named, or none of that name.
    """
    from streams.store import open_store as opened

    if settings is not None:
        secret = settings.customer_key if create else None
        key = None if secret is None else secret.read()
        return opened(db, tenant=settings.config.tenant, create=create, customer_key=key)
    context = click.get_current_context(silent=True)
    tenant = None if context is None else context.meta.get(_TENANT)
    return opened(db, tenant=tenant, create=create, known=tenant is not None, whole=whole)


def brokers_option(function: F) -> F:
    """Add `--brokers HOST:PORT,…`, given as `brokers: str | None`: instead of those of tocsin.yml."""
    return option("--brokers", metavar="HOST:PORT,…", help="Kafka's brokers, instead of those of tocsin.yml.")(function)


def json_option(function: F) -> F:
    """Add `--json`, given as `as_json: bool`."""
    return option("--json", "as_json", is_flag=True, help="Print one JSON value for machines.")(function)


def command_line(*words: object) -> str:
    """Return a `tocsin` command as the user can run it: by its path where it is not on PATH, quoted for the shell."""
    called, name = sys.argv[0], "tocsin"
    if os.path.basename(called) == name and os.sep in called:
        found = shutil.which(name)
        if found is None or not os.path.exists(called) or not os.path.samefile(found, called):
            name = called
    return shlex.join([name, *map(str, words)])


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return ' Did you mean ...?' where a known word is near, else ''."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(words), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


# --- output ---------------------------------------------------------------------------------------------------------


def console(*, stderr: bool = False) -> "Console":
    """Return a console without markup: no colour where NO_COLOR is set, no width where it is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _NO_TERMINAL_WIDTH
    return Console(
        stderr=stderr, markup=False, highlight=False, emoji=False, width=width, soft_wrap=not stream.isatty()
    )


def say(text: str) -> None:
    """Print one message for people to standard error."""
    click.echo(plain(text), err=True)


def plain(value: object) -> str:
    r"""Text of a value with control characters and direction overrides made visible: safe to show on a terminal.

    Examples
    --------
    >>> plain("BNI" + chr(27) + "[31m")
    'BNI�[31m'
    """
    return "" if value is None else _UNSAFE.sub("\ufffd", str(value))


_SHORT = 16
"""Cells up to this width stay on one line; a column with longer ones is wrapped where the terminal is narrow."""


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    title: str = "",
    spare: Sequence[str] = (),
) -> None:
    """Print a table for people; columns named in `right` are aligned to the right.

    Where the terminal is too narrow, columns in `spare` are left out, the first one first; if that is not enough, each
    row is a block of lines that holds all of them.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    out = console()
    cells = {column: [plain(value) for value in values] for column, *values in zip(columns, *rows, strict=True)}
    longest = {name: max(map(cell_len, [name, *values])) for name, values in cells.items()}
    least = {name: longest[name] if longest[name] <= _SHORT else _widest_word(cells[name]) for name in cells}
    if out.is_terminal:
        for name in spare:
            if _needed(least) > out.width:
                least.pop(name, None)
        if _needed(least) > out.width:
            _print_blocks(cells)
            return
        cells = {name: cells[name] for name in least}
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(plain(title)) if title else None, title_justify="left", pad_edge=False
    )
    for name in cells:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(Text(name), justify=justify, overflow="fold", no_wrap=longest[name] <= _SHORT)
    for row in zip(*cells.values(), strict=True):
        table.add_row(*map(Text, row))
    out.print(table)


def _widest_word(values: Sequence[str]) -> int:
    from rich.cells import cell_len

    words = [cell_len(word) for value in values for word in value.split()]
    return min(2 * _SHORT, max([_SHORT // 2, *words]))


def _needed(widths: Mapping[str, int]) -> int:
    """Return the width of a table of such columns: three between two, one at each edge."""
    return sum(widths.values()) + 3 * (len(widths) - 1) + 2


def _print_blocks(cells: Mapping[str, Sequence[str]]) -> None:
    names = list(cells)
    width = max(map(len, names))
    for first, *rest in zip(*cells.values(), strict=True):
        click.echo(f"\n{names[0]} {first}")
        for name, value in zip(names[1:], rest, strict=True):
            if value:
                click.echo(f"  {name:{width}}  {value}")
    click.echo()


def print_json(value: object) -> None:
    """Print one JSON value, structs, dataclasses and enums too; NaN becomes null. One line where it is no terminal."""
    import msgspec

    data = msgspec.json.encode(value)
    click.echo((msgspec.json.format(data, indent=2) if sys.stdout.isatty() else data).decode())


def utc(ms: int | None) -> str | None:
    """RFC 3339 in UTC of epoch milliseconds; the milliseconds stand only where they are not zero.

    Examples
    --------
    >>> utc(1_767_225_600_000), utc(1_767_225_600_250), utc(None)
    ('2026-01-01T00:00:00Z', '2026-01-01T00:00:00.250Z', None)
    """
    if ms is None:
        return None
    seconds, rest = divmod(ms, 1_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:03d}Z" if rest else f"{text}Z"


def duration(seconds: float | None) -> str:
    """Text of a duration in its two largest units.

    Examples
    --------
    >>> duration(0.25), duration(42), duration(150), duration(3 * 3600), duration(90_061), duration(None)
    ('0.2 s', '42 s', '2 min 30 s', '3 h', '1 d 1 h', '')
    """
    if seconds is None:
        return ""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if 0 < seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    left, parts = round(seconds), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [(count, unit) for count, unit in parts[first : first + 2] if count] or [parts[-1]]
    return " ".join(f"{count} {unit}" for count, unit in shown)


class Progress(Protocol):
    """A progress bar, or nothing where standard error is no terminal."""

    def to(self, done: float, note: str = "") -> None:
        """Show that so much of the total is done, with a note such as the rate."""
        ...


class _Silent:
    def to(self, done: float, note: str = "") -> None:
        pass


@contextmanager
def progress(label: str, total: float | None = None) -> Iterator[Progress]:
    """Show a progress bar on standard error; without a total only the note moves."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(
        *columns, TextColumn("{task.fields[note]}", markup=False), console=console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(label, total=total, note="")

        class Shown:
            def to(self, done: float, note: str = "") -> None:
                bar.update(task, completed=done, note=plain(note))

        yield Shown()
