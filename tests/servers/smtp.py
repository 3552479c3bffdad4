"""A real mail server on loopback that behaves badly on purpose.

`running(Play(...))` yields a `MailServer`; what it accepted stands in `received`. The plays that a library would never
allow (silence, nonsense, hanging up half-way) are written by hand on asyncio; the well-behaved ones are aiosmtpd.
"""

import asyncio
import atexit
import datetime
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.ending import let_go

HOST = "127.0.0.1"


@dataclass
class MailServer:
    """Where it listens and what it took."""

    port: int = 0
    received: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    connections: int = 0
    plain_text: bytearray = field(default_factory=bytearray)
    """What clients said before anything was encrypted (hand-written plays only)."""

    def notices(self) -> list[str]:
        """Return the names in the Message-IDs, in order."""
        return [str(message["Message-ID"]).strip("<>").rpartition("@")[0] for message in self.received]


@dataclass(frozen=True)
class Play:
    """What the server does.

    Attributes
    ----------
    answers
        To a command (`EHLO`, `MAIL`, `RCPT`, `DATA` for what ends the message): the answer instead of `250`.
    refuse_first
        So many times the answers are given; then it accepts (greylisting).
    tls
        `starttls`, `implicit` or `none`.
    trusted
        Whether the certificate is the one that `authority()` vouches for.
    login
        Name and password that it takes.
    tarpit_s
        Wait before each answer.
    drop_after
        So many messages, and the connection is closed behind the last one.
    """

    answers: Mapping[str, str] = field(default_factory=dict)
    refuse_first: int = 1_000_000
    tls: str = "starttls"
    trusted: bool = True
    login: tuple[str, str] | None = None
    tarpit_s: float = 0.0
    drop_after: int = 0


class _Handler:
    def __init__(self, server: MailServer, play: Play) -> None:
        self._server, self._play, self._left = server, play, play.refuse_first

    async def _answer(self, command: str) -> str | None:
        if self._play.tarpit_s:
            await asyncio.sleep(self._play.tarpit_s)
        if command not in self._play.answers or self._left <= 0:
            return None
        self._left -= 1
        return self._play.answers[command]

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        said = await self._answer("MAIL")
        if said is None:
            envelope.mail_from = address
        return said or "250 2.1.0 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        said = await self._answer("RCPT")
        if said is None:
            envelope.rcpt_tos.append(address)
        return said or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        said = await self._answer("DATA")
        if said is None:
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self._server.received.append(message)
            self._server.envelopes.append((str(envelope.mail_from), [str(to) for to in envelope.rcpt_tos]))
        if said is None and self._play.drop_after and len(self._server.received) % self._play.drop_after == 0:
            assert server.transport is not None
            asyncio.get_running_loop().call_later(0.02, server.transport.close)
        return said or "250 2.0.0 OK: queued as 4F2A"


class _Controller(Controller):
    def __init__(self, handler: _Handler, server: MailServer, play: Play, port: int) -> None:
        context = certificate(play.trusted) if play.tls != "none" else None

        def check(_server: object, _session: object, _envelope: object, _mechanism: str, given: object) -> AuthResult:
            assert isinstance(given, LoginPassword)
            good = play.login is not None and (given.login.decode(), given.password.decode()) == play.login
            return AuthResult(success=good, handled=False)

        settings: dict[str, Any] = {"ident": "mail.test", "server_hostname": "mail.test"}
        if play.tls == "starttls":
            settings |= {"tls_context": context, "require_starttls": True}
        if play.login is not None:
            settings |= {"authenticator": check, "auth_required": True, "auth_require_tls": play.tls == "starttls"}
        self._counted = server
        self._sessions: list[SMTP] = []
        super().__init__(
            handler,
            hostname=HOST,
            port=port,
            ssl_context=context if play.tls == "implicit" else None,
            **settings,
        )

    def factory(self) -> Any:
        self._counted.connections += 1
        made = super().factory()  # type: ignore[no-untyped-call]
        self._sessions.append(made)
        return made

    def hang_up(self) -> None:
        """Close the connections that are left, and let the loop see it: stopping would leave them to the collector."""
        assert isinstance(self.server, asyncio.Server)
        ending = let_go(self.server, lambda: (session.transport for session in self._sessions))
        asyncio.run_coroutine_threadsafe(ending, self.loop).result(10)

    def _trigger_server(self) -> None:
        """Aiosmtpd connects once to see whether it listens: over TLS that would need the certificate."""
        with socket.create_connection((HOST, self.port), 5.0):
            pass


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


@contextmanager
def running(play: Play = Play()) -> Iterator[MailServer]:
    """Run a server that speaks the protocol."""
    server = MailServer()
    for attempt in range(10):
        server.port = free_port()
        controller = _Controller(_Handler(server, play), server, play, server.port)
        try:
            controller.start()
            break
        except OSError:  # somebody else took the port meanwhile
            if attempt == 9:
                raise
    server.connections = 0
    try:
        yield server
    finally:
        controller.hang_up()
        controller.stop()


# --- by hand ----------------------------------------------------------------------------------------------------------

Line = Callable[[], Coroutine[Any, Any, bytes]]


class Hand:
    """One connection, played by hand."""

    def __init__(self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer

    async def say(self, text: str | bytes) -> None:
        self.writer.write(text if isinstance(text, bytes) else text.encode() + b"\r\n")
        await self.writer.drain()

    async def hear(self) -> str:
        """Return the next line; "" at the end."""
        line = await self.reader.readline()
        self.server.plain_text += line
        return line.decode("ascii", "replace").strip()

    async def until_message(self) -> bool:
        """Play along until the whole message was read."""
        await self.say("220 mail.test ESMTP")
        while line := await self.hear():
            word = line.upper()
            if word.startswith("EHLO"):
                await self.say("250 mail.test")
            elif word == "DATA":
                await self.say("354 go on")
                while (line := await self.hear()) != ".":
                    if not line and self.reader.at_eof():
                        return False
                return True
            elif word == "QUIT":
                await self.say("221 bye")
                return False
            else:
                await self.say("250 OK")
        return False


@contextmanager
def by_hand(play: Callable[[Hand], Coroutine[Any, Any, None]]) -> Iterator[MailServer]:
    """Run a server whose every connection is played by `play`."""
    server, ready = MailServer(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    transports: list[asyncio.WriteTransport] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
        server.connections += 1
        transports.append(writer.transport)
        return played(Hand(server, reader, writer))

    async def played(hand: Hand) -> None:
        try:
            await play(hand)
        except OSError:  # the other side went away
            pass
        finally:
            hand.writer.transport.abort()

    async def serve() -> None:
        listener = await asyncio.start_server(connected, HOST, 0)
        server.port = listener.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        await let_go(listener, lambda: transports)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive()
        loop.close()


# --- certificates ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _folder() -> Path:
    made = mkdtemp(prefix="tocsin-mail-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def authority() -> Path:
    """Return the certificate that vouches for the trusted server, as a PEM file."""
    return _made(True)[0]


def certificate(trusted: bool) -> ssl.SSLContext:
    """Return a server's TLS; one that is not trusted shows a certificate of its own making."""
    file, key = _made(trusted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return context


@lru_cache(maxsize=2)
def _made(trusted: bool) -> tuple[Path, Path]:
    """Make a self-signed certificate for loopback: trusted is the one whose file the client is given."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=36_500))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, secret = _folder() / f"{trusted}.pem", _folder() / f"{trusted}.key"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file, secret
