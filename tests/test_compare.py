"""The comparison of results: what is lost is seen, what chance explains is not, and every figure has a direction."""

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.quality import (
    budget_of_segments,
    causes,
    compare,
    cost_of_segments,
    joint,
    ledger,
    report,
    series,
    values,
)
from benchmarks.quality.delay_of_segments import LATER, beside, summary
from benchmarks.quality.figures import COLUMNS, LIMIT, Better, Delay, Key, Rate, Share, Stated, figures
from benchmarks.quality.report import RESULTS, Report, command_line, read_all

DELAY = "segments delay"
TITLE = "300 segments"


def problems(**cells: Any) -> list[dict[str, Any]]:
    base = {"problem": "x5", "planted": 40, "found %": "90", "windows": "10", "cause right %": "90", "elsewhere": 1}
    return [{**base, **cells}]


def written(
    path: Path, rows: list[dict[str, Any]], benchmark: str = DELAY, title: str = TITLE, command: str = ""
) -> Path:
    command = command or path.stem
    path.write_text(json.dumps({"benchmark": benchmark, "command": command, "tables": {title: rows}}))
    return path


def compared(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    base: list[dict[str, Any]],
    head: list[dict[str, Any]],
    **of: str,
) -> tuple[int, dict[str, str]]:
    """Return the exit code and the verdicts by row and figure."""
    paths = [written(tmp_path / f"{name}.json", rows, **of) for name, rows in (("base", base), ("head", head))]
    code = compare.main([*map(str, paths), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["lost"] is bool(code)
    return code, {f"{one['row']}: {one['figure']}": one["verdict"] for one in told["figures"]}


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "head", "verdict"),
    [
        pytest.param("found %", "50", "lost", id="far fewer are found"),
        pytest.param("found %", "80", "within tolerance", id="chance"),
        pytest.param("found %", "100", "within tolerance", id="chance upwards"),
        pytest.param("windows", "30", "lost", id="later"),
        pytest.param("windows", "-", "lost", id="most are never found"),
        pytest.param("windows", "13", "within tolerance", id="a little later"),
        pytest.param("windows", "1", "gained", id="sooner"),
        pytest.param("cause right %", "60", "lost", id="wrong causes"),
        pytest.param("cause right %", "-", "nothing to say", id="nothing was found whose cause could be right"),
        pytest.param("cause right %", None, "gone", id="no figure any more"),
        pytest.param("elsewhere", 12, "lost", id="more false cases"),
        pytest.param("elsewhere", 3, "within tolerance", id="a few more"),
    ],
)
def test_a_change_beyond_chance_is_seen_and_one_within_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, head: object, verdict: str
) -> None:
    code, verdicts = compared(tmp_path, capsys, problems(), problems(**{column: head}))
    assert verdicts.pop(f"x5: {column}") == verdict
    assert set(verdicts.values()) == {"within tolerance"}
    assert code == (verdict in ("lost", "gone"))


def test_more_problems_show_a_smaller_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for planted, verdict in ((40, "within tolerance"), (1_000, "lost")):
        rows = [problems(planted=planted, **{"found %": found}) for found in ("90", "80")]
        assert compared(tmp_path, capsys, *rows)[1]["x5: found %"] == verdict


def test_many_small_losses_are_one_that_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, head = ([problems(problem=f"kind {i}", **{"found %": found})[0] for i in range(12)] for found in ("90", "80"))
    code, verdicts = compared(tmp_path, capsys, base, head)
    assert verdicts["kind 3: found %"] == "within tolerance"
    assert verdicts["all: found %"] == "lost"
    assert verdicts["all: cause right %"] == "within tolerance"
    assert code == 1


def test_counts_are_compared_by_the_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = problems(elsewhere=20)
    assert (
        compared(tmp_path, capsys, base, problems(planted=20, elsewhere=10))[1]["x5: elsewhere"] == "within tolerance"
    )
    assert compared(tmp_path, capsys, base, problems(planted=20, elsewhere=30))[1]["x5: elsewhere"] == "lost"


def test_rows_that_are_gone_are_a_loss_and_new_ones_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = problems(), problems(problem="x2")
    code, verdicts = compared(tmp_path, capsys, one + two, one)
    assert (code, verdicts["x2: found %"], verdicts["x5: found %"]) == (1, "gone", "within tolerance")
    code, verdicts = compared(tmp_path, capsys, one, one + two)
    assert (code, verdicts["x2: found %"]) == (0, "new")


def test_a_table_that_was_not_measured_is_missed_unless_it_is_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("base", "head"):
        (tmp_path / name).mkdir()
    for folder in ("base", "head"):
        written(tmp_path / folder / "300.json", problems())
    written(tmp_path / "base" / "5000.json", problems(), title="5000 segments")
    paths = [str(tmp_path / "base"), str(tmp_path / "head")]
    assert compare.main(paths) == 1
    assert "gone: segments delay · 5000 segments · x5 · found %: 90 → –" in capsys.readouterr().out
    assert compare.main([*paths, "--partial"]) == 0
    written(tmp_path / "head" / "300.json", problems(problem="x2"))
    assert compare.main([*paths, "--partial"]) == 2  # no figure in common: a wrong file is no result
    capsys.readouterr()
    written(tmp_path / "head" / "300.json", problems())
    assert compare.main([*paths, "--partial"]) == 0
    assert "not measured by head: 5000" in capsys.readouterr().out


