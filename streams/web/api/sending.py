"""How sending stands: what waits and why, limits, channels; the kill switch; what a person has to decide on."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from detector.desk.records import Kind
from detector.errors import UsageError
from streams.outbox.kill_switch import KillSwitch, kill_switch, set_kill_switch
from streams.outbox.people import resume_channel, settle_unknown
from streams.store import pages, queries
from streams.store.documents import ERASED, rfc3339
from streams.store.standing import standing
from streams.web.access import Operate, Read
from streams.web.api import cursor
from streams.web.api.errors import missing, responses
from streams.web.api.kinds import Given, Line, Paged, Shown, Time, described, show
from streams.web.api.route import ApiRoute
from streams.web.context import web_of
from streams.web.problem import ProblemError

router = APIRouter(tags=["sending"], route_class=ApiRoute)

WORK = "work"
"""The process that sends; its row in the store says how it does."""
State = Literal["waiting", "claimed", "sent", "failed", "suppressed", "unknown"]


class Queued(Shown):
    channel: str
    state: State
    notices: int


class ChannelShown(Shown):
    channel: str
    circuit: str = described("`closed`: it is used; `open`, `half-open`: it fails, and is tried now and then.")
    stopped: str | None = described("Why nothing is tried until a person says so.")
    under_way: int
    waiting_since: Time | None


class SwitchShown(Shown):
    on: bool = described("Nothing is sent.")
    by: str
    reason: str
    at: Time | None


class SendingShown(Shown):
    """How sending stands."""

    real: bool = described("`notices.send`: false is a dry run.")
    kill_switch: SwitchShown
    queue: list[Queued]
    held: dict[str, int] = described("Notices of unfinished cases that are held, by reason.")
    limits: dict[str, bool] = described("Which limits bind now.")
    channels: list[ChannelShown]
    seen_at: Time | None = described("When the process that sends said so last; null: it has not yet.")


class SwitchGiven(Given):
    on: bool
    reason: Line = ""


class OutboxShown(Shown):
    notice: str
    state: State
    channel: str
    attempts: int
    due: Time
    stale: Time
    case: str
    customer: str
    signal: str
    kind: Kind | Literal[""]
    priority: int


class OutboxPage(Shown):
    items: list[OutboxShown]
    next: str | None


class OutboxQuery(Paged):
    state: State | None = None
    channel: Line | None = None


class Settling(Given):
    how: Literal["resend", "sent", "failed"] = described(
        "Send it again under the same id, or take it as sent, or as not sent and not to be."
    )


@router.get("/v1/sending", operation_id="getSending", summary="How sending stands")
def get_sending(request: Request, principal: Read) -> SendingShown:
    """Show what waits on each channel and why, which limits bind, which channels fail."""
    web = web_of(request)
    now = standing(web.store, web.clock.now_ms())
    work = now.sender
    says: dict[str, Any] = {} if work is None else dict(work.body.get("notifier") or {})
    circuits, stopped = says.get("circuits", {}), says.get("stopped", {})
    channels = sorted({*circuits, *(channel for channel, _ in now.outbox)})
    return show(
        SendingShown,
        real=web.settings.config.policy.send,
        kill_switch=_switch(kill_switch(web.store)),
        queue=[{"channel": c, "state": s, "notices": n} for (c, s), n in sorted(now.outbox.items())],
        held=queries.held_reasons(web.store),
        limits=says.get("limits", {}),
        channels=[
            {
                "channel": channel,
                "circuit": circuits.get(channel, "unknown"),
                "stopped": stopped.get(channel),
                "under_way": says.get("under_way", {}).get(channel, 0),
                "waiting_since": rfc3339(now.outbox_since_ms.get(channel)),
            }
            for channel in channels
        ],
        seen_at=None if work is None else rfc3339(work.at_ms),
    )


@router.get("/v1/kill-switch", operation_id="getKillSwitch", summary="Whether sending is stopped")
def get_kill_switch(request: Request, principal: Read) -> SwitchShown:
    """Say whether the kill switch is on, since when, by whom and why."""
    return show(SwitchShown, **_switch(kill_switch(web_of(request).store)))


@router.put("/v1/kill-switch", operation_id="setKillSwitch", summary="Stop all sending, or go on")
def put_kill_switch(request: Request, given: SwitchGiven, principal: Operate) -> SwitchShown:
    """Turn the kill switch: on, nothing is sent from now on, and what waits goes on waiting."""
    web = web_of(request)
    found = set_kill_switch(web.store, given.on, principal.who, given.reason, web.clock.now_ms())
    return show(SwitchShown, **_switch(found))


@router.get("/v1/outbox", operation_id="listOutbox", summary="What is to be sent, and what came of it")
def list_outbox(request: Request, wanted: Annotated[OutboxQuery, Query()], principal: Read) -> OutboxPage:
    """List the outbox; with `state=unknown` what may have gone out, and a person decides on."""
    after = cursor.decode(wanted.cursor, (str,), "outbox")
    page = pages.outbox_page(
        web_of(request).store, state=wanted.state, channel=wanted.channel, after=after, limit=wanted.limit
    )
    items = [
        {
            "notice": row.notice,
            "state": row.state,
            "channel": row.channel,
            "attempts": row.attempts,
            "due": rfc3339(row.due_ms),
            "stale": rfc3339(row.stale_ms),
            "case": row.case,
            "customer": ERASED if row.id is None else row.id,
            "signal": row.signal,
            "kind": row.kind,
            "priority": row.priority,
        }
        for row in page.items
    ]
    return show(OutboxPage, items=items, next=cursor.encode(page.next, "outbox"))


@router.post(
    "/v1/outbox/{notice}/settle",
    operation_id="settleNotice",
    summary="Decide on a send that may have gone out",
    status_code=204,
    responses=responses(404, 409),
)
def settle_notice(
    request: Request,
    notice: Annotated[str, Path(max_length=100, description="The notice's id.")],
    given: Settling,
    principal: Operate,
) -> Response:
    """Say what is to become of a notice of which nobody knows whether it went out."""
    web = web_of(request)
    if queries.outbox_state(web.store, notice) is None:
        missing(f"notice {notice[:12]!r}")
    try:
        settle_unknown(web.store, notice, given.how, principal.who, web.clock.now_ms())
    except UsageError as error:
        raise ProblemError(409, "not-unknown", str(error)) from None
    return Response(status_code=204)


@router.post(
    "/v1/channels/{channel}/resume",
    operation_id="resumeChannel",
    summary="Try a channel again that was stopped",
    status_code=204,
    responses=responses(404),
)
def resume(
    request: Request, channel: Annotated[str, Path(max_length=60, description="Its name.")], principal: Operate
) -> Response:
    """Let a channel be tried again that the other side had refused; it is within some seconds."""
    web = web_of(request)
    if channel not in {*web.settings.config.policy.channels, *web.settings.channels}:
        missing(f"channel {channel!r}")
    resume_channel(web.store, channel, principal.who, web.clock.now_ms())
    return Response(status_code=204)


def _switch(found: KillSwitch) -> dict[str, Any]:
    return {"on": found.on, "by": found.by, "reason": found.reason, "at": rfc3339(found.at_ms)}
