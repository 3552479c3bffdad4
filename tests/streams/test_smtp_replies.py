"""What a mail server's answer means, code by code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.outbox.channel import REASONS, Outcome
from streams.outbox.smtp_replies import Stage, judged

AGAIN, FAILED, UNKNOWN = Outcome.AGAIN, Outcome.FAILED, Outcome.UNKNOWN
RCPT, DATA, MESSAGE, MAIL = Stage.RECIPIENT, Stage.DATA, Stage.MESSAGE, Stage.SENDER


@pytest.mark.parametrize(
    ("stage", "code", "text", "outcome", "reason", "stop"),
    [
        pytest.param(RCPT, 550, "5.1.1 no such user", FAILED, "hard-bounce", False, id="no such user"),
        pytest.param(RCPT, 550, "mailbox unavailable", FAILED, "hard-bounce", False, id="550 without more"),
        pytest.param(RCPT, 551, "user not local", FAILED, "hard-bounce", False, id="551"),
        pytest.param(RCPT, 553, "mailbox name not allowed", FAILED, "hard-bounce", False, id="553"),
        pytest.param(RCPT, 550, "5.2.1 account disabled", FAILED, "hard-bounce", False, id="disabled"),
        pytest.param(RCPT, 550, "5.4.1 access denied", FAILED, "hard-bounce", False, id="as one provider says it"),
        pytest.param(MESSAGE, 550, "5.1.1 unknown", FAILED, "hard-bounce", False, id="unknown, said after the message"),
        pytest.param(RCPT, 501, "syntax", FAILED, "bad-address", False, id="no address"),
        pytest.param(RCPT, 552, "5.2.2 mailbox full", AGAIN, "soft-bounce", False, id="full"),
        pytest.param(MESSAGE, 552, "quota", AGAIN, "soft-bounce", False, id="552 without more"),
        pytest.param(RCPT, 452, "4.2.2 over quota", AGAIN, "soft-bounce", False, id="full, for now"),
        pytest.param(MESSAGE, 552, "5.3.4 too big", FAILED, "content", False, id="too big"),
        pytest.param(RCPT, 450, "4.2.0 greylisted", AGAIN, "soft-bounce", False, id="greylisted"),
        pytest.param(RCPT, 451, "4.7.1 try later", AGAIN, "soft-bounce", False, id="451"),
        pytest.param(RCPT, 451, "4.3.0 trouble here", AGAIN, "unavailable", False, id="451, the server's own"),
        pytest.param(MESSAGE, 451, "later", AGAIN, "unavailable", False, id="451 to the message"),
        pytest.param(RCPT, 452, "4.3.1 no space", AGAIN, "unavailable", False, id="452"),
        pytest.param(Stage.CONNECT, 421, "too busy", AGAIN, "unavailable", False, id="421 to the greeting"),
        pytest.param(MESSAGE, 421, "4.3.2 shutting down", AGAIN, "unavailable", False, id="421 to the message"),
        pytest.param(MAIL, 421, "4.7.28 unusual rate", AGAIN, "rate-limited", False, id="too many"),
        pytest.param(MAIL, 550, "5.4.5 daily quota", AGAIN, "rate-limited", False, id="too many today"),
        pytest.param(Stage.SIGN_IN, 535, "5.7.8 bad credentials", AGAIN, "credentials", True, id="535"),
        pytest.param(Stage.SIGN_IN, 454, "4.7.0 temporary", AGAIN, "unavailable", False, id="sign-in, for now"),
        pytest.param(Stage.SIGN_IN, 500, "what?", AGAIN, "credentials", True, id="sign-in not understood"),
        pytest.param(MAIL, 530, "5.7.0 sign in first", AGAIN, "credentials", True, id="530"),
        pytest.param(MAIL, 550, "5.7.1 you may not send as this", AGAIN, "refused", True, id="the sender"),
        pytest.param(RCPT, 550, "5.1.8 bad sender's domain", AGAIN, "refused", True, id="the sender, said late"),
        pytest.param(Stage.CONNECT, 554, "5.7.1 you are listed", AGAIN, "refused", True, id="we are listed"),
        pytest.param(MESSAGE, 554, "5.7.1 spam", FAILED, "content", False, id="spam"),
        pytest.param(MESSAGE, 554, "no", FAILED, "content", False, id="554 without more"),
        pytest.param(RCPT, 554, "5.7.1 relay access denied", FAILED, "refused", False, id="a policy"),
        pytest.param(DATA, 503, "bad sequence", AGAIN, "protocol", False, id="out of step"),
        pytest.param(DATA, 250, "what", AGAIN, "protocol", False, id="no answer to DATA"),
        pytest.param(MESSAGE, -1, "nonsense", UNKNOWN, "protocol", False, id="nonsense after the message"),
        pytest.param(RCPT, 550, "4.2.2 a class that does not fit", FAILED, "hard-bounce", False, id="codes at odds"),
    ],
)
def test_an_answer_means(stage: Stage, code: int, text: str, outcome: Outcome, reason: str, stop: bool) -> None:
    sent = judged(stage, code, text, "budi@example.com")
    assert (sent.outcome, sent.reason, sent.stop) == (outcome, reason, stop)


@given(st.sampled_from(Stage), st.integers(-1, 999), st.text(max_size=60), st.text(max_size=60))
def test_whatever_the_server_says_one_short_line_without_the_address(
    stage: Stage, code: int, before: str, after: str
) -> None:
    address = "budi.santoso@mail.example.com"
    for quoted in (
        address,
        f"<{address}>",
        address.upper(),
        "budi.santoso",
        "budi.santoso=mail.example.com@vía.example",
    ):
        sent = judged(stage, code, f"{before} {quoted} {after}", address)
        assert sent.outcome in (AGAIN, FAILED, UNKNOWN)
        assert sent.reason in REASONS
        assert len(sent.detail) < 300
        assert "budi.santoso" not in sent.detail.lower()
        assert "\n" not in sent.detail
