"""Times in every form, one by one and as columns."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.decode import Unit
from detector.decode.times import MAX_MS, day_number, epoch_column, epoch_ms, iso_column, iso_ms, zone_offset_ms

AT = 1_774_616_816_123
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-27T13:06:56.123Z",
        "2026-03-27t13:06:56.123z",
        "2026-03-27 13:06:56.123456789+00:00",
        "2026-03-27T20:06:56,123+07:00",
        "2026-03-27T20:06:56.123+0700",
        "2026-03-27T09:36:56.1239-03:30",
        "20260327T130656.123Z",
        "2026-03-27 13:06:56.123 Z",
        "2026-03-27T15:06:56.123+02",
    ],
)
def test_iso_8601_is_read_in_its_common_forms(text: str) -> None:
    assert iso_ms(text) == AT
    column = iso_column([text, text])
    assert column is None or column.tolist() == [AT, AT]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-03-27",
        "2026-03-27T13:06:56.123",
        "2026-13-27T13:06:56Z",
        "2026-00-27T13:06:56Z",
        "2026-03-00T13:06:56Z",
        "2026-03-27T13:60:56Z",
        "2026-03-27T13:06:61Z",
        "2026-03-27T13:06:56+24:00",
        "2026-03-27T13:06:56+07:60",
        "2026-03-27T13:06:56.Z",
        "٢٠٢٦-03-27T13:06:56Z",
        "-2026-03-27T13:06:56Z",
        "12026-03-27T13:06:56Z",
        " 2026-03-27T13:06:56Z",
        "2026-03-27T13:06:56Z\n",
        "1774616816123",
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert iso_ms(text) is None
    assert iso_column([text]) is None
    assert iso_column(["2026-03-27T13:06:56.123Z", text]) is None


def test_a_naive_time_is_one_where_the_zone_is_stated() -> None:
    offset = zone_offset_ms("+07:00")
    assert iso_ms("2026-03-27T20:06:56.123", offset) == AT
    column = iso_column(["2026-03-27T20:06:56.123"] * 2, offset)
    assert column is not None
    assert column.tolist() == [AT, AT]
    assert iso_ms("2026-03-27T13:06:56.123Z", offset) == AT


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - its zone is drawn
            st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
            st.sampled_from([0, 420, -210]),
        ),
        min_size=1,
    ),
    st.booleans(),
)
def test_a_column_reads_what_each_alone_reads(drawn: list[tuple[datetime, str, int]], alike: bool) -> None:
    if alike:
        drawn = [(naive, drawn[0][1], drawn[0][2]) for naive, _, _ in drawn]
    moments = [naive.replace(tzinfo=timezone(timedelta(minutes=zone))) for naive, _, zone in drawn]
    texts = [moment.isoformat(timespec=spec) for moment, (_, spec, _) in zip(moments, drawn, strict=True)]
    expected = [(datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1) for text in texts]
    assert [iso_ms(text) for text in texts] == expected
    column = iso_column(texts)
    assert column is None or column.tolist() == expected
    if alike and len({len(text) for text in texts}) == 1:
        assert column is not None


@given(st.text(alphabet="0129-:TZ. \n", max_size=24), st.text(alphabet="0129-:TZ. \n", max_size=24))
def test_a_column_never_reads_across_its_texts(first: str, second: str) -> None:
    texts = ["2026-03-27T13:06:56Z", first, second]
    column = iso_column(texts)
    assert column is None or column.tolist() == [iso_ms(text) for text in texts]


def test_shifted_texts_are_not_read_as_their_neighbours() -> None:
    assert iso_column(["2026-03-27T13:06:56Z", "2026-03-27T13:06:56Z20", "26-03-27T13:06:56Z"]) is None
    assert iso_column(["2026-03-27T13:06:56Z", "2026-03-27T13:06:56Z\n2026-03-27T13:06:56Z", ""]) is None


@given(st.integers(0, 9999), st.integers(0, 14), st.integers(0, 33))
def test_days_are_those_of_the_calendar(year: int, month: int, day: int) -> None:
    try:
        expected = (datetime(max(year, 1), month, day, tzinfo=UTC) - EPOCH).days
    except ValueError:
        expected = None
    if year:
        assert day_number(year, month, day) == expected
    else:
        assert day_number(0, 12, 31) == day_number(1, 1, 1) - 1  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        pytest.param(1774616816, Unit.SECONDS, 1_774_616_816_000, id="s"),
        pytest.param(1774616816.123, Unit.SECONDS, AT, id="s with fraction"),
        pytest.param(AT, Unit.MILLISECONDS, AT, id="ms"),
        pytest.param(AT * 1000 + 999, Unit.MICROSECONDS, AT, id="us"),
        pytest.param(AT * 1_000_000 + 999_999, Unit.NANOSECONDS, AT, id="ns"),
        pytest.param("1774616816123", Unit.MILLISECONDS, AT, id="digits"),
        pytest.param("1774616816.123", Unit.SECONDS, AT, id="digits with fraction"),
        pytest.param("1_774", Unit.SECONDS, None, id="underscore"),
        pytest.param(" 17", Unit.SECONDS, None, id="space"),
        pytest.param("", Unit.SECONDS, None, id="empty"),
        pytest.param("NaN", Unit.SECONDS, None, id="NaN"),
        pytest.param("٢", Unit.SECONDS, None, id="other digits"),
        pytest.param(1e300, Unit.SECONDS, None, id="huge"),
        pytest.param("9" * 30, Unit.MILLISECONDS, None, id="too many digits"),
    ],
)
def test_epochs_are_read_in_the_stated_unit(value: float | str, unit: Unit, expected: int | None) -> None:
    assert epoch_ms(value, unit) == expected
    column = epoch_column([value, value], unit)
    assert column is None or column.tolist() == [expected, expected]


@pytest.mark.slow
@given(
    st.one_of(
        st.lists(st.integers(-(2**70), 2**70), min_size=1),
        st.lists(st.one_of(st.integers(0, 2**62), st.floats(allow_nan=False, allow_infinity=False)), min_size=1),
        st.lists(st.one_of(st.integers(0, 2**45).map(str), st.integers(), st.text(max_size=3)), min_size=1),
    ),
    st.sampled_from([Unit.SECONDS, Unit.MILLISECONDS, Unit.MICROSECONDS, Unit.NANOSECONDS]),
)
def test_a_column_of_epochs_reads_what_each_alone_reads(values: list[float | str], unit: Unit) -> None:
    column = epoch_column(values, unit)
    assert column is None or column.tolist() == [epoch_ms(value, unit) for value in values]


def test_the_end_of_time_is_the_year_9999() -> None:
    assert iso_ms("9999-12-31T23:59:59.999Z") == MAX_MS
