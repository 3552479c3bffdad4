"""Who was hit: one row per customer of a case, from the windows' records.

A customer is in the ledger who failed in a cause of one of the case's anomalies between its onset and its end. Rows
are columns of arrays and stay where they are once made, in the order in which the customers first failed, so that
nothing depends on the keyed hashes. Two ways lead to the same rows: window by window as they close, or all windows
again from the history when a cause, an onset or an end has changed; rows which then hold nothing any more are
*withdrawn*, and keep what they last showed.

What the customers were told stands in the same columns (`detector/desk/notices.py` writes it).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.counter.losses import total_milli
from detector.counter.record import SignalWindow, WindowRecord
from detector.desk.probability import CONFIRMED, probability
from detector.desk.problems import Strand
from detector.desk.records import Affected, CustomerState, Grade, Kind, LedgerRow
from detector.events import Floats, Ints

NEVER = -1
"""A moment that has not come."""
LONG_AGO = -(2**62)
MOST_TOTAL_MILLI = 2**63 - 1

Bools = NDArray[np.bool_]

COLUMNS: dict[str, tuple[str, int, int]] = {
    # name: type, value of a new row, width
    "customer": ("i8", 0, 0),
    "first_ms": ("i8", NEVER, 0),
    "tries": ("i8", 0, 0),
    "strand": ("i4", 0, 0),  # through which anomaly and cause they came in: what the words speak of
    "cause": ("i4", 0, 0),
    "likely": ("i4", 0, 0),  # probability in 1/10,000
    "contact_ms": ("i8", NEVER, 0),  # first and last contact since the onset
    "contact_last_ms": ("i8", NEVER, 0),
    "shown": ("i8", 0, 8),  # the row as it was last given out
    "state": ("i1", 0, len(Kind)),  # per kind of notice; the rest: notices.py
    "reason": ("i1", 0, len(Kind)),
    "until_ms": ("i8", NEVER, len(Kind)),
    "told": ("i1", 0, 0),
    "told_episode": ("i4", 0, 0),
    "ever": ("i1", 0, 0),
    "owed": ("i1", 0, 0),
    "told_ms": ("i8", NEVER, 0),
    "arm": ("i1", 0, 0),  # of the holdout
    "out_ms": ("i8", NEVER, 0),
}
LOSSES = {"loss_milli": ("i8", 0, 0), "loss_shown": ("i8", 0, 0)}
"""Further columns, of a ledger in which somebody lost something: their largest failed try, and what was given out."""
FACTS = ("first_ms", "tries", "likely")
"""The columns that the history gives again; a withdrawn row keeps how it came in."""
STATES = (CustomerState.HIT, CustomerState.STILL_FAILING, CustomerState.RECOVERED)
_HIT, _FAILING, _RECOVERED = range(3)
_FIRST, _LAST, _TRIES, _SUCCESS, _CONTACT, _LIKELY, _STATE, _WITHDRAWN = range(8)


class Track(msgspec.Struct):
    """One signal's moments per row, NEVER where there was none."""

    counted: Ints
    """Last failure that was evidence."""
    failed: Ints
    """Last failure inside the case."""
    bad: Ints
    """Last failure of that signal anywhere, also after the end."""
    back: Ints
    """Last success after a failure."""


def _room(array: NDArray[Any], n: int, fill: int) -> NDArray[Any]:
    """Return the array with room for n rows, doubled where it must grow."""
    if len(array) >= n:
        return array
    more = np.full((max(n, 2 * len(array)) - len(array), *array.shape[1:]), fill, array.dtype)
    return np.concatenate((array, more))


