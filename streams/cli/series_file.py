"""Reads a plain time series from a CSV as found in the wild, and writes it scored: a line for each line, in order.

A row keeps its own text for time and value. A row whose value is blank or no number (NaN, null) has none; what is no
number at all, a time that cannot be read or a missing column is an error with its line.
"""

import csv
import gzip
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from detector.errors import UsageError

STDIN = "-"
TIME_NAMES = ("timestamp", "time", "datetime", "date", "@timestamp", "ts", "ds", "t")
VALUE_NAMES = ("value", "y", "val", "count", "metric", "v")
BAD_NAMES = ("bad", "failures", "failed", "errors")
TOTAL_NAMES = ("total", "attempts", "requests", "n", "count")
NO_VALUE = frozenset({"", "nan", "null", "none", "na", "n/a", "-", "inf", "+inf", "-inf", "infinity", "-infinity"})
SCORED = ("timestamp", "value", "expected", "low", "high", "anomaly_score", "alert")
LARGEST = 1e100
"""Squares and sums of such values are finite still."""
_YEARS_IN_S = 100_000_000_000
"""Beyond it a whole number is no time in seconds (the year 5138) but in milliseconds, micro- or nanoseconds."""


@dataclass(frozen=True)
class SeriesRow:
    """One line: `value` is NaN where it has none; `total` only for shares."""

    line: int
    stamp: str
    text: str
    time_ms: int
    value: float
    total: float | None = None


def read_series(source: str, *, share: bool = False) -> list[SeriesRow]:
    """Return the rows of a file (`-` is standard input; `.gz` is unpacked), in their order.

    Raises
    ------
    UsageError
        A column is missing, a time or a number can't be read, or there are no rows: with the line.
    """
    with _opened(source) as lines:
        try:
            return list(_rows(source, lines, share))
        except UnicodeDecodeError as error:
            message = f"{source}: not UTF-8 text ({error.reason}); save it as CSV in UTF-8"
            raise UsageError(message) from None
        except (csv.Error, gzip.BadGzipFile, EOFError) as error:
            message = f"{source}: can't be read as CSV: {error}"
            raise UsageError(message) from None


@contextmanager
def _opened(source: str) -> Iterator[Iterable[str]]:
    if source == STDIN:
        yield sys.stdin
    elif source.endswith(".gz"):
        with gzip.open(source, "rt", encoding="utf-8-sig", newline="") as packed:
            yield packed
    else:
        with Path(source).open(encoding="utf-8-sig", newline="") as file:
            yield file


def _rows(source: str, lines: Iterable[str], share: bool) -> Iterator[SeriesRow]:
    feed = iter(lines)
    head = next(feed, "").lstrip("\ufeff")
    if not head.strip():
        message = f"{source}: the file is empty; a header is expected, such as {_wanted(share)}"
        raise UsageError(message)
    delimiter = max(",;\t", key=head.count)
    header = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter))]
    columns = _columns(source, header, share)
    reader = csv.reader(feed, delimiter=delimiter)
    found = 0
    for cells in reader:
        if not cells:
            continue
        line = reader.line_num + 1
        where = f"{source}:{line}"
        if len(cells) <= max(columns):
            message = f"{where}: expected {len(header)} columns as in the header, found {len(cells)}"
            raise UsageError(message)
        found += 1
        yield _row(where, line, [cells[column] for column in columns], share)
    if not found:
        message = f"{source}: no rows after the header"
        raise UsageError(message)


def _columns(source: str, header: Sequence[str], share: bool) -> list[int]:
    names = [TIME_NAMES, BAD_NAMES, TOTAL_NAMES] if share else [TIME_NAMES, VALUE_NAMES]
    columns = [next((header.index(name) for name in wanted if name in header), -1) for wanted in names]
    if not share and columns[1] < 0 and columns[0] >= 0 and len(header) == 2:
        columns[1] = 1 - columns[0]
    for wanted, column in zip(names, columns, strict=True):
        if column < 0:
            found = ",".join(header[:8]) + (",…" if len(header) > 8 else "")
            do = _advice(header, share)
            message = f"{source}:1: no column '{wanted[0]}' (or {', '.join(wanted[1:])}); found {found}{do}"
            raise UsageError(message)
    return columns


def _advice(header: Sequence[str], share: bool) -> str:
    """Return what to do about a header that lacks a column, where it can be told."""
    if any(parse_time(cell) is not None for cell in header):
        return f" (the first line has to be a header, such as {_wanted(share)})"
    if not share and set(BAD_NAMES) & set(header) and set(TOTAL_NAMES) & set(header):
        return " (--kind share takes bad ones of a total)"
    return ""


def _wanted(share: bool) -> str:
    return "timestamp,bad,total" if share else "timestamp,value"


def _row(where: str, line: int, cells: Sequence[str], share: bool) -> SeriesRow:
    stamp = cells[0].strip()
    time_ms = parse_time(stamp)
    if time_ms is None:
        message = f"{where}: '{stamp}' is no time; write ISO 8601 or epoch seconds or milliseconds"
        raise UsageError(message)
    numbers = [_number(where, cell) for cell in cells[1:]]
    if not share:
        return SeriesRow(line, stamp, cells[1].strip(), time_ms, numbers[0])
    bad, total = numbers
    if bad < 0 or total < bad:
        message = f"{where}: {cells[1]} bad of {cells[2]}; 0 ≤ bad ≤ total is expected"
        raise UsageError(message)
    known = bad == bad and total > 0
    return SeriesRow(line, stamp, f"{bad / total:.6g}" if known else "", time_ms, bad if known else math.nan, total)


def _number(where: str, cell: str) -> float:
    text = cell.strip()
    if text.lower() in NO_VALUE:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        do = "write 1234.5, without thousands" if "," in text else "leave the cell empty where there is no value"
        message = f"{where}: '{text}' is no number; {do}"
        raise UsageError(message) from None
    if abs(number) > LARGEST:
        message = f"{where}: '{text}' is beyond {LARGEST:g}; leave the cell empty where there is no value"
        raise UsageError(message)
    return number


def parse_time(text: str) -> int | None:
    """Epoch milliseconds of a time as text, or None: ISO 8601 with or without a zone (then UTC), or epoch s to ns.

    Examples
    --------
    >>> parse_time("2026-01-01 00:00:00"), parse_time("2026-01-01T07:00+07:00"), parse_time("2026/01/01")
    (1767225600000, 1767225600000, 1767225600000)
    >>> parse_time("1767225600"), parse_time("1767225600000"), parse_time("1767225600.5"), parse_time("noon")
    (1767225600000, 1767225600000, 1767225600500, None)
    """
    try:
        number = float(text)
    except ValueError:
        return _iso(text)
    if not math.isfinite(number):
        return None
    scale = 1_000.0
    for _ in range(3):
        if abs(number) < _YEARS_IN_S:
            break
        number /= 1_000
    return round(number * scale) if abs(number) < _YEARS_IN_S else None


def _iso(text: str) -> int | None:
    plain = text.strip().removesuffix(" UTC").replace("/", "-")
    try:
        when = datetime.fromisoformat(plain)
    except ValueError:
        return None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1_000)


@contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """Open a scored file; it takes its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
