"""Whom a case hit, and what was decided to tell them: in pages, or the whole list as CSV."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from detector.desk.records import CustomerState, Grade, Kind, NoticeState
from streams.store import documents, pages, spreadsheet
from streams.web.access import Read
from streams.web.api import cursor
from streams.web.api.cases import CaseId, case_of, key_of
from streams.web.api.errors import Answers, responses
from streams.web.api.kinds import Flag, Given, Line, Paged, described, show
from streams.web.api.models import AffectedPage, NoticePage
from streams.web.api.route import ApiRoute
from streams.web.context import web_of
from streams.web.problem import ProblemError

router = APIRouter(tags=["cases"], route_class=ApiRoute)

_CSV: Answers = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The whole list."}}


class Which(Given):
    """Which of the affected customers."""

    grade: Grade | None = None
    state: CustomerState | None = None
    told: Flag | None = described("Whether they were told of the problem; null: either.", default=None)
    contacted: Flag | None = described("Whether they contacted you since the onset; null: either.", default=None)
    sort: Literal["-loss"] | None = described(
        "`-loss`: only those of whom it is known what they lose, the largest loss first. Not with `grade`, `state`, "
        "`told` or `contacted`.",
        default=None,
    )


def _by_loss(wanted: Which) -> bool:
    """Whether the list is by loss: as a whole only, or it would be looked through for the few that are wanted."""
    if wanted.sort is None:
        return False
    for name in ("grade", "state", "told", "contacted"):
        if getattr(wanted, name) is not None:
            raise ProblemError(422, "invalid-request", f"query.{name}: expected nothing beside sort=-loss")
    return True


class AffectedQuery(Which, Paged):
    """Which of the affected customers, in pages."""

    q: Line | None = described("One customer, by id or alias.", default=None)


@router.get(
    "/v1/cases/{id}/affected",
    operation_id="listAffected",
    summary="Whom it hit",
    response_model=AffectedPage,
    responses={**_CSV, **responses(404)},
)
def list_affected(request: Request, id: CaseId, wanted: Annotated[AffectedQuery, Query()], principal: Read) -> Any:
    """List whom a case hit, in an order of the store's own; `Accept: text/csv` gives the whole list as a file.

    Nobody is listed where nobody can be named.
    """
    web = web_of(request)
    case = case_of(web, id)
    if _wants_csv(request.headers.get("accept", "")):
        return _file(request, case.id, wanted)
    customer = None
    if wanted.q is not None:
        try:
            customer = key_of(web, wanted.q)
        except ProblemError:
            return show(AffectedPage, items=[], next=None)
    grade, state = wanted.grade and wanted.grade.value, wanted.state and wanted.state.value
    by_loss = _by_loss(wanted)
    order = ("affected", "-loss") if by_loss else ("affected",)
    after = cursor.decode(wanted.cursor, (int, int) if by_loss else (int,), *order)
    page = pages.affected_page(
        web.store,
        case.id,
        grade=grade,
        state=state,
        customer=customer,
        told=wanted.told,
        contacted=wanted.contacted,
        by_loss=by_loss,
        after=after,
        limit=wanted.limit,
    )
    items = documents.hit_documents(web.store, case.id, page.items)
    return show(AffectedPage, items=items, next=cursor.encode(page.next, *order))


@router.get(
    "/v1/cases/{id}/affected.csv",
    operation_id="exportAffected",
    summary="Whom it hit, as a file",
    response_class=StreamingResponse,
    responses={**_CSV, **responses(404)},
)
def export_affected(
    request: Request, id: CaseId, wanted: Annotated[Which, Query()], principal: Read
) -> StreamingResponse:
    """Give the whole list as CSV, a page in memory at a time; a cell that a spreadsheet would compute begins with '."""
    return _file(request, case_of(web_of(request), id).id, wanted)


def _file(request: Request, case: str, wanted: Which) -> StreamingResponse:
    grade, state = wanted.grade and wanted.grade.value, wanted.state and wanted.state.value
    store, told, contacted = web_of(request).store, wanted.told, wanted.contacted
    by_loss = _by_loss(wanted)
    lines = spreadsheet.affected_lines(
        store, case, grade=grade, state=state, told=told, contacted=contacted, by_loss=by_loss
    )
    headers = {
        "Content-Disposition": f'attachment; filename="affected-{case[:12]}.csv"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return StreamingResponse(lines, media_type="text/csv", headers=headers)


def _wants_csv(accept: str) -> bool:
    """Whether CSV is named, and named before JSON.

    Examples
    --------
    >>> _wants_csv("text/csv"), _wants_csv("*/*"), _wants_csv("application/json, text/csv;q=0.5")
    (True, False, False)
    """
    named = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "text/csv" in named and "application/json" not in named[: named.index("text/csv")]


class NoticeQuery(Paged):
    """Which notices."""

    kind: Kind | None = None
    state: NoticeState | None = None
    reason: Line | None = described("Why it is held, was dropped, failed.", default=None)


@router.get(
    "/v1/cases/{id}/notices", operation_id="listNotices", summary="What was decided to tell", responses=responses(404)
)
def list_notices(request: Request, id: CaseId, wanted: Annotated[NoticeQuery, Query()], principal: Read) -> NoticePage:
    """List a case's notices with the rules' answers and the attempts to deliver them."""
    web = web_of(request)
    case = case_of(web, id)
    after = cursor.decode(wanted.cursor, (int, str, int), "notices")
    page = pages.notice_page(
        web.store,
        case.id,
        kind=wanted.kind and wanted.kind.value,
        state=wanted.state and wanted.state.value,
        reason=wanted.reason,
        after=after,
        limit=wanted.limit,
    )
    items = documents.notice_documents(web.store, page.items)
    return show(NoticePage, items=items, next=cursor.encode(page.next, "notices"))
