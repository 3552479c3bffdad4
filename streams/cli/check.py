"""`tocsin check`: validates a configuration directory, lists every error with its path, warns of what works badly."""

from datetime import date
from pathlib import Path

import click

from detector.advice import warnings
from detector.calendar import Calendar, Day
from detector.decode.customers import CustomerKeys
from detector.errors import ConfigError, Problem, UsageError
from detector.fields import listed, shown
from detector.signals import Mode
from streams.alerts.sender import problems as alert_problems
from streams.cli import common
from streams.clock import SystemClock
from streams.intake.formats import decoder_for
from streams.outbox.channel import available
from streams.outbox.channel import problems as channel_problems
from streams.outbox.templates import read_templates
from streams.settings import CUSTOMERS, TOCSIN, Settings, load
from streams.store.customers_csv import read_customers

COMING_DAYS = 30
_SHOWN_ROWS = 20
"""Bad rows of the customer directory that are listed one by one."""


@common.command(
    example="tocsin check shop\ntocsin check --json shop",
    exits={common.NO: "", common.WRONG_USAGE: "the configuration has errors"},
)
@click.argument(
    "directory",
    metavar="[DIR]",
    default=".",
    envvar="TOCSIN_CONFIG",
    type=click.Path(path_type=Path),
)
@common.json_option
def command(directory: Path, as_json: bool) -> int:
    """Validate the configuration in DIR and warn of what will not work well.

    Reads tocsin.yml, signals.yml and the customer directory; without DIR those of TOCSIN_CONFIG or the current
    directory. Every error is listed at once, with the path to its field.
    """
    settings: Settings | None = None
    errors: list[Problem] = []
    found: list[Problem] = []
    customers = 0
    try:
        settings = load(directory)
        found += warnings(settings.config)
        found += _channels(settings)
        errors += _formats(settings)
        errors += channel_problems(settings)
        errors += alert_problems(settings)
        own = read_templates(settings)
        errors += own.errors
        found += own.warnings
        customers, more_errors, more = _customers(settings)
        errors += more_errors
        found += more
        if settings.customer_key is not None:
            settings.customer_key.read()
    except ConfigError as error:
        errors += error.problems
    if as_json:
        common.print_json({"ok": not errors, "errors": errors, "warnings": found})
    else:
        for label, problems in (("Error", errors), ("Warning", found)):
            for problem in problems:
                click.echo(f"{label}: {common.plain(problem)}")
        if settings is not None and not errors:
            click.echo(_summary(settings, customers))
            click.echo(_days(settings, SystemClock().now_ms()))
    return common.WRONG_USAGE if errors else common.DONE


def _formats(settings: Settings) -> list[Problem]:
    """Return what does not hold between the formats and the fields that the signals use."""
    problems: list[Problem] = []
    for name in dict.fromkeys((settings.format, *settings.formats)):
        try:
            decoder_for(name, settings.config.schema, CustomerKeys(bytes(32)), settings.formats)
        except ConfigError as error:
            problems += error.problems
    return problems


def _channels(settings: Settings) -> list[Problem]:
    """Return which channels this version cannot send on, where notices are to be sent."""
    if not settings.config.policy.send:
        return []
    can, problems = available(), []
    for i, name in enumerate(settings.config.policy.channels):
        if name not in can and name not in settings.channels:
            found = f"{shown(name)}, on which this version cannot send by itself"
            do = f"say what carries it (`channels: {{{name}: {{by: …}}}}`), leave it out, or set notices.send: false"
            problems.append(Problem(f"{TOCSIN}: notices.channels[{i}]", found, listed(can), do))
    return problems


def _customers(settings: Settings) -> tuple[int, list[Problem], list[Problem]]:
    """Return how many customers the directory has, what is wrong with it, and what of it will not be taken."""
    if settings.customers is None:
        if all(signal.mode is Mode.SHADOW for signal in settings.config.signals):
            return 0, [], []
        return 0, [], [Problem(CUSTOMERS, "none", "the customer directory", "without it nobody can be told")]
    name = settings.customers.name
    try:
        read = read_customers(settings.customers)
    except UsageError as error:
        text = str(error).removeprefix(f"{settings.customers}: ")
        return 0, [Problem(name, text, "a customer directory")], []
    bad = [
        Problem(f"{name}: line {row.line}: {row.column}", repr(row.found), row.allowed, "the row is left out")
        for row in read.bad[:_SHOWN_ROWS]
    ]
    if len(read.bad) > _SHOWN_ROWS:
        bad.append(Problem(name, f"{len(read.bad) - _SHOWN_ROWS} more bad rows", "none", "they are left out"))
    return len(read.rows), [], bad


def _summary(settings: Settings, customers: int) -> str:
    config, policy = settings.config, settings.config.policy
    live = sum(signal.mode is Mode.LIVE for signal in config.signals)
    signals = f"{len(config.signals):,} signal{'' if len(config.signals) == 1 else 's'}"
    counts = f"{signals} ({live:,} live), {customers:,} customer{'' if customers == 1 else 's'}"
    notices = "notices are in dry run"
    if policy.send:
        cannot = _channels(settings) or not policy.channels
        notices = "notices cannot be sent as it stands" if cannot else f"notices are sent by {listed(policy.channels)}"
    return f"The configuration holds: {counts}, {notices}. Hash {config.hash[:12]}."


def _days(settings: Settings, now_ms: int) -> str:
    """Return the coming days that are unlike others; days of one kind in a row are one."""
    spells: list[tuple[date, date, Day]] = []
    for day, found in Calendar(settings.config.calendar).coming(now_ms, COMING_DAYS):
        if spells and spells[-1][2] == found and (day - spells[-1][1]).days == 1:
            spells[-1] = (spells[-1][0], day, found)
        else:
            spells.append((day, day, found))
    said = [
        f"{first} {found.names[0]}" if first == last else f"{first} to {last} {found.names[0]}"
        for first, last, found in spells
    ]
    return f"Special days within {COMING_DAYS} days: {', '.join(said) or 'none'}."
