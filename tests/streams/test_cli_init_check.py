"""`tocsin init` and `tocsin check`, as a person and a script meet them."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from streams.cli.main import main


def check(capsys: pytest.CaptureFixture[str], directory: Path) -> tuple[int, dict[str, Any]]:
    code = main(["check", "--json", str(directory)])
    out = capsys.readouterr()
    assert out.err == ""
    found = json.loads(out.out)
    assert set(found) == {"ok", "errors", "warnings"}
    for problem in (*found["errors"], *found["warnings"]):
        assert set(problem) == {"path", "found", "allowed", "do"}
    return code, found


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["init", str(tmp_path / "shop")]) == 0
    capsys.readouterr()
    return tmp_path / "shop"


def test_init_writes_a_configuration_that_check_finds_good(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(path.name for path in shop.iterdir()) == ["customers.csv", "signals.yml", "tocsin.yml"]
    assert check(capsys, shop) == (0, {"ok": True, "errors": [], "warnings": []})


def test_init_without_a_directory_writes_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert main(["check"]) == 0
    assert "5 signals (3 live), 3 customers, notices are in dry run" in capsys.readouterr().out


def test_init_writes_over_nothing_unless_told_to(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "customers.csv").unlink()
    (shop / "tocsin.yml").unlink()
    (shop / "signals.yml").write_text("ours", "utf-8")
    assert main(["init", str(shop)]) == 2
    assert "signals.yml: there already, nothing was written" in capsys.readouterr().err
    assert (shop / "signals.yml").read_text("utf-8") == "ours"
    assert not (shop / "tocsin.yml").exists()
    assert main(["init", "--force", str(shop)]) == 0
    capsys.readouterr()
    assert check(capsys, shop)[0] == 0
    assert (shop / "signals.yml").read_text("utf-8") != "ours"


def test_check_lists_every_error_with_its_path(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signals = (shop / "signals.yml").read_text("utf-8")
    (shop / "signals.yml").write_text(
        signals.replace("window: 5m", "window: ten").replace("mode: live", "mode: on", 1), "utf-8"
    )
    (shop / "tocsin.yml").write_text("budget: 3\n", "utf-8")
    code, found = check(capsys, shop)
    assert (code, found["ok"]) == (2, False)
    assert found["errors"] == [
        {
            "path": "tocsin.yml: budget",
            "found": "3",
            "allowed": 'a budget such as "1 false case per week" (per hour, day or week)',
            "do": "",
        },
        {"path": "signals.yml: signals.login-failures.mode", "found": '"on"', "allowed": "shadow or live", "do": ""},
        {
            "path": "signals.yml: signals.complaints.window",
            "found": '"ten"',
            "allowed": "a duration such as 10s",
            "do": "",
        },
    ]
    assert main(["check", str(shop)]) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[2] == 'Error: signals.yml: signals.complaints.window: expected a duration such as 10s, found "ten"'
    assert len(said) == 3


def test_check_warns_of_what_will_not_work_well_and_says_ok(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signals = (shop / "signals.yml").read_text("utf-8")
    (shop / "signals.yml").write_text(signals.replace("[endpoint,", "[user_id,"), "utf-8")
    code, found = check(capsys, shop)
    assert (code, found["ok"], found["errors"]) == (0, True, [])
    assert [warning["path"] for warning in found["warnings"]] == ["signals.yml: signals.api-latency.dimensions[0]"]


def test_check_reads_the_customer_directory(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (shop / "customers.csv").open("a", encoding="utf-8") as file:
        file.write("c-1004,Rina,id,Asia/Jakrta,,,,,,\nc-1001,Budi,id,,,,,,,\nc-1005,Eko,id,,,,,gold,much,\n")
    code, found = check(capsys, shop)
    assert (code, found["ok"]) == (0, True)
    assert [(w["path"], w["found"]) for w in found["warnings"]] == [
        ("customers.csv: line 5: time_zone", "'Asia/Jakrta'"),
        ("customers.csv: line 6: id", "'c-1001'"),
        ("customers.csv: line 7: contract_value", "'much'"),
    ]


def test_many_bad_rows_are_summed_up(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (shop / "customers.csv").open("a", encoding="utf-8") as file:
        file.write("c-1001,Budi,id,,,,,,,\n" * 50)
    _, found = check(capsys, shop)
    assert len(found["warnings"]) == 21
    assert found["warnings"][-1]["found"] == "30 more bad rows"


def test_a_directory_that_is_none_is_an_error(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "customers.csv").write_text("name,phone\n", "utf-8")
    code, found = check(capsys, shop)
    assert (code, found["ok"]) == (2, False)
    assert [error["path"] for error in found["errors"]] == ["customers.csv"]


def test_live_signals_without_customers_are_warned_of(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "customers.csv").unlink()
    code, found = check(capsys, shop)
    assert (code, [warning["path"] for warning in found["warnings"]]) == (0, ["customers.csv"])


@pytest.mark.parametrize(
    ("notices", "warned", "said"),
    [
        pytest.param("send: false", [], "notices are in dry run", id="dry run"),
        pytest.param(
            "send: true",
            ["tocsin.yml: notices.channels[0]", "tocsin.yml: notices.channels[1]"],
            "notices cannot be sent as it stands",
            id="the default channels",
        ),
        pytest.param(
            "send: true, channels: [log, email]",
            ["tocsin.yml: notices.channels[1]"],
            "notices cannot be sent as it stands",
            id="one that cannot send",
        ),
        pytest.param("send: true, channels: [log]", [], "notices are sent by log", id="one that can"),
        pytest.param(
            "send: true, channels: []",
            ["tocsin.yml: notices.channels"],
            "notices cannot be sent as it stands",
            id="none at all",
        ),
    ],
)
def test_a_channel_that_cannot_send_is_warned_of_where_notices_are_to_be_sent(
    shop: Path, capsys: pytest.CaptureFixture[str], notices: str, warned: list[str], said: str
) -> None:
    (shop / "tocsin.yml").write_text(f"notices: {{{notices}}}\n", "utf-8")
    code, found = check(capsys, shop)
    assert (code, found["errors"], [warning["path"] for warning in found["warnings"]]) == (0, [], warned)
    assert main(["check", str(shop)]) == 0
    printed = capsys.readouterr().out
    assert said in printed
    assert printed.count("on which this version cannot send") == sum("[" in path for path in warned)


def test_every_mistake_in_a_channels_options_is_listed_with_its_path_and_no_secret(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
    notices: {send: true, channels: [email, whatsapp]}
    channels:
      email: {by: smtp, port: 99999, per_day: many, per_second: 0, on_unknown: ask, passwort: s3cret, password: s3cret}
      whatsapp: {by: qontaq}
    """
    (shop / "tocsin.yml").write_text(textwrap.dedent(text), "utf-8")
    code, found = check(capsys, shop)
    assert code == 2
    said = {error["path"].removeprefix("tocsin.yml: channels."): error for error in found["errors"]}
    assert {path: error["allowed"] for path, error in said.items() if path != "email.passwort"} == {
        "email.per_day": "a whole number",
        "email.per_second": "a number above 0",
        "email.on_unknown": "resend or hold",
        "email.host": "a value",
        "email.port": "a number of at most 65535",
        "email.password": "{env: NAME} or {file: PATH}",
        "email.sender": "a value",
        "whatsapp.by": "apprise, log, qontak, smtp, webhook or whatsapp-cloud",
    }
    assert "s3cret" not in json.dumps(found)
    assert said["email.passwort"]["do"] == 'did you mean "password"?'
    assert said["whatsapp.by"]["do"] == 'did you mean "qontak"?'


