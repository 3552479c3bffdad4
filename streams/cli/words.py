"""How the command line says things: a case in a sentence, a moment with its zone, numbers as a line of blocks."""

import msgspec

from detector.config import Config
from detector.desk.records import Case, CaseState
from detector.desk.zones import local
from detector.watch.anomaly import Cause, Point
from streams.store import Store
from streams.store.documents import title_of

_BLOCKS = "▁▂▃▄▅▆▇█"

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
    """Return a cause in words: `bank = BNI, method = card`; everyone where it names nothing."""
    return ", ".join(f"{name} = {value}" for name, value in cause.where.items()) or "everyone"


def sentence(case: Case, zone: str) -> str:
    """Return what matters of a case: what, since when, who was hit, who still is, what went out."""
    since = moment(case.onset_ms, zone)
    until = f" until {moment(case.ended_ms, zone)}" if case.ended_ms is not None else ""
    head = f"{title_of(case)} since {since}{until}."
    if case.affected is None:
        return f"{head} {case.observed:,} events where {case.expected:,.0f} were expected; nobody can be named."
    hit = case.affected.confirmed + case.affected.likely
    failing = case.affected.still_failing
    parts = [
        f"{hit:,} {'customer was' if hit == 1 else 'customers were'} hit ({case.affected.confirmed:,} confirmed)",
        f"{failing:,} still {'fails' if failing == 1 else 'fail'}",
        f"{case.notices.sent:,} {'notice' if case.notices.sent == 1 else 'notices'} went out",
        f"{case.contacts:,} contacted us",
    ]
    return f"{head} {', '.join(parts)}."


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
