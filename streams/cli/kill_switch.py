"""`tocsin kill-switch`: stops all sending at once, and lets it go on."""

import getpass
from typing import TYPE_CHECKING

import click

from streams.cli import common
from streams.cli.common import db_option, json_option, option

if TYPE_CHECKING:
    from streams.outbox.kill_switch import KillSwitch

reason_option = option(
    "--reason", default="", show_default=False, metavar="TEXT", help="Why, as `status` and the audit log show it."
)
by_option = option("--by", default=None, metavar="NAME", help="Who does it; your login name unless given.")


@common.group(
    default="status",
    example="tocsin kill-switch on --reason 'wrong amount in the words'\ntocsin kill-switch off\ntocsin kill-switch",
)
def command() -> None:
    """Stop all sending within seconds, or let it go on.

    It works on the store's file, with the service running or not, and survives a restart. An empty file beside the
    store, named like it with `.kill` at its end, does the same.
    """


@command.command("on", example="tocsin kill-switch on --reason 'wrong amount in the words'")
@reason_option
@by_option
@db_option
@json_option
def on_command(reason: str, by: str | None, db: str, as_json: bool) -> None:
    """Hand nothing over to any channel any more. What waits goes on waiting, and goes stale in its time."""
    _turn(True, reason, by, db, as_json)


@command.command("off", example="tocsin kill-switch off")
@reason_option
@by_option
@db_option
@json_option
def off_command(reason: str, by: str | None, db: str, as_json: bool) -> None:
    """Let sending go on; every message is asked once more whether it may go."""
    _turn(False, reason, by, db, as_json)


@command.command("status", example="tocsin kill-switch status --json")
@db_option
@json_option
def status_command(db: str, as_json: bool) -> None:
    """Say whether sending is stopped, since when, by whom and why."""
    from streams.outbox.kill_switch import kill_switch

    with common.open_store(db, whole=True) as store:
        _show(kill_switch(store), as_json)


def _turn(on: bool, reason: str, by: str | None, db: str, as_json: bool) -> None:
    from streams.outbox.kill_switch import set_kill_switch

    with common.open_store(db, whole=True) as store:
        _show(set_kill_switch(store, on, f"cli:{by or getpass.getuser()}", reason), as_json)


def _show(found: "KillSwitch", as_json: bool) -> None:
    if as_json:
        at = common.utc(found.at_ms)
        common.print_json({"on": found.on, "by": found.by or None, "reason": found.reason, "at": at})
        return
    parts = [f"by {found.by}"] if found.by else []
    parts += [f"since {common.utc(found.at_ms)}"] if found.on and found.at_ms is not None else []
    parts += [found.reason] if found.reason else []
    said = f" ({', '.join(parts)})" if found.on and parts else ""
    text = "The kill switch is on: nothing is sent" if found.on else "The kill switch is off: notices may go out"
    click.echo(common.plain(f"{text}{said}."))
