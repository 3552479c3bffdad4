"""`tocsin customers`: the directory, where recipients come from."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli import common
from streams.cli.common import config_option, json_option, store_option

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from streams.store import Store
    from streams.store.erasing import Also

_SHOWN = 20


@common.group(
    default="show",
    example="tocsin customers import customers.csv\ntocsin customers show C-1042\n"
    "tocsin customers opt-out +6281234567890\ntocsin customers erase C-1042",
)
def command() -> None:
    """Import and look after the customer directory.

    A customer is named by id or alias (phone, e-mail, login).
    """


@command.command(
    "import",
    example="tocsin customers import customers.csv",
    exits={common.NO: "some rows were not taken; the good ones were"},
)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
@store_option
@json_option
def import_command(file: Path, config: Path | None, db: str, as_json: bool) -> int:
    """Take FILE in: id,name,language,time_zone,email,phone,consent,tier,contract_value and further columns as aliases.

    A row replaces the customer's earlier one. Bad rows are listed with their lines, good ones are taken.
    """
    from streams.settings import load
    from streams.store.directory import CustomerDirectory

    settings = None if config is None else load(config)
    with common.open_store(db, settings, create=True) as store:
        done = CustomerDirectory(store).import_file(file, _noted(store, "customers.imported"))
    if as_json:
        rejected = [{"line": b.line, "column": b.column, "found": b.found, "allowed": b.allowed} for b in done.bad]
        common.print_json({"imported": done.imported, "rejected": rejected})
    else:
        for bad in done.bad[:_SHOWN]:
            common.say(f"{file}: {bad}")
        if len(done.bad) > _SHOWN:
            common.say(f"{file}: and {len(done.bad) - _SHOWN:,} more (--json lists all)")
        common.say(f"{done.imported:,} customers imported, {len(done.bad):,} remarks")
    return common.NO if done.bad else common.DONE


@command.command("show", example="tocsin customers show\ntocsin customers show budi@example.com")
@click.argument("customer", metavar="[CUSTOMER]", required=False)
@store_option
@json_option
def show_command(customer: str | None, db: str, as_json: bool) -> None:
    """Show one customer; without one, how many are known."""
    from streams.store.directory import CustomerDirectory
    from streams.store.values import units

    with common.open_store(db) as store:
        directory = CustomerDirectory(store)
        if customer is None:
            known, unknown = directory.count()
            if as_json:
                common.print_json({"known": known, "unknown": unknown})
            else:
                click.echo(f"{known:,} customers; {unknown:,} more failed or wrote who are in no directory")
            return
        found = directory.get(directory.find(customer))
    assert found is not None
    shown = {
        "id": found.id,
        "name": found.name,
        "language": found.language,
        "time_zone": found.time_zone,
        "email": found.email,
        "phone": found.phone,
        "consent": list(found.consent),
        "tier": found.tier,
        "contract_value": None if found.contract_value_milli is None else units(found.contract_value_milli),
        "known": found.known,
    }
    if as_json:
        common.print_json(shown)
    else:
        rows = [(name, " ".join(value) if isinstance(value, list) else value) for name, value in shown.items()]
        common.print_table(("field", "value"), rows)


@command.command("opt-out", example="tocsin customers opt-out +6281234567890")
@click.argument("customer", metavar="CUSTOMER")
@store_option
def opt_out_command(customer: str, db: str) -> None:
    """Withdraw a customer's consent to every channel."""
    from streams.store.directory import CustomerDirectory

    with common.open_store(db) as store:
        directory = CustomerDirectory(store)
        key = directory.find(customer)
        directory.opt_out(key, _noted(store, "customer.opted-out", key))
    common.say("They are told nothing any more, on any channel")


@command.command("erase", example="tocsin customers erase C-1042")
@click.argument("customer", metavar="CUSTOMER")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@json_option
def erase_command(customer: str, yes: bool, db: str, as_json: bool) -> None:
    """Forget who a customer is, for good: name, addresses, aliases, also where refused records and remarks name them.

    Counts and cases stay; they hold a salted hash only. It says what was removed, and what is left. Backups keep what
    they have.
    """
    from streams.store.directory import CustomerDirectory
    from streams.store.erasing import BACKUPS

    with common.open_store(db) as store:
        directory = CustomerDirectory(store)
        key = directory.find(customer)
        if not yes:
            click.confirm("Removes the name, addresses and aliases; it can't be undone. Go on?", abort=True, err=True)
        found = directory.erase(key, _noted(store, "customer.erased", key))
    if as_json:
        common.print_json(found.document())
        return
    common.say(
        f"Erased: {found.customers:,} rows of the directory, {found.aliases:,} aliases, the bytes of "
        f"{found.dead_letters:,} dead letters, their names in {found.remarks:,} remarks"
    )
    common.say(f"Left: a hash that names nobody, in {found.cases:,} cases and {found.notices:,} notices")
    if found.intake_rows:
        common.say(f"Left: {found.intake_rows:,} blocks of events not worked off yet, each deleted once it is")
    if found.copies:
        common.say(f"Left: {', '.join(found.copies)} beside the store, of an earlier version; remove them")
    common.say(BACKUPS)


def _noted(store: "Store", what: str, key: int | None = None) -> "Also":
    """Return what writes into the audit log who did it, in the transaction that does it."""
    import getpass

    from streams.clock import SystemClock
    from streams.store import audit

    who, target, now_ms = f"cli:{getpass.getuser()}", "" if key is None else audit.customer(key), SystemClock().now_ms()

    def also(connection: "Connection") -> None:
        audit.record(connection, store.tenant, who, what, target, "", now_ms)

    return also
