"""Commands: left for the engines in the inbox, waited for a moment, and asked for later."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from detector.desk.records import Command
from detector.watch.control import Fact, Withdrawn
from streams.engines.waiting import apply_waiting
from streams.store import RECORDING, audit, idempotency, inbox
from streams.store.inbox import Posted
from streams.web.access import Principal, Read
from streams.web.api.errors import answer, missing, responses
from streams.web.api.models import CommandShown
from streams.web.api.route import ApiRoute, Once, once_of
from streams.web.context import Web, web_of
from streams.web.problem import ProblemError

WAIT_S = 5.0
"""So long an answer of the engines is waited for; then the request is told where to ask."""
_FIRST_S, _LONGEST_S = 0.02, 0.25

router = APIRouter(tags=["commands"], route_class=ApiRoute)

Wish = Command | Fact | Withdrawn


def name_of(principal: Principal) -> str:
    """Return how a case's story calls whoever did something.

    Examples
    --------
    >>> from streams.store.tokens import Scope
    >>> name_of(Principal("person:ani", Scope.OPERATE, "session"))
    'ani'
    """
    return principal.who.removeprefix("person:")


async def told(request: Request, principal: Principal, wish: Wish, what: str, target: str) -> Response | None:
    """Leave a wish for the engines and wait for what comes of it; None: it was done.

    A response is the one that says where to ask later.

    Parameters
    ----------
    what, target
        For the audit log.

    Raises
    ------
    ProblemError
        409 where the engines refused it, with their reason.
    """
    web, mine = web_of(request), once_of(request)
    if mine is not None and mine.posted is not None:
        number = mine.posted
    else:
        number = await run_in_threadpool(_post, web, principal, wish, what, target, mine)
    if await run_in_threadpool(lambda: web.store.mode) == RECORDING:  # nothing runs on it
        await run_in_threadpool(apply_waiting, web.store, web.clock)
    at_once = "respond-async" in request.headers.get("prefer", "")
    found = await _wait(web, number, 0.0 if at_once else WAIT_S)
    if found.state == "waiting":
        shown = command_shown(found)
        return answer(shown, 202, {"Location": f"/v1/commands/{number}", "Retry-After": "1"})
    if found.state == "refused":
        raise ProblemError(409, "refused", found.reason)
    return None


def _post(web: Web, principal: Principal, wish: Wish, what: str, target: str, mine: Once | None) -> int:
    now_ms = web.clock.now_ms()
    with web.store.transaction() as connection:
        number = inbox.post(connection, web.tenant, wish)
        record(connection, web, principal, what, target, f"command {number}", now_ms)
        if mine is not None:
            idempotency.note(connection, web.tenant, mine.who, mine.key, number)
            mine.posted = number
    return number


def record(
    connection: sa.Connection, web: Web, principal: Principal, what: str, target: str, detail: str, now_ms: int
) -> None:
    """Write who did what, in the transaction of what was done."""
    audit.record(connection, web.tenant, principal.who, what, target, detail, now_ms)


def audited(web: Web, principal: Principal, what: str, customer: int) -> Callable[[sa.Connection], None]:
    """Return what writes who did what to a customer, for the transaction of what is done."""
    return partial(
        record,
        web=web,
        principal=principal,
        what=what,
        target=audit.customer(customer),
        detail="",
        now_ms=web.clock.now_ms(),
    )


async def _wait(web: Web, number: int, longest_s: float) -> Posted:
    """Return how a command stands, after its answer or after a while."""
    until_s, pause_s = web.clock.monotonic_s() + longest_s, _FIRST_S
    while True:
        found = await run_in_threadpool(inbox.posted, web.store, number)
        if found is None:
            missing(f"command {number}")
        if found.state != "waiting" or web.clock.monotonic_s() >= until_s:
            return found
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_S)


def command_shown(found: Posted) -> CommandShown:
    about: str | None = None
    match found.wish:
        case Command(verb=verb, case=case):
            what, about = verb.value, case
        case Fact():
            what = "fact"
        case _:
            what = "withdraw"
    return CommandShown.model_validate(
        {"id": found.id, "state": found.state, "reason": found.reason, "what": what, "case": about}
    )


@router.get(
    "/v1/commands/{number}", operation_id="getCommand", summary="How a command stands", responses=responses(404)
)
def get_command(
    request: Request,
    number: Annotated[int, Path(ge=1, lt=2**63, description="As the 202 named it.")],
    principal: Read,
) -> CommandShown:
    """Say whether a command was applied: `waiting`, `done`, or `refused` with the reason."""
    found = inbox.posted(web_of(request).store, number)
    if found is None:
        missing(f"command {number}")
    return command_shown(found)
