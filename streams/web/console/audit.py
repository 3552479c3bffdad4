"""The audit page: who did what?  Filtered by who, what, to what and when; and whether anything of it was changed.

Addresses: `who`, `what`, `target`, `since`, `until` (days in the viewer's zone) filter, `before` pages, `verify=1`
checks the whole chain, `csv=1` gives what is filtered as a file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response

from streams.store import Store, audit
from streams.store.audit import Entry
from streams.store.documents import rfc3339
from streams.web.access import Admin
from streams.web.console.base import page, viewer_for
from streams.web.console.sheet import csv_file
from streams.web.context import web_of

router = APIRouter(include_in_schema=False)

ROWS = 50
_PAGE = 500
_LONGEST = 200


@dataclass(frozen=True)
class Wanted:
    """Which rows; the days are whole ones of the viewer's zone."""

    who: str = ""
    what: str = ""
    target: str = ""
    since: date | None = None
    until: date | None = None

    def query(self, **more: str) -> str:
        """Return the address of these rows."""
        days = {name: day.isoformat() for name, day in (("since", self.since), ("until", self.until)) if day}
        given = {"who": self.who, "what": self.what, "target": self.target, **days, **more}
        query = urlencode({name: value for name, value in given.items() if value})
        return "/audit" + (f"?{query}" if query else "")

    @property
    def any(self) -> bool:
        return self.query() != "/audit"

    def rows(self, store: Store, zone: str, *, before: int | None = None, limit: int = ROWS) -> list[Entry]:
        """Return some of the rows, the newest first."""
        return audit.newest(
            store,
            before=before,
            limit=limit,
            who=self.who,
            what=self.what,
            target=self.target,
            since_ms=None if self.since is None else _start_ms(self.since, zone),
            until_ms=None if self.until is None else _start_ms(self.until + timedelta(days=1), zone),
        )


def _start_ms(day: date, zone: str) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp() * 1_000)


def wanted_of(request: Request) -> Wanted:
    """Return what the address asks for; what can't be a day is none."""

    def plain(name: str) -> str:
        return request.query_params.get(name, "")[:_LONGEST].replace("\0", "").strip()

    def day(name: str) -> date | None:
        try:
            found = date.fromisoformat(plain(name))
        except ValueError:
            return None
        return found if 1970 <= found.year < 9999 else None

    return Wanted(plain("who"), plain("what"), plain("target"), day("since"), day("until"))


@router.get("/audit")
def audit_page(request: Request, principal: Admin) -> Response:
    """Show who did what, the newest first."""
    store, viewer, wanted = web_of(request).store, viewer_for(request), wanted_of(request)
    if request.query_params.get("csv"):
        header = ("seq", "at", "who", "what", "target", "detail", "chain")
        return csv_file("audit", header, _lines(store, wanted, viewer.zone))
    before = request.query_params.get("before", "")
    last = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    found = wanted.rows(store, viewer.zone, before=last, limit=ROWS + 1)
    rows = found[:ROWS]
    return page(
        request,
        "audit.html",
        section="audit",
        viewer=viewer,
        wanted=wanted,
        rows=rows,
        paged=last is not None,
        next=wanted.query(before=str(rows[-1].seq)) if len(found) > ROWS else "",
        links={entry.seq: link for entry in rows if (link := _link(entry.target))},
        verified=audit.verify(store) if request.query_params.get("verify") else None,
    )


def _link(target: str) -> str:
    """Return where the target of a row is shown; "" where it has no page."""
    kind, _, id = target.partition(":")
    return f"/cases/{quote(id, safe='')}" if kind == "case" and id else ""


def _lines(store: Store, wanted: Wanted, zone: str) -> Iterator[tuple[object, ...]]:
    before: int | None = None
    while rows := wanted.rows(store, zone, before=before, limit=_PAGE):
        for e in rows:
            yield e.seq, rfc3339(e.at_ms), e.who, e.what, e.target, e.detail, e.chain.hex()
        before = rows[-1].seq