def test_a_channels_secret_that_is_not_there_or_signs_nothing_is_an_error(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUR_PASSWORD", raising=False)
    text = """
    notices: {send: true, channels: [push, whatsapp, email]}
    channels:
      push: {by: webhook, url: "https://hooks.shop.example", secret: {file: push.secret}}
      email: {by: smtp, host: mail.shop.example, sender: a@shop.example, user: u, password: {env: OUR_PASSWORD}}
      whatsapp:
        by: qontak
        channel_integration_id: 5f1c0a9e-0c7d-4a58-9d38-8d4a7c1f0001
        oauth: {user: u, password: {env: OUR_PASSWORD}, client_id: c, client_secret: {env: OUR_PASSWORD}}
    """
    (shop / "tocsin.yml").write_text(textwrap.dedent(text), "utf-8")
    code, found = check(capsys, shop)
    said = [error["path"].removeprefix("tocsin.yml: channels.") for error in found["errors"]]
    assert (code, sorted(said)) == (
        2,
        ["email.password", "push.secret", "whatsapp.oauth.client_secret", "whatsapp.oauth.password"],
    )
    monkeypatch.setenv("OUR_PASSWORD", "s3cret")
    (shop / "push.secret").write_text("whsec_tooshort, and more of it", "utf-8")
    code, found = check(capsys, shop)
    assert [(error["path"], error["allowed"]) for error in found["errors"]] == [
        ("tocsin.yml: channels.push.secret", "whsec_ and 24 to 64 bytes in base64")
    ]
    assert "tooshort" not in json.dumps(found)


def test_a_secret_that_is_not_there_is_an_error(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUR_KEY", raising=False)
    with (shop / "tocsin.yml").open("a", encoding="utf-8") as file:
        file.write("privacy: {customer_key: {env: OUR_KEY}}\n")
    code, found = check(capsys, shop)
    assert (code, [error["path"] for error in found["errors"]]) == (2, ["tocsin.yml: privacy.customer_key"])
    monkeypatch.setenv("OUR_KEY", "0123456789abcdef")
    assert check(capsys, shop)[0] == 0


def test_the_environment_names_the_directory(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_CONFIG", str(shop))
    monkeypatch.setenv("TOCSIN_JSON", "1")
    assert main(["check"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_a_missing_directory_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "gone")]) == 2
    assert capsys.readouterr().out.startswith(
        "Error: signals.yml: expected a file that says what is watched, found no directory"
    )


def test_a_format_that_does_not_fit_the_signals_is_an_error(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (shop / "tocsin.yml").open("a", encoding="utf-8") as file:
        file.write("formats: {ours: {fields: {city: geo, bank: geo.bank}}}\n")
    code, found = check(capsys, shop)
    assert (code, [error["path"] for error in found["errors"]]) == (2, ["tocsin.yml: formats.ours: $.geo.bank"])


def test_check_reads_the_templates(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shop / "templates" / "_default" / "_default"
    folder.mkdir(parents=True)
    (folder / "problem.en.txt").write_text("Hi {{ name }}, get a voucher.", "utf-8")
    code, found = check(capsys, shop)
    assert (code, found["errors"]) == (0, [])
    (warning,) = found["warnings"]
    assert (warning["path"], warning["found"]) == ("templates/_default/_default/problem.en.txt", 'the word "voucher"')
    (folder / "problem.en.txt").write_text("Hi {{ nam }}", "utf-8")
    code, found = check(capsys, shop)
    assert code == 2
    (error,) = found["errors"]
    assert error["path"] == "templates/_default/_default/problem.en.txt: line 1"
    assert error["do"] == 'did you mean "name"?'
