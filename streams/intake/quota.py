"""How much of a tenant's traffic is taken: so many events a second on average, judged by when they entered.

Promises
- What is over the quota is decided by the records' order and ingest times alone: the same log, however it is cut, read
  again or taken over, has the same events left out. A traffic that stays within the quota loses none.
- What is over is thinned evenly, not cut off for the rest of a minute: no window is left empty by it.
- A record with a time of the far future opens or closes nothing for long.
"""

import numpy as np
from numpy.typing import NDArray

from detector.events import Ints

OVER = "over-quota"
SPAN_MS = 60_000
"""So much of its quota a tenant may save up: what was not used within it is gone."""


class Quota:
    """One partition's share of a tenant's quota: a bucket that is filled as time passes, and that every event taps.

    Counted in whole parts of an event, so that no rounding depends on how the log is cut.

    Parameters
    ----------
    per_second
        Events of the tenant, on all partitions together.
    partitions
        Of the input: each has the same share.

    Examples
    --------
    >>> quota = Quota(per_second=1, partitions=1)
    >>> [int(quota.admit(np.full(100, ms)).sum()) for ms in (0, 1_000, 2_500, 3_000, 500_000)]
    [60, 1, 1, 1, 60]
    """

    def __init__(self, per_second: int, partitions: int) -> None:
        self.per_second = per_second
        self._cost = 1_000 * partitions
        self._full = max(per_second * SPAN_MS, self._cost)
        self._left = self._full
        self._at_ms: int | None = None

    def admit(self, at_ms: Ints) -> NDArray[np.bool_]:
        """bool[n]: which events are within the quota; `at_ms` is when each entered, in the order of the log."""
        out = np.ones(len(at_ms), np.bool_)
        start = 0
        for stop in [*(np.flatnonzero(np.diff(at_ms)) + 1).tolist(), len(at_ms)] if len(at_ms) else ():
            self._until(int(at_ms[start]))
            fit = min(stop - start, self._left // self._cost)
            self._left -= fit * self._cost
            out[start + fit : stop] = False
            start = stop
        return out

    def _until(self, at_ms: int) -> None:
        if self._at_ms is None or at_ms < self._at_ms - SPAN_MS:  # the first, or the last one's time was wrong
            self._at_ms = at_ms
        elif at_ms > self._at_ms:
            self._left = min(self._full, self._left + self.per_second * (at_ms - self._at_ms))
            self._at_ms = at_ms

    def state(self) -> list[int | None]:
        return [self.per_second, self._left, self._at_ms]

    def restore(self, state: list[int | None] | None) -> None:
        """Go on from a state; one of another quota begins anew."""
        self._left, self._at_ms = self._full, None
        if state is not None and state[0] == self.per_second:
            _, left, self._at_ms = state
            assert left is not None
            self._left = left
