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
from streams.cli.common import config_option, json_option, store_option

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store
    from streams.store.standing import Standing

OK, WARNING, WRONG = "ok", "warning", "wrong"
_MARK = {OK: "✓", WARNING: "!", WRONG: "✗"}
LEAST_FREE_BYTES = 1 << 30
STALE_S = 15
LONG_S = 300
WORK = "work"
"""How the process that has the Desk is called, here or on any machine."""
_START_WORKER = "is `tocsin worker` up? Its log says what is wrong, and so does its port (--health)"
MOST_CONNECTIONS = 0.8
"""Beyond this share of the server's connections there may soon be none for another process."""


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
@store_option
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
    from streams.store.database import where_of

    now_ms = SystemClock().now_ms()
    yield Finding("Python", OK, sys.version.split()[0])
    settings = None
    if config is not None:
        settings, findings = _configuration(config)
        yield from findings
    try:
        where = where_of(db)
        if where.path is not None and not where.path.exists():
            none = f"there is none at {where}"
            yield Finding("store", WARNING, none, "`tocsin run`, `tocsin replay` or `tocsin worker` makes one")
            return
        if where.path is not None:
            yield from _file(where.path)
        with common.open_store(where, settings) as store:
            yield from _store(store)
            yield from _service(store, now_ms, settings)
    except TocsinError as error:
        yield Finding("store", WRONG, str(error))


# --- configuration ----------------------------------------------------------------------------------------------------


def _configuration(directory: Path) -> "tuple[Settings | None, list[Finding]]":
    from streams.alerts.sender import problems as alert_problems
    from streams.outbox.channel import problems
    from streams.settings import load

    try:
        settings = load(directory)
    except ConfigError as error:
        return None, [Finding("configuration", WRONG, str(p), "`tocsin check` lists it too") for p in error.problems]
    out = [Finding("configuration", OK, f"{len(settings.config.signals)} signals, tenant {settings.config.tenant}")]
    out += [Finding("channels", WRONG, str(problem)) for problem in problems(settings)]
    out += [Finding("alertmanager", WRONG, str(problem)) for problem in alert_problems(settings)]
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


def _store(store: "Store") -> Iterator[Finding]:
    import sqlalchemy as sa

    from streams.store import migrate, postgres
    from streams.store.engines import kafka_input

    if store.on_server:
        with store.reading() as connection:
            server = postgres.look(connection)
        size = server.bytes
        used = f"PostgreSQL {server.version}, {server.connections} of {server.most_connections} connections in use"
        if server.connections > server.most_connections * MOST_CONNECTIONS:
            do = "raise its max_connections: each of our processes takes up to ten"
            yield Finding("database server", WARNING, used, do)
        else:
            yield Finding("database server", OK, used)
    else:
        path = store.path
        with store.reading() as connection:
            found = connection.execute(sa.text("PRAGMA quick_check(1)")).scalar_one()
        if found != "ok":
            yield Finding("store", WRONG, f"damaged: {found}", "stop the service, then `tocsin db restore` a backup")
            return
        size = sum(p.stat().st_size for p in (path, path.with_name(path.name + "-wal")) if p.exists())
    yield Finding("store", OK, f"{store.where}, {store.mode or 'unused'}, schema {migrate.HEAD}, {size / 1e6:,.0f} MB")
    if kafka_input(store) is not None:
        return  # each engine has a state of its own
    try:
        snapshot = store.snapshot()
    except TocsinError as error:
        yield Finding("snapshot", WRONG, str(error))
    else:
        yield Finding("snapshot", OK, "none yet" if snapshot is None else f"{len(snapshot.data) / 1e6:,.1f} MB, whole")


# --- service ----------------------------------------------------------------------------------------------------------


def _service(store: "Store", now_ms: int, settings: "Settings | None") -> Iterator[Finding]:
    from streams.outbox.kill_switch import kill_switch
    from streams.store.engines import kafka_input
    from streams.store.standing import standing

    now, on_kafka = standing(store, now_ms), kafka_input(store)
    yield from _processes(now, now_ms, on_kafka=on_kafka is not None)
    if on_kafka is None:
        yield _intake(now, now_ms)
    else:
        yield from _workers(store, on_kafka, now_ms)
    switch = kill_switch(store)
    if switch.on:
        yield Finding("kill switch", WARNING, f"on: {switch.reason or 'no reason given'}", "`tocsin kill-switch off`")
    else:
        yield Finding("kill switch", OK, "off")
    yield from _outbox(now, now_ms)
    if settings is not None and not any(p.name == "web" and _fresh(p.at_ms, now_ms) for p in now.processes):
        yield _port(settings.service.host, settings.service.port)


