"""A value signal without a limit: how its values lie among its own past, watched as two shares.

Every value has a rank in its cell's past (`detector.watch.past`). Two *channels* count ranks and are watched like any
other share, with its baseline, evidence, budget, causes, tracks and onset:

- the *body* counts, for each value, how many of five levels it is beyond. They are placed so that this number is
  Poisson distributed with mean 1 when all is as usual: what the evidence takes for granted. It sees a shift of the
  whole distribution with four fifths of what could be known, and wider spread;
- the *tail* counts the values beyond the level of one in a hundred: a few that take very long, the rest as ever.
  Its level follows the middle of the last hours: what moves everything is the body's to say, and no noise of the tail.

A value in the midst of many equal ones counts as the average of the ranks it may have: ties, zeros and coarse scales
shift nothing. Who was hit cannot be said: a value is high or low only among many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, pdtr

from detector.config import HOUR_MS, MINUTE_MS, Config
from detector.counter.counter import bucket_value
from detector.counter.record import SignalWindow, merge_signal
from detector.events import Floats, Ints
from detector.signals import Direction, Signal
from detector.watch.anomaly import Anomaly, Phase, Shift
from detector.watch.control import Control
from detector.watch.evidence import EFFECTS_UP
from detector.watch.past import Cell, Past
from detector.watch.track import Track
from detector.watch.watch import HOLD_MS, Look, Watch

ENOUGH = 200.0
"""Values that must be remembered before anything is compared."""
RENEW_MS = 6 * HOUR_MS
"""What a new level is learned from."""
SHOWN_MS = 60 * MINUTE_MS
"""The words of an anomaly speak of so much of its span, the latest …"""
SHOWN_EVERY = 15
"""… and are found anew after so many windows."""


@dataclass(frozen=True)
class Channel:
    """What of a value's rank is counted.

    Attributes
    ----------
    levels : tuple of float
        Ranks: a value counts once for each that it is beyond.
    trials : int
        What one value adds to n. The body's 8 make k as spread as a Poisson count, nearly.
    effects : tuple of float
        Odds ratios that the evidence looks for.
    quantile : float
        Which quantile its words speak of.
    """

    name: str
    levels: tuple[float, ...]
    trials: int
    effects: tuple[float, ...]
    quantile: float
    follows: float = 0.0
    """By how much the levels' log odds move with those of the middle in the last hours."""


BODY = Channel("body", tuple(float(pdtr(i, 1.0)) for i in range(5)), 8, (1.25, 1.6, 2.5, 5.0), 0.5)
TAIL = Channel("tail", (0.99,), 1, EFFECTS_UP, 0.99, follows=1.7)
"""A small shift of a normal distribution moves the log odds at 0.99 1.7 times as far as at the middle."""
CHANNELS = (BODY, TAIL)


def exceedances(low: Floats, high: Floats, levels: Sequence[float | Floats], *, up: bool) -> Floats:
    """float64[values]: how many of the levels each value is beyond, on average over the ranks it may have.

    Parameters
    ----------
    low, high : float64[values]
        Probability of a lower value, and of none higher.
    levels
        Each one for all values, or float64[values].
    up
        False: low values are the bad ones.

    Examples
    --------
    >>> exceedances(np.array([0.0, 0.5, 0.9]), np.array([0.5, 0.9, 1.0]), (0.5, 0.95), up=True)
    array([0. , 1. , 1.5])
    """
    if not up:
        low, high = 1.0 - high, 1.0 - low
    width = np.maximum(high - low, 1e-12)
    beyond = np.zeros(len(low))
    for level in levels:
        beyond += np.clip((high - level) / width, 0.0, 1.0)
    return beyond


