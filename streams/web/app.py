"""Makes the web application: which routers there are, in which order a request passes."""

from fastapi import FastAPI

from streams.web import feeds, problem
from streams.web.access import check_policies
from streams.web.auth import Auth
from streams.web.context import Web


def create_app(web: Web) -> FastAPI:
    """Return the application over one tenant's store.

    Raises
    ------
    RuntimeError
        A route does not say who may ask it.
    """
    app = FastAPI(title="Tocsin", openapi_url=None, docs_url=None, redoc_url=None)
    web.identifier = Auth(web)
    app.state.web = web
    problem.install(app)
    feeds.install(app, web)
    check_policies(app)
    return app
