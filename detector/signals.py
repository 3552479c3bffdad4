"""What is watched: signals.yml as values.

`parse_signals` checks every field and lists all errors at once, each with its path.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from detector.budgets import BUDGET_ALLOWED, Budget, parse_budget
from detector.events import EventSchema, canonical
from detector.fields import Fields, did_you_mean, duration_text, join, listed, shown
from detector.signalfields import CONDITIONS, FIELDS, MAX_DIMENSIONS, MAX_PARTS

ALL_OTHERS = "__other__"
"""Where dimension values beyond the cap fold into."""
PART = "signal"
"""The first dimension of a joint signal: which of its signals a cell is of."""


class Measure(StrEnum):
    """What a signal counts.  `value` is a share as well: of the events whose value is beyond its limit.

    Without a limit it is watched by where its values lie among the signal's own past (`Signal.ranked`).
    """

    SHARE = "share"
    COUNT = "count"
    VALUE = "value"
    JOINT = "joint"
    """What several signals have in common: their failures and trials together, over the dimensions that all know."""


class Direction(StrEnum):
    """Which direction is bad: of a count a burst or silence, of a value without a limit high or low ones."""

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


class Stake(StrEnum):
    """What is at stake for who is hit. Nobody is held out of a notice but where it is no more than convenience."""

    LOCK_OUT = "lock-out"
    MONEY = "money"
    SAFETY = "safety"
    CONVENIENCE = "convenience"


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
    """The measured field of a value signal; without one of these two limits, `direction` says which side is bad."""
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
    substitutes: tuple[str, ...] = ()
    """Dimensions of a falling count whose values take each other's place, as versions do."""
    signals: tuple[str, ...] = ()
    """Of a joint signal: its parts."""
    detector: str = ""
    """Dotted path of a detector; empty: the built-in one."""
    detector_options: dict[str, Any] = msgspec.field(default_factory=dict)
    """What its class is called with."""
    budget: Budget | None = None
    """Its own; None: a share of the tenant's."""
    stake: Stake | None = None
    """None: not said, which is taken for more than convenience."""
    loss: str | msgspec.UnsetType = msgspec.UNSET
    """The field with what a bad event was worth. Unset and not None: a signal without has the form it always had."""
    loss_unit: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def counted_as(self) -> "Signal":
        """What decides what is counted and expected: words, mode, severity, stake, loss and budget may change."""
        return msgspec.structs.replace(
            self,
            title={},
            what={},
            workaround={},
            promise={},
            severity=Severity.MEDIUM,
            mode=Mode.SHADOW,
            min_people=0,
            budget=None,
            stake=None,
            loss=msgspec.UNSET,
            loss_unit=msgspec.UNSET,
        )

    @property
    def ranked(self) -> bool:
        """A value signal without a limit: its values are compared with the past's, none is bad by itself."""
        return self.measure is Measure.VALUE and self.bad_above is None and self.bad_below is None

    @property
    def names_people(self) -> bool:
        """Whether the signal has bad events, so that a case can say who was hit."""
        if self.ranked:
            return False
        nobody = self.direction is Direction.DOWN or self.count_by is CountBy.ATTEMPTS
        return not (self.measure is Measure.COUNT and nobody)


def schema_of(signals: tuple[Signal, ...], contacts: tuple[Condition, ...]) -> EventSchema:
    """Which fields the decoder must read for these signals and for telling contacts.

    Examples
    --------
    >>> schema_of((), (Condition("kind", any_of=("contact",)),)).fields
    ('kind', 'channel')
    """
    fields = {"channel"}
    numbers: set[str] = set()
    for condition in (*contacts, *(c for s in signals for c in (*s.events, *s.bad))):
        (numbers if condition.numeric else fields).add(condition.field)
    for signal in signals:
        if signal.measure is not Measure.JOINT:
            fields.update(signal.dimensions)
        if signal.value:
            numbers.add(signal.value)
        if signal.loss is not msgspec.UNSET:
            numbers.add(signal.loss)
    return EventSchema(("kind", *sorted(fields - {"kind"})), tuple(sorted(numbers)))


# --- reading signals.yml --------------------------------------------------------------------------------------------

