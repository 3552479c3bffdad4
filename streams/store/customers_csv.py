"""Reads a customers file: every good row as a value, every bad one with its line and what is wrong with it.

Columns `id, name, language, time_zone, email, phone, consent` and, where they are known, `tier` and `contract_value`;
any further column is one more alias of the customer.
Phones become E.164 (a national number is read as an Indonesian one), e-mail addresses are checked without asking DNS.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from zoneinfo import available_timezones

from detector.decode.customers import phone_e164
from detector.errors import UsageError

COLUMNS = ("id", "name", "language", "time_zone", "email", "phone", "consent")
WORTH = ("tier", "contract_value")
"""What a customer is worth to us: columns that a file may have beside these."""
ALL_CHANNELS = "all"
MAX_TEXT = 200
MAX_TIER = 40

_SEPARATORS = re.compile(r"[;,|\s]+")
_CHANNEL = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_VALUE = re.compile(r"\d{1,12}(\.\d{1,3})?", re.ASCII)
_KNOWN = frozenset((*COLUMNS, *WORTH))

_PLAIN_EMAIL = re.compile(r"[a-z0-9]{1,20}(?:[._-][a-z0-9]{1,20}){0,2}@([a-z0-9.-]{1,100})")
_PLAIN_PHONE = re.compile(r"\+628[1-9]\d{7,10}", re.ASCII)
"""What stands in its normal form already: most of a large file, passed at a hundredth of the cost."""


@dataclass(frozen=True)
class CustomerRow:
    """One customer as the file states them, normalised."""

    line: int
    id: str
    name: str = ""
    language: str = ""
    time_zone: str = ""
    email: str = ""
    phone: str = ""
    consent: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    tier: str | None = None
    contract_value_milli: int | None = None
    """In thousandths."""


@dataclass(frozen=True)
class BadRow:
    """One row, or part of one, that was not taken."""

    line: int
    column: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.column}: expected {self.allowed}, found {self.found!r}"


@dataclass
class Read:
    """A customers file, read."""

    rows: list[CustomerRow] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)


def read_customers(path: Path) -> Read:
    """Return the file's customers, and the rows that are none.

    Raises
    ------
    UsageError
        There is no file, or its first line has no column `id`.
    """
    try:
        stream = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})"
        raise UsageError(message) from error
    with stream:
        return read_stream(stream, str(path))


def read_stream(stream: Iterable[str], label: str) -> Read:
    """Return the customers of a text that is read line by line; `label` names it in messages.

    Raises
    ------
    UsageError
        Its first line has no column `id`.
    """
    out, seen = Read(), dict[str, int]()
    header: list[str] = []
    for line, cells in _lines(csv.reader(stream)):
        if not header:
            header = [cell.strip().lower() for cell in cells]
            if "id" not in header or len(set(header)) < len(header):
                message = f"{label}: line {line}: expected the columns {','.join(COLUMNS)}, each once, found {cells}"
                raise UsageError(message)
            continue
        found = _row(line, header, cells)
        if isinstance(found, CustomerRow) and found.id in seen:
            found = BadRow(line, "id", found.id, f"each customer once (line {seen[found.id]} has this one)")
        if isinstance(found, BadRow):
            out.bad.append(found)
            continue
        seen[found.id] = line
        out.rows.append(found)
    return out


def _lines(reader: "Iterator[list[str]]") -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line where it ends; a row that the csv reader refuses is one empty cell."""
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells = ["\x00"]
        if cells:
            yield reader.line_num, cells  # type: ignore[attr-defined]


def _row(line: int, header: list[str], cells: list[str]) -> CustomerRow | BadRow:
    if len(cells) != len(header):
        return BadRow(line, "row", f"{len(cells)} cells", f"{len(header)} cells as in the first line")
    return checked(line, dict(zip(header, cells, strict=True)))


def checked(line: int, given: Mapping[str, str]) -> CustomerRow | BadRow:
    """Return a customer in normal form, or what is wrong with the first field that is.

    Parameters
    ----------
    line
        Where it stands, for `BadRow`.
    given
        Texts by column; any further one is an alias.
    """
    values = {name: cell.strip() for name, cell in given.items()}
    for name, value in values.items():
        if len(value) > MAX_TEXT or not _printable(value):
            text = value[:20].encode("utf-8", "replace").decode()
            return BadRow(line, name, text, f"plain text of at most {MAX_TEXT} characters in UTF-8")
    if not values["id"]:
        return BadRow(line, "id", "", "the customer's id")
    language, zone = values.get("language", "").lower(), values.get("time_zone", "")
    if language and not _LANGUAGE.fullmatch(language):
        return BadRow(line, "language", language, "a language such as id or en")
    if zone and zone not in _zones():
        return BadRow(line, "time_zone", zone, "a time zone such as Asia/Jakarta")
    email = normal_email(values.get("email", ""))
    if email is None:
        return BadRow(line, "email", values["email"], "an e-mail address")
    phone = normal_phone(values.get("phone", ""))
    if phone is None:
        return BadRow(line, "phone", values["phone"], "a phone number such as +628123456789")
    consent = _consent(values.get("consent", ""))
    if consent is None:
        return BadRow(line, "consent", values["consent"], "channels such as whatsapp;email, all or none")
    tier = values.get("tier", "")
    if len(tier) > MAX_TIER:
        return BadRow(line, "tier", tier[:20], f"a short text such as gold, at most {MAX_TIER} characters")
    worth = values.get("contract_value", "")
    if worth and not _VALUE.fullmatch(worth):
        return BadRow(line, "contract_value", worth, "a number such as 1500000 or 99.95, from 0 and below 10^12")
    return CustomerRow(
        line,
        *(values["id"], values.get("name", ""), language, zone, email, phone, consent),
        aliases=tuple(value for name, value in values.items() if name not in _KNOWN and value),
        tier=tier or None,
        contract_value_milli=_thousandths(worth) if worth else None,
    )


def _thousandths(text: str) -> int:
    whole, _, part = text.partition(".")
    return 1_000 * int(whole) + int(part.ljust(3, "0"))


def normal_email(text: str) -> str | None:
    """Return the address in its normal form, "" for none, None where it is no address."""
    if not text:
        return ""
    plain = _PLAIN_EMAIL.fullmatch(text)
    if plain and _plain_domain(plain[1]):
        return text
    return _validated(text)


def _validated(text: str) -> str | None:
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        return None


@lru_cache(maxsize=65_536)
def _plain_domain(domain: str) -> bool:
    """Whether addresses of this domain are normal as they stand: asked once per domain."""
    return _validated(f"a@{domain}") == f"a@{domain}"


def normal_phone(text: str) -> str | None:
    """Return the number in E.164, "" for none, None where it is no number."""
    if not text or _PLAIN_PHONE.fullmatch(text):
        return text
    return phone_e164(text)


def _consent(text: str) -> tuple[str, ...] | None:
    text = text.lower()
    if text in ("", "none", "no"):
        return ()
    if text in (ALL_CHANNELS, "yes"):
        return (ALL_CHANNELS,)
    channels = sorted(set(_SEPARATORS.split(text)) - {""})
    return tuple(channels) if channels and all(map(_CHANNEL.fullmatch, channels)) else None


def _printable(text: str) -> bool:
    return (text.isascii() and text.isprintable()) or not any(unicodedata.category(c) in _UNPRINTABLE for c in text)


_UNPRINTABLE = {"Cc", "Cs", "Cf", "Co", "Zl", "Zp"}


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
