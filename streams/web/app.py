"""Makes the web application: which routers there are, in which order a request passes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from streams.web import api, console, door, feeds, health, inbound, problem, sign_in, tokens, unsubscribe
from streams.web.access import check_policies
from streams.web.auth import Auth
from streams.web.context import Web
from streams.web.guard import Guard
from streams.web.metrics import WebNumbers
from streams.web.watchdog import Watchdog


def create_app(web: Web) -> FastAPI:
    """Return the application over one tenant's store.

    Raises
    ------
    RuntimeError
        A route does not say who may ask it.
    """

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        await door.door_of(app).begin()
        yield
        await door.door_of(app).close()
        auth.close()

    app = FastAPI(title="Tocsin", openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)
    web.identifier = auth = Auth(web)
    app.state.web = web
    app.add_middleware(Guard, auth=auth)
    problem.install(app)
    console.install(app)
    app.include_router(sign_in.router)
    app.include_router(unsubscribe.router)
    app.include_router(inbound.router)
    app.include_router(tokens.router)
    feeds.install(app, web)
    numbers = WebNumbers()
    door.install(app, web, numbers)
    api.install(app)
    health.install(app, health.Health(web, door.door_of(app), numbers, Watchdog(web.clock)))
    app.add_middleware(health.Counted, numbers=numbers, web=web)
    check_policies(app)
    return app
