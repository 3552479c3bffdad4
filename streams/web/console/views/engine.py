"""What the engines say in English, in the words of the viewer: details of a case's story, and refusals.

The Desk writes its lines once, in English, since they are part of the record; here they are told again.  What is not
known here is told as it was written: of a newer version, or a person's own words.

Rules of the file
- Each pattern is one sentence of the Desk's; the tests have the Desk say every one of them.
- `signal` is told by its title, `n` as the language writes numbers, a place with its words for everyone and others.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from detector.signals import ALL_OTHERS, Signal
from detector.watch.explanation import value_in_words
from streams.web.console.texts import TEXTS, text
from streams.web.console.viewer import Language

Titles = Mapping[str, str]
"""What signals are called, by name."""

_PLACE = r"(?P<place>.+)"
_STORY: dict[str, dict[str, str]] = {
    "opened": {
        "split_off": r"(?P<signals>.+): split off case (?P<case>[0-9a-f]+)",
        "place": rf"(?P<signal>[^\s:]+): {_PLACE}",
    },
    "joined": {
        "joined.cause": r"(?P<signal>[^\s:]+): cause",
        "joined.customers": r"(?P<signal>[^\s:]+): customers",
    },
    "cause-revised": {"place_only": _PLACE},
    "severity-changed": {"became": r"(?P<severity>[a-z]+) → (?P<severity_to>[a-z]+)"},
    "approval-needed": {
        "severity": r"its severity is (?P<severity>[a-z]+)",
        "told": r"(?P<n>[\d,]+) customers were told",
    },
    "approved": {"sample": r"a sample of (?P<n>[\d,]+)", "all": "all"},
    "try-again": {"waiting": r"(?P<n>[\d,]+) were told and still wait"},
    "merged": {"into": r"into (?P<case>[0-9a-f]+)", "from": r"(?P<case>[0-9a-f]+) into this one"},
    "split": {"split": r"(?P<signals>.+): case (?P<case>[0-9a-f]+)"},
    "signal-lost": {
        "unwatched": r"(?P<signal>\S+) is no longer watched as it was",
        "silent": r"(?P<signal>\S+) has not been heard of for an hour",
    },
    "new-level": {"new_level": r"(?P<signal>[^\s:]+): it has become normal: (?P<factor>[\d.,]+) times what was .+"},
    "reopened": {"episode": r"episode (?P<n>\d+)"},
    "resolved": {"unshown": "no customer who was hit has shown it"},
}
"""Kind of line → key of `story.detail` → what the Desk writes there."""

_SPAN = r"(?:\d+ (?:d|h|min|s))(?: \d+ (?:d|h|min|s))?"
_FACT = re.compile(
    rf"(?:(?P<what>.*), )?(?:(?P<from>from )?(?:at )?(?:(?P<at>the onset)|(?P<span>{_SPAN}) (?P<side>before|after) the "
    rf"onset)(?: on, for (?P<long>{_SPAN}))?)",
    re.DOTALL,
)
_FACTS = ("deployment", "maintenance", "mute")

_REFUSED: dict[str, str] = {
    "state": r"it is (?P<state>[a-z]+), so it cannot be .+; possible: .+",
    "gone": r"no such case, or it was finished more than a day ago; .+",
    "no_problem": r"what was no problem is dismissed, not resolved",
    "resolved_already": r"it is resolved already; give a verdict .+",
    "assigned_already": r"it is assigned to (?P<who>.*) already",
    "no_comment": r"a comment takes a text, found none",
    "no_verdict": r"dismissing takes a verdict, .+",
    "nobody_waits": r"nobody who was told of it still waits and has not heard that they can try again",
    "merge_itself": r"merging takes another case to go on .+",
    "merge_into": r"it is (?P<state>[a-z]+), so no case can be merged into it",
    "merge_modes": r"only cases of one mode can be merged, shadow or live",
    "split_some": r"splitting takes (?:some of its anomalies, not all|a case of several anomalies).*",
    "approved_already": r"it is approved already; hold it to stop telling",
    "no_number": r"customers: expected a whole number from 1 on, found .+",
    "told_already": r"its customers are told already .+; hold it first",
    "held_already": r"it is held already; approve it to go on telling",
}
"""Key of `refused` → what the Desk says of a case, behind its id."""
_CASE = re.compile(r"case [0-9a-f]+: ")


def titles_of(signals: "tuple[Signal, ...]", language: Language) -> dict[str, str]:
    """Return what the configured signals are called."""
    return {signal.name: called(signal, language) for signal in signals}


def called(signal: Signal, language: Language) -> str:
    """Return a signal's title, in another language where it has none in this one, else its name."""
    return signal.title.get(language) or next(iter(signal.title.values()), signal.name)


