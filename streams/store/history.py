"""The windows' records as the Desk looks back on them: committed ones from the store, newer ones from memory.

Between two commits the runner hands over what closed (`pending`), and says when it is written (`written`). Records
decoded a moment ago are kept, up to `CACHE_BYTES` of packed size: a case that opens looks back again and again.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from detector.counter.record import WindowRecord
from streams.store import rows
from streams.store import tables as t
from streams.store.store import Store

CACHE_BYTES = 8_000_000
_BATCH = 200

Key = tuple[int, int]


class StoreHistory:
    """`detector.desk.records.History` over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: dict[Key, WindowRecord] = {}
        self._cache: OrderedDict[Key, tuple[int, WindowRecord]] = OrderedDict()
        self._cached_bytes = 0

    def pending(self, records: Iterable[WindowRecord]) -> None:
        """Take records that have closed but are not committed yet."""
        for record in records:
            self._pending[record.window_ms, record.partition] = record

    def written(self) -> None:
        """Forget what is pending: it is committed."""
        self._pending.clear()

    def windows(self, from_ms: int, to_ms: int) -> Iterator[WindowRecord]:
        """Yield records with from_ms <= window_ms < to_ms of all partitions, ordered by (window_ms, partition)."""
        table = t.window_record
        wanted = (
            sa.select(table.c.window_ms, table.c.partition)
            .where(table.c.tenant == self._store.tenant, table.c.window_ms >= from_ms, table.c.window_ms < to_ms)
            .order_by(table.c.window_ms, table.c.partition)
        )
        with self._store.reading() as connection:
            stored: list[Key] = [(row.window_ms, row.partition) for row in connection.execute(wanted)]
        newer = [key for key in self._pending if from_ms <= key[0] < to_ms]
        keys = sorted({*stored, *newer}) if newer else stored
        for i in range(0, len(keys), _BATCH):
            yield from self._load(keys[i : i + _BATCH])

    def _load(self, keys: list[Key]) -> list[WindowRecord]:
        found: dict[Key, WindowRecord] = {}
        for key in keys:
            if key in self._pending:
                found[key] = self._pending[key]
            elif key in self._cache:
                self._cache.move_to_end(key)
                found[key] = self._cache[key][1]
        missing = [key for key in keys if key not in found]
        if missing:
            table = t.window_record
            wanted = sa.select(table).where(
                table.c.tenant == self._store.tenant,
                table.c.window_ms >= missing[0][0],
                table.c.window_ms <= missing[-1][0],
            )
            absent = set(missing)
            with self._store.reading() as connection:
                for row in connection.execute(wanted):
                    key = (row.window_ms, row.partition)
                    if key in absent:
                        found[key] = rows.window_of(row.data)
                        self._keep(key, len(row.data), found[key])
        return [found[key] for key in keys]

    def _keep(self, key: Key, size: int, record: WindowRecord) -> None:
        self._cache[key] = (size, record)
        self._cached_bytes += size
        while self._cached_bytes > CACHE_BYTES:
            _, (gone, _record) = self._cache.popitem(last=False)
            self._cached_bytes -= gone
