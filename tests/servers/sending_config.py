"""A configuration directory that sends over a webhook, and by e-mail, to servers on loopback."""

import base64
from pathlib import Path

from streams.settings import Settings, load

SIGNALS = """
signals:
  login:
    title: {en: Logins fail}
    measure: share
    mode: live
    events: {kind: login}
    bad: {ok: "no"}
    dimensions: [city]
"""


def sending(folder: Path, channels: str, notices: str = "", service: str = "") -> Settings:
    """Write a configuration whose `channels` are these, in this order, and read it."""
    names = ", ".join(line.split(":")[0].strip() for line in channels.splitlines() if line[:2].strip())
    text = (
        f"notices: {{send: true, channels: [{names}], quiet_hours: none, per_day: 9{notices}}}\n"
        f"channels:\n" + "".join(f"  {line}\n" for line in channels.splitlines()) + service
    )
    (folder / "tocsin.yml").write_text(text, encoding="utf-8")
    (folder / "signals.yml").write_text(SIGNALS, encoding="utf-8")
    return load(folder)


def webhook(folder: Path, url: str, **more: object) -> str:
    """Return the entry of a channel `email` that a webhook carries."""
    (folder / "secret").write_bytes(b"whsec_" + base64.b64encode(b"k" * 32))
    given = {"by": "webhook", "url": url, "secret": "{file: secret}", "allow": "[127.0.0.0/8]", "insecure": "true"}
    return "email: {" + ", ".join(f"{key}: {value}" for key, value in (given | more).items()) + "}"


def mail(port: int, **more: object) -> str:
    """Return the entry of a channel `email` that a mail server without encryption carries."""
    given = {"by": "smtp", "host": "127.0.0.1", "port": port, "tls": "insecure-plain-text", "sender": "a@shop.example"}
    return "email: {" + ", ".join(f"{key}: {value}" for key, value in (given | more).items()) + "}"
