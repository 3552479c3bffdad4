"""Local time: a customer's zone by its name, and when quiet hours end there.

A zone's name comes from the directory or the configuration and may be wrong: an unknown one falls back to the
default, and that one to UTC.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from detector.config import QuietHours

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+)*")


@lru_cache(maxsize=1024)
def known(name: str) -> bool:
    """Whether `name` is a zone of the IANA database.

    Examples
    --------
    >>> known("Asia/Jakarta"), known("Asia"), known("../etc/passwd"), known("")
    (True, False, False, False)
    """
    if not _NAME.fullmatch(name):
        return False
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder of zones is an OSError, an unknown one a KeyError
        return False
    return True


def settle(name: str, default: str) -> str:
    """`name` where it is a zone, else `default`, else UTC.

    Examples
    --------
    >>> settle("Asia/Makassar", "Asia/Jakarta"), settle("Mars/Olympus", "Asia/Jakarta"), settle("", "nowhere")
    ('Asia/Makassar', 'Asia/Jakarta', 'UTC')
    """
    return next((n for n in (name, default) if known(n)), "UTC")


def zone(name: str) -> tzinfo:
    return ZoneInfo(name) if known(name) else UTC


def local(at_ms: int, name: str) -> datetime:
    """The local time of an instant in the zone `name`."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(zone(name))


@lru_cache(maxsize=4096)
def quiet_until(now_ms: int, name: str, quiet: QuietHours) -> int | None:
    """When the quiet hours that hold at `now_ms` in the zone `name` end; None outside them.

    Examples
    --------
    >>> night = QuietHours(start_minute=21 * 60, end_minute=7 * 60)
    >>> quiet_until(16 * 3_600_000, "Asia/Jakarta", night)  # 23:00 WIB
    86400000
    >>> quiet_until(0, "Asia/Jakarta", night) is None  # 07:00 WIB
    True
    """
    start, end = quiet.start_minute, quiet.end_minute
    here = local(now_ms, name)
    minute = here.hour * 60 + here.minute
    inside = start <= minute < end if start < end else minute >= start or minute < end
    if start == end or not inside:
        return None
    day = here.date() + timedelta(days=1 if minute >= end else 0)
    over = datetime(day.year, day.month, day.day, tzinfo=here.tzinfo) + timedelta(minutes=end)
    return int(over.timestamp() * 1000)
