"""`tocsin replay`: recorded events through the whole pipeline, or a growing file as it grows."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.errors import UsageError
from streams.cli import common
from streams.cli.common import config_option, db_option, json_option, option

if TYPE_CHECKING:
    from streams.engines.embedded import Step
    from streams.engines.session import Run, Session
    from streams.store import Store


@common.command(
    example="tocsin replay --config shop --db shop.db events.ndjson\n"
    "zcat old.ndjson.gz | tocsin replay --config shop -\n"
    "tocsin replay --format sshd --year 2025 auth.log\n"
    "tocsin replay --format sshd --follow /var/log/auth.log",
    exits={common.NO: "nearly nothing of the input is an event; what was read is kept"},
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@config_option
@db_option
@option("--format", "format_name", metavar="NAME", help="The input's format: json, sshd or one of tocsin.yml.")
@option("--partitions", type=click.IntRange(1, 1_024), default=1, metavar="N", help="Count in so many partitions.")
@option("--learn-only", is_flag=True, help="Learn what is normal; open no cases.")
@option("--follow", is_flag=True, help="Go on as the file grows, until interrupted.")
@option("--metrics-port", type=click.IntRange(0, 65_535), metavar="N", help="Serve metrics there, with --follow.")
@option("--year", type=click.IntRange(2000, 9999), metavar="Y", help="The first line's year, where stamps have none.")
@click.option("--commit-seconds", type=float, default=None, envvar="TOCSIN_COMMIT_SECONDS", hidden=True)
@click.option("--block-bytes", type=click.IntRange(1), default=None, envvar="TOCSIN_BLOCK_BYTES", hidden=True)
@json_option
def command(
    files: tuple[str, ...],
    config: Path | None,
    db: str,
    format_name: str | None,
    partitions: int,
    learn_only: bool,
    follow: bool,
    metrics_port: int | None,
    year: int | None,
    commit_seconds: float | None,
    block_bytes: int | None,
    as_json: bool,
) -> int:
    """Run recorded events through the whole pipeline, with event time as the clock.

    FILEs are read in this order (- is standard input, packed ones are unpacked). At their end the open windows close.
    Run again, it goes on where it stopped and adds nothing twice. The store becomes a recording, of which nothing is
    ever sent; with --follow it is a live one, and --metrics-port answers Prometheus on the loopback address.
    """
    from streams.clock import SystemClock
    from streams.engines.session import session
    from streams.store import LIVE, RECORDING

    if follow and len(files) != 1:
        message = f"--follow: expected one FILE, found {len(files)}"
        raise UsageError(message)
    if metrics_port is not None and not follow:
        message = (
            "--metrics-port: serves a run that goes on, so it takes --follow; `tocsin budget --prometheus` writes once"
        )
        raise UsageError(message)
    for name in files:
        if not follow and name != "-" and not Path(name).exists():
            message = f"{name}: there is no such file"
            raise UsageError(message)
    run = _run(config, format_name, partitions, learn_only, year, commit_seconds, block_bytes)
    clock = SystemClock()
    with common.progress("Replaying", _size(files) if not follow else None) as bar:
        shown = _Shown(bar, clock.monotonic_s)
        with session(db, run, clock, mode=LIVE if follow else RECORDING, watch=shown.step, say=common.say) as found:
            _tell_customers(found)
            if follow:
                from streams.engines.live import Follower

                with _metered(found, metrics_port):
                    Follower(found, clock, common.say).run(files[0])
            else:
                found.read(files)
            for warning in dict.fromkeys(found.runner.warnings):
                common.say(f"Warning: {warning}")
            if not follow and not shown.events and shown.started_s:
                common.say(NOTHING_NEW)
            result = summary(found.store)
            _warn(result)
            _print(found.store, result, as_json)
            stopped = found.stop.signal
    if stopped is not None and not follow:
        common.say("Stopped; what was read is kept, the same command goes on from there")
    # A script must not take a replay that was cut short for a finished one; to follow has no other end than SIGTERM.
    cut_short = stopped is not None and (stopped == signal.SIGINT or not follow)
    return common.INTERRUPTED if cut_short else common.DONE


@contextmanager
def _metered(found: "Session", port: int | None) -> Iterator[None]:
    """Serve the run's metrics, where a port is given."""
    if port is None:
        yield
        return
    from streams.engines.metering import Meter
    from streams.metrics import LOOPBACK, Metrics, serving

    metrics = Metrics(found.run.config, found.clock.now_ms)
    found.runner.committed = Meter(metrics, found.runner, found.clock).committed
    with serving(metrics, port) as taken:
        common.say(f"Metrics: http://{LOOPBACK}:{taken}/metrics")
        yield


