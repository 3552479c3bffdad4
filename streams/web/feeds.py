"""The feed over HTTP: as a stream of server-sent events, and page by page for whoever asks now and then.

Promises
- A stream that breaks is taken up without loss and without repetition by the last event's id (`Last-Event-ID`).
- What was asked for and is not kept any more is refused (410), never passed over in silence.
- Who may not read any more is let go within half a minute; so is who does not take what is sent.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, cast
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from detector.errors import UsageError
from detector.fields import did_you_mean
from streams.feeds.hub import Gap, Hub
from streams.feeds.log import Filter, Page, encoded, read, seq_of
from streams.store.feedtypes import NAMES
from streams.web import webhooks
from streams.web.access import Principal, Read, Scope
from streams.web.api.errors import Answers
from streams.web.api.kinds import Given, Limit, Line, ProblemShown, described
from streams.web.context import Web, web_of
from streams.web.problem import MEDIA_TYPE, ProblemError

RETRY_MS = 2_000
"""When a client that lost its stream is to ask again."""
SEND_S = 20.0
"""Whoever takes nothing for this long is let go."""
CLOSE_S = 2.0
"""How long streams may take to end when the server stops."""
RECHECK_S = 30.0
"""So often it is asked whether a follower may still read."""
BATCH = "application/cloudevents-batch+json"
JSON = "application/json"

router = APIRouter(tags=["feed"])


class Followed(Given):
    """Which events, and from where on."""

    after: Line | None = described(
        "The id of the last event that you have, or its number; 0: from the oldest that is kept.",
        default=None,
        examples=["default/17"],
    )
    types: str | None = described(
        "Types of events, with commas between; null: all.",
        default=None,
        max_length=1_000,
        examples=["case.opened,case.resolved"],
    )
    case: Line = described("Events of this case and its customers alone.", default="")


class Paged(Followed):
    """Which events, in pages."""

    limit: Limit = 200


_GONE: Answers = {
    410: {
        "description": "What was asked for is not kept any more, or was never there: read the cases anew.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemShown.__name__}"}}},
    }
}
_STREAM: Answers = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "`id`, `event`, `data`."}
}
_BATCH: Answers = {
    200: {
        "content": {kind: {"schema": {"type": "array", "items": {"type": "object"}}} for kind in (BATCH, JSON)},
        "description": "A batch of CloudEvents; `Link` leads to the next one.",
    }
}


def install(app: FastAPI, web: Web) -> None:
    """Add the routes of the feed and of its webhooks."""
    app.state.feed = Hub(web.store)
    app.include_router(router)
    app.include_router(webhooks.router)


def hub_of(app: Any) -> Hub:
    """Return what follows the feed in this app; close it before the server waits for its connections."""
    return cast(Hub, app.state.feed)


class _Batch(Response):
    media_type = BATCH


class _Closing:
    """What is told that the server stops: everybody is let go, and their streams end as they should."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def set(self) -> None:
        self._hub.close()


class _Stream(EventSourceResponse):
    """A stream whose slow client is let go without a fuss: it can resume."""

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            return


@router.get(
    "/v1/feed/stream",
    operation_id="followFeed",
    summary="Follow the feed",
    response_class=EventSourceResponse,
    responses={**_STREAM, **_GONE},
)
async def stream(
    request: Request,
    wanted: Annotated[Followed, Query()],
    principal: Read,
    last_event_id: Annotated[str | None, Header(description="Sent by clients that reconnect.", max_length=200)] = None,
) -> Response:
    """Tell what happens as it happens, from the event after `Last-Event-ID` or `after`; without either, from now on.

    Comments come every 15 s where nothing happens. Beyond 100 followers the answer is 503.
    """
    web, hub, which = web_of(request), hub_of(request.app), _filter(wanted)
    if hub.full:
        raise ProblemError(503, "too-many-followers", "as many follow the feed as may", {"Retry-After": "10"})
    asked = last_event_id or wanted.after
    start = None if asked is None else seq_of(web.tenant, asked)
    page = await run_in_threadpool(read, web.store, start or 0, limit=1)
    if start is None:
        start = page.newest
    else:
        _refuse_gap(page, start, web.tenant)
    frames = _frames(request, web, hub, start, which)
    stops = cast(Any, _Closing(hub))
    return _Stream(frames, ping=0, sep="\n", send_timeout=SEND_S, shutdown_event=stops, shutdown_grace_period=CLOSE_S)


