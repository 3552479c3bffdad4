"""What a channel is: the contract between the outbox and the files in `channels/` (adding one = adding one file).

A module there has a function `make()` that returns a `Channel`. A channel sends one message, says what came of it and
raises nothing for what the other side does.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from detector.desk.wording import Message
from detector.errors import UsageError


class Outcome(StrEnum):
    """What came of an attempt."""

    SENT = "sent"
    FAILED = "failed"  # for good
    AGAIN = "again"  # not now: try later
    UNKNOWN = "unknown"  # it may have gone out


class OnUnknown(StrEnum):
    """What to do with a send that a crash left unknown."""

    RESEND = "resend"  # the other side drops a repetition of the same id
    HOLD = "hold"  # a person decides


@dataclass(frozen=True)
class Outgoing:
    """One message for one customer. The address comes from the directory, never from an event."""

    notice: str
    """Stays the same over repetitions: the other side may drop a second one."""
    case: str
    kind: str
    address: str
    language: str
    message: Message


@dataclass(frozen=True)
class Sent:
    outcome: Outcome
    detail: str = ""


class Channel(Protocol):
    """Sends messages one by one."""

    on_unknown: OnUnknown

    def send(self, outgoing: Outgoing) -> Sent:
        """Hand one message over, and say what came of it."""
        ...


def available() -> list[str]:
    """Return the names of the channels that can send."""
    return sorted(found.name for found in pkgutil.iter_modules([str(Path(__file__).parent / "channels")]))


def load(name: str) -> Channel:
    """Return the channel of this name.

    Raises
    ------
    UsageError
        There is no such channel.
    """
    if name not in available():
        message = (
            f"tocsin.yml: notices.channels: expected ones that can send ({', '.join(available())}), found {name!r}; "
            "leave it out or set notices.send: false"
        )
        raise UsageError(message)
    made: Channel = importlib.import_module(f"streams.outbox.channels.{name}").make()
    return made


def masked(address: str) -> str:
    """Return an address that says which one it is to who knows it, and to nobody else.

    Examples
    --------
    >>> masked("+6281234567890"), masked("budi@example.com"), masked("C-1")
    ('+628•••90', 'b•••@example.com', 'C•••')
    """
    name, at, domain = address.partition("@")
    if at:
        return f"{name[:1]}•••@{domain}"
    return f"{address[:4]}•••{address[-2:]}" if len(address) > 8 else f"{address[:1]}•••"
