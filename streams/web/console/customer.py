"""A customer's page: what happened to this person, what did we say, and why not?  And finding, opting out, erasing.

Addresses: `/customers?q=` finds by id or alias, `/customers/{id}` shows; `case` chooses whose story is told, `do`
(`opt-out`, `erase`) is what is asked before it is done, `csv` gives a table as a file.
"""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Request, Response

from detector.errors import UsageError
from streams.store import audit, outgoing, pages, person
from streams.store.documents import rfc3339
from streams.web.access import Admin, Operate, Principal, Read, Scope
from streams.web.api.commands import audited
from streams.web.console.base import page, redirect, viewer_for
from streams.web.console.formats import moment
from streams.web.console.preferences import Form, form
from streams.web.console.sheet import csv_file
from streams.web.console.texts import text
from streams.web.console.viewer import Viewer
from streams.web.console.views import customer as views
from streams.web.context import Web, web_of

router = APIRouter(include_in_schema=False)

CustomerPath = Annotated[str, Path(max_length=200)]
Fields = Annotated[Form, Depends(form)]
_LONGEST = 200
_FEW = 500
"""Rows of the audit log that are looked through for who was faster."""
_FILES = ("cases", "notices", "story")


def address(id: str) -> str:
    """Return where a customer's page is.

    Examples
    --------
    >>> address("C-1"), address("a/b?c"), address("..")
    ('/customers/C-1', '/customers/a%2Fb%3Fc', '/customers?q=..')
    """
    # A browser takes dots for steps in a path.
    return f"/customers?q={quote(id)}" if id in (".", "..") else f"/customers/{quote(id, safe='')}"


@router.get("/customers")
def find(request: Request, principal: Read) -> Response:
    """Find a customer by an id or alias, and lead to their page."""
    web, wanted = web_of(request), _plain(request.query_params.get("q", ""))
    if not wanted:
        return page(request, "customer_find.html", wanted="", erased=False)
    key = _key(web, wanted)
    found = None if key is None else web.directory.get(key)
    if key is None or found is None:
        return _nobody(request, wanted)
    to = address(found.id)
    return _page(request, principal, key) if to.startswith("/customers?") else redirect(to)


def _nobody(request: Request, wanted: str) -> Response:
    erased = bool(wanted) and person.was_erased(web_of(request).store, wanted)
    return page(request, "customer_find.html", status=404, wanted=wanted, erased=erased)


def _plain(value: str) -> str:
    return value[:_LONGEST].replace("\0", "").strip()


def _key(web: Web, text: str) -> int | None:
    """Return a customer's hash; None where nobody is known by the text."""
    try:
        return web.directory.find(text) if text and "\0" not in text else None
    except (UsageError, UnicodeEncodeError):
        return None


@router.get("/customers/{customer:path}")
def customer(request: Request, customer: CustomerPath, principal: Read) -> Response:
    """Show everything that we know of a customer and told them, and why not."""
    key = _key(web_of(request), customer)
    return _nobody(request, _plain(customer)) if key is None else _page(request, principal, key)


def _page(
    request: Request, principal: Principal, key: int, *, problem: str = "", status: int = 200, ask: bool = True
) -> Response:
    web, viewer = web_of(request), viewer_for(request)
    found = web.directory.get(key)
    if found is None:
        return _nobody(request, "")
    config = web.config
    case = _plain(request.query_params.get("case", ""))
    seen = views.seen(web.store, config, key, viewer.language, case=case)
    wanted = request.query_params.get("csv", "")
    if wanted in _FILES:
        return _file(web, wanted, key, seen)
    do = request.query_params.get("do", "") if ask else ""
    who = views.person_of(found, config.policy.channels, clear=principal.may(Scope.OPERATE))
    allowed = {"opt-out": principal.may(Scope.OPERATE) and not who.opted_out, "erase": principal.may(Scope.ADMIN)}
    return page(
        request,
        "customer.html",
        status=status,
        viewer=viewer,
        person=who,
        here_at=address(found.id),
        seen=seen,
        problem=problem,
        do=do if allowed.get(do) else "",
        allowed=allowed,
        waiting=outgoing.waiting_of(web.store, key) if do == "opt-out" else 0,
        erasing=views.erasing(web.store, web.directory, key) if do == "erase" and allowed["erase"] else None,
    )


