"""The API under /v1: one file per noun."""

from fastapi import FastAPI

from streams.web.api import (
    affected,
    cases,
    casework,
    commands,
    customers,
    dead,
    facts,
    me,
    openapi,
    sending,
    signals,
)


def install(app: FastAPI) -> None:
    """Add the API to an app."""
    for module in (cases, affected, casework, commands, facts, customers, signals, sending, dead, me, openapi):
        app.include_router(module.router)
    app.include_router(customers.streamed)
