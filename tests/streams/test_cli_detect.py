"""`tocsin detect`: files as found in the wild, the scored CSV, the picture, the summary, and what is wrong usage."""

import csv
import gzip
import io
import json
import math
from pathlib import Path

import pytest

from streams.cli.detect import sparkline
from streams.cli.main import main
from streams.cli.series_file import parse_time, read_series

START = 1_772_409_600


def values(rows: int = 600, spike: int = 500) -> list[float]:
    return [20 + 3 * math.sin(i / 9) + (i * 37 % 11) / 10 + (60 if i == spike else 0) for i in range(rows)]


def written(path: Path, rows: list[str], header: str = "timestamp,value") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return written(tmp_path / "cpu.csv", [f"{START + 60 * i},{v:.3f}" for i, v in enumerate(values())])


def scored(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_scored_file_has_a_line_for_each_line_in_order(series: Path, tmp_path: Path) -> None:
    out = tmp_path / "scored.csv"
    assert main(["detect", str(series), "--out", str(out)]) == 0
    assert out.read_text().splitlines()[0] == "timestamp,value,expected,low,high,anomaly_score,alert"
    rows = scored(out)
    assert [row["timestamp"] for row in rows] == [str(START + 60 * i) for i in range(600)]
    assert [row["value"] for row in rows] == [f"{v:.3f}" for v in values()]
    assert all(0 <= float(row["anomaly_score"]) <= 1 for row in rows)
    assert [i for i, row in enumerate(rows) if row["alert"] == "1"] == [500]
    assert all((float(row["anomaly_score"]) >= 0.5) == (row["alert"] == "1") for row in rows)
    last = rows[-1]
    assert float(last["low"]) <= float(last["expected"]) <= float(last["high"])


def test_json_names_the_incidents(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(series), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["threshold"]) == ("value", 0.5)
    (one,) = found["series"]
    assert (one["rows"], one["without_value"]) == (600, 0)
    (incident,) = one["incidents"]
    assert incident["time"] == "2026-03-02T08:20:00Z"
    assert incident["line"] == 502
    assert incident["value"] == pytest.approx(values()[500], abs=1e-3)
    assert incident["score"] >= 0.5


def test_the_summary_shows_the_incident_below_the_series(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(series)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("cpu: 1 incident in 600 rows, 2026-03-02 00:00 to 2026-03-02 09:59\n")
    bars, marks = text.splitlines()[1:3]
    assert bars[marks.index("▲")] == "█"
    assert "2026-03-02 08:20" in text


def test_a_quiet_series_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = written(tmp_path / "flat.csv", [f"{START + 60 * i},7" for i in range(300)])
    assert main(["detect", str(flat)]) == 0
    assert "flat: no incidents in 300 rows" in capsys.readouterr().out


def test_a_slash_says_that_a_directory_is_meant(series: Path, tmp_path: Path) -> None:
    assert main(["detect", str(series), "--out", f"{tmp_path}/new/"]) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cpu.csv"]


def test_several_series_go_to_a_directory_each_by_its_name(series: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "memory.csv", [f"{START + 60 * i},{v}" for i, v in enumerate(values())])
    out = tmp_path / "all"
    assert main(["detect", str(series), str(other), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["cpu.csv", "memory.csv"]
    alone = tmp_path / "alone.csv"
    assert main(["detect", str(series), "--out", str(alone)]) == 0
    assert (out / "cpu.csv").read_bytes() == alone.read_bytes()


def test_standard_input_and_packed_files_give_the_same(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, one, two, three = (tmp_path / name for name in ("cpu.csv.gz", "1.csv", "2.csv", "3.csv"))
    packed.write_bytes(gzip.compress(series.read_bytes()))
    monkeypatch.setattr("sys.stdin", io.StringIO(series.read_text()))
    for source, out in ((str(series), one), ("-", two), (str(packed), three)):
        assert main(["detect", source, "--out", str(out)]) == 0
    assert one.read_bytes() == two.read_bytes() == three.read_bytes()


@pytest.mark.parametrize(
    ("header", "line"),
    [
        pytest.param("timestamp,value,label", "{t},{v},0", id="a label is ignored"),
        pytest.param("label,Value,Timestamp", "0,{v},{t}", id="any order and case"),
        pytest.param("time,cpu_busy", "{t},{v}", id="two columns, the other one is the value"),
        pytest.param("ds,y", "{t},{v}", id="forecasting names"),
        pytest.param('"timestamp","value"', '"{t}","{v}"', id="quoted"),
        pytest.param("timestamp;value", "{t};{v}", id="semicolons"),
        pytest.param("\ufefftimestamp,value", "{t},{v}", id="a byte order mark"),
    ],
)
def test_headers_as_found_in_the_wild(tmp_path: Path, header: str, line: str) -> None:
    path = written(tmp_path / "x.csv", [line.format(t=START + i, v=i) for i in range(3)], header)
    rows = read_series(str(path))
    assert [row.time_ms for row in rows] == [1_000 * (START + i) for i in range(3)]
    assert [row.value for row in rows] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2026-03-02 00:00:00", id="a blank"),
        pytest.param("2026-03-02T00:00:00Z", id="RFC 3339"),
        pytest.param("2026-03-02T07:00:00.000+07:00", id="a zone"),
        pytest.param("2026/03/02 00:00", id="slashes"),
        pytest.param("1772409600", id="seconds"),
        pytest.param("1772409600.0", id="seconds with a fraction"),
        pytest.param("1772409600000", id="milliseconds"),
        pytest.param("1772409600000000", id="microseconds"),
        pytest.param("1772409600000000000", id="nanoseconds"),
    ],
)
def test_times_as_found_in_the_wild(text: str) -> None:
    assert parse_time(text) == START * 1_000


def test_rows_without_a_value_score_nothing_and_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blanks = {300: "", 301: "NaN", 302: "null", 303: "inf"}
    rows = [f"{START + 60 * i},{blanks.get(i, f'{v:.3f}')}" for i, v in enumerate(values())]
    out = tmp_path / "out.csv"
    assert main(["detect", str(written(tmp_path / "gaps.csv", rows)), "--out", str(out)]) == 0
    assert "600 rows, 4 without a value" in capsys.readouterr().out
    found = scored(out)
    assert [float(found[i]["anomaly_score"]) for i in blanks] == [0.0] * 4
    assert [i for i, row in enumerate(found) if row["alert"] == "1"] == [500]


@pytest.mark.slow
def test_times_that_repeat_or_go_back_do_no_harm(tmp_path: Path) -> None:
    stamps = [START + 60 * i for i in range(600)]
    stamps[100:110] = stamps[90:100]
    stamps[200], stamps[201] = stamps[201], stamps[200]
    rows = [f"{t},{v:.3f}" for t, v in zip(stamps, values(), strict=True)]
    out, plot = tmp_path / "out.csv", tmp_path / "out.png"
    path = written(tmp_path / "odd.csv", rows)
    assert main(["detect", str(path), "--out", str(out), "--plot", str(plot)]) == 0
    assert [row["timestamp"] for row in scored(out)] == list(map(str, stamps))
    assert [i for i, row in enumerate(scored(out)) if row["alert"] == "1"] == [500]


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        pytest.param("timestamp,value", ["1772409600,1", "noon,2"], "x.csv:3: 'noon' is no time", id="no time"),
        pytest.param("timestamp,value", ["1772409600,many"], "x.csv:2: 'many' is no number", id="no number"),
        pytest.param("timestamp,value", ["1772409600,1e300"], "x.csv:2: '1e300' is beyond 1e+100", id="too large"),
        pytest.param("timestamp,value", ["1772409600"], "x.csv:2: expected 2 columns", id="a short line"),
        pytest.param("timestamp,value", ['1772409600,"1,051"'], "write 1234.5, without thousands", id="thousands"),
        pytest.param("1772409600,3", ["1772409660,4"], "the first line has to be a header", id="no header"),
        pytest.param("timestamp,bad,total", ["1772409600,1,2"], "--kind share takes bad ones", id="a share"),
        pytest.param("when,what,else", ["1,2,3"], "x.csv:1: no column 'timestamp'", id="no such column"),
        pytest.param("timestamp,a,b", ["1,2,3"], "x.csv:1: no column 'value'", id="no value column"),
        pytest.param("timestamp,value", [], "x.csv: no rows", id="no rows"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str, rows: list[str], said: str
) -> None:
    path = written(tmp_path / "x.csv", rows, header)
    assert main(["detect", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_an_empty_a_missing_and_a_binary_file_are_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, binary = tmp_path / "empty.csv", tmp_path / "binary.csv"
    empty.write_text("")
    binary.write_bytes(b"timestamp,value\n\xff\xfe\x00")
    for path, said in ((empty, "empty"), (tmp_path / "none.csv", "No such file"), (binary, "not UTF-8")):
        assert main(["detect", str(path)]) == 2
        assert said in capsys.readouterr().err


def test_no_file_is_overwritten_by_mistake(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = series.read_bytes()
    assert main(["detect", str(series), "--out", str(series)]) == 2
    assert series.read_bytes() == before
    twin = tmp_path / "twin" / "cpu.csv"
    twin.parent.mkdir()
    twin.write_bytes(before)
    assert main(["detect", str(series), str(twin), "--out", str(tmp_path / "all")]) == 2
    assert "two series" in capsys.readouterr().err


def test_a_share_needs_bad_and_total_and_alerts_on_what_rises(tmp_path: Path) -> None:
    rows = [f"{START + 60 * i},{(i * 7) % 5 + (60 if 700 <= i < 720 else 0)},200" for i in range(900)]
    path = written(tmp_path / "logins.csv", rows, "timestamp,bad,total")
    out = tmp_path / "out.csv"
    assert main(["detect", str(path), "--kind", "share", "--out", str(out)]) == 0
    found = scored(out)
    assert [i for i, row in enumerate(found) if row["alert"] == "1"] == [700]
    assert found[700]["value"] == "0.3"
    assert float(found[700]["high"]) < 0.3
    assert main(["detect", str(path)]) == 2


def test_counts_alert_on_silence(tmp_path: Path) -> None:
    rows = [f"{START + 60 * i},{0 if 700 <= i < 760 else 30 + (i * 7) % 11}" for i in range(900)]
    path = written(tmp_path / "requests.csv", rows)
    out = tmp_path / "out.csv"
    assert main(["detect", str(path), "--kind", "count", "--out", str(out)]) == 0
    (alert,) = [i for i, row in enumerate(scored(out)) if row["alert"] == "1"]
    assert 700 <= alert <= 705


@pytest.mark.parametrize(
    ("kind", "header", "row", "said"),
    [
        pytest.param("share", "timestamp,bad,total", "1772409600,5,3", "5 bad of 3", id="more bad than all"),
        pytest.param("share", "timestamp,value", "1772409600,5", "no column 'bad'", id="no share columns"),
        pytest.param("count", "timestamp,value", "1772409600,-1", "counts are 0 or more", id="a negative count"),
    ],
)
def test_what_can_be_no_count_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, header: str, row: str, said: str
) -> None:
    assert main(["detect", str(written(tmp_path / "x.csv", [row], header)), "--kind", kind]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_plot_is_a_picture(series: Path, tmp_path: Path) -> None:
    plot = tmp_path / "pictures" / "cpu.png"
    assert main(["detect", str(series), "--plot", str(plot)]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_plot_says_what_to_do(
    series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main(["detect", str(series), "--plot", str(tmp_path / "x.png")]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_a_sparkline_shows_what_is_marked() -> None:
    bars, marks = sparkline([0.0] * 100 + [10.0] + [0.0] * 99, [100], width=20)
    assert (len(bars), bars[10], set(bars) - {"█"}) == (20, "█", {"▁"})
    assert marks == " " * 10 + "▲"
