"""An HTTP server on loopback that behaves as told, well or badly, down to the bytes: `with serving(says(200)) as server`."""

import asyncio
import contextlib
import gzip
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.servers.ending import let_go
from tests.servers.harness import Behaviour

RETRY_AFTER_S = 7
_CHUNK = b"x" * 16_384


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


Play = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]
"""What the server does once it has read a request; the connection is closed afterwards."""


def answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole answer as bytes."""
    given = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    lines = [f"HTTP/1.1 {status} Something", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Play:
    return writes(answer(status, body, headers))


def writes(data: bytes) -> Play:
    async def play(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return play


async def hangs(_seen: Seen, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def swallows(_seen: Seen, _writer: asyncio.StreamWriter) -> None:
    """Read, and close without a word."""


async def resets(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Break the connection in the middle of the answer."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    found: socket.socket = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drips(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Send headers byte by byte, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"z")
        await writer.drain()
        await asyncio.sleep(0.02)


def drips_body(status: int = 200) -> Play:
    async def play(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d OK\r\nContent-Length: 100000\r\n\r\n" % status)
        while True:
            writer.write(b"z")
            await writer.drain()
            await asyncio.sleep(0.02)

    return play


def endless(status: int = 200) -> Play:
    async def play(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d OK\r\n\r\n" % status)
        while True:
            writer.write(_CHUNK)
            await writer.drain()

    return play


async def endless_headers(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + _CHUNK + b"\r\n")
        await writer.drain()


async def endless_hints(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Say that an answer will come, again and again."""
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0)


def bomb(status: int = 200, unpacked: int = 50_000_000) -> Play:
    return says(status, gzip.compress(bytes(unpacked)), {"Content-Encoding": "gzip"})


def plays(behaviour: Behaviour, accepts: Play, *, refuses: Play | None = None, locked_out: Play | None = None) -> Play:
    """Return how a behaviour of the channels' contract is played over HTTP."""
    known = {
        Behaviour.ACCEPTS: accepts,
        Behaviour.FLAKY: accepts,
        Behaviour.BAD_TLS: accepts,
        Behaviour.NOBODY: accepts,
        Behaviour.HANGS: hangs,
        Behaviour.DRIPS: drips,
        Behaviour.ENDLESS: endless(500),
        Behaviour.SWALLOWS: swallows,
        Behaviour.GARBAGE: writes(b"\x00\xff" * 500 + b"\r\n\r\n"),
        Behaviour.BUSY: says(503, b"busy"),
        Behaviour.COME_BACK: says(429, b"{}", {"Retry-After": str(RETRY_AFTER_S)}),
        Behaviour.REFUSES: refuses or says(422, b"{}"),
        Behaviour.LOCKED_OUT: locked_out or says(401, b"{}"),
        Behaviour.GONE: says(410),
        Behaviour.REDIRECTS: says(302, b"", {"Location": "http://169.254.169.254/latest/meta-data/"}),
        Behaviour.BOMB: bomb(500),
    }
    return known[behaviour]


@dataclass
class Server:
    """A server at work."""

    port: int
    seen: list[Seen] = field(default_factory=list)
    """Requests that were read whole, in order."""
    connections: int = 0
    names: list[str | None] = field(default_factory=list)
    """By which names it was asked for in TLS (SNI)."""
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextmanager
def serving(play: Play, *, tls: Path | None = None, drop_first: bool = False) -> Iterator[Server]:
    """Run a server in a thread of its own until the block ends.

    Parameters
    ----------
    tls
        A file with key and certificate (`certificate`): it speaks https.
    drop_first
        The first connection is closed before anything is read.
    """
    started, loop = threading.Event(), asyncio.new_event_loop()
    server, stop = Server(0, scheme="https" if tls else "http"), asyncio.Event()
    context = _tls(tls, server) if tls else None

    async def main() -> None:
        transports: list[asyncio.WriteTransport] = []

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
            server.connections += 1
            transports.append(writer.transport)
            return answered(reader, writer, drop_first and server.connections == 1)

        async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dropped: bool) -> None:
            try:
                if not dropped:
                    async for seen in _request(reader):
                        server.seen.append(seen)
                        await play(seen, writer)
            except OSError:  # the other side went away
                pass
            finally:
                writer.close()
                with contextlib.suppress(OSError, TimeoutError):
                    await asyncio.wait_for(writer.wait_closed(), 1)

        running = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        server.port = running.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        await let_go(running, lambda: transports)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), name="http-server", daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _request(reader: asyncio.StreamReader) -> AsyncIterator[Seen]:
    """Read one request, or nothing where the other side goes away before it is whole."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ValueError):
        return
    yield Seen(method, path, headers, body)


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tls(file: Path, server: Server) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def asked_for(_socket: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        server.names.append(name)

    context.sni_callback = asked_for
    return context


def certificate(file: Path, name: str = "localhost") -> Path:
    """Write a key and a certificate for a name and 127.0.0.1 that nobody but itself vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.fromtimestamp(file.parent.stat().st_mtime, UTC)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file
