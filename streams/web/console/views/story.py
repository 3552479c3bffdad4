"""A case's story for people: machine and people together, newest first, in the viewer's words.

Every line stands at the moment that the case names for it (`streams.store.queries.story`): the opening at
`opened_ms`, the first contact at `first_contact_ms`.  The opening says as well when the problem was found, which is
when the window ended that showed it: what the chart marks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from detector.desk.records import Case, TimelineEntry
from detector.desk.wording import clean
from streams.web.console.formats import moment
from streams.web.console.texts import TEXTS, text
from streams.web.console.viewer import Viewer
from streams.web.console.views.engine import detail_in_words

SHOWN_LINES = 60
"""So many lines of a story are shown unless all are asked for."""
_NOTICES = re.compile(r"told (?P<told>\d+), held (?P<held>\d+)")
"""What the Desk writes of notices in a case's story."""


@dataclass(frozen=True)
class Line:
    """A line of a case's story; `by` is empty where the machine did it, `until_ms` ends a stretch."""

    at_ms: int
    until_ms: int | None
    by: str
    what: str
    said: str
    """What a person wrote."""


def story_lines(
    entries: Sequence[TimelineEntry], viewer: Viewer, case: Case | None = None, titles: Mapping[str, str] | None = None
) -> list[Line]:
    """Return a case's story, newest first; a stretch of nothing but notices is one line with its sums.

    Parameters
    ----------
    case : Case, optional
        Whose story it is: its opening says when it was found.
    titles : mapping, optional
        What signals are called, by name.
    """
    return list(_lines(entries, viewer, case, titles or {}))[::-1]


def _lines(
    entries: Sequence[TimelineEntry], viewer: Viewer, case: Case | None, titles: Mapping[str, str]
) -> Iterator[Line]:
    language = viewer.language
    for sums, group in groupby(entries, key=_is_of_notices):
        stretch = list(group)
        if not sums:
            yield from (_line(entry, viewer, case, titles) for entry in stretch)
            continue
        counts = [match for entry in stretch if (match := _NOTICES.fullmatch(entry.detail))]
        told, held = (sum(int(match[name]) for match in counts) for name in ("told", "held"))
        said = "would" if case is not None and case.notices.dry else "told"
        parts = [text(f"story.{key}", language, n=n) for key, n in ((said, told), ("held_back", held)) if n]
        last_ms = stretch[-1].at_ms
        yield Line(stretch[0].at_ms, last_ms if len(stretch) > 1 else None, "", ", ".join(parts), "")


def _is_of_notices(entry: TimelineEntry) -> bool:
    return entry.what == "notices" and not entry.by and _NOTICES.fullmatch(entry.detail) is not None


def _line(entry: TimelineEntry, viewer: Viewer, case: Case | None, titles: Mapping[str, str]) -> Line:
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
    if entry.what == "opened" and case is not None and not by and case.detected_ms <= entry.at_ms:
        named = text("story.opened.found", language, at=moment(case.detected_ms, viewer))
    said = detail_in_words(entry.what, detail, language, titles)
    return Line(entry.at_ms, None, by, f"{named}: {said}" if said else named, "")


def since(entries: Sequence[TimelineEntry], seen_seq: int) -> list[TimelineEntry]:
    """Return what happened to a case after what somebody has seen of it, newest first."""
    return [entry for entry in entries if entry.seq > seen_seq and not _is_of_notices(entry)][::-1]
