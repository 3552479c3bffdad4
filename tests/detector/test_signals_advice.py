"""What of a valid configuration will not work well is said, and nothing is said of a good one."""

from typing import Any

import pytest

from detector.advice import warnings
from detector.config import Config, Input, Policy
from detector.signals import parse_signals

GOOD: dict[str, Any] = {
    "title": {"en": "Login fails", "id": "Login gagal"},
    "what": {"en": "login", "id": "login"},
    "workaround": {"en": "Use the website.", "id": "Pakai situs web."},
    "events": {"kind": "login"},
    "bad": {"outcome": "failure"},
    "measure": "share",
    "dimensions": ["app_version", "city"],
    "mode": "live",
}
SILENCE: dict[str, Any] = {
    "title": {"en": "Silence"},
    "events": {"kind": "checkout"},
    "measure": "count",
    "direction": "down",
    "mode": "live",
}


def warned(entry: dict[str, Any], **config: Any) -> list[str]:
    signals = parse_signals({"signals": {"x": entry}})
    return [
        f"{w.path.removeprefix('signals.yml: signals.')}: {w.found}"
        for w in warnings(Config(signals=signals, **config))
    ]


@pytest.mark.parametrize("entry", [pytest.param(GOOD, id="share"), pytest.param(SILENCE, id="silence")])
def test_nothing_is_said_of_a_good_signal(entry: dict[str, Any]) -> None:
    assert warned(entry) == []


@pytest.mark.parametrize(
    ("change", "warnings"),
    [
        pytest.param({"direction": "up"}, ["x.bad_above: none"], id="higher than usual"),
        pytest.param({"direction": "down"}, ["x.bad_below: none"], id="lower than usual"),
        pytest.param({"bad_above": 2_000}, [], id="a limit"),
        pytest.param({"direction": "up", "mode": "shadow"}, [], id="shadow"),
    ],
)
def test_a_live_value_signal_without_a_limit_tells_nobody(change: dict[str, Any], warnings: list[str]) -> None:
    value = {k: v for k, v in GOOD.items() if k != "bad"} | {"measure": "value", "value": "latency_ms"}
    assert [w for w in warned(value | change) if "bad_" in w] == warnings


@pytest.mark.parametrize(
    "name", ["user_id", "session", "ip", "client.ip", "email_address", "uuid", "message", "deviceToken_id"]
)
def test_a_dimension_that_looks_like_an_id_is_warned_of(name: str) -> None:
    assert warned(GOOD | {"dimensions": [name]}) == [f'x.dimensions[0]: "{name}", which looks like an id or free text']


@pytest.mark.parametrize("name", ["city", "valid", "android", "region", "vip", "bank", "platform_kind", "context"])
def test_a_dimension_that_only_ends_like_an_id_is_not(name: str) -> None:
    assert warned(GOOD | {"dimensions": [name]}) == []


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        pytest.param(
            {"dimensions": ["outcome"]}, 'x.dimensions[0]: "outcome", which decides what is bad', id="decides"
        ),
        pytest.param(
            {"dimensions": ["kind"]}, 'x.dimensions[0]: "kind", which has one value by `events`', id="constant"
        ),
        pytest.param({"dimensions": list("abcdef")}, "x.dimensions: 6 dimensions", id="many dimensions"),
        pytest.param({"window": "1h"}, "x.window: 1h", id="long window"),
        pytest.param({"title": {"id": "Login gagal"}}, "x.title: none in en", id="title in one language"),
        pytest.param({"what": {"en": "login"}}, "x.what: none in id", id="what in one language"),
        pytest.param(
            {"workaround": {"id": "Pakai situs web."}}, "x.workaround: none in en", id="workaround in one language"
        ),
        pytest.param({"min_people": 1}, "x.min_people: 1", id="one person"),
        pytest.param(
            {"promise": {"en": "No money was taken", "id": "dana aman"}},
            'x.promise.en: "No money was taken"',
            id="promise with a capital",
        ),
        pytest.param(
            {"promise": {"en": "no money was taken", "id": "dana Anda aman."}},
            'x.promise.id: "dana Anda aman."',
            id="promise with a full stop",
        ),
    ],
)
def test_what_will_not_work_well_is_said(change: dict[str, Any], warning: str) -> None:
    assert warned(GOOD | change) == [warning]


def test_a_live_signal_wants_a_workaround() -> None:
    without = {key: value for key, value in GOOD.items() if key != "workaround"}
    assert warned(without) == ["x.workaround: none"]


@pytest.mark.parametrize(
    "text", ["no money was taken", "QRIS still works", "5 % is given back", "we refund it (100 %)"]
)
def test_a_promise_that_goes_on_within_the_sentence_is_fine(text: str) -> None:
    assert warned(GOOD | {"promise": {"en": text, "id": text}}) == []


def test_a_condition_with_several_values_leaves_a_dimension_useful() -> None:
    assert warned(GOOD | {"events": {"kind": ["login", "relogin"]}, "dimensions": ["kind"]}) == []


def test_silence_wants_few_dimensions_and_counts_events() -> None:
    assert warned(SILENCE | {"dimensions": ["a", "b", "c"], "count_by": "attempts"}) == [
        "x.dimensions: 3 dimensions",
        "x.count_by: attempts",
    ]


def test_a_lateness_of_many_windows_is_warned_of() -> None:
    assert warned(GOOD, input=Input(lateness_ms=600_000)) == []
    assert warned(GOOD, input=Input(lateness_ms=660_000)) == ["x.window: 1m with a lateness of 11m"]


def test_only_shadow_signals_tell_nobody() -> None:
    assert warned(GOOD | {"mode": "shadow"}) == ["signals.yml: signals: only shadow signals"]


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        pytest.param(Policy(channels=()), "tocsin.yml: notices.channels: none", id="channels"),
        pytest.param(Policy(per_day=0), "tocsin.yml: notices.per_day: 0", id="per_day"),
        pytest.param(Policy(min_probability=0.4), "tocsin.yml: notices.min_probability: 0.4", id="probability"),
    ],
)
def test_a_policy_that_tells_nobody_or_the_wrong_ones_is_warned_of(policy: Policy, path: str) -> None:
    assert warned(GOOD, policy=policy) == [path]
