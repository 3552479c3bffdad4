"""`tocsin run`: the service, one command and two processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli import common
from streams.cli.common import config_option, db_option, json_option, option

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


def override_option(function: Any) -> Any:
    """Add the flag by which somebody insists on an address that others reach, without a sign-in for teams."""
    return option(
        "--i-know-that-anyone-can-reach-this",
        "override",
        is_flag=True,
        help="Listen on an address that others reach although no sign-in for teams is configured.",
    )(function)


@common.command(
    example="tocsin run --config shop --db shop.db\ntocsin run --port 9000",
    exits={common.NO: "", common.UNREACHABLE: "the port is taken, or the store can't be used"},
)
@config_option
@db_option
@option("--host", metavar="H", help="Address to listen on; tocsin.yml: service.host.")
@option("--port", type=click.IntRange(0, 65_535), metavar="P", help="Port to listen on; tocsin.yml: service.port.")
@override_option
@json_option
def command(config: Path | None, db: str, host: str | None, port: int | None, override: bool, as_json: bool) -> int:
    """Run the service: take events in over HTTP, find cases, tell customers, answer people and programs.

    It prints its address and a link that signs in once. One process takes events in and answers, another finds cases
    and sends; a crash of either is started again. It ends with Ctrl-C or SIGTERM, and goes on where it stopped.
    """
    import getpass
    import logging
    import os

    from streams import logs
    from streams.clock import SystemClock
    from streams.outbox.channel import lines
    from streams.outbox.words import load_words
    from streams.settings import load
    from streams.store import RECORDING
    from streams.supervisor import Child, Supervisor, bind, url_of
    from streams.web.first_start import OVERRIDE, check_listening, prepare

    os.umask(0o077)
    logs.configure("run")
    clock = SystemClock()
    settings = with_address(load(config or Path(".")), host, port)
    check_listening(settings.service, settings.service.host, override=override)
    listening = bind(settings.service.host, settings.service.port)
    with opened(db, settings) as store:
        recording = store.mode == RECORDING
        if settings.config.policy.send and not recording:
            lines(settings)  # what is wrong with channels and words is said before anything is made
            load_words(settings)
        first = prepare(store, settings, clock, getpass.getuser())
    url = url_of(listening)
    link = url + first.link_path
    os.environ["TOCSIN_DB"] = db  # not as an argument, which other users of the machine see: it may hold a password
    given = ["--config", str(config)] if config else []
    insisting = [OVERRIDE] if override else []
    web = Child("web", ["web", *given, "--host", settings.service.host, *insisting], listening)
    children = [web]
    if not recording:  # Nothing is taken in that the other process may refuse to work on.
        web.after = Child("work", ["work", *given])
        children.append(web.after)

    def up() -> None:
        if as_json:
            pids = {child.name: child.process.pid for child in children if child.process is not None}
            file = None if first.token_file is None else str(first.token_file)
            common.print_json({"url": url, "sign_in": link, "token_file": file, "recording": recording, "pids": pids})
            return
        click.echo(f"Tocsin: {url}")
        click.echo(f"Sign in, once, within an hour: {link}")
        if first.token_file is not None:
            click.echo(common.plain(f"The first token, for programs: {first.token_file}"))
        if recording:
            common.say("This store is a recording: it is shown, and takes no events")

    return Supervisor(children, clock, logging.getLogger("tocsin.run").warning, up).run()


def with_address(settings: "Settings", host: str | None, port: int | None) -> "Settings":
    """Return the settings with the address of the command line."""
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    return replace(settings, service=settings.service.model_copy(update=given))


@contextmanager
def opened(db: str, settings: "Settings") -> "Iterator[Store]":
    """Open the store of a service, and make a new one a live store.

    Raises
    ------
    UsageError
        It can't be used, or not with these settings.
    """
    from streams.store import LIVE, open_store

    key = None if settings.customer_key is None else settings.customer_key.read()
    with open_store(db, tenant=settings.config.tenant, create=True, customer_key=key) as store:
        if store.mode is None:
            store.claim_mode(LIVE)
        yield store