def test_one_report_is_held_against_that_of_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, head = tmp_path / "base", tmp_path / "other.json"
    base.mkdir()
    for name in ("300", "5000"):
        written(base / f"{name}.json", problems(), title=f"{name} segments", command=f"run {name}")
    written(head, problems(), command="run 300")
    assert compare.main([str(base), str(head)]) == 0
    assert "not measured by head: 5000" in capsys.readouterr().out
    written(head, problems(**{"found %": "10"}), command="another")
    assert compare.main([str(base), str(head)]) == 1


def test_two_numbers_in_a_cell_are_two_figures_and_peers_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        [{"change": "+50 %", "planted": 40, "ranks": ranks, "limit": "90·20", "mean": mean, "p95": "1 · -"}]
        for ranks, mean in (("100·10", "90·5"), ("40 · -", "0 · -"))
    ]
    code, verdicts = compared(tmp_path, capsys, *rows, benchmark="values")
    assert code == 1
    assert verdicts == {
        "+50 %: ranks: found %": "lost",
        "+50 %: ranks: windows": "lost",
        "+50 %: limit: found %": "within tolerance",
        "+50 %: limit: windows": "within tolerance",
    }
    by = [[{"by": "tocsin detect", "standard": ours}, {"by": "3-sigma", "standard": 40}] for ours in (65.0, 60.0)]
    assert compared(tmp_path, capsys, *by, benchmark="series")[1] == {"tocsin detect: standard": "lost"}


def test_the_table_can_be_read_without_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    paths = [written(tmp_path / f"{f}.json", problems(**{"found %": f})) for f in ("90", "20")]
    assert compare.main(list(map(str, paths))) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "3 within tolerance" in out
    assert "lost: segments delay · 300 segments · x5 · found %: 90 → 20" in out


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(None, "No such file", id="absent"),
        pytest.param("{", "is no JSON", id="no JSON"),
        pytest.param("[]", "holds no `benchmark`", id="no report"),
        pytest.param('{"benchmark": "x", "tables": {"t": [1]}}', "holds no `benchmark`", id="no rows"),
        pytest.param('{"benchmark": "x", "tables": {}}', "x: no such benchmark", id="an unknown benchmark"),
        pytest.param(
            '{"benchmark": "joint", "tables": {"t": [{"problem": "x", "luck": 3}]}}',
            'nobody says whether "luck" should be high or low',
            id="a figure without a direction",
        ),
        pytest.param(
            '{"benchmark": "joint", "tables": {"t": [{"signals": "x", "false cases": "three"}]}}',
            "'three' is no figure",
            id="a word",
        ),
        pytest.param(
            '{"benchmark": "joint", "tables": {"t": [{"signals": "x", "false cases": 1},'
            ' {"signals": "x", "false cases": 2}]}}',
            "stands twice",
            id="two rows of one name",
        ),
        pytest.param('{"benchmark": "joint", "tables": {}}', "no figure in common", id="nothing"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, says: str
) -> None:
    bad = tmp_path / "bad.json"
    if text is not None:
        bad.write_text(text)
    assert compare.main([str(written(tmp_path / "base.json", problems())), str(bad)]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert says in found.err
    assert found.err.count("\n") == 1


def test_an_empty_folder_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(tmp_path), str(tmp_path)]) == 2
    assert "holds no report" in capsys.readouterr().err


# --- the table of figures --------------------------------------------------------------------------------------------

HIGHER = {
    *("found %", "cause right %", "10 later %", "within %", "first weeks within %", "later: within %"),
    *("river / Watch", "F1", "strict", "first right", "exact"),
    *("standard", "low FP", "low FN", "preset", "F1 preset", "F1 best", "recall at 0.2", "recall at 1"),
    *("seen at 1 a day", "seen, preset", "precision", "recall", "confirmed precision", "confirmed recall"),
}
LOWER = {
    *("windows", "onset off", "elsewhere", "a week", "worst", "weeks over", "later: a week", "false cases"),
    *("Watch / bare", "state bytes a segment", "falsely explained", "times plain scan", "off by"),
    *("median delay, windows", "false a day, preset"),
}
WHO = ("alone: ", "joint: ", "ranks: ", "limit: ")


@pytest.mark.parametrize("benchmark", [pytest.param(name, id=name) for name in COLUMNS])
def test_every_figure_has_the_right_direction(benchmark: str) -> None:
    judged = {
        name: kind for name, kind in COLUMNS[benchmark].items() if isinstance(kind, Share | Delay | Rate | Stated)
    }
    assert judged
    for name, kind in judged.items():
        plain = next((name.removeprefix(who) for who in WHO if name.startswith(who)), name)
        assert (plain in HIGHER, plain in LOWER) == (kind.better is Better.HIGHER, kind.better is Better.LOWER), name
    assert any(isinstance(kind, Key) for kind in COLUMNS[benchmark].values())


