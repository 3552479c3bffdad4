"""The engines' steps between their inputs and outputs, whoever drives them: one process, or many that share a store.

Which window comes next (`Course`), one window through one Watch (`step_watch`), what the Desk is told, numbered and
kept (`DeskLog`). `Pipeline` chains them by function calls.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from detector.config import DAY_MS, Config, Input
from detector.counter.gate import NEVER
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
from detector.events import Invalid
from detector.signals import PART, Signal
from detector.watch.anomaly import Anomaly
from detector.watch.control import Control, Fact, Withdrawn
from detector.watch.watch import Watch

Told = Command | Delivered | Fact | Withdrawn
"""What people and channels say between two windows."""


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


GAP_MS = 7 * DAY_MS
"""A longer stretch without any event is passed over after its first day: nobody watches an empty year."""


class Recent:
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


class Course:
    """Which window is taken next, once all partitions have closed it."""

    def __init__(self, width_ms: int) -> None:
        self._width_ms = width_ms
        self.next_ms: int | None = None
        """The first window that was not taken; None before the first."""
        self.unobserved = False
        """History was replayed to learn only: until the next event nobody was looking, which is no silence."""

    def begin(self, waiting: Sequence[int]) -> bool:
        """Whether there is something to take."""
        if self.next_ms is None:
            if not waiting:
                return False
            self.next_ms = min(waiting)
        if self.unobserved:
            if not waiting:
                return False
            self.next_ms = max(self.next_ms, min(waiting))
            self.unobserved = False
        return True

    def take(self, frontier_ms: int, waiting: Sequence[int]) -> Iterator[int]:
        """Yield every window before the frontier, oldest first, empty ones too; each is taken once it was yielded.

        Parameters
        ----------
        frontier_ms
            All partitions have closed every window before it.
        waiting
            The windows before it that have records, ascending; those that were taken are passed over.
        """
        if self.next_ms is None:
            return
        left = iter(waiting)
        upcoming = next(left, None)
        empty_since = self.next_ms
        while self.next_ms < frontier_ms:
            window_ms = self.next_ms
            yield window_ms
            self.next_ms = window_ms + self._width_ms
            while upcoming is not None and upcoming < window_ms:
                upcoming = next(left, None)
            if upcoming == window_ms:
                upcoming = next(left, None)
                empty_since = self.next_ms
            elif window_ms - empty_since >= DAY_MS:
                then_ms = frontier_ms if upcoming is None else min(upcoming, frontier_ms)
                if then_ms - empty_since > GAP_MS:
                    self.next_ms = empty_since = then_ms


def step_watch(
    watch: Watch, window_ms: int, records: Sequence[WindowRecord], recent: Recent, *, learn_only: bool = False
) -> list[Anomaly]:
    """Take a window's records of all partitions, ordered by partition, through one signal's Watch."""
    name = watch.signal.name
    parts = [record.signals[name] for record in records if name in record.signals]
    merged = merge_signal(parts) if parts else None
    return watch.step(window_ms, merged, _Look(recent, name), learn_only=learn_only)


class _Look:
    """A signal's own past."""

    def __init__(self, history: Recent, name: str) -> None:
        self._history, self._name = history, name

    def __call__(self, from_ms: int, to_ms: int) -> list[tuple[int, SignalWindow]]:
        return [
            (r.window_ms, r.signals[self._name])
            for r in self._history.windows(from_ms, to_ms)
            if self._name in r.signals
        ]


def tell_watch(config: Config, watch: Watch, control: Control) -> None:
    """Hand a control on; what mutes a part of a joint signal mutes that part in it, as far as it can tell it."""
    watch.control(control)
    joint = watch.signal
    for name in joint.signals:
        match control:
            case Fact() if not control.concerns(joint.name, joint.dimensions):
                if control.concerns(name, config.signal(name).dimensions):
                    where = {d: v for d, v in control.where.items() if d in joint.dimensions} | {PART: name}
                    part = {"id": f"{control.id}/{name}", "signals": (joint.name,), "where": where}
                    watch.control(msgspec.structs.replace(control, **part))
            case Withdrawn():
                watch.control(Withdrawn(f"{control.fact}/{name}"))


class DeskLog:
    """The Desk behind its log: what it is told is numbered, and kept where it changed something.

    Parameters
    ----------
    tell
        Takes what the Desk tells the Watches: it counts from the next window that each of them takes.
    """

    def __init__(self, config: Config, recent: Recent, directory: Directory, tell: Callable[[Control], None]) -> None:
        self._config, self._recent, self._directory, self._tell = config, recent, directory, tell
        self.desk = Desk(config)
        self.seq = 0
        self.at_ms = 0
        """The Desk's logical time: the latest barrier."""
        self.in_force = ""

    def configure(self, next_ms: int, out: Effects) -> None:
        """Say which configuration counts from the next window on, where it is another than before."""
        if self.in_force != self._config.hash:
            self.in_force = self._config.hash
            self._take(Configured(self.in_force), next_ms, out, always=True)

    def barrier(self, window_ms: int, anomalies: Sequence[Anomaly], out: Effects) -> None:
        """Every Watch has taken this window, and these are what they found."""
        found = tuple(sorted(anomalies, key=lambda a: (a.signal, a.id)))
        closed = WindowClosed(window_ms, self._config.input.window_ms, found)
        at_ms = window_ms + self._config.input.window_ms + self._config.input.lateness_ms
        self._take(closed, max(self.at_ms, at_ms), out, always=bool(found))

    def command(self, payload: Told, now_ms: int | None, out: Effects) -> None:
        """Apply what people and channels say between two windows.

        Raises
        ------
        UsageError
            The case is unknown, or its state does not allow it; the fact makes no sense; nothing has changed.
        """
        self._take(payload, max(self.at_ms, now_ms or 0), out, always=True)

    def _take(self, payload: Payload, at_ms: int, out: Effects, *, always: bool) -> None:
        record = LogRecord(tenant=self._config.tenant, seq=self.seq, at_ms=at_ms, payload=payload)
        effects = self.desk.step(record, self._recent, self._directory)
        self.at_ms = at_ms
        for control in effects.controls:
            self._tell(control)
        if always or any(vars(effects).values()):
            self.seq += 1
            out.log.append(record)
            out.desk.extend(effects)


# --- under which configuration a state was kept -----------------------------------------------------------------------


def counted_as(config: Config) -> dict[str, Any]:
    """Say how events are counted under a configuration: to be kept with every state."""
    return {
        "input": _canonical(config.input),
        "signals": {signal.name: _canonical(signal.counted_as) for signal in config.signals},
    }


def still_counted(config: Config, kept: Mapping[str, Any]) -> set[str]:
    """Return the signals that are counted as they were when this was kept; the others start anew.

    Raises
    ------
    UsageError
        The windows themselves are others.
    """
    if msgspec.json.decode(kept["input"], type=Input) != config.input:
        message = (
            "tocsin.yml: input: window, lateness or limits differ from those that this store was made with; "
            "put them back, or use a new store"
        )
        raise UsageError(message)
    # Read as signals, not compared as bytes: a field that came later has its default in what was kept before.
    before = {name: msgspec.json.decode(of, type=Signal).counted_as for name, of in kept["signals"].items()}
    unchanged = {signal.name for signal in config.signals if before.get(signal.name) == signal.counted_as}
    return unchanged - {signal.name for signal in config.signals if not unchanged.issuperset(signal.signals)}


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
