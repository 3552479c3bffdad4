"""The evaluation against cases written by hand."""

from typing import Any

import pytest

from detector.config import WEEK_MS
from models.evaluate import before_complaint_s, evaluate, matches, weeks_within

PROBLEM: dict[str, Any] = {
    "name": "login-1",
    "kind": "failures",
    "signals": ["login-failures"],
    "onset": "2026-03-02T10:00:00.000Z",
    "end": "2026-03-02T12:00:00.000Z",
    "where": {"app_version": "5.9.0", "otp_provider": "sms-satu"},
    "affected": ["a", "b", "c", "d"],
    "because": ["a", "b", "c"],
    "oracle": ["a", "b", "c", "d"],
    "first_complaint": "2026-03-02T10:20:00.000Z",
}
SILENCE: dict[str, Any] = PROBLEM | {
    "name": "checkout-1",
    "signals": ["checkout-silence"],
    "where": {},
    "affected": None,
    "because": None,
    "oracle": None,
    "first_complaint": None,
}
CASE: dict[str, Any] = {
    "id": "one",
    "mode": "live",
    "title": "Logins fail",
    "state": "resolved",
    "severity": "high",
    "signals": ["login-failures"],
    "onset": "2026-03-02T10:01:00Z",
    "detected_at": "2026-03-02T10:08:00Z",
    "opened_at": "2026-03-02T10:08:00Z",
    "ended_at": "2026-03-02T12:05:00Z",
    "resolved_at": "2026-03-02T12:40:00Z",
    "causes": [{"where": {"otp_provider": "sms-satu", "app_version": "5.9.0"}, "share_of_excess": 0.98}],
    "affected": {"confirmed": 2, "likely": 2, "still_failing": 0, "recovered": 4},
}
NOTICE = {"kind": "problem", "channel": "whatsapp", "state": "simulated", "reason": "", "at": "2026-03-02T10:08:00Z"}
ROWS: list[dict[str, Any]] = [
    {"customer": "a", "grade": "confirmed", "notices": [NOTICE, NOTICE | {"kind": "resolved"}]},
    {"customer": "b", "grade": "confirmed", "notices": [NOTICE | {"state": "held"}]},
    {"customer": "d", "grade": "likely", "notices": [NOTICE | {"state": "sent"}]},
    {"customer": "x", "grade": "likely", "notices": []},
]


