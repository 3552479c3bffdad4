"""Times, zones and numbers as the viewer reads them; as Jinja filters and for tests.

A moment is told absolutely and relatively together: `14:32 WIB · 12 min ago`.
"""

import json
from datetime import datetime
from typing import Any

from babel.dates import format_date, format_time
from babel.numbers import format_decimal, format_percent, is_currency
from markupsafe import Markup

from detector.desk.zones import local
from streams.store import amounts
from streams.store.values import rfc3339
from streams.web.console.texts import form, text
from streams.web.console.viewer import Language, Viewer

_TIME: dict[Language, str] = {"en": "HH:mm", "id": "HH.mm"}
_SECOND_MS, _MINUTE_MS, _HOUR_MS, _DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
_SPANS = ((_DAY_MS, 2 * _DAY_MS, "span.d"), (_HOUR_MS, 2 * _HOUR_MS, "span.h"), (_MINUTE_MS, _MINUTE_MS, "span.min"))
_NOW_MS = 3_000


def number(value: float | None, viewer: Viewer, digits: int = 0) -> str:
    """Return a number with the language's separators; a dash where there is none.

    Examples
    --------
    >>> viewer = Viewer("id", "Asia/Jakarta", "auto", 0)
    >>> number(12_345, viewer), number(0.456, viewer, 1), number(None, viewer)
    ('12.345', '0,5', '–')
    """
    if value is None:
        return "–"
    pattern = "#,##0" + (f".{'0' * digits}" if digits else "")
    return str(format_decimal(value, pattern, locale=viewer.language))


def share(value: float | None, viewer: Viewer) -> str:
    """Return a share (0 to 1) in per cent."""
    return "–" if value is None else str(format_percent(value, locale=viewer.language))


def span(ms: int, language: Language) -> str:
    """Return a length of time in one unit.

    Examples
    --------
    >>> [span(ms, "en") for ms in (4_000, 90_000, 7_200_000, 200_000_000)]
    ['4 s', '1 min', '2 h', '2 d']
    """
    for unit_ms, from_ms, key in _SPANS:
        if ms >= from_ms:
            return text(key, language, n=ms // unit_ms)
    return text("span.s", language, n=max(0, ms) // _SECOND_MS)


def ago(at_ms: int, viewer: Viewer) -> str:
    """Return how long a moment is past, or how soon it comes."""
    passed_ms = viewer.now_ms - at_ms
    if abs(passed_ms) < _NOW_MS:
        return text("time.now", viewer.language)
    key = "time.ago" if passed_ms > 0 else "time.in"
    return text(key, viewer.language, span=span(abs(passed_ms), viewer.language))


def zone_name(here: datetime) -> str:
    """Return a zone's short name (WIB, WITA, WIT), or its distance from UTC where it has none.

    Examples
    --------
    >>> zone_name(local(0, "Asia/Makassar")), zone_name(local(0, "America/Sao_Paulo"))
    ('WITA', 'UTC-03:00')
    """
    name = here.tzname() or ""
    digits = here.strftime("%z")
    return name if name.isalpha() else f"UTC{digits[:3]}:{digits[3:5]}"


def moment(at_ms: int, viewer: Viewer, zone: str | None = None) -> str:
    """Return a moment in the viewer's zone (or another) with its name, with the date where that is another day.

    Examples
    --------
    >>> viewer = Viewer("en", "Asia/Jakarta", "auto", 1_772_413_200_000)
    >>> moment(1_772_409_600_000, viewer), moment(1_772_323_200_000, viewer), moment(1_700_000_000_000, viewer)
    ('07:00 WIB', '1 Mar 07:00 WIB', '15 Nov 2023 05:13 WIB')
    """
    here, now = local(at_ms, zone or viewer.zone), local(viewer.now_ms, zone or viewer.zone)
    clock = f"{format_time(here, _TIME[viewer.language], tzinfo=here.tzinfo, locale=viewer.language)} {zone_name(here)}"
    if here.date() == now.date():
        return clock
    pattern = "d MMM" if here.year == now.year else "d MMM y"
    return f"{format_date(here, pattern, locale=viewer.language)} {clock}"


def date_moment(at_ms: int, viewer: Viewer) -> str:
    """Return a moment with its whole date, whichever day it is.

    Examples
    --------
    >>> date_moment(1_772_409_600_000, Viewer("id", "Asia/Jakarta", "auto", 1_772_409_600_000))
    '2 Mar 2026 07.00 WIB'
    """
    here = local(at_ms, viewer.zone)
    clock = format_time(here, _TIME[viewer.language], tzinfo=here.tzinfo, locale=viewer.language)
    return f"{format_date(here, 'd MMM y', locale=viewer.language)} {clock} {zone_name(here)}"


def when(at_ms: int | None, viewer: Viewer) -> Markup:
    """Return a moment, absolute and relative, as an element whose relative part a page keeps fresh."""
    if at_ms is None:
        return Markup('<span class="none">–</span>')
    return Markup(
        '<time datetime="{iso}" data-ms="{ms}"><span class="abs">{moment}</span> <span class="ago">{ago}</span></time>'
    ).format(iso=rfc3339(at_ms), ms=at_ms, moment=moment(at_ms, viewer), ago=ago(at_ms, viewer))


def time_words(language: Language) -> str:
    """Return how relative times are told, as JSON for the script that keeps them fresh."""
    keys = ("time.now", "time.ago", "time.in", "span.s", "span.min", "span.h", "span.d")
    return json.dumps({key.partition(".")[2]: form(key, language) for key in keys}, ensure_ascii=False)


def filters() -> dict[str, Any]:
    """Return the Jinja filters; each takes the page's `viewer` out of the context.

    `ms | when` (both, as an element), `ms | moment`, `ms | date_moment`, `ms | ago`, `ms | span`; `n | number`,
    `x | share`, `milli | amount(unit)`, `unit | currency` ("" where it is none).
    """
    from jinja2 import pass_context
    from jinja2.runtime import Context

    @pass_context
    def _when(context: Context, at_ms: int | None) -> Markup:
        return when(at_ms, context["viewer"])

    @pass_context
    def _moment(context: Context, at_ms: int | None, zone: str | None = None) -> str:
        return "–" if at_ms is None else moment(at_ms, context["viewer"], zone)

    @pass_context
    def _date_moment(context: Context, at_ms: int) -> str:
        return date_moment(at_ms, context["viewer"])

    @pass_context
    def _ago(context: Context, at_ms: int | None) -> str:
        return "–" if at_ms is None else ago(at_ms, context["viewer"])

    @pass_context
    def _span(context: Context, ms: int) -> str:
        return span(ms, context["viewer"].language)

    @pass_context
    def _number(context: Context, value: float | None, digits: int = 0) -> str:
        return number(value, context["viewer"], digits)

    @pass_context
    def _share(context: Context, value: float | None) -> str:
        return share(value, context["viewer"])

    @pass_context
    def _amount(context: Context, milli: int, unit: str) -> str:
        return amounts.exact(milli, unit, context["viewer"].language)

    return {
        "amount": _amount,
        "currency": lambda unit: unit if is_currency(unit) else "",
        "when": _when,
        "moment": _moment,
        "date_moment": _date_moment,
        "ago": _ago,
        "span": _span,
        "number": _number,
        "share": _share,
    }
