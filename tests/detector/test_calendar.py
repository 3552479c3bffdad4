"""What kind of day a date is."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.calendar import Calendar, CalendarSpec, Kind, Like, OwnDay, known_countries

INDONESIA = Calendar(CalendarSpec())


@pytest.mark.parametrize(
    ("day", "kind", "like_sunday"),
    [
        pytest.param(date(2025, 3, 31), Kind.LEBARAN, True, id="the first day of Lebaran"),
        pytest.param(date(2025, 4, 1), Kind.LEBARAN, True, id="the second, though wages are paid"),
        pytest.param(date(2025, 4, 2), Kind.JOINT, True, id="cuti bersama"),
        pytest.param(date(2025, 3, 27), Kind.MUDIK, False, id="people travel home"),
        pytest.param(date(2025, 4, 6), Kind.BALIK, False, id="people come back"),
        pytest.param(date(2025, 3, 10), Kind.RAMADAN, False, id="Ramadan"),
        pytest.param(date(2026, 8, 17), Kind.HOLIDAY, True, id="Independence Day"),
        pytest.param(date(2026, 9, 9), Kind.DOUBLE, False, id="9.9"),
        pytest.param(date(2026, 8, 8), Kind.ORDINARY, False, id="8.8 is no sale"),
        pytest.param(date(2026, 12, 12), Kind.DOUBLE, False, id="Harbolnas"),
        pytest.param(date(2026, 6, 25), Kind.PAYDAY, False, id="the 25th"),
        pytest.param(date(2026, 7, 1), Kind.PAYDAY, False, id="the first"),
        pytest.param(date(2026, 7, 2), Kind.ORDINARY, False, id="the second"),
        pytest.param(date(2029, 2, 15), Kind.LEBARAN, True, id="an estimated Lebaran, years ahead"),
    ],
)
def test_a_date_in_indonesia_is_the_strongest_of_what_it_is(day: date, kind: Kind, like_sunday: bool) -> None:
    found = INDONESIA.day(day)
    assert (found.kind, found.like_sunday) == (kind.value, like_sunday)


def test_harbolnas_is_named_and_so_is_all_else_that_a_day_is() -> None:
    assert INDONESIA.day(date(2026, 12, 12)).names == ("Harbolnas",)
    assert INDONESIA.day(date(2026, 12, 25)).names == ("Christmas Day", "payday")


def test_days_begin_where_the_tenant_is() -> None:
    midnight_ms = 1_794_330_000_000  # 11 November 2026, 00:00 in Jakarta
    assert INDONESIA.at(midnight_ms)[0].kind == Kind.DOUBLE
    assert INDONESIA.local(midnight_ms - 1) == (date(2026, 11, 10), 23)
    assert Calendar(CalendarSpec(time_zone="UTC")).at(midnight_ms)[0].ordinary
    half = Calendar(CalendarSpec(time_zone="Asia/Kolkata"))  # 5:30 ahead
    assert [half.local(15 * 60_000 * i)[1] for i in (0, 1, 2)] == [5, 5, 6]


def test_the_users_own_day_is_stronger_than_any_other() -> None:
    own = OwnDay(name="founding day", first=date(2026, 8, 16), last=date(2026, 8, 17), like=Like.SUNDAY)
    calendar = Calendar(CalendarSpec(days=(own,)))
    day = calendar.day(date(2026, 8, 17))
    assert (day.kind, day.names, day.like_sunday) == ("own: founding day", ("founding day", "Independence Day"), True)
    assert calendar.day(date(2026, 8, 18)).ordinary


def test_a_country_without_sales_and_without_lebaran_has_its_holidays_only() -> None:
    germany = Calendar(CalendarSpec(country="DE", time_zone="Europe/Berlin"))
    days = [date(2026, 1, 1) + timedelta(days=i) for i in range(365)]
    assert {germany.day(d).kind for d in days} == {Kind.ORDINARY, Kind.HOLIDAY}
    assert germany.day(date(2026, 10, 3)).names == ("German Unity Day",)


def test_without_a_country_only_the_users_days_are_special() -> None:
    nowhere = Calendar(CalendarSpec(country=None))
    assert all(nowhere.day(date(2026, 1, 1) + timedelta(days=i)).ordinary for i in range(365))


def test_the_coming_days_begin_today() -> None:
    at_ms = 1_797_008_400_000  # 12 December 2026, 00:00 in Jakarta
    assert [d for d, _ in INDONESIA.coming(at_ms, 14)] == [date(2026, 12, d) for d in (12, 24, 25)]


def test_indonesia_is_among_the_countries() -> None:
    assert {"ID", "SG", "MY"} <= known_countries()


@given(st.dates(), st.sampled_from(["ID", "MY", "US", None]))
def test_every_date_has_one_kind_and_special_days_have_names_and_a_spread(day: date, country: str | None) -> None:
    found = Calendar(CalendarSpec(country=country)).day(day)
    assert found.ordinary == (not found.names)
    assert all((found.spread(hour) > 0) != found.ordinary for hour in range(24))
