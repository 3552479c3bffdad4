"""What tocsin.yml may hold: every field with its type, default and meaning.

The reference page is made of these models. They take plain values (`streams/yamlfile.py`) and list every mistake at
once, in the words of `detector.errors.Problem`.
"""

import re
from dataclasses import replace
from datetime import date
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal, LiteralString, NoReturn, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import ErrorDetails, PydanticCustomError

from detector.budgets import BUDGET_ALLOWED, parse_budget
from detector.calendar import COUNTRY, ZONE, Like, OwnDay, known_countries
from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, Budget, QuietHours
from detector.errors import ConfigError, Problem
from detector.fields import Fields, did_you_mean, duration_text, join, listed, parse_duration_ms, shown
from detector.signals import Condition, Severity, parse_conditions

_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


_INNER: LiteralString = "problems"
"""Type of an error that carries the problems of a value with fields of its own."""
_SECRET: LiteralString = "secret"
"""Type of an error whose input is not shown."""


def _refuse(allowed: str, do: str = "", *, kind: LiteralString = "refused") -> NoReturn:
    raise PydanticCustomError(kind, "{allowed}", {"allowed": allowed, "do": do})


# --- kinds of values ------------------------------------------------------------------------------------------------


class Duration(BeforeValidator):
    """Reads a duration within bounds as milliseconds."""

    def __init__(self, low_ms: int, high_ms: int, *, none: bool = False) -> None:
        def read(value: object) -> int | None:
            if none and value == "none":
                return None
            ms = parse_duration_ms(value)
            if ms is None:
                _refuse("a duration such as 10s" + (", or none" if none else ""))
            if not low_ms <= ms <= high_ms:
                _refuse(f"a duration from {duration_text(low_ms)} to {duration_text(high_ms)}")
            return ms

        super().__init__(read)


def _budget(value: object) -> Budget:
    budget = parse_budget(value)
    if budget is None:
        _refuse(BUDGET_ALLOWED)
    return budget


def _quiet_hours(value: object) -> QuietHours:
    if value == "none":
        return QuietHours(0, 0)
    match = _QUIET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        _refuse('local times of day such as "21:00-07:00", or none')
    start_hour, start_minute, end_hour, end_minute = map(int, match.groups())
    return QuietHours(start_hour * 60 + start_minute, end_hour * 60 + end_minute)


def _contacts(value: object) -> tuple[Condition, ...]:
    fields = Fields("")
    conditions = parse_conditions(fields, value, "")
    if fields.problems:
        raise PydanticCustomError(_INNER, _INNER, {"problems": fields.problems})
    if not conditions:
        _refuse("conditions: {field: value}", "with none, every event would be a contact")
    return conditions


def _time_zone(value: object) -> str:
    try:
        if isinstance(value, str):
            return ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        pass
    _refuse("a time zone such as Asia/Jakarta", did_you_mean(value, available_timezones()))


def _country(value: object) -> str | None:
    if value == "none":
        return None
    known = known_countries()
    if isinstance(value, str) and value in known:
        return value
    _refuse("a country's code of two letters such as ID, or none", did_you_mean(value, known))


MAX_OWN_DAYS = 500
MAX_SPAN_DAYS = 60


def _own_days(value: object) -> tuple[OwnDay, ...]:
    fields = Fields("")
    items = fields.items([] if value is None else value, "")
    if len(items) > MAX_OWN_DAYS:
        fields.complain("", f"{len(items)} entries", f"at most {MAX_OWN_DAYS}")
    found = [_own_day(fields, item, path) for path, item in items]
    if fields.problems:
        raise PydanticCustomError(_INNER, _INNER, {"problems": fields.problems})
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
    _refuse("a name of lower-case letters, digits and dashes, at most 60 long")


def _channels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) and _NAME.fullmatch(v) for v in value):
        _refuse("a list of channels such as [whatsapp, email]")
    if len(set(value)) < len(value):
        _refuse("each channel once")
    return tuple(value)


