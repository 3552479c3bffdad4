"""What happened to a customer, what we told them, and why not: their cases, and the story of one of them.

Rules of the file
- Addresses stand in the clear only for those who may operate.
- What an event holds (ids, values) is data, stripped of what can't be seen; the template escapes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from detector.config import Config
from detector.desk.records import Case, Decision, Kind, LedgerRow, Notice, NoticeState
from detector.desk.wording import clean
from detector.signals import Signal
from detector.watch.explanation import place_in_words
from streams.outbox.channel import masked
from streams.store import Store, pages, person, queries
from streams.store.customers_csv import ALL_CHANNELS
from streams.store.directory import Customer, CustomerDirectory
from streams.store.documents import rule_of, title_of
from streams.store.person import Doing
from streams.store.queries import Delivery
from streams.web.console.viewer import Language
from streams.web.console.views.engine import called

SHOWN_CASES = 50
SHOWN_NOTICES = 200
MOST_WINDOWS = 120
"""So many windows are read for the story of a case: two hours of single minutes."""
TOLD = (NoticeState.SENT, NoticeState.SIMULATED)
TEXT = 200


@dataclass(frozen=True)
class Consent:
    """Whether a channel may be used for a customer.

    Attributes
    ----------
    used
        Notices go out on it, by the configuration.
    why_not
        `withdrawn`, `no-consent`, `no-address`; "": it may be used.
    """

    channel: str
    used: bool
    why_not: str


@dataclass(frozen=True)
class Person:
    """A customer as the directory has them; `email` and `phone` masked unless `clear`."""

    id: str
    name: str
    language: str
    time_zone: str
    email: str
    phone: str
    known: bool
    clear: bool
    consents: tuple[Consent, ...]
    opted_out: bool
    tier: str = ""
    contract_value_milli: int | None = None

    @property
    def seen(self) -> str:
        """Return what of it a form that changes consent is made for."""
        return "|".join(f"{c.channel}={c.why_not}" for c in self.consents)


def person_of(found: Customer, channels: Sequence[str], *, clear: bool) -> Person:
    """Return a customer as a page shows them."""
    shown = (lambda text: text) if clear else (lambda text: masked(text) if text else "")
    named = (c for c in (*found.consent, *found.withdrawn) if c != ALL_CHANNELS)
    every = tuple(dict.fromkeys((*channels, *sorted(named))))
    return Person(
        id=found.id,
        name=clean(found.name, TEXT),
        language=found.language,
        time_zone=found.time_zone,
        email=shown(found.email),
        phone=shown(found.phone),
        known=found.known,
        clear=clear,
        consents=tuple(Consent(name, name in channels, found.why_not(name)) for name in every),
        opted_out=ALL_CHANNELS in found.withdrawn,
        tier=clean(found.tier or "", TEXT),
        contract_value_milli=found.contract_value_milli,
    )


# --- their cases ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What was decided to tell them of a case, last, and what became of it; `kind` is "" where nothing was."""

    kind: str
    state: str
    reason: str
    channel: str
    at_ms: int | None
    until_ms: int | None


@dataclass(frozen=True)
class Hit:
    """A case that lists the customer, and what was decided last to tell them of the problem."""

    case: str
    title: str
    signals: tuple[str, ...]
    severity: str
    mode: str
    case_state: str
    likely: float | None
    """The probability where it is not confirmed."""
    state: str
    first_failure_ms: int
    last_failure_ms: int
    tries: int
    last_success_ms: int | None
    contact_ms: int | None
    withdrawn: bool
    told: Told
    loss_milli: int = 0
    loss_unit: str = ""


@dataclass(frozen=True)
class Line:
    """A line of the story of a customer in a case.

    Attributes
    ----------
    what
        `failed`, `succeeded`, `contact`; `told`, `held`, `dropped`, `failed-notice`, `queued`; `delivery`.
    place
        Where they failed; of a contact its channel. `kind`: at what, the signal's title; of a notice what it says.
    """

    at_ms: int
    what: str
    kind: str = ""
    channel: str = ""
    place: str = ""
    reason: str = ""
    rule: str = ""
    detail: str = ""
    until_ms: int | None = None
    outcome: str = ""