def _run(
    config: Path | None,
    format_name: str | None,
    partitions: int,
    learn_only: bool,
    year: int | None,
    commit_seconds: float | None,
    block_bytes: int | None,
) -> "Run":
    """Return what to run: as the configuration says, or what the format brings itself."""
    from detector.calendar import CalendarSpec
    from detector.config import Config, Policy
    from streams.engines.embedded import COMMIT_S
    from streams.engines.session import InputFormat, Run
    from streams.intake.files import BLOCK_BYTES
    from streams.intake.formats import SSHD
    from streams.intake.sshd import SSHD_SIGNALS
    from streams.settings import load

    common_parts: dict[str, Any] = {
        "partitions": partitions,
        "learn_only": learn_only,
        "commit_s": COMMIT_S if commit_seconds is None else commit_seconds,
        "block_bytes": block_bytes or BLOCK_BYTES,
    }
    if config is None and format_name == SSHD:
        # A machine's log, read as it stands.
        own = Config(
            signals=SSHD_SIGNALS,
            policy=Policy(default_time_zone="UTC"),
            calendar=CalendarSpec(country=None, time_zone="UTC"),
        )
        return Run(own, InputFormat(SSHD, {}, year), **common_parts)
    settings = load(config or Path("."))
    formats = {name: dict(mapping) for name, mapping in settings.formats.items()}
    return Run(
        settings.config,
        InputFormat(format_name or settings.format, formats, year),
        customers=settings.customers,
        customer_key=None if settings.customer_key is None else settings.customer_key.read(),
        settings=settings,
        **common_parts,
    )


def _size(files: tuple[str, ...]) -> float | None:
    """Return the bytes to read, where that is known."""
    if any(name == "-" or name.endswith(".gz") or not Path(name).is_file() for name in files):
        return None
    return float(sum(Path(name).stat().st_size for name in files))


NOTHING_NEW = (
    "Nothing new was read: this store has these files up to their end. What was read stays counted as the "
    "configuration of that time said; to read it with another one, use another --db"
)


def _warn(found: dict[str, Any]) -> None:
    """Say what a person would want to know although nothing failed."""
    events, dropped = found["events"], found["dropped"]
    if events and dropped.get("late", 0) > 0.2 * events:
        common.say(
            f"Warning: {dropped['late']:,} of {events:,} events came late. Files are read one after the other: "
            "merge logs of the same time by time before, or state a longer input.lateness"
        )
    if events and dropped.get("unwatched", 0) == events:
        common.say(
            "Warning: no event belongs to any signal; look at `events` in signals.yml and at the format's mapping"
        )


def _tell_customers(found: "Session") -> None:
    for bad in found.bad_customers[:5]:
        common.say(f"Warning: customers: {bad}")
    if len(found.bad_customers) > 5:
        common.say(f"Warning: customers: and {len(found.bad_customers) - 5:,} more rows")


@dataclass
class _Shown:
    """Keeps the progress bar up to date."""

    bar: common.Progress
    now_s: Callable[[], float]
    started_s: float = 0.0
    events: int = 0
    open: set[str] = field(default_factory=set)
    positions: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started_s = self.now_s()

    def step(self, step: "Step") -> None:
        from detector.desk.cases import UNFINISHED

        self.events += step.effects.records
        if step.source and step.next:
            self.positions[step.source] = step.next
        for case in step.effects.desk.cases:
            (self.open.add if case.state in UNFINISHED else self.open.discard)(case.id)
        rate = self.events / max(self.now_s() - self.started_s, 1e-3)
        note = f"{self.events:,} events, {rate:,.0f}/s, {len(self.open)} open cases"
        self.bar.to(sum(self.positions.values()), note)


def summary(store: "Store") -> dict[str, Any]:
    """Return what a store has seen and found over its life, as `tocsin replay --json` prints it."""
    from streams.store.queries import case_count, notice_sums

    sums = store.tally()
    return {
        "events": sum(sums.get("events", {}).values()),
        "applied": sum(sums.get("applied", {}).values()),
        "dropped": sums.get("dropped", {}),
        "dead": sums.get("dead", {}),
        "windows": sum(sums.get("windows", {}).values()),
        "cases": sum(n for state, n in case_count(store).items() if state != "merged"),
        "notices": notice_sums(store),
    }


def _print(store: "Store", found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        common.print_json(found)
        return
    dropped = "".join(f", {n:,} {reason}" for reason, n in found["dropped"].items())
    dead = "".join(f", {n:,} {reason}" for reason, n in found["dead"].items())
    notices = found["notices"]
    told = "simulated" if store.mode == "recording" else "sent"
    lines = [
        f"{found['events']:,} events: {found['applied']:,} counted{dropped}",
        f"{sum(found['dead'].values()):,} dead letters{dead}",
        f"{found['windows']:,} windows, {found['cases']:,} case{'' if found['cases'] == 1 else 's'}, "
        f"{notices['sent']:,} notices {told}, {notices['held']:,} held, {sum(notices['dropped'].values()):,} not sent",
    ]
    for line in lines:
        click.echo(common.plain(line))
    if found["cases"]:
        click.echo(common.plain(f"Look further: {common.command_line('cases', '--all', '--db', store.where)}"))
