"""Counter → Watch → Desk: the data's path as one function.

The embedded runner, the backtest, the preview and the tests all drive this. It holds no file, socket or clock:
batches in, effects out. Whoever drives it writes each `Effects`, the new position and (when it likes) `snapshot()` in
one transaction, then calls `committed()`; from that snapshot and position the run goes on as if nothing had happened.
What comes out does not depend on how the input was cut into batches.
"""

from collections import Counter as Tally
from typing import Any

import numpy as np

from detector.config import Config
from detector.counter.counter import Counted, Counter
from detector.counter.gate import NEVER, bytes_of, take
from detector.counter.record import WindowRecord
from detector.desk.records import Directory, History
from detector.errors import UsageError
from detector.events import Batch, Invalid
from detector.pack import pack, unpack
from detector.stages import Course, DeskLog, Recent, counted_as, step_watch, still_counted, tell_watch
from detector.stages import Effects as Effects
from detector.stages import Told as Told
from detector.watch.anomaly import Anomaly
from detector.watch.budget import Operating
from detector.watch.control import Control
from detector.watch.exceedance import watch_of

SNAPSHOT_FORMAT = 2


class Pipeline:
    """One tenant's engines, chained."""

    def __init__(
        self, config: Config, history: History, directory: Directory, *, partitions: int = 1, learn_only: bool = False
    ) -> None:
        self.config = config
        self._learn_only = learn_only
        self._recent = Recent(history)
        self._counters = [Counter(config, p) for p in range(partitions)]
        self._watches = {s.name: watch_of(config, s) for s in sorted(config.signals, key=lambda s: s.name)}
        self._desk = DeskLog(config, self._recent, directory, self._tell_watches)
        self._waiting: dict[int, list[WindowRecord]] = {}
        self._course = Course(config.input.window_ms)
        self._warned: set[str] = set()

    @property
    def at_ms(self) -> int:
        """The Desk's logical time: the latest barrier."""
        return self._desk.at_ms

    @property
    def closed_until_ms(self) -> int | None:
        """End of the last window that all partitions have closed; None before the first."""
        return self._course.next_ms

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
        self._desk.command(payload, now_ms, out)
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
        waiting = sorted(window_ms for window_ms in self._waiting if window_ms < frontier)
        if not self._course.begin(waiting):
            return
        assert self._course.next_ms is not None
        self._desk.configure(self._course.next_ms, out)
        for window_ms in self._course.take(frontier, waiting):
            self._window(window_ms, sorted(self._waiting.pop(window_ms, ()), key=lambda r: r.partition), out)
        of_watches = [w for watch in self._watches.values() for w in watch.warnings()]
        for warning in [w for counter in self._counters for w in counter.warnings()] + of_watches:
            if warning not in self._warned:
                self._warned.add(warning)
                out.warnings.append(warning)

    def _window(self, window_ms: int, records: list[WindowRecord], out: Effects) -> None:
        """One base window: every signal's Watch, then the barrier for the Desk."""
        out.closed += 1
        self._recent.until_ms = window_ms + self.config.input.window_ms
        anomalies: list[Anomaly] = []
        for watch in self._watches.values():
            anomalies += step_watch(watch, window_ms, records, self._recent, learn_only=self._learn_only)
        if not self._learn_only:
            self._desk.barrier(window_ms, anomalies, out)

    def _tell_watches(self, control: Control) -> None:
        for watch in self._watches.values():
            tell_watch(self.config, watch, control)

    # --- state ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All state, packed."""
        return pack(
            {
                "format": SNAPSHOT_FORMAT,
                "partitions": len(self._counters),
                **counted_as(self.config),
                "counters": [c.state() for c in self._counters],
                "watches": {name: w.state() for name, w in self._watches.items()},
                "desk": self._desk.desk.snapshot(),
                "waiting": [pack(r) for w in sorted(self._waiting) for r in self._waiting[w]],
                "next_ms": self._course.next_ms,
                "seq": self._desk.seq,
                "at_ms": self._desk.at_ms,
                "in_force": self._desk.in_force,
                "warned": sorted(self._warned),
                "learned": self._learn_only or self._course.unobserved,
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
        unchanged = still_counted(self.config, state)
        for counter, kept in zip(self._counters, state["counters"], strict=True):
            counter.restore(kept, unchanged)
        for name, watch in self._watches.items():
            if name in unchanged:
                watch.restore(state["watches"][name])
        self._desk.desk.restore(state["desk"])
        for name in sorted(self._watches.keys() - unchanged):
            for fact in self._desk.desk.facts:
                tell_watch(self.config, self._watches[name], fact)
        for packed in state["waiting"]:
            record = unpack(packed, WindowRecord)
            self._waiting.setdefault(record.window_ms, []).append(record)
        self._course.next_ms = state["next_ms"]
        self._course.unobserved = state["learned"] and not self._learn_only
        self._desk.seq, self._desk.at_ms, self._desk.in_force = state["seq"], state["at_ms"], state["in_force"]
        if self._course.next_ms is not None:
            self._recent.until_ms = self._course.next_ms
        self._warned = set(state["warned"])
