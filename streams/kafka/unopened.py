"""Record batches as aiokafka's compiled parser gives them, not a `ConsumerRecord` each: a third of what a record costs.

aiokafka has no public way for it, so its `PartitionRecords`, which takes a fetch apart, gets a subclass that hands over
whole record batches. Where aiokafka is not as this module knows it, nothing is replaced, and `taken` makes the same of
single records: slower, and the marker that ends a transaction is passed over only when a record follows it.
"""

import inspect
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from aiokafka.consumer import fetcher

_log = logging.getLogger("tocsin.worker")

_GIVEN = (
    *("self", "tp", "records", "aborted_transactions", "fetch_offset"),
    *("key_deserializer", "value_deserializer", "check_crcs", "isolation_level"),
)
_USED = ("_unpack_records", "_consume_aborted_up_to", "_contains_abort_marker")
_READ_COMMITTED = 1


@dataclass(frozen=True, slots=True)
class Taken:
    """What was fetched of a partition, without a gap: records, and where they begin and end in the log.

    Also transactions' markers and what was aborted lie between `first` and `next`; there may be no record at all.
    """

    records: list[Any]
    """Each with `offset`, `timestamp` (ms), `value` and `headers`."""
    first: int
    next: int
    whole: bool = True
    """What the log holds before `first` lies before it; else a marker may lie between that nobody was shown."""


class _RecordBatches(fetcher.PartitionRecords):  # type: ignore[misc]
    """Gives a `Taken` for each record batch, markers and aborted ones too."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Taken]:
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                message = f"Invalid CRC - {self._tp}"
                raise fetcher.Errors.CorruptRecordException(message)
            first, self.next_fetch_offset = self.next_fetch_offset, batch.next_offset
            yield Taken(self._records_of(batch, first), first, batch.next_offset)

    def _records_of(self, batch: Any, first: int) -> list[Any]:
        if self._isolation_level == _READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return []
        if batch.is_control_batch:
            return []
        if batch.base_offset >= first:
            return list(batch)
        return [record for record in batch if record.offset >= first]  # a fetch may begin within a batch


def install() -> bool:
    """Have fetches taken apart batch by batch, in this whole process; returns whether aiokafka allows it."""
    known = tuple(inspect.signature(fetcher.PartitionRecords.__init__).parameters) == _GIVEN
    if not known or not all(hasattr(fetcher.PartitionRecords, name) for name in _USED):
        _log.warning("aiokafka is not the one known here: records are taken one by one, which is slower")
        return False
    fetcher.PartitionRecords = _RecordBatches
    return True


def taken(found: Sequence[Any]) -> Taken:
    """Return what was fetched of a partition as one.

    Examples
    --------
    >>> taken([Taken(["a"], 4, 5), Taken([], 5, 6), Taken(["b", "c"], 6, 8)])
    Taken(records=['a', 'b', 'c'], first=4, next=8, whole=True)
    """
    if not isinstance(found[0], Taken):
        return Taken(list(found), found[0].offset, found[-1].offset + 1, whole=False)
    records = found[0].records if len(found) == 1 else list(chain.from_iterable(one.records for one in found))
    return Taken(records, found[0].first, found[-1].next)
