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
from detector.events import Ints

Flags = NDArray[np.bool_]


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
        evidence = np.zeros(len(bad), np.bool_)
        back = np.zeros(len(bad), np.bool_)
        resting = np.zeros(len(bad), np.bool_)
        failed = set(customer[bad].tolist())
        failed.discard(0)
        succeeded = set(customer[~bad].tolist())
        involved = failed | (self.unrecovered.keys() & succeeded) | (self.counted.keys() & succeeded)
        if not involved:
            evidence[bad] = True
            return evidence, back, resting
        evidence[bad & (customer == 0)] = True
        rows = np.flatnonzero((bad & (customer != 0)) | np.isin(customer, np.array(list(involved), np.int64)))
        counted, unrecovered = self.counted, self.unrecovered
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


def _columns(times: dict[int, int]) -> tuple[Ints, Ints]:
    return np.fromiter(times.keys(), np.int64, len(times)), np.fromiter(times.values(), np.int64, len(times))
