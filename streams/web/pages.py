"""The sign-in page, in the console's look and language; it works without JavaScript."""

from fastapi.responses import HTMLResponse
from starlette.requests import HTTPConnection

from streams.web.console.base import bare_page
from streams.web.console.errors import next_of


def sign_in_page(
    request: HTTPConnection, *, oidc: bool, problem: str = "", code: str = "", status: int = 200
) -> HTMLResponse:
    """Return the sign-in page.

    Parameters
    ----------
    problem : str
        Why somebody is here again: a key of the texts, after `sign_in.`.
    """
    told = f"sign_in.{problem}" if problem else ""
    goes_on = next_of(request) != "/"
    return bare_page(request, "sign_in.html", status, oidc=oidc, problem=told, code=code, goes_on=goes_on)
