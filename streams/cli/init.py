"""`tocsin init`: writes the commented defaults, which run as they are. Never writes over a file unless told to."""

from pathlib import Path

import click

from detector.errors import UsageError
from streams.cli import common
from streams.settings import CUSTOMERS, SIGNALS, TOCSIN, defaults_directory


@common.command(
    example="tocsin init shop\ntocsin check shop",
    exits={common.NO: "", common.WRONG_USAGE: "a file is there already (see --force)"},
)
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(file_okay=False, path_type=Path))
@common.option("--force", is_flag=True, help="Write over files that are there.")
def command(directory: Path, force: bool) -> None:
    """Write a commented tocsin.yml, signals.yml and customers.csv that run as they are.

    They go to DIR, which is made where it is missing; without DIR to the current directory.
    """
    names = (TOCSIN, SIGNALS, CUSTOMERS)
    there = [str(directory / name) for name in names if (directory / name).exists()]
    if there and not force:
        message = f"{', '.join(there)}: there already, nothing was written; use --force to write over, or another DIR"
        raise UsageError(message)
    source = defaults_directory()
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_bytes((source / name).read_bytes())
        click.echo(f"Wrote {common.plain(directory / name)}")
    check = common.command_line("check", *([] if directory == Path() else [directory]))
    common.say(f"Next: say what is watched in {SIGNALS}, then `{check}`.")
