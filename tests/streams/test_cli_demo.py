"""The demo: what it refuses, what it prints, what it leaves."""

import json
from pathlib import Path

import pytest

from streams.cli.demo import prepare
from streams.cli.main import main

PROBLEM_FIELDS = {
    "name",
    "onset",
    "detected_at",
    "delay_s",
    "first_complaint",
    "cause_planted",
    "cause_found",
    "affected_planted",
    "affected_found",
    "precision",
    "recall",
    "confirmed_precision",
    "confirmed_recall",
    "oracle_precision",
    "oracle_recall",
    "told",
}


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert main(["demo", "--dir", str(tmp_path)]) == 2
    assert "give --dir another folder" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_earlier_demo_is_replaced_and_what_else_lies_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    prepare(folder)
    for name in ("events.ndjson", "tocsin.db", "tocsin.db-wal", "admin.token", "notes.txt"):
        (folder / name).write_text("old", encoding="utf-8")
    prepare(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["demo.json", "notes.txt"]


@pytest.mark.slow
def test_the_demo_tells_the_whole_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "our demo"
    size = ["--days", "0.5", "--rate", "4", "--dir", str(folder), "--seed", "1"]
    assert main(["demo", "--json", *size]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["seed"] == 1
    assert found["events"] > 100_000
    assert found["events_per_s"] > 0
    assert found["problems"]
    assert all(set(problem) >= PROBLEM_FIELDS for problem in found["problems"])
    assert isinstance(found["false_cases"], list)
    opened = [line for line in printed.err.splitlines() if " since " in line]
    assert len(opened) >= sum(problem["detected_at"] is not None for problem in found["problems"])
    assert main(["cases", "--all", "--json", "--db", str(folder / "tocsin.db")]) == 0
    cases = json.loads(capsys.readouterr().out)
    assert {p["case"] for p in found["problems"] if p["case"]} <= {case["id"] for case in cases}

    assert main(["demo", *size]) == 0
    text = capsys.readouterr().out
    for words in (
        "detected after",
        "planted complaint",
        "lead",
        "Halo ",
        "Hi ",
        "Its cases",
        "in the browser",
        "false case",
    ):
        assert words in text
    assert f"\n  tocsin cases --all --db '{folder / 'tocsin.db'}'\n" in text
    assert text.endswith(f"\n  tocsin run --config '{folder}' --db '{folder / 'tocsin.db'}'\n")
