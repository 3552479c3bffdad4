"""The door for events: `POST /v1/events` and, for OpenTelemetry, `POST /v1/logs`.

Promises
- 202 means durable: the records are on disk, or with the brokers, with their ingest time; a crash right after loses
  none.
- Any other answer means: send it again. On disk nothing of the request was taken then; of what was on its way to the
  brokers something may have arrived, and the events' ids keep it from counting twice.
- A record is taken as it is: one that is no event becomes a dead letter with its reason, and takes no other along.
- Bodies are bounded, packed, unpacked and in time, whatever their headers say.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from detector.errors import TocsinError, UsageError
from streams.intake import cloudevents, otlp
from streams.intake.bodies import Lines, TooLargeError, joined, json_records, lines, unpacked
from streams.intake.formats import OWN, SSHD
from streams.kafka.client import kafka_settings
from streams.store import LIVE, RECORDING
from streams.store.engines import kafka_input
from streams.web.access import Ingest
from streams.web.context import Web, web_of
from streams.web.keeping import BusyError, Keeping, NoWorkerError, UnwritableError, input_of
from streams.web.livelog import LogWriter
from streams.web.metrics import WebNumbers
from streams.web.problem import MEDIA_TYPE, ProblemError
from streams.web.topicwriter import TopicWriter

BODY_S = 60.0
"""A body that is not complete by then is given up,"""
IDLE_S = 10.0
"""as is one of which nothing came for so long."""
READING_BYTES = 134_217_728
"""So much of bodies is held at once, all requests together."""
INLINE_BYTES = 65_536
"""Smaller bodies are taken apart at once; larger ones in a thread, so that nobody waits for them."""
BUSY_S, UNWRITABLE_S = 2, 5
"""When to come again."""

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines")
JSON = "application/json"
TEXT = "text/plain"

_log = logging.getLogger("tocsin.web")

router = APIRouter(tags=["events"])


@dataclass(frozen=True)
class Taken:
    """A body taken apart."""

    lines: Lines
    cut: Any
    """In the form in which they are kept."""
    unread: int = 0
    """Log records that could not be read."""


Reader = Callable[[bytes], tuple[Lines, int]]


class Door:
    """What takes bodies in, one for each app."""

    def __init__(self, web: Web, numbers: WebNumbers) -> None:
        self._web, self.numbers = web, numbers
        self.log = LogWriter(web.store, web.clock, numbers, web.settings.service.backlog_bytes)
        self.topic: TopicWriter | None = None
        """Where the store's engines read from Kafka."""
        self._reading = 0
        self._said = ""
        """Why nothing could be kept, as the log has it."""
        self._settled = False
        self._settling = asyncio.Lock()

    @property
    def writer(self) -> Keeping[Any]:
        """Where accepted records go."""
        return self.topic or self.log

    async def begin(self) -> None:
        """Look for the brokers before the first request, where there are some."""
        try:
            if await asyncio.to_thread(kafka_input, self._web.store) is not None:
                await self._settle()
        except (ProblemError, TocsinError):
            return  # the first request hears it
        if self.topic is not None:
            self.topic.connect()

    async def close(self) -> None:
        """Make durable what waits, and end."""
        if self.topic is not None:
            await self.topic.close()
        await self.log.close()

    async def take(self, request: Request, reader: Reader) -> Taken:
        """Make the records of a request durable.

        Raises
        ------
        ProblemError
            Nothing of it was taken.
        """
        try:
            return await self._take(request, reader)
        except ProblemError as problem:
            self.numbers.door_refused.labels(problem.code).inc()
            raise

    async def _take(self, request: Request, reader: Reader) -> Taken:
        await self._settle()
        limit = self._web.settings.service.request_bytes
        packed = _is_packed(request)
        cut = partial(self.writer.cut, settings=self._web.settings)
        parts: list[bytes] = []
        held = 0
        try:
            async for piece in self._pieces(request, limit):
                held += len(piece)
                self._reading += len(piece)
                parts.append(piece)
            body = b"".join(parts)
            parts.clear()
            work = partial(_apart, body, packed, limit, reader, cut)
            taken = await asyncio.to_thread(work) if packed or len(body) > INLINE_BYTES else work()
            if taken.cut:
                await self._write(taken)
            return taken
        finally:
            self._reading -= held

    async def _pieces(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """Yield the body as it comes, within its limits."""
        if _stated(request) > limit:
            raise _too_large(limit)
        size = 0
        clock, stream = self._web.clock, request.stream().__aiter__()
        until_s = clock.monotonic_s() + BODY_S
        while True:
            try:
                async with asyncio.timeout(max(0.0, min(IDLE_S, until_s - clock.monotonic_s()))):
                    piece = await anext(stream, None)
            except TimeoutError:
                detail = f"the body was not complete after {IDLE_S:.0f} s of silence or {BODY_S:.0f} s in all"
                raise ProblemError(408, "slow-body", detail) from None
            except ClientDisconnect:
                raise ProblemError(400, "broken-off", "the body broke off") from None
            if piece is None:
                return
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            if self._reading + len(piece) > READING_BYTES:
                detail = "too many large requests at once; send it again later"
                raise _busy(detail)
            if piece:
                yield piece

    async def _write(self, taken: Taken) -> None:
        try:
            await self.writer.append(taken.lines, taken.cut)
        except BusyError as error:
            raise _busy(str(error)) from error
        except UnwritableError as error:
            if self._said != str(error):
                self._said = str(error)
                _log.warning("no events are taken: %s", error)
            store = "the store can't take events now; send it again later"
            detail = store if self.writer.waits_on == "store" else str(error)
            raise ProblemError(503, "unwritable", detail, {"Retry-After": str(UNWRITABLE_S)}) from error

    async def _settle(self) -> None:
        """Find out where accepted records go: into a new store's log, for workers on Kafka, nowhere in a recording."""
        if self._settled:
            return
        async with self._settling:
            if self._settled:
                return
            kafka = await asyncio.to_thread(self._input)
            if kafka is not None:
                self.topic = await asyncio.to_thread(self._topic, kafka)
            self._settled = True

    def _topic(self, kafka: str) -> TopicWriter:
        web = self._web
        return TopicWriter(kafka, kafka_settings(web.settings, web.brokers), web.tenant, web.clock, self.numbers)

    def _input(self) -> str | None:
        store = self._web.store
        mode = store.mode
        if mode == RECORDING:
            detail = (
                "this store is a recording, made by `tocsin replay`: it is shown, and takes no events; "
                "run the service on another --db"
            )
            raise ProblemError(409, "recording", detail)
        try:
            found = input_of(store, self._web.settings, self._web.brokers)
        except NoWorkerError as error:
            raise ProblemError(503, "no-worker", str(error), {"Retry-After": str(UNWRITABLE_S)}) from error
        if mode is None:
            store.claim_mode(LIVE)
        return found


def install(app: FastAPI, web: Web, numbers: WebNumbers) -> None:
    """Add the door's routes; the app calls `begin` and `close` of `door_of(app)`."""
    app.state.door = Door(web, numbers)
    app.include_router(router)


def door_of(app: Any) -> Door:
    """Return the door of this app."""
    return cast(Door, app.state.door)


def _refused(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {}}}


