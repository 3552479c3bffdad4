"""One partition's events → one columnar record per closed window.

A batch is cut where it closes a window, so what comes out is the same for every way of cutting the input into batches.
Rules of this state: an event is judged in arrival order (late, then duplicate, then counted), counted before it moves
the watermark, and never seen again.
"""

from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from detector.config import HOUR_MS, Config
from detector.counter.cells import Routes, day_of
from detector.counter.gate import NEVER, Gate
from detector.counter.joint import Joint
from detector.counter.losses import thousandths
from detector.counter.people import Flags, People
from detector.counter.record import MIRRORED, VALUE_ERROR, ZERO_BUCKET, Histograms, SignalWindow, WindowRecord, no_ints
from detector.events import Batch, Floats, Ints, canonical
from detector.signals import CountBy, Direction, Measure, Signal

_LOG_GAMMA = float(np.log((1 + VALUE_ERROR) / (1 - VALUE_ERROR)))


def buckets(values: Floats) -> Ints:
    """int64[values]: the log bucket of each value (DDSketch's mapping, mirrored below zero).

    References
    ----------
    Masson, Rim & Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees".

    Examples
    --------
    >>> bucket_value(buckets(np.array([250.0])))[0].round(-1)
    np.float64(250.0)
    """
    out = np.full(len(values), ZERO_BUCKET, np.int64)
    positive, negative = values > 0, values < 0
    out[positive] = np.ceil(np.log(values[positive]) / _LOG_GAMMA).astype(np.int64)
    out[negative] = MIRRORED - np.ceil(np.log(-values[negative]) / _LOG_GAMMA).astype(np.int64)
    return out


def bucket_value(bucket: Ints) -> Floats:
    """float64: the value that a bucket stands for, within `VALUE_ERROR` of every value in it."""
    negative = (bucket < MIRRORED // 2) & (bucket != ZERO_BUCKET)
    size = np.where(negative, MIRRORED - bucket, bucket)
    middle = 2 / (np.exp(_LOG_GAMMA) + 1)  # np.exp of a sum: within range at both ends
    value = np.exp(np.clip(size, -18_000, 17_700) * _LOG_GAMMA) * middle
    return np.where(bucket == ZERO_BUCKET, 0.0, np.where(negative, -value, value))


@dataclass
class _Open:
    """One signal's counts in one open window."""

    total: Ints
    people: Ints
    attempts: Ints
    bad: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)
    back: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)
    values: list[tuple[Ints, Ints]] = field(default_factory=list)
    loss_milli: list[Ints] | None = None
    """Beside `bad`, where the signal names a loss."""

    def codes(self) -> Ints:
        """int64[cells]: the codes of the cells that have anything, in order."""
        used = (self.total > 0) | (self.attempts > 0)
        for part in (*self.back, *self.values):  # of resting customers, who are in no count
            used[part[-2]] = True
        return np.flatnonzero(used)

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_state(cls, state: dict[str, Any], *, losses: bool) -> "_Open":
        """Continue from `state`; that a signal names a loss may have changed meanwhile."""
        parts: dict[str, Any] = {name: [tuple(part) for part in state[name]] for name in ("bad", "back", "values")}
        none = [np.zeros(len(part[0]), np.int64) for part in parts["bad"]]
        parts["loss_milli"] = state.get("loss_milli", none) if losses else None
        return cls(**{**state, **parts})


@dataclass
class _Window:
    signals: list[_Open | None]
    ids: list[str] = field(default_factory=list)
    contacts: list[tuple[int, int, str]] = field(default_factory=list)
    events: int = 0


@dataclass
class Counted:
    """What a stretch of events brought."""

    applied: int = 0
    dropped: Tally[str] = field(default_factory=Tally)
    refused: Batch | None = None
    """Events of the far future, for the dead letter."""
    closed: list[WindowRecord] = field(default_factory=list)
    customers: dict[int, str] = field(default_factory=dict)


