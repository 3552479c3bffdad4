"""`tocsin simulate` writes files that the other commands read."""

import json
from pathlib import Path

import pytest

from streams.cli.main import main
from streams.settings import load
from streams.store.customers_csv import read_customers

FILES = ("customers.csv", "events.ndjson", "signals.yml", "tocsin.yml", "truth.json")


def simulate(out: Path, *more: str, seed: int = 3, days: str = "0.01") -> int:
    return main(["simulate", "--seed", str(seed), "--days", days, "--out", str(out), "--rate", "2", *more])


def test_it_writes_the_five_files_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "run"
    assert simulate(out) == 0
    assert sorted(path.name for path in out.iterdir()) == list(FILES)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "0 planted problems" in shown.err


@pytest.mark.slow
def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert simulate(tmp_path / name, days="0.3") == 0
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
def test_json_counts_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(tmp_path, "--json", days="0.32") == 0
    answer = json.loads(capsys.readouterr().out)
    truth = json.loads((tmp_path / "truth.json").read_bytes())
    assert answer["events"] == len((tmp_path / "events.ndjson").read_bytes().splitlines())
    assert answer["problems"] == [problem["name"] for problem in truth["problems"]] != []
    assert (answer["seed"], answer["dir"]) == (truth["seed"], str(tmp_path)) == (3, str(tmp_path))


@pytest.mark.slow
def test_quiet_only_plants_nothing(tmp_path: Path) -> None:
    assert simulate(tmp_path, "--quiet-only", days="0.32") == 0
    assert json.loads((tmp_path / "truth.json").read_bytes()) == {"seed": 3, "problems": []}


def test_noise_changes_the_traffic(tmp_path: Path) -> None:
    assert simulate(tmp_path / "one") == simulate(tmp_path / "two", "--noise", "2") == 0
    one, two = ((tmp_path / name / "events.ndjson").read_bytes() for name in ("one", "two"))
    assert one != two


@pytest.mark.slow
def test_the_configuration_and_the_directory_are_valid(tmp_path: Path) -> None:
    assert simulate(tmp_path) == 0
    settings = load(tmp_path)
    assert settings.customers == tmp_path / "customers.csv"
    assert {"login-failures", "payment-declines", "checkout-silence", "api-latency", "complaints"} == {
        signal.name for signal in settings.config.signals
    }
    read = read_customers(tmp_path / "customers.csv")
    assert read.bad == []
    assert len(read.rows) > 19_000


def test_an_old_truth_does_not_outlive_a_new_run(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text("old")
    (tmp_path / "events.ndjson").mkdir()
    assert simulate(tmp_path) != 0
    assert not (tmp_path / "truth.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--seed", "-1", "--days", "1", "--out", "x"], id="negative-seed"),
        pytest.param(["--seed", "1", "--days", "0", "--out", "x"], id="no-days"),
        pytest.param(["--seed", "1", "--days", "nan", "--out", "x"], id="days-not-a-number"),
        pytest.param(["--seed", "1", "--days", "1"], id="nowhere-to-write"),
        pytest.param(["--seed", "1", "--days", "1", "--out", "x", "--rate", "0"], id="no-rate"),
        pytest.param(["--seed", "1", "--days", "1", "--out", "x", "--noise", "nan"], id="noise-not-a-number"),
    ],
)
def test_wrong_arguments_end_with_two(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
