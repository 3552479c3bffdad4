"""Another system's words, without what they quote of a customer or of the message."""

import re
from collections.abc import Iterable

from detector.desk.wording import clean

_READ = 20_000
"""Characters that are looked at; a message that is quoted whole fits."""
_SHORT = 2
"""Characters of a name that is found as a word of its own only: it stands in the middle of many another word."""


def without(text: str, quoted: Iterable[str | re.Pattern[str]], length: int) -> str:
    r"""Return the text as one visible line of at most `length` characters, with "…" for each thing quoted.

    All that is quoted is looked for in the text as it came, not in what another replacement left: a name that also
    stands in the middle of an address or of a link does not hide the rest of it from being found. Case is ignored.

    Examples
    --------
    >>> without("See https://x.example/s3cret, Tp", ["tp", re.compile(r"https://\S+")], 40)
    'See … …'
    >>> without("No\u202euser 0812\u200b3456", [re.compile(r"\d{8}")], 40)
    'Nouser …'
    """
    line = clean(text.encode("utf-8", "replace").decode(), _READ)
    spans = sorted(match.span() for pattern in map(_pattern, quoted) for match in pattern.finditer(line))
    kept, at = "", -1
    for begin, end in spans:
        if begin > at:  # neither within the last one nor right behind it
            kept += line[max(at, 0) : begin] + "…"
        at = max(at, end)
    return clean(kept + line[max(at, 0) :], length)


def _pattern(quoted: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(quoted, re.Pattern):
        return quoted
    text = re.escape(clean(quoted, _READ)) or r"(?!)"
    return re.compile(text if len(quoted) > _SHORT else rf"(?<!\w){text}(?!\w)", re.IGNORECASE)
