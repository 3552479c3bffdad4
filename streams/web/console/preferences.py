"""What somebody prefers: language and look, kept in cookies of this browser."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response

from streams.web.access import Read
from streams.web.console.base import redirect
from streams.web.console.viewer import LANGUAGE_COOKIE, LANGUAGES, THEME_COOKIE, THEMES

router = APIRouter(include_in_schema=False)

_YEAR_S = 31_536_000

Form = dict[str, str]


async def form(request: Request) -> Form:
    """Return the fields of a plain form; of several values of a name the first."""
    return {name: values[0] for name, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()}


@router.post("/preferences")
def prefer(principal: Read, given: Annotated[Form, Depends(form)]) -> Response:
    """Keep a choice, and go back to the page that it was made on."""
    response = redirect(given.get("back", "/"))
    for name, cookie, allowed in (("language", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
        if given.get(name) in allowed:
            response.set_cookie(cookie, given[name], max_age=_YEAR_S, path="/", samesite="lax")
    return response
