"""Whom to tell: every rule and every reason."""

from typing import Any

import msgspec
import pytest

from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, Policy, QuietHours
from detector.desk.policy import RULES, Facts, Reason, Told, decide
from detector.desk.records import CaseState, Decision, Kind, Reach
from detector.desk.zones import known, quiet_until, settle
from detector.signals import Mode

NOW = 1_700_000_000_000  # 05:13 in Jakarta
AWAKE = Policy(quiet=QuietHours(0, 0))
REACH = Reach(language="id", time_zone="Asia/Jakarta", channels=frozenset({"email"}))


def facts(kind: Kind = Kind.PROBLEM, **changes: Any) -> Facts:
    news = kind in (Kind.PROBLEM, Kind.FOLLOW_UP, Kind.TRY_AGAIN)
    base: dict[str, Any] = {
        "kind": kind,
        "now_ms": NOW,
        "policy": AWAKE,
        "mode": Mode.LIVE,
        "state": CaseState.OPEN if news else CaseState.RESOLVED,
        "last_failure_ms": NOW - HOUR_MS,
        "last_success_ms": None if news else NOW - 10 * MINUTE_MS,
        "recovered": not news,
        "told": Told() if kind is Kind.PROBLEM else Told(1),
        "withdrawn": kind is Kind.CORRECTION,
        "stale_ms": NOW + HOUR_MS,
        "reach": REACH,
        "asked": kind is Kind.TRY_AGAIN,
    }
    return Facts(**{**base, **changes})


@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_against_it_means_send(kind: Kind) -> None:
    decided = decide(facts(kind))
    assert (decided.decision, decided.reason, len(decided.checks)) == (Decision.SEND, Reason.NONE, len(RULES))


P, R, C = Kind.PROBLEM, Kind.RESOLVED, Kind.CORRECTION


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        pytest.param(P, {"mode": Mode.SHADOW}, Reason.SHADOW, id="shadow"),
        pytest.param(P, {"withdrawn": True}, Reason.WITHDRAWN, id="withdrawn"),
        pytest.param(R, {"withdrawn": True}, Reason.WITHDRAWN, id="withdrawn, works again"),
        pytest.param(P, {"state": CaseState.DISMISSED}, Reason.DISMISSED, id="dismissed"),
        pytest.param(R, {"state": CaseState.DISMISSED}, Reason.DISMISSED, id="dismissed, works again"),
        pytest.param(P, {"state": CaseState.MERGED}, Reason.MERGED, id="merged"),
        pytest.param(P, {"state": CaseState.RECOVERING}, Reason.CASE_OVER, id="recovering"),
        pytest.param(P, {"state": CaseState.RESOLVED}, Reason.CASE_OVER, id="resolved"),
        pytest.param(R, {"state": CaseState.OPEN}, Reason.CASE_OPEN, id="open again"),
        pytest.param(R, {"state": CaseState.ACKNOWLEDGED}, Reason.CASE_OPEN, id="open again, acknowledged"),
        pytest.param(C, {"state": CaseState.OPEN}, Reason.CASE_OPEN, id="a correction while it is open"),
        pytest.param(P, {"probability": 0.4999}, Reason.NOT_CONFIRMED, id="below the probability"),
        pytest.param(P, {"reach": None}, Reason.UNKNOWN_CUSTOMER, id="not in the directory"),
        pytest.param(
            P, {"reach": Reach("id", "Asia/Jakarta", frozenset({"fax"}))}, Reason.NO_CONSENT, id="no consented channel"
        ),
        pytest.param(P, {"told": Told(1)}, Reason.ALREADY_TOLD, id="told in this episode"),
        pytest.param(R, {"told": Told()}, Reason.NOT_TOLD, id="never told"),
        pytest.param(
            R,
            {"told": Told(1, True), "policy": msgspec.structs.replace(AWAKE, send=True)},
            Reason.SIMULATED_ONLY,
            id="told in simulation only",
        ),
        pytest.param(P, {"recovered": True}, Reason.ALREADY_RECOVERED, id="got through before we noticed"),
        pytest.param(R, {"last_success_ms": None}, Reason.NOT_RECOVERED, id="no success of their own"),
        pytest.param(R, {"last_failure_ms": NOW - 10 * MINUTE_MS}, Reason.NOT_RECOVERED, id="not later than a failure"),
        pytest.param(R, {"last_success_ms": NOW - 5 * MINUTE_MS + 1}, Reason.NOT_RECOVERED, id="not for long enough"),
        pytest.param(P, {"contact_ms": NOW - DAY_MS + 1}, Reason.IN_CONTACT, id="in contact"),
        pytest.param(P, {"stale_ms": NOW - 1}, Reason.STALE, id="stale"),
        pytest.param(
            P, {"recent_ms": (NOW - 3 * HOUR_MS, NOW - HOUR_MS)}, Reason.FREQUENCY_CAP, id="cap frees when it is stale"
        ),
        pytest.param(
            P, {"policy": msgspec.structs.replace(AWAKE, per_day=0)}, Reason.FREQUENCY_CAP, id="a cap of nothing"
        ),
    ],
)
def test_a_rule_that_objects_names_its_reason(kind: Kind, changes: dict[str, Any], reason: Reason) -> None:
    decided = decide(facts(kind, **changes))
    assert (decided.decision, decided.reason) == (Decision.DROP, reason)
    assert [c.reason for c in decided.checks if c.decision is Decision.DROP] == [reason.value]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        pytest.param(P, {"told": Told(1), "episode": 2}, id="told in an earlier episode"),
        pytest.param(P, {"told": Told(1, True), "episode": 2}, id="simulated before, in a dry run"),
        pytest.param(P, {"contact_ms": NOW - DAY_MS}, id="contact a day ago"),
        pytest.param(R, {"contact_ms": NOW - 1}, id="works again, in contact"),
        pytest.param(R, {"last_success_ms": NOW - 5 * MINUTE_MS}, id="a success five minutes ago"),
        pytest.param(P, {"probability": 0.5}, id="just confirmed"),
        pytest.param(P, {"stale_ms": NOW}, id="just not stale"),
        pytest.param(P, {"recent_ms": (NOW - DAY_MS, NOW - HOUR_MS)}, id="the cap has just freed"),
        pytest.param(C, {"state": CaseState.DISMISSED}, id="a correction of a dismissed case"),
    ],
)
def test_what_just_holds_is_sent(kind: Kind, changes: dict[str, Any]) -> None:
    assert decide(facts(kind, **changes)).decision is Decision.SEND


