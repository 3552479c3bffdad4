"""Counter → Watch → Desk: the data's path as one function.

The embedded runner, the backtest, the preview and the tests all drive this. It holds no file, socket or clock:
batches in, effects out. Whoever drives it writes each `Effects`, the new position and (when it likes) `snapshot()` in
one transaction, then calls `committed()`; from that snapshot and position the run goes on as if nothing had happened.
What comes out does not depend on how the input was cut into batches.
"""

from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from detector.config import DAY_MS, Config, Input
from detector.counter.counter import Counted, Counter
from detector.counter.gate import NEVER, bytes_of, take
from detector.counter.record import SignalWindow, WindowRecord, merge_signal
from detector.desk.desk import Desk
from detector.desk.records import (
    Command,
    Configured,
    Delivered,
    DeskEffects,
    Directory,
    History,
    LogRecord,
    Payload,
    WindowClosed,
)
from detector.errors import UsageError
from detector.events import Batch, Invalid
from detector.pack import pack, unpack
from detector.signals import PART, Signal
from detector.watch.anomaly import Anomaly
from detector.watch.budget import Operating
from detector.watch.control import Control, Fact, Withdrawn
from detector.watch.exceedance import watch_of
from detector.watch.watch import Watch

Told = Command | Delivered | Fact | Withdrawn
"""What people and channels say between two windows."""

SNAPSHOT_FORMAT = 2
GAP_MS = 7 * DAY_MS
"""A longer stretch without any event is passed over after its first day: nobody watches an empty year."""


@dataclass
class Effects:
    """What a step brought.

    Over a whole run `records == applied + sum(dropped) + len(invalid)`; parked events are none of them yet.
    """

    records: int = 0
    applied: int = 0
    dropped: Tally[str] = field(default_factory=Tally)
    invalid: list[Invalid] = field(default_factory=list)
    windows: list[WindowRecord] = field(default_factory=list)
    closed: int = 0
    """Base windows that all partitions have closed (empty ones too)."""
    customers: dict[int, str] = field(default_factory=dict)
    """Ids as they came of customers who failed or made contact: bare rows for the directory."""
    log: list[LogRecord] = field(default_factory=list)
    desk: DeskEffects = field(default_factory=DeskEffects)
    warnings: list[str] = field(default_factory=list)
    """For ops, each once: a cap was hit, values folded."""

    def extend(self, other: "Effects") -> None:
        """Append a later step's effects."""
        self.records += other.records
        self.applied += other.applied
        self.dropped.update(other.dropped)
        self.invalid += other.invalid
        self.windows += other.windows
        self.closed += other.closed
        self.customers.update(other.customers)
        self.log += other.log
        self.desk.extend(other.desk)
        self.warnings += other.warnings


class _Recent:
    """The stored history, and over it the windows that are closed but not yet committed; never beyond `until_ms`."""

    def __init__(self, stored: History) -> None:
        self._stored = stored
        self._fresh: dict[tuple[int, int], WindowRecord] = {}
        self.until_ms = NEVER

    def add(self, record: WindowRecord) -> None:
        self._fresh[record.window_ms, record.partition] = record

    def committed(self) -> None:
        self._fresh.clear()

    def windows(self, from_ms: int, to_ms: int) -> Iterator[WindowRecord]:
        to_ms = min(to_ms, self.until_ms)
        fresh = sorted(key for key in self._fresh if from_ms <= key[0] < to_ms)
        if not fresh:
            yield from self._stored.windows(from_ms, to_ms)
            return
        both = {(r.window_ms, r.partition): r for r in self._stored.windows(from_ms, to_ms)}
        both.update((key, self._fresh[key]) for key in fresh)
        for key in sorted(both):
            yield both[key]


