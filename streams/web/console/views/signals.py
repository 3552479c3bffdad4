"""What we are watching, how well, at what price in false cases: one value per signal.

Numbers of events come from the closed windows, each read once and then remembered: a window never changes. What the
engines say of themselves (thresholds) is as old as their last word; of a recording it is asked of its snapshot, once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import sqlalchemy as sa

from detector.config import Config
from detector.desk.records import Case
from detector.errors import TocsinError
from detector.fields import duration_text
from detector.signals import Measure, Mode, Signal
from detector.watch.control import FactKind
from streams.engines import facts
from streams.engines.operating import operating_points
from streams.store import RECORDING, Store, pages, queries, rows
from streams.store import tables as t
from streams.store.documents import title_of
from streams.store.pages import CaseFilter
from streams.store.spending import Spending, spending
from streams.store.standing import standing
from streams.web.console.viewer import Language

SPARK = 60
"""Windows of a sparkline."""
LAST_CASES = 5
WEEKS = 8
_REMEMBERED = 2_000
WORK = "work"


# --- windows ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """What a window counted: all events, and by signal (counted, bad)."""

    window_ms: int
    events: int
    signals: Mapping[str, tuple[int, int]]


_remembered: WeakKeyDictionary[Store, dict[tuple[int, int], Window]] = WeakKeyDictionary()
_lock = Lock()


def windows(store: Store, n: int) -> list[Window]:
    """Return so many of the last closed windows' sums, newest first; several partitions make several entries."""
    table = t.window_record
    here = table.c.tenant == store.tenant
    keys = sa.select(table.c.window_ms, table.c.partition).where(here)
    with store.reading() as connection:
        wanted = [
            (int(r.window_ms), int(r.partition))
            for r in connection.execute(keys.order_by(table.c.window_ms.desc(), table.c.partition).limit(n))
        ]
        with _lock:
            known = dict(_remembered.get(store, {}))
        missing = [key for key in wanted if key not in known]
        if missing:
            oldest = min(key[0] for key in missing)
            for row in connection.execute(sa.select(table).where(here, table.c.window_ms >= oldest)):
                key = (int(row.window_ms), int(row.partition))
                if key not in known:
                    known[key] = _window(key[0], row.data)
    with _lock:
        _remembered[store] = dict(sorted(known.items())[-_REMEMBERED:])
    return [known[key] for key in wanted]


def _window(window_ms: int, data: bytes) -> Window:
    record = rows.window_of(data)
    sums = {
        name: (int(window.total.sum()), int(window.people.sum())) for name, window in sorted(record.signals.items())
    }
    return Window(window_ms, record.events, sums)


@dataclass(frozen=True)
class Spark:
    """A line of columns, the oldest first: heights 0 to 1, and of each the share that was bad."""

    heights: tuple[float, ...]
    bad: tuple[float, ...]
    most: int
    """Events of the highest one."""


def spark(found: Sequence[tuple[int, tuple[int, int]]], newest_ms: int, width_ms: int, n: int = SPARK) -> Spark:
    """Return the columns of the last `n` windows.

    Parameters
    ----------
    found
        (window_ms, (counted, bad)), any order; what is missing counts as none.

    Examples
    --------
    >>> spark([(60, (4, 1)), (120, (8, 0))], 120, 60, 3)
    Spark(heights=(0.0, 0.5, 1.0), bad=(0.0, 0.25, 0.0), most=8)
    """
    sums: dict[int, tuple[int, int]] = {}
    for window_ms, (counted, bad) in found:
        before = sums.get(window_ms, (0, 0))
        sums[window_ms] = (before[0] + counted, before[1] + bad)
    columns = [sums.get(newest_ms - i * width_ms, (0, 0)) for i in range(n - 1, -1, -1)]
    most = max((counted for counted, _ in columns), default=0)
    return Spark(
        tuple(round(counted / most, 3) if most else 0.0 for counted, _ in columns),
        tuple(round(min(bad / counted, 1.0), 3) if counted else 0.0 for counted, bad in columns),
        most,
    )


# --- signals ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """A threshold: of how many segments that fix so many dimensions; from `theory`, or the stream's `own peaks`."""

    level: int
    segments: int
    threshold_nats: float
    source: str


@dataclass(frozen=True)
class Thresholds:
    """Where a signal's thresholds stand."""

    mean: float
    hours: int
    shift_nats: float
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class LastCase:
    """A case of a signal."""

    id: str
    title: str
    state: str
    verdict: str
    opened_ms: int


@dataclass(frozen=True)
class Muted:
    """Known noise that is left out of a signal, or of a part of it."""

    where: str
    until_ms: int
    by: str
    text: str


@dataclass(frozen=True)
class Watched:
    """A signal: how it does.

    Attributes
    ----------
    a_minute
        Events that it counts, over the last hour of windows.
    bad_share
        Of them, over the same; None where nothing was counted, or where nothing is bad by itself.
    last_ms
        The end of the last window that had an event of it; None: none of the last windows had.
    """

    name: str
    title: str
    measure: str
    window: str
    dimensions: tuple[str, ...]
    severity: str
    mode: str
    a_minute: float
    bad_share: float | None
    last_ms: int | None
    spark: Spark
    budget: str
    """Whose it draws on, as `Spending.of` names it."""
    thresholds: Thresholds | None
    cases: tuple[LastCase, ...]
    unfinished: int
    muted: tuple[Muted, ...]


@dataclass(frozen=True)
class Signals:
    """All that is watched.

    Attributes
    ----------
    last_ms
        When something last came in, as far as windows say.
    late, duplicate, refused
        Shares of all events of the store's life.
    backlog_since_ms
        Since when the oldest event waits to be worked off; None: none does.
    """

    watched: tuple[Watched, ...]
    budgets: tuple[Spending, ...]
    a_minute: float
    last_ms: int | None
    events: int
    late: float
    duplicate: float
    refused: float
    backlog_since_ms: int | None
    seen_ms: int | None


