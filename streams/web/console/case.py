"""A case's page: what is it, who is hit, what do we tell them?  And its chart.

Every view of it is an address: `who`, `q`, `after` choose the customers, `signal`, `from`, `to` the chart, `do` what is
asked before it is done, `person` and `kind` the words of the preview.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Query, Request, Response

from detector.desk.records import Case, Kind, TimelineEntry, Verb
from detector.errors import TocsinError, UsageError
from streams.outbox.kill_switch import kill_switch
from streams.outbox.preview import preview
from streams.store import pages, queries
from streams.store.documents import Document, title_of
from streams.store.standing import UNSETTLED, standing
from streams.web.access import Principal, Read, Scope
from streams.web.api.cases import case_of, key_of
from streams.web.api.commands import name_of
from streams.web.console import chart
from streams.web.console.base import page, viewer_for
from streams.web.console.viewer import LANGUAGES, Viewer
from streams.web.console.views import acts, engine, hit, picture
from streams.web.console.views import case as views
from streams.web.console.views.sending import seen as seen_switch
from streams.web.console.views.story import SHOWN_LINES, story_lines
from streams.web.context import Web, web_of
from streams.web.problem import ProblemError

router = APIRouter(include_in_schema=False)

CaseId = Annotated[str, Path(max_length=64)]
_LONGEST = 200

CHART_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""Of the picture alone: its elements are styled where they stand, and it does nothing else."""


@dataclass(frozen=True)
class Asked:
    """What a case's address asks for; what can't be is taken for what stands there unless asked otherwise."""

    who: str = "all"
    q: str = ""
    after: pages.Place | None = None
    do: str = ""
    signal: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    person: str = ""
    kind: Kind = Kind.PROBLEM
    story: bool = False


_WHOLE = re.compile(r"-?\d{1,19}", re.ASCII)
_STORED = 2**63


def asked(request: Request) -> Asked:
    """Return what the query asks for."""
    given: Mapping[str, str] = {name: value[:_LONGEST] for name, value in request.query_params.items()}

    def whole(name: str) -> int | None:
        value = given.get(name, "")
        return int(value) if _WHOLE.fullmatch(value) and -_STORED <= int(value) < _STORED else None

    def plain(name: str) -> str:
        return given.get(name, "").replace("\0", "").strip()

    return Asked(
        who=given["who"] if given.get("who") in hit.WHO else "all",
        q=plain("q"),
        after=_place(given.get("after", "")),
        do=plain("do"),
        signal=plain("signal"),
        from_ms=whole("from"),
        to_ms=whole("to"),
        person=plain("person"),
        kind=next((kind for kind in Kind if kind.value == given.get("kind")), Kind.PROBLEM),
        story=given.get("story") == "all",
    )


def _place(text: str) -> pages.Place | None:
    """Read where a page ended: numbers with points between them."""
    parts = text.split(".")
    if not all(_WHOLE.fullmatch(part) and -_STORED <= int(part) < _STORED for part in parts):
        return None
    return tuple(map(int, parts))


@router.get("/cases/{id}")
def case_page(request: Request, id: CaseId, principal: Read) -> Response:
    """Show a case."""
    return show(request, principal, case_of(web_of(request), id), asked(request))


@dataclass(frozen=True)
class Conflict:
    """Why nothing was done: who did what meanwhile, or what the engines say; `text` is what would be lost."""

    entries: tuple[TimelineEntry, ...] = ()
    detail: str = ""
    wrong: str = ""
    """A key of the texts: what was wrong in the form."""
    text: str = ""


