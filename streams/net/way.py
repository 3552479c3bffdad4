"""Makes requests to checked addresses only, bounded in time and size; the promises stand in `streams.net`."""

import asyncio
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import httpx

from detector.errors import TocsinError, UsageError
from streams.net.addresses import STRICT, Rules, check_address, check_url

LIMIT_S = 15.0
"""A request with its answer ends within this."""
CONNECT_S = 5.0
"""Reaching one address may take this long."""
ANSWER_BYTES = 65_536
"""Of an answer's body no more is read, packed or unpacked."""
LONGEST_WAIT_S = 86_400.0
"""No `Retry-After` counts for more."""
_ADDRESSES = 4

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host's name and a port → its addresses."""


class RefusedError(UsageError):
    """Nothing is sent to this address: it is none, or it leads where nothing may go."""


class NoAnswerError(TocsinError):
    """There was no answer.

    Attributes
    ----------
    reason
        `connection`, `protocol`, `timeout`, `tls`.
    sent
        The request may have arrived.
    """

    def __init__(self, detail: str, reason: str, *, sent: bool) -> None:
        self.reason, self.sent = reason, sent
        super().__init__(detail)


@dataclass(frozen=True)
class Answer:
    """What the other side said; `whole` is False where its body was cut off."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; of several of one name the last."""
    body: bytes = field(repr=False)
    whole: bool = True

    def retry_after_s(self, now_ms: int) -> float | None:
        """Return how long it asks us to wait, given in seconds or as a date; at most a day."""
        text = self.headers.get("retry-after", "").strip()
        try:
            if re.fullmatch(r"[0-9]{1,9}", text):
                seconds = float(text)
            else:
                when = parsedate_to_datetime(text)
                when = when if when.tzinfo else when.replace(tzinfo=UTC)
                seconds = when.timestamp() - now_ms / 1_000
        except (ValueError, OverflowError):
            return None
        return min(max(seconds, 0.0), LONGEST_WAIT_S)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host as the system's resolver knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class _Dialler(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only: every connection of a pool comes from here."""

    def __init__(self, rules: Rules, resolver: Resolve) -> None:
        self._rules, self._resolve = rules, resolver
        self._inner = httpcore.AnyIOBackend()

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return where a host may be reached: one bad address and it may not at all."""
        name = host.removesuffix(".")
        try:
            texts: Sequence[str] = [str(ip_address(name))]
        except ValueError:
            try:
                texts = await self._resolve(name, port)
            except (OSError, UnicodeError):
                texts = ()
        if not texts:
            message = "its name leads nowhere"
            raise NoAnswerError(message, "connection", sent=False)
        found = list(dict.fromkeys(map(ip_address, texts)))
        against = [reason for address in found if (reason := check_address(address, self._rules))]
        if against:
            message = f"{name}: {against[0]}" if name != str(found[0]) else against[0]
            raise RefusedError(message)
        return [str(address) for address in found]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: Exception | None = None
        for address in (await self.addresses(host, port))[:_ADDRESSES]:
            try:
                return await self._inner.connect_tcp(address, port, CONNECT_S, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        assert failed is not None
        raise failed

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        message = "expected a host, found a file"
        raise RefusedError(message)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def _trusted(authorities: Path | None = None) -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities is not None:
        context.load_verify_locations(authorities)
    return context


_commonly_trusted = cache(_trusted)  # reading all those certificates takes as long as a request


class Way:
    """Makes requests under one set of rules, several at a time, on one event loop.

    Parameters
    ----------
    rules
        What is allowed beyond https to public addresses.
    limit_s
        A request with its answer ends within it.
    authorities
        A file of certificates that are trusted beside those that commonly are.
    resolver
        What turns names into addresses.
    """

    def __init__(
        self,
        rules: Rules = STRICT,
        *,
        limit_s: float = LIMIT_S,
        authorities: Path | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        self._rules, self._limit_s = rules, limit_s
        self._dialler = _Dialler(rules, resolver)
        trusted = _commonly_trusted() if authorities is None else _trusted(authorities)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted, max_connections=50, max_keepalive_connections=0, network_backend=self._dialler
        )

    async def check(self, url: str) -> list[str]:
        """Return every reason why nothing is sent to this address, where its name leads included."""
        reasons = check_url(url, self._rules)
        if reasons:
            return reasons
        parsed = httpx.URL(url)
        try:
            async with asyncio.timeout(self._limit_s):
                await self._dialler.addresses(parsed.raw_host.decode("ascii"), parsed.port or 443)
        except (RefusedError, NoAnswerError) as error:
            return [str(error)]
        except TimeoutError:
            return ["its name could not be looked up in time"]
        return []

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, limit_s: float | None = None
    ) -> Answer:
        """Return the answer to a request; a redirect is an answer too, and not followed.

        Parameters
        ----------
        limit_s
            What is left of a time limit that several requests share; None: all of it.

        Raises
        ------
        RefusedError
            Nothing may be sent there.
        NoAnswerError
            None came in time, or none that is HTTP.
        """
        reasons = check_url(url, self._rules)
        if reasons:
            raise RefusedError("; ".join(reasons))
        under_way, within_s = _UnderWay(), self._limit_s if limit_s is None else min(limit_s, self._limit_s)
        try:
            async with asyncio.timeout(within_s):
                await self._exchange(under_way, method, httpx.URL(url), headers, body)
        except (TimeoutError, httpcore.TimeoutException) as error:
            if under_way.status is None:
                message = f"no answer within {within_s:.3g} s"
                raise NoAnswerError(message, "timeout", sent=under_way.sent) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            if under_way.status is None:
                raise _no_answer(error, sent=under_way.sent) from error
        return under_way.answer()

    async def close(self) -> None:
        """Let go of connections."""
        await self._pool.aclose()

    async def _exchange(
        self, under_way: "_UnderWay", method: str, url: httpx.URL, headers: Mapping[str, str], body: bytes
    ) -> None:
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        given = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", **headers}
        extensions = {"trace": under_way.note}
        async with self._pool.stream(
            method, target, headers=list(given.items()), content=body, extensions=extensions
        ) as response:
            under_way.headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
            under_way.status = response.status
            async for chunk in response.aiter_stream():
                under_way.body += chunk[: ANSWER_BYTES - len(under_way.body)]
                if len(under_way.body) >= ANSWER_BYTES:
                    return
        under_way.whole = True


@dataclass
class _UnderWay:
    """How far a request has come."""

    sent: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    async def note(self, event: str, _info: object) -> None:
        """Take note of what httpcore does."""
        if event.endswith(".send_request_headers.started"):
            self.sent = True

    def answer(self) -> Answer:
        assert self.status is not None
        body, unpacked = _unpacked(self.headers.get("content-encoding", "").strip().lower(), bytes(self.body))
        return Answer(self.status, self.headers, body, self.whole and unpacked)


def _unpacked(coding: str, data: bytes) -> tuple[bytes, bool]:
    """Return a body as it was before it was packed, no more than may be read, and whether that is all of it."""
    if coding in ("", "identity"):
        return data, True
    if coding not in ("gzip", "x-gzip", "deflate"):
        return b"", False
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        return unpack.decompress(data, ANSWER_BYTES), unpack.eof
    except zlib.error:
        return b"", False


def _no_answer(error: Exception, *, sent: bool) -> NoAnswerError:
    """Say what a failure of the connection was, in words that hold nothing of the other side's."""
    under = error.args[0] if error.args and isinstance(error.args[0], Exception) else error.__context__
    if isinstance(under, ssl.SSLCertVerificationError):
        return NoAnswerError(f"its certificate is not trusted: {under.verify_message}", "tls", sent=sent)
    if isinstance(under, ssl.SSLError):
        return NoAnswerError("no encrypted connection came about", "tls", sent=sent)
    if isinstance(error, httpcore.ProtocolError):
        return NoAnswerError("the connection ended without an answer that is HTTP", "protocol", sent=sent)
    return NoAnswerError("the connection broke" if sent else "no connection", "connection", sent=sent)
