"""How somebody looks at a page: language, zone, theme, and what the page takes for now.

Each comes from the person's own choice (a cookie), else from the browser, else from the configuration; nothing that a
cookie holds is trusted to be one of ours.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from starlette.requests import HTTPConnection

from detector.desk.zones import known

Language = Literal["en", "id"]
Theme = Literal["auto", "light", "dark"]

LANGUAGES: tuple[Language, ...] = get_args(Language)
THEMES: tuple[Theme, ...] = get_args(Theme)
LANGUAGE_COOKIE, THEME_COOKIE, ZONE_COOKIE = "tocsin_language", "tocsin_theme", "tocsin_zone"
_ZONE_LENGTH = 64


@dataclass(frozen=True)
class Viewer:
    """Who a page is made for, as far as its look goes."""

    language: Language
    zone: str
    theme: Theme
    now_ms: int
    """What times are told against: the moment, or the end of a recording."""
    feed_seq: int = 0
    """The feed's newest event when the page was begun: what comes after it may not be on the page."""


def viewer_of(request: HTTPConnection, default_zone: str, now_ms: int, feed_seq: int = 0) -> Viewer:
    """Return how this browser wants to see things."""
    zone = request.cookies.get(ZONE_COOKIE, "").replace("%2F", "/")[:_ZONE_LENGTH]
    theme = request.cookies.get(THEME_COOKIE, "")
    return Viewer(
        language=language_of(request),
        zone=zone if known(zone) else default_zone if known(default_zone) else "UTC",
        theme=theme if theme in THEMES else "auto",
        now_ms=now_ms,
        feed_seq=feed_seq,
    )


def language_of(request: HTTPConnection) -> Language:
    """Return the language that was chosen, else the one that the browser asks for."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else best_language(request.headers.get("accept-language", ""))


def best_language(header: str) -> Language:
    """Return the language of ours that the browser likes best; English where it likes neither.

    Examples
    --------
    >>> best_language("id-ID,id;q=0.9,en;q=0.8"), best_language("en;q=0.3, id;q=0.5"), best_language("de")
    ('id', 'id', 'en')
    """
    best: tuple[float, Language] = (0.0, "en")
    for part in header.split(",")[:20]:
        tag, _, parameters = part.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        for language in LANGUAGES:
            if primary == language and weight > best[0]:
                best = (weight, language)
    return best[1]


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if not parameters.strip():
        return 1.0
    try:
        return float(value) if name.strip().lower() == "q" else 0.0
    except ValueError:
        return 0.0
