"""`tocsin worker`: the engines on Kafka, as one of any number of workers."""

import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import click

from detector.errors import UsageError
from streams.cli import common
from streams.cli.common import config_option, db_option

ROLES = ("count", "watch", "desk")


@common.command(
    example="tocsin worker --config shop --db postgresql://tocsin@db/tocsin\ntocsin worker --only count --drain",
    exits={
        common.DONE: "asked to stop, or all is drained: what was taken in is committed",
        common.NO: "",
        common.WRONG_USAGE: "a person decides: wrong configuration, a topic made again, records lost to retention",
        common.UNREACHABLE: "the brokers or the store could not be reached at the start",
        70: "start it again: another worker has its work, or the store did not come back",
    },
)
@config_option
@db_option
@click.option("--brokers", metavar="HOST:PORT,…", help="Some of the brokers, instead of those of tocsin.yml.")
@click.option(
    "--only",
    type=click.Choice(ROLES),
    multiple=True,
    help="Work in this role alone, or in several: --only count --only desk; others may run elsewhere.",
)
@click.option("--drain", is_flag=True, help="Work off what is there now, close the open windows, and end.")
@click.option("--health", metavar="[HOST:]PORT", help="Answer /healthz, /readyz and /metrics there; off without it.")
@click.option(
    "--instance",
    metavar="NAME",
    help="A name of its own: back under it within kafka.session_timeout, it has its work, and the others keep theirs.",
)
@click.option("--accept-loss", is_flag=True, help="Go on where retention has removed what was not read.")
def command(
    config: Path | None,
    db: str,
    brokers: str | None,
    only: tuple[str, ...],
    drain: bool,
    health: str | None,
    instance: str | None,
    accept_loss: bool,
) -> None:
    """Work on events from Kafka: count them, watch the signals, open cases; share the work with other workers.

    Topics come first: `tocsin topics create`. Workers of one group (kafka.group in tocsin.yml) share partitions,
    signals and the Desk among them, on one store. The web pages and the notifier run beside them: `tocsin web`,
    `tocsin notifier`.
    """
    from streams import logs
    from streams.clock import SystemClock
    from streams.engines.worker import Asked, work
    from streams.kafka.client import kafka_settings
    from streams.settings import load

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until Faust listens to it
    roles = tuple(role for role in ROLES if role in only or not only)
    logs.configure("worker" if not only else f"worker:{'+'.join(roles)}")
    settings = load(config or Path("."))
    asked = Asked(roles, drain, accept_loss, None if health is None else _address(health))
    kafka = replace(kafka_settings(settings, brokers), instance=None if instance is None else _name(instance))
    work(db, settings, kafka, asked, SystemClock())


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) or text in (".", ".."):
        message = f"--instance: expected a name of letters, digits, '.', '_' and '-', found {text!r}"
        raise UsageError(message)
    return text


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        message = f"--health: expected a port such as 9464, or 0.0.0.0:9464, found {text!r}"
        raise UsageError(message)
    return host.strip("[]") or "127.0.0.1", int(port)