class Counter:
    """One partition of one tenant.

    Examples
    --------
    >>> from detector.config import Config
    >>> Counter(Config(), partition=0).end().closed
    []
    """

    def __init__(self, config: Config, partition: int) -> None:
        self._config, self._settings, self.partition = config, config.input, partition
        self._signals = tuple(s for s in config.signals if s.measure is not Measure.JOINT)
        self._joints = [
            Joint(s, tuple(map(config.signal, s.signals)), config.input)
            for s in config.signals
            if s.measure is Measure.JOINT
        ]
        self._gate = Gate(config.input)
        self._routes = Routes(config.schema, self._signals, config.contacts, config.input)
        self._people = [People(config.input) for _ in self._signals]
        self._windows: dict[int, _Window] = {}
        self._ids: set[str] = set()
        self.frontier_ms = NEVER
        """Start of the oldest window that is still open; `NEVER` before the first event."""

    # --- in -------------------------------------------------------------------------------------------------------

    def feed(self, batch: Batch) -> Counted:
        """Count a batch of this partition's events, in order."""
        passed, refused = self._gate.admit(batch)
        out = Counted(refused=refused)
        self._count_all(passed, out)
        return out

    def tick(self, now_ms: int) -> Counted:
        """Let a live partition's time pass although nothing came, be it ever since it began.

        What comes later than the lateness after its own time is late, as where events make the time pass.
        """
        out = Counted()
        self._gate.watermark_ms = max(self._gate.watermark_ms, now_ms)
        self._close_until(self._frontier_at(self._gate.watermark_ms), out)
        return out

    def settle(self) -> Counted:
        """The input has ended: count what was parked; windows stay open until `close_until`."""
        passed, refused = self._gate.end()
        out = Counted(refused=refused)
        if passed is not None:
            self._count_all(passed, out)
        return out

    @property
    def highest_ms(self) -> int:
        """End of the highest window that has an event; `NEVER` without one."""
        return max(self._windows, default=NEVER - self._settings.window_ms) + self._settings.window_ms

    def close_until(self, frontier_ms: int) -> Counted:
        """Close every window before `frontier_ms`."""
        out = Counted()
        if frontier_ms > self.frontier_ms:
            self._close_until(frontier_ms, out)
            self._gate.watermark_ms = max(self._gate.watermark_ms, frontier_ms)
        return out

    def end(self) -> Counted:
        """Settle, and close up to this partition's own highest window."""
        out = self.settle()
        out.closed += self.close_until(self.highest_ms).closed
        return out

    def would_close(self, now_ms: int) -> bool:
        """Whether a tick at this time would close a window."""
        return self._frontier_at(now_ms) > self.frontier_ms

    # --- counting -------------------------------------------------------------------------------------------------

    def _frontier_at(self, watermark_ms: int) -> int:
        width = self._settings.window_ms
        return (watermark_ms - self._settings.lateness_ms) // width * width

    def _count_all(self, batch: Batch, out: Counted) -> None:
        n = len(batch.time_ms)
        if n == 0:
            return
        width = self._settings.window_ms
        high = np.maximum.accumulate(np.maximum(batch.time_ms, self._gate.watermark_ms))
        frontier = (high - self._settings.lateness_ms) // width * width
        if self.frontier_ms == NEVER:
            self.frontier_ms = int(frontier[0])
            self._routes.now_ms = self.frontier_ms
        before = np.concatenate([[self.frontier_ms], frontier[:-1]])
        start = 0
        for i in [*np.flatnonzero(frontier > before).tolist(), n - 1]:
            if i >= start:
                self._count(batch, start, i + 1, out)
                start = i + 1
            self._gate.watermark_ms = int(high[i])
            self._close_until(int(frontier[i]), out)

    def _count(self, batch: Batch, start: int, stop: int, out: Counted) -> None:
        """Count events that no window's end divides."""
        width = self._settings.window_ms
        fields = batch.fields[start:stop]
        time_ms, customer = batch.time_ms[start:stop], batch.customer[start:stop]
        window = time_ms // width * width
        fresh = window >= self.frontier_ms
        if not fresh.all():
            out.dropped["late"] += int((~fresh).sum())
        windows = np.unique(window[fresh]).tolist()
        for w in windows:
            if w not in self._windows:
                self._windows[w] = _Window([None] * len(self._signals))
        self._drop_duplicates(batch.event_id[start:stop], window, fresh, out)
        route = self._routes.of(fields)
        used = self._routes.contact[route]
        if used.any():
            self._contacts(batch, start, np.flatnonzero(used & fresh), window, out)
        for s, signal in enumerate(self._signals):
            mine = (self._routes.cell[s][route] >= 0) & fresh & self._numeric(signal, batch, start, stop)
            used = used | mine
            if mine.any():
                rows = np.flatnonzero(mine)
                self._signal(
                    s,
                    signal,
                    batch,
                    start,
                    rows,
                    window[rows],
                    route[rows],
                    customer[rows],
                    time_ms[rows],
                    windows,
                    out,
                )
        applied = used & fresh
        count = int(applied.sum())
        out.applied += count
        idle = int(fresh.sum()) - count
        if idle:
            out.dropped["unwatched"] += idle
        for w in windows:
            self._windows[w].events += count if len(windows) == 1 else int(applied[window == w].sum())

    def _drop_duplicates(self, ids: list[str | None], window: Ints, fresh: Flags, out: Counted) -> None:
        """Clear `fresh` where an open window has the event's id already."""
        if not any(ids):
            return
        known = self._ids
        new = set(ids)
        if len(new) < len(ids) or not known.isdisjoint(new) or not fresh.all():
            for i, name in enumerate(ids):
                if name is not None and fresh[i]:
                    if name in known:
                        fresh[i] = False
                        out.dropped["duplicate"] += 1
                    else:
                        known.add(name)
                        self._windows[int(window[i])].ids.append(name)
            return
        known.update(new)  # type: ignore[arg-type]
        first = int(window[0])
        if (window == first).all():
            self._windows[first].ids += ids  # type: ignore[arg-type]
        else:
            for name, w in zip(ids, window.tolist(), strict=True):
                self._windows[w].ids.append(name)  # type: ignore[arg-type]

    def _numeric(self, signal: Signal, batch: Batch, start: int, stop: int) -> Flags:
        """bool[events]: the signal's numeric conditions, and that a value signal has its value."""
        ok = np.ones(stop - start, np.bool_)
        for condition in signal.events:
            if condition.numeric:
                ok &= _between(batch.numbers[condition.field][start:stop], condition.at_least, condition.below)
        if signal.value is not None:
            ok &= ~np.isnan(batch.numbers[signal.value][start:stop])
        return ok

    def _contacts(self, batch: Batch, start: int, rows: Ints, window: Ints, out: Counted) -> None:
        for i in rows.tolist():
            who = int(batch.customer[start + i])
            channel = canonical(batch.fields[start + i][self._routes.channel_at])
            self._windows[int(window[i])].contacts.append((who, int(batch.time_ms[start + i]), channel))
            self._name(batch, start + i, who, out)

    @staticmethod
    def _name(batch: Batch, row: int, who: int, out: Counted) -> None:
        raw = batch.raw_customer[row]
        if who and raw is not None:
            out.customers[who] = raw

    def _signal(
        self,
        s: int,
        signal: Signal,
        batch: Batch,
        start: int,
        rows: Ints,
        window: Ints,
        route: Ints,
        customer: Ints,
        time_ms: Ints,
        windows: list[int],
        out: Counted,
    ) -> None:
        """Count one signal's events (`rows` of the stretch that begins at `start`)."""
        cell, bad = self._routes.cell[s][route], self._routes.bad[s][route]
        for condition in signal.bad:
            if condition.numeric:
                bad = bad & _between(batch.numbers[condition.field][start + rows], condition.at_least, condition.below)
        measured: Floats | None = None
        if signal.value is not None:
            measured = batch.numbers[signal.value][start + rows]
            if signal.bad_above is not None:
                bad = measured > signal.bad_above
            elif signal.bad_below is not None:
                bad = measured < signal.bad_below
            else:
                bad = np.zeros(len(rows), np.bool_)
        if signal.measure is Measure.COUNT and signal.direction is Direction.DOWN:
            bad = np.zeros(len(rows), np.bool_)
        if signal.count_by is CountBy.ATTEMPTS and signal.measure is Measure.COUNT:
            evidence, back, resting = bad, np.zeros(len(rows), np.bool_), bad
        elif signal.ranked:
            # Which values are high or low is for Watch to say: one of each customer is as good as any other.
            everyone = signal.count_by is CountBy.ATTEMPTS
            resting = np.zeros(len(rows), np.bool_) if everyone else ~self._people[s].first(customer, time_ms)
            evidence = back = bad
        else:
            evidence, back, resting = self._people[s].judge(customer, time_ms, bad)
            if signal.count_by is CountBy.ATTEMPTS:
                evidence, resting = bad, np.zeros(len(rows), np.bool_)
        counted = evidence | ~(bad | resting) if signal.measure is not Measure.COUNT else np.ones(len(rows), np.bool_)
        for i in np.flatnonzero(evidence & (customer != 0)).tolist():
            self._name(batch, start + int(rows[i]), int(customer[i]), out)
        for w in windows:
            here = window == w if len(windows) > 1 else np.ones(len(rows), np.bool_)
            if not here.any():
                continue
            opened = self._open(w, s)
            np.add.at(opened.total, cell[here & counted], 1)
            if bad.any():
                chosen = here & bad
                np.add.at(opened.people, cell[here & evidence], 1)
                np.add.at(opened.attempts, cell[chosen], 1)
                opened.bad.append((customer[chosen], cell[chosen], time_ms[chosen]))
                if opened.loss_milli is not None and signal.loss is not msgspec.UNSET:
                    opened.loss_milli.append(thousandths(batch.numbers[signal.loss][start + rows[chosen]]))
            if back.any():
                chosen = here & back
                opened.back.append((customer[chosen], cell[chosen], time_ms[chosen]))
            if measured is not None:
                measuring = here & ~resting if signal.ranked else here
                opened.values.append((cell[measuring], buckets(measured[measuring])))

    def _open(self, window: int, s: int) -> _Open:
        """The signal's counts of an open window, with room for every cell."""
        signals = self._windows[window].signals
        opened, room = signals[s], len(self._routes.cells[s].seen_ms)
        if opened is None:
            none = np.zeros(room, np.int64)
            losses = None if self._signals[s].loss is msgspec.UNSET else list[Ints]()
            opened = signals[s] = _Open(none, none.copy(), none.copy(), loss_milli=losses)
        elif len(opened.total) < room:
            for name in ("total", "people", "attempts"):
                column = getattr(opened, name)
                setattr(opened, name, np.concatenate([column, np.zeros(room - len(column), np.int64)]))
        return opened

    # --- closing --------------------------------------------------------------------------------------------------

    def _close_until(self, frontier_ms: int, out: Counted) -> None:
        if frontier_ms <= self.frontier_ms:
            return
        for w in sorted(w for w in self._windows if w < frontier_ms):
            out.closed.append(self._record(w, self._windows.pop(w)))
        if frontier_ms // HOUR_MS != self.frontier_ms // HOUR_MS:
            for people in self._people:
                people.sweep(frontier_ms)
            for joint in self._joints:
                joint.sweep(frontier_ms)
        if day_of(frontier_ms) != day_of(self.frontier_ms):
            for w, window in self._windows.items():
                for cells, counts in zip(self._routes.cells, window.signals, strict=True):
                    if counts is not None:
                        cells.seen(counts.codes(), w)
            self._routes.sweep(frontier_ms)
        self.frontier_ms = self._routes.now_ms = frontier_ms

    def _record(self, window: int, opened: _Window) -> WindowRecord:
        self._ids.difference_update(opened.ids)
        signals = {
            self._signals[s].name: self._signal_window(s, window, counts)
            for s, counts in enumerate(opened.signals)
            if counts is not None
        }
        joined = {joint.name: joint.of(signals) for joint in self._joints}
        signals.update({name: joint for name, joint in joined.items() if joint is not None})
        contacts = opened.contacts
        return WindowRecord(
            tenant=self._config.tenant,
            partition=self.partition,
            window_ms=window,
            width_ms=self._settings.window_ms,
            signals=signals,
            contact_customer=np.array([c[0] for c in contacts], np.int64),
            contact_time_ms=np.array([c[1] for c in contacts], np.int64),
            contact_channel=[c[2] for c in contacts],
            events=opened.events,
        )

    def _signal_window(self, s: int, window: int, counts: _Open) -> SignalWindow:
        cells = self._routes.cells[s]
        codes = counts.codes()
        cells.seen(codes, window)
        names = [cells.name(code) for code in codes.tolist()]
        order = sorted(range(len(names)), key=names.__getitem__)
        codes = codes[order]
        place = np.zeros(len(counts.total), np.int64)
        place[codes] = np.arange(len(codes))
        bad, back = _columns(counts.bad, place), _columns(counts.back, place)
        losses = counts.loss_milli
        return SignalWindow(
            cells=[names[i] for i in order],
            people=counts.people[codes],
            total=counts.total[codes],
            attempts=counts.attempts[codes],
            bad_customer=bad[0],
            bad_cell=bad[1],
            bad_time_ms=bad[2],
            back_customer=back[0],
            back_cell=back[1],
            back_time_ms=back[2],
            values=_histograms(counts.values, place) if counts.values else None,
            bad_loss_milli=msgspec.UNSET if losses is None else np.concatenate([no_ints(), *losses]),
        )

    def warnings(self) -> Iterator[str]:
        """What ops should know: dimensions whose values are folded, customers who gave way."""
        for signal, cells, people in zip(self._signals, self._routes.cells, self._people, strict=True):
            for dimension in sorted(cells.folded):
                yield f"{signal.name}: too many values of {dimension}; further ones count as __other__"
            if people.forgotten:
                yield f"{signal.name}: too many unrecovered customers; the oldest are forgotten"

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything, open windows included, so that nothing is read twice after a restart."""
        windows = {
            w: {
                "ids": o.ids,
                "contacts": o.contacts,
                "events": o.events,
                "signals": {self._signals[s].name: c.state() for s, c in enumerate(o.signals) if c is not None},
            }
            for w, o in self._windows.items()
        }
        signals = {
            signal.name: {"cells": cells.state(), "people": people.state()}
            for signal, cells, people in zip(self._signals, self._routes.cells, self._people, strict=True)
        }
        return {
            "frontier_ms": self.frontier_ms,
            "gate": self._gate.state(),
            "windows": list(windows.items()),
            "signals": signals,
            "joints": {joint.name: joint.state() for joint in self._joints},
        }

    def restore(self, state: dict[str, Any], unchanged: set[str]) -> None:
        """Continue from `state`; signals that are not in `unchanged` start anew."""
        self.frontier_ms = self._routes.now_ms = state["frontier_ms"]
        self._gate.restore(state["gate"])
        parked = self._gate.parked
        if parked is not None:  # read when other signals may have been watched, that name other numbers
            absent = np.full(len(parked.time_ms), np.nan)
            parked.numbers = {name: parked.numbers.get(name, absent) for name in self._config.schema.numbers}
        for signal, cells, people in zip(self._signals, self._routes.cells, self._people, strict=True):
            if signal.name in unchanged:
                cells.restore(state["signals"][signal.name]["cells"])
                people.restore(state["signals"][signal.name]["people"])
        for joint in self._joints:
            if joint.name in unchanged:
                joint.restore(state["joints"][joint.name])
        for w, kept in state["windows"]:
            signals: list[_Open | None] = [
                _Open.from_state(kept["signals"][s.name], losses=s.loss is not msgspec.UNSET)
                if s.name in unchanged and s.name in kept["signals"]
                else None
                for s in self._signals
            ]
            self._windows[w] = _Window(signals, kept["ids"], [tuple(c) for c in kept["contacts"]], kept["events"])
            self._ids.update(kept["ids"])


def _between(values: Floats, at_least: float | None, below: float | None) -> Flags:
    """bool[values]: NaN (absent) never holds."""
    ok = ~np.isnan(values)
    if at_least is not None:
        ok &= values >= at_least
    if below is not None:
        ok &= values < below
    return ok


def _columns(parts: list[tuple[Ints, Ints, Ints]], place: Ints) -> tuple[Ints, Ints, Ints]:
    if not parts:
        return (np.zeros(0, np.int64),) * 3
    customer, cell, time_ms = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return customer, place[cell], time_ms


def _histograms(parts: list[tuple[Ints, Ints]], place: Ints) -> Histograms:
    cell = place[np.concatenate([part[0] for part in parts])]
    bucket = np.concatenate([part[1] for part in parts])
    keys, count = np.unique(np.stack([cell, bucket]), axis=1, return_counts=True)
    return Histograms(keys[0], keys[1], count.astype(np.int64))
