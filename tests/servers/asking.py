"""The web application asked from tests that are not async: each call waits for its answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from streams.store import Store
from streams.store.tokens import Scope
from tests.servers import web


class Asking:
    """A client of the app."""

    def __init__(self, portal: BlockingPortal, client: httpx.AsyncClient) -> None:
        self._portal, self._client = portal, client

    def __call__(self, method: str, path: str, *, status: int = 200, **given: Any) -> httpx.Response:
        found = self._portal.call(partial(self._client.request, method, path, **given))
        assert found.status_code == status, (method, path, found.status_code, found.text[:500])
        return found

    def get(self, path: str, *, status: int = 200, **params: Any) -> Any:
        """Return the answer's JSON; `params` go into the query."""
        return self("GET", path, status=status, params=params).json()

    def post(self, path: str, given: Any = None, *, status: int = 200, **headers: str) -> Any:
        """Return the answer's JSON; names of `headers` are written with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        found = self("POST", path, status=status, json=given, headers=named)
        return found.json() if found.content else None


@contextmanager
def asking(
    store: Store, scope: Scope | str | None = Scope.ADMIN, application: FastAPI | None = None
) -> Iterator[Asking]:
    """Give a client of the app with a token of this scope; None: without one."""
    with start_blocking_portal() as portal:
        made = portal.wrap_async_context_manager(web.client(store, scope, application=application))
        with made as client:
            yield Asking(portal, client)
