"""Counts on special days, at closing time, and where values take each other's place."""

from datetime import date

import msgspec
import pytest

from detector.calendar import CalendarSpec, OwnDay
from detector.config import Config
from detector.signals import Direction, Signal
from detector.watch.watch import Watch
from tests.detector.watching import SILENCE, Cell, Cube, Rate, first, minute_of, run, wheres

DAY = 1440
MIDNIGHT = 17 * 60
"""Minutes from the cubes' beginning (07:00 in Jakarta, 2 March 2026) to the next local day."""
SALE = date(2026, 3, 5)
SALE_BEGINS = MIDNIGHT + 2 * DAY


def watch(signal: Signal = SILENCE, *, sale: bool = True) -> Watch:
    days = (OwnDay(name="sale", first=SALE, last=SALE),) if sale else ()
    return Watch(Config(signals=(signal,), calendar=CalendarSpec(country=None, days=days)), signal)


def on_sale(factor: float, then: Rate = lambda _m, _c: 1.0) -> Rate:
    return lambda m, c: (factor if SALE_BEGINS <= m < SALE_BEGINS + DAY else 1.0) * then(m, c)


@pytest.mark.slow
@pytest.mark.parametrize("direction", [pytest.param(d, id=str(d)) for d in Direction])
def test_a_day_that_is_known_to_be_special_opens_no_case_for_its_volume_and_none_after(direction: Direction) -> None:
    signal = msgspec.structs.replace(SILENCE, direction=direction)
    cube = Cube(signal, volume=2.0, volumes=on_sale(3.0))
    assert not list(run(cube, SALE_BEGINS + 2 * DAY, watch(signal)))


@pytest.mark.slow
def test_a_holiday_with_hardly_any_volume_is_no_silence_and_its_morning_after_no_burst() -> None:
    assert not list(run(Cube(SILENCE, volume=2.0, volumes=on_sale(0.4)), SALE_BEGINS + 2 * DAY, watch()))


@pytest.mark.slow
def test_silence_on_a_special_day_is_found_within_minutes() -> None:
    begins = SALE_BEGINS + 12 * 60

    def gone(minute: int, cell: Cell) -> float:
        return 0.0 if cell[0] == "v1" and minute >= begins else 1.0

    cube = Cube(SILENCE, volume=2.0, volumes=on_sale(3.0, gone))
    opened = first(list(run(cube, begins + 30, watch())))
    assert minute_of(opened.detected_ms) - begins <= 10
    assert wheres(opened) == [{"version": "v1"}]


@pytest.mark.slow
def test_a_shop_that_closes_at_nine_is_silent_once_at_most() -> None:
    def hours(minute: int, _cell: Cell) -> float:
        return 1.0 if 8 <= (minute // 60 + 7) % 24 < 21 else 0.0

    opened = [
        a for a in run(Cube(SILENCE, volume=2.0, volumes=hours), 5 * DAY, watch(sale=False)) if a.phase == "opened"
    ]
    assert all(minute_of(a.detected_ms) < DAY for a in opened)


@pytest.mark.slow
def test_a_version_that_is_replaced_is_no_silence_where_versions_substitute_each_other() -> None:
    moves = 4 * DAY + 5 * 60

    def replaced(minute: int, cell: Cell) -> float:
        return {"v0": 0.3 if minute < moves else 0.0, "v1": 1.0 if minute < moves else 1.3}.get(cell[0], 1.0)

    signal = msgspec.structs.replace(SILENCE, substitutes=("version",))
    end = moves + 3 * 60
    opened = list(run(Cube(signal, volume=2.0, volumes=replaced), end, watch(signal, sale=False)))
    assert not opened
    plain = list(run(Cube(SILENCE, volume=2.0, volumes=replaced), end, watch(sale=False)))
    assert wheres(first(plain)) == [{"version": "v0"}]
