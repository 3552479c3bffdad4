"""What vendors tell us of messages that were sent, as our own small values."""

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_EVENTS = 1_000
"""Of one call no more are read."""
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_STOP = re.compile(r"\W*(?:stop|stop\s?all|berhenti|unsubscribe)\W*", re.IGNORECASE)


class Progress(StrEnum):
    """How far a message came."""

    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


@dataclass(frozen=True)
class Status:
    """The vendor says what became of a message."""

    id: str
    """Of this piece of news: the same when it is told again."""
    reference: str
    """What the vendor calls the message (`streams.outbox.channel.Sent.reference`)."""
    progress: Progress
    at_ms: int | None
    code: str = ""
    """The vendor's own, where it failed."""


@dataclass(frozen=True)
class Reply:
    """A customer wrote back."""

    id: str
    phone: str
    """E.164."""
    text: str
    at_ms: int | None

    @property
    def stop(self) -> bool:
        """Whether they want no more messages: the whole text says so, not a word in a sentence.

        Examples
        --------
        >>> [Reply("1", "+62", text, None).stop for text in (" Stop. ", "BERHENTI", "the payments stop at 5", "")]
        [True, True, False, False]
        """
        return _STOP.fullmatch(self.text[:100]) is not None


Inbound = Status | Reply


def phone_of(value: object) -> str:
    """Return a number of digits, as vendors write it, with its plus; "" where it is none.

    Examples
    --------
    >>> phone_of("6281234567890"), phone_of("+62 812-3456-7890"), phone_of("Budi"), phone_of(None)
    ('+6281234567890', '+6281234567890', '', '')
    """
    if not isinstance(value, str | int):
        return ""
    digits = re.sub(r"[\s().+-]", "", str(value))
    return f"+{digits}" if E164.fullmatch(f"+{digits}") else ""
