"""`tocsin web`: the door, the API and the feeds alone, as one of the processes of `tocsin run`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli import common
from streams.cli.common import brokers_option, config_option, db_option, option
from streams.cli.run import opened, override_option, with_address

if TYPE_CHECKING:
    from streams.store import Store


@common.command(
    example="tocsin web --config shop --db shop.db --port 8321", exits={common.NO: "", common.INTERRUPTED: ""}
)
@config_option
@db_option
@option("--host", metavar="H", help="Address to listen on; tocsin.yml: service.host.")
@option("--port", type=click.IntRange(0, 65_535), metavar="P", help="Port to listen on; tocsin.yml: service.port.")
@brokers_option
@override_option
def command(
    config: Path | None, db: str, host: str | None, port: int | None, brokers: str | None, override: bool
) -> None:
    """Take events in and answer over HTTP; `tocsin work` on the same store works them off.

    `tocsin run` starts both; alone it is for containers that run one process each. On a store that `tocsin worker`
    works on, events go to Kafka.
    """
    from streams import logs
    from streams.clock import SystemClock
    from streams.settings import load
    from streams.supervisor import Parent, bind, inherited, listen, url_of
    from streams.web.first_start import check_listening
    from streams.web.server import serve

    parent, listening = Parent(), inherited()
    settings = with_address(load(config or Path(".")), host, port)
    check_listening(settings.service, settings.service.host, override=override)
    with opened(db, settings) as store:
        logs.configure("web")
        if listening is None:
            listening = bind(settings.service.host, settings.service.port)
            listen(listening)
            _say(store, url_of(listening))
        serve(settings, store, SystemClock(), listening, url_of(listening), parent, brokers)


def _say(store: "Store", url: str) -> None:
    """Say where the service is, and how to get in: `tocsin run` says it of its own."""
    from importlib.metadata import version

    from streams.store import tokens

    log = logging.getLogger("tocsin.web")
    log.info("Tocsin %s: %s (store: %s)", version("tocsin"), url, store.where)
    way = (
        "`tocsin token link` on this store prints a link that signs in once, `tocsin token create` a token for programs"
    )
    log.info("%s", way if tokens.listed(store) else f"No token was made yet: {way}")
