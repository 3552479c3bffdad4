"""Who may do what: every route names the scope that it needs, or says that it is public.

A route without a policy is an error at the start of the app, so that a new one can't be forgotten.
"""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute

from streams.store.tokens import ALLOWS, Scope
from streams.web.context import web_of
from streams.web.principal import Principal
from streams.web.problem import ProblemError

__all__ = ["ALLOWS", "Admin", "Ingest", "Operate", "Principal", "Read", "Scope", "check_policies", "needs", "public"]

POLICY = "__policy__"


def needs(scope: Scope) -> Any:
    """Return the dependency that lets a request in with this scope, and gives its `Principal`.

    Use it as a parameter's default: `principal: Principal = needs(Scope.READ)`.
    """

    async def check(request: Request) -> Principal:
        principal = await web_of(request).identifier.identify(request)
        if principal is None:
            detail = "expected a sign-in or a token (Authorization: Bearer …); `tocsin token create` makes one"
            raise ProblemError(401, "not-signed-in", detail, {"WWW-Authenticate": "Bearer"})
        if not principal.may(scope):
            raise ProblemError(403, "not-allowed", f"needs the scope {scope.value}, found {principal.scope.value}")
        return principal

    setattr(check, POLICY, scope.value)
    return Depends(check)


def public() -> Any:
    """Return the dependency of a route that anyone may ask."""

    async def check() -> None:
        return None

    setattr(check, POLICY, "public")
    return Depends(check)


def policy_of(route: APIRoute) -> list[str]:
    """Return the policies that a route states: exactly one, or the app does not start."""

    def found(dependant: Any) -> list[str]:
        own = [getattr(dependant.call, POLICY)] if hasattr(dependant.call, POLICY) else []
        return own + [policy for inner in dependant.dependencies for policy in found(inner)]

    return found(route.dependant)


def check_policies(app: FastAPI) -> None:
    """Refuse an app with a route that does not say who may ask it."""
    for route in app.routes:
        if isinstance(route, APIRoute) and len(policy_of(route)) != 1:
            message = f"{route.path}: expected exactly one policy (needs or public), found {policy_of(route)}"
            raise RuntimeError(message)


Read = Annotated[Principal, needs(Scope.READ)]
Operate = Annotated[Principal, needs(Scope.OPERATE)]
Admin = Annotated[Principal, needs(Scope.ADMIN)]
Ingest = Annotated[Principal, needs(Scope.INGEST)]
