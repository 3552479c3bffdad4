"""The sending page: is anything stuck?  What waits and why, the limits, the kill switch, what a person decides on.

Addresses: `do` (`stop`, `go`, `resume` with `channel`) is what is asked before it is done; `csv` gives a table as a
file.
Whoever acts states what they saw; where another was faster, nothing is done and the page says who did what.
"""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response

from detector.errors import UsageError
from streams.outbox.kill_switch import TurnedError, kill_switch, turn_kill_switch
from streams.outbox.people import How, resume_channel, settle_unknown
from streams.store import Store, audit, outgoing, queries
from streams.store.documents import ERASED, rfc3339
from streams.web.access import Operate, Read
from streams.web.console.base import now_of, page, redirect, viewer_for
from streams.web.console.formats import moment
from streams.web.console.preferences import Form, form
from streams.web.console.sheet import csv_file
from streams.web.console.texts import named, text
from streams.web.console.viewer import Viewer
from streams.web.console.views import sending as views
from streams.web.context import Web, web_of

router = APIRouter(include_in_schema=False)

REASON_LENGTH = 200
ROWS = 50
_UNKNOWN = 20
_FEW, _LONG = 500, 200
"""Rows of the audit log that are looked through for who was faster; a text of an address."""
_HOWS: tuple[How, ...] = ("sent", "failed", "resend")
_DOES = ("stop", "go", "resume")

Fields = Annotated[Form, Depends(form)]


def asked(request: Request, name: str) -> str:
    """Return a value of the address."""
    return request.query_params.get(name, "")[:_LONG].replace("\0", "").strip()


@router.get("/sending")
def sending(request: Request, principal: Read) -> Response:
    """Show how sending stands."""
    wanted = asked(request, "csv")
    if wanted in ("channels", "held", "failures"):
        return _file(wanted, _now(request))
    return _page(request)


def _now(request: Request) -> views.Sending:
    web = web_of(request)
    return views.sending(web.store, web.settings, now_of(web))


def _page(request: Request, *, problem: str = "", status: int = 200, do: str = "", reason: str = "") -> Response:
    web, viewer = web_of(request), viewer_for(request)
    found = _now(request)
    do = do or asked(request, "do")
    channel = next((c for c in found.channels if c.name == asked(request, "channel")), None)
    if do not in _DOES or (do == "resume") != (channel is not None) or ((do in ("stop", "go")) and found.recording):
        do = ""
    if do in ("stop", "go"):
        do = "go" if found.switch.on else "stop"
    unknown = outgoing.listed(web.store, state="unknown", limit=_UNKNOWN, after=_after(request))
    return page(
        request,
        "sending.html",
        section="sending",
        status=status,
        viewer=viewer,
        now=found,
        said_first=answer(found, viewer),
        do=do,
        channel=channel,
        seen=views.seen(found.switch),
        reason=reason,
        problem=problem,
        unknown=unknown,
        hows=_HOWS,
        erased=ERASED,
        reason_length=REASON_LENGTH,
    )


def answer(now: views.Sending, viewer: Viewer) -> list[tuple[bool, str]]:
    """Return the answer to "is anything stuck?": sentences, and whether each tells of trouble."""
    language, out = viewer.language, list[tuple[bool, str]]()
    if now.recording:
        return [(False, text("sending.recording", language))]
    if now.switch.on:
        out.append((True, text("sending.killed", language)))
    if not now.real:
        out.append((False, text("sending.dry", language)))
    elif now.silent:
        key = "sending.never" if now.seen_ms is None else "sending.silent"
        at = {} if now.seen_ms is None else {"at": moment(now.seen_ms, viewer)}
        out.append((True, text(key, language, **at)))
    elif now.error:
        out.append((True, text("sending.error", language, error=now.error)))
    for channel in now.channels:
        name = named("channel", channel.name, language)
        if channel.stopped:
            reason = named("reason", channel.stopped, language)
            out.append((True, text("sending.stopped", language, channel=name, reason=reason)))
        elif channel.down:
            out.append((True, text("sending.down", language, channel=name)))
    for cap in now.bound:
        key = f"cap.{cap.kind}.of" if cap.name else f"cap.{cap.kind}"
        out.append((True, text("sending.bound", language, limit=text(key, language, name=cap.name).lower())))
    if now.unknown:
        out.append((True, text("sending.to_decide", language, n=now.unknown)))
    if not any(bad for bad, _ in out) and now.real:
        out.insert(0, (False, text("sending.fine", language)))
    return [(bad, sentence[:1].upper() + sentence[1:]) for bad, sentence in out]


