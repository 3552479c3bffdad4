"""What people know: deployments, planned work, known noise (mutes)."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from detector.desk.facts import TEXT_LENGTH
from detector.fields import parse_duration_ms
from detector.watch.control import FactKind, Withdrawn
from streams.engines import facts
from streams.engines.facts import Known
from streams.web.access import Operate, Principal, Read
from streams.web.api.commands import name_of, told
from streams.web.api.errors import LATER, missing, responses
from streams.web.api.kinds import Flag, Given, Id, Line, Moment, Shown, described, show
from streams.web.api.models import FactShown
from streams.web.api.route import ApiRoute
from streams.web.context import Web, web_of
from streams.web.problem import ProblemError

router = APIRouter(tags=["facts"], route_class=ApiRoute)

FactId = Annotated[str, Path(max_length=64)]


class KnownFact(FactShown):
    """A fact, and where it stands."""

    state: Literal["waiting", "planned", "active", "ending", "ended", "over"]


class ToldFact(KnownFact):
    warnings: list[str] = described("Values that no event of late had: most often they are misspelt.")


class FactList(Shown):
    items: list[KnownFact]


class Span(Given):
    """From when until when, where, and why."""

    from_: Moment | None = Field(default=None, alias="from", description="From when on; now unless given.")
    until: Moment | None = None
    for_: Line | None = Field(
        default=None, alias="for", description="How long, where `until` is not given.", examples=["2h"]
    )
    where: dict[Id, Line] = Field(
        default={}, description="Only where each of these dimensions has this value.", examples=[{"bank": "BRI"}]
    )
    text: Annotated[str, Field(max_length=TEXT_LENGTH)] = described("As cases show it.", default="")


class TellingFact(Span):
    kind: Literal["deployment", "maintenance"]
    signals: list[Id] = Field(default=[], description="Only these signals; empty: all.")


class Muting(Span):
    signal: Id


class FactQuery(Given):
    all: Flag = described("What is over for more than a day, too.", default=False)


@router.get("/v1/facts", operation_id="listFacts", summary="What is known")
def list_facts(request: Request, wanted: Annotated[FactQuery, Query()], principal: Read) -> FactList:
    """List deployments, planned work and mutes: what is planned, in force, or ended within the last day."""
    return show(FactList, items=[k.document() for k in _listed(web_of(request), wanted.all)])


@router.post(
    "/v1/facts",
    operation_id="tellFact",
    summary="Tell of a deployment or planned work",
    status_code=201,
    response_model=ToldFact,
    responses={**LATER, **responses(409)},
)
async def tell_fact(request: Request, given: TellingFact, principal: Operate) -> Any:
    """Tell of a deployment (what begins soon after it shows it) or of maintenance (nothing is raised in it)."""
    return await _tell(request, principal, FactKind(given.kind), given.signals, given)


@router.delete(
    "/v1/facts/{id}",
    operation_id="endFact",
    summary="End it, or take it back",
    response_model=KnownFact,
    responses={**LATER, **responses(404, 409)},
)
async def end_fact(request: Request, id: FactId, principal: Operate) -> Any:
    """End work early, or take back a deployment that was none: what is broken then is raised."""
    return await _end(request, principal, id, None)


@router.get("/v1/mutes", operation_id="listMutes", summary="What is muted")
def list_mutes(request: Request, wanted: Annotated[FactQuery, Query()], principal: Read) -> FactList:
    """List what is muted."""
    found = _listed(web_of(request), wanted.all)
    return show(FactList, items=[k.document() for k in found if k.fact.kind is FactKind.MUTE])


@router.post(
    "/v1/mutes",
    operation_id="mute",
    summary="Leave known noise out",
    status_code=201,
    response_model=ToldFact,
    responses={**LATER, **responses(409)},
)
async def mute(request: Request, given: Muting, principal: Operate) -> Any:
    """Mute a signal, or a part of it, for a while: nothing is raised in it, nothing is learned from it."""
    return await _tell(request, principal, FactKind.MUTE, [given.signal], given)


@router.delete(
    "/v1/mutes/{id}",
    operation_id="unmute",
    summary="End a mute",
    response_model=KnownFact,
    responses={**LATER, **responses(404, 409)},
)
async def unmute(request: Request, id: FactId, principal: Operate) -> Any:
    """End a mute early: what is wrong then is raised."""
    return await _end(request, principal, id, FactKind.MUTE)


def _listed(web: Web, everything: bool) -> list[Known]:
    now_ms = facts.now_of(web.store, web.clock)
    return [known for known in facts.known_facts(web.store, now_ms) if everything or known.of_late(now_ms)]


async def _tell(request: Request, principal: Principal, kind: FactKind, signals: list[str], given: Span) -> Any:
    web = web_of(request)
    config = await run_in_threadpool(lambda: web.config)
    now_ms = await run_in_threadpool(facts.now_of, web.store, web.clock)
    from_ms = now_ms if given.from_ is None else given.from_
    fact = facts.new_fact(
        config,
        kind,
        from_ms,
        _until_ms(kind, given, from_ms),
        signals=signals,
        where=given.where,
        text=given.text,
        by=name_of(principal),
    )
    warnings = await run_in_threadpool(facts.unseen, web.store, fact, config)
    later = await told(request, principal, fact, f"fact.{kind.value}", f"fact:{fact.id}")
    if later is not None:
        return later
    return {**facts.standing(fact, fact.until_ms, now_ms).document(), "warnings": warnings}


def _until_ms(kind: FactKind, given: Span, from_ms: int) -> int:
    if given.until is not None and given.for_ is not None:
        raise ProblemError(422, "invalid-request", "until and for: expected one of them, found both")
    if given.until is not None:
        return given.until
    if given.for_ is not None:
        length_ms = parse_duration_ms(given.for_)
        if not length_ms:
            raise ProblemError(422, "invalid-request", "for: expected a duration such as 2h, found another text")
        return from_ms + length_ms
    if kind is FactKind.DEPLOYMENT:
        return from_ms
    raise ProblemError(422, "invalid-request", "for: expected a duration such as 2h (or until), found neither")


async def _end(request: Request, principal: Principal, id: str, kind: FactKind | None) -> Any:
    web = web_of(request)
    found = await run_in_threadpool(_one, web, id, kind)
    wish = Withdrawn(found.fact.id, name_of(principal))
    later = await told(request, principal, wish, "fact.ended", f"fact:{found.fact.id}")
    return later or (await run_in_threadpool(_one, web, id, kind)).document()


def _one(web: Web, id: str, kind: FactKind | None) -> Known:
    """Return a fact by its whole id."""
    known = facts.known_facts(web.store, facts.now_of(web.store, web.clock))
    for one in known:
        if one.fact.id == id and (kind is None or one.fact.kind is kind):
            return one
    missing(f"fact {id[:12]!r}")
