"""`tocsin explain`: which dimension values explain what deviates in one window, read from a CSV file."""

import csv
import gzip
import io
import math
import sys
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import click

from detector.errors import UsageError
from streams.cli import common
from streams.cli.common import json_option, option

if TYPE_CHECKING:
    from detector.attribution import Cause, Cube, Kind

REAL, PREDICT, TRIALS = "real", "predict", "trials"
_GZIP = b"\x1f\x8b"
LARGEST = 1e100
"""Squares and sums of such numbers are finite still."""


@common.command(
    example="tocsin explain cube.csv\ntocsin explain cube.csv.gz --kind count --json\n"
    "zcat cube.csv.gz | tocsin explain -",
    exits={common.NO: "nothing stands out", common.UNREACHABLE: ""},
)
@click.argument("cube", metavar="CUBE.csv")
@option(
    "--kind",
    type=click.Choice(["count", "value"]),
    default=None,
    help="What `real` holds: how often something happened, or a value. Guessed unless given.",
)
@json_option
def command(cube: str, kind: str | None, as_json: bool) -> int:
    """Name the dimension values that explain what deviates in one window.

    CUBE.csv (or .csv.gz, or - for standard input) has a column for each dimension, then `real` and `predict`, and for
    shares `trials`; a row for each combination of values. The causes come best first; "everything" is a cause as well.
    """
    from detector.attribution import explain

    shown = "standard input" if cube == "-" else cube
    with _opened(cube) as file:
        read, counts = _read(file, shown)
    chosen = _kind(kind, read, counts, shown)
    found = explain(read, chosen)
    if as_json:
        common.print_json({"kind": chosen.value, "causes": [_document(cause) for cause in found.causes]})
    elif not found.causes:
        click.echo(f"Nothing stands out among {read.leaves:,} rows.")
    else:
        _print(found.causes)
    return common.DONE if found.causes else common.NO


@contextmanager
def _opened(name: str) -> Iterator[IO[str]]:
    """The text of a file or of standard input, unpacked where it is gzipped."""
    raw: IO[bytes] = io.BytesIO(sys.stdin.buffer.read()) if name == "-" else open(name, "rb")
    if not raw.seekable():
        with raw:
            raw = io.BytesIO(raw.read())
    try:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        if name.endswith(".gz") and not packed:
            message = f"{name}: expected a gzip file, found none (rename it without .gz if it is plain text)"
            raise UsageError(message)
        unpacked = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            yield io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="")
        except (EOFError, gzip.BadGzipFile, zlib.error):
            message = f"{name}: the gzip data is damaged or cut off (copy the file again)"
            raise UsageError(message) from None
        except UnicodeDecodeError:
            message = f"{name}: expected UTF-8 text, found other bytes (convert the file)"
            raise UsageError(message) from None
    finally:
        raw.close()


def _read(file: IO[str], name: str) -> tuple["Cube", bool]:
    """Read a cube; also say whether `real` holds nothing but whole numbers from 0 on."""
    from detector.attribution import Cube

    head = file.readline()
    delimiter = max(",;\t", key=head.count)
    try:
        header = _header(next(csv.reader([head], delimiter=delimiter), []))
        measures = _measures(header, name)
        dimensions = [i for i, column in enumerate(header) if column not in measures]
        texts: list[list[str]] = [[] for _ in dimensions]
        numbers = {column: array("d") for column in measures}
        rows = csv.reader(file, delimiter=delimiter)
        for row in rows:
            if not row:
                continue
            line = rows.line_num + 1
            if len(row) != len(header):
                message = f"{name}: line {line}: expected {len(header)} fields, found {len(row)}"
                raise UsageError(message)
            for values, i in zip(texts, dimensions, strict=True):
                values.append(row[i])
            for column, i in measures.items():
                numbers[column].append(_number(row[i], f"{name}: line {line}: {column}"))
            if TRIALS in numbers:
                _check_trials(numbers, f"{name}: line {line}")
    except csv.Error as error:
        message = f"{name}: no CSV: {error}"
        raise UsageError(message) from None
    if not numbers[REAL]:
        message = f"{name}: expected rows below the header, found none"
        raise UsageError(message)
    whole = all(value >= 0 and value == math.floor(value) for value in numbers[REAL])
    columns = {header[i]: values for i, values in zip(dimensions, texts, strict=True)}
    return Cube.of(columns, numbers[REAL], numbers[PREDICT], numbers.get(TRIALS)), whole


