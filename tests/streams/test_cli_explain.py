"""`tocsin explain`, as a person and a script meet it."""

import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from streams.cli.main import main

DATA = Path(__file__).parents[3] / "shared" / "data" / "cubes"
HEADER = "bank,app,real,predict,trials"


def table(bad: str = "b", ratio: int = 8) -> str:
    lines = [HEADER]
    for bank in "abcdef":
        for app in "wxyz":
            lines.append(f"{bank},{app},{5 * (ratio if bank == bad else 1)},5,100")
    return "\n".join(lines) + "\n"


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    path = tmp_path / "cube.csv"
    path.write_text(table(), encoding="utf-8")
    return path


def test_machines_get_the_causes_best_first(cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(cube), "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["kind"] == "count"
    (cause,) = found["causes"]
    assert cause["where"] == {"bank": "b"}
    assert cause["share_of_excess"] == pytest.approx(1)
    assert 0 < cause["confidence"] <= 1
    assert (cause["real"], cause["predict"], cause["same_as"]) == (160, 20, [])
    assert "Taken as count" in printed.err


def test_people_get_a_table(cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(cube), "--kind", "count"]) == 0
    printed = capsys.readouterr()
    assert "bank=b" in printed.out and "of the excess" in printed.out
    assert printed.err == ""


def test_everything_is_an_empty_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cube.csv"
    path.write_text(table().replace(",5,5,", ",40,5,"), encoding="utf-8")
    assert main(["explain", str(path), "--json"]) == 0
    assert [cause["where"] for cause in json.loads(capsys.readouterr().out)["causes"]] == [{}]


def test_where_nothing_stands_out_the_answer_is_no(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cube.csv"
    path.write_text(table(ratio=1), encoding="utf-8")
    assert main(["explain", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["causes"] == []
    assert main(["explain", str(path)]) == 1
    assert "Nothing stands out among 24 rows" in capsys.readouterr().out


def test_gzip_and_standard_input_say_the_same(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["explain", str(cube), "--json"])
    plain = capsys.readouterr().out
    packed = tmp_path / "cube.csv.gz"
    packed.write_bytes(gzip.compress(cube.read_bytes()))
    main(["explain", str(packed), "--json"])
    assert capsys.readouterr().out == plain
    for data in (cube.read_bytes(), packed.read_bytes()):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        main(["explain", "-", "--json"])
        assert capsys.readouterr().out == plain


def test_a_spreadsheets_table_is_read(cube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With semicolons, CR LF, a byte order mark, capitals in the header."""
    text = table().replace(",", ";").replace("\n", "\r\n").replace("real;predict", "Real; Predict")
    path = tmp_path / "sheet.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert main(["explain", str(path), "--json"]) == main(["explain", str(cube), "--json"]) == 0
    sheet, plain = capsys.readouterr().out.splitlines()
    assert sheet == plain


def test_a_missing_value_is_shown_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cube.csv"
    path.write_text("bank,real,predict\n,90,5\nB,5,5\nC,5,5\n", "utf-8")
    assert main(["explain", str(path)]) == 0
    assert "bank=''" in capsys.readouterr().out


def test_fractions_are_taken_as_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cube.csv"
    lines = ["bank,app,real,predict"]
    lines += [
        f"{b},{a},{(2.5 if b == 'c' else 1.0) * 10 + i / 100:.2f},10" for i, b in enumerate("abcdef") for a in "wxyz"
    ]
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    assert main(["explain", str(path), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["causes"][0]["where"] == {"bank": "c"}
    assert "Taken as value" in printed.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("", "found an empty file", id="empty"),
        pytest.param(HEADER + "\n", "expected rows below the header", id="header-only"),
        pytest.param("bank,real\nx,1\n", "found no 'predict'", id="no-predict"),
        pytest.param("real,predict\n1,1\n", "at least one dimension column", id="no-dimension"),
        pytest.param("a,a,real,predict\nx,y,1,1\n", "found 'a' 2 times", id="column-twice"),
        pytest.param("a,real,predict\nx,1,1\nx,one,1\n", "line 3: real: expected a number, found 'one'", id="word"),
        pytest.param("a,real,predict\nx,nan,1\n", "line 2: real: expected a number, found 'nan'", id="nan"),
        pytest.param("a,real,predict\nx,1,inf\n", "line 2: predict: expected a number, found 'inf'", id="infinite"),
        pytest.param("a,real,predict\nx,1,1e300\n", "line 2: predict: expected 1e+100 at most", id="too-large"),
        pytest.param("a,real,predict\nx,1,1,1\n", "line 2: expected 3 fields, found 4", id="too-many-fields"),
        pytest.param(HEADER + "\nx,w,0,1,-2\n", "line 2: trials: expected 0 or more, found -2", id="negative-trials"),
        pytest.param(HEADER + "\nx,w,3,1,2\n", "line 2: real: expected no more than the 2 trials", id="beyond-trials"),
        pytest.param(HEADER + "\nx,w,-3,1,2\n", "real: expected 0 or more in a count", id="negative-count"),
    ],
)
def test_bad_input_is_told_in_one_line(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cube.csv"
    path.write_text(content, encoding="utf-8")
    assert main(["explain", str(path)]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(error) == 1 and words in error[0] and str(path) in error[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(table().encode(), "expected a gzip file, found none", id="plain"),
        pytest.param(gzip.compress(table().encode())[:60], "damaged or cut off", id="cut"),
        pytest.param(gzip.compress(b"a,real,predict\n\xff\xfe,1,1\n"), "expected UTF-8 text", id="bytes"),
    ],
)
def test_what_is_no_gzipped_text_is_refused(
    data: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cube.csv.gz"
    path.write_bytes(data)
    assert main(["explain", str(path)]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the published cubes are not here")
@pytest.mark.parametrize("name", ["value-l/000", "count-clean/004", "count-whole/000"])
def test_published_cubes_are_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    planted = json.loads((DATA / name).parent.joinpath("causes.json").read_text())[name[-3:]]
    assert main(["explain", str(DATA / f"{name}.csv.gz"), "--json"]) == 0
    found = [cause["where"] for cause in json.loads(capsys.readouterr().out)["causes"]]
    assert found == [{dimension: str(value) for dimension, value in where.items()} for where in planted]
