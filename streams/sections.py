"""What tocsin.yml may hold: every field with its type, default and meaning.

The reference page is made of these models. They take plain values (`streams/yamlfile.py`) and list every mistake at
once, in the words of `detector.errors.Problem`.
"""

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import ErrorDetails, PydanticCustomError

from detector.calendar import COUNTRY, ZONE
from detector.config import DAY_MS, HOUR_MS, MINUTE_MS, Budget, QuietHours
from detector.errors import ConfigError, Problem
from detector.fields import did_you_mean, join, listed, shown
from detector.signals import Condition
from streams.kinds import (
    INNER,
    SECRET,
    AlertLabels,
    Brokers,
    BudgetText,
    Channels,
    Contacts,
    Country,
    HeaderName,
    Hosts,
    Issuer,
    LabelDimensions,
    Name,
    Networks,
    Origin,
    OwnDays,
    Proxies,
    QuietTimes,
    Severities,
    TenantNames,
    Texts,
    TimeZone,
    Topic,
    label_of,
    or_empty,
    refuse,
)
from streams.kinds import Duration as Duration

if TYPE_CHECKING:
    from streams.net import Rules

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# --- tocsin.yml -----------------------------------------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _nothing_is_the_defaults(cls, value: object) -> object:
        return or_empty(value)


_REFERENCE = "{env: NAME} or {file: PATH}"


