"""Cases: listed, shown, and with them their story, evidence, customers' why and the words that would go out."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from detector.desk.records import Case, CaseState, Kind
from detector.errors import UsageError
from detector.signals import Mode, Severity
from streams.store import documents, pages, queries
from streams.store.pages import CaseFilter
from streams.web.access import Read
from streams.web.api import cursor
from streams.web.api.errors import missing, responses
from streams.web.api.kinds import Given, Line, Moment, Paged, Sort, described, show
from streams.web.api.models import CaseInFull, CasePage, Evidence, PreviewList, Timeline, WhyCustomer
from streams.web.api.route import ApiRoute
from streams.web.context import Web, web_of

router = APIRouter(tags=["cases"], route_class=ApiRoute)

CaseId = Annotated[str, Path(max_length=64, description="The case's whole id.")]
CustomerId = Annotated[str, Path(max_length=200, description="The customer's id, or an alias.")]


class CaseQuery(Paged):
    """Which cases; several values of a field: any of them."""

    state: list[CaseState] = described("All unless given.", default=[])
    mode: list[Mode] = Field(default=[])
    severity: list[Severity] = Field(default=[])
    signal: Line | None = described("The name of a signal.", default=None)
    assignee: Line | None = described("Who works on it; empty: nobody.", default=None)
    q: Line | None = described("In titles, signals, values of causes; or the beginning of the id.", default=None)
    since: Moment | None = described("Opened then or later.", default=None)
    until: Moment | None = described("Opened before.", default=None)
    sort: Sort = described("By what; `-`: the largest first.", default="-opened")


def case_of(web: Web, id: str) -> Case:
    """Return a case by its whole id.

    Raises
    ------
    ProblemError
        404.
    """
    found = queries.get_case(web.store, id)
    if found is None:
        missing(f"case {id[:12]!r}")
    return found


@router.get("/v1/cases", operation_id="listCases", summary="Cases, in pages")
def list_cases(request: Request, wanted: Annotated[CaseQuery, Query()], principal: Read) -> CasePage:
    """List cases in all states unless filtered, the latest opened first.

    By `opened` a case keeps its place, so pages put together hold each case once, whatever opens meanwhile.
    """
    key, descending = wanted.sort.removeprefix("-"), wanted.sort.startswith("-")
    which = CaseFilter(
        states=[state.value for state in wanted.state],
        modes=[mode.value for mode in wanted.mode],
        severities=[severity.value for severity in wanted.severity],
        signal=wanted.signal,
        assignee=wanted.assignee,
        text=wanted.q,
        since_ms=wanted.since,
        until_ms=wanted.until,
    )
    after = cursor.decode(wanted.cursor, (int, str), "cases", wanted.sort)
    store = web_of(request).store
    page = pages.case_page(store, which, sort=key, descending=descending, after=after, limit=wanted.limit)
    items = [documents.case_document(case) for case in page.items]
    return show(CasePage, items=items, next=cursor.encode(page.next, "cases", wanted.sort))


@router.get("/v1/cases/{id}", operation_id="getCase", summary="A case in full", responses=responses(404))
def get_case(request: Request, id: CaseId, principal: Read) -> CaseInFull:
    """Show a case with its causes, why it is thought to be one, its story and the numbers behind it."""
    web = web_of(request)
    return CaseInFull.model_validate(documents.case_in_full(web.store, case_of(web, id)))


@router.get("/v1/cases/{id}/timeline", operation_id="getTimeline", summary="Its story", responses=responses(404))
def get_timeline(request: Request, id: CaseId, principal: Read) -> Timeline:
    """Tell what happened to a case, in order."""
    web = web_of(request)
    return show(Timeline, items=documents.timeline_documents(web.store, case_of(web, id)))


@router.get("/v1/cases/{id}/evidence", operation_id="getEvidence", summary="Its numbers", responses=responses(404))
def get_evidence(request: Request, id: CaseId, principal: Read) -> Evidence:
    """Show what was observed and expected in the causes, by signal and window."""
    web = web_of(request)
    return show(Evidence, items=documents.evidence_documents(web.store, case_of(web, id).id))


@router.get(
    "/v1/cases/{id}/customers/{customer:path}",
    operation_id="whyCustomer",
    summary="Why a customer was told, held or not told",
    responses=responses(404),
)
def why_customer(request: Request, id: CaseId, customer: CustomerId, principal: Read) -> WhyCustomer:
    """Say what was decided for a customer, and what each rule answered."""
    web = web_of(request)
    case = case_of(web, id)
    return WhyCustomer.model_validate(documents.why_document(web.store, case, key_of(web, customer)))


class PreviewQuery(Given):
    """Whose words, and which."""

    customer: Line | None = described("An id or alias; else one who would be told.", default=None)
    kind: list[Kind] = Field(default=[Kind.PROBLEM])


@router.get(
    "/v1/cases/{id}/preview",
    operation_id="previewCase",
    summary="The words as they would go out",
    responses=responses(404),
)
def preview_case(
    request: Request, id: CaseId, wanted: Annotated[PreviewQuery, Query()], principal: Read
) -> PreviewList:
    """Show the messages for one real customer of the case, per channel and language; nothing is sent."""
    from streams.outbox.preview import preview

    web = web_of(request)
    case = case_of(web, id)
    who = None if wanted.customer is None else key_of(web, wanted.customer)
    return show(PreviewList, items=preview(web.store, web.settings, case, who, kinds=wanted.kind))


def key_of(web: Web, customer: str) -> int:
    """Return the hash of the customer whom an id or alias names.

    Raises
    ------
    ProblemError
        404.
    """
    try:
        return web.directory.find(customer)
    except UsageError:
        missing("customer")
