"""People, not attempts: which failures are evidence, and who has recovered.

One frustrated customer retries eight times; a bot, thousands. A failure is *evidence* if none of this customer was
counted for the signal in the 30 minutes before. In these 30 minutes the customer *rests*: where no failure of theirs
can count, no success may either, or the busiest customers would make every problem look smaller than it is. A customer
who failed stays *unrecovered* until a success or the recovery horizon.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config import Input
from detector.counter.gate import NEVER
from detector.events import Ints

Flags = NDArray[np.bool_]

_SPARSE = 16
"""Places for marks to each customer who is known."""
_FEWEST_MARKS = 2**12


class People:
    """Of one signal in one partition."""

    def __init__(self, settings: Input) -> None:
        self._people_ms, self._recovery_ms, self._max = (
            settings.people_ms,
            settings.recovery_ms,
            settings.max_unrecovered,
        )
        self.counted: dict[int, int] = {}
        """Customer → when last counted as evidence."""
        self.unrecovered: dict[int, int] = {}
        """Customer → last failure."""
        self.forgotten = 0
        """Unrecovered customers that gave way to the cap."""
        self._remark()

    def judge(self, customer: Ints, time_ms: Ints, bad: Flags) -> tuple[Flags, Flags, Flags]:
        """For a signal's events in arrival order: which are evidence, recoveries, successes of a resting customer.

        Parameters
        ----------
        customer, time_ms, bad : arrays[events]
            Customer 0 is nobody: their failures are evidence each, and they never recover.

        Returns
        -------
        evidence, back, resting : bool[events]
        """
        failed = bad & (customer != 0)
        evidence = bad & ~failed
        back = np.zeros(len(bad), np.bool_)
        resting = np.zeros(len(bad), np.bool_)
        failing = customer[failed]
        self._mark(failing)
        good = np.flatnonzero(self._marks[customer & self._mask] & ~bad)
        rows = np.flatnonzero(failed)
        counted, unrecovered = self.counted, self.unrecovered
        if len(good):
            # Of who neither fails here nor has to recover it is settled at once; the others are taken in turn.
            people, now_failing = customer[good].tolist(), set(failing.tolist())
            since_ms = time_ms[good] - np.array([counted.get(one, NEVER) for one in people], np.int64)
            resting[good] = (since_ms >= 0) & (since_ms < self._people_ms)
            in_turn = [one in unrecovered or one in now_failing for one in people]
            rows = np.sort(np.concatenate([rows, good[in_turn]]))
        for i, who, when, failure in zip(
            rows.tolist(), customer[rows].tolist(), time_ms[rows].tolist(), bad[rows].tolist(), strict=True
        ):
            last = counted.get(who)
            if failure:
                if last is None or when - last >= self._people_ms:
                    counted[who] = when
                    evidence[i] = True
                if unrecovered.get(who, when) <= when:
                    unrecovered[who] = when
            else:
                resting[i] = last is not None and 0 <= when - last < self._people_ms
                if who in unrecovered and when >= unrecovered[who]:
                    del unrecovered[who]
                    back[i] = True
        return evidence, back, resting

    def first(self, customer: Ints, time_ms: Ints) -> Flags:
        """bool[events], in arrival order: those of customers of whom none was counted in the 30 minutes around.

        For values that are neither bad nor good. Customer 0 is nobody: each of theirs counts.
        """
        out: Flags = customer == 0
        counted, rest = self.counted, self._people_ms
        for i, (who, when) in enumerate(zip(customer.tolist(), time_ms.tolist(), strict=True)):
            if who:
                last = counted.get(who)
                if last is None or abs(when - last) >= rest:
                    counted[who] = when if last is None else max(when, last)
                    out[i] = True
        return out

    def sweep(self, now_ms: int) -> None:
        """Forget what can matter no more at `now_ms`, the start of the oldest open window."""
        self.counted = {who: when for who, when in self.counted.items() if when > now_ms - self._people_ms}
        self.unrecovered = {who: when for who, when in self.unrecovered.items() if when > now_ms - self._recovery_ms}
        over = len(self.unrecovered) - self._max
        if over > 0:
            oldest = sorted(self.unrecovered, key=lambda who: (self.unrecovered[who], who))[:over]
            for who in oldest:
                del self.unrecovered[who]
            self.forgotten += over
        self._remark()

    def state(self) -> dict[str, Any]:
        return {
            "counted": _columns(self.counted),
            "unrecovered": _columns(self.unrecovered),
            "forgotten": self.forgotten,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.counted = dict(zip(*(column.tolist() for column in state["counted"]), strict=True))
        self.unrecovered = dict(zip(*(column.tolist() for column in state["unrecovered"]), strict=True))
        self.forgotten = state["forgotten"]
        self._remark()

    # --- whom to look at ------------------------------------------------------------------------------------------

    def _mark(self, customers: Ints) -> None:
        """Have the events of these customers looked at one by one from now on.

        Most events are of customers who never failed. By some bits of their hash they are told from the others, all at
        once; some are looked at in vain, and nobody is passed over.
        """
        self._marked += len(customers)
        if _SPARSE * self._marked > 2 * len(self._marks):
            self._remark()
        self._marks[customers & self._mask] = True

    def _remark(self) -> None:
        """Mark whoever is known, and nobody else."""
        known = np.concatenate([_columns(self.counted)[0], _columns(self.unrecovered)[0]])
        places = max(_FEWEST_MARKS, 1 << (_SPARSE * len(known)).bit_length())
        self._marks: Flags = np.zeros(places, np.bool_)
        self._mask, self._marked = places - 1, len(known)
        self._marks[known & self._mask] = True


def _columns(times: dict[int, int]) -> tuple[Ints, Ints]:
    return np.fromiter(times.keys(), np.int64, len(times)), np.fromiter(times.values(), np.int64, len(times))
