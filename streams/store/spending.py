"""What was spent of the budgets of false cases: verdicts "not a problem" by period.

A case belongs to the budget of its first signal: that signal's own, else its mode's share of the tenant's (live and
shadow signals have one each). It belongs to the period in which it was detected. Merged cases are in the case that
they went into. Periods begin on Mondays, at midnight, or on the hour, in UTC.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from detector.config import DAY_MS, Budget, Config
from detector.desk.records import Case, CaseState, Verdict
from detector.signals import Mode, Signal
from streams.store import queries, rows
from streams.store import tables as t
from streams.store.store import Store

PERIODS = 8
_MONDAY_MS = 4 * DAY_MS


@dataclass(frozen=True)
class Period:
    """One week (day, hour) of a budget."""

    from_ms: int
    until_ms: int
    cases: int
    false: int
    """Judged not-a-problem: what was spent."""
    unjudged: int
    limit: int

    @property
    def kept(self) -> bool:
        """Whether what was judged so far stays within the budget."""
        return self.false <= self.limit


@dataclass(frozen=True)
class Spending:
    """One budget and what was spent of it."""

    of: str
    """`live` or `shadow` for the tenant's, else the signal that has its own."""
    signals: tuple[str, ...]
    budget: Budget
    periods: tuple[Period, ...]
    """Newest first: the first is the one that is not over."""

    @property
    def spent(self) -> int:
        return self.periods[0].false


def period_start_ms(at_ms: int, per_ms: int) -> int:
    """Return the beginning of the period that holds the moment.

    Examples
    --------
    >>> from detector.config import WEEK_MS
    >>> period_start_ms(1_772_582_400_000, WEEK_MS) == 1_772_409_600_000  # Wednesday 4 March 2026 → Monday 2 March
    True
    """
    return (at_ms - _MONDAY_MS) // per_ms * per_ms + _MONDAY_MS


def spending(store: Store, config: Config, now_ms: int, periods: int = PERIODS) -> list[Spending]:
    """Return every budget of the configuration with what was spent in this period and those before.

    Parameters
    ----------
    periods : int
        At most so many, and none that was over before the first window that the store keeps.
    """
    oldest_ms = queries.oldest_window_ms(store)
    out = []
    for of, budget, signals in budgets(config):
        start_ms = period_start_ms(now_ms, budget.per_ms)
        starts = [start_ms - i * budget.per_ms for i in range(periods)]
        kept = [s for s in starts if s == start_ms or (oldest_ms is not None and s + budget.per_ms > oldest_ms)]
        found = [case for case in _cases(store, kept[-1]) if budget_of(case, config) == of]
        out.append(Spending(of, signals, budget, tuple(_period(found, s, budget) for s in kept)))
    return out


def budgets(config: Config) -> list[tuple[str, Budget, tuple[str, ...]]]:
    """Return the budgets: what they are of, how large, and for which signals."""
    out = []
    for mode in (Mode.LIVE, Mode.SHADOW):
        sharing = tuple(s.name for s in config.signals if s.mode is mode and s.budget is None)
        if sharing:
            out.append((mode.value, config.budget, sharing))
    out += [(s.name, s.budget, (s.name,)) for s in config.signals if s.budget is not None]
    return out


def _cases(store: Store, from_ms: int) -> list[Case]:
    """Return the cases that were detected since; what is opened is detected before."""
    wanted = sa.select(t.cases).where(
        t.cases.c.tenant == store.tenant, t.cases.c.opened_ms >= from_ms, t.cases.c.state != CaseState.MERGED.value
    )
    with store.reading() as connection:
        return [rows.case_of(row) for row in connection.execute(wanted)]


def budget_of(case: Case, config: Config) -> str:
    """Return whose budget a case belongs to, as `Spending.of` names it."""
    signal: Signal | None = next((s for s in config.signals if s.name == case.signals[0]), None)
    return signal.name if signal is not None and signal.budget is not None else case.mode.value


def _period(cases: list[Case], from_ms: int, budget: Budget) -> Period:
    until_ms = from_ms + budget.per_ms
    inside = [case for case in cases if from_ms <= case.detected_ms < until_ms]
    return Period(
        from_ms,
        until_ms,
        len(inside),
        sum(case.verdict is Verdict.NOT_A_PROBLEM for case in inside),
        sum(case.verdict is None for case in inside),
        budget.cases,
    )
