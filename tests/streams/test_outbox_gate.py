"""The gate's rules, each by name: what may have changed between the decision and the sending."""

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import DAY_MS, Policy, QuietHours
from detector.desk.records import Approval, CaseState, CustomerState, Kind, LedgerRow
from detector.signals import Mode
from streams.outbox import gate
from streams.outbox.gate import LOOK_AGAIN_MS, WAITING, Asked, Go, Later, No, ask
from streams.store.directory import Customer
from tests.streams.sending import HOUR_MS, NOW_MS, a_case, a_notice, a_signal, an_entry

AWAKE = QuietHours(0, 0)
CUSTOMER = Customer("C-1", "Budi", "id", "Asia/Jakarta", "b@example.com", "+6281234567890", ("all",), True)
ASKED = Asked(
    notice=a_notice(1),
    now_ms=NOW_MS,
    policy=Policy(send=True, channels=("whatsapp", "email"), quiet=AWAKE),
    signal=a_signal(),
    customer=CUSTOMER,
    case=a_case(),
    entry=an_entry(1),
    channel="email",
    usable=("whatsapp", "email"),
)


def of(kind: Kind, **changes: Any) -> Asked:
    state = CaseState.OPEN if kind in WAITING else CaseState.RESOLVED
    return replace(ASKED, notice=a_notice(1, kind=kind), case=a_case(state=state), **changes)


def entry(**changes: Any) -> LedgerRow:
    return an_entry(1, **changes)


def consenting(*channels: str) -> Customer:
    return replace(CUSTOMER, consent=channels)


@pytest.mark.parametrize("kind", Kind)
def test_what_has_not_changed_may_go(kind: Kind) -> None:
    assert ask(of(kind)) == Go("email")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        pytest.param(replace(ASKED, now_ms=ASKED.notice.stale_ms + 1), "stale", id="stale"),
        pytest.param(replace(ASKED, signal=None), "signal-gone", id="the signal is gone"),
        pytest.param(replace(ASKED, signal=a_signal(mode=Mode.SHADOW)), "shadow", id="the signal is in shadow"),
        pytest.param(replace(ASKED, case=None), "case-gone", id="the case is gone"),
        pytest.param(replace(ASKED, case=a_case(state=CaseState.MERGED)), "merged", id="merged"),
        pytest.param(replace(ASKED, case=a_case(state=CaseState.DISMISSED)), "dismissed", id="dismissed"),
        pytest.param(replace(ASKED, case=a_case(state=CaseState.RESOLVED)), "case-over", id="resolved"),
        pytest.param(replace(ASKED, case=a_case(state=CaseState.RECOVERING)), "case-over", id="recovering"),
        pytest.param(replace(ASKED, case=a_case(episode=2)), "case-over", id="of an episode that is over"),
        pytest.param(
            replace(of(Kind.RESOLVED), case=a_case(state=CaseState.OPEN)), "case-open", id="it came back meanwhile"
        ),
        pytest.param(replace(ASKED, entry=entry(withdrawn=True)), "withdrawn", id="no longer in the case"),
        *(
            pytest.param(
                of(kind, entry=entry(state=CustomerState.RECOVERED)), "already-recovered", id=f"{kind} to who recovered"
            )
            for kind in sorted(WAITING)
        ),
        pytest.param(
            of(Kind.RESOLVED, entry=entry(last_success_ms=NOW_MS - 9, last_failure_ms=NOW_MS - 5)),
            "not-recovered",
            id="fails again",
        ),
        pytest.param(replace(ASKED, entry=entry(contact_ms=NOW_MS - HOUR_MS)), "in-contact", id="in contact"),
        pytest.param(of(Kind.FOLLOW_UP, entry=entry(contact_ms=NOW_MS)), "in-contact", id="in contact, follow-up"),
        pytest.param(replace(ASKED, customer=None), "unknown-customer", id="erased"),
        pytest.param(replace(ASKED, customer=replace(CUSTOMER, known=False)), "unknown-customer", id="a bare row"),
        pytest.param(replace(ASKED, customer=consenting()), "no-consent", id="consent withdrawn"),
        pytest.param(
            replace(ASKED, usable=("whatsapp",), customer=consenting("email")), "no-such-channel", id="channel gone"
        ),
        pytest.param(
            replace(ASKED, recent_ms=(NOW_MS - 1, NOW_MS - 2)), "frequency-cap", id="two in 24 hours, and stale by then"
        ),
    ],
)
def test_every_no_has_its_name(asked: Asked, reason: str) -> None:
    assert ask(asked) == No(reason)


