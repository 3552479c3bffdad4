"""Counter → Watch → Desk: the data's path as one function.

The embedded runner, the backtest, the preview and the tests all drive this. It holds no file, socket or clock: batches in, effects out.
Whoever drives it writes each `Effects`, the new position and (when it likes) `snapshot()` in one transaction; from that snapshot and position the run goes on as if
nothing had happened. What comes out does not depend on how the input was cut into batches.
"""

from collections import Counter as Tally
from dataclasses import dataclass, field

from detector.config import Config
from detector.counter.record import WindowRecord
from detector.desk.records import Command, Delivered, DeskEffects, Directory, History, LogRecord
from detector.events import Batch, Invalid


@dataclass
class Effects:
    """What a step brought. `records == applied + sum(dropped) + len(invalid)` over a whole run (parked events are none of them yet)."""

    records: int = 0
    applied: int = 0
    dropped: Tally[str] = field(default_factory=Tally)
    invalid: list[Invalid] = field(default_factory=list)
    windows: list[WindowRecord] = field(default_factory=list)
    closed: int = 0
    """Base windows that all partitions have closed (empty ones too)."""
    customers: dict[int, str] = field(default_factory=dict)
    """Ids as they came of customers who failed or made contact: bare rows for the directory."""
    log: list[LogRecord] = field(default_factory=list)
    desk: DeskEffects = field(default_factory=DeskEffects)
    warnings: list[str] = field(default_factory=list)
    """For ops, each once: a cap was hit, values folded."""


class Pipeline:
    """One tenant's engines, chained."""

    def __init__(self, config: Config, history: History, directory: Directory, *, partitions: int = 1, learn_only: bool = False) -> None:
        raise NotImplementedError

    def feed(self, batch: Batch) -> Effects:
        """Take a batch of events, in the source's order."""
        raise NotImplementedError

    def tick(self, now_ms: int) -> Effects:
        """Let time pass on a live source: idle partitions' windows close."""
        raise NotImplementedError

    def end(self) -> Effects:
        """The input has ended: every partition's windows close, up to the highest of any."""
        raise NotImplementedError

    def command(self, payload: Command | Delivered, now_ms: int | None = None) -> Effects:
        """Apply a person's command or a delivery's outcome between two windows.

        Raises
        ------
        UsageError
            The case is unknown, or its state does not allow it; nothing has changed.
        """
        raise NotImplementedError

    def snapshot(self) -> bytes:
        """All state, packed."""
        raise NotImplementedError

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot. A signal whose configuration changed starts anew."""
        raise NotImplementedError