class SecretReference(_Section):
    """Where a secret is: `{env: NAME}` or `{file: PATH}`."""

    env: str | None = Field(default=None, description="An environment variable that holds it.")
    file: str | None = Field(default=None, description="A file that holds it, relative to the configuration.")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _by_reference(cls, value: object) -> object:
        if not isinstance(value, dict | SecretReference):
            refuse(_REFERENCE, "a secret in a configuration is no secret", kind=SECRET)
        return value

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            refuse(_REFERENCE)
        if self.env is not None and not _ENVIRONMENT_NAME.fullmatch(self.env):
            refuse(_REFERENCE, "a name is made of letters, digits and underscores")
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
    channels: Channels = Field(
        default=("whatsapp", "email"), description="In order of preference, as far as the customer consents."
    )
    quiet_hours: QuietTimes = Field(
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
    time_zone: TimeZone = Field(default="Asia/Jakarta", description="For customers whose time zone is not known.")

    approval: Severities = Field(
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

    issuer: Issuer = Field(description="The provider's address; its configuration is read from /.well-known there.")
    client_id: str = Field(description="What the provider calls this service.")
    client_secret: SecretReference = Field(description="The client's secret.")
    role_claim: str = Field(default="groups", description="The claim that says who may do what.")
    roles: dict[str, Literal["read", "operate", "admin"]] = Field(
        default={}, description="The claim's values and what they allow: `{support: operate}`. Others may not enter."
    )


class ProxySection(_Section):
    """Sign-in by a proxy in front, such as oauth2-proxy."""

    addresses: Proxies = Field(
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
    public_url: Origin = Field(
        default=None, description="How others reach the service: for links in messages. https://tocsin.example"
    )
    hosts: Hosts = Field(
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


class TopicsSection(_Section):
    """What the topics are called."""

    events: Topic = Field(default="tocsin.events", description="Events come in here.")
    windows: Topic = Field(default="tocsin.windows", description="Wakes the Watches; internal.")
    anomalies: Topic = Field(default="tocsin.anomalies", description="Wakes the Desk; internal.")
    cases: Topic = Field(default="tocsin.cases", description="The case feed goes out here.")
    dead: Topic = Field(default="tocsin.dead", description="A copy of the dead letters goes out here.")

    @pydantic.model_validator(mode="after")
    def _apart(self) -> Self:
        names = Counter(getattr(self, field) for field in TopicsSection.model_fields)
        if twice := [name for name, count in names.items() if count > 1]:
            refuse("a topic of its own for each", found=f"{twice[0]} more than once")
        return self


class SaslSection(_Section):
    """Who we are to the brokers."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(description="How the password is proved.")
    user: str = Field(min_length=1, description="The user.")
    password: SecretReference = Field(description="The user's password.")


class TlsSection(_Section):
    """Whom of the brokers we believe, and our own certificate. Files of PEM, relative to the configuration."""

    ca: str | None = Field(default=None, description="Whose certificates are believed; without it, the system's.")
    certificate: str | None = Field(default=None, description="Our certificate, where the brokers ask for one.")
    key: str | None = Field(default=None, description="Its key.")
    key_password: SecretReference | None = Field(default=None, description="What the key is encrypted with.")

    @pydantic.model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            found = "a key" if self.certificate is None else "a certificate"
            refuse("a certificate and its key, or neither", found=f"{found} alone")
        if self.key_password is not None and self.key is None:
            refuse("a key_password only with a key", found="no key")
        return self


class TenantSection(_Section):
    """How a record names its tenant, where several share the input's topic: by a header, or by a field."""

    header: str | None = Field(
        default=None, min_length=1, max_length=200, description="The header that holds the name."
    )
    field: str | None = Field(
        default=None, min_length=1, max_length=200, description="The field, at the top of an event's JSON, that does."
    )
    unnamed: Literal["ignore", "dead"] = Field(
        default="ignore",
        description="dead, with one of the tenants: it takes what names nobody as dead letters (`no-tenant`).",
    )
    others: TenantNames = Field(
        default=(),
        description="With `unnamed: dead`: all other tenants of the topic; who names none of them is nobody either.",
    )

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.header is None) == (self.field is None):
            refuse("`header` or `field`, one of the two", found="neither" if self.header is None else "both")
        if self.others and self.unnamed != "dead":
            refuse("`others` only with unnamed: dead", found=f"unnamed: {self.unnamed}")
        return self


class KafkaSection(_Section):
    """Run on Kafka: which brokers, how to enter, which topics (docs/kafka.md)."""

    brokers: Brokers = Field(default=("localhost:9092",), description="Some of the brokers; they know the others.")
    group: Topic = Field(default="tocsin", description="The group of the workers: those of one group share the work.")
    topics: TopicsSection = Field(
        default=TopicsSection(), description="What the topics are called: `tocsin.events`, … unless given."
    )
    tenant: TenantSection | None = Field(
        default=None, description="Which records are this tenant's: `{header: tenant}`; null: the whole topic."
    )
    quota: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Events a second, averaged over a minute; what is beyond is dropped. null: no limit.",
    )
    partitions: int = Field(
        default=6, ge=1, le=1_000, description="Partitions of the input: at most so many workers count. Choose it once."
    )
    replication: int | None = Field(
        default=None, ge=1, le=9, description="Copies of each topic; null: three, or as many as there are brokers."
    )
    retention: Annotated[int | None, Duration(HOUR_MS, 3650 * DAY_MS, none=True)] = Field(
        default=7 * DAY_MS, description="How long the input is kept; none: for ever."
    )
    message_bytes: int = Field(
        default=1_048_576, ge=65_536, le=104_857_600, description="The largest message of the input."
    )
    session_timeout: Annotated[int, Duration(6_000, 30 * MINUTE_MS)] = Field(
        default=10_000, description="A worker that is silent for so long has lost its work to the others."
    )
    heartbeat: Annotated[int, Duration(1_000, 10 * MINUTE_MS)] = Field(
        default=3_000, description="How often a worker says that it is there: three times a session timeout or more."
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How the brokers are spoken to."
    )
    sasl: SaslSection | None = Field(default=None, description="User and password, with SASL_PLAINTEXT and SASL_SSL.")
    tls: TlsSection | None = Field(default=None, description="Certificates, with SSL and SASL_SSL.")

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.security.startswith("SASL_") != (self.sasl is not None):
            found = f"security: {self.security} {'without' if self.sasl is None else 'with'} sasl"
            refuse("`sasl` with security: SASL_PLAINTEXT or SASL_SSL, and only there", found=found)
        if self.tls is not None and not self.security.endswith("SSL"):
            refuse("`tls` only with security: SSL or SASL_SSL", found=f"security: {self.security} with tls")
        if 3 * self.heartbeat > self.session_timeout:
            found = f"{self.session_timeout / 1_000:g}s and {self.heartbeat / 1_000:g}s"
            refuse("a `session_timeout` of at least three times `heartbeat`", found=found)
        return self


class AlertmanagerSection(_Section):
    """Cases as alerts in Prometheus' Alertmanager: see docs/operations.md."""

    urls: Texts = Field(description="Its addresses: [https://alerts.example]. Every one gets every case.")
    labels: AlertLabels = Field(default={}, description="Labels of your own on every case: `{team: payments}`.")
    dimensions: LabelDimensions = Field(
        default=(), description="Of these dimensions the cause's values are labels: [bank]. They come from your events."
    )
    severities: Severities = Field(default=(), description="Only cases of these severities; none: all live cases.")
    language: Literal["en", "id"] = Field(default="en", description="Of titles and counts.")
    resend: Annotated[int, Duration(1_000, HOUR_MS)] = Field(
        default=MINUTE_MS, description="A case that lasts is sent again this often."
    )
    expire: Annotated[int, Duration(2_000, DAY_MS)] = Field(
        default=15 * MINUTE_MS, description="Not sent again for so long, it counts there as resolved."
    )
    headers: dict[HeaderName, SecretReference] = Field(
        default={}, description="Headers by reference: `{Authorization: {env: ALERTMANAGER_AUTHORIZATION}}`."
    )
    allow: Networks = Field(
        default=(), description="Networks that are not public and may be reached all the same: [127.0.0.0/8]."
    )
    insecure: bool = Field(default=False, description="true: http too; anyone on the way can read it.")
    ca_file: str | None = Field(default=None, description="Certificates to trust beside the system's, as PEM.")
    timeout: Annotated[int, Duration(1_000, 60_000)] = Field(default=10_000, description="For one request, in all.")

    @property
    def rules(self) -> "Rules":
        """What is allowed beyond https to public addresses."""
        from streams.net import Rules, networks

        return Rules(networks(self.allow), self.insecure)

    @pydantic.model_validator(mode="after")
    def _places(self) -> Self:
        from streams.net import check_url  # with all of HTTP, which few commands need

        if not 0 < len(self.urls) <= MOST_ALERTMANAGERS:
            refuse(f"from 1 to {MOST_ALERTMANAGERS} urls")
        if self.expire < 2 * self.resend:
            found = f"{self.expire / 1_000:g}s and {self.resend / 1_000:g}s"
            refuse("an `expire` of at least twice `resend`", found=found)
        if set(self.labels) & set(map(label_of, self.dimensions)):
            refuse("other names for `labels` than those of `dimensions`")
        problems = []
        for i, url in enumerate(self.urls):
            reasons = check_url(url, self.rules)
            if not reasons and ("?" in url or "#" in url):
                reasons = ["expected no query"]
            if reasons:  # the address itself is not shown: it may hold a secret
                found, do = f"one that may not: {'; '.join(reasons)}", "`allow` opens a network, `insecure: true` http"
                problems.append(Problem(f"urls[{i}]", found, "an address that may be sent to", do))
        if problems:
            raise PydanticCustomError(INNER, INNER, {"problems": problems})
        return self


MOST_ALERTMANAGERS = 10


class CalendarSection(_Section):
    """Which days are unlike others of their weekday: see docs/calendar.md."""

    country: Country = Field(
        default=COUNTRY, description="Whose holidays (and what follows from them) hold: ID, SG, …, or none."
    )
    time_zone: TimeZone = Field(default=ZONE, description="Where days and hours of the week begin.")
    days: OwnDays = Field(
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
    budget: BudgetText = Field(
        default=Budget(), description="How many false cases are put up with; 95 % of the weeks stay within it."
    )
    input: InputSection = InputSection()
    contacts: Contacts = Field(
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
    alertmanager: AlertmanagerSection | None = Field(
        default=None, description="Cases as alerts in Prometheus' Alertmanager."
    )
    kafka: KafkaSection = KafkaSection()
    channels: Annotated[dict[Name, dict[str, Any]], BeforeValidator(or_empty)] = Field(
        default={},
        description="What carries each channel's messages: `email: {by: smtp, host: …}`; see docs/notices.md.",
    )
    formats: Annotated[dict[Name, dict[str, Any]], BeforeValidator(or_empty)] = Field(
        default={}, description="Mappings from the JSON of your producers to events, by the name that --format takes."
    )

    @pydantic.model_validator(mode="after")
    def _names_fit(self) -> Self:
        naming = self.kafka.tenant
        if naming is not None and naming.field is not None and self.input.format == "sshd":
            refuse("kafka.tenant.header with format: sshd, whose lines have no fields")
        if naming is not None and self.tenant in naming.others:
            refuse("in kafka.tenant.others the other tenants, without this one")
        return self


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
    if kind == INNER:
        inner: list[Problem] = context["problems"]
        return [replace(p, path=_at(where, _inside(path, p.path.removeprefix(": ")))) for p in inner]
    found, allowed, do = shown(details["input"]), _ALLOWED.get(kind, details["msg"]), context.get("do", "")
    if kind == "extra_forbidden":
        known = list(_section(root, loc[:-1]).model_fields)
        found, do = "an unknown field", did_you_mean(loc[-1], known)
        allowed = f"one of {listed(known)}" if known else "no field more"
    elif kind == "missing":
        found, allowed = "nothing", "a value"
    elif kind == SECRET:
        found = "the secret itself"
    elif context.get("found"):
        found = str(context["found"])
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
