"""A case's numbers as a picture: observed against expected with its band, and what happened when.

One SVG with the text as text, in the colours of a theme and the words of a language, made on the server; the same
input gives the same bytes. The data's rectangle stands at a fixed place of the picture (`Size`), so that a page can
tell which moment a click means.

Rules of the file
- What is beyond the band is filled and named in the legend; marks have words: nothing hangs on colour.
- Text of a case is drawn as text, never as markup.
"""

import io
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from babel.dates import format_date

from detector.desk.zones import local
from detector.watch.anomaly import Point
from detector.watch.explanation import number

Theme = Literal["light", "dark"]

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
STEPS_MS = (
    *(n * MINUTE_MS for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_MS for n in (1, 2, 3, 6, 12)),
    *(n * DAY_MS for n in (1, 2, 7, 14, 28)),
)
MARK_ROWS = 5
CHANCE = 3.84
"""1.96², the square of what 95 % of a normal distribution lie within."""

_lock = threading.Lock()
"""matplotlib's settings are the process' own: one picture at a time."""


@dataclass(frozen=True)
class Size:
    """A picture's size in CSS pixels, and where the data lies in it, as shares of the width and the height."""

    width: int
    height: int
    left: float
    right: float
    bottom: float
    top: float
    bins: int
    """At most so many points are drawn."""
    ticks: int


SIZES = {
    "wide": Size(960, 360, 0.045, 0.985, 0.12, 0.68, 240, 9),
    "narrow": Size(400, 360, 0.095, 0.97, 0.125, 0.60, 100, 4),
}


@dataclass(frozen=True)
class Colours:
    ink: str
    quiet: str
    grid: str
    band: str
    expected: str
    observed: str
    beyond: str
    ground: str


COLOURS: dict[Theme, Colours] = {
    "light": Colours("#1a1c1f", "#585d65", "#e8e8e4", "#d3e0ec", "#1d5a8c", "#1a1c1f", "#ad2a1b", "#ffffff"),
    "dark": Colours("#e7e8ea", "#a2a8b1", "#2d3137", "#2b4157", "#8cc1ee", "#f2f3f4", "#ff998a", "#1a1d21"),
}


