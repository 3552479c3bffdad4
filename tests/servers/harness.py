"""What the contract suite of channels (`tests/contracts/test_channels.py`) needs of every provider.

A provider that can be sent with has a file `tests/servers/harness_<provider>.py` (dashes as underscores) with
`HARNESS`: a `Harness`, which puts the provider's channel in front of a real server on loopback that behaves in one
way. The suite finds these files by itself, and fails for a provider without one.

    class WebhookHarness:
        provider = "webhook"
        time_limit_s = 1.0
        bad_addresses = ()
        expected = {
            Behaviour.ACCEPTS: Expected(Outcome.SENT),
            Behaviour.HANGS: Expected(Outcome.UNKNOWN, Outcome.AGAIN),
            Behaviour.LOCKED_OUT: Expected(Outcome.FAILED, stop=True),
        }

        @contextmanager
        def scene(self, behaviour: Behaviour) -> Iterator[Scene]:
            with server(behaviour) as running:
                yield Scene(make(options, setup), "address", received=running.ids)
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from streams.outbox.channel import Channel, Outcome


class Behaviour(StrEnum):
    """How the other side behaves. A provider plays those that its protocol knows; `ACCEPTS` always."""

    ACCEPTS = "accepts the message"
    FLAKY = "drops the first connection before it reads anything, then accepts"
    NOBODY = "does not listen at all"
    HANGS = "takes the connection and never says a word"
    DRIPS = "answers a byte at a time, for ever"
    ENDLESS = "answers without end"
    SWALLOWS = "reads the whole message and closes without an answer"
    GARBAGE = "answers what is not the protocol"
    BUSY = "cannot take it now"
    COME_BACK = "cannot take it now, and says after how many seconds (7)"
    REFUSES = "refuses this message or recipient for good"
    LOCKED_OUT = "refuses the credentials"
    GONE = "says that this place is no more"
    BAD_TLS = "shows a certificate that nobody vouches for"
    REDIRECTS = "sends to another place"
    BOMB = "answers a little that unpacks to a lot"


class Expected:
    """What may come of a send; where several may, the first is the usual one."""

    def __init__(self, *outcomes: Outcome, stop: bool = False, retry_after_s: float | None = None) -> None:
        assert outcomes, "say what must come of it"
        self.outcomes, self.stop, self.retry_after_s = outcomes, stop, retry_after_s


@dataclass(frozen=True)
class Scene:
    """A channel in front of a server.

    Attributes
    ----------
    channel
        Made anew; the suite closes it.
    address
        One that the channel takes, such as `budi@example.com`.
    received
        The ids (`Outgoing.notice`) under which the server took messages, in order; one more for each repetition.
    secrets
        What must never appear in what the channel says: passwords, tokens, parts of URLs.
    template
        Of `Outgoing`, where the provider only sends templates.
    parameters
        What fills it.
    """

    channel: Channel
    address: str
    received: Callable[[], list[str]]
    secrets: tuple[str, ...] = ()
    template: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


class Harness(Protocol):
    """One provider, played by real servers.

    `scene` starts the server in a thread or process of its own, and ends it; the channel is given with the provider's
    total time limit set to `time_limit_s` (short, for tests). `bad_addresses` are some that must be refused before
    anything leaves (line breaks, two in one).
    """

    provider: str
    expected: Mapping[Behaviour, Expected]
    time_limit_s: float
    bad_addresses: tuple[str, ...]

    def scene(self, behaviour: Behaviour) -> AbstractContextManager[Scene]: ...


def harnesses() -> dict[str, Harness]:
    """Return the providers' harnesses by the provider's name."""
    out: dict[str, Harness] = {}
    for file in sorted(Path(__file__).parent.glob("harness_*.py")):
        module: Any = importlib.import_module(f"tests.servers.{file.stem}")
        found: Harness = module.HARNESS
        out[found.provider] = found
    return out
