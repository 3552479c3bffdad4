"""Which partition a record belongs to: Kafka's default partitioner, so that files, HTTP and Kafka place alike."""

from collections.abc import Sequence

import numpy as np

from detector.decode.texts import packed
from detector.events import Ints

_M = 0x5BD1E995
_SEED = 0x9747B28C
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of the bytes, unsigned, as Kafka's Java client computes it.

    References
    ----------
    org.apache.kafka.common.utils.Utils.murmur2; Austin Appleby, MurmurHash2.

    Examples
    --------
    >>> murmur2(b"C-1042")
    3882312131
    """
    whole = len(data) & ~3
    h = _SEED ^ len(data)
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a record with this key: `toPositive(murmur2(key)) % partitions`.

    Examples
    --------
    >>> partition_of("C-1042", 8), partition_of("C-1042", 1)
    (3, 0)
    """
    return (murmur2(key.encode("utf-8", "surrogatepass")) & 0x7FFFFFFF) % partitions


def partitions_of(keys: Sequence[str], partitions: int) -> Ints:
    """int64[keys]: `partition_of` of each.

    Examples
    --------
    >>> partitions_of(["C-1042", "C-7"], 8).tolist() == [partition_of("C-1042", 8), partition_of("C-7", 8)]
    True
    """
    rows = packed(keys)
    if rows is None:
        return np.array([partition_of(key, partitions) for key in keys], np.int64)
    units, lengths = rows
    multiplier, left = np.uint32(_M), lengths.copy()
    h = np.uint32(_SEED) ^ lengths.astype(np.uint32)
    for unit in units.T:
        k = unit * multiplier
        k = (k ^ k >> np.uint32(24)) * multiplier
        # Zero behind the end, so the last unit is what murmur2 makes of the last one to three bytes.
        h = np.where(left >= 4, h * multiplier ^ k, np.where(left > 0, (h ^ unit) * multiplier, h))
        left -= 4
    h = (h ^ h >> np.uint32(13)) * multiplier
    h ^= h >> np.uint32(15)
    return (h & np.uint32(0x7FFFFFFF)).astype(np.int64) % partitions
