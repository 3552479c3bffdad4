"""The section `calendar` of tocsin.yml, and what `tocsin check` says of the days to come."""

from datetime import date
from pathlib import Path

import pytest

from detector.calendar import CalendarSpec, Like, OwnDay
from detector.errors import ConfigError
from streams.cli.main import main
from streams.sections import parse_document
from streams.settings import config_of
from streams.yamlfile import parse_yaml


def read(text: str) -> CalendarSpec:
    return config_of(parse_document(parse_yaml(text, "tocsin.yml")), ()).calendar


def test_every_field_reaches_the_engines() -> None:
    text = """
    calendar:
      country: MY
      time_zone: Asia/Makassar
      days:
        - {name: founding day, date: 2026-10-05, like: sunday}
        - {name: mid-year sale, from: 2026-06-05, until: 2026-06-07}
    """
    founding = OwnDay(name="founding day", first=date(2026, 10, 5), last=date(2026, 10, 5), like=Like.SUNDAY)
    sale = OwnDay(name="mid-year sale", first=date(2026, 6, 5), last=date(2026, 6, 7), like=Like.OWN)
    assert read(text) == CalendarSpec(country="MY", time_zone="Asia/Makassar", days=(founding, sale))


def test_a_country_of_none_leaves_the_users_own_days() -> None:
    assert read("calendar: {country: none}").country is None
    assert read("calendar:") == CalendarSpec()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{country: Indonesia}", "country: expected a country's code of two letters such as ID, or none, found"),
        ("{time_zone: Jakarta}", "time_zone: expected a time zone such as Asia/Jakarta"),
        ("{days: {name: x}}", "days: expected a list, found a mapping"),
        ("{days: [payday]}", 'days[0]: expected a mapping, found "payday"'),
        ("{days: [{name: x}]}", "days[0]: expected a date, or from and until"),
        ("{days: [{date: 2026-01-01}]}", "days[0].name: expected one line of text"),
        ("{days: [{name: x, date: 2026-02-30}]}", "days[0].date: expected a date such as 2026-11-11"),
        ("{days: [{name: x, date: 20260201}]}", "days[0].date: expected a date such as 2026-11-11"),
        ("{days: [{name: x, from: 2026-02-01}]}", "days[0].until: expected a date such as 2026-11-11, found nothing"),
        ("{days: [{name: x, from: 2026-02-02, until: 2026-02-01}]}", "days[0].until: expected from 2026-02-02 on"),
        ("{days: [{name: x, from: 2026-02-02, until: 2027-02-01}]}", "days[0].until: expected from 2026-02-02 on"),
        ("{days: [{name: x, date: 2026-01-01, until: 2026-01-02}]}", "days[0]: expected a date, or from and until"),
        ("{days: [{name: x, date: 2026-01-01, like: monday}]}", "days[0].like: expected sunday or own"),
        ("{days: [{name: x, dat: 2026-01-01}]}", 'an unknown field (did you mean "date"?)'),
    ],
)
def test_a_mistake_is_named_with_its_path(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"calendar: {text}")
    assert any(complaint in str(p) and "tocsin.yml: calendar." in str(p) for p in caught.value.problems), [
        str(p) for p in caught.value.problems
    ]


def test_a_wrong_date_is_told_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read("calendar: {days: [{name: x, date: 2026-02-30}]}")
    assert len(caught.value.problems) == 1


def test_check_says_which_days_to_come_are_special(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "shop")]) == 0
    capsys.readouterr()
    assert main(["check", str(tmp_path / "shop")]) == 0
    assert "payday" in capsys.readouterr().out.splitlines()[-1]  # any 30 days have one
    (tmp_path / "shop" / "tocsin.yml").write_text("calendar: {country: none}\n", "utf-8")
    assert main(["check", str(tmp_path / "shop")]) == 0
    assert capsys.readouterr().out.endswith("Special days within 30 days: none.\n")