def _after(request: Request) -> tuple[str] | None:
    after = asked(request, "after")
    return (after,) if after else None


# --- lists of notices -----------------------------------------------------------------------------------------------


@router.get("/sending/queue")
def queue(request: Request, principal: Read) -> Response:
    """List the outbox: `state` and `channel` choose."""
    store = web_of(request).store
    state = next((s for s in views.LIST_STATES if s == asked(request, "state")), "")
    channel = asked(request, "channel")
    if asked(request, "csv"):
        header = ("notice", "customer", "case", "kind", "channel", "state", "tries", "due", "not_after", "last_try")
        return csv_file("queue", header, _queue_rows(store, state, channel))
    found = outgoing.listed(store, state=state or None, channel=channel or None, after=_after(request), limit=ROWS)
    more = found.next and _address("/sending/queue", state=state, channel=channel, after=str(found.next[0]))
    return page(
        request,
        "sending_queue.html",
        section="sending",
        rows=found.items,
        next=more,
        state=state,
        channel=channel,
        states=views.LIST_STATES,
        first=_address("/sending/queue", state=state, channel=channel) if _after(request) else "",
        csv=_address("/sending/queue", state=state, channel=channel, csv="1"),
        erased=ERASED,
    )


def _queue_rows(store: Store, state: str, channel: str) -> Iterator[tuple[object, ...]]:
    after = None
    while True:
        found = outgoing.listed(store, state=state or None, channel=channel or None, after=after, limit=_FEW)
        for one in found.items:
            row = one.row
            who = ERASED if row.id is None else row.id
            yield (
                *(row.notice, who, row.case, row.kind, row.channel, row.state, row.attempts),
                *(rfc3339(row.due_ms), rfc3339(row.stale_ms), one.detail),
            )
        if found.next is None:
            return
        after = found.next


@router.get("/sending/held")
def held(request: Request, principal: Read) -> Response:
    """List what is held for a `reason`."""
    store, reason = web_of(request).store, asked(request, "reason")
    if not reason:
        return redirect("/sending")
    if asked(request, "csv"):
        header = ("notice", "customer", "case", "kind", "channel", "reason", "decided", "until")
        return csv_file("held", header, _held_rows(store, reason))
    found = outgoing.held_page(store, reason, after=_after(request), limit=ROWS)
    return page(
        request,
        "sending_held.html",
        section="sending",
        rows=found.items,
        reason=reason,
        next=found.next and _address("/sending/held", reason=reason, after=str(found.next[0])),
        first=_address("/sending/held", reason=reason) if _after(request) else "",
        csv=_address("/sending/held", reason=reason, csv="1"),
        erased=ERASED,
    )


def _held_rows(store: Store, reason: str) -> Iterator[tuple[object, ...]]:
    after = None
    while True:
        found = outgoing.held_page(store, reason, after=after, limit=_FEW)
        for row in found.items:
            who = ERASED if row.id is None else row.id
            yield (
                *(row.notice, who, row.case, row.kind, row.channel, row.reason),
                *(rfc3339(row.at_ms), rfc3339(row.until_ms)),
            )
        if found.next is None:
            return
        after = found.next


def _address(path: str, **query: str) -> str:
    given = {name: value for name, value in query.items() if value}
    return path + (f"?{urlencode(given)}" if given else "")