@dataclass(frozen=True)
class Numbers:
    """The answer first.

    Attributes
    ----------
    cases, shadow
        Live ones, and those that nobody is told of.
    failing, told, untold, contacts, tries
        Of the live ones: where it still fails, of which they were told or not, about which they were in touch; and how
        often they failed in all of these.
    """

    cases: int
    shadow: int
    failing: int
    told: int
    untold: int
    contacts: int
    tries: int


@dataclass(frozen=True)
class Seen:
    """Everything of a customer that a page shows."""

    unit: str
    """What losses are counted in, by the configuration; "" where no signal names one."""

    numbers: Numbers
    hits: tuple[Hit, ...]
    chosen: Hit | None
    story: tuple[Line, ...]
    cut: bool
    """Of the chosen case's time only the first windows were read."""


def seen(store: Store, config: Config, key: int, language: Language, *, case: str = "") -> Seen:
    """Return a customer's cases, and the story of one of them (the latest unless chosen)."""
    found = queries.cases_of(store, key, SHOWN_CASES)
    notices: dict[str, list[Notice]] = {}
    for notice in person.notices_of(store, key, SHOWN_NOTICES):
        notices.setdefault(notice.case, []).insert(0, notice)
    hits = tuple(_hit(of, row, notices.get(of.id, ()), language) for of, row in found)
    chosen = _chosen(hits, case)
    story, cut = list[Line](), False
    if hits:
        of, row = found[chosen]
        story, cut = _story(store, config, of, row, notices.get(of.id, ()), language)
    unit = next((s.loss_unit or "" for s in config.signals if s.loss is not msgspec.UNSET), "")
    return Seen(unit, numbers(hits), hits, hits[chosen] if hits else None, tuple(story), cut)


def _chosen(hits: Sequence[Hit], case: str) -> int:
    """Return which story is told: of the wanted case, else the latest where it still fails, else the latest live."""
    real = [i for i, hit in enumerate(hits) if hit.mode == "live" and not hit.withdrawn]
    ways = (
        [i for i, hit in enumerate(hits) if hit.case == case],
        [i for i in real if hits[i].state == "still_failing"],
        real,
    )
    return next((found[0] for found in ways if found), 0)


def numbers(hits: Sequence[Hit]) -> Numbers:
    """Return what the cases come to; those that a customer was taken out of do not count."""
    listed = [hit for hit in hits if not hit.withdrawn]
    real = [hit for hit in listed if hit.mode == "live"]
    told = sum(hit.told.kind == "problem" and hit.told.state in TOLD for hit in real)
    return Numbers(
        cases=len(real),
        shadow=len(listed) - len(real),
        failing=sum(hit.state == "still_failing" for hit in real),
        told=told,
        untold=len(real) - told,
        contacts=sum(hit.contact_ms is not None for hit in real),
        tries=sum(hit.tries for hit in real),
    )


def _hit(case: Case, row: LedgerRow, notices: Sequence[Notice], language: Language) -> Hit:
    return Hit(
        case=case.id,
        title=clean(title_of(case, language), TEXT),
        signals=case.signals,
        severity=case.severity.value,
        mode=case.mode.value,
        case_state=case.state.value,
        likely=None if row.grade.value == "confirmed" else row.probability,
        state=row.state.value,
        first_failure_ms=row.first_failure_ms,
        last_failure_ms=row.last_failure_ms,
        tries=row.tries,
        last_success_ms=row.last_success_ms,
        contact_ms=row.contact_ms,
        withdrawn=row.withdrawn,
        told=_told(case, row, notices),
        loss_milli=row.loss_milli,
        loss_unit="" if case.loss is msgspec.UNSET else case.loss.unit,
    )


def _told(case: Case, row: LedgerRow, notices: Sequence[Notice]) -> Told:
    about = [notice for notice in notices if notice.kind is Kind.PROBLEM] or notices
    if not about:
        reason = "withdrawn" if row.withdrawn else f"{case.mode.value}-case-undecided"
        return Told("", "", reason, "", None, None)
    last = about[-1]
    held = last.state is NoticeState.HELD and last.decision is Decision.HOLD
    return Told(
        last.kind.value, last.state.value, last.reason, last.channel or "", last.at_ms, last.until_ms if held else None
    )


# --- the story of one -----------------------------------------------------------------------------------------------


