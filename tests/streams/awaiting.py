"""A recording that ends in the middle of a problem, whose customers wait for a person: what the case page acts on."""

from pathlib import Path

import msgspec

from streams.clock import SystemClock
from streams.engines.session import session
from tests.streams.shop import START_MS, rfc3339, write

ENDS_MS = START_MS + 76 * 60_000
SETTINGS = """
customers: customers.csv
notices: {channels: [whatsapp, email], approval: [high, critical]}
"""


def made(folder: Path) -> Path:
    """Return the store of a run over it; the configuration is beside it."""
    shop = write(folder)
    (folder / "tocsin.yml").write_text(SETTINGS, encoding="utf-8")
    lines = [line for line in shop.events.read_bytes().splitlines() if _before(line)]
    shop.events.write_bytes(b"\n".join(lines) + b"\n")
    db = folder / "tocsin.db"
    with session(db, shop.run(), SystemClock(), mode="recording") as found:
        found.read([str(shop.events)])
    return db


def _before(line: bytes) -> bool:
    try:
        at = str(msgspec.json.decode(line).get("time", ""))
    except msgspec.DecodeError:
        return False
    return at < rfc3339(ENDS_MS)
