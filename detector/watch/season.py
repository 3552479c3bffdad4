"""How a signal moves through the week and on special days: learned online with forgetting, with the calendar's help.

One factor per hour of the week, in the tenant's own time. A day that the calendar knows to be special does not teach
these (unless no ordinary one was seen yet); it follows the profile of its kind, one factor per hour of the day relative
to Sunday's hours or to those of its weekday, which is learned from earlier days of the kind. What has not been learned
yet is doubt: a variance that widens the noise. Shared by shares and counts, which differ in the weight of their priors
and in how far special days move them.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from detector.calendar import Calendar, CalendarSpec, Day
from detector.config import DAY_MS, HOUR_MS
from detector.events import Floats

SEASON_HALF_LIFE_MS = 14 * DAY_MS
"""Of ordinary days: special ones do not make them forgotten."""
KIND_HALF_LIFE = 4.0
"""Days of a kind after which half of what they taught is forgotten."""
HOURS, DAY_HOURS, SATURDAY, SUNDAY = 168, 24, 5, 6
ORDINARY, ALL = 0, 1
KIND_PRIOR = 50.0
"""Observations that "as on any such weekday" is worth, in each hour of a kind."""
ALIKE = 0.25
"""Part of a kind's spread that stays between one day of it and the next."""
LEAST_DOUBT = 1e-4
SEEN = 0.2
"""An hour was seen before if so much of one is not yet forgotten."""
SURE_DAYS = 2.5
TWICE, ONCE = 1.3, 1.2
"""An hour of the week that was seen once is held to so many times the median of its hour of the day."""
AFTER_HOURS = 3
"""So long after a special day what it did may still be felt."""
ORDINARY_SPREAD, ORDINARY_DAYS = 0.3, 3
"""Of ordinary days, where all that was seen so far is special ones; after so many nothing of it is left."""
SHARES_MOVE = 0.2
"""How far special days move failure shares, relative to volumes."""


@dataclass
class _Profile:
    """What days of one kind taught, by hour of the day: observed, expected, and of how many (forgotten) days."""

    observed: Floats = field(default_factory=lambda: np.zeros(DAY_HOURS))
    expected: Floats = field(default_factory=lambda: np.zeros(DAY_HOURS))
    days: Floats = field(default_factory=lambda: np.zeros(DAY_HOURS))

    def factor(self, hour: int) -> float:
        """Relative to what the kind is shrunk to; one day counts for four fifths."""
        days = float(self.days[hour])
        log = np.log((self.observed[hour] + KIND_PRIOR) / (self.expected[hour] + KIND_PRIOR))
        return float(np.exp(days / (days + ALIKE) * log))


