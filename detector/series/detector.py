"""A detector for one plain series, row by row: what was expected, how odd the row is, and when to alert.

A row is scored before it is learned, from the rows before it and nothing else. One configuration and one preset
threshold serve every series; nothing depends on a label, on the series' length, or on what is still to come.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from detector.series.evidence import Counting
from detector.series.value import Value

THRESHOLD = 0.5
"""The preset threshold: a row alerts exactly where its score is at or above it."""
_LARGEST = 1e100


class Kind(Enum):
    """What the numbers are."""

    VALUE = "value"
    COUNT = "count"
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one row; `expected`, `low` and `high` are NaN where nothing is known yet.

    `score`, 0 to 1, says how strongly an incident *begins* here: while one lasts its further rows stay below the
    threshold, unless they are far stronger.
    """

    expected: float
    low: float
    high: float
    score: float
    alert: bool


NOTHING = Row(math.nan, math.nan, math.nan, 0.0, False)


class SeriesDetector:
    """Detection on one series, online.

    Parameters
    ----------
    kind : Kind or str
        "value": any gauge; "count": events per row, watched for too many, too few and none; "share": bad ones of a
        total, watched for too many.

    Examples
    --------
    >>> detector = SeriesDetector("value")
    >>> rows = [detector.step(60_000 * i, 10.0 + i % 5 + (40 if i == 500 else 0)) for i in range(600)]
    >>> [i for i, row in enumerate(rows) if row.alert]
    [500]
    """

    def __init__(self, kind: Kind | str = Kind.VALUE) -> None:
        self.kind = Kind(kind)
        self._engine: Value | Counting = Value() if self.kind is Kind.VALUE else Counting(share=self.kind is Kind.SHARE)

    def step(self, time_ms: int, value: float, total: float | None = None) -> Row:
        """Score one row, then learn it.

        Parameters
        ----------
        time_ms : int
            Epoch ms UTC; may repeat or go back, which only blurs the time of day.
        value : float
            The value, the count, or the number of bad ones; NaN (or an absurd size) is no value: the row scores 0 and
            teaches nothing.
        total : float, optional
            For shares: of how many; 0 is no value.
        """
        if not -_LARGEST < value < _LARGEST:
            return NOTHING
        if isinstance(self._engine, Value):
            expected, low, high, score = self._engine.step(time_ms, value)
        else:
            if self.kind is Kind.SHARE and not (total is not None and total > 0):
                return NOTHING
            size = float(total or 1.0)
            expected, low, high, score = self._engine.step(time_ms, value, size)
            if self.kind is Kind.SHARE:
                expected, low, high = expected / size, low / size, min(1.0, high / size)
        return Row(expected, low, high, score, score >= THRESHOLD)

    def state(self) -> dict[str, Any]:
        """Return everything known, as plain values."""
        return {"kind": self.kind.value, "engine": self._engine.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state()` was taken.

        Raises
        ------
        ValueError
            The state is of another kind or version.
        """
        if state["kind"] != self.kind.value:
            message = f"the state is of kind {state['kind']}, expected {self.kind.value}"
            raise ValueError(message)
        self._engine.restore(state["engine"])
