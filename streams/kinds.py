"""Reads single values of a configuration: durations, names, times of day, addresses of the web.

Each either returns what it read, or says what is allowed there and what to do.
"""

import re
from datetime import date
from ipaddress import ip_address, ip_network
from typing import Annotated, LiteralString, NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from detector.budgets import BUDGET_ALLOWED, parse_budget
from detector.calendar import Like, OwnDay, known_countries
from detector.config import Budget, QuietHours
from detector.fields import Fields, did_you_mean, duration_text, join, listed, parse_duration_ms, shown
from detector.signals import Condition, Severity, parse_conditions

_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

INNER: LiteralString = "problems"
"""Type of an error that carries the problems of a value with fields of its own."""
SECRET: LiteralString = "secret"
"""Type of an error whose input is not shown."""


def refuse(allowed: str, do: str = "", *, found: str = "", kind: LiteralString = "refused") -> NoReturn:
    """Refuse a value, saying what is allowed; and what was found, where the value itself does not show it."""
    raise PydanticCustomError(kind, "{allowed}", {"allowed": allowed, "do": do, "found": found})


class Duration(BeforeValidator):
    """Reads a duration within bounds as milliseconds."""

    def __init__(self, low_ms: int, high_ms: int, *, none: bool = False) -> None:
        def read(value: object) -> int | None:
            if none and value == "none":
                return None
            ms = parse_duration_ms(value)
            if ms is None:
                refuse("a duration such as 10s" + (", or none" if none else ""))
            if not low_ms <= ms <= high_ms:
                refuse(f"a duration from {duration_text(low_ms)} to {duration_text(high_ms)}")
            return ms

        super().__init__(read)


def _budget(value: object) -> Budget:
    budget = parse_budget(value)
    if budget is None:
        refuse(BUDGET_ALLOWED)
    return budget


def _quiet_hours(value: object) -> QuietHours:
    if value == "none":
        return QuietHours(0, 0)
    match = _QUIET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        refuse('local times of day such as "21:00-07:00", or none')
    start_hour, start_minute, end_hour, end_minute = map(int, match.groups())
    return QuietHours(start_hour * 60 + start_minute, end_hour * 60 + end_minute)


def _contacts(value: object) -> tuple[Condition, ...]:
    fields = Fields("")
    conditions = parse_conditions(fields, value, "")
    if fields.problems:
        raise PydanticCustomError(INNER, INNER, {"problems": fields.problems})
    if not conditions:
        refuse("conditions: {field: value}", "with none, every event would be a contact")
    return conditions


def _time_zone(value: object) -> str:
    try:
        if isinstance(value, str):
            return ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        pass
    refuse("a time zone such as Asia/Jakarta", did_you_mean(value, available_timezones()))


def _country(value: object) -> str | None:
    if value == "none":
        return None
    known = known_countries()
    if isinstance(value, str) and value in known:
        return value
    refuse("a country's code of two letters such as ID, or none", did_you_mean(value, known))


MAX_OWN_DAYS = 500
MAX_SPAN_DAYS = 60


def _own_days(value: object) -> tuple[OwnDay, ...]:
    fields = Fields("")
    items = fields.items([] if value is None else value, "")
    if len(items) > MAX_OWN_DAYS:
        fields.complain("", f"{len(items)} entries", f"at most {MAX_OWN_DAYS}")
    found = [_own_day(fields, item, path) for path, item in items]
    if fields.problems:
        raise PydanticCustomError(INNER, INNER, {"problems": fields.problems})
    return tuple(own for own in found if own is not None)


def _own_day(fields: Fields, item: object, path: str) -> OwnDay | None:
    given = fields.mapping(item, path, ("name", "date", "from", "until", "like"))
    if not isinstance(item, dict):
        return None
    name = fields.text(given.get("name"), join(path, "name"), longest=60)
    like = fields.choice(given.get("like", Like.OWN.value), join(path, "like"), [str(like) for like in Like])
    if ("date" in given) == ("from" in given or "until" in given):
        fields.complain(path, f"the fields {listed(given)}" if given else "nothing", "a date, or from and until")
        return None
    keys = ("date", "date") if "date" in given else ("from", "until")
    dates = {key: _date(fields, given.get(key), join(path, key)) for key in dict.fromkeys(keys)}
    first, last = dates[keys[0]], dates[keys[1]]
    if first is None or last is None or name is None or like is None:
        return None
    if not 0 <= (last - first).days < MAX_SPAN_DAYS:
        allowed = f"from {first} on, and at most {MAX_SPAN_DAYS} days in all"
        fields.complain(join(path, "until"), shown(str(last)), allowed)
        return None
    return OwnDay(name=name, first=first, last=last, like=Like(like))


