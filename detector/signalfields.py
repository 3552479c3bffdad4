"""What each field of an entry of signals.yml may hold and means: the reference page and the checks are made of it."""

from dataclasses import dataclass

MAX_DIMENSIONS = 8
MAX_PARTS = 8


@dataclass(frozen=True)
class FieldDoc:
    """One field of an entry of signals.yml: what it may hold and means. The reference page is made of these."""

    name: str
    kind: str
    default: str
    meaning: str


_BY_LANGUAGE = "a text by language: {en: …, id: …}"
CONDITIONS = "conditions: {field: value}"

FIELDS = (
    FieldDoc("title", _BY_LANGUAGE, "required", "What customers cannot do, as a heading of cases."),
    FieldDoc(
        "what",
        _BY_LANGUAGE,
        "the title",
        'The thing the customer tried, as a notice names it after "your": "{bank} card payment". A dimension in braces '
        "stands for its value in the cause, and for nothing where the cause has none.",
    ),
    FieldDoc(
        "events",
        CONDITIONS,
        "required",
        "Which events belong to the signal; `{}` for all. Not for `measure: joint`, whose events are its signals'.",
    ),
    FieldDoc("bad", CONDITIONS, "required for share", "Which of these events are bad. Only for `measure: share`."),
    FieldDoc(
        "measure",
        "share, count, value or joint",
        "required",
        "What is counted: the share of bad events, the events themselves, how the events' values lie, or what several "
        "signals have in common.",
    ),
    FieldDoc("value", "a field", "required for value", "The measured field. Only for `measure: value`."),
    FieldDoc(
        "bad_above",
        "a number",
        "none",
        "Values above it are bad. A value signal has this or `bad_below`, so that a case can name who was hit, or "
        "neither and a `direction`.",
    ),
    FieldDoc("bad_below", "a number", "none", "Values below it are bad."),
    FieldDoc(
        "dimensions",
        "a list of fields",
        "none",
        f"Where causes are searched: at most {MAX_DIMENSIONS} fields. Of a joint signal those that all its signals "
        "have, unless it names some of them.",
    ),
    FieldDoc("window", "a duration", "the base window", "The slices it is counted in: a multiple of the base window."),
    FieldDoc(
        "direction",
        "up or down",
        "up",
        "Which direction is bad: of a count a burst or silence, of a value without a limit higher or lower ones than "
        "usual (required there). Not for `measure: share`.",
    ),
    FieldDoc("severity", "critical, high, medium or low", "medium", "Where its cases start; impact may raise it."),
    FieldDoc(
        "stake",
        "lock-out, money, safety or convenience",
        "none",
        "What is at stake for who is hit: it decides whom to tell first. Only signals of mere convenience may have a "
        "holdout (`notices.holdout`).",
    ),
    FieldDoc(
        "loss",
        "a field",
        "none",
        "A number in its events that says what each was worth, such as `amount`: a case shows what each customer and "
        "all confirmed ones together lose. Only where customers are named; not for `measure: joint`.",
    ),
    FieldDoc(
        "loss_unit",
        "a text",
        "none",
        "What the loss is counted in, shown beside it: a currency such as `IDR`, or any short word. One for all.",
    ),
    FieldDoc("mode", "shadow or live", "shadow", "A shadow signal opens cases that no customer is told of."),
    FieldDoc(
        "count_by",
        "people or attempts",
        "people",
        "Whether one customer's many failures are one piece of evidence or each is one (where there are no customers).",
    ),
    FieldDoc("min_people", "a whole number", "5", "Below this many people hit no case opens."),
    FieldDoc(
        "budget",
        "a budget",
        "its share of the tenant's",
        'False cases this signal alone may raise: "1 false case per week" (hour, day). The others share the tenant\'s.',
    ),
    FieldDoc(
        "workaround", _BY_LANGUAGE, "none", "What customers can do meanwhile, in one sentence; sent as it stands."
    ),
    FieldDoc("promise", _BY_LANGUAGE, "none", "A fact that may be promised, such as that no money was taken twice."),
    FieldDoc(
        "signals",
        "a list of signals",
        "required for joint",
        "Shares, or values with a limit, that are watched together as well: what is too small in each is found in all.",
    ),
    FieldDoc(
        "detector",
        "a dotted path",
        "the built-in one",
        "A class that makes segments surprising. It runs with all the rights of Tocsin: see docs/detectors.md.",
    ),
    FieldDoc(
        "substitutes",
        "a list of dimensions",
        "none",
        "Dimensions whose values take each other's place: a new app version starves the old ones, which is no silence. "
        "Only for counts with `direction: down`.",
    ),
    FieldDoc("detector_options", "a mapping", "none", "What the detector's class is called with."),
)
