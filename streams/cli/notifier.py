"""`tocsin notifier`: sends what was decided, and nothing else; any number of them beside the engines."""

import socket
from pathlib import Path

from streams.cli import common
from streams.cli.common import config_option, db_option, option


@common.command(
    example="tocsin notifier --config shop --db postgresql://tocsin@db.example/tocsin",
    exits={common.NO: "sending has ended; start it again", common.INTERRUPTED: ""},
)
@config_option
@db_option
@option("--name", metavar="NAME", help="What this process is called; unless given, the machine's name.")
def command(config: Path | None, db: str, name: str | None) -> None:
    """Send the notices that were decided: by e-mail, WhatsApp, webhook, as tocsin.yml says.

    Several may run on a store on a PostgreSQL server: each notice is sent by one of them, and limits hold over all.
    `tocsin run` and `tocsin work` send by themselves.
    """
    from streams import logs
    from streams.clock import SystemClock
    from streams.engines.notify import Notify
    from streams.settings import load
    from streams.supervisor import Parent

    parent = Parent()
    logs.configure("notifier")
    Notify(db, load(config or Path(".")), SystemClock(), name or socket.gethostname(), parent.ready).run()
