"""`tocsin work`: the engines and the notifier alone, as one of the processes of `tocsin run`."""

from pathlib import Path

from streams.cli import common
from streams.cli.common import config_option, db_option


@common.command(example="tocsin work --config shop --db shop.db", exits={common.NO: "", common.INTERRUPTED: ""})
@config_option
@db_option
def command(config: Path | None, db: str) -> None:
    """Work off what `tocsin web` takes in, on the same store: find cases, decide on notices, send them.

    `tocsin run` starts both; alone it is for containers that run one process each.
    """
    from streams import logs
    from streams.clock import SystemClock
    from streams.engines.work import Work
    from streams.settings import load
    from streams.supervisor import Parent

    parent = Parent()
    logs.configure("work")
    Work(db, load(config or Path(".")), SystemClock(), parent).run()
