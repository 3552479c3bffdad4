"""Texts → integers, a thousand at once: a cache in front of what is dear to compute one by one.

The texts' 64-bit fingerprints are computed as columns; what their buckets do not hold is looked up.

Two texts share a fingerprint with a probability of 2**-64, whoever chose them: it is drawn from a strongly universal
family by a secret. That is as rare as two customers who share their hash, which has 64 bits too.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from detector.decode.buckets import Buckets, Words
from detector.decode.texts import MAX_BYTES, packed
from detector.events import Ints

_UNITS = MAX_BYTES // 4 + 2
_HIGH = np.uint64(0xFFFFFFFF_00000000)


class Remembered:
    """The front of `look_up`, which gives texts their integers: never 0, always the same.

    Parameters
    ----------
    look_up
        Is asked for what is not remembered.
    secret
        Draws the fingerprints.
    """

    def __init__(self, look_up: Callable[[Sequence[str]], Ints], secret: bytes) -> None:
        self._look_up = look_up
        drawn = b"".join(blake2b(secret, salt=bytes([i])).digest() for i in range(2 * _UNITS // 8 + 1))
        self._factors: Words = np.frombuffer(drawn, "<u8")[: 2 * _UNITS].reshape(2, _UNITS).astype(np.uint64)
        self._known = Buckets()

    def forget(self) -> None:
        """Remember nothing: `look_up` gives other integers from now on."""
        self._known.forget()

    def of(self, texts: Sequence[str]) -> Ints | None:
        """int64[texts]: the integer of each, 0 for an empty one; None where any is too long for this."""
        rows = packed(texts)
        if rows is None:
            return None
        units, lengths = rows
        prints = self._fingerprints(units, lengths)
        out = self._known.of(prints)
        missing = np.flatnonzero((out == 0) & (lengths > 0))
        if len(missing):
            out[missing] = self._look_up([texts[i] for i in missing.tolist()])
            self._known.remember(prints[missing], out[missing])
        return out

    def _fingerprints(self, units: NDArray[np.uint32], lengths: Ints) -> Words:
        """uint64[texts]: two sums of units times secret factors, the upper half of each (multilinear hashing).

        References
        ----------
        Lemire & Kaser 2014, "Strongly universal string hashing is fast".
        """
        first, second = self._factors[:, 0:1], self._factors[:, 1:2]
        sums = first + second * lengths.astype(np.uint64)
        for unit, factors in zip(units.T, self._factors[:, 2:].T, strict=False):
            sums += factors[:, None] * unit
        prints: Words = (sums[0] & _HIGH) | (sums[1] >> np.uint64(32))
        return prints
