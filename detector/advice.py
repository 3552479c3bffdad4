"""What of a valid configuration will not work well: warnings with the same parts as an error.

Each says where, what stands there, what works better and what to do. Nothing here stops a run.
"""

import re
from collections.abc import Callable

from detector.config import HOUR_MS, Config, Input
from detector.errors import Problem
from detector.fields import duration_text, listed, shown
from detector.signals import LANGUAGES, Condition, CountBy, Direction, Measure, Mode, Signal

MANY_DIMENSIONS = 5
SPARSE_DIMENSIONS = 2
"""A count that must not fall needs events in every segment: more dimensions make them sparse."""
PATIENCE = 10
"""A lateness of more than this many windows delays detection by more than the window's length suggests."""

_LOOKS_LIKE_AN_ID = re.compile(
    r"(?:.*[_.-])?(?:id|uuid|guid|ip|email|mail|phone|msisdn|token|session|timestamp|url|message|text)(?:_address|_at)?",
    re.IGNORECASE,
)


def warnings(config: Config, signals_where: str = "signals.yml", where: str = "tocsin.yml") -> tuple[Problem, ...]:
    """Return what will not work well, by signal in the configuration's order.

    Examples
    --------
    >>> from detector.signals import parse_signals
    >>> entry = {"title": {"en": "Login fails", "id": "Login gagal"}, "measure": "count", "events": {"kind": "login"}}
    >>> signals = parse_signals({"signals": {"logins": entry | {"dimensions": ["user_id"]}}})
    >>> for warning in warnings(Config(signals=signals)):
    ...     print(warning.path, "-", warning.found)
    signals.yml: signals.logins.dimensions[0] - "user_id", which looks like an id or free text
    signals.yml: signals - only shadow signals
    """
    found = [warning for signal in config.signals for warning in _of_signal(signal, config.input, signals_where)]
    if config.signals and all(signal.mode is Mode.SHADOW for signal in config.signals):
        do = "set mode: live on those whose cases are worth telling"
        found.append(Problem(f"{signals_where}: signals", "only shadow signals", "a live one to tell anybody", do))
    return (*found, *_of_policy(config, where))


def _of_signal(signal: Signal, given: Input, where: str) -> list[Problem]:
    found: list[Problem] = []

    def warn(path: str, what: str, allowed: str, do: str) -> None:
        found.append(Problem(f"{where}: signals.{signal.name}.{path}", what, allowed, do))

    fixed, deciding = _fields(signal.events), {c.field for c in signal.bad}
    for i, name in enumerate(signal.dimensions):
        path = f"dimensions[{i}]"
        if _LOOKS_LIKE_AN_ID.fullmatch(name):
            few = f"a field with few values (up to {given.max_values})"
            warn(path, f"{shown(name)}, which looks like an id or free text", few, "leave it out: no cause lies in it")
        elif name in deciding:
            warn(path, f"{shown(name)}, which decides what is bad", "a field that may explain it", "leave it out")
        elif fixed.get(name) == 1:
            warn(path, f"{shown(name)}, which has one value by `events`", "a field that varies", "leave it out")
    if len(signal.dimensions) > MANY_DIMENSIONS:
        do = "leave out those in which no cause lies: fewer segments are found out sooner"
        warn("dimensions", f"{len(signal.dimensions)} dimensions", f"{MANY_DIMENSIONS} or fewer", do)
    if given.lateness_ms > PATIENCE * signal.window_ms:
        late = duration_text(given.lateness_ms)
        do = "every case waits as long as the lateness: shorten input.lateness or widen the window"
        warn("window", f"{duration_text(signal.window_ms)} with a lateness of {late}", "a similar length", do)
    if signal.window_ms >= HOUR_MS:
        warn(
            "window", duration_text(signal.window_ms), "some minutes", "a problem is found at a window's end, no sooner"
        )
    if signal.measure is Measure.COUNT and signal.direction is Direction.DOWN:
        if len(signal.dimensions) > SPARSE_DIMENSIONS:
            do = "leave some out: silence is seen only where there is traffic in every window"
            warn("dimensions", f"{len(signal.dimensions)} dimensions", f"{SPARSE_DIMENSIONS} or fewer for silence", do)
        if signal.count_by is CountBy.ATTEMPTS:
            warn("count_by", "attempts", "it only where events are failures", "leave it out: silence counts events")
    if signal.ranked and signal.mode is Mode.LIVE:
        limit = "bad_above" if signal.direction is Direction.UP else "bad_below"
        do = "give the value at which customers notice, or leave it as it is where nobody need be told"
        warn(limit, "none", "a limit: without one nobody can be named or told", do)
    if signal.mode is Mode.LIVE:
        _words(signal, warn)
    return found


def _words(signal: Signal, warn: Callable[[str, str, str, str], None]) -> None:
    """Warn of what customers of a live signal would miss."""
    if not signal.names_people:
        return
    missing = [lang for lang in LANGUAGES if lang not in signal.title]
    if missing:
        warn("title", f"none in {listed(missing)}", f"one in each of {listed(LANGUAGES)}", "customers read it")
    for key, texts in (("what", signal.what), ("workaround", signal.workaround), ("promise", signal.promise)):
        lacking = [lang for lang in LANGUAGES if lang not in texts]
        if texts and lacking:
            warn(key, f"none in {listed(lacking)}", f"one in each of {listed(LANGUAGES)}", "customers read it")
    for lang, text in signal.promise.items():
        if not _is_clause(text):
            do = "write it in lower case and without a full stop: a semicolon stands before it, a full stop behind"
            warn(f"promise.{lang}", shown(text), 'a clause that goes on after "The fault is on our side; "', do)
    if not signal.workaround:
        warn("workaround", "none", "a sentence of what customers can do meanwhile", "they are told, and left waiting")
    if signal.min_people == 1 and signal.count_by is CountBy.PEOPLE:
        warn("min_people", "1", "5 or so", "a single customer's failure can open a case that is told")


def _is_clause(text: str) -> bool:
    """Whether a text may stand within a sentence; an abbreviation such as OVO may begin it."""
    text = text.strip()
    word = text.split(maxsplit=1)[0] if text else ""
    abbreviation = len(word) > 1 and word.isupper()
    return not text.endswith(".") and (abbreviation or not word[:1].isupper())


def _fields(conditions: tuple[Condition, ...]) -> dict[str, int]:
    """Return how many values each condition leaves, where it lists them."""
    return {c.field: len(c.any_of) for c in conditions if c.any_of is not None}


def _of_policy(config: Config, where: str) -> list[Problem]:
    policy, found = config.policy, []
    if not policy.channels:
        found.append(Problem(f"{where}: notices.channels", "none", "at least one", "nobody can be told"))
    if policy.per_day == 0:
        found.append(Problem(f"{where}: notices.per_day", "0", "1 or more", "nobody can be told"))
    if policy.min_probability < 0.5:
        do = "below 0.5 most of those who are told were not hit by the problem"
        found.append(Problem(f"{where}: notices.min_probability", str(policy.min_probability), "0.5 or more", do))
    return found
