"""What a case's page says: the answer in a sentence, how it was found, causes, and why.

Rules of the file
- Every number comes from the case's own document: nothing here counts the affected, who may be a million.
- What an event or a person wrote is data, stripped of what can't be seen; the template escapes it.
"""

from dataclasses import dataclass

import msgspec
from babel.numbers import format_decimal

from detector.desk.kpi import comparison_of, lead_ms
from detector.desk.records import Approval, Case, CaseState
from detector.fields import duration_text
from detector.signals import Mode
from detector.watch.explanation import (
    Account,
    Counted,
    budget_in_words,
    explain_in_words,
    number,
    place_in_words,
    shift_in_words,
)
from streams.store import amounts
from streams.store.documents import title_of
from streams.web.console.formats import moment, span
from streams.web.console.texts import text
from streams.web.console.viewer import Language, Viewer

NEARLY_ALL, HARDLY_ANY = 0.95, 0.001
_FRACTIONS = ((9, 10), (4, 5), (3, 4), (2, 3), (1, 2))


def one_in(bad: float, of: float) -> tuple[int, int] | None:
    """Return a share as people say it; None where there is nothing to say.

    Examples
    --------
    >>> one_in(33, 100), one_in(62, 100), one_in(248, 693), one_in(2, 171), one_in(0, 9), one_in(99, 100)
    ((1, 3), (2, 3), (1, 3), (1, 86), None, (1, 1))
    """
    if of <= 0 or bad / of < HARDLY_ANY:
        return None
    found = bad / of
    if found >= NEARLY_ALL:
        return (1, 1)
    if found > 0.42:
        return min(_FRACTIONS, key=lambda f: abs(f[0] / f[1] - found))
    return (1, round(1 / found))


@dataclass(frozen=True)
class Number:
    """A number of people with its words, and the list of them that it opens."""

    name: str
    n: int
    who: str


@dataclass(frozen=True)
class Answer:
    """What matters of a case, in a sentence.

    Attributes
    ----------
    head
        What, for how many, since when.
    numbers
        Who was hit, still fails, was told, called; empty where nobody can be named.
    instead
        Where nobody can be named: what was seen.
    found
        How soon it was found, beside the first who called.
    loss
        About how much what failed was worth; "" where that is not known.
    """

    head: str
    numbers: tuple[Number, ...]
    instead: str
    found: str
    loss: str = ""


def answer(case: Case, viewer: Viewer) -> Answer:
    """Return the answer to "what is it, how bad is it"."""
    language, affected = viewer.language, case.affected
    numbers: tuple[Number, ...] = ()
    instead = ""
    if affected is not None:
        numbers = (
            Number("hit", affected.confirmed + affected.likely, "all"),
            Number("failing", affected.still_failing, "still_failing"),
            Number("would" if case.notices.dry else "told", case.notices.told, "told"),
            Number("called", case.contacts, "called"),
        )
    elif case.accounts:
        instead = explain_in_words(case.accounts[0], language)[0]
    elif case.shift is not None:
        instead = shift_in_words(case.shift, language)
    return Answer(_head(case, viewer), numbers, instead, _found(case, viewer), _loss(case, language))


def _loss(case: Case, language: Language) -> str:
    if case.loss is msgspec.UNSET or not case.loss.milli:
        return ""
    return text("case.loss", language, amount=amounts.about(case.loss.milli, case.loss.unit, language))


def _head(case: Case, viewer: Viewer) -> str:
    account = case.accounts[0] if case.accounts else None
    share = one_in(account.observed, account.trials) if account and account.counted in _SHARES else None
    times = {"since": moment(case.onset_ms, viewer)}
    if case.ended_ms is not None:
        times["until"] = moment(case.ended_ms, viewer)
    what = "" if share is None else ".all" if share == (1, 1) else ".share"
    of = "" if share is None or case.affected is not None else ".tries"
    values = {} if share is None else {"k": share[0], "m": share[1]}
    key = f"case.head{what}{of}" + (".over" if case.ended_ms is not None else "")
    return text(key, viewer.language, title=title_of(case, viewer.language), **times, **values)


_SHARES = (Counted.FAILED, Counted.BEYOND)


