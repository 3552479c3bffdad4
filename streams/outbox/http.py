"""What channels over HTTP share: their options, and what an answer or its absence means for a message.

Promise: what is said of an attempt holds no address, no text of the message and no URL, whatever the other side quotes.
"""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, LiteralString, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from detector.errors import ConfigError, Problem
from detector.fields import shown
from streams.net import Answer, NoAnswerError, RefusedError, Rules, Way, check_url, networks
from streams.outbox.channel import Outcome, Outgoing, Sent, Setup
from streams.outbox.scrub import without
from streams.sections import Duration

_DETAIL = 160
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_NUMBERS = re.compile(r"\d(?:[ .()-]?\d){5,}")
_MAIL = re.compile(r"\S*@\S*")


def refuse(allowed: str, do: str = "", *, kind: LiteralString = "refused") -> NoReturn:
    """Refuse an option, in the words of `detector.errors.Problem`."""
    raise PydanticCustomError(kind, "{allowed}", {"allowed": allowed, "do": do})


def _networks(value: object) -> tuple[str, ...]:
    texts = value if isinstance(value, list | tuple) else [value]
    for text in texts:
        try:
            ip_network(text if isinstance(text, str) else "")
        except ValueError:
            refuse("networks such as [10.1.0.0/16]")
    return tuple(texts)


class HttpOptions(BaseModel, extra="forbid"):
    """What may stand in tocsin.yml for every channel over HTTP."""

    allow: Annotated[tuple[str, ...], BeforeValidator(_networks)] = Field(
        default=(), description="Networks that are not public and may be reached all the same: [10.1.0.0/16]."
    )
    insecure: bool = Field(default=False, description="true: http too; anyone on the way can read it.")
    ca_file: str | None = Field(default=None, description="Certificates to trust beside the system's, as PEM.")
    timeout: Annotated[int, Duration(1_000, 60_000)] = Field(default=15_000, description="For one message, in all.")

    @property
    def rules(self) -> Rules:
        """What is allowed beyond https to public addresses."""
        return Rules(networks(self.allow), self.insecure)


def _place(value: str | None, info: ValidationInfo) -> str | None:
    rules = Rules(networks(info.data.get("allow", ())), bool(info.data.get("insecure")))
    against = [] if value is None else problems_of(value, rules)
    if against:
        kind: LiteralString = "problems"
        raise PydanticCustomError(kind, kind, {"problems": against})
    return value


def problems_of(url: str, rules: Rules, path: str = "") -> list[Problem]:
    """Return what is against sending to an address; it is not shown itself, as it may hold a secret."""
    reasons = check_url(url, rules)
    found = f"one that may not: {'; '.join(reasons)}"
    do = "`allow` opens a network, `insecure: true` http"
    return [Problem(path, found, "an address that may be sent to", do)] if reasons else []


Place = Annotated[str, AfterValidator(_place)]
MaybePlace = Annotated[str | None, AfterValidator(_place)]
"""An address to which a channel sends, of options that begin with those of `HttpOptions`."""


def way_of(options: HttpOptions, setup: Setup) -> Way:
    """Return the way out under a channel's options.

    Raises
    ------
    ConfigError
        The certificates are not there.
    """
    file: Path | None = None if options.ca_file is None else setup.directory / options.ca_file
    try:
        return Way(options.rules, limit_s=options.timeout / 1_000, authorities=file)
    except OSError as error:
        problem = Problem(f"{setup.where}.ca_file", shown(options.ca_file), "a file of certificates (PEM)")
        raise ConfigError([problem]) from error


def no_answer(error: NoAnswerError | RefusedError, *, repeatable: bool) -> Sent:
    """Return what it means that no answer came.

    Parameters
    ----------
    repeatable
        The other side drops a repetition, so what may have arrived can be sent again.
    """
    if isinstance(error, RefusedError):
        return Sent(Outcome.AGAIN, f"nothing may be sent there: {error}", "blocked", stop=True)
    if error.sent and not repeatable:
        return Sent(Outcome.UNKNOWN, f"it may have gone out: {error}", error.reason)
    return Sent(Outcome.AGAIN, str(error), error.reason)


_AGAIN_LATER = (408, 425, 429)
_MAY_HAVE_GONE_ON = (502, 504)


def refused(answer: Answer, now_ms: int, *, repeatable: bool, words: str = "") -> Sent:
    """Return what a status that is no success means.

    Parameters
    ----------
    repeatable
        As above: a gateway that got no answer may have passed the message on.
    words
        The other side's, scrubbed.
    """
    status, wait_s = answer.status, answer.retry_after_s(now_ms)
    detail = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    if status in (401, 403, 407):
        return Sent(Outcome.AGAIN, detail, "credentials", stop=True)
    if status == 410:
        return Sent(Outcome.FAILED, detail, "gone", stop=True)
    if status in _AGAIN_LATER or status == 503:
        return Sent(Outcome.AGAIN, detail, "unavailable" if status == 503 else "rate-limited", wait_s)
    if 300 <= status < 400:
        return Sent(Outcome.AGAIN, f"{detail}, a redirect, which is not followed", "redirect")
    if status in _MAY_HAVE_GONE_ON and not repeatable:
        return Sent(Outcome.UNKNOWN, f"{detail}, it may have gone out", "unavailable")
    if 500 <= status < 600:
        return Sent(Outcome.AGAIN, detail, "unavailable", wait_s)
    if 400 <= status < 500:
        return Sent(Outcome.FAILED, detail, "content" if status == 413 else "refused")
    return Sent(Outcome.AGAIN, detail, "protocol")


def scrubbed(text: str, outgoing: Outgoing) -> str:
    r"""Return the other side's words as one short line that holds nothing of the customer's or the message's.

    Examples
    --------
    >>> from detector.desk.wording import Message
    >>> outgoing = Outgoing("n1", "c1", "problem", "+6281234567890", "id", Message("Subject", "Body"), name="Budi")
    >>> scrubbed("Number 0812-3456-7890 of Budi (budi@example.com) is not valid\n", outgoing)
    'Number … of … … is not valid'
    """
    own = [outgoing.address, outgoing.name, outgoing.message.subject, outgoing.message.body]
    parts = (*own, *outgoing.name.split(), *outgoing.parameters.values())
    return without(text, (*parts, _URL, _MAIL, _NUMBERS), _DETAIL)
