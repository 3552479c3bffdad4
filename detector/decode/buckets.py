"""64-bit fingerprints → integers, a thousand at once.

A dictionary costs a few cache misses for each look-up, one after the other. Here a fingerprint's bucket is one cache
line, so that the misses of a whole column overlap. It is a cache: what finds no place is forgotten.
"""

import numpy as np
from numpy.typing import NDArray

from detector.events import Ints

Words = NDArray[np.uint64]

_WAYS = 4
"""Fingerprints in a bucket: four of them and four integers are 64 bytes."""
_MIN_BUCKETS, _MAX_BUCKETS = 2**10, 2**19


class Buckets:
    """Fingerprints, spread evenly over all 64 bits, and the integer of each, which is never 0.

    Examples
    --------
    >>> known, prints = Buckets(), np.array([2**63, 5], np.uint64)
    >>> known.remember(prints[:1], np.array([7]))
    >>> known.of(prints).tolist()
    [7, 0]
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Remember nothing."""
        self._empty(_MIN_BUCKETS)

    def of(self, prints: Words) -> Ints:
        """int64[prints]: the integer of each, 0 where it is not remembered."""
        lines = self._table.take((prints >> self._shift).astype(np.int64), axis=0)
        found = np.zeros(len(prints), np.uint64)
        for way in range(_WAYS):
            found |= np.where(lines[:, way] == prints, lines[:, _WAYS + way], np.uint64(0))
        return found.view(np.int64)

    def remember(self, prints: Words, values: Ints) -> None:
        """Take one fingerprint more, of those that are not remembered, into every bucket that has place for it."""
        bucket, first = np.unique((prints >> self._shift).astype(np.int64), return_index=True)
        place = self._taken[bucket] < _WAYS
        bucket, first = bucket[place], first[place]
        way = self._taken[bucket]
        self._table[bucket, way] = prints[first]
        self._table[bucket, _WAYS + way] = values[first].view(np.uint64)
        self._taken[bucket] += 1
        self._known += len(bucket)
        buckets = len(self._table)
        if self._known > buckets and buckets < _MAX_BUCKETS:
            self._empty(4 * buckets)  # It fills again.

    def _empty(self, buckets: int) -> None:
        buckets = min(buckets, _MAX_BUCKETS)
        self._table: Words = np.zeros((buckets, 2 * _WAYS), np.uint64)
        self._taken: Ints = np.zeros(buckets, np.int64)
        self._shift = np.uint64(64 - buckets.bit_length() + 1)
        self._known = 0
