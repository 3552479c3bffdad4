"""A detector by dotted path: what is refused and how it is said, and what a failing one does."""

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from detector.errors import ConfigError, TocsinError
from detector.pack import pack
from detector.signals import parse_signals
from detector.watch.evidence import Touched
from detector.watch.plugins import resolve
from detector.watch.plugins.features import NAMES, features, scaled
from detector.watch.plugins.guard import DetectorError
from detector.watch.plugins.per_segment import MODELS, UNUSED_MS, PerSegment
from detector.watch.plugins.resolve import detector_of, problems
from streams.settings import load
from streams.yamlfile import parse_yaml
from tests.contracts.test_detectors import JUMPS, SIGNAL, T0, WARM, Stream, builtin, drive, limit

OWN = "tests.contracts.own_detector"


def said(path: str, options: dict[str, Any] | None = None) -> str:
    signal = msgspec.structs.replace(SIGNAL, detector=path, detector_options=options or {})
    found = problems([signal])
    with pytest.raises(ConfigError):
        detector_of(signal, builtin, up=True)
    assert len(found) == 1
    return str(found[0])


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        pytest.param("no.such.Thing", {}, r'logins\.detector: .*found "no.such.Thing": No module named .*PYTHONPATH', id="no module"),
        pytest.param(f"{OWN}.Residual", {}, r"has no Residual", id="no such name"),
        pytest.param(f"{OWN}.NO_CLASS", {}, r"NO_CLASS\": no class", id="no class"),
        pytest.param(f"{OWN}.Nothing", {}, r"Nothing\", which is none", id="no detector"),
        pytest.param(f"{OWN}.Refusing", {}, r"cannot fit and score: not today \(look at detector_options\)", id="no fit"),
        pytest.param(
            f"{OWN}.Residuals",
            {"fad": 0.5},
            r"logins\.detector_options: expected options that .* takes, found ones it refuses: .*'fad'",
            id="an unknown option",
        ),
        pytest.param(
            "sklearn.ensemble.IsolationForest", {"n_estimators": -3}, r"cannot fit and score: .*n_estimators", id="a bad value"
        ),
        pytest.param("sklearn.neighbors.LocalOutlierFactor", {}, r"novelty: true among the options", id="novelty"),
        pytest.param("river.stats.Mean", {}, r"which is none", id="a statistic"),
    ],
)  # fmt: skip
def test_what_is_no_detector_is_said_with_its_path(path: str, options: dict[str, Any], expected: str) -> None:
    assert re.search(expected, said(path, options))
    assert "\n" not in said(path, options)


def test_a_detector_that_holds_brings_no_complaint() -> None:
    one = msgspec.structs.replace(SIGNAL, detector=f"{OWN}.Residuals", detector_options={"fade": 0.5})
    novel = {"detector": "sklearn.neighbors.LocalOutlierFactor", "detector_options": {"novelty": True}}
    assert problems([SIGNAL, one, msgspec.structs.replace(SIGNAL, **novel)]) == []


@pytest.mark.parametrize(
    "found", [pytest.param(f, id=str(f)) for f in ("os", "a b.c", "", 3, "os.path.join()", "a..b")]
)
def test_what_is_no_dotted_path_is_refused_before_anything_is_imported(found: object) -> None:
    entry = {"title": {"en": "Logins"}, "measure": "count", "events": {}, "detector": found}
    with pytest.raises(ConfigError, match=r"signals\.logins\.detector: expected the dotted path of a class"):
        parse_signals({"signals": {"logins": entry}})


def touched(rows: int, observed: float = 3.0, minute: int = 0) -> Touched:
    every = np.ones(rows)
    return Touched(
        rows=np.arange(rows),
        window_ms=T0 + minute * 60_000,
        observed=observed * every,
        expected=2.0 * every,
        trials=40.0 * every,
        spread=0.02 * every,
        mean=0.0 * every,
        variance=0.02 * every,
        slack=every,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("Falling", "add failed: no such column; mend it", id="raises"),
        pytest.param("Senseless", "add failed: a score that is no finite number of 0 or more", id="not a number"),
        pytest.param("Short", "grow failed: expected one score for each of 3 segments", id="too short"),
    ],
)
def test_a_detector_that_fails_is_named_in_one_line(name: str, expected: str) -> None:
    detector = detector_of(msgspec.structs.replace(SIGNAL, detector=f"{OWN}.{name}"), builtin, up=True)
    with pytest.raises(DetectorError) as caught:
        detector.grow(3)
        detector.add(touched(3))
    assert isinstance(caught.value, TocsinError)
    assert str(caught.value).startswith(f"signals.logins: detector {OWN}.{name}: {expected}")
    assert "\n" not in str(caught.value)


