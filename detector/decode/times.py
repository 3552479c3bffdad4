"""Event times as they come → epoch milliseconds UTC.

Each form is read twice: `iso_ms` and `epoch_ms` read one value, carefully; `iso_column` and `epoch_column` read a block
at once and give up (None) on anything unusual. Where both give a result it is the same one.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from detector.events import Floats, Ints

Chars = NDArray[np.uint8]

_DAY_MS = 86_400_000
OLDEST_MS = 946_684_800_000
"""Start of the year 2000: what is older is taken for a broken clock."""
MAX_MS = 253_402_300_799_999
"""End of the year 9999: what is beyond is no time."""


class Unit(StrEnum):
    """How a time is written."""

    ISO = "iso"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


_PER_SECOND = {Unit.SECONDS: 1, Unit.MILLISECONDS: 1_000, Unit.MICROSECONDS: 10**6, Unit.NANOSECONDS: 10**9}
_EXACT = 2.0**53

_ZONE = r"[Zz]|[+-]\d\d(?::?\d\d)?"
_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[Tt ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,30}))?)?\s?(" + _ZONE + ")?", re.ASCII
)
_PLAIN = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,](\d{1,9}))?(" + _ZONE + ")?", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?", re.ASCII)
_DIGITS = re.compile(r"-?\d{1,25}(\.\d{1,25})?", re.ASCII)


def zone_offset_ms(zone: str) -> int | None:
    """Return the milliseconds that a zone such as +07:00 or Z is ahead of UTC; None where it is none.

    Examples
    --------
    >>> zone_offset_ms("+07:00"), zone_offset_ms("-0330"), zone_offset_ms("Z"), zone_offset_ms("WIB")
    (25200000, -12600000, 0, None)
    """
    if zone in ("Z", "z"):
        return 0
    match = _OFFSET.fullmatch(zone)
    if match is None or int(match[2]) > 23 or int(match[3] or 0) > 59:
        return None
    offset_ms = (int(match[2]) * 60 + int(match[3] or 0)) * 60_000
    return -offset_ms if match[1] == "-" else offset_ms


def day_number(year: int, month: int, day: int) -> int | None:
    """Return the days since 1970-01-01, also of the year 0; None where the calendar has no such day.

    References
    ----------
    Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.

    Examples
    --------
    >>> day_number(1970, 1, 2), day_number(2024, 2, 29), day_number(2026, 2, 29), day_number(0, 1, 1)
    (1, 19782, None, -719528)
    """
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return None
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]:
        return None
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def iso_ms(text: str, naive_offset_ms: int | None = None) -> int | None:
    """Return the time of an ISO 8601 text with date, time and zone; None where it is none. Fractions are cut to ms.

    Parameters
    ----------
    naive_offset_ms
        The zone of texts that state none; None: such a text is no time.

    Examples
    --------
    >>> iso_ms("2026-03-27T13:06:56.123456+07:00"), iso_ms("20260327T060656Z"), iso_ms("2026-03-27T13:06:56")
    (1774591616123, 1774591616000, None)
    """
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute = map(int, match.group(1, 2, 3, 4, 5))
    second = int(match[6] or 0)
    days = day_number(year, month, day)
    offset_ms = naive_offset_ms if match[8] is None else zone_offset_ms(match[8])
    if days is None or offset_ms is None or hour > 23 or minute > 59 or second > 60:
        return None
    of_second_ms = int((match[7] or "0")[:3].ljust(3, "0"))
    return days * _DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + of_second_ms - offset_ms


def iso_column(texts: Sequence[str], naive_offset_ms: int | None = None) -> Ints | None:
    """Return `iso_ms` of each text as int64[texts]; None where any of them is unusual.

    Texts of one length and zone are read as one matrix of characters; fractions of varying length by groups.
    """
    column = _iso_matrix(texts, naive_offset_ms)
    if column is not None:
        return column
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    distinct = np.unique(lengths)
    if not 1 < len(distinct) <= 10:
        return None
    column = np.empty(len(texts), np.int64)
    for length in distinct:
        rows = np.flatnonzero(lengths == length)
        part = _iso_matrix([texts[i] for i in rows.tolist()], naive_offset_ms)
        if part is None:
            return None
        column[rows] = part
    return column


def _iso_matrix(texts: Sequence[str], naive_offset_ms: int | None) -> Ints | None:
    match = _PLAIN.fullmatch(texts[0])
    if match is None:
        return None
    offset_ms = naive_offset_ms if match[2] is None else zone_offset_ms(match[2])
    joined = "\n".join(texts) + "\n"
    size = len(joined)
    if offset_ms is None or size != len(texts) * (len(texts[0]) + 1) or not joined.isascii():
        return None
    digits = _digits(len(match[1] or ""))
    form = bytearray(joined[: len(texts[0]) + 1].encode())
    for at in digits:
        form[at] = ord("0")
    low, span, date_weights, ms_weights = _form(bytes(form), digits, 1 << len(texts).bit_length())
    # The line ends make it exact: as many as texts, each at a row's end, so every row is one text.
    values = np.frombuffer(joined.encode(), np.uint8) - low[:size]
    if (values > span[:size]).any():
        return None
    matrix = values.reshape(len(texts), len(form)).astype(np.float64)
    of_day_ms = matrix @ ms_weights
    if of_day_ms.max() >= _DAY_MS:
        return None
    days = _days(matrix @ date_weights)
    if days is None:
        return None
    out: Ints = (of_day_ms + (days * _DAY_MS - offset_ms)).astype(np.int64)
    return out


def _digits(fraction: int) -> tuple[int, ...]:
    return (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, *range(20, 20 + fraction))


@lru_cache(maxsize=16)
def _form(form: bytes, digits: tuple[int, ...], rows: int) -> tuple[Chars, Chars, Floats, Floats]:
    """Return how texts of one form are read.

    For `rows` of them the lowest character in each place and the span above it, as they are joined; what each place
    adds to the date (yyyymmdd); what it adds to the milliseconds of the day.
    """
    span = np.zeros(len(form), np.uint8)
    span[list(digits)] = 9
    span[[11, 14, 17]] = 2, 5, 5
    date, of_day_ms = np.zeros(len(form)), np.zeros(len(form))
    date[list(digits[:8])] = 10.0 ** np.arange(7, -1, -1)
    of_day_ms[list(digits[8:14])] = 36_000_000, 3_600_000, 600_000, 60_000, 10_000, 1_000
    of_day_ms[list(digits[14:17])] = [100, 10, 1][: len(digits) - 14]
    return np.tile(np.frombuffer(form, np.uint8), rows), np.tile(span, rows), date, of_day_ms


def _days(date: Floats) -> Floats | float | None:
    """float64[rows], or one for all: day numbers of yyyymmdd; None where any is no day."""
    first = date[0]
    if (date == first).all():
        return _day(first)
    distinct, which = np.unique(date, return_inverse=True)
    numbers = [_day(one) for one in distinct]
    return None if None in numbers else np.array(numbers, np.float64)[which]


def _day(date: float) -> int | None:
    return day_number(int(date) // 10_000, int(date) // 100 % 100, int(date) % 100)


def epoch_ms(value: float | str, unit: Unit) -> int | None:
    """Return the milliseconds of a number (or its digits in a text) of seconds, ms, µs or ns; None where it is no time.

    Whole numbers are cut to ms, fractions rounded.

    Examples
    --------
    >>> epoch_ms(1774591616, Unit.SECONDS), epoch_ms("1774591616.1234", Unit.SECONDS), epoch_ms("now", Unit.SECONDS)
    (1774591616000, 1774591616123, None)
    >>> epoch_ms(1774591616123456789, Unit.NANOSECONDS)
    1774591616123
    """
    if isinstance(value, str):
        if not _DIGITS.fullmatch(value):
            return None
        value = float(value) if "." in value else int(value)
    if isinstance(value, int):
        return value * 1_000 // _PER_SECOND[unit]
    ms = value * (1_000 / _PER_SECOND[unit]) if unit is Unit.SECONDS else value / (_PER_SECOND[unit] / 1_000)
    return round(ms) if abs(ms) < _EXACT else None


def epoch_column(values: Sequence[float | str], unit: Unit) -> Ints | None:
    """Return `epoch_ms` of each value as int64[values]; None where any of them is unusual."""
    try:
        if isinstance(values[0], str):
            joined = "".join(values)  # type: ignore[arg-type]  # a number among them raises TypeError
            if not (joined.isascii() and joined.isdigit()):
                return None
            values = [int(text) for text in values]
        column = np.array(values)
    except (TypeError, ValueError):
        return None
    if column.dtype == np.int64:
        return _whole_ms(column, unit)
    if column.dtype == np.float64 and unit in (Unit.SECONDS, Unit.MILLISECONDS):
        factor = 1_000.0 if unit is Unit.SECONDS else 1.0
        if (np.abs(column) < _EXACT / factor).all():
            rounded: Ints = np.rint(column * factor).astype(np.int64)
            return rounded
    return None


def _whole_ms(column: Ints, unit: Unit) -> Ints | None:
    if unit is Unit.SECONDS:
        limit = MAX_MS // 1_000
        return column * 1_000 if -limit <= column.min() and column.max() <= limit else None
    return column // (_PER_SECOND[unit] // 1_000)
