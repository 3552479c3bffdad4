"""Webhooks as administrators make, try, stop and delete them; the work process sends (`streams.feeds.sender`).

Promises
- An address is checked when it is stored, its name's addresses too; at every delivery it is checked again.
- A secret is in the one answer that makes it, and in no other: a repetition under an idempotency key is without it.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from detector.errors import UsageError
from streams.feeds import subscriptions
from streams.feeds.log import cloud_event, encoded, seq_of
from streams.feeds.sender import in_words
from streams.feeds.signing import signed
from streams.feeds.subscriptions import State, Subscription, UnknownWebhookError, rules_of
from streams.net import NoAnswerError, RefusedError, Way
from streams.store.feedtypes import NAMES
from streams.store.values import rfc3339
from streams.web.access import Admin
from streams.web.api.errors import answer, missing, responses
from streams.web.api.kinds import Given, Shown, Time, described, show
from streams.web.api.route import ApiRoute, once_of
from streams.web.context import Web, web_of

TEST_TYPE = "webhook.test"

router = APIRouter(tags=["webhooks"], route_class=ApiRoute)

WebhookId = Annotated[str, Path(description="The webhook's id.", max_length=40)]


class Subscribing(Given):
    url: str = described("Where to send: https.", max_length=2_048, examples=["https://crm.example.com/tocsin"])
    types: list[Annotated[str, Field(json_schema_extra={"enum": sorted(NAMES)})]] = described(
        "Types of events; empty: all.", default=[], max_length=len(NAMES)
    )
    after: str | None = described(
        "Begin behind this event (its id); 0: with the oldest that is kept; null: with what comes from now on.",
        default=None,
        max_length=100,
    )


class DeliveryCounts(Shown):
    """Deliveries by state, as far back as the feed is kept."""

    waiting: int
    sent: int
    failed: int = described("Given up; `POST /v1/webhooks/{id}/send-again` begins anew with them.")


class WebhookShown(Shown):
    id: str
    url: str
    types: list[str] = described("Empty: all.")
    state: State = described("`disabled`: by us; `reason` says why.")
    reason: str
    created_at: Time
    next: str = described("The first event that is not on its way yet.")
    delivered_at: Time | None = described("When the last delivery arrived.")
    failing_since: Time | None = described("Since when every delivery fails; null: the last one did not.")
    last_answer: str = described("What the last delivery got.", examples=["HTTP 200"])
    secrets: int = described("How many secrets hold: two while one is being exchanged.")
    deliveries: DeliveryCounts


class WebhookList(Shown):
    items: list[WebhookShown]


class WebhookMade(WebhookShown):
    secret: str | None = described("For verifying signatures; it is shown this once.", examples=["whsec_…"])


class Tried(Shown):
    delivered: bool
    answer: str = described("What the receiver said, or why nothing was sent.")
    id: str = described("The `webhook-id` of the event.")


class SentAgain(Shown):
    deliveries: int


@router.post(
    "/v1/webhooks",
    operation_id="createWebhook",
    summary="Subscribe to the feed",
    status_code=201,
    response_model=WebhookMade,
    responses=responses(422),
)
async def create_webhook(request: Request, given: Subscribing, principal: Admin) -> Response:
    """Send events to an address from now on, signed with the secret that this answer shows."""
    web = web_of(request)
    unknown = [name for name in given.types if name not in NAMES]
    if unknown:
        message = f"types: found {unknown[0][:80]!r}, expected some of {', '.join(sorted(NAMES))}"
        raise UsageError(message)
    after = None if given.after is None else seq_of(web.tenant, given.after)
    rules = rules_of(web.settings.service)
    way = Way(rules)
    try:
        reasons = await way.check(given.url)
    finally:
        await way.close()
    if reasons:
        message = f"url: {'; '.join(reasons)}"
        raise UsageError(message)
    types, now_ms = frozenset(given.types), web.clock.now_ms()
    made, secret = await run_in_threadpool(
        subscriptions.create, web.store, given.url, types, principal.who, now_ms, rules, after=after
    )
    return await _with_secret(request, made, secret, 201)


@router.get(
    "/v1/webhooks", operation_id="listWebhooks", summary="The webhooks", response_model=WebhookList, responses={}
)
def list_webhooks(request: Request, principal: Admin) -> Any:
    """List the webhooks, the oldest first."""
    web = web_of(request)
    return show(WebhookList, items=[_document(web, found) for found in subscriptions.listed(web.store)])


@router.get(
    "/v1/webhooks/{id}",
    operation_id="getWebhook",
    summary="A webhook and its deliveries",
    response_model=WebhookShown,
    responses=responses(404),
)
def get_webhook(request: Request, id: WebhookId, principal: Admin) -> Any:
    """Return a webhook and how its deliveries stand."""
    web = web_of(request)
    return _document(web, _found(web, id))


@router.delete(
    "/v1/webhooks/{id}",
    operation_id="deleteWebhook",
    summary="Delete a webhook",
    status_code=204,
    response_class=Response,
    responses=responses(404),
)
def delete_webhook(request: Request, id: WebhookId, principal: Admin) -> None:
    """Send nothing more there, also what was on its way."""
    web = web_of(request)
    _found(web, id)
    subscriptions.delete(web.store, id, principal.who, web.clock.now_ms())


@router.post(
    "/v1/webhooks/{id}/pause",
    operation_id="pauseWebhook",
    summary="Pause a webhook",
    response_model=WebhookShown,
    responses=responses(404, 422),
)
def pause_webhook(request: Request, id: WebhookId, principal: Admin) -> Any:
    """Send nothing more there until it is resumed; what comes meanwhile is sent then."""
    web = web_of(request)
    _found(web, id)
    return _document(web, subscriptions.pause(web.store, id, principal.who, web.clock.now_ms()))


@router.post(
    "/v1/webhooks/{id}/resume",
    operation_id="resumeWebhook",
    summary="Resume a webhook",
    response_model=WebhookShown,
    responses=responses(404),
)
def resume_webhook(request: Request, id: WebhookId, principal: Admin) -> Any:
    """Send there again, after a pause or after it was disabled."""
    web = web_of(request)
    _found(web, id)
    return _document(web, subscriptions.resume(web.store, id, principal.who, web.clock.now_ms()))


@router.post(
    "/v1/webhooks/{id}/send-again",
    operation_id="sendAgain",
    summary="Begin anew with what was given up",
    response_model=SentAgain,
    responses=responses(404),
)
def send_again(request: Request, id: WebhookId, principal: Admin) -> Any:
    """Send the deliveries that were given up once more, as far as the feed keeps them."""
    web = web_of(request)
    _found(web, id)
    n = subscriptions.send_again(web.store, id, principal.who, web.clock.now_ms())
    return show(SentAgain, deliveries=n)


@router.post(
    "/v1/webhooks/{id}/rotate",
    operation_id="rotateSecret",
    summary="Exchange the secret",
    response_model=WebhookMade,
    responses=responses(404),
)
async def rotate_secret(request: Request, id: WebhookId, principal: Admin) -> Response:
    """Make a new secret; for a day deliveries are signed with the old one too."""
    web = web_of(request)
    await run_in_threadpool(_found, web, id)
    found, secret = await run_in_threadpool(subscriptions.rotate, web.store, id, principal.who, web.clock.now_ms())
    return await _with_secret(request, found, secret, 200)


@router.post(
    "/v1/webhooks/{id}/test",
    operation_id="testWebhook",
    summary="Send a test event",
    response_model=Tried,
    responses=responses(404),
)
async def test_webhook(request: Request, id: WebhookId, principal: Admin) -> Any:
    """Send one event of the type `webhook.test`, at once and once, and say what came of it."""
    web = web_of(request)
    found, now_ms = await run_in_threadpool(_found, web, id), web.clock.now_ms()
    data = {"version": 1, "webhook": found.id}
    event = cloud_event(web.tenant, f"test-{found.id}-{now_ms}", TEST_TYPE, found.id, now_ms, data)
    body = encoded(event).encode()
    way = Way(rules_of(web.settings.service))
    try:
        said = await way.request("POST", found.url, signed(event["id"], body, found.keys(now_ms), now_ms), body)
    except (NoAnswerError, RefusedError) as error:
        return show(Tried, delivered=False, answer=str(error), id=event["id"])
    finally:
        await way.close()
    return show(Tried, delivered=200 <= said.status < 300, answer=in_words(said), id=event["id"])


def _found(web: Web, id: str) -> Subscription:
    try:
        return subscriptions.get(web.store, id)
    except UnknownWebhookError:
        missing("webhook")


def _document(web: Web, found: Subscription) -> dict[str, Any]:
    def time(ms: int | None) -> str | None:
        return None if ms is None else rfc3339(ms)

    return {
        "id": found.id,
        "url": found.url,
        "types": sorted(found.types),
        "state": found.state,
        "reason": found.reason,
        "created_at": rfc3339(found.created_ms),
        "next": f"{web.tenant}/{found.from_seq}",
        "delivered_at": time(found.delivered_ms),
        "failing_since": time(found.failing_ms),
        "last_answer": found.answer,
        "secrets": len(found.keys(web.clock.now_ms())),
        "deliveries": subscriptions.queued(web.store, found.id),
    }


async def _with_secret(request: Request, found: Subscription, secret: str, status: int) -> Response:
    """Answer with the secret, and keep for repetitions an answer without it."""
    document = await run_in_threadpool(_document, web_of(request), found)
    once = once_of(request)
    if once is not None:
        once.instead = answer(show(WebhookMade, **document, secret=None), status)
    return answer(show(WebhookMade, **document, secret=secret), status)
