"""`tocsin doctor`: looks at configuration, store and service, and says what is wrong and what to do."""

import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.errors import ConfigError, TocsinError
from streams.cli import common
from streams.cli.common import config_option, db_option, json_option

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store
    from streams.store.standing import Standing

OK, WARNING, WRONG = "ok", "warning", "wrong"
_MARK = {OK: "✓", WARNING: "!", WRONG: "✗"}
LEAST_FREE_BYTES = 1 << 30
STALE_S = 15
LONG_S = 300


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: str
    found: str
    do: str = ""


@common.command(
    example="tocsin doctor --config shop --db tocsin.db\ntocsin doctor --json",
    exits={common.NO: "something is wrong", common.UNREACHABLE: ""},
)
@config_option
@db_option
@json_option
def command(config: Path | None, db: str, as_json: bool) -> int:
    """Look at configuration, store and service, and say what is wrong and what to do."""
    found = list(examine(config, db))
    if as_json:
        common.print_json({"ok": all(f.state != WRONG for f in found), "findings": [asdict(f) for f in found]})
    else:
        for finding in found:
            click.echo(common.plain(f"{_MARK[finding.state]} {finding.what}: {finding.found}"))
            if finding.do:
                click.echo(common.plain(f"    {finding.do}"))
    return common.NO if any(finding.state == WRONG for finding in found) else common.DONE


def examine(config: Path | None, db: str) -> Iterator[Finding]:
    """Yield what was found, one thing after the other; what hangs on something that is wrong is left out."""
    from streams.clock import SystemClock
    from streams.store import open_store

    now_ms = SystemClock().now_ms()
    yield Finding("Python", OK, sys.version.split()[0])
    settings = None
    if config is not None:
        settings, findings = _configuration(config)
        yield from findings
    try:
        path = _path(db)
        if not path.exists():
            yield Finding("store", WARNING, f"there is none at {path}", "`tocsin run` or `tocsin replay` makes one")
            return
        yield from _file(path)
        with open_store(db) as store:
            yield from _store(store, path)
            yield from _service(store, now_ms, settings)
    except TocsinError as error:
        yield Finding("store", WRONG, str(error))


def _path(db: str) -> Path:
    from streams.store.database import path_of

    return path_of(db)


# --- configuration ----------------------------------------------------------------------------------------------------


def _configuration(directory: Path) -> "tuple[Settings | None, list[Finding]]":
    from streams.outbox.channel import problems
    from streams.settings import load

    try:
        settings = load(directory)
    except ConfigError as error:
        return None, [Finding("configuration", WRONG, str(p), "`tocsin check` lists it too") for p in error.problems]
    out = [Finding("configuration", OK, f"{len(settings.config.signals)} signals, tenant {settings.config.tenant}")]
    out += [Finding("channels", WRONG, str(problem)) for problem in problems(settings)]
    sending = settings.config.policy.send
    out.append(Finding("sending", OK, "notices go out" if sending else "dry run: no notice leaves the house"))
    if settings.customers is None:
        do = "without a directory nobody can be told: `tocsin customers import FILE`"
        out.append(Finding("customers", WARNING, "no file in the configuration", do))
    return settings, out


# --- store ------------------------------------------------------------------------------------------------------------


