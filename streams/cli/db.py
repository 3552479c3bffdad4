"""`tocsin db`: look after a store: bring it up to date, copy it, put a copy back, let go of what is old."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from detector.errors import UsageError
from detector.fields import parse_duration_ms
from streams.cli import common
from streams.cli.common import db_option, json_option, option, store_option

FOR_EVER = "forever"


class _Newest(click.IntRange):
    """How many are kept: a number, where the flags beside it take durations."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            message = f"expected how many of the newest to keep, such as 100000, found {value!r}"
            self.fail(message, param, ctx)


@common.group(
    example="tocsin db backup /backup/tocsin-2026-11-22.db\ntocsin db restore /backup/tocsin-2026-11-22.db\n"
    "tocsin db prune --cases 365d"
)
def command() -> None:
    """Look after a store: bring it up to date, copy it, put a copy back, let go of what is old."""


@command.command("migrate", example="tocsin db migrate --db tocsin.db")
@db_option
@json_option
def migrate_command(db: str, as_json: bool) -> None:
    """Bring a store up to this version; of one in a file a copy of what it was stays beside it.

    Every other command does the same when it opens a store: this one does nothing else.
    """
    from streams.store import migrate

    with common.open_store(db, whole=True) as store:
        where = str(store.where)
    if as_json:
        common.print_json({"store": where, "schema": migrate.HEAD})
    else:
        click.echo(common.plain(f"{where} has schema {migrate.HEAD}, this version's."))


@command.command("backup", example="tocsin db backup /backup/tocsin.db")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@db_option
@json_option
def backup_command(file: Path, db: str, as_json: bool) -> None:
    """Copy a store to FILE, also while it is at work; the copy is checked before it appears.

    For a store in a file; one on a PostgreSQL server is copied by pg_dump.
    """
    from streams.store import backup

    with common.open_store(db, whole=True) as store, common.progress("Copying"):
        size = backup.backup(store, file)
    if as_json:
        common.print_json({"file": str(file), "bytes": size})
    else:
        click.echo(common.plain(f"{file}: {size:,} bytes, checked. It holds customers' addresses: keep it safe."))


@command.command(
    "restore",
    example="tocsin db restore /backup/tocsin.db --db tocsin.db",
    exits={common.UNREACHABLE: "a process is at work on the store; stop it first"},
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@db_option
@option("--accept-loss", is_flag=True, help="Sending may go on at once: customers may be told again what they know.")
@json_option
def restore_command(file: Path, db: str, accept_loss: bool, as_json: bool) -> None:
    """Put a copy of FILE in the place of a store; the present one is moved aside.

    What was sent after the copy was made is not in it, so the kill switch is on until you turn it off, or say
    --accept-loss. For a store in a file; pg_restore puts one on a PostgreSQL server back.
    """
    from streams.clock import SystemClock
    from streams.engines.lock import only_runner
    from streams.outbox.kill_switch import set_kill_switch
    from streams.store import backup
    from streams.store.database import where_of

    backup.refuse_server(where_of(db), "pg_restore --clean --if-exists --no-owner --dbname")
    path, now_ms = where_of(db).file, SystemClock().now_ms()
    if not path.parent.is_dir():
        message = f"{path}: its folder does not exist; make it first"
        raise UsageError(message)
    stamp = f"{datetime.fromtimestamp(now_ms / 1_000, UTC):%Y%m%dT%H%M%SZ}"
    backup.check(file)  # before the lock, whose file would stay
    with only_runner(path):
        restored = backup.restore(file, path, stamp)
        with common.open_store(path, whole=True) as store:
            if store.mode == "live" and not accept_loss:
                set_kill_switch(store, on=True, by="tocsin db restore", reason=f"restored from {file.name}")
    aside, after = restored.aside, restored.feed_after
    if as_json:
        moved = None if aside is None else str(aside)
        common.print_json({"store": str(path), "from": str(file), "moved_aside": moved, "feed_after": after})
        return
    if aside is not None:
        click.echo(common.plain(f"The store that was here is now {aside}."))
    click.echo(common.plain(f"{path} is what {file} was."))
    if after is not None and restored.known:
        click.echo(f"The feed goes on after number {after}: those up to it were given out since, and never come again.")
    elif after is not None:
        why = "no store was here" if aside is None else "the store that was here can't be read"
        click.echo(f"How far the feed had come is not known ({why}): it goes on after number {after}, far behind.")
    if not accept_loss:
        click.echo("Nothing is sent until you run `tocsin kill-switch off`: what went out since is not in it.")


@command.command("prune", example="tocsin db prune --cases 365d --dead-letters 100000")
@store_option
@option("--cases", metavar="DURATION", default=FOR_EVER, help="Keep finished cases this long after their end.")
@option("--feed", metavar="DURATION", default="7d", help="Keep events of the feed this long.")
@option("--dead-letters", type=_Newest(0), metavar="N", help="Keep the newest N dead letters.")
@json_option
def prune_command(db: str, cases: str, feed: str, dead_letters: int | None, as_json: bool) -> None:
    """Let go of what is old: finished cases with all that hangs on them, the feed, dead letters, answered requests.

    An unfinished case, and whatever may still be sent, is never touched.
    """
    from streams.clock import SystemClock
    from streams.store.retention import Keep, prune

    feed_ms = _duration_ms("--feed", feed)
    if feed_ms is None:
        message = f"--feed: expected a duration such as 7d, found {feed!r}"
        raise UsageError(message)
    keep = Keep(_duration_ms("--cases", cases), feed_ms, dead_letters)
    with common.open_store(db) as store, common.progress("Pruning"):
        gone = prune(store, keep, SystemClock().now_ms())
    if as_json:
        common.print_json(gone)
    elif any(gone.values()):
        common.print_table(
            ("what", "gone"), [(k.replace("_", " "), f"{n:,}") for k, n in gone.items()], right=("gone",)
        )
    else:
        click.echo("There was nothing that old.")


def _duration_ms(flag: str, text: str) -> int | None:
    if text == FOR_EVER:
        return None
    found = parse_duration_ms(text)
    if found is None:
        message = f"{flag}: expected a duration such as 90d, or {FOR_EVER}, found {text!r}"
        raise UsageError(message)
    return found