def known(benchmark: str, tables: dict[str, list[dict[str, Any]]]) -> int:
    """Return how many figures these tables hold; unknown columns raise."""
    return len(figures([Report(benchmark, "", tables)]))


@pytest.mark.slow
def test_the_columns_that_benchmarks_print_are_known() -> None:
    run: dict[str, Any] = {"a_minute": 3.0, "after": 4, "right": True, "right_later": True, "onset_error": -1.0}
    runs = [{**run, "elsewhere": 0, "peers": {"static limit": 5, "river GaussianScorer": None}}]
    assert f"{LATER} later %" in COLUMNS[DELAY]
    assert known(DELAY, {"a": [summary("x5", runs)], "b": [beside("x5", runs)]}) == 6
    options = argparse.Namespace(segments=[100], rounds=1, warm=2, seed=1)
    assert known("segments cost", cost_of_segments.run(options, Console(quiet=True))["tables"]) == 6
    options = argparse.Namespace(data=None, simulated=1, seed=1, only=None, half=None, verbose=False)
    options.methods = list(causes.METHODS)
    assert known("causes", causes.run(options, print)["tables"]) == 5 * 5 + 2 + 1
    one = {"found": 0.5, "median_windows": None, "cause_right": None}
    found = {"kinds": [{"kind": "x", "alone": one, "joint": one}], "moments": 4}
    found |= {"quiet_weeks": 2, "false_cases": {"alone": 1, "joint": 0}}
    assert known("joint", joint.tables(found, 1.0)) == 8
    result: dict[str, Any] = {"kind": "gamma", "segments": 300, "found": {}, "false_cases_a_week": {}}
    result["found"]["+50 %"] = {"ranks": (0.5, None), "limit": (1.0, 2.5), "mean": (0.0, None), "p95": (0.0, None)}
    result["false_cases_a_week"] = {"ranks": 0.5, "limit": 0.0, "mean at 3": 900.0, "p95 at 3": 800.0}
    assert known("values", values.tables([result], argparse.Namespace(problems=4, weeks=1.0))) == 6
    demo: dict[str, Any] = {"name": "api-1", "detected_at": "x", "cause_right": True, "affected_planted": 4}
    demo |= {f"{who}{what}": 0.5 for who in ("", "confirmed_", "oracle_") for what in ("precision", "recall")}
    demo["affected_found"] = 4
    assert known("ledger", ledger.tables([{"problems": [demo], "false_cases": []}], 2.0)) == 2 * 6 + 1
    assert {column for _, column in series.GOALS} <= set(COLUMNS["series"])


@pytest.mark.slow
def test_the_columns_of_the_budget_are_known() -> None:
    options = argparse.Namespace(scale=[10], weeks=1, tenants=1, noise=1.0, budget=1, measure="share", seed=1)
    assert known("segments budget", budget_of_segments.run(options, Console(quiet=True))["tables"]) == 7


def test_what_was_not_found_is_as_late_as_can_be() -> None:
    (row,) = problems(windows="-")
    found = figures([Report(DELAY, "", {TITLE: [row]})])
    assert found[DELAY, TITLE, "x5", "windows"].value == LIMIT


# --- the committed results -------------------------------------------------------------------------------------------


def test_committed_results_are_small_can_be_made_again_and_equal_themselves() -> None:
    for one, path in zip(read_all(RESULTS), sorted(RESULTS.glob("*.json")), strict=True):
        assert path.stat().st_size < 40_000, path.name
        module = one.benchmark.partition(" ")[0]
        assert f"{one.command} ".startswith(f"python -m benchmarks.quality.{module} "), path.name
        assert importlib.import_module(f"benchmarks.quality.{module}")
    found = figures(read_all(RESULTS))
    assert found
    assert {one.verdict for one in compare.compare(found, found)} <= {
        "within tolerance",
        "nothing to say",
    }


def test_an_older_report_is_brought_into_form_without_what_no_figure_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full, out = tmp_path / "full.json", tmp_path / "made" / "out.json"
    full.write_text(json.dumps({"tables": {TITLE: problems(windows=float("inf"))}, "scales": {"300": {"runs": [1]}}}))
    words = ["report", str(full), "--benchmark", DELAY, "--command", "python -m x", "--out", str(out)]
    monkeypatch.setattr("sys.argv", words)
    assert report.main() == 0
    kept = json.loads(out.read_text())
    assert kept == {"benchmark": DELAY, "command": "python -m x", "tables": {TITLE: problems(windows=None)}}
    full.write_text("[]")
    assert report.main() == 2
    assert "holds no `tables`" in capsys.readouterr().err


def test_a_command_leaves_out_what_changes_no_figure() -> None:
    words = ["delay", "--kinds", "to 100 %", "--cache", "x", "--json", "--out=y", "--scale", "10"]
    assert command_line("segments", words) == (
        'python -m benchmarks.quality.segments delay --kinds "to 100 %" --scale 10'
    )
