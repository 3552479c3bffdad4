"""How the command line says things: a case in a sentence, a moment with its zone, numbers as a line of blocks."""

import re
from collections.abc import Sequence
from itertools import groupby

import msgspec

from detector.config import Config
from detector.desk.records import Case, CaseState, NoticeCounts, TimelineEntry
from detector.desk.zones import local
from detector.watch.anomaly import Cause, Point
from detector.watch.explanation import explain_in_words, shift_in_words, value_in_words
from streams.store import Store
from streams.store.documents import title_of

_BLOCKS = "▁▂▃▄▅▆▇█"
_NOTICES = re.compile(r"told (?P<told>\d+), held (?P<held>\d+)")
"""What the Desk writes of notices in a case's story."""

SEVERITY_MARK = {"critical": "▲▲", "high": "▲", "medium": "△", "low": "·"}
"""A shape beside the word, so that nothing hangs on colour."""


def zone_of(store: Store) -> str:
    """Return the zone that people who read this store live by: its configuration's default."""
    found = store.in_force()
    return msgspec.json.decode(found[-1].body, type=Config).policy.default_time_zone if found else "UTC"


def moment(at_ms: int | None, zone: str) -> str:
    """Return a local moment with the zone's name.

    Examples
    --------
    >>> moment(1_772_409_600_000, "Asia/Jakarta"), moment(None, "UTC")
    ('2 Mar 07:00 WIB', '')
    """
    if at_ms is None:
        return ""
    here = local(at_ms, zone)
    return f"{here.day} {here:%b %H:%M} {here.tzname()}"


def where(cause: Cause) -> str:
    """Return a cause in words; everyone where it names nothing.

    Examples
    --------
    >>> where(Cause({"bank": "BNI", "method": ""}, 0.9)), where(Cause({}, 0.9))
    ('bank = BNI, method = (none)', 'everyone')
    """
    parts = (f"{name} = {value_in_words(value, 'en')}" for name, value in cause.where.items())
    return ", ".join(parts) or "everyone"


def notices_in_words(sums: NoticeCounts, verb: str, would: str) -> str:
    """Return what was sent; what was only simulated `would` have been.

    Examples
    --------
    >>> words = "went out", "would have gone out"
    >>> notices_in_words(NoticeCounts(sent=1), *words), notices_in_words(NoticeCounts(sent=36, simulated=36), *words)
    ('1 notice went out', '36 notices would have gone out (dry run)')
    >>> notices_in_words(NoticeCounts(sent=40, simulated=36), *words)
    '4 notices went out, 36 would have gone out (dry run)'
    """
    sent = sums.sent - sums.simulated
    parts = [f"{sent:,} {'notice' if sent == 1 else 'notices'} {verb}"] if sent or not sums.simulated else []
    if sums.simulated:
        what = "" if parts else "notice " if sums.simulated == 1 else "notices "
        parts.append(f"{sums.simulated:,} {what}{would} (dry run)")
    return ", ".join(parts)


def story(entries: Sequence[TimelineEntry], zone: str, *, dry: bool = False) -> list[str]:
    """Return a case's story line by line; a stretch of nothing but notices is one line with its sums.

    With `dry` nobody was told: it was all simulated.

    Examples
    --------
    >>> told = TimelineEntry(tenant="", case="", seq=1, n=0, at_ms=0, what="notices", detail="told 2, held 1")
    >>> story([told, msgspec.structs.replace(told, at_ms=2_280_000, detail="told 3, held 0")], "UTC")
    ['1 Jan 00:00 UTC  notices: told 5, held 1 (1 Jan 00:00–00:38)']
    >>> story([told], "UTC", dry=True)
    ['1 Jan 00:00 UTC  notices: would have told 2 (dry run), held 1']
    """
    lines: list[str] = []
    for sums, group in groupby(entries, key=_is_of_notices):
        stretch = list(group)
        lines += [_stretch(stretch, zone, dry)] if sums else [_line(entry, zone) for entry in stretch]
    return lines


