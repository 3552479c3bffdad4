"""The circuit breaker of one channel: whether it is worth trying now.

    closed ──5 failures of the way in a row──► open ──its time is over──► half-open ──one gets through──► closed
                                                 ▲                            │ it fails: open twice as long
                                                 └────────────────────────────┘
    any ──the other side refuses us (credentials, gone)──► stopped ──a person resumes it──► closed

Pure: a value, and what becomes of it. Only trouble of the way counts (`WAY`): that a message or a recipient is
refused shows that the other side is there.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from streams.outbox.channel import Outcome, Sent

FAILURES = 5
OPEN_MS = 10_000
LONGEST_OPEN_MS = 300_000
WAY = frozenset({"connection", "timeout", "tls", "unavailable", "protocol"})


class Circuit(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Breaker:
    """What is known of a channel.

    Attributes
    ----------
    failures
        Of the way, in a row.
    opened
        Times in a row that it opened without anything getting through.
    until_ms
        Until when it is open; past that it is half-open. None: closed.
    stopped
        Why the other side refuses us; "": it does not.
    since_ms
        Of the state that it is in.
    """

    failures: int = 0
    opened: int = 0
    until_ms: int | None = None
    stopped: str = ""
    since_ms: int = 0

    def state(self, now_ms: int) -> Circuit:
        if self.stopped:
            return Circuit.STOPPED
        if self.until_ms is None:
            return Circuit.CLOSED
        return Circuit.OPEN if now_ms < self.until_ms else Circuit.HALF_OPEN

    def room(self, now_ms: int, in_flight: int, most: int) -> int:
        """Return how many more may be handed over now: a half-open circuit is tried by one at a time."""
        allowed = {Circuit.CLOSED: most, Circuit.HALF_OPEN: 1}.get(self.state(now_ms), 0)
        return max(allowed - in_flight, 0)


def after(breaker: Breaker, sent: Sent, now_ms: int, chance: float) -> Breaker:
    """Return the breaker after an attempt.

    Parameters
    ----------
    chance : float
        In [0, 1): an open circuit stays so up to a fifth longer.

    Examples
    --------
    >>> down, up = Sent(Outcome.AGAIN, reason="connection"), Sent(Outcome.SENT)
    >>> breaker = Breaker()
    >>> for _ in range(FAILURES):
    ...     breaker = after(breaker, down, 0, 0.0)
    >>> breaker.state(9_999).value, breaker.state(10_000).value
    ('open', 'half-open')
    >>> after(breaker, down, 10_000, 0.0).until_ms, after(breaker, up, 10_000, 0.0).state(0).value
    (30000, 'closed')
    """
    if breaker.stopped:
        return breaker
    if sent.stop:
        return Breaker(stopped=sent.reason or "refused", since_ms=now_ms)
    if sent.reason == "rate-limited" and sent.retry_after_s is not None and sent.outcome is Outcome.AGAIN:
        pause_ms = int(min(max(sent.retry_after_s, 0.0) * 1_000, LONGEST_OPEN_MS))
        return replace(breaker, until_ms=max(now_ms + pause_ms, breaker.until_ms or 0), since_ms=now_ms)
    if sent.outcome in (Outcome.SENT, Outcome.FAILED) or sent.reason not in WAY:
        return breaker if breaker == Breaker(since_ms=breaker.since_ms) else Breaker(since_ms=now_ms)
    failures = breaker.failures + 1
    state = breaker.state(now_ms)
    if state is Circuit.OPEN:  # it was under way before
        return breaker
    if state is Circuit.CLOSED and failures < FAILURES:
        return replace(breaker, failures=failures)
    open_ms = min(OPEN_MS * 2 ** min(breaker.opened, 20), LONGEST_OPEN_MS)
    until_ms = now_ms + int(open_ms * (1 + 0.2 * chance))
    return Breaker(failures, breaker.opened + 1, until_ms, since_ms=now_ms)
