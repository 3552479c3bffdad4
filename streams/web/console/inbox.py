"""The inbox: what is wrong now, those that still fail customers first."""

from fastapi import APIRouter, Request, Response

from streams.web.access import Read
from streams.web.console.base import page

router = APIRouter(include_in_schema=False)


@router.get("/")
def inbox(request: Request, principal: Read) -> Response:
    """Show the cases that are not finished."""
    return page(request, "inbox.html", section="inbox")
