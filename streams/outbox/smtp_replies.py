"""What a mail server's answer means for the message: gone out, never, later, or nothing works at all.

The enhanced status code (RFC 3463) counts before the plain one, and the stage decides what the plain one is about: a
550 to RCPT is about the recipient, after the message about its content, to the greeting about us.
"""

import re
from enum import IntEnum

from streams.outbox.channel import Outcome, Sent
from streams.outbox.scrub import without

_ENHANCED = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})\b")
_MAIL = re.compile(r"<?[^\s<>;,]*@[^\s<>;,:]*>?")
_DETAIL = 200


class Stage(IntEnum):
    """How far a message got; from MESSAGE on the server may have taken it."""

    CONNECT = 0  # greeting, EHLO, STARTTLS
    SIGN_IN = 1
    SENDER = 2
    RECIPIENT = 3
    DATA = 4
    MESSAGE = 5


_STAGE = {
    Stage.CONNECT: "to the greeting",
    Stage.SIGN_IN: "to the sign-in",
    Stage.SENDER: "to the sender",
    Stage.RECIPIENT: "to the recipient",
    Stage.DATA: "to DATA",
    Stage.MESSAGE: "to the message",
}
_AGAIN, _FAILED = Outcome.AGAIN, Outcome.FAILED


def judged(stage: Stage, code: int, text: str, address: str, *hidden: str) -> Sent:
    """Return what an answer that is no success means.

    Parameters
    ----------
    stage : Stage
        What it answers.
    code : int
        Three digits; others are no answer.
    text : str
        Its words, several lines joined by line breaks.
    address : str
        The recipient's: it is left out of what is said, as are `hidden` texts.

    Examples
    --------
    >>> sent = judged(Stage.RECIPIENT, 550, "5.1.1 <budi@example.com>: no such user", "budi@example.com")
    >>> sent.outcome.value, sent.reason, sent.detail
    ('failed', 'hard-bounce', '550 to the recipient: 5.1.1 …: no such user')
    """
    outcome, reason, stop = _meaning(stage, code, text)
    return Sent(outcome, f"{code} {_STAGE[stage]}: {scrubbed(text, address, *hidden)}".rstrip(": "), reason, stop=stop)


def scrubbed(text: str, address: str, *hidden: str) -> str:
    """Return a server's words as one short line without the address, in whatever form they quote it.

    Examples
    --------
    >>> scrubbed("User budi unknown; <Budi@Example.com>, budi=example.com@bounce.example", "budi@example.com")
    'User … unknown; …, …'
    """
    name, _, domain = address.partition("@")
    return without(text, (_MAIL, address, name, domain, *hidden), _DETAIL)


def _meaning(stage: Stage, code: int, text: str) -> tuple[Outcome, str, bool]:
    match = _ENHANCED.match(text)
    subject, detail = (int(match[2]), int(match[3])) if match and match[1] == str(code)[:1] else (-1, -1)
    if not 400 <= code < 600:
        return (Outcome.UNKNOWN if stage is Stage.MESSAGE else _AGAIN), "protocol", False
    if code in (530, 534, 535, 538) or (code >= 500 and (subject, detail) == (7, 8)):
        return _AGAIN, "credentials", True
    if (subject, detail) in ((7, 28), (4, 5)):  # too many messages, whatever the class says
        return _AGAIN, "rate-limited", False
    if code < 500:
        theirs = subject == 2 or (stage is Stage.RECIPIENT and code in (450, 451) and subject != 3)  # greylisting, too
        return _AGAIN, "soft-bounce" if theirs else "unavailable", False
    if stage is Stage.SIGN_IN:
        return _AGAIN, "credentials", True
    if code in (500, 502, 503, 504):
        return _AGAIN, "protocol", False
    if (subject, detail) in ((3, 4), (2, 3)) or subject == 6:  # too large, or not to be converted
        return _FAILED, "content", False
    if stage in (Stage.CONNECT, Stage.SENDER) or (subject, detail) in ((1, 7), (1, 8)):
        return _AGAIN, "refused", True  # it is about us: the next message would fare no better
    return _about_the_message(stage, code, subject, detail)


def _about_the_message(stage: Stage, code: int, subject: int, detail: int) -> tuple[Outcome, str, bool]:
    if (subject, detail) == (2, 2) or (code == 552 and subject < 0):
        return _AGAIN, "soft-bounce", False
    if subject == 1 or (subject, detail) in ((2, 1), (4, 1)):
        return _FAILED, "hard-bounce", False
    of_the_recipient = stage is Stage.RECIPIENT
    if subject < 0 and of_the_recipient and code in (550, 551, 553):
        return _FAILED, "hard-bounce", False
    if code == 501 and of_the_recipient:
        return _FAILED, "bad-address", False
    return _FAILED, "refused" if of_the_recipient else "content", False
