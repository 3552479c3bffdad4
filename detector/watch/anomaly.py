"""What Watch gives: the contract between Watch and Desk."""

from enum import StrEnum

import msgspec

from detector.counter.record import FORMAT


class Cause(msgspec.Struct, frozen=True):
    """The smallest set of dimension values that explains the excess; `where` empty: everyone."""

    where: dict[str, str]
    share_of_excess: float
    confidence: float | None = None
    """Probability that it is this one and not another of the candidates."""
    same_as: tuple[dict[str, str], ...] = ()
    """Other names of the very same cells: a bank and its only BIN can't be told apart."""

    def key(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(self.where.items()))


class Point(msgspec.Struct, frozen=True):
    """Observed against expected in the causes, in one window.

    `observed` and `expected` are people (share, value) or events (count); `trials` is n.
    `low` and `high` bound what the expectation and its noise explain in 95 % of the windows.
    """

    window_ms: int
    observed: int
    expected: float
    trials: int
    low: float
    high: float
    active: float = 1.0
    """Probability that the problem was on in this window: below 1 only around its onset and its end."""


class Contrast(msgspec.Struct, frozen=True):
    """How often a cell of the causes fails ordinarily, relative to all of them: 2 is twice as often as the average.

    Where many fail anyway, a failure is less likely the problem's. 1 throughout where the problem multiplies what there
    was rather than adding to it.
    """

    cell: tuple[str, ...]
    weight: float


class Phase(StrEnum):
    OPENED = "opened"
    UPDATED = "updated"
    RECOVERING = "recovering"  # the excess is gone on evidence; may relapse
    RELAPSED = "relapsed"
    ENDED = "ended"  # stayed gone: Watch lets go of it


class Shift(msgspec.Struct, frozen=True):
    """Of a value signal without a limit: a quantile of the values in the causes, lately, and what it usually is."""

    quantile: float
    observed: float
    usual: float
    values: int
    """How many values it was taken from."""


class Beside(msgspec.Struct, frozen=True):
    """What is around the first cause, without any of the causes, over the same time: so much failed elsewhere."""

    where: dict[str, str]
    """The cause without one of its dimensions; empty: the rest of the signal."""
    observed: int
    expected: float
    trials: int


class Why(msgspec.Struct, frozen=True):
    """The numbers behind "why we think so"."""

    score_nats: float
    threshold_nats: float
    budget: str
    """Which budget the threshold came from, in words: "1 false case per week, level single"."""
    segments: int
    """How many segments of that level are searched."""
    noise: float
    """Learned noise: standard deviation of the log rate."""
    shift: Shift | None = None
    segment: dict[str, str] = {}
    """Whose evidence passed the threshold first; empty: the whole signal's."""
    source: str = "theory"
    """What the threshold comes from: `theory`, or the stream's `own peaks`."""
    season: float = 1.0
    """What this hour of the week is expected to be, relative to the average."""
    beside: tuple[Beside, ...] = ()


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """One signal's problem as Watch sees it after a window. One record per window while it lasts.

    `id` is the hash of (tenant, signal, first cause, first window) and never changes; `causes` is revised.
    `observed`, `expected` and `trials` sum over [onset, ended_ms or now) in the causes.
    `points` holds the windows that are new since the last record; with `rewrite`, all from an hour before the onset
    on (the causes changed).
    """

    id: str
    signal: str
    phase: Phase
    at_ms: int
    """End of the window that said so, plus the lateness: the logical time of the decision."""
    window_ms: int
    onset_ms: int
    detected_ms: int
    ended_ms: int | None
    causes: tuple[Cause, ...]
    observed: int
    expected: float
    trials: int
    score: float
    points: tuple[Point, ...]
    rewrite: bool
    contrasts: tuple[Contrast, ...] = ()
    """Given with `rewrite`; cells that are not named have weight 1."""
    new_level: float | None = None
    """Given with `ended`: it has become normal, at so many times what was expected before."""
    why: Why
    format: int = FORMAT
