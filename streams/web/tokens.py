"""Tokens over HTTP, for admins: made, listed, revoked; and the audit log, page by page."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from streams.store import audit, tokens
from streams.store.tokens import NAME_LENGTH, Scope, Standing, Token
from streams.store.values import rfc3339
from streams.web.access import Admin
from streams.web.api import cursor
from streams.web.api.errors import answer, missing, responses
from streams.web.api.kinds import Given, Moment, Paged, Shown, Time, described, show
from streams.web.api.route import ApiRoute, once_of
from streams.web.context import web_of

router = APIRouter(tags=["access"], route_class=ApiRoute)

TokenId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="As `id` of the list; not the token itself.")]


class MakingToken(Given):
    """A token that is wanted."""

    scope: Scope = described("What it allows: send events; read; work on cases too; everything.")
    name: str = described("What it is for.", default="", max_length=NAME_LENGTH, examples=["grafana"])
    expires: Moment | None = described("From when on it opens nothing; null: never.", default=None)


class TokenShown(Shown):
    """A token as it is listed."""

    id: str
    scope: Scope
    name: str
    standing: Standing
    by: str = described("Who made it.")
    created: Time
    expires: Time | None
    used: Time | None = described("The last use, to the minute.")
    revoked: Time | None


class TokenMade(TokenShown):
    """A token that was made just now."""

    token: str | None = described("The token itself, in this answer and never again; null where it is repeated.")


class TokenList(Shown):
    tokens: list[TokenShown]


class AuditRow(Shown):
    """What somebody did."""

    seq: int
    at: Time
    who: str = described("`token:ID`, `person:NAME`, `cli:LOGIN`, or `nobody` where it is not known.")
    what: str = described("What was done, or refused.", examples=["case.acknowledge"])
    target: str = described("To what.", examples=["case:3f2a91bc"])
    detail: str
    chain: str = described("The hash of the row before and of this one.")


class AuditPage(Shown):
    rows: list[AuditRow]
    next: str | None = described("The cursor of the next page; null: there is none.")


@router.post(
    "/v1/tokens",
    operation_id="createToken",
    summary="Make a token",
    status_code=201,
    response_model=TokenMade,
    responses=responses(401, 403, 422),
)
async def create_token(request: Request, given: MakingToken, principal: Admin) -> Response:
    """Make a token. It stands in this answer only: the store keeps its hash."""
    web = web_of(request)
    now_ms = web.clock.now_ms()

    def make() -> tuple[str, TokenShown]:
        id_, text = tokens.create(web.store, given.scope, given.name, principal.who, now_ms, expires_ms=given.expires)
        [made] = [token for token in tokens.listed(web.store) if token.id == id_]
        return text, _shown(made, now_ms)

    text, shown = await run_in_threadpool(make)
    once = once_of(request)
    if once is not None:  # what is kept for a repetition holds no token
        once.instead = answer(show(TokenMade, **dict(shown), token=None), 201)
    return answer(show(TokenMade, **dict(shown), token=text), 201)


@router.get("/v1/tokens", operation_id="listTokens", summary="All tokens", responses=responses(401, 403))
def list_tokens(request: Request, principal: Admin) -> TokenList:
    """List the tokens, the newest first, revoked and expired ones too."""
    web = web_of(request)
    return TokenList(tokens=[_shown(token, web.clock.now_ms()) for token in tokens.listed(web.store)])


@router.delete(
    "/v1/tokens/{id}",
    operation_id="revokeToken",
    summary="Revoke a token",
    response_model=TokenShown,
    responses=responses(401, 403, 404, 422),
)
async def revoke_token(request: Request, id: TokenId, principal: Admin) -> TokenShown:
    """Make a token open nothing any more. It stays in the list; a second time changes nothing."""
    web = web_of(request)
    now_ms = web.clock.now_ms()

    def revoke() -> Token | None:
        known = any(token.id == id for token in tokens.listed(web.store))
        return tokens.revoke(web.store, id, principal.who, now_ms) if known else None

    found = await run_in_threadpool(revoke)
    if found is None:
        missing(f"token {id}")
    web.identifier.forget_token(id)
    return _shown(found, now_ms)


@router.get("/v1/audit", operation_id="listAudit", summary="Who did what", responses=responses(401, 403, 422))
def list_audit(request: Request, wanted: Annotated[Paged, Query()], principal: Admin) -> AuditPage:
    """List the audit log in pages, the newest row first; `tocsin audit verify` checks that it is whole."""
    place = cursor.decode(wanted.cursor, (int,), "audit")
    found = audit.newest(web_of(request).store, before=None if place is None else int(place[0]), limit=wanted.limit + 1)
    rows = found[: wanted.limit]
    more = cursor.encode((rows[-1].seq,), "audit") if len(found) > len(rows) else None
    return AuditPage(rows=[AuditRow(**row.document()) for row in rows], next=more)


def _shown(token: Token, now_ms: int) -> TokenShown:
    return show(
        TokenShown,
        id=token.id,
        scope=token.scope,
        name=token.name,
        standing=token.standing(now_ms),
        by=token.by,
        created=rfc3339(token.created_ms),
        expires=None if token.expires_ms is None else rfc3339(token.expires_ms),
        used=None if token.used_ms is None else rfc3339(token.used_ms),
        revoked=None if token.revoked_ms is None else rfc3339(token.revoked_ms),
    )
