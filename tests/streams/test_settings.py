"""Reading a configuration directory: both files' mistakes at once, defaults where nothing is said."""

import re
from pathlib import Path

import pytest

from detector.config import DAY_MS, HOUR_MS, Budget, Config, Input, Policy, QuietHours
from detector.errors import ConfigError
from detector.signals import Condition
from streams.intake.formats import check_formats
from streams.sections import Document, parse_document
from streams.settings import Secret, config_of, defaults_directory, load
from streams.yamlfile import parse_yaml

SIGNALS = "signals: {silence: {title: {en: Silence}, events: {kind: checkout}, measure: count}}\n"


def directory(tmp_path: Path, tocsin: str | None = None, signals: str | None = SIGNALS) -> Path:
    for name, text in (("tocsin.yml", tocsin), ("signals.yml", signals)):
        if text is not None:
            (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def complaints(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem) for problem in caught.value.problems]


def read(text: str) -> Config:
    return config_of(parse_document(parse_yaml(text, "tocsin.yml")), ())


def test_without_tocsin_yml_the_defaults_hold(tmp_path: Path) -> None:
    settings = load(directory(tmp_path))
    assert settings.config == Config(signals=settings.config.signals)
    assert (settings.format, settings.formats) == ("json", {})
    assert (settings.customers, settings.customer_key) == (None, None)


@pytest.mark.parametrize("text", ["", "# nothing\n", "input:\nnotices:\nprivacy:\nlimits:\nformats:\n"])
def test_an_empty_file_or_section_holds_the_defaults(text: str) -> None:
    assert read(text) == Config()


def test_the_models_defaults_are_the_engines_defaults() -> None:
    assert config_of(Document.model_validate({}), ()) == Config()


def test_every_field_reaches_the_engines() -> None:
    text = """
    tenant: shop
    budget: 2 false cases per day
    input: {window: 10s, lateness: 30s, skew: 1m, leap: 2h, people: 10m, recovery: 1d}
    contacts: {kind: [chat, call], channel: {not: bot}}
    notices: {send: true, channels: [email], quiet_hours: 22:30-06:15, per_day: 1, stale_after: 2h, min_probability: 0.75,
              hold_in_contact: 12h, language: en, time_zone: Asia/Makassar}
    limits: {values: 10, cells: 20, unrecovered: 30, record_bytes: 1000}
    """
    assert read(text) == Config(
        tenant="shop",
        budget=Budget(cases=2, per_ms=DAY_MS),
        contacts=(Condition("kind", any_of=("chat", "call")), Condition("channel", none_of=("bot",))),
        input=Input(
            window_ms=10_000,
            lateness_ms=30_000,
            skew_ms=60_000,
            leap_ms=2 * HOUR_MS,
            people_ms=600_000,
            recovery_ms=DAY_MS,
            max_values=10,
            max_cells=20,
            max_unrecovered=30,
            max_record_bytes=1_000,
        ),
        policy=Policy(
            send=True,
            channels=("email",),
            quiet=QuietHours(22 * 60 + 30, 6 * 60 + 15),
            per_day=1,
            stale_ms=2 * HOUR_MS,
            min_probability=0.75,
            default_language="en",
            default_time_zone="Asia/Makassar",
            hold_in_contact_ms=DAY_MS // 2,
        ),
    )


