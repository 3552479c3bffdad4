"""WhatsApp by Mekari Qontak: one approved template per notice (`streams/vendors/qontak.py` knows the shapes).

Promises
- A notice without a template is refused before anything is sent.
- What may have gone out is not sent again by itself: a repetition would be a second message.
- A token that is refused is renewed once; then the channel stops until a person looks.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol, Self

import httpx
import msgspec
from pydantic import BaseModel, Field, model_validator

from detector.errors import ConfigError
from streams.clock import Clock, SystemClock
from streams.net import Answer, NoAnswerError, RefusedError, Way
from streams.outbox.channel import OnUnknown, Outcome, Outgoing, Sent, Setup
from streams.outbox.http import HttpOptions, MaybePlace, no_answer, problems_of, refuse, refused, scrubbed, way_of
from streams.sections import SecretReference
from streams.settings import Secret, secret_of
from streams.vendors import qontak


class OAuth(BaseModel, extra="forbid"):
    """Signing in with a user's name and password."""

    user: str = Field(description="The user's e-mail address.")
    password: SecretReference = Field(description="Their password.")
    client_id: str = Field(description="The application's id.")
    client_secret: SecretReference = Field(description="Its secret.")
    url: str = Field(default=qontak.OAUTH_URL, description="Where tokens are given.")


class Hmac(BaseModel, extra="forbid"):
    """Signing each request."""

    client_id: str = Field(description="The application's id.")
    client_secret: SecretReference = Field(description="Its secret.")


class Options(HttpOptions):
    """What stands in tocsin.yml beside `by: qontak`: one of `token`, `oauth` and `hmac` is needed."""

    channel_integration_id: str = Field(min_length=1, description="Qontak's id of your WhatsApp number.")
    base: MaybePlace = Field(default=None, description="Where its API is; by the way of signing in where not given.")
    token: SecretReference | None = Field(default=None, description="A bearer token of your own.")
    oauth: OAuth | None = Field(default=None, description="A user's name and password.")
    hmac: Hmac | None = Field(default=None, description="An application's id and secret.")
    inbound_secret: SecretReference | None = Field(
        default=None, description="What Qontak must show when it calls back: see docs/notices.md."
    )

    @property
    def at(self) -> str:
        """Where the API is."""
        return (self.base or (qontak.HMAC_BASE if self.hmac else qontak.LEGACY_BASE)).rstrip("/")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if sum(way is not None for way in (self.token, self.oauth, self.hmac)) != 1:
            refuse("exactly one of token, oauth and hmac")
        against = problems_of(self.oauth.url, self.rules) if self.oauth else []
        if against:
            refuse(f"oauth.url as {against[0].allowed}", against[0].found)
        return self


class SignIn(Protocol):
    """How a request shows whose it is."""

    async def headers(self, method: str, path: str, limit_s: float) -> dict[str, str]:
        """Return the headers of a request.

        Raises
        ------
        ConfigError
            A secret is not there.
        SignInError
            No token was given.
        NoAnswerError, RefusedError
            Nobody to ask for one.
        """
        ...

    def refused(self, shown: Mapping[str, str]) -> bool:
        """Take note that these were not taken; returns whether others may be."""
        ...