_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: _refused("It can't be taken apart: a damaged package, an array that breaks off."),
    408: _refused("It came too slowly."),
    409: _refused("The store is a recording."),
    413: _refused("It is too long (`service.request_bytes`), packed or unpacked; on Kafka also one event of it."),
    415: _refused("A type or an encoding that is not taken."),
    429: _refused("Too much is waiting: send it again after `Retry-After` seconds."),
    503: _refused("Store or brokers can't be written: send it again after `Retry-After` seconds."),
}
_EVENT = {
    "type": "object",
    "example": {"id": "e-1", "time": "2026-03-02T07:31:12Z", "kind": "payment", "customer": "c-1", "bank": "BNI"},
}
_BODY = {
    "required": True,
    "content": {
        NDJSON[0]: {"schema": {"type": "string", "description": "One event to a line."}},
        JSON: {"schema": {"oneOf": [_EVENT, {"type": "array", "items": _EVENT}]}},
        cloudevents.STRUCTURED: {"schema": {"type": "object"}},
        cloudevents.BATCH: {"schema": {"type": "array", "items": {"type": "object"}}},
    },
}


@router.post(
    "/v1/events",
    status_code=202,
    summary="Send events",
    responses={202: {"description": "They are durable: `accepted` records, `bytes` unpacked."}, **_ANSWERS},
    openapi_extra={"requestBody": _BODY},
)
async def events(request: Request, principal: Ingest) -> Response:
    """Take events in: one to a line, a JSON array, one object, or as CloudEvents; packed by gzip or not.

    202 says that they are on disk, or with Kafka's brokers. A record that is no event is accepted, too, and becomes a
    dead letter with its reason. Send again what was not answered: an event's `id` keeps it from being counted twice.
    """
    web, door = web_of(request), door_of(request.app)
    reader = _reader(request.headers, web.settings.format)
    if isinstance(reader, ProblemError):
        door.numbers.door_refused.labels(reader.code).inc()
        raise reader
    taken = await door.take(request, reader)
    return JSONResponse({"accepted": taken.lines.records, "bytes": len(taken.lines.data)}, 202)