def show(
    request: Request,
    principal: Principal,
    case: Case,
    wanted: Asked,
    *,
    conflict: Conflict | None = None,
    status: int = 200,
) -> Response:
    """Return a case's page."""
    web, viewer = web_of(request), viewer_for(request)
    story = queries.story(web.store, case)
    found = _hits(web, case, wanted)
    person = wanted.person or next((row.id for row in found.rows if row.id), "")
    titles = engine.titles_of(web.config.signals, viewer.language)
    lines = story_lines(story, viewer, case, titles)
    may = principal.may(Scope.OPERATE)
    return page(
        request,
        "case.html",
        section="inbox",
        viewer=viewer,
        status=status,
        case=case,
        title=title_of(case, viewer.language),
        answer=views.answer(case, viewer),
        standing=views.standing(case, viewer),
        verbs=[verb.value for verb in acts.possible(case)] if may else [],
        seen={verb.value: acts.seen(case, verb) for verb in Verb}
        | dict.fromkeys((acts.KILL, acts.RELEASE), seen_switch(kill_switch(web.store))),
        seen_seq=max((entry.seq for entry in story), default=0),
        mine=name_of(principal),
        ask=_ask(web, case, wanted.do, viewer) if may else None,
        chart=_chart(web, case, story, wanted, viewer),
        chips=views.chips(case, viewer.language),
        reasons=[views.reasons(account, viewer) for account in case.accounts],
        silences=views.silences(case),
        comparison=views.compared(case, viewer),
        hits=found,
        counts=hit.counts(case),
        csv=f"/v1/cases/{quote(case.id)}/affected.csv{_query(_csv(wanted.who))}",
        wanted=wanted,
        link=_Link(case.id, wanted),
        preview=_preview(web, case, person, wanted.kind) if case.affected is not None else None,
        person=person,
        kinds=list(Kind),
        lines=lines if wanted.story else lines[:SHOWN_LINES],
        all_lines=len(lines),
        conflict=conflict,
        meanwhile=[] if conflict is None else story_lines(conflict.entries, viewer, case, titles),
    )


class _Link:
    """Makes the addresses of a case's views: what is not named stays as it is, None leaves out."""

    def __init__(self, id: str, wanted: Asked) -> None:
        self._path = f"/cases/{quote(id)}"
        self._now: dict[str, object] = {
            "who": None if wanted.who == "all" else wanted.who,
            "q": wanted.q or None,
            "after": wanted.after,
            "signal": wanted.signal or None,
            "from": wanted.from_ms,
            "to": wanted.to_ms,
            "person": wanted.person or None,
            "kind": None if wanted.kind is Kind.PROBLEM else wanted.kind.value,
            "story": "all" if wanted.story else None,
        }

    def __call__(self, at: str = "", **changed: object) -> str:
        given = self._now | {name.rstrip("_"): value for name, value in changed.items()}
        return self._path + _query(given) + (f"#{at}" if at else "")

    def kept(self, *but: str) -> dict[str, object]:
        """Return what a form that changes the view has to carry on."""
        return {name: value for name, value in self._now.items() if value is not None and name not in but}


def _query(given: Mapping[str, object]) -> str:
    texts = {n: ".".join(map(str, v)) if isinstance(v, tuple) else v for n, v in given.items()}
    query = urlencode({name: value for name, value in texts.items() if value is not None})
    return f"?{query}" if query else ""


def _csv(who: str) -> dict[str, object]:
    wanted: dict[str, object] = {**hit.condition(who)}
    if wanted.pop("by_loss", False):
        wanted["sort"] = "-loss"
    return {name: str(value).lower() if value in (True, False) else value for name, value in wanted.items()}


def _hits(web: Web, case: Case, wanted: Asked) -> hit.Hits:
    if case.affected is None:
        return hit.Hits([], None)
    return hit.hits(web.store, web.directory, case, who=wanted.who, search=wanted.q, after=wanted.after)


# --- what is asked once -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """What is asked before something is done, with what it would set off."""

    do: str
    telling: acts.Telling | None = None
    waiting: int = 0
    cost: acts.Cost | None = None
    others: tuple[Case, ...] = ()


_PLAIN = (Verb.ASSIGN, Verb.HOLD, Verb.RESOLVE, Verb.SPLIT)