class Ledger(msgspec.Struct, kw_only=True):
    """The rows of one case."""

    n: int = 0
    columns: dict[str, NDArray[Any]] = msgspec.field(
        default_factory=lambda: {k: np.zeros((0, w) if w else 0, t) for k, (t, _, w) in COLUMNS.items()}
    )
    tracks: dict[str, Track] = msgspec.field(default_factory=dict)
    keys: Ints = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))
    """The customers, sorted ..."""
    places: Ints = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))
    """... and the row of each."""
    evidence: list[Ints] = msgspec.field(default_factory=lambda: [np.zeros((4, 0), np.int64)])
    """Parts of int64[4, failures]: row, moment, strand and cell of every failure that is evidence."""
    cells: dict[tuple[str, ...], int] = msgspec.field(default_factory=dict)
    """The cells' numbers in `evidence`."""
    contacts: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    """First and last contact since the onset, of everybody: who contacts us may turn out to be hit later."""
    next_ms: int = 0
    """The windows before this are in."""

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self.columns[column][: self.n]

    # --- rows ---

    def find(self, customers: Ints) -> Ints:
        """Row of each customer, -1 where there is none."""
        if not self.n:
            return np.full(len(customers), -1, np.int64)
        at = np.minimum(np.searchsorted(self.keys, customers), self.n - 1)
        return np.where(self.keys[at] == customers, self.places[at], -1)

    def admit(self, customers: Ints) -> Ints:
        """Row of each customer, made where there is none, in the order in which they come."""
        rows = self.find(customers)
        missing = customers[rows < 0]
        if not len(missing):
            return rows
        values, first = np.unique(missing, return_index=True)
        arrival = np.argsort(first)
        new = self.n + np.argsort(arrival)
        at = np.searchsorted(self.keys, values)
        self.keys, self.places = np.insert(self.keys, at, values), np.insert(self.places, at, new)
        grown = self.n + len(values)
        for name in self.columns:
            fill = 0 if name in LOSSES else COLUMNS[name][1]
            self.columns[name] = _room(self.columns[name], grown, fill)
        for track in self.tracks.values():
            self._widen(track, grown)
        self.columns["customer"][new] = values
        self.n = grown
        if self.contacts:
            self._contacted(values)
        return self.find(customers)

    def first_contact_ms(self) -> int | None:
        """Return when somebody first contacted us after their own first failure; None where nobody has.

        Of each customer the first and the last contact are known: the first of the two that came after counts.
        """
        own, first, last = self["first_ms"], self["contact_ms"], self["contact_last_ms"]
        after = np.where(first >= own, first, last)
        found = after[self.active & (after >= own) & (after >= 0)]
        return int(found.min()) if len(found) else None

    def _contacted(self, customers: Ints) -> None:
        """Note the contacts of these customers in their rows, where they have one."""
        for row, customer in zip(self.find(customers).tolist(), customers.tolist(), strict=True):
            if row >= 0 and customer in self.contacts:
                self["contact_ms"][row], self["contact_last_ms"][row] = self.contacts[customer]

    def _widen(self, track: Track, n: int) -> None:
        track.counted = _room(track.counted, n, LONG_AGO)
        track.failed = _room(track.failed, n, NEVER)
        track.bad = _room(track.bad, n, NEVER)
        track.back = _room(track.back, n, NEVER)

    def _track(self, signal: str) -> Track:
        if signal not in self.tracks:
            empty = np.zeros(0, np.int64)
            self.tracks[signal] = Track(empty, empty, empty, empty)
            self._widen(self.tracks[signal], self.n)
        return self.tracks[signal]

    def _blank(self, rows: Ints) -> None:
        """Set rows back to "nothing known": a withdrawn customer who is hit again begins anew."""
        for name in FACTS:
            self.columns[name][rows] = COLUMNS[name][1]
        if self._loses:
            self.columns["loss_milli"][rows] = 0
        for track in self.tracks.values():
            track.counted[rows] = LONG_AGO
            for moments in (track.failed, track.bad, track.back):
                moments[rows] = NEVER

    # --- windows in ---

    def rebuild(self, records: Iterable[WindowRecord], strands: Sequence[Strand], to_ms: int, people_ms: int) -> bool:
        """Take all windows again, from the earliest onset on; rows that come out empty are withdrawn."""
        self._blank(np.arange(self.n))
        self.evidence = [np.zeros((4, 0), np.int64)]
        self.cells = {}
        self.contacts = {}
        self["contact_ms"][:] = self["contact_last_ms"][:] = NEVER
        return self.follow(records, strands, to_ms, people_ms)

    def follow(self, records: Iterable[WindowRecord], strands: Sequence[Strand], to_ms: int, people_ms: int) -> bool:
        """Take the windows that came since, by window and partition, up to `to_ms`; whether a row was touched."""
        touched = False
        for _, group in groupby(records, key=lambda r: r.window_ms):
            touched |= self._window(list(group), strands, people_ms)
        self.next_ms = to_ms
        return touched

    def _window(self, records: list[WindowRecord], strands: Sequence[Strand], people_ms: int) -> bool:
        touched = False
        named: dict[str, list[tuple[int, Strand]]] = {}
        for i, strand in enumerate(strands):
            if strand.names_people:
                named.setdefault(strand.signal, []).append((i, strand))
        taken: set[tuple[int, int]] | None = set() if any(s.parts for s in strands) else None
        # Joint signals last: a failure that one of their parts has told of is no second one.
        for signal, mine in sorted(named.items(), key=lambda item: bool(item[1][0][1].parts)):
            windows = [r.signals[signal] for r in records if signal in r.signals]
            track = self._track(signal)
            for window in windows:
                if len(window.bad_customer):
                    touched |= self._failures(window, track, mine, people_ms, taken)
            # all partitions' failures first: where a topic is not keyed by customer, a success may be in another one
            for window in windows:
                touched |= self._moments(track.bad, window.bad_customer, window.bad_time_ms, after_first=False)
                touched |= self._moments(track.back, window.back_customer, window.back_time_ms, after_first=True)
        onset_ms = min(s.onset_ms for s in strands)
        for record in records:
            for customer, at in zip(record.contact_customer.tolist(), record.contact_time_ms.tolist(), strict=True):
                if customer and at >= onset_ms:
                    first, last = self.contacts.get(customer, (at, at))
                    self.contacts[customer] = (min(first, at), max(last, at))
            if len(record.contact_customer):
                self._contacted(record.contact_customer)
                touched |= bool((self.find(record.contact_customer) >= 0).any())
        return touched

    def _failures(
        self,
        window: SignalWindow,
        track: Track,
        mine: list[tuple[int, Strand]],
        people_ms: int,
        taken: set[tuple[int, int]] | None,
    ) -> bool:
        """Take a window's failures; `taken`: customer and moment of those taken, where a joint signal has them too."""
        time, cell = window.bad_time_ms, window.bad_cell
        fresh = window.bad_customer != 0
        if mine[0][1].parts and taken:
            pairs = zip(window.bad_customer.tolist(), time.tolist(), strict=True)
            fresh &= np.array([pair not in taken for pair in pairs], np.bool_)
        used = np.unique(cell)
        causes = np.full((len(mine), len(time)), -1, np.int64)
        of_cell = np.full(len(window.cells), -1, np.int64)
        for j, (_, strand) in enumerate(mine):
            inside = (time >= strand.onset_ms) & fresh
            if strand.ended_ms is not None:
                inside &= time < strand.ended_ms
            if inside.any():
                of_cell[used] = [strand.cause_of(window.cells[c]) for c in used]
                causes[j] = np.where(inside, of_cell[cell], -1)
        hit = (causes >= 0).any(axis=0)
        if not hit.any():
            return False
        number = np.full(len(window.cells), -1, np.int64)
        number[used] = [self.cells.setdefault(window.cells[c], len(self.cells)) for c in used]
        time, causes, cell = time[hit], causes[:, hit], number[cell[hit]]
        if taken is not None:
            taken.update(zip(window.bad_customer[hit].tolist(), time.tolist(), strict=True))
        rows = self.admit(window.bad_customer[hit])
        _, at = np.unique(rows, return_index=True)
        fresh = at[self["tries"][rows[at]] == 0]
        self._blank(rows[fresh])
        through = np.argmax(causes[:, fresh] >= 0, axis=0)
        self["strand"][rows[fresh]] = np.array([i for i, _ in mine])[through]
        self["cause"][rows[fresh]] = causes[through, fresh]
        self["first_ms"][rows[fresh]] = time[fresh]
        np.minimum.at(self["first_ms"], rows, time)
        np.maximum.at(track.failed, rows, time)
        np.add.at(self["tries"], rows, 1)
        if window.bad_loss_milli is not msgspec.UNSET:
            self._lose(rows, window.bad_loss_milli[hit])
        self._count(track, np.stack((rows, time, cell)), causes, np.array([i for i, _ in mine]), people_ms)
        return True

    @property
    def _loses(self) -> bool:
        return "loss_milli" in self.columns

    def _make_losses(self) -> None:
        for name, (kind, fill, _) in LOSSES.items():
            self.columns.setdefault(name, np.full(len(self.columns["customer"]), fill, kind))

    def _lose(self, rows: Ints, losses_milli: Ints) -> None:
        """Keep each customer's largest: a retry of the same purchase is no second loss."""
        if losses_milli.any():
            self._make_losses()
            np.maximum.at(self["loss_milli"], rows, losses_milli)

    def lost(self) -> tuple[int, int]:
        """Return what the confirmed customers lose together, in thousandths; and of how many of all a loss is known."""
        if not self._loses:
            return 0, 0
        milli = total_milli(self["loss_milli"][self.active & self.confirmed])
        return min(milli, MOST_TOTAL_MILLI), int((self.active & (self["loss_milli"] > 0)).sum())

    def _count(self, track: Track, failures: Ints, causes: Ints, strands: Ints, people_ms: int) -> None:
        """Keep the failures that are evidence: a customer's first in half an hour, as a retry tells nothing new.

        `failures` is int64[3, failures]: row, moment, cell.
        """
        rows, time, cell = failures
        order = np.lexsort((time, rows))
        while len(order):
            order = order[time[order] >= track.counted[rows[order]] + people_ms]
            head = np.ones(len(order), np.bool_)
            head[1:] = rows[order][1:] != rows[order][:-1]
            evident = order[head]
            track.counted[rows[evident]] = time[evident]
            for j, strand in enumerate(strands):
                of_it = evident[causes[j, evident] >= 0]
                if len(of_it):
                    self.evidence.append(np.stack((rows[of_it], time[of_it], np.full(len(of_it), strand), cell[of_it])))
            order = order[~head]

    def _moments(self, into: Ints, customers: Ints, time: Ints, *, after_first: bool) -> bool:
        if not len(customers) or not self.n:
            return False
        rows = self.find(customers)
        known = rows >= 0
        rows, time = rows[known], time[known]
        first = self["first_ms"][rows]
        known = (first >= 0) & (time > first) if after_first else first >= 0
        np.maximum.at(into, rows[known], time[known])
        return bool(known.any())

    # --- what they say ---

    def weigh(self, strands: Sequence[Strand]) -> None:
        """Work out every customer's probability: that not all their evidence is ordinary, 1 - Π(1 - p)."""
        likely = self["likely"]
        ordinary = np.zeros(self.n)
        rows, time, of, cell = self._evidence()
        for i, strand in enumerate(strands):
            mine = of == i
            if mine.any():
                weight = np.array([strand.weights.get(name, 1.0) for name in self.cells])[cell[mine]]
                p = probability(strand.points.within(strand.onset_ms, strand.ended_ms), time[mine], weight)
                np.add.at(ordinary, rows[mine], np.log1p(-p))
        # Rounded first: the sum's last bits depend on the order of the rows.
        likely[:] = np.minimum(np.floor(np.round(-np.expm1(ordinary) * 10_000, 6)), 9_999).astype(likely.dtype)

    def _evidence(self) -> Ints:
        if len(self.evidence) > 1:
            self.evidence = [np.concatenate(self.evidence, axis=1)]
        return self.evidence[0]

    def hit_by(self, strand: int) -> Ints:
        """Return the customers whom a strand hit, each once."""
        rows, _, of, _ = self._evidence()
        customers: Ints = self["customer"][np.unique(rows[of == strand])]
        return customers

    @property
    def active(self) -> Bools:
        """bool[rows]: listed, and not withdrawn."""
        result: Bools = self["tries"] > 0
        return result

    def last(self, moment: str) -> Ints:
        """int64[rows]: the latest `failed` or `bad` over the signals, NEVER where there was none."""
        out = np.full(self.n, NEVER, np.int64)
        for track in self.tracks.values():
            np.maximum(out, getattr(track, moment)[: self.n], out=out)
        return out

    def success(self) -> Ints:
        """int64[rows]: the latest success after a failure, in a signal of which the customer is listed."""
        out = np.full(self.n, NEVER, np.int64)
        for track in self.tracks.values():
            failed, back = track.failed[: self.n], track.back[: self.n]
            np.maximum(out, np.where(failed == NEVER, NEVER, back), out=out)
        return out

    def through(self, failures: str = "failed") -> Bools:
        """bool[rows]: got through in every signal in which they failed, after the last failure there.

        `failures` says which: those inside the case (`failed`) or anywhere in its signals (`bad`).
        """
        out = self.active.copy()
        for track in self.tracks.values():
            failed, back = getattr(track, failures)[: self.n], track.back[: self.n]
            out &= (failed == NEVER) | (back > failed)
        return out

    def normal(self, until_ms: Mapping[str, int]) -> Bools:
        """bool[rows]: last hit in a signal by what has become normal there; `until_ms` says which, and when it did."""
        out = np.zeros(self.n, np.bool_)
        for signal, at_ms in until_ms.items():
            if signal in self.tracks:
                failed = self.tracks[signal].failed[: self.n]
                out |= (failed != NEVER) & (failed < at_ms)
        return out

    def visible(self) -> Ints:
        """int64[rows, 8]: what each row shows; a withdrawn one what it last showed."""
        active, through = self.active, self.through()
        out = self["shown"].copy()
        out[:, _WITHDRAWN] = ~active
        state = np.where(through, _RECOVERED, np.where(self["tries"] > 1, _FAILING, _HIT))
        facts = (self["first_ms"], self.last("failed"), self["tries"], self.success(), self["contact_ms"])
        for i, values in enumerate((*facts, self["likely"], state)):
            out[:, i] = np.where(active, values, out[:, i])
        return out

    def changed(self, tenant: str, case: str) -> list[LedgerRow]:
        """Rows that show something else than when they were last given out; they are given out now."""
        now = self.visible()
        differs = (now != self["shown"]).any(axis=1)
        lost = np.zeros(self.n, np.int64)
        if self._loses:
            lost = np.where(self.active, self["loss_milli"], self["loss_shown"])
            differs |= lost != self["loss_shown"]
        rows = np.flatnonzero(differs & (now[:, _TRIES] > 0))
        self["shown"][rows] = now[rows]
        if self._loses:
            self["loss_shown"][rows] = lost[rows]
        columns = (self["customer"][rows].tolist(), now[rows].tolist(), lost[rows].tolist())
        return [_row(tenant, case, *row) for row in zip(*columns, strict=True)]

    def affected(self) -> Affected:
        """Count the rows."""
        active, through = self.active, self.through()
        confirmed = int((active & self.confirmed).sum())
        return Affected(
            confirmed=confirmed,
            likely=int(active.sum()) - confirmed,
            still_failing=int((active & ~through & (self["tries"] > 1)).sum()),
            recovered=int(through.sum()),
        )

    @property
    def confirmed(self) -> Bools:
        result: Bools = self["likely"] >= CONFIRMED * 10_000
        return result

    @property
    def probabilities(self) -> Floats:
        result: Floats = self["likely"] / 10_000
        return result

    def recovery(self, end_ms: int, but: Bools) -> tuple[int, int, int]:
        """Count who got through, those of them since `end_ms`, and who failed since then without getting through.

        `but` (bool[rows]) says who shows nothing.
        """
        through = self.through("bad") & ~but
        failing = self.active & ~but & ~through & (self.last("bad") >= end_ms)
        return int(through.sum()), int((through & (self.success() >= end_ms)).sum()), int(failing.sum())

    # --- leaving ---

    def adopt(self, other: "Ledger", theirs: Ints, strands: Ints) -> Ints:
        """Take over these rows of another case; a rebuild must follow.

        Parameters
        ----------
        other : Ledger
        theirs : int64[rows]
            Its rows.
        strands : int64[strands]
            What each of the other case's strands is in this one.

        Returns
        -------
        int64[rows]
            The customers' rows here.
        """
        rows = self.admit(other["customer"][theirs])
        unseen = self["shown"][rows, _TRIES] == 0
        mine, of = rows[unseen], theirs[unseen]
        self["shown"][mine] = other["shown"][of]
        self["shown"][mine, _WITHDRAWN] = NEVER  # so that they are given out, whatever becomes of them
        if other._loses:
            self._make_losses()
            self["loss_shown"][mine] = other["loss_shown"][of]
        self["strand"][mine] = strands[other["strand"][of]]
        self["cause"][mine] = other["cause"][of]
        return rows

    def listed(self) -> Bools:
        """bool[rows]: was ever given out."""
        result: Bools = self["shown"][:, _TRIES] > 0
        return result

    def empty(self) -> None:
        """Withdraw every row."""
        self._blank(np.arange(self.n))
        self.evidence = [np.zeros((4, 0), np.int64)]

    def widen(self) -> None:
        """Add the columns that an older version's snapshot lacks."""
        for name, (kind, fill, width) in COLUMNS.items():
            old = self.columns.get(name, np.full((self.n, 0), fill, kind) if width else None)
            if old is None:
                old = np.full(self.n, fill, kind)
            if width and old.shape[1] < width:
                old = np.hstack((old, np.full((len(old), width - old.shape[1]), fill, old.dtype)))
            self.columns[name] = old

    def trim(self) -> None:
        """Give back the room that no row uses."""
        self._evidence()
        self.columns = {name: array[: self.n].copy() for name, array in self.columns.items()}
        for track in self.tracks.values():
            track.counted, track.failed = track.counted[: self.n].copy(), track.failed[: self.n].copy()
            track.bad, track.back = track.bad[: self.n].copy(), track.back[: self.n].copy()


def _row(tenant: str, case: str, customer: int, values: list[int], loss_milli: int) -> LedgerRow:
    return LedgerRow(
        tenant=tenant,
        case=case,
        customer=customer,
        grade=Grade.CONFIRMED if values[_LIKELY] >= CONFIRMED * 10_000 else Grade.LIKELY,
        state=STATES[values[_STATE]],
        probability=values[_LIKELY] / 10_000,
        first_failure_ms=values[_FIRST],
        last_failure_ms=values[_LAST],
        tries=values[_TRIES],
        last_success_ms=None if values[_SUCCESS] == NEVER else values[_SUCCESS],
        contact_ms=None if values[_CONTACT] == NEVER else values[_CONTACT],
        withdrawn=bool(values[_WITHDRAWN]),
        loss_milli=loss_milli,
    )
