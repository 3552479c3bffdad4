"""What people do with a case: each posts a command, and answers with the case as it is then.

Nothing edits a case here. Whoever acts on what they saw states it (`expected_state`), and is refused where the case has
moved on meanwhile; of two who act at once the Desk takes the first, and refuses what its state does not allow any more.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import Field, StrictInt
from starlette.concurrency import run_in_threadpool

from detector.desk.commands import COMMENT_LENGTH, NAME_LENGTH
from detector.desk.records import CaseState, Command, Verb, Verdict
from streams.store import documents
from streams.web.access import Operate, Principal
from streams.web.api.cases import CaseId, case_of
from streams.web.api.commands import name_of, told
from streams.web.api.errors import LATER, responses
from streams.web.api.kinds import Given, Id, Line, described
from streams.web.api.models import CaseShown
from streams.web.api.route import ApiRoute
from streams.web.context import web_of
from streams.web.problem import ProblemError

router = APIRouter(tags=["cases"], route_class=ApiRoute)

F = TypeVar("F", bound=Callable[..., Any])


class Expecting(Given):
    """What whoever acts has seen."""

    expected_state: CaseState | None = described("Refused (409) where the case is in another state.", default=None)


class Assigning(Expecting):
    to: Line = described("Who works on it; empty: nobody.", examples=["ani"], max_length=NAME_LENGTH)


class Commenting(Expecting):
    text: Annotated[str, Field(min_length=1, max_length=COMMENT_LENGTH)]


class Merging(Expecting):
    into: Id = described("The case that goes on.")


class Splitting(Expecting):
    anomalies: list[Id] = described("Those that become a case of their own (`why[].anomaly`).", min_length=1)


class Resolving(Expecting):
    verdict: Literal["real", "expected"] = "real"


class Dismissing(Expecting):
    verdict: Literal["not-a-problem", "expected"] = "not-a-problem"


class Approving(Expecting):
    customers: StrictInt | None = described(
        "Tell so many first, the most valuable ones; null: all.", default=None, ge=1, le=10_000_000
    )


async def _do(request: Request, principal: Principal, id: str, verb: Verb, given: Expecting | None, **more: Any) -> Any:
    """Post the command and return the case after it, or where to ask later."""
    web = web_of(request)
    found = await run_in_threadpool(case_of, web, id)
    expected = None if given is None else given.expected_state
    if expected is not None and found.state is not expected:
        detail = f"expected_state: expected {expected.value}, found {found.state.value}; look at the case again"
        raise ProblemError(409, "state-changed", detail, more={"state": found.state.value})
    wish = Command(verb=verb, case=found.id, by=name_of(principal), **more)
    later = await told(request, principal, wish, f"case.{verb.value}", f"case:{found.id}")
    if later is not None:
        return later
    return documents.case_document(await run_in_threadpool(case_of, web, found.id))


def _route(verb: Verb, summary: str) -> Callable[[F], F]:
    """Return the decorator of a verb's route."""
    name = verb.value.title().replace("-", "")
    made: Callable[[F], F] = router.post(
        f"/v1/cases/{{id}}/{verb.value}",
        operation_id=f"{name[0].lower()}{name[1:]}Case",
        summary=summary,
        response_model=CaseShown,
        responses={**LATER, **responses(404, 409)},
    )
    return made


@_route(Verb.ACKNOWLEDGE, "Somebody looks after it")
async def acknowledge(request: Request, id: CaseId, principal: Operate, given: Expecting | None = None) -> Any:
    """Acknowledge a case."""
    return await _do(request, principal, id, Verb.ACKNOWLEDGE, given)


@_route(Verb.ASSIGN, "Say who works on it")
async def assign(request: Request, id: CaseId, principal: Operate, given: Assigning) -> Any:
    """Assign a case to somebody, or to nobody."""
    return await _do(request, principal, id, Verb.ASSIGN, given, text=given.to)


@_route(Verb.COMMENT, "Say something about it")
async def comment(request: Request, id: CaseId, principal: Operate, given: Commenting) -> Any:
    """Write a remark into a case's story."""
    return await _do(request, principal, id, Verb.COMMENT, given, text=given.text)


@_route(Verb.MERGE, "Let it go on as a part of another")
async def merge(request: Request, id: CaseId, principal: Operate, given: Merging) -> Any:
    """Move a case's customers and what is still to come of it into another; it can't be undone."""
    into = await run_in_threadpool(case_of, web_of(request), given.into)
    return await _do(request, principal, id, Verb.MERGE, given, into=into.id)


@_route(Verb.SPLIT, "Make a case of some of its anomalies")
async def split(request: Request, id: CaseId, principal: Operate, given: Splitting) -> Any:
    """Move some anomalies of a case into a case of their own."""
    return await _do(request, principal, id, Verb.SPLIT, given, anomalies=tuple(dict.fromkeys(given.anomalies)))


@_route(Verb.RESOLVE, "Close it: it is over")
async def resolve(request: Request, id: CaseId, principal: Operate, given: Resolving | None = None) -> Any:
    """Close a case that is over."""
    verdict = Verdict((given or Resolving()).verdict)
    return await _do(request, principal, id, Verb.RESOLVE, given, verdict=verdict)


@_route(Verb.DISMISS, "Close it: it is none")
async def dismiss(request: Request, id: CaseId, principal: Operate, given: Dismissing | None = None) -> Any:
    """Close a case that is none: nobody hears of it any more."""
    verdict = Verdict((given or Dismissing()).verdict)
    return await _do(request, principal, id, Verb.DISMISS, given, verdict=verdict)


@_route(Verb.APPROVE, "Let its customers be told")
async def approve(request: Request, id: CaseId, principal: Operate, given: Approving | None = None) -> Any:
    """Approve that a case's customers are told: all, or some first."""
    customers = None if given is None else given.customers
    return await _do(request, principal, id, Verb.APPROVE, given, customers=customers)


@_route(Verb.HOLD, "Tell nobody until it is approved")
async def hold(request: Request, id: CaseId, principal: Operate, given: Expecting | None = None) -> Any:
    """Hold a case's notices."""
    return await _do(request, principal, id, Verb.HOLD, given)


@_route(Verb.TRY_AGAIN, "Tell those still waiting that they can try again")
async def try_again(request: Request, id: CaseId, principal: Operate, given: Expecting | None = None) -> Any:
    """Tell those who are still waiting, once, that they can try again."""
    return await _do(request, principal, id, Verb.TRY_AGAIN, given)
