"""Serves the application: one process, one event loop, bounded connections, a graceful end.

Promises
- A connection that dawdles over its headers, or goes on with a body that was refused, is ended.
- On SIGTERM no new request is taken, those under way are answered, and what was accepted is on disk.
- A changed configuration counts from the next request on; one with a mistake changes nothing.
"""

import asyncio
import gc
import logging
import resource
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from detector.errors import TocsinError
from streams.clock import Clock
from streams.engines.pulse import Pulse, Watcher
from streams.engines.reload import LOOK_S, Configuration
from streams.settings import Settings
from streams.store import Store
from streams.store.directory import CustomerDirectory
from streams.web.app import create_app
from streams.web.context import Web
from streams.web.feeds import hub_of
from streams.web.first_start import note_settings
from streams.web.health import Health, health_of
from streams.web.watchdog import BEAT_S

NAME = "web"
HEADERS_S = 10.0
KEEP_ALIVE_S = 75
CONNECTIONS = 2_000
"""More are not taken;"""
AT_ONCE = 1_000
"""with more, requests are answered 503."""
LINGER_S = 2.0
LINGER_BYTES = 4_194_304
"""After an early answer so much of the rest of a body is taken, so that whoever sends it gets to read the answer."""
GRACE_S = 10
FILES = 8_192

_log = logging.getLogger("tocsin.web")


class Bounded(H11Protocol):
    """A connection with limits on what uvicorn leaves open: headers that never end, bodies that nobody reads."""

    _timer: asyncio.TimerHandle | None = None
    _drained = -1
    """Bytes that came after the answer; -1 while there is none to wait for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._give_time()

    def data_received(self, data: bytes) -> None:
        if self._drained >= 0:
            self._drained += len(data)
            if self._drained > LINGER_BYTES:
                self.transport.close()
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._give_time()
        else:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.server_state.total_requests += 1
            self._drained = 0
            self._stop_timer()
            self._timer = self.loop.call_later(LINGER_S, self.transport.close)
            self.flow.resume_reading()
            return
        super().on_response_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: anybody can ask for an upgrade; the request is answered as if nobody had."""

    def _give_time(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADERS_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Server(uvicorn.Server):
    """Says when it serves, and lets followers of the feed go before it waits for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._ready = app, ready

    def stop(self, *_: object) -> None:
        """End as soon as it has begun, or now."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there by now stays: looking through it for garbage would hold all requests up for a tenth of a second.
        gc.collect()
        gc.freeze()
        if not self.should_exit:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        hub_of(self._app).close()
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    store: Store,
    clock: Clock,
    listening: socket.socket,
    url: str,
    watcher: Watcher,
    brokers: str | None = None,
) -> None:
    """Serve one tenant on a socket until asked to stop (SIGTERM, SIGINT).

    Parameters
    ----------
    url
        How the socket is reached from this machine: `tocsin token link` leads there.
    watcher
        Hears once requests are answered, and as long as the event loop turns.
    brokers
        Kafka's, instead of those of the settings.
    """
    _raise_file_limit()
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # what it does we say ourselves
    web = Web(settings, store, CustomerDirectory(store, settings.config.policy.channels), clock, brokers)
    app = create_app(web)
    health = health_of(app)
    configuration = health.configuration = Configuration(settings, clock, _log.error)
    config = uvicorn.Config(
        app,
        http=Bounded,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=AT_ONCE,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=1_024,
    )
    server = _Server(config, app, watcher.ready)
    # uvicorn listens to signals only while it serves, and raises one again once it has ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.stop)
    health.pulse = Pulse(store, NAME, clock, lambda: {"config_error": configuration.error, "url": url, **_says(app)})
    try:
        asyncio.run(_serve(server, listening, health, configuration, watcher))
    finally:
        health.pulse.close()


async def _serve(
    server: _Server, listening: socket.socket, health: Health, configuration: Configuration, watcher: Watcher
) -> None:
    health.watchdog.start()
    beside = [asyncio.create_task(_reload(health, configuration)), asyncio.create_task(_turn(watcher))]
    try:
        await server.serve([listening])
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        watcher.busy()
        await health.watchdog.close()


async def _turn(watcher: Watcher) -> None:
    while True:
        watcher.turned()
        await asyncio.sleep(BEAT_S)


async def _reload(health: Health, configuration: Configuration) -> None:
    web = health.web
    while True:
        await asyncio.sleep(LOOK_S)
        new = await asyncio.to_thread(configuration.changed)
        if new is not None:
            bound = {"host": web.settings.service.host, "port": web.settings.service.port}
            web.settings = replace(new, service=new.service.model_copy(update=bound))
            await asyncio.to_thread(_note, web)
            health.door.log.backlog_limit = new.service.backlog_bytes
            _log.info("the configuration was changed and is in force")


def _note(web: Web) -> None:
    try:
        note_settings(web.store, web.settings, "service", web.clock.now_ms())
    except (TocsinError, OSError) as error:  # the next start notes it
        _log.warning("the change of the configuration could not be noted: %s", error)


def _says(app: FastAPI) -> dict[str, Any]:
    health = health_of(app)
    writer = health.door.writer
    return {
        "lag_s": round(health.watchdog.lag_s, 3),
        f"{writer.waits_on}_error": writer.failing,
        "backlog": writer.backlog_bytes,
    }


def _raise_file_limit() -> None:
    """Let as many connections be open as are taken, where the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
