"""The channel `qontak` under the contract suite."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from streams.clock import SystemClock
from streams.outbox.channel import Outcome
from streams.outbox.channels.qontak import Options, QontakChannel, TokenSignIn
from streams.vendors.qontak import REPEATED
from tests.servers import http
from tests.servers.harness import Behaviour, Expected, Scene
from tests.servers.harness_webhook import ANSWERS, LIMIT_S, ONCE_ONLY, a_secret, standing

ACCEPTS = http.says(201, json.dumps({"status": "success", "data": {"id": "b-7", "name": "Budi Santoso"}}).encode())
REFUSES = {"status": "error", "error": {"code": 422, "messages": ["to_number 6281234567890 of Budi Santoso is wrong"]}}
OPTIONS = {
    "channel_integration_id": "wa-1",
    "allow": ["127.0.0.0/8"],
    "insecure": True,
    "token": {"env": "TOKEN"},
    "timeout": "1s",
}


class QontakHarness:
    provider = "qontak"
    time_limit_s = LIMIT_S
    bad_addresses = ("budi@example.com", "+62812\r\n345678", "+6281234567890,+6281234567891", "0812", "")
    expected: Mapping[Behaviour, Expected] = {**ANSWERS, **ONCE_ONLY, Behaviour.REFUSES: Expected(Outcome.FAILED)}

    @contextmanager
    def scene(self, behaviour: Behaviour) -> Iterator[Scene]:
        with TemporaryDirectory() as text:
            folder = Path(text)
            token = a_secret(folder, "token", b"t0ken-of-ours")
            refuses = http.says(422, json.dumps(REFUSES).encode())
            with standing(behaviour, http.plays(behaviour, ACCEPTS, refuses=refuses), folder) as (server, way):
                options = Options.model_validate({**OPTIONS, "base": server.url})
                yield Scene(
                    QontakChannel(options, TokenSignIn(token), way, SystemClock()),
                    "+6281234567890",
                    received=lambda: [seen.headers[REPEATED.lower()] for seen in server.seen],
                    secrets=("t0ken-of-ours", "6281234567890"),
                    template="5a8d1e2c-template",
                    parameters={"name": "Budi Santoso", "what": "BNI card payment"},
                )


HARNESS = QontakHarness()
