"""What people read of why an anomaly is one: every kind of count, in both languages, with nothing of an event's making."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.signals import LANGUAGES, Direction, Measure
from detector.watch.anomaly import Beside, Cause, Phase, Shift, Why
from detector.watch.explanation import Account, Counted, budget_in_words, counted_of, explain_in_words
from tests.detector.desk_world import LOGIN, SILENCE, Minute, World, anomaly, fails

WHY = Why(
    15.9,
    15.3,
    "1 false case per week, split over 2 signals",
    325,
    0.14,
    segment={"bank": "BRI"},
    source="own peaks",
    season=1.08,
    beside=(Beside({"bank": "BRI"}, 41, 39.8, 900), Beside({"method": "qris"}, 90, 30.0, 700)),
)
ACCOUNT = Account(
    signal="payment",
    anomaly="a",
    counted=Counted.FAILED,
    causes=(Cause({"bank": "BRI", "method": "qris"}, 0.97),),
    observed=56,
    expected=20.4,
    trials=1310,
    why=WHY,
)


def said(account: Account = ACCOUNT, language: str = "en", **why: Any) -> str:
    changed = msgspec.structs.replace(account, why=msgspec.structs.replace(account.why, **why))
    return " ".join(explain_in_words(changed, language))


def of(**values: Any) -> Account:
    return msgspec.structs.replace(ACCOUNT, **values)


def test_the_indonesian_words_say_the_same() -> None:
    assert explain_in_words(ACCOUNT, "id") == (
        "56 gagal, diperkirakan 20,4, 2,7 kali lipat; 1.310 mencoba.",
        "Di sekitarnya: di bank BRI selebihnya 41 gagal, diperkirakan 39,8, seperti biasa; "
        "di method qris selebihnya 90 gagal, diperkirakan 30, 3,0 kali lipat.",
        "Kebetulan dan goyangan laju yang biasa (14 %) sampai sejauh ini kurang dari sekali dalam 8 juta pengamatan "
        "di satu tempat.",
        "bank BRI melewati ambang 15,3 nat (bukti kini 15,9). Ambang itu mengikuti anggaran 1 kasus keliru per minggu, "
        "dibagi ke 2 sinyal, dengan 325 tempat yang diamati, dan dari puncak aliran data ini di masa lalu.",
        "Jam ini biasanya 8 % di atas rata-rata; itu sudah diperhitungkan.",
    )


@pytest.mark.parametrize(
    ("account", "english", "indonesian"),
    [
        pytest.param(
            of(counted=Counted.FEWER, observed=3, expected=1310.2),
            "3 came where 1,310 were expected: 0.2 % of them.",
            "3 datang, padahal diperkirakan 1.310: 0,2 % saja.",
            id="silence",
        ),
        pytest.param(
            of(counted=Counted.CAME, observed=1310, expected=201.5),
            "1,310 came where 202 were expected, 6.5 times as many.",
            "1.310 datang, diperkirakan 202, 6,5 kali lipat.",
            id="count",
        ),
        pytest.param(
            of(counted=Counted.BEYOND),
            "56 were beyond the limit where 20.4 were expected, 2.7 times as many; 1,310 were measured.",
            "56 melewati batas, diperkirakan 20,4, 2,7 kali lipat; 1.310 diukur.",
            id="value with a limit",
        ),
        pytest.param(
            of(counted=Counted.RANKED, why=msgspec.structs.replace(WHY, shift=Shift(0.5, 340.0, 210.0, 1520))),
            "Median 340 of 1,520 values, usually 210. "
            "Ranked among the usual values, 56 of 1,310 lie as far out as 20.4 usually do, 2.7 times as many.",
            "Median 340 dari 1.520 nilai, biasanya 210. "
            "Menurut peringkat di antara nilai biasa, 56 dari 1.310 sejauh itu, biasanya 20,4, 2,7 kali lipat.",
            id="value without",
        ),
        pytest.param(
            of(observed=5, expected=0.0),
            "5 failed where 0 were expected; 1,310 tried.",
            "5 gagal, diperkirakan 0; 1.310 mencoba.",
            id="where nothing ever failed",
        ),
    ],
)
def test_the_first_sentence_says_what_was_seen(account: Account, english: str, indonesian: str) -> None:
    assert (explain_in_words(account, "en")[0], explain_in_words(account, "id")[0]) == (english, indonesian)


@pytest.mark.parametrize(
    ("beside", "english"),
    [
        pytest.param(
            Beside({}, 41, 39.8, 900), "Around it: everywhere else 41 failed, 39.8 expected, as usual.", id="1"
        ),
        pytest.param(Beside({"bank": ""}, 0, 0.0, 0), "Around it: elsewhere in bank (none) nothing happened.", id="2"),
        pytest.param(
            Beside({"bank": "BRI"}, 400, 900.0, 9000),
            "Around it: elsewhere in bank BRI 400 failed, 900 expected, fewer than usual.",
            id="3",
        ),
    ],
)
def test_the_surroundings_are_judged_by_chance_and_noise(beside: Beside, english: str) -> None:
    assert english in said(beside=(beside,))


def test_a_cause_says_how_sure_it_is_and_what_else_it_is_called() -> None:
    where = {"bank": "BRI"}
    cause = Cause(where, 0.97, 0.9712, ({"bin": "4321"}, {"bin": "4321"}, {"bank": "BRI", "method": "qris"}))
    assert "bank BRI is the cause with 97 % confidence (the same as bin 4321)." in said(of(causes=(cause,)))
    certain = Cause(where, 0.97, 1.0)
    assert "bank BRI penyebabnya dengan keyakinan 99 %." in said(of(causes=(certain, Cause({}, 0.1, 1.0))), "id")


def test_a_cause_of_everyone_has_no_surroundings() -> None:
    assert "It is everyone: no part stands out." in said(of(causes=(Cause({}, 1.0),)), beside=())


def test_it_says_which_source_the_threshold_has_and_whose_evidence_passed_it() -> None:
    assert "The whole signal passed the threshold of 15.3 nats" in said(segment={})
    assert "and from theory, until the stream's own peaks are known." in said(source="theory")
    assert "with 1 place looked at" in said(segments=1)


def test_what_chance_explains_is_said_to_be_explained() -> None:
    assert "explain by now what is left of it" in said(score_nats=1.2)
    assert "less than once in 1 trillion looks" in said(score_nats=1e6)


def test_an_hour_like_any_other_is_not_spoken_of() -> None:
    assert "hour" not in said(season=1.02)
    assert "This hour is usually 30 % below the average" in said(season=0.7)


def test_a_new_level_is_the_last_word() -> None:
    account = of(new_level=1.8)
    assert explain_in_words(account, "en")[-1] == "It has become normal: 1.8 times what was expected before."
    assert explain_in_words(account, "id")[-1] == "Ini sudah menjadi normal: 1,8 kali dari yang dulu diperkirakan."


def test_a_budget_in_words_of_its_own_is_kept() -> None:
    assert budget_in_words("1 false case per week, split over 1 signals", "en") == "1 false case per week"
    assert budget_in_words("1 false case per week, split over 1 signals", "id") == "1 kasus keliru per minggu"
    assert budget_in_words("1 false case per 2h", "id") == "1 false case per 2h"


@pytest.mark.parametrize(
    ("measure", "direction", "limit", "expected"),
    [
        pytest.param(Measure.SHARE, Direction.UP, None, Counted.FAILED, id="share"),
        pytest.param(Measure.JOINT, Direction.UP, None, Counted.FAILED, id="joint"),
        pytest.param(Measure.COUNT, Direction.UP, None, Counted.CAME, id="count"),
        pytest.param(Measure.COUNT, Direction.DOWN, None, Counted.FEWER, id="silence"),
        pytest.param(Measure.VALUE, Direction.UP, 5.0, Counted.BEYOND, id="limit"),
        pytest.param(Measure.VALUE, Direction.UP, None, Counted.RANKED, id="value"),
    ],
)
def test_what_is_counted_follows_from_the_signal(
    measure: Measure, direction: Direction, limit: float | None, expected: Counted
) -> None:
    changed = msgspec.structs.replace(LOGIN, measure=measure, direction=direction, bad_above=limit)
    assert counted_of(changed) is expected


texts = st.text(max_size=200)
numbers = st.floats(0, 1e9, allow_nan=False)
places = st.dictionaries(texts, texts, max_size=3)
whys = st.builds(
    Why,
    score_nats=st.floats(-5, 1e9),
    threshold_nats=numbers,
    budget=texts,
    segments=st.integers(0, 10**7),
    noise=st.floats(0, 3),
    shift=st.none()
    | st.builds(Shift, st.floats(0, 1), st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.integers(0, 10**9)),
    segment=places,
    source=texts,
    season=st.floats(0, 100),
    beside=st.lists(st.builds(Beside, places, st.integers(0, 10**9), numbers, st.integers(0, 10**9)), max_size=3).map(
        tuple
    ),
)
accounts = st.builds(
    Account,
    signal=st.just("payment"),
    anomaly=st.just("a"),
    counted=st.sampled_from(Counted),
    causes=st.lists(
        st.builds(Cause, places, st.floats(0, 1), st.none() | st.floats(0, 1), st.lists(places, max_size=2).map(tuple)),
        max_size=3,
    ).map(tuple),
    observed=st.integers(0, 10**9),
    expected=numbers,
    trials=st.integers(0, 10**9),
    why=whys,
    new_level=st.none() | st.floats(0, 100),
)


@pytest.mark.slow
@given(accounts)
def test_whatever_the_numbers_and_values_it_is_plain_lines(account: Account) -> None:
    for language in LANGUAGES:
        sentences = explain_in_words(account, language)
        assert sentences == tuple(s for s in sentences if s and s[-1] == "." and s.isprintable())


def test_a_value_cannot_bring_lines_or_templates() -> None:
    text = said(segment={"bank": "BRI\n\x1b[31m{threshold}\u202e" + "x" * 90})
    assert re.search(r"bank BRI \[31m\{threshold\}x+… passed", text)


# --- carried to the case ---


def test_a_case_keeps_the_latest_word_of_each_of_its_anomalies() -> None:
    world = World()
    bad = fails("login", range(1, 30), ("5.2", "Karta"))
    world.go(Minute(bad=bad), anomaly("a", "login", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED))
    world.go(
        None,
        anomaly("a", "login", {"app": "5.2"}, world.window_ms, observed=31, why=WHY),
        anomaly("s", "checkout", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED),
    )
    first, second = world.store.cases["a"].accounts
    assert (first.anomaly, first.observed, first.why, first.counted) == ("a", 31, WHY, Counted.FAILED)
    assert (second.signal, second.counted) == (SILENCE.name, Counted.FEWER)


def test_what_was_said_survives_a_restart() -> None:
    world = World()
    world.go(None, anomaly("a", "login", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED, why=WHY))
    data = world.desk.snapshot()
    world.desk.restore(data)
    assert world.desk.snapshot() == data
    world.go(None, anomaly("s", "checkout", {"app": "5.2"}, world.window_ms, phase=Phase.OPENED))
    assert [a.anomaly for a in world.store.cases["a"].accounts] == ["a", "s"]
    assert world.store.cases["a"].accounts[0].why == WHY