@dataclass(frozen=True)
class Mark:
    """Something that happened, with its word."""

    at_ms: int
    word: str
    strong: bool = False


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Attributes
    ----------
    points
        In the order of time, all of one signal.
    width_ms
        Of a window of the signal.
    unit
        What is counted, for the axis; `{per}` is where the bin's width goes.
    words
        For the legend: `observed`, `expected`, `band`, `beyond`, `none`; and `minutes`, `hours`, `days` with `{n}`.
    """

    points: Sequence[Point]
    width_ms: int
    from_ms: int
    to_ms: int
    marks: Sequence[Mark]
    unit: str
    words: dict[str, str]
    zone: str
    language: str
    theme: Theme = "light"
    size: str = "wide"


def binned(points: Sequence[Point], width_ms: int, from_ms: int, to_ms: int, most: int) -> tuple[list[Point], int]:
    """Return the windows of a span added up so that there are at most `most`, and how long each is then.

    The band of a sum: chance adds up in squares, what the rate wanders by adds up whole.

    Examples
    --------
    >>> points = [Point(i * 60_000, 3, 1.0, 9, 0.0, 3.5) for i in range(4)]
    >>> [(p.window_ms, p.observed, p.expected, round(p.high, 1)) for p in binned(points, 60_000, 0, 240_000, 2)[0]]
    [(0, 6, 2.0, 6.2), (120000, 6, 2.0, 6.2)]
    """
    inside = [p for p in points if from_ms <= p.window_ms < to_ms]
    step_ms = width_ms
    if inside and (to_ms - from_ms) / width_ms > most:
        wide = (s for s in STEPS_MS if s % width_ms == 0 and (to_ms - from_ms) / s <= most)
        step_ms = next(wide, -(-(to_ms - from_ms) // (most * width_ms)) * width_ms)
    if step_ms == width_ms:
        return inside, width_ms
    groups: dict[int, list[Point]] = {}
    for point in inside:
        groups.setdefault(point.window_ms // step_ms * step_ms, []).append(point)
    return [_sum(at, group) for at, group in sorted(groups.items())], step_ms


def _sum(at_ms: int, group: Sequence[Point]) -> Point:
    expected = sum(p.expected for p in group)
    wandering = sum(max((p.high - p.expected) ** 2 - CHANCE * p.expected, 0.0) ** 0.5 for p in group)
    half = (CHANCE * expected + wandering**2) ** 0.5
    observed, trials = sum(p.observed for p in group), sum(p.trials for p in group)
    return Point(at_ms, observed, expected, trials, max(expected - half, 0.0), expected + half)


def ticks(from_ms: int, to_ms: int, zone: str, most: int) -> tuple[list[int], int]:
    """Return round local moments within a span, at most `most`, and how far apart they are.

    Examples
    --------
    >>> ticks(1_772_416_800_000, 1_772_424_000_000, "Asia/Jakarta", 5)[1] // 60_000
    30
    """
    step_ms = next((s for s in STEPS_MS if (to_ms - from_ms) / s <= most), STEPS_MS[-1])
    found, at_ms = list[int](), from_ms
    while at_ms <= to_ms:
        offset = local(at_ms, zone).utcoffset()
        shift_ms = 0 if offset is None else int(offset.total_seconds() * 1_000)
        tick_ms = -(-(at_ms + shift_ms) // step_ms) * step_ms - shift_ms
        if tick_ms <= to_ms and (not found or tick_ms > found[-1]):
            found.append(tick_ms)
        at_ms = max(tick_ms, at_ms) + step_ms // 2 + 1
    return found, step_ms


def _labels(found: Sequence[int], step_ms: int, zone: str, language: str) -> list[str]:
    """Return what stands below each tick: the time, and the day below where it begins."""
    out, day = list[str](), None
    for at_ms in found:
        here = local(at_ms, zone)
        date = format_date(here.date(), "d MMM", locale=language)
        if step_ms >= DAY_MS:
            out.append(date)
            continue
        time = f"{here:%H:%M}" if language == "en" else f"{here:%H.%M}"
        out.append(f"{time}\n{date}" if here.date() != day else time)
        day = here.date()
    return out


def draw(what: Drawing) -> bytes:
    """Return the picture as SVG."""
    with _lock:
        return _draw(what)


def _draw(what: Drawing) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    size, colours = SIZES[what.size], COLOURS[what.theme]
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "tocsin",
        "font.size": 11.0,
        "axes.unicode_minus": False,
        "text.parse_math": False,
        "xtick.color": colours.quiet,
        "ytick.color": colours.quiet,
        "text.color": colours.ink,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(size.width / 72, size.height / 72), dpi=72, facecolor=colours.ground)
        rectangle = (size.left, size.bottom, size.right - size.left, size.top - size.bottom)
        axes: Any = figure.add_axes(rectangle, facecolor="none")
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, pad=5)
        axes.grid(axis="y", color=colours.grid, lw=0.8)
        axes.set_axisbelow(True)
        axes.set_xlim(what.from_ms, what.to_ms)
        step_ms = _curves(axes, what, size, colours)
        found, apart_ms = ticks(what.from_ms, what.to_ms, what.zone, size.ticks)
        axes.set_xticks(found, _labels(found, apart_ms, what.zone, what.language))
        _marks(axes, what, size, colours)
        unit = what.unit.replace("{per}", _per(step_ms, what.words))
        figure.text(0.008, 0.975, unit, va="top", color=colours.quiet, size=12)
        _legend(figure, axes, size, colours)
        out = io.BytesIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(out, format="svg", metadata=metadata, facecolor=colours.ground)
    return _own_font(out.getvalue())


_MEASURED = re.compile(rb"'DejaVu Sans'[^;\"]*")
_SANS = b"system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"


def _own_font(svg: bytes) -> bytes:
    """Ask for the reader's system font where matplotlib names those it measured with."""
    return _MEASURED.sub(_SANS, svg)


def _curves(axes: Any, what: Drawing, size: Size, colours: Colours) -> int:
    """Draw band, expectation and what was observed; returns how long a bin is."""
    points, step_ms = binned(what.points, what.width_ms, what.from_ms, what.to_ms, size.bins)
    top = max([1.0, *(max(p.observed, p.high) for p in points)])
    axes.set_ylim(0, top * 1.06)
    axes.yaxis.set_major_locator(_whole())
    axes.yaxis.set_major_formatter(_formatter(lambda value: number(value, what.language)))
    if not points:
        axes.text(0.5, 0.5, what.words["none"], transform=axes.transAxes, ha="center", color=colours.quiet, size=13)
        return step_ms
    for part in _unbroken(points, step_ms):
        at = [p.window_ms + step_ms / 2 for p in part]
        observed, expected = [p.observed for p in part], [p.expected for p in part]
        low, high = [p.low for p in part], [p.high for p in part]
        words = what.words if part[0] is points[0] else dict.fromkeys(what.words, "")
        lone = "o" if len(part) == 1 else None
        axes.fill_between(at, low, high, color=colours.band, lw=0, label=words["band"] or None, zorder=1)
        above, below = (
            [o > h for o, h in zip(observed, high, strict=True)],
            [o < w for o, w in zip(observed, low, strict=True)],
        )
        for bound, where in ((high, above), (low, below)):
            axes.fill_between(
                at, bound, observed, where=where, interpolate=True, color=colours.beyond, alpha=0.28, lw=0, zorder=2
            )
        axes.plot(
            at, expected, color=colours.expected, lw=1.3, ls=(0, (4, 3)), label=words["expected"] or None, zorder=3
        )
        axes.plot(at, observed, color=colours.observed, lw=1.6, marker=lone, label=words["observed"] or None, zorder=4)
    axes.fill_between([], [], [], color=colours.beyond, alpha=0.4, lw=0, label=what.words["beyond"])
    return step_ms