def _file(web: Web, wanted: str, key: int, seen: views.Seen) -> Response:
    if wanted == "cases":
        header = ("case", "title", "state", "probability", "first_failure", "last_failure", "tries", "last_success")
        rows: list[tuple[object, ...]] = [
            (
                *(hit.case, hit.title, hit.state, hit.likely, rfc3339(hit.first_failure_ms)),
                *(rfc3339(hit.last_failure_ms), hit.tries, rfc3339(hit.last_success_ms), rfc3339(hit.contact_ms)),
                *(hit.told.kind, hit.told.state, hit.told.reason, hit.withdrawn),
            )
            for hit in seen.hits
        ]
        return csv_file("customer-cases", (*header, "contact", "notice", "notice_state", "reason", "withdrawn"), rows)
    if wanted == "story":
        rows = [
            (rfc3339(o.at_ms), o.what, o.kind, o.channel, o.place, o.outcome, o.reason, o.detail) for o in seen.story
        ]
        return csv_file(
            "customer-story", ("at", "what", "kind", "channel", "place", "outcome", "reason", "detail"), rows
        )
    notices = person.notices_of(web.store, key, views.SHOWN_NOTICES)
    tries = pages.deliveries_of(web.store, [notice.id for notice in notices])
    came = {
        name: "; ".join(f"{a.channel} {a.outcome} {a.detail}".strip() for a in found) for name, found in tries.items()
    }
    rows = [
        (
            *(rfc3339(n.at_ms), n.case, n.kind.value, n.state.value, n.reason, n.channel, n.language, n.time_zone),
            *(rfc3339(n.until_ms), came.get(n.id, "")),
        )
        for n in notices
    ]
    header = ("at", "case", "kind", "state", "reason", "channel", "language", "time_zone")
    return csv_file("customer-notices", (*header, "until", "tries"), rows)


# --- what is done ---------------------------------------------------------------------------------------------------


@router.post("/customers/opt-out")
def opt_out(request: Request, principal: Operate, given: Fields) -> Response:
    """Withdraw a customer's consent to every channel."""
    web = web_of(request)
    key = _key(web, given.get("customer", ""))
    found = None if key is None else web.directory.get(key)
    if key is None or found is None:
        return _nobody(request, _plain(given.get("customer", "")))
    config = web.config
    if views.person_of(found, config.policy.channels, clear=False).seen != given.get("seen"):
        return _conflict(request, principal, key)
    web.directory.opt_out(key, audited(web, principal, "customer.opted-out", key))
    return redirect(address(found.id), "said.opted_out")


@router.post("/customers/erase")
def erase(request: Request, principal: Admin, given: Fields) -> Response:
    """Forget who a customer is, for good."""
    web = web_of(request)
    key = _key(web, given.get("customer", ""))
    found = None if key is None else web.directory.get(key)
    if key is None or found is None:
        return _nobody(request, _plain(given.get("customer", "")))
    if views.erasing(web.store, web.directory, key).seen != given.get("seen"):
        return _conflict(request, principal, key)
    done = web.directory.erase(key, audited(web, principal, "customer.erased", key))
    return redirect(
        "/customers",
        "said.erased",
        customers=done.customers,
        aliases=done.aliases,
        remarks=done.remarks,
        dead_letters=done.dead_letters,
        cases=done.cases,
        notices=done.notices,
    )


def _conflict(request: Request, principal: Principal, key: int) -> Response:
    """Show the page as it is now, with who changed what since the form was made."""
    web, viewer = web_of(request), viewer_for(request)
    problem = text("customer.conflict", viewer.language, who=_who_did(web, viewer, key))
    return _page(request, principal, key, problem=problem, status=409, ask=False)


def _who_did(web: Web, viewer: Viewer, key: int) -> str:
    target = audit.customer(key)
    for entry in audit.newest(web.store, limit=_FEW):
        if entry.target == target:
            who, at = entry.who.removeprefix("person:"), moment(entry.at_ms, viewer)
            return text("customer.conflict.by", viewer.language, what=entry.what, who=who, at=at)
    return ""
