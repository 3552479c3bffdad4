"""WhatsApp by Meta's Cloud API: one approved template per notice (its shapes: `streams/vendors/whatsapp_cloud.py`).

Promises: a notice without a template is refused before anything is sent; what may have gone out is not sent again by
itself; credentials that are refused stop the channel until a person looks.
"""

import re
from typing import Annotated

import msgspec
from pydantic import BeforeValidator, Field

from detector.errors import ConfigError
from streams.clock import Clock, SystemClock
from streams.net import Answer, NoAnswerError, RefusedError, Way
from streams.outbox.channel import OnUnknown, Outcome, Outgoing, Sent, Setup
from streams.outbox.http import HttpOptions, Place, no_answer, refuse, refused, scrubbed, way_of
from streams.sections import SecretReference
from streams.settings import Secret, secret_of
from streams.vendors import whatsapp_cloud as cloud
from streams.vendors.inbound import E164


def _digits(value: object) -> str:
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,30}", text):
        refuse("a number of digits, as Meta shows it beside your phone number")
    return text


class Options(HttpOptions):
    """What stands in tocsin.yml beside `by: whatsapp-cloud`."""

    phone_number_id: Annotated[str, BeforeValidator(_digits)] = Field(description="Meta's id of your number.")
    token: SecretReference = Field(description="A system user's access token.")
    base: Place = Field(default=cloud.BASE, description="Where the API is, with its version.")
    app_secret: SecretReference | None = Field(
        default=None, description="The app's secret: it signs what is called back."
    )
    verify_token: SecretReference | None = Field(
        default=None, description="What Meta shows when it asks whether the address for calling back is yours."
    )

    @property
    def url(self) -> str:
        """Where messages go."""
        return f"{self.base.rstrip('/')}/{self.phone_number_id}/messages"


class WhatsAppCloudChannel:
    """Sends templates, each to one number."""

    on_unknown = OnUnknown.HOLD

    def __init__(self, options: Options, token: Secret, way: Way, clock: Clock | None = None) -> None:
        self._options, self._token, self._way = options, token, way
        self._clock = clock or SystemClock()

    async def send(self, outgoing: Outgoing) -> Sent:
        if not outgoing.template:
            return Sent(Outcome.FAILED, "no template of the provider's is named for this notice", "no-template")
        if not E164.fullmatch(outgoing.address):
            return Sent(Outcome.FAILED, "the directory's number is none", "bad-address")
        body = cloud.template_message(
            number=outgoing.address[1:],
            template=outgoing.template,
            language=outgoing.language,
            parameters=outgoing.parameters,
            notice=outgoing.notice,
        )
        try:
            shown = f"Bearer {self._token.read(1).decode('latin-1')}"
            headers = {"Content-Type": "application/json", "Authorization": shown}
            answer = await self._way.request("POST", self._options.url, headers, msgspec.json.encode(body))
        except ConfigError:
            return Sent(Outcome.AGAIN, "the token is not where the settings say", "credentials", stop=True)
        except (NoAnswerError, RefusedError) as error:
            return no_answer(error, repeatable=False)
        return self._judged(answer, outgoing)

    async def close(self) -> None:
        await self._way.close()

    def _judged(self, answer: Answer, outgoing: Outgoing) -> Sent:
        if 200 <= answer.status < 300:
            reference = cloud.message_id(answer.body)
            if reference:
                return Sent(Outcome.SENT, f"HTTP {answer.status}", reference=reference)
            return Sent(Outcome.UNKNOWN, f"HTTP {answer.status} without the message's id", "protocol")
        code, words = cloud.error_of(answer.body)
        now_ms = self._clock.now_ms()
        by_status = refused(answer, now_ms, repeatable=False, words=scrubbed(words, outgoing))
        reason = cloud.meaning(code)
        if reason == "credentials":
            return Sent(Outcome.AGAIN, by_status.detail, reason, stop=True)
        if reason in ("rate-limited", "unavailable"):
            return Sent(Outcome.AGAIN, by_status.detail, reason, answer.retry_after_s(now_ms))
        if reason:
            return Sent(Outcome.FAILED, by_status.detail, reason)
        return by_status


def make(options: Options, setup: Setup) -> WhatsAppCloudChannel:
    """Return the channel.

    Raises
    ------
    ConfigError
        The token or the certificates are not there.
    """
    token = secret_of(options.token, f"{setup.where}.token", setup.directory)
    assert token is not None
    token.read(1)
    return WhatsAppCloudChannel(options, token, way_of(options, setup))
