"""Which cell of which signal an event belongs to, by one look-up per event.

All signals share one table of *routes*: the tuple of an event's categorical fields → a row that says for each signal
whether the event is one of its own, whether it is bad and in which cell it counts. Conditions are evaluated once per
distinct tuple. The table is a mere cache; what is *admitted* (the dimension values and cells that have a place of
their own) is state.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config import DAY_MS, WEEK_MS, Input
from detector.decode.buckets import Buckets
from detector.events import EventSchema, Ints, canonical
from detector.signals import ALL_OTHERS, Condition, Measure, Signal

Fields = tuple[object, ...]
Tests = list[tuple[int, Condition]]
"""Conditions, and where the field of each stands."""
ROUTES_MAX = 200_000
_TEXTS = frozenset((str, type(None)))


def holds(condition: Condition, value: object) -> bool:
    """Whether a categorical condition holds for a value.

    Examples
    --------
    >>> holds(Condition("outcome", any_of=("failure",)), "failure"), holds(Condition("bank", present=True), None)
    (True, False)
    """
    if condition.present is not None and condition.present != (value is not None):
        return False
    if condition.any_of is None and condition.none_of is None:
        return True
    text = canonical(value)
    if condition.any_of is not None and text not in condition.any_of:
        return False
    return condition.none_of is None or text not in condition.none_of


def _all_hold(tests: Tests, fields: Fields) -> bool:
    for at, condition in tests:  # in a loop: it is asked for every new combination of fields, of every signal
        if not holds(condition, fields[at]):
            return False
    return True


class Cells:
    """The admitted dimension values and cells of one signal; a cell's code is its row in every array of the Counter."""

    def __init__(self, signal: Signal, settings: Input) -> None:
        self.dimensions = signal.dimensions
        self._max_values, self._max_cells = settings.max_values, settings.max_cells
        self.values: list[set[str]] = [set() for _ in signal.dimensions]
        self.code: dict[tuple[str, ...], int] = {}
        self.names: list[tuple[str, ...] | None] = []
        self._free: list[int] = []
        self.seen_ms: Ints = np.zeros(0, np.int64)
        """int64[codes]: the last window in which the cell had an event."""
        self.folded: set[str] = set()
        """Dimensions of which a value was folded since the last sweep."""

    def admit(self, values: tuple[str, ...], now_ms: int) -> int:
        """Code of the cell with these values; a value or cell beyond the cap is folded into `__other__`."""
        known_code = self.code.get(values)
        if known_code is not None:
            return known_code
        admitted = []
        for dimension, value, known in zip(self.dimensions, values, self.values, strict=True):
            if value not in known:
                if len(known) >= self._max_values:
                    self.folded.add(dimension)
                    admitted.append(ALL_OTHERS)
                    continue
                known.add(value)
            admitted.append(value)
        cell = tuple(admitted)
        code = self.code.get(cell)
        if code is None and len(self.code) >= self._max_cells:
            self.folded.add("*")
            cell, code = self._fold(cell)
        if code is None:
            code = self._place(cell, now_ms)
        return code

    def _fold(self, cell: tuple[str, ...]) -> tuple[tuple[str, ...], int | None]:
        """Fold a cell beyond the cap, the dimension with the most values first: the others still tell a cause.

        Folded cells have a tenth of the cap on top, for they are far fewer.
        """
        folded = list(cell)
        for d in sorted(range(len(cell)), key=lambda d: (-len(self.values[d]), d)):
            folded[d] = ALL_OTHERS
            code = self.code.get(tuple(folded))
            if code is not None or len(self.code) < self._max_cells + self._max_cells // 10:
                return tuple(folded), code
        return tuple(folded), self.code.get(tuple(folded))

    def _place(self, cell: tuple[str, ...], now_ms: int) -> int:
        if self._free:
            code = self._free.pop()
            self.names[code] = cell
        else:
            code = len(self.names)
            self.names.append(cell)
            if code >= len(self.seen_ms):
                self.seen_ms = np.concatenate([self.seen_ms, np.zeros(max(64, code), np.int64)])
        self.seen_ms[code] = now_ms
        self.code[cell] = code
        return code

    def name(self, code: int) -> tuple[str, ...]:
        """Return the values of the cell with this code."""
        name = self.names[code]
        assert name is not None, f"a cell was given back that had events: {code}"
        return name

    def seen(self, codes: Ints, window_ms: int) -> None:
        """Take note that a window has events in these cells."""
        self.seen_ms[codes] = np.maximum(self.seen_ms[codes], window_ms)

    def sweep(self, now_ms: int) -> bool:
        """Give back the places of what was unseen for a week of event time; True if anything was freed.

        What open windows count in must have been `seen` there: whoever got such a place would get their counts.
        """
        old = [code for code in self.code.values() if self.seen_ms[code] < now_ms - WEEK_MS]
        for code in sorted(old):
            del self.code[self.name(code)]
            self.names[code] = None
            self._free.append(code)
        if old:
            for d, known in enumerate(self.values):
                known.intersection_update(cell[d] for cell in self.code)
        self.folded.clear()
        return bool(old)

    def state(self) -> dict[str, Any]:
        return {
            "values": [sorted(v) for v in self.values],
            "names": self.names,
            "free": self._free,
            "seen_ms": self.seen_ms,
            "folded": sorted(self.folded),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.values = [set(v) for v in state["values"]]
        self.names = [None if n is None else tuple(n) for n in state["names"]]
        self.code = {n: i for i, n in enumerate(self.names) if n is not None}
        self._free, self.seen_ms, self.folded = list(state["free"]), state["seen_ms"], set(state["folded"])


class Routes(dict[Fields, int]):
    """Event fields → route; arrays say for each signal what a route means.

    Attributes
    ----------
    cell : list of int64[routes], one per signal
        The cell's code, -1 where the event is none of the signal's.
    bad : list of bool[routes], one per signal
    contact : bool[routes]
    """

    def __init__(
        self, schema: EventSchema, signals: tuple[Signal, ...], contacts: tuple[Condition, ...], settings: Input
    ) -> None:
        super().__init__()
        self.now_ms = 0
        """Start of the oldest open window: the moment at which new values count as seen."""
        at = {name: i for i, name in enumerate(schema.fields)}
        self._signals = signals
        self._tests = [[(at[c.field], c) for c in s.events if not c.numeric] for s in signals]
        self._bad_tests = [[(at[c.field], c) for c in s.bad if not c.numeric] for s in signals]
        self._dimensions = [tuple(at[d] for d in s.dimensions) for s in signals]
        self._contact_tests = [(at[c.field], c) for c in contacts]
        self.channel_at = at["channel"]
        self.cells = [Cells(s, settings) for s in signals]
        self._always_bad = [s.measure is Measure.COUNT for s in signals]
        self.cell: list[Ints] = []
        self.bad: list[NDArray[np.bool_]] = []
        self.contact: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._texts: NDArray[np.bool_] = np.zeros(0, np.bool_)
        """bool[routes]: whether all fields are texts with something in them, or None."""
        self._front = Buckets()
        """Hash of such fields → one more than their route.

        Such texts are hashed with a secret of the process; others are not, and some share a hash: -1 and -2, 0 and "".
        """
        self.forget()

    def forget(self) -> None:
        """Empty the cache."""
        self.clear()
        self._front.forget()
        self.cell = [np.full(256, -1, np.int64) for _ in self._signals]
        self.bad = [np.zeros(256, np.bool_) for _ in self._signals]
        self.contact = np.zeros(256, np.bool_)
        self._texts = np.zeros(256, np.bool_)

    def __missing__(self, fields: Fields) -> int:
        route = len(self)
        if route == len(self.contact):
            self.cell = [np.concatenate([c, np.full(route, -1, np.int64)]) for c in self.cell]
            self.bad = [np.concatenate([b, np.zeros(route, np.bool_)]) for b in self.bad]
            self.contact = np.concatenate([self.contact, np.zeros(route, np.bool_)])
            self._texts = np.concatenate([self._texts, np.zeros(route, np.bool_)])
        self._texts[route] = "" not in fields and _TEXTS.issuperset(map(type, fields))
        self.contact[route] = bool(self._contact_tests) and _all_hold(self._contact_tests, fields)
        texts: list[str] | None = None
        for s, tests in enumerate(self._tests):
            if _all_hold(tests, fields):
                texts = texts or list(map(canonical, fields))
                values = tuple([texts[i] for i in self._dimensions[s]])
                self.cell[s][route] = self.cells[s].admit(values, self.now_ms)
                self.bad[s][route] = self._always_bad[s] or _all_hold(self._bad_tests[s], fields)
        self[fields] = route
        return route

    def sweep(self, now_ms: int) -> None:
        """Once a day of event time: free what was unseen for a week."""
        freed = [cells.sweep(now_ms) for cells in self.cells]
        if any(freed):
            self.forget()

    def of(self, fields: list[Fields]) -> Ints:
        """int64[events]: each event's route."""
        if len(self) > ROUTES_MAX:
            self.forget()
        prints = np.fromiter(map(hash, fields), np.int64, len(fields)).view(np.uint64)
        routes = self._front.of(prints) - 1
        missing = np.flatnonzero(routes < 0)
        if len(missing):
            found = np.array([self[fields[i]] for i in missing.tolist()], np.int64)
            routes[missing] = found
            texts = self._texts[found]
            self._front.remember(prints[missing[texts]], found[texts] + 1)
        return routes


def day_of(window_ms: int) -> int:
    return window_ms // DAY_MS