class Pipeline:
    """One tenant's engines, chained."""

    def __init__(
        self, config: Config, history: History, directory: Directory, *, partitions: int = 1, learn_only: bool = False
    ) -> None:
        self.config = config
        self._directory, self._learn_only = directory, learn_only
        self._recent = _Recent(history)
        self._counters = [Counter(config, p) for p in range(partitions)]
        self._watches = {s.name: watch_of(config, s) for s in sorted(config.signals, key=lambda s: s.name)}
        self._desk = Desk(config)
        self._waiting: dict[int, list[WindowRecord]] = {}
        self._next_ms: int | None = None
        self._seq = 0
        self._at_ms = 0
        self._in_force = ""
        self._warned: set[str] = set()
        self._unobserved = False
        """History was replayed to learn only: until the next event nobody was looking, which is no silence."""

    @property
    def at_ms(self) -> int:
        """The Desk's logical time: the latest barrier."""
        return self._at_ms

    @property
    def closed_until_ms(self) -> int | None:
        """End of the last window that all partitions have closed; None before the first."""
        return self._next_ms

    @property
    def operating(self) -> tuple[Operating, ...]:
        """Where each signal stands, by name: its budget and the thresholds that follow."""
        return tuple(watch.operating for watch in self._watches.values())

    # --- in -------------------------------------------------------------------------------------------------------

    def feed(self, batch: Batch) -> Effects:
        """Take a batch of events, in the source's order."""
        out = Effects(records=batch.records, dropped=Tally(batch.dropped), invalid=list(batch.invalid))
        if len(self._counters) == 1:
            self._counted(self._counters[0].feed(batch), out)
        else:
            for p, counter in enumerate(self._counters):
                rows = np.flatnonzero(batch.partition == p)
                if len(rows):
                    self._counted(counter.feed(take(batch, rows)), out)
        self._advance(out)
        return out

    def tick(self, now_ms: int) -> Effects:
        """Let time pass on a live source: idle partitions' windows close."""
        out = Effects()
        for counter in self._counters:
            self._counted(counter.tick(now_ms), out)
        self._advance(out)
        return out

    def would_close(self, now_ms: int) -> bool:
        """Whether a tick at this time would close a window (only such a tick need be stored)."""
        return any(counter.would_close(now_ms) for counter in self._counters)

    def end(self) -> Effects:
        """The input has ended: every partition's windows close, up to the highest of any."""
        out = Effects()
        for counter in self._counters:
            self._counted(counter.settle(), out)
        highest = max(counter.highest_ms for counter in self._counters)
        for counter in self._counters:
            self._counted(counter.close_until(highest), out)
        self._advance(out)
        return out

    def command(self, payload: Told, now_ms: int | None = None) -> Effects:
        """Apply a person's command, a fact or a delivery's outcome between two windows.

        Verdicts and facts count from the next window that Watch takes.

        Raises
        ------
        UsageError
            The case is unknown, or its state does not allow it; the fact makes no sense; nothing has changed.
        """
        out = Effects()
        self._tell_desk(payload, max(self._at_ms, now_ms or 0), out, always=True)
        return out

    def committed(self) -> None:
        """Everything given out so far is stored: `History` has it."""
        self._recent.committed()

    # --- the path ---------------------------------------------------------------------------------------------------

    def _counted(self, counted: Counted, out: Effects) -> None:
        out.applied += counted.applied
        out.dropped.update(counted.dropped)
        out.customers.update(counted.customers)
        if counted.refused is not None:
            for i, position in enumerate(counted.refused.position.tolist()):
                data = bytes_of(counted.refused, i)
                out.invalid.append(Invalid(position, "far-future", "$.time", len(data), data))
        for record in counted.closed:
            out.windows.append(record)
            self._recent.add(record)
            self._waiting.setdefault(record.window_ms, []).append(record)

    def _advance(self, out: Effects) -> None:
        """Take every window that all partitions have closed, oldest first, through Watch and Desk."""
        frontier = min(counter.frontier_ms for counter in self._counters)
        if frontier == NEVER:
            return
        width = self.config.input.window_ms
        if self._next_ms is None:
            if not self._waiting:
                return
            self._next_ms = min(self._waiting)
        if self._unobserved:
            if not self._waiting:
                return
            self._next_ms = max(self._next_ms, min(self._waiting))
            self._unobserved = False
        if self._in_force != self.config.hash:
            self._in_force = self.config.hash
            self._tell_desk(Configured(self._in_force), self._next_ms, out, always=True)
        empty_since = self._next_ms
        while self._next_ms < frontier:
            window_ms = self._next_ms
            self._window(window_ms, out)
            self._next_ms = window_ms + width
            if window_ms in self._waiting:
                del self._waiting[window_ms]
                empty_since = self._next_ms
            elif window_ms - empty_since >= DAY_MS:
                upcoming = min(min(self._waiting, default=frontier), frontier)
                if upcoming - empty_since > GAP_MS:
                    self._next_ms = empty_since = upcoming
        of_watches = [w for watch in self._watches.values() for w in watch.warnings()]
        for warning in [w for counter in self._counters for w in counter.warnings()] + of_watches:
            if warning not in self._warned:
                self._warned.add(warning)
                out.warnings.append(warning)

    def _window(self, window_ms: int, out: Effects) -> None:
        """One base window: every signal's Watch, then the barrier for the Desk."""
        out.closed += 1
        self._recent.until_ms = window_ms + self.config.input.window_ms
        records = sorted(self._waiting.get(window_ms, ()), key=lambda r: r.partition)
        anomalies: list[Anomaly] = []
        for name, watch in self._watches.items():
            parts = [r.signals[name] for r in records if name in r.signals]
            anomalies += watch.step(
                window_ms, merge_signal(parts) if parts else None, self._look(name), learn_only=self._learn_only
            )
        if not self._learn_only:
            barrier = WindowClosed(
                window_ms, self.config.input.window_ms, tuple(sorted(anomalies, key=lambda a: (a.signal, a.id)))
            )
            at_ms = window_ms + self.config.input.window_ms + self.config.input.lateness_ms
            self._tell_desk(barrier, max(self._at_ms, at_ms), out, always=bool(anomalies))

    def _look(self, name: str) -> "_Look":
        return _Look(self._recent, name)

    def _tell_desk(self, payload: Payload, at_ms: int, out: Effects, *, always: bool) -> None:
        """Append a record to the Desk's log and let the Desk take it; a barrier that changes nothing is not kept."""
        record = LogRecord(tenant=self.config.tenant, seq=self._seq, at_ms=at_ms, payload=payload)
        effects = self._desk.step(record, self._recent, self._directory)
        self._at_ms = at_ms
        for control in effects.controls:
            for watch in self._watches.values():
                self._tell_watch(watch, control)
        if always or any(vars(effects).values()):
            self._seq += 1
            out.log.append(record)
            out.desk.extend(effects)

    def _tell_watch(self, watch: Watch, control: Control) -> None:
        """Hand a control on; what mutes a part of a joint signal mutes that part in it, as far as it can tell it."""
        watch.control(control)
        joint = watch.signal
        for name in joint.signals:
            match control:
                case Fact() if not control.concerns(joint.name, joint.dimensions):
                    if control.concerns(name, self.config.signal(name).dimensions):
                        where = {d: v for d, v in control.where.items() if d in joint.dimensions} | {PART: name}
                        part = {"id": f"{control.id}/{name}", "signals": (joint.name,), "where": where}
                        watch.control(msgspec.structs.replace(control, **part))
                case Withdrawn():
                    watch.control(Withdrawn(f"{control.fact}/{name}"))

    # --- state ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All state, packed."""
        return pack(
            {
                "format": SNAPSHOT_FORMAT,
                "partitions": len(self._counters),
                "input": _canonical(self.config.input),
                "signals": {s.name: _canonical(s.counted_as) for s in self.config.signals},
                "counters": [c.state() for c in self._counters],
                "watches": {name: w.state() for name, w in self._watches.items()},
                "desk": self._desk.snapshot(),
                "waiting": [pack(r) for w in sorted(self._waiting) for r in self._waiting[w]],
                "next_ms": self._next_ms,
                "seq": self._seq,
                "at_ms": self._at_ms,
                "in_force": self._in_force,
                "warned": sorted(self._warned),
                "learned": self._learn_only or self._unobserved,
            }
        )

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot. A signal of which other events are counted starts anew.

        Raises
        ------
        UsageError
            The snapshot was made with another number of partitions or by a newer version.
        """
        state: dict[str, Any] = unpack(data, dict)
        if state["format"] != SNAPSHOT_FORMAT:
            message = (
                f"the store's snapshot has format {state['format']}, this version reads {SNAPSHOT_FORMAT}: "
                "use the version that wrote it, or a new store"
            )
            raise UsageError(message)
        if state["partitions"] != len(self._counters):
            message = (
                f"--partitions: found {len(self._counters)}, but this store was made with {state['partitions']}; "
                "use that, or a new store"
            )
            raise UsageError(message)
        if msgspec.json.decode(state["input"], type=Input) != self.config.input:
            message = (
                "tocsin.yml: input: window, lateness or limits differ from those that this store was made with; "
                "put them back, or use a new store"
            )
            raise UsageError(message)
        # Read as signals, not compared as bytes: a field that came later has its default in what was kept before.
        before = {name: msgspec.json.decode(kept, type=Signal).counted_as for name, kept in state["signals"].items()}
        unchanged = {s.name for s in self.config.signals if before.get(s.name) == s.counted_as}
        unchanged -= {s.name for s in self.config.signals if not unchanged.issuperset(s.signals)}
        for counter, kept in zip(self._counters, state["counters"], strict=True):
            counter.restore(kept, unchanged)
        for name, watch in self._watches.items():
            if name in unchanged:
                watch.restore(state["watches"][name])
        self._desk.restore(state["desk"])
        for name in sorted(self._watches.keys() - unchanged):
            for fact in self._desk.facts:
                self._tell_watch(self._watches[name], fact)
        for packed in state["waiting"]:
            record = unpack(packed, WindowRecord)
            self._waiting.setdefault(record.window_ms, []).append(record)
        self._next_ms, self._seq, self._at_ms = state["next_ms"], state["seq"], state["at_ms"]
        if self._next_ms is not None:
            self._recent.until_ms = self._next_ms
        self._in_force, self._warned = state["in_force"], set(state["warned"])
        self._unobserved = state["learned"] and not self._learn_only


class _Look:
    """A signal's own past."""

    def __init__(self, history: _Recent, name: str) -> None:
        self._history, self._name = history, name

    def __call__(self, from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]:
        return [
            (r.window_ms, r.signals[self._name])
            for r in self._history.windows(from_ms, to_ms)
            if self._name in r.signals
        ]


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
