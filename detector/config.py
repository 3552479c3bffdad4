"""The whole configuration as one value, with a hash: what was in force is a record of the log.

`streams/settings.py` reads it from tocsin.yml and signals.yml; nothing in `detector` reads a file.
"""

import hashlib

import msgspec

from detector.budgets import Budget as Budget
from detector.calendar import CalendarSpec
from detector.events import EventSchema
from detector.signals import Condition, Severity, Signal, schema_of

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """How a tenant's events are read into windows."""

    window_ms: int = MINUTE_MS
    """Base window; a signal's window is a multiple."""
    lateness_ms: int = 2 * MINUTE_MS
    """A window closes when the watermark is this far past its end."""
    skew_ms: int = 5 * MINUTE_MS
    """An event may be this far ahead of its ingest time."""
    leap_ms: int = HOUR_MS
    """In a recording an event this far ahead of the watermark waits until later records confirm it."""
    people_ms: int = 30 * MINUTE_MS
    """A customer's failure is evidence if none was counted for this long before."""
    recovery_ms: int = 3 * DAY_MS
    """How long a customer who failed stays unrecovered without a success."""
    max_values: int = 1_000
    """Values per dimension; further ones fold into `__other__`."""
    max_cells: int = 50_000
    """Finest cells per signal; the values of further ones fold into `__other__`."""
    max_unrecovered: int = 1_000_000
    """Unrecovered customers per signal and partition; the oldest give way, and are counted."""
    max_record_bytes: int = 262_144


class QuietHours(msgspec.Struct, frozen=True):
    """Local times of day, minutes after midnight; may span midnight. Equal: no quiet hours."""

    start_minute: int = 21 * 60
    end_minute: int = 7 * 60


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to tell, when, and how often."""

    send: bool = False
    """False: dry run, a Send goes out as `simulated`."""
    channels: tuple[str, ...] = ("whatsapp", "email")
    """In order of preference; a customer is told on the first that they consent to and have an address for."""
    quiet: QuietHours = QuietHours()
    per_day: int = 2
    """Notices a customer may get in 24 hours, over all cases."""
    stale_ms: int = 6 * HOUR_MS
    """A notice of a problem later than this after the customer's last failure is not sent. What is owed to those who
    were told ("it works again", a correction) goes out until a day after, so that a night does not swallow it."""
    min_probability: float = 0.5
    """Told only from this probability on that it was the problem (0.5: the confirmed ones)."""
    default_language: str = "id"
    default_time_zone: str = "Asia/Jakarta"
    hold_in_contact_ms: int = DAY_MS
    """A customer who contacted us this recently is already in contact: no notice of the problem."""
    approval: tuple[Severity, ...] = ()
    """Severities of which a person approves a case before its customers are told."""
    per_case: int | None = None
    """So many customers of a case are told before a person approves the rest; None: all."""
    follow_up_ms: int | None = None
    """Who was told and is still failing hears once more after this long; None: never."""
    holdout_share: float = 0.0
    """This share of the eligible customers, by a stable hash, is told later: what telling them changes can be seen."""
    holdout_ms: int = 2 * HOUR_MS


class Config(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str = "default"
    input: Input = Input()
    signals: tuple[Signal, ...] = ()
    contacts: tuple[Condition, ...] = (Condition("kind", any_of=("contact",)),)
    budget: Budget = Budget()
    policy: Policy = Policy()
    calendar: CalendarSpec = CalendarSpec()

    @property
    def schema(self) -> EventSchema:
        return schema_of(self.signals, self.contacts)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical form: the same for the same meaning, whatever the files' comments and order."""
        ordered = msgspec.structs.replace(self, signals=tuple(sorted(self.signals, key=lambda s: s.name)))
        return hashlib.sha256(msgspec.json.encode(ordered, order="deterministic")).hexdigest()

    def signal(self, name: str) -> Signal:
        return next(s for s in self.signals if s.name == name)

    def budget_of(self, signal: Signal) -> tuple[Budget, int]:
        """Return the budget that a signal's thresholds follow from, and over how many signals it is split evenly.

        A signal with a budget of its own has it alone; all others of its mode share the tenant's.

        Examples
        --------
        >>> from detector.signals import parse_signals
        >>> entry = {"title": {"en": "Logins"}, "measure": "count", "events": {}}
        >>> own = {"budget": "2 false cases per day"}
        >>> config = Config(signals=parse_signals({"signals": {"a": entry, "b": entry, "c": entry | own}}))
        >>> [(budget.words, split) for budget, split in map(config.budget_of, config.signals)]
        [('1 false case per week', 2), ('1 false case per week', 2), ('2 false cases per day', 1)]
        """
        if signal.budget is not None:
            return signal.budget, 1
        return self.budget, max(sum(s.mode is signal.mode and s.budget is None for s in self.signals), 1)
