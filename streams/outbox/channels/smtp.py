"""E-mail through a mail server: one message a person, the notice as Message-ID.

Promises
- TLS is checked and never given up: where it does not work nothing is sent, and tried again later. Without TLS only by
  `tls: insecure-plain-text`.
- A send ends within `timeout`, whatever the server does. A connection is used again; one that the server has dropped
  meanwhile is made anew at once, as long as nothing of the message was sent.
- What was dropped after the message and before the answer is unknown: a mail server does not drop repetitions, so a
  person decides.
- No address in what is said of an attempt, whatever the server's words hold.
"""

import asyncio
import contextlib
import ssl
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Annotated, Literal

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from pydantic import BaseModel, Field

from detector.errors import ConfigError, Problem
from detector.fields import shown
from streams.clock import Clock, SystemClock
from streams.outbox.channel import OnUnknown, Outcome, Outgoing, Sent, Setup
from streams.outbox.mail import BadAddressError, Sender, mail_of, plain_address
from streams.outbox.smtp_replies import Stage, judged, scrubbed
from streams.sections import Duration, SecretReference
from streams.settings import Secret, secret_of

PLAIN = "insecure-plain-text"
PORTS = {"starttls": 587, "implicit": 465, PLAIN: 25}
START_INPUT, UNAVAILABLE = 354, 421
IDLE_S = 20.0
"""A connection that was not used for so long is not trusted any more: servers close theirs after 30 s and up."""
_LEAVE_S = 2.0


class Options(BaseModel, extra="forbid"):
    """What stands in tocsin.yml beside `by: smtp`."""

    host: str = Field(min_length=1, max_length=253, description="The mail server.")
    port: int | None = Field(
        default=None, ge=1, le=65_535, description="587; 465 with `tls: implicit`, 25 without TLS."
    )
    tls: Literal["starttls", "implicit", "insecure-plain-text"] = Field(
        default="starttls", description="How the connection is protected; it must work."
    )
    ca_file: str | None = Field(default=None, description="Certificates to trust beside the system's, as PEM.")
    user: str | None = Field(default=None, description="Name to sign in with.")
    password: SecretReference | None = Field(default=None, description="Its password.")
    sender: str = Field(description="Who writes: `Toko Budi <notices@shop.example>`.")
    reply_to: str | None = Field(default=None, description="Where answers go.")
    timeout: Annotated[int, Duration(1_000, 90_000)] = Field(default=30_000, description="For one message, in all.")
    connections: int = Field(default=4, ge=1, le=50, description="So many at a time.")


