"""`/healthz` (is this process alive), `/readyz` (does the service do its work), `/metrics`.

Anybody may ask the first two and hears yes or no; why not is for those who may read. A no of `/readyz` means: send me
no more events; of `/healthz`: start me again.
"""

import asyncio
import shutil
from dataclasses import asdict, dataclass
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from detector.errors import TocsinError
from streams.engines.pulse import Pulse
from streams.engines.reload import Configuration
from streams.outbox.kill_switch import kill_switch
from streams.store import RECORDING
from streams.store.engines import COUNT, Engines
from streams.store.migrate import HEAD, revision_of
from streams.store.standing import FRESH_MS, Process, Standing, standing
from streams.web.access import Read, Scope, public
from streams.web.context import Web, web_of
from streams.web.door import Door
from streams.web.keeping import reads_kafka
from streams.web.metrics import WORK, Disk, WebNumbers, exposition
from streams.web.problem import ProblemError
from streams.web.watchdog import Watchdog

LEAST_FREE_BYTES = 16_777_216
STALLED_MS = 60_000
"""What waits longer, while nothing is committed, is not being worked on."""
SILENT_S = 15.0
FAILING_S = 10.0
"""A failure at the door counts for so long at least, then until the process has written something else."""
KEPT_S = 1.0
"""An answer counts for so long: asking often costs nothing."""

router = APIRouter(tags=["health"])


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; what is not `required` makes the service no less ready."""

    name: str
    ok: bool
    detail: str = ""
    required: bool = True


@dataclass
class Health:
    """What the answers are made from, one for each app."""

    web: Web
    door: Door
    numbers: WebNumbers
    watchdog: Watchdog
    pulse: Pulse | None = None
    """None where the process does not speak for itself (in tests)."""
    configuration: Configuration | None = None
    _checked: tuple[float, list[Check]] | None = None

    def alive(self) -> bool:
        return not self.door.writer.stuck()

    def checks(self) -> list[Check]:
        """Return what stands in the way, and what does not."""
        now_s = self.web.clock.monotonic_s()
        if self._checked is None or now_s - self._checked[0] >= KEPT_S:
            try:
                found = self._look()
            except TocsinError as error:
                found = [Check("store", False, str(error))]
            self._checked = now_s, found
        return self._checked[1]

    def _look(self) -> list[Check]:
        web, now_ms = self.web, self.web.clock.now_ms()
        out = [self._store(), *self._disk(), self._schema(), *self._brokers()]
        now = standing(web.store, now_ms)
        if web.store.mode == RECORDING:
            out.append(Check("work", True, "a recording is shown: nothing is at work"))
        elif reads_kafka(web.store, web.settings, web.brokers):
            out += self._on_kafka(now, now_ms)
        else:
            work = _work_of(now)
            out.append(_work(work, now_ms, "`tocsin run`"))
            out.append(_progress(work, now.backlog_since_ms, now.backlog_bytes, now_ms))
        errors = {process.name: str(process.body.get("config_error") or "") for process in now.processes}
        if self.configuration is not None:
            errors["web"] = self.configuration.error
        wrong = next((text for text in errors.values() if text), "")
        out.append(Check("configuration", not wrong, wrong, required=False))
        return out

    def _store(self) -> Check:
        failing, failed_s = self.door.log.failing, self.door.log.failed_s
        if self.pulse is not None and self.pulse.spoken_s > failed_s + FAILING_S:
            failing = ""  # or who sends no events to what is not ready would never send any again
        if self.pulse is not None and self.pulse.silent_s > SILENT_S:
            failing = failing or self.pulse.error or f"not written for {self.pulse.silent_s:.0f} s"
        return Check("store", not failing, failing)

    def _brokers(self) -> list[Check]:
        topic = self.door.topic
        return [] if topic is None else [Check("brokers", not topic.failing, topic.failing)]

    def _on_kafka(self, now: Standing, now_ms: int) -> list[Check]:
        """Return how the workers do: whether one has the Desk, and whether what the door sent is read."""
        topic, counts = self.door.topic, Engines(self.web.store, "").standings(COUNT)
        since_ms = None if topic is None else topic.unread_since(counts)
        committed_ms = max((of.at_ms for of in counts.values()), default=0)
        stalled = since_ms is not None and now_ms - max(since_ms, committed_ms) > STALLED_MS
        waits = f"events wait for {(now_ms - (since_ms or 0)) / 1_000:.0f} s: is `tocsin worker` up?" if stalled else ""
        return [_work(_work_of(now), now_ms, "`tocsin worker`"), Check("progress", not stalled, waits)]

    def disk(self) -> Disk | None:
        """Return how the disk of a store that is a file stands; a server looks after its own."""
        if self.web.store.on_server:
            return None
        found = shutil.disk_usage(self.web.store.path.resolve().parent)
        return Disk(found.free, found.total)

    def _disk(self) -> list[Check]:
        disk = self.disk()
        return [] if disk is None else [Check("disk", disk.free >= LEAST_FREE_BYTES, f"{disk.free:,} bytes free")]

    def _schema(self) -> Check:
        with self.web.store.reading() as connection:
            found = revision_of(connection)
        return Check("schema", found == HEAD, "" if found == HEAD else f"expected {HEAD}, found {found}")


def _work_of(now: Standing) -> Process | None:
    return next((process for process in now.processes if process.name == WORK), None)


def _work(work: Process | None, now_ms: int, starts: str) -> Check:
    if work is None:
        return Check("work", False, f"no work process has been seen; {starts} starts one")
    silent_ms = now_ms - work.at_ms
    return Check("work", silent_ms < FRESH_MS, f"last heard {silent_ms / 1_000:.0f} s ago")


def _progress(work: Process | None, since_ms: int | None, backlog_bytes: int, now_ms: int) -> Check:
    committed_ms = 0 if work is None else int(work.body.get("committed_ms") or 0)
    stalled = since_ms is not None and now_ms - max(since_ms, committed_ms) > STALLED_MS
    waits = (
        "" if since_ms is None else f"{backlog_bytes:,} bytes wait, the oldest for {(now_ms - since_ms) / 1_000:.0f} s"
    )
    return Check("progress", not stalled, waits)


def install(app: FastAPI, health: Health) -> None:
    """Add the routes."""
    app.state.health = health
    app.include_router(router)


def health_of(app: Any) -> Health:
    """Return what answers for this app's health."""
    return cast(Health, app.state.health)