def _severities(value: object) -> tuple[Severity, ...]:
    known = [severity.value for severity in Severity]
    if not isinstance(value, list | tuple) or not set(value) <= set(known):
        _refuse(f"a list of {listed(known)}")
    return tuple(Severity(name) for name in dict.fromkeys(value))


def _networks(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        try:
            ip_network(text)
        except ValueError:
            _refuse("networks such as [10.1.0.0/16]", f"{shown(text)} is none")
    return texts


def _or_empty(value: object) -> object:
    return {} if value is None else value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) and v for v in value):
        _refuse("a list of texts")
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
        _refuse("addresses or networks such as 10.0.0.5 or 10.0.0.0/24, and not everybody's")
    return found


def _origin(value: object) -> str | None:
    """Read an address of the web without a path."""
    return None if value is None else _web_address(value, path=False)


def _issuer(value: object) -> str:
    """Read an identity provider's address: encrypted, but on this machine."""
    text = _web_address(value, path=True)
    host = urlsplit(text).hostname
    if not text.startswith("https:") and host not in ("localhost", "127.0.0.1", "::1"):
        _refuse("an address such as https://id.example", "who signs in must not be told over an unencrypted way")
    return text


def _web_address(value: object, *, path: bool) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() and " " not in value else None
        _port = parts.port if parts else None
    except ValueError:
        parts = None
    plain = parts is not None and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts is None or not plain or parts.scheme not in ("https", "http") or not parts.hostname:
        _refuse("an address such as https://tocsin.example")
    if not path and parts.path not in ("", "/"):
        _refuse("an address such as https://tocsin.example, without a path", "give the service a name of its own")
    return str(value).rstrip("/")


def _hosts(value: object) -> tuple[str, ...]:
    found = _texts(value)
    for text in found:
        if not _HOST.fullmatch(text) and not _is_address(text):
            _refuse("names such as tocsin.internal, without a port")
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


Name = Annotated[str, BeforeValidator(_name)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_networks)]


# --- tocsin.yml -----------------------------------------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _nothing_is_the_defaults(cls, value: object) -> object:
        return _or_empty(value)


_REFERENCE = "{env: NAME} or {file: PATH}"


class SecretReference(_Section):
    """Where a secret is: `{env: NAME}` or `{file: PATH}`."""

    env: str | None = Field(default=None, description="An environment variable that holds it.")
    file: str | None = Field(default=None, description="A file that holds it, relative to the configuration.")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _by_reference(cls, value: object) -> object:
        if not isinstance(value, dict | SecretReference):
            _refuse(_REFERENCE, "a secret in a configuration is no secret", kind=_SECRET)
        return value

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            _refuse(_REFERENCE)
        if self.env is not None and not _ENVIRONMENT_NAME.fullmatch(self.env):
            _refuse(_REFERENCE, "a name is made of letters, digits and underscores")
        return self


class InputSection(_Section):
    """How events are read into windows."""

    format: Name = Field(default="json", description="The format of the input unless a command names another.")
    window: Annotated[int, Duration(1_000, HOUR_MS)] = Field(
        default=MINUTE_MS, description="The base window; a signal's window is a multiple of it."
    )
    lateness: Annotated[int, Duration(0, DAY_MS)] = Field(
        default=2 * MINUTE_MS, description="A window closes when events this much later than its end have been seen."
    )
    skew: Annotated[int, Duration(0, DAY_MS)] = Field(
        default=5 * MINUTE_MS, description="An event may be this far ahead of the moment it entered."
    )
    leap: Annotated[int, Duration(MINUTE_MS, 365 * DAY_MS)] = Field(
        default=HOUR_MS, description="In a recording an event this far ahead waits until later ones confirm the time."
    )
    people: Annotated[int, Duration(0, DAY_MS)] = Field(
        default=30 * MINUTE_MS, description="A customer's failures within this long are one piece of evidence."
    )
    recovery: Annotated[int, Duration(MINUTE_MS, 56 * DAY_MS)] = Field(
        default=3 * DAY_MS, description="How long a customer's success after a failure is waited for."
    )


