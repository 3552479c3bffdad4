"""`tocsin mute`: known noise of a signal is left out for a while."""

from typing import Any

import click

from detector.watch.control import FactKind
from streams.cli import common
from streams.cli.common import config_option, json_option, option, store_option
from streams.cli.telling import end, print_list, tell, where_option


@common.group(
    default="add",
    positional=True,
    example="tocsin mute payment-declines --where bank=BRI --for 2h --reason 'BRI tests its gateway'\n"
    "tocsin mute list\ntocsin mute end 3f2a91bc",
)
def command() -> None:
    """Leave known noise of a signal out for a while: nothing is raised in it, nothing is learned from it."""


@command.command("add", example="tocsin mute add payment-declines --where bank=BRI --for 2h")
@click.argument("signal", metavar="SIGNAL")
@where_option
@option("--for", "span", default=None, metavar="DURATION", help="How long, such as 2h.")
@option("--until", default=None, metavar="TIME", help="Until when, where --for is not given.")
@option("--from", "begin", default="now", metavar="TIME", help="From when on, such as 2026-03-02T01:00.")
@option(
    "--reason", "text", default="", show_default=False, metavar="TEXT", help="Why, as cases and `mute list` show it."
)
@option("--by", default=None, metavar="NAME", help="Who says it; your login name unless given.")
@config_option
@store_option
@json_option
def add_command(signal: str, begin: str, until: str | None, span: str | None, **given: Any) -> int:
    """Mute SIGNAL, or a part of it; `mute SIGNAL` is short for it.

    What is still wrong when it ends is raised then.
    """
    return tell(FactKind.MUTE, begin, until, span, signals=(signal,), **given)


@command.command("list", example="tocsin mute list --all --json")
@option("--all", "everything", is_flag=True, help="What is over too.")
@store_option
@json_option
def list_command(everything: bool, db: str, as_json: bool) -> None:
    """List what is muted."""
    print_list(db, FactKind.MUTE, everything, as_json)


@command.command("end", example="tocsin mute end 3f2a91bc")
@click.argument("mute", metavar="ID")
@option("--by", default=None, metavar="NAME", help="Who says it; your login name unless given.")
@store_option
@json_option
def end_command(mute: str, by: str | None, db: str, as_json: bool) -> int:
    """End a mute early: what is wrong then is raised."""
    return end(db, mute, FactKind.MUTE, by, as_json)
