"""What WhatsApp's providers call back: what became of messages, and customers who want no more of them.

Promises
- Nothing is believed of a caller who does not show the secret: Meta signs the body with the app's secret, Qontak signs
  nothing and shows ours (header `X-Webhook-Secret`, or the last part of the address where no header can be set).
- What a status says becomes the detail of the attempt it is about, and only ever goes forward; nothing else changes.
- STOP or BERHENTI withdraws the consent to the channel, of everybody who has that number. It counts although it comes
  late (providers repeat for a week); a status that is older than five minutes does not, nor what is ahead of the clock.
- The same piece of news counts once. An answer names nobody.
"""

import hashlib
import hmac
from collections.abc import Iterable
from functools import partial
from typing import Any

import pydantic
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from detector.config import DAY_MS, MINUTE_MS
from detector.errors import ConfigError, UsageError
from streams.sections import SecretReference
from streams.settings import TOCSIN, secret_of
from streams.store import audit, idempotency
from streams.store import tables as t
from streams.store.idempotency import Mine, Stored, TooMany
from streams.vendors import qontak, whatsapp_cloud
from streams.vendors.inbound import Inbound, Progress, Reply, Status
from streams.web.access import public
from streams.web.context import Web, web_of
from streams.web.problem import ProblemError

router = APIRouter(prefix="/v1/inbound", include_in_schema=False)

SECRET_HEADER = "X-Webhook-Secret"
TOLERANCE_MS = 5 * MINUTE_MS
REPEATED_MS = 7 * DAY_MS
_ORDER = {"": 0, Progress.DELIVERED.value: 1, Progress.FAILED.value: 1, Progress.READ.value: 2}


@router.post("/qontak", dependencies=[public()])
async def from_qontak(request: Request) -> dict[str, int]:
    """Take what Qontak calls back, with the secret as a header."""
    return await _qontak(request, request.headers.get(SECRET_HEADER, ""))


@router.post("/qontak/{secret}", dependencies=[public()])
async def from_qontak_by_address(request: Request, secret: str) -> dict[str, int]:
    """Take what Qontak calls back, with the secret in the address."""
    return await _qontak(request, secret)


async def _qontak(request: Request, shown: str) -> dict[str, int]:
    web, given = web_of(request), shown.encode("utf-8", "replace")
    found = await run_in_threadpool(_secrets, web, "qontak", "inbound_secret")
    channels = [channel for channel, secret in found if hmac.compare_digest(secret, given)]
    return await _take(web, "qontak", channels, qontak.inbound(_believed(channels, await request.body())))


@router.post("/whatsapp-cloud", dependencies=[public()])
async def from_whatsapp(request: Request) -> dict[str, int]:
    """Take what Meta calls back."""
    web, body = web_of(request), await request.body()
    signature = request.headers.get(whatsapp_cloud.SIGNATURE, "")
    found = await run_in_threadpool(_secrets, web, "whatsapp-cloud", "app_secret")
    channels = [channel for channel, secret in found if whatsapp_cloud.is_signed(body, signature, secret)]
    return await _take(web, "whatsapp-cloud", channels, whatsapp_cloud.inbound(_believed(channels, body)))


@router.get("/whatsapp-cloud", dependencies=[public()])
async def is_ours(
    request: Request,
    mode: str = Query("", alias="hub.mode"),
    shown: str = Query("", alias="hub.verify_token"),
    challenge: str = Query("", alias="hub.challenge", max_length=200),
) -> PlainTextResponse:
    """Say to Meta that the address is ours."""
    found = await run_in_threadpool(_secrets, web_of(request), "whatsapp-cloud", "verify_token")
    given = shown.encode("utf-8", "replace")
    _believed([name for name, secret in found if hmac.compare_digest(secret, given) and mode == "subscribe"], b"")
    return PlainTextResponse(challenge)