LANGUAGES = ("en", "id")
NEVER_FIELDS = ("id", "time", "customer")
"""Parts of every event that are no dimension and no condition's field: who and when, not what."""
MAX_SIGNALS = 200
MAX_WINDOW_MS = 86_400_000

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_NAME = 60
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_Read = Callable[[Fields, object, str], object]


CONDITION_KEYS = ("any_of", "not", "at_least", "below", "present")


def parse_signals(document: object, where: str = "signals.yml", *, base_window_ms: int = 60_000) -> tuple[Signal, ...]:
    """Return the signals of a parsed signals.yml, in its order.

    Parameters
    ----------
    document
        What the YAML holds: `{"signals": {name: {field: value}}}`.
    where
        What messages call the document.
    base_window_ms
        A signal's window is a multiple of this.

    Raises
    ------
    ConfigError
        With every mistake at once, each with the path to its field.

    Examples
    --------
    >>> logins = {"title": {"en": "Login fails"}, "measure": "share", "events": {"kind": "login"},
    ...           "bad": {"outcome": "failure"}, "window": "ten"}
    >>> parse_signals({"signals": {"logins": logins}})
    Traceback (most recent call last):
    detector.errors.ConfigError: signals.yml: signals.logins.window: expected a duration such as 10s, found "ten"
    """
    fields = Fields(where)
    named = fields.mapping(fields.mapping(document, "", ("signals",)).get("signals"), "signals")
    if not named and not fields.problems:
        fields.complain("signals", "none", "at least one signal")
    if len(named) > MAX_SIGNALS:
        fields.complain("signals", str(len(named)), f"at most {MAX_SIGNALS} signals")
    found = [_signal(fields, name, entry, base_window_ms) for name, entry in named.items()]
    known = {signal.name: signal for signal in found if signal is not None}
    _one_unit(fields, found)
    joined = [_joined(fields, s, known, list(named)) if s.measure is Measure.JOINT else s for s in known.values()]
    fields.finish()
    return tuple(joined)


def _one_unit(fields: Fields, found: list[Signal | None]) -> None:
    """Complain of losses in several units: a case may span signals, and adds up what they lose."""
    losing = [s for s in found if s is not None and s.loss is not msgspec.UNSET]
    for signal in losing[1:]:
        unit, first = signal.loss_unit or "", losing[0].loss_unit or ""
        if unit != first:
            allowed = f"{shown(first) if first else 'no unit'}, as in {losing[0].name}"
            do = "a case adds up what its signals lose: give all of them one unit"
            fields.complain(f"signals.{signal.name}.loss_unit", shown(unit) if unit else "nothing", allowed, do)


def parse_conditions(fields: Fields, value: object, path: str) -> tuple[Condition, ...]:
    """Return the conditions `{field: value | [values] | {not: …} | {at_least: n} | {below: n} | {present: bool}}`."""
    out = []
    for name, item in fields.mapping(value, path).items():
        at = join(path, name)
        if _field(fields, name, at) is not None:
            condition = _condition(fields, name, item, at)
            if condition is not None:
                out.append(condition)
    return tuple(out)


def _condition(fields: Fields, name: str, item: object, path: str) -> Condition | None:
    if not isinstance(item, Mapping):
        values = _values(fields, item, path)
        return Condition(name, any_of=values) if values else None
    tests = fields.mapping(item, path, CONDITION_KEYS)
    if not tests:
        if not item:
            fields.complain(path, shown(item), f"a value, a list of values or one of {listed(CONDITION_KEYS)}")
        return None
    numeric = {key: fields.number(tests[key], join(path, key)) for key in ("at_least", "below") if key in tests}
    if numeric and len(numeric) < len(tests):
        do = "use two signals, or leave one out"
        fields.complain(path, f"a mixture of {listed(tests)}", "bounds for a number or values of a text, not both", do)
        return None
    any_of = _values(fields, tests["any_of"], join(path, "any_of")) if "any_of" in tests else None
    none_of = _values(fields, tests["not"], join(path, "not")) if "not" in tests else None
    present = tests.get("present")
    if "present" in tests and not isinstance(present, bool):
        fields.complain(join(path, "present"), shown(present), "true or false")
        return None
    low, high = numeric.get("at_least"), numeric.get("below")
    if low is not None and high is not None and low >= high:
        fields.complain(path, f"at_least {low:g} and below {high:g}", "a range that some number lies in")
    return Condition(
        name,
        any_of=any_of,
        none_of=none_of,
        at_least=low,
        below=high,
        present=present if isinstance(present, bool) else None,
    )