def _file(wanted: str, now: views.Sending) -> Response:
    if wanted == "held":
        rows: list[tuple[object, ...]] = [(h.reason, h.n, rfc3339(h.until_ms)) for h in now.held]
        return csv_file("held-by-reason", ("reason", "notices", "first_looked_at_again"), rows)
    if wanted == "failures":
        rows = [(f.channel, f.outcome, f.reason, f.n) for f in now.failures]
        return csv_file("failures", ("channel", "outcome", "reason", "tries"), rows)
    header = (
        "channel",
        "circuit",
        "stopped",
        "waiting",
        "tried_again",
        "under_way",
        "to_decide",
        "out_1h",
        "failed_24h",
    )
    rows = [
        (c.name, c.circuit, c.stopped, c.waiting, c.later, c.claimed, c.unknown, c.hour, c.failed_day)
        for c in now.channels
    ]
    return csv_file("channels", header, rows)


# --- what is done ---------------------------------------------------------------------------------------------------


@router.post("/sending/switch")
def switch(request: Request, principal: Operate, given: Fields) -> Response:
    """Turn the kill switch as the form says, where it stands as the form saw it."""
    web, viewer = web_of(request), viewer_for(request)
    turn_on = given.get("on") == "1"
    reason = given.get("reason", "").replace("\0", "").strip()[:REASON_LENGTH]
    now = kill_switch(web.store)
    seen = given.get("seen", "")
    if turn_on and seen == views.seen(now) and not reason:
        problem = text("switch.no_reason", viewer.language)
        return _page(request, problem=problem, status=422, do="stop")
    try:
        turn_kill_switch(
            web.store, turn_on, principal.who, reason, web.clock.now_ms(), expected=lambda now: views.seen(now) == seen
        )
    except TurnedError as error:
        now = error.now
        who = now.by.removeprefix("person:") or text("switch.somebody", viewer.language)
        how = text(f"switch.how.{'on' if now.on else 'off'}", viewer.language)
        problem = text("switch.conflict", viewer.language, who=who, how=how)
        return _page(request, problem=problem, status=409, reason=reason)
    return redirect("/sending", "said.switch.on" if turn_on else "said.switch.off")


@router.post("/sending/resume")
def resume(request: Request, principal: Operate, given: Fields) -> Response:
    """Let a stopped channel be tried again."""
    web, viewer, name = web_of(request), viewer_for(request), given.get("channel", "")
    now = _now(request)
    channel = next((c for c in now.channels if c.name == name), None)
    if channel is None or not channel.stopped:
        problem = text("sending.resume.conflict", viewer.language, channel=name[:60])
        return _page(request, problem=problem, status=409)
    resume_channel(web.store, name, principal.who, web.clock.now_ms())
    return redirect("/sending", "said.resumed")


@router.post("/sending/settle")
def settle(request: Request, principal: Operate, given: Fields) -> Response:
    """Decide on a notice that may have gone out."""
    web, notice = web_of(request), given.get("notice", "")[:_LONG]
    how = next((known for known in _HOWS if known == given.get("how")), None)
    if how is None or queries.outbox_state(web.store, notice) is None:
        return _page(request, problem=_decided(web, viewer_for(request), notice), status=409)
    try:
        settle_unknown(web.store, notice, how, principal.who, web.clock.now_ms())
    except UsageError:
        return _page(request, problem=_decided(web, viewer_for(request), notice), status=409)
    return redirect("/sending#decide", f"said.settled.{how}")


def _decided(web: Web, viewer: Viewer, notice: str) -> str:
    """Return who was faster, and what they said."""
    for entry in audit.newest(web.store, limit=_FEW):
        how = entry.what.removeprefix("notice.")
        if entry.target == f"notice:{notice}" and how in _HOWS:
            who = entry.who.removeprefix("person:")
            return text("settle.conflict", viewer.language, who=who, how=text(f"settle.{how}", viewer.language))
    return text("settle.conflict.other", viewer.language)
