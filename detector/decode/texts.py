"""Short texts as rows of one array, so that a thousand are hashed by a few dozen passes of numpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.events import Ints

MAX_BYTES = 64
"""Longer texts are not packed."""
_NEWLINE = 0x0A


def packed(texts: Sequence[str]) -> tuple[NDArray[np.uint32], Ints] | None:
    r"""Return the texts as rows of units of 4 bytes, and their lengths; None where any is long or has a newline in it.

    Returns
    -------
    units : uint32[texts, units]
        The UTF-8 bytes, little-endian, zero behind the end.
    lengths : int64[texts]
        In bytes.

    Raises
    ------
    TypeError
        One of them is no text.

    Examples
    --------
    >>> packed(["ab", ""])
    (array([[25185],
           [    0]], dtype=uint32), array([2, 0]))
    """
    chars = np.frombuffer(("\n".join(texts) + "\n").encode(), np.uint8)
    ends = np.flatnonzero(chars == _NEWLINE)
    if len(ends) != len(texts):
        return None
    lengths = np.diff(ends, prepend=-1) - 1
    longest = int(lengths.max())
    if longest > MAX_BYTES:
        return None
    rows = np.zeros((len(texts), (longest + 3) // 4 * 4), np.uint8)
    if longest == int(lengths.min()):
        rows[:, :longest] = chars.reshape(len(texts), longest + 1)[:, :longest]
    else:
        shift = np.arange(len(texts)) * rows.shape[1] - (ends - lengths)
        at = np.repeat(shift, lengths + 1) + np.arange(len(chars))
        inside = chars != _NEWLINE
        rows.reshape(-1)[at[inside]] = chars[inside]
    return rows.view("<u4"), lengths
