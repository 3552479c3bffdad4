"""How likely a customer's failure was the problem and not the ordinary failure rate.

From an anomaly's points: where e failures were expected and o observed, a failure was the problem's with probability
1 - e/o. Windows are thin, so both are summed over a kernel around the failure's window, inside the problem only:
before the onset and after the end another rate holds. Where it is uncertain whether the problem was on yet, or still,
that uncertainty is a factor of its own. And where a cell fails more often than the causes' mean anyway, by a weight w,
a failure of it is less likely the problem's: with q = e/o, (1 - q) / (1 - q + q w).
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
    """Share of each window's failures that are ordinary ones, q in [0, 1].

    Parameters
    ----------
    points : Points
        Of one anomaly, from its onset to its end.

    Returns
    -------
    float64[windows]
        min(1, sum of expected / sum of observed) over the kernel around each window.

    Examples
    --------
    >>> by_window(Points(np.arange(3), np.array([10, 10, 40]), np.array([5.0, 5.0, 5.0]), np.ones(3)))
    array([0.25, 0.25, 0.25])
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
    ordinary: Floats = np.clip(ratio, 0.0, 1.0)
    return ordinary


def probability(points: Points, t_ms: Ints, weight: Floats | float = 1.0) -> Floats:
    """Probability that failures at `t_ms` were the problem's, floored to four digits.

    Parameters
    ----------
    points : Points
        Of one anomaly, from its onset to its end.
    t_ms : int64[failures]
        Moments inside that span. One in a window that has no point yet takes the nearest.
    weight : float64[failures]
        How often their cells fail ordinarily, relative to the causes' mean.

    Returns
    -------
    float64[failures]
        In [0, 1); 0 where there are no points.
    """
    if not len(points.window_ms):
        return np.zeros(len(t_ms))
    index = np.maximum(np.searchsorted(points.window_ms, t_ms, side="right") - 1, 0)
    ordinary = by_window(points)[index]
    share = (1.0 - ordinary) / np.maximum(1.0 - ordinary + ordinary * weight, 1e-12) * points.active[index]
    floored: Floats = np.floor(np.clip(share, 0.0, HIGHEST) * 10_000 + 1e-6) / 10_000
    return floored
