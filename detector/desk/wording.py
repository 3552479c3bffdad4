"""The words: a case's title, and what a notice says to a customer.

Promises: at most four sentences (where the configured workaround is one) and 550 characters; nothing of an event's
free text; every value is data, stripped of control characters and line breaks, cut to a length and never taken as a
template. A dimension's value appears only where the configured `what` asks for it by name (`card payment at {bank}`)
and the value looks like a plain name.
"""

import re
from collections.abc import Callable, Iterable, Mapping

import msgspec
from babel.dates import format_date, format_time
from jinja2.sandbox import SandboxedEnvironment

from detector.desk.owntext import OwnText
from detector.desk.records import Kind, Notice
from detector.desk.templates import BODY, GREETING, LANGUAGES, SUBJECT
from detector.desk.zones import local
from detector.signals import ALL_OTHERS, Measure, Signal
from detector.watch.anomaly import Cause
from detector.watch.explanation import clean as clean
from detector.watch.explanation import place_in_words
from detector.watch.explanation import shift_in_words as shift_in_words
from detector.watch.explanation import value_in_words as value_in_words

BODY_LENGTH = 550
SUBJECT_LENGTH = 120
NAME_LENGTH = 40
WHAT_LENGTH = 70
SENTENCE_LENGTH = 150
CAUSES_IN_TITLE = 3

_EVERYONE = {"en": "for everyone", "id": "untuk semua"}
_ALSO = {"en": "and", "id": "dan"}
_TIME = {"en": "HH:mm", "id": "HH.mm"}
_AT = {"en": "{time} {zone}", "id": "pukul {time} {zone}"}
_ON = {"en": "{time} {zone} on {day}", "id": "tanggal {day} pukul {time} {zone}"}
_PLAIN = re.compile(r"[^\W_](?:[\w &+'-]|\.(?=\d)){0,29}")
"""A name or a version, no address: a dot only before a digit, no slash, no @, no colon."""
_ADDRESS = re.compile(r"[:/@<>\\]|\w\.[a-z]{2}")
"""What no name holds: whoever signs up as "see evil.example" is greeted without a name."""
_PLACE = re.compile(r"\{([^{}]*)\}")

_environment = SandboxedEnvironment(autoescape=False)
_subjects = {key: _environment.from_string(text) for key, text in SUBJECT.items()}
_bodies = {
    (kind, language): _environment.from_string(GREETING[language] + text) for (kind, language), text in BODY.items()
}


class Message(msgspec.Struct, frozen=True):
    """What goes to a channel."""

    subject: str
    body: str


class NoticeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the words of a notice speak of; texts are by language."""

    kind: Kind
    when_ms: int
    at_ms: int
    """When it was decided: a moment of another day is told with its date."""
    time_zone: str
    title: dict[str, str]
    what: dict[str, str] = msgspec.field(default_factory=dict)
    workaround: dict[str, str] = msgspec.field(default_factory=dict)
    promise: dict[str, str] = msgspec.field(default_factory=dict)
    cause: dict[str, str] = msgspec.field(default_factory=dict)
    failed: bool = True
    """The thing did not happen; False: it did, but badly (too slow)."""


def facts_of(notice: Notice, signal: Signal) -> NoticeFacts:
    """Return what the words of a notice speak of."""
    return NoticeFacts(
        kind=notice.kind,
        when_ms=notice.when_ms,
        at_ms=notice.at_ms,
        time_zone=notice.time_zone,
        title=signal.title,
        what=signal.what,
        workaround=signal.workaround,
        promise=signal.promise,
        cause=notice.cause,
        failed=signal.measure is not Measure.VALUE,
    )


def text_of(texts: Mapping[str, str], language: str) -> str:
    """Return the text of a language, else English, else any (the first by its language's name), else ""."""
    return next((texts[key] for key in (language, "en", *sorted(texts)) if texts.get(key)), "")


def cause_in_words(cause: Cause, language: str) -> str:
    """Return one cause as people read it.

    Examples
    --------
    >>> cause_in_words(Cause({"otp_provider": "Karta", "app_version": "5.2.0"}, 0.9), "en")
    'app_version 5.2.0 × otp_provider Karta'
    >>> cause_in_words(Cause({}, 1.0), "id")
    'untuk semua'
    """
    return place_in_words(cause.where, language) or _EVERYONE[language]


def title(signals: Iterable[Signal], causes: Iterable[Cause]) -> dict[str, str]:
    """Return a case's title by language: the signals' titles, then the causes in words.

    Parameters
    ----------
    signals : iterable of Signal
        In the order in which they joined; two are named, further ones counted.
    causes : iterable of Cause
        Three are named, further ones counted.
    """
    heads, parts = list(signals), list(causes)
    out = {}
    for language in LANGUAGES:
        names = [clean(text_of(s.title, language) or s.name, 80) for s in heads]
        head = f" {_ALSO[language]} ".join(names[:2]) + (f" +{len(names) - 2}" if len(names) > 2 else "")
        words = [cause_in_words(c, language) for c in parts]
        tail = ", ".join(words[:CAUSES_IN_TITLE])
        rest = f" +{len(words) - CAUSES_IN_TITLE}" if len(words) > CAUSES_IN_TITLE else ""
        out[language] = f"{head} · {tail}{rest}" if tail else head
    return out


def language_of(wanted: str, default: str) -> str:
    """The language in which a customer is written to: theirs if there are words in it, else the default, else `id`.

    Examples
    --------
    >>> language_of("en-GB", "id"), language_of("fr", "en"), language_of("", "xx")
    ('en', 'en', 'id')
    """
    choices = (wanted.lower().replace("_", "-").split("-")[0], default)
    return next((c for c in choices if c in LANGUAGES), "id")


def moment(when_ms: int, at_ms: int, zone: str, language: str) -> str:
    """Return a moment in the customer's local time with its zone, with the date where `at_ms` falls on another day.

    Examples
    --------
    >>> moment(1_700_000_000_000, 1_700_000_600_000, "Asia/Jakarta", "id")
    'pukul 05.13 WIB'
    >>> moment(1_700_000_000_000, 1_700_100_000_000, "Asia/Makassar", "en")
    '06:13 WITA on 15 Nov'
    """
    then, now = local(when_ms, zone), local(at_ms, zone)
    time = format_time(then, _TIME[language], tzinfo=then.tzinfo, locale=language)
    name = then.tzname() or ""
    if not name.isalpha():
        name = _offset(then.strftime("%z"))
    form = _AT if then.date() == now.date() else _ON
    return form[language].format(time=time, zone=name, day=format_date(then, "d MMM", locale=language))


def _offset(digits: str) -> str:
    """UTC-03:00 of -0300: zones without a name of their own."""
    return f"UTC{digits[:3]}:{digits[3:5]}"


def _what(texts: Mapping[str, str], cause: Mapping[str, str], language: str) -> str:
    """Return the thing that the customer tried, with the cause's values that the configuration asks for by name."""

    def value(match: re.Match[str]) -> str:
        found = cause.get(match[1], "")
        return found if found != ALL_OTHERS and _PLAIN.fullmatch(found) else ""

    return clean(_PLACE.sub(value, text_of(texts, language)), WHAT_LENGTH)


def _sentence(text: str) -> str:
    line = clean(text, SENTENCE_LENGTH)
    return line if not line or line[-1] in ".!?…" else line + "."


def values_of(facts: NoticeFacts, name: str, language: str) -> dict[str, str]:
    """Return what fills the placeholders (`detector.desk.owntext.PLACEHOLDERS`): clean, short, one line each."""
    return {
        "name": "" if _ADDRESS.search(name) else clean(name, NAME_LENGTH),
        "what": _what(facts.what, facts.cause, language),
        "title": clean(text_of(facts.title, language), WHAT_LENGTH),
        "when": moment(facts.when_ms, facts.at_ms, facts.time_zone, language),
        "promise": clean(text_of(facts.promise, language), SENTENCE_LENGTH).rstrip(".!"),
        "workaround": _sentence(text_of(facts.workaround, language)),
        "failed": "yes" if facts.failed else "",
    }


def words(facts: NoticeFacts, name: str, language: str) -> Message:
    """Return the words of a notice.

    Parameters
    ----------
    facts : NoticeFacts
    name : str
        The customer's, from the directory; "" for a neutral greeting.
    language : str
        Where there are no words in it, Indonesian.

    Examples
    --------
    >>> when_ms = 1_700_000_000_000
    >>> facts = NoticeFacts(kind=Kind.PROBLEM, when_ms=when_ms, at_ms=when_ms, time_zone="Asia/Jakarta",
    ...                     title={"en": "Card payments fail"},
    ...                     what={"en": "{bank} card payment"}, cause={"bank": "BNI"},
    ...                     workaround={"en": "For now you can pay by virtual account or QRIS."})
    >>> words(facts, "Budi", "en").body  # doctest: +NORMALIZE_WHITESPACE
    'Hi Budi, your BNI card payment at 05:13 WIB did not go through. The fault is on our side.
    For now you can pay by virtual account or QRIS. We will write when it works again.'
    """
    language = language_of(language, "id")
    values = values_of(facts, name, language)
    key = (facts.kind, language)
    subject = clean(_subjects[key].render(values), SUBJECT_LENGTH)
    body = _short_enough(_bodies[key].render, values, BODY_LENGTH)
    return Message(subject[:1].upper() + subject[1:], clean(body, BODY_LENGTH))


def own_words(values: Mapping[str, str], subject: OwnText | None, body: OwnText, length: int) -> Message:
    r"""Return what texts of the user's own say; the body keeps their line breaks, the subject may be "".

    Examples
    --------
    >>> own_words({"name": "Budi", "when": "05:13 WIB"}, None, OwnText("Hi {{ name }},\nat {{ when }}."), 550).body
    'Hi Budi,\nat 05:13 WIB.'
    """
    text = _short_enough(body.fill, values, length)
    lines = [clean(line, length) for line in text.splitlines()]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    whole = "\n".join(kept).strip("\n")
    if len(whole) > length:
        whole = whole[: length - 1].rstrip() + "…"
    return Message("" if subject is None else clean(subject.fill(values), SUBJECT_LENGTH), whole)


def _short_enough(render: Callable[[Mapping[str, str]], str], values: Mapping[str, str], length: int) -> str:
    """Return a text, without the promise, then without the workaround where it would be too long."""
    left = dict(values)
    text = render(left)
    for name in ("promise", "workaround"):
        if len(text) <= length:
            break
        left[name] = ""
        text = render(left)
    return text
