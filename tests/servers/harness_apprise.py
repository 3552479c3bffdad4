"""The channel `apprise` under the contract suite: its other side is any server that takes JSON."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from streams.outbox.channel import Outcome
from streams.outbox.channels.apprise import AppriseChannel, Options
from tests.servers import http
from tests.servers.harness import Behaviour, Expected, Scene
from tests.servers.harness_webhook import ANSWERS, a_secret, limit_s, standing


def notice_in(seen: http.Seen) -> str:
    found = re.search(r"notice (\S+)", json.loads(seen.body)["message"])
    assert found is not None
    return found[1]


class AppriseHarness:
    provider = "apprise"
    time_limit_s = 3.0  # with the start of the process that sends
    bad_addresses: tuple[str, ...] = ()
    expected: Mapping[Behaviour, Expected] = {**ANSWERS, Behaviour.COME_BACK: Expected(Outcome.AGAIN)}

    @contextmanager
    def scene(self, behaviour: Behaviour) -> Iterator[Scene]:
        with TemporaryDirectory() as text:
            folder = Path(text)
            play = http.plays(behaviour, http.says(200))
            with standing(behaviour, play, folder) as (server, _way):
                scheme = "jsons" if server.scheme == "https" else "json"
                url = f"{scheme}://user:s3cret-word@127.0.0.1:{server.port}/s3cret-path"
                options = Options.model_validate(
                    {"url": {"env": "U"}, "timeout": f"{max(1, int(limit_s(behaviour)))}s"}
                )
                yield Scene(
                    AppriseChannel(options, a_secret(folder, "url", url.encode())),
                    "C-1042-Budi",
                    received=lambda: [notice_in(seen) for seen in server.seen],
                    secrets=("s3cret-word", "s3cret-path", str(server.port)),
                )


HARNESS = AppriseHarness()