def test_quiet_hours_can_be_none() -> None:
    quiet = read("notices: {quiet_hours: none}").policy.quiet
    assert quiet.start_minute == quiet.end_minute


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "input: {window: ten}", 'input.window: expected a duration such as 10s, found "ten"', id="duration"
        ),
        pytest.param("input: {window: 2h}", 'input.window: expected a duration from 1s to 1h, found "2h"', id="bounds"),
        pytest.param(
            "input: {latness: 1m}",
            'input.latness: expected one of format, window, lateness, skew, leap, people or recovery, found an unknown field (did you mean "lateness"?)',
            id="unknown field",
        ),
        pytest.param(
            "inptu: {}",
            'inptu: expected one of tenant, budget, input, contacts, notices, calendar, customers, privacy, limits, service, sending, alertmanager, kafka, channels or formats, found an unknown field (did you mean "input"?)',
            id="unknown section",
        ),
        pytest.param("input: 5", "input: expected a mapping, found 5", id="no section"),
        pytest.param(
            "budget: 3",
            'budget: expected a budget such as "1 false case per week" (per hour, day or week), found 3',
            id="budget",
        ),
        pytest.param(
            "tenant: Our Shop",
            'tenant: expected a name of lower-case letters, digits and dashes, at most 60 long, found "Our Shop"',
            id="tenant",
        ),
        pytest.param("notices: {send: yes}", 'notices.send: expected true or false, found "yes"', id="boolean"),
        pytest.param(
            "notices: {per_day: true}", "notices.per_day: expected a whole number, found true", id="boolean as number"
        ),
        pytest.param("notices: {per_day: 2.5}", "notices.per_day: expected a whole number, found 2.5", id="fraction"),
        pytest.param(
            "notices: {min_probability: 2}",
            "notices.min_probability: expected a number of at most 1, found 2",
            id="share",
        ),
        pytest.param("limits: {values: 0}", "limits.values: expected a number of at least 1, found 0", id="limit"),
        pytest.param(
            "notices: {channels: email}",
            'notices.channels: expected a list of channels such as [whatsapp, email], found "email"',
            id="channels",
        ),
        pytest.param(
            "notices: {quiet_hours: 9-5}",
            'notices.quiet_hours: expected local times of day such as "21:00-07:00", or none, found "9-5"',
            id="quiet hours",
        ),
        pytest.param("notices: {language: fr}", 'notices.language: expected en or id, found "fr"', id="language"),
        pytest.param(
            "notices: {time_zone: Asia/Jakrta}",
            'notices.time_zone: expected a time zone such as Asia/Jakarta, found "Asia/Jakrta" (did you mean "Asia/Jakarta"?)',
            id="time zone",
        ),
        pytest.param(
            "notices: {time_zone: ../../etc/passwd}",
            'notices.time_zone: expected a time zone such as Asia/Jakarta, found "../../etc/passwd"',
            id="path as zone",
        ),
        pytest.param(
            "contacts: {}",
            "contacts: expected conditions: {field: value}, found an empty mapping (with none, every event would be a contact)",
            id="no contacts",
        ),
        pytest.param(
            "contacts: {kind: {matches: a}}",
            "contacts.kind.matches: expected one of any_of, not, at_least, below or present, found an unknown field",
            id="contacts",
        ),
        pytest.param("formats: {a: 3}", "formats.a: expected a mapping, found 3", id="format"),
        pytest.param("5: x", "[5]: expected text as keys, found 5", id="number as key"),
        pytest.param("[]", "expected a mapping, found an empty list", id="list"),
    ],
)
def test_each_mistake_says_where_what_and_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert str(problem) == f"tocsin.yml: {said}"


def test_both_files_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    broken = directory(
        tmp_path, "input: {window: ten}\nbudget: 3\n", "signals: {a: {measure: rate, window: 7s}, b: {}}"
    )
    assert [said.split(": expected")[0] for said in complaints(broken)] == [
        "tocsin.yml: budget",
        "tocsin.yml: input.window",
        "signals.yml: signals.a.measure",
        "signals.yml: signals.a.title",
        "signals.yml: signals.a.events",
        "signals.yml: signals.b.title",
        "signals.yml: signals.b.events",
        "signals.yml: signals.b.measure",
    ]


def test_a_signals_window_is_a_multiple_of_the_configured_one(tmp_path: Path) -> None:
    signals = SIGNALS.replace("measure", "window: 15s, measure")
    assert complaints(directory(tmp_path, "input: {window: 10s}", signals)) == [
        'signals.yml: signals.silence.window: expected a multiple of the base window 10s, found "15s"'
    ]
    assert load(directory(tmp_path, "input: {window: 5s}", signals)).config.signals[0].window_ms == 15_000


def test_a_format_is_built_in_or_a_mapping_that_holds(tmp_path: Path) -> None:
    broken = directory(
        tmp_path, "input: {format: our-ap}\nformats: {our-app: {time: {path: at, unit: minutes}, idd: x}}"
    )
    assert complaints(broken) == [
        'tocsin.yml: formats.our-app.idd: expected one of time, id, customer, kind or fields, found an unknown field (did you mean "id"?)',
        'tocsin.yml: formats.our-app.time.unit: expected iso, s, ms, us or ns, found "minutes"',
        'tocsin.yml: input.format: expected json, sshd or our-app, found "our-ap" (did you mean "our-app"?)',
    ]
    settings = load(directory(tmp_path, "input: {format: our-app}\nformats: {our-app: {time: {path: at, unit: ms}}}"))
    assert (settings.format, settings.formats) == ("our-app", {"our-app": {"time": {"path": "at", "unit": "ms"}}})