class LimitsSection(_Section):
    """What bounds memory, whatever the stream holds."""

    values: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Values per dimension; further ones count as one."
    )
    cells: int = Field(default=50_000, ge=1, le=10_000_000, description="Combinations of dimension values per signal.")
    unrecovered: int = Field(
        default=1_000_000,
        ge=1,
        le=100_000_000,
        description="Customers per signal whose success is waited for; oldest go first.",
    )
    record_bytes: int = Field(
        default=262_144, ge=256, le=67_108_864, description="Larger records go to the dead letters unread."
    )


class NoticesSection(_Section):
    """Whom to tell, when, how often."""

    send: bool = Field(
        default=False, description="false: dry run, every notice is decided and stored, none leaves the house."
    )
    channels: Annotated[tuple[str, ...], BeforeValidator(_channels)] = Field(
        default=("whatsapp", "email"), description="In order of preference, as far as the customer consents."
    )
    quiet_hours: Annotated[QuietHours, BeforeValidator(_quiet_hours)] = Field(
        default=QuietHours(), description='Nobody is told between these times of their own day: "21:00-07:00", or none.'
    )
    per_day: int = Field(default=2, ge=0, le=100, description="Notices a customer may get in 24 hours, over all cases.")
    stale_after: Annotated[int, Duration(MINUTE_MS, 7 * DAY_MS)] = Field(
        default=6 * HOUR_MS,
        description="This long after the customer's failure a notice is not sent; what is owed then, a day after.",
    )
    min_probability: float = Field(
        default=0.5, ge=0, le=1, description="A customer is told only if it was the problem with this probability."
    )
    hold_in_contact: Annotated[int, Duration(0, 30 * DAY_MS)] = Field(
        default=DAY_MS, description="Who contacted us within this long is in contact already and is not told."
    )
    language: Literal["en", "id"] = Field(default="id", description="For customers whose language is not known.")
    time_zone: Annotated[str, BeforeValidator(_time_zone)] = Field(
        default="Asia/Jakarta", description="For customers whose time zone is not known."
    )

    approval: Annotated[tuple[Severity, ...], BeforeValidator(_severities)] = Field(
        default=(), description="Severities of which a person approves a case before anyone is told: [critical, high]."
    )
    per_case: int | None = Field(
        default=None, ge=1, description="So many customers of a case are told before a person approves the rest."
    )
    follow_up: Annotated[int | None, Duration(10 * MINUTE_MS, 7 * DAY_MS, none=True)] = Field(
        default=None, description="Who was told and is still failing hears once more after this long; none: never."
    )
    holdout: float = Field(
        default=0.0, ge=0, le=0.5, description="Share of the eligible customers that is told later, to see the effect."
    )
    holdout_for: Annotated[int, Duration(MINUTE_MS, DAY_MS)] = Field(
        default=2 * HOUR_MS, description="How much later the customers of the holdout are told."
    )


class SendingSection(_Section):
    """How fast notices leave the house. What is over a limit waits; after a while ops are told."""

    per_hour: int = Field(default=1_000, ge=1, description="Notices an hour, over all signals.")
    per_signal_hour: int = Field(default=500, ge=1, description="Notices an hour of one signal.")
    attempts: int = Field(default=8, ge=1, le=50, description="Attempts on one channel before it is given up.")
    first_retry: Annotated[int, Duration(1_000, HOUR_MS)] = Field(
        default=30_000, description="Wait before the second attempt; each further one waits twice as long."
    )
    templates: str = Field(
        default="templates", description="Folder of your own words, relative to this file; see docs/notices.md."
    )
    links: Texts = Field(default=(), description="Hosts that your own words may lead to, beside `service.public_url`.")


