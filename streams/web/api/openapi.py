"""The OpenAPI document: made from the routes, and made whole with what every request may meet.

FastAPI knows parameters, bodies and answers; here come who may ask, the problems, and the header for doing once.
"""

import re
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, iter_route_contexts

from streams.web.access import PUBLIC, Read, policies
from streams.web.api import customers
from streams.web.api.errors import problem_response
from streams.web.api.kinds import ProblemShown
from streams.web.api.route import KEY_HEADER, KEY_LENGTH, ApiRoute
from streams.web.auth import COOKIE

router = APIRouter(tags=["service"])

VERSION = "1"
_SHOWN = ("/v1/", "/healthz", "/readyz", "/metrics")
_OF_ALL = (400, 406, 421, 429, 503)
_OF_THE_KNOWN = (401, 403)
_OF_BODIES = (408, 413, 422)

_ABOUT = """\
Everything that Tocsin knows and does, over HTTP. docs/api.md shows how to use it.

Times are RFC 3339 in UTC, shares 0 to 1. Lists come in pages: ask for the next one with `cursor`. What people do is
left for the engines as a command; where they have not answered after some seconds, the answer is 202 and says where to
ask. Errors are problem details (RFC 9457) with a stable `code`.
"""
_TAGS = {
    "cases": "What was found, whom it hit, what they were told; what people do with it.",
    "commands": "What was asked of the engines, and what came of it.",
    "facts": "What you know: deployments, planned work, known noise.",
    "customers": "The directory: who they are, what they agreed to; forgetting them.",
    "signals": "What is watched.",
    "sending": "What waits to be sent, limits, the kill switch.",
    "feed": "What happens, as CloudEvents: a stream, and pages. docs/feeds.md tells how to read it.",
    "webhooks": "Where the feed is sent.",
    "dead letters": "Records that were no events.",
    "access": "Who may come in: tokens; who did what.",
    "events": "Sending events.",
    "health": "Whether the service does its work.",
    "service": "This document.",
}
_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "`tocsin token create`, or POST /v1/tokens."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "A browser that is signed in; a change also needs its page's token (X-CSRF-Token).",
    },
}
_KEY = {
    "name": KEY_HEADER,
    "in": "header",
    "required": False,
    "description": "A request with the same key and content is done once within a day, and answered the same.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH, "pattern": "^[ -~]+$"},
}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async`: do not wait for the engines.",
    "schema": {"type": "string", "examples": ["respond-async"]},
}


@router.get("/v1/openapi.json", operation_id="getOpenApi", summary="This document", response_class=JSONResponse)
def get_document(request: Request, principal: Read) -> Any:
    """Return the OpenAPI document of this service."""
    return JSONResponse(document(request.app))


def document(app: FastAPI) -> dict[str, Any]:
    """Return the app's OpenAPI document."""
    found = getattr(app.state, "openapi", None)
    if found is None:
        found = app.state.openapi = _made(app)
    return cast(dict[str, Any], found)


def _made(app: FastAPI) -> dict[str, Any]:
    tags = [{"name": name, "description": text} for name, text in _TAGS.items()]
    out = get_openapi(title="Tocsin", version=VERSION, description=_ABOUT, routes=app.routes, tags=tags)
    allowed = {(_shown_path(p.path), method.lower()): p.allowed for p in policies(app) for method in p.methods}
    ours = {
        _shown_path(c.path or "") for c in iter_route_contexts(app.routes) if isinstance(c.original_route, ApiRoute)
    }
    ours |= {route.path for route in customers.streamed.routes if isinstance(route, APIRoute)}
    out["paths"] = {path: item for path, item in sorted(out["paths"].items()) if path.startswith(_SHOWN)}
    for path, item in out["paths"].items():
        for method, operation in item.items():
            once = method == "post" and path in ours
            _complete(operation, allowed[path, method], once)
    components = out.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas[ProblemShown.__name__] = ProblemShown.model_json_schema()
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = _SECURITY
    return out


def _complete(operation: dict[str, Any], allowed: str, once: bool) -> None:
    """Say of a route who may ask it, and what it may answer beside success; `once`: it looks at the key."""
    answers: dict[str, Any] = operation.setdefault("responses", {})
    expected = {*_OF_ALL}
    if allowed != PUBLIC:
        expected |= {*_OF_THE_KNOWN}
        operation["security"] = [{name: []} for name in _SECURITY]
        operation["description"] = f"{operation.get('description', '')}\n\nNeeds the scope `{allowed}`.".strip()
    if operation.get("requestBody") or operation.get("parameters"):
        expected |= {*_OF_BODIES}
    if once:
        expected |= {409, 422}
        parameters = [_KEY, _PREFER] if "202" in answers else [_KEY]
        operation["parameters"] = [*operation.get("parameters", []), *parameters]
    for status in sorted(expected):
        answers[str(status)] = problem_response(status)
    for status_text, found in answers.items():
        if status_text >= "400" and not found.get("content"):
            said = problem_response(int(status_text))
            answers[status_text] = {**said, "description": found.get("description") or said["description"]}
    operation["responses"] = dict(sorted(answers.items()))


def _shown_path(path: str) -> str:
    """Return a route's path as the document has it.

    Examples
    --------
    >>> _shown_path("/v1/customers/{customer:path}/opt-out")
    '/v1/customers/{customer}/opt-out'
    """
    return re.sub(r":\w+\}", "}", path)
