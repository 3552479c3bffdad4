"""What kind of day a local date is: what the calendar expects to be unlike other days of its weekday.

From a country's holidays (the library `holidays`; Idul Fitri is estimated for years ahead), what follows from them
(Ramadan, the days before and after Lebaran), paydays, double dates, and the user's own days. A date has one kind, the
strongest of what it is, so that each kind is learned apart. Nothing here knows the time: the same date is always the
same day, with the same version of the library.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

ZONE = "Asia/Jakarta"
COUNTRY = "ID"
RAMADAN_DAYS = 30
"""Fasting before Idul Fitri: 29 or 30 days, as the moon is seen."""
MUDIK_DAYS, BALIK_DAYS = 7, 7
"""The week in which people travel home before Lebaran, and the one in which they come back."""
SALES_COUNTRIES = ("ID", "MY", "PH", "SG", "TH", "VN")
"""Where shops hold sales on 9.9, 10.10, 11.11 and 12.12 (in Indonesia Harbolnas)."""
FIRST_SALES_MONTH = 9
PAYDAY_COUNTRIES = ("ID",)
FIRST_PAYDAY = 25
"""Wages come between the 25th and the 1st; shops hold their payday sales then."""


class Kind(StrEnum):
    """What a day may be, the strongest first."""

    LEBARAN = "lebaran"
    DOUBLE = "double date"
    HOLIDAY = "holiday"
    JOINT = "joint holiday"  # cuti bersama
    MUDIK = "before lebaran"
    BALIK = "after lebaran"
    RAMADAN = "ramadan"
    PAYDAY = "payday"
    ORDINARY = ""


class Like(StrEnum):
    """What one of the user's own days is like before anything of it was learned."""

    SUNDAY = "sunday"
    OWN = "own"  # the hours of its weekday, and nobody knows how far off


class OwnDay(msgspec.Struct, frozen=True, kw_only=True):
    """Days that the user knows to be special, both ends included. Days of one name share what is learned."""

    name: str
    first: date
    last: date
    like: Like = Like.OWN


class CalendarSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which calendar holds."""

    country: str | None = COUNTRY
    """ISO 3166 code of a country that `holidays` knows; None: no days but the user's own."""
    time_zone: str = ZONE
    """Where days begin."""
    days: tuple[OwnDay, ...] = ()


@dataclass(frozen=True)
class Day:
    """What a date is.

    Attributes
    ----------
    kind : str
        What its profile is learned under; "" for an ordinary day.
    names : tuple of str
        All that it is, the strongest first, for people.
    like_sunday : bool
        Whether its hours are Sunday's until something else was learned.
    brief : bool
        Over within a few days: what happens in it is no new level.
    """

    kind: str
    names: tuple[str, ...] = ()
    like_sunday: bool = False
    brief: bool = False

    @property
    def ordinary(self) -> bool:
        return not self.kind

    def spread(self, hour: int) -> float:
        """Standard deviation of the log volume of such days in this hour (0–23), before anything was learned."""
        if self.kind == Kind.RAMADAN:
            return SAHUR_SPREAD if hour in MEAL_HOURS else RAMADAN_SPREAD
        return _SPREAD.get(self.kind, OWN_SPREAD) if self.kind else 0.0


_SPREAD: dict[str, float] = {
    Kind.LEBARAN: 0.6,
    Kind.DOUBLE: 0.7,
    Kind.HOLIDAY: 0.3,
    Kind.JOINT: 0.3,
    Kind.MUDIK: 0.35,
    Kind.BALIK: 0.35,
    Kind.PAYDAY: 0.15,
}
OWN_SPREAD, RAMADAN_SPREAD, SAHUR_SPREAD = 0.5, 0.2, 0.7
MEAL_HOURS = (2, 3, 4, 5, 17, 18, 19)
"""Sahur and iftar, and the hours that they move."""
_SUNDAYS = (Kind.LEBARAN, Kind.HOLIDAY, Kind.JOINT)
_BRIEF = (Kind.LEBARAN, Kind.DOUBLE, Kind.HOLIDAY, Kind.JOINT)
_NOTHING = Day("")