def _found(case: Case, viewer: Viewer) -> str:
    language = viewer.language
    after = text("case.found", language, span=span(max(case.detected_ms - case.onset_ms, 0), language))
    lead = lead_ms(case)
    if case.affected is None:
        return f"{after}."
    if lead is None:
        return f"{after}; {text('case.found.none_called', language)}." if not case.contacts else f"{after}."
    key = "case.found.before" if lead > 0 else "case.found.after"
    return f"{after}, {text(key, language, span=span(abs(lead), language))}."


# --- causes and why ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chip:
    """A cause: where it lies, how much of the excess is there, how sure it is."""

    where: str
    share: float
    confidence: float | None
    same_as: tuple[str, ...]


def chips(case: Case, language: str) -> list[Chip]:
    """Return a case's causes."""
    return [
        Chip(
            place_in_words(cause.where, language) or text("case.everyone", language),  # type: ignore[arg-type]
            min(max(cause.share_of_excess, 0.0), 1.0),
            cause.confidence,
            tuple(
                dict.fromkeys(
                    place_in_words(o, language) for o in cause.same_as if not cause.where.items() <= o.items()
                )
            ),
        )
        for cause in case.causes
    ]


@dataclass(frozen=True)
class Reasons:
    """Why an anomaly is thought to be one: the numbers, and the sentences."""

    signal: str
    anomaly: str
    place: str
    counted: str
    observed: str
    expected: str
    score: str
    threshold: str
    budget: str
    sentences: tuple[str, ...]


def reasons(account: Account, viewer: Viewer) -> Reasons:
    """Return why we think so."""
    language = viewer.language
    places = [place_in_words(cause.where, language) for cause in account.causes]
    return Reasons(
        signal=account.signal,
        anomaly=account.anomaly,
        place="; ".join(place for place in places if place) or text("case.everyone", language),
        counted=account.counted.value,
        observed=number(account.observed, language),
        expected=number(account.expected, language),
        score=number(account.why.score_nats, language),
        threshold=number(account.why.threshold_nats, language),
        budget=budget_in_words(account.why.budget, language),
        sentences=explain_in_words(account, language),
    )


# --- how it stands ----------------------------------------------------------------------------------------------------


def standing(case: Case, viewer: Viewer) -> list[str]:
    """Return what is to be known of how it stands, beside its state: approval, what is under way, what went wrong."""
    language, notices = viewer.language, case.notices
    found = []
    if case.mode is Mode.SHADOW:
        found.append(text("case.stands.shadow", language))
    if case.approval is not Approval.NOT_NEEDED and case.state not in (CaseState.DISMISSED, CaseState.MERGED):
        found.append(text(f"case.stands.{case.approval.value}", language))
    counted = {
        "waiting": notices.held,
        "queued": notices.queued - notices.unknown,
        "failed": notices.failed,
        "unknown": notices.unknown,
    }
    for name, n in counted.items():
        if n > 0:
            found.append(text(f"case.stands.{name}", language, n=n))
    return found


def silences(case: Case) -> list[tuple[str, int]]:
    """Return why notices were not sent, and how many for each reason, the most frequent first."""
    return sorted(case.notices.dropped.items(), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True)
class Side:
    """One side of a holdout: how many, and how many of them contacted us."""

    name: str
    n: int
    called: int


@dataclass(frozen=True)
class Compared:
    """What a holdout shows: both sides, and what that says."""

    sides: tuple[Side, Side]
    says: str


def compared(case: Case, viewer: Viewer) -> Compared | None:
    """Return what telling at once changed, where some customers were held out; None: nobody was."""
    found, language = comparison_of(case), viewer.language
    if found is None:
        return None
    bounds = {"low": found.low, "high": found.high}
    points = {name: format_decimal(100 * value, "0.0", locale=language) for name, value in bounds.items()}
    key = "avoided" if found.low > 0 else "brought" if found.high < 0 else "unclear"
    says = text(f"comparison.{key}", language, n=abs(round(found.avoided)), **points)
    sides = Side("out", found.held_out, found.held_out_contacts), Side("others", found.others, found.others_contacts)
    return Compared(sides, says)


def fact_span(from_ms: int, until_ms: int) -> str:
    """Return how long a fact lasts."""
    return duration_text(until_ms - from_ms)
