"""The channel `whatsapp-cloud` under the contract suite."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from streams.outbox.channels.whatsapp_cloud import Options, WhatsAppCloudChannel
from tests.servers import http
from tests.servers.harness import Behaviour, Expected, Scene
from tests.servers.harness_qontak import QontakHarness
from tests.servers.harness_webhook import ANSWERS, LIMIT_S, ONCE_ONLY, a_secret, standing

ACCEPTS = http.says(200, json.dumps({"messaging_product": "whatsapp", "messages": [{"id": "wamid.7"}]}).encode())


def error(code: int, status: int = 400) -> http.Play:
    said = {"message": f"(#{code}) +6281234567890 of Budi Santoso", "code": code, "type": "OAuthException"}
    return http.says(status, json.dumps({"error": said}).encode())


class WhatsAppCloudHarness:
    provider = "whatsapp-cloud"
    time_limit_s = LIMIT_S
    bad_addresses = QontakHarness.bad_addresses
    expected: Mapping[Behaviour, Expected] = {**ANSWERS, **ONCE_ONLY}

    @contextmanager
    def scene(self, behaviour: Behaviour) -> Iterator[Scene]:
        with TemporaryDirectory() as text:
            folder = Path(text)
            token = a_secret(folder, "token", b"t0ken-of-ours")
            play = http.plays(behaviour, ACCEPTS, refuses=error(131026), locked_out=error(190, 401))
            with standing(behaviour, play, folder) as (server, way):
                given = {"phone_number_id": "42", "token": {"env": "T"}, "base": server.url, "insecure": True}
                options = Options.model_validate({**given, "allow": ["127.0.0.0/8"]})
                yield Scene(
                    WhatsAppCloudChannel(options, token, way),
                    "+6281234567890",
                    received=lambda: [json.loads(seen.body)["biz_opaque_callback_data"] for seen in server.seen],
                    secrets=("t0ken-of-ours", "6281234567890"),
                    template="gangguan_pembayaran",
                    parameters={"name": "Budi Santoso", "what": "BNI card payment"},
                )


HARNESS = WhatsAppCloudHarness()