def test_the_commented_format_holds() -> None:
    text = (defaults_directory() / "tocsin.yml").read_text("utf-8")
    example = "\n".join(line[2:] for line in text[text.index("# formats:") :].splitlines())
    formats = parse_document(parse_yaml(example, "tocsin.yml")).formats
    assert check_formats(formats) == []
    assert list(formats) == ["our-app"]


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    (said,) = complaints(tmp_path / "gone")
    assert said.startswith("signals.yml: expected a file that says what is watched, found no directory")
    assert said.endswith("(`tocsin init` writes a configuration that runs)")


def test_a_directory_without_signals_is_said(tmp_path: Path) -> None:
    (said,) = complaints(tmp_path)
    assert said.startswith("signals.yml: expected a file that says what is watched, found none in")


def test_a_customer_directory_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert complaints(directory(tmp_path, "customers: people.csv")) == [
        'tocsin.yml: customers: expected a file that is there, found "people.csv"'
    ]
    (tmp_path / "people.csv").write_text("id\n", "utf-8")
    assert load(tmp_path).customers == tmp_path / "people.csv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "privacy: {customer_key: hunter2}",
            "privacy.customer_key: expected {env: NAME} or {file: PATH}, found the secret itself (a secret in a configuration is no secret)",
            id="plain text",
        ),
        pytest.param(
            "privacy: {customer_key: 123456}",
            "privacy.customer_key: expected {env: NAME} or {file: PATH}, found the secret itself (a secret in a configuration is no secret)",
            id="number",
        ),
        pytest.param(
            "privacy: {customer_key: {env: A, file: b}}",
            "privacy.customer_key: expected {env: NAME} or {file: PATH}, found a mapping",
            id="both",
        ),
        pytest.param(
            "privacy: {customer_key: {}}",
            "privacy.customer_key: expected {env: NAME} or {file: PATH}, found an empty mapping",
            id="neither",
        ),
        pytest.param(
            "privacy: {customer_key: {evn: A}}",
            'privacy.customer_key.evn: expected one of env or file, found an unknown field (did you mean "env"?)',
            id="unknown",
        ),
    ],
)
def test_a_secret_stands_in_no_configuration(tmp_path: Path, text: str, said: str) -> None:
    (found,) = complaints(directory(tmp_path, text))
    assert found == f"tocsin.yml: {said}"


def test_a_secret_is_read_from_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    by_file = load(directory(tmp_path, "privacy: {customer_key: {file: key}}")).customer_key
    assert by_file is not None
    assert by_file.read() == b"0123456789abcdef"
    by_name = load(directory(tmp_path, "privacy: {customer_key: {env: OUR_KEY}}")).customer_key
    assert by_name is not None
    monkeypatch.setenv("OUR_KEY", "fedcba9876543210")
    assert by_name.read() == b"fedcba9876543210"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(None, "nothing in the environment variable OUR_KEY", id="missing"),
        pytest.param("short", "5 bytes in the environment variable OUR_KEY", id="short"),
    ],
)
def test_a_secret_that_is_none_is_said_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, value: str | None, found: str
) -> None:
    monkeypatch.delenv("OUR_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OUR_KEY", value)
    with pytest.raises(ConfigError) as caught:
        Secret("tocsin.yml: privacy.customer_key", env="OUR_KEY").read()
    assert (
        str(caught.value) == f"tocsin.yml: privacy.customer_key: expected a secret of 16 bytes or more, found {found}"
    )


# --- the commented defaults -----------------------------------------------------------------------------------------


def test_the_commented_defaults_hold_as_they_are() -> None:
    settings = load(defaults_directory())
    assert settings.config == Config(signals=settings.config.signals)
    assert [signal.name for signal in settings.config.signals] == [
        "login-failures",
        "payment-declines",
        "checkout-silence",
        "api-latency",
        "complaints",
    ]
    assert settings.customers is not None


def test_every_field_that_is_commented_out_shows_its_default() -> None:
    text = (defaults_directory() / "tocsin.yml").read_text("utf-8")
    without_examples = (
        text[: text.index("# privacy:")]
        + text[text.index("# What bounds memory") : text.index("# channels:\n")]
        + text[text.index("# Any other shape") : text.index("# formats:")]
    )
    commented = re.compile(r"^( *)# ( *[a-z_]+:(?: |$))", re.MULTILINE)
    document = parse_document(parse_yaml(commented.sub(r"\1\2", without_examples), "tocsin.yml"))
    assert config_of(document, ()) == Config()
    assert document.model_fields_set == set(Document.model_fields) - {"privacy", "formats", "channels"}
    for section in (document.input, document.notices, document.limits, document.service, document.sending):
        assert section.model_fields_set == set(type(section).model_fields)