def _intake(now: "Standing", now_ms: int) -> Finding:
    since_s = 0 if now.backlog_since_ms is None else (now_ms - now.backlog_since_ms) / 1_000
    backlog = (
        f"{now.backlog_bytes:,} bytes wait, the oldest for {since_s:,.0f} s" if now.backlog_rows else "nothing waits"
    )
    if since_s > LONG_S:
        do = "the engines do not keep up, or are not at work: is `tocsin run` up?"
        return Finding("intake", WRONG, backlog, do)
    return Finding("intake", OK, backlog)


def _workers(store: "Store", on_kafka: str, now_ms: int) -> Iterator[Finding]:
    """Yield how far the engines got that workers on Kafka run; how much is left to read only the brokers know."""
    from streams.store.engines import COUNT, Engines

    topic, _, partitions = on_kafka.rpartition("/")
    begun = Engines(store, "").standings(COUNT)
    last = f"the last commit {_ago(now_ms - max(of.at_ms for of in begun.values()))}" if begun else "nothing committed"
    found = f"{topic} on Kafka, {len(begun)} of {partitions} partitions begun, {last}"
    yield Finding("input", OK, f"{found}; the lag is unknown here: `tocsin worker --health` and Kafka's own tools tell")


def _ago(age_ms: int) -> str:
    return f"{common.duration(max(0, age_ms) // 1_000)} ago"


def _processes(now: "Standing", now_ms: int, *, on_kafka: bool) -> Iterator[Finding]:
    if on_kafka and not any(process.name == WORK for process in now.processes):
        yield Finding("process work", WARNING, "no worker with the Desk was seen yet", _START_WORKER)
    elif not now.processes:
        yield Finding("service", OK, "was never started on this store")
    for process in now.processes:
        age_s = (now_ms - process.at_ms) / 1_000
        if on_kafka and process.name == WORK:
            if _fresh(process.at_ms, now_ms):
                yield Finding("process work", OK, f"the worker with the Desk is at work (pid {process.pid})")
            else:
                found = f"no worker has had the Desk for {common.duration(age_s // 1)}"
                yield Finding("process work", WRONG, found, _START_WORKER)
        elif _fresh(process.at_ms, now_ms):
            yield Finding(f"process {process.name}", OK, f"at work (pid {process.pid})")
        elif _alive(process.pid):
            do = "it hangs, or can't write: `tocsin run` starts a hanging one again after a minute; else see its log"
            if on_kafka:
                do = "it hangs, or can't write: see its log, and start it again"
            yield Finding(
                f"process {process.name}", WRONG, f"has not spoken for {age_s:,.0f} s (pid {process.pid})", do
            )
        else:
            do = f"`tocsin {process.name.split()[0]}` starts it" if on_kafka else "`tocsin run` starts the service"
            yield Finding(f"process {process.name}", WARNING, "not at work", do)
        if problem := process.body.get("brokers_error"):
            do = "it goes on by itself once they are back; `tocsin topics check` says what is wrong with them"
            yield Finding(f"brokers of {process.name}", WRONG, f"takes no events: {problem}", do)
        yield from _stopped(process.body.get("notifier") or {})
        yield from _alerts(process.body.get("alertmanager") or {})
        problem = process.body.get("config_error")
        if problem:
            found = f"the one before: the new one is refused: {problem}"
            yield Finding(f"configuration in force in {process.name}", WRONG, found, "mend it: it counts by itself")


def _stopped(notifier: Mapping[str, Any]) -> Iterator[Finding]:
    for channel, reason in sorted(dict(notifier.get("stopped") or {}).items()):
        do = f"mend it, then POST /v1/channels/{channel}/resume, or start the service again"
        yield Finding(f"channel {channel}", WRONG, f"is stopped ({reason}): what is for it waits", do)


def _alerts(status: Mapping[str, Any]) -> Iterator[Finding]:
    for number, taken in enumerate(status.get("taken") or ()):
        if not taken:
            do = "is it up, and may it be reached? The log says what it answered"
            yield Finding("alertmanager", WRONG, f"number {number} of the settings takes no cases", do)


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