def judged(*cases: dict[str, Any], problems: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    truth = {"seed": 3, "problems": [PROBLEM] if problems is None else problems}
    return evaluate(cases, {case["id"]: ROWS for case in cases}, truth, events=10)


def test_a_found_problem_is_judged_by_all_its_figures() -> None:
    [found] = judged(CASE)["problems"]
    assert found == {
        "name": "login-1",
        "onset": PROBLEM["onset"],
        "detected_at": CASE["detected_at"],
        "delay_s": 480.0,
        "first_complaint": PROBLEM["first_complaint"],
        "before_complaint_s": 720.0,
        "lead_s": None,
        "cause_planted": PROBLEM["where"],
        "cause_found": CASE["causes"],
        "cause_right": True,
        "affected_planted": 4,
        "affected_found": 4,
        "precision": 0.75,
        "recall": 0.75,
        "confirmed_precision": 1.0,
        "confirmed_recall": 2 / 3,
        "oracle_precision": 0.75,
        "oracle_recall": 1.0,
        "told": 2,
        "case": "one",
        "duplicates": [],
    }


def test_a_missed_problem_has_recall_zero_and_its_case_is_false() -> None:
    early = CASE | {"detected_at": "2026-03-02T09:59:00Z", "onset": "2026-03-02T09:40:00Z"}
    result = judged(early)
    [found] = result["problems"]
    assert (found["detected_at"], found["precision"], found["recall"], found["told"]) == (None, None, 0.0, 0)
    assert [case["id"] for case in result["false_cases"]] == ["one"]


def test_the_first_detected_case_counts_and_others_are_duplicates_not_false() -> None:
    later = CASE | {"id": "zero", "detected_at": "2026-03-02T10:30:00Z", "causes": []}
    result = judged(later, CASE)
    assert (result["problems"][0]["case"], result["problems"][0]["duplicates"]) == ("one", ["zero"])
    assert result["false_cases"] == []


def test_silence_lists_nobody() -> None:
    case = CASE | {
        "signals": ["checkout-silence"],
        "affected": None,
        "causes": [{"where": {}, "share_of_excess": 1.0}],
    }
    result = evaluate([case], {"one": None}, {"seed": 3, "problems": [SILENCE]})
    [found] = result["problems"]
    assert found["cause_right"] is True
    names = ("affected_planted", "affected_found", "precision", "recall", "confirmed_precision", "oracle_recall")
    assert [found[name] for name in (*names, "told", "first_complaint", "lead_s", "before_complaint_s")] == [None] * 10


@pytest.mark.parametrize(
    ("change", "false"),
    [
        pytest.param({"mode": "shadow"}, False, id="shadow"),
        pytest.param({"state": "merged"}, False, id="merged"),
        pytest.param({"state": "dismissed"}, True, id="dismissed"),
        pytest.param({}, True, id="live"),
    ],
)
def test_only_live_cases_of_their_own_can_be_false(change: dict[str, Any], false: bool) -> None:
    assert bool(judged(CASE | change, problems=[])["false_cases"]) is false


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, True, id="within"),
        pytest.param({"signals": ["api-latency"]}, False, id="other-signal"),
        pytest.param({"signals": ["api-latency", "login-failures"]}, True, id="one-signal-shared"),
        pytest.param({"detected_at": "2026-03-02T10:00:00Z"}, True, id="detected-at-the-onset"),
        pytest.param({"ended_at": None}, True, id="not-ended"),
        pytest.param(
            {"onset": "2026-03-02T12:59:00Z", "detected_at": "2026-03-02T13:30:00Z", "ended_at": None},
            True,
            id="begins-within-the-hour-after",
        ),
        pytest.param(
            {"onset": "2026-03-02T13:01:00Z", "detected_at": "2026-03-02T13:30:00Z", "ended_at": None},
            False,
            id="begins-later",
        ),
    ],
)
def test_a_case_matches_by_signal_and_span(change: dict[str, Any], expected: bool) -> None:
    assert matches(CASE | change, PROBLEM) is expected


@pytest.mark.parametrize(
    ("causes", "right"),
    [
        pytest.param([{"where": PROBLEM["where"]}, {"where": {"city": "Medan"}}], False, id="one-too-many"),
        pytest.param([{"where": {"app_version": "5.9.0"}}], False, id="parent"),
        pytest.param([], False, id="none"),
    ],
)
def test_a_cause_is_right_only_if_it_is_the_planted_set(causes: list[dict[str, Any]], right: bool) -> None:
    assert judged(CASE | {"causes": causes})["problems"][0]["cause_right"] is right


def test_a_week_counts_against_the_budget_only_beyond_it() -> None:
    assert weeks_within(1, [0, WEEK_MS, WEEK_MS + 1], 0, 2) == 0.5
    assert weeks_within(2, [0, WEEK_MS, WEEK_MS + 1, 9 * WEEK_MS], 0, 2) == 1.0


def test_the_time_before_a_complaint_is_negative_where_customers_were_first() -> None:
    assert before_complaint_s("2026-03-02T10:25:00Z", "2026-03-02T10:20:00Z") == -300


def test_the_lead_is_the_cases_own_and_not_the_truths() -> None:
    found = evaluate([CASE | {"lead_s": 60.0}], {CASE["id"]: []}, {"seed": 1, "problems": [PROBLEM]})["problems"][0]
    assert (found["lead_s"], found["before_complaint_s"]) == (60.0, 720.0)
