"""Who asks."""

from fastapi import APIRouter, Request

from streams.store.tokens import Scope
from streams.web.access import Read
from streams.web.api.kinds import Shown, described, show
from streams.web.api.route import ApiRoute
from streams.web.context import web_of

router = APIRouter(tags=["access"], route_class=ApiRoute)


class Me(Shown):
    who: str = described("As the audit log has it.")
    scope: Scope
    via: str = described("`token`, `session` or `proxy`.")
    tenant: str


@router.get("/v1/me", operation_id="getMe", summary="Who asks")
def get_me(request: Request, principal: Read) -> Me:
    """Say who is asking, and what they may do."""
    return show(Me, who=principal.who, scope=principal.scope, via=principal.via, tenant=web_of(request).tenant)
