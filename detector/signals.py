"""What is watched: signals.yml as values.

`parse_signals` checks every field and lists all errors at once, each with its path.
"""

from enum import StrEnum

import msgspec

from detector.events import EventSchema

ALL_OTHERS = "__other__"
"""Where dimension values beyond the cap fold into."""


class Measure(StrEnum):
    """What a signal counts.  `value` is a share as well: of the events whose value is beyond its limit."""

    SHARE = "share"
    COUNT = "count"
    VALUE = "value"


class Direction(StrEnum):
    """Which direction of a count is bad: a burst or silence."""

    UP = "up"
    DOWN = "down"


class Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Mode(StrEnum):
    """A shadow signal opens cases that nobody is told of."""

    SHADOW = "shadow"
    LIVE = "live"


class CountBy(StrEnum):
    """Whether one customer's many failures are one piece of evidence (`people`) or each is one (`attempts`)."""

    PEOPLE = "people"
    ATTEMPTS = "attempts"


class Condition(msgspec.Struct, frozen=True):
    """All that is stated must hold for `field`."""

    field: str
    any_of: tuple[str, ...] | None = None
    """One of these, compared as `canonical` text."""
    none_of: tuple[str, ...] | None = None
    at_least: float | None = None
    below: float | None = None
    present: bool | None = None

    @property
    def numeric(self) -> bool:
        return self.at_least is not None or self.below is not None


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of signals.yml."""

    name: str
    title: dict[str, str]
    """By language (`en`, `id`): what customers cannot do, as a heading."""
    events: tuple[Condition, ...]
    """Which events belong to it."""
    bad: tuple[Condition, ...] = ()
    """Which of them are bad (share); empty for count and value."""
    measure: Measure
    value: str | None = None
    """The measured field of a value signal."""
    bad_above: float | None = None
    bad_below: float | None = None
    dimensions: tuple[str, ...]
    window_ms: int
    direction: Direction = Direction.UP
    severity: Severity = Severity.MEDIUM
    mode: Mode = Mode.SHADOW
    count_by: CountBy = CountBy.PEOPLE
    workaround: dict[str, str] = msgspec.field(default_factory=dict)
    """By language: one sentence of what customers can do meanwhile. Goes into notices as it stands."""
    promise: dict[str, str] = msgspec.field(default_factory=dict)
    """By language: a fact that may be promised ("no money was taken twice")."""
    what: dict[str, str] = msgspec.field(default_factory=dict)
    """By language: the thing the customer tried, as the notice names it ("card payment"); defaults to the title."""
    min_people: int = 5
    """Below this many people hit no case opens (count_by people)."""

    @property
    def names_people(self) -> bool:
        """Whether the signal has bad events, so that a case can say who was hit."""
        return not (self.measure is Measure.COUNT and self.direction is Direction.DOWN)


def schema_of(signals: tuple[Signal, ...], contacts: tuple[Condition, ...]) -> EventSchema:
    """Which fields the decoder must read for these signals and for telling contacts.

    Examples
    --------
    >>> schema_of((), (Condition("kind", any_of=("contact",)),)).fields
    ('kind', 'channel')
    """
    fields = {"channel"}
    numbers = set()
    for condition in (*contacts, *(c for s in signals for c in (*s.events, *s.bad))):
        (numbers if condition.numeric else fields).add(condition.field)
    for signal in signals:
        fields.update(signal.dimensions)
        if signal.value:
            numbers.add(signal.value)
    return EventSchema(("kind", *sorted(fields - {"kind"})), tuple(sorted(numbers)))
