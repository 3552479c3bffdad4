"""The channel `log`: one JSON line per message on standard error, for trying things out.

A line cannot be forged by what a message holds: JSON escapes line breaks and controls. Addresses are masked.
"""

import sys
from typing import TextIO

import msgspec
from pydantic import BaseModel

from streams.outbox.channel import OnUnknown, Outcome, Outgoing, Sent, Setup, masked


class Options(BaseModel, extra="forbid"):
    """There is nothing to set."""


class LogChannel:
    """Writes messages to a stream."""

    on_unknown = OnUnknown.RESEND

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    async def send(self, outgoing: Outgoing) -> Sent:
        line = {
            "event": "notice",
            "notice": outgoing.notice,
            "case": outgoing.case,
            "kind": outgoing.kind,
            "to": masked(outgoing.address),
            "language": outgoing.language,
            "subject": outgoing.message.subject,
            "body": outgoing.message.body,
        }
        try:
            self._stream.write(msgspec.json.encode(line).decode() + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the reader is gone, or the stream is closed
            return Sent(Outcome.AGAIN, "the stream cannot be written", reason="unavailable")
        return Sent(Outcome.SENT)

    async def close(self) -> None:
        pass


def make(options: Options, setup: Setup) -> LogChannel:
    return LogChannel(sys.stderr)
