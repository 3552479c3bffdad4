"""A notice to a place of the team's own: Slack, Telegram and everything else that Apprise reaches.

The place stands in the configuration and is the same for every customer; people there tell the customer. So the
message names whom it is for. It is made for a customer who consents to the channel by its name, as any other.

Promises
- The place is a secret (it holds credentials); it is never shown.
- No text of a customer's or a signal's pings anyone or becomes markup.
- A send ends within `timeout`: Apprise works in a process of its own, which is ended when it takes longer. After that
  it may have gone out, and is sent again: told twice is better than not at all, in a place of one's own.
"""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import BaseModel, Field

from detector.desk.wording import clean
from detector.errors import ConfigError
from streams.clock import Clock, SystemClock
from streams.net import Answer
from streams.outbox import apprise_worker
from streams.outbox.channel import OnUnknown, Outcome, Outgoing, Sent, Setup
from streams.outbox.http import refused
from streams.sections import Duration, SecretReference
from streams.settings import Secret, secret_of

_START_S = 30.0
_KEPT = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
"""Of the environment the process gets no more: other channels' secrets are none of its business."""
_LENGTH = 2_000
_HARMLESS = str.maketrans({"<": "‹", ">": "›", "@": "@\u200b"})


class Options(BaseModel, extra="forbid"):
    """What stands in tocsin.yml beside `by: apprise`."""

    url: SecretReference = Field(description="Where the Apprise URL of the place is: slack://…, tgram://….")
    timeout: Annotated[int, Duration(1_000, 60_000)] = Field(default=15_000, description="For one message, in all.")
    connections: int = Field(default=2, ge=1, le=10, description="So many at a time.")


class AppriseChannel:
    """Sends through processes that are kept, as many as messages go out at a time."""

    on_unknown = OnUnknown.RESEND

    def __init__(self, options: Options, url: Secret, clock: Clock | None = None) -> None:
        self._limit_s, self._url, self._clock = options.timeout / 1_000, url, clock or SystemClock()
        self._slots = asyncio.Semaphore(options.connections)
        self.idle: list[Process] = []

    async def send(self, outgoing: Outgoing) -> Sent:
        try:
            url = self._url.read(1).decode("utf-8", "replace")
        except ConfigError:
            return Sent(Outcome.AGAIN, "the address is not where the settings say", "credentials", stop=True)
        title, body = text_of(outgoing)
        line = msgspec.json.encode({"url": url, "title": title, "body": body, "limit_s": self._limit_s + 1})
        async with self._slots:
            try:
                worker = self.idle.pop() if self.idle else await _started()
            except (OSError, TimeoutError):
                return Sent(Outcome.AGAIN, "no process to send with", "unavailable")
            answer = None
            try:
                async with asyncio.timeout(self._limit_s):
                    answer = await _asked(worker, line)
            except TimeoutError:
                return Sent(Outcome.AGAIN, f"no answer within {self._limit_s:g} s", "timeout")
            finally:
                if answer is None:
                    await _ended(worker)
                else:
                    self.idle.append(worker)
        return self._judged(answer)

    async def close(self) -> None:
        idle, self.idle = self.idle, []
        for worker in idle:
            await _ended(worker)

    def _judged(self, answer: "_Said | None") -> Sent:
        if answer is None:
            return Sent(Outcome.AGAIN, "the process that sends broke off", "unavailable")
        if answer.taken:
            return Sent(Outcome.SENT)
        if not answer.known:
            return Sent(Outcome.AGAIN, "the address is none that Apprise knows", "credentials", stop=True)
        if answer.status:
            return refused(Answer(answer.status, {}, b""), self._clock.now_ms(), repeatable=True)
        return Sent(Outcome.AGAIN, "not taken, or the connection broke", "connection")


class _Said(msgspec.Struct, frozen=True):
    """What the process says of a message."""

    known: bool = True
    taken: bool = False
    status: int = 0


def text_of(outgoing: Outgoing) -> tuple[str, str]:
    r"""Return the title and the text for a place where people read it, without anything that pings or is markup.

    Examples
    --------
    >>> from detector.desk.wording import Message
    >>> text_of(Outgoing("n1", "c1", "problem", "C-1042", "en", Message("A fault", "Hi <!channel> @all"), name="Budi"))
    ('A fault', 'Budi · C-1042 · problem · case c1 · notice n1\n\nHi ‹!channel› @\u200ball')
    """
    whom = [outgoing.name, outgoing.address, outgoing.kind, f"case {outgoing.case}", f"notice {outgoing.notice}"]
    head = " · ".join(clean(part, 200) for part in whom if part)
    body = f"{head}\n\n{outgoing.message.body[:_LENGTH]}"
    return clean(outgoing.message.subject, 200).translate(_HARMLESS), body.translate(_HARMLESS)


async def _started() -> Process:
    """Return a process that is ready to send."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    file = str(Path(apprise_worker.__file__))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", file, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
    )
    ready = False
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_S):
            ready = await process.stdout.readline() == b"ready\n"
    finally:
        if not ready:
            await _ended(process)
    if not ready:
        raise OSError
    return process


async def _asked(process: Process, line: bytes) -> _Said | None:
    """Return what became of a message; None where the process ended over it."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(line + b"\n")
        await process.stdin.drain()
        return msgspec.json.decode(await process.stdout.readline(), type=_Said)
    except (OSError, ValueError, msgspec.DecodeError):
        return None


async def _ended(process: Process) -> None:
    """End a process, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    if process.stdout is not None:
        await process.stdout.read()
    await process.wait()


def make(options: Options, setup: Setup) -> AppriseChannel:
    """Return the channel.

    Raises
    ------
    ConfigError
        The address is not there.
    """
    url = secret_of(options.url, f"{setup.where}.url", setup.directory)
    assert url is not None
    url.read(1)
    return AppriseChannel(options, url)