def _unbroken(points: Sequence[Point], step_ms: int) -> list[list[Point]]:
    """Split where windows are missing: nothing is drawn where nothing is known."""
    parts: list[list[Point]] = []
    for point in points:
        if parts and point.window_ms - parts[-1][-1].window_ms <= step_ms:
            parts[-1].append(point)
        else:
            parts.append([point])
    return parts


def _marks(axes: Any, what: Drawing, size: Size, colours: Colours) -> None:
    """Draw a line with its word above for everything that happened."""
    row_height = 17 / (size.height * (size.top - size.bottom))
    for mark, row, to_left in placed(what, size):
        y = 1 + row_height * (row + 0.35)
        colour = colours.beyond if mark.strong else colours.ink
        axes.plot(
            [mark.at_ms] * 2, [0, y + row_height * 0.55], transform=axes.get_xaxis_transform(), clip_on=False,
            color=colour, lw=1.2 if mark.strong else 0.9, ls="-" if mark.strong else (0, (2, 2)), zorder=5,
        )  # fmt: skip
        axes.annotate(
            mark.word, (mark.at_ms, y), xycoords=axes.get_xaxis_transform(), xytext=(-4 if to_left else 4, 0),
            textcoords="offset points", ha="right" if to_left else "left", va="bottom", color=colour, size=11.5,
            annotation_clip=False,
        )  # fmt: skip


def placed(what: Drawing, size: Size) -> list[tuple[Mark, int, bool]]:
    """Return each mark within the span, in which row its word stands, and whether it stands to the left of its line.

    As long as there are rows, words meet neither each other nor, where that can be helped, another's line.
    """
    pixels = size.width * (size.right - size.left)
    right, left = list[tuple[Mark, float, float, float]](), list[tuple[Mark, float, float, float]]()
    for mark in sorted(what.marks, key=lambda m: m.at_ms):
        if what.from_ms <= mark.at_ms <= what.to_ms:
            x = (mark.at_ms - what.from_ms) / max(what.to_ms - what.from_ms, 1) * pixels
            length = 6.3 * len(mark.word) + 14
            if x + length > pixels:
                left.append((mark, x, x - length, x))
            else:
                right.append((mark, x, x, x + length))
    words = [list[tuple[float, float]]() for _ in range(MARK_ROWS)]
    lines: list[tuple[float, int]] = []
    out = []
    # Where words stand to the right, an earlier one's goes above later lines; to the left, a later one's.
    for mark, x, begin, end in [*right[::-1], *left]:
        free = [row for row in range(MARK_ROWS) if all(end <= a or begin >= b for a, b in words[row])]
        clear = (
            row
            for row in free
            if not any(a < x < b for below in words[:row] for a, b in below)
            and not any(begin < other < end and top >= row for other, top in lines)
        )
        row = next(clear, free[-1] if free else MARK_ROWS - 1)
        words[row].append((begin, end))
        lines.append((x, row))
        out.append((mark, row, (begin, end) == (x - (end - begin), x)))
    return out


def _legend(figure: Any, axes: Any, size: Size, colours: Colours) -> None:
    handles, words = axes.get_legend_handles_labels()
    figure.legend(
        handles, words, loc="upper right", bbox_to_anchor=(1.0, 1.0) if size.width > 600 else (1.0, 0.955),
        ncols=4, frameon=False, fontsize=11.5, labelcolor=colours.quiet, handlelength=1.4, columnspacing=1.2,
        borderaxespad=0.4, handletextpad=0.5,
    )  # fmt: skip


def _per(step_ms: int, words: dict[str, str]) -> str:
    for name, length in (("days", DAY_MS), ("hours", HOUR_MS), ("minutes", MINUTE_MS)):
        if step_ms % length == 0:
            n = step_ms // length
            return words[name].format(n=n) if n > 1 else words[name.removesuffix("s")]
    return words["seconds"].format(n=step_ms // 1_000)


def _whole() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, integer=True)


def _formatter(write: Callable[[float], str]) -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: write(value))
