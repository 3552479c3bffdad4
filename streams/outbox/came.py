"""What becomes of a row after an attempt: sent, tried again, the next channel, failed, or left to a person. Pure.

What may have gone out once ends as sent, or with a person: it never counts as not told, and no other channel gets it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from streams.outbox.breaker import WAY
from streams.outbox.channel import Outcome, Sent
from streams.outbox.outbox import Item, Result

CRASH = Sent(Outcome.UNKNOWN, "a crash left it unknown", "crash")


@dataclass(frozen=True)
class Rest:
    """What is left for a message that its channel has given up.

    Attributes
    ----------
    channel
        The next one that reaches the customer; None where there is none.
    unsure
        An earlier attempt may have reached them.
    """

    channel: str | None = None
    unsure: bool = False


@dataclass(frozen=True)
class Rules:
    """By what an attempt is judged.

    Attributes
    ----------
    attempts
        On one channel before it is given up.
    resends
        What may have gone out is sent again under the same id; else a person decides.
    down
        The channel was known to be down: it is tried with whatever waits, which is no attempt of the message's own.
    """

    attempts: int
    resends: bool
    down: bool = False


def came(
    item: Item, sent: Sent, rules: Rules, now_ms: int, wait_ms: Callable[[], int], rest: Callable[[], Rest]
) -> Result:
    """Return what becomes of a row.

    Parameters
    ----------
    item : Item
        With this attempt counted.
    wait_ms : callable
        How long to wait before it is tried again.
    rest : callable
        What is left where this channel gives it up.
    """
    reason, detail, attempts = sent.reason, sent.detail, item.attempts
    if sent.outcome is Outcome.SENT:
        return Result(item, "sent", "sent", "", detail, attempts=attempts, reference=sent.reference, tell=True)
    if sent.stop:  # it is not the message's fault: it waits until a person has looked
        return Result(item, "waiting", "again", reason, detail, attempts=attempts - 1, due_ms=now_ms)
    if sent.outcome is Outcome.UNKNOWN:
        if rules.resends and attempts < rules.attempts:
            due_ms = now_ms if sent is CRASH else now_ms + wait_ms()
            return Result(item, "waiting", "unknown", reason, detail, attempts=attempts, due_ms=due_ms)
        return Result(item, "unknown", "unknown", reason, detail, attempts=attempts, tell=True)
    if sent.outcome is Outcome.AGAIN:
        asked = reason == "rate-limited" and sent.retry_after_s is not None
        free = asked or (rules.down and reason in WAY)
        if free or attempts < rules.attempts:
            attempts -= free
            return Result(item, "waiting", "again", reason, detail, attempts=attempts, due_ms=now_ms + wait_ms())
    left = rest()
    if left.unsure:  # neither counted as not told nor told again elsewhere
        return Result(item, "unknown", "again", reason, detail, attempts=attempts, tell=True)
    if left.channel is not None:
        return Result(item, "waiting", "failed", reason, detail, channel=left.channel, due_ms=now_ms)
    return Result(item, "failed", "failed", reason, detail, attempts=attempts, tell=True)
