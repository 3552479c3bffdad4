"""Several signals' closed windows → one window of what they have in common.

A joint signal's cells are those of its parts, over the dimensions that all parts have, with the part's name before
them. Failures and trials come together; a customer who fails in two parts within half an hour is one person, and has
recovered when they have got through in every part in which they failed.
"""

from typing import Any

import numpy as np

from detector.config import Input
from detector.counter.record import SignalWindow, no_ints
from detector.events import Ints
from detector.signals import CountBy, Signal


class Joint:
    """One joint signal in one partition.

    Windows come oldest first. What it gives depends on their contents alone: the parts' failures are taken in the
    order of their times, whatever the order in which they arrived.
    """

    def __init__(self, signal: Signal, parts: tuple[Signal, ...], settings: Input) -> None:
        self.name = signal.name
        self._parts = [(part.name, [part.dimensions.index(d) for d in signal.dimensions[1:]]) for part in parts]
        self._attempts = signal.count_by is CountBy.ATTEMPTS
        self._people_ms, self._recovery_ms = settings.people_ms, settings.recovery_ms
        self._max = settings.max_unrecovered
        self._counted: dict[int, int] = {}
        """Customer → when last counted as evidence."""
        self._failing: dict[int, tuple[int, int]] = {}
        """Customer → the parts they still fail in, as bits, and their last failure."""

    def of(self, signals: dict[str, SignalWindow]) -> SignalWindow | None:
        """Return the joint window of one base window; None where no part had an event."""
        present = [(bit, n, at, signals[n]) for bit, (n, at) in enumerate(self._parts) if n in signals]
        if not present:
            return None
        names = [[(name, *(cell[d] for d in at)) for cell in window.cells] for _, name, at, window in present]
        cells = sorted({cell for part in names for cell in part})
        index = {cell: i for i, cell in enumerate(cells)}
        places = [np.array([index[cell] for cell in part], np.int64) for part in names]
        windows = [window for *_, window in present]
        people, total, attempts = (
            _added(windows, places, name, len(cells)) for name in ("people", "total", "attempts")
        )
        bits = [bit for bit, *_ in present]
        bad, back = _events(windows, places, bits, "bad"), _events(windows, places, bits, "back")
        if not self._attempts:
            own = np.zeros(len(cells), np.int64)
            np.add.at(own, bad[1][self._evidence(bad[0], bad[2])], 1)
            people, total = own, total - people + own
        back = back[:, self._through(bad, back)]
        return SignalWindow(
            cells=cells,
            people=people,
            total=total,
            attempts=attempts,
            bad_customer=bad[0],
            bad_cell=bad[1],
            bad_time_ms=bad[2],
            back_customer=back[0],
            back_cell=back[1],
            back_time_ms=back[2],
        )

    def _evidence(self, customer: Ints, time_ms: Ints) -> Ints:
        """int64[evidence]: which failures are a customer's first in half an hour, in any part; nobody's all are."""
        counted, out = self._counted, []
        for i, (who, when) in enumerate(zip(customer.tolist(), time_ms.tolist(), strict=True)):
            last = counted.get(who) if who else None
            if last is None or when - last >= self._people_ms:
                out.append(i)
                if who:
                    counted[who] = when
        return np.array(out, np.int64)

    def _through(self, bad: Ints, back: Ints) -> Ints:
        """int64[recoveries]: which successes leave their customer failing in no part."""
        failing, out = self._failing, []
        both = np.concatenate([bad, back], axis=1)
        failures = bad.shape[1]
        order = np.lexsort((np.arange(both.shape[1]) >= failures, both[2]))
        ordered = (both[row, order].tolist() for row in (0, 2, 3))
        for i, who, when, bit in zip(order.tolist(), *ordered, strict=True):
            if not who:
                continue
            parts, last = failing.get(who, (0, when))
            if i < failures:
                failing[who] = (parts | 1 << bit, max(last, when))
            elif parts & ~(1 << bit):
                failing[who] = (parts & ~(1 << bit), last)
            else:
                failing.pop(who, None)
                out.append(i - failures)
        return np.array(sorted(out), np.int64)

    def sweep(self, now_ms: int) -> None:
        """Forget what can matter no more at `now_ms`, the start of the oldest open window."""
        self._counted = {who: when for who, when in self._counted.items() if when > now_ms - self._people_ms}
        kept = {who: known for who, known in self._failing.items() if known[1] > now_ms - self._recovery_ms}
        for who in sorted(kept, key=lambda who: (kept[who][1], who))[: max(len(kept) - self._max, 0)]:
            del kept[who]
        self._failing = kept

    def state(self) -> dict[str, Any]:
        counted = np.array(list(self._counted.items()), np.int64).reshape(-1, 2)
        failing = np.array([(who, *known) for who, known in self._failing.items()], np.int64).reshape(-1, 3)
        return {"counted": counted, "failing": failing}

    def restore(self, state: dict[str, Any]) -> None:
        self._counted = dict(state["counted"].tolist())
        self._failing = {who: (parts, last) for who, parts, last in state["failing"].tolist()}


def _added(windows: list[SignalWindow], places: list[Ints], name: str, cells: int) -> Ints:
    out = np.zeros(cells, np.int64)
    for window, to in zip(windows, places, strict=True):
        np.add.at(out, to, getattr(window, name))
    return out


def _events(windows: list[SignalWindow], places: list[Ints], bits: list[int], kind: str) -> Ints:
    """int64[4, events]: customer, cell, moment and part, in the order of the moments."""
    columns = []
    for window, to, bit in zip(windows, places, bits, strict=True):
        cell = getattr(window, f"{kind}_cell")
        to_cell = to[cell] if len(cell) else no_ints()
        part = np.full(len(cell), bit, np.int64)
        columns.append(
            np.stack([getattr(window, f"{kind}_customer"), to_cell, getattr(window, f"{kind}_time_ms"), part])
        )
    both = np.concatenate(columns, axis=1)
    # Customer and cell settle which of the same moment comes first: arrival order differs between replays of parts.
    ordered: Ints = both[:, np.lexsort((both[1], both[3], both[2]))]
    return ordered
