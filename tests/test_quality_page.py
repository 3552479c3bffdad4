"""The page of quality: current, and honest about what was missed or not measured."""

from typing import Any

import pytest

from benchmarks.quality.figures import COLUMNS
from benchmarks.quality.goals import GOALS, rows_of
from benchmarks.quality.page import OPEN, PAGE, filled, goals, tables
from benchmarks.quality.report import RESULTS, BadReport, Report, read_all

TITLE = "300 segments, noise × 1.0, budget 1 a week, share"


def delays(*rows: dict[str, Any], title: str = TITLE) -> Report:
    return Report("segments delay", "python -m benchmarks.quality.segments delay", {title: list(rows)}, "delay-300")


def line(what: str, *reports: Report, of: str = "segments") -> str:
    """Return the line of a goal."""
    (found,) = (one for one in goals(of, list(reports)).splitlines() if one.startswith(f"| {what}"))
    return found


def test_the_page_is_current() -> None:
    text = PAGE.read_text("utf-8")
    assert filled(text, read_all(RESULTS)) == text, "run `python -m benchmarks.quality.page`"


def test_the_page_shows_all_goals_and_all_benchmarks() -> None:
    text = PAGE.read_text("utf-8")
    for name in GOALS:
        assert f"<!-- goals: {name} -->" in text
    for name in COLUMNS:
        assert f"<!-- tables: {name} -->" in text
    for goal in (goal for of in GOALS.values() for goal in of):
        assert f"| {goal.what} | {goal.goal} |" in text


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    for name in GOALS:
        for goal in goals(name, []).splitlines()[2:]:
            assert goal.endswith(f"| – | {OPEN} |  |")
    assert tables("joint", []) == f"*joint: {OPEN}.*"


@pytest.mark.parametrize(
    ("found", "windows", "shown"),
    [
        pytest.param("97", "30", "| 97 % / 30 | **met** |", id="met"),
        pytest.param("96", "31", "| 96 % / 31 | missed |", id="missed"),
        pytest.param("98", "31", "| 98 % / 31 | 1 of 2 met |", id="one of two"),
        pytest.param("40", "-", "| 40 % / none | missed |", id="never found"),
    ],
)
def test_a_goal_is_met_if_all_its_figures_are(found: str, windows: str, shown: str) -> None:
    report = delays({"problem": "x2", "found %": found, "windows": windows})
    assert shown in line("×2 in one value", report)
    assert line("×2 in one value", report).endswith("`delay-300` |")


def test_a_goal_of_several_scales_says_which_are_open() -> None:
    report = delays({"problem": "x5", "found %": "100", "windows": "2"})
    assert f"| – / 2 / – / – | 1 of 4 met, 3 {OPEN} |" in line("×5 in one value", report)


def test_other_noise_and_budgets_are_not_taken_for_the_goals() -> None:
    for title in (TITLE.replace("1.0", "2.0"), TITLE.replace("budget 1 ", "budget 7 "), TITLE.replace("share", "down")):
        assert OPEN in line("×2 in one value", delays({"problem": "x2", "found %": "99", "windows": "3"}, title=title))


def test_causes_are_weighed_by_what_was_found() -> None:
    rows = [
        {"problem": kind, "planted": 10, "found %": found, "cause right %": right, "10 later %": later}
        for kind, found, right, later in (("x5", "100", "100", "100"), ("two at once", "50", "70", "40"))
    ]
    assert "| 90 % / 80 % / 40 % | missed |" in line("cause right", delays(*rows))


def test_a_peer_that_is_ahead_is_named() -> None:
    rows = [
        {"problem": "x5", "Watch": "100 · 2", "static limit": "100 · 2", "seasonal band": "50 · 1"},
        {"problem": "x2", "Watch": "80 · 30", "static limit": "80 · -", "seasonal band": "80 · 20"},
        {"problem": "all x2", "Watch": "50 · -", "static limit": "60 · 200", "seasonal band": "0 · -"},
    ]
    found = line("peers", delays(*rows, title="300 segments: found % · median windows; peers at 1 false cases a week"))
    assert "behind in 1 of 3; not in x2 (300: seasonal band); all x2 (300: static limit)" in found
    assert "| missed |" in found


def test_every_goal_that_is_measured_finds_its_figures_in_the_results() -> None:
    """A goal that names a figure which no report has would stay open for ever."""
    reports = read_all(RESULTS)
    measured = {report.benchmark for report in reports}
    for benchmark, names in (("causes", ["causes"]), ("series", ["series"]), ("segments cost", ["speed"])):
        if benchmark in measured:
            for goal in (goal for name in names for goal in GOALS[name]):
                assert all(one(reports) is not None for one in goal.asks), goal.what
    assert list(rows_of(reports, "causes", "^Causes, "))


def test_a_share_of_quiet_weeks_says_of_how_many_and_weeks_that_only_teach_are_not_measured() -> None:
    row = {"segments": 300, "quiet weeks": 2, "within %": 100.0, "later: mean/λ*": "-"}
    report = Report("segments budget", "", {"Quiet weeks, noise × 1.0, budget 1 a week, share": [row]}, "b")
    assert f"| – / 100 % (of 2) / – / – | 1 of 4 met, 3 {OPEN} |" in line("quiet weeks within", report)
    assert OPEN in line("budget used", report)


def test_tables_of_one_title_are_joined() -> None:
    one, two = ({"segments": n, "a week": n / 10} for n in (10, 300))
    reports = [Report("segments budget", f"run {i}", {"Quiet": [row]}, f"b{i}") for i, row in enumerate((one, two))]
    assert tables("segments budget", reports) == (
        "**Quiet**\n\n| segments | a week |\n|---|---|\n| 10 | 1.0 |\n| 300 | 30.0 |\n\n- `b0`: `run 0`\n- `b1`: `run 1`"
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<!-- goals: luck -->\n<!-- end -->", id="unknown goals"),
        pytest.param("<!-- goal: series -->\n<!-- end -->", id="no such part"),
    ],
)
def test_a_part_that_nobody_can_fill_is_an_error(text: str) -> None:
    with pytest.raises(BadReport):
        filled(text, [])


def test_what_is_written_by_hand_stays() -> None:
    text = "before\n<!-- tables: joint -->\nold\n<!-- end -->\nafter"
    assert filled(text, []) == f"before\n<!-- tables: joint -->\n\n*joint: {OPEN}.*\n\n<!-- end -->\nafter"
