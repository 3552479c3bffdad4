"""`tocsin audit`: who did what, and whether the log still says what it said."""

import click

from streams.cli import common
from streams.cli.common import DONE, NO, json_option, option, store_option


@common.group(default="list", example="tocsin audit --limit 20\ntocsin audit verify")
def command() -> None:
    """Show who did what: sign-ins, tokens, refusals, every change of a case, of a customer, of what is sent."""


@command.command("list", example="tocsin audit list --limit 20 --json")
@option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="So many of the newest.")
@store_option
@json_option
def list_command(limit: int, db: str, as_json: bool) -> None:
    """List the newest rows of the audit log, the newest first."""
    from streams.store import audit

    with common.open_store(db) as store:
        found = [entry.document() for entry in audit.newest(store, limit=limit)]
    if as_json:
        common.print_json(found)
        return
    if not found:
        click.echo("Nothing was noted yet.")
        return
    columns = ("seq", "at", "who", "what", "target", "detail")
    common.print_table(columns, [[row[name] for name in columns] for row in found], right=("seq",))


@command.command(
    "verify",
    example="tocsin audit verify --json",
    exits={DONE: "every row follows from the one before it", NO: "a row was changed, taken out or put in"},
)
@option("--head", default=None, metavar="HASH", help="The head that you kept: it must still be in the log.")
@store_option
@json_option
def verify_command(head: str | None, db: str, as_json: bool) -> int:
    """Check that no row of the audit log was changed, taken out or put in.

    Keep the head somewhere else from time to time: with it even rows cut off at the end show.
    """
    from streams.store import audit

    with common.open_store(db) as store:
        found = audit.verify(store, head=head)
    if as_json:
        common.print_json(
            {"ok": found.ok, "rows": found.rows, "head": found.head.hex(), "broken": found.broken, "cut": found.cut}
        )
    elif found.broken is not None:
        common.say(f"Row {found.broken} does not follow from the one before it: the log was changed there")
    elif found.cut:
        common.say("The head that you kept is not in the log: rows were cut off at its end")
    else:
        click.echo(f"{found.rows} rows, unbroken; head {found.head.hex()}")
    return DONE if found.ok else NO
