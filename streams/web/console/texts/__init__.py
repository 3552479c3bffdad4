"""The console's words, in English and Bahasa Indonesia: one file per page, each a table of key → (English, Bahasa).

Rules of the file
- A text with a number `n` may have two forms, the first for 1: `"{n} case|{n} cases"`.
- A text that holds values names them in braces; numbers are written as the language writes them.
- A key that is missing is an error, in the tests at the latest.
"""

from collections.abc import Mapping
from typing import Any

from babel.numbers import format_decimal
from markupsafe import Markup

from streams.web.console.texts import audit, base, case, customer, engine, inbox, reasons, sending, sign_in, signals
from streams.web.console.viewer import Language

TEXTS: Mapping[str, tuple[str, str]] = {
    **audit.TEXTS,
    **base.TEXTS,
    **case.TEXTS,
    **customer.TEXTS,
    **engine.TEXTS,
    **inbox.TEXTS,
    **reasons.TEXTS,
    **sending.TEXTS,
    **sign_in.TEXTS,
    **signals.TEXTS,
}
"""Every text; a page's file is added here."""


def form(key: str, language: Language) -> str:
    """Return a text as it stands, with its braces."""
    return TEXTS[key][0 if language == "en" else 1]


def text(key: str, language: Language, **values: Any) -> str:
    """Return a text with its values.  Where one of them is markup, the rest is escaped and the whole is markup.

    Raises
    ------
    KeyError
        There is no such text, or a value of it was not given.

    Examples
    --------
    >>> text("new_cases", "en", n=1), text("new_cases", "en", n=1200), text("new_cases", "id", n=1200)
    ('1 new case', '1,200 new cases', '1.200 kasus baru')
    """
    found = form(key, language)
    one, bar, more = found.partition("|")
    if bar:
        found = one if values.get("n") == 1 else more
    shown = {name: format_decimal(v, locale=language) if type(v) is int else v for name, v in values.items()}
    if any(hasattr(value, "__html__") for value in shown.values()):
        return Markup(found).format(**shown)
    return found.format(**shown) if values else found


def named(prefix: str, value: str, language: Language) -> str:
    """Return the word for a value of a bounded set, or the value itself where it has none: a channel of one's own.

    Examples
    --------
    >>> named("state", "open", "id"), named("channel", "pigeon", "id")
    ('terbuka', 'pigeon')
    """
    key = f"{prefix}.{value}"
    return text(key, language) if key in TEXTS else value
