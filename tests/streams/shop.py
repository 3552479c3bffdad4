"""A small recording with one problem in it, for what drives the pipeline: two hours, one bank declines for half of one."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from streams.engines.session import InputFormat, Run
from streams.settings import load

START_MS = 1_772_416_800_000
"""Monday 2026-03-02, 09:00 WIB: outside quiet hours."""
MINUTES = 110
BROKEN = range(60, 80)
BANKS = ("BCA", "BNI", "BRI", "Mandiri", "Permata")

SIGNALS = """
signals:
  payment-declines:
    title: {en: Payments are declined, id: Pembayaran ditolak}
    what: {en: "{bank} payment", id: "pembayaran {bank}"}
    events: {kind: payment}
    bad: {outcome: declined}
    measure: share
    dimensions: [bank, city]
    window: 1m
    severity: high
    mode: live
"""
SETTINGS = """
customers: customers.csv
notices: {channels: [whatsapp, email]}
"""


def rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def lines(seed: int = 1, per_minute: int = 90) -> list[bytes]:
    """Return the recording's lines: payments, contacts of some who were declined, a few that are no events."""
    chance, out, number = random.Random(seed), [], 0
    for minute in range(MINUTES):
        moments = sorted(chance.randrange(60_000) for _ in range(per_minute))
        for moment in moments:
            bank, number = chance.choice(BANKS), number + 1
            broken = bank == "BNI" and minute in BROKEN
            event: dict[str, Any] = {
                "id": f"e{number}",
                "time": rfc3339(START_MS + minute * 60_000 + moment),
                "kind": "payment",
                "customer": f"C-{chance.randrange(1, 3_000)}",
                "outcome": "declined" if chance.random() < (0.7 if broken else 0.03) else "approved",
                "bank": bank,
                "city": chance.choice(("Jakarta", "Bandung", "Medan")),
            }
            out.append(msgspec.json.encode(event))
            if event["outcome"] == "declined" and chance.random() < 0.1:
                contact = {"time": event["time"], "kind": "contact", "customer": event["customer"], "channel": "chat"}
                out.append(msgspec.json.encode(contact))
    for at in (10, len(out) // 2):
        out[at:at] = [b"no event at all", b'{"kind":"payment"}']
    return out


def customers() -> str:
    rows = [f"C-{i},Name {i},id,Asia/Jakarta,,+62811{i:07d},whatsapp,user{i}" for i in range(1, 2_900)]
    return "\n".join(["id,name,language,time_zone,email,phone,consent,login", *rows, ""])


@dataclass(frozen=True)
class Shop:
    """The recording's folder."""

    folder: Path

    @property
    def events(self) -> Path:
        return self.folder / "events.ndjson"

    def run(self, **changes: Any) -> Run:
        settings = load(self.folder)
        run = Run(settings.config, InputFormat(), customers=settings.customers, commit_s=0.0)
        return replace(run, **changes)


def write(folder: Path) -> Shop:
    folder.mkdir(exist_ok=True)
    (folder / "signals.yml").write_text(SIGNALS, encoding="utf-8")
    (folder / "tocsin.yml").write_text(SETTINGS, encoding="utf-8")
    (folder / "customers.csv").write_text(customers(), encoding="utf-8")
    (folder / "events.ndjson").write_bytes(b"\n".join(lines()) + b"\n")
    return Shop(folder)
