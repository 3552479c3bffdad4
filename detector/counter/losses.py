"""What failed tries were worth, in fixed point: thousandths of the signal's unit, which add up the same anywhere.

An amount that is missing or negative is none: 0. A larger one than `MOST_MILLI` counts as that much.
"""

import numpy as np

from detector.events import Floats, Ints

MOST_MILLI = 10**15
"""Of one event: a million million."""


def thousandths(values: Floats) -> Ints:
    """int64[values]: the amounts in thousandths, rounded to even; NaN (absent) is 0.

    Examples
    --------
    >>> thousandths(np.array([84_000.0, 99.95, float("nan"), -5.0, 1e300])).tolist()
    [84000000, 99950, 0, 0, 1000000000000000]
    """
    known = np.where(values > 0, np.minimum(values, MOST_MILLI // 1_000), 0.0)
    out: Ints = np.rint(known * 1_000).astype(np.int64)
    return out


def total_milli(amounts: Ints) -> int:
    """Return the sum, exact however many there are.

    Examples
    --------
    >>> total_milli(np.full(10_000, MOST_MILLI)) == 10_000 * MOST_MILLI
    True
    """
    high, low = np.divmod(amounts, 2**31)
    return (int(high.sum()) << 31) + int(low.sum())