@router.head("/healthz", dependencies=[public()], include_in_schema=False)
@router.get("/healthz", dependencies=[public()], summary="Is this process alive?")
async def healthz(request: Request) -> Response:
    """Say whether this process works; 503: it stands still and is to be started again."""
    alive = health_of(request.app).alive()
    return JSONResponse({"alive": alive}, 200 if alive else 503)


@router.head("/readyz", dependencies=[public()], include_in_schema=False)
@router.get("/readyz", dependencies=[public()], summary="Does the service do its work?")
async def readyz(request: Request) -> Response:
    """Say whether events are taken in and worked off; with the scope `read` also what was looked at."""
    health = health_of(request.app)
    checks = await asyncio.to_thread(health.checks)
    ready = all(check.ok for check in checks if check.required)
    body: dict[str, Any] = {"ready": ready}
    if await _may_read(request):
        body["checks"] = [asdict(check) for check in checks]
    return JSONResponse(body, 200 if ready else 503)


async def _may_read(request: Request) -> bool:
    try:
        principal = await web_of(request).identifier.identify(request)
    except (ProblemError, TocsinError):  # also where the store, which knows the tokens, can't be asked
        return False
    return principal is not None and principal.may(Scope.READ)


@router.get("/metrics", response_class=PlainTextResponse, summary="Metrics for Prometheus")
async def metrics(request: Request, principal: Read) -> Response:
    """Return the service's metrics, those of both processes."""
    web, health = web_of(request), health_of(request.app)
    health.numbers.loop_lag.set(health.watchdog.lag_s)

    def text() -> str:
        return exposition(
            web.store,
            health.numbers,
            web.clock.now_ms(),
            kill_switch=kill_switch(web.store).on,
            checks={check.name: check.ok for check in health.checks()},
            disk=health.disk(),
        )

    return PlainTextResponse(await asyncio.to_thread(text), media_type="text/plain; version=0.0.4")


class Counted:
    """ASGI middleware around everything: counts requests by the route's template, never by what was asked."""

    def __init__(self, app: ASGIApp, numbers: WebNumbers, web: Web) -> None:
        self._app, self._numbers, self._clock = app, numbers, web.clock

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun_s = self._clock.monotonic_s()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._numbers.requests.labels(method, route, str(status or "none")).inc()
            self._numbers.request_seconds.labels(method, route).observe(self._clock.monotonic_s() - begun_s)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
