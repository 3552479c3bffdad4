"""Customers: who they are, what they agreed to, what they were told and why not; and forgetting them.

Rules of the file
- Addresses stand in the clear only for those who may operate; others see them masked.
- No answer to a POST names a customer: such answers are kept for a day under their idempotency keys.
- The audit log has a customer's hash, never an id.
"""

import tempfile
from collections.abc import Callable
from hashlib import sha256
from io import TextIOWrapper
from typing import IO, Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from detector.decode.customers import customer_key
from detector.desk.records import Case, LedgerRow
from streams.outbox.channel import masked
from streams.store import audit, documents, queries
from streams.store.customers_csv import BadRow, checked
from streams.store.directory import Customer
from streams.store.values import units
from streams.web.access import Admin, Operate, Principal, Read, Scope
from streams.web.api.cases import key_of
from streams.web.api.commands import audited, record
from streams.web.api.customer_models import (
    SHOWN_CASES,
    SHOWN_ROWS,
    CustomerGiven,
    CustomerInFull,
    CustomerShown,
    CustomerTaken,
    Erased,
    Erasing,
    Imported,
    Preferences,
)
from streams.web.api.errors import missing, responses
from streams.web.api.kinds import show
from streams.web.api.route import KEY_HEADER, ApiRoute, once
from streams.web.context import Web, web_of
from streams.web.problem import ProblemError

router = APIRouter(tags=["customers"], route_class=ApiRoute)
streamed = APIRouter(tags=["customers"])
"""The route that reads its body itself, piece by piece."""

_MEMORY_BYTES = 1_048_576
_CSV = "text/csv"

CustomerPath = Annotated[str, Path(max_length=200, description="Their id, or an alias: a phone, an e-mail, a login.")]


@streamed.post(
    "/v1/customers/import",
    operation_id="importCustomers",
    summary="Take a customers file in",
    response_model=Imported,
    responses=responses(413, 415),
    openapi_extra={
        "requestBody": {"required": True, "content": {_CSV: {"schema": {"type": "string", "minLength": 1}}}}
    },
)
async def import_customers(request: Request, principal: Operate) -> Any:
    """Take CSV in: id,name,language,time_zone,email,phone,consent,tier,contract_value and further columns as aliases.

    A row takes the place of what is there; bad ones are listed with their lines, good ones are taken.
    """
    web = web_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _CSV:
        raise ProblemError(415, "unsupported-type", f"Content-Type: expected {_CSV}, found {kind or 'none'}")
    with tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=_folder(web)) as file:
        print_ = await _spooled(request, file, web.settings.service.request_bytes)

        async def work() -> Response:
            return await run_in_threadpool(_import, web, principal, file)

        return await once(request, print_, work) if KEY_HEADER in request.headers else await work()


def _folder(web: Web) -> str | None:
    """Return where a large file waits: on the store's disk, or where the system keeps such files."""
    return None if web.store.on_server else str(web.store.path.parent)


async def _spooled(request: Request, file: IO[bytes], longest: int) -> bytes:
    """Write the body into a file and return its hash."""
    size, hashed = 0, sha256()
    async for part in request.stream():
        size += len(part)
        if size > longest:
            detail = f"body: expected at most {longest:,} bytes; send it in parts"
            raise ProblemError(413, "too-large", detail)
        hashed.update(part)
        file.write(part)
    if not size:
        raise ProblemError(422, "invalid-request", "body: expected a customers file, found nothing")
    file.seek(0)
    return hashed.digest()


def _import(web: Web, principal: Principal, file: IO[bytes]) -> Response:
    def also(connection: sa.Connection) -> None:
        record(connection, web, principal, "customers.imported", "", "", web.clock.now_ms())

    text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        done = web.directory.import_stream(text, "body", also)
    finally:
        text.detach()
    bad = [{"line": one.line, "column": _column(one), "allowed": one.allowed} for one in done.bad[:SHOWN_ROWS]]
    shown = show(Imported, imported=done.imported, rejected=bad, more=max(len(done.bad) - SHOWN_ROWS, 0))
    return JSONResponse(shown.model_dump(mode="json"))


def _column(bad: BadRow) -> str:
    return bad.column.encode("utf-8", "replace").decode()


@router.post(
    "/v1/customers/erase",
    operation_id="eraseCustomer",
    summary="Forget who a customer is",
    responses=responses(404),
)
def erase_customer(request: Request, given: Erasing, principal: Admin) -> Erased:
    """Remove the customer's id, name, addresses and aliases for good, and say what is left.

    Whatever comes later under the id or an alias brings nobody back. It can't be undone.
    """
    web = web_of(request)
    key = key_of(web, given.customer)
    found = web.directory.erase(key, audited(web, principal, "customer.erased", key))
    return show(Erased, **found.document())


