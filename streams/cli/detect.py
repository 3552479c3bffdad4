"""`tocsin detect`: what is odd in a plain time series, as a summary, a scored CSV and a picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.errors import UsageError
from streams.cli import common
from streams.cli.common import json_option, option, plain

if TYPE_CHECKING:
    from detector.series import Row
    from streams.cli.series_file import SeriesRow

_KINDS = ("value", "count", "share")
_SHOWN = 20
_WIDTH = 72
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Scored:
    """One series with what the detector said of each row."""

    source: str
    name: str
    rows: "list[SeriesRow]"
    found: "list[Row]"

    @property
    def alerts(self) -> list[int]:
        """Return the rows that raise an incident."""
        return [i for i, row in enumerate(self.found) if row.alert]

    @property
    def without_value(self) -> int:
        """Return how many rows had no value."""
        return sum(1 for row in self.rows if row.value != row.value)


class _Place(click.ParamType):
    """A file, or a directory: one that is there, or one that ends with a slash and is made."""

    name = "path"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        if str(value).endswith("/"):
            Path(value).mkdir(parents=True, exist_ok=True)
        return Path(value)


@common.command(
    example="tocsin detect cpu.csv\n"
    "tocsin detect cpu.csv --out scored.csv --plot cpu.png\n"
    "tocsin detect metrics/*.csv --out scored/ --json\n"
    "tocsin detect logins.csv --kind share",
    exits={common.NO: ""},
)
@click.argument("series", metavar="SERIES.csv...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@option("--out", type=_Place(), metavar="FILE", help="Scored rows; with several series a directory.")
@option("--plot", type=_Place(), metavar="FILE", help="A PNG; with several series a directory.")
@option("--kind", type=click.Choice(_KINDS), default="value", help="What the numbers are.")
@json_option
def command(series: tuple[str, ...], out: Path | None, plot: Path | None, kind: str, as_json: bool) -> int:
    """Find incidents in plain time series.

    SERIES.csv has the columns timestamp,value (for --kind share: timestamp,bad,total); others are ignored. Times are
    ISO 8601 (UTC unless a zone is given) or epoch seconds or milliseconds; an empty value is a gap. `-` reads standard
    input; .csv.gz is unpacked. All series share one configuration and one preset threshold; no row is judged by later
    ones.

    --kind value is any gauge; count is events per row, watched for too many, too few and silence; share is bad ones
    of a total.

    --out gets a line for each input line: timestamp,value,expected,low,high,anomaly_score,alert. The score, 0 to 1,
    says how strongly an incident begins at the row; alert is 1 where it reaches 0.5.
    """
    names = _names(series)
    _refuse_collisions([*_targets(out, names, ".csv"), *_targets(plot, names, ".png")], series)
    documents = []
    for source, name in zip(series, names, strict=True):
        scored = _score(source, name, kind)
        for target in _targets(out, [name], ".csv", several=len(names) > 1):
            _write(target, scored)
        for target in _targets(plot, [name], ".png", several=len(names) > 1):
            _draw(target, scored)
        documents.append(_document(scored))
        if not as_json:
            _print(scored)
    if as_json:
        from detector.series import THRESHOLD

        common.print_json({"kind": kind, "threshold": THRESHOLD, "series": documents})
    return common.DONE


def _names(series: tuple[str, ...]) -> list[str]:
    from streams.cli.series_file import STDIN

    names = ["stdin" if s == STDIN else Path(s).name.removesuffix(".gz").removesuffix(".csv") for s in series]
    return names


def _targets(where: Path | None, names: list[str], suffix: str, *, several: bool | None = None) -> list[Path]:
    """Return the files to write: the one named, or NAME.suffix in a directory."""
    if where is None:
        return []
    if several if several is not None else len(names) > 1:
        if where.is_file():
            message = f"{where}: is a file; several series need a directory"
            raise UsageError(message)
        return [where / f"{name}{suffix}" for name in names]
    return [where / f"{names[0]}{suffix}" if where.is_dir() else where]


def _refuse_collisions(targets: list[Path], series: tuple[str, ...]) -> None:
    double = sorted({str(target) for target in targets if targets.count(target) > 1})
    if double:
        message = f"{double[0]}: two series would be written there; give their files different names"
        raise UsageError(message)
    inputs = {Path(source).resolve() for source in series if Path(source).exists()}
    for target in targets:
        if target.resolve() in inputs:
            message = f"{target}: is an input; write the result elsewhere"
            raise UsageError(message)


def _score(source: str, name: str, kind: str) -> Scored:
    from detector.series import SeriesDetector
    from streams.cli.series_file import read_series

    rows = read_series(source, share=kind == "share")
    if kind == "count":
        for row in rows:
            if row.value < 0:
                message = f"{source}: a count of {row.text} at {row.stamp}; counts are 0 or more (see --kind value)"
                raise UsageError(message)
    detector = SeriesDetector(kind)
    found = []
    with common.progress(f"Scoring {plain(name)}", len(rows)) as bar:
        for i, row in enumerate(rows):
            found.append(detector.step(row.time_ms, row.value, row.total))
            if i % 1_000 == 0:
                bar.to(i, f"{i:,} rows")
    return Scored(source, name, rows, found)


def _write(target: Path, scored: Scored) -> None:
    import csv

    from streams.cli.series_file import SCORED, writing

    with writing(target) as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(SCORED)
        for row, found in zip(scored.rows, scored.found, strict=True):
            numbers = (_text(found.expected), _text(found.low), _text(found.high), f"{found.score:.6f}")
            out.writerow((row.stamp, row.text, *numbers, int(found.alert)))


def _text(number: float) -> str:
    return f"{number:.7g}" if number == number else ""


def _draw(target: Path, scored: Scored) -> None:
    from detector.series import THRESHOLD
    from streams.cli.series_plot import plot_series

    columns = {name: [getattr(row, name) for row in scored.found] for name in ("expected", "low", "high", "score")}
    columns["value"] = [_shown_value(row) for row in scored.rows]
    target.parent.mkdir(parents=True, exist_ok=True)
    times = [row.time_ms for row in scored.rows]
    plot_series(target, plain(scored.name), times, columns, scored.alerts, THRESHOLD)


def _shown_value(row: "SeriesRow") -> float:
    return row.value / row.total if row.total else row.value


def _document(scored: Scored) -> dict[str, Any]:
    return {
        "file": scored.source,
        "rows": len(scored.rows),
        "without_value": scored.without_value,
        "incidents": [
            {
                "line": scored.rows[i].line,
                "time": common.utc(scored.rows[i].time_ms),
                "value": _shown_value(scored.rows[i]),
                "expected": scored.found[i].expected,
                "low": scored.found[i].low,
                "high": scored.found[i].high,
                "score": round(scored.found[i].score, 6),
            }
            for i in scored.alerts
        ],
    }


def _print(scored: Scored) -> None:
    alerts = scored.alerts
    first, last = min(r.time_ms for r in scored.rows), max(r.time_ms for r in scored.rows)
    gaps = f", {scored.without_value:,} without a value" if scored.without_value else ""
    incidents = "1 incident" if len(alerts) == 1 else f"{len(alerts) or 'no'} incidents"
    rows = "1 row" if len(scored.rows) == 1 else f"{len(scored.rows):,} rows"
    click.echo(f"{plain(scored.name)}: {incidents} in {rows}{gaps}, {_minute(first)} to {_minute(last)}")
    values = [_shown_value(row) for row in scored.rows]
    bars, marks = sparkline(values, alerts)
    if bars.strip():
        click.echo(f"  {bars}")
    if alerts:
        click.echo(f"  {marks}")
        table = [
            (
                _minute(scored.rows[i].time_ms),
                _number(values[i]),
                _expected(scored.found[i]),
                f"{scored.found[i].score:.2f}",
            )
            for i in alerts[:_SHOWN]
        ]
        common.print_table(("time", "value", "expected", "score"), table, right=("value", "score"))
        if len(alerts) > _SHOWN:
            click.echo(f"  and {len(alerts) - _SHOWN:,} more (--json or --out has all)")


def _minute(time_ms: int) -> str:
    return (common.utc(time_ms) or "")[:16].replace("T", " ")


def _expected(row: "Row") -> str:
    if row.expected != row.expected:
        return "–"
    return f"{_number(row.expected)} ({_number(row.low)} to {_number(row.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e15 else f"{value:.4g}"


def sparkline(values: list[float], marks: Iterable[int], width: int = _WIDTH) -> tuple[str, str]:
    """Return a line of blocks (the median of each stretch, or its marked value), and one with ▲ below the marks.

    Examples
    --------
    >>> sparkline([1.0, 1.0, 9.0, 1.0, float("nan")], [2])
    ('▁▁█▁ ', '  ▲')
    """
    stretch = -(-len(values) // width) or 1
    marked = {mark // stretch: values[mark] for mark in marks}
    shown: list[float | None] = []
    for i in range(0, len(values), stretch):
        here = sorted(value for value in values[i : i + stretch] if value == value)
        shown.append(marked.get(i // stretch, here[len(here) // 2] if here else None))
    known = [value for value in shown if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    size = (high - low) / len(_BARS)
    bars = [
        " " if value is None else _BARS[min(len(_BARS) - 1, int((value - low) / size)) if size else 0]
        for value in shown
    ]
    line = "".join("▲" if i in marked else " " for i in range(len(shown)))
    return "".join(bars), line.rstrip()
