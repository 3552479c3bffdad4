"""The inbox: what is wrong now, those that still fail customers first.  Every view of it is an address."""

from dataclasses import fields
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from streams.store import RECORDING
from streams.store.pages import Place
from streams.web.access import Read
from streams.web.api import cursor
from streams.web.api.commands import name_of
from streams.web.console.base import page, viewer_for
from streams.web.console.viewer import language_of
from streams.web.console.views import inbox as views
from streams.web.console.views.inbox import DEFAULT_SORT, MODES, SEVERITIES, SORTS, STATES, Wanted
from streams.web.context import web_of
from streams.web.problem import ProblemError

router = APIRouter(include_in_schema=False)

_LONG = 200


@router.get("/")
def inbox(request: Request, principal: Read, after: Annotated[str | None, Query(max_length=500)] = None) -> Response:
    """Show the cases that the address asks for."""
    web, asked, viewer = web_of(request), _wanted(request), viewer_for(request)
    store, language = web.store, viewer.language
    place: Place | None = cursor.decode(after or None, (int, str), "inbox", asked.sort)
    main = views.listed(store, asked, asked.mode or "live", language, after=place)
    shadow = None
    if not asked.mode and place is None:
        shadow = views.listed(store, asked, "shadow", language, limit=views.SHADOW_ROWS)
    config = web.settings.config
    names = {signal.name: signal.title.get(language) or signal.name for signal in config.signals}
    return page(
        request,
        "inbox.html",
        section="inbox",
        viewer=viewer,
        asked=asked,
        main=main,
        shadow=shadow,
        counts=views.counts(store),
        quiet=None if main.rows or place is not None or asked.is_filtered else _quiet(request, viewer.now_ms),
        owners=views.owners(store),
        signals=names,
        mine=name_of(principal),
        is_first=place is None,
        next=cursor.encode(main.next, "inbox", asked.sort),
        states=_states(store.mode == RECORDING),
        shown_state=asked.state or ("all" if store.mode == RECORDING else "unfinished"),
        url=lambda path="/", **changes: _url(path, asked, **changes),
    )


@router.get("/inbox.csv")
def inbox_csv(request: Request, principal: Read) -> Response:
    """Return every case that the address asks for, as a spreadsheet takes it."""
    lines = views.csv_lines(web_of(request).store, _wanted(request), language_of(request))
    headers = {"Content-Disposition": 'attachment; filename="cases.csv"'}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


def _wanted(request: Request) -> Wanted:
    """Return what the address asks for.

    Raises
    ------
    ProblemError
        422: a value that can't be.
    """
    given = {f.name: request.query_params.get(f.name, "").replace("\0", "").strip() for f in fields(Wanted)}
    given["sort"] = given["sort"] or DEFAULT_SORT
    for name, allowed in (("state", STATES), ("mode", MODES), ("severity", SEVERITIES), ("sort", SORTS)):
        value = given[name].removeprefix("-") if name == "sort" else given[name]
        if value not in allowed:
            detail = f"{name}: expected one of {', '.join(filter(None, allowed))}, found {value[:40]!r}"
            raise ProblemError(422, "invalid-request", detail)
    for name, value in given.items():
        if len(value) > _LONG:
            detail = f"{name}: expected at most {_LONG} characters, found {len(value)}"
            raise ProblemError(422, "invalid-request", detail)
    return Wanted(**given)


def _quiet(request: Request, now_ms: int) -> views.Quiet:
    web = web_of(request)
    return views.quiet(web.store, web.config, now_ms)


def _states(recording: bool) -> tuple[str, ...]:
    first = ("all", "unfinished") if recording else ("unfinished", "all")
    return (first[0], *views.UNFINISHED, "resolved", "dismissed", first[1])


def _url(path: str, asked: Wanted, **changes: str) -> str:
    query = urlencode(asked.query(**changes))
    return f"{path}?{query}" if query else path
