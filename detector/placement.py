"""Which partition a record belongs to: Kafka's default partitioner, so that files, HTTP and Kafka place alike."""

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


class Placement(dict[str, int]):
    """Key → partition, remembered for speed only: emptied when full."""

    def __init__(self, partitions: int, remembered: int = 2**20) -> None:
        super().__init__()
        self.partitions, self._remembered = partitions, remembered

    def __missing__(self, key: str) -> int:
        if len(self) >= self._remembered:
            self.clear()
        partition = self[key] = partition_of(key, self.partitions)
        return partition
