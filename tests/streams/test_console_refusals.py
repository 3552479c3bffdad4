"""What the engines refuse is told in the viewer's language: every refusal that a command on a page can meet."""

import re

import pytest

from detector.desk.records import CaseState, Command, Verb, Verdict
from detector.errors import UsageError
from detector.watch.anomaly import Phase
from streams.web.console.texts import TEXTS
from streams.web.console.views import engine
from tests.detector.desk_world import Minute, World, anomaly, fails

A, B = "a0", "b0"
REFUSED = [
    ("state", (Verb.DISMISS, {"verdict": Verdict.EXPECTED}), (Verb.APPROVE, {})),
    ("gone", (Verb.ACKNOWLEDGE, {"case": "c0ffee"})),
    ("no_problem", (Verb.RESOLVE, {"verdict": Verdict.NOT_A_PROBLEM})),
    ("resolved_already", (Verb.RESOLVE, {"verdict": Verdict.REAL}), (Verb.RESOLVE, {})),
    ("assigned_already", (Verb.ASSIGN, {"text": "ani"}), (Verb.ASSIGN, {"text": "ani"})),
    ("no_comment", (Verb.COMMENT, {})),
    ("no_verdict", (Verb.DISMISS, {})),
    ("nobody_waits", (Verb.RESOLVE, {"verdict": Verdict.REAL}), (Verb.TRY_AGAIN, {}), (Verb.TRY_AGAIN, {})),
    ("merge_itself", (Verb.MERGE, {})),
    ("merge_into", (Verb.DISMISS, {"case": B, "verdict": Verdict.EXPECTED}), (Verb.MERGE, {"into": B})),
    ("merge_modes", (Verb.MERGE, {"into": "d0"})),
    ("split_some", (Verb.SPLIT, {"anomalies": ("zz",)})),
    ("approved_already", (Verb.APPROVE, {}), (Verb.APPROVE, {})),
    ("no_number", (Verb.APPROVE, {"customers": 0})),
    ("told_already", (Verb.APPROVE, {"customers": 3})),
    ("held_already", (Verb.HOLD, {}), (Verb.HOLD, {})),
]


def world() -> World:
    """Return a world of three open cases: two live ones, one in shadow."""
    found = World()
    bad = fails("login", range(1, 11), ("5.2", "Karta")) | fails("payment", range(31, 41), ("BNI", "4"))
    hidden = fails("hidden", range(61, 71), ("5.2", "Karta"))
    found.go(Minute(bad=bad | hidden))
    at = found.window_ms
    found.go(
        None,
        anomaly(A, "login", {"app": "5.2"}, at, phase=Phase.OPENED),
        anomaly(B, "payment", {"bank": "BNI"}, at, phase=Phase.OPENED),
        anomaly("d0", "hidden", {"app": "5.2"}, at, phase=Phase.OPENED),
    )
    assert sorted(found.store.cases) == [A, B, "d0"]
    return found


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: given[0])
def test_a_refusal_of_the_engines_is_told_in_bahasa(
    given: tuple[str, *tuple[tuple[Verb, dict[str, object]], ...]],
) -> None:
    key, *commands = given
    here = world()
    said = ""
    for verb, more in commands:
        try:
            here.step(Command(verb, **{"case": A, "by": "ani", **more}), here.now_ms)  # type: ignore[arg-type]
        except UsageError as error:
            said = str(error)
    assert said
    for language, n in (("en", 0), ("id", 1)):
        told = engine.refusal_in_words(said, language)  # type: ignore[arg-type]
        form = TEXTS[f"refused.{key}"][n]
        assert re.fullmatch(re.sub(r"\\\{\w+\\\}", ".+", re.escape(form)), told), (said, told)
    state = next((s for s in CaseState if f"it is {s.value}" in said), None)
    assert state is None or key not in ("state", "merge_into") or TEXTS[f"state.{state.value}"][1] in told


def test_every_refusal_that_has_words_is_shown_here() -> None:
    assert {key for key, *_ in REFUSED} == set(engine._REFUSED)


def test_a_refusal_that_nobody_has_put_into_words_is_told_as_it_is() -> None:
    assert engine.refusal_in_words("case 3f2a: the moon is in the way", "id") == "the moon is in the way"
