"""Write the tables of docs/quality.md from the committed results: goals beside what was reached, and all figures.

    python -m benchmarks.quality.page

What stands between `<!-- goals: NAME -->` or `<!-- tables: BENCHMARK -->` and `<!-- end -->` is written anew; all else
is left as it is.
"""

import re
import sys
from pathlib import Path

from benchmarks.quality.goals import GOALS, Goal
from benchmarks.quality.report import RESULTS, BadReport, Report, Row, read_all

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quality.md"
PART = re.compile(r"(?<=<!-- )(goals|tables): ([\w ]+?)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
OPEN = "not measured yet"


def goals(name: str, reports: list[Report]) -> str:
    """Return a table of goals, and the commands behind it."""
    lines, sources = ["| | goal | reached | | from |", "|---|---|---|---|---|"], dict[str, None]()
    for goal in GOALS[name]:
        shown, verdict, used = _reached(goal, reports)
        sources |= dict.fromkeys(used)
        lines.append(f"| {goal.what} | {goal.goal} | {shown} | {verdict} | {', '.join(f'`{one}`' for one in used)} |")
    commands = {report.name: report.command for report in reports}
    return "\n".join([*lines, *_commands({source: commands[source] for source in sources})])


def _reached(goal: Goal, reports: list[Report]) -> tuple[str, str, list[str]]:
    found = [ask(reports) for ask in goal.asks]
    there = [one for one in found if one is not None]
    if not there:
        return "–", OPEN, []
    met = sum(one.met for one in there)
    verdict = "**met**" if met == len(found) else "missed" if not met else f"{met} of {len(found)} met"
    if len(there) < len(found):
        verdict += f", {len(found) - len(there)} {OPEN}"
    shown = " / ".join("–" if one is None else one.shown for one in found)
    used = dict.fromkeys(source for one in there for source in one.source.split(", "))
    return shown, verdict, list(used)


def _commands(commands: dict[str, str]) -> list[str]:
    return ["", *(f"- `{name}`: `{command}`" for name, command in commands.items())] if commands else []


def tables(benchmark: str, reports: list[Report]) -> str:
    """Return the tables of all reports of a benchmark; those of one title as one."""
    of = [report for report in reports if report.benchmark == benchmark]
    if not of:
        return f"*{benchmark}: {OPEN}.*"
    joined: dict[str, list[Row]] = {}
    for report in of:
        for title, rows in report.tables.items():
            joined.setdefault(title, []).extend(rows)
    lines: list[str] = []
    for title, rows in joined.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines += [f"**{title}**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [f"| {' | '.join(_cell(row.get(column)) for column in columns)} |" for row in rows] + [""]
    return "\n".join([*lines[:-1], *_commands({report.name: report.command for report in of})])


def _cell(value: object) -> str:
    return "–" if value is None or value == "-" else str(value).replace("|", "\\|")


def filled(text: str, reports: list[Report]) -> str:
    """Return a page with all its parts written anew.

    Raises
    ------
    BadReport
        The page asks for goals that are not listed.
    """

    def part(match: re.Match[str]) -> str:
        kind, name, end = match.groups()
        if kind == "goals" and name not in GOALS:
            message = f"{name}: no such goals; known are {', '.join(GOALS)}"
            raise BadReport(message)
        body = goals(name, reports) if kind == "goals" else tables(name, reports)
        return f"{kind}: {name}{end}\n{body}\n\n"

    made, number = PART.subn(part, text)
    if number != text.count("<!-- end -->"):
        message = "a part has no `<!-- goals: NAME -->` or no `<!-- end -->`"
        raise BadReport(message)
    return made


def main() -> int:
    try:
        PAGE.write_text(filled(PAGE.read_text("utf-8"), read_all(RESULTS)), "utf-8")
    except BadReport as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