class ChannelWatch(Watch):
    """One channel, watched as a share: k and n of a window are those of its values' ranks."""

    def __init__(self, config: Config, signal: Signal, channel: Channel, past: Past) -> None:
        super().__init__(config, signal, channel=channel.name, channels=len(CHANNELS), effects=channel.effects)
        self.counted, self.past = channel, past
        self.renewed: list[dict[str, str]] = []
        """Where a deviation has become the new level in this window."""

    def _let_go(self, track: Track) -> None:
        if track.new_level is not None:
            # What has a new level is the past that ranks are taken in; the share of high ranks will be as it was.
            self.renewed += track.wheres
            track.new_level = None
        super()._let_go(track)

    def _counts(self, record: SignalWindow, window_ms: int) -> tuple[Floats, Floats]:
        if record.values is None:
            return super()._counts(record, window_ms)
        rows, up = self.past.rows(record.cells), self.signal.direction is Direction.UP
        low, high = self.past.ranks(rows, record.values, window_ms)
        levels: Sequence[float | Floats] = self.counted.levels
        if self.counted.follows:
            moved = self.counted.follows * self.past.drift(rows)[record.values.cell]
            levels = [expit(logit(level) + (moved if up else -moved)) for level in self.counted.levels]
        beyond = exceedances(low, high, levels, up=up)
        cell, count = record.values.cell, record.values.count.astype(np.float64)
        observed = np.bincount(cell, weights=count * beyond, minlength=len(record.cells))
        number = np.bincount(cell, weights=count, minlength=len(record.cells))
        return observed.astype(np.float64), number.astype(np.float64) * self.counted.trials

    def holds(self, cells: list[Cell], window_ms: int) -> NDArray[np.bool_]:
        """bool[cells]: those that something may be wrong with."""
        rows = self._segments.rows(cells)
        self._grow()
        since = self._held_since_ms
        held = (since > 0) & (window_ms - since < HOLD_MS)
        free = self._free()
        return np.asarray(held[self._segments.cell_segments[rows]].any(axis=1) | ~free[rows], np.bool_)


