"""Reading signals.yml: what is taken, and that every mistake is listed with its path."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import Budget, Config
from detector.errors import ConfigError
from detector.signalfields import FIELDS
from detector.signals import (
    Condition,
    CountBy,
    Direction,
    Measure,
    Mode,
    Severity,
    Signal,
    parse_signals,
)

SHARE: dict[str, Any] = {
    "title": {"en": "Login fails", "id": "Login gagal"},
    "events": {"kind": "login"},
    "bad": {"outcome": ["failure", "timeout"]},
    "measure": "share",
    "dimensions": ["app_version", "city"],
}
COUNT: dict[str, Any] = {"title": {"en": "Silence"}, "events": {"kind": "checkout"}, "measure": "count"}
VALUE: dict[str, Any] = {
    "title": {"en": "Slow"},
    "events": {"kind": "api"},
    "measure": "value",
    "value": "latency_ms",
    "bad_above": 2000,
}


def parse(entry: object, name: str = "x", base_window_ms: int = 60_000) -> Signal:
    (signal,) = parse_signals({"signals": {name: entry}}, base_window_ms=base_window_ms)
    return signal


def complaints(document: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_signals(document)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def test_a_full_entry_is_read() -> None:
    entry = SHARE | {
        "what": {"en": "{city} login", "id": "login"},
        "window": "5m",
        "severity": "high",
        "mode": "live",
        "count_by": "attempts",
        "min_people": 3,
        "workaround": {"en": "Use the website."},
        "promise": {"en": "Nothing was lost."},
    }
    assert parse(entry, "login-failures") == Signal(
        name="login-failures",
        title={"en": "Login fails", "id": "Login gagal"},
        what={"en": "{city} login", "id": "login"},
        events=(Condition("kind", any_of=("login",)),),
        bad=(Condition("outcome", any_of=("failure", "timeout")),),
        measure=Measure.SHARE,
        dimensions=("app_version", "city"),
        window_ms=300_000,
        severity=Severity.HIGH,
        mode=Mode.LIVE,
        count_by=CountBy.ATTEMPTS,
        min_people=3,
        workaround={"en": "Use the website."},
        promise={"en": "Nothing was lost."},
    )


def test_what_is_not_said_has_its_default() -> None:
    signal = parse(COUNT, base_window_ms=10_000)
    assert (signal.mode, signal.severity, signal.direction) == (Mode.SHADOW, Severity.MEDIUM, Direction.UP)
    assert (signal.dimensions, signal.window_ms, signal.min_people) == ((), 10_000, 5)


def test_a_value_signal_has_its_limit() -> None:
    signal = parse(VALUE)
    assert (signal.value, signal.bad_above, signal.bad_below) == ("latency_ms", 2000.0, None)
    assert not signal.ranked and signal.names_people


def test_a_value_signal_without_a_limit_says_which_side_is_bad_and_names_nobody() -> None:
    signal = parse({k: v for k, v in VALUE.items() if k != "bad_above"} | {"direction": "down"})
    assert signal.ranked and signal.direction is Direction.DOWN
    assert not signal.names_people


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("a", Condition("f", any_of=("a",)), id="one value"),
        pytest.param(["a", 5, True], Condition("f", any_of=("a", "5", "true")), id="values as canonical text"),
        pytest.param({"any_of": ["a"]}, Condition("f", any_of=("a",)), id="any_of"),
        pytest.param({"not": "a"}, Condition("f", none_of=("a",)), id="not one value"),
        pytest.param({"not": ["a", "b"]}, Condition("f", none_of=("a", "b")), id="not values"),
        pytest.param({"at_least": 5, "below": 7.5}, Condition("f", at_least=5.0, below=7.5), id="bounds"),
        pytest.param({"present": False}, Condition("f", present=False), id="absent"),
        pytest.param({"present": True, "not": ["a"]}, Condition("f", none_of=("a",), present=True), id="both"),
    ],
)
def test_conditions_are_declared(written: object, read: Condition) -> None:
    assert parse(COUNT | {"events": {"f": written}}).events == (read,)


def test_no_conditions_are_all_events() -> None:
    assert parse(COUNT | {"events": {}}).events == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param(
            {"window": "ten"},
            'signals.yml: signals.x.window: expected a duration such as 10s, found "ten"',
            id="window",
        ),
        pytest.param(
            {"window": "90s"}, 'x.window: expected a multiple of the base window 1m, found "90s"', id="multiple"
        ),
        pytest.param({"window": "2d"}, 'x.window: expected a duration from 1s to 1d, found "2d"', id="too long"),
        pytest.param({"window": 60}, "x.window: expected a duration such as 10s, found 60", id="no unit"),
        pytest.param(
            {"meassure": "share"},
            'x.meassure: expected one of {fields}, found an unknown field (did you mean "measure"?)',
            id="unknown",
        ),
        pytest.param(
            {"measure": "rate"}, 'x.measure: expected share, count, value or joint, found "rate"', id="measure"
        ),
        pytest.param(
            {"mode": "lvie"}, 'x.mode: expected shadow or live, found "lvie" (did you mean "live"?)', id="mode"
        ),
        pytest.param(
            {"severity": True}, "x.severity: expected critical, high, medium or low, found true", id="severity"
        ),
        pytest.param(
            {"direction": "up"},
            "x.direction: expected it only with measure: count or value, found it with measure: share (leave it out)",
            id="direction",
        ),
        pytest.param(
            {"bad_below": 3},
            "x.bad_below: expected it only with measure: value, found it with measure: share (leave it out)",
            id="limit",
        ),
        pytest.param(
            {"bad": {}},
            "x.bad: expected conditions: {field: value}, found an empty mapping (with none, every event would be bad)",
            id="nothing bad",
        ),
        pytest.param(
            {"dimensions": ["city", "city"]},
            'x.dimensions[1]: expected each dimension once, found "city" twice',
            id="twice",
        ),
        pytest.param({"dimensions": "city"}, 'x.dimensions: expected a list, found "city"', id="no list"),
        pytest.param(
            {"dimensions": ["customer"]},
            'x.dimensions[0]: expected a field of the event other than id, time or customer, found "customer"',
            id="customer",
        ),
        pytest.param(
            {"dimensions": list("abcdefghi")},
            "x.dimensions: expected at most 8, found 9 dimensions (leave out what no cause lies in)",
            id="nine",
        ),
        pytest.param(
            {"title": {"fr": "Panne"}}, "x.title.fr: expected one of en or id, found an unknown field", id="language"
        ),
        pytest.param(
            {"title": {"en": "a\nb"}},
            'x.title.en: expected one line of text, at most 80 characters, found "a\\nb"',
            id="two lines",
        ),
        pytest.param(
            {"title": {}},
            "x.title: expected a text for at least one of en or id, found an empty mapping",
            id="no title",
        ),
        pytest.param(
            {"what": {"en": "{bnak}"}, "dimensions": ["bank"]},
            'x.what.en: expected a dimension of the signal in braces (bank), found "{bnak}" (did you mean "bank"?)',
            id="placeholder",
        ),
        pytest.param(
            {"min_people": 0}, "x.min_people: expected a whole number from 1 to 1000000, found 0", id="people"
        ),
        pytest.param(
            {"events": {"v": 8.1}},
            'x.events.v: expected text, a whole number, true or false, found 8.1 (put it in quotes, as the producer writes it: "8.1")',
            id="float",
        ),
        pytest.param(
            {"events": {"v": []}}, "x.events.v: expected at least one value, found an empty list", id="no value"
        ),
        pytest.param(
            {"events": {"v": {"at_least": 5, "not": "a"}}},
            "x.events.v: expected bounds for a number or values of a text, not both, found a mixture of at_least or not (use two signals, or leave one out)",
            id="mixture",
        ),
        pytest.param(
            {"events": {"v": {"at_least": 5, "below": 5}}},
            "x.events.v: expected a range that some number lies in, found at_least 5 and below 5",
            id="empty range",
        ),
        pytest.param(
            {"events": {"v": {"present": "yes"}}},
            'x.events.v.present: expected true or false, found "yes"',
            id="present",
        ),
        pytest.param(
            {"loss": "customer"},
            'x.loss: expected a field of the event other than id, time or customer, found "customer"',
            id="loss",
        ),
        pytest.param(
            {"loss_unit": "IDR"},
            "x.loss_unit: expected it only with loss, found it without a loss (name the field, or leave it out)",
            id="unit alone",
        ),
        pytest.param(
            {"loss": "amount", "loss_unit": "Indonesian rupiah"},
            'x.loss_unit: expected one line of text, at most 12 characters, found "Indonesian rupiah"',
            id="long unit",
        ),
        pytest.param(
            {"events": {"v": {"matches": "a.*"}}},
            "x.events.v.matches: expected one of any_of, not, at_least, below or present, found an unknown field",
            id="no expressions",
        ),
    ],
)
def test_each_mistake_says_where_what_and_what_is_allowed(change: dict[str, Any], complaint: str) -> None:
    (said,) = complaints({"signals": {"x": SHARE | change}})
    assert said.endswith(
        complaint.replace("{fields}", ", ".join(f.name for f in FIELDS[:-1]) + f" or {FIELDS[-1].name}")
    )
    assert said.startswith("signals.yml: signals.x.")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        pytest.param({**SHARE, "bad": None}, "x.bad: expected a mapping, found nothing", id="bad is null"),
        pytest.param(
            {k: v for k, v in SHARE.items() if k != "bad"},
            "x.bad: expected conditions: {field: value}, found nothing (a share needs to know which events are bad)",
            id="share without bad",
        ),
        pytest.param(
            {**COUNT, "bad": {"a": 1}},
            "x.bad: expected it only with measure: share, found it with measure: count (its events are the bad ones: say which by `events`)",
            id="count with bad",
        ),
        pytest.param(
            {k: v for k, v in VALUE.items() if k != "value"},
            "x.value: expected the field that is measured, found nothing",
            id="value without field",
        ),
        pytest.param(
            {k: v for k, v in VALUE.items() if k != "bad_above"},
            "x: expected one of bad_above, bad_below and direction, found none of them (with a limit, cases can name who was hit; with a direction, values are compared with the past's)",
            id="value without limit or direction",
        ),
        pytest.param(
            {**VALUE, "bad_below": 1},
            "x: expected at most one of bad_above and bad_below, found bad_above and bad_below",
            id="two limits",
        ),
        pytest.param(
            {**VALUE, "direction": "up"},
            "x.direction: expected it only without a limit, found it with bad_above (leave it out: the limit says which side is bad)",
            id="limit and direction",
        ),
        pytest.param({**VALUE, "bad_above": "2s"}, 'x.bad_above: expected a number, found "2s"', id="limit as text"),
        pytest.param([], "x: expected a mapping, found an empty list", id="entry is a list"),
    ],
)
def test_what_a_measure_needs_is_checked(entry: object, complaint: str) -> None:
    (said,) = complaints({"signals": {"x": entry}})
    assert said == f"signals.yml: signals.{complaint}"


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        pytest.param(None, "signals.yml: expected a mapping, found nothing", id="empty file"),
        pytest.param({}, "signals.yml: signals: expected a mapping, found nothing", id="no signals"),
        pytest.param({"signals": {}}, "signals.yml: signals: expected at least one signal, found none", id="none"),
        pytest.param(
            {"signals": {1: SHARE}},
            "signals.yml: signals: expected text as keys, found the key 1 (put it in quotes)",
            id="name is a number",
        ),
        pytest.param(
            {"signals": {"Login": SHARE}},
            'signals.yml: signals.Login: expected a name of lower-case letters, digits and dashes, at most 60 long, found "Login"',
            id="name",
        ),
    ],
)
def test_the_document_itself_is_checked(document: object, complaint: str) -> None:
    assert complaint in complaints(document)


def test_all_mistakes_are_listed_at_once() -> None:
    document = {
        "signals": {
            "a": SHARE | {"window": "ten", "mode": "on", "dimensions": [1, ""]},
            "b": {"measure": "count", "bad": {}},
        }
    }
    assert [said.split(": expected")[0] for said in complaints(document)] == [
        "signals.yml: signals.a.dimensions[0]",
        "signals.yml: signals.a.dimensions[1]",
        "signals.yml: signals.a.window",
        "signals.yml: signals.a.mode",
        "signals.yml: signals.b.title",
        "signals.yml: signals.b.events",
        "signals.yml: signals.b.bad",
    ]


def test_too_many_signals_are_refused() -> None:
    many = {f"s{i}": COUNT for i in range(201)}
    assert complaints({"signals": many}) == ["signals.yml: signals: expected at most 200 signals, found 201"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@given(
    st.dictionaries(st.sampled_from([f.name for f in FIELDS]), ANYTHING)
    | st.builds(lambda key, value: SHARE | {key: value}, st.sampled_from([f.name for f in FIELDS]), ANYTHING)
)
def test_any_document_gives_signals_or_a_list_of_problems(entry: dict[str, Any]) -> None:
    try:
        (signal,) = parse_signals({"signals": {"x": entry}})
    except ConfigError as error:
        assert error.problems
        assert all(problem.path.startswith("signals.yml: signals") for problem in error.problems)
        assert all(problem.found and problem.allowed for problem in error.problems)
    else:
        assert signal.window_ms % 60_000 == 0
        assert signal.title
        assert (signal.measure is Measure.SHARE) == bool(signal.bad)
        assert (signal.measure is Measure.VALUE) == (signal.value is not None)


# --- budgets ----------------------------------------------------------------------------------------------------------


def with_budgets(**budgets: str | None) -> Config:
    entry = {"title": {"en": "Logins"}, "measure": "count", "events": {}}
    named = {name: entry if budget is None else entry | {"budget": budget} for name, budget in budgets.items()}
    return Config(signals=parse_signals({"signals": named}))


def test_a_signal_with_a_budget_of_its_own_leaves_the_tenants_to_the_others() -> None:
    config = with_budgets(a=None, b="3 false cases per day", c=None)
    budgets = {s.name: config.budget_of(s) for s in config.signals}
    assert budgets == {
        "a": (Budget(), 2),
        "b": (Budget(cases=3, per_ms=86_400_000), 1),
        "c": (Budget(), 2),
    }


def test_shadow_and_live_signals_share_a_budget_each() -> None:
    config = with_budgets(a=None, b=None, c=None)
    live = msgspec.structs.replace(config.signals[0], mode=Mode.LIVE)
    config = msgspec.structs.replace(config, signals=(live, *config.signals[1:]))
    assert [config.budget_of(s)[1] for s in config.signals] == [1, 2, 2]


@pytest.mark.parametrize("found", ["3 sigmas", "0 false cases per week", 3, None])
def test_what_is_no_budget_is_complained_of_with_its_path(found: object) -> None:
    entry = {"title": {"en": "Logins"}, "measure": "count", "events": {}, "budget": found}
    with pytest.raises(ConfigError, match=r"signals\.a\.budget: expected a budget such as"):
        parse_signals({"signals": {"a": entry}})


def test_another_budget_is_no_other_way_of_counting() -> None:
    config = with_budgets(a=None, b="3 false cases per day")
    a, b = (msgspec.structs.replace(s.counted_as, name="") for s in config.signals)
    assert a == b


def test_a_loss_is_named_only_where_somebody_is_hit() -> None:
    assert (parse(SHARE | {"loss": "amount", "loss_unit": "IDR"}).loss, parse(SHARE).loss) == ("amount", msgspec.UNSET)
    (said,) = complaints({"signals": {"x": COUNT | {"direction": "down", "loss": "amount"}}})
    assert said.endswith(
        "x.loss: expected it only where somebody is hit, found it in a signal that names nobody (leave it out)"
    )
    joint = {"title": {"en": "All"}, "measure": "joint", "signals": ["a", "b"], "loss": "amount"}
    (said,) = complaints({"signals": {"a": SHARE, "b": SHARE, "x": joint}})
    assert "x.loss: expected it only with measure: share or value or count" in said


def test_all_losses_are_in_one_unit_since_a_case_adds_them_up() -> None:
    one, other, plain = (SHARE | {"loss": "amount"} | unit for unit in ({"loss_unit": "IDR"}, {"loss_unit": "USD"}, {}))
    parse_signals({"signals": {"a": one, "b": one, "c": SHARE}})
    said = complaints({"signals": {"a": one, "b": other, "c": plain}})
    assert [text.partition(" (")[0] for text in said] == [
        'signals.yml: signals.b.loss_unit: expected "IDR", as in a, found "USD"',
        'signals.yml: signals.c.loss_unit: expected "IDR", as in a, found nothing',
    ]
