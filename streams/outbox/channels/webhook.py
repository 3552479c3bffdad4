"""A notice as a signed message to an endpoint of the company's own (Standard Webhooks), which tells the customer.

The body is JSON: `{"type": "notice.due", "timestamp": "2026-03-02T02:00:00Z", "data": {"notice", "case", "kind",
"signal", "channel", "customer": {"address", "name", "language"}, "subject", "body"}}`. `webhook-id` is the notice's id
and stays the same over repetitions, so the receiver can drop them; with `next_secret` each message has two signatures.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec
from pydantic import Field

from detector.errors import ConfigError, Problem
from streams.clock import Clock, SystemClock
from streams.net import NoAnswerError, RefusedError, Way
from streams.outbox.channel import OnUnknown, Outcome, Outgoing, Sent, Setup
from streams.outbox.http import HttpOptions, Place, no_answer, refused, way_of
from streams.sections import SecretReference
from streams.settings import Secret, secret_of

MAX_BYTES = 20_000
TYPE = "notice.due"
_KEY_BYTES = range(24, 65)


class Options(HttpOptions):
    """What stands in tocsin.yml beside `by: webhook`."""

    url: Place = Field(description="Where notices go: https://hooks.shop.example/tocsin.")
    secret: SecretReference = Field(description="What signs them: whsec_ and 24 to 64 bytes in base64.")
    next_secret: SecretReference | None = Field(
        default=None, description="Signs them too, while the receiver changes over to it."
    )


class WebhookChannel:
    """Posts to one endpoint."""

    on_unknown = OnUnknown.RESEND

    def __init__(self, name: str, url: str, secrets: Iterable[Secret], way: Way, clock: Clock | None = None) -> None:
        self._name, self._url, self.secrets, self._way = name, url, tuple(secrets), way
        self._clock = clock or SystemClock()

    async def send(self, outgoing: Outgoing) -> Sent:
        now_ms = self._clock.now_ms()
        body = body_of(outgoing, self._name, now_ms)
        if len(body) > MAX_BYTES:
            return Sent(Outcome.FAILED, f"{len(body)} bytes, more than a webhook's {MAX_BYTES}", "content")
        try:
            headers = {"Content-Type": "application/json", **signed(outgoing.notice, body, now_ms, self.secrets)}
            answer = await self._way.request("POST", self._url, headers, body)
        except ConfigError:
            return Sent(Outcome.AGAIN, "the secret is not where the settings say", "credentials", stop=True)
        except (NoAnswerError, RefusedError) as error:
            return no_answer(error, repeatable=True)
        if 200 <= answer.status < 300:
            return Sent(Outcome.SENT, f"HTTP {answer.status}")
        return refused(answer, self._clock.now_ms(), repeatable=True)

    async def close(self) -> None:
        await self._way.close()


def body_of(outgoing: Outgoing, channel: str, now_ms: int) -> bytes:
    """Return the message's body."""
    customer = {"address": outgoing.address, "name": outgoing.name, "language": outgoing.language}
    data = {
        "notice": outgoing.notice,
        "case": outgoing.case,
        "kind": outgoing.kind,
        "signal": outgoing.signal,
        "channel": channel,
        "customer": customer,
        "subject": outgoing.message.subject,
        "body": outgoing.message.body,
    }
    if outgoing.unsubscribe_url:
        data["unsubscribe_url"] = outgoing.unsubscribe_url
    at = datetime.fromtimestamp(now_ms // 1_000, UTC)
    return msgspec.json.encode({"type": TYPE, "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}", "data": data})


def signed(identity: str, body: bytes, now_ms: int, secrets: Iterable[Secret]) -> Mapping[str, str]:
    """Return the headers that say who wrote a body and when, one signature for each secret.

    Raises
    ------
    ConfigError
        A secret is not there, or none.
    """
    from standardwebhooks import Webhook

    at, text = datetime.fromtimestamp(now_ms // 1_000, UTC), body.decode()
    signatures = [Webhook(_key(secret)).sign(identity, at, text) for secret in secrets]
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(now_ms // 1_000),
        "webhook-signature": " ".join(signatures),
    }


def _key(secret: Secret) -> bytes:
    text = secret.read().removeprefix(b"whsec_")
    try:
        key = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _KEY_BYTES:
        allowed = "whsec_ and 24 to 64 bytes in base64"
        raise ConfigError([Problem(secret.where, f"{len(text)} other characters", allowed)])
    return key


def problems(options: Options, setup: Setup) -> list[Problem]:
    """Return which secrets are not there, or sign nothing."""
    found: list[Problem] = []
    for secret in _secrets(options, setup):
        try:
            _key(secret)
        except ConfigError as error:
            found += error.problems
    return found


def make(options: Options, setup: Setup) -> WebhookChannel:
    """Return the channel.

    Raises
    ------
    ConfigError
        A secret or the certificates are not there.
    """
    found = problems(options, setup)
    if found:
        raise ConfigError(found)
    return WebhookChannel(setup.name, options.url, _secrets(options, setup), way_of(options, setup))


def _secrets(options: Options, setup: Setup) -> list[Secret]:
    given = {"secret": options.secret, "next_secret": options.next_secret}
    found = [secret_of(reference, f"{setup.where}.{name}", setup.directory) for name, reference in given.items()]
    return [secret for secret in found if secret is not None]
