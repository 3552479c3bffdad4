"""`tocsin fact`: deployments and planned work, told by the people who know of them."""

from typing import Any

import click

from detector.watch.control import FactKind
from streams.cli import common
from streams.cli.common import config_option, json_option, option, store_option
from streams.cli.telling import end, print_list, tell, where_option


@common.group(
    default="list",
    example="tocsin fact list\n"
    'tocsin fact deployment --at now --where app_version=5.21.1 --text "app 5.21.1"\n'
    'tocsin fact maintenance --from 2026-03-02T01:00 --for 2h --where bank=BRI --text "BRI gateway"\n'
    "tocsin fact end 3f2a91bc",
)
def command() -> None:
    """Tell what you know: deployments annotate cases, maintenance mutes what lies in it."""


def _telling(function: common.F) -> common.F:
    """Add the options of every command that tells something."""
    for decorate in (
        option("--by", default=None, metavar="NAME", help="Who says it; your login name unless given."),
        config_option,
        store_option,
        json_option,
    ):
        function = decorate(function)
    return function


signal_option = option("--signal", "signals", multiple=True, metavar="NAME", help="Only this signal; may be repeated.")
_TIME = "A time: now, or as 2026-03-02T01:00 (your time zone unless it states one)."


@command.command(
    "deployment",
    example='tocsin fact deployment --where app_version=5.21.1 --text "app 5.21.1"\n'
    'tocsin fact deployment --at 2026-03-02T14:05 --for 1h --signal payment-declines --text "checkout rollout"',
)
@option("--at", "begin", default="now", metavar="TIME", help=f"When it began. {_TIME}")
@option("--until", default=None, metavar="TIME", help="When the last instance had it, where that took a while.")
@option("--for", "span", default=None, metavar="DURATION", help="How long that took, such as 30m.")
@where_option
@signal_option
@option("--text", default="", show_default=False, metavar="TEXT", help="What was deployed, as cases show it.")
@_telling
def deployment_command(begin: str, until: str | None, span: str | None, **given: Any) -> int:
    """Tell of a deployment: what begins within two hours after it, where it was, shows it."""
    return tell(FactKind.DEPLOYMENT, begin, until, span, **given)


@command.command(
    "maintenance",
    example="tocsin fact maintenance --from 2026-03-02T01:00 --until 2026-03-02T03:00 --where bank=BRI",
)
@option("--from", "begin", default="now", metavar="TIME", help=f"When it begins. {_TIME}")
@option("--until", default=None, metavar="TIME", help="When it ends.")
@option("--for", "span", default=None, metavar="DURATION", help="How long it takes, such as 2h.")
@where_option
@signal_option
@option("--text", default="", show_default=False, metavar="TEXT", help="What is done, as cases show it.")
@_telling
def maintenance_command(begin: str, until: str | None, span: str | None, **given: Any) -> int:
    """Tell of planned work: nothing is raised in it, nothing is learned from it.

    What is still broken when it ends is raised then.
    """
    return tell(FactKind.MAINTENANCE, begin, until, span, **given)


@command.command("list", example="tocsin fact list\ntocsin fact list --all --json")
@option("--all", "everything", is_flag=True, help="What is over too.")
@store_option
@json_option
def list_command(everything: bool, db: str, as_json: bool) -> None:
    """List what is known: what is planned, in force, or was told within the last day."""
    print_list(db, None, everything, as_json)


@command.command("end", example="tocsin fact end 3f2a91bc")
@click.argument("fact", metavar="ID")
@option("--by", default=None, metavar="NAME", help="Who says it; your login name unless given.")
@store_option
@json_option
def end_command(fact: str, by: str | None, db: str, as_json: bool) -> int:
    """End work early, or take back a deployment that was none: what is broken then is raised."""
    return end(db, fact, None, by, as_json)
