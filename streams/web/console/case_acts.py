"""What is done on a case's page: plain forms, which post what the API posts, and lead back to the page.

Promises
- Whoever acts, acts on what they saw: where another person (or the machine) has changed that since, nothing is done,
  and the page says who did what. Two who press at the same moment are taken one after the other.
- What was typed is not lost by that.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import parse_qs, quote
from weakref import WeakValueDictionary

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from detector.desk.commands import COMMENT_LENGTH, NAME_LENGTH
from detector.desk.records import Case, Command, Verb, Verdict
from streams.outbox.kill_switch import TurnedError, kill_switch, turn_kill_switch
from streams.store import queries
from streams.web.access import Operate, Principal
from streams.web.api.cases import case_of
from streams.web.api.commands import name_of, told
from streams.web.console import case as shown
from streams.web.console.base import now_of, redirect, viewer_for
from streams.web.console.case import Asked, CaseId, Conflict
from streams.web.console.texts import text
from streams.web.console.views import acts
from streams.web.console.views.engine import refusal_in_words
from streams.web.console.views.sending import seen as seen_switch
from streams.web.console.views.story import since
from streams.web.context import Web, web_of
from streams.web.problem import ProblemError

router = APIRouter(include_in_schema=False)

MOST_CUSTOMERS = 10_000_000
REASON_LENGTH = 200


@dataclass(frozen=True)
class Given:
    """A form: what it was made for, and what was filled in."""

    seen: str
    seen_seq: int
    text: str
    values: Mapping[str, list[str]]

    def one(self, name: str) -> str:
        return self.values.get(name, [""])[0]


@dataclass
class WrongError(Exception):
    """What was filled in can't be; `key` is the text that says why."""

    key: str


async def given(request: Request) -> Given:
    """Return the form that was sent."""
    values = parse_qs((await request.body()).decode("utf-8", "replace"))
    seq = values.get("seen_seq", [""])[0]
    return Given(
        seen=values.get("seen", [""])[0],
        seen_seq=int(seq) if seq.isascii() and seq.isdigit() and len(seq) < 19 else 0,
        text=values.get("text", [""])[0].replace("\0", "").strip(),
        values=values,
    )


Form = Annotated[Given, Depends(given)]


@router.post("/cases/{id}/stop-sending")
def stop_sending(request: Request, id: CaseId, principal: Operate, form: Form) -> Response:
    """Turn the kill switch on."""
    return _switch(request, id, principal, form, on=True)


@router.post("/cases/{id}/go-on-sending")
def go_on_sending(request: Request, id: CaseId, principal: Operate, form: Form) -> Response:
    """Turn the kill switch off."""
    return _switch(request, id, principal, form, on=False)


def _switch(request: Request, id: str, principal: Principal, form: Given, *, on: bool) -> Response:
    web, verb = web_of(request), acts.KILL if on else acts.RELEASE
    case, now = case_of(web, id), kill_switch(web.store)
    reason = form.text[:REASON_LENGTH]
    if on and form.seen == seen_switch(now) and not reason:
        return shown.show(
            request, principal, case, Asked(do=verb), conflict=Conflict(wrong="switch.no_reason"), status=422
        )
    try:
        turn_kill_switch(
            web.store, on, principal.who, reason, web.clock.now_ms(), expected=lambda now: seen_switch(now) == form.seen
        )
    except TurnedError as error:
        now, language = error.now, viewer_for(request).language
        who = now.by.removeprefix("person:") or text("switch.somebody", language)
        how = text(f"switch.how.{'on' if now.on else 'off'}", language)
        conflict = Conflict(detail=text("conflict.switch", language, who=who, how=how), text=reason)
        return shown.show(request, principal, case, Asked(do=verb), conflict=conflict, status=409)
    return redirect(f"/cases/{quote(case.id)}", f"said.{verb}")


# --- a case's verbs ---------------------------------------------------------------------------------------------------

_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
"""By case: of two who press at once the second sees what the first has done."""


@router.post("/cases/{id}/{verb}")
async def act(request: Request, id: CaseId, verb: str, principal: Operate, form: Form) -> Response:
    """Do something to a case, and go back to it; 409 with the page where it was not done."""
    wanted = next((known for known in Verb if known.value == verb), None)
    if wanted is None:
        raise ProblemError(404, "not-found", "there is nothing of this name to do")
    web = web_of(request)
    lock = _locks.setdefault(f"{web.tenant}/{id}", asyncio.Lock())
    async with lock:
        case = await run_in_threadpool(case_of, web, id)
        try:
            wish = _command(wanted, case, principal, form)
        except WrongError as error:
            conflict = Conflict(wrong=error.key, text=_typed(wanted, form))
            return await _again(request, principal, case, wanted, conflict, 422)
        if form.seen != acts.seen(case, wanted):
            return await _moved_on(request, principal, case, wanted, form)
        said = await run_in_threadpool(_said, web, case, wish)
        try:
            later = await told(request, principal, wish, f"case.{wanted.value}", f"case:{case.id}")
        except ProblemError as error:
            if error.status not in (404, 409):
                raise
            return await _refused(request, principal, case, wanted, form, error)
    path = f"/cases/{quote(case.id)}" + ("#story" if wanted is Verb.COMMENT else "")
    if later is not None:
        return redirect(path, "said.waiting", "problem")
    return redirect(path, said.key, "good", **said.values)