def detail_in_words(what: str, detail: str, language: Language, titles: Titles) -> str:
    """Return the detail of a line of a case's story."""
    if what in _FACTS:
        return _fact(detail, language)
    for name, pattern in _STORY.get(what, {}).items():
        found = re.fullmatch(pattern, detail, re.DOTALL)
        values = found and _values(found.groupdict(), language, titles)
        if values is not None and found is not None:
            return text(f"story.detail.{name}", language, **values)
    return detail


def refusal_in_words(detail: str, language: Language) -> str:
    """Return why the engines refused something."""
    said = _CASE.sub("", detail, count=1)
    for name, pattern in _REFUSED.items():
        found = re.fullmatch(pattern, said, re.DOTALL)
        values = found and _values(found.groupdict(), language, {})
        if values is not None and found is not None:
            return text(f"refused.{name}", language, **values)
    return said


def _values(found: Mapping[str, str], language: Language, titles: Titles) -> dict[str, Any] | None:
    """Return what a pattern found, in words; None where one of it is none of ours."""
    words: dict[str, Callable[[str], str | int | None]] = {
        "n": lambda v: int(v.replace(",", "")),
        "severity": lambda v: _named("severity", v, language),
        "state": lambda v: _named("state", v, language),
        "signal": lambda v: titles.get(v, v),
        "signals": lambda v: ", ".join(titles.get(name, name) for name in v.split(", ")),
        "place": lambda v: _place(v, language),
        "who": lambda v: text("refused.nobody", language) if v == "nobody" else v,
        "factor": lambda v: v if language == "en" else v.translate(str.maketrans(",.", ".,")),
    }
    out = {name: words.get(name.partition("_")[0], str)(value) for name, value in found.items()}
    return None if None in out.values() else out


def _named(prefix: str, value: str, language: Language) -> str | None:
    return text(f"{prefix}.{value}", language) if f"{prefix}.{value}" in TEXTS else None


def _place(place: str, language: Language) -> str:
    place = re.sub(r"(?<![^ ])for everyone(?![^,])", text("story.detail.everyone", language), place)
    for value in (ALL_OTHERS, ""):
        english = re.escape(value_in_words(value, "en"))
        place = re.sub(rf"(?<= ){english}(?= ×|, |$)", value_in_words(value, language), place)
    return place


def _fact(detail: str, language: Language) -> str:
    """Return what a fact's line says: what people wrote stays as it is, when it was is told."""
    ended, _, rest = detail.partition(": ")
    if ended == "ended":
        return text("story.detail.ended", language) + (f": {rest}" if rest else "")
    found = _FACT.fullmatch(detail)
    if found is None:
        return detail
    when = text("story.detail.from_onset" if found["long"] else "story.detail.at_onset", language)
    if found["span"]:
        when = text(f"story.detail.{found['side']}_onset", language, span=_span(found["span"], language))
    if found["long"]:
        when = text("story.detail.lasting", language, when=when, span=_span(found["long"], language))
    return f"{found['what']}, {when}" if found["what"] else when


def _span(span: str, language: Language) -> str:
    parts = re.findall(r"(\d+) (d|h|min|s)", span)
    return " ".join(text(f"span.{unit}", language, n=int(n)) for n, unit in parts)
