"""E-mail under the contract suite: mail servers that behave in every way that the protocol leaves open."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from streams.outbox.channel import Outcome, Setup
from streams.outbox.channels.smtp import Options, SmtpChannel, make
from tests.servers.harness import Behaviour, Expected, Scene
from tests.servers.smtp import Hand, MailServer, Play, authority, by_hand, free_port, running

ADDRESS, USER, PASSWORD = "budi@example.com", "notifier", "s3cret-of-the-mail-server"
SENDER = "Toko Budi <notices@shop.example.com>"
PASSWORD_ENV = "TOCSIN_TEST_SMTP_PASSWORD"


def channel(server_port: int, tls: str = "starttls", limit_ms: int = 1_000, **given: Any) -> SmtpChannel:
    """Return the channel before a server on loopback; TLS trusts the test's own authority only."""
    values = {"host": "127.0.0.1", "port": server_port, "tls": tls, "sender": SENDER, **given}
    if tls != "insecure-plain-text":
        values.setdefault("ca_file", str(authority()))
    options = Options.model_validate(values).model_copy(update={"timeout": limit_ms})
    return make(options, Setup("email", "tocsin.yml: channels.email", Path()))


def signed_in(server_port: int, password: str = PASSWORD, **given: Any) -> SmtpChannel:
    os.environ[PASSWORD_ENV] = password
    return channel(server_port, user=USER, password={"env": PASSWORD_ENV}, **given)


async def silent(hand: Hand) -> None:
    await hand.reader.read()


async def dripping(hand: Hand) -> None:
    while True:
        await hand.say(b"2")
        await asyncio.sleep(0.05)


async def endless(hand: Hand) -> None:
    while True:
        await hand.say("220-and more")


async def swallowing(hand: Hand) -> None:
    await hand.until_message()


async def nonsense(hand: Hand) -> None:
    await hand.say("HTTP/1.1 200 OK")
    await hand.hear()


_PLAIN: Mapping[Behaviour, Callable[[Hand], Coroutine[Any, Any, None]]] = {
    Behaviour.HANGS: silent,
    Behaviour.DRIPS: dripping,
    Behaviour.ENDLESS: endless,
    Behaviour.SWALLOWS: swallowing,
    Behaviour.GARBAGE: nonsense,
}
_PLAYS: Mapping[Behaviour, Play] = {
    Behaviour.ACCEPTS: Play(login=(USER, PASSWORD)),
    Behaviour.BUSY: Play({"MAIL": "421 4.3.2 shutting down"}, login=(USER, PASSWORD)),
    Behaviour.REFUSES: Play({"RCPT": f"550 5.1.1 <{ADDRESS}>: no such user budi here"}, login=(USER, PASSWORD)),
    Behaviour.LOCKED_OUT: Play(login=(USER, "another")),
    Behaviour.GONE: Play({"MAIL": "554 5.3.2 this server is no more"}, login=(USER, PASSWORD)),
    Behaviour.BAD_TLS: Play(trusted=False, login=(USER, PASSWORD)),
}


class SmtpHarness:
    provider = "smtp"
    time_limit_s = 1.0
    bad_addresses = (
        "budi@example.com\r\nBcc: other@example.com",
        "budi@example.com, other@example.com",
        "budi@example.com>\r\nRCPT TO:<other@example.com",
        "<budi@example.com>",
        "",
        "budi",
    )
    expected: Mapping[Behaviour, Expected] = {
        Behaviour.ACCEPTS: Expected(Outcome.SENT),
        Behaviour.FLAKY: Expected(Outcome.AGAIN),
        Behaviour.NOBODY: Expected(Outcome.AGAIN),
        Behaviour.HANGS: Expected(Outcome.AGAIN),
        Behaviour.DRIPS: Expected(Outcome.AGAIN),
        Behaviour.ENDLESS: Expected(Outcome.AGAIN),
        Behaviour.SWALLOWS: Expected(Outcome.UNKNOWN),
        Behaviour.GARBAGE: Expected(Outcome.AGAIN),
        Behaviour.BUSY: Expected(Outcome.AGAIN),
        Behaviour.REFUSES: Expected(Outcome.FAILED),
        Behaviour.LOCKED_OUT: Expected(Outcome.AGAIN, stop=True),
        Behaviour.GONE: Expected(Outcome.AGAIN, stop=True),
        Behaviour.BAD_TLS: Expected(Outcome.AGAIN),
    }

    @contextmanager
    def scene(self, behaviour: Behaviour) -> Iterator[Scene]:
        if behaviour is Behaviour.NOBODY:
            yield Scene(channel(free_port()), ADDRESS, received=list)
            return
        if behaviour in _PLAIN or behaviour is Behaviour.FLAKY:
            server: AbstractContextManager[MailServer] = by_hand(_PLAIN.get(behaviour) or _flaky())
        else:
            server = running(_PLAYS[behaviour])
        with server as found:
            made = signed_in(found.port) if behaviour in _PLAYS else channel(found.port, "insecure-plain-text")
            yield Scene(made, ADDRESS, received=found.notices, secrets=(PASSWORD,))


def _flaky() -> Callable[[Hand], Coroutine[Any, Any, None]]:
    """Return a play that hangs up on the first connection, and accepts on the others."""
    seen: list[int] = []

    async def play(hand: Hand) -> None:
        seen.append(1)
        if len(seen) > 1 and await hand.until_message():
            await hand.say("250 OK")
            await hand.hear()

    return play


HARNESS = SmtpHarness()
