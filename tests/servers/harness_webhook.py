"""The channel `webhook` under the contract suite."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from streams.clock import SystemClock
from streams.net import Rules, Way, networks
from streams.outbox.channel import Outcome
from streams.outbox.channels.webhook import WebhookChannel
from streams.settings import Secret
from tests.servers import http
from tests.servers.harness import Behaviour, Expected, Scene

LOOPBACK = Rules(networks(["127.0.0.0/8"]), insecure=True)
LIMIT_S = 0.5
ANSWERS: Mapping[Behaviour, Expected] = {
    Behaviour.ACCEPTS: Expected(Outcome.SENT),
    Behaviour.NOBODY: Expected(Outcome.AGAIN),
    Behaviour.FLAKY: Expected(Outcome.AGAIN),
    Behaviour.HANGS: Expected(Outcome.AGAIN),
    Behaviour.DRIPS: Expected(Outcome.AGAIN),
    Behaviour.ENDLESS: Expected(Outcome.AGAIN),
    Behaviour.SWALLOWS: Expected(Outcome.AGAIN),
    Behaviour.GARBAGE: Expected(Outcome.AGAIN),
    Behaviour.BUSY: Expected(Outcome.AGAIN),
    Behaviour.COME_BACK: Expected(Outcome.AGAIN, retry_after_s=http.RETRY_AFTER_S),
    Behaviour.REFUSES: Expected(Outcome.FAILED),
    Behaviour.LOCKED_OUT: Expected(Outcome.AGAIN, stop=True),
    Behaviour.GONE: Expected(Outcome.FAILED, stop=True),
    Behaviour.BAD_TLS: Expected(Outcome.AGAIN),
    Behaviour.REDIRECTS: Expected(Outcome.AGAIN),
    Behaviour.BOMB: Expected(Outcome.AGAIN),
}
ONCE_ONLY = {
    behaviour: Expected(Outcome.UNKNOWN)
    for behaviour in (
        Behaviour.FLAKY,
        Behaviour.HANGS,
        Behaviour.DRIPS,
        Behaviour.SWALLOWS,
        Behaviour.GARBAGE,
    )
}
"""What comes of it instead where the other side does not drop repetitions."""


NEVER_ENDS = (Behaviour.HANGS, Behaviour.DRIPS, Behaviour.ENDLESS)
PATIENT_S = 15.0


def limit_s(behaviour: Behaviour) -> float:
    """Return the time limit to set: a short one only where it is what ends the attempt."""
    return LIMIT_S if behaviour in NEVER_ENDS else PATIENT_S


def a_secret(folder: Path, name: str, value: bytes) -> Secret:
    (folder / name).write_bytes(value)
    return Secret(f"tocsin.yml: channels.x.{name}", file=folder / name)


@contextmanager
def standing(behaviour: Behaviour, play: http.Play, folder: Path) -> Iterator[tuple[http.Server, Way]]:
    """Run a server that behaves so, with a way to it."""
    tls = http.certificate(folder / "server.pem") if behaviour is Behaviour.BAD_TLS else None
    with http.serving(play, tls=tls, drop_first=behaviour is Behaviour.FLAKY) as server:
        if behaviour is Behaviour.NOBODY:
            server.port = http.free_port()
        yield server, Way(LOOPBACK, limit_s=limit_s(behaviour))


class WebhookHarness:
    provider = "webhook"
    time_limit_s = LIMIT_S
    bad_addresses: tuple[str, ...] = ()
    expected = ANSWERS

    @contextmanager
    def scene(self, behaviour: Behaviour) -> Iterator[Scene]:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as text:
            folder = Path(text)
            key = base64.b64encode(b"k" * 32)
            secret = a_secret(folder, "secret", b"whsec_" + key)
            with standing(behaviour, http.plays(behaviour, http.says(204)), folder) as (server, way):
                url = f"{server.url}/s3cret-path"
                yield Scene(
                    WebhookChannel("webhook", url, [secret], way, SystemClock()),
                    "C-1042-Budi",
                    received=lambda: [seen.headers["webhook-id"] for seen in server.seen],
                    secrets=("s3cret-path", key.decode()),
                )


HARNESS = WebhookHarness()
