"""`tocsin web`: the door, the API and the feeds alone, as one of the processes of `tocsin run`."""

from pathlib import Path

import click

from streams.cli import common
from streams.cli.common import config_option, db_option, option
from streams.cli.run import opened, override_option, with_address


@common.command(
    example="tocsin web --config shop --db shop.db --port 8321", exits={common.NO: "", common.INTERRUPTED: ""}
)
@config_option
@db_option
@option("--host", metavar="H", help="Address to listen on; tocsin.yml: service.host.")
@option("--port", type=click.IntRange(0, 65_535), metavar="P", help="Port to listen on; tocsin.yml: service.port.")
@override_option
def command(config: Path | None, db: str, host: str | None, port: int | None, override: bool) -> None:
    """Take events in and answer over HTTP; `tocsin work` on the same store works them off.

    `tocsin run` starts both; alone it is for containers that run one process each.
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
        serve(settings, store, SystemClock(), listening, url_of(listening), parent)