def _story(
    store: Store, config: Config, case: Case, row: LedgerRow, notices: Sequence[Notice], language: Language
) -> tuple[list[Line], bool]:
    """Return what the customer did and what we did, newest first; and whether windows were left out."""
    width_ms = config.input.window_ms
    spans = [(row.first_failure_ms - row.first_failure_ms % width_ms, row.last_failure_ms + 1)]
    moments = {row.last_success_ms, row.contact_ms, *(notice.when_ms for notice in notices)}
    spans += [(at_ms - at_ms % width_ms, at_ms + 1) for at_ms in sorted(filter(None, moments))]
    cut = (spans[0][1] - spans[0][0]) // width_ms > MOST_WINDOWS
    signals = {signal.name: signal for signal in config.signals}
    # The single moments first: they are few.
    did = [
        one
        for one in person.doings(store, row.customer, spans[::-1], MOST_WINDOWS)
        if one.what == "contact" or one.signal in case.signals
    ]
    lines = [_did(one, signals.get(one.signal), language) for one in did] or list(_from_ledger(row))
    attempts = pages.deliveries_of(store, [notice.id for notice in notices])
    for notice in notices:
        lines.append(_decided(notice))
        lines += [_tried(notice, a) for a in attempts.get(notice.id, ()) if a.outcome != "simulated"]
    return sorted(lines, key=lambda line: -line.at_ms), cut


def _did(one: Doing, signal: Signal | None, language: Language) -> Line:
    if one.what == "contact":
        return Line(one.at_ms, "contact", place=clean(one.channel, TEXT))
    where = {} if signal is None else dict(zip(signal.dimensions, one.cell, strict=False))
    place = place_in_words(where, language)
    return Line(
        one.at_ms, one.what, kind=one.signal if signal is None else called(signal, language), place=clean(place, TEXT)
    )


def _from_ledger(row: LedgerRow) -> Sequence[Line]:
    """Return what the case itself knows, where the windows are not kept any more."""
    moments = {row.first_failure_ms: "failed", row.last_failure_ms: "failed"}
    if row.last_success_ms is not None:
        moments[row.last_success_ms] = "succeeded"
    if row.contact_ms is not None:
        moments[row.contact_ms] = "contact"
    return [Line(at_ms, what) for at_ms, what in moments.items()]


_WHAT = {
    NoticeState.SENT: "told",
    NoticeState.SIMULATED: "told",
    NoticeState.QUEUED: "queued",
    NoticeState.HELD: "held",
    NoticeState.DROPPED: "dropped",
    NoticeState.FAILED: "failed-notice",
}


def _decided(notice: Notice) -> Line:
    rule = rule_of(notice)
    detail = next((check.detail for check in notice.checks if check.rule == rule and check.detail), "")
    held = notice.state is NoticeState.HELD
    return Line(
        notice.at_ms,
        _WHAT[notice.state],
        kind=notice.kind.value,
        channel=notice.channel or "",
        reason=notice.reason,
        rule=rule or "",
        detail=clean(detail, TEXT),
        until_ms=notice.until_ms if held else None,
        outcome=notice.state.value,
    )


def _tried(notice: Notice, attempt: Delivery) -> Line:
    reason, _, detail = attempt.detail.partition(": ")
    if attempt.outcome in ("sent", "simulated"):
        reason, detail = "", attempt.detail
    return Line(
        attempt.at_ms,
        "delivery",
        kind=notice.kind.value,
        channel=attempt.channel,
        reason=reason,
        detail=clean(detail, TEXT),
        outcome=attempt.outcome,
    )


# --- forgetting -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Erasing:
    """What erasing a customer removes, and what is left under a hash that names nobody."""

    fields: tuple[str, ...]
    """Of the directory, those that are filled in: `name`, `email`, `phone`."""
    aliases: int
    cases: int
    notices: int

    @property
    def seen(self) -> str:
        return f"{'+'.join(self.fields)}|{self.aliases}"


def erasing(store: Store, directory: CustomerDirectory, key: int) -> Erasing:
    """Return what erasing would do."""
    found, held = directory.get(key), person.holdings(store, key)
    fields = tuple(name for name in ("name", "email", "phone") if found is not None and getattr(found, name))
    return Erasing(fields, held.aliases, held.cases, held.notices)
