"""Customers' ids as keyed hashes: what stands for a customer everywhere but in the directory.

An event may name its customer by an alias (a phone number in any form, an e-mail address, a login). The aliases are
hashed as the ids are, so resolving one needs the directory's hashes and none of its text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import phonenumbers

from detector.decode.remembered import Remembered
from detector.events import Ints

_PHONE = re.compile(r"\+?[0-9][0-9 ().\-/]*")
_MIN_DIGITS, _MAX_DIGITS = 7, 15


def customer_key(key: bytes, raw: str) -> int:
    """Return the keyed hash that stands for an id or alias: int64, never 0 (which means no customer).

    Parameters
    ----------
    key
        The store's secret, at most 64 bytes.

    References
    ----------
    BLAKE2b with a key and a digest of 8 bytes (RFC 7693).

    Examples
    --------
    >>> customer_key(b"k", "C-1042"), customer_key(b"j", "C-1042")
    (-4115797263905406715, -5338707498844765099)
    """
    return int.from_bytes(_digest(blake2b(key=key, digest_size=8), raw), "little", signed=True) or 1


def customer_keys(key: bytes, raws: Iterable[str]) -> Ints:
    """int64[ids]: `customer_key` of each."""
    keyed = blake2b(key=key, digest_size=8)
    hashes = np.frombuffer(b"".join([_digest(keyed.copy(), raw) for raw in raws]), "<i8").astype(np.int64)
    hashes[hashes == 0] = 1
    return hashes


def _digest(keyed: blake2b, raw: str) -> bytes:
    keyed.update(raw.encode("utf-8", "surrogatepass"))
    return keyed.digest()


def phone_e164(text: str, region: str = "ID") -> str | None:
    """Return a phone number's E.164 form; None where it is none. `region` says how to read one without its country.

    Examples
    --------
    >>> phone_e164("0812-3456-7890"), phone_e164("6281234567890"), phone_e164("81234567890"), phone_e164("call me")
    ('+6281234567890', '+6281234567890', '+6281234567890', None)
    """
    stripped = text.strip()
    if not _PHONE.fullmatch(stripped.removeprefix("(")):
        return None
    if not _MIN_DIGITS <= sum(c.isdigit() for c in stripped) <= _MAX_DIGITS:
        return None
    try:
        number = phonenumbers.parse(stripped, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def alias_forms(raw: str, region: str = "ID") -> tuple[str, ...]:
    """Return the texts under which a customer named so may be known, the most literal first.

    A run of digits alone is read as a phone number only where it begins as one that is dialled (a country code or a
    trunk 0): a customer number must not be taken for somebody's phone.

    Examples
    --------
    >>> alias_forms("C-1042"), alias_forms("Ani@Example.com"), alias_forms("0812-3456-7890")
    (('C-1042',), ('Ani@Example.com', 'ani@example.com'), ('0812-3456-7890', '+6281234567890'))
    >>> alias_forms("81234567890")
    ('81234567890',)
    """
    if "@" in raw:
        lower = raw.strip().lower()
        return (raw,) if lower == raw else (raw, lower)
    if not raw or not _dialled(raw, region):
        return (raw,)
    number = phone_e164(raw, region)
    return (raw,) if number is None or number == raw else (raw, number)


def _dialled(raw: str, region: str) -> bool:
    text = raw.strip()
    return not text.isdecimal() or text.startswith(("0", str(phonenumbers.country_code_for_region(region))))


class CustomerKeys(dict[str | int | None, int]):
    """Raw id → keyed hash, aliases resolved.

    It remembers what it computed, for speed only: it is emptied when full, and no result depends on it.

    Parameters
    ----------
    key
        The store's secret.
    aliases
        Hash of an alias (or of an id that the directory knows) → hash of the customer. It is read when an id is first
        seen: call `forget` after changing it.
    region
        How to read phone numbers without a country.
    """

    def __init__(
        self, key: bytes, aliases: Mapping[int, int] | None = None, region: str = "ID", *, remembered: int = 2**20
    ) -> None:
        super().__init__()
        self._key, self._aliases, self._region = key, aliases if aliases is not None else {}, region
        self._remembered = remembered
        self._front = Remembered(self._look_up, key)

    def __missing__(self, raw: str | int | None) -> int:
        if len(self) >= self._remembered:
            self.clear()
        if raw is None or raw == "":
            return 0
        hashed = self[raw] = int(self._look_up([str(raw)])[0])
        return hashed

    def _look_up(self, raws: Sequence[str]) -> Ints:
        """int64[ids]: the hash of each id, none of which is empty."""
        hashes = customer_keys(self._key, raws)
        if self._aliases:
            for i, plain in enumerate(hashes.tolist()):
                known = self._aliases.get(plain)
                hashes[i] = self._by_form(raws[i], plain) if known is None else known
        return hashes

    def _by_form(self, raw: str, plain: int) -> int:
        """Return the hash of whom a form of the id names; else of the id as it stands."""
        for form in alias_forms(raw, self._region)[1:]:
            known = self._aliases.get(customer_key(self._key, form))
            if known is not None:
                return known
        return plain

    def column(self, raw: Sequence[str | int | None]) -> Ints:
        """int64[ids]: the hash of each id, 0 where there is none."""
        try:
            hashes = self._front.of(raw)  # type: ignore[arg-type]  # an id that is no text raises TypeError
        except TypeError:
            hashes = self._front.of(["" if one is None else str(one) for one in raw])
        if hashes is None:
            return np.fromiter(map(self.__getitem__, raw), np.int64, len(raw))
        return hashes

    def forget(self) -> None:
        """Remember nothing: the aliases have changed."""
        self.clear()
        self._front.forget()
