"""A budget of false cases: the one setting of how sensitive detection is, as a value and as it is written."""

import re

import msgspec

from detector.fields import duration_text

BUDGET_PERIODS = {"hour": 3_600_000, "day": 86_400_000, "week": 7 * 86_400_000}
BUDGET_ALLOWED = 'a budget such as "1 false case per week" (per hour, day or week)'
_BUDGET = re.compile(r"(\d{1,4}) false cases? (?:per|a) (hour|day|week)")


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many false cases are put up with: the number not exceeded in 95 % of the weeks (days, hours).

    Examples
    --------
    >>> Budget().words, Budget(cases=3, per_ms=86_400_000).words
    ('1 false case per week', '3 false cases per day')
    """

    cases: int = 1
    per_ms: int = 7 * 86_400_000

    @property
    def words(self) -> str:
        """As it is written in a configuration."""
        per = next((word for word, ms in BUDGET_PERIODS.items() if ms == self.per_ms), duration_text(self.per_ms))
        return f"{self.cases} false {'case' if self.cases == 1 else 'cases'} per {per}"


def parse_budget(value: object) -> Budget | None:
    """Return the budget that a configuration states; None where it is none (`BUDGET_ALLOWED` says what is).

    Examples
    --------
    >>> parse_budget("2 false cases a day") == Budget(cases=2, per_ms=86_400_000), parse_budget("3 sigmas")
    (True, None)
    """
    match = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) < 1:
        return None
    return Budget(cases=int(match[1]), per_ms=BUDGET_PERIODS[match[2]])
