"""`tocsin affected`: who is hit by a case, as a table, CSV or JSON."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from streams.cli import common
from streams.cli.common import json_option, store_option


@common.command(
    example="tocsin affected 3f2a\ntocsin affected 3f2a --csv > hit.csv",
    exits={common.NO: "", common.WRONG_USAGE: "wrong usage, or no such case"},
)
@click.argument("case", metavar="CASE")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV; a cell that a spreadsheet would compute begins with '.")
@store_option
@json_option
def command(case: str, as_csv: bool, db: str, as_json: bool) -> None:
    """List who is hit by CASE, with what was decided to tell them.

    Nobody is listed where nobody can be named, as when events stop.
    """
    from streams.store import spreadsheet
    from streams.store.documents import affected_documents
    from streams.store.queries import find_case

    with common.open_store(db) as store:
        found = find_case(store, case)
        documents = affected_documents(store, found.id)
    if as_json:
        common.print_json(documents)
    elif as_csv:
        for line in spreadsheet.lines(documents):
            sys.stdout.write(line)
    elif documents:
        worth = [name for name in spreadsheet.WORTH if any(document[name] is not None for document in documents)]
        rows = [_row(document, worth) for document in documents]
        spare = ("last_success", "first_failure", "probability", *worth[:1])
        columns = (*spreadsheet.COLUMNS, *worth, "notices")
        right = [name for name in ("probability", "tries", "contract_value", "loss") if name in columns]
        common.print_table(columns, rows, right=right, spare=spare)
    else:
        click.echo("Nobody can be named." if found.affected is None else "Nobody is listed.")


def _row(document: dict[str, Any], worth: Sequence[str]) -> list[object]:
    from streams.store.spreadsheet import COLUMNS, decisions

    cells = {**document, "probability": f"{document['probability']:.2f}"}
    for name in ("contract_value", "loss"):
        cells[name] = None if document[name] is None else f"{document[name]:,}"
    return [*(cells[name] for name in (*COLUMNS, *worth)), decisions(document)]