def _file(path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding("store's permissions", WRONG, f"{mode:o}: others can read it", f"chmod 600 {path}")
    else:
        yield Finding("store's permissions", OK, "only its owner reads it")
    free = shutil.disk_usage(path.parent).free
    text = f"{free / 1e9:,.1f} GB free"
    if free < LEAST_FREE_BYTES:
        yield Finding("disk", WRONG, text, "with a full disk the service takes no events: make room")
    else:
        yield Finding("disk", OK, text)
    for name in ("admin.token", f"{path.name}.admin.token"):
        token = path.with_name(name)
        if token.exists() and stat.S_IMODE(token.stat().st_mode) & 0o077:
            yield Finding(name, WRONG, "others can read it", f"chmod 600 {token}, then `tocsin token revoke` it")


def _store(store: "Store", path: Path) -> Iterator[Finding]:
    import sqlalchemy as sa

    from streams.store import migrate

    with store.reading() as connection:
        found = connection.execute(sa.text("PRAGMA quick_check(1)")).scalar_one()
    if found != "ok":
        yield Finding("store", WRONG, f"damaged: {found}", "stop the service, then `tocsin db restore` a backup")
        return
    size = sum(p.stat().st_size for p in (path, path.with_name(path.name + "-wal")) if p.exists())
    yield Finding("store", OK, f"{path}, {store.mode or 'unused'}, schema {migrate.HEAD}, {size / 1e6:,.0f} MB")
    try:
        snapshot = store.snapshot()
    except TocsinError as error:
        yield Finding("snapshot", WRONG, str(error))
    else:
        yield Finding("snapshot", OK, "none yet" if snapshot is None else f"{len(snapshot.data) / 1e6:,.1f} MB, whole")


# --- service ----------------------------------------------------------------------------------------------------------


def _service(store: "Store", now_ms: int, settings: "Settings | None") -> Iterator[Finding]:
    from streams.outbox.kill_switch import kill_switch
    from streams.store.standing import standing

    now = standing(store, now_ms)
    yield from _processes(now, now_ms)
    since_s = 0 if now.backlog_since_ms is None else (now_ms - now.backlog_since_ms) / 1_000
    backlog = (
        f"{now.backlog_bytes:,} bytes wait, the oldest for {since_s:,.0f} s" if now.backlog_rows else "nothing waits"
    )
    if since_s > LONG_S:
        yield Finding("intake", WRONG, backlog, "the engines do not keep up, or are not at work: is `tocsin run` up?")
    else:
        yield Finding("intake", OK, backlog)
    switch = kill_switch(store)
    if switch.on:
        yield Finding("kill switch", WARNING, f"on: {switch.reason or 'no reason given'}", "`tocsin kill-switch off`")
    else:
        yield Finding("kill switch", OK, "off")
    yield from _outbox(now, now_ms)
    if settings is not None and not any(p.name == "web" and _fresh(p.at_ms, now_ms) for p in now.processes):
        yield _port(settings.service.host, settings.service.port)


def _processes(now: "Standing", now_ms: int) -> Iterator[Finding]:
    if not now.processes:
        yield Finding("service", OK, "was never started on this store")
    for process in now.processes:
        age_s = (now_ms - process.at_ms) / 1_000
        if _fresh(process.at_ms, now_ms):
            yield Finding(f"process {process.name}", OK, f"at work (pid {process.pid})")
        elif _alive(process.pid):
            do = "it hangs, or can't write: `tocsin run` starts a hanging one again after a minute; else see its log"
            yield Finding(
                f"process {process.name}", WRONG, f"has not spoken for {age_s:,.0f} s (pid {process.pid})", do
            )
        else:
            yield Finding(f"process {process.name}", WARNING, "not at work", "`tocsin run` starts the service")
        yield from _stopped(process.body.get("notifier") or {})
        problem = process.body.get("config_error")
        if problem:
            found = f"the one before: the new one is refused: {problem}"
            yield Finding(f"configuration in force in {process.name}", WRONG, found, "mend it: it counts by itself")


def _stopped(notifier: Mapping[str, Any]) -> Iterator[Finding]:
    for channel, reason in sorted(dict(notifier.get("stopped") or {}).items()):
        do = f"mend it, then POST /v1/channels/{channel}/resume, or start the service again"
        yield Finding(f"channel {channel}", WRONG, f"is stopped ({reason}): what is for it waits", do)


def _fresh(at_ms: int, now_ms: int) -> bool:
    return now_ms - at_ms < STALE_S * 1_000


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _outbox(now: "Standing", now_ms: int) -> Iterator[Finding]:
    waiting = sum(n for (_, state), n in now.outbox.items() if state == "waiting")
    stuck = {c: (now_ms - at) / 1_000 for c, at in now.outbox_since_ms.items() if now_ms - at > LONG_S * 1_000}
    if stuck:
        words = ", ".join(f"{channel} for {age_s:,.0f} s" for channel, age_s in sorted(stuck.items()))
        do = "the kill switch, a limit, a circuit that is open, or no notifier: GET /v1/sending says which"
        yield Finding("outbox", WARNING, f"{waiting:,} notices wait; due and not sent: {words}", do)
    else:
        yield Finding("outbox", OK, f"{waiting:,} notices wait")
    unknown = sum(n for (_, state), n in now.outbox.items() if state == "unknown")
    if unknown:
        do = "a person decides: GET /v1/outbox?state=unknown lists them"
        yield Finding("unknown sends", WARNING, f"{unknown:,} notices may have gone out", do)
    disabled = now.webhooks.get("disabled", 0)
    if disabled:
        yield Finding("webhooks", WARNING, f"{disabled} disabled", "GET /v1/webhooks says why")


def _port(host: str, port: int) -> Finding:
    """Whether the service could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            do = "name another by service.port or --port"
            return Finding("port", WRONG, f"{host}:{port} can't be used ({error.strerror})", do)
    return Finding("port", OK, f"{host}:{port} is free")
