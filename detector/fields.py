"""Reading untyped documents: typed getters that go on after a mistake, so that all of them are listed at once.

Every complaint carries the path to the field (`signals.yml: signals.login-failures.window`), what was found and what is
allowed. A getter returns None (or an empty value) for what it complained of; whoever reads a whole document raises at
the end.
"""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from detector.errors import ConfigError, Problem

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d|w)")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SHOWN = 60


def parse_duration_ms(text: object) -> int | None:
    """Milliseconds of a duration such as 10s, 1m, 2h, 7d; None where it is none.

    Examples
    --------
    >>> parse_duration_ms("90s"), parse_duration_ms("2h"), parse_duration_ms("ten"), parse_duration_ms(90)
    (90000, 7200000, None, None)
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return int(match[1]) * _UNITS_MS[match[2]] if match else None


def duration_text(ms: int) -> str:
    """Return the duration as it would be written in a configuration.

    Examples
    --------
    >>> duration_text(90_000), duration_text(7_200_000), duration_text(604_800_000), duration_text(0)
    ('90s', '2h', '7d', '0s')
    """
    unit = next((u for u in ("d", "h", "m") if ms and ms % _UNITS_MS[u] == 0), "s")
    return f"{ms // _UNITS_MS[unit]}{unit}"


def shown(value: object) -> str:
    """Show a value as a message quotes it.

    Examples
    --------
    >>> shown("ten"), shown(True), shown(None), shown([1, 2]), shown({})
    ('"ten"', 'true', 'nothing', 'a list', 'an empty mapping')
    """
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        cut = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
        return json.dumps(cut, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:_SHOWN]


def listed(words: Iterable[str]) -> str:
    """Return the words as a message lists what is allowed: 'a, b or c'."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """Return 'did you mean "..."?' where a known word is near, else ''.

    Examples
    --------
    >>> did_you_mean("meassure", ["measure", "mode"])
    'did you mean "measure"?'
    """
    near = get_close_matches(str(word), list(words), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


class Fields:
    """Getters over one document called `where`; `problems` grows with every mistake."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[Problem] = []

    def complain(self, path: str, found: str, allowed: str, do: str = "") -> None:
        """Note a mistake at `path` ("" for the whole document); `found` are words, `shown(value)` for a value."""
        self.problems.append(Problem(f"{self.where}: {path}" if path else self.where, found, allowed, do))

    def finish(self) -> None:
        """Raise ConfigError with all problems, if there are any."""
        if self.problems:
            raise ConfigError(self.problems)

    def mapping(self, value: object, path: str, keys: Iterable[str] | None = None) -> dict[str, object]:
        """Return a mapping, of its known keys where `keys` says which."""
        if not isinstance(value, Mapping):
            self.complain(path, shown(value), "a mapping")
            return {}
        known = None if keys is None else list(keys)
        out: dict[str, object] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self.complain(path, f"the key {shown(key)}", "text as keys", "put it in quotes")
            elif known is not None and key not in known:
                do = did_you_mean(key, known)
                self.complain(join(path, key), "an unknown field", f"one of {listed(known)}", do)
            else:
                out[key] = item
        return out

    def items(self, value: object, path: str) -> list[tuple[str, object]]:
        """Return a list's items, each with its path."""
        if not isinstance(value, list | tuple):
            self.complain(path, shown(value), "a list")
            return []
        return [(f"{path}[{i}]", item) for i, item in enumerate(value)]

    def text(self, value: object, path: str, *, longest: int = 200) -> str | None:
        """Return one line of text that is not empty."""
        if isinstance(value, str) and value.strip() and len(value) <= longest and not _CONTROL.search(value):
            return value.strip()
        self.complain(path, shown(value), f"one line of text, at most {longest} characters")
        return None

    def choice(self, value: object, path: str, words: Iterable[str]) -> str | None:
        """Return one of the words."""
        known = list(words)
        if isinstance(value, str) and value in known:
            return value
        self.complain(path, shown(value), listed(known), did_you_mean(value, known) if isinstance(value, str) else "")
        return None

    def number(self, value: object, path: str) -> float | None:
        """Return a finite number."""
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
            return float(value)
        self.complain(path, shown(value), "a number")
        return None

    def whole(self, value: object, path: str, low: int, high: int) -> int | None:
        """Return a whole number within bounds."""
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.complain(path, shown(value), f"a whole number from {low} to {high}")
        return None

    def duration_ms(self, value: object, path: str, low_ms: int, high_ms: int) -> int | None:
        """Return the milliseconds of a duration within bounds."""
        ms = parse_duration_ms(value)
        if ms is None:
            self.complain(path, shown(value), "a duration such as 10s")
        elif not low_ms <= ms <= high_ms:
            allowed = f"a duration from {duration_text(low_ms)} to {duration_text(high_ms)}"
            self.complain(path, shown(value), allowed)
            return None
        return ms


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