def _header(columns: list[str]) -> list[str]:
    """Return the names of the columns; those of numbers are known in any case of letters."""
    names = [column.strip() for column in columns]
    return [name.lower() if name.lower() in (REAL, PREDICT, TRIALS) else name for name in names]


def _measures(header: list[str], name: str) -> dict[str, int]:
    """Where the columns of numbers stand."""
    if not header:
        message = f"{name}: expected a header line and rows, found an empty file"
        raise UsageError(message)
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        message = f"{name}: expected each column once, found '{twice[0]}' {header.count(twice[0])} times"
        raise UsageError(message)
    missing = [column for column in (REAL, PREDICT) if column not in header]
    if missing:
        message = f"{name}: expected columns 'real' and 'predict', found no '{missing[0]}' among {', '.join(header)}"
        raise UsageError(message)
    measures = {column: header.index(column) for column in (REAL, PREDICT, TRIALS) if column in header}
    if len(measures) == len(header):
        message = f"{name}: expected at least one dimension column beside {', '.join(measures)}, found none"
        raise UsageError(message)
    return measures


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        message = f"{where}: expected a number, found '{text}'"
        raise UsageError(message)
    if abs(value) > LARGEST:
        message = f"{where}: expected {LARGEST:g} at most, found '{text}'"
        raise UsageError(message)
    return value


def _check_trials(numbers: dict[str, "array[float]"], where: str) -> None:
    trials, real = numbers[TRIALS][-1], numbers[REAL][-1]
    if trials < 0:
        message = f"{where}: trials: expected 0 or more, found {trials:g}"
        raise UsageError(message)
    if real > trials:
        message = f"{where}: real: expected no more than the {trials:g} trials, found {real:g}"
        raise UsageError(message)


def _kind(given: str | None, cube: "Cube", whole: bool, name: str) -> "Kind":
    from detector.attribution import Kind

    if given is None:
        chosen = Kind.COUNT if whole or cube.trials is not None else Kind.VALUE
        why = "there is a column of trials" if cube.trials is not None else f"real {'is' if whole else 'is not'} whole"
        common.say(f"Taken as {chosen.value}: {why} (--kind says otherwise)")
    else:
        chosen = Kind(given)
    if chosen is Kind.COUNT:
        for column, values in ((REAL, cube.real), (PREDICT, cube.predict)):
            if (values < 0).any():
                message = f"{name}: {column}: expected 0 or more in a count, found {values.min():g} (try --kind value)"
                raise UsageError(message)
    return chosen


def _document(cause: "Cause") -> dict[str, object]:
    return {
        "where": dict(cause.where),
        "share_of_excess": cause.share_of_excess,
        "score": cause.score,
        "confidence": cause.confidence,
        "real": cause.observed,
        "predict": cause.expected,
        "same_as": [dict(where) for where in cause.same_as],
    }


def _print(causes: tuple["Cause", ...]) -> None:
    rows = []
    for cause in causes:
        rows.append(
            (
                _words(cause.where),
                f"{cause.share_of_excess:.0%}",
                f"{cause.observed:,.6g}",
                f"{cause.expected:,.4g}",
                f"{cause.score:,.1f}",
                f"{cause.confidence:.0%}",
            )
        )
        rows += [(f"  = {_words(where)}", "", "", "", "", "") for where in cause.same_as]
    columns = ("cause", "of the excess", "real", "predict", "score", "confidence")
    common.print_table(columns, rows, right=columns[1:])
    if any(cause.same_as for cause in causes):
        common.say("= marks other names of the very same rows: the data can't tell them apart")


def _words(where: tuple[tuple[str, str], ...]) -> str:
    missing = "''"
    return ", ".join(f"{dimension}={value or missing}" for dimension, value in where) or "everything"
