"""A pipeline driven by lines of JSON: payments in which one bank declines for forty minutes."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np

from detector.config import MINUTE_MS, Config
from detector.counter.record import WindowRecord
from detector.decode import JSON, CustomerKeys, Decoder
from detector.desk.records import Directory, Reach
from detector.events import Ints
from detector.pack import pack
from detector.pipeline import Effects, Pipeline
from tests.detector.counting import SHARE, SILENCE, T0

CONFIG = Config(signals=(SHARE, SILENCE))
KEY = b"pipeline"


class Nothing:
    """A store that is empty, and a directory that knows nobody."""

    def windows(self, from_ms: int, to_ms: int) -> Iterable[WindowRecord]:
        return ()

    def reach(self, customers: Ints) -> dict[int, Reach]:
        return {}


class Everybody:
    """A directory that knows and reaches everyone."""

    def reach(self, customers: Ints) -> dict[int, Reach]:
        return dict.fromkeys(customers.tolist(), Reach("en", "Asia/Jakarta", frozenset({"email"})))


def stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def traffic(minutes: int, seed: int = 1, start: int = 120, end: int = 160) -> list[bytes]:
    """Payments of 80 customers a minute; from `start` to `end` those of bank BNI fail."""
    rng = np.random.default_rng(seed)
    out = []
    for minute in range(minutes):
        for i in range(30):
            bank = ("BNI", "BCA", "BRI")[int(rng.integers(3))]
            bad = rng.random() < (0.7 if bank == "BNI" and start <= minute < end else 0.02)
            event = {
                "id": f"{minute}-{i}",
                "time": stamp(T0 + minute * MINUTE_MS + int(rng.integers(MINUTE_MS))),
                "kind": "payment",
                "customer": f"C-{int(rng.integers(2000))}",
                "outcome": "failure" if bad else "success",
                "bank": bank,
                "city": ("Jakarta", "Medan")[int(rng.integers(2))],
                "amount": 1_000 * minute + i + 0.25,
            }
            out.append(json.dumps(event).encode() + b"\n")
    return out


def play(
    lines: list[bytes],
    cuts: Iterable[int] = (),
    *,
    config: Config = CONFIG,
    partitions: int = 1,
    restart: bool = False,
    learn_only: bool = False,
    directory: Directory | None = None,
    after: Callable[[int, Pipeline], Effects | None] = lambda lines, pipeline: None,
) -> tuple[Effects, Pipeline]:
    """Feed the lines in pieces; with `restart`, a new pipeline from the snapshot after each.

    `after` is called after each piece but the last with the number of lines fed: what people do there.
    """
    history = Kept()

    def fresh() -> Pipeline:
        return Pipeline(config, history, directory or Nothing(), partitions=partitions, learn_only=learn_only)

    decoder = Decoder(config.schema, JSON, CustomerKeys(KEY), partitions=partitions)
    pipeline, total, position = fresh(), Effects(), 0
    for a, b in pairwise([0, *sorted(cuts), len(lines)]):
        block = b"".join(lines[a:b])
        effects = pipeline.feed(decoder.decode(block, position))
        position += len(block)
        if b < len(lines):
            effects.extend(after(b, pipeline) or Effects())
        total.extend(effects)
        if restart:
            history.records += effects.windows
            data = pipeline.snapshot()
            pipeline = fresh()
            pipeline.restore(data)
    total.extend(pipeline.end())
    return total, pipeline


class Kept:
    """The windows' records that were committed."""

    def __init__(self) -> None:
        self.records: list[WindowRecord] = []

    def windows(self, from_ms: int, to_ms: int) -> Iterator[WindowRecord]:
        chosen = [r for r in self.records if from_ms <= r.window_ms < to_ms]
        return iter(sorted(chosen, key=lambda r: (r.window_ms, r.partition)))


def decided(effects: Effects) -> bytes:
    """All that the Desk was told and gave, and every window."""
    desk = effects.desk
    return pack((effects.log, desk.cases, desk.ledger, desk.notices, desk.timeline, desk.evidence, effects.windows))
