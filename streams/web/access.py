"""Who may do what: every route names the scope that it needs, or says that it is public.

A route without a policy is an error at the start of the app, so that a new one can't be forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts

from streams.store.tokens import ALLOWS, Scope
from streams.web.context import web_of
from streams.web.principal import IDENTIFIED, Principal
from streams.web.problem import ProblemError

__all__ = [
    "ALLOWS",
    "Admin",
    "Ingest",
    "Operate",
    "Policy",
    "Principal",
    "Read",
    "Scope",
    "check_policies",
    "needs",
    "policies",
    "public",
]

PUBLIC = "public"
_POLICY = "__policy__"


def needs(scope: Scope) -> Any:
    """Return the dependency that lets a request in with this scope, and gives its `Principal`.

    Use it as a parameter's default: `principal: Principal = needs(Scope.READ)`.
    """

    async def check(request: Request) -> Principal:
        principal = await _who(request)
        if not principal.may(scope):
            web_of(request).identifier.denied(principal, scope)
            raise ProblemError(403, "not-allowed", f"needs the scope {scope.value}, found {principal.scope.value}")
        return principal

    setattr(check, _POLICY, scope.value)
    return Depends(check)


def public() -> Any:
    """Return the dependency of a route that anyone may ask."""

    async def check() -> None:
        return None

    setattr(check, _POLICY, PUBLIC)
    return Depends(check)


async def _who(request: Request) -> Principal:
    found = request.scope[IDENTIFIED]  # the guard left it there; without the guard nobody gets in
    if isinstance(found, ProblemError):
        raise found
    if found is None:
        detail = "expected a sign-in or a token (Authorization: Bearer …); `tocsin token create` makes one"
        raise ProblemError(401, "not-signed-in", detail, {"WWW-Authenticate": "Bearer"})
    assert isinstance(found, Principal)
    return found


@dataclass(frozen=True)
class Policy:
    """A route, and who may ask it: a scope, or `public`."""

    path: str
    methods: frozenset[str]
    allowed: str


def policies(app: FastAPI) -> list[Policy]:
    """Return every route with its policy.

    Raises
    ------
    RuntimeError
        A route states none, or several, or is of a kind that can state none.
    """
    found: list[Policy] = []
    for context in iter_route_contexts(app.routes):
        stated = _stated(context.dependant) if isinstance(context.original_route, APIRoute) else []
        if len(stated) != 1:
            message = f"{context.path}: expected exactly one policy (needs or public), found {stated}"
            raise RuntimeError(message)
        found.append(Policy(context.path or "", frozenset(context.methods or ()), stated[0]))
    return found


def check_policies(app: FastAPI) -> Sequence[Policy]:
    """Refuse an app with a route that does not say who may ask it."""
    return policies(app)


def _stated(dependant: Any) -> list[str]:
    own = [getattr(dependant.call, _POLICY)] if hasattr(dependant.call, _POLICY) else []
    return own + [policy for inner in dependant.dependencies for policy in _stated(inner)]


Read = Annotated[Principal, needs(Scope.READ)]
Operate = Annotated[Principal, needs(Scope.OPERATE)]
Admin = Annotated[Principal, needs(Scope.ADMIN)]
Ingest = Annotated[Principal, needs(Scope.INGEST)]
