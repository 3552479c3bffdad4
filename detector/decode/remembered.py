"""Texts → integers, a thousand at once: a cache in front of a dictionary.

A dictionary of many texts costs a few cache misses for each, one after the other; that was the greater part of
decoding. Here the texts' 64-bit fingerprints are computed as columns, and a fingerprint's bucket is one cache line, so
that the misses overlap. What is not found is asked of the dictionary.

Two texts share a fingerprint with a probability of 2**-64, whoever chose them: it is drawn from a strongly universal
family by a secret. That is as rare as two customers who share their hash, which has 64 bits too.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from detector.decode.texts import MAX_BYTES, packed
from detector.events import Ints

_Words = NDArray[np.uint64]

_WAYS = 4
"""Texts in a bucket: four fingerprints and four values are 64 bytes."""
_MIN_BUCKETS, _MAX_BUCKETS = 2**10, 2**19
_UNITS = MAX_BYTES // 4 + 2
_HIGH = np.uint64(0xFFFFFFFF_00000000)


class Remembered:
    """The front of `look_up`, which gives a text's integer: never 0, always the same.

    Parameters
    ----------
    look_up
        Is asked for what is not remembered.
    secret
        Draws the fingerprints.
    """

    def __init__(self, look_up: Callable[[str], int], secret: bytes) -> None:
        self._look_up = look_up
        drawn = b"".join(blake2b(secret, salt=bytes([i])).digest() for i in range(2 * _UNITS // 8 + 1))
        self._factors: _Words = np.frombuffer(drawn, "<u8")[: 2 * _UNITS].reshape(2, _UNITS).astype(np.uint64)
        self.forget()

    def forget(self) -> None:
        """Remember nothing: `look_up` gives other integers from now on."""
        self._empty(_MIN_BUCKETS)

    def of(self, texts: Sequence[str]) -> Ints | None:
        """int64[texts]: the integer of each, 0 for an empty one; None where any is too long for this."""
        rows = packed(texts)
        if rows is None:
            return None
        units, lengths = rows
        prints = self._fingerprints(units, lengths)
        bucket = (prints >> self._shift).astype(np.int64)
        lines = self._table.take(bucket, axis=0)
        found = np.zeros(len(texts), np.uint64)
        for way in range(_WAYS):
            found |= np.where(lines[:, way] == prints, lines[:, _WAYS + way], np.uint64(0))
        out = found.view(np.int64)
        missing = np.flatnonzero((out == 0) & (lengths > 0))
        if len(missing):
            out[missing] = [self._look_up(texts[i]) for i in missing.tolist()]
            self._remember(prints[missing], bucket[missing], out[missing])
        return out

    def _fingerprints(self, units: NDArray[np.uint32], lengths: Ints) -> _Words:
        """uint64[texts]: two sums of units times secret factors, the upper half of each (multilinear hashing).

        References
        ----------
        Lemire & Kaser 2014, "Strongly universal string hashing is fast".
        """
        first, second = self._factors[:, 0:1], self._factors[:, 1:2]
        sums = first + second * lengths.astype(np.uint64)
        for unit, factors in zip(units.T, self._factors[:, 2:].T, strict=False):
            sums += factors[:, None] * unit
        prints: _Words = (sums[0] & _HIGH) | (sums[1] >> np.uint64(32))
        return prints

    def _remember(self, prints: _Words, bucket: Ints, values: Ints) -> None:
        """Take one text more into every bucket that has place for it."""
        bucket, first = np.unique(bucket, return_index=True)
        place = self._taken[bucket] < _WAYS
        bucket, first = bucket[place], first[place]
        way = self._taken[bucket]
        self._table[bucket, way] = prints[first]
        self._table[bucket, _WAYS + way] = values[first].view(np.uint64)
        self._taken[bucket] += 1
        self._known += len(bucket)
        buckets = len(self._table)
        if self._known > buckets and buckets < _MAX_BUCKETS:
            self._empty(4 * buckets)  # It fills again from the dictionary.

    def _empty(self, buckets: int) -> None:
        buckets = min(buckets, _MAX_BUCKETS)
        self._table: _Words = np.zeros((buckets, 2 * _WAYS), np.uint64)
        self._taken: Ints = np.zeros(buckets, np.int64)
        self._shift = np.uint64(64 - buckets.bit_length() + 1)
        self._known = 0
