"""The documentation holds: links lead somewhere, commands parse, named files are there, generated pages are current."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from detector.desk.cases import by_people, mermaid
from detector.desk.policy import RULES, Reason
from detector.desk.records import Approval, Case, CaseState, Kind
from detector.signals import Mode, Severity
from streams.cli.main import cli
from streams.reference import pages
from streams.store.documents import case_document
from streams.yamlfile import parse_yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TOP = ("detector", "models", "streams", "deploy", "tests", "benchmarks", "docs", "requirements")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(rf"`((?:{'|'.join(TOP)})/[\w./-]*)`")


def each_page(paths: list[Path] = PAGES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", [pytest.param(p, id=p.relative_to(ROOT).as_posix()) for p in paths])


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def fences(text: str, *languages: str) -> Iterator[str]:
    """Yield the fenced blocks in one of these languages."""
    for language, body in FENCE.findall(text):
        if language in languages:
            yield body


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every `tocsin` line of the shell blocks, and of terminal sessions (`$ tocsin …`)."""
    shell = [line for block in fences(text, "sh", "bash") for line in block.replace("\\\n", " ").splitlines()]
    shown = [line[2:] for block in fences(text, "text") for line in block.splitlines() if line.startswith("$ ")]
    for line in (*shell, *shown):
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "|"]:
            if word in ("|", ">", "<", "&&", ";"):
                if words[:1] == ["tocsin"]:
                    yield words[1:]
                words = []
            else:
                words.append(word)


def parse(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Resolve commands and options as a run would, without running; returns the commands' names."""
    command: click.Command = cli
    parent: click.Context | None = None
    names = ["tocsin"]
    while isinstance(command, click.Group):
        context = command.make_context(names[-1], list(arguments), parent=parent)
        name, found, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, parent = found, context
        names.append(name or "")
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):  # the reader's files need not be here: only the form is checked
            monkeypatch.setattr(parameter.type, "exists", False)
    command.make_context(names[-1], list(arguments), parent=parent)
    return names[1:]


@each_page()
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = text_of(page)
    for link in LINK.findall(FENCE.sub("", text)):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), link
        if anchor:
            assert anchor in anchors(text_of(there)), link


@each_page()
def test_every_command_line_shown_parses(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in command_lines(text_of(page)):
        try:
            parse(arguments, monkeypatch)
        except click.UsageError as error:
            pytest.fail(f"tocsin {shlex.join(arguments)}: {error.format_message()}")


def test_command_lines_are_found_and_wrong_ones_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "```sh\nzcat a.gz | tocsin replay --db x -  # why\ntocsin dump > a\nls\n```\n```text\n$ tocsin cases --all\n```\n"
    assert list(command_lines(text)) == [["replay", "--db", "x", "-"], ["dump"], ["cases", "--all"]]
    assert parse(["cases", "show", "3f2a"], monkeypatch) == ["cases", "show"]
    for wrong in (["cases", "--alll"], ["replay"], ["relpay", "x"], ["cases", "show"], ["demo", "--seed", "one"]):
        with pytest.raises(click.UsageError):
            parse(wrong, monkeypatch)


def test_the_documentation_shows_every_command() -> None:
    shown = {arguments[0] for page in PAGES for arguments in command_lines(text_of(page)) if arguments}
    assert shown >= set(cli.list_commands(click.Context(cli)))


@each_page()
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for name in NAMED.findall(text_of(page)):
        assert (ROOT / name).exists(), name


def test_the_readme_names_every_top_level_folder_of_the_source() -> None:
    text = text_of(ROOT / "README.md")
    for folder in ("detector", "models", "streams", "deploy", "tests", "benchmarks", "docs"):
        assert f"`{folder}/`" in text
        assert (ROOT / folder).is_dir()


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(text_of(page)))
        waiting += [p for link in links if "://" not in link and (p := (page.parent / link).resolve()).suffix == ".md"]
    assert set(PAGES) <= reached


@each_page()
def test_yaml_that_is_shown_is_yaml(page: Path) -> None:
    for block in fences(text_of(page), "yaml"):
        assert parse_yaml(block, page.name)


def test_decisions_are_numbered_and_listed() -> None:
    found = sorted(p for p in (ROOT / "docs" / "decisions").glob("*.md") if p.name != "README.md")
    assert [p.name[:4] for p in found] == [f"{i:04d}" for i in range(1, len(found) + 1)]
    for page in found:
        text = text_of(page)
        assert text.startswith(f"# {page.name[:4]}: ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_the_page_of_the_commands_is_current() -> None:
    assert text_of(ROOT / "docs" / "reference" / "commands.md") == pages()["commands.md"], "run `make docs`"


def test_every_field_of_a_case_is_explained() -> None:
    case = Case(
        tenant="default",
        id="3f2a",
        mode=Mode.LIVE,
        title={"en": "Logins fail"},
        state=CaseState.OPEN,
        severity=Severity.HIGH,
        signals=("logins",),
        anomalies=("3f2a",),
        onset_ms=0,
        detected_ms=0,
        opened_ms=0,
    )
    page = text_of(ROOT / "docs" / "commands.md")
    assert {name for name in case_document(case) if f"`{name}`" not in page} == set()


def test_the_lifecycle_that_is_drawn_is_the_table() -> None:
    page = text_of(ROOT / "docs" / "cases.md")
    assert mermaid() in page
    assert by_people() in page


def test_every_approval_and_every_rule_on_telling_is_explained() -> None:
    cases, notices = (text_of(ROOT / "docs" / name) for name in ("cases.md", "notices.md"))
    assert [a.value for a in Approval if f"| `{a.value}` |" not in cases] == []
    assert [rule.__name__ for rule in RULES if f"| `{rule.__name__}` |" not in notices] == []
    assert [kind.value for kind in Kind if f"| `{kind.value}` |" not in notices] == []
    assert [r.value for r in Reason if r.value and f"`{r.value}`" not in notices] == []