def test_the_frequency_cap_holds_until_it_frees() -> None:
    recent = (NOW - 24 * HOUR_MS + 5 * MINUTE_MS, NOW - HOUR_MS)
    decided = decide(facts(recent_ms=recent))
    assert (decided.decision, decided.reason) == (Decision.HOLD, Reason.FREQUENCY_CAP)
    assert decided.until_ms == NOW + 5 * MINUTE_MS


def test_quiet_hours_hold_until_they_end_where_the_customer_lives() -> None:
    policy = Policy()
    decided = decide(facts(policy=policy))
    assert (decided.decision, decided.reason) == (Decision.HOLD, Reason.QUIET_HOURS)
    assert decided.until_ms == 1_700_006_400_000  # 07:00 WIB
    east = Reach("id", "Asia/Jayapura", frozenset({"email"}))
    assert decide(facts(policy=policy, reach=east)).decision is Decision.SEND  # 07:13 WIT


def test_a_drop_comes_before_a_hold_and_the_longest_hold_counts() -> None:
    policy = Policy()
    assert decide(facts(policy=policy, recovered=True)).reason is Reason.ALREADY_RECOVERED
    recent = (NOW - 24 * HOUR_MS + 50 * MINUTE_MS, NOW - HOUR_MS)
    decided = decide(facts(policy=policy, recent_ms=recent))
    assert (decided.reason, decided.until_ms) == (Reason.FREQUENCY_CAP, 1_700_006_400_000)


def test_the_first_of_two_drops_names_the_reason() -> None:
    assert decide(facts(reach=None, probability=0.0)).reason is Reason.NOT_CONFIRMED


def test_the_channel_is_the_first_of_the_policys_that_reaches_them() -> None:
    both = Reach("id", "Asia/Jakarta", frozenset({"email", "whatsapp"}))
    assert facts(reach=both).channel == "whatsapp"
    assert facts().channel == "email"
    assert facts(reach=None).channel is None


NIGHT = QuietHours(21 * 60, 7 * 60)
MIDNIGHT = 1_700_006_400_000 - 7 * HOUR_MS  # 00:00 in Jakarta


@pytest.mark.parametrize(
    ("hour", "until"),
    [
        pytest.param(20.99, None, id="just before"),
        pytest.param(21, 31, id="begins"),
        pytest.param(23.5, 31, id="before midnight"),
        pytest.param(24, 31, id="midnight"),
        pytest.param(30.9, 31, id="nearly over"),
        pytest.param(31, None, id="over"),
    ],
)
def test_quiet_hours_span_midnight(hour: float, until: int | None) -> None:
    got = quiet_until(MIDNIGHT + int(hour * HOUR_MS), "Asia/Jakarta", NIGHT)
    assert got == (None if until is None else MIDNIGHT + until * HOUR_MS)


def test_quiet_hours_of_a_single_day_and_none_at_all() -> None:
    noon = QuietHours(12 * 60, 13 * 60)
    assert quiet_until(MIDNIGHT + 12 * HOUR_MS, "Asia/Jakarta", noon) == MIDNIGHT + 13 * HOUR_MS
    assert quiet_until(MIDNIGHT + 13 * HOUR_MS, "Asia/Jakarta", noon) is None
    assert quiet_until(MIDNIGHT, "Asia/Jakarta", QuietHours(60, 60)) is None


def test_quiet_hours_follow_the_clocks_when_they_change() -> None:
    before = 1_743_285_600_000  # 23:00 in Berlin, the night to summer time
    assert quiet_until(before, "Europe/Berlin", NIGHT) == before + 7 * HOUR_MS


@pytest.mark.parametrize("name", ["", "Asia", "../../etc/passwd", "/etc/localtime", "Mars/Olympus", "a\nb", "Asia/"])
def test_what_is_no_zone_falls_back(name: str) -> None:
    assert not known(name)
    assert settle(name, "Asia/Makassar") == "Asia/Makassar"