@pytest.mark.parametrize(
    ("asked", "later"),
    [
        pytest.param(
            replace(ASKED, case=a_case(approval=Approval.HELD)),
            Later("needs-approval", NOW_MS + LOOK_AGAIN_MS),
            id="held by a person",
        ),
        pytest.param(
            replace(ASKED, recent_ms=(NOW_MS - DAY_MS + 100, NOW_MS - 5)),
            Later("frequency-cap", NOW_MS + 100),
            id="two in 24 hours, the first of them soon past",
        ),
        pytest.param(
            replace(ASKED, policy=Policy(channels=("email",), quiet=QuietHours(8 * 60, 10 * 60))),
            Later("quiet-hours", NOW_MS + HOUR_MS),
            id="their night began while it waited",
        ),
    ],
)
def test_what_may_go_later_is_told_when(asked: Asked, later: Later) -> None:
    assert ask(asked) == later


def test_what_is_later_and_wrong_is_wrong() -> None:
    assert ask(replace(ASKED, case=a_case(approval=Approval.HELD), customer=None)) == No("unknown-customer")


def test_the_longest_wait_counts() -> None:
    night = Policy(channels=("email",), quiet=QuietHours(8 * 60, 10 * 60))
    held = replace(ASKED, case=a_case(approval=Approval.HELD), policy=night)
    assert ask(held) == Later("quiet-hours", NOW_MS + HOUR_MS)


@pytest.mark.parametrize(
    ("asked", "channel"),
    [
        pytest.param(replace(ASKED, customer=consenting("whatsapp")), "whatsapp", id="consents to another now"),
        pytest.param(replace(ASKED, customer=replace(CUSTOMER, email="")), "whatsapp", id="has no such address now"),
        pytest.param(replace(ASKED, refused=frozenset({"email"})), "whatsapp", id="the first gave it up"),
        pytest.param(replace(ASKED, channel="pigeon"), "whatsapp", id="its channel is gone: the policy's order"),
    ],
)
def test_it_goes_out_on_the_next_channel_that_reaches_them(asked: Asked, channel: str) -> None:
    assert ask(asked) == Go(channel)


def test_a_correction_goes_to_who_is_no_longer_in_the_case_and_to_who_recovered() -> None:
    gone = entry(withdrawn=True, state=CustomerState.RECOVERED)
    assert ask(of(Kind.CORRECTION, entry=gone)) == Go("email")
    assert ask(replace(of(Kind.CORRECTION, entry=gone), case=a_case(state=CaseState.DISMISSED))) == Go("email")


def test_who_may_try_again_may_be_in_contact_and_the_case_may_be_over() -> None:
    for state in (CaseState.OPEN, CaseState.ACKNOWLEDGED, CaseState.RECOVERING, CaseState.RESOLVED):
        again = replace(of(Kind.TRY_AGAIN, entry=entry(contact_ms=NOW_MS)), case=a_case(state=state))
        assert ask(again) == Go("email")


def test_every_no_of_the_gate_is_a_reason_of_the_policy() -> None:
    text = Path(inspect.getfile(gate)).read_text(encoding="utf-8")
    assert re.findall(r"(?:No|Later)\((?!\(?Reason\.)", text) == []


anything = st.builds(
    lambda kind, state, entered, consent, refused, recent, after_ms: Asked(
        notice=a_notice(1, kind=kind),
        now_ms=NOW_MS + after_ms,
        policy=ASKED.policy,
        signal=a_signal(),
        customer=None if consent is None else consenting(*consent),
        case=a_case(state=state),
        entry=entered,
        channel="email",
        usable=("whatsapp", "email"),
        refused=frozenset(refused),
        recent_ms=tuple(recent),
    ),
    st.sampled_from(Kind),
    st.sampled_from(CaseState),
    st.one_of(
        st.none(),
        st.builds(
            lambda state, withdrawn, contact: entry(state=state, withdrawn=withdrawn, contact_ms=contact),
            st.sampled_from(CustomerState),
            st.booleans(),
            st.sampled_from([None, NOW_MS - 3 * DAY_MS, NOW_MS]),
        ),
    ),
    st.one_of(st.none(), st.sets(st.sampled_from(["email", "whatsapp", "all"]))),
    st.sets(st.sampled_from(["email", "whatsapp"])),
    st.lists(st.integers(NOW_MS - 2 * DAY_MS, NOW_MS), max_size=4),
    st.integers(0, DAY_MS),
)


@pytest.mark.slow
@given(anything)
def test_nobody_is_ever_written_to_without_consent_and_an_address_nor_after_it_is_stale(asked: Asked) -> None:
    answer = ask(asked)
    if isinstance(answer, Go):
        assert asked.customer is not None
        assert asked.customer.address(answer.channel)
        assert answer.channel in asked.usable
        assert answer.channel not in asked.refused
        assert asked.now_ms <= asked.notice.stale_ms
        assert asked.entry is None or asked.notice.kind is Kind.CORRECTION or not asked.entry.withdrawn
        assert len([at for at in asked.recent_ms if at > asked.now_ms - DAY_MS]) < asked.policy.per_day
    if isinstance(answer, Later):
        assert asked.now_ms < answer.until_ms


@given(anything)
def test_the_answer_depends_on_nothing_else(asked: Asked) -> None:
    again = replace(asked, notice=msgspec.structs.replace(asked.notice))
    assert ask(again) == ask(asked)
