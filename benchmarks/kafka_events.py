"""What every contender on Kafka counts, and the sums in which all of them must agree."""

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Protocol

import msgspec

from benchmarks.payments import DIMENSIONS, Event, signal
from detector.config import Config
from detector.counter.counter import Counter
from detector.counter.record import WindowRecord
from detector.decode import JSON, CustomerKeys, Decoder
from detector.signals import CountBy
from streams.intake.kafka import Messages

PARTITIONS = 8
MANY = 50
"""So many events a message hold where they come bundled."""
GROUPINGS = [(d,) for d in DIMENSIONS] + list(combinations(DIMENSIONS, 2))
_PLACES = [tuple(DIMENSIONS.index(d) for d in grouping) for grouping in GROUPINGS]
_NAMES = [",".join(grouping) for grouping in GROUPINGS]
_MODULUS = 2**61 - 1


class Sums(msgspec.Struct):
    """What was counted: events, failures, and over all cells of ten groupings who failed; adds up over partitions."""

    events: int = 0
    bad: int = 0
    check: int = 0

    def add(self, other: "Sums") -> None:
        self.events += other.events
        self.bad += other.bad
        self.check = (self.check + other.check) % _MODULUS

    def cell(self, minute: str, grouping: str, values: Sequence[str], bad: int, people: int) -> None:
        key = zlib.crc32("|".join((minute, grouping, *values)).encode())
        self.check = (self.check + key * (bad + 1_000_003 * people)) % _MODULUS


class Job(Protocol):
    """A way of counting."""

    def feed(self, partition: int, records: list[Any]) -> None: ...

    def sums(self) -> Sums: ...


class Naive:
    """Ten groupings with a dictionary per event, and who failed: the way one would begin."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(Event).decode
        self._counts: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        self._failed: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._sums = Sums()

    def one(self, value: bytes) -> None:
        event = self._decode(value)
        minute, bad = event.time[:16], event.outcome == "failure"
        self._sums.events += 1
        self._sums.bad += bad
        values = (event.app_version, event.bank, event.city, event.provider)
        for name, places in zip(_NAMES, _PLACES, strict=True):
            group = (minute, name, *(values[place] for place in places))
            cell = self._counts[group]
            cell[0] += 1
            if bad:
                cell[1] += 1
                self._failed[group].add(event.customer)

    def feed(self, partition: int, records: list[Any]) -> None:
        for record in records:
            self.one(record.value)

    def sums(self) -> Sums:
        out = Sums(self._sums.events, self._sums.bad)
        for group, (_, bad) in self._counts.items():
            out.cell(group[0], group[1], group[2:], bad, len(self._failed.get(group, ())))
        return out


class Engine:
    """The worker's engine, as shipped: duplicates, people and recoveries; without a store."""

    def __init__(self) -> None:
        config = Config(signals=(signal(CountBy.PEOPLE),))
        self._messages = Messages(Decoder(config.schema, JSON, CustomerKeys(b"benchmark")))
        self._counters = [Counter(config, partition) for partition in range(PARTITIONS)]
        self._closed: list[WindowRecord] = []

    def feed(self, partition: int, records: list[Any]) -> None:
        self._closed += self._counters[partition].feed(self._messages.batch(records)).closed

    def sums(self) -> Sums:
        for counter in self._counters:
            self._closed += counter.end().closed
        return sums_of(self._closed)


def sums_of(records: Iterable[WindowRecord]) -> Sums:
    """Return what closed windows hold."""
    out = Sums()
    bad: dict[tuple[str, ...], int] = defaultdict(int)
    people: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for record in records:
        out.events += record.events
        seconds = record.window_ms // 1_000 % 86_400
        minute = f"2026-03-02T{seconds // 3600:02d}:{seconds // 60 % 60:02d}"
        for window in record.signals.values():
            out.bad += len(window.bad_customer)
            for cell, customer in zip(window.bad_cell.tolist(), window.bad_customer.tolist(), strict=True):
                values = window.cells[cell]
                for name, places in zip(_NAMES, _PLACES, strict=True):
                    group = (minute, name, *(values[place] for place in places))
                    bad[group] += 1
                    people[group].add(customer)
    for group, count in bad.items():
        out.cell(group[0], group[1], group[2:], count, len(people[group]))
    return out


def by_partition(events: Iterable[bytes]) -> list[list[bytes]]:
    """Return the events of each partition: a customer's all in one."""
    out: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for line in events:
        place = line.index(b'"customer":"C-') + 14
        out[int(line[place : place + 6]) % PARTITIONS].append(line)
    return out


def expected(parts: Iterable[Iterable[bytes]]) -> Sums:
    """Return the sums that everybody must find, by the plainest way of counting."""
    naive = Naive()
    for part in parts:
        for line in part:
            naive.one(line)
    return naive.sums()


def said(sums: Sums) -> str:
    return json.dumps(msgspec.to_builtins(sums))