class ValueWatch(ChannelWatch):
    """One value signal without a limit: the body's Watch, which keeps the past and leads the other channels."""

    def __init__(self, config: Config, signal: Signal) -> None:
        first, *others = CHANNELS
        super().__init__(config, signal, first, Past(len(signal.dimensions)))
        self._others = [ChannelWatch(config, signal, channel, self.past) for channel in others]
        self._unlearned: list[SignalWindow] = []
        self._begun = False
        self._shifts: dict[str, Shift] = {}

    def step(
        self, window_ms: int, record: SignalWindow | None, look: Look, *, learn_only: bool = False
    ) -> list[Anomaly]:
        """Take a base window, as every Watch does; the past learns from it afterwards."""
        out: list[Anomaly] = []
        if self._begun:
            for anomaly in super().step(window_ms, record, look, learn_only=learn_only):
                out.append(self._in_words(anomaly, self.counted, look))
            for other in self._others:
                for anomaly in other.step(window_ms, record, look, learn_only=learn_only):
                    out.append(self._in_words(anomaly, other.counted, look))
        self._renew(window_ms, look)
        if record is not None:
            self._unlearned.append(record)
        end_ms = window_ms + self._config.input.window_ms
        if end_ms % self.signal.window_ms == 0:
            parts, self._unlearned = self._unlearned, []
            if parts:
                self._remember(end_ms - self.signal.window_ms, merge_signal(parts))
            self._begun = self._begun or self.past.mass >= ENOUGH
        return out

    def _renew(self, window_ms: int, look: Look) -> None:
        """Where a deviation was accepted, the last hours are the past now."""
        wheres = [where for watch in (self, *self._others) for where in watch.renewed]
        if not wheres:
            return
        for watch in (self, *self._others):
            watch.renewed.clear()
        records = [record for _, record in look(window_ms - RENEW_MS, window_ms)]
        if not records:
            return
        record = merge_signal(records)
        rows, inside = self.past.rows(record.cells), self._inside(record.cells, wheres)
        self.past.renew(rows[inside])
        if record.values is not None:
            self.past.learn(np.where(inside, rows, -1), record.values)

    def _remember(self, window_ms: int, record: SignalWindow) -> None:
        """Learn from the cells that no channel holds."""
        self.past.forget(window_ms)
        if record.values is None:
            return
        rows = self.past.rows(record.cells)
        if self._begun:
            ranks, width_ms = self.past.ranks(rows, record.values, window_ms), self.signal.window_ms
            self.past.follow(rows, record.values, exceedances(*ranks, (0.5,), up=True), width_ms)
            # What was the past's middle before it was moved with the hour.
            above = exceedances(*ranks, (float(expit(-self.past.season(window_ms))),), up=True)
            for watch in (self, *self._others):
                rows = np.where(watch.holds(record.cells, window_ms), -1, rows)
            counting = record.values.count * (rows[record.values.cell] >= 0)
            self.past.hour(float(counting @ above), float(counting.sum()), window_ms, width_ms)
        self.past.learn(rows, record.values)

    def control(self, control: Control) -> None:
        """Take what people say, on every channel."""
        super().control(control)
        for other in self._others:
            other.control(control)

    # --- words ------------------------------------------------------------------------------------------------------

    def _in_words(self, anomaly: Anomaly, channel: Channel, look: Look) -> Anomaly:
        """Say the quantile that was seen in the causes, and what it usually is there."""
        known = self._shifts.get(anomaly.id)
        age = (anomaly.window_ms + self.signal.window_ms - anomaly.detected_ms) // self.signal.window_ms
        if known is None or anomaly.phase is Phase.RELAPSED or (anomaly.ended_ms is None and age % SHOWN_EVERY == 0):
            known = self._shift(anomaly, channel, look) or known
        if known is not None:
            self._shifts[anomaly.id] = known
        if anomaly.phase is Phase.ENDED:
            self._shifts.pop(anomaly.id, None)
        return msgspec.structs.replace(anomaly, why=msgspec.structs.replace(anomaly.why, shift=known))

    def _shift(self, anomaly: Anomaly, channel: Channel, look: Look) -> Shift | None:
        to_ms = anomaly.window_ms + self.signal.window_ms
        records = [record for _, record in look(max(anomaly.onset_ms, to_ms - SHOWN_MS), to_ms)]
        if not records:
            return None
        record = merge_signal(records)
        if record.values is None:
            return None
        wheres = [cause.where for cause in anomaly.causes]
        inside = self._inside(record.cells, wheres)[record.values.cell]
        count = np.where(inside, record.values.count, 0).astype(np.float64)
        columns = self.past.columns(record.values.bucket)
        observed = np.bincount(columns, weights=count, minlength=len(self.past.levels)).astype(np.float64)
        number = observed.sum()
        if number == 0:
            return None
        weight = np.bincount(record.values.cell, weights=count, minlength=len(record.cells))
        used = np.flatnonzero(weight)
        below = self.past.below(self.past.rows(record.cells)[used], anomaly.window_ms)
        usual = weight[used] @ np.diff(below, axis=1)
        quantile = channel.quantile if self.signal.direction is Direction.UP else 1.0 - channel.quantile
        seen, expected = (self._quantile(h, quantile) for h in (observed, usual))
        return Shift(quantile=quantile, observed=seen, usual=expected, values=int(number))

    def _inside(self, cells: list[Cell], wheres: list[dict[str, str]]) -> NDArray[np.bool_]:
        """bool[cells]: those that lie in any of these."""
        at = {dimension: i for i, dimension in enumerate(self.signal.dimensions)}
        return np.array([any(all(c[at[d]] == v for d, v in w.items()) for w in wheres) for c in cells], np.bool_)

    def _quantile(self, histogram: Floats, quantile: float) -> float:
        """The value below which this share of the histogram lies, to three digits."""
        sums = np.cumsum(histogram)
        at = int(np.searchsorted(sums, quantile * sums[-1]))
        bucket: Ints = self.past.values_at(np.array([min(at, len(histogram) - 1)]))
        return float(f"{float(bucket_value(bucket)[0]):.3g}")

    # --- state ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "past": self.past.state(),
            "others": [other.state() for other in self._others],
            "unlearned": self._unlearned,
            "begun": self._begun,
            "shifts": {id: msgspec.structs.asdict(shift) for id, shift in self._shifts.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.past.restore(state["past"])
        for other, kept in zip(self._others, state["others"], strict=True):
            other.restore(kept)
        self._unlearned = [msgspec.convert(p, SignalWindow) for p in state["unlearned"]]
        self._begun = state["begun"]
        self._shifts = {id: Shift(**shift) for id, shift in state["shifts"].items()}


def watch_of(config: Config, signal: Signal) -> Watch:
    """Return what watches a signal."""
    return ValueWatch(config, signal) if signal.ranked else Watch(config, signal)