def _values(fields: Fields, value: object, path: str) -> tuple[str, ...] | None:
    """Return one value or a list of them, as canonical text."""
    items = fields.items(value, path) if isinstance(value, list | tuple) else [(path, value)]
    if not items:
        fields.complain(path, "an empty list", "at least one value")
    out = []
    for at, item in items:
        if isinstance(item, float):
            do = f'put it in quotes, as the producer writes it: "{item}"'
            fields.complain(at, shown(item), "text, a whole number, true or false", do)
        elif isinstance(item, str | bool | int):
            out.append(canonical(item))
        else:
            fields.complain(at, shown(item), "text, a whole number, true or false")
    if len(set(out)) < len(out):
        twice = next(v for i, v in enumerate(out) if v in out[:i])
        fields.complain(path, f"{shown(twice)} twice", "each value once")
    return tuple(out) or None


def _field(fields: Fields, value: object, path: str) -> str | None:
    """Return the name of an event's field."""
    name = fields.text(value, path, longest=100)
    if name in NEVER_FIELDS:
        fields.complain(path, shown(name), f"a field of the event other than {listed(NEVER_FIELDS)}")
        return None
    return name


def _dimensions(fields: Fields, value: object, path: str) -> tuple[str, ...]:
    names = [(at, _field(fields, item, at)) for at, item in fields.items(value, path)]
    for i, (at, name) in enumerate(names):
        if name is not None and name in [other for _, other in names[:i]]:
            fields.complain(at, f"{shown(name)} twice", "each dimension once")
    if len(names) > MAX_DIMENSIONS:
        fields.complain(
            path, f"{len(names)} dimensions", f"at most {MAX_DIMENSIONS}", "leave out what no cause lies in"
        )
    return tuple(name for _, name in names if name is not None)


def _by_language(fields: Fields, value: object, path: str, longest: int) -> dict[str, str]:
    given = fields.mapping(value, path, LANGUAGES)
    if isinstance(value, Mapping) and not value:
        fields.complain(path, shown(value), f"a text for at least one of {listed(LANGUAGES)}")
    texts = {lang: fields.text(text, join(path, lang), longest=longest) for lang, text in given.items()}
    return {lang: texts[lang] or "" for lang in LANGUAGES if lang in texts}


def _own_budget(fields: Fields, value: object, path: str) -> Budget | None:
    budget = parse_budget(value)
    if budget is None:
        fields.complain(path, shown(value), BUDGET_ALLOWED)
    return budget


def _choice(words: type[StrEnum]) -> _Read:
    def read(fields: Fields, value: object, path: str) -> StrEnum | None:
        word = fields.choice(value, path, [str(word) for word in words])
        return None if word is None else words(word)

    return read


def _texts(longest: int) -> _Read:
    return lambda fields, value, path: _by_language(fields, value, path, longest)


_READ: dict[str, _Read] = {
    "title": _texts(80),
    "what": _texts(60),
    "events": parse_conditions,
    "bad": parse_conditions,
    "measure": _choice(Measure),
    "value": _field,
    "bad_above": Fields.number,
    "bad_below": Fields.number,
    "dimensions": _dimensions,
    "window": lambda fields, value, path: fields.duration_ms(value, path, 1_000, MAX_WINDOW_MS),
    "direction": _choice(Direction),
    "severity": _choice(Severity),
    "stake": _choice(Stake),
    "loss": _field,
    "loss_unit": lambda fields, value, path: fields.text(value, path, longest=12),
    "mode": _choice(Mode),
    "count_by": _choice(CountBy),
    "min_people": lambda fields, value, path: fields.whole(value, path, 1, 1_000_000),
    "budget": _own_budget,
    "workaround": _texts(150),
    "promise": _texts(150),
    "signals": lambda fields, value, path: _names(fields, value, path),
    "detector": lambda fields, value, path: _dotted(fields, value, path),
    "substitutes": _dimensions,
    "detector_options": lambda fields, value, path: fields.mapping(value, path),
}
"""How each field of `FIELDS` is read; None is what was complained of."""

