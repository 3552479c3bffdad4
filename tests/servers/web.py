"""The web application as tests ask it: the real app over ASGI, with a real token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from streams.clock import Clock, SystemClock
from streams.sections import parse_document
from streams.settings import Settings, defaults_directory, load
from streams.store import Store, tokens
from streams.store.directory import CustomerDirectory
from streams.store.tokens import Scope
from streams.web.app import create_app
from streams.web.context import Web

BASE = "http://127.0.0.1:8321"


def settings_of(directory: Path | None = None, **service: Any) -> Settings:
    """Return the default settings, or those of a directory, with some fields of `service` set."""
    found = load(directory or defaults_directory())
    if not service:
        return found
    given = found.service.model_dump(exclude_unset=True) | service
    given.pop("session", None) if "session" not in service else None
    return replace(found, service=parse_document({"service": given}).service)


def web(store: Store, *, settings: Settings | None = None, clock: Clock | None = None) -> Web:
    """Return what the app works with, over a store."""
    return Web(settings or settings_of(), store, CustomerDirectory(store), clock or SystemClock())


def app(store: Store, *, settings: Settings | None = None, clock: Clock | None = None) -> FastAPI:
    return create_app(web(store, settings=settings, clock=clock))


def token(store: Store, scope: Scope, *, now_ms: int | None = None, expires_ms: int | None = None) -> str:
    """Return a new token of this scope."""
    now_ms = SystemClock().now_ms() if now_ms is None else now_ms
    return tokens.create(store, scope, f"test {scope}", "cli:test", now_ms, expires_ms=expires_ms)[1]


@asynccontextmanager
async def client(
    store: Store,
    scope: Scope | str | None = Scope.ADMIN,
    *,
    application: FastAPI | None = None,
    settings: Settings | None = None,
    clock: Clock | None = None,
    address: str = "127.0.0.1",
) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the app with a token of this scope; None: without one.

    Parameters
    ----------
    application
        The app to ask; unless given, one is made over the store.
    address
        Where the client seems to be.
    """
    asked = application or app(store, settings=settings, clock=clock)
    headers = {} if scope is None else {"Authorization": f"Bearer {token(store, Scope(scope))}"}
    transport = httpx.ASGITransport(app=asked, client=(address, 40_000))
    async with (
        asked.router.lifespan_context(asked),
        httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as found,
    ):
        yield found