@router.post(
    "/v1/logs",
    summary="Send OpenTelemetry logs",
    responses={200: {"description": "They are durable. `partialSuccess` counts those that can't be read."}, **_ANSWERS},
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}},
)
async def logs(request: Request, principal: Ingest) -> Response:
    """Take OTLP logs as JSON in: each log record is an event, flat."""
    kind, door = _media_type(request.headers), door_of(request.app)
    if kind != JSON:
        door.numbers.door_refused.labels("unsupported-media-type").inc()
        detail = f"expected {JSON}, found {kind or 'none'}; set the exporter's protocol to http/json"
        raise ProblemError(415, "unsupported-media-type", detail)
    taken = await door.take(request, _otlp)
    if not taken.unread:
        return JSONResponse({})
    message = "they are no OTLP log records; `tocsin dead` shows them with the reason"
    return JSONResponse({"partialSuccess": {"rejectedLogRecords": str(taken.unread), "errorMessage": message}})


# --- bodies -----------------------------------------------------------------------------------------------------------


def _apart(body: bytes, packed: bool, limit: int, reader: Reader, cut: Callable[[Lines], Any]) -> Taken:
    try:
        found, unread = reader(unpacked(body, limit) if packed else body)
        return Taken(found, cut(found), unread)
    except TooLargeError as error:
        raise ProblemError(413, "too-large", str(error)) from error
    except UsageError as error:
        raise ProblemError(400, "unreadable-body", str(error)) from error


def _reader(headers: Mapping[str, str], format: str) -> Reader | ProblemError:
    """Return what takes a body of this type apart."""
    kind = _media_type(headers)
    charset = _charset(headers)
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        return ProblemError(415, "unsupported-media-type", f"expected UTF-8, found {charset[:40]}")
    flat: Callable[[bytes], bytes] = cloudevents.flattened if format == OWN else lambda envelope: envelope
    if kind == cloudevents.STRUCTURED:
        return lambda body: (joined([flat(one) for one in json_records(body)]), 0)
    if kind == cloudevents.BATCH:
        return lambda body: (joined([flat(one) for one in json_records(body)]), 0)
    if f"{cloudevents.PREFIX}specversion" in headers:
        attributes = {
            name.removeprefix(cloudevents.PREFIX): value
            for name, value in headers.items()
            if name.startswith(cloudevents.PREFIX)
        }
        if kind:
            attributes["datacontenttype"] = kind
        return lambda body: (joined([flat(cloudevents.binary(attributes, body))]), 0)
    if kind in NDJSON or (kind == TEXT and format == SSHD):
        return lambda body: (lines(body), 0)
    if kind == JSON:
        return lambda body: (joined(json_records(body)), 0)
    allowed = ", ".join((NDJSON[0], JSON, cloudevents.STRUCTURED, cloudevents.BATCH))
    return ProblemError(415, "unsupported-media-type", f"expected {allowed}; found {kind[:80] or 'none'}")


def _otlp(body: bytes) -> tuple[Lines, int]:
    found = otlp.events(body)
    return joined(found.records), found.unread


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _charset(headers: Mapping[str, str]) -> str:
    for parameter in headers.get("content-type", "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


def _is_packed(request: Request) -> bool:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        detail = f"expected gzip or none, found {encoding[:40]}"
        raise ProblemError(415, "unsupported-encoding", detail, {"Accept-Encoding": "gzip"})
    return encoding != "identity"


def _stated(request: Request) -> int:
    given = request.headers.get("content-length", "0")
    return int(given) if given.isdecimal() else 0


def _too_large(limit: int) -> ProblemError:
    detail = f"expected at most {limit:,} bytes (service.request_bytes), found more; send it in parts"
    return ProblemError(413, "too-large", detail)


def _busy(detail: str) -> ProblemError:
    return ProblemError(429, "busy", detail, {"Retry-After": str(BUSY_S)})
