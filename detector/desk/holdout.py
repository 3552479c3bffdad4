"""Who is told later on purpose, so that what telling changes can be seen.

A share of a case's customers (`notices.holdout`, none unless it is set) hears of the problem only some time after the
others. Promises: only where every signal of the case says that no more than convenience is at stake, never by
default; who is held out follows from a keyed hash of tenant, case and customer and from nothing else; the side is
settled when a customer is first looked at, before any rule drops them, so that both sides are alike in all but this.
"""

import hashlib
from collections.abc import Iterable

from detector.config import Policy
from detector.desk.policy import Arm
from detector.desk.priority import Stakes
from detector.signals import Mode, Stake

ARMS: tuple[Arm | None, ...] = (None, Arm.IN, Arm.OUT)
"""As the ledger keeps them, by position."""


def compares(mode: Mode, signals: Iterable[str], policy: Policy, stakes: Stakes) -> bool:
    """Whether some of a case's customers are held out."""
    return (
        policy.holdout_share > 0
        and mode is Mode.LIVE
        and all(stakes.get(name) is Stake.CONVENIENCE for name in signals)
    )


def arm_of(tenant: str, case: str, customer: int, share: float) -> Arm:
    """Return a customer's side.

    The key of the hash is in the customer's number, itself a hash under the store's secret.

    Examples
    --------
    >>> sum(arm_of("default", "3f2a", customer, 0.1) is Arm.OUT for customer in range(10_000))
    992
    """
    key = "\x1f".join(("holdout", tenant, case, str(customer))).encode()
    drawn = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64
    return Arm.OUT if drawn < share else Arm.IN
