"""What of a case is drawn: which signal, which span, which marks; the same said in a sentence for who can't see it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from detector.desk.records import Case, EvidencePoint, TimelineEntry
from detector.watch.anomaly import Point
from detector.watch.explanation import Counted, number
from streams.web.console.chart import SIZES, Drawing, Mark, Theme
from streams.web.console.formats import moment
from streams.web.console.texts import text
from streams.web.console.viewer import Viewer

LEAST_WINDOWS = 8
"""Nobody zooms in further than this."""
_VERSION = "1"
"""Of the drawing: another one is another picture."""

_LEGEND = ("observed", "expected", "band", "beyond", "none")
_PERIODS = ("minute", "minutes", "hour", "hours", "day", "days", "seconds")


@dataclass(frozen=True)
class Picture:
    """A signal's numbers within a span, and how far they go beyond it."""

    signal: str
    signals: tuple[str, ...]
    points: Sequence[Point]
    width_ms: int
    first_ms: int
    last_ms: int
    from_ms: int
    to_ms: int

    @property
    def whole(self) -> bool:
        return self.from_ms <= self.first_ms and self.to_ms >= self.last_ms


def picture(
    evidence: Sequence[EvidencePoint], signal: str = "", from_ms: int | None = None, to_ms: int | None = None
) -> Picture | None:
    """Return what is drawn; None where a case has no numbers.

    Parameters
    ----------
    signal : str
        One of the case's; the first that has numbers where it is none of them.
    from_ms, to_ms : int, optional
        A span, brought within the numbers that there are and to at least `LEAST_WINDOWS` windows.
    """
    signals = tuple(dict.fromkeys(entry.signal for entry in evidence))
    if not signals:
        return None
    chosen = signal if signal in signals else signals[0]
    points = [entry.point for entry in evidence if entry.signal == chosen]
    width_ms = min((b.window_ms - a.window_ms for a, b in pairwise(points)), default=60_000)
    first_ms, last_ms = points[0].window_ms, points[-1].window_ms + width_ms
    least_ms = min(LEAST_WINDOWS * width_ms, last_ms - first_ms)
    begin = first_ms if from_ms is None else min(max(from_ms, first_ms), last_ms - least_ms)
    end = last_ms if to_ms is None else max(min(to_ms, last_ms), begin + least_ms)
    return Picture(chosen, signals, points, width_ms, first_ms, last_ms, begin, end)


def zooms(found: Picture) -> dict[str, tuple[int, int]]:
    """Return where the links beside the chart lead: name → span; what would change nothing is left out.

    Examples
    --------
    >>> zooms(Picture("a", ("a",), [], 60_000, 0, 7_200_000, 0, 7_200_000))
    {'in': (1800000, 5400000)}
    >>> sorted(zooms(Picture("a", ("a",), [], 60_000, 0, 7_200_000, 1_800_000, 5_400_000)))
    ['earlier', 'in', 'later', 'out', 'whole']
    """
    begin, end, length = found.from_ms, found.to_ms, found.to_ms - found.from_ms
    out: dict[str, tuple[int, int]] = {}
    if length // 2 >= LEAST_WINDOWS * found.width_ms:
        out["in"] = (begin + length // 4, end - length // 4)
    if found.whole:
        return out
    out["out"] = (max(begin - length // 2, found.first_ms), min(end + length // 2, found.last_ms))
    if begin > found.first_ms:
        shift = min(length // 2, begin - found.first_ms)
        out["earlier"] = (begin - shift, end - shift)
    if end < found.last_ms:
        shift = min(length // 2, found.last_ms - end)
        out["later"] = (begin + shift, end + shift)
    out["whole"] = (found.first_ms, found.last_ms)
    return out


def drawing(case: Case, story: Sequence[TimelineEntry], found: Picture, viewer: Viewer) -> Drawing:
    """Return what is drawn, in the viewer's words; theme and size as for a light page that is wide."""
    language = viewer.language
    return Drawing(
        points=found.points,
        width_ms=found.width_ms,
        from_ms=found.from_ms,
        to_ms=found.to_ms,
        marks=marks(case, story, viewer),
        unit=text(f"chart.unit.{_counted(case, found.signal).value}", language, per="{per}"),
        words=_words(language),
        zone=viewer.zone,
        language=language,
    )


def _words(language: str) -> dict[str, str]:
    legend = {key: text(f"chart.{key}", language) for key in _LEGEND}  # type: ignore[arg-type]
    return legend | {key: text(f"chart.per.{key}", language) for key in _PERIODS}  # type: ignore[arg-type]


def _counted(case: Case, signal: str) -> Counted:
    return next((a.counted for a in case.accounts if a.signal == signal), Counted.FAILED)


def marks(case: Case, story: Sequence[TimelineEntry], viewer: Viewer) -> list[Mark]:
    """Return what happened when: began, found, first told, first call, recovering, ended, resolved."""

    def first(*what: str, zero: str = "") -> int | None:
        return next((e.at_ms for e in story if e.what in what and not (zero and e.detail.startswith(zero))), None)

    moments: Mapping[str, int | None] = {
        "onset": case.onset_ms,
        "detected": case.detected_ms,
        "told": first("notices", zero="told 0,"),
        "called": case.first_contact_ms,
        "recovering": first("recovering"),
        "ended": case.ended_ms,
        "resolved": case.resolved_ms,
    }
    out = []
    for name, at_ms in moments.items():
        if at_ms is not None and not (name == "recovering" and case.ended_ms is not None):
            clock = moment(at_ms, replace(viewer, now_ms=at_ms)).rpartition(" ")[0]
            out.append(Mark(at_ms, text(f"chart.mark.{name}", viewer.language, at=clock), strong=name == "onset"))
    return out


def in_words(what: Drawing, viewer: Viewer) -> str:
    """Return what the picture shows, in a sentence."""
    inside = [p for p in what.points if what.from_ms <= p.window_ms < what.to_ms]
    if not inside:
        return what.words["none"]
    highest = max(inside, key=lambda p: p.observed)
    values = {"from": moment(what.from_ms, viewer), "to": moment(what.to_ms, viewer)}
    return text(
        "chart.alt",
        viewer.language,
        unit=what.unit.replace("{per}", what.words["minute"] if what.width_ms == 60_000 else "…"),
        top=number(highest.observed, viewer.language),
        high=number(round(highest.high, 1), viewer.language),
        **values,
    )


def stamp(what: Drawing) -> str:
    """Return a hash of all that the picture follows from."""
    digest = hashlib.blake2b(_VERSION.encode(), digest_size=8)
    for value in (what.points, what.marks, what.unit, what.words, what.width_ms, what.from_ms, what.to_ms):
        digest.update(repr(value).encode())
    for name in (what.zone, what.language, what.theme, what.size):
        digest.update(f"\0{name}".encode())
    return digest.hexdigest()


def looks(what: Drawing, theme: Theme, size: str) -> Drawing:
    """Return the same in another theme and size."""
    return replace(what, theme=theme, size=size if size in SIZES else "wide")
