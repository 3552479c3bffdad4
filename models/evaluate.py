"""Judges what was found against what was planted: cases, causes, customers, delays, false cases.

Pure: it takes what `tocsin cases --json`, `tocsin affected --json` and truth.json say, and reads nothing itself.
Never point-adjusted: a case counts from the moment it was detected, and customers count one by one.

A case matches a planted problem when they share a signal, the case's span overlaps the problem's (up to an hour after
its end) and it was not detected before the onset. The cause is judged separately. Of several matching cases the first
to be detected counts; the others are duplicates, not false ones.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from detector.config import HOUR_MS, WEEK_MS

Row = Mapping[str, Any]

AFTER_END_MS = HOUR_MS
TOLD_STATES = frozenset({"sent", "simulated"})
_FALSE_CASE_FIELDS = ("id", "title", "signals", "onset", "detected_at", "ended_at", "causes", "affected")


def epoch_ms(text: str) -> int:
    """Epoch milliseconds of an RFC 3339 time.

    Examples
    --------
    >>> epoch_ms("1970-01-01T00:00:01.5Z")
    1500
    """
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


class Quality(NamedTuple):
    """Precision and recall; None where nothing was found, or there was nothing to find."""

    precision: float | None
    recall: float | None


def quality(found: Collection[str], planted: Collection[str]) -> Quality:
    """Precision and recall of one set of customers against another.

    Examples
    --------
    >>> quality(["a", "b", "c", "d"], ["a", "b", "e"])
    Quality(precision=0.5, recall=0.6666666666666666)
    >>> quality([], ["a"])
    Quality(precision=None, recall=0.0)
    """
    right = len(set(found) & set(planted))
    return Quality(right / len(set(found)) if found else None, right / len(set(planted)) if planted else None)


def matches(case: Row, problem: Row) -> bool:
    """Whether a case is about a planted problem, whatever cause it names.

    Examples
    --------
    >>> problem = {"signals": ["logins"], "onset": "2026-03-02T10:00:00Z", "end": "2026-03-02T11:00:00Z"}
    >>> case = {"signals": ["logins"], "onset": "2026-03-02T09:58:00Z", "detected_at": "2026-03-02T10:06:00Z",
    ...         "ended_at": None}
    >>> matches(case, problem), matches(case | {"detected_at": "2026-03-02T09:59:00Z"}, problem)
    (True, False)
    >>> matches(case | {"onset": "2026-03-02T12:30:00Z", "detected_at": "2026-03-02T12:40:00Z"}, problem)
    False
    """
    if not set(case["signals"]) & set(problem["signals"]):
        return False
    onset, until = epoch_ms(problem["onset"]), epoch_ms(problem["end"]) + AFTER_END_MS
    if epoch_ms(case["detected_at"]) < onset or epoch_ms(case["onset"]) > until:
        return False
    return case["ended_at"] is None or epoch_ms(case["ended_at"]) >= onset


def cause_right(causes: Sequence[Row], where: Mapping[str, str]) -> bool:
    """Whether a case names exactly the planted cause, and nothing else.

    Examples
    --------
    >>> bni = {"where": {"bank": "BNI"}, "share_of_excess": 0.97}
    >>> cause_right([bni], {"bank": "BNI"}), cause_right([bni], {"bank": "BNI", "method": "card"})
    (True, False)
    >>> cause_right([{"where": {}, "share_of_excess": 1.0}], {}), cause_right([], {})
    (True, False)
    """
    return {frozenset(c["where"].items()) for c in causes} == {frozenset(where.items())}


def told(affected: Sequence[Row]) -> int:
    """Return how many customers got a notice of the problem, simulated ones too.

    Examples
    --------
    >>> sent = {"kind": "problem", "state": "simulated"}
    >>> told([{"notices": [sent]}, {"notices": [sent | {"state": "held"}]}, {"notices": [sent | {"kind": "resolved"}]}])
    1
    """
    return sum(any(n["kind"] == "problem" and n["state"] in TOLD_STATES for n in row["notices"]) for row in affected)


def false_cases_per_week(false_cases: int, days: float) -> float:
    """Return the mean number of false cases a week of a run.

    Examples
    --------
    >>> false_cases_per_week(1, 14)
    0.5
    """
    return false_cases * 7 / days


def weeks_within(budget: int, false_detected_ms: Sequence[int], start_ms: int, weeks: int) -> float:
    """Return the share of a run's whole weeks that have no more false cases than the budget.

    Parameters
    ----------
    budget : int
        Cases a week.
    false_detected_ms : sequence of int
        When each false case was detected, epoch ms.
    start_ms, weeks
        The run's beginning, and how many whole weeks it has.

    Examples
    --------
    >>> weeks_within(1, [WEEK_MS + 1, WEEK_MS + 2, 5], 0, 4)
    0.75
    """
    counts = [0] * weeks
    for when in false_detected_ms:
        week = (when - start_ms) // WEEK_MS
        if 0 <= week < weeks:
            counts[week] += 1
    return sum(count <= budget for count in counts) / weeks


def before_complaint_s(detected_at: str | None, first_complaint: str | None) -> float | None:
    """Return seconds from detection to the first complaint that the problem caused: negative where that was first.

    What only the simulator knows: of a contact the Desk sees who made it and when, not what it was about, so its lead
    (`detector.desk.kpi`) is up to the first contact of whom it was hit by, which may be about something else.

    Examples
    --------
    >>> before_complaint_s("2026-03-02T10:02:00Z", "2026-03-02T10:09:30Z")
    450.0
    >>> before_complaint_s(None, "2026-03-02T10:09:30Z") is None
    True
    """
    if detected_at is None or first_complaint is None:
        return None
    return (epoch_ms(first_complaint) - epoch_ms(detected_at)) / 1_000


def evaluate(
    cases: Sequence[Row], affected: Mapping[str, Sequence[Row] | None], truth: Row, *, events: int = 0
) -> dict[str, Any]:
    """Return what `tocsin demo --json` prints, but for the speed.

    Parameters
    ----------
    cases
        All cases, as `tocsin cases --all --json` lists them; merged ones count with the case they went into.
    affected
        Per case id what `tocsin affected --json` lists.
    truth
        What truth.json holds.
    events
        How many events the run had.

    Returns
    -------
    dict
        `problems` (one entry per planted problem, by onset) and `false_cases`: live cases that match none.
        Beyond COMMANDS.md a problem has `case`, `cause_right`, `duplicates`, `before_complaint_s` (by the truth) and
        `lead_s` (the case's own).

    Examples
    --------
    >>> truth = {"seed": 7, "problems": [{"name": "logins-1", "signals": ["logins"], "where": {"v": "2"},
    ...     "onset": "2026-03-02T10:00:00Z", "end": "2026-03-02T11:00:00Z", "first_complaint": "2026-03-02T10:09:00Z",
    ...     "affected": ["a", "b"], "because": ["a"], "oracle": ["a"]}]}
    >>> case = {"id": "1", "mode": "live", "state": "resolved", "title": "Logins fail", "signals": ["logins"],
    ...     "onset": "2026-03-02T10:00:00Z", "detected_at": "2026-03-02T10:04:00Z", "ended_at": None,
    ...     "causes": [{"where": {"v": "2"}, "share_of_excess": 1.0}], "affected": {"confirmed": 1, "likely": 1}}
    >>> rows = [{"customer": "a", "grade": "confirmed", "notices": [{"kind": "problem", "state": "simulated"}]},
    ...         {"customer": "b", "grade": "likely", "notices": []}]
    >>> result = evaluate([case], {"1": rows}, truth)
    >>> [(p["delay_s"], p["cause_right"], p["recall"], p["confirmed_precision"], p["told"]) for p in result["problems"]]
    [(240.0, True, 1.0, 1.0, 1)]
    >>> result["false_cases"]
    []
    """
    told_of = [case for case in cases if case["state"] != "merged"]
    problems = [_problem(problem, told_of, affected) for problem in truth["problems"]]
    false_cases = [
        {name: case.get(name) for name in _FALSE_CASE_FIELDS}
        for case in _by_detection(told_of)
        if case["mode"] == "live" and not any(matches(case, problem) for problem in truth["problems"])
    ]
    return {"seed": truth["seed"], "events": events, "problems": problems, "false_cases": false_cases}


def _by_detection(cases: Sequence[Row]) -> list[Row]:
    return sorted(cases, key=lambda case: (epoch_ms(case["detected_at"]), case["id"]))


def _problem(problem: Row, cases: Sequence[Row], affected: Mapping[str, Sequence[Row] | None]) -> dict[str, Any]:
    """One planted problem's entry: without a matching case nobody was found; None where nobody can be named."""
    matching = _by_detection([case for case in cases if matches(case, problem)])
    case = matching[0] if matching else None
    rows: Sequence[Row] = [] if case is None else affected.get(case["id"]) or []
    planted, because = problem["affected"], problem["because"]
    nobody = Quality(None, None)
    listed = confirmed = nobody
    if planted is not None:
        listed = quality([row["customer"] for row in rows], planted)
        confirmed = quality([row["customer"] for row in rows if row["grade"] == "confirmed"], because)
    oracle = nobody if problem.get("oracle") is None else quality(problem["oracle"], because)
    detected = None if case is None else case["detected_at"]
    return {
        "name": problem["name"],
        "onset": problem["onset"],
        "detected_at": detected,
        "delay_s": None if detected is None else (epoch_ms(detected) - epoch_ms(problem["onset"])) / 1_000,
        "first_complaint": problem["first_complaint"],
        "before_complaint_s": before_complaint_s(detected, problem["first_complaint"]),
        "lead_s": None if case is None else case.get("lead_s"),
        "cause_planted": problem["where"],
        "cause_found": None if case is None else case["causes"],
        "cause_right": None if case is None else cause_right(case["causes"], problem["where"]),
        "affected_planted": None if planted is None else len(planted),
        "affected_found": None if planted is None else len(rows),
        "precision": listed.precision,
        "recall": listed.recall,
        "confirmed_precision": confirmed.precision,
        "confirmed_recall": confirmed.recall,
        "oracle_precision": oracle.precision,
        "oracle_recall": oracle.recall,
        "told": None if planted is None else told(rows),
        "case": None if case is None else case["id"],
        "duplicates": [other["id"] for other in matching[1:]],
    }
