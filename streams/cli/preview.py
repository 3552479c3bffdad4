"""`tocsin preview`: the words of a case's notices as they would go out, before anything does."""

from pathlib import Path
from typing import Any

import click

from streams.cli import common
from streams.cli.common import config_option, json_option, store_option

_KINDS = ("problem", "follow-up", "try-again", "resolved", "correction")


@common.command(
    example="tocsin preview 3f2a\ntocsin preview 3f2a --customer C-1042 --channel whatsapp --config shop",
    exits={
        common.NO: "nobody is listed, so there is nobody to write to",
        common.WRONG_USAGE: "wrong usage, or no such case",
    },
)
@click.argument("case", metavar="CASE")
@common.option("--customer", metavar="ID", help="Whom to write to, by id or alias; else one who would be told.")
@common.option("--channel", metavar="NAME", help="One channel only; else all of notices.channels.")
@common.option("--kind", type=click.Choice(_KINDS), default="problem", help="What the notice says.")
@config_option
@store_option
@json_option
def command(
    case: str, customer: str | None, channel: str | None, kind: str, config: Path | None, db: str, as_json: bool
) -> int:
    """Show the words of CASE as they would go out, per channel and language, for a customer of its list.

    Nothing is sent. Without --config the signals of the store's last run count, with the built-in words; with it
    those of the directory, and its templates.
    """
    from detector.desk.records import Kind
    from streams.outbox.preview import preview
    from streams.settings import load
    from streams.store.directory import CustomerDirectory
    from streams.store.queries import find_case

    settings = load(config) if config is not None else None
    with common.open_store(db, settings) as store:
        found = find_case(store, case)
        key = CustomerDirectory(store).find(customer) if customer else None
        channels = (channel,) if channel else ()
        documents = preview(store, settings, found, key, channels=channels, kinds=(Kind(kind),))
    if as_json:
        common.print_json(documents)
    elif not documents:
        click.echo("Nobody is listed, so there is nobody to write to.")
    else:
        for document in documents:
            _print(document)
    return common.DONE if documents else common.NO


def _print(document: dict[str, Any]) -> None:
    to = document["to"] or "no consent, or no address"
    theirs = ", their language" if document["theirs"] else ""
    head = f"{document['channel']}, {document['language']}{theirs}, to {document['customer'] or '(erased)'} ({to})"
    click.echo(common.plain(f"{head}: {document['characters']} characters"))
    if document["template"]:
        filled = ", ".join(f"{name}: {value}" for name, value in document["parameters"].items())
        click.echo(common.plain(f"  template {document['template']} with {filled}"))
    click.echo(common.plain(f"  {document['subject']}"))
    for line in document["body"].splitlines():
        click.echo(common.plain(f"  {line}"))
    click.echo()