class Calendar:
    """The days of one calendar, by local date.

    Examples
    --------
    >>> calendar = Calendar(CalendarSpec())
    >>> calendar.day(date(2026, 3, 21)).names
    ('Eid al-Fitr',)
    >>> [calendar.day(date(2026, month, day)).kind for month, day in ((11, 11), (8, 17), (3, 1), (6, 26), (6, 24))]
    ['double date', 'holiday', 'ramadan', 'payday', '']
    >>> calendar.local(1_772_542_800_000)  # 20:00 in Jakarta
    (datetime.date(2026, 3, 3), 20)
    """

    def __init__(self, spec: CalendarSpec) -> None:
        self._spec = spec
        self._zone: tzinfo = ZoneInfo(spec.time_zone) if spec.time_zone != "UTC" else UTC
        self._days: dict[date, Day] = {}
        self._quarter, self._local = -1, (date.min, 0)

    def local(self, time_ms: int) -> tuple[date, int]:
        """The date and the hour of the day (0–23) of a moment."""
        quarter = time_ms // QUARTER_HOUR_MS  # no zone is off by less
        if quarter != self._quarter:
            here = (_EPOCH + timedelta(milliseconds=time_ms)).astimezone(self._zone)
            self._quarter, self._local = quarter, (here.date(), here.hour)
        return self._local

    def day(self, day: date) -> Day:
        """What a date is."""
        known = self._days.get(day)
        if known is None:
            known = self._days[day] = self._day(day)
        return known

    def at(self, time_ms: int) -> tuple[Day, int, int]:
        """What the day of a moment is, its weekday (0 is Monday), and the hour of the day."""
        here, hour = self.local(time_ms)
        return self.day(here), here.weekday(), hour

    def coming(self, time_ms: int, days: int) -> list[tuple[date, Day]]:
        """The days that are not ordinary, from the one of this moment on."""
        today = self.local(time_ms)[0]
        dates = [today + timedelta(days=i) for i in range(days)]
        return [(d, self.day(d)) for d in dates if not self.day(d).ordinary]

    def _day(self, day: date) -> Day:
        for own in self._spec.days:
            if own.first <= day <= own.last:
                others = tuple(name for _, name in self._known(day))
                return Day(f"own: {own.name}", (own.name, *others), own.like is Like.SUNDAY, brief=True)
        found = sorted(self._known(day), key=lambda one: list(Kind).index(one[0]))
        if not found:
            return _NOTHING
        kind = found[0][0]
        return Day(kind.value, tuple(dict.fromkeys(n for _, n in found)), kind in _SUNDAYS, kind in _BRIEF)

    def _known(self, day: date) -> list[tuple[Kind, str]]:
        """Return all that a date is, but for the user's own days."""
        country = self._spec.country
        if country is None:
            return []
        found = []
        if day in (holidays := _holidays(country, day.year)):
            joint, name = holidays[day]
            found.append((Kind.JOINT if joint else Kind.LEBARAN if _is_lebaran(name) else Kind.HOLIDAY, name))
        for eid in _lebarans(country, day.year):
            since = (day - eid).days
            if -MUDIK_DAYS <= since < 0:
                found.append((Kind.MUDIK, "before Lebaran"))
            elif 1 < since <= BALIK_DAYS:
                found.append((Kind.BALIK, "after Lebaran"))
            if -RAMADAN_DAYS <= since < 0:
                found.append((Kind.RAMADAN, "Ramadan"))
        if country in SALES_COUNTRIES and day.month == day.day >= FIRST_SALES_MONTH:
            name = "Harbolnas" if country == COUNTRY and day.month == 12 else f"{day.day}.{day.month}"
            found.append((Kind.DOUBLE, name))
        if country in PAYDAY_COUNTRIES and (day.day >= FIRST_PAYDAY or day.day == 1):
            found.append((Kind.PAYDAY, "payday"))
        return found


QUARTER_HOUR_MS = 900_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LANGUAGE = "en_US"
FIRST_YEAR, LAST_YEAR = 1980, 2070
"""Beyond these no holiday is estimated."""


def known_countries() -> frozenset[str]:
    """The codes that `country` may be."""
    import holidays

    return frozenset(holidays.list_supported_countries(include_aliases=False))


def _is_lebaran(name: str) -> bool:
    return name.startswith("Eid al-Fitr")


@lru_cache(maxsize=256)
def _holidays(country: str, year: int) -> dict[date, tuple[bool, str]]:
    """Return a year's holidays: whether the day is only the government's (cuti bersama), and its name."""
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return {}
    import holidays

    known: Any = getattr(holidays, country)
    language = _LANGUAGE if _LANGUAGE in known.supported_languages else known.default_language
    out: dict[date, tuple[bool, str]] = {}
    for category in ("government", "public"):
        if category in known.supported_categories:
            # Always with a language: the machine's must not decide.
            days = holidays.country_holidays(country, years=year, categories=(category,), language=language)
            out |= {day: (category == "government", name) for day, name in days.items()}
    return out


@lru_cache(maxsize=256)
def _lebarans(country: str, year: int) -> tuple[date, ...]:
    """Return the first days of Lebaran that a date of this year may be near."""
    days = sorted(
        day
        for near in (year - 1, year, year + 1)
        for day, (joint, name) in _holidays(country, near).items()
        if _is_lebaran(name) and not joint
    )
    return tuple(day for i, day in enumerate(days) if i == 0 or (day - days[i - 1]).days > BALIK_DAYS)
