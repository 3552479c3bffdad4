"""What a Counter gives when a window closes: the contract between Counter, Watch and Desk.

The store keeps these records for 8 weeks. All counts are integers, so records of several partitions merge exactly, in
any order.
"""

import msgspec
import numpy as np

from detector.events import Ints

FORMAT = 1
"""Version of the persisted format; a new field has a default, a field's type never changes."""


class Histograms(msgspec.Struct, frozen=True):
    """Sparse log-bucket histograms of a value signal: row j says that `cell[j]` has `count[j]` values in `bucket[j]`.

    DDSketch's mapping with relative error `VALUE_ERROR`: bucket b holds (g^(b-1), g^b], g = (1 + error) / (1 -
    error); 0 lies in `ZERO_BUCKET`, and -v in `MIRRORED` - b where v lies in b. Records of the first version hold
    negative values in `ZERO_BUCKET` as well.
    """

    cell: Ints
    bucket: Ints
    count: Ints


VALUE_ERROR = 0.02
ZERO_BUCKET = -(2**31)
MIRRORED = -(2**20)
"""The buckets of negative values lie around it; those of positive doubles reach from -18,612 to 17,744."""


def no_ints() -> Ints:
    return np.zeros(0, np.int64)


class SignalWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One signal's counts in one base window, by finest cell.

    Attributes
    ----------
    cells : list of tuples of str
        Dimension values in the signal's order, sorted; index of the arrays below.
    people : int64[cells]
        k: failures that are evidence (none of this customer was counted for the signal in the 30 minutes before); by
        attempts: all bad events.
    total : int64[cells]
        n: k plus the successes of customers who were not counted in the 30 minutes before. For a count signal all its
        events. For a value signal without a limit (k = 0) one value of each customer in 30 minutes.
    attempts : int64[cells]
        Every bad event.
    bad_customer, bad_cell, bad_time_ms : int64[bad events]
        Every bad event in arrival order; `bad_cell` indexes `cells`; the customer is 0 where there is none.
    back_customer, back_cell, back_time_ms : int64[recoveries]
        The first success of each customer who had failed.
    bad_loss_milli : int64[bad events], or unset
        Where the signal names a loss: what each bad event was worth, in thousandths; 0 where that is not known.
    values : Histograms or None
        Of a value signal: all values of the window; without a limit, the `total` ones that are counted.
    """

    cells: list[tuple[str, ...]]
    people: Ints
    total: Ints
    attempts: Ints
    bad_customer: Ints = msgspec.field(default_factory=no_ints)
    bad_cell: Ints = msgspec.field(default_factory=no_ints)
    bad_time_ms: Ints = msgspec.field(default_factory=no_ints)
    back_customer: Ints = msgspec.field(default_factory=no_ints)
    back_cell: Ints = msgspec.field(default_factory=no_ints)
    back_time_ms: Ints = msgspec.field(default_factory=no_ints)
    values: Histograms | None = None
    bad_loss_milli: Ints | msgspec.UnsetType = msgspec.UNSET


class WindowRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's base window, closed: every signal's counts, and the contacts."""

    tenant: str
    partition: int
    window_ms: int
    """Where the window starts, epoch ms; it is `width_ms` long."""
    width_ms: int
    signals: dict[str, SignalWindow]
    """Only signals with an event in the window."""
    contact_customer: Ints
    contact_time_ms: Ints
    contact_channel: list[str]
    """Customer 0 where the contact named none."""
    events: int = 0
    """Events applied in the window."""
    format: int = FORMAT


def merge_signal(parts: list[SignalWindow]) -> SignalWindow:
    """One signal's window over several partitions or base windows: counts added by cell, events joined in that order.

    Examples
    --------
    >>> one = np.array([1])
    >>> w = SignalWindow(cells=[("a",)], people=one, total=one, attempts=one)
    >>> merge_signal([w, w]).total
    array([2])
    """
    if len(parts) == 1:
        return parts[0]
    cells = sorted({cell for part in parts for cell in part.cells})
    index = {cell: i for i, cell in enumerate(cells)}
    maps = [np.array([index[cell] for cell in part.cells], np.int64) for part in parts]

    def added(name: str) -> Ints:
        out = np.zeros(len(cells), np.int64)
        for part, to in zip(parts, maps, strict=True):
            out[to] += getattr(part, name)
        return out

    def joined(name: str) -> Ints:
        return np.concatenate([getattr(part, name) for part in parts])

    def joined_cells(name: str) -> Ints:
        return np.concatenate(
            [to[getattr(part, name)] if len(to) else no_ints() for part, to in zip(parts, maps, strict=True)]
        )

    losses: Ints | msgspec.UnsetType = msgspec.UNSET
    if any(part.bad_loss_milli is not msgspec.UNSET for part in parts):
        losses = np.concatenate([losses_of(part) for part in parts])
    values = None
    histograms = [(part.values, to) for part, to in zip(parts, maps, strict=True) if part.values is not None]
    if histograms:
        rows = np.concatenate([np.stack([to[h.cell], h.bucket, h.count]) for h, to in histograms], axis=1)
        keys, inverse = np.unique(rows[:2], axis=1, return_inverse=True)
        count = np.zeros(keys.shape[1], np.int64)
        np.add.at(count, inverse.ravel(), rows[2])
        values = Histograms(keys[0], keys[1], count)
    return SignalWindow(
        cells=cells,
        people=added("people"),
        total=added("total"),
        attempts=added("attempts"),
        bad_customer=joined("bad_customer"),
        bad_cell=joined_cells("bad_cell"),
        bad_time_ms=joined("bad_time_ms"),
        back_customer=joined("back_customer"),
        back_cell=joined_cells("back_cell"),
        back_time_ms=joined("back_time_ms"),
        values=values,
        bad_loss_milli=losses,
    )


def losses_of(window: SignalWindow) -> Ints:
    """int64[bad events]: what each was worth, in thousandths; 0 throughout where the signal names no loss."""
    losses = window.bad_loss_milli
    return np.zeros(len(window.bad_customer), np.int64) if losses is msgspec.UNSET else losses
