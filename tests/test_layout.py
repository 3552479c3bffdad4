"""The project's shape: folders, files, and what stands in no file."""

import ast
import gc
import re
import tomllib
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ("detector", "models", "streams")
FOLDERS = (*SOURCE, "deploy", "tests", "benchmarks", "docs")
LONGEST = 600
HIDDEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Unicode's categories of characters that nobody sees."""


def files() -> list[Path]:
    """Return every file of the project, without what is generated or installed."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.suffix != ".db" and path.name != ".git"]
    for folder in (*FOLDERS, "examples", "requirements", ".ci"):
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(found)


FILES = files()
MODULES = [path for path in FILES if path.suffix == ".py"]
LOCKS = [path for path in FILES if path.parent.name == "requirements"]
TEXTS = [
    path
    for path in FILES
    if path not in LOCKS and path.suffix not in (".png", ".bin") and b"\0" not in path.read_bytes()
]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_folders_are_there(name: str) -> None:
    assert (ROOT / name).is_dir()


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "docker-compose.yml"),
        *("pyproject.toml", ".ci/run", "deploy/config/signals.yml", "benchmarks/throughput.py", "docs/architecture.md"),
    ],
)
def test_the_files_are_there_and_not_empty(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


def test_no_test_folder_shadows_a_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_a_module_says_what_it_is_for_and_is_short() -> None:
    silent, long = [], []
    gc.disable()  # a collection with Python callbacks inside the parser is an error of CPython 3.11
    try:
        for path in MODULES:
            text = path.read_text("utf-8")
            if not ast.get_docstring(ast.parse(text)):
                silent.append(named(path))
            if text.count("\n") > LONGEST:
                long.append(named(path))
    finally:
        gc.enable()
    assert not silent and not long


def test_text_holds_no_machine_paths_and_nothing_invisible() -> None:
    bound, hiding = [], []
    for path in TEXTS:
        text = path.read_text("utf-8")
        if re.search(r"(?<![\w.~])/(?:work|root|tmp|home)/\w", text):
            bound.append(named(path))
        if any(unicodedata.category(c) in HIDDEN for c in set(text) - {"\n", "\t"}):
            hiding.append(named(path))
    assert not bound and not hiding


def test_locks_hold_hashes_and_no_registry() -> None:
    assert {path.name for path in LOCKS} == {"core.txt", "dev.txt", "uv.txt"}
    for path in LOCKS:
        text = path.read_text("utf-8")
        assert "://" not in text
        assert "--index" not in text
        requirements = re.findall(r"^\S+==\S+.*\\$\n    --hash=sha256:", text, re.MULTILINE)
        assert len(requirements) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) > 0


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for lock, asked in (
        ("core.txt", project["dependencies"]),
        ("dev.txt", [*project["dependencies"], *extras["dev"], *extras["bench"]]),
    ):
        locked = re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements" / lock).read_text("utf-8"), re.MULTILINE)
        names = {re.split(r"[<>=\[; ]", requirement)[0].lower().replace("_", "-") for requirement in asked}
        assert names <= set(locked)


def test_the_development_lock_pins_the_same_versions() -> None:
    core, dev = (
        dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8"), re.MULTILINE))
        for name in ("core", "dev")
    )
    assert core.items() <= dev.items()
