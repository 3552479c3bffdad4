"""The channel `log` under the contract suite: its other side is a stream."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from streams.outbox.channel import Outcome
from streams.outbox.channels.log import LogChannel
from tests.servers.harness import Behaviour, Expected, Scene


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


class LogHarness:
    provider = "log"
    time_limit_s = 1.0
    bad_addresses: tuple[str, ...] = ()
    expected: Mapping[Behaviour, Expected] = {
        Behaviour.ACCEPTS: Expected(Outcome.SENT),
        Behaviour.NOBODY: Expected(Outcome.AGAIN),
    }

    @contextmanager
    def scene(self, behaviour: Behaviour) -> Iterator[Scene]:
        stream = io.StringIO() if behaviour is Behaviour.ACCEPTS else _Broken()
        yield Scene(
            LogChannel(stream),
            "+6281234567890",
            received=lambda: [json.loads(line)["notice"] for line in stream.getvalue().splitlines()],
        )


HARNESS = LogHarness()