_ONLY_FOR = {
    "bad": (Measure.SHARE,),
    "value": (Measure.VALUE,),
    "bad_above": (Measure.VALUE,),
    "bad_below": (Measure.VALUE,),
    "direction": (Measure.COUNT, Measure.VALUE),
    "signals": (Measure.JOINT,),
    "substitutes": (Measure.COUNT,),
    "loss": (Measure.SHARE, Measure.VALUE, Measure.COUNT),
}


def _signal(fields: Fields, name: str, entry: object, base_window_ms: int) -> Signal | None:
    path = f"signals.{name}"
    before = len(fields.problems)
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        fields.complain(path, shown(name), f"a name of lower-case letters, digits and dashes, at most {_MAX_NAME} long")
    given = fields.mapping(entry, path, _READ)
    if not isinstance(entry, Mapping):
        return None
    values: dict[str, Any] = {key: _READ[key](fields, value, join(path, key)) for key, value in given.items()}
    joint = values.get("measure") is Measure.JOINT
    for field in FIELDS:
        if field.default == "required" and field.name not in given and not (joint and field.name == "events"):
            fields.complain(join(path, field.name), "nothing", field.kind)
    if isinstance(values.get("measure"), Measure):
        _fits_measure(fields, path, given, values["measure"])
    window_ms = values.pop("window", base_window_ms)
    if window_ms and window_ms % base_window_ms:
        allowed = f"a multiple of the base window {duration_text(base_window_ms)}"
        fields.complain(join(path, "window"), shown(given["window"]), allowed)
    for i, dimension in enumerate(values.get("substitutes") or ()):
        if dimension not in values.get("dimensions", ()):
            allowed = f"a dimension of the signal ({listed(values.get('dimensions') or ('it has none',))})"
            fields.complain(f"{path}.substitutes[{i}]", shown(dimension), allowed)
    if values.get("substitutes") and values.get("direction") is not Direction.DOWN:
        do = "leave it out, or set direction: down"
        fields.complain(f"{path}.substitutes", "it in a signal that is bad upward", "it only with direction: down", do)
    if "detector_options" in given and "detector" not in given:
        fields.complain(f"{path}.detector_options", "it without a detector", "it only with detector", "leave it out")
    if "loss_unit" in given and "loss" not in given:
        fields.complain(
            f"{path}.loss_unit", "it without a loss", "it only with loss", "name the field, or leave it out"
        )
    if not joint:
        _fit_words(fields, name, values.get("what", {}), values.get("dimensions", ()))
    if len(fields.problems) > before:
        return None
    signal = Signal(name=name, window_ms=window_ms, **({"dimensions": (), "events": ()} | values))
    if signal.loss is not msgspec.UNSET and not signal.names_people:
        fields.complain(
            f"{path}.loss", "it in a signal that names nobody", "it only where somebody is hit", "leave it out"
        )
    return signal


def _joined(fields: Fields, signal: Signal, known: Mapping[str, Signal], named: list[str]) -> Signal:
    """Return a joint signal with its dimensions: which part, then what all parts have."""
    path = f"signals.{signal.name}"
    parts = []
    for i, name in enumerate(signal.signals):
        at, part = f"{path}.signals[{i}]", known.get(name)
        if name not in named or name == signal.name:
            others = [n for n in named if n != signal.name]
            fields.complain(at, shown(name), f"another signal ({listed(others)})", did_you_mean(name, others))
        elif part is not None and (part.measure in (Measure.COUNT, Measure.JOINT) or part.ranked):
            fields.complain(at, f"{shown(name)}, which has no bad events", "a share, or a value with a limit")
        elif part is not None and part.count_by is not signal.count_by:
            allowed = f"a signal that counts {signal.count_by} as well"
            fields.complain(at, f"{shown(name)}, which counts {part.count_by}", allowed)
        elif part is not None:
            parts.append(part)
    if len(parts) < len(signal.signals):
        return signal
    common = tuple(d for d in parts[0].dimensions if d != PART and all(d in part.dimensions for part in parts))
    for i, dimension in enumerate(signal.dimensions):
        if dimension not in common:
            allowed = f"a dimension of all its signals ({listed(common) or 'they share none'})"
            fields.complain(f"{path}.dimensions[{i}]", shown(dimension), allowed)
    chosen = signal.dimensions or common
    _fit_words(fields, signal.name, signal.what, chosen)
    return msgspec.structs.replace(signal, dimensions=(PART, *chosen))