def test_models_are_bounded_and_the_least_recently_used_give_way() -> None:
    inner = PerSegment(resolve.maker("river.anomaly.GaussianScorer", {}, "here"), up=True)
    most = MODELS + 3
    inner.grow(most)

    def step(window: Touched) -> set[int]:
        inner.add(window)
        inner.learn(window, np.ones(len(window.rows), np.bool_))
        return {row for row, *_ in inner.state()["models"]}

    for minute in range(40):
        known = step(touched(most, minute=minute))
    assert len(known) == MODELS
    assert inner.warnings() == [f"more than {MODELS} segments for the detector; the rest wait"]
    waiting = np.array(sorted(set(range(most)) - known))
    late = touched(len(waiting), minute=40 + UNUSED_MS // 60_000)
    after = step(dataclasses.replace(late, rows=waiting))
    assert after >= set(waiting.tolist()) and len(after) == MODELS


def test_the_same_seed_gives_the_same_scores() -> None:
    forest = msgspec.structs.replace(
        SIGNAL, detector="sklearn.ensemble.IsolationForest", detector_options={"n_estimators": 5}
    )
    states = []
    for _ in range(2):
        detector = detector_of(forest, builtin, up=True)
        detector.grow(20)
        for minute in range(70):
            window = touched(20, observed=float(np.random.default_rng(minute).poisson(2)), minute=minute)
            detector.add(window)
            detector.learn(window, np.ones(20, np.bool_))
        states.append(pack(detector.state()))
    assert states[0] == states[1]


def test_features_are_few_and_bounded() -> None:
    given = features(touched(4, observed=500.0))
    assert given.shape == (4, len(NAMES))
    assert ((scaled(given) >= 0) & (scaled(given) <= 1)).all()


def test_it_is_said_when_the_configuration_is_read(tmp_path: Path) -> None:
    text = block("yaml").replace("shop_detectors.Surprise", "river.anomaly.HalfSpaceTree")
    (tmp_path / "signals.yml").write_text(text, "utf-8")
    with pytest.raises(
        ConfigError, match=r"^signals\.yml: signals\.login-failures\.detector: .* has no HalfSpaceTree "
    ):
        load(tmp_path)


# --- the page that says how ------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "detectors.md"


def block(language: str, number: int = 0) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found[number])


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_detectors.py").write_text(block("python"), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop_detectors", raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("own_module")
def test_the_example_of_the_page_is_a_detector_that_finds_a_jump() -> None:
    (signal,) = parse_signals(parse_yaml(block("yaml"), "signals.yml"))
    assert problems([signal]) == []
    detector = detector_of(signal, builtin, up=True)
    scores = np.array(drive(detector, Stream(jump=6.0, jump_from=WARM), WARM + 12))
    assert scores[WARM:, JUMPS].max() >= limit() > scores[:WARM].max()
    assert int(scores[-1].argmax()) == JUMPS


@pytest.mark.usefixtures("own_module")
def test_the_complaint_of_the_page_is_what_is_said() -> None:
    (signal,) = parse_signals(parse_yaml(block("yaml").replace("Surprise", "Suprise"), "signals.yml"))
    assert f"Error: {problems([signal])[0]}\n" == block("text")


def test_the_joint_signal_of_the_page_is_taken() -> None:
    first, second = parse_yaml(block("yaml"), "signals.yml"), parse_yaml(block("yaml", 1), "signals.yml")
    assert isinstance(first, dict) and isinstance(second, dict)
    logins = {k: v for k, v in first["signals"]["login-failures"].items() if not k.startswith("detector")}
    declines = logins | {"events": {"kind": "payment"}, "dimensions": ["city", "bank"]}
    signals = {"login-failures": logins, "payment-declines": declines, **second["signals"]}
    assert parse_signals({"signals": signals})[-1].dimensions == ("signal", "city")
