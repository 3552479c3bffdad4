"""`tocsin dead`: the records that were no events, why, and reading them again."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from detector.errors import UsageError
from streams.cli import common
from streams.cli.common import config_option, json_option, option, store_option

if TYPE_CHECKING:
    from streams.store import Store
    from streams.store.queries import DeadLetter

_SHOWN = 100
_PREVIEW = 60


@common.group(
    default="list",
    example="tocsin dead\ntocsin dead list --reason bad-time --json\ntocsin dead show 17\n"
    "tocsin dead retry --reason missing-field",
)
def command() -> None:
    """Look at the records that were no events.

    Each has a number, where it stood, a reason, the path in the record, and its first 4 KiB.
    """


def _reason_option(function: common.F) -> common.F:
    return option("--reason", metavar="REASON", help="Only those refused for this reason.")(function)


@command.command("list", example="tocsin dead\ntocsin dead list --reason not-json --json")
@_reason_option
@store_option
@json_option
def list_command(reason: str | None, db: str, as_json: bool) -> None:
    """List the dead letters as they came."""
    from streams.store.documents import dead_document
    from streams.store.queries import dead_letters

    with common.open_store(db) as store:
        found = dead_letters(store, reason=reason, limit=None if as_json else _SHOWN)
        sums = store.tally().get("dead", {})
    if as_json:
        common.print_json([dead_document(letter) for letter in found])
        return
    if not found:
        click.echo("No dead letters.")
        return
    rows = [(x.n, x.source, x.position, x.reason, x.path, x.size, _preview(x.data)) for x in found]
    columns = ("n", "source", "position", "reason", "path", "size", "begins")
    common.print_table(columns, rows, right=("n", "position", "size"))
    total = sums.get(reason, 0) if reason else sum(sums.values())
    if total > len(found):
        click.echo(f"The first {len(found)} of {total:,} (--json prints all).")


def _preview(data: bytes) -> str:
    text = data[: 4 * _PREVIEW].decode("utf-8", "replace")
    return text if len(text) <= _PREVIEW else text[:_PREVIEW] + "…"


@command.command("show", example="tocsin dead show 17", exits={common.NO: "there is no such dead letter"})
@click.argument("number", metavar="N", type=click.IntRange(1))
@store_option
@json_option
def show_command(number: int, db: str, as_json: bool) -> None:
    """Show one dead letter with what is kept of it."""
    from streams.store.documents import dead_document

    with common.open_store(db) as store:
        letter = _numbered(store, (number,))[0]
    if as_json:
        common.print_json(dead_document(letter))
        return
    where = f" at {letter.path}" if letter.path else ""
    click.echo(
        common.plain(f"{letter.source}, byte {letter.position:,}: {letter.reason}{where}, {letter.size:,} bytes")
    )
    for line in letter.data.decode("utf-8", "backslashreplace").split("\n"):
        click.echo(common.plain(line))


def _numbered(store: "Store", numbers: tuple[int, ...]) -> "list[DeadLetter]":
    from streams.store.queries import dead_letters

    found = {letter.n: letter for letter in dead_letters(store)}
    for number in numbers:
        if number not in found:
            message = f"dead letter {number}: there is none of that number in {store.where}; `tocsin dead` lists them"
            raise UsageError(message)
    return [found[number] for number in numbers]


@command.command(
    "retry",
    example="tocsin dead retry\ntocsin dead retry 17 18\ntocsin dead retry --reason missing-field --config shop",
    exits={common.NO: "some are still no events"},
)
@click.argument("numbers", metavar="[N]...", nargs=-1, type=click.IntRange(1))
@_reason_option
@config_option
@store_option
@json_option
def retry_command(numbers: tuple[int, ...], reason: str | None, config: Path | None, db: str, as_json: bool) -> int:
    """Read dead letters again: all, those numbered, or those of one reason.

    The format is that of the last run unless --config gives a corrected one. What is late by now is counted late.
    """
    from streams.clock import SystemClock
    from streams.engines.retry import retry
    from streams.engines.session import InputFormat
    from streams.settings import load
    from streams.store.queries import dead_letters

    settings = None if config is None else load(config)
    given = None
    if settings is not None:
        given = settings.config, InputFormat(settings.format, {n: dict(f) for n, f in settings.formats.items()})
    with common.open_store(db, settings) as store:
        letters = _numbered(store, numbers) if numbers else dead_letters(store, reason=reason)
        done = retry(store, letters, SystemClock(), given)
    if as_json:
        common.print_json({"applied": done.applied, "dropped": done.dropped, "left": done.left})
    else:
        dropped = "".join(f", {n:,} {name}" for name, n in sorted(done.dropped.items()))
        common.say(f"{done.applied:,} counted{dropped}, {done.left:,} still no events")
    return common.NO if done.left else common.DONE
