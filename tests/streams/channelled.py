"""A notice, channels as tocsin.yml has them, and what came of handing the one to the others."""

import asyncio
import base64
from pathlib import Path
from typing import Any

from detector.desk.wording import Message
from streams.outbox.channel import Channel, Outgoing, Sent, Setup, load

KEY, NEXT = (b"whsec_" + base64.b64encode(letter * 32) for letter in (b"a", b"b"))
LOCAL = {"allow": ["127.0.0.0/8"], "insecure": True}
SECRETS = {"KEY": KEY, "NEXT": NEXT, "TOKEN": b"t0ken", "PASSWORD": b"pass", "CLIENT": b"client-secret-of-ours"}
NOTICE = Outgoing(
    notice="n1",
    case="c1",
    kind="problem",
    address="+6281234567890",
    language="id",
    message=Message("Gangguan pembayaran", "Halo Budi, pembayaran Anda belum berhasil."),
    signal="payments",
    name="Budi",
    template="template-1",
    parameters={"name": "Budi", "what": "pembayaran BNI"},
)


def env(name: str) -> dict[str, str]:
    return {"env": name}


def channel(by: str, **options: Any) -> Channel:
    return load("x", {"by": by, **options}, Setup("x", "tocsin.yml: channels.x", Path()))


def send(sender: Channel, *outgoing: Outgoing) -> list[Sent]:
    async def go() -> list[Sent]:
        try:
            return [await sender.send(one) for one in outgoing]
        finally:
            await sender.close()

    return asyncio.run(go())