def _command(verb: Verb, case: Case, principal: Principal, form: Given) -> Command:
    """Return what the form says.

    Raises
    ------
    WrongError
        Something of it is missing, or can't be.
    """
    more: dict[str, Any] = {}
    match verb:
        case Verb.ASSIGN:
            more["text"] = _short(form.text, NAME_LENGTH)
        case Verb.COMMENT:
            if not form.text:
                raise WrongError(key="wrong.text")
            more["text"] = _short(form.text, COMMENT_LENGTH)
        case Verb.RESOLVE:
            more["verdict"] = _chosen(form, Verdict.REAL, Verdict.EXPECTED)
        case Verb.DISMISS:
            more["verdict"] = _chosen(form, Verdict.NOT_A_PROBLEM, Verdict.EXPECTED)
        case Verb.MERGE:
            more["into"] = form.one("into") or None
            if more["into"] is None or len(more["into"]) > NAME_LENGTH:
                raise WrongError(key="wrong.choice")
        case Verb.SPLIT:
            more["anomalies"] = tuple(dict.fromkeys(a[:NAME_LENGTH] for a in form.values.get("anomalies", [])))
            if not more["anomalies"]:
                raise WrongError(key="wrong.choice")
        case Verb.APPROVE:
            more["customers"] = _customers(form)
    return Command(verb=verb, case=case.id, by=name_of(principal), **more)


def _short(text: str, most: int) -> str:
    if len(text) > most:
        raise WrongError(key="wrong.long")
    return text


def _chosen(form: Given, *allowed: Verdict) -> Verdict:
    found = next((verdict for verdict in allowed if verdict.value == form.one("verdict")), None)
    if found is None:
        raise WrongError(key="wrong.choice")
    return found


def _customers(form: Given) -> int | None:
    """Return how large a sample is; None: all."""
    if "customers" not in form.values:
        return None
    found = form.one("customers").strip()
    if not (found.isascii() and found.isdigit() and len(found) < 9 and 1 <= int(found) <= MOST_CUSTOMERS):
        raise WrongError(key="wrong.number")
    return int(found)


# --- what came of it --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Said:
    key: str
    values: Mapping[str, int] = field(default_factory=dict)


def _said(web: Web, case: Case, wish: Command) -> _Said:
    """Return what is said once it is done, with what it cost."""
    if wish.verb is Verb.DISMISS:
        if wish.verdict is Verdict.EXPECTED:
            return _Said("said.dismiss.free")
        cost = acts.cost(web.store, web.config, case, now_of(web))
        return (
            _Said("said.dismiss")
            if cost is None
            else _Said("said.dismiss.cost", {"after": cost.after, "limit": cost.limit})
        )
    if wish.customers is not None:
        return _Said("said.sample", {"n": wish.customers})
    return _Said(f"said.{wish.verb.value}")


async def _moved_on(request: Request, principal: Principal, case: Case, verb: Verb, form: Given) -> Response:
    """Say what has changed since the form was made."""
    story = await run_in_threadpool(queries.story, web_of(request).store, case)
    entries = tuple(since(story, form.seen_seq)[:10])
    return await _again(request, principal, case, verb, Conflict(entries=entries, text=_typed(verb, form)), 409)


async def _refused(
    request: Request, principal: Principal, before: Case, verb: Verb, form: Given, error: ProblemError
) -> Response:
    """Say what the engines say, and who was faster where somebody was."""
    web = web_of(request)
    case = await run_in_threadpool(case_of, web, before.id)
    if acts.seen(case, verb) != form.seen:
        return await _moved_on(request, principal, case, verb, form)
    detail = refusal_in_words(error.detail, viewer_for(request).language)
    return await _again(request, principal, case, verb, Conflict(detail=detail, text=_typed(verb, form)), 409)


def _typed(verb: Verb, form: Given) -> str:
    return form.text[:COMMENT_LENGTH] if verb is Verb.COMMENT else ""


async def _again(
    request: Request, principal: Principal, case: Case, verb: Verb, conflict: Conflict, status: int
) -> Response:
    """Show the page as it is now, with why nothing was done and what was asked."""
    asked = Asked(do=verb.value)
    return await run_in_threadpool(
        lambda: shown.show(request, principal, case, asked, conflict=conflict, status=status)
    )
