"""The payments whose throughput is measured, and the signal that counts them."""

import msgspec
import numpy as np

from detector.signals import Condition, CountBy, Measure, Mode, Signal

DIMENSIONS = ("app_version", "bank", "city", "provider")
START_MS = 1_772_409_600_000


def lines(count: int, seed: int = 1, per_second: int = 2_000) -> bytes:
    """NDJSON: `count` payments at `per_second`; 3 % fail, 40 % of the failing customers 3 to 8 times in a row."""
    rng = np.random.default_rng(seed)
    sizes = (6, 12, 30, 5)
    values = [
        [f"{d}-{i:02d}" for i in rng.choice(size, count, p=rng.dirichlet(np.full(size, 0.8)))]
        for d, size in zip(DIMENSIONS, sizes, strict=True)
    ]
    weights = rng.lognormal(0.0, 1.2, 100_000)
    customers = rng.choice(len(weights), count, p=weights / weights.sum())
    failed = rng.random(count) < 0.03
    repeat = np.where(failed & (rng.random(count) < 0.4), rng.integers(2, 8, count), 0)
    for i in np.flatnonzero(repeat)[::-1].tolist():
        span = slice(i, min(i + int(repeat[i]) + 1, count))
        customers[span], failed[span] = customers[i], True
    out = []
    for i in range(count):
        ms = START_MS + i * 1000 // per_second
        seconds, rest = divmod(ms - START_MS, 1000)
        stamp = f"2026-03-02T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}Z"
        out.append(
            f'{{"id":"{i:012x}","time":"{stamp}","kind":"payment","customer":"C-{customers[i]:06d}",'
            f'"app_version":"{values[0][i]}","bank":"{values[1][i]}","city":"{values[2][i]}","provider":"{values[3][i]}",'
            f'"outcome":"{"failure" if failed[i] else "success"}","amount":{i % 100_000}}}\n'
        )
    return "".join(out).encode()


def signal(count_by: CountBy) -> Signal:
    return Signal(
        name="declines",
        title={"en": "Payments are declined"},
        events=(Condition("kind", any_of=("payment",)),),
        bad=(Condition("outcome", any_of=("failure",)),),
        measure=Measure.SHARE,
        dimensions=DIMENSIONS,
        window_ms=60_000,
        mode=Mode.LIVE,
        count_by=count_by,
    )


class Event(msgspec.Struct):
    """What the anchors decode: every field of the event."""

    id: str
    time: str
    kind: str
    customer: str
    app_version: str
    bank: str
    city: str
    provider: str
    outcome: str
    amount: int