@router.post(
    "/v1/customers/{customer:path}/opt-out",
    operation_id="optOut",
    summary="Tell them nothing any more",
    status_code=204,
    responses=responses(404),
)
def opt_out(request: Request, customer: CustomerPath, principal: Operate) -> Response:
    """Withdraw the customer's consent to every channel; no import brings it back."""
    web = web_of(request)
    key = key_of(web, customer)
    web.directory.opt_out(key, audited(web, principal, "customer.opted-out", key))
    return Response(status_code=204)


@router.get(
    "/v1/customers/{customer:path}",
    operation_id="getCustomer",
    summary="Who they are, what they were told and why not",
    responses=responses(404),
)
def get_customer(request: Request, customer: CustomerPath, principal: Read) -> CustomerInFull:
    """Show a customer with the cases that list them and every decision on telling them."""
    web = web_of(request)
    key = key_of(web, customer)
    cases = [_hit(web, key, case, row) for case, row in queries.cases_of(web.store, key, SHOWN_CASES)]
    return show(CustomerInFull, **_shown(_found(web, key), principal), cases=cases)


@router.put(
    "/v1/customers/{customer:path}",
    operation_id="putCustomer",
    summary="Take a customer in",
    responses=responses(404, 409),
)
def put_customer(request: Request, customer: CustomerPath, given: CustomerGiven, principal: Operate) -> CustomerTaken:
    """Take a customer in by their id, in the place of what is there: checked as a row of a customers file is."""
    web = web_of(request)
    aliases = {f"aliases[{i}]": alias for i, alias in enumerate(given.aliases)}
    texts = given.model_dump(include={"name", "language", "time_zone", "email", "phone", "tier"})
    worth = "" if given.contract_value is None else f"{given.contract_value:.3f}"
    row = checked(1, {"id": customer, **texts, "contract_value": worth, "consent": ";".join(given.consent), **aliases})
    if isinstance(row, BadRow):
        raise ProblemError(422, "invalid-request", f"{row.column}: expected {row.allowed}")

    def also(connection: sa.Connection) -> None:
        # The hash is that of the id as it was normalised.
        who = audit.customer(_key(web, row.id))
        record(connection, web, principal, "customer.put", who, "", web.clock.now_ms())

    done = web.directory.put(row, also)
    if not done.imported:
        raise ProblemError(409, "erased", "customer: was erased, and stays so")
    found = _found(web, _key(web, row.id))
    return show(CustomerTaken, **_shown(found, principal), remarks=[f"{bad.found}: {bad.allowed}" for bad in done.bad])


@router.patch(
    "/v1/customers/{customer:path}",
    operation_id="setPreferences",
    summary="Set consent, language, time zone",
    responses=responses(404),
)
def set_preferences(request: Request, customer: CustomerPath, given: Preferences, principal: Operate) -> CustomerShown:
    """Set what a customer prefers. Consent is what they say now: it takes the place of an earlier opt-out."""
    web = web_of(request)
    key = key_of(web, customer)
    found = _found(web, key)
    if not found.known:
        missing("customer")
    texts = {"language": given.language or "", "time_zone": given.time_zone or ""}
    row = checked(1, {"id": found.id, **texts, "consent": ";".join(given.consent or [])})
    if isinstance(row, BadRow):
        raise ProblemError(422, "invalid-request", f"{row.column}: expected {row.allowed}")
    web.directory.prefer(
        key,
        consent=None if given.consent is None else row.consent,
        language=None if given.language is None else row.language,
        time_zone=None if given.time_zone is None else row.time_zone,
        also=audited(web, principal, "customer.preferences", key),
    )
    return show(CustomerShown, **_shown(_found(web, key), principal))


def _found(web: Web, key: int) -> Customer:
    found = web.directory.get(key)
    if found is None:
        missing("customer")
    return found


def _key(web: Web, id: str) -> int:
    return customer_key(web.store.customer_key, id)


def _shown(found: Customer, principal: Principal) -> dict[str, Any]:
    clear: Callable[[str], str] = (lambda text: text) if principal.may(Scope.OPERATE) else _masked
    return {
        "id": found.id,
        "name": found.name,
        "language": found.language,
        "time_zone": found.time_zone,
        "email": clear(found.email),
        "phone": clear(found.phone),
        "consent": list(found.consent),
        "withdrawn": list(found.withdrawn),
        "tier": found.tier,
        "contract_value": None if found.contract_value_milli is None else units(found.contract_value_milli),
        "known": found.known,
    }


def _masked(address: str) -> str:
    return masked(address) if address else ""


def _hit(web: Web, key: int, case: Case, row: LedgerRow) -> dict[str, Any]:
    affected = documents.ledger_document(row, "")
    why = documents.why_document(web.store, case, key)
    return {**affected, "case": documents.case_document(case), "withdrawn": row.withdrawn, "why": why}
