"""How a webhook is signed and when it is tried again, after Standard Webhooks 1.0.0.

Promises
- The id stays the same over every repetition: the receiver drops what it has seen.
- While a secret is being exchanged a delivery is signed with both.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

SCHEDULE_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The wait before each attempt; after the last one it is given up."""
JITTER_SHARE = 0.1
"""Waits are up to this much longer, so that what failed together does not come back together."""
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_SECRET_BYTES = 32


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed(id: str, body: bytes, keys: Sequence[str], now_ms: int) -> dict[str, str]:
    """Return the headers of a delivery.

    Parameters
    ----------
    keys
        The secrets that hold now.
    """
    from standardwebhooks import Webhook

    at, text = datetime.fromtimestamp(now_ms // 1_000, UTC), body.decode()
    return {
        "Content-Type": CONTENT_TYPE,
        "User-Agent": "tocsin",
        "webhook-id": id,
        "webhook-timestamp": str(now_ms // 1_000),
        "webhook-signature": " ".join(Webhook(key).sign(id, at, text) for key in keys),
    }


def next_wait_ms(
    attempts: int, chance: float, retry_after_s: float | None = None, schedule_s: Sequence[int] = SCHEDULE_S
) -> int | None:
    """Return how long to wait after so many attempts; None: it is given up.

    Examples
    --------
    >>> next_wait_ms(1, 0.0), next_wait_ms(1, 0.5), next_wait_ms(1, 0.0, 60.0), next_wait_ms(10, 0.0)
    (5000, 5250, 60000, None)
    """
    if attempts >= len(schedule_s):
        return None
    wait_ms = schedule_s[attempts] * 1_000 * (1 + JITTER_SHARE * chance)
    return int(max(wait_ms, (retry_after_s or 0.0) * 1_000))
