"""What a case's page says: the answer in a sentence, how it was found, causes, why, and its story.

Rules of the file
- Every number comes from the case's own document: nothing here counts the affected, who may be a million.
- What an event or a person wrote is data, stripped of what can't be seen; the template escapes it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from detector.desk.records import Approval, Case, CaseState, TimelineEntry
from detector.desk.wording import clean
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
from streams.store.documents import title_of
from streams.web.console.formats import moment, span
from streams.web.console.texts import TEXTS, text
from streams.web.console.viewer import Viewer

NEARLY_ALL, HARDLY_ANY = 0.95, 0.001
_FRACTIONS = ((9, 10), (4, 5), (3, 4), (2, 3), (1, 2))
_NOTICES = re.compile(r"told (?P<told>\d+), held (?P<held>\d+)")
"""What the Desk writes of notices in a case's story."""
_DETAILS = {
    "sample": re.compile(r"a sample of (?P<n>[\d,]+)"),
    "severity": re.compile(r"its severity is (?P<severity>low|medium|high|critical)"),
    "waiting": re.compile(r"(?P<n>[\d,]+) were told and still wait"),
    "told": re.compile(r"(?P<n>[\d,]+) customers were told"),
    "into": re.compile(r"into (?P<case>[0-9a-f]+)"),
    "from": re.compile(r"(?P<case>[0-9a-f]+) into this one"),
}
"""What else it writes there that is told in the viewer's language."""
SHOWN_LINES = 60
"""So many lines of a story are shown unless all are asked for."""


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
    """

    head: str
    numbers: tuple[Number, ...]
    instead: str
    found: str


def answer(case: Case, story: Sequence[TimelineEntry], viewer: Viewer) -> Answer:
    """Return the answer to "what is it, how bad is it"."""
    language, affected = viewer.language, case.affected
    numbers: tuple[Number, ...] = ()
    instead = ""
    if affected is not None:
        numbers = (
            Number("hit", affected.confirmed + affected.likely, "all"),
            Number("failing", affected.still_failing, "still_failing"),
            Number("told", case.notices.told, "told"),
            Number("called", case.contacts, "called"),
        )
    elif case.accounts:
        instead = explain_in_words(case.accounts[0], language)[0]
    elif case.shift is not None:
        instead = shift_in_words(case.shift, language)
    return Answer(_head(case, viewer), numbers, instead, _found(case, story, viewer))


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


def _found(case: Case, story: Sequence[TimelineEntry], viewer: Viewer) -> str:
    language = viewer.language
    after = text("case.found", language, span=span(max(case.detected_ms - case.onset_ms, 0), language))
    called = first_call_ms(case, story)
    if case.affected is None:
        return f"{after}."
    if called is None:
        return f"{after}; {text('case.found.none_called', language)}." if not case.contacts else f"{after}."
    lead_ms = called - case.detected_ms
    key = "case.found.before" if lead_ms > 0 else "case.found.after"
    return f"{after}, {text(key, language, span=span(abs(lead_ms), language))}."


def first_call_ms(case: Case, story: Sequence[TimelineEntry]) -> int | None:
    """Return when the first affected customer called; of a case of an older version when that was noticed."""
    if case.first_contact_ms is not None:
        return case.first_contact_ms
    return next((entry.at_ms for entry in story if entry.what == "first-contact"), None)


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


# --- the story --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line of a case's story; `by` is empty where the machine did it, `until_ms` ends a stretch."""

    at_ms: int
    until_ms: int | None
    by: str
    what: str
    said: str
    """What a person wrote."""


def story_lines(entries: Sequence[TimelineEntry], viewer: Viewer) -> list[Line]:
    """Return a case's story, newest first; a stretch of nothing but notices is one line with its sums."""
    return list(_lines(entries, viewer))[::-1]


def _lines(entries: Sequence[TimelineEntry], viewer: Viewer) -> Iterator[Line]:
    language = viewer.language
    for sums, group in groupby(entries, key=_is_of_notices):
        stretch = list(group)
        if not sums:
            yield from (_line(entry, viewer) for entry in stretch)
            continue
        counts = [match for entry in stretch if (match := _NOTICES.fullmatch(entry.detail))]
        told, held = (sum(int(match[name]) for match in counts) for name in ("told", "held"))
        parts = [text(f"story.{key}", language, n=n) for key, n in (("told", told), ("held_back", held)) if n]
        last_ms = stretch[-1].at_ms
        yield Line(stretch[0].at_ms, last_ms if len(stretch) > 1 else None, "", ", ".join(parts), "")


def _is_of_notices(entry: TimelineEntry) -> bool:
    return entry.what == "notices" and not entry.by and _NOTICES.fullmatch(entry.detail) is not None


def _line(entry: TimelineEntry, viewer: Viewer) -> Line:
    language, detail = viewer.language, clean(entry.detail, 2_000)
    by = clean(entry.by, 80)
    if entry.what == "commented":
        return Line(entry.at_ms, None, by, text("story.commented", language), detail)
    if entry.what == "assigned":
        nobody = detail == "nobody"
        what = text("story.unassigned" if nobody else "story.assigned", language, to=detail)
        return Line(entry.at_ms, None, by, what, "")
    if entry.what in ("dismissed", "resolved") and f"verdict.{detail}" in TEXTS:
        what = f"{text(f'story.{entry.what}', language)}: {text(f'verdict.{detail}', language)}"
        return Line(entry.at_ms, None, by, what, "")
    key = f"story.{entry.what}"
    named = text(key, language) if key in TEXTS else entry.what
    return Line(entry.at_ms, None, by, f"{named}: {_detail(detail, language)}" if detail else named, "")


def _detail(detail: str, language: str) -> str:
    """Return a detail of the machine's, with the severities in the viewer's words."""
    before, arrow, after = detail.partition(" → ")
    if arrow and f"severity.{before}" in TEXTS and f"severity.{after}" in TEXTS:
        return f"{text(f'severity.{before}', language)} → {text(f'severity.{after}', language)}"  # type: ignore[arg-type]
    for name, pattern in _DETAILS.items():
        if found := pattern.fullmatch(detail):
            values: dict[str, object] = dict(found.groupdict())
            if "n" in values:
                values["n"] = int(found["n"].replace(",", ""))
            if "severity" in values:
                values["severity"] = text(f"severity.{found['severity']}", language)  # type: ignore[arg-type]
            return text(f"story.detail.{name}", language, **values)  # type: ignore[arg-type]
    key = f"story.detail.{detail}"
    return text(key, language) if key in TEXTS else detail  # type: ignore[arg-type]


def since(entries: Sequence[TimelineEntry], seen_seq: int) -> list[TimelineEntry]:
    """Return what happened to a case after what somebody has seen of it, newest first."""
    return [entry for entry in entries if entry.seq > seen_seq and not _is_of_notices(entry)][::-1]


def fact_span(from_ms: int, until_ms: int) -> str:
    """Return how long a fact lasts."""
    return duration_text(until_ms - from_ms)
