"""`tocsin`: finds the command, runs it, and turns whatever goes wrong into one line and an exit code.

A command's module is imported only when that command is asked for, so `tocsin --help` is instant.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from detector.errors import ConfigError, TocsinError
from streams.cli.common import DONE, INTERRUPTED, NO, UNREACHABLE, WRONG_USAGE, Group, plain

COMMANDS = {
    "demo": ("streams.cli.demo:command", "Show the whole story on simulated traffic."),
    "init": ("streams.cli.init:command", "Write a commented configuration that runs as it is."),
    "check": ("streams.cli.check:command", "Validate the configuration and warn of what will not work well."),
    "simulate": (
        "streams.cli.simulate:command",
        "Write seeded traffic with planted problems, and the truth about them.",
    ),
    "replay": ("streams.cli.replay:command", "Run recorded events through the whole pipeline."),
    "run": ("streams.cli.run:command", "Run the service: take events in over HTTP, find cases, tell customers."),
    "web": ("streams.cli.web:command", "Run only the part of the service that takes events in and answers."),
    "work": ("streams.cli.work:command", "Run only the part of the service that finds cases and sends."),
    "notifier": ("streams.cli.notifier:command", "Run only the part of the service that sends, as one of several."),
    "worker": ("streams.cli.worker:command", "Work on events from Kafka, as one of any number of workers."),
    "topics": ("streams.cli.topics:command", "Create Kafka's topics, or say what is wrong with them."),
    "cases": ("streams.cli.cases:command", "List the proactive cases, show one, work on one."),
    "affected": ("streams.cli.affected:command", "List who is hit by a case."),
    "why": ("streams.cli.why:command", "Say why a customer was told, held or not told."),
    "preview": ("streams.cli.preview:command", "Show the words of a case's notices as they would go out."),
    "mute": ("streams.cli.mute:command", "Leave known noise of a signal out for a while."),
    "fact": ("streams.cli.fact:command", "Tell of deployments and planned work."),
    "budget": ("streams.cli.budget:command", "Show the budget of false cases, and the thresholds that follow."),
    "detect": ("streams.cli.detect:command", "Find incidents in plain time series."),
    "explain": ("streams.cli.explain:command", "Name the dimension values that explain what deviates in one window."),
    "dump": ("streams.cli.dump:command", "Print the canonical dump of cases, ledger and notices."),
    "dead": ("streams.cli.dead:command", "Look at the records that were no events."),
    "doctor": ("streams.cli.doctor:command", "Look at configuration, store and service, and say what is wrong."),
    "token": ("streams.cli.token:command", "Make and revoke tokens, and links that sign a person in."),
    "audit": ("streams.cli.audit:command", "Show who did what, and check that nothing of it was changed."),
    "kill-switch": ("streams.cli.kill_switch:command", "Stop all sending within seconds, or let it go on."),
    "db": ("streams.cli.db:command", "Bring a store up to date, copy it, put a copy back, let go of what is old."),
    "customers": ("streams.cli.customers:command", "Import and look after the customer directory."),
}
"""Every command: where it is, and its one sentence (so that listing them imports none)."""

DEBUG = "TOCSIN_DEBUG"


class LazyGroup(Group):
    """Commands by name from `COMMANDS`, imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, click.Command):
            message = f"{module}:{attribute} is no command"
            raise TypeError(message)
        found.name = cmd_name
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    example="tocsin demo\ntocsin init shop\ntocsin check shop\ntocsin replay --config shop events.ndjson\ntocsin cases",
)
@click.version_option(package_name="tocsin", prog_name="tocsin", message="%(prog)s %(version)s")
def cli() -> None:
    """Find an emerging problem in event streams, name the customers who were hit, tell them first."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but an exit of the interpreter itself passes through."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(None if args is None else list(args), prog_name="tocsin", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough; the interpreter's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SystemExit as ended:
        if isinstance(sys.stdout, click.utils.PacifyFlushWrapper):  # how click ends when the reader has seen enough
            return DONE
        return ended.code if isinstance(ended.code, int) else NO
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        lines, code = explain(error)
        for line in lines:
            _complain(line)
        return code


def explain(error: Exception) -> tuple[list[str], int]:
    """Return what to tell a person about an error, line by line, and the exit code."""
    if isinstance(error, ConfigError):
        return [str(problem) for problem in error.problems], error.exit_code
    if isinstance(error, TocsinError):
        return [str(error)], error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        usage = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)
        return [f"{where}{error.strerror or error}"], WRONG_USAGE if usage else UNREACHABLE
    database = sys.modules.get("sqlalchemy.exc")
    if database is not None and isinstance(error, database.OperationalError):
        return [f"the store can't be used: {error.orig}"], UNREACHABLE
    return [f"internal error: {type(error).__name__}: {error} (run again with {DEBUG}=1 for the details)"], NO


def _complain(line: str) -> None:
    click.echo(f"Error: {plain(line)}", err=True)


if __name__ == "__main__":
    sys.exit(main())