class Season:
    """Observed against expected by hour of the week, and by kind of special day.

    For a share the factor is (K + prior) / (E + prior). For a count (`absolute`) it is a rate, so that nothing depends
    on what was seen first: K/E with E in hours, shrunk to the mean.

    Parameters
    ----------
    prior : float
        Observations that "as on average" is worth, in each hour.
    by_day : bool
        Whether an hour of the week is shrunk to the same hour of all days first.
    absolute : bool
        Whether it is a rate of events an hour; what was seen once, far above the other days, is taken for a campaign.
    moves : float
        How far special days move the signal, relative to volumes.
    """

    def __init__(
        self,
        prior: float,
        *,
        by_day: bool,
        absolute: bool = False,
        calendar: Calendar | None = None,
        moves: float = SHARES_MOVE,
    ) -> None:
        self._prior, self._by_day, self._absolute, self._moves = prior, by_day, absolute, moves
        self._calendar = calendar or Calendar(CalendarSpec())
        self._week: Floats = np.zeros((2, 3, HOURS))
        """Of ordinary days, and of all: per hour of the week observed, expected, and how many (forgotten) hours."""
        self._kinds: dict[str, _Profile] = {}
        """By kind of day; of the ordinary ones only how many there were."""

    def _of_week(self, weekday: int, hour: int) -> float:
        """The factor of an hour of the week, by ordinary days; by all while none was seen."""
        at, prior = weekday * DAY_HOURS + hour, self._prior
        observed, expected, hours = self._week[ORDINARY if self._ordinary(hour) else ALL]
        if not self._by_day:
            return float((observed[at] + prior) / (expected[at] + prior))
        day = slice(hour, HOURS, DAY_HOURS)
        mean = float(observed.sum() + 1e-9) / max(float(expected.sum()), 1e-9) if self._absolute else 1.0
        prior = self._prior / max(mean, 1e-9)
        of_day = (observed[day].sum() + prior * mean) / (expected[day].sum() + prior)
        found = float((observed[at] + prior * of_day) / (expected[at] + prior))
        if self._absolute and SEEN <= hours[at] < TWICE:
            # What was seen once may have been a campaign: the same hour of the other days says whether.
            seen = hours[day] >= SEEN
            of_days = (observed[day][seen] + prior * of_day) / (expected[day][seen] + prior)
            found = min(found, ONCE * float(np.median(of_days)))
        return found

    def _ordinary(self, hour: int) -> bool:
        """Whether this hour of the day was seen on an ordinary day."""
        return bool(self._week[ORDINARY, 2, hour::DAY_HOURS].max() >= SEEN)

    def _base(self, day: Day, weekday: int, hour: int) -> float:
        return self._of_week(SUNDAY if day.like_sunday else weekday, hour)

    def of_hour(self, time_ms: int) -> float:
        """The factor of the hour that this moment lies in."""
        day, weekday, hour = self._calendar.at(time_ms)
        base = self._base(day, weekday, hour)
        profile = None if day.ordinary else self._kinds.get(day.kind)
        return base if profile is None else base * profile.factor(hour)

    def smooth(self, time_ms: int) -> float:
        """Linear between the hours' middles."""
        middle = time_ms - HOUR_MS // 2
        part = middle % HOUR_MS / HOUR_MS
        return (1 - part) * self.of_hour(middle) + part * self.of_hour(middle + HOUR_MS)

    def relative(self, time_ms: int) -> float:
        """The season relative to its mean: what people understand."""
        observed, expected, _ = self._week[ALL]
        mean = float(observed.sum() + 1e-9) / max(float(expected.sum()), 1e-9) if self._absolute else 1.0
        return self.smooth(time_ms) / mean

    def known(self, time_ms: int) -> bool:
        """Whether such an hour was seen before: this one of the week, or this one of other working days."""
        day, weekday, hour = self._calendar.at(time_ms)
        seen = self._week[ALL, 2, hour::DAY_HOURS] >= SEEN
        weekday = SUNDAY if day.like_sunday else weekday
        return bool(seen[weekday] or (weekday < SATURDAY and seen[:SATURDAY].any()))

    def sure(self, time_ms: int) -> bool:
        """Whether this hour of the day was seen on several days: what was seen once may have been a campaign."""
        hour = self._calendar.at(time_ms)[2]
        return bool(self._week[ALL, 2, hour::DAY_HOURS].sum() >= SURE_DAYS)

    def special(self, time_ms: int) -> bool:
        """Whether the calendar knows this day to be special."""
        return not self._calendar.at(time_ms)[0].ordinary

    def brief(self, time_ms: int) -> bool:
        """Whether this moment lies in a special day that is over soon: what it brings is no new level."""
        return self._calendar.at(time_ms)[0].brief

    def doubt(self, time_ms: int) -> float:
        """Variance of the log factor for want of days like this one; 0 on the days that are known.

        Nothing is doubted while days of one kind are all that was ever seen: the level was learned on them.
        """
        day, _, hour = self._calendar.at(time_ms)
        doubt = self._doubt(day, hour)
        if hour < AFTER_HOURS:
            before = self._calendar.day(self._calendar.local(time_ms)[0] - timedelta(days=1))
            if before.kind != day.kind and not before.ordinary:
                doubt = max(doubt, self._doubt(before, DAY_HOURS - 1) * (1 - hour / AFTER_HOURS))
        return doubt

    def _doubt(self, day: Day, hour: int) -> float:
        others = sum(float(p.days.sum()) for kind, p in self._kinds.items() if kind != day.kind) / DAY_HOURS
        profile = self._kinds.get(day.kind)
        days = 0.0 if profile is None else float(profile.days[hour])
        if day.ordinary:
            spread, unlearned = ORDINARY_SPREAD, max(0.0, 1.0 - days / ORDINARY_DAYS)
        else:
            spread, unlearned = day.spread(hour), ALIKE + (1 - ALIKE) * ALIKE / (ALIKE + days)
        whole = min(others, 1.0) * unlearned * (self._moves * spread) ** 2
        return whole if whole > LEAST_DOUBT else 0.0

    def learn(self, time_ms: int, observed: float, expected: float, width_ms: int) -> None:
        """Add what was seen within `width_ms` of the hour of this moment, and forget a little.

        Parameters
        ----------
        expected : float
            What level and all else say, without the season; hours where the season is an absolute rate.
        """
        day, weekday, hour = self._calendar.at(time_ms)
        profile = self._kinds.setdefault(day.kind, _Profile())
        fade = 0.5 ** (width_ms / HOUR_MS / KIND_HALF_LIFE)
        profile.days[hour] = profile.days[hour] * fade + width_ms / HOUR_MS
        forget, hours = 0.5 ** (width_ms / SEASON_HALF_LIFE_MS), width_ms / HOUR_MS
        for kind in (ORDINARY, ALL) if day.ordinary else (ALL,):
            self._week[kind] *= forget
            self._week[kind, :, weekday * DAY_HOURS + hour] += (observed, expected, hours)
        if not day.ordinary and self._ordinary(hour):
            profile.observed[hour] = profile.observed[hour] * fade + observed
            base = self._base(day, weekday, hour)
            profile.expected[hour] = profile.expected[hour] * fade + expected * base

    def clear(self) -> None:
        """Begin anew."""
        self._week[:] = 0.0
        self._kinds.clear()

    def state(self) -> dict[str, Any]:
        kinds = {kind: vars(profile) for kind, profile in self._kinds.items()}
        return {"week": self._week, "kinds": kinds}

    def restore(self, state: dict[str, Any]) -> None:
        self._week = state["week"]
        self._kinds = {kind: _Profile(**profile) for kind, profile in state["kinds"].items()}