def signals(store: Store, config: Config, now_ms: int, language: Language) -> Signals:
    """Return how the signals of a configuration do."""
    now = standing(store, now_ms)
    work = next((process for process in now.processes if process.name == WORK), None)
    width_ms = config.input.window_ms
    found = windows(store, SPARK)
    newest_ms = found[0].window_ms if found else 0
    found = [window for window in found if window.window_ms > newest_ms - SPARK * width_ms]
    says = _thresholds(store, None if work is None else work.body)
    mutes = _mutes(store, now_ms)
    spent = tuple(spending(store, config, now_ms, WEEKS))
    of = {name: budget.of for budget in spent for name in budget.signals}
    minutes = _minutes(found, width_ms)
    tally = store.tally()
    events = sum(tally.get("events", {}).values())
    dropped, dead = tally.get("dropped", {}), sum(tally.get("dead", {}).values())
    watched = tuple(
        _watched(
            store,
            signal,
            language,
            [(window.window_ms, window.signals[signal.name]) for window in found if signal.name in window.signals],
            newest_ms,
            width_ms,
            minutes,
            of.get(signal.name, signal.mode.value),
            says.get(signal.name),
            tuple(mute for names, mute in mutes if not names or signal.name in names),
        )
        for signal in sorted(config.signals, key=lambda signal: signal.mode is not Mode.LIVE)
    )
    return Signals(
        watched=watched,
        budgets=spent,
        a_minute=sum(window.events for window in found) / minutes if minutes else 0.0,
        last_ms=newest_ms + width_ms if found else None,
        events=events,
        late=_share(dropped.get("late", 0), events),
        duplicate=_share(dropped.get("duplicate", 0), events),
        refused=_share(dead, events),
        backlog_since_ms=now.backlog_since_ms,
        seen_ms=None if work is None else work.at_ms,
    )


def _share(n: int, of: int) -> float:
    return n / of if of else 0.0


def _minutes(found: Sequence[Window], width_ms: int) -> float:
    """Return how many minutes the windows span."""
    if not found:
        return 0.0
    return (found[0].window_ms - min(window.window_ms for window in found) + width_ms) / 60_000


def _watched(
    store: Store,
    signal: Signal,
    language: Language,
    found: Sequence[tuple[int, tuple[int, int]]],
    newest_ms: int,
    width_ms: int,
    minutes: float,
    budget: str,
    thresholds: Thresholds | None,
    muted: tuple[Muted, ...],
) -> Watched:
    has_bad = signal.measure is not Measure.COUNT and not signal.ranked
    found = [(window_ms, (counted, bad if has_bad else 0)) for window_ms, (counted, bad) in found]
    counted = sum(sums[0] for _, sums in found)
    bad = sum(sums[1] for _, sums in found)
    page = pages.case_page(store, CaseFilter(signal=signal.name), limit=LAST_CASES)
    return Watched(
        name=signal.name,
        title=signal.title.get(language) or next(iter(signal.title.values()), signal.name),
        measure=signal.measure.value,
        window=duration_text(signal.window_ms),
        dimensions=signal.dimensions,
        severity=signal.severity.value,
        mode=signal.mode.value,
        a_minute=counted / minutes if minutes else 0.0,
        bad_share=bad / counted if counted and has_bad else None,
        last_ms=max((window_ms for window_ms, _ in found), default=-width_ms) + width_ms if found else None,
        spark=spark(found, newest_ms, width_ms),
        budget=budget,
        thresholds=thresholds,
        cases=tuple(_last_case(case, language) for case in page.items),
        unfinished=queries.unfinished_of(store, signal.name),
        muted=muted,
    )


def _last_case(case: Case, language: Language) -> LastCase:
    verdict = "" if case.verdict is None else case.verdict.value
    return LastCase(case.id, title_of(case, language), case.state.value, verdict, case.opened_ms)


# --- what the engines say ---------------------------------------------------------------------------------------------

_of_recordings: WeakKeyDictionary[Store, dict[str, Thresholds]] = WeakKeyDictionary()


def _thresholds(store: Store, says: Mapping[str, Any] | None) -> Mapping[str, Thresholds]:
    """Return each signal's thresholds, as the engines said last; a recording's snapshot is asked once."""
    if says is not None:
        return _said(says.get("operating", ()))
    if store.mode != RECORDING:
        return {}
    with _lock:
        known = _of_recordings.get(store)
    if known is None:
        try:
            known = _said(msgspec.to_builtins(point) for point in operating_points(store))
        except TocsinError:  # another version's snapshot
            known = {}
        with _lock:
            _of_recordings[store] = known
    return known


def _said(points: Iterable[Mapping[str, Any]]) -> dict[str, Thresholds]:
    return {
        str(point["signal"]): Thresholds(
            float(point["mean"]),
            int(point["hours"]),
            float(point["shift_nats"]),
            tuple(
                Level(int(at["level"]), int(at["segments"]), float(at["threshold_nats"]), str(at["source"]))
                for at in point["levels"]
            ),
        )
        for point in points
    }


def _mutes(store: Store, now_ms: int) -> list[tuple[tuple[str, ...], Muted]]:
    """Return the mutes in force with their signals."""
    return [
        (
            known.fact.signals,
            Muted(
                ", ".join(f"{name} {value}" for name, value in known.fact.where.items()),
                known.until_ms,
                known.fact.by,
                known.fact.text,
            ),
        )
        for known in facts.known_facts(store, now_ms)
        if known.fact.kind is FactKind.MUTE and known.state == "active"
    ]