async def _frames(request: Request, web: Web, hub: Hub, after: int, wanted: Filter) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment=f"tocsin feed, after {web.tenant}/{after}", retry=RETRY_MS, sep="\n")
    checked_s = web.clock.monotonic_s()
    async with aclosing(hub.follow(after, wanted)) as follower:
        async for found in follower:
            if web.clock.monotonic_s() - checked_s >= RECHECK_S:
                if not await _may_read(request, web):
                    return
                checked_s = web.clock.monotonic_s()
            if found is None:
                yield ServerSentEvent(comment="nothing new", sep="\n")
            elif isinstance(found, Gap):
                data = {"after": f"{web.tenant}/{found.after}", "detail": _gap(found.oldest, web.tenant)}
                yield ServerSentEvent(encoded(data), event="feed.gap", sep="\n")
            else:
                id = found.document["id"]
                yield ServerSentEvent(encoded(found.document), event=found.type, id=id, sep="\n")


async def _may_read(request: Request, web: Web) -> bool:
    try:
        principal: Principal | None = await web.identifier.identify(request)
    except ProblemError:
        return False
    return principal is not None and principal.may(Scope.READ)


@router.get(
    "/v1/feed",
    operation_id="readFeed",
    summary="Read the feed",
    response_class=_Batch,
    responses={**_BATCH, **_GONE},
)
def page(request: Request, wanted: Annotated[Paged, Query()], principal: Read) -> Response:
    """Return the events after `after`, oldest first; without it, from the oldest that is kept.

    `Link: <…>; rel="next"` is where to go on, also where there is nothing yet.
    """
    web = web_of(request)
    start = 0 if wanted.after is None else seq_of(web.tenant, wanted.after)
    found = read(web.store, start, _filter(wanted), wanted.limit)
    _refuse_gap(found, start, web.tenant)
    given = {"after": f"{web.tenant}/{found.next}", "types": wanted.types, "case": wanted.case, "limit": wanted.limit}
    query = urlencode({name: value for name, value in given.items() if value}, safe="/,")
    body = "[" + ",\n".join(encoded(entry.document) for entry in found.entries) + "]\n"
    accepted = request.headers.get("accept", "")
    plain = JSON in accepted and BATCH not in accepted
    return _Batch(body, media_type=JSON if plain else BATCH, headers={"Link": f'</v1/feed?{query}>; rel="next"'})


def _filter(wanted: Followed) -> Filter:
    names = [name.strip() for name in (wanted.types or "").split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            guess = did_you_mean(name, NAMES)
            message = f"types: found {name[:80]!r}, expected some of {', '.join(sorted(NAMES))}"
            raise UsageError(f"{message}; {guess}" if guess else message)
    return Filter(frozenset(names), wanted.case)


def _refuse_gap(found: Page, after: int, tenant: str) -> None:
    if found.lost(after):
        more = {"oldest": f"{tenant}/{found.oldest}", "newest": f"{tenant}/{found.newest}"}
        detail = _gap(found.oldest, tenant) if after < found.oldest else _never(found.newest, tenant)
        raise ProblemError(410, "feed-gap", detail, more=more)


def _gap(oldest: int, tenant: str) -> str:
    return (
        f"events that you do not have are not kept any more (the oldest is {tenant}/{oldest}); read the cases anew "
        "(GET /v1/cases), then follow from now on (without `after`) or from the oldest (after=0)"
    )


def _never(newest: int, tenant: str) -> str:
    return (
        f"there is no such event (the newest is {tenant}/{newest}): the store was restored or replaced; read the cases "
        "anew (GET /v1/cases), then follow from now on (without `after`)"
    )
