"""`tocsin why`: why a customer was told of a case, is held, or was not told."""

import click

from streams.cli import common
from streams.cli.common import json_option, store_option


@common.command(
    example="tocsin why C-1042 3f2a\ntocsin why +6281234567890 3f2a --json",
    exits={common.NO: "nothing was decided for this customer and case"},
)
@click.argument("customer", metavar="CUSTOMER")
@click.argument("case", metavar="CASE")
@store_option
@json_option
def command(customer: str, case: str, db: str, as_json: bool) -> int:
    """Say why CUSTOMER (an id or alias) was told of CASE, held or not told.

    Every notice that was decided on (problem, resolved, correction) stands with the answers of all rules to it.
    """
    from streams.cli.words import moment, zone_of
    from streams.store.directory import CustomerDirectory
    from streams.store.documents import rule_of, why_document
    from streams.store.queries import find_case, notices

    with common.open_store(db) as store:
        found = find_case(store, case)
        key = CustomerDirectory(store).find(customer)
        document = why_document(store, found, key)
        if as_json:
            common.print_json(document)
        elif document["decision"] is None:
            click.echo(f"Nothing was decided: {document['reason']}")
        else:
            zone = zone_of(store)
            for notice in notices(store, found.id, key):
                by = rule_of(notice)
                reason = f" by the rule {by} ({notice.reason})" if by else ""
                until = f" until {moment(notice.until_ms, zone)}" if notice.until_ms is not None else ""
                line = f"{notice.kind.value}: {notice.decision.value}{reason}{until}, {notice.state.value}"
                click.echo(common.plain(f"{line}, decided {moment(notice.at_ms, zone)}"))
                rows = [(c.rule, c.decision.value, c.reason, c.detail) for c in notice.checks]
                common.print_table(("rule", "answer", "reason", "detail"), rows)
    return common.NO if document["decision"] is None else common.DONE