def _secrets(web: Web, provider: str, field: str) -> list[tuple[str, bytes]]:
    """Return the channels that a provider carries and that can be called back, with the secret of each."""
    out = []
    for name, given in web.settings.channels.items():
        if given.get("by", name) != provider or given.get(field) is None:
            continue
        try:
            reference = SecretReference.model_validate(given[field])
            secret = secret_of(reference, f"{TOCSIN}: channels.{name}.{field}", web.settings.directory)
            out.append((name, b"" if secret is None else secret.read()))
        except (ConfigError, pydantic.ValidationError):
            continue  # `tocsin check` says it; here it only means that nobody is believed
    return out


def _believed(channels: list[str], body: bytes) -> bytes:
    """Return the body of a caller who has shown the secret of a channel."""
    if not channels:
        raise ProblemError(401, "not-verified", "the secret or signature is not the one that is configured")
    return body


async def _take(web: Web, provider: str, channels: list[str], news: Iterable[Inbound]) -> dict[str, int]:
    return await run_in_threadpool(_taken, web, provider, channels, list(news))


def _taken(web: Web, provider: str, channels: list[str], news: list[Inbound]) -> dict[str, int]:
    """Take the news; returns how many pieces changed something."""
    now_ms, taken = web.clock.now_ms(), 0
    for piece in news:
        age_ms = 0 if piece.at_ms is None else now_ms - piece.at_ms
        if isinstance(piece, Status):
            taken += abs(age_ms) <= TOLERANCE_MS and _noted(web, channels, piece)
        elif piece.stop and -TOLERANCE_MS <= age_ms <= REPEATED_MS:
            taken += _stopped(web, provider, channels, piece, now_ms)
    return {"taken": taken, "ignored": len(news) - taken}


def _noted(web: Web, channels: list[str], status: Status) -> bool:
    """Write down how far a message came; False where it is none of ours, or came that far before."""
    table = t.delivery
    this = (table.c.tenant == web.tenant) & (table.c.reference == status.reference) & table.c.channel.in_(channels)
    detail = f"{status.progress.value}: {status.code}" if status.code else status.progress.value
    with web.store.transaction() as connection:
        row = connection.execute(sa.select(table.c.detail).where(this)).first()
        if row is None or _ORDER[status.progress.value] <= _ORDER.get(str(row.detail).partition(":")[0], 0):
            return False
        connection.execute(sa.update(table).where(this).values(detail=detail))
    return True


def _stopped(web: Web, provider: str, channels: list[str], reply: Reply, now_ms: int) -> bool:
    """Withdraw the consent of whoever has this number; False where nobody has, or it was done before."""
    who, key = f"inbound:{provider}", hashlib.sha256(reply.id.encode()).hexdigest()
    found = idempotency.begin(web.store, who, key, b"", now_ms)
    if not isinstance(found, Mine | TooMany):
        return False
    done = False
    try:
        for customer in _who_has(web, reply.phone):
            for channel in channels:
                note = partial(_audited, web=web, who=who, customer=customer, channel=channel, now_ms=now_ms)
                web.directory.withdraw(customer, channel, note)
                done = True
    finally:
        if isinstance(found, Mine) and done:
            idempotency.finish(web.store, who, key, 200, Stored())
        elif isinstance(found, Mine):
            idempotency.release(web.store, who, key)
    return done


def _audited(connection: sa.Connection, web: Web, who: str, customer: int, channel: str, now_ms: int) -> None:
    target = f"customer:{customer & (2**64 - 1):016x}"
    audit.record(connection, web.tenant, who, "consent.withdrawn", target, channel, now_ms)


def _who_has(web: Web, phone: str) -> set[int]:
    """Return the customers with this number: where several share it, none of them wants to hear of us on it."""
    mine: Any = (t.customer.c.tenant == web.tenant) & (t.customer.c.phone == phone) & (t.customer.c.known == 1)
    with web.store.reading() as connection:
        found = {int(row.key) for row in connection.execute(sa.select(t.customer.c.key).where(mine))}
    try:
        found.add(web.directory.find(phone))
    except UsageError:
        pass
    return found