class OidcSection(_Section):
    """Sign-in by your identity provider (OpenID Connect)."""

    issuer: Annotated[str, BeforeValidator(_issuer)] = Field(
        description="The provider's address; its configuration is read from /.well-known there."
    )
    client_id: str = Field(description="What the provider calls this service.")
    client_secret: SecretReference = Field(description="The client's secret.")
    role_claim: str = Field(default="groups", description="The claim that says who may do what.")
    roles: dict[str, Literal["read", "operate", "admin"]] = Field(
        default={}, description="The claim's values and what they allow: `{support: operate}`. Others may not enter."
    )


class ProxySection(_Section):
    """Sign-in by a proxy in front, such as oauth2-proxy."""

    addresses: Annotated[tuple[str, ...], BeforeValidator(_proxies)] = Field(
        default=(), description="Addresses or networks of the proxies whose headers count; from others none does."
    )
    user_header: str = Field(default="X-Forwarded-Email", description="Who it is.")
    role_header: str = Field(default="X-Forwarded-Groups", description="What decides what they may do.")
    roles: dict[str, Literal["read", "operate", "admin"]] = Field(
        default={}, description="The header's values and what they allow. Others may not enter."
    )


class ServiceSection(_Section):
    """`tocsin run`: where it listens, and who may enter."""

    host: str = Field(default="127.0.0.1", description="Address to listen on. Others than loopback need a sign-in.")
    port: int = Field(default=8321, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    public_url: Annotated[str | None, BeforeValidator(_origin)] = Field(
        default=None, description="How others reach the service: for links in messages. https://tocsin.example"
    )
    hosts: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = Field(
        default=(), description="Further names under which it may be asked for, beside loopback and `public_url`."
    )
    proxy: ProxySection | None = Field(default=None, description="Sign-in by a proxy in front.")
    oidc: OidcSection | None = Field(default=None, description="Sign-in by your identity provider.")
    session: Annotated[int, Duration(MINUTE_MS, 30 * DAY_MS)] = Field(
        default=12 * HOUR_MS, description="A browser that is not used for this long is signed out."
    )
    request_bytes: int = Field(
        default=16_777_216, ge=1_024, le=1_073_741_824, description="Largest body of a request, unpacked."
    )
    backlog_bytes: int = Field(
        default=268_435_456, ge=1_048_576, description="Accepted and not yet worked off: beyond it, senders wait (429)."
    )
    keep_feed: Annotated[int, Duration(HOUR_MS, 56 * DAY_MS)] = Field(
        default=7 * DAY_MS, description="How long events of the feed can be asked for again."
    )
    webhook_networks: Networks = Field(
        default=(), description="Networks that are not public where webhooks may lead all the same: `[10.1.0.0/16]`."
    )
    webhook_http: bool = Field(default=False, description="true: webhooks may lead to unencrypted addresses too.")


class CalendarSection(_Section):
    """Which days are unlike others of their weekday: see docs/calendar.md."""

    country: Annotated[str | None, BeforeValidator(_country)] = Field(
        default=COUNTRY, description="Whose holidays (and what follows from them) hold: ID, SG, …, or none."
    )
    time_zone: Annotated[str, BeforeValidator(_time_zone)] = Field(
        default=ZONE, description="Where days and hours of the week begin."
    )
    days: Annotated[tuple[OwnDay, ...], BeforeValidator(_own_days)] = Field(
        default=(), description="Your own days: `{name, date}` or `{name, from, until}`, with `like: sunday` or `own`."
    )


class PrivacySection(_Section):
    """What protects customers' ids."""

    customer_key: SecretReference | None = Field(
        default=None,
        description="Key for hashing customers' ids, 16 bytes or more; without one each store draws its own.",
    )


class Document(_Section):
    """The whole of tocsin.yml."""

    tenant: Name = Field(default="default", description="Whose events these are.")
    budget: Annotated[Budget, BeforeValidator(_budget)] = Field(
        default=Budget(), description="How many false cases are put up with; 95 % of the weeks stay within it."
    )
    input: InputSection = InputSection()
    contacts: Annotated[tuple[Condition, ...], BeforeValidator(_contacts)] = Field(
        default=(Condition("kind", any_of=("contact",)),),
        description="Which events are contacts: a chat, a call, a ticket.",
    )
    notices: NoticesSection = NoticesSection()
    calendar: CalendarSection = CalendarSection()
    customers: str = Field(
        default="customers.csv", description="The customer directory, relative to the configuration."
    )
    privacy: PrivacySection = PrivacySection()
    limits: LimitsSection = LimitsSection()
    service: ServiceSection = ServiceSection()
    sending: SendingSection = SendingSection()
    channels: Annotated[dict[Name, dict[str, Any]], BeforeValidator(_or_empty)] = Field(
        default={},
        description="What carries each channel's messages: `email: {by: smtp, host: …}`; see docs/notices.md.",
    )
    formats: Annotated[dict[Name, dict[str, Any]], BeforeValidator(_or_empty)] = Field(
        default={}, description="Mappings from the JSON of your producers to events, by the name that --format takes."
    )


def parse_document(document: object, where: str = "tocsin.yml") -> Document:
    """Return the checked tocsin.yml; an empty one holds the defaults.

    Raises
    ------
    ConfigError
        With every mistake at once.
    """
    return checked(Document, document, where)


M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], value: object, where: str) -> M:
    """Return a value as the model that describes it.

    Raises
    ------
    ConfigError
        With every mistake at once, in our words; `where` is what their paths begin with.
    """
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False)
        raise ConfigError([p for details in found for p in _problems(where, details, model)]) from error


