"""What a channel is: the contract between the outbox and the files in `channels/` (adding one = adding one file).

A channel has a name (`email`, `whatsapp`, …: what customers consent to) and is carried by a provider, a module in
`channels/`, as tocsin.yml says: `channels: {email: {by: smtp, host: …}}`. The module has a model `Options` of what may
stand there beside `by`, and a function `make(options, setup)` that returns a `Channel`. A channel sends one message,
says what came of it and raises nothing for what the other side does.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from detector.desk.wording import Message
from detector.errors import UsageError


class Outcome(StrEnum):
    """What came of an attempt."""

    SENT = "sent"
    FAILED = "failed"  # for good
    AGAIN = "again"  # not now: try later
    UNKNOWN = "unknown"  # it may have gone out


REASONS = (
    "bad-address",  # no address of this channel's kind
    "blocked",  # a place to which nothing is sent
    "connection",
    "content",  # refused for what it says: too long, spam, a template that does not fit
    "credentials",
    "gone",  # the place is no more
    "hard-bounce",  # there is no such recipient
    "no-template",  # the provider sends approved templates only, and none is named for this notice
    "opted-out",  # the provider knows that they want nothing
    "protocol",  # an answer that is none
    "rate-limited",
    "redirect",
    "refused",  # for good, for a reason that has no name here
    "soft-bounce",  # there is, but it takes nothing now: the mailbox is full
    "timeout",
    "tls",
    "unavailable",  # the other side's trouble
)
"""Why a channel did not send, for counting."""


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
    signal: str = ""
    name: str = ""
    """The customer's, as the directory has it."""
    template: str = ""
    """The provider's own template (WhatsApp), where one is configured."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What fills that template, by its placeholders' names, in order."""
    unsubscribe_url: str = ""


@dataclass(frozen=True)
class Sent:
    """What came of an attempt.

    Attributes
    ----------
    detail
        For the people who look at it; holds no address and no secret.
    reason
        Why not: one of `REASONS`; "" only where it was sent.
    retry_after_s
        When the other side says to come back.
    reference
        The other side's name for the message.
    stop
        The whole channel is refused (wrong credentials, endpoint gone): nothing more is tried until a person looks.
    """

    outcome: Outcome
    detail: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    reference: str = ""
    stop: bool = False


class Channel(Protocol):
    """Sends messages one by one, several at a time."""

    on_unknown: OnUnknown

    async def send(self, outgoing: Outgoing) -> Sent:
        """Hand one message over, and say what came of it; ends by itself within the provider's time limit."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True)
class Setup:
    """What a provider is given beside its options."""

    name: str
    """The channel's: email, whatsapp, …"""
    where: str
    """What messages call its place in the configuration: `tocsin.yml: channels.email`."""
    directory: Path
    """Of the configuration: files are relative to it."""
    public_url: str | None = None


def available() -> list[str]:
    """Return the names of the providers."""
    return sorted(
        found.name.replace("_", "-") for found in pkgutil.iter_modules([str(Path(__file__).parent / "channels")])
    )


def load(name: str, given: Mapping[str, Any] | None = None, setup: Setup | None = None) -> Channel:
    """Return the channel of this name, carried as `given` says; a channel without an entry is carried by its namesake.

    Raises
    ------
    UsageError
        There is no such provider.
    ConfigError
        Its options are wrong.
    """
    options = dict(given or {})
    by = str(options.pop("by", name))
    if by not in available():
        message = (
            f"tocsin.yml: notices.channels: expected ones that can send ({', '.join(available())}), found {by!r}; "
            "leave it out or set notices.send: false"
        )
        raise UsageError(message)
    setup = setup or Setup(name, f"tocsin.yml: channels.{name}", Path())
    module = importlib.import_module(f"streams.outbox.channels.{by.replace('-', '_')}")
    made: Channel = module.make(module.Options.model_validate(options), setup)
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