def _date(fields: Fields, value: object, path: str) -> date | None:
    try:
        if isinstance(value, str) and len(value) == len("2026-11-11"):
            return date.fromisoformat(value)
    except ValueError:
        pass
    fields.complain(path, shown(value), "a date such as 2026-11-11")
    return None


def _name(value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value) and len(value) <= 60:
        return value
    refuse("a name of lower-case letters, digits and dashes, at most 60 long")


def _channels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) and _NAME.fullmatch(v) for v in value):
        refuse("a list of channels such as [whatsapp, email]")
    if len(set(value)) < len(value):
        refuse("each channel once")
    return tuple(value)


def _tenant_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        refuse("a list of tenants such as [toko, bank]")
    return tuple(dict.fromkeys(map(_name, value)))


def _severities(value: object) -> tuple[Severity, ...]:
    known = [severity.value for severity in Severity]
    if not isinstance(value, list | tuple) or not set(value) <= set(known):
        refuse(f"a list of {listed(known)}")
    return tuple(Severity(name) for name in dict.fromkeys(value))


def _networks(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        try:
            ip_network(text)
        except ValueError:
            refuse("networks such as [10.1.0.0/16]", f"{shown(text)} is none")
    return texts


def or_empty(value: object) -> object:
    return {} if value is None else value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) and v for v in value):
        refuse("a list of texts")
    return tuple(value)


def _proxies(value: object) -> tuple[str, ...]:
    """Read addresses and networks that are believed: never everybody."""
    found = _texts(value)
    for text in found:
        try:
            if ip_network(text, strict=False).prefixlen > 0:
                continue
        except ValueError:
            pass
        refuse("addresses or networks such as 10.0.0.5 or 10.0.0.0/24, and not everybody's")
    return found


def _origin(value: object) -> str | None:
    """Read an address of the web without a path."""
    return None if value is None else _web_address(value, path=False)


def _issuer(value: object) -> str:
    """Read an identity provider's address: encrypted, but on this machine."""
    text = _web_address(value, path=True)
    host = urlsplit(text).hostname
    if not text.startswith("https:") and host not in ("localhost", "127.0.0.1", "::1"):
        refuse("an address such as https://id.example", "who signs in must not be told over an unencrypted way")
    return text


def _web_address(value: object, *, path: bool) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() and " " not in value else None
        _port = parts.port if parts else None
    except ValueError:
        parts = None
    plain = parts is not None and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts is None or not plain or parts.scheme not in ("https", "http") or not parts.hostname:
        refuse("an address such as https://tocsin.example")
    if not path and parts.path not in ("", "/"):
        refuse("an address such as https://tocsin.example, without a path", "give the service a name of its own")
    return str(value).rstrip("/")


def _hosts(value: object) -> tuple[str, ...]:
    found = _texts(value)
    for text in found:
        if not _HOST.fullmatch(text) and not is_address(text):
            refuse("names such as tocsin.internal, without a port")
    return found


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
KAFKA_PORT = 9092


def _topic(value: object) -> str:
    if isinstance(value, str) and _TOPIC.fullmatch(value) and value not in (".", ".."):
        return value
    refuse("a name of letters, digits, dots, dashes and underscores, at most 249 long")


def parse_brokers(value: object) -> tuple[str, ...] | None:
    """Return addresses as `host:port`, from a list or a text with commas; None where they are none.

    Examples
    --------
    >>> parse_brokers("kafka-1,kafka-2:9094"), parse_brokers(["[::1]:9092"]), parse_brokers("kafka:high")
    (('kafka-1:9092', 'kafka-2:9094'), ('[::1]:9092',), None)
    """
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts:
        return None
    found = [_broker(text) for text in texts]
    return None if None in found else tuple(dict.fromkeys(text for text in found if text is not None))