def _ask(web: Web, case: Case, do: str, viewer: Viewer) -> Ask | None:
    if do in (acts.KILL, acts.RELEASE):
        on = kill_switch(web.store).on
        waiting = sum(
            n for (_, state), n in standing(web.store, web.clock.now_ms()).outbox.items() if state in UNSETTLED
        )
        return Ask(do, waiting=waiting) if on == (do == acts.RELEASE) else None
    verb = next((verb for verb in acts.possible(case) if verb.value == do), None)
    config = web.config
    match verb:
        case Verb.APPROVE:
            return Ask(do, telling=acts.telling(web.store, case, web.settings.config.policy, viewer.now_ms))
        case Verb.TRY_AGAIN:
            return Ask(do, waiting=acts.waiting_to_try(web.store, case))
        case Verb.DISMISS:
            return Ask(do, cost=acts.cost(web.store, config, case, viewer.now_ms))
        case Verb.MERGE:
            return Ask(do, others=tuple(acts.candidates(web.store, case)))
    return Ask(do) if verb in _PLAIN else None


# --- the words of the preview -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """What a customer would read: by channel, a document for each language; or why it can't be shown."""

    channels: Mapping[str, list[Document]]
    broken: str = ""


def _preview(web: Web, case: Case, person: str, kind: Kind) -> Words | None:
    if not person:
        return None
    try:
        key = key_of(web, person)
        documents = preview(web.store, web.settings, case, key, kinds=[kind])
    except ProblemError:
        return None
    except UsageError as error:  # not of this case (any more), or its signal is gone from the configuration
        return Words({}, "" if str(error).startswith("--customer") else str(error))
    except TocsinError as error:
        return Words({}, str(error))
    channels: dict[str, list[Document]] = {}
    for document in documents:
        channels.setdefault(str(document["channel"]), []).append(document)
    return Words(channels)


# --- the chart --------------------------------------------------------------------------------------------------------


def _chart(web: Web, case: Case, story: list[TimelineEntry], wanted: Asked, viewer: Viewer) -> dict[str, Any] | None:
    """Return what the page needs to show the chart; None where the case has no numbers."""
    found = picture.picture(queries.evidence(web.store, case.id), wanted.signal, wanted.from_ms, wanted.to_ms)
    if found is None:
        return None
    what = picture.drawing(case, story, found, viewer)
    given = {"signal": found.signal, "from": found.from_ms, "to": found.to_ms, "lang": viewer.language}
    if found.whole:
        del given["from"], given["to"]
    given["v"] = picture.stamp(what)
    return {
        "url": f"/cases/{quote(case.id)}/chart.svg?{urlencode(given)}",
        "alt": picture.in_words(what, viewer),
        "found": found,
        "zooms": picture.zooms(found),
        "sizes": chart.SIZES,
    }


@router.get("/cases/{id}/chart.svg")
def chart_svg(
    request: Request,
    id: CaseId,
    principal: Read,
    theme: Annotated[str, Query(max_length=10)] = "light",
    size: Annotated[str, Query(max_length=10)] = "wide",
    lang: Annotated[str, Query(max_length=5)] = "",
) -> Response:
    """Draw a case's numbers."""
    web, wanted, viewer = web_of(request), asked(request), viewer_for(request)
    language = next((known for known in LANGUAGES if known == lang), viewer.language)
    viewer = Viewer(language, viewer.zone, viewer.theme, viewer.now_ms)
    case = case_of(web, id)
    found = picture.picture(queries.evidence(web.store, case.id), wanted.signal, wanted.from_ms, wanted.to_ms)
    if found is None:
        raise ProblemError(404, "not-found", "this case has no numbers to draw")
    story = queries.story(web.store, case)
    what = picture.looks(picture.drawing(case, story, found, viewer), "dark" if theme == "dark" else "light", size)
    etag = f'"{picture.stamp(what)}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Vary": "Cookie",
        "Content-Security-Policy": CHART_POLICY,
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(chart.draw(what), media_type="image/svg+xml", headers=headers)
