"""What a channel is: the contract between the outbox and the files in `channels/` (adding one = adding one file).

A channel has a name (`email`, `whatsapp`, …: what customers consent to) and is carried by a provider, a module in
`channels/`, as tocsin.yml says: `channels: {email: {by: smtp, host: …}}`. The module has a model `Options` of what may
stand there beside `by`, and a function `make(options, setup)` that returns a `Channel`. A channel sends one message,
says what came of it and raises nothing for what the other side does.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, Field

from detector.desk.wording import Message
from detector.errors import ConfigError, Problem, UsageError
from detector.fields import did_you_mean, join, listed, shown
from streams.sections import SecretReference, checked
from streams.settings import TOCSIN, Settings, secret_of


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


def provider(name: str) -> Any:
    """Return the module of a provider: with `Options` and `make`."""
    return importlib.import_module(f"streams.outbox.channels.{name.replace('-', '_')}")


class Common(BaseModel, extra="forbid", frozen=True):
    """What may stand at every channel, whatever carries it: `email: {by: smtp, per_second: 5, …}`."""

    by: str = Field(description="What carries it: one of the files in `streams/outbox/channels`.")
    per_second: float | None = Field(default=None, gt=0, le=10_000, description="Messages a second.")
    per_day: int | None = Field(
        default=None,
        ge=1,
        description="Different customers in any 24 hours, as the provider allows: WhatsApp's 250, 1000, 10000, 100000.",
    )
    on_unknown: OnUnknown | None = Field(
        default=None, description="A send that may have gone out: `resend` under the same id, or `hold` for a person."
    )


@dataclass(frozen=True)
class Line:
    """A channel with the limits under which it is used."""

    channel: Channel
    per_second: float | None = None
    per_day: int | None = None
    on_unknown: OnUnknown | None = None

    @property
    def resends(self) -> bool:
        """A send that may have gone out is sent again; else a person decides."""
        return (self.on_unknown or self.channel.on_unknown) is OnUnknown.RESEND


def load(name: str, given: Mapping[str, Any] | None = None, setup: Setup | None = None) -> Channel:
    """Return the channel of this name, carried as `given` says; a channel without an entry is carried by its namesake.

    Raises
    ------
    UsageError
        There is no such provider.
    ConfigError
        Its options are wrong.
    """
    return load_line(name, given, setup).channel


def load_line(name: str, given: Mapping[str, Any] | None = None, setup: Setup | None = None) -> Line:
    """Return the channel with its limits; as `load`."""
    if dict(given or {}).get("by", name) not in available():
        by = dict(given or {}).get("by", name)
        message = (
            f"tocsin.yml: notices.channels: expected ones that can send ({', '.join(available())}), found {by!r}; "
            "leave it out or set notices.send: false"
        )
        raise UsageError(message)
    setup = setup or Setup(name, _where(name), Path())
    common, own, module = _parts(name, given or {}, setup.where)
    made: Channel = module.make(checked(module.Options, own, setup.where), setup)
    return Line(made, common.per_second, common.per_day, common.on_unknown)


def lines(settings: Settings) -> dict[str, Line]:
    """Return the channels of a configuration that notices go out on, in the policy's order.

    Raises
    ------
    UsageError, ConfigError
        As `load`.
    """
    return {
        name: load_line(name, settings.channels.get(name), _setup(settings, name))
        for name in settings.config.policy.channels
    }


def problems(settings: Settings) -> list[Problem]:
    """Return what is wrong with the channels as tocsin.yml has them, the ones that are not used too."""
    found: list[Problem] = []
    for name, given in settings.channels.items():
        try:
            _common, own, module = _parts(name, given, _where(name))
            options = checked(module.Options, own, _where(name))
        except ConfigError as error:
            found += error.problems
            continue
        further = getattr(module, "problems", None)  # what a provider checks beyond its fields, without a connection
        more: list[Problem] = [] if further is None else further(options, _setup(settings, name))
        said = {problem.path for problem in more}
        missing = _missing_secrets(options, _where(name), settings.directory)
        found += [*more, *(problem for problem in missing if problem.path not in said)]
    return found


def _missing_secrets(options: BaseModel, where: str, directory: Path) -> Iterator[Problem]:
    """Yield the secrets among the options that are not where they are said to be."""
    for field_name in type(options).model_fields:
        value = getattr(options, field_name)
        if isinstance(value, SecretReference):
            secret = secret_of(value, join(where, field_name), directory)
            assert secret is not None
            try:
                secret.read(least=1)
            except ConfigError as error:
                yield from error.problems
        elif isinstance(value, BaseModel):
            yield from _missing_secrets(value, join(where, field_name), directory)


def _parts(name: str, given: Mapping[str, Any], where: str) -> tuple[Common, dict[str, Any], Any]:
    """Return what is common to all channels, the provider's own options, and the provider."""
    own = {key: value for key, value in given.items() if key not in Common.model_fields}
    by, can = given.get("by", name), available()
    mistakes: list[Problem] = []
    if by not in can:
        mistakes.append(Problem(join(where, "by"), shown(by), listed(can), did_you_mean(by, can)))
        by = None
    common, module = Common(by=""), None
    try:
        common = checked(Common, {**{key: given[key] for key in given if key not in own}, "by": by or ""}, where)
    except ConfigError as error:
        mistakes += error.problems
    if by is not None:
        module = provider(by)
        try:
            checked(module.Options, own, where)
        except ConfigError as error:
            mistakes += error.problems
    if mistakes:
        raise ConfigError(mistakes)
    return common, own, module


def _where(name: str) -> str:
    return f"{TOCSIN}: channels.{name}"


def _setup(settings: Settings, name: str) -> Setup:
    return Setup(name, _where(name), settings.directory, settings.service.public_url)


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
