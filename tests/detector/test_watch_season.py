"""The season: hours of the week in the tenant's own time, and special days."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.calendar import Calendar, CalendarSpec, OwnDay
from detector.config import DAY_MS, HOUR_MS
from detector.pack import pack, unpack
from detector.watch.season import Season

WIB_MS = 7 * HOUR_MS
JULY = int(datetime(2026, 7, 6, tzinfo=UTC).timestamp() * 1000) - WIB_MS
"""A Monday, 00:00 in Jakarta; ordinary days until the 24th."""


def at(year: int, month: int, day: int, hour: int = 12) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp() * 1000) - WIB_MS


def taught(season: Season, from_ms: int, hours: int, factor: float = 1.0) -> Season:
    """Live through hours in which `factor` times the expectation came, by day twice as much as by night."""
    for i in range(hours):
        time_ms = from_ms + i * HOUR_MS
        by_day = 1.5 if 8 <= (time_ms + WIB_MS) // HOUR_MS % 24 < 20 else 0.5
        season.learn(time_ms, 1000 * by_day * factor, 1000, HOUR_MS)
    return season


def new(**given: object) -> Season:
    return Season(50.0, by_day=True, absolute=True, moves=1.0, calendar=Calendar(CalendarSpec(**given)))  # type: ignore[arg-type]


def test_hours_of_the_week_are_the_tenants_own() -> None:
    season, nine_ms = new(), JULY + 9 * HOUR_MS
    taught(season, JULY, 8)
    assert season.known(JULY + 7 * DAY_MS) and not season.known(nine_ms + 7 * DAY_MS)
    taught(season, JULY + 8 * HOUR_MS, 5 * 24 - 8)
    assert 1.3 < season.of_hour(JULY + 7 * DAY_MS + 8 * HOUR_MS) < 1.7
    assert 0.3 < season.of_hour(JULY + 7 * DAY_MS + 8 * HOUR_MS - 1) < 0.7
    assert not season.known(nine_ms + 5 * DAY_MS), "no Saturday was seen"


def test_what_was_seen_once_and_is_far_above_the_other_days_is_taken_for_a_campaign() -> None:
    season = taught(new(), JULY, 4 * 24)
    season.learn(JULY + 4 * DAY_MS, 5000, 1000, HOUR_MS)
    assert season.of_hour(JULY + 11 * DAY_MS) < 0.8
    season.learn(JULY + 11 * DAY_MS, 5000, 1000, HOUR_MS)
    assert season.of_hour(JULY + 18 * DAY_MS) > 3, "twice is a season"


def test_a_double_date_teaches_its_own_kind_and_nothing_of_the_weeks_after() -> None:
    season = taught(new(), at(2026, 11, 2, 0), 9 * 24)  # to 10 November
    next_week = [season.of_hour(at(2026, 11, 18, hour)) for hour in range(24)]
    taught(season, at(2026, 11, 11, 0), 24, factor=4.0)
    assert [season.of_hour(at(2026, 11, 18, hour)) for hour in range(24)] == next_week
    assert 2.8 < season.of_hour(at(2026, 12, 12)) / season.of_hour(at(2026, 12, 5)) < 4.2


def test_a_holiday_is_like_a_sunday_until_one_was_seen() -> None:
    season = taught(new(), JULY, 6 * 24)
    taught(season, JULY + 6 * DAY_MS, 24, factor=0.4)  # Sunday
    independence = at(2026, 8, 17)  # a Monday
    assert season.of_hour(independence) == season.of_hour(at(2026, 8, 16))
    taught(season, at(2026, 8, 17, 0), 24, factor=0.1)
    assert season.of_hour(at(2026, 8, 25)) < 0.7 * season.of_hour(at(2026, 8, 23)), "the Prophet's birthday, learned"


def test_doubt_widens_the_noise_until_a_kind_was_seen_and_goes_when_the_day_is_over() -> None:
    season = taught(new(), at(2026, 11, 2, 0), 9 * 24)
    first = season.doubt(at(2026, 11, 11))
    assert first == pytest.approx(0.7**2)
    assert season.doubt(at(2026, 11, 10)) == 0
    taught(season, at(2026, 11, 11, 0), 24, factor=4.0)
    assert first > season.doubt(at(2026, 11, 12, 0)) > season.doubt(at(2026, 11, 12, 2)) > 0
    assert season.doubt(at(2026, 11, 12, 3)) == 0
    assert 0.2 * first < season.doubt(at(2026, 12, 12)) < 0.5 * first


def test_nothing_is_doubted_where_all_that_was_seen_is_of_one_kind() -> None:
    ramadan = new()
    assert ramadan.doubt(at(2026, 3, 2)) == 0
    taught(ramadan, at(2026, 3, 2, 0), 5 * 24)
    assert ramadan.doubt(at(2026, 3, 7, 4)) == 0
    assert ramadan.doubt(at(2026, 3, 14)) > 0, "the week before Lebaran is another kind"


def test_the_first_ordinary_days_after_special_ones_are_doubted_too() -> None:
    season = taught(new(), at(2026, 6, 26, 0), 3 * 24)  # paydays only
    assert season.doubt(at(2026, 7, 2)) > 0
    taught(season, at(2026, 7, 2, 0), 4 * 24)
    assert season.doubt(at(2026, 7, 6)) == 0


def test_shares_are_moved_less_than_volumes() -> None:
    volume = taught(new(), at(2026, 11, 2, 0), 48)
    share = taught(Season(50.0, by_day=False), at(2026, 11, 2, 0), 48)
    assert 0 < share.doubt(at(2026, 11, 11)) < 0.1 * volume.doubt(at(2026, 11, 11))


def test_special_days_do_not_change_or_fade_the_week() -> None:
    season = taught(new(), JULY, 7 * 24)
    week = [season.of_hour(JULY + i * HOUR_MS) for i in range(168)]
    taught(season, at(2026, 3, 1, 0), 10 * 24, factor=3.0)  # Ramadan
    assert [season.of_hour(JULY + i * HOUR_MS) for i in range(168)] == week


def test_where_only_special_days_were_seen_they_teach_the_week_until_ordinary_ones_come() -> None:
    season = taught(new(), at(2026, 3, 2, 0), 5 * 24)  # Ramadan
    noon, midnight = at(2026, 4, 13, 12), at(2026, 4, 13, 0)
    assert season.of_hour(noon) / season.of_hour(midnight) == pytest.approx(3, rel=0.1)
    taught(season, at(2026, 4, 6, 0), 24, factor=5.0)
    assert season.of_hour(noon) == pytest.approx(7.5, rel=0.2), "an ordinary Monday was seen"


def test_the_users_own_days_share_what_is_learned_under_their_name() -> None:
    days = tuple(OwnDay(name="sale", first=date(2026, m, 8), last=date(2026, m, 8)) for m in (7, 9))
    season = taught(taught(new(days=days), JULY, 24), at(2026, 7, 8, 0), 24, factor=3.0)
    assert season.of_hour(at(2026, 9, 8)) > 2 * season.of_hour(at(2026, 9, 10))


@given(
    st.lists(
        st.tuples(st.integers(0, 400 * 24), st.floats(0, 1e6), st.floats(1, 1e6)),
        max_size=60,
    ),
    st.integers(0, 400 * 24),
)
@settings(max_examples=60, deadline=None)
def test_whatever_was_learned_factors_are_positive_doubt_is_bounded_and_a_restart_changes_nothing(
    hours: list[tuple[int, float, float]], now: int
) -> None:
    season, start = new(), at(2026, 1, 1, 0)
    for hour, observed, expected in hours:
        season.learn(start + hour * HOUR_MS, observed, expected, HOUR_MS)
    time_ms = start + now * HOUR_MS
    assert 0 < season.of_hour(time_ms) < 1e12
    assert 0 <= season.doubt(time_ms) <= 0.7**2 + 1e-9
    again = new()
    again.restore(unpack(pack(season.state()), dict))
    assert (again.smooth(time_ms), again.doubt(time_ms)) == (season.smooth(time_ms), season.doubt(time_ms))
    assert again.known(time_ms) == season.known(time_ms)