def _names(fields: Fields, value: object, path: str) -> tuple[str, ...]:
    """Return the parts of a joint signal."""
    names = [fields.text(item, at) for at, item in fields.items(value, path)]
    if isinstance(value, list | tuple) and not 2 <= len(set(names)) == len(names) <= MAX_PARTS:
        fields.complain(path, f"{len(set(names))} different of {len(names)}", f"2 to {MAX_PARTS} signals, each once")
    return tuple(name for name in names if name is not None)


def _dotted(fields: Fields, value: object, path: str) -> str | None:
    """Return a dotted path; what it leads to is looked up by `detector.watch.plugins.resolve`."""
    if isinstance(value, str) and _PATH.fullmatch(value) and len(value) <= 200:
        return value
    fields.complain(path, shown(value), "the dotted path of a class, such as river.anomaly.HalfSpaceTrees")
    return None


def _fit_words(fields: Fields, name: str, what: Mapping[str, str], dimensions: tuple[str, ...]) -> None:
    for language, text in what.items():
        _fits_dimensions(fields, f"signals.{name}.what.{language}", text, dimensions)


def _fits_dimensions(fields: Fields, path: str, text: str, dimensions: tuple[str, ...]) -> None:
    """Complain of a placeholder that no cause can fill."""
    for name in _PLACEHOLDER.findall(text):
        if name not in dimensions:
            allowed = f"a dimension of the signal in braces ({listed(dimensions)})" if dimensions else "no braces"
            fields.complain(path, shown(f"{{{name}}}"), allowed, did_you_mean(name, dimensions))


def _fits_measure(fields: Fields, path: str, given: Mapping[str, object], measure: Measure) -> None:
    """Complain of what the measure needs and has not, or has and can't use."""
    for key, measures in _ONLY_FOR.items():
        if key in given and measure not in measures:
            do = "its events are the bad ones: say which by `events`" if key == "bad" else "leave it out"
            allowed = f"it only with measure: {' or '.join(measures)}"
            fields.complain(join(path, key), f"it with measure: {measure}", allowed, do)
    if measure is Measure.JOINT and "signals" not in given:
        fields.complain(join(path, "signals"), "nothing", "a list of signals")
    if measure is Measure.JOINT and "events" in given:
        found, allowed = f"it with measure: {measure}", "the events of its signals"
        fields.complain(join(path, "events"), found, allowed, "leave it out")
    if measure is Measure.SHARE and given.get("bad") == {}:
        fields.complain(join(path, "bad"), "an empty mapping", CONDITIONS, "with none, every event would be bad")
    if measure is Measure.SHARE and "bad" not in given:
        fields.complain(join(path, "bad"), "nothing", CONDITIONS, "a share needs to know which events are bad")
    if measure is Measure.VALUE:
        if "value" not in given:
            fields.complain(join(path, "value"), "nothing", "the field that is measured")
        limits = [key for key in ("bad_above", "bad_below") if key in given]
        if len(limits) == 2:
            fields.complain(path, " and ".join(limits), "at most one of bad_above and bad_below")
        elif limits and "direction" in given:
            do = "leave it out: the limit says which side is bad"
            fields.complain(join(path, "direction"), f"it with {limits[0]}", "it only without a limit", do)
        elif not limits and "detector" in given:
            do = "give it a limit"
            fields.complain(join(path, "detector"), "it without a limit", "it only with bad_above or bad_below", do)
        elif not limits and "direction" not in given:
            do = "with a limit, cases can name who was hit; with a direction, values are compared with the past's"
            fields.complain(path, "none of them", "one of bad_above, bad_below and direction", do)
