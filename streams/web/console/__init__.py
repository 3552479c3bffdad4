"""The console: what people work in.  Pages made on the server, one file per page; `install` is the list of them."""

from fastapi import FastAPI

from streams.web.console import audit, case, case_acts, customer, inbox, preferences, sending, signals, static
from streams.web.console.errors import HtmlErrors

ROUTERS = (
    *(static.router, preferences.router, inbox.router, case.router, case_acts.router),
    *(customer.router, sending.router, signals.router, audit.router),
)


def install(app: FastAPI) -> None:
    """Add the pages to an app, and make its refusals pages for whoever asks with a browser."""
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(HtmlErrors)
