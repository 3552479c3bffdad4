"""Batches made by hand, and the plain way of counting that the Counter is held against."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np

from detector.config import Config, Input
from detector.counter.counter import Counted, Counter
from detector.counter.record import WindowRecord
from detector.events import Batch
from detector.pack import pack, unpack
from detector.signals import Condition, Direction, Measure, Mode, Signal

MINUTE = 60_000
T0 = 1_772_409_600_000
"""2026-03-02T00:00:00Z, a Monday."""


@dataclass(frozen=True)
class Ev:
    """One event of the tests' world."""

    at_ms: int
    customer: str | None = "C-1"
    outcome: str = "success"
    bank: str = "BNI"
    city: str = "Jakarta"
    kind: str = "payment"
    id: str | None = None
    value: float = float("nan")


SHARE = Signal(
    name="declines",
    title={"en": "Payments are declined"},
    events=(Condition("kind", any_of=("payment",)),),
    bad=(Condition("outcome", any_of=("failure",)),),
    measure=Measure.SHARE,
    dimensions=("bank", "city"),
    window_ms=MINUTE,
    mode=Mode.LIVE,
)
VALUE = Signal(
    name="latency",
    title={"en": "Slow"},
    events=(Condition("kind", any_of=("api",)),),
    measure=Measure.VALUE,
    value="latency_ms",
    bad_above=1000.0,
    dimensions=("city",),
    window_ms=MINUTE,
    mode=Mode.LIVE,
)
RANKED = msgspec.structs.replace(VALUE, name="slower", bad_above=None)
SILENCE = Signal(
    name="silence",
    title={"en": "Silence"},
    events=(Condition("kind", any_of=("payment",)),),
    measure=Measure.COUNT,
    direction=Direction.DOWN,
    dimensions=("city",),
    window_ms=MINUTE,
    mode=Mode.LIVE,
)


def config(*signals: Signal, **limits: int) -> Config:
    return Config(signals=signals or (SHARE,), input=Input(**limits))


def key(customer: str | None) -> int:
    if customer is None:
        return 0
    return int.from_bytes(hashlib.blake2b(customer.encode(), digest_size=8).digest(), "little", signed=True)


def batch(events: Sequence[Ev], settings: Config, position: int = 0, ingest_ms: Sequence[int] | None = None) -> Batch:
    schema = settings.schema
    n = len(events)
    return Batch(
        position=np.arange(position, position + n),
        time_ms=np.array([e.at_ms for e in events], np.int64),
        ingest_ms=np.full(n, -1, np.int64) if ingest_ms is None else np.array(ingest_ms, np.int64),
        customer=np.array([key(e.customer) for e in events], np.int64),
        raw_customer=[e.customer for e in events],
        event_id=[e.id for e in events],
        fields=[tuple(getattr(e, name, None) for name in schema.fields) for e in events],
        numbers={name: np.array([e.value for e in events]) for name in schema.numbers},
        partition=np.zeros(n, np.int64),
    )


def count(events: Sequence[Ev], settings: Config, cuts: Iterable[int] = (), *, restart: bool = False) -> Counted:
    """Everything that a Counter makes of the events, fed in pieces; with `restart`, a new Counter after each piece."""
    counter = Counter(settings, 0)
    total = Counted()
    edges = [0, *sorted(cuts), len(events)]
    for a, b in pairwise(edges):
        add(total, counter.feed(batch(events[a:b], settings, a)))
        if restart:
            state = unpack(pack(counter.state()), dict)
            counter = Counter(settings, 0)
            counter.restore(state, {s.name for s in settings.signals})
    add(total, counter.end())
    return total


def add(total: Counted, more: Counted) -> None:
    total.applied += more.applied
    total.dropped.update(more.dropped)
    total.closed += more.closed
    total.customers.update(more.customers)
    if more.refused is not None:
        total.dropped["far-future"] += len(more.refused.time_ms)


def as_bytes(counted: Counted) -> tuple[bytes, ...]:
    return (*(pack(r) for r in counted.closed), repr(sorted(counted.dropped.items())).encode())


Plain = dict[tuple[int, str, str], tuple[int, int, int]]


def plain_counts(events: Sequence[Ev], settings: Config) -> Plain:
    """(window, bank, city) → (k, n, attempts) of `SHARE`, one event at a time; no event may be late."""
    limit = settings.input.people_ms
    last: dict[str | None, int] = {}
    seen: set[str] = set()
    out: dict[tuple[int, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for e in events:
        if e.id is not None and e.id in seen:
            continue
        if e.id is not None:
            seen.add(e.id)
        if e.kind != "payment":
            continue
        cell = out[e.at_ms // MINUTE * MINUTE, e.bank, e.city]
        resting = e.customer in last and 0 <= e.at_ms - last[e.customer] < limit
        if e.outcome != "failure":
            cell[1] += not resting
            continue
        cell[2] += 1
        if e.customer is None or e.customer not in last or e.at_ms - last[e.customer] >= limit:
            cell[0] += 1
            cell[1] += 1
            if e.customer is not None:
                last[e.customer] = e.at_ms
    return {k: (v[0], v[1], v[2]) for k, v in out.items() if any(v)}


def counts_of(records: Iterable[WindowRecord], name: str = "declines") -> Plain:
    out = {}
    for r in records:
        if name in r.signals:
            s = r.signals[name]
            for cell, k, n, a in zip(s.cells, s.people.tolist(), s.total.tolist(), s.attempts.tolist(), strict=True):
                if k or n or a:  # else only resting customers came by
                    out[r.window_ms, cell[0], cell[1]] = (k, n, a)
    return out
