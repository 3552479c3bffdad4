"""Tokens, and who asks."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from detector.errors import UsageError
from streams.store import tokens
from streams.store.documents import rfc3339
from streams.store.tokens import NAME_LENGTH, Scope, Token
from streams.web import problem
from streams.web.access import Admin, Read
from streams.web.api.errors import missing, responses
from streams.web.api.kinds import Given, Line, Moment, Shown, Time, described, show
from streams.web.api.route import ApiRoute, once_of
from streams.web.context import web_of

router = APIRouter(tags=["tokens"], route_class=ApiRoute)


class Me(Shown):
    who: str
    scope: Scope
    via: str = described("`token`, `session` or `proxy`.")
    tenant: str


class TokenShown(Shown):
    id: str
    scope: Scope
    name: str
    by: str
    state: tokens.Standing
    created_at: Time
    expires_at: Time | None
    used_at: Time | None
    revoked_at: Time | None


class TokenList(Shown):
    items: list[TokenShown]


class TokenMade(Shown):
    id: str
    token: str = described("Shown this once: nobody can read it again.")
    scope: Scope


class TokenGiven(Given):
    scope: Scope
    name: Line = described("What it is for.", default="", max_length=NAME_LENGTH)
    expires: Moment | None = described("From when on it opens nothing; null: never.", default=None)


@router.get("/v1/me", operation_id="getMe", summary="Who asks")
def get_me(request: Request, principal: Read) -> Me:
    """Say who is asking, and what they may do."""
    return show(Me, who=principal.who, scope=principal.scope, via=principal.via, tenant=web_of(request).tenant)


@router.get("/v1/tokens", operation_id="listTokens", summary="Tokens")
def list_tokens(request: Request, principal: Admin) -> TokenList:
    """List all tokens, the newest first, without their secrets."""
    web = web_of(request)
    now_ms = web.clock.now_ms()
    return show(TokenList, items=[_document(token, now_ms) for token in tokens.listed(web.store)])


@router.post("/v1/tokens", operation_id="createToken", summary="Make a token", status_code=201)
def create_token(request: Request, given: TokenGiven, principal: Admin) -> TokenMade:
    """Make a token; its secret stands in this answer only."""
    web = web_of(request)
    id, text = tokens.create(
        web.store, given.scope, given.name, principal.who, web.clock.now_ms(), expires_ms=given.expires
    )
    mine = once_of(request)
    if mine is not None:
        detail = f"token {id}: was made under this key, and its secret is shown once; revoke it and make another"
        mine.instead = problem.response(409, "shown-once", detail, more={"id": id})
    return show(TokenMade, id=id, token=text, scope=given.scope)


@router.delete(
    "/v1/tokens/{id}", operation_id="revokeToken", summary="Make a token open nothing", responses=responses(404)
)
def revoke_token(request: Request, id: Annotated[str, Path(max_length=64)], principal: Admin) -> TokenShown:
    """Revoke a token; it stays listed."""
    web = web_of(request)
    now_ms = web.clock.now_ms()
    try:
        found = tokens.revoke(web.store, id, principal.who, now_ms)
    except UsageError:
        missing(f"token {id[:12]!r}")
    return show(TokenShown, **_document(found, now_ms))


def _document(token: Token, now_ms: int) -> dict[str, Any]:
    return {
        "id": token.id,
        "scope": token.scope,
        "name": token.name,
        "by": token.by,
        "state": token.standing(now_ms),
        "created_at": rfc3339(token.created_ms),
        "expires_at": rfc3339(token.expires_ms),
        "used_at": rfc3339(token.used_ms),
        "revoked_at": rfc3339(token.revoked_ms),
    }
