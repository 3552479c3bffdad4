"""The command line as a whole: every command's help, and what goes wrong as one line and an exit code."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from detector.errors import ConfigError, FencedError, Problem, UnreachableError, UsageError
from streams.cli import common
from streams.cli.main import COMMANDS, cli, explain, main


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys; from streams.cli.main import main; main(['--help']); sys.exit(any(m in sys.modules for m in %r))"
    )
    heavy = ["numpy", "pydantic", "rich", "sqlalchemy", "sklearn", "streams.cli.check"]
    done = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name, (_, sentence) in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert sentence.split()[0] in done.stdout


@pytest.mark.slow
def test_the_store_and_the_detector_are_imported_without_the_statistics_that_nobody_uses() -> None:
    code = "import sys, streams.store, detector.pipeline; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def every_command() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", command.commands[inner]) for inner in command.commands]
    return found


def test_every_command_has_one_sentence_an_example_and_its_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in every_command():
        assert main([*name.split(), "--help"]) == 0
        text = capsys.readouterr().out
        assert (command.help or "").split("\n")[0].rstrip().endswith("."), name
        assert f"Example:\n  tocsin {name.split()[0]}" in text, name
        assert "Exit codes:\n  0 " in text, name


def test_every_option_has_its_name_in_the_environment() -> None:
    for name, command in every_command():
        for option in command.params:
            if isinstance(option, click.Option) and "--help" not in option.opts:
                assert isinstance(option.envvar, str), (name, option.opts)
                assert option.envvar.startswith("TOCSIN_"), (name, option.opts)
                assert option.show_envvar or option.hidden, (name, option.opts)
                assert option.help or option.hidden, (name, option.opts)


def test_an_unknown_command_is_met_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chek"]) == 2
    assert "No such command 'chek'. Did you mean 'check'?" in capsys.readouterr().err


def test_an_unknown_option_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--jsno"]) == 2
    assert "--json" in capsys.readouterr().err


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "tocsin 0.1.0\n"


@pytest.mark.parametrize(
    ("error", "lines", "code"),
    [
        pytest.param(UsageError("no such case"), ["no such case"], 2, id="usage"),
        pytest.param(UnreachableError("locked"), ["locked"], 3, id="unreachable"),
        pytest.param(FencedError("another has it"), ["another has it"], 3, id="fenced"),
        pytest.param(
            ConfigError([Problem("a", "1", "2"), Problem("b", "3", "4", "do")]),
            ["a: expected 2, found 1", "b: expected 4, found 3 (do)"],
            2,
            id="configuration",
        ),
        pytest.param(
            FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
            ["x: No such file or directory"],
            2,
            id="missing file",
        ),
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), ["No space left on device"], 3, id="disk full"),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied", "x"), ["x: Permission denied"], 3, id="permission"
        ),
        pytest.param(
            ZeroDivisionError("oh"),
            ["internal error: ZeroDivisionError: oh (run again with TOCSIN_DEBUG=1 for the details)"],
            1,
            id="a bug",
        ),
    ],
)
def test_what_goes_wrong_is_one_line_each(error: Exception, lines: list[str], code: int) -> None:
    assert explain(error) == (lines, code)


@common.command(example="tocsin broken")
@click.argument("how")
def broken(how: str) -> None:
    """Go wrong."""
    if how == "interrupted":
        raise KeyboardInterrupt
    message = "oh\x1b[31m"
    raise ValueError(message)


@pytest.fixture
def with_broken_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "broken", (f"{__name__}:broken", "Go wrong."))


@pytest.mark.usefixtures("with_broken_command")
def test_an_interruption_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broken", "interrupted"]) == 130
    assert capsys.readouterr().err.strip() == "Error: interrupted"


@pytest.mark.usefixtures("with_broken_command")
def test_a_bug_shows_its_traceback_only_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broken", "badly"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: internal error: ValueError: oh\ufffd[31m (run again with")
    assert said.count("\n") == 1
    monkeypatch.setenv("TOCSIN_DEBUG", "1")
    assert main(["broken", "badly"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = "from streams.cli.main import main; import sys; sys.exit(main(['--help']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


# --- groups with a default command ----------------------------------------------------------------------------------


@common.group(example="tocsin things", default="list")
def things() -> None:
    """Work with things."""


@things.command(name="list", example="tocsin things")
@common.db_option
@common.json_option
def list_things(db: str, as_json: bool) -> None:
    """List them."""
    click.echo(f"list {db} {as_json}")


@things.command(name="show", example="tocsin things show 5")
@click.argument("thing")
@common.db_option
@common.json_option
def show_thing(thing: str, db: str, as_json: bool) -> None:
    """Show one."""
    click.echo(f"show {thing} {db} {as_json}")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param([], "list tocsin.db False", id="the default"),
        pytest.param(["--json"], "list tocsin.db True", id="the default with an option"),
        pytest.param(["--db", "show"], "list show False", id="an option's value is no command"),
        pytest.param(["show", "5"], "show 5 tocsin.db False", id="named"),
        pytest.param(["--db", "x", "show", "5", "--json"], "show 5 x True", id="named behind options"),
        pytest.param(["--db=x", "show", "5"], "show 5 x False", id="named behind an option with ="),
        pytest.param(["--json", "list"], "list tocsin.db True", id="the default named behind options"),
    ],
)
def test_a_group_runs_its_default_where_no_command_is_named(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    things.main(args, standalone_mode=False)
    assert capsys.readouterr().out == said + "\n"


def test_a_group_knows_no_other_commands() -> None:
    with pytest.raises(click.UsageError, match=r"No such command 'shwo'\. Did you mean 'show'\?"):
        things.main(["shwo"], standalone_mode=False)


# --- how to call it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("called", "path", "name"),
    [
        pytest.param("{0}/bin/tocsin", "{0}/bin", "tocsin", id="on PATH"),
        pytest.param("{0}/bin/tocsin", "{0}/other", "{0}/bin/tocsin", id="not on PATH"),
        pytest.param("bin/tocsin", "/nowhere", "bin/tocsin", id="by a relative path"),
        pytest.param("{0}/bin/tocsin", "{0}/another", "{0}/bin/tocsin", id="another one on PATH"),
        pytest.param("{0}/pytest", "/nowhere", "tocsin", id="from another program"),
    ],
)
def test_a_next_step_is_shown_as_it_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str, path: str, name: str
) -> None:
    for folder in ("bin", "another"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tocsin").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [called.format(tmp_path)])
    monkeypatch.setenv("PATH", path.format(tmp_path))
    shown = common.command_line("cases", "--db", Path("my demo/tocsin.db"))
    assert shown == f"{name.format(tmp_path)} cases --db 'my demo/tocsin.db'"


# --- output ---------------------------------------------------------------------------------------------------------


def test_a_table_shows_data_as_data_at_any_width(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_table(["id", "n"], [["[bold]x[/]\x1b[31m", 1], ["y" * 300, None]], right=["n"])
    out = capsys.readouterr().out
    assert "[bold]x[/]\ufffd[31m" in out
    assert "y" * 300 in out
    assert "\x1b" not in out


def test_json_is_one_line_where_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_json({"a": [1, "é"], "b": float("nan")})
    assert capsys.readouterr().out == '{"a":[1,"é"],"b":null}\n'


def test_no_progress_bar_where_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with common.progress("reading", 10) as bar:
        bar.to(5, "fast")
    assert capsys.readouterr() == ("", "")
