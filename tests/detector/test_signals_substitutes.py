"""The field `substitutes` of signals.yml: dimensions whose values take each other's place."""

from typing import Any

import pytest

from detector.errors import ConfigError
from detector.signals import parse_signals

COUNT: dict[str, Any] = {
    "title": {"en": "Checkouts have stopped"},
    "events": {"kind": "checkout"},
    "measure": "count",
    "direction": "down",
    "dimensions": ["city", "app_version"],
}


def test_a_dimension_may_say_that_its_values_substitute_each_other() -> None:
    (signal,) = parse_signals({"signals": {"silence": {**COUNT, "substitutes": ["app_version"]}}})
    assert signal.substitutes == ("app_version",)
    (plain,) = parse_signals({"signals": {"silence": COUNT}})
    assert plain.substitutes == ()
    assert (signal.name, plain.name) == ("silence", "silence")


def test_detector_options_without_a_detector_are_refused() -> None:
    entry = {**COUNT, "detector_options": {"n_trees": 3}}
    with pytest.raises(ConfigError, match=r"silence\.detector_options: expected it only with detector"):
        parse_signals({"signals": {"silence": entry}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"substitutes": ["version"]}, "substitutes[0]: expected a dimension of the signal", id="unknown"),
        pytest.param({"substitutes": "city"}, "substitutes: expected a list", id="no list"),
        pytest.param({"substitutes": ["city"], "direction": "up"}, "it only with direction: down", id="upward"),
        pytest.param(
            {"substitutes": ["city"], "measure": "share", "bad": {"ok": False}},
            "only with measure: count",
            id="a share",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(change: dict[str, Any], said: str) -> None:
    entry = {**COUNT, **change}
    with pytest.raises(ConfigError) as caught:
        parse_signals({"signals": {"silence": entry}})
    assert any(said in str(p) and "signals.silence" in str(p) for p in caught.value.problems)