def _broker(value: object) -> str | None:
    match = _BROKER.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    host, port = match[1], int(match[2] or KAFKA_PORT)
    good = is_address(host[1:-1]) if host.startswith("[") else _HOST.fullmatch(host)
    return f"{host}:{port}" if good and 0 < port < 65_536 else None


_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")


def _brokers(value: object) -> tuple[str, ...]:
    found = parse_brokers(value) if isinstance(value, list | tuple) else None
    if found is None:
        refuse("a list of addresses such as [kafka-1:9092, kafka-2:9092]")
    return found


_LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
OWN_LABELS = ("alertname", "tenant", "case", "severity", "signal")
"""Labels that every case has as an alert."""
MOST_LABELS, LONGEST_LABEL = 10, 200


def label_of(dimension: str) -> str:
    """Return what a dimension is called as a label.

    Examples
    --------
    >>> label_of("app-version")
    'app_version'
    """
    return re.sub(r"[^a-zA-Z0-9_]", "_", dimension)


def _labels(value: object) -> dict[str, str]:
    given = or_empty(value)
    if not isinstance(given, dict) or len(given) > MOST_LABELS:
        refuse(f"a mapping of at most {MOST_LABELS} labels such as {{team: payments}}")
    for name, text in given.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or name in OWN_LABELS:
            refuse(f"labels of letters, digits and underscores, other than {listed(OWN_LABELS)}")
        if not isinstance(text, str) or not 0 < len(text) <= LONGEST_LABEL or not text.isprintable():
            refuse(f"a text of 1 to {LONGEST_LABEL} characters for each label")
    return dict(given)


def _label_dimensions(value: object) -> tuple[str, ...]:
    found = _texts(value)
    names = [label_of(text) for text in found]
    if len(set(names)) < len(names) or len(names) > MOST_LABELS or not all(map(_LABEL.fullmatch, names)):
        refuse(f"a list of at most {MOST_LABELS} dimensions such as [bank], each once")
    if set(names) & set(OWN_LABELS):
        refuse(f"dimensions that are not called {listed(OWN_LABELS)}")
    return found


_HEADER = re.compile(r"[A-Za-z0-9-]{1,60}")
_OUR_HEADERS = ("host", "content-length", "content-type", "transfer-encoding", "connection")


def header_name(value: object) -> str:
    """Read a header's name."""
    if not isinstance(value, str) or not _HEADER.fullmatch(value) or value.lower() in _OUR_HEADERS:
        refuse("a header's name such as Authorization")
    return value


BudgetText = Annotated[Budget, BeforeValidator(_budget)]
QuietTimes = Annotated[QuietHours, BeforeValidator(_quiet_hours)]
Contacts = Annotated[tuple[Condition, ...], BeforeValidator(_contacts)]
TimeZone = Annotated[str, BeforeValidator(_time_zone)]
Country = Annotated[str | None, BeforeValidator(_country)]
OwnDays = Annotated[tuple[OwnDay, ...], BeforeValidator(_own_days)]
Name = Annotated[str, BeforeValidator(_name)]
Channels = Annotated[tuple[str, ...], BeforeValidator(_channels)]
TenantNames = Annotated[tuple[str, ...], BeforeValidator(_tenant_names)]
Severities = Annotated[tuple[Severity, ...], BeforeValidator(_severities)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_networks)]
Proxies = Annotated[tuple[str, ...], BeforeValidator(_proxies)]
Origin = Annotated[str | None, BeforeValidator(_origin)]
Issuer = Annotated[str, BeforeValidator(_issuer)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(_hosts)]
Topic = Annotated[str, BeforeValidator(_topic)]
Brokers = Annotated[tuple[str, ...], BeforeValidator(_brokers)]
AlertLabels = Annotated[dict[str, str], BeforeValidator(_labels)]
LabelDimensions = Annotated[tuple[str, ...], BeforeValidator(_label_dimensions)]
HeaderName = Annotated[str, BeforeValidator(header_name)]