class SignInError(Exception):
    """No token was given."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(f"HTTP {answer.status}")


class TokenSignIn:
    def __init__(self, token: Secret) -> None:
        self._token = token

    async def headers(self, method: str, path: str, limit_s: float) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.read(1).decode('latin-1')}"}

    def refused(self, shown: Mapping[str, str]) -> bool:
        return False


class HmacSignIn:
    def __init__(self, client: str, secret: Secret, clock: Clock) -> None:
        self._client, self._secret, self._clock = client, secret, clock

    async def headers(self, method: str, path: str, limit_s: float) -> dict[str, str]:
        return qontak.hmac_headers(self._client, self._secret.read(1), method, path, self._clock.now_ms())

    def refused(self, shown: Mapping[str, str]) -> bool:
        return False


class OAuthSignIn:
    """Gets a token when the first is needed, and the next one when it is refused."""

    def __init__(self, options: OAuth, password: Secret, secret: Secret, way: Way) -> None:
        self._options, self._password, self._secret, self._way = options, password, secret, way
        self._access = self._refresh = ""
        self._one_asks = asyncio.Lock()

    async def headers(self, method: str, path: str, limit_s: float) -> dict[str, str]:
        async with self._one_asks:
            if not self._access:
                await self._ask(limit_s)
            return self._shown()

    def refused(self, shown: Mapping[str, str]) -> bool:
        if shown == self._shown():  # else another message has asked for the next one meanwhile
            self._access = ""
        return True

    def _shown(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._access}"}

    async def _ask(self, limit_s: float) -> None:
        client, secret = self._options.client_id, self._secret.read(1).decode()
        grants = [qontak.password_grant(self._options.user, self._password.read(1).decode(), client, secret)]
        if self._refresh:
            grants.insert(0, qontak.refresh_grant(self._refresh, client, secret))
        self._refresh = ""
        headers = {"Content-Type": "application/json"}
        for grant in grants:
            body = msgspec.json.encode(grant)
            answer = await self._way.request("POST", self._options.url, headers, body, limit_s=limit_s)
            if 200 <= answer.status < 300:
                self._access, self._refresh = qontak.tokens(answer.body)
                if self._access:
                    return
        raise SignInError(answer)


class QontakChannel:
    """Sends templates, each to one number."""

    on_unknown = OnUnknown.HOLD

    def __init__(self, options: Options, sign_in: SignIn, way: Way, clock: Clock | None = None) -> None:
        self.options, self._sign_in, self._way = options, sign_in, way
        self._clock = clock or SystemClock()

    async def send(self, outgoing: Outgoing) -> Sent:
        if not outgoing.template:
            return Sent(Outcome.FAILED, "no template of the provider's is named for this notice", "no-template")
        number = qontak.to_number(outgoing.address)
        if not number:
            return Sent(Outcome.FAILED, "the directory's number is none", "bad-address")
        body = qontak.direct(
            number=number,
            name=outgoing.name,
            template=outgoing.template,
            integration=self.options.channel_integration_id,
            language=outgoing.language,
            parameters=outgoing.parameters,
        )
        try:
            answer = await self._post(outgoing.notice, msgspec.json.encode(body))
        except ConfigError:
            return Sent(Outcome.AGAIN, "a secret is not where the settings say", "credentials", stop=True)
        except SignInError as error:
            return self._no_token(error.answer)
        except (NoAnswerError, RefusedError) as error:
            return no_answer(error, repeatable=False)
        return self._judged(answer, outgoing)

    async def close(self) -> None:
        await self._way.close()

    async def _post(self, notice: str, body: bytes) -> Answer:
        """Return the answer to the message; where the token is refused, to the same with the next one."""
        url = self.options.at + qontak.DIRECT
        path = httpx.URL(url).raw_path.decode("ascii")
        end_s = self._clock.monotonic_s() + self.options.timeout / 1_000
        again = True
        while True:
            left_s = end_s - self._clock.monotonic_s()
            try:
                shown = await self._sign_in.headers("POST", path, left_s)
            except NoAnswerError as error:
                raise NoAnswerError(str(error), error.reason, sent=False) from error
            headers = {"Content-Type": "application/json", qontak.REPEATED: notice, **shown}
            left_s = end_s - self._clock.monotonic_s()
            answer = await self._way.request("POST", url, headers, body, limit_s=left_s)
            if answer.status != 401 or not again or not self._sign_in.refused(shown):
                return answer
            again = False

    def _judged(self, answer: Answer, outgoing: Outgoing) -> Sent:
        if 200 <= answer.status < 300:
            reference = qontak.message_id(answer.body)
            if reference:
                return Sent(Outcome.SENT, f"HTTP {answer.status}", reference=reference)
            return Sent(Outcome.UNKNOWN, f"HTTP {answer.status} without the message's id", "protocol")
        words = scrubbed(qontak.error_words(answer.body), outgoing)
        return refused(answer, self._clock.now_ms(), repeatable=False, words=words)

    def _no_token(self, answer: Answer) -> Sent:
        found = refused(answer, self._clock.now_ms(), repeatable=True)
        if found.outcome is Outcome.AGAIN and not found.stop and not 200 <= answer.status < 300:
            return found
        return Sent(Outcome.AGAIN, f"HTTP {answer.status}: no token was given", "credentials", stop=True)


def make(options: Options, setup: Setup) -> QontakChannel:
    """Return the channel.

    Raises
    ------
    ConfigError
        A secret or the certificates are not there.
    """

    def secret(reference: SecretReference, field: str) -> Secret:
        found = secret_of(reference, f"{setup.where}.{field}", setup.directory)
        assert found is not None
        found.read(1)
        return found

    way, clock = way_of(options, setup), SystemClock()
    if options.token:
        sign_in: SignIn = TokenSignIn(secret(options.token, "token"))
    elif options.hmac:
        sign_in = HmacSignIn(options.hmac.client_id, secret(options.hmac.client_secret, "hmac.client_secret"), clock)
    else:
        assert options.oauth is not None
        password = secret(options.oauth.password, "oauth.password")
        sign_in = OAuthSignIn(options.oauth, password, secret(options.oauth.client_secret, "oauth.client_secret"), way)
    return QontakChannel(options, sign_in, way, clock)