def _is_of_notices(entry: TimelineEntry) -> bool:
    return entry.what == "notices" and _NOTICES.fullmatch(entry.detail) is not None


def _line(entry: TimelineEntry, zone: str) -> str:
    by = f" by {entry.by}" if entry.by else ""
    detail = f": {entry.detail}" if entry.detail else ""
    return f"{moment(entry.at_ms, zone)}  {entry.what}{by}{detail}"


def _stretch(entries: Sequence[TimelineEntry], zone: str, dry: bool) -> str:
    """Return entries of told and held notices as one."""
    counts = [match for entry in entries if (match := _NOTICES.fullmatch(entry.detail))]
    told, held = (sum(int(match[name]) for match in counts) for name in ("told", "held"))
    what = f"would have told {told:,} (dry run)" if dry else f"told {told:,}"
    text = f"{moment(entries[0].at_ms, zone)}  notices: {what}, held {held:,}"
    if len(entries) == 1:
        return text
    first, last = local(entries[0].at_ms, zone), local(entries[-1].at_ms, zone)
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last.day} {last:%b %H:%M}"
    return f"{text} ({first.day} {first:%b %H:%M}–{until})"


def sentence(case: Case, zone: str) -> str:
    """Return what matters of a case: what, since when, who was hit, who still is, what went out."""
    since = moment(case.onset_ms, zone)
    until = f" until {moment(case.ended_ms, zone)}" if case.ended_ms is not None else ""
    head = f"{title_of(case)} since {since}{until}."
    if case.affected is None and case.shift is not None:
        return f"{head} {shift_in_words(case.shift).capitalize()}; nobody can be named."
    if case.affected is None:
        return f"{head} {case.observed:,} events where {case.expected:,.0f} were expected; nobody can be named."
    hit = case.affected.confirmed + case.affected.likely
    failing = case.affected.still_failing
    parts = [
        f"{hit:,} {'customer was' if hit == 1 else 'customers were'} hit ({case.affected.confirmed:,} confirmed)",
        f"{failing:,} still {'fails' if failing == 1 else 'fail'}",
        notices_in_words(case.notices, "went out", "would have gone out"),
        f"{case.contacts:,} contacted us",
    ]
    loss = ""
    if case.loss is not msgspec.UNSET and case.loss.milli:
        from streams.store.amounts import about

        loss = f" What failed was worth about {about(case.loss.milli, case.loss.unit, 'en')}."
    return f"{head} {', '.join(parts)}.{loss}"


def why_lines(case: Case) -> list[str]:
    """Return why we think so, signal by signal; a case of an older version has no more than its numbers."""
    lines: list[str] = []
    for account in case.accounts:
        places = "; ".join(where(cause) for cause in account.causes)
        lines += [f"  {account.signal}, {places}", *(f"    {text}" for text in explain_in_words(account, "en"))]
    return lines or [f"  {case.observed:,} observed, {case.expected:,.1f} expected, score {case.score:.2f}"]


def sparkline(points: list[Point], width: int = 60) -> tuple[str, str]:
    """Return observed and expected numbers as two lines of blocks on one scale; neighbours are added where too many.

    Examples
    --------
    >>> sparkline([Point(0, 0, 1.0, 9, 0, 2), Point(60_000, 8, 1.0, 9, 0, 2)])
    ('▁█', '▂▂')
    """
    step = -(-len(points) // width) or 1
    groups = [points[i : i + step] for i in range(0, len(points), step)]
    observed = [float(sum(point.observed for point in group)) for group in groups]
    expected = [sum(point.expected for point in group) for group in groups]
    top = max([*observed, *expected, 1e-9])
    return _bars(observed, top), _bars(expected, top)


def _bars(values: list[float], top: float) -> str:
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, round(value / top * (len(_BLOCKS) - 1)))] for value in values)


def state_of(case: Case) -> str:
    """Return a case's state, with what it went into or the verdict."""
    if case.state is CaseState.MERGED and case.merged_into:
        return f"merged into {case.merged_into[:8]}"
    return f"{case.state.value} ({case.verdict.value})" if case.verdict else case.state.value
