"""How likely a customer's failure was the problem and not the ordinary failure rate.

From an anomaly's points: where e failures were expected and o observed, a failure was the problem's with probability
1 - e/o. Windows are thin, so both are summed over a kernel around the failure's window, inside the problem only:
before the onset and after the end another rate holds. Where it is uncertain whether the problem was on yet, or still,
that uncertainty is a factor of its own.
"""

import msgspec
import numpy as np

from detector.events import Floats, Ints

KERNEL = 5
"""Windows to each side that a failure's ratio is taken over ..."""
ENOUGH = 30
"""... and more until this many failures were observed in them."""
CONFIRMED = 0.5
"""From this probability on a customer is confirmed: it is likelier that it was the problem than not."""
HIGHEST = 0.9999


class Points(msgspec.Struct):
    """An anomaly's windows, oldest first: observed against expected in its causes, and how surely it was on."""

    window_ms: Ints
    observed: Ints
    expected: Floats
    active: Floats

    @classmethod
    def none(cls) -> "Points":
        """Return no windows."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

    def within(self, from_ms: int, to_ms: int | None) -> "Points":
        """The windows that start in [from_ms, to_ms)."""
        low = int(np.searchsorted(self.window_ms, from_ms))
        high = len(self.window_ms) if to_ms is None else int(np.searchsorted(self.window_ms, to_ms))
        span = slice(low, high)
        return Points(self.window_ms[span], self.observed[span], self.expected[span], self.active[span])


def by_window(points: Points) -> Floats:
    """Probability that a failure of each window was the problem's, in [0, 1), floored to four digits.

    Parameters
    ----------
    points : Points
        Of one anomaly, from its onset to its end.

    Returns
    -------
    float64[windows]
        max(0, 1 - sum of expected / sum of observed) over the kernel around each window, times `active`.

    Examples
    --------
    >>> by_window(Points(np.arange(3), np.array([10, 10, 40]), np.array([5.0, 5.0, 5.0]), np.array([0.5, 1, 1])))
    array([0.375, 0.75 , 0.75 ])
    """
    n = len(points.window_ms)
    observed = np.concatenate(([0], np.cumsum(points.observed)))
    expected = np.concatenate(([0.0], np.cumsum(points.expected)))
    at, half = np.arange(n), np.full(n, KERNEL)
    while True:
        low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, n)
        seen = observed[high] - observed[low]
        short = (seen < ENOUGH) & ((low > 0) | (high < n))
        if not short.any():
            break
        half[short] *= 2
    ratio = np.where(seen > 0, (expected[high] - expected[low]) / np.maximum(seen, 1), 1.0)
    share: Floats = np.floor(np.clip((1.0 - ratio) * points.active, 0.0, HIGHEST) * 10_000 + 1e-6) / 10_000
    return share


def probability(points: Points, t_ms: Ints) -> Floats:
    """Probability that failures at `t_ms` were the problem's.

    Parameters
    ----------
    points : Points
        Of one anomaly, from its onset to its end.
    t_ms : int64[failures]
        Moments inside that span. One in a window that has no point yet takes the nearest.

    Returns
    -------
    float64[failures]
        In [0, 1); 0 where there are no points.
    """
    if not len(points.window_ms):
        return np.zeros(len(t_ms))
    index = np.searchsorted(points.window_ms, t_ms, side="right") - 1
    return by_window(points)[np.maximum(index, 0)]
