"""When a message that could not go is tried again: exponentially later, never before the other side allows it.

Pure: chance comes in as a number.
"""

HOUR_MS = 3_600_000
LONGEST_MS = 6 * HOUR_MS
"""Whatever the other side says and however often it failed, it is tried again within this long."""
JITTER_SHARE = 0.25
"""Waits are up to this much longer, so that what failed together does not come back together."""


def wait_ms(attempts: int, first_ms: int, retry_after_s: float | None, chance: float) -> int:
    """Return how long to wait after so many attempts.

    Parameters
    ----------
    attempts : int
        That were made, at least 1.
    first_ms : int
        The wait after the first; each further one is twice as long.
    retry_after_s : float, optional
        What the other side asks for: the least.
    chance : float
        In [0, 1).

    Examples
    --------
    >>> [wait_ms(n, 30_000, None, 0.0) for n in (1, 2, 3)]
    [30000, 60000, 120000]
    >>> wait_ms(1, 30_000, 90.0, 0.0), wait_ms(1, 30_000, 90.0, 0.5), wait_ms(99, 30_000, None, 0.9)
    (90000, 101250, 21600000)
    """
    doubled = first_ms * 2 ** min(max(attempts - 1, 0), 40)
    asked = 0.0 if retry_after_s is None or retry_after_s != retry_after_s else max(retry_after_s, 0.0) * 1_000
    return int(min(max(doubled, asked) * (1 + JITTER_SHARE * chance), LONGEST_MS))