_ALLOWED = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_too_short": "a text that is not empty",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
    "invalid_key": "text as keys",
}


def _problems(where: str, details: ErrorDetails, root: type[BaseModel]) -> list[Problem]:
    """Say in our words what pydantic found."""
    loc, kind, context = details["loc"], details["type"], details.get("ctx", {})
    path = ""
    for part in loc:
        if part != "[key]":
            path = f"{path}[{part}]" if isinstance(part, int) else join(path, part)
    if kind == _INNER:
        inner: list[Problem] = context["problems"]
        return [replace(p, path=_at(where, _inside(path, p.path.removeprefix(": ")))) for p in inner]
    found, allowed, do = shown(details["input"]), _ALLOWED.get(kind, details["msg"]), context.get("do", "")
    if kind == "extra_forbidden":
        known = list(_section(root, loc[:-1]).model_fields)
        found, do = "an unknown field", did_you_mean(loc[-1], known)
        allowed = f"one of {listed(known)}" if known else "no field more"
    elif kind == "missing":
        found, allowed = "nothing", "a value"
    elif kind == _SECRET:
        found = "the secret itself"
    elif kind == "greater_than":
        allowed = f"a number above {context['gt']:g}"
    elif kind == "greater_than_equal":
        allowed = f"a number of at least {context['ge']:g}"
    elif kind == "less_than_equal":
        allowed = f"a number of at most {context['le']:g}"
    elif kind in ("literal_error", "enum"):
        allowed = str(context["expected"]).replace("'", "")
    return [Problem(_at(where, path), found, allowed, do)]


def _at(where: str, path: str) -> str:
    """Return the path within a file, or within a place of one (`tocsin.yml: channels.email`)."""
    if not path:
        return where
    return _inside(where, path) if ": " in where else f"{where}: {path}"


def _inside(path: str, inner: str) -> str:
    return path + inner if inner.startswith("[") or not inner else join(path, inner)


def _section(root: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model that a path leads to."""
    model = root
    for part in loc:
        inner = model.model_fields[str(part)].annotation
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else SecretReference
    return model
