"""What people tell a Watch: verdicts on its anomalies, planned work, known noise.

A control takes effect with the next window that the Watch takes, so it is a record of the log like any other; the
automatic states of a case are never among them.
"""

from enum import StrEnum

import msgspec


class Judged(msgspec.Struct, frozen=True, tag="judged"):
    """A person's verdict on an anomaly: the thresholds learn from it."""

    anomaly: str
    real: bool


class FactKind(StrEnum):
    MAINTENANCE = "maintenance"  # mutes what lies in it, and teaches nothing
    DEPLOYMENT = "deployment"  # annotates what begins soon after it
    MUTE = "mute"  # known noise: mutes


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag="fact"):
    """Something that people know: from when to when, where, and in which signals.

    Examples
    --------
    >>> fact = Fact(id="f1", kind=FactKind.MAINTENANCE, from_ms=0, until_ms=60_000, where={"bank": "BRI"})
    >>> fact.holds("payments", 0), fact.holds("payments", 60_000)
    (True, False)
    """

    id: str
    kind: FactKind
    from_ms: int
    until_ms: int
    signals: tuple[str, ...] = ()
    """Empty: all signals."""
    where: dict[str, str] = msgspec.field(default_factory=dict)
    """Empty: everywhere. A signal without one of these dimensions is not concerned."""
    text: str = ""
    by: str = ""

    def concerns(self, signal: str, dimensions: tuple[str, ...]) -> bool:
        """Whether a signal with these dimensions has such cells."""
        return (not self.signals or signal in self.signals) and set(self.where) <= set(dimensions)

    def holds(self, signal: str, window_ms: int) -> bool:
        """Whether it names the signal (or none) and covers the window that starts here."""
        return (not self.signals or signal in self.signals) and self.from_ms <= window_ms < self.until_ms

    @property
    def mutes(self) -> bool:
        return self.kind is not FactKind.DEPLOYMENT


class Withdrawn(msgspec.Struct, frozen=True, tag="withdrawn"):
    """A fact that no longer holds: from now on as if it had ended."""

    fact: str
    by: str = ""


Control = Judged | Fact | Withdrawn
