"""Dead letters: the records that were no events, and why."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from streams.store import documents, pages
from streams.web.access import Operate
from streams.web.api import cursor
from streams.web.api.errors import missing, responses
from streams.web.api.kinds import Line, Paged, Shown, described, show
from streams.web.api.route import ApiRoute
from streams.web.context import web_of

router = APIRouter(tags=["dead letters"], route_class=ApiRoute)


class DeadShown(Shown):
    n: int
    source: str
    position: int = described("Where it stood in the source.")
    reason: str
    path: str = described("Where in the record.")
    size: int
    bytes: str = described("base64 of the first 4 KiB; empty where a customer in it was erased.")


class DeadPage(Shown):
    items: list[DeadShown]
    next: str | None
    sums: dict[str, int] = described("All of them, by reason.")


class DeadQuery(Paged):
    reason: Line | None = None


@router.get("/v1/dead-letters", operation_id="listDeadLetters", summary="Records that were no events")
def list_dead_letters(request: Request, wanted: Annotated[DeadQuery, Query()], principal: Operate) -> DeadPage:
    """List the dead letters as they came. They hold what was sent as it was: only those who may operate see them."""
    store = web_of(request).store
    after = cursor.decode(wanted.cursor, (int,), "dead")
    page = pages.dead_page(store, reason=wanted.reason, after=after, limit=wanted.limit)
    items = [documents.dead_document(letter) for letter in page.items]
    sums = store.tally().get("dead", {})
    return show(DeadPage, items=items, next=cursor.encode(page.next, "dead"), sums=sums)


@router.get("/v1/dead-letters/{n}", operation_id="getDeadLetter", summary="One of them", responses=responses(404))
def get_dead_letter(request: Request, n: Annotated[int, Path(ge=1, lt=2**63)], principal: Operate) -> DeadShown:
    """Show a dead letter with what is kept of it."""
    page = pages.dead_page(web_of(request).store, after=(n - 1,), limit=1)
    if not page.items or page.items[0].n != n:
        missing(f"dead letter {n}")
    return show(DeadShown, **documents.dead_document(page.items[0]))
