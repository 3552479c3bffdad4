"""Links by which a customer withdraws their consent to a channel, without signing in.

The token says who and which channel, and is signed with a key derived from the store's customer key: it cannot be
made or changed by anyone else, holds no id or address, and works as long as the store keeps its key. Another tenant's
token is none.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

_CHANNEL = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_KEY_BYTES, _MAC_BYTES, _MAX_TOKEN = 8, 16, 200


@dataclass(frozen=True)
class Unsubscribed:
    """What a token says."""

    customer: int
    """The customer's key, as the directory has it."""
    channel: str


class Links:
    """Makes and reads the links of one tenant.

    Parameters
    ----------
    customer_key : bytes
        The store's.
    tenant : str
    public_url : str or None
        How others reach the service; without it there are no links.
    """

    def __init__(self, customer_key: bytes, tenant: str, public_url: str | None = None) -> None:
        self._key = hmac.digest(customer_key, b"unsubscribe", hashlib.sha256)
        self._tenant, self._base = tenant, (public_url or "").rstrip("/")

    def url(self, customer: int, channel: str) -> str:
        """Return the link; "" where nobody could reach it."""
        return f"{self._base}/u/{self.token(customer, channel)}" if self._base else ""

    def token(self, customer: int, channel: str) -> str:
        payload = customer.to_bytes(_KEY_BYTES, "big", signed=True) + channel.encode("ascii")
        return base64.urlsafe_b64encode(self._mac(payload) + payload).rstrip(b"=").decode()

    def read(self, token: str) -> Unsubscribed | None:
        """Return what a token says; None where it is not ours.

        Examples
        --------
        >>> links = Links(bytes(32), "shop", "https://tocsin.example")
        >>> links.read(links.token(-5, "email"))
        Unsubscribed(customer=-5, channel='email')
        >>> links.read("A" + links.token(-5, "email")), links.read("")
        (None, None)
        """
        if not token.isascii() or len(token) > _MAX_TOKEN:
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        mac, payload = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            return None
        channel = payload[_KEY_BYTES:].decode("ascii", "replace")
        if not _CHANNEL.fullmatch(channel):
            return None
        return Unsubscribed(int.from_bytes(payload[:_KEY_BYTES], "big", signed=True), channel)

    def _mac(self, payload: bytes) -> bytes:
        text = self._tenant.encode() + b"\x1f" + payload
        return hmac.digest(self._key, text, hashlib.sha256)[:_MAC_BYTES]
