"""Decides which events may move time: a partition's watermark, and the guard before it.

A live event may be ahead of its ingest time by the skew at most. A recording has no ingest times: there an event that
leaps ahead of the watermark is parked until the records after it agree, so that one line dated 2036 closes nothing
and a true gap of three days stalls nothing. What is decided depends on the records' order alone, never on how they
were cut into batches.
"""

from typing import Any

import numpy as np

from detector.config import DAY_MS, Input
from detector.events import KEPT_BYTES, Batch, Ints

AGREE = 3
"""So many later records (of different customers, where they name one) that lie near or beyond a leap confirm it …"""
DISAGREE = 2
"""… and so many that lie before it refute it."""
PARKED_MAX = 1_000
END_LEAP_MS = 31 * DAY_MS
"""At the end of the input, where nothing speaks against it, a leap this far is believed."""

NEVER = -(2**62)


def take(batch: Batch, rows: Ints, *, keep: bool = False) -> Batch:
    """The given rows of a batch, without what is no event; with `keep`, their bytes (to 4 KiB) are copied out of it."""
    pick = rows.tolist()
    raw = [bytes_of(batch, i)[:KEPT_BYTES] for i in pick] if keep else None
    return Batch(
        position=batch.position[rows],
        time_ms=batch.time_ms[rows],
        ingest_ms=batch.ingest_ms[rows],
        customer=batch.customer[rows],
        raw_customer=[batch.raw_customer[i] for i in pick],
        event_id=[batch.event_id[i] for i in pick],
        fields=[batch.fields[i] for i in pick],
        numbers={name: column[rows] for name, column in batch.numbers.items()},
        partition=batch.partition[rows],
        record=raw.__getitem__ if raw is not None else lambda i: bytes_of(batch, pick[i]),
    )


def joined(first: Batch, second: Batch) -> Batch:
    """Both batches' events, in this order."""
    n = len(first.time_ms)
    return Batch(
        position=np.concatenate([first.position, second.position]),
        time_ms=np.concatenate([first.time_ms, second.time_ms]),
        ingest_ms=np.concatenate([first.ingest_ms, second.ingest_ms]),
        customer=np.concatenate([first.customer, second.customer]),
        raw_customer=first.raw_customer + second.raw_customer,
        event_id=first.event_id + second.event_id,
        fields=first.fields + second.fields,
        numbers={name: np.concatenate([first.numbers[name], column]) for name, column in second.numbers.items()},
        partition=np.concatenate([first.partition, second.partition]),
        record=lambda i: bytes_of(first, i) if i < n else bytes_of(second, i - n),
    )


def bytes_of(batch: Batch, row: int) -> bytes:
    """Row's record as it came, as far as it is still at hand."""
    return batch.record(row) if batch.record else b""


class Gate:
    """A partition's watermark: the highest event time that was let through."""

    def __init__(self, settings: Input) -> None:
        self._settings = settings
        self.watermark_ms = NEVER
        self.parked: Batch | None = None

    def admit(self, batch: Batch) -> tuple[Batch, Batch | None]:
        """Return the events that may be counted now, in order, and those that are refused as far-future.

        The watermark is not moved: the Counter does that as it counts.
        """
        times = batch.time_ms
        live = batch.ingest_ms >= 0
        refused = live & (times > batch.ingest_ms + self._settings.skew_ms)
        if self.parked is None and not refused.any():
            if live.all():
                return batch, None
            ahead = np.maximum.accumulate(np.concatenate([[self.watermark_ms], times[:-1]]))
            if len(times) == 0 or not (~live & (times > ahead + self._settings.leap_ms)).any():
                return batch, None
        everything = batch if self.parked is None else joined(self.parked, batch)
        passed, dead, kept = self._sort_out(everything, ended=False)
        self.parked = take(everything, kept, keep=True) if len(kept) else None
        return take(everything, passed), take(everything, dead, keep=True) if len(dead) else None

    def end(self) -> tuple[Batch | None, Batch | None]:
        """No more records will come: decide about what is parked."""
        if self.parked is None:
            return None, None
        everything, self.parked = self.parked, None
        passed, dead, _ = self._sort_out(everything, ended=True)
        events = take(everything, passed) if len(passed) else None
        return events, take(everything, dead, keep=True) if len(dead) else None

    def _sort_out(self, batch: Batch, *, ended: bool) -> tuple[Ints, Ints, Ints]:
        """Rows to pass, rows to refuse, rows to keep parked: each event judged in turn, as if it came alone."""
        times, ingest, customers = batch.time_ms.tolist(), batch.ingest_ms.tolist(), batch.customer.tolist()
        leap, skew = self._settings.leap_ms, self._settings.skew_ms
        high = self.watermark_ms
        passed, dead = [], []
        n = len(times)
        head = 0
        while head < n:
            time = times[head]
            if ingest[head] >= 0:
                verdict = time <= ingest[head] + skew
            elif time <= high + leap:
                verdict = True
            else:
                answer = self._followers(times, customers, head, leap)
                if answer is None and ended:
                    answer = high == NEVER or time <= high + END_LEAP_MS
                if answer is None and n - head > PARKED_MAX:
                    answer = True
                if answer is None:
                    break
                verdict = answer
            if verdict:
                passed.append(head)
                high = max(high, time)
            else:
                dead.append(head)
            head += 1
        return np.array(passed, np.int64), np.array(dead, np.int64), np.arange(head, n)

    def _followers(self, times: list[int], customers: list[int], head: int, leap: int) -> bool | None:
        """Whether the records after `head` confirm its time; None: not yet known."""
        agreed: set[int] = set()
        agree = disagree = 0
        for i in range(head + 1, min(len(times), head + 1 + PARKED_MAX)):
            if times[i] < times[head] - leap:
                disagree += 1
                if disagree == DISAGREE:
                    return False
            elif customers[i] == 0 or (customers[i] not in agreed and customers[i] != customers[head]):
                agreed.add(customers[i])
                agree += 1
                if agree == AGREE:
                    return True
        return None

    def state(self) -> dict[str, Any]:
        """What `restore` needs. Parked records are kept whole: they have not been counted yet."""
        parked = None
        if self.parked is not None:
            raw = [bytes_of(self.parked, i) for i in range(len(self.parked.time_ms))]
            parked = {**vars(self.parked), "record": raw}
        return {"watermark_ms": self.watermark_ms, "parked": parked}

    def restore(self, state: dict[str, Any]) -> None:
        self.watermark_ms = state["watermark_ms"]
        parked = state["parked"]
        if parked is None:
            self.parked = None
            return
        fields, raw = [tuple(row) for row in parked["fields"]], parked["record"]
        self.parked = Batch(**{**parked, "fields": fields, "record": raw.__getitem__})
