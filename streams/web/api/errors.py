"""What the API says no with: documented for every route, so that the OpenAPI document is whole."""

from typing import Any, NoReturn

from fastapi import Response
from fastapi.responses import JSONResponse

from streams.web.api.kinds import ProblemShown, Shown
from streams.web.api.models import CommandShown
from streams.web.problem import MEDIA_TYPE, ProblemError

_MEANINGS = {
    400: "The request can't be read.",
    401: "Nobody is signed in, or the token opens nothing.",
    403: "The scope does not allow it.",
    404: "There is no such thing, or it is another tenant's.",
    406: "There is no answer of a type that `Accept` takes.",
    408: "The body came too slowly.",
    409: "Things are not as they would have to be: `code` says how.",
    413: "The body is too large.",
    415: "The body is of another type.",
    421: "It was asked under a name that is not the service's.",
    422: "A field or parameter is wrong: `errors` lists each.",
    429: "Too much at once: `Retry-After` says when to come back.",
    500: "Something went wrong that nobody foresaw.",
    503: "The store can't be reached now.",
}


Answers = dict[int | str, dict[str, Any]]

LATER: Answers = {202: {"model": CommandShown, "description": "Left for the engines; `Location` says how it goes on."}}


def responses(*statuses: int) -> Answers:
    """Return what a route may answer beside success, as FastAPI documents it."""
    return {status: problem_response(status) for status in statuses}


def problem_response(status: int) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemShown.__name__}"}
    return {"description": _MEANINGS.get(status, "It was not done."), "content": {MEDIA_TYPE: {"schema": schema}}}


def missing(what: str) -> NoReturn:
    """Say that there is none, or that it is another tenant's: nobody can tell which."""
    detail = f"{what}: there is none of this name"
    raise ProblemError(404, "not-found", detail)


def answer(shown: Shown, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer whose status differs from the route's."""
    return JSONResponse(shown.model_dump(mode="json", by_alias=True), status, headers)