class SmtpChannel:
    """Sends through one server over a few kept connections."""

    on_unknown = OnUnknown.HOLD

    def __init__(
        self,
        options: Options,
        sender: Sender,
        password: Secret | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._options, self._sender, self._password, self._tls = options, sender, password, tls
        self._clock = clock or SystemClock()
        self._port = options.port or PORTS[options.tls]
        self._slots = asyncio.Semaphore(options.connections)
        self._idle: list[tuple[SMTP, float]] = []

    async def send(self, outgoing: Outgoing) -> Sent:
        try:
            recipient = plain_address(outgoing.address)
            mail = mail_of(outgoing, self._sender, recipient, self._clock.now_ms())
        except BadAddressError:
            return Sent(Outcome.FAILED, "the directory's address is none that mail can be sent to", "bad-address")
        except ValueError:
            return Sent(Outcome.FAILED, "a header would hold a line break", "content")
        attempt = _Attempt(recipient, mail, (outgoing.name, outgoing.message.subject, outgoing.message.body))
        try:
            async with asyncio.timeout(self._options.timeout / 1_000), self._slots:
                return await self._deliver(attempt)
        except (SMTPException, OSError) as error:
            return self._trouble(attempt, error)
        except ConfigError:
            return Sent(Outcome.AGAIN, "the password is not where the settings say", "credentials", stop=True)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for client, _ in idle:
            with contextlib.suppress(SMTPException, OSError):
                async with asyncio.timeout(_LEAVE_S):
                    await client.quit()
            client.close()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _deliver(self, attempt: "_Attempt") -> Sent:
        while True:
            client = self._kept()
            fresh = client is None
            try:
                if client is None:
                    client = await self._connect(attempt)
                reference = await self._hand_over(client, attempt)
            except BaseException as error:
                if client is not None:
                    await self._after(client, attempt, error)
                if not fresh and attempt.stage < Stage.MESSAGE and _was_gone(error):
                    continue
                if isinstance(error, SMTPResponseException):
                    return judged(attempt.stage, error.code, error.message, attempt.recipient, *attempt.hidden)
                raise
            self._keep(client)
            return Sent(Outcome.SENT, reference=reference)

    async def _connect(self, attempt: "_Attempt") -> SMTP:
        """Return a connection that is ready for a message."""
        attempt.stage = Stage.CONNECT
        options = self._options
        client = _Client(
            hostname=options.host,
            port=self._port,
            use_tls=options.tls == "implicit",
            start_tls=False,
            tls_context=self._tls,
            local_hostname=self._sender.domain,
            timeout=None,  # the whole send has a limit
        )
        try:
            await client.connect()
            if options.tls == "starttls":
                await client.starttls()
            await client.ehlo()
            if options.user is not None:
                attempt.stage = Stage.SIGN_IN
                password = self._password.read(least=1) if self._password else b""
                await client.login(options.user.encode(), password)
        except BaseException:
            client.close()
            raise
        return client

    async def _hand_over(self, client: SMTP, attempt: "_Attempt") -> str:
        """Hand the message over; returns what the server says of it."""
        attempt.stage = Stage.SENDER
        await client.mail(self._sender.address)
        attempt.stage = Stage.RECIPIENT
        await client.rcpt(attempt.recipient)
        attempt.stage = Stage.DATA
        answer = await client.execute_command(b"DATA")
        if answer.code != START_INPUT:
            raise SMTPDataError(answer.code, answer.message)
        protocol = client.protocol
        if protocol is None:
            message = "hung up"
            raise SMTPServerDisconnected(message)
        attempt.stage = Stage.MESSAGE  # from here on it may have been taken
        protocol.write(attempt.mail.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        answer = await protocol.read_response()
        if not 200 <= answer.code < 300:
            raise SMTPDataError(answer.code, answer.message)
        return scrubbed(answer.message, attempt.recipient, *attempt.hidden)

    def _kept(self) -> SMTP | None:
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            client, since_s = self._idle.pop()
            if client.is_connected and now_s - since_s < IDLE_S:
                return client
            client.close()
        return None

    def _keep(self, client: SMTP) -> None:
        if client.is_connected:
            self._idle.append((client, asyncio.get_running_loop().time()))

    async def _after(self, client: SMTP, attempt: "_Attempt", error: BaseException) -> None:
        """Keep the connection where only this recipient was refused; let go of it otherwise."""
        refused = isinstance(error, SMTPResponseException) and error.code != UNAVAILABLE
        if refused and attempt.stage is Stage.RECIPIENT:
            with contextlib.suppress(SMTPException, OSError):
                await client.rset()
                self._keep(client)
                return
        client.close()

    def _trouble(self, attempt: "_Attempt", error: Exception) -> Sent:
        """Return what a connection that did not work means."""
        place = f"{self._options.host}:{self._port}"
        if attempt.stage is Stage.MESSAGE:
            late = isinstance(error, TimeoutError)
            detail = f"{place} {'did not answer' if late else 'was gone'} after the message: it may have gone out"
            return Sent(Outcome.UNKNOWN, detail, "timeout" if late else "connection")
        if _is_tls(error) or (attempt.stage is Stage.CONNECT and _is_unsupported(error)):
            detail = f"{place} offers no connection that is protected and vouched for; nothing was sent"
            return Sent(Outcome.AGAIN, detail, "tls")
        if attempt.stage is Stage.SIGN_IN and _is_unsupported(error):
            return Sent(Outcome.AGAIN, f"{place} offers no sign-in", "credentials", stop=True)
        if isinstance(error, TimeoutError):
            return Sent(Outcome.AGAIN, f"{place} did not answer within {self._options.timeout / 1_000:g} s", "timeout")
        return Sent(Outcome.AGAIN, f"{place} could not be reached, or hung up", "connection")


class _Attempt:
    """One message on its way, and how far it got."""

    def __init__(self, recipient: str, mail: bytes, hidden: tuple[str, ...]) -> None:
        self.recipient, self.mail, self.hidden, self.stage = recipient, mail, hidden, Stage.CONNECT


class _Client(SMTP):
    """Lets go of its connection at once: the end of TLS is not waited for, the other side may never answer."""

    def close(self) -> None:
        transport = self.transport
        super().close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def _was_gone(error: BaseException) -> bool:
    """Whether a kept connection had ended before the message."""
    if isinstance(error, SMTPResponseException):
        return error.code == UNAVAILABLE
    return isinstance(error, OSError) and not isinstance(error, TimeoutError)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_unsupported(error: Exception) -> bool:
    """Whether the server lacks what is needed: aiosmtplib says so by the bare exception."""
    return type(error) in (SMTPException, SMTPNotSupported)


def problems(options: Options, setup: Setup) -> list[Problem]:
    """Return what does not hold between the options, the secret and the files they name."""
    found: list[Problem] = []
    name, address = parseaddr(options.sender if options.sender.isprintable() else "")
    for field, text in (("sender", address), ("reply_to", options.reply_to)):
        if text is None:
            continue
        try:
            Address(name, addr_spec=plain_address(text))
        except ValueError:
            given = options.sender if field == "sender" else text
            allowed = 'an address such as "Toko Budi <notices@shop.example>"' if field == "sender" else "an address"
            found.append(Problem(f"{setup.where}.{field}", shown(given), allowed))
    if options.tls == PLAIN and options.password is not None:
        allowed = "starttls or implicit, where there is a password"
        found.append(Problem(f"{setup.where}.tls", PLAIN, allowed, "anyone on the way could read it"))
    if (options.user is None) != (options.password is None):
        found.append(Problem(f"{setup.where}.user", "one of user and password", "both, or none"))
    password = secret_of(options.password, f"{setup.where}.password", setup.directory)
    try:
        if password is not None:
            password.read(least=1)
        _context(options, setup)
    except ConfigError as error:
        found += error.problems
    return found


def make(options: Options, setup: Setup) -> SmtpChannel:
    """Return the channel.

    Raises
    ------
    ConfigError
        As `problems` says.
    """
    found = problems(options, setup)
    if found:
        raise ConfigError(found)
    name, address = parseaddr(options.sender)
    password = secret_of(options.password, f"{setup.where}.password", setup.directory)
    reply_to = None if options.reply_to is None else plain_address(options.reply_to)
    return SmtpChannel(options, Sender(name, plain_address(address), reply_to), password, _context(options, setup))


def _context(options: Options, setup: Setup) -> ssl.SSLContext | None:
    if options.tls == PLAIN:
        return None
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.ca_file is not None:
        try:
            context.load_verify_locations(setup.directory / options.ca_file)
        except OSError as error:
            problem = Problem(f"{setup.where}.ca_file", shown(options.ca_file), "a file of certificates (PEM)")
            raise ConfigError([problem]) from error
    return context
